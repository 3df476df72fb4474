/* The last quarter of an hour in steps: what each added, gaps, and quantiles from buckets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/history.h"

enum { STEP = HISTORY_STEP_MS, START = 1000 * STEP, LAST = HISTORY_STEPS - 1 };

static struct history history;
static struct history_totals totals;
static struct history_step steps[HISTORY_STEPS];

static int begin(void **state)
{
    (void)state;
    memset(&history, 0, sizeof history);
    memset(&totals, 0, sizeof totals);
    history_add(&history, START, &totals);
    return 0;
}

static void each_step_has_what_it_added(void **state)
{
    (void)state;
    assert_false(history_is_due(&history, START + STEP - 1));
    assert_true(history_is_due(&history, START + STEP));
    totals.results[REQUEST_CALL][STATUS_UNKNOWN] = 3;
    totals.tries[REQUEST_CALL][4] = 7;
    totals.lag[REQUEST_RECORDING] = 11;
    totals.in_flight = 5;
    history_add(&history, START + STEP, &totals);
    totals.results[REQUEST_CALL][STATUS_UNKNOWN] = 4;
    history_add(&history, START + 2 * STEP + 3, &totals);
    assert_int_equal(history_copy(&history, steps), START + 2 * STEP);
    assert_int_equal(steps[LAST - 1].results[REQUEST_CALL][STATUS_UNKNOWN], 3);
    assert_int_equal(steps[LAST - 1].tries[REQUEST_CALL], 7);
    assert_int_equal(steps[LAST - 1].tries[REQUEST_RECORDING], 0);
    assert_int_equal(steps[LAST - 1].p50_us[REQUEST_RECORDING], -1);
    assert_true(steps[LAST - 1].p50_us[REQUEST_CALL] > histogram_bounds_us[3]);
    assert_true(steps[LAST - 1].p99_us[REQUEST_CALL] <= histogram_bounds_us[4]);
    assert_int_equal(steps[LAST].results[REQUEST_CALL][STATUS_UNKNOWN], 1);
    assert_int_equal(steps[LAST].tries[REQUEST_CALL], 0);
    assert_int_equal(steps[LAST].lag[REQUEST_RECORDING], 11);
    assert_int_equal(steps[LAST].in_flight, 5);
    assert_false(steps[LAST - 2].known);
}

static void steps_without_the_process_are_not_known(void **state)
{
    (void)state;
    history_add(&history, START + STEP, &totals);
    totals.results[REQUEST_CALL][STATUS_SUCCEEDED] = 2;
    history_add(&history, START + 4 * STEP, &totals);
    history_copy(&history, steps);
    assert_int_equal(steps[LAST].results[REQUEST_CALL][STATUS_SUCCEEDED], 2);
    assert_false(steps[LAST - 1].known || steps[LAST - 2].known);
    assert_true(steps[LAST - 3].known);
    history_add(&history, START + (4 + HISTORY_STEPS) * (int64_t)STEP,
                &totals); /* a night's sleep */
    history_copy(&history, steps);
    for (int i = 0; i < LAST; i++)
        assert_false(steps[i].known);
    assert_true(steps[LAST].known);
}

static void the_ring_keeps_the_last_steps(void **state)
{
    (void)state;
    for (int i = 1; i <= HISTORY_STEPS + 50; i++) {
        totals.results[REQUEST_CALL][STATUS_SUCCEEDED] += (uint64_t)i;
        history_add(&history, START + i * (int64_t)STEP, &totals);
    }
    history_copy(&history, steps);
    for (int i = 0; i < HISTORY_STEPS; i++)
        assert_int_equal(steps[i].results[REQUEST_CALL][STATUS_SUCCEEDED], i + 51);
}

static void quantiles(void **state)
{
    (void)state;
    uint64_t counts[HISTOGRAM_BOUNDS + 1] = {0};
    assert_int_equal(history_quantile(counts, 0.5), -1);
    counts[0] = 1;
    assert_in_range(history_quantile(counts, 0.99), 1, histogram_bounds_us[0]);
    counts[0] = 90;
    counts[6] = 9;
    counts[HISTOGRAM_BOUNDS] = 1;
    assert_in_range(history_quantile(counts, 0.5), 1, histogram_bounds_us[0]);
    assert_in_range(history_quantile(counts, 0.95), histogram_bounds_us[5], histogram_bounds_us[6]);
    assert_int_equal(history_quantile(counts, 1), histogram_bounds_us[HISTOGRAM_BOUNDS - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_step_has_what_it_added, begin),
        cmocka_unit_test_setup(steps_without_the_process_are_not_known, begin),
        cmocka_unit_test_setup(the_ring_keeps_the_last_steps, begin),
        cmocka_unit_test_setup(quantiles, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
