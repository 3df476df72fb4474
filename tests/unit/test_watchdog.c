/* The watchdog of partitions that stand still for no known reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/watchdog.h"

enum { AFTER_MS = 60000 };

static bool is_stuck(struct watch *watch, struct watched now, int64_t at_ms)
{
    return watchdog_is_stuck(watch, &now, at_ms, AFTER_MS);
}

static void a_lag_that_grows_is_told(void **state)
{
    (void)state;
    struct watch watch = {0};
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = 5}, 1000));
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = 7}, 2000));
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = 9}, 60999));
    assert_true(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = 9}, 61000));
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 6, .end = 9}, 62000));
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 6, .end = 9}, 200000));
    assert_true(is_stuck(&watch, (struct watched){.base = 5, .next = 6, .end = 10}, 201000));
}

static void whatever_happens_is_progress(void **state)
{
    (void)state;
    const struct watched seen = {.base = 5, .next = 8, .end = 9, .unfinished = 3};
    const struct watched later[] = {
        {.base = 6, .next = 8, .end = 20, .unfinished = 3},
        {.base = 5, .next = 9, .end = 20, .unfinished = 3},
        {.base = 5, .next = 8, .end = 20, .unfinished = 2},
        {.base = 5, .next = 8, .end = 20, .unfinished = 3, .excused = true}};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        struct watch watch = {0};
        assert_false(is_stuck(&watch, seen, 1000));
        assert_false(is_stuck(&watch, later[i], 200000));
    }
    struct watch watch = {0};
    assert_false(is_stuck(&watch, seen, 1000));
    assert_true(is_stuck(&watch, (struct watched){5, 8, 20, 3, false}, 200000));
}

static void an_idle_partition_has_not_been_stuck_before(void **state)
{
    (void)state;
    struct watch watch = {0};
    for (int64_t at = 1000; at < 500000; at += 1000)
        assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = 5}, at));
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = 6}, 500000));
    assert_false(is_stuck(&watch, (struct watched){.base = 5, .next = 5, .end = -1}, 900000));
}

/* The lag of a partition that no broker has served yet cannot be seen to grow. */
static void an_end_that_nobody_tells_is_told(void **state)
{
    (void)state;
    const struct watched unknown = {.base = 0, .next = 0, .end = -1};
    struct watch watch = {0};
    assert_false(is_stuck(&watch, unknown, 1000));
    assert_false(is_stuck(&watch, unknown, 60999));
    assert_true(is_stuck(&watch, unknown, 61000));
    assert_false(is_stuck(&watch, (struct watched){.base = 0, .next = 0, .end = 9}, 62000));
    assert_false(is_stuck(&watch, (struct watched){.base = 0, .next = 0, .end = 9}, 200000));
    assert_false(is_stuck(&watch, (struct watched){.end = -1, .excused = true}, 201000));
    assert_false(is_stuck(&watch, unknown, 260000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lag_that_grows_is_told),
        cmocka_unit_test(whatever_happens_is_progress),
        cmocka_unit_test(an_idle_partition_has_not_been_stuck_before),
        cmocka_unit_test(an_end_that_nobody_tells_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
