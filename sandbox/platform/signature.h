/* Checks the signature and credentials of a request as the platform's document has them. Written
 * from the document alone and not shared with what signs, so that one mistake is not made on both
 * sides. The platform's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sandbox/platform/http.h"

/* What is expected. The strings are the owner's. */
struct credentials {
    const char *token, *app_id, *version;
    int utc_offset_minutes;
    bool any_timestamp;
};

/* What is wrong with a request; problem NULL: nothing. problem is a constant text without any value
 * from the request. */
struct verdict {
    int status; /* of HTTP */
    int flag;   /* of the answer */
    const char *problem;
};

enum { SIGNATURE_TOLERANCE_S = 600 };

/* Checks the value of Authorization and of the URL parameter sig against each other, the
 * credentials and the wall clock (ms). */
struct verdict signature_check(const struct credentials *expected, struct http_span authorization,
                               struct http_span sig, int64_t wall_ms);
