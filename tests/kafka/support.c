#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log_recent.h"
#include "base/memory.h"

static struct rebalance *note(struct side *side, uint64_t number,
                              const struct record_position *list, size_t count)
{
    assert_true(side->rebalance_count < SEEN && count <= SEEN);
    struct rebalance *seen = &side->rebalances[side->rebalance_count++];
    *seen = (struct rebalance){.number = number, .count = count};
    if (count)
        memcpy(seen->list, list, count * sizeof *list);
    return seen;
}

static void assigned(void *arg, uint64_t number, const struct record_position *list, size_t count)
{
    struct side *side = arg;
    note(side, number, list, count);
    if (side->answers)
        kafka_assign(side->kafka, number, list, count);
}

static void revoked(void *arg, uint64_t number, enum revocation parting,
                    const struct record_position *list, size_t count)
{
    struct side *side = arg;
    struct rebalance *seen = note(side, number, list, count);
    seen->revoked = true;
    seen->lost = parting != PARTITIONS_REVOKED;
    if (side->answers)
        kafka_unassign(side->kafka, number);
}

static void producer_ready(void *arg)
{
    ((struct side *)arg)->ready++;
}

static void say(struct side *side, const char *error)
{
    snprintf(side->error, sizeof side->error, "%s", error ? error : "");
}

static void transacted(void *arg, enum txn_outcome outcome, const enum record_refusal *refused,
                       const char *error)
{
    struct side *side = arg;
    side->outcome = outcome;
    assert_true((outcome == TXN_REFUSED) == (refused != NULL));
    memset(side->refused, 0, sizeof side->refused);
    if (refused)
        memcpy(side->refused, refused, side->record_count * sizeof *refused);
    say(side, error);
    side->transacted++;
}

static void ledgers_read(void *arg, enum group_answer answer, const struct stored_ledger *list,
                         size_t count, const char *error)
{
    struct side *side = arg;
    side->answer = answer;
    side->ledger_count = count;
    for (size_t i = 0; i < count; i++) {
        assert_true(list[i].metadata_size < sizeof side->metadata[i]);
        assert_int_equal(list[i].metadata[list[i].metadata_size], 0);
        memcpy(side->metadata[i], list[i].metadata, list[i].metadata_size + 1);
        side->ledgers[i] = list[i];
        side->ledgers[i].metadata = side->metadata[i];
    }
    say(side, error);
    side->ledgers_read++;
}

static void owner_ended(void *arg, enum group_answer answer, const char *owner, const char *error)
{
    struct side *side = arg;
    (void)owner;
    side->answer = answer;
    say(side, error);
    side->owners_ended++;
}

static void committed(void *arg, enum group_answer answer, const char *error)
{
    struct side *side = arg;
    side->answer = answer;
    say(side, error);
    side->committed++;
}

static void failed(void *arg, const char *error)
{
    struct side *side = arg;
    say(side, error);
    side->failed++;
}

static const struct kafka_handler handler = {
    .assigned = assigned,
    .revoked = revoked,
    .producer_ready = producer_ready,
    .transacted = transacted,
    .ledgers_read = ledgers_read,
    .owner_ended = owner_ended,
    .committed = committed,
    .failed = failed,
};

void side_init(struct side *side, const char *bootstrap, const char *group, const char *instance,
               const char *const *options)
{
    char servers[300], group_id[300], name[300];
    const char *all[SIDE_OPTIONS] = {"platform.url=https://127.0.0.1:1", "platform.token=t",
                                     "platform.app.id=a", "topic.recording.requests="};
    char *environment[] = {NULL};
    size_t count = 4;
    memset(side, 0, sizeof *side);
    snprintf(servers, sizeof servers, "kafka.bootstrap.servers=%s", bootstrap);
    snprintf(group_id, sizeof group_id, "kafka.group.id=%s", group);
    snprintf(name, sizeof name, "instance.id=%s", instance);
    all[count++] = servers;
    all[count++] = group_id;
    all[count++] = name;
    for (; options && *options; options++) {
        assert_true(count < SIDE_OPTIONS);
        all[count++] = *options;
    }
    struct config_input input = {.options = all, .option_count = count, .environment = environment};
    struct text errors = {0};
    if (config_load(&side->config, &input, &errors))
        fail_msg("%s", errors.data);
    text_fini(&errors);
    struct error error;
    side->answers = true;
    side->kafka = kafka_new(&side->config, REQUEST_CALL, NULL, &handler, side, &error);
    if (!side->kafka)
        fail_msg("%s", error.text);
}

void side_fini(struct side *side)
{
    if (kafka_free(side->kafka))
        config_fini(&side->config);
}

void side_join(struct side *side, size_t partitions)
{
    kafka_start(side->kafka);
    side_until(side, side->ready == 1);
    kafka_join(side->kafka);
    side_until(side, side->rebalance_count > 0 &&
                         side->rebalances[side->rebalance_count - 1].count == partitions);
}

static void take_record(void *arg, struct record_position position, const struct raw_record *raw)
{
    struct side *side = arg;
    assert_true(side->taken_count < SEEN);
    struct taken *taken = &side->taken[side->taken_count++];
    *taken = (struct taken){.position = position, .timestamp_ms = raw->timestamp_ms};
    snprintf(taken->key, sizeof taken->key, "%.*s", (int)raw->key_size, raw->key ? raw->key : "");
    snprintf(taken->value, sizeof taken->value, "%.*s", (int)raw->value_size,
             raw->value ? raw->value : "");
    if (raw->header_count)
        snprintf(taken->header, sizeof taken->header, "%s=%.*s", raw->headers[0].name,
                 (int)raw->headers[0].size, (const char *)raw->headers[0].value);
}

static void take_end(void *arg, enum request_kind kind, int32_t partition, int64_t offset)
{
    struct side *side = arg;
    (void)kind, (void)partition;
    side->ends++;
    side->end_offset = offset;
}

void side_take(struct side *side, int32_t partition)
{
    static const struct kafka_record_sink sink = {.record = take_record, .end = take_end};
    kafka_take(side->kafka, REQUEST_CALL, partition, 16, &sink, side);
}

enum txn_outcome side_transact(struct side *side, const struct record *records, size_t count,
                               const struct stored_ledger *ledgers, size_t ledger_count)
{
    struct kafka_transaction transaction = {.records = records,
                                            .record_count = count,
                                            .ledgers = ledgers,
                                            .ledger_count = ledger_count};
    int before = side->transacted;
    assert_true(count <= SEEN);
    side->record_count = count;
    kafka_transact(side->kafka, &transaction);
    side_until(side, side->transacted == before + 1);
    return side->outcome;
}

enum group_answer side_commit(struct side *side, const struct stored_ledger *ledgers, size_t count)
{
    int before = side->committed;
    kafka_commit(side->kafka, ledgers, count);
    side_until(side, side->committed == before + 1);
    return side->answer;
}

enum group_answer side_read(struct side *side, int32_t partition, bool stable)
{
    struct record_position position = {.kind = REQUEST_CALL, .partition = partition};
    int before = side->ledgers_read;
    kafka_read_ledgers(side->kafka, &position, 1, stable);
    side_until(side, side->ledgers_read == before + 1);
    return side->answer;
}

uint64_t errors_with(const char *words)
{
    static struct log_recent recent[LOG_RECENT];
    uint64_t errors = 0;
    for (size_t i = log_recent_copy(recent); i-- > 0;)
        if (recent[i].level == LOG_ERROR && strstr(recent[i].message, words))
            errors += recent[i].times;
    return errors;
}

void side_leave(struct side *side)
{
    side->answers = true;
    kafka_leave(side->kafka);
    side_until(side, kafka_left(side->kafka));
}

void record_set(struct record *record, const char *topic, const char *key, const char *value)
{
    memset(record, 0, sizeof *record);
    record->topic = topic;
    record->has_key = record->has_value = true;
    text_add(&record->key, key);
    text_add(&record->value, value);
    record->headers[0] = (struct record_header){"h", "1", 1};
    record->header_count = 1;
}

/* Why the newest producer could not write something. */
static rd_kafka_resp_err_t unwritten;

static void note_unwritten(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer, (void)opaque;
    if (message->err)
        unwritten = message->err;
}

static void flush(rd_kafka_t *producer)
{
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
    assert_int_equal(unwritten, RD_KAFKA_RESP_ERR_NO_ERROR);
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *bootstrap, const char *key,
                          const char *value)
{
    char reason[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
    if (key && rd_kafka_conf_set(conf, key, value, reason, sizeof reason))
        fail_msg("%s", reason);
    if (type == RD_KAFKA_CONSUMER) {
        rd_kafka_conf_set(conf, "group.id", "reader", NULL, 0);
        rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
        rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", NULL, 0);
    } else {
        unwritten = RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_conf_set_dr_msg_cb(conf, note_unwritten);
        /* What a test waits for is not the end of this time. */
        rd_kafka_conf_set(conf, "transaction.timeout.ms", "600000", NULL, 0);
    }
    rd_kafka_t *made = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!made)
        fail_msg("%s", reason);
    return made;
}

/* How many partitions with a leader the topic has, as a broker tells; 0: there is no such topic;
 * -1: that is not known. */
static int partitions_of(rd_kafka_t *asking, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(asking, name, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(asking, 0, topic, &metadata, 5000);
    rd_kafka_topic_destroy(topic);
    if (code)
        return -1;
    assert_int_equal(metadata->topic_cnt, 1);
    const struct rd_kafka_metadata_topic *found = metadata->topics;
    int count = !found->err || found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? 0 : -1;
    for (int i = 0; i < found->partition_cnt; i++)
        count += !found->partitions[i].err && found->partitions[i].leader >= 0;
    rd_kafka_metadata_destroy(metadata);
    return count;
}

struct admin {
    rd_kafka_t *client;
    rd_kafka_queue_t *queue; /* of the answer */
};

static struct admin admin_open(const char *bootstrap)
{
    rd_kafka_t *made = client(RD_KAFKA_PRODUCER, bootstrap, NULL, NULL);
    return (struct admin){made, rd_kafka_queue_new(made)};
}

static void admin_end(struct admin admin)
{
    rd_kafka_queue_destroy(admin.queue);
    rd_kafka_destroy(admin.client);
}

/* Waits for the answer. */
static void admin_answer(struct admin admin)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin.queue, WAIT_MS);
    assert_non_null(event);
    if (rd_kafka_event_error(event))
        fail_msg("%s", rd_kafka_event_error_string(event));
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
        results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        break;
    case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
        results =
            rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
        break;
    case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
        results = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(event), &count);
        break;
    }
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_topic_result_error(results[i]))
            fail_msg("%s", rd_kafka_topic_result_error_string(results[i]));
    rd_kafka_event_destroy(event);
}

/* Waits for the answer, and until the broker tells that the topic has so many partitions; ends the
 * client. The answer is the controller's, and the broker hears of it later: until then it takes
 * records into a log that is deleted, and refuses those for what is new. */
static void admin_done(struct admin admin, const char *name, int partitions)
{
    int64_t limit = clock_boot_ms() + WAIT_MS;
    admin_answer(admin);
    while (partitions_of(admin.client, name) != partitions) {
        assert_true(clock_boot_ms() < limit);
        rd_kafka_poll(admin.client, 20);
    }
    admin_end(admin);
}

static void make(const char *bootstrap, const char *name, int partitions, int batch_bytes)
{
    char reason[300], limit[20];
    struct admin admin = admin_open(bootstrap);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, reason, sizeof reason);
    snprintf(limit, sizeof limit, "%d", batch_bytes);
    if (batch_bytes)
        rd_kafka_NewTopic_set_config(topic, "max.message.bytes", limit);
    rd_kafka_CreateTopics(admin.client, &topic, 1, NULL, admin.queue);
    admin_done(admin, name, partitions);
    rd_kafka_NewTopic_destroy(topic);
}

void topic_make(const char *bootstrap, const char *name, int partitions)
{
    make(bootstrap, name, partitions, 0);
}

void topic_make_limited(const char *bootstrap, const char *name, int batch_bytes)
{
    make(bootstrap, name, 1, batch_bytes);
}

void topic_grow(const char *bootstrap, const char *name, int partitions)
{
    char reason[300];
    struct admin admin = admin_open(bootstrap);
    rd_kafka_NewPartitions_t *more =
        rd_kafka_NewPartitions_new(name, (size_t)partitions, reason, sizeof reason);
    rd_kafka_CreatePartitions(admin.client, &more, 1, NULL, admin.queue);
    admin_done(admin, name, partitions);
    rd_kafka_NewPartitions_destroy(more);
}

void topic_delete(const char *bootstrap, const char *name)
{
    struct admin admin = admin_open(bootstrap);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(admin.client, &topic, 1, NULL, admin.queue);
    admin_done(admin, name, 0);
    rd_kafka_DeleteTopic_destroy(topic);
}

void topic_trim(const char *bootstrap, const char *name, int64_t begin)
{
    struct admin admin = admin_open(bootstrap);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, 0)->offset = begin;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(admin.client, &records, 1, NULL, admin.queue);
    admin_answer(admin);
    admin_end(admin);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
}

void topic_fill(const char *bootstrap, const char *name, int count)
{
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, bootstrap, NULL, NULL);
    for (int i = 0; i < count; i++)
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(name),
                                           RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                           RD_KAFKA_V_VALUE("v", 1), RD_KAFKA_V_END),
                         0);
    flush(producer);
    rd_kafka_destroy(producer);
}

void topic_put(const char *bootstrap, const char *name, int32_t partition, const char *key,
               const char *value, const char *header)
{
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, bootstrap, NULL, NULL);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, strlen(key)),
        RD_KAFKA_V_VALUE((void *)value, strlen(value)), RD_KAFKA_V_HEADER("h", header, -1),
        RD_KAFKA_V_END);
    assert_int_equal(code, 0);
    flush(producer);
    rd_kafka_destroy(producer);
}

/* Where partition 0 ends, open transactions and their markers included. */
static int64_t end_of(const char *bootstrap, const char *name)
{
    rd_kafka_t *reader =
        client(RD_KAFKA_CONSUMER, bootstrap, "isolation.level", "read_uncommitted");
    int64_t low, high, limit = clock_boot_ms() + WAIT_MS;
    while (rd_kafka_query_watermark_offsets(reader, name, 0, &low, &high, 5000))
        assert_true(clock_boot_ms() < limit);
    rd_kafka_destroy(reader);
    return high;
}

void topic_values(const char *bootstrap, const char *name, bool committed, char *out, size_t size)
{
    rd_kafka_t *reader = client(RD_KAFKA_CONSUMER, bootstrap, "isolation.level",
                                committed ? "read_committed" : "read_uncommitted");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    /* To a read_committed reader a partition ends where its first open transaction begins, and a
     * commit is answered before its marker is written. */
    int64_t written = committed ? end_of(bootstrap, name) : 0;
    int64_t limit = clock_boot_ms() + WAIT_MS;
    out[0] = '\0';
    for (bool end = false; !end;) {
        assert_true(clock_boot_ms() < limit);
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 1000);
        if (!message)
            continue;
        end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && message->offset >= written;
        size_t length = strlen(out);
        if (!message->err)
            snprintf(out + length, size - length, "%s%.*s", length ? "," : "", (int)message->len,
                     (const char *)message->payload);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy(reader);
}

static void done(rd_kafka_error_t *error)
{
    if (error)
        fail_msg("%s", rd_kafka_error_string(error));
}

rd_kafka_t *transaction_left_open(const char *bootstrap, const char *group, const char *id,
                                  const char *results, const char *requests, int64_t offset,
                                  const char *metadata)
{
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, bootstrap, "transactional.id", id);
    done(rd_kafka_init_transactions(producer, WAIT_MS));
    done(rd_kafka_begin_transaction(producer));
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(results),
                                       RD_KAFKA_V_VALUE((void *)"lost", 4), RD_KAFKA_V_END),
                     0);
    flush(producer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, requests, 0);
    at->offset = offset;
    at->metadata = memory_string(metadata);
    at->metadata_size = strlen(metadata);
    rd_kafka_consumer_group_metadata_t *nobody = rd_kafka_consumer_group_metadata_new(group);
    done(rd_kafka_send_offsets_to_transaction(producer, list, nobody, WAIT_MS));
    rd_kafka_consumer_group_metadata_destroy(nobody);
    rd_kafka_topic_partition_list_destroy(list);
    return producer;
}

const char *const quick_options[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                     "kafka.session.timeout.ms=6000", NULL};

struct cluster *cluster_new(int brokers)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
    cluster->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    cluster->mock = rd_kafka_mock_cluster_new(cluster->owner, brokers);
    cluster->bootstrap = rd_kafka_mock_cluster_bootstraps(cluster->mock);
    return cluster;
}

int cluster_up(void **state)
{
    struct cluster *cluster = cluster_new(1);
    rd_kafka_mock_topic_create(cluster->mock, "call-requests", 2, 1);
    rd_kafka_mock_topic_create(cluster->mock, "call-results", 1, 1);
    rd_kafka_mock_topic_create(cluster->mock, "privacy-call-dead-letters", 1, 1);
    *state = cluster;
    return 0;
}

int cluster_down(void **state)
{
    struct cluster *cluster = *state;
    rd_kafka_mock_cluster_destroy(cluster->mock);
    rd_kafka_destroy(cluster->owner);
    free(cluster);
    return 0;
}
