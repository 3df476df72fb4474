/* What is remembered of a ledger, against the same kept offset by offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/engine/marks.h"

enum { OFFSETS = 120, ROUNDS = 20000 };

static unsigned draw(unsigned below)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static enum ledger_mark draw_mark(void)
{
    return (enum ledger_mark)draw(3);
}

/* The marks of offsets, in a row; 'e' behind the end. */
static void spread(const struct marks *marks, char *out)
{
    int64_t at = marks->base;
    memset(out, 'e', OFFSETS);
    memset(out, 'd', (size_t)(at < OFFSETS ? at : OFFSETS));
    for (size_t i = marks->first; i < marks->count; i++) {
        assert_true(marks->runs[i].length > 0);
        assert_true(i == marks->first || marks->runs[i].mark != marks->runs[i - 1].mark);
        for (int64_t n = marks->runs[i].length; n > 0; n--)
            out[at++] = "fsd"[marks->runs[i].mark];
    }
    assert_int_equal(at, marks->end);
}

static void test_added_set_and_dropped(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct marks marks = {0};
        char naive[OFFSETS], found[OFFSETS];
        int64_t base = draw(10);
        memset(naive, 'e', sizeof naive);
        memset(naive, 'd', (size_t)base);
        marks_reset(&marks, base);
        for (int step = 0; step < 20; step++) {
            enum ledger_mark mark = draw_mark();
            int64_t from = draw(OFFSETS), until = from + draw(20);
            switch (draw(4)) {
            case 0:
                marks_set(&marks, from, until, mark);
                for (int64_t i = from; i < until && i < marks.end; i++)
                    if (i >= marks.base)
                        naive[i] = "fsd"[mark];
                break;
            case 1:
                from = marks.base + draw((unsigned)(marks.end - marks.base) + 1);
                memset(naive, 'd', (size_t)from);
                marks_drop(&marks, from);
                break;
            default:
                until = draw(4);
                if (marks.end + until > OFFSETS)
                    break;
                memset(naive + marks.end, "fsd"[mark], (size_t)until);
                marks_add(&marks, mark, until);
            }
            spread(&marks, found);
            assert_memory_equal(naive, found, sizeof naive);
        }
        marks_fini(&marks);
    }
}

static void fill(struct marks *marks, char *naive, int64_t length)
{
    while (length-- > 0) {
        enum ledger_mark mark = draw(3) ? LEDGER_DONE : draw_mark();
        naive[marks->end] = "fsd"[mark];
        marks_add(marks, mark, 1);
    }
}

static size_t draw_changes(struct mark_change *changes, char *naive, int64_t from, int64_t top)
{
    size_t count = 0;
    for (int64_t i = from; i < top; i++)
        if (!draw(3)) {
            changes[count++] = (struct mark_change){i, draw_mark()};
            naive[i] = "fsd"[changes[count - 1].mark];
        }
    return count;
}

/* Told up to top, and what is done at once behind it if all before is done. */
static void cut(char *naive, int64_t top)
{
    int64_t done = 0;
    while (done < OFFSETS && naive[done] == 'd')
        done++;
    top = done > top ? done : top;
    memset(naive + top, 'e', (size_t)(OFFSETS - top));
}

static void test_told_with_its_changes(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct marks told = {0}, ahead = {0}, telling = {0};
        struct ledger ledger = {0};
        struct mark_change changes[OFFSETS];
        char naive[OFFSETS], found[OFFSETS];
        int64_t base = draw(10);
        memset(naive, 'e', sizeof naive);
        memset(naive, 'd', (size_t)base);
        marks_reset(&told, base);
        fill(&told, naive, draw(20));
        marks_reset(&ahead, told.end);
        fill(&ahead, naive, draw(20));
        int64_t top = told.end + draw((unsigned)(ahead.end - told.end) + 1);
        size_t count = draw_changes(changes, naive, base, top);
        cut(naive, top);
        ledger_reset(&ledger, base);
        marks_write(&told, &ahead, top, changes, count, &ledger);
        marks_take(&telling, &ledger);
        spread(&telling, found);
        assert_memory_equal(naive, found, sizeof naive);
        assert_true(telling.base == telling.end || telling.runs[telling.first].mark != LEDGER_DONE);
        marks_fini(&told);
        marks_fini(&ahead);
        marks_fini(&telling);
        ledger_fini(&ledger);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_added_set_and_dropped),
        cmocka_unit_test(test_told_with_its_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
