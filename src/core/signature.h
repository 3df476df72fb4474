/* The platform's signature (the MD5 of token:app id:timestamp in upper-case hexadecimal digits) and
 * its Authorization header (the base64 of the same text). No I/O; any thread. */
#pragma once

#include <stdint.h>

struct signature {
    char timestamp[15];       /* yyyyMMddHHmmss */
    char sig[33];             /* upper-case MD5 */
    char authorization[1024]; /* base64, without the header's name */
};

/* Signs with the given wall clock time, formatted in the time zone. token and app id have together
 * at most 700 bytes (config checks it); hash_functions_check has found MD5. */
void signature_make(struct signature *signature, const char *token, const char *app_id,
                    int64_t wall_ms, int utc_offset_minutes);
