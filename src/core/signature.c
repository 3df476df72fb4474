#include "core/signature.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "core/hash_functions.h"

static void write_timestamp(char out[15], int64_t wall_ms, int utc_offset_minutes)
{
    time_t seconds = (time_t)(wall_ms / 1000 + (int64_t)utc_offset_minutes * 60);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, 15, "%Y%m%d%H%M%S", &tm);
}

static void write_hex(char *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

void signature_make(struct signature *signature, const char *token, const char *app_id,
                    int64_t wall_ms, int utc_offset_minutes)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    char joined[752]; /* 700 bytes, two colons, 14 digits, NUL */
    write_timestamp(signature->timestamp, wall_ms, utc_offset_minutes);
    int n = snprintf(joined, sizeof joined, "%s:%s:%s", token, app_id, signature->timestamp);
    assert(n > 0 && (size_t)n < sizeof joined);
    /* This fails only without memory. */
    if (!EVP_Digest(joined, (size_t)n, digest, &digest_size, hash_functions()->md5, NULL))
        memory_must(NULL);
    assert(digest_size == 16);
    write_hex(signature->sig, digest, digest_size);
    EVP_EncodeBlock((unsigned char *)signature->authorization, (const unsigned char *)joined, n);
}
