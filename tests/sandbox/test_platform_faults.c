/* The grammar of faults and what they hit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sandbox/platform/faults.h"

static struct sandbox_faults read_faults(const char *spec)
{
    struct sandbox_faults faults;
    struct error error;
    sandbox_faults_init(&faults, 7);
    if (sandbox_faults_add(&faults, spec, &error))
        fail_msg("%s", error.text);
    return faults;
}

static struct sandbox_fault_choice choose(struct sandbox_faults *faults, const char *caller,
                                          uint64_t occurrence)
{
    return sandbox_faults_choose(faults, &(struct sandbox_fault_subject){.endpoint = "call",
                                                                         .caller = caller,
                                                                         .callee = "18326070001",
                                                                         .occurrence = occurrence});
}

static void refuses_what_is_malformed(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "nope",
        "latency",
        "latency=",
        "latency=5",
        "latency=5m",
        "latency=9-5ms",
        "latency=2s-1500ms",
        "latency=5m-9ms",
        "latency=-1ms",
        "status",
        "status=99",
        "status=600",
        "status=x",
        "flag",
        "hang=1",
        "hang@",
        "hang@5",
        "hang@101%",
        "hang@-1%",
        "hang@x%",
        "hang?",
        "hang?who=1",
        "hang?caller=",
        "hang?times=0",
        "hang?endpoint=x",
        "refuse?caller=114",
        "idle-close=1",
        "latency=1ms,nope",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sandbox_faults faults;
        struct error error;
        sandbox_faults_init(&faults, 0);
        if (!sandbox_faults_add(&faults, wrong[i], &error))
            fail_msg("taken: %s", wrong[i]);
        assert_non_null(strstr(error.text, "fault \""));
        assert_int_equal(faults.count, 0);
        sandbox_faults_fini(&faults);
    }
}

static void first_outcome_counts(void **state)
{
    (void)state;
    struct sandbox_faults faults =
        read_faults("hang?caller=114,latency=20ms?caller=115,latency=1s,status=503,flag=2");
    struct sandbox_fault_choice choice = choose(&faults, "114", 0);
    assert_int_equal(choice.outcome, FAULT_HANG);
    assert_int_equal(choice.latency_ms, 1000);
    choice = choose(&faults, "115", 0);
    assert_int_equal(choice.outcome, FAULT_STATUS);
    assert_int_equal(choice.value, 503);
    assert_int_equal(choice.latency_ms, 20);
    sandbox_faults_fini(&faults);
}

static void matches(void **state)
{
    (void)state;
    struct sandbox_faults faults =
        read_faults("reset?caller=1832607*&callee=18326070001&endpoint=call");
    assert_int_equal(choose(&faults, "18326079999", 0).outcome, FAULT_RESET);
    assert_int_equal(choose(&faults, "18326080000", 0).outcome, FAULT_NONE);
    assert_int_equal(choose(&faults, NULL, 0).outcome, FAULT_NONE);
    struct sandbox_fault_subject recording = {.endpoint = "recording", .caller = "18326079999"};
    assert_int_equal(sandbox_faults_choose(&faults, &recording).outcome, FAULT_NONE);
    sandbox_faults_fini(&faults);
    faults = read_faults("no-flag?id=x-1");
    recording.call_identifier = "x-1";
    assert_int_equal(sandbox_faults_choose(&faults, &recording).outcome, FAULT_NO_FLAG);
    sandbox_faults_fini(&faults);
}

static void times_run_out(void **state)
{
    (void)state;
    struct sandbox_faults faults = read_faults("close?times=2,reset-accept?times=1");
    assert_int_equal(choose(&faults, "114", 0).outcome, FAULT_CLOSE);
    assert_int_equal(choose(&faults, "114", 1).outcome, FAULT_CLOSE);
    assert_int_equal(choose(&faults, "114", 2).outcome, FAULT_NONE);
    assert_true(sandbox_faults_hit_connection(&faults, FAULT_RESET_ACCEPT));
    assert_false(sandbox_faults_hit_connection(&faults, FAULT_RESET_ACCEPT));
    sandbox_faults_fini(&faults);
}

/* How many of 10,000 callers are hit; also whether the second run differs from the first. */
static int hits(struct sandbox_faults *faults)
{
    int count = 0;
    for (int i = 0; i < 10000; i++) {
        char caller[16];
        snprintf(caller, sizeof caller, "%d", 10000 + i);
        enum sandbox_fault_kind first = choose(faults, caller, 0).outcome;
        assert_int_equal(choose(faults, caller, 0).outcome, first);
        count += first != FAULT_NONE;
    }
    return count;
}

static void percentages(void **state)
{
    (void)state;
    struct sandbox_faults faults = read_faults("hang@10%");
    int count = hits(&faults);
    assert_in_range(count, 900, 1100);
    faults.seed = 8;
    assert_int_not_equal(hits(&faults), count);
    sandbox_faults_fini(&faults);
    faults = read_faults("hang@0.1%");
    assert_in_range(hits(&faults), 1, 30);
    sandbox_faults_fini(&faults);
    faults = read_faults("hang@0%");
    assert_int_equal(hits(&faults), 0);
    sandbox_faults_fini(&faults);
    faults = read_faults("hang@60%,reset@50%"); /* the second draws anew: 80 % together */
    assert_in_range(hits(&faults), 7800, 8200);
    sandbox_faults_fini(&faults);
}

static void again_is_another_draw(void **state)
{
    (void)state;
    struct sandbox_faults faults = read_faults("hang@50%");
    int count = 0;
    for (uint64_t i = 0; i < 1000; i++)
        count += choose(&faults, "114", i).outcome != FAULT_NONE;
    assert_in_range(count, 400, 600);
    sandbox_faults_fini(&faults);
}

static void ranges(void **state)
{
    (void)state;
    struct sandbox_faults faults = read_faults("latency=10-20ms");
    bool seen[21] = {false};
    for (uint64_t i = 0; i < 1000; i++) {
        int64_t ms = choose(&faults, "114", i).latency_ms;
        assert_in_range(ms, 10, 20);
        seen[ms] = true;
    }
    for (int i = 10; i <= 20; i++)
        assert_true(seen[i]);
    sandbox_faults_fini(&faults);
    faults = read_faults("latency=1900ms-2s"); /* each time with its unit */
    for (uint64_t i = 0; i < 100; i++)
        assert_in_range(choose(&faults, "114", i).latency_ms, 1900, 2000);
    sandbox_faults_fini(&faults);
}

static void prints_and_drops(void **state)
{
    (void)state;
    struct sandbox_faults faults =
        read_faults("refuse=2s,idle-408,status=503@12.5%?caller=114&times=3");
    struct text text = {0};
    assert_int_equal(sandbox_faults_value(&faults, FAULT_REFUSE), 2000);
    assert_int_equal(sandbox_faults_value(&faults, FAULT_IDLE_408), 200);
    assert_int_equal(sandbox_faults_value(&faults, FAULT_IDLE_CLOSE), -1);
    sandbox_faults_drop(&faults, FAULT_REFUSE);
    sandbox_faults_print(&faults, &text);
    assert_string_equal(text.data, "idle-408,status=503@12.5%?caller=114&times=3");
    text_fini(&text);
    sandbox_faults_fini(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_malformed),
        cmocka_unit_test(first_outcome_counts),
        cmocka_unit_test(matches),
        cmocka_unit_test(times_run_out),
        cmocka_unit_test(percentages),
        cmocka_unit_test(again_is_another_draw),
        cmocka_unit_test(ranges),
        cmocka_unit_test(prints_and_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
