#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/kafka_thread_internal.h"

enum { PARTITIONS_NAMED = 200 /* how many partitions a log line names */ };

/* `assigned` tells what is added to what the worker has already. */
static void log_partitions(const struct kafka_thread *thread, const char *what,
                           const struct record_position *list, size_t count)
{
    struct text text = {0};
    if (count)
        text_printf(&text, "%zu partition(s) ", count);
    else
        text_printf(&text, "no further partition of %s", topic_of(thread));
    for (size_t i = 0; i < count; i++)
        text_item(&text, i + 1, PARTITIONS_NAMED, "%s/%d", topic_of(thread), list[i].partition);
    log_write(kafka_asks_again(thread->kafka) ? LOG_DEBUG : LOG_INFO, NULL, "%s: %s", what,
              text.data);
    text_fini(&text);
}

static void count_rebalance(struct kafka_thread *thread, uint64_t rebalance)
{
    if (rebalance != thread->rebalance && !kafka_asks_again(thread->kafka))
        metrics_count(&thread->metrics->rebalances, 1);
    thread->rebalance = rebalance;
    thread->table_at = 0;
}

/* From now on the partition is read with another ledger. */
static void forget_short_log(struct partition_notes *notes)
{
    notes->log_is_short = false;
    notes->passed = (struct passed){0};
    notes->passed_told = 0;
    notes->passed_told_at = 0;
}

static void on_assigned(void *argument, uint64_t rebalance, const struct record_position *list,
                        size_t count)
{
    struct kafka_thread *thread = argument;
    log_partitions(thread, "assigned", list, count);
    count_rebalance(thread, rebalance);
    atomic_store(&thread->metrics->in_group[thread->job], true);
    thread->shut_out = false;
    for (size_t i = 0; i < count; i++)
        forget_short_log(notes_of(thread, list[i].partition));
    engine_assigned(thread->engine, rebalance, list, count, thread->now);
}

static void on_revoked(void *argument, uint64_t rebalance, enum revocation how,
                       const struct record_position *list, size_t count)
{
    struct kafka_thread *thread = argument;
    log_partitions(thread, how == PARTITIONS_REVOKED ? "revoked" : "lost", list, count);
    count_rebalance(thread, rebalance);
    if (how != PARTITIONS_REVOKED) {
        atomic_store(&thread->metrics->in_group[thread->job], false);
        thread->shut_out = false;
    }
    thread->losing = how == PARTITIONS_LOST;
    engine_revoked(thread->engine, rebalance, how, list, count, thread->now);
    size_t started;
    thread->lost = kafka_actions_count_lost(thread, &started);
}

static void on_log_changed(void *argument, const struct record_position *list, size_t count)
{
    struct kafka_thread *thread = argument;
    for (size_t i = 0; i < count; i++) {
        engine_log_changed(thread->engine, list[i].partition);
        notes_of(thread, list[i].partition)->made_again = true;
    }
    gone_log_changed(thread, list, count);
}

static void on_producer_ready(void *argument)
{
    struct kafka_thread *thread = argument;
    trouble_over(&thread->troubles, TROUBLE_PRODUCER, thread->now);
    thread->renewing_since = 0;
    engine_producer_ready(thread->engine, thread->now);
    if (!kafka_has_joined(thread->kafka) && !thread->stop_until) {
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
        [TXN_FENCED] =
            ("was fenced: a takeover ended the transactions of this name's last process, "
             "or kafka.transaction.timeout.ms had passed while Kafka was away or this "
             "process stood still, or another producer has this name; the producer is "
             "made anew and the ledgers are read back")};
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
    thread->asked_since = 0;
    if (answer == GROUP_DONE) {
        trouble_over(&thread->troubles, kind, thread->now);
        return;
    }
    snprintf(words, sizeof words, "%s (%s)", what, error ? error : "no reason given");
    trouble_failed(&thread->troubles, answer == GROUP_REFUSED ? TROUBLE_REFUSALS : kind,
                   thread->now, words, thread->said_lasting && answer == GROUP_RETRY);
}

/* Notes the committed offsets of partitions that were halted as these ledgers were read: the engine
 * loads nothing of such a ledger. A lost offset is committed as 0. */
static void note_halted(struct kafka_thread *thread, const struct stored_ledger *list, size_t count)
{
    struct engine_partition_stats view;
    for (size_t i = 0; i < count; i++)
        notes_of(thread, list[i].partition)->halted_at = list[i].offset > 0 ? list[i].offset : 0;
    for (size_t i = 0; count && engine_get_partition_stats(thread->engine, i, &view); i++)
        if (!view.needs_repair)
            notes_of(thread, view.partition)->halted_at = -1;
}

/* What a takeover found started, of each partition; beyond that many they share a line. */
static void tell_inherited(struct kafka_thread *thread, const struct stored_ledger *list,
                           size_t count)
{
    enum { TOLD_EACH = 20 };
    size_t told = 0, requests = 0;
    struct engine_range range;
    for (size_t i = 0; i < count; i++) {
        struct log_about about = {.topic = topic_of(thread), .partition = list[i].partition};
        if (!engine_take_inherited(thread->engine, list[i].partition, &range))
            continue;
        about.offset = range.first;
        if (told++ < TOLD_EACH)
            log_write(LOG_WARN, &about,
                      "taken over with %zu started request%s of %s/%" PRId32 " without a result "
                      "(offsets %" PRId64 " to %" PRId64 "): %s unknown",
                      range.count, range.count == 1 ? "" : "s", topic_of(thread), list[i].partition,
                      range.first, range.last, range.count == 1 ? "it becomes" : "they become");
        else
            requests += range.count;
    }
    if (told > TOLD_EACH)
        log_warn("taken over with started requests: so are %zu more partitions of %s, with %zu of "
                 "them",
                 told - TOLD_EACH, topic_of(thread), requests);
}

static void on_ledgers_read(void *argument, enum group_answer answer,
                            const struct stored_ledger *list, size_t count, const char *error)
{
    struct kafka_thread *thread = argument;
    note_answer(thread, TROUBLE_READS, answer, "the committed ledgers cannot be read yet", error);
    for (size_t i = 0; i < count; i++)
        if (list[i].made_again) {
            notes_of(thread, list[i].partition)->made_again = true;
            gone_log_changed(thread, &(struct record_position){.partition = list[i].partition}, 1);
        }
    engine_ledgers_read(thread->engine, answer, list, count, thread->now);
    tell_inherited(thread, list, count);
    note_halted(thread, list, count);
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

const struct kafka_handler kafka_reports_handler = {.assigned = on_assigned,
                                                    .revoked = on_revoked,
                                                    .log_changed = on_log_changed,
                                                    .producer_ready = on_producer_ready,
                                                    .said = on_said,
                                                    .transacted = on_transacted,
                                                    .ledgers_read = on_ledgers_read,
                                                    .owner_ended = on_owner_ended,
                                                    .committed = on_committed,
                                                    .failed = on_failed};

/* Guarantee 7: without committed offsets every request that is young enough is called. Logged once
 * per takeover of the partition, a second after it was found: others have found it by then. */
static void note_older(struct kafka_thread *thread, int32_t partition)
{
    struct partition_notes *notes = notes_of(thread, partition);
    bool older = engine_is_older_than_group(thread->engine, partition);
    notes->older_due |= older && !notes->older;
    thread->older_due |= notes->older_due;
    notes->older = older;
}

/* Logs those whose log was made again, or the others. */
static void tell_older(struct kafka_thread *thread, bool made_again)
{
    struct text names = {0};
    struct log_about about = {.topic = topic_of(thread), .offset = -1};
    size_t count = 0;
    for (size_t i = 0; i < thread->notes_count; i++) {
        struct partition_notes *notes = &thread->notes[i];
        if (!notes->older_due || notes->made_again != made_again)
            continue;
        notes->older_due = notes->made_again = false;
        about.partition = (int32_t)i;
        text_item(&names, ++count, PARTITIONS_NAMED, "%zu", i);
    }
    if (count)
        log_write(LOG_WARN, count == 1 ? &about : NULL,
                  "no committed offset was found for %zu partition%s of %s (%s), though there are "
                  "requests: %s; %s",
                  count, count == 1 ? "" : "s", topic_of(thread), names.data,
                  made_again
                      ? "the topic was deleted and made again, and the group's offset with it"
                      : "the topic is older than the group, or was deleted and made again, "
                        "or the group's offsets have expired",
                  thread->job == REQUEST_CALL ? "those younger than call.max.age.ms are called"
                                              : "all of them are performed, whatever their age");
    text_fini(&names);
}

void older_log(struct kafka_thread *thread)
{
    if (!thread->older_due)
        return;
    thread->older_due = false;
    tell_older(thread, true);
    tell_older(thread, false);
}

static void note_passed(struct kafka_thread *thread, struct passed *passed, int64_t offset)
{
    if (!passed->count++)
        passed->first = offset;
    passed->last = offset;
    metrics_count(&thread->metrics->passed[thread->job], 1);
}

/* Whether the record ends the reading of its partition. The log has ended below what the ledger
 * tells of. If a record that comes now in such a place is newer than that end, it is another one
 * than the ledger tells of. An older one may be that: a new leader of the partition may show the
 * end late. The engine waits for ENGINE_SHORT_LOG_MS because of that; but a record that the ledger
 * calls done has no result. */
static bool is_of_other_log(struct kafka_thread *thread, struct record_position position,
                            const struct raw_record *raw)
{
    struct partition_notes *notes = notes_of(thread, position.partition);
    int64_t end = engine_ledger_end(thread->engine, position.partition);
    if (!notes->log_is_short || position.offset < notes->short_end || position.offset >= end)
        return false;
    if (raw->timestamp_ms < notes->short_wall) {
        if (engine_is_done(thread->engine, position.partition, position.offset))
            note_passed(thread, &notes->passed, position.offset);
        return false;
    }
    struct text reason = {0};
    text_printf(&reason,
                "its log ended at offset %" PRId64 ", its committed metadata tells of requests up "
                "to %" PRId64 ", and a newer one has come with offset %" PRId64
                ": the topic was deleted and created anew, or has lost records",
                notes->short_end, end, position.offset);
    engine_log_is_other(thread->engine, position.partition, text_take(&reason), thread->now);
    return true;
}

static void on_record(void *argument, struct record_position position, const struct raw_record *raw)
{
    struct kafka_thread *thread = argument;
    if (!engine_is_news(thread->engine, position.partition, position.offset) ||
        is_of_other_log(thread, position, raw))
        return;
    metrics_count(&thread->metrics->requests[thread->job], 1);
    struct request *request = request_new(position, raw);
    event_parse(request, &thread->rules, thread->wall);
    engine_record(thread->engine, request, thread->now, thread->wall);
    note_older(thread, position.partition);
}

static void on_end(void *argument, enum request_kind kind, int32_t partition, int64_t offset)
{
    (void)kind;
    struct kafka_thread *thread = argument;
    engine_end(thread->engine, partition, offset, thread->now, thread->wall);
    struct partition_notes *notes = notes_of(thread, partition);
    if (!notes->log_is_short && offset < engine_ledger_end(thread->engine, partition)) {
        notes->log_is_short = true;
        notes->short_end = offset;
        notes->short_wall = thread->wall;
    }
}

static size_t on_room(void *argument, int32_t partition)
{
    const struct kafka_thread *thread = argument;
    return engine_wants(thread->engine, partition);
}

const struct kafka_record_sink kafka_reports_records = {
    .record = on_record, .end = on_end, .wants = on_room};
