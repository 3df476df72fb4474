/* The sentence at the top of the page, for each thing that can be wrong, and which of them comes
 * first. What the Kafka threads and the call thread would have noted is set here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/ledger.h"
#include "io/kafka.h"
#include "worker/health.h"
#include "worker/summary.h"

static const int64_t since = 1796153280000; /* 2026-12-01 19:28:00 UTC */

static struct call_counters counters;
static struct call_pause pause_now;
static int64_t turned_ms;
static struct config config = {.request_topics = {"call-requests", "recording-requests"},
                               .group_ids = {"g", "g-recordings"},
                               .drain_timeout_ms = 15000,
                               .session_timeout_ms = 45000};
static struct metrics *metrics;
static struct partition_row rows[3];
static struct history_step steps[HISTORY_STEPS];
static struct overview overview;

/* In the place of Kafka. */
struct kafka {
    const char *lacks_topic, *lacks_requests;
};
static struct kafka calls, recordings;

const char *kafka_lacks_topic(const struct kafka *at)
{
    return at->lacks_topic;
}

const char *kafka_lacks_requests(const struct kafka *at)
{
    return at->lacks_requests;
}

bool kafka_lacks_right(const struct kafka *at)
{
    (void)at;
    return false;
}

/* In the place of the call thread. */
const struct call_counters *call_thread_counters(const struct call_thread *thread)
{
    (void)thread;
    return &counters;
}

void call_thread_copy_pause(struct call_thread *thread, struct call_pause *out)
{
    (void)thread;
    *out = pause_now;
}

int64_t call_thread_last_turn_ms(const struct call_thread *thread)
{
    (void)thread;
    return turned_ms;
}

/* All is well, in the middle of work. */
static int begin(void **state)
{
    (void)state;
    memset(&counters, 0, sizeof counters);
    memset(&pause_now, 0, sizeof pause_now);
    memset(steps, 0, sizeof steps);
    turned_ms = clock_boot_ms();
    metrics = metrics_new(&config);
    calls = recordings = (struct kafka){0};
    metrics->kafka[REQUEST_CALL] = &calls;
    metrics->kafka[REQUEST_RECORDING] = &recordings;
    for (int job = 0; job < REQUEST_KINDS; job++) {
        metrics_condition(metrics, (enum request_kind)job, CONDITION_OUTSIDE, 0);
        metrics_set(&metrics->partitions[job], 2);
    }
    for (size_t i = 0; i < 3; i++)
        rows[i] = (struct partition_row){
            .partition = (int32_t)i, .state = "active", .since_ms = since, .oldest_ms = -1};
    overview = (struct overview){.metrics = metrics,
                                 .wall_ms = since + 30000,
                                 .boot_ms = clock_boot_ms(),
                                 .rows = rows,
                                 .row_count = 3,
                                 .steps = steps};
    return 0;
}

static int end(void **state)
{
    (void)state;
    metrics_free(metrics);
    return 0;
}

static struct summary summary;

/* Checks the first problem. */
static void expect(enum severity severity, const char *name, const char *sentence)
{
    struct text text = {0};
    summary_make(&summary, &overview);
    summary_sentence(&summary.all[0], overview.wall_ms, &text);
    assert_string_equal(text.data, sentence);
    assert_string_equal(summary.all[0].state, name);
    assert_int_equal(summary.all[0].severity, severity);
    text_fini(&text);
}

static void holds(enum condition condition)
{
    metrics_condition(metrics, REQUEST_RECORDING, condition, since);
}

static void nothing(void **state)
{
    (void)state;
    expect(SEVERITY_OK, "well",
           "All is well: nothing is asked for at present; no unknown result from this worker in "
           "the last 15 min");
    counters.in_flight = 1;
    expect(SEVERITY_OK, "well",
           "All is well: 1 call under way; no unknown result from this worker in the last 15 min");
    steps[HISTORY_STEPS - 1] = (struct history_step){.known = true, .tries = {62, 1}};
    expect(SEVERITY_OK, "well",
           "All is well: 13 calls a second; no unknown result from this worker in the last 15 min");
    for (int job = 0; job < REQUEST_KINDS; job++)
        metrics_set(&metrics->partitions[job], 0);
    expect(SEVERITY_OK, "standby",
           "Standing by: in the group, and all partitions are with other workers; some come when "
           "one of those stops");
    assert_int_equal(summary.count, 1);
}

static void a_pause(void **state)
{
    (void)state;
    pause_now = (struct call_pause){.since_ms = since, .until_ms = overview.boot_ms + 12000};
    strcpy(pause_now.reason, "connection refused");
    metrics_set(&metrics->waiting_lanes[REQUEST_CALL], 900);
    metrics_set(&metrics->outstanding[REQUEST_CALL], 40);
    counters.in_flight = 3;
    expect(SEVERITY_ERROR, "paused",
           "Calls paused since 19:28 UTC: connection refused; next try in 12 s; 937 order ids "
           "wait");
    overview.wall_ms = since + 25 * 3600000L;
    expect(SEVERITY_ERROR, "paused",
           "Calls paused since 2026-12-01 19:28 UTC: connection refused; next try in 12 s; 937 "
           "order ids wait");
    pause_now.until_ms = 0;
    overview.wall_ms = since;
    expect(SEVERITY_ERROR, "paused",
           "Calls paused since 19:28 UTC: connection refused; one call is tried now; 937 order "
           "ids wait");
}

static void partitions(void **state)
{
    (void)state;
    rows[1].state = "halted";
    rows[1].needs_repair = true;
    strcpy(rows[1].halt_reason, "no ledger");
    expect(SEVERITY_ERROR, "halted",
           "Partition call-requests/1 halted since 19:28 UTC: no ledger; stop the group's workers "
           "and run `privacy-call-worker ledger repair --topic call-requests --partition 1` "
           "(with --offset N if it asks for it); the other 2 partitions go on");
    char remedy[1000];
    config.file = "/etc/worker.conf";
    assert_string_equal(
        summary_remedy(&rows[1], &config, remedy, sizeof remedy),
        "Stop all workers of group g, run `privacy-call-worker ledger repair -c /etc/worker.conf "
        "--topic call-requests --partition 1` (with --offset N, where to go on, if it asks for "
        "it), then start them again");
    config.file = NULL;
    rows[0].state = "halted";
    rows[0].since_ms = since - 60000;
    strcpy(rows[0].halt_reason, "no right");
    expect(SEVERITY_ERROR, "halted",
           "2 partitions halted since 19:27 UTC: no right (call-requests/0); it is tried again by "
           "itself; the other 1 partition goes on");
    metrics_set(&metrics->halted[REQUEST_CALL], metrics_sum(metrics->partitions));
    for (int job = 0; job < REQUEST_KINDS; job++)
        atomic_store(&metrics->in_group[job], true);
    assert_true(health_is_ready(metrics)); /* no restart would mend it */
    rows[0].state = rows[1].state = "active";
    rows[2].stuck = true;
    metrics_condition(metrics, REQUEST_CALL, CONDITION_STUCK, since);
    expect(SEVERITY_ERROR, "stuck",
           "Partition call-requests/2 does not move since 19:28 UTC: its lag grows and nobody "
           "knows why; look for a producer whose transaction hangs; else restart this worker, and "
           "report it");
    rows[2].stuck = false;
    rows[2].ledger_size = LEDGER_MAX * 95 / 100;
    expect(SEVERITY_WARNING, "ledger-full",
           "Ledger of partition call-requests/2 is 95 % full: at 100 % nothing more of it is "
           "started until older requests have ended");
}

/* An idle worker repeats nothing that fails. */
static void fails_without_an_operation(void **state)
{
    static const enum condition causes[] = {CONDITION_NO_KAFKA, CONDITION_NO_RIGHT};
    char why[400];
    (void)state;
    for (int job = 0; job < REQUEST_KINDS; job++)
        atomic_store(&metrics->in_group[job], true);
    metrics_silence(metrics, REQUEST_CALL, "refused");
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        metrics_condition(metrics, REQUEST_CALL, causes[i], since);
        metrics_failing(metrics, REQUEST_CALL, NULL, 0, since + 59999);
        assert_int_equal(metrics_sum(metrics->failing_jobs), 0);
        assert_true(health_is_ready(metrics));
        metrics_failing(metrics, REQUEST_CALL, NULL, 0, since + 60000);
        assert_int_equal(metrics_sum(metrics->failing_jobs), 1);
        assert_false(health_is_ready(metrics));
        health_why_unready(metrics, why, sizeof why);
        if (causes[i] == CONDITION_NO_KAFKA)
            assert_string_equal(why, "no broker answers: refused");
        metrics_failing(metrics, REQUEST_CALL, NULL, 0, since - 3600000); /* a clock set back */
        assert_int_equal(metrics_sum(metrics->failing_jobs), 1);
        metrics_condition(metrics, REQUEST_CALL, causes[i], 0);
        metrics_failing(metrics, REQUEST_CALL, NULL, 0, since + 60000);
        assert_true(health_is_ready(metrics));
    }
}

/* What does not end because no broker answers is not told in its place. */
static void a_silence_is_told_before_what_comes_of_it(void **state)
{
    char why[400];
    (void)state;
    metrics_silence(metrics, REQUEST_CALL, "refused");
    metrics_condition(metrics, REQUEST_CALL, CONDITION_NO_KAFKA, since);
    metrics_failing(metrics, REQUEST_CALL, "a transaction does not end", since, since + 60000);
    health_why_unready(metrics, why, sizeof why);
    assert_string_equal(why, "not in the group, as no broker answers: refused");
    metrics_condition(metrics, REQUEST_CALL, CONDITION_NO_KAFKA, 0);
    health_why_unready(metrics, why, sizeof why);
    assert_string_equal(why, "a transaction does not end");
}

/* Whatever else is not known: the broker has said why. */
static void a_join_that_is_refused(void **state)
{
    char why[800];
    (void)state;
    holds(CONDITION_OUTSIDE);
    metrics_refusal(metrics, REQUEST_RECORDING,
                    "JoinGroup failed: Broker: Inconsistent group "
                    "protocol: give another program its own group");
    expect(SEVERITY_WARNING, "joining",
           "The group of the recordings does not take this worker in since 19:28 UTC: JoinGroup "
           "failed: Broker: Inconsistent group protocol: give another program its own group; it is "
           "tried again by itself");
    health_why_unready(metrics, why, sizeof why);
    assert_string_equal(why, "not in the group: JoinGroup failed: Broker: Inconsistent group "
                             "protocol: give another program its own group");
    metrics_refusal(metrics, REQUEST_RECORDING, NULL);
    health_why_unready(metrics, why, sizeof why);
    assert_string_equal(why, "not in the group yet");
}

static void kafka(void **state)
{
    (void)state;
    holds(CONDITION_OUTSIDE);
    expect(SEVERITY_NOTICE, "joining",
           "Joining the group of the recordings since 19:28 UTC: its partitions come with the "
           "group's next rebalance");
    overview.wall_ms += 60000;
    summary_make(&summary, &overview);
    assert_int_equal(summary.all[0].severity, SEVERITY_WARNING);
    holds(CONDITION_NO_TOPIC);
    expect(SEVERITY_WARNING, "no-topic",
           "A topic of the recordings does not exist since 19:28 UTC: create it, and it goes on by "
           "itself");
    assert_int_equal(summary.count, 1); /* it is why it is not in its group */
    metrics_failing(metrics, REQUEST_CALL, "no claim is taken", since + 60000, since);
    metrics_failing(metrics, REQUEST_RECORDING, "a transaction does not end", since, since);
    metrics_failing(metrics, REQUEST_RECORDING, "a transaction does not end", since + 2, since);
    expect(SEVERITY_ERROR, "failing",
           "Kafka does not take what this worker asks for since 19:28 UTC: a transaction does not "
           "end; it is tried again by itself");
    holds(CONDITION_NO_RIGHT);
    expect(SEVERITY_ERROR, "no-right",
           "Kafka refuses a right that the recordings need since 19:28 UTC: the last errors say "
           "which one; grant it, and it goes on by itself");
    holds(CONDITION_NO_KAFKA);
    metrics_silence(metrics, REQUEST_RECORDING, "Connection refused");
    expect(SEVERITY_ERROR, "no-kafka",
           "No answer from Kafka since 19:28 UTC: Connection refused; it is tried again all the "
           "time, and results are kept until it answers");
    turned_ms -= 11000;
    expect(SEVERITY_ERROR, "not-alive",
           "Nothing goes on here: the call thread does not turn: restart this worker, and report "
           "it");
    assert_int_equal(summary.count, 5);
}

static void what_concerns_all_comes_before_one_partition(void **state)
{
    (void)state;
    rows[1].state = "halted";
    rows[2].stuck = true;
    metrics_condition(metrics, REQUEST_CALL, CONDITION_STUCK, since);
    pause_now.since_ms = since;
    holds(CONDITION_NO_RIGHT);
    metrics_failing(metrics, REQUEST_CALL, "no claim is taken", since, since);
    summary_make(&summary, &overview);
    static const char *const states[] = {"no-right", "failing", "paused", "halted", "stuck"};
    assert_int_equal(summary.count, 5);
    for (size_t i = 0; i < summary.count; i++)
        assert_string_equal(summary.all[i].state, states[i]);
}

static void a_stop(void **state)
{
    (void)state;
    atomic_store(&metrics->draining_since, since);
    atomic_store(&metrics->draining, true);
    holds(CONDITION_OUTSIDE);
    counters.in_flight = 5;
    overview.wall_ms = since + 1000;
    expect(SEVERITY_NOTICE, "draining",
           "Stopping since 19:28 UTC: no more calls are begun, 5 are under way; ends at the "
           "latest in 21 s");
    assert_int_equal(summary.count, 1);
}

static void unknown(void **state)
{
    (void)state;
    metrics->results[REQUEST_CALL][STATUS_UNKNOWN] = 3;
    overview.stepped.results[REQUEST_CALL][STATUS_UNKNOWN] = 2;
    overview.stepped_ms = overview.boot_ms;
    overview.wall_ms = since + 10 * HISTORY_STEP_MS;
    steps[HISTORY_STEPS - 11].results[REQUEST_CALL][STATUS_UNKNOWN] = 2;
    expect(SEVERITY_WARNING, "unknown",
           "3 results unknown since 19:28 UTC: their calls may have been made, and no answer is "
           "known; check with the platform before asking again");
    assert_int_equal(summary.all[0].since_ms, since);
    atomic_store(&metrics->last_unknown_ms, since - 4000); /* in the same step, before its end */
    summary_make(&summary, &overview);
    assert_int_equal(summary.all[0].since_ms, since - 4000);
    atomic_store(&metrics->draining_since, since);
    atomic_store(&metrics->draining, true);
    pause_now.since_ms = since;
    summary_make(&summary, &overview);
    assert_string_equal(summary.all[0].state, "paused");
    assert_string_equal(summary.all[1].state, "unknown");
    assert_string_equal(summary.all[2].state, "draining");
}

/* After an outage, until the worker is in its group again: nothing is called, whatever results say
 * of calls that were made before. */
static void lost_partitions_come_before_what_is_over(void **state)
{
    (void)state;
    metrics->results[REQUEST_CALL][STATUS_UNKNOWN] = 5;
    counters.failures = 5;
    for (size_t i = 0; i < 3; i++)
        rows[i].state = "lost";
    holds(CONDITION_OUTSIDE);
    expect(
        SEVERITY_ERROR, "lost",
        "All partitions lost since 19:28 UTC: this worker's session in its group has ended; it "
        "joins again by itself, which may take the session timeout (45 s) or longer, and goes on "
        "from memory where no other worker has taken over");
    assert_string_equal(summary.all[1].state, "tries-fail");
    assert_int_equal(summary.count, 3); /* it is why a job is not in its group */
    rows[0].state = "halted";
    pause_now.since_ms = since;
    summary_make(&summary, &overview);
    assert_string_equal(summary.all[0].what, "2 of 3 partitions lost");
    assert_string_equal(summary.all[1].state, "paused");
    holds(CONDITION_NO_KAFKA);
    summary_make(&summary, &overview);
    assert_string_equal(summary.all[0].state, "no-kafka");
    assert_string_equal(summary.all[1].state, "lost");
}

/* librdkafka calls the partitions of a topic that was deleted lost, too. */
static void partitions_of_a_topic_that_is_gone_are_told_as_such(void **state)
{
    (void)state;
    calls.lacks_requests = config.request_topics[REQUEST_CALL];
    for (size_t i = 0; i < 3; i++)
        rows[i].state = "lost";
    holds(CONDITION_OUTSIDE);
    expect(SEVERITY_ERROR, "lost",
           "All partitions lost since 19:28 UTC: topic call-requests is gone; create it again, and "
           "it goes on by itself; what was read of it and not begun has no result if it was "
           "deleted");
}

/* A job that has been outside its group for a minute is told also where other problems are, which
 * do not keep it out. */
static void a_job_outside_is_told_beside_unknown_results(void **state)
{
    (void)state;
    metrics->results[REQUEST_CALL][STATUS_UNKNOWN] = 5;
    holds(CONDITION_OUTSIDE);
    overview.wall_ms += 60000;
    pause_now.since_ms = since;
    summary_make(&summary, &overview);
    static const char *const states[] = {"paused", "joining", "unknown"};
    assert_int_equal(summary.count, 3);
    for (size_t i = 0; i < summary.count; i++)
        assert_string_equal(summary.all[i].state, states[i]);
}

static void failing_tries(void **state)
{
    (void)state;
    config.platform_breaker_failures = 20;
    counters.failures = 2; /* one call in a hundred that fails is no trouble of the platform */
    expect(SEVERITY_OK, "well",
           "All is well: nothing is asked for at present; no unknown result from this worker in "
           "the last 15 min");
    counters.failures = 3;
    expect(SEVERITY_WARNING, "tries-fail",
           "The last 3 tries at the platform failed: the last warnings say why; after 20 in a row "
           "all calls pause");
    assert_int_equal(summary.count, 1);
    strcpy(pause_now.reason, "HTTP 503");
    expect(SEVERITY_WARNING, "tries-fail",
           "The last 3 tries at the platform failed: HTTP 503; after 20 in a row all calls pause");
}

static void unavailable(void **state)
{
    (void)state;
    steps[3].results[REQUEST_RECORDING][STATUS_UNAVAILABLE] = 1;
    expect(SEVERITY_WARNING, "unavailable",
           "1 result unavailable in the last 15 min: it was certainly not dialled, or its "
           "recording could not be had; the last warnings say why; it may be asked for again");
    metrics->results[REQUEST_CALL][STATUS_UNAVAILABLE] = 1;
    metrics->results[REQUEST_CALL][STATUS_UNKNOWN] = 1;
    summary_make(&summary, &overview);
    assert_string_equal(summary.all[0].state, "unknown"); /* a person has more to do about it */
    assert_string_equal(summary.all[1].state, "unavailable");
    assert_string_equal(summary.all[1].what, "2 results unavailable in the last 15 min");
}

static void a_platform_that_refuses_all(void **state)
{
    (void)state;
    steps[3].results[REQUEST_CALL][STATUS_REFUSED] = 4;
    expect(SEVERITY_OK, "well",
           "All is well: nothing is asked for at present; no unknown result from this worker in "
           "the last 15 min");
    metrics->results[REQUEST_CALL][STATUS_REFUSED] = 1;
    metrics->results[REQUEST_RECORDING][STATUS_SUCCEEDED] = 1; /* the other job's */
    expect(SEVERITY_WARNING, "refused",
           "The platform refuses all calls: 5 in the last 15 min, and none succeeded: "
           "error.message in the results says why; if it is HTTP 404, see platform.url and "
           "platform.version");
    steps[2].results[REQUEST_CALL][STATUS_SUCCEEDED] = 1;
    expect(SEVERITY_OK, "well",
           "All is well: nothing is asked for at present; no unknown result from this worker in "
           "the last 15 min");
}

static void a_topic_that_is_known_is_named(void **state)
{
    (void)state;
    recordings.lacks_topic = "recording-results";
    holds(CONDITION_NO_TOPIC);
    expect(
        SEVERITY_WARNING, "no-topic",
        "Topic recording-results of the recordings does not exist since 19:28 UTC: create it, and "
        "it goes on by itself");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_pause, begin, end),
        cmocka_unit_test_setup_teardown(partitions, begin, end),
        cmocka_unit_test_setup_teardown(fails_without_an_operation, begin, end),
        cmocka_unit_test_setup_teardown(a_silence_is_told_before_what_comes_of_it, begin, end),
        cmocka_unit_test_setup_teardown(kafka, begin, end),
        cmocka_unit_test_setup_teardown(what_concerns_all_comes_before_one_partition, begin, end),
        cmocka_unit_test_setup_teardown(a_join_that_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_stop, begin, end),
        cmocka_unit_test_setup_teardown(unknown, begin, end),
        cmocka_unit_test_setup_teardown(lost_partitions_come_before_what_is_over, begin, end),
        cmocka_unit_test_setup_teardown(partitions_of_a_topic_that_is_gone_are_told_as_such, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_job_outside_is_told_beside_unknown_results, begin, end),
        cmocka_unit_test_setup_teardown(failing_tries, begin, end),
        cmocka_unit_test_setup_teardown(unavailable, begin, end),
        cmocka_unit_test_setup_teardown(a_platform_that_refuses_all, begin, end),
        cmocka_unit_test_setup_teardown(a_topic_that_is_known_is_named, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
