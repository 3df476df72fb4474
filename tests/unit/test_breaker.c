/* The circuit breaker, the rate limit and the back-off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/backoff.h"
#include "core/breaker.h"
#include "core/limiter.h"

static void opens_at_the_limit(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, 3, 5000);
    breaker_failure(&breaker, 10);
    breaker_failure(&breaker, 11);
    assert_int_equal(breaker_update(&breaker, 12), BREAKER_CLOSED);
    breaker_success(&breaker); /* only consecutive ones count */
    breaker_failure(&breaker, 13);
    breaker_failure(&breaker, 14);
    assert_int_equal(breaker_update(&breaker, 15), BREAKER_CLOSED);
    breaker_failure(&breaker, 100);
    assert_int_equal(breaker_update(&breaker, 5099), BREAKER_OPEN);
    assert_int_equal(breaker_update(&breaker, 5100), BREAKER_TRIAL);
}

static void what_comes_late_changes_nothing(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, 1, 5000);
    breaker_failure(&breaker, 0);
    breaker_failure(&breaker, 4000);
    breaker_trip(&breaker, 4000);
    breaker_success(&breaker);
    assert_int_equal(breaker_update(&breaker, 4999), BREAKER_OPEN);
    assert_int_equal(breaker_update(&breaker, 5000), BREAKER_TRIAL);
}

static void pauses_double_to_a_minute(void **state)
{
    (void)state;
    static const int64_t pauses[] = {5000, 10000, 20000, 40000, 60000, 60000};
    struct breaker breaker;
    int64_t now = 1;
    breaker_init(&breaker, 2, 5000);
    breaker_trip(&breaker, now);
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        assert_int_equal(breaker.until_ms - now, pauses[i]);
        now = breaker.until_ms;
        assert_int_equal(breaker_update(&breaker, now), BREAKER_TRIAL);
        breaker_failure(&breaker, now); /* one failed trial is enough */
        assert_int_equal(breaker.state, BREAKER_OPEN);
    }
    breaker_update(&breaker, breaker.until_ms);
    breaker_success(&breaker);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    breaker_trip(&breaker, 0);
    assert_int_equal(breaker.until_ms, 5000);
}

static void a_long_first_pause_stays(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, 1, 90000);
    breaker_trip(&breaker, 0);
    breaker_update(&breaker, 90000);
    breaker_trip(&breaker, 90000);
    assert_int_equal(breaker.until_ms, 180000);
}

/* How many start in that time when asked each ms. */
static int64_t started(int64_t per_second, int64_t from_ms, int64_t until_ms)
{
    struct limiter limiter;
    int64_t count = 0;
    limiter_init(&limiter, per_second);
    for (int64_t now = from_ms; now < until_ms; now++)
        while (limiter_due_ms(&limiter) <= now && count < 1000000) {
            limiter_take(&limiter, now);
            count++;
        }
    return count;
}

static void rates_are_kept(void **state)
{
    (void)state;
    assert_int_equal(started(1, 50000, 60000), 10);
    assert_int_equal(started(10, 50000, 60000), 100);
    assert_in_range(started(100, 50000, 60000), 1000, 1002);
    assert_in_range(started(3000, 50000, 60000), 29500, 30061);
    assert_in_range(started(3000, 50000, 50001), 1, 61); /* no burst after a rest */
    assert_int_equal(started(0, 50000, 50001), 1000000);
}

static void back_off_grows_and_is_random(void **state)
{
    (void)state;
    static const int64_t most[] = {500, 1000, 2000, 4000, 8000, 10000, 10000};
    for (int tries = 1; tries <= 7; tries++) {
        assert_int_equal(backoff_ms(tries, 0), 0);
        assert_int_equal(backoff_ms(tries, (uint64_t)most[tries - 1]), most[tries - 1]);
        for (uint64_t random = 0; random < 50000; random += 7)
            assert_true(backoff_ms(tries, random) <= most[tries - 1]);
    }
    assert_true(backoff_ms(1000000, UINT64_MAX) <= 10000);
    assert_true(backoff_ms(1000000, UINT64_MAX) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_at_the_limit),
        cmocka_unit_test(what_comes_late_changes_nothing),
        cmocka_unit_test(pauses_double_to_a_minute),
        cmocka_unit_test(a_long_first_pause_stays),
        cmocka_unit_test(rates_are_kept),
        cmocka_unit_test(back_off_grows_and_is_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
