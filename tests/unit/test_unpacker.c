/* The unpacker: in any pieces, and with a sink that takes none now and then, the content comes out
 * once and whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/text.h"
#include "core/unpacker.h"

enum { SIZE = 300000, GZIP = 31, ZLIB = 15, RAW = -15, LATER = 7 };

struct taker {
    struct text text;
    int refuse_each, calls;
};

static int take(void *argument, const char *piece, size_t size)
{
    struct taker *taker = argument;
    if (taker->refuse_each && ++taker->calls % taker->refuse_each == 0)
        return LATER;
    text_append(&taker->text, piece, size);
    return 0;
}

/* Half of it compresses very well, half not at all. */
static char *content(void)
{
    char *bytes = test_malloc(SIZE);
    memset(bytes, 'a', SIZE);
    unsigned random = 1;
    for (size_t i = SIZE / 2; i < SIZE; i++)
        bytes[i] = (char)((random = random * 1103515245 + 12345) >> 16);
    return bytes;
}

static size_t compressed(char *out, const char *bytes, size_t n, int window)
{
    z_stream stream = {0};
    assert_int_equal(Z_OK, deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY));
    stream.next_in = (unsigned char *)bytes;
    stream.avail_in = (unsigned)n;
    stream.next_out = (unsigned char *)out;
    stream.avail_out = 2 * SIZE;
    assert_int_equal(Z_STREAM_END, deflate(&stream, Z_FINISH));
    size_t size = 2 * SIZE - stream.avail_out;
    deflateEnd(&stream);
    return size;
}

/* Gives so many bytes at once; refused ones again, together with the next. */
static int give(struct unpacker *unpacker, struct taker *taker, const char *bytes, size_t n,
                size_t step)
{
    size_t more = 0;
    for (size_t at = 0; at < n;) {
        size_t size = step + more < n - at ? step + more : n - at;
        int result = unpacker_take(unpacker, bytes + at, size, take, taker);
        if (result == UNPACKER_DAMAGED)
            return result;
        at += result ? 0 : size;
        more = result ? more + 1 : 0;
    }
    return 0;
}

static void assert_unpacks(const char *packed, size_t n, const char *bytes, size_t size)
{
    static const size_t steps[] = {1, 7, 4096, 2 * SIZE};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (int refuse_each = 0; refuse_each < 4; refuse_each += 2) {
            struct unpacker *unpacker = unpacker_new();
            struct taker taker = {.refuse_each = refuse_each};
            assert_int_equal(0, give(unpacker, &taker, packed, n, steps[i]));
            assert_int_equal(size, taker.text.length);
            assert_memory_equal(bytes, taker.text.data, size);
            assert_true(unpacker_ended(unpacker));
            unpacker_free(unpacker);
            text_fini(&taker.text);
        }
}

static void test_formats(void **state)
{
    (void)state;
    static const int windows[] = {GZIP, ZLIB, RAW};
    char *bytes = content(), *packed = test_malloc(2 * SIZE + 8);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        size_t n = compressed(packed, bytes, SIZE, windows[i]);
        memset(packed + n, 'x', 6); /* behind its end */
        assert_unpacks(packed, n + 6, bytes, SIZE);
    }
    test_free(bytes);
    test_free(packed);
}

static void test_members(void **state)
{
    (void)state;
    char *bytes = content(), *packed = test_malloc(4 * SIZE);
    size_t n = compressed(packed, bytes, SIZE / 3, GZIP);
    n += compressed(packed + n, bytes + SIZE / 3, SIZE - SIZE / 3, GZIP);
    assert_unpacks(packed, n, bytes, SIZE);
    test_free(bytes);
    test_free(packed);
}

/* Content that fills the unpacker's piece to its last byte ends, too. */
static void test_full_piece(void **state)
{
    (void)state;
    char *bytes = content(), *packed = test_malloc(2 * SIZE);
    assert_unpacks(packed, compressed(packed, bytes, 16384, GZIP), bytes, 16384);
    assert_unpacks(packed, compressed(packed, bytes, 32768, ZLIB), bytes, 32768);
    test_free(bytes);
    test_free(packed);
}

static void test_damage(void **state)
{
    (void)state;
    char *bytes = content(), *packed = test_malloc(2 * SIZE);
    size_t n = compressed(packed, bytes, SIZE, GZIP);
    struct unpacker *cut = unpacker_new(), *wrong = unpacker_new(), *none = unpacker_new();
    struct taker taker = {0};
    assert_int_equal(0, give(cut, &taker, packed, n - 1, 4096));
    assert_false(unpacker_ended(cut));
    packed[n - 6] ^= 1;
    assert_int_equal(UNPACKER_DAMAGED, give(wrong, &taker, packed, n, 4096));
    assert_int_equal(UNPACKER_DAMAGED, unpacker_take(wrong, packed, n, take, &taker));
    assert_false(unpacker_ended(wrong));
    assert_int_equal(UNPACKER_DAMAGED, give(none, &taker, "RIFF....WAVE", 12, 12));
    unpacker_free(cut);
    unpacker_free(wrong);
    unpacker_free(none);
    unpacker_free(NULL);
    text_fini(&taker.text);
    test_free(bytes);
    test_free(packed);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(unpacker_knows("gzip"));
    assert_true(unpacker_knows("X-GZIP"));
    assert_true(unpacker_knows("deflate"));
    assert_false(unpacker_knows(""));
    assert_false(unpacker_knows("identity"));
    assert_false(unpacker_knows("gzip, gzip"));
    assert_false(unpacker_knows("br"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),    cmocka_unit_test(test_members),
        cmocka_unit_test(test_full_piece), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
