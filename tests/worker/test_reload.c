/* Files that are read again: a reading that does not end. libuv's pool and the clock are replaced
 * by functions of this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "worker/reload.h"

enum { TOLD_AFTER_MS = 30000, HANGS_MS = 90000, STEP_MS = 1000 };

static int64_t now_ms, told_ms;
static unsigned told, read_again;
static uv_work_t *work;
static uv_work_cb task;
static uv_after_work_cb task_done;

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int64_t __wrap_clock_boot_ms(void);
int64_t __wrap_clock_boot_ms(void)
{
    return now_ms;
}

int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *asked, uv_work_cb run, uv_after_work_cb done);
int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *asked, uv_work_cb run, uv_after_work_cb done)
{
    (void)loop;
    assert_null(work);
    work = asked;
    task = run;
    task_done = done;
    return 0;
}

struct platform_trust *__wrap_platform_trust_load(const struct config *config, struct error *error);
struct platform_trust *__wrap_platform_trust_load(const struct config *config, struct error *error)
{
    (void)config, (void)error;
    return NULL;
}

static uv_timer_cb tick;

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t first, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t first, uint64_t repeat)
{
    (void)timer;
    assert_int_equal(first, STEP_MS);
    assert_int_equal(repeat, STEP_MS);
    tick = callback;
    return 0;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static void end_reading(void)
{
    uv_work_t *ended = work;
    work = NULL;
    task(ended);
    task_done(ended, 0);
}

static void on_failed(void *argument, enum reload_part part, const char *words, bool asked)
{
    (void)argument, (void)part, (void)asked;
    fail_msg("%s", words);
}

static void on_reread(void *argument, unsigned times)
{
    (void)argument;
    read_again += times;
}

static void on_hangs(void *argument, int64_t ms)
{
    (void)argument;
    told++;
    told_ms = ms;
}

static void tells_that_a_reading_does_not_end(void **state)
{
    (void)state;
    static const struct reload_events events = {
        .failed = on_failed, .reread = on_reread, .hangs = on_hangs};
    static const struct config config;
    uv_loop_t loop;
    struct reload reload;
    uv_loop_init(&loop);
    reload_init(&reload, &loop, &config, NULL, &events, NULL);
    for (; now_ms < 10 * STEP_MS; now_ms += STEP_MS) { /* readings that end */
        tick(&reload.timer);
        end_reading();
    }
    reload_now(&reload);
    int64_t began_ms = now_ms;
    for (; now_ms < began_ms + TOLD_AFTER_MS; now_ms += STEP_MS) {
        tick(&reload.timer);
        assert_int_equal(told, 0);
    }
    for (unsigned i = 1; now_ms <= began_ms + HANGS_MS; i++, now_ms += STEP_MS) {
        tick(&reload.timer);
        assert_int_equal(told, i);
        assert_int_equal(told_ms, now_ms - began_ms);
    }
    assert_int_equal(read_again, 0);
    told = 0;
    end_reading();
    assert_int_equal(read_again, 1);
    tick(&reload.timer);
    assert_int_equal(told, 0);
    end_reading();
    reload_fini(&reload);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells_that_a_reading_does_not_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
