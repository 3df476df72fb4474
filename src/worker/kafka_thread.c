#include "worker/kafka_thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/dispatch.h"
#include "worker/kafka_thread_internal.h"

enum {
    WAIT_MAX_MS = 1000,
    STOP_GRACE_MS =
        4000, /* after drain.timeout.ms, until a stop ends without leaving the group in order */
    LOOK_INTERVAL_MS =
        1000,        /* how often claims, troubles and the metrics' table are looked after */
    SLOW_MS = 30000, /* an operation that has not ended by then is in trouble */
};

struct partition_notes *notes_of(struct kafka_thread *thread, int32_t partition)
{
    size_t number = (size_t)partition;
    if (number >= thread->notes_count) {
        thread->notes =
            memory_extend(thread->notes, thread->notes_count, number + 1, sizeof *thread->notes);
        thread->notes_count = number + 1;
    }
    return &thread->notes[number];
}

void read_clocks(struct kafka_thread *thread)
{
    thread->now = clock_boot_ms();
    thread->wall = clock_wall_ms();
}

void kafka_thread_wake(struct kafka_thread *thread)
{
    kafka_wake(thread->kafka);
}

/* A request has ended. During a transaction a wake-up would be useless: the end of the transaction
 * wakes the loop, which clears the flag before it reads the queue, so no request is overlooked. */
static void wake_for_finished(void *argument)
{
    struct kafka_thread *thread = argument;
    if (!atomic_load(&thread->committing))
        kafka_wake(thread->kafka);
}

const char *topic_of(const struct kafka_thread *thread)
{
    return thread->config->request_topics[thread->job];
}

const char *group_of(const struct kafka_thread *thread)
{
    return thread->config->group_ids[thread->job];
}

int64_t slots_of(const struct config *config, enum request_kind job)
{
    return job == REQUEST_CALL ? config->platform_max_in_flight : dispatch_recordings(config);
}

/* What the call thread sends back. */

/* Logs calls that the partition did not wait for. (The next owner requests recordings again, and
 * none of them is in doubt.) */
static void tell_orphans(struct kafka_thread *thread)
{
    const struct request *request;
    while ((request = engine_take_orphan(thread->engine))) {
        struct log_about about = request_about(request, topic_of(thread));
        if (thread->job == REQUEST_CALL)
            log_write(LOG_WARN, &about,
                      "this call was still under way when its partition was handed over or lost: "
                      "it becomes unknown with the next owner (if the topic was deleted, it has no "
                      "result)");
    }
}

static void take_finished(struct kafka_thread *thread)
{
    struct list messages;
    tell_orphans(thread); /* the requests that come back may include them */
    list_init(&messages);
    queue_take(&thread->finished, &messages);
    for (struct list *node; (node = list_take_first(&messages));) {
        struct message *message = list_of(node, struct message, node);
        if (message->type == MESSAGE_REQUEST) {
            engine_call_ended(thread->engine, list_of(message, struct request, message),
                              thread->now);
        } else {
            struct limit_message *allowance = list_of(message, struct limit_message, message);
            engine_set_call_limit(thread->engine, allowance->calls);
            free(allowance);
        }
    }
}

/* Notes operations that do not end because nobody answers. */
static void check_waiting(struct kafka_thread *thread)
{
    static const char *const unanswered[TROUBLES] = {
        [TROUBLE_READS] = "a read of the committed ledgers does not end: the coordinator of the "
                          "group does not answer, or is not found",
        [TROUBLE_OWNERS] = "a takeover does not end: the coordinator of the owner's transactions "
                           "does not answer, or is not found",
        [TROUBLE_COMMITS] = "a claim or release of partitions does not end: the coordinator of the "
                            "group does not answer, or is not found",
    };
    int64_t began = thread->transaction_us / 1000;
    if (atomic_load(&thread->committing) && thread->now - began > SLOW_MS)
        trouble_waits(&thread->troubles, TROUBLE_TRANSACTIONS, began, thread->now,
                      "a transaction does not end: brokers do not answer, or a topic has too few "
                      "replicas in sync",
                      kafka_is_refused());
    /* What the first producer lacks is told by itself. */
    if (thread->renewing_since && !kafka_has_joined(thread->kafka) &&
        (kafka_lacks_topic(thread->kafka) || kafka_lacks_right(thread->kafka)))
        thread->renewing_since = thread->now;
    if (thread->renewing_since && thread->now - thread->renewing_since > SLOW_MS)
        trouble_waits(&thread->troubles, TROUBLE_PRODUCER, thread->renewing_since, thread->now,
                      "the producer cannot be made ready: brokers do not answer, or a topic that "
                      "is written to is missing",
                      kafka_is_refused());
    if (thread->asked_since && thread->now - thread->asked_since > SLOW_MS)
        trouble_waits(&thread->troubles, thread->asked, thread->asked_since, thread->now,
                      unanswered[thread->asked], kafka_is_refused());
}

static const char *why_outside(const struct kafka_thread *thread)
{
    const char *refusal = kafka_join_refusal(thread->kafka);
    enum kafka_standing standing = kafka_standing(thread->kafka);
    if (refusal && (standing == KAFKA_JOINS_REFUSED || standing == KAFKA_JOINING))
        return refusal;
    switch (standing) {
    case KAFKA_JOINS_REFUSED:
        return "its coordinator refuses each join (kafka.consumer.debug=cgrp shows the error)";
    case KAFKA_JOINING:
        return "its coordinator does not answer the join, or another member does not end its part";
    case KAFKA_NO_COORDINATOR:
        return "its coordinator is not found, does not answer, or is not ready";
    case KAFKA_SETTLED:
        break;
    }
    return "it is a member, but is given no assignment";
}

/* Counts the time outside the group. What the worker's own hand-over takes, or an absence of all
 * brokers or of the coordinator, does not count. But that has an end: a worker that is outside does
 * nothing, whatever the reason is. */
static void count_outside(struct kafka_thread *thread, int64_t limit)
{
    int64_t step = thread->now - thread->outside_seen;
    thread->outside_seen = thread->now;
    if (!thread->outside_since) {
        thread->outside_since = thread->now;
        thread->outside_excused = 0;
    } else if (thread->outside_excused < limit &&
               (thread->losing || kafka_silent_since(thread->kafka, NULL, 0))) {
        thread->outside_since += step;
        thread->outside_excused += step;
    }
}

/* Notes that the group does not take this worker in, or not again. (Another member may need its
 * drain before a join ends, and a dead one its session: so long a worker that was in the group
 * counts as in it.) */
static void check_join(struct kafka_thread *thread)
{
    const struct config *config = thread->config;
    char words[TROUBLE_TEXT];
    int64_t usual = 2 * config->session_timeout_ms + config->drain_timeout_ms;
    int64_t limit = usual > SLOW_MS ? usual : SLOW_MS;
    _Atomic bool *in_group = &thread->metrics->in_group[thread->job];
    bool settled = kafka_standing(thread->kafka) == KAFKA_SETTLED;
    if (thread->shut_out && settled) {
        thread->shut_out = false;
        atomic_store(in_group, true);
    }
    if (!kafka_has_joined(thread->kafka) || thread->stop_until ||
        kafka_lacks_topic(thread->kafka) || kafka_lacks_right(thread->kafka) ||
        (atomic_load(in_group) && settled)) {
        trouble_over(&thread->troubles, TROUBLE_JOIN, thread->now);
        thread->outside_since = 0;
        return;
    }
    count_outside(thread, limit);
    if (thread->now - thread->outside_since < limit)
        return;
    thread->shut_out |= atomic_load(in_group);
    atomic_store(in_group, false);
    snprintf(words, sizeof words, "group %s does not take this worker in: %s", group_of(thread),
             why_outside(thread));
    trouble_waits(&thread->troubles, TROUBLE_JOIN, thread->outside_since, thread->now, words,
                  false);
}

/* What is due once a second. */
static void look(struct kafka_thread *thread)
{
    job_view_turned(thread);
    if (thread->now < thread->table_at)
        return;
    thread->table_at = thread->now + LOOK_INTERVAL_MS;
    kafka_actions_retry_claims(thread);
    check_waiting(thread);
    check_join(thread);
    halted_log(thread);
    older_log(thread);
    gone_log(thread);
    job_view_renew(thread);
}

/* A loop without an iteration for long was stopped from outside (SIGSTOP, a paused machine). */
static void detect_freeze(struct kafka_thread *thread)
{
    int64_t most = thread->config->session_timeout_ms / 3;
    if (thread->turned_at && thread->now - thread->turned_at > WAIT_MAX_MS + most) {
        log_warn("the process was paused for %" PRId64
                 " ms; a call that is not sent yet needs a new lease before it is dialled",
                 thread->now - thread->turned_at);
        engine_frozen(thread->engine, thread->now);
    }
    thread->turned_at = thread->now;
}

/* Logs each of them, because nothing else reports them. */
static size_t tell_lost_outcomes(const struct kafka_thread *thread)
{
    size_t count = 0;
    const struct request *request = NULL;
    while ((request = engine_next_late(thread->engine, request))) {
        struct log_about about = request_about(request, topic_of(thread));
        log_write(LOG_ERROR, &about,
                  "the late outcome of this call (%s) is lost, as topic %s has not taken it: the "
                  "request has been answered unknown",
                  status_name(request->outcome.status), thread->config->dead_letters);
        count++;
    }
    return count;
}

/* Why a stop does not end. */
static const char *why_unended(const struct kafka_thread *thread)
{
    if (thread->leaving)
        return "the group is between two generations and does not let this worker leave: it "
               "notices by the session timeout that the worker has ended";
    if (!kafka_silent_since(thread->kafka, NULL, 0) &&
        kafka_standing(thread->kafka) == KAFKA_JOINING)
        return "the group is between two generations: its coordinator does not answer the join, "
               "or another member (a frozen one, too) does not end its part";
    return "Kafka does not answer or does not take what is written, or calls do not end";
}

/* The time of the stop is over, and requests are left. */
static void abandon_stop(struct kafka_thread *thread)
{
    size_t late = tell_lost_outcomes(thread);
    size_t unpublished = engine_count_unpublished(thread->engine) - late;
    struct text left = {0};
    if (unpublished)
        text_printf(&left, "; results left unpublished: %zu, %s", unpublished,
                    thread->job == REQUEST_CALL ? "which become unknown with the next owner"
                                                : "whose recordings the next owner asks for again");
    if (late)
        text_printf(&left, "; late outcomes lost: %zu", late);
    log_warn("group %s: the stop took longer than drain.timeout.ms and %d ms, as %s%s",
             thread->config->group_ids[thread->job], STOP_GRACE_MS, why_unended(thread),
             left.length ? left.data : "; no result is left unpublished");
    text_fini(&left);
    thread->status = unpublished + late > 0;
    thread->done = thread->gave_up = true;
    engine_give_up(thread->engine);
}

static void check_stop(struct kafka_thread *thread, const struct stop *stop)
{
    if (stop_requested(stop) && !thread->stop_until) {
        thread->stop_until = thread->now + thread->config->drain_timeout_ms + STOP_GRACE_MS;
        atomic_store(&thread->metrics->draining_since, thread->wall);
        atomic_store(&thread->metrics->draining, true);
        engine_stop(thread->engine, thread->now);
    }
    if (stop_is_at_once(stop) || (thread->leaving && kafka_left(thread->kafka))) {
        thread->done = true;
    } else if (thread->stop_until && thread->now >= thread->stop_until) {
        abandon_stop(thread);
    }
}

static int wait_time(const struct kafka_thread *thread, bool more)
{
    int64_t wake = thread->waits_until ? thread->waits_until : engine_wake_time(thread->engine);
    int64_t wait = wake - thread->now;
    if (more || wait <= 0)
        return more ? 0 : 1;
    if (thread->stop_until && thread->stop_until - thread->now < wait)
        wait = thread->stop_until - thread->now;
    if (thread->leaving && wait > 20)
        wait = 20; /* no event reports the end of the leave */
    return wait < WAIT_MAX_MS ? (int)(wait > 0 ? wait : 0) : WAIT_MAX_MS;
}

static void log_counts(const struct kafka_thread *thread)
{
    struct engine_stats view;
    engine_get_stats(thread->engine, &view);
    log_info("group %s: transactions %" PRIu64 ", aborted %" PRIu64 ", of unknown outcome %" PRIu64
             ", fenced %" PRIu64 "; requests of a predecessor that became unknown %" PRIu64,
             group_of(thread), view.transactions, view.aborted, view.unknown, view.fenced,
             view.recovered);
}

int kafka_thread_run(struct kafka_thread *thread, struct call_thread *calls,
                     const struct stop *stop)
{
    thread->calls = calls;
    read_clocks(thread);
    thread->renewing_since = thread->now; /* the first producer */
    kafka_start(thread->kafka);
    while (!thread->done) {
        read_clocks(thread);
        detect_freeze(thread);
        kafka_serve(thread->kafka);
        take_finished(thread);
        bool more = kafka_take_all(thread->kafka, thread->job, &kafka_reports_records, thread);
        check_stop(thread, stop); /* before the engine is asked: the loop may sleep for long then */
        kafka_actions_carry_out(thread);
        look(thread);
        if (!thread->done)
            kafka_wait(thread->kafka, wait_time(thread, more));
    }
    /* A job that fails sends nothing more while the other job drains. */
    call_thread_recall(calls, thread->job, DISPATCH_ALL);
    atomic_store_explicit(&thread->metrics->kafka_turned_ms[thread->job], INT64_MAX,
                          memory_order_relaxed);
    tell_orphans(thread);
    older_log(thread);
    log_counts(thread);
    return thread->status;
}

bool kafka_thread_has_duplicate(const struct kafka_thread *thread)
{
    return thread->has_duplicate;
}

bool kafka_thread_gave_up(const struct kafka_thread *thread)
{
    return thread->gave_up;
}

/* Each job that is on gets an equal part of the memory for requests. */
static int64_t memory_of(const struct config *config)
{
    int64_t jobs = 0;
    for (int job = 0; job < REQUEST_KINDS; job++)
        jobs += *config->request_topics[job] != 0;
    return config->memory_max_bytes / (jobs ? jobs : 1);
}

struct queue *kafka_thread_finished(struct kafka_thread *thread)
{
    return &thread->finished;
}

struct kafka_thread *kafka_thread_new(const struct config *config, enum request_kind job,
                                      struct kafka_files *files, struct metrics *metrics,
                                      struct error *error)
{
    struct kafka_thread *thread = memory_zeroed(1, sizeof *thread);
    struct engine_options options = {
        .kind = job,
        .owner = config->instance_id,
        .lease_ms = config_lease_ms(config),
        .doubt_ms = config->platform_timeout_ms,
        .drain_ms = config->drain_timeout_ms,
        .overdue = {.max_age_ms = config->call_max_age_ms, .deadline_ms = config->call_deadline_ms},
        .window = config->partition_window,
        .window_bytes = config->partition_window_bytes,
        .memory_bytes = memory_of(config),
        .record_bytes = config->event_max_bytes,
        .slots = slots_of(config, job)};
    thread->config = config;
    thread->job = job;
    thread->metrics = metrics;
    thread->rules =
        (struct event_rules){.topics = {config->request_topics[0], config->request_topics[1]},
                             .max_bytes = (size_t)config->event_max_bytes};
    publish_init(&thread->publish, config, job);
    thread->engine = engine_new(&options);
    thread->kafka = kafka_new(config, job, files, &kafka_reports_handler, thread, error);
    if (!thread->kafka)
        goto free_engine;
    metrics->kafka[job] = thread->kafka;
    queue_init(&thread->finished, wake_for_finished, thread);
    thread->table = memory_zeroed(METRICS_PARTITIONS, sizeof *thread->table);
    return thread;

free_engine:
    engine_free(thread->engine);
    publish_fini(&thread->publish);
    free(thread);
    return NULL;
}

void kafka_thread_stop(struct kafka_thread *thread)
{
    if (thread)
        kafka_stop(thread->kafka);
}

bool kafka_thread_free(struct kafka_thread *thread)
{
    if (!thread)
        return true;
    read_clocks(thread);
    take_finished(thread);
    bool is_free = kafka_free(thread->kafka);
    engine_free(thread->engine);
    publish_fini(&thread->publish);
    queue_fini(&thread->finished);
    free(thread->table);
    free(thread->notes);
    free(thread);
    return is_free;
}
