#include "core/answer_text.h"

#include <iconv.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "core/zlib_memory.h"

#define REPLACEMENT "\xef\xbf\xbd"

enum {
    LAYERS = 5,       /* limit of nested compressions */
    ZLIB_WINDOW = 15, /* zlib's window codes for its three formats */
    GZIP_WINDOW = ZLIB_WINDOW + 16,
    RAW_WINDOW = -ZLIB_WINDOW,
};

struct span {
    const char *bytes;
    size_t size;
};

/* ---- unpacking */

enum unpacked { UNPACKED, UNPACKED_DAMAGED, UNPACKED_TOO_LARGE };

static bool is_gzip(struct span in)
{
    return in.size > 2 && !memcmp(in.bytes, "\x1f\x8b\x08", 3);
}

/* A gzip file may have several members. Other bytes after a member are ignored, as gzip does. */
static bool next_member(z_stream *stream, int window)
{
    struct span rest = {(const char *)stream->next_in, stream->avail_in};
    return window == GZIP_WINDOW && is_gzip(rest) && inflateReset(stream) == Z_OK;
}

static enum unpacked unpack(struct text *out, struct span in, int window, size_t max_bytes)
{
    char piece[16384];
    z_stream stream = {.next_in = (unsigned char *)in.bytes,
                       .avail_in = (unsigned)in.size,
                       .zalloc = zlib_take_memory,
                       .zfree = zlib_give_memory};
    enum unpacked result = UNPACKED_DAMAGED;
    text_clear(out);
    if (inflateInit2(&stream, window) != Z_OK)
        return UNPACKED_DAMAGED;
    for (;;) {
        stream.next_out = (unsigned char *)piece;
        stream.avail_out = sizeof piece;
        int rc = inflate(&stream, Z_NO_FLUSH);
        text_append(out, piece, sizeof piece - stream.avail_out);
        if (out->length > max_bytes)
            result = UNPACKED_TOO_LARGE;
        else if (rc == Z_OK || (rc == Z_STREAM_END && next_member(&stream, window)))
            continue;
        else if (rc == Z_STREAM_END)
            result = UNPACKED;
        break;
    }
    inflateEnd(&stream);
    return result;
}

static bool is_zlib(struct span in)
{
    unsigned first = in.size > 1 ? (unsigned char)in.bytes[0] : 0;
    return (first & 0x0f) == 8 && (first * 256 + (unsigned char)in.bytes[1]) % 31 == 0;
}

/* Whether the result of unpacking counts. Of damaged layers, only a packed answer unpacks to an
 * object's start. */
static bool is_of_use(const struct text *out, const struct answer_form *form, enum unpacked result)
{
    return result != UNPACKED_DAMAGED ||
           (form->damaged && out->length && memchr(out->data, '{', out->length));
}

/* Unpacks one layer, if there is one. `deflate` may mean two formats, with and without zlib's
 * header, and a Content-Encoding may be wrong. */
static enum unpacked unpack_layer(struct text *out, struct span in, const struct answer_form *form,
                                  bool *packed)
{
    bool deflate = strcasestr(form->content_encoding, "deflate");
    enum unpacked result = UNPACKED_DAMAGED;
    *packed = true;
    if (is_gzip(in))
        return unpack(out, in, GZIP_WINDOW, form->max_bytes);
    if (is_zlib(in))
        result = unpack(out, in, ZLIB_WINDOW, form->max_bytes);
    if (!is_of_use(out, form, result) && deflate && in.size && in.bytes[0] != '{')
        result = unpack(out, in, RAW_WINDOW, form->max_bytes);
    *packed = is_of_use(out, form, result);
    return *packed ? result : UNPACKED;
}

static int unpack_all(struct text *unpacked, struct span *body, const struct answer_form *form,
                      const char **reason)
{
    bool packed = true;
    for (int layer = 0; layer < LAYERS && packed; layer++) {
        struct text out = {0};
        enum unpacked result = unpack_layer(&out, *body, form, &packed);
        if (packed && (result == UNPACKED || form->damaged)) {
            text_fini(unpacked);
            *unpacked = out;
            *body = (struct span){out.data, out.length};
            packed = result == UNPACKED;
            continue;
        }
        text_fini(&out);
        if (result == UNPACKED)
            break;
        *reason = result == UNPACKED_TOO_LARGE
                      ? "the answer unpacks to more than platform.answer.max.bytes"
                      : "the answer is packed and damaged";
        return -1;
    }
    return 0;
}

/* ---- characters */

static bool may_follow(unsigned char first, unsigned char second)
{
    return (second & 0xc0) == 0x80 && !(first == 0xe0 && second < 0xa0) &&
           !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
}

/* The length of the well-formed sequence at the start of `in`, or of the damaged one (*damaged):
 * the longest prefix that could become a sequence. A surrogate is one damaged sequence. */
static size_t utf8_step(struct span in, bool *damaged)
{
    const unsigned char *p = (const unsigned char *)in.bytes;
    size_t n = 1, length = 0;
    if (p[0] < 0x80)
        length = 1;
    else if (p[0] >= 0xc2 && p[0] < 0xf5)
        length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < length && n < in.size && may_follow(p[0], p[1]))
        for (n = 2; n < length && n < in.size && (p[n] & 0xc0) == 0x80;)
            n++;
    *damaged = n != length || (p[0] == 0xed && p[1] > 0x9f);
    return n;
}

static struct span behind(struct span in, size_t n)
{
    return (struct span){in.bytes + n, in.size - n};
}

static void add_utf8(struct text *out, struct span in)
{
    bool damaged;
    for (size_t n; in.size; in = behind(in, n)) {
        n = utf8_step(in, &damaged);
        if (damaged)
            text_add(out, REPLACEMENT);
        else
            text_append(out, in.bytes, n);
    }
}

/* The length of the well-formed GB18030 sequence at the start of `in`; with *damaged it is one
 * byte. */
static size_t gb_step(struct span in, bool *damaged)
{
    const unsigned char *p = (const unsigned char *)in.bytes;
    *damaged = false;
    if (p[0] < 0x80)
        return 1;
    bool leads = p[0] > 0x80 && p[0] < 0xff;
    if (leads && in.size > 1 && p[1] >= 0x40 && p[1] != 0x7f && p[1] != 0xff)
        return 2;
    if (leads && in.size > 3 && p[1] >= '0' && p[1] <= '9' && p[2] > 0x80 && p[2] < 0xff &&
        p[3] >= '0' && p[3] <= '9')
        return 4;
    *damaged = true;
    return 1;
}

/* Converts character by character, so that a damaged one affects no other. Without the converter,
 * on a minimal system, the text keeps its structure. */
static void add_gb(struct text *out, struct span in)
{
    iconv_t converter = iconv_open("UTF-8", "GB18030");
    bool damaged;
    for (size_t n; in.size; in = behind(in, n)) {
        char character[16] = "", *from = (char *)in.bytes, *to = character;
        size_t room = sizeof character;
        n = gb_step(in, &damaged);
        size_t left = n;
        if (n == 1 && !damaged)
            text_append(out, in.bytes, 1);
        else if (!damaged && converter != (iconv_t)-1 &&
                 iconv(converter, &from, &left, &to, &room) != (size_t)-1)
            text_append(out, character, sizeof character - room);
        else
            text_add(out, REPLACEMENT);
    }
    if (converter != (iconv_t)-1)
        iconv_close(converter);
}

/* One 16 or 32 bit unit. */
static uint32_t unit_at(struct span in, size_t width, bool little)
{
    uint32_t unit = 0;
    for (size_t i = 0; i < width; i++)
        unit = unit << 8 | (unsigned char)in.bytes[little ? width - 1 - i : i];
    return unit;
}

static bool is_surrogate(uint32_t code)
{
    return code >= 0xd800 && code < 0xe000;
}

static void add_wide(struct text *out, struct span in, size_t width, bool little)
{
    for (size_t n; in.size >= width; in = behind(in, n)) {
        uint32_t code = unit_at(in, width, little), low = 0;
        n = width;
        if (width == 2 && code >= 0xd800 && code < 0xdc00 && in.size >= 4)
            low = unit_at(behind(in, 2), 2, little);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            n = 4;
        }
        if (is_surrogate(code) || code > 0x10ffff)
            text_add(out, REPLACEMENT);
        else
            text_code_point(out, code);
    }
    if (in.size)
        text_add(out, REPLACEMENT);
}

/* The width of the units of UTF-16 and UTF-32, judged by a byte order mark, or by the zeros of the
 * first two characters, which are ASCII in JSON; 0: neither. */
static size_t wide_units(struct span in, bool *little)
{
    const char *p = in.bytes;
    if (in.size < 4)
        return 0;
    *little = p[0] != 0 && (unsigned char)p[0] != 0xfe;
    if (!memcmp(p, "\xff\xfe\0\0", 4) || !memcmp(p, "\0\0\xfe\xff", 4) ||
        (!p[0] && !p[1] && !p[2] && p[3]) || (p[0] && !p[1] && !p[2] && !p[3]))
        return 4;
    if (!memcmp(p, "\xff\xfe", 2) || !memcmp(p, "\xfe\xff", 2) || (!p[0] && p[1]) ||
        (p[0] && !p[1]))
        return 2;
    return 0;
}

static bool names_gb(const char *content_type)
{
    static const char *const names[] = {"gb2312", "gb_2312", "gbk",    "gb18030",
                                        "cp936",  "ms936",   "euc-cn", "windows-936"};
    const char *charset = strcasestr(content_type, "charset");
    for (size_t i = 0; charset && i < sizeof names / sizeof *names; i++)
        if (strcasestr(charset, names[i]))
            return true;
    return false;
}

struct fit {
    size_t damaged, long_sequences; /* of three bytes and more */
};

static struct fit fit_of(struct span in, size_t (*step)(struct span in, bool *damaged))
{
    struct fit fit = {0};
    bool damaged;
    for (size_t n; in.size; in = behind(in, n)) {
        n = step(in, &damaged);
        fit.damaged += damaged && n < 3; /* three bytes that nearly fit are not accidental */
        fit.long_sequences += !damaged && n > 2;
    }
    return fit;
}

/* Whether a text that is not UTF-8 is probably GB18030. Chinese text in UTF-8 that was cut within a
 * character has complete characters of three bytes as well; text in GBK hardly ever looks like
 * that. */
static bool is_rather_gb(struct span in)
{
    struct fit utf8 = fit_of(in, utf8_step), gb = fit_of(in, gb_step);
    return utf8.damaged > utf8.long_sequences && gb.damaged < utf8.damaged;
}

static void decode(struct text *out, struct span in, const char *content_type)
{
    bool little;
    size_t width = wide_units(in, &little);
    bool marked = in.size >= 3 && !memcmp(in.bytes, "\xef\xbb\xbf", 3);
    bool utf8 = text_is_utf8(in.bytes, in.size);
    if (width)
        add_wide(out, in, width, little);
    else if (!marked && (names_gb(content_type) || (!utf8 && is_rather_gb(in))))
        add_gb(out, in);
    else
        add_utf8(out, in);
}

int answer_text(struct text *out, const char *body, size_t size, const struct answer_form *form,
                const char **reason)
{
    struct text unpacked = {0}, decoded = {0};
    struct span in = {body, size};
    int rc = unpack_all(&unpacked, &in, form, reason);
    if (rc == 0) {
        decode(&decoded, in, form->content_type);
        const char *from = decoded.data;
        size_t left = decoded.length;
        while (left >= 3 && !memcmp(from, "\xef\xbb\xbf", 3))
            from += 3, left -= 3;
        text_append(out, left ? from : "", left);
    }
    text_fini(&decoded);
    text_fini(&unpacked);
    return rc;
}
