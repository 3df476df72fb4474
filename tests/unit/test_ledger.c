/* The ledger's codec: round trips of random states, damage, and the bound that keeps it small. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/ledger.h"
#include "page.h"

static uint64_t seed = 1;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static void draw_doubts(struct ledger *ledger, size_t most)
{
    ledger->doubt_count = draw(most + 1);
    for (size_t i = 0; i < ledger->doubt_count; i++)
        ledger->doubts[i] = (uint32_t)draw(1 << 24);
}

static struct ledger random_ledger(int runs, int longest)
{
    struct ledger ledger = {.base = (int64_t)draw(1000000), .sequence = draw(1u << 20)};
    snprintf(ledger.owner, sizeof ledger.owner, "%s", draw(3) ? "worker-1.a_B" : "");
    ledger.doubt = draw(2);
    draw_doubts(&ledger, draw(2) ? LEDGER_DOUBTS : 2);
    for (int i = 0; i < runs; i++)
        ledger_add(&ledger, (enum ledger_mark)draw(3), 1 + (int64_t)draw((uint64_t)longest));
    return ledger;
}

static struct ledger decoded(int64_t base, const char *metadata)
{
    struct ledger ledger = {0};
    struct error error;
    assert_int_equal(ledger_decode(&ledger, base, metadata, strlen(metadata), &error), 0);
    return ledger;
}

static void assert_same(const struct ledger *a, const struct ledger *b)
{
    assert_int_equal(a->base, b->base);
    assert_int_equal(a->sequence, b->sequence);
    assert_string_equal(a->owner, b->owner);
    assert_int_equal(a->doubt, b->doubt);
    assert_int_equal(a->doubt_count, b->doubt_count);
    assert_memory_equal(a->doubts, b->doubts, a->doubt_count * sizeof *a->doubts);
    assert_int_equal(a->run_count, b->run_count);
    for (size_t i = 0; i < a->run_count; i++) {
        assert_int_equal(a->runs[i].mark, b->runs[i].mark);
        assert_int_equal(a->runs[i].length, b->runs[i].length);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct ledger ledger =
            random_ledger((int)draw(60), draw(2) ? 1 + (int)draw(3) : 1 + (int)draw(1000));
        ledger_trim(&ledger);
        struct text text = {0};
        ledger_encode(&ledger, &text);
        struct ledger back = decoded(ledger.base, text.data);
        assert_same(&ledger, &back);
        for (size_t k = 0; k < text.length; k++)
            assert_in_range(text.data[k], 0x20, 0x7e);
        ledger_fini(&back);
        ledger_fini(&ledger);
        text_fini(&text);
    }
}

static void test_damage_of_every_byte_is_seen(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        struct ledger ledger = random_ledger(20, i % 2 ? 2 : 300), back = {0};
        struct text text = {0};
        struct error error;
        ledger_encode(&ledger, &text);
        for (size_t k = 0; k < text.length; k++) {
            for (int bit = 0; bit < 8; bit++) {
                text.data[k] = (char)(text.data[k] ^ (1 << bit));
                assert_int_equal(ledger_decode(&back, ledger.base, text.data, text.length, &error),
                                 -1);
                assert_int_equal(back.run_count, 0);
                text.data[k] = (char)(text.data[k] ^ (1 << bit));
            }
            assert_int_equal(ledger_decode(&back, ledger.base, text.data, k, &error),
                             k ? -1 : 0); /* cut */
        }
        assert_int_equal(ledger_decode(&back, ledger.base + 1, text.data, text.length, &error), -1);
        ledger_fini(&ledger);
        ledger_fini(&back);
        text_fini(&text);
    }
}

static void test_empty_metadata_is_a_base(void **state)
{
    (void)state;
    struct ledger ledger = decoded(77, "");
    assert_int_equal(ledger.base, 77);
    assert_int_equal(ledger.sequence, 0);
    assert_string_equal(ledger.owner, "");
    assert_int_equal(ledger_at(&ledger, 76), LEDGER_DONE);
    assert_int_equal(ledger_at(&ledger, 77), LEDGER_FRESH);
    ledger_fini(&ledger);
}

static void test_foreign_metadata_is_not_trusted(void **state)
{
    (void)state;
    static const char *const foreign[] = {"x",    "pcw2:1::00000000:r",
                                          "pcw1", "pcw1:1:a:b:",
                                          "{}",   "pcw1:18446744073709551616::00000000:r",
                                          "::::"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct ledger ledger = {0};
        struct error error = {""};
        assert_int_equal(ledger_decode(&ledger, 5, foreign[i], strlen(foreign[i]), &error), -1);
        assert_string_not_equal(error.text, "");
        assert_int_equal(ledger.base, 5);
        ledger_fini(&ledger);
    }
}

static void assert_refused(struct ledger *ledger)
{
    struct ledger back = {0};
    struct error error = {""};
    struct text text = {0};
    ledger_encode(ledger, &text);
    assert_int_equal(ledger_decode(&back, ledger->base, text.data, text.length, &error), -1);
    assert_string_not_equal(error.text, "");
    assert_int_equal(back.run_count, 0);
    text_fini(&text);
    ledger_fini(&back);
    ledger_fini(ledger);
}

/* Whoever can compute the checksum has not thereby written what a worker could have. */
static void test_what_nobody_writes_is_refused(void **state)
{
    (void)state;
    for (int64_t length = LEDGER_MAX - 30; length < 4096 + 10; length++) {
        struct ledger ledger = {.base = 1, .sequence = 1};
        struct text text = {0};
        for (int64_t i = 0; i < (length - 18) * 3; i++)
            ledger_add(&ledger, i % 3 ? LEDGER_DONE : LEDGER_STARTED, 1);
        ledger_encode(&ledger, &text);
        bool fits = text.length <= LEDGER_MAX;
        text_fini(&text);
        if (!fits)
            assert_refused(&ledger);
        ledger_fini(&ledger);
    }
    struct ledger claims_all = {.base = 1, .sequence = 1};
    ledger_add(&claims_all, LEDGER_STARTED, LEDGER_STARTED_MAX + 1);
    assert_refused(&claims_all);
    struct ledger own_base = {.base = 1, .sequence = 1};
    ledger_add(&own_base, LEDGER_DONE, 1);
    ledger_add(&own_base, LEDGER_STARTED, 1);
    assert_refused(&own_base);
    struct ledger last_sequence = {.base = 1, .sequence = INT64_MAX};
    assert_refused(&last_sequence);
    struct ledger far_away = {.base = INT64_MAX - 1, .sequence = 1};
    ledger_add(&far_away, LEDGER_STARTED, 5);
    assert_refused(&far_away);
    struct ledger below = {.base = -5, .sequence = 1};
    assert_refused(&below);
    struct ledger wide = {.base = INT64_MAX / 4, .sequence = 1};
    ledger_add(&wide, LEDGER_FRESH, INT64_MAX / 4);
    ledger_add(&wide, LEDGER_FRESH, 2);
    ledger_add(&wide, LEDGER_STARTED, 2);
    assert_refused(&wide);
}

/* The names of doubts, with a checksum that is right. */
static void test_damaged_names(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        int rc;
    } cases[] = {{"pcw1:0::ab91a874:xAAAA.r", 0},  {"pcw1:0::cc0c9e77:xAAAABBBB.bA", 0},
                 {"pcw1:0::d949cf24:xAAAA.Rs", 0}, {"pcw1:0::2fc559ab:xAAAA", -1},
                 {"pcw1:0::4fff5d7b:xAAAA.", -1},  {"pcw1:0::cf4737cc:xAAA.r", -1},
                 {"pcw1:0::8a78b750:xAA=A.r", -1}, {"pcw1:0::53ec388e:xAAAA.xAAAA.r", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ledger ledger = {0};
        struct error error = {""};
        assert_int_equal(
            ledger_decode(&ledger, 0, cases[i].metadata, strlen(cases[i].metadata), &error),
            cases[i].rc);
        ledger_fini(&ledger);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(ledger_name("123456789"), 0xf43926); /* of CRC-32's check value, cbf43926 */
    assert_int_not_equal(ledger_name("o-1"), ledger_name("o-2"));
}

static void test_marks_and_trim(void **state)
{
    (void)state;
    struct ledger ledger = {.base = 10};
    ledger_add(&ledger, LEDGER_DONE, 2);
    ledger_add(&ledger, LEDGER_STARTED, 1);
    ledger_add(&ledger, LEDGER_FRESH, 3);
    ledger_add(&ledger, LEDGER_DONE, 1);
    ledger_add(&ledger, LEDGER_FRESH, 4);
    assert_int_equal(ledger_at(&ledger, 11), LEDGER_DONE);
    assert_int_equal(ledger_at(&ledger, 12), LEDGER_STARTED);
    assert_int_equal(ledger_at(&ledger, 16), LEDGER_DONE);
    ledger_trim(&ledger);
    assert_int_equal(ledger.base, 12);
    assert_int_equal(ledger.run_count, 3);
    assert_int_equal(ledger_at(&ledger, 12), LEDGER_STARTED);
    assert_int_equal(ledger_at(&ledger, 16), LEDGER_DONE);
    assert_int_equal(ledger_at(&ledger, 20), LEDGER_FRESH);
    ledger_fini(&ledger);
}

static int64_t undone_of(const struct ledger *ledger, int64_t *span)
{
    int64_t undone = 0;
    *span = 0;
    for (size_t i = 0; i < ledger->run_count; i++) {
        *span += ledger->runs[i].length;
        if (ledger->runs[i].mark != LEDGER_DONE)
            undone += ledger->runs[i].length;
    }
    return undone;
}

/* Whatever the state, what ledger_bound says is not exceeded. */
static void test_bound_is_an_upper_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 4000; i++) {
        struct ledger ledger = {.base = INT64_MAX / 2, .sequence = INT64_MAX};
        memset(ledger.owner, 'w', sizeof ledger.owner - 1);
        draw_doubts(&ledger, LEDGER_DOUBTS);
        int pairs = (int)draw(i % 10 ? 50 : 1500), longest = 1 << draw(14);
        for (int k = 0; k < pairs; k++) {
            ledger_add(&ledger, draw(2) ? LEDGER_STARTED : LEDGER_FRESH,
                       1 + (int64_t)draw(1 + draw(4)));
            ledger_add(&ledger, LEDGER_DONE, 1 + (int64_t)draw((uint64_t)longest));
        }
        struct text text = {0};
        int64_t span, undone = undone_of(&ledger, &span);
        ledger_encode(&ledger, &text);
        assert_true(text.length <=
                    ledger_bound(undone, span) + (size_t)ledger_doubts_size(ledger.doubt_count));
        text_fini(&text);
        ledger_fini(&ledger);
    }
}

static void test_bound_never_grows_by_progress(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t span = 1 + (int64_t)draw(1 + draw(200000)),
                undone = (int64_t)draw((uint64_t)span + 1);
        size_t bound = ledger_bound(undone, span);
        assert_true(ledger_bound(undone - (undone > 0), span) <= bound);
        assert_true(ledger_bound(undone, span - 1) <= bound);
        assert_true(ledger_bound(undone - (undone > 0), span - 1) <= bound);
    }
}

static void test_sure_span_fits_whatever_stands_in_it(void **state)
{
    (void)state;
    int64_t most = LEDGER_MAX - ledger_doubts_size(LEDGER_DOUBTS);
    assert_true(ledger_sure_span(most) >= 10000); /* the default window */
    for (int64_t undone = 0; undone <= ledger_sure_span(most); undone++)
        assert_true((int64_t)ledger_bound(undone, ledger_sure_span(most)) <= most);
    struct ledger ledger = {.base = 1, .sequence = INT64_MAX / 4, .doubt_count = LEDGER_DOUBTS};
    struct text text = {0};
    memset(ledger.owner, 'w', sizeof ledger.owner - 1);
    for (int64_t i = 0; i < ledger_sure_span(most); i++)
        ledger_add(&ledger, (enum ledger_mark)((i + i / 7) % 3), 1);
    ledger_encode(&ledger, &text);
    assert_true(text.length <= LEDGER_MAX);
    struct ledger back = decoded(1, text.data);
    assert_int_equal(back.sequence, INT64_MAX / 4);
    assert_string_equal(back.owner, ledger.owner);
    ledger_fini(&back);
    ledger_fini(&ledger);
    text_fini(&text);
}

/* The examples of docs/records.md: each is read, and written in the same way. */
static void test_the_document_has_true_examples(void **state)
{
    (void)state;
    char line[1024];
    int examples = 0;
    FILE *file = open_page("docs/records.md");
    while (fgets(line, sizeof line, file)) {
        int64_t base;
        char metadata[256];
        struct text again = {0};
        if (sscanf(line, "| %" SCNd64 " | `%255[^`]`", &base, metadata) != 2)
            continue;
        struct ledger ledger = decoded(base, metadata);
        assert_int_equal(ledger.base, base);
        ledger_encode(&ledger, &again);
        assert_string_equal(again.data, metadata);
        text_fini(&again);
        ledger_fini(&ledger);
        examples++;
    }
    fclose(file);
    assert_int_equal(examples, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_damage_of_every_byte_is_seen),
        cmocka_unit_test(test_empty_metadata_is_a_base),
        cmocka_unit_test(test_foreign_metadata_is_not_trusted),
        cmocka_unit_test(test_what_nobody_writes_is_refused),
        cmocka_unit_test(test_damaged_names),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_marks_and_trim),
        cmocka_unit_test(test_bound_is_an_upper_bound),
        cmocka_unit_test(test_bound_never_grows_by_progress),
        cmocka_unit_test(test_sure_span_fits_whatever_stands_in_it),
        cmocka_unit_test(test_the_document_has_true_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
