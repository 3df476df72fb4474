#include "worker/kafka_thread.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/dispatch.h"
#include "core/engine/engine.h"
#include "core/event.h"
#include "core/result.h"
#include "core/watchdog.h"
#include "io/kafka.h"
#include "worker/publish.h"
#include "worker/trouble.h"

enum {
    WAIT_MAX_MS = 1000,
    STOP_GRACE_MS =
        4000, /* after drain.timeout.ms, until a stop ends without leaving the group in order */
    TABLE_INTERVAL_MS = 1000, /* how often the metrics' table of partitions is renewed */
    DUPLICATE_WAIT_MS = 5000, /* how long recordings wait for the end of one of two processes with
                            one instance.id */
    TROUBLE_INTERVAL_MS = 60000, /* how often a halted partition is logged, for each reason */
    CLAIM_FIRST_MS = 1000,       /* first pause after a refused claim; doubles */
    CLAIM_MAX_MS = 30000,
    PARTITIONS_NAMED = 200, /* how many partitions a log line names */
    HALTED_NAMED = 50,      /* how many one about halted partitions names */
};

/* Why a partition is halted. */
enum hold { HOLD_REPAIR, HOLD_READING, HOLD_WRITING, HOLDS };

struct claim {
    int64_t at, pause; /* when the claim is repeated; 0: it was not refused */
};

/* A partition's state when it was last shown. */
struct shown {
    struct watch watch;
    const char *state; /* NULL: never */
    int64_t since_ms;  /* wall clock: since when in that state */
    uint64_t round;    /* when that was */
    bool stuck;
    bool older;              /* records older than the group were found, which was logged */
    bool made_again;         /* its log is another one, which is logged with its first request */
    int64_t told_at[HOLDS];  /* when the log last reported that it is halted; 0: never */
    uint64_t told_of[HOLDS]; /* and the hash of the reason */
    struct claim claim;
};

struct kafka_thread {
    const struct config *config;
    enum request_kind job;
    struct kafka *kafka;
    struct engine *engine;
    struct call_thread *calls;
    struct metrics *metrics;
    struct queue finished;
    struct publish publish;
    struct event_rules rules;
    int64_t now, wall;
    int64_t transaction_us;      /* when the running transaction began */
    uint64_t transactions;       /* committed ones, as last counted */
    uint64_t rebalance;          /* as last counted */
    int64_t table_at;            /* when the metrics' table is due */
    struct partition_row *table; /* buffer of the next table */
    int64_t turned_at;           /* time of the loop's last iteration */
    int64_t renewing_since;      /* 0: the producer is ready */
    int64_t stop_until;          /* 0: no stop yet */
    atomic_bool committing;      /* a transaction is running: requests that end wait for its end */
    int64_t waits_until, ignored_at; /* of recordings, see do_fail; 0: never */
    struct troubles troubles;
    struct shown *shown; /* by partition number */
    size_t shown_count;
    uint64_t round;      /* how often partitions were shown */
    int64_t stuck_at;    /* when stuck partitions were last logged */
    uint64_t rate_waits; /* as last seen */
    bool said_lasting;   /* the broker's error about the operation that ends next does not pass by
                            itself */
    bool losing;         /* lost partitions are being handed over */
    bool joined, leaving, done, gave_up, has_duplicate;
    int status;
};

static struct shown *shown_of(struct kafka_thread *thread, int32_t partition)
{
    size_t number = (size_t)partition;
    if (number >= thread->shown_count) {
        thread->shown =
            memory_extend(thread->shown, thread->shown_count, number + 1, sizeof *thread->shown);
        thread->shown_count = number + 1;
    }
    return &thread->shown[number];
}

static void read_clocks(struct kafka_thread *thread)
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

/* What Kafka reports. */

static const char *topic_of(const struct kafka_thread *thread)
{
    return thread->config->request_topics[thread->job];
}

static const char *group_of(const struct kafka_thread *thread)
{
    return thread->config->group_ids[thread->job];
}

/* Slots that the job may fill. The call thread distributes them. */
static int64_t slots_of(const struct config *config, enum request_kind job)
{
    return job == REQUEST_CALL ? config->platform_max_in_flight : dispatch_recordings(config);
}

static void log_partitions(const struct kafka_thread *thread, const char *what,
                           const struct record_position *list, size_t count)
{
    struct text text = {0};
    for (size_t i = 0; i < count && i < PARTITIONS_NAMED; i++)
        text_printf(&text, "%s%s/%d", i ? ", " : "", topic_of(thread), list[i].partition);
    if (count > PARTITIONS_NAMED)
        text_add(&text, ", ...");
    log_write(kafka_asks_again(thread->kafka) ? LOG_DEBUG : LOG_INFO, NULL,
              "%s: %zu partition(s)%s%s", what, count, count ? " " : "", count ? text.data : "");
    text_fini(&text);
}

static void count_rebalance(struct kafka_thread *thread, uint64_t rebalance)
{
    if (rebalance != thread->rebalance && !kafka_asks_again(thread->kafka))
        metrics_count(&thread->metrics->rebalances, 1);
    thread->rebalance = rebalance;
    thread->table_at = 0;
}

static void on_assigned(void *argument, uint64_t rebalance, const struct record_position *list,
                        size_t count)
{
    struct kafka_thread *thread = argument;
    log_partitions(thread, "assigned", list, count);
    count_rebalance(thread, rebalance);
    atomic_store(&thread->metrics->in_group[thread->job], true);
    engine_assigned(thread->engine, rebalance, list, count, thread->now);
}

static void on_revoked(void *argument, uint64_t rebalance, enum revocation how,
                       const struct record_position *list, size_t count)
{
    struct kafka_thread *thread = argument;
    log_partitions(thread, how == PARTITIONS_REVOKED ? "revoked" : "lost", list, count);
    count_rebalance(thread, rebalance);
    if (how != PARTITIONS_REVOKED)
        atomic_store(&thread->metrics->in_group[thread->job], false);
    thread->losing = how == PARTITIONS_LOST;
    engine_revoked(thread->engine, rebalance, how, list, count, thread->now);
}

static void on_log_changed(void *argument, const struct record_position *list, size_t count)
{
    struct kafka_thread *thread = argument;
    for (size_t i = 0; i < count; i++) {
        engine_log_changed(thread->engine, list[i].partition);
        shown_of(thread, list[i].partition)->made_again = true;
    }
}

static void on_producer_ready(void *argument)
{
    struct kafka_thread *thread = argument;
    trouble_over(&thread->troubles, TROUBLE_PRODUCER, thread->now);
    thread->renewing_since = 0;
    engine_producer_ready(thread->engine, thread->now);
    if (!thread->joined && !thread->stop_until) {
        thread->joined = true;
        log_info("joining group %s", group_of(thread));
        kafka_join(thread->kafka);
    }
}

/* Counts the records of a transaction when the engine knows that it has committed. */
static void count_landed(struct kafka_thread *thread)
{
    struct engine_stats view;
    engine_get_stats(thread->engine, &view);
    if (view.transactions != thread->transactions)
        metrics_published(thread->metrics, &thread->publish.counts);
    thread->transactions = view.transactions;
}

static void on_said(void *argument, const char *words, bool about_size, bool lasting)
{
    struct kafka_thread *thread = argument;
    engine_broker_says(thread->engine, words, about_size);
    thread->said_lasting = lasting;
}

static void log_transaction(struct kafka_thread *thread, enum txn_outcome outcome,
                            const char *error)
{
    static const char *const next[] = {
        [TXN_ABORTED] = "aborted, and is made again",
        [TXN_NOT_MEMBER] = "aborted, and is made again",
        [TXN_REFUSED] = "aborted, and is made again in another form",
        [TXN_OFFSETS_REFUSED] = "aborted, and is made again with other ledgers",
        [TXN_EXPIRED] = "aborted, and is made again by a new producer",
        [TXN_UNKNOWN] =
            "has an unknown outcome: nothing of it is dialled before the ledgers are read back",
        [TXN_FENCED] = "was fenced: the producer is made anew and the ledgers are read back"};
    char words[TROUBLE_TEXT];
    if (outcome == TXN_COMMITTED) {
        trouble_over(&thread->troubles, TROUBLE_TRANSACTIONS, thread->now);
        return;
    }
    snprintf(words, sizeof words, "a transaction %s (%s)", next[outcome],
             error ? error : "no reason given");
    bool part = outcome == TXN_REFUSED || outcome == TXN_OFFSETS_REFUSED;
    trouble_failed(&thread->troubles, part ? TROUBLE_REFUSALS : TROUBLE_TRANSACTIONS, thread->now,
                   words, thread->said_lasting && outcome == TXN_ABORTED);
}

static void on_transacted(void *argument, enum txn_outcome outcome,
                          const enum record_refusal *refused, const char *error)
{
    struct kafka_thread *thread = argument;
    atomic_store(&thread->committing, false);
    read_clocks(thread);
    histogram_add(&thread->metrics->transaction_time, clock_boot_us() - thread->transaction_us);
    log_transaction(thread, outcome, error);
    if (refused)
        publish_log_refused(&thread->publish, refused);
    engine_transacted(thread->engine, outcome, refused, thread->now);
    count_landed(thread);
}

/* An operation at Kafka has ended. */
static void note_answer(struct kafka_thread *thread, enum trouble_kind kind,
                        enum group_answer answer, const char *what, const char *error)
{
    char words[TROUBLE_TEXT];
    if (answer == GROUP_DONE) {
        trouble_over(&thread->troubles, kind, thread->now);
        return;
    }
    snprintf(words, sizeof words, "%s (%s)", what, error ? error : "no reason given");
    trouble_failed(&thread->troubles, answer == GROUP_REFUSED ? TROUBLE_REFUSALS : kind,
                   thread->now, words, thread->said_lasting && answer == GROUP_RETRY);
}

static void on_ledgers_read(void *argument, enum group_answer answer,
                            const struct stored_ledger *list, size_t count, const char *error)
{
    struct kafka_thread *thread = argument;
    note_answer(thread, TROUBLE_READS, answer, "the committed ledgers cannot be read yet", error);
    for (size_t i = 0; i < count; i++)
        if (list[i].made_again)
            shown_of(thread, list[i].partition)->made_again = true;
    engine_ledgers_read(thread->engine, answer, list, count, thread->now);
    count_landed(thread);
}

static void on_owner_ended(void *argument, enum group_answer answer, const char *owner,
                           const char *error)
{
    struct kafka_thread *thread = argument;
    if (answer == GROUP_DONE)
        log_info("took over from %s, which had not handed over: its transactions are ended", owner);
    note_answer(thread, TROUBLE_OWNERS, answer, "a takeover cannot go on", error);
    engine_owner_ended(thread->engine, answer, thread->now);
}

static void on_committed(void *argument, enum group_answer answer, const char *error)
{
    struct kafka_thread *thread = argument;
    note_answer(thread, TROUBLE_COMMITS, answer, "a claim or release of partitions was not taken",
                error);
    engine_committed(thread->engine, answer, thread->now);
}

static void on_failed(void *argument, const char *error)
{
    struct kafka_thread *thread = argument;
    log_error("the worker stops: %s", error);
    thread->status = 1;
    thread->done = thread->gave_up =
        true; /* closing a client that failed for good may never return */
}

static const struct kafka_handler handler = {.assigned = on_assigned,
                                             .revoked = on_revoked,
                                             .log_changed = on_log_changed,
                                             .producer_ready = on_producer_ready,
                                             .said = on_said,
                                             .transacted = on_transacted,
                                             .ledgers_read = on_ledgers_read,
                                             .owner_ended = on_owner_ended,
                                             .committed = on_committed,
                                             .failed = on_failed};

/* Records. */

/* Guarantee 7: without committed offsets every request that is young enough is called. Logged once
 * per takeover of the partition. */
static void warn_of_older(struct kafka_thread *thread, int32_t partition)
{
    struct log_about about = {.topic = topic_of(thread), .partition = partition, .offset = -1};
    struct shown *shown = shown_of(thread, partition);
    bool older = engine_is_older_than_group(thread->engine, partition);
    const char *why = shown->made_again
                          ? "the topic was deleted and made again, and the group's offset with it"
                          : "the topic is older than the group, or was deleted and made again, or "
                            "the group's offsets have expired";
    if (older && !shown->older) {
        log_write(LOG_WARN, &about,
                  "no committed offset was found, though the partition has requests: %s; those "
                  "younger than call.max.age.ms are called",
                  why);
        shown->made_again = false;
    }
    shown->older = older;
}

static void on_record(void *argument, struct record_position position, const struct raw_record *raw)
{
    struct kafka_thread *thread = argument;
    if (!engine_is_news(thread->engine, position.partition, position.offset))
        return;
    metrics_count(&thread->metrics->requests[thread->job], 1);
    struct request *request = request_new(position, raw);
    event_parse(request, &thread->rules, thread->wall);
    engine_record(thread->engine, request, thread->now, thread->wall);
    warn_of_older(thread, position.partition);
}

static void on_end(void *argument, enum request_kind kind, int32_t partition, int64_t offset)
{
    (void)kind;
    struct kafka_thread *thread = argument;
    engine_end(thread->engine, partition, offset, thread->now, thread->wall);
}

static size_t on_room(void *argument, int32_t partition)
{
    const struct kafka_thread *thread = argument;
    return engine_wants(thread->engine, partition);
}

static const struct kafka_record_sink sink = {.record = on_record, .end = on_end, .wants = on_room};

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
                      "it becomes unknown with the next owner");
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

/* What the engine says. */

static void do_transact(struct kafka_thread *thread, const struct engine_action *action)
{
    struct kafka_transaction *transaction = publish_fill(
        &thread->publish, action->items, action->item_count, action->ledgers, action->ledger_count);
    atomic_store(&thread->committing, true);
    thread->transaction_us = clock_boot_us();
    kafka_transact(thread->kafka, transaction);
}

static void do_recall(struct kafka_thread *thread, const struct engine_action *action)
{
    bool all = action->partition == ENGINE_ALL;
    call_thread_recall(thread->calls, thread->job, all ? DISPATCH_ALL : action->partition);
}

static void log_hand_over(struct kafka_thread *thread)
{
    struct engine_partition_stats view;
    size_t started = 0;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++)
        started += view.lost ? view.started : 0;
    if (started)
        log_warn(
            "lost partitions could not be handed over completely: %zu started request(s) go on "
            "if their partitions come back to this worker before another worker has had them; "
            "otherwise they become unknown",
            started);
    else
        log_info("lost partitions are handed over: no call of theirs is started");
    thread->losing = false;
}

static void do_unassign(struct kafka_thread *thread, const struct engine_action *action)
{
    if (thread->losing)
        log_hand_over(thread);
    kafka_unassign(thread->kafka, action->rebalance);
}

static void do_leave(struct kafka_thread *thread)
{
    thread->leaving = true;
    kafka_leave(thread->kafka);
}

static void end_as_duplicate(struct kafka_thread *thread)
{
    log_error("fenced twice within a minute: another process runs with instance.id %s in group %s; "
              "give each its own. Ending",
              thread->config->instance_id, group_of(thread));
    thread->status = 1;
    thread->done = thread->has_duplicate = true;
}

/* If two processes have one instance.id, both jobs of both are fenced at about the same time, and
 * in each group one of the processes loses. If it were one process in one group and the other in
 * the other, both would end. So the recordings wait a moment while the calls decide, and go on if
 * nobody fences them again. */
static void do_fail(struct kafka_thread *thread)
{
    bool alone = thread->job == REQUEST_CALL || !*thread->config->request_topics[REQUEST_CALL];
    bool again = thread->ignored_at && thread->now - thread->ignored_at < TROUBLE_INTERVAL_MS;
    if (alone || again) {
        end_as_duplicate(thread);
        return;
    }
    log_warn("fenced twice within a minute in group %s: if another process runs with instance.id "
             "%s, one of the two is going to end; waiting for %d ms",
             group_of(thread), thread->config->instance_id, DUPLICATE_WAIT_MS);
    thread->ignored_at = thread->now;
    thread->waits_until = thread->now + DUPLICATE_WAIT_MS;
}

static void carry_out(struct kafka_thread *thread, const struct engine_action *action)
{
    switch (action->type) {
    case ENGINE_NOTHING:
        break;
    case ENGINE_TRANSACT:
        do_transact(thread, action);
        break;
    case ENGINE_RENEW_PRODUCER:
        thread->renewing_since = thread->now;
        kafka_renew_producer(thread->kafka);
        break;
    case ENGINE_READ:
        kafka_read_ledgers(thread->kafka, action->positions, action->position_count,
                           action->stable);
        break;
    case ENGINE_END_OWNER:
        kafka_end_owner(thread->kafka, action->owner);
        break;
    case ENGINE_COMMIT:
        kafka_commit(thread->kafka, action->ledgers, action->ledger_count);
        break;
    case ENGINE_ASSIGN:
        kafka_assign(thread->kafka, action->rebalance, action->positions, action->position_count);
        break;
    case ENGINE_UNASSIGN:
        do_unassign(thread, action);
        break;
    case ENGINE_START:
        call_thread_start(thread->calls, action->request);
        break;
    case ENGINE_RECALL:
        do_recall(thread, action);
        break;
    case ENGINE_LEAVE:
        do_leave(thread);
        break;
    case ENGINE_FAIL:
        do_fail(thread);
        break;
    }
}

static void act(struct kafka_thread *thread)
{
    struct engine_action action;
    if (thread->waits_until && thread->now >= thread->waits_until) {
        thread->waits_until = 0;
        engine_ignore_duplicate(thread->engine);
    }
    while (!thread->done && !thread->waits_until &&
           engine_next(thread->engine, thread->now, thread->wall, &action) != ENGINE_NOTHING)
        carry_out(thread, &action);
}

/* Somebody may have mended what the broker refused, so the claim is repeated after a growing pause.
 * That takes a new assignment of this partition alone. */
static void retry_claim(struct kafka_thread *thread)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        struct claim *claim = &shown_of(thread, view.partition)->claim;
        if (view.active)
            *claim = (struct claim){0};
        if (!view.unclaimed || view.active || thread->stop_until || thread->now < claim->at)
            continue;
        if (claim->at)
            kafka_restart(thread->kafka, thread->job, view.partition);
        claim->pause = !claim->pause                     ? CLAIM_FIRST_MS
                       : claim->pause < CLAIM_MAX_MS / 2 ? 2 * claim->pause
                                                         : CLAIM_MAX_MS;
        claim->at = thread->now + claim->pause;
    }
}

/* A halted partition. */
struct halted {
    int32_t partition;
    enum hold hold;
    const char *reason; /* borrowed */
    uint64_t hash;      /* of the reason */
};

static void say_halted(const struct kafka_thread *thread, const struct halted *one)
{
    const char *topic = topic_of(thread);
    struct log_about about = {.topic = topic, .partition = one->partition, .offset = -1};
    if (one->hold == HOLD_REPAIR)
        log_write(LOG_ERROR, &about,
                  "partition %s/%d is halted, nothing of it is dialled: %s; stop all workers of "
                  "group %s, run `privacy-call-worker ledger repair --topic %s --partition %d` "
                  "(with --offset, where to go on), then start them again",
                  topic, one->partition, one->reason, group_of(thread), topic, one->partition);
    else
        log_write(LOG_ERROR, &about,
                  "partition %s/%d is halted, nothing more of it is %s: %s; it is tried again by "
                  "itself",
                  topic, one->partition,
                  one->hold == HOLD_READING ? "read" : "dialled or published", one->reason);
}

/* What a broker says of a topic or of itself holds for all partitions, so texts that differ only in
 * an offset or a time are the same reason. */
static uint64_t hash_reason(const char *reason)
{
    static const char *const common[] = {"uthorization failed", "the topic is gone",
                                         "offset.metadata.max.bytes"};
    bool without_digits = false;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        without_digits |= strstr(reason, common[i]) != NULL;
    uint64_t hash = HASH_EMPTY;
    for (; *reason; reason++)
        if (!without_digits || !text_is_digit(*reason))
            hash = hash_add(hash, reason, 1);
    return hash;
}

static bool is_told(const struct kafka_thread *thread, const struct shown *shown, enum hold hold)
{
    return shown->told_at[hold] && thread->now < shown->told_at[hold] + TROUBLE_INTERVAL_MS;
}

static void note_told(struct kafka_thread *thread, const struct halted *one, int64_t at)
{
    struct shown *shown = shown_of(thread, one->partition);
    shown->told_at[one->hold] = at;
    shown->told_of[one->hold] = one->hash;
}

static bool has_same_reason(const struct halted *one, const struct halted *other)
{
    return one->hold == other->hold && one->hold != HOLD_REPAIR && one->hash == other->hash;
}

/* Logs partitions that are halted for the same reason as the first of the list. */
static void say_halted_together(struct kafka_thread *thread, const struct halted *list,
                                size_t count)
{
    struct text names = {0};
    size_t named = 0;
    for (size_t i = 0; i < count; i++) {
        const struct halted *one = &list[i];
        if (i && (!has_same_reason(list, one) ||
                  is_told(thread, shown_of(thread, one->partition), one->hold)))
            continue;
        note_told(thread, one, thread->now);
        if (named++ < HALTED_NAMED)
            text_printf(&names, "%s%" PRId32, named > 1 ? ", " : "", one->partition);
    }
    if (named == 1)
        say_halted(thread, list);
    else
        log_error(
            "partitions %s%s of %s (%zu) are halted for the same reason, nothing more of them "
            "is %s; of %s/%d: %s; they are tried again by themselves",
            names.data, named > HALTED_NAMED ? ", ..." : "", topic_of(thread), named,
            list->hold == HOLD_READING ? "read" : "dialled or published", topic_of(thread),
            list->partition, list->reason);
    text_fini(&names);
}

/* When the log last reported that a partition is halted for this reason, within the last minute; 0:
 * it did not. */
static int64_t cause_told_at(const struct kafka_thread *thread, const struct halted *one)
{
    if (one->hold == HOLD_REPAIR) /* each has to be repaired by itself */
        return 0;
    for (size_t i = 0; i < thread->shown_count; i++) {
        const struct shown *shown = &thread->shown[i];
        if (shown->told_of[one->hold] == one->hash && is_told(thread, shown, one->hold))
            return shown->told_at[one->hold];
    }
    return 0;
}

/* Whether the reason is a missing right, which is logged once a minute by itself. */
static bool is_for_right(const struct kafka_thread *thread, const struct halted *one)
{
    return one->hold != HOLD_REPAIR && strstr(one->reason, "uthorization failed") &&
           kafka_lacks_right(thread->kafka);
}

/* A halted partition is logged at once, then once a minute, also if it goes on in between because
 * its claim is repeated and refused again. Partitions that are halted for the same reason are one
 * line: those that follow within the minute are in the next one. */
static void complain_of(struct kafka_thread *thread, const struct halted *list, size_t count)
{
    if (is_told(thread, shown_of(thread, list->partition), list->hold))
        return;
    int64_t at = is_for_right(thread, list) ? thread->now : cause_told_at(thread, list);
    if (!at) {
        say_halted_together(thread, list, count);
        return;
    }
    note_told(thread, list, at);
    log_debug("partition %s/%d is halted, too: %s", topic_of(thread), list->partition,
              list->reason);
}

static void complain(struct kafka_thread *thread)
{
    struct engine_partition_stats view;
    struct halted *list = NULL;
    size_t count = 0, capacity = 0;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        const char *trouble = kafka_trouble(thread->kafka, thread->job, view.partition);
        const char *reason = view.halted ? view.halt_reason : trouble;
        if (!reason)
            continue;
        list = memory_grow(list, count, &capacity, sizeof *list, 4);
        list[count++] = (struct halted){.partition = view.partition,
                                        .hold = view.needs_repair ? HOLD_REPAIR
                                                : view.halted     ? HOLD_WRITING
                                                                  : HOLD_READING,
                                        .reason = reason,
                                        .hash = hash_reason(reason)};
    }
    for (size_t i = 0; i < count; i++)
        complain_of(thread, list + i, count - i);
    free(list);
}

static const char *state_of(const struct engine_partition_stats *view, const char *trouble)
{
    return trouble          ? "halted"
           : view->active   ? "active"
           : view->lost     ? "lost"
           : view->draining ? "draining"
                            : "changing hands";
}

/* Notes operations that do not end because nobody answers. */
static void check_waiting(struct kafka_thread *thread)
{
    enum { SLOW_MS = 30000 };
    int64_t began = thread->transaction_us / 1000;
    if (atomic_load(&thread->committing) && thread->now - began > SLOW_MS)
        trouble_waits(&thread->troubles, TROUBLE_TRANSACTIONS, began, thread->now,
                      "a transaction does not end: brokers do not answer, or a topic has too few "
                      "replicas in sync",
                      kafka_is_refused());
    if (thread->renewing_since && thread->now - thread->renewing_since > SLOW_MS)
        trouble_waits(&thread->troubles, TROUBLE_PRODUCER, thread->renewing_since, thread->now,
                      "the producer cannot be made ready: brokers do not answer, or a topic that "
                      "is written to is missing",
                      kafka_is_refused());
}

/* Whether the worker has a reason to let partitions wait: the platform, its limits, no free slot,
 * or a failure at Kafka that is logged already. */
static bool lets_wait(struct kafka_thread *thread)
{
    const struct call_counters *calls = call_thread_counters(thread->calls);
    struct engine_stats all;
    engine_get_stats(thread->engine, &all);
    uint64_t waits = atomic_load_explicit(&calls->rate_waits, memory_order_relaxed);
    bool limited = waits != thread->rate_waits;
    thread->rate_waits = waits;
    return limited || atomic_load_explicit(&calls->breaker, memory_order_relaxed) || all.stopping ||
           (int64_t)all.handed >= slots_of(thread->config, thread->job) ||
           troubles_any(&thread->troubles, thread->now);
}

/* Whether nothing happens in the partition for no known reason. */
static bool is_stuck(struct kafka_thread *thread, const struct engine_partition_stats *view,
                     bool excused, int64_t end)
{
    struct shown *shown = shown_of(thread, view->partition);
    struct watched now = {.base = view->base,
                          .next = view->next,
                          .end = end,
                          .unfinished = view->unfinished,
                          .excused =
                              excused || !view->active || view->started || view->delayed_lanes};
    shown->stuck =
        watchdog_is_stuck(&shown->watch, &now, thread->now, thread->config->stuck_after_ms);
    return shown->stuck;
}

static void complain_of_stuck(const struct kafka_thread *thread,
                              const struct engine_partition_stats *view, int64_t end)
{
    const char *topic = topic_of(thread);
    struct log_about about = {.topic = topic, .partition = view->partition, .offset = view->next};
    log_write(LOG_ERROR, &about,
              "partition %s/%d is stuck: its lag grows (%" PRId64
              " now), and nothing of it has been read, called or finished for stuck.after.ms. A "
              "transaction of a producer that hangs on the topic does this; else restart this "
              "worker, and report it",
              topic, view->partition, end - view->base);
}

/* Logs stuck partitions once a minute. */
static void watch_partitions(struct kafka_thread *thread)
{
    struct engine_partition_stats view;
    bool excused = lets_wait(thread);
    bool due = thread->now >= thread->stuck_at;
    size_t stuck = 0;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        int64_t end = kafka_end(thread->kafka, thread->job, view.partition);
        bool known = view.halted || kafka_trouble(thread->kafka, thread->job, view.partition);
        if (!is_stuck(thread, &view, excused || known, end))
            continue;
        if (due)
            complain_of_stuck(thread, &view, end);
        stuck++;
    }
    if (due && stuck)
        thread->stuck_at = thread->now + TROUBLE_INTERVAL_MS;
    metrics_set(&thread->metrics->stuck[thread->job], stuck);
}

/* Since when the partition is in that state, as far as each look has seen. */
static int64_t since_of(struct kafka_thread *thread, int32_t partition, const char *state)
{
    struct shown *shown = shown_of(thread, partition);
    if (shown->state != state || shown->round + 1 < thread->round)
        shown->since_ms = thread->wall;
    shown->state = state;
    shown->round = thread->round;
    return shown->since_ms;
}

static void fill_row(struct kafka_thread *thread, const struct engine_partition_stats *view,
                     const char *trouble, struct partition_row *row)
{
    const char *state = state_of(view, trouble);
    *row = (struct partition_row){.kind = thread->job,
                                  .partition = view->partition,
                                  .state = state,
                                  .base = view->base,
                                  .next = view->next,
                                  .end = kafka_end(thread->kafka, thread->job, view->partition),
                                  .unfinished = view->unfinished,
                                  .started = view->started,
                                  .ledger_size = view->ledger_size,
                                  .needs_repair = view->needs_repair,
                                  .stuck = shown_of(thread, view->partition)->stuck,
                                  .since_ms = since_of(thread, view->partition, state),
                                  .oldest_ms = view->oldest_ms};
    snprintf(row->halt_reason, sizeof row->halt_reason, "%s", trouble ? trouble : "");
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
        halted += trouble != NULL;
        lost += view.lost;
        lag += metrics_lag(&row) > 0 ? metrics_lag(&row) : 0;
        if (count < METRICS_PARTITIONS)
            thread->table[count++] = row;
    }
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
}

static void show_condition(struct kafka_thread *thread, enum condition condition, bool holds)
{
    metrics_condition(thread->metrics, thread->job, condition, holds ? thread->wall : 0);
}

/* Shows what keeps the job from its work. */
static void show_conditions(struct kafka_thread *thread)
{
    struct metrics *metrics = thread->metrics;
    enum request_kind job = thread->job;
    char silence[256];
    int64_t failing_since = 0;
    const char *failing = troubles_lasting(&thread->troubles, thread->now, &failing_since);
    metrics_failing(metrics, job, failing, thread->wall - thread->now + failing_since);
    int64_t silent = kafka_silent_since(thread->kafka, silence, sizeof silence);
    if (silent)
        metrics_silence(metrics, job, silence);
    metrics_condition(metrics, job, CONDITION_NO_KAFKA, silent);
    show_condition(thread, CONDITION_NO_TOPIC, kafka_lacks_topic(thread->kafka));
    show_condition(thread, CONDITION_NO_RIGHT, kafka_lacks_right(thread->kafka));
    show_condition(thread, CONDITION_STUCK, atomic_load(&metrics->stuck[job]) > 0);
    show_condition(thread, CONDITION_OUTSIDE, !atomic_load(&metrics->in_group[job]));
}

/* Renews what other threads see of this job. */
static void show(struct kafka_thread *thread)
{
    struct metrics *metrics = thread->metrics;
    enum request_kind job = thread->job;
    atomic_store_explicit(&metrics->kafka_turned_ms[job], thread->now, memory_order_relaxed);
    atomic_store(&metrics->lacks_right[job], kafka_lacks_right(thread->kafka));
    atomic_store_explicit(&metrics->lacks_topic[job], kafka_lacks_topic(thread->kafka),
                          memory_order_relaxed);
    metrics_sample(metrics, thread->now);
    if (thread->now < thread->table_at)
        return;
    thread->table_at = thread->now + TABLE_INTERVAL_MS;
    retry_claim(thread);
    check_waiting(thread);
    watch_partitions(thread);
    complain(thread);
    show_partitions(thread);
    show_counts(thread);
    show_conditions(thread);
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

/* The time of the stop is over, and requests are left. */
static void abandon_stop(struct kafka_thread *thread)
{
    size_t late = tell_lost_outcomes(thread);
    size_t unpublished = engine_count_unpublished(thread->engine);
    log_warn("the stop took longer than drain.timeout.ms and %d ms, as Kafka does not answer or "
             "does not take what is written; %s; late outcomes lost: %zu",
             STOP_GRACE_MS,
             unpublished > late
                 ? "results are left unpublished: they become unknown with the next owner"
                 : "no result is left unpublished",
             late);
    thread->status = unpublished > 0;
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
    kafka_start(thread->kafka);
    while (!thread->done) {
        read_clocks(thread);
        detect_freeze(thread);
        kafka_serve(thread->kafka);
        take_finished(thread);
        bool more = kafka_take_all(thread->kafka, thread->job, &sink, thread);
        check_stop(thread, stop); /* before the engine is asked: the loop may sleep for long then */
        act(thread);
        show(thread);
        if (!thread->done)
            kafka_wait(thread->kafka, wait_time(thread, more));
    }
    /* A job that fails sends nothing more while the other job drains. */
    call_thread_recall(calls, thread->job, DISPATCH_ALL);
    atomic_store_explicit(&thread->metrics->kafka_turned_ms[thread->job], INT64_MAX,
                          memory_order_relaxed);
    tell_orphans(thread);
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
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        jobs += *config->request_topics[kind] != 0;
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
        .lease_ms = config->session_timeout_ms / 2,
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
    thread->kafka = kafka_new(config, job, files, &handler, thread, error);
    if (!thread->kafka)
        goto free_engine;
    queue_init(&thread->finished, wake_for_finished, thread);
    thread->table = memory_zeroed(METRICS_PARTITIONS, sizeof *thread->table);
    return thread;

free_engine:
    engine_free(thread->engine);
    publish_fini(&thread->publish);
    free(thread);
    return NULL;
}

void kafka_thread_free(struct kafka_thread *thread)
{
    if (!thread)
        return;
    read_clocks(thread);
    take_finished(thread);
    kafka_free(thread->kafka);
    engine_free(thread->engine);
    publish_fini(&thread->publish);
    queue_fini(&thread->finished);
    free(thread->table);
    free(thread->shown);
    free(thread);
}
