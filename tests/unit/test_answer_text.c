/* Answers in every form: packed, in other encodings, damaged. */
#include <iconv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "core/answer_text.h"

#define JSON     "{\"Flag\":1,\"Msg\":\"8617115230000\"}"
#define REPLACED "\xef\xbf\xbd"

enum { GZIP = 31, ZLIB = 15, RAW = -15 };

static void pack(struct text *out, const char *bytes, size_t size, int window)
{
    static char packed[1 << 20];
    z_stream stream = {.next_in = (unsigned char *)bytes,
                       .avail_in = (unsigned)size,
                       .next_out = (unsigned char *)packed,
                       .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window, 8, 0), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    text_append(out, packed, sizeof packed - stream.avail_out);
    deflateEnd(&stream);
}

static int read_text(struct text *out, const char *body, size_t size, const char *type,
                     const char *encoding, const char **reason)
{
    struct answer_form form = {type, encoding, 100000, false};
    return answer_text(out, body, size, &form, reason);
}

static void reads(const char *body, size_t size, const char *type, const char *encoding,
                  const char *expected)
{
    struct text out = {0};
    const char *reason = NULL;
    if (read_text(&out, body, size, type, encoding, &reason))
        fail_msg("%s (%s, %s)", reason, type, encoding);
    if (out.length != strlen(expected) || strcmp(out.data, expected) != 0)
        fail_msg("%s (%s, %s), not %s", out.data, type, encoding, expected);
    text_fini(&out);
}

static void is_unreadable(const struct text *body, const char *encoding, const char *expected)
{
    struct text out = {0};
    const char *reason = NULL;
    assert_int_equal(read_text(&out, body->data, body->length, "", encoding, &reason), -1);
    assert_string_equal(reason, expected);
    text_fini(&out);
}

static void packed_answers(void **state)
{
    (void)state;
    static const struct {
        int window[3];
        const char *encoding;
    } cases[] = {
        {{GZIP}, "gzip"},
        {{GZIP}, "x-gzip"},
        {{GZIP}, ""},
        {{GZIP}, "identity"},
        {{ZLIB}, "deflate"},
        {{ZLIB}, ""},
        {{RAW}, "deflate"},
        {{RAW}, "Deflate"},
        {{GZIP, GZIP}, "gzip, gzip"},
        {{RAW, GZIP}, "deflate, gzip"},
        {{GZIP, RAW}, "gzip,deflate"},
        {{GZIP, ZLIB, GZIP}, "gzip"},
        {{0}, "gzip"},
        {{0}, "deflate"},
        {{0}, "br"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text body = {0}, next = {0};
        text_add(&body, JSON);
        for (int layer = 0; layer < 3 && cases[i].window[layer]; layer++) {
            pack(&next, body.data, body.length, cases[i].window[layer]);
            text_fini(&body);
            body = next;
            next = (struct text){0};
        }
        reads(body.data, body.length, "", cases[i].encoding, JSON);
        text_fini(&body);
    }
}

static void members_of_gzip(void **state)
{
    (void)state;
    struct text body = {0};
    pack(&body, JSON, 10, GZIP);
    pack(&body, &JSON[10], sizeof JSON - 11, GZIP);
    reads(body.data, body.length, "", "gzip", JSON);
    text_append(&body, "\0\0rest", 6);
    reads(body.data, body.length, "", "gzip", JSON);
    text_fini(&body);
}

static void damaged_packing(void **state)
{
    (void)state;
    struct text body = {0}, cut = {0};
    pack(&body, JSON, sizeof JSON - 1, GZIP);
    for (size_t n = 3; n < body.length; n++) {
        text_clear(&cut);
        text_append(&cut, body.data, n);
        is_unreadable(&cut, "gzip", "the answer is packed and damaged");
    }
    body.data[body.length - 6] ^= 1; /* the checksum */
    is_unreadable(&body, "gzip", "the answer is packed and damaged");
    text_fini(&body);
    text_fini(&cut);
}

static void bombs(void **state)
{
    (void)state;
    struct text body = {0}, outer = {0};
    char *zeros = calloc(1, 100001);
    memset(zeros, ' ', 100001);
    memcpy(zeros, "{}", 2);
    pack(&body, zeros, 100000, GZIP);
    zeros[100000] = 0;
    reads(body.data, body.length, "", "", zeros);
    zeros[100000] = ' ';
    text_clear(&body);
    pack(&body, zeros, 100001, GZIP);
    is_unreadable(&body, "gzip", "the answer unpacks to more than platform.answer.max.bytes");
    pack(&outer, body.data, body.length, ZLIB);
    is_unreadable(&outer, "", "the answer unpacks to more than platform.answer.max.bytes");
    text_fini(&body);
    text_fini(&outer);
    free(zeros);
}

static void byte_order_marks(void **state)
{
    (void)state;
    reads("\xef\xbb\xbf{}", 5, "", "", "{}");
    reads("\xef\xbb\xbf\xef\xbb\xbf{}", 8, "", "", "{}");
    reads("\xff\xfe{\0}\0", 6, "", "", "{}");
    reads("\xfe\xff\0{\0}", 6, "", "", "{}");
    reads("{\0}\0", 4, "", "", "{}");
    reads("\0{\0}", 4, "text/plain; charset=gbk", "", "{}");
    reads("\xff\xfe\0\0{\0\0\0}\0\0\0", 12, "", "", "{}");
    reads("\0\0\0{\0\0\0}", 8, "", "", "{}");
    reads("\xff\xfe\"\0\x11\x62\x3d\xd8\x00\xde\"\0", 12, "", "",
          "\"\xe6\x88\x91\xf0\x9f\x98\x80\"");
    reads("\xff\xfe\"\0\x3d\xd8\"\0x", 9, "", "", "\"" REPLACED "\"" REPLACED);
    reads("", 0, "", "", "");
    reads("\xef\xbb\xbf", 3, "", "", "");
}

/* A Debian 13 of few packages has no converter: then there is nothing to compare. */
static void need_converter(void)
{
    iconv_t converter = iconv_open("UTF-8", "GB18030");
    if (converter == (iconv_t)-1)
        skip();
    iconv_close(converter);
}

static void gb_text(void **state)
{
    (void)state;
    need_converter();
    static const char failed[] = "{\"Msg\":\"\xca\xa7\xb0\xdc\"}",
                      utf8[] = "{\"Msg\":\"\xe5\xa4\xb1\xe8\xb4\xa5\"}";
    reads(failed, sizeof failed - 1, "", "", utf8);
    reads(failed, sizeof failed - 1, "application/json;charset=utf-8", "", utf8);
    reads(failed, sizeof failed - 1, "application/json; charset=\"GB2312\"", "", utf8);
    reads(utf8, sizeof utf8 - 1, "application/json", "", utf8);
    /* What would pass for UTF-8 is what the charset says; */
    static const char system[] = "{\"Msg\":\"\xcf\xb5\xcd\xb3\"}";
    reads(system, sizeof system - 1, "text/json;charset=GBK", "",
          "{\"Msg\":\"\xe7\xb3\xbb\xe7\xbb\x9f\"}");
    /* a second byte may look like a backslash; four bytes; half a character at the end. */
    reads("\"\x81\x5c\"", 4, "", "", "\"\xe4\xb9\x97\"");
    reads("\"\x81\x30\x89\x38\x81\x30\x81\x30\"", 10, "x;charset=gb18030", "",
          "\"\xc3\x9f\xc2\x80\"");
    reads("\"\xca\xa7\xb0\"", 5, "x;charset=gbk", "", "\"\xe5\xa4\xb1" REPLACED "\"");
    reads("\"\xff\x80\"", 4, "x;charset=gbk", "", "\"" REPLACED REPLACED "\"");
}

static void damaged_utf8(void **state)
{
    (void)state;
    reads("\"\xe5\xa4\xb1\xe8\xb4\"", 7, "", "", "\"\xe5\xa4\xb1" REPLACED "\"");
    reads("\"\xe5\xa4\xb1\xe8\"", 6, "", "", "\"\xe5\xa4\xb1" REPLACED "\"");
    reads("\"\xe5\xa4\xb1\xf0\x9f\x98\"", 8, "", "", "\"\xe5\xa4\xb1" REPLACED "\"");
    reads("\"\xa4\xb1\xe8\xb4\xa5\xe8\xb4\xa5\"", 10, "", "",
          "\"" REPLACED REPLACED "\xe8\xb4\xa5\xe8\xb4\xa5\"");
    reads("\"\xff\"", 3, "", "", "\"" REPLACED "\"");
    reads("\"\xe5\xa4\xb1\xed\xa0\x80\"", 8, "", "", "\"\xe5\xa4\xb1" REPLACED "\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_answers),   cmocka_unit_test(members_of_gzip),
        cmocka_unit_test(damaged_packing),  cmocka_unit_test(bombs),
        cmocka_unit_test(byte_order_marks), cmocka_unit_test(gb_text),
        cmocka_unit_test(damaged_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
