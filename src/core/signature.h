/* The platform's signature, MD5 in upper-case hex of token:app id:timestamp, and its Authorization
 * header, base64 of the same. Pure; any thread. */
#pragma once

#include <stdint.h>

struct signature {
    char timestamp[15];       /* yyyyMMddHHmmss */
    char sig[33];             /* upper-case MD5 */
    char authorization[1024]; /* base64, without the header's name */
};

/* Signs for the wall clock time given, formatted in the zone. token and app id together at most 700
 * bytes (config checks it). */
void signature_make(struct signature *signature, const char *token, const char *app_id,
                    int64_t wall_ms, int utc_offset_minutes);
