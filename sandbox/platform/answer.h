/* What the platform answers: the true answers, and those that a fault puts in their place. The
 * platform's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "sandbox/platform/checks.h"
#include "sandbox/platform/faults.h"

/* An answer; the owner calls answer_fini. */
struct answer {
    int status;
    const char *type;  /* constant */
    struct text extra; /* whole header lines */
    struct text body;
    size_t zeros; /* so many zero bytes follow the body: silence in a recording */
};

void answer_fini(struct answer *answer);

/* {"Flag": flag, "Msg": message} with an HTTP status. */
void answer_flag(struct answer *answer, int status, int64_t flag, const char *message);

/* The virtual number that was asked for, or one from the pool that only the callee decides; call
 * counts the calls. */
void answer_call(struct answer *answer, const struct platform_body *body, uint64_t call);

/* By the identifier: "none-...": Flag 1004; "json-closed-...": the URL of a file where nobody
 * listens; "json-...": the URL of the file at the host that the request named; others: the file
 * itself. */
void answer_recording(struct answer *answer, const char *call_identifier, struct http_span host);

/* The file: a short tone, or with an identifier "size-BYTES-..." or "json-size-BYTES-..." so many
 * bytes of silence behind the WAV head. That of "json-moved-..." has moved to "json-...". */
void answer_file(struct answer *answer, const char *call_identifier);

/* Puts in place of a true answer what the outcome says. */
void answer_spoil(struct answer *answer, const struct fault_choice *fault);
