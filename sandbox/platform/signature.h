/* Checks the signature and the credentials of a request, as the platform's document describes them.
 * This code is written from the document alone and shares nothing with the worker's signing code,
 * so that one mistake cannot be on both sides. The platform's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sandbox/platform/http.h"

/* What is expected. The strings belong to the owner. */
struct sandbox_credentials {
    const char *token, *app_id, *version;
    int utc_offset_minutes;
    bool any_timestamp;
};

/* What is wrong with a request. problem is a constant text without any value from the request;
 * NULL: nothing is wrong. */
struct sandbox_verdict {
    int status; /* of HTTP */
    int flag;   /* of the answer */
    const char *problem;
};

enum { SIGNATURE_TOLERANCE_S = 600 };

/* Checks Authorization and the URL parameter sig against each other, the credentials and the wall
 * clock (ms). */
struct sandbox_verdict sandbox_signature_check(const struct sandbox_credentials *expected,
                                               struct sandbox_http_span authorization,
                                               struct sandbox_http_span sig, int64_t wall_ms);
