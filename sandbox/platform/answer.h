/* What the platform answers: regular answers, and those that a fault puts in their place. The
 * platform's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "sandbox/platform/checks.h"
#include "sandbox/platform/faults.h"

/* An answer; the owner calls sandbox_answer_fini. */
struct sandbox_answer {
    int status;
    const char *type;  /* constant */
    struct text extra; /* whole header lines */
    struct text body;
    size_t zeros; /* how many zero bytes follow the body: silence in a recording */
};

void sandbox_answer_fini(struct sandbox_answer *answer);

/* {"Flag": flag, "Msg": message} with an HTTP status. */
void sandbox_answer_flag(struct sandbox_answer *answer, int status, int64_t flag,
                         const char *message);

/* Answers with the virtual number of the request, or with one from the pool that depends on the
 * callee alone. call: the number of this call. */
void sandbox_answer_call(struct sandbox_answer *answer, const struct sandbox_platform_body *body,
                         uint64_t call);

/* The identifier decides. "none-...": Flag 1004. "json-closed-...": the URL of a file at an address
 * where nobody listens. "json-...": the URL of the file at the request's host. Any other: the file
 * itself. */
void sandbox_answer_recording(struct sandbox_answer *answer, const char *call_identifier,
                              struct sandbox_http_span host);

/* The file: a short tone. With an identifier "size-BYTES-..." or "json-size-BYTES-..." it is that
 * many bytes of silence after the WAV header. The file of "json-moved-..." redirects to that of
 * "json-...". */
void sandbox_answer_file(struct sandbox_answer *answer, const char *call_identifier);

/* Replaces a regular answer by the one that the fault's outcome demands. */
void sandbox_answer_spoil(struct sandbox_answer *answer, const struct sandbox_fault_choice *fault);
