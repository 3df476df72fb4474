/* Committed state: reading ledgers, plain commits, ending a dead owner's transactions. The tasks
 * run on the reader. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/ledger.h"
#include "io/kafka_internal.h"

enum {
    READ_TIMEOUT_MS = 1000,
    COUNT_TIMEOUT_MS = 2000,
    ABSENT_FIRST_MS = 1000, /* first pause before an absent partition is asked for again; doubles */
    ABSENT_MAX_MS = 32000,
    ABSENT_NAMED = 5, /* how many absent partitions an error names */
};

rd_kafka_topic_partition_list_t *
kafka_ledger_list(const struct config *config, const struct stored_ledger *ledgers, size_t count)
{
    rd_kafka_topic_partition_list_t *list =
        memory_must(rd_kafka_topic_partition_list_new((int)count + 1));
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(
            list, config->request_topics[ledgers[i].kind], ledgers[i].partition);
        at->offset = ledgers[i].offset;
        if (ledgers[i].metadata_size == 0)
            continue;
        /* librdkafka frees the metadata with the list, with free(). */
        at->metadata = memory_copy(ledgers[i].metadata, ledgers[i].metadata_size);
        at->metadata_size = ledgers[i].metadata_size;
    }
    return list;
}

/* The first partition's error, or the whole request's. */
static rd_kafka_resp_err_t first_error(rd_kafka_resp_err_t whole,
                                       const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list && i < list->cnt && !whole; i++)
        whole = list->elems[i].err;
    return whole;
}

/* librdkafka may put a commit off inside while the coordinator is away, and answers only when that
 * is over, after the session timeout at the latest. The answer is waited for however long it takes:
 * a commit that was given up here could land later over a newer one, and the coordinator would take
 * it, as it looks at the generation only. (Put off or not, it carries the generation of the moment
 * when it is sent, and none is newer before the coordinator is back.) What remains is a broker that
 * executes a request a second time after its connection broke and librdkafka repeated it; before a
 * later commit of ours over the new connection, so the last word is right. */
static rd_kafka_resp_err_t commit_plain(struct kafka *kafka,
                                        const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_queue_t *answers = memory_must(rd_kafka_queue_new(kafka->consumer));
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(kafka->consumer, list, answers, NULL, NULL);
    rd_kafka_event_t *event = NULL;
    while (!code && !event && !atomic_load(&kafka->stopping)) {
        event = rd_kafka_queue_poll(answers, KAFKA_BLOCK_MAX_MS);
        if (event && rd_kafka_event_type(event) != RD_KAFKA_EVENT_OFFSET_COMMIT) {
            rd_kafka_event_destroy(event);
            event = NULL;
        }
    }
    if (event) {
        code = first_error(rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event));
        rd_kafka_event_destroy(event);
    } else if (!code) {
        code = RD_KAFKA_RESP_ERR__DESTROY;
    }
    rd_kafka_queue_destroy(answers);
    return code;
}

rd_kafka_t *kafka_reading_client(struct kafka *kafka, bool uncommitted, unsigned *version,
                                 struct error *error)
{
    rd_kafka_conf_t *conf = kafka_settings_now(kafka, SIDE_CONSUMER, version, error);
    if (!conf)
        return NULL;
    kafka_setting_must(conf, "auto.offset.reset", "error"); /* a missing offset is an answer */
    if (uncommitted)
        kafka_setting_must(conf, "isolation.level", "read_uncommitted");
    rd_kafka_conf_set_log_cb(conf, kafka_log_callback);
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_t *client = kafka_client_now(kafka, RD_KAFKA_CONSUMER, conf, error);
    if (client)
        rd_kafka_poll_set_consumer(client);
    return client;
}

/* The reader's client, which is made if there is none; NULL: it cannot be made. */
static rd_kafka_t *client_of(struct kafka *kafka, struct kafka_reader *reader, bool uncommitted,
                             struct error *error)
{
    if (reader->client)
        return reader->client;
    reader->client = kafka_reading_client(kafka, uncommitted, &reader->version, error);
    kafka_client_runs(kafka, SIDE_CONSUMER, reader->client);
    return reader->client;
}

rd_kafka_t *kafka_uncommitted_reader(struct kafka *kafka, struct error *error)
{
    pthread_mutex_lock(&kafka->uncommitted_reader_lock);
    rd_kafka_t *client = client_of(kafka, &kafka->uncommitted_reader, true, error);
    pthread_mutex_unlock(&kafka->uncommitted_reader_lock);
    return client;
}

/* Brokers may refuse a consumer with outdated files. It is not replaced before its partitions are
 * given back, and for that the worker may have to read their ledgers: another client reads them. */
static rd_kafka_t *stable_reader(struct kafka *kafka, struct error *error)
{
    return kafka_is_outdated(kafka, kafka->consumer_version)
               ? client_of(kafka, &kafka->stable_reader, false, error)
               : kafka->consumer;
}

/* A doubt is about this worker's own last commit, which may be of a log that is gone. A ledger that
 * another worker has committed since is of the log that is there: what this one remembers is older,
 * and says nothing of it. */
static void find_outdated(const struct kafka *kafka, struct kafka_reading *reading)
{
    for (int i = 0; i < reading->list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &reading->list->elems[i];
        struct ledger ledger = {0};
        struct error error;
        if ((!reading->memories[i].doubtful && !reading->memories[i].other_log) || at->offset < 0 ||
            !at->metadata_size)
            continue;
        reading->memories[i].outdated =
            !ledger_decode(&ledger, at->offset, at->metadata, at->metadata_size, &error) &&
            strcmp(ledger.owner, kafka->config->instance_id) != 0;
        ledger_fini(&ledger);
    }
}

/* What the engine has to know of a missing offset. An unclear case stays unclear: while the
 * partition is halted, it is not known how far the log was read, so a new log proves nothing
 * then. */
static enum offset_loss loss_of(const rd_kafka_topic_partition_t *at,
                                const struct kafka_log_memo *of, enum kafka_log_identity log)
{
    if (!of->had_ledger || at->offset >= 0 || (log == KAFKA_LOG_OTHER && !of->lost))
        return OFFSET_NOT_LOST;
    return log == KAFKA_LOG_SAME ? OFFSET_LOST : OFFSET_LOSS_UNCLEAR;
}

/* The committed offset of a partition whose topic was deleted may be there for a moment more. */
static bool may_be_absent(const struct kafka_reading *reading, int i)
{
    return reading->stable &&
           (reading->list->elems[i].offset < 0 || reading->logs[i] == KAFKA_LOG_OTHER);
}

/* The leader of the group may assign partitions that the topic does not have, or not any more since
 * it was made again with fewer. The broker would refuse their claims one by one. */
static void count_partitions(struct kafka *kafka, struct kafka_reading *reading)
{
    bool any = false;
    struct error error;
    reading->partitions = -1;
    for (int i = 0; i < reading->list->cnt; i++)
        any |= may_be_absent(reading, i);
    rd_kafka_t *client = any ? kafka_uncommitted_reader(kafka, &error) : NULL;
    if (client)
        reading->partitions = kafka_partition_count(
            client, kafka->config->request_topics[kafka->job], COUNT_TIMEOUT_MS, &error);
}

static void take_ledgers(struct kafka_reading *reading)
{
    reading->ledger_count = (size_t)reading->list->cnt;
    reading->ledgers = memory_zeroed(reading->ledger_count + 1, sizeof *reading->ledgers);
    for (size_t i = 0; i < reading->ledger_count; i++) {
        const rd_kafka_topic_partition_t *at = &reading->list->elems[i];
        bool other = reading->logs[i] == KAFKA_LOG_OTHER && !reading->memories[i].lost;
        bool none = at->offset < 0 || (reading->stable && other);
        size_t size = none ? 0 : at->metadata_size;
        reading->ledgers[i] = (struct stored_ledger){
            .kind = reading->kinds[i],
            .partition = at->partition,
            .offset = none ? -1 : at->offset,
            .metadata = memory_copy(size ? at->metadata : "", size),
            .metadata_size = size,
            .made_again = reading->stable && other,
            .absent = may_be_absent(reading, (int)i) && reading->partitions >= 0 &&
                      at->partition >= reading->partitions,
            .loss = reading->stable ? loss_of(at, &reading->memories[i], reading->logs[i])
                                    : OFFSET_NOT_LOST,
        };
    }
}

static void read_ledgers(struct kafka *kafka)
{
    struct kafka_reading *reading = &kafka->reading;
    rd_kafka_t *client = reading->stable ? stable_reader(kafka, &reading->error)
                                         : kafka_uncommitted_reader(kafka, &reading->error);
    reading->answer = GROUP_RETRY;
    if (!client)
        return;
    /* The consumer's events are read elsewhere; nobody reads those of another client. */
    rd_kafka_resp_err_t code = client == kafka->consumer
                                   ? rd_kafka_committed(client, reading->list, READ_TIMEOUT_MS)
                                   : kafka_read_offsets(client, reading->list, READ_TIMEOUT_MS);
    code = first_error(code, reading->list);
    if (!code && reading->stable)
        find_outdated(kafka, reading);
    if (!code && reading->stable &&
        kafka_identify_logs(kafka, reading->list, reading->memories, reading->logs,
                            &reading->error))
        return;
    if (!code) {
        count_partitions(kafka, reading);
        take_ledgers(reading);
        reading->answer = GROUP_DONE;
        return;
    }
    struct error words;
    error_set(&words, "reading the committed offsets: %s", rd_kafka_err2str(code));
    kafka_explain(&reading->error, code, words.text);
    reading->code = code;
    kafka_offsets_denied(kafka, code, rd_kafka_err2str(code));
    if (code != RD_KAFKA_RESP_ERR__TIMED_OUT)
        kafka_runner_sleep(&kafka->reader, 50);
}

static void commit(struct kafka *kafka)
{
    struct kafka_reading *reading = &kafka->reading;
    reading->answer = GROUP_NOT_MEMBER;
    if (reading->no_membership) {
        error_set(&reading->error, "no membership at present");
        kafka_runner_sleep(&kafka->reader, NO_MEMBER_PAUSE_MS);
        return;
    }
    rd_kafka_resp_err_t code = commit_plain(kafka, reading->list);
    if (!code) {
        reading->answer = GROUP_DONE;
        return;
    }
    struct error words;
    error_set(&words, "committing: %s", rd_kafka_err2str(code));
    kafka_explain(&reading->error, code, words.text);
    reading->code = code;
    kafka_offsets_denied(kafka, code, rd_kafka_err2str(code));
    if (kafka_is_no_member(code))
        return;
    reading->answer = kafka_refuses_offsets(code) ? GROUP_REFUSED : GROUP_RETRY;
    kafka_runner_sleep(&kafka->reader, 20);
}

static void end_owner(struct kafka *kafka)
{
    struct kafka_reading *reading = &kafka->reading;
    bool forbidden = false;
    reading->answer = kafka_producer_end_other(kafka, reading->owner, &reading->error, &forbidden);
    if (!forbidden)
        return;
    struct error words = reading->error;
    reading->code = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    kafka_explain(&reading->error, reading->code, words.text);
}

static struct kafka_reading *reading_begin(struct kafka *kafka, enum kafka_read_kind kind)
{
    kafka->reading = (struct kafka_reading){.kind = kind};
    return &kafka->reading;
}

void kafka_read_ledgers(struct kafka *kafka, const struct record_position *list, size_t count,
                        bool stable)
{
    struct kafka_reading *reading = reading_begin(kafka, READ_LEDGERS);
    reading->stable = stable;
    reading->list = memory_must(rd_kafka_topic_partition_list_new((int)count + 1));
    reading->kinds = memory_zeroed(count + 1, sizeof *reading->kinds);
    reading->memories = memory_zeroed(count + 1, sizeof *reading->memories);
    reading->logs = memory_zeroed(count + 1, sizeof *reading->logs);
    for (size_t i = 0; i < count; i++) {
        const struct kafka_slot *slot = kafka_slot_find(kafka, list[i].kind, list[i].partition);
        reading->kinds[i] = list[i].kind;
        if (slot)
            reading->memories[i] = (struct kafka_log_memo){.had_ledger = slot->had_ledger,
                                                           .lost = slot->lost,
                                                           .doubtful = slot->restarted,
                                                           .other_log = slot->log_is_other,
                                                           .first = slot->first,
                                                           .last = slot->last,
                                                           .before = slot->before,
                                                           .next = slot->next};
        rd_kafka_topic_partition_list_add(
            reading->list, kafka->config->request_topics[list[i].kind], list[i].partition);
    }
    kafka_runner_give(&kafka->reader, read_ledgers);
}

void kafka_end_owner(struct kafka *kafka, const char *owner)
{
    struct kafka_reading *reading = reading_begin(kafka, READ_OWNER);
    reading->owner = memory_string(owner);
    kafka_runner_give(&kafka->reader, end_owner);
}

void kafka_commit(struct kafka *kafka, const struct stored_ledger *list, size_t count)
{
    struct kafka_reading *reading = reading_begin(kafka, READ_COMMIT);
    reading->list = kafka_ledger_list(kafka->config, list, count);
    rd_kafka_consumer_group_metadata_t *membership = kafka_membership(kafka);
    reading->no_membership = !membership;
    reading->rebalance = kafka->assignment.number;
    if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    kafka_runner_give(&kafka->reader, commit);
}

/* On the connection that carries JoinGroup, behind it. */
static void wait_for_answer(struct kafka *kafka)
{
    struct kafka_reading *reading = &kafka->reading;
    rd_kafka_resp_err_t code = rd_kafka_committed(kafka->consumer, reading->list, READ_TIMEOUT_MS);
    reading->answer = code == RD_KAFKA_RESP_ERR__TIMED_OUT ? GROUP_RETRY : GROUP_DONE;
    reading->generation = kafka_generation_now(kafka);
}

/* Asks about a partition that cannot exist: the offset of another one may be held back for as long
 * as a dead worker's transaction is open, and nothing can commit this one's. */
void kafka_wait_for_answer(struct kafka *kafka)
{
    struct kafka_reading *reading = reading_begin(kafka, READ_NOTHING);
    reading->list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(reading->list, kafka->config->request_topics[kafka->job],
                                      INT32_MAX);
    kafka_runner_give(&kafka->reader, wait_for_answer);
}

void kafka_reading_fini(struct kafka_reading *reading)
{
    if (reading->list)
        rd_kafka_topic_partition_list_destroy(reading->list);
    for (size_t i = 0; i < reading->ledger_count; i++)
        free((char *)reading->ledgers[i].metadata);
    free(reading->ledgers);
    free(reading->kinds);
    free(reading->memories);
    free(reading->logs);
    free(reading->owner);
    memset(reading, 0, sizeof *reading);
}

static void warn_of_others(struct kafka *kafka, const struct stored_ledger *ledger, bool had_ledger)
{
    struct log_about about = {.topic = kafka->config->request_topics[ledger->kind],
                              .partition = ledger->partition,
                              .offset = ledger->offset};
    const char *group = kafka->config->group_ids[kafka->job];
    if (had_ledger)
        log_write(LOG_WARN, &about,
                  "another program commits offsets in group %s: this one was committed without a "
                  "ledger; requests below it that had no result yet will get none, and those from "
                  "it on are performed, also if they were before. Give that program a group of its "
                  "own",
                  group);
    else
        log_write(LOG_WARN, &about,
                  "this offset was committed without a ledger: by `ledger repair` or another "
                  "tool, or another program commits offsets in group %s, which needs a group of "
                  "its own; requests below the offset that had no result yet will get none, and "
                  "those from it on are performed, also if they were before",
                  group);
}

/* Looks for offsets without a ledger, which no worker commits. */
static void look_for_others(struct kafka *kafka, const struct kafka_reading *reading)
{
    for (size_t i = 0; i < reading->ledger_count; i++) {
        const struct stored_ledger *ledger = &reading->ledgers[i];
        struct kafka_slot *slot = kafka_slot_find(kafka, ledger->kind, ledger->partition);
        if (!slot || ledger->metadata_size > 0 || ledger->offset <= (slot->had_ledger ? -1 : 0))
            continue;
        if (!slot->bare_reported)
            warn_of_others(kafka, ledger, slot->had_ledger);
        slot->had_ledger = false;
        slot->bare_reported = true;
    }
}

/* Logs partitions whose log or committed offset has changed. */
static void tell_losses(struct kafka *kafka, const struct kafka_reading *reading)
{
    for (size_t i = 0; reading->stable && i < reading->ledger_count; i++) {
        const struct stored_ledger *ledger = &reading->ledgers[i];
        struct kafka_slot *slot = kafka_slot_find(kafka, ledger->kind, ledger->partition);
        struct log_about about = {.topic = kafka->config->request_topics[ledger->kind],
                                  .partition = ledger->partition,
                                  .offset = -1};
        if (ledger->loss == OFFSET_LOST)
            log_write(LOG_WARN, &about,
                      "kafka: its committed offset is gone, and its log is the one that was read: "
                      "the brokers have lost data of __consumer_offsets; what is known of it here "
                      "is committed again");
        if (reading->logs[i] == KAFKA_LOG_OVERWRITTEN && ledger->loss == OFFSET_NOT_LOST)
            log_write(LOG_ERROR, &about,
                      "kafka: its log has lost its newest records (unclean.leader.election.enable "
                      "allows that), and others stand in their place: requests among these whose "
                      "offsets its committed state has as done are not called");
        if (slot)
            slot->lost = ledger->loss != OFFSET_NOT_LOST ||
                         ledger_is_halt(ledger->metadata, ledger->metadata_size);
        if (slot && reading->memories[i].outdated) {
            kafka_partition_forget_log(slot);
            slot->restarted = false;
        }
        if (slot && ledger->absent) /* so is the log that was read: a later one is another */
            slot->had_ledger = slot->lost = false;
        if (reading->logs[i] != KAFKA_LOG_OTHER || !slot || slot->lost)
            continue;
        /* A rebalance may drop this answer, and the question comes again: what was read of the old
         * log is remembered until something of this one is delivered. */
        slot->log_is_other = true;
        if (slot->next > 0 && !ledger->absent)
            log_write(LOG_WARN, &about,
                      "kafka: its log is another one: the topic was deleted and made again; it is "
                      "read from its beginning");
    }
}

/* Leaves partitions alone that the topic does not have, and asks for them again later: a broker may
 * not have heard of a new one yet. */
static void note_absent(struct kafka *kafka, const struct kafka_reading *reading)
{
    struct text names = {0};
    size_t count = 0;
    int64_t now = clock_boot_ms();
    for (size_t i = 0; reading->stable && i < reading->ledger_count; i++) {
        struct kafka_slot *slot =
            kafka_slot_find(kafka, reading->ledgers[i].kind, reading->ledgers[i].partition);
        if (!slot)
            continue;
        int64_t pause = !slot->absent_pause                      ? ABSENT_FIRST_MS
                        : slot->absent_pause < ABSENT_MAX_MS / 2 ? 2 * slot->absent_pause
                                                                 : ABSENT_MAX_MS;
        slot->absent_pause = reading->ledgers[i].absent ? pause : 0;
        if (!reading->ledgers[i].absent)
            slot->absent_since_ms = 0;
        else if (!slot->absent_since_ms)
            slot->absent_since_ms = now;
        slot->absent_until = reading->ledgers[i].absent ? now + pause : 0;
        kafka->assignment.absences |= reading->ledgers[i].absent;
        if (reading->ledgers[i].absent)
            text_item(&names, ++count, ABSENT_NAMED, "%" PRId32, slot->partition);
    }
    if (count && kafka_log_due(&kafka->log_throttle, "absent", KAFKA_LOG_INTERVAL_MS))
        log_error(
            "kafka: the leader of group %s assigns this worker %zu partition(s) that topic %s "
            "does not have: %s (it has %d); they are left alone until it has them, and the "
            "others are worked on",
            kafka->config->group_ids[kafka->job], count, kafka->config->request_topics[kafka->job],
            names.data, reading->partitions);
    text_fini(&names);
}

static void note_ledgers(struct kafka *kafka, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        enum request_kind kind = kafka_topic_kind(kafka->config, at->topic);
        struct kafka_slot *slot =
            kind == REQUEST_KINDS ? NULL : kafka_slot_find(kafka, kind, at->partition);
        if (!slot)
            continue;
        slot->had_ledger = at->metadata_size > 0;
        slot->bare_reported = slot->bare_reported && !slot->had_ledger;
        slot->lost =
            slot->lost && (!slot->had_ledger || ledger_is_halt(at->metadata, at->metadata_size));
    }
}

void kafka_reading_complete(struct kafka *kafka)
{
    struct kafka_reading reading = kafka->reading; /* the handler may start the next one */
    const struct kafka_handler *to = kafka->handler;
    const char *error = reading.answer == GROUP_DONE ? NULL : reading.error.text;
    memset(&kafka->reading, 0, sizeof kafka->reading);
    if (error && to->said && reading.kind != READ_NOTHING)
        to->said(kafka->arg, error, kafka_is_about_size(reading.code),
                 kafka_is_lasting(reading.code));
    switch (reading.kind) {
    case READ_LEDGERS:
        look_for_others(kafka, &reading);
        tell_losses(kafka, &reading);
        note_absent(kafka, &reading);
        to->ledgers_read(kafka->arg, reading.answer, reading.ledgers, reading.ledger_count, error);
        break;
    case READ_OWNER:
        to->owner_ended(kafka->arg, reading.answer, reading.owner, error);
        break;
    case READ_COMMIT:
        if (reading.answer == GROUP_DONE) {
            kafka_assignment_is_member(kafka);
            kafka_right_given(kafka, RIGHT_READ_GROUP, NULL);
            kafka_right_given(kafka, RIGHT_READ_TOPIC, NULL);
            note_ledgers(kafka, reading.list);
        }
        to->committed(kafka->arg, reading.answer, error);
        if (reading.answer == GROUP_NOT_MEMBER)
            kafka_assignment_no_member(kafka, reading.rebalance, clock_boot_ms());
        break;
    case READ_NOTHING:
        kafka->assignment.answers |= reading.answer == GROUP_DONE;
        /* The JoinGroup before it was answered, but not the SyncGroup behind it. */
        kafka->assignment.joining |= reading.generation > kafka->assignment.generation;
        break;
    }
    kafka_reading_fini(&reading);
}
