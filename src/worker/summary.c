#include "worker/summary.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/breaker.h"
#include "core/ledger.h"
#include "io/kafka.h"
#include "worker/health.h"
#include "worker/repair_line.h"

enum {
    DAY_MS = 24 * 3600 * 1000,
    STOP_GRACE_MS = 7000, /* longest stop beyond drain.timeout.ms */
    JOINING_MS = 60000,   /* joining the group usually takes less */
    FULL_PERCENT = 90,    /* of the ledger's space */
    FAILURES_TOLD = 3,    /* in a row: fewer are no trouble of the platform */
    REFUSALS_TOLD = 5,    /* without a success: fewer may be what was asked for */
    RATE_STEPS = 6,       /* of the history */
};

static const char *const jobs[] = {[REQUEST_CALL] = "calls", [REQUEST_RECORDING] = "recordings"};

const char *severity_name(enum severity severity)
{
    static const char *const names[] = {[SEVERITY_OK] = "ok",
                                        [SEVERITY_NOTICE] = "notice",
                                        [SEVERITY_WARNING] = "warning",
                                        [SEVERITY_ERROR] = "error"};
    return names[severity];
}

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- words */

#define WORDS(out, ...) ((void)snprintf((out), sizeof(out), __VA_ARGS__))

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void put_clock(struct text *out, int64_t at_ms, int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    clock_to_text(text, at_ms);
    if (wall_ms - at_ms >= DAY_MS)
        text_printf(out, "%.10s ", text);
    text_printf(out, "%.5s UTC", text + 11);
}

static void put_duration(struct text *out, int64_t ms)
{
    int64_t seconds = ms > 0 ? (ms + 999) / 1000 : 0;
    if (seconds < 120)
        text_printf(out, "%" PRId64 " s", seconds);
    else if (seconds < 7200)
        text_printf(out, "%" PRId64 " min", seconds / 60);
    else
        text_printf(out, "%" PRId64 " h", seconds / 3600);
}

void summary_sentence(const struct problem *problem, int64_t wall_ms, struct text *out)
{
    text_add(out, problem->what);
    if (problem->since_ms) {
        text_add(out, " since ");
        put_clock(out, problem->since_ms, wall_ms);
    }
    const char *mark = ": ";
    const char *parts[] = {problem->reason, problem->next, problem->waiting};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i == 1 && problem->next_action) {
            text_printf(out, "%s%s in ", mark, problem->next_action);
            put_duration(out, problem->next_ms - wall_ms);
        } else if (*parts[i]) {
            text_printf(out, "%s%s", mark, parts[i]);
        } else {
            continue;
        }
        mark = "; ";
    }
}

/* ---- the problems; each function adds its problem if it exists */

static struct problem *add(struct summary *summary, enum severity severity, const char *state)
{
    assert(summary->count < SUMMARY_MAX);
    struct problem *problem = &summary->all[summary->count++];
    *problem = (struct problem){.severity = severity, .state = state};
    return problem;
}

/* Since when the condition holds for any job that is on; 0: for none. *job is set to that job. */
static int64_t since_of(const struct metrics *metrics, enum condition condition, int *job)
{
    int64_t first = 0;
    for (int i = 0; i < REQUEST_KINDS; i++) {
        int64_t since = atomic_load(&metrics->since[i][condition]);
        if (!health_is_on(metrics, i) || !since || (first && since >= first))
            continue;
        first = since;
        *job = i;
    }
    return first;
}

/* Adds the problem if the condition holds; NULL: it does not. *job is as in since_of. */
static struct problem *add_condition(struct summary *summary, const struct overview *overview,
                                     enum condition condition, enum severity severity,
                                     const char *state, int *job)
{
    int64_t since = since_of(overview->metrics, condition, job);
    if (!since)
        return NULL;
    struct problem *problem = add(summary, severity, state);
    problem->since_ms = since;
    return problem;
}

uint64_t summary_waiting(const struct metrics *metrics)
{
    uint64_t outstanding = metrics_sum(metrics->outstanding);
    uint64_t in_flight = get(&call_thread_counters(metrics->calls)->in_flight);
    return metrics_sum(metrics->waiting_lanes) +
           (outstanding > in_flight ? outstanding - in_flight : 0);
}

static void put_waiting(struct problem *problem, const struct metrics *metrics)
{
    uint64_t waiting = summary_waiting(metrics);
    if (waiting)
        WORDS(problem->waiting, "%" PRIu64 " order id%s", waiting,
              waiting == 1 ? " waits" : "s wait");
}

static void find_dead(struct summary *summary, const struct overview *overview)
{
    const char *dead = health_dead(overview->metrics);
    if (!dead)
        return;
    struct problem *problem = add(summary, SEVERITY_ERROR, "not-alive");
    WORDS(problem->what, "Nothing goes on here: %s", dead);
    WORDS(problem->next, "restart this worker, and report it");
}

static void find_silence(struct summary *summary, const struct overview *overview)
{
    int job = 0;
    struct problem *problem =
        add_condition(summary, overview, CONDITION_NO_KAFKA, SEVERITY_ERROR, "no-kafka", &job);
    if (!problem)
        return;
    WORDS(problem->what, "No answer from Kafka");
    metrics_copy_silence(overview->metrics, problem->reason, sizeof problem->reason);
    WORDS(problem->next, "it is tried again all the time, and results are kept until it answers");
    put_waiting(problem, overview->metrics);
}

static void find_pause(struct summary *summary, const struct overview *overview)
{
    struct call_pause pause;
    call_thread_copy_pause(overview->metrics->calls, &pause);
    if (!pause.since_ms)
        return;
    struct problem *problem = add(summary, SEVERITY_ERROR, "paused");
    WORDS(problem->what, "Calls paused");
    WORDS(problem->reason, "%s", pause.reason);
    problem->since_ms = pause.since_ms;
    if (pause.until_ms) {
        problem->next_action = "next try";
        problem->next_ms = overview->wall_ms + pause.until_ms - overview->boot_ms;
    } else {
        WORDS(problem->next, "one call is tried now");
    }
    put_waiting(problem, overview->metrics);
}

static bool is_halted(const struct partition_row *row)
{
    return !strcmp(row->state, "halted");
}

static bool is_stuck(const struct partition_row *row)
{
    return row->stuck;
}

const char *summary_remedy(const struct partition_row *row, const struct config *config, char *out,
                           size_t size)
{
    char command[REPAIR_LINE];
    if (is_halted(row) && row->needs_repair)
        snprintf(out, size,
                 "Stop all workers of group %s, run `%s` (with --offset N, where to go on, if it "
                 "asks for it), then start them again",
                 config->group_ids[row->job],
                 repair_line(config, row->job, row->partition, command, sizeof command));
    else if (is_halted(row))
        snprintf(out, size,
                 "It is tried again by itself: what has to be done is to remove the reason");
    else if (is_stuck(row))
        snprintf(out, size,
                 "A transaction of a producer that hangs on the topic does this; else restart this "
                 "worker, and report it");
    else
        return NULL;
    return out;
}

/* Partitions of which the same is true. */
struct partitions {
    size_t count;
    const struct partition_row *first;
    int64_t since_ms; /* of the one of which it is true for longest */
};

/* Those for which is() is true. */
static struct partitions find_rows(const struct overview *overview,
                                   bool (*is)(const struct partition_row *row))
{
    struct partitions found = {0};
    for (size_t i = 0; i < overview->row_count; i++) {
        const struct partition_row *row = &overview->rows[i];
        if (!is(row))
            continue;
        if (!found.count++) {
            found.first = row;
            found.since_ms = row->since_ms;
        }
        if (row->since_ms < found.since_ms)
            found.since_ms = row->since_ms;
    }
    return found;
}

static void find_halted(struct summary *summary, const struct overview *overview)
{
    const struct config *config = overview->metrics->config;
    struct partitions halted = find_rows(overview, is_halted);
    if (!halted.count)
        return;
    struct problem *problem = add(summary, SEVERITY_ERROR, "halted");
    const char *topic = config->request_topics[halted.first->job];
    if (halted.count == 1) {
        WORDS(problem->what, "Partition %s/%" PRId32 " halted", topic, halted.first->partition);
        WORDS(problem->reason, "%s", halted.first->halt_reason);
    } else {
        WORDS(problem->what, "%zu partitions halted", halted.count);
        WORDS(problem->reason, "%s (%s/%" PRId32 ")", halted.first->halt_reason, topic,
              halted.first->partition);
    }
    problem->since_ms = halted.since_ms;
    char command[REPAIR_LINE];
    if (halted.first->needs_repair)
        WORDS(problem->next,
              "stop the group's workers and run `%s` (with --offset N if it asks for it)",
              repair_line(config, halted.first->job, halted.first->partition, command,
                          sizeof command));
    else
        WORDS(problem->next, "it is tried again by itself");
    if (overview->row_count > halted.count)
        WORDS(problem->waiting, "the other %zu partition%s on", overview->row_count - halted.count,
              overview->row_count - halted.count == 1 ? " goes" : "s go");
}

static void find_stuck(struct summary *summary, const struct overview *overview)
{
    const struct config *config = overview->metrics->config;
    int job = 0;
    struct partitions stuck = find_rows(overview, is_stuck);
    if (!stuck.count)
        return;
    struct problem *problem = add(summary, SEVERITY_ERROR, "stuck");
    WORDS(problem->what, "Partition %s/%" PRId32 " does not move",
          config->request_topics[stuck.first->job], stuck.first->partition);
    if (stuck.count > 1)
        WORDS(problem->waiting, "%zu more do not either", stuck.count - 1);
    problem->since_ms = since_of(overview->metrics, CONDITION_STUCK, &job);
    WORDS(problem->reason, "its lag grows and nobody knows why");
    WORDS(problem->next, "look for a producer whose transaction hangs; else restart this worker, "
                         "and report it");
}

static void find_failing(struct summary *summary, const struct overview *overview)
{
    int job = 0;
    struct problem *problem =
        add_condition(summary, overview, CONDITION_FAILING, SEVERITY_ERROR, "failing", &job);
    if (!problem)
        return;
    WORDS(problem->what, "Kafka does not take what this worker asks for");
    metrics_copy_failing(overview->metrics, problem->reason, sizeof problem->reason);
    WORDS(problem->next, "it is tried again by itself");
    put_waiting(problem, overview->metrics);
}

static void find_right(struct summary *summary, const struct overview *overview)
{
    int job = 0;
    struct problem *problem =
        add_condition(summary, overview, CONDITION_NO_RIGHT, SEVERITY_ERROR, "no-right", &job);
    if (!problem)
        return;
    WORDS(problem->what, "Kafka refuses a right that the %s need", jobs[job]);
    WORDS(problem->reason, "the last errors say which one");
    WORDS(problem->next, "grant it, and it goes on by itself");
}

static bool is_lost(const struct partition_row *row)
{
    return !strcmp(row->state, "lost");
}

/* The job's topic of requests, if it is gone; NULL: it exists. */
static const char *gone_topic(const struct overview *overview, int job)
{
    const struct kafka *kafka = overview->metrics->kafka[job];
    return kafka ? kafka_lacks_requests(kafka) : NULL;
}

static void find_lost(struct summary *summary, const struct overview *overview)
{
    struct partitions lost = find_rows(overview, is_lost);
    if (!lost.count)
        return;
    struct problem *problem = add(summary, SEVERITY_ERROR, "lost");
    if (lost.count == overview->row_count)
        WORDS(problem->what, "All partitions lost");
    else
        WORDS(problem->what, "%zu of %zu partitions lost", lost.count, overview->row_count);
    problem->since_ms = lost.since_ms;
    const char *gone = gone_topic(overview, lost.first->job);
    if (gone) {
        WORDS(problem->reason, "topic %s is gone", gone);
        WORDS(problem->next, "create it again, and it goes on by itself; what was read of it and "
                             "not begun has no result if it was deleted");
    } else {
        WORDS(problem->reason, "this worker's session in its group has ended");
        WORDS(problem->next,
              "it joins again by itself, which may take the session timeout (%" PRId64
              " s) or longer, and goes on from memory where no other worker has taken over",
              (overview->metrics->config->session_timeout_ms + 999) / 1000);
    }
    put_waiting(problem, overview->metrics);
}

static void find_topic(struct summary *summary, const struct overview *overview)
{
    int job = 0;
    struct problem *problem =
        add_condition(summary, overview, CONDITION_NO_TOPIC, SEVERITY_WARNING, "no-topic", &job);
    if (!problem)
        return;
    const char *name = health_lacks_topic(overview->metrics, job);
    if (name)
        WORDS(problem->what, "Topic %s of the %s does not exist", name, jobs[job]);
    else
        WORDS(problem->what, "A topic of the %s does not exist", jobs[job]);
    WORDS(problem->next, "create it, and it goes on by itself");
}

static void find_failing_tries(struct summary *summary, const struct overview *overview)
{
    uint64_t failures = get(&call_thread_counters(overview->metrics->calls)->failures);
    if (failures < FAILURES_TOLD)
        return;
    struct problem *problem = add(summary, SEVERITY_WARNING, "tries-fail");
    WORDS(problem->what, "The last %" PRIu64 " tries at the platform failed", failures);
    struct call_pause pause;
    call_thread_copy_pause(overview->metrics->calls, &pause);
    if (*pause.reason)
        WORDS(problem->reason, "%s", pause.reason);
    else
        WORDS(problem->reason, "the last warnings say why");
    WORDS(problem->next, "after %" PRId64 " in a row all calls pause",
          overview->metrics->config->platform_breaker_failures);
}

static uint64_t recent_of(const struct overview *overview, int job, enum status status)
{
    uint64_t sum =
        get(&overview->metrics->results[job][status]) - overview->stepped.results[job][status];
    for (int i = 0; i < HISTORY_STEPS; i++)
        sum += overview->steps[i].results[job][status];
    return sum;
}

uint64_t summary_recent(const struct overview *overview, enum status status)
{
    uint64_t sum = 0;
    for (int job = 0; job < REQUEST_KINDS; job++)
        sum += recent_of(overview, job, status);
    return sum;
}

/* When the first `unknown` was published: the end of its step, or sooner if none came after it. */
static int64_t first_unknown(const struct overview *overview)
{
    int64_t last = atomic_load(&overview->metrics->last_unknown_ms);
    for (int i = 0; i < HISTORY_STEPS; i++)
        if (overview->steps[i].results[REQUEST_CALL][STATUS_UNKNOWN] ||
            overview->steps[i].results[REQUEST_RECORDING][STATUS_UNKNOWN]) {
            int64_t end = overview->wall_ms - overview->boot_ms + overview->stepped_ms -
                          (int64_t)(HISTORY_STEPS - 1 - i) * HISTORY_STEP_MS;
            return last && last < end ? last : end;
        }
    return last;
}

static void find_unknown(struct summary *summary, const struct overview *overview)
{
    uint64_t count = summary_recent(overview, STATUS_UNKNOWN);
    if (!count)
        return;
    struct problem *problem = add(summary, SEVERITY_WARNING, "unknown");
    WORDS(problem->what, "%" PRIu64 " result%s unknown", count, plural(count));
    problem->since_ms = first_unknown(overview);
    WORDS(problem->reason, "%s may have been made, and no answer is known",
          count == 1 ? "its call" : "their calls");
    WORDS(problem->next, "check with the platform before asking again");
}

static void find_unavailable(struct summary *summary, const struct overview *overview)
{
    uint64_t count = summary_recent(overview, STATUS_UNAVAILABLE);
    if (!count)
        return;
    struct problem *problem = add(summary, SEVERITY_WARNING, "unavailable");
    WORDS(problem->what, "%" PRIu64 " result%s unavailable in the last 15 min", count,
          plural(count));
    WORDS(problem->reason,
          "%s certainly not dialled, or %s recording could not be had; the last "
          "warnings say why",
          count == 1 ? "it was" : "they were", count == 1 ? "its" : "their");
    WORDS(problem->next, "%s may be asked for again", count == 1 ? "it" : "they");
}

/* A single refusal is an answer like any other. But a platform that refuses all may have been asked
 * at a wrong URL, or for another customer. */
static void find_refused(struct summary *summary, const struct overview *overview)
{
    for (int job = 0; job < REQUEST_KINDS; job++) {
        uint64_t count = recent_of(overview, job, STATUS_REFUSED);
        if (count < REFUSALS_TOLD || recent_of(overview, job, STATUS_SUCCEEDED))
            continue;
        struct problem *problem = add(summary, SEVERITY_WARNING, "refused");
        WORDS(problem->what,
              "The platform refuses all %s: %" PRIu64 " in the last 15 min, and none "
              "succeeded",
              jobs[job], count);
        WORDS(problem->next, "error.message in the results says why; if it is HTTP 404, see "
                             "platform.url and platform.version");
    }
}

static bool is_full(const struct partition_row *row)
{
    return row->ledger_size * 100 >= (uint64_t)LEDGER_MAX * FULL_PERCENT;
}

static void find_full(struct summary *summary, const struct overview *overview)
{
    struct partitions full = find_rows(overview, is_full);
    if (!full.count)
        return;
    struct problem *problem = add(summary, SEVERITY_WARNING, "ledger-full");
    WORDS(problem->what, "Ledger of partition %s/%" PRId32 " is %" PRIu64 " %% full",
          overview->metrics->config->request_topics[full.first->job], full.first->partition,
          full.first->ledger_size * 100 / LEDGER_MAX);
    WORDS(problem->next, "at 100 %% nothing more of it is started until older requests have ended");
}

static void find_outside(struct summary *summary, const struct overview *overview)
{
    int job = 0;
    int64_t since = since_of(overview->metrics, CONDITION_OUTSIDE, &job);
    if (!since || summary->count || atomic_load(&overview->metrics->draining))
        return; /* the job is not in its group because of a problem that was found already */
    bool late = overview->wall_ms - since >= JOINING_MS;
    struct problem *problem = add(summary, late ? SEVERITY_WARNING : SEVERITY_NOTICE, "joining");
    WORDS(problem->what, "Joining the group of the %s", jobs[job]);
    problem->since_ms = since;
    if (metrics_copy_refusal(overview->metrics, job, problem->reason, sizeof problem->reason)) {
        problem->severity = SEVERITY_WARNING;
        WORDS(problem->what, "The group of the %s does not take this worker in", jobs[job]);
        WORDS(problem->next, "it is tried again by itself");
    } else {
        WORDS(problem->next, "its partitions come with the group's next rebalance");
    }
}

static void find_stop(struct summary *summary, const struct overview *overview)
{
    struct metrics *metrics = overview->metrics;
    uint64_t in_flight = get(&call_thread_counters(metrics->calls)->in_flight);
    if (!atomic_load(&metrics->draining))
        return;
    struct problem *problem = add(summary, SEVERITY_NOTICE, "draining");
    WORDS(problem->what, "Stopping");
    problem->since_ms = atomic_load(&metrics->draining_since);
    WORDS(problem->reason, "no more calls are begun, %" PRIu64 " %s under way", in_flight,
          in_flight == 1 ? "is" : "are");
    problem->next_action = "ends at the latest";
    problem->next_ms = problem->since_ms + metrics->config->drain_timeout_ms + STOP_GRACE_MS;
}

/* Ended tries per second in the last half minute that is known. */
static double recent_rate(const struct overview *overview)
{
    uint64_t tries = 0;
    int known = 0;
    for (int i = HISTORY_STEPS - RATE_STEPS; i < HISTORY_STEPS; i++) {
        known += overview->steps[i].known;
        for (int job = 0; job < REQUEST_KINDS; job++)
            tries += overview->steps[i].tries[job];
    }
    return known ? (double)tries * 1000 / known / HISTORY_STEP_MS : 0;
}

static void say_well(struct summary *summary, const struct overview *overview)
{
    const struct metrics *metrics = overview->metrics;
    uint64_t partitions = metrics_sum(metrics->partitions), lag = metrics_sum(metrics->lag);
    uint64_t in_flight = get(&call_thread_counters(metrics->calls)->in_flight);
    struct problem *problem = add(summary, SEVERITY_OK, partitions ? "well" : "standby");
    if (!partitions) {
        WORDS(problem->what, "Standing by");
        WORDS(problem->reason, "in the group, and all partitions are with other workers");
        WORDS(problem->next, "some come when one of those stops");
        return;
    }
    WORDS(problem->what, "All is well");
    double rate = recent_rate(overview);
    if (rate > 0)
        WORDS(problem->reason, "%.*f call%s a second", rate < 10, rate, rate == 1 ? "" : "s");
    else if (in_flight)
        WORDS(problem->reason, "%" PRIu64 " call%s under way", in_flight, plural(in_flight));
    else
        WORDS(problem->reason, lag ? "requests are being read" : "nothing is asked for at present");
    WORDS(problem->next, "no unknown result from this worker in the last 15 min");
}

void summary_make(struct summary *summary, const struct overview *overview)
{
    static const struct {
        void (*find)(struct summary *summary, const struct overview *overview);
    } finders[] = {/* problems of the whole worker */
                   {find_dead},
                   {find_silence},
                   {find_right},
                   {find_failing},
                   {find_lost},
                   {find_topic},
                   {find_outside}, /* behind what explains it */
                   {find_pause},
                   /* problems of a part of it */
                   {find_halted},
                   {find_stuck},
                   {find_failing_tries},
                   {find_unknown},
                   {find_unavailable},
                   {find_refused},
                   {find_full},
                   {find_stop}};
    summary->count = 0;
    for (size_t i = 0; i < sizeof finders / sizeof *finders; i++)
        finders[i].find(summary, overview);
    if (!summary->count)
        say_well(summary, overview);
    /* Sorts the worst first; equal ones keep their order. */
    for (size_t i = 1; i < summary->count; i++)
        for (size_t j = i; j && summary->all[j].severity > summary->all[j - 1].severity; j--) {
            struct problem swap = summary->all[j];
            summary->all[j] = summary->all[j - 1];
            summary->all[j - 1] = swap;
        }
}
