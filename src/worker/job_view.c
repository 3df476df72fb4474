#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "core/watchdog.h"
#include "worker/kafka_thread_internal.h"

enum {
    STUCK_NAMED = 50, /* how many partitions a log line names */
    SLOW_ANSWER_MS = 1000,
    UNREAD_MS = 5000,
    FULL_MS = 2000, /* how long slots count as taken after all were */
};

static const char *state_of(const struct engine_partition_stats *view, const char *trouble)
{
    return trouble          ? "halted"
           : view->active   ? "active"
           : view->lost     ? "lost"
           : view->draining ? "draining"
                            : "changing hands";
}

/* Whether the worker lets what could start wait: for the platform, its limits, or a free slot. Each
 * slot is free for a moment, until the next transaction. */
static bool lets_wait(struct kafka_thread *thread)
{
    const struct call_counters *calls = call_thread_counters(thread->calls);
    uint64_t waits = atomic_load_explicit(&calls->rate_waits, memory_order_relaxed);
    bool limited = waits != thread->rate_waits ||
                   atomic_load_explicit(&calls->rate_limited, memory_order_relaxed);
    thread->rate_waits = waits;
    return limited || atomic_load_explicit(&calls->breaker, memory_order_relaxed) ||
           (thread->full_at && thread->now - thread->full_at < FULL_MS);
}

/* Whether an operation that all partitions need fails, or is slow. */
static bool needs_kafka(const struct kafka_thread *thread)
{
    int64_t began = thread->transaction_us / 1000, asked = thread->asked_since;
    return troubles_any(&thread->troubles, thread->now) || thread->renewing_since ||
           (atomic_load(&thread->committing) && thread->now - began >= SLOW_ANSWER_MS) ||
           (asked && thread->now - asked >= SLOW_ANSWER_MS);
}

/* What lets requests of all partitions wait. */
struct waiting {
    bool to_start; /* lets_wait */
    bool to_end;   /* needs_kafka */
};

/* Whether more of the partition could be read and would be taken, and none of it comes. (librdkafka
 * fetches from a queue that was full only after a second.) */
static bool is_unread(struct kafka_thread *thread, const struct engine_partition_stats *view,
                      int64_t end)
{
    struct partition_notes *notes = notes_of(thread, view->partition);
    bool reads = end > view->next && engine_wants(thread->engine, view->partition);
    if (!reads || notes->unread_from != view->next) {
        notes->unread_from = view->next;
        notes->unread_since = thread->now;
    }
    return thread->now - notes->unread_since >= UNREAD_MS;
}

/* Whether the partition itself has something that waits for a known reason, so that no more of it
 * is read. What others wait for is no reason, and neither is what it waits for itself while more of
 * it would be taken, or while its end is not known: librdkafka asks for that whatever waits. */
static bool has_reason(struct kafka_thread *thread, const struct engine_partition_stats *view,
                       const struct waiting *waiting, int64_t end)
{
    if (is_unread(thread, view, end) || end < 0)
        return false;
    bool starts = view->ready_lanes || view->started > view->handed + view->ended;
    return view->handed || view->delayed_lanes || (starts && waiting->to_start) ||
           (view->unfinished && waiting->to_end);
}

/* Whether nothing happens in the partition for no known reason. known: one that is told. */
static bool is_stuck(struct kafka_thread *thread, const struct engine_partition_stats *view,
                     bool known, const struct waiting *waiting, int64_t end)
{
    struct partition_notes *notes = notes_of(thread, view->partition);
    struct watched now = {.base = view->base,
                          .next = view->next,
                          .end = end,
                          .unfinished = view->unfinished,
                          .excused =
                              known || !view->active || has_reason(thread, view, waiting, end)};
    notes->stuck =
        watchdog_is_stuck(&notes->watch, &now, thread->now, thread->config->stuck_after_ms);
    return notes->stuck;
}

/* The first one's lag stands for all. */
static void complain_of_stuck(const struct kafka_thread *thread,
                              const struct engine_partition_stats *first, int64_t end,
                              const char *names, size_t count)
{
    static const char advice[] =
        "nothing of it has been read, called or finished for stuck.after.ms. A transaction of a "
        "producer that hangs on the topic does this, or a broker that does not serve it; else "
        "restart this worker, and report it";
    const char *topic = topic_of(thread);
    struct log_about about = {.topic = topic, .partition = first->partition, .offset = first->next};
    struct text more = {0};
    if (count > 1)
        text_printf(&more, " (so are %zu of its partitions: %s)", count, names);
    if (end < 0)
        log_write(LOG_ERROR, &about,
                  "partition %s/%d is stuck%s: no broker has told where its log begins and ends, "
                  "and %s",
                  topic, first->partition, count > 1 ? more.data : "", advice);
    else
        log_write(LOG_ERROR, &about,
                  "partition %s/%d is stuck%s: its lag grows (%" PRId64 " now), and %s", topic,
                  first->partition, count > 1 ? more.data : "", end - first->base, advice);
    text_fini(&more);
}

/* Logs stuck partitions once a minute, in one line. */
static void watch_partitions(struct kafka_thread *thread)
{
    struct engine_partition_stats view, first = {0};
    struct engine_stats all;
    struct text names = {0};
    engine_get_stats(thread->engine, &all);
    struct waiting waiting = {.to_start = lets_wait(thread), .to_end = needs_kafka(thread)};
    bool is_away = kafka_silent_since(thread->kafka, NULL, 0); /* that is told of all brokers */
    int64_t first_end = -1;
    size_t stuck = 0;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        int64_t end = kafka_end(thread->kafka, thread->job, view.partition);
        bool known = all.stopping || view.halted ||
                     kafka_trouble(thread->kafka, thread->job, view.partition) ||
                     (end < 0 && is_away);
        if (!is_stuck(thread, &view, known, &waiting, end))
            continue;
        if (!stuck++) {
            first = view;
            first_end = end;
        }
        text_item(&names, stuck, STUCK_NAMED, "%" PRId32, view.partition);
    }
    if (stuck && thread->now >= thread->stuck_at) {
        complain_of_stuck(thread, &first, first_end, names.data, stuck);
        thread->stuck_at = thread->now + TROUBLE_INTERVAL_MS;
    }
    text_fini(&names);
    metrics_set(&thread->metrics->stuck[thread->job], stuck);
}

/* Logs requests that have no result because the ledger calls them done: at once, then once a minute
 * if there are more. */
static void tell_passed(struct kafka_thread *thread, int32_t partition)
{
    struct partition_notes *notes = notes_of(thread, partition);
    const struct passed *passed = &notes->passed;
    if (passed->count == notes->passed_told ||
        (notes->passed_told && thread->now < notes->passed_told_at + TROUBLE_INTERVAL_MS))
        return;
    notes->passed_told = passed->count;
    notes->passed_told_at = thread->now;
    struct log_about about = {
        .topic = topic_of(thread), .partition = partition, .offset = passed->first};
    log_write(LOG_ERROR, &about,
              "%" PRIu64 " request(s) of %s/%d, at offsets %" PRId64 " to %" PRId64
              ", are not dialled and get no result: the committed ledger tells that they are done, "
              "although the log ended at offset %" PRId64
              " when this worker took the partition. If the topic was made anew, or the ledger is "
              "not this log's, send them again",
              passed->count, about.topic, partition, passed->first, passed->last, notes->short_end);
}

/* Since when the partition is in that state, as far as each look has seen. */
static int64_t since_of(struct kafka_thread *thread, int32_t partition, const char *state)
{
    struct partition_notes *notes = notes_of(thread, partition);
    if (notes->state != state || notes->round + 1 < thread->round)
        notes->since_ms = thread->wall;
    notes->state = state;
    notes->round = thread->round;
    return notes->since_ms;
}

static void fill_row(struct kafka_thread *thread, const struct engine_partition_stats *view,
                     const char *trouble, struct partition_row *row)
{
    const char *state = state_of(view, trouble);
    int64_t halted_at = view->needs_repair ? notes_of(thread, view->partition)->halted_at : -1;
    *row =
        (struct partition_row){.job = thread->job,
                               .partition = view->partition,
                               .state = state,
                               .base = halted_at < 0 ? view->base : halted_at,
                               .next = halted_at < 0 ? view->next : halted_at,
                               .end = kafka_told_end(thread->kafka, thread->job, view->partition),
                               .unfinished = view->unfinished,
                               .started = view->started,
                               .ledger_size = view->ledger_size,
                               .needs_repair = view->needs_repair,
                               .stuck = notes_of(thread, view->partition)->stuck,
                               .passed = notes_of(thread, view->partition)->passed,
                               .since_ms = since_of(thread, view->partition, state),
                               .oldest_ms = view->oldest_ms};
    snprintf(row->halt_reason, sizeof row->halt_reason, "%s", trouble ? trouble : "");
}

static bool has_row(const struct kafka_thread *thread, size_t count, int32_t partition)
{
    for (size_t i = 0; i < count; i++)
        if (thread->table[i].partition == partition)
            return true;
    return false;
}

/* Adds rows of assigned partitions that the topic does not have, and that the engine does not know
 * therefore. Returns how many there are. */
static size_t show_absent(struct kafka_thread *thread, size_t *count)
{
    int32_t partition;
    int64_t since_ms;
    size_t absent = 0;
    while ((partition = kafka_absent(thread->kafka, absent, &since_ms)) >= 0) {
        absent++;
        if (*count >= METRICS_PARTITIONS || has_row(thread, *count, partition))
            continue; /* it is being asked for again */
        struct partition_row *row = &thread->table[(*count)++];
        *row = (struct partition_row){.job = thread->job,
                                      .partition = partition,
                                      .state = "halted",
                                      .base = -1,
                                      .next = -1,
                                      .end = -1,
                                      .since_ms = thread->wall - (thread->now - since_ms),
                                      .oldest_ms = -1};
        snprintf(row->halt_reason, sizeof row->halt_reason,
                 "the group assigns it, but its topic does not have it: the topic was made again "
                 "with fewer partitions");
    }
    return absent;
}

static void show_partitions(struct kafka_thread *thread)
{
    struct metrics *metrics = thread->metrics;
    struct engine_partition_stats view;
    size_t count = 0, halted = 0, lost = 0, all = 0;
    int64_t lag = 0;
    thread->round++;
    for (; engine_get_partition_stats(thread->engine, all, &view); all++) {
        const char *trouble = view.halted
                                  ? view.halt_reason ? view.halt_reason : ""
                                  : kafka_trouble(thread->kafka, thread->job, view.partition);
        struct partition_row row;
        fill_row(thread, &view, trouble, &row);
        tell_passed(thread, view.partition);
        halted += trouble != NULL;
        lost += view.lost;
        lag += metrics_lag(&row) > 0 ? metrics_lag(&row) : 0;
        if (count < METRICS_PARTITIONS)
            thread->table[count++] = row;
    }
    halted += show_absent(thread, &count);
    metrics_table(metrics, thread->job, thread->table, count);
    metrics_set(&metrics->partitions[thread->job], all - lost);
    metrics_set(&metrics->halted[thread->job], halted);
    metrics_set(&metrics->lag[thread->job], (uint64_t)lag);
}

/* Shows the engine's counters. */
static void show_counts(struct kafka_thread *thread)
{
    struct metrics *metrics = thread->metrics;
    enum request_kind job = thread->job;
    struct engine_stats all;
    engine_get_stats(thread->engine, &all);
    metrics_set(&metrics->waiting_lanes[job], all.waiting_lanes);
    metrics_set(&metrics->outstanding[job], all.handed);
    metrics_set(&metrics->transactions[job], all.transactions);
    metrics_set(&metrics->aborted[job], all.aborted);
    metrics_set(&metrics->unknown[job], all.unknown);
    metrics_set(&metrics->fenced[job], all.fenced);
    metrics_set(&metrics->recovered[job], all.recovered);
    metrics_set(&metrics->resumed[job], all.resumed);
    metrics_set(&metrics->late_waiting[job], all.late);
    metrics_set(&metrics->throttles[job], kafka_throttles(thread->kafka));
}

static void show_condition(struct kafka_thread *thread, enum condition condition, bool holds)
{
    metrics_condition(thread->metrics, thread->job, condition, holds ? thread->wall : 0);
}

/* Whether its partitions come with a rebalance only. A member that joins again keeps those that it
 * has meanwhile, and one without any may be owed some. */
static bool is_outside(const struct kafka_thread *thread)
{
    const struct metrics *metrics = thread->metrics;
    return !atomic_load(&metrics->in_group[thread->job]) ||
           (atomic_load(&metrics->partitions[thread->job]) == 0 &&
            kafka_standing(thread->kafka) != KAFKA_SETTLED);
}

/* Shows what keeps the job from its work. */
static void show_conditions(struct kafka_thread *thread)
{
    struct metrics *metrics = thread->metrics;
    enum request_kind job = thread->job;
    char silence[256];
    int64_t failing_since = 0;
    const char *failing = troubles_lasting(&thread->troubles, thread->now, &failing_since);
    int64_t silent = kafka_silent_since(thread->kafka, silence, sizeof silence);
    if (silent)
        metrics_silence(metrics, job, silence);
    metrics_condition(metrics, job, CONDITION_NO_KAFKA, silent);
    show_condition(thread, CONDITION_NO_TOPIC, kafka_lacks_topic(thread->kafka) != NULL);
    show_condition(thread, CONDITION_NO_RIGHT, kafka_lacks_right(thread->kafka));
    show_condition(thread, CONDITION_STUCK, atomic_load(&metrics->stuck[job]) > 0);
    show_condition(thread, CONDITION_OUTSIDE, is_outside(thread));
    metrics_refusal(metrics, job, kafka_join_refusal(thread->kafka));
    metrics_failing(metrics, job, failing, thread->wall - thread->now + failing_since,
                    thread->wall);
}

void job_view_turned(struct kafka_thread *thread)
{
    struct metrics *metrics = thread->metrics;
    enum request_kind job = thread->job;
    struct engine_stats all;
    engine_get_stats(thread->engine, &all);
    if ((int64_t)all.handed >= slots_of(thread->config, job))
        thread->full_at = thread->now;
    atomic_store_explicit(&metrics->kafka_turned_ms[job], thread->now, memory_order_relaxed);
    metrics_sample(metrics, thread->now);
}

void job_view_renew(struct kafka_thread *thread)
{
    watch_partitions(thread);
    show_partitions(thread);
    show_counts(thread);
    show_conditions(thread);
}
