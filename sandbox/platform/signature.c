#include "sandbox/platform/signature.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

enum {
    TIMESTAMP_DIGITS = 14,
    MD5_BYTES = 16,
    MD5_DIGITS = 32,
    MATERIAL_MAX = 384,
    BASE64_MAX = 512
};

/* What base64 holds and the digest is made of: token:app id:timestamp. */
struct material {
    char text[MATERIAL_MAX + 4];
    size_t length;
};

static struct sandbox_verdict refuse(int flag, const char *problem)
{
    return (struct sandbox_verdict){401, flag, problem};
}

/* Decodes standard base64 with padding only: text that does not encode to the same characters again
 * is refused. */
static bool decode(struct sandbox_http_span base64, struct material *out)
{
    if (!base64.length || base64.length % 4 || base64.length > BASE64_MAX)
        return false;
    unsigned char bytes[MATERIAL_MAX + 4], again[BASE64_MAX + 4];
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)base64.data, (int)base64.length);
    if (decoded < 0)
        return false;
    size_t length = (size_t)decoded;
    for (size_t i = base64.length; i > base64.length - 2 && base64.data[i - 1] == '='; i--)
        length--;
    int encoded = EVP_EncodeBlock(again, bytes, (int)length);
    if ((size_t)encoded != base64.length || memcmp(again, base64.data, base64.length) != 0)
        return false;
    memcpy(out->text, bytes, length);
    out->text[length] = '\0';
    out->length = length;
    return strlen(out->text) == length;
}

static bool take(const char **at, const char *expected)
{
    size_t length = strlen(expected);
    if (strncmp(*at, expected, length) != 0 || (*at)[length] != ':')
        return false;
    *at += length + 1;
    return true;
}

static int number(const char *digits, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++)
        value = value * 10 + (digits[i] - '0');
    return value;
}

/* Seconds since 1970 of a timestamp, read as UTC; -1: there is no such day or time. */
static int64_t timestamp_seconds(const char *digits)
{
    struct tm wanted = {.tm_year = number(digits, 4) - 1900,
                        .tm_mon = number(digits + 4, 2) - 1,
                        .tm_mday = number(digits + 6, 2),
                        .tm_hour = number(digits + 8, 2),
                        .tm_min = number(digits + 10, 2),
                        .tm_sec = number(digits + 12, 2)};
    struct tm made = wanted;
    time_t seconds = timegm(&made);
    bool same = made.tm_mon == wanted.tm_mon && made.tm_mday == wanted.tm_mday &&
                made.tm_hour == wanted.tm_hour && made.tm_min == wanted.tm_min &&
                made.tm_sec == wanted.tm_sec;
    return same ? seconds : -1;
}

static struct sandbox_verdict check_timestamp(const struct sandbox_credentials *expected,
                                              const char *digits, int64_t wall_ms)
{
    if (strlen(digits) != TIMESTAMP_DIGITS || strspn(digits, "0123456789") != TIMESTAMP_DIGITS)
        return refuse(9014, "the timestamp in Authorization is not 14 digits");
    int64_t seconds = timestamp_seconds(digits);
    if (seconds < 0)
        return refuse(9014, "the timestamp in Authorization is no date and time");
    int64_t now = wall_ms / 1000 + (int64_t)expected->utc_offset_minutes * 60;
    if (!expected->any_timestamp && llabs(now - seconds) > SIGNATURE_TOLERANCE_S)
        return refuse(9015, "the timestamp is more than 10 minutes from now (is the zone right?)");
    return (struct sandbox_verdict){0};
}

/* Fetching the algorithm costs more than the digest itself, so it is fetched once. The platform has
 * one thread. */
static void md5_upper(char out[MD5_DIGITS + 1], const struct material *material)
{
    static EVP_MD *md5;
    if (!md5)
        md5 = memory_must(EVP_MD_fetch(NULL, "MD5", NULL));
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(material->text, material->length, digest, NULL, md5, NULL) != 1)
        abort();
    for (size_t i = 0; i < MD5_BYTES; i++) {
        out[2 * i] = "0123456789ABCDEF"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789ABCDEF"[digest[i] & 15];
    }
    out[MD5_DIGITS] = '\0';
}

static struct sandbox_verdict check_sig(const struct material *material,
                                        struct sandbox_http_span sig)
{
    if (sig.length != MD5_DIGITS)
        return refuse(9016, "sig is not 32 upper-case hexadecimal digits");
    for (size_t i = 0; i < sig.length; i++)
        if (!strchr("0123456789ABCDEF", sig.data[i]))
            return refuse(9016, "sig is not 32 upper-case hexadecimal digits");
    char wanted[MD5_DIGITS + 1];
    md5_upper(wanted, material);
    if (!sandbox_http_span_is(sig, wanted))
        return refuse(9017, "sig is not the MD5 of what stands in Authorization");
    return (struct sandbox_verdict){0};
}

struct sandbox_verdict sandbox_signature_check(const struct sandbox_credentials *expected,
                                               struct sandbox_http_span authorization,
                                               struct sandbox_http_span sig, int64_t wall_ms)
{
    struct material material;
    if (!decode(authorization, &material))
        return refuse(9011, "Authorization is not base64 (standard, padded, no scheme word)");
    const char *at = material.text;
    if (!take(&at, expected->token))
        return refuse(9012, "Authorization does not begin with the right token and a colon");
    if (!take(&at, expected->app_id))
        return refuse(9013, "Authorization does not hold the right app id after the token");
    struct sandbox_verdict verdict = check_timestamp(expected, at, wall_ms);
    return verdict.problem ? verdict : check_sig(&material, sig);
}
