#include "kafka_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"

struct broker *start_broker(struct broker_options options)
{
    struct error error;
    log_setup(LOG_ERROR, LOG_TEXT, "test");
    struct broker *broker = broker_new(&options, &error);
    if (!broker)
        fail_msg("%s", error.text);
    return broker;
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char text[256];
    if (rd_kafka_conf_set(conf, key, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        fail_msg("%s", text);
}

static void set_all(rd_kafka_conf_t *conf, const char *settings)
{
    char *copy = strdup(settings), *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = '\0';
        set(conf, word, equals + 1);
    }
    free(copy);
}

/* Without it librdkafka flushes in steps of 10 ms. */
static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    (void)message;
    (void)opaque;
}

/* librdkafka 2.0.2 does not send LeaveGroup when there is none. */
static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    (void)opaque;
    /* NULL while the consumer closes, when librdkafka's side of the group has ended before this
     * call was served: then nothing is assigned any more, and nobody waits for an answer. */
    const char *protocol = rd_kafka_rebalance_protocol(consumer);
    if (!protocol)
        return;
    bool assign = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_error_t *error = NULL;
    if (strcmp(protocol, "COOPERATIVE") != 0)
        rd_kafka_assign(consumer, assign ? partitions : NULL);
    else if (assign)
        error = rd_kafka_incremental_assign(consumer, partitions);
    else
        error = rd_kafka_incremental_unassign(consumer, partitions);
    if (error)
        rd_kafka_error_destroy(error);
}

rd_kafka_t *client_new(rd_kafka_type_t type, const struct broker *broker, const char *settings)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", broker_address(broker));
    set(conf, "log_level", "0");
    if (type == RD_KAFKA_CONSUMER)
        set_all(conf, "enable.auto.commit=false auto.offset.reset=earliest fetch.wait.max.ms=100 "
                      "heartbeat.interval.ms=100 partition.assignment.strategy=cooperative-sticky");
    else
        set_all(conf, "linger.ms=0 retry.backoff.ms=5");
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    else
        rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    set_all(conf, settings);
    char text[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof(text));
    if (!client)
        fail_msg("%s", text);
    if (type == RD_KAFKA_CONSUMER)
        rd_kafka_poll_set_consumer(client);
    return client;
}

rd_kafka_topic_partition_list_t *offset_of(const char *topic, int32_t partition, int64_t offset,
                                           const char *metadata)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_add(list, topic, partition);
    one->offset = offset;
    one->metadata = metadata ? strdup(metadata) : NULL;
    one->metadata_size = metadata ? strlen(metadata) : 0;
    return list;
}

rd_kafka_t *reader_new(const struct broker *broker, const char *settings, const char *topic,
                       int32_t partition, int64_t offset)
{
    char all[256];
    snprintf(all, sizeof(all), "group.id=none %s", settings);
    rd_kafka_t *reader = client_new(RD_KAFKA_CONSUMER, broker, all);
    rd_kafka_topic_partition_list_t *list = offset_of(topic, partition, offset, NULL);
    assert_int_equal(rd_kafka_assign(reader, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    return reader;
}

rd_kafka_t *member_new(const struct broker *broker, const char *settings, const char *topic)
{
    rd_kafka_t *member = client_new(RD_KAFKA_CONSUMER, broker, settings);
    rd_kafka_topic_partition_list_t *list =
        offset_of(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_OFFSET_INVALID, NULL);
    assert_int_equal(rd_kafka_subscribe(member, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    return member;
}

void learn_topic(rd_kafka_t *producer, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    assert_int_equal(rd_kafka_metadata(producer, 0, topic, &metadata, DEADLINE_MS), 0);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
}

void produce(rd_kafka_t *producer, const char *topic, int32_t partition, const char *key,
             const char *value)
{
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
                                       RD_KAFKA_V_PARTITION(partition),
                                       RD_KAFKA_V_KEY(key, key ? strlen(key) : 0),
                                       RD_KAFKA_V_VALUE((void *)value, strlen(value)),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     0);
}

void flush(rd_kafka_t *producer)
{
    assert_int_equal(rd_kafka_flush(producer, DEADLINE_MS), 0);
}

char *next_value(rd_kafka_t *consumer)
{
    int64_t until = clock_boot_ms() + DEADLINE_MS;
    while (clock_boot_ms() < until) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
        char *value = NULL;
        bool end = message && message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (message && !message->err)
            value = strndup(message->payload, message->len);
        if (message)
            rd_kafka_message_destroy(message);
        if (value || end)
            return value;
    }
    fail_msg("no record came");
    return NULL;
}

void expect_record(rd_kafka_t *consumer, const char *value)
{
    char *got = next_value(consumer);
    if (!value || !got)
        assert_ptr_equal(got, value);
    else
        assert_string_equal(got, value);
    free(got);
}

int assigned(rd_kafka_t *consumer)
{
    rd_kafka_topic_partition_list_t *list;
    assert_int_equal(rd_kafka_assignment(consumer, &list), 0);
    int count = list->cnt;
    rd_kafka_topic_partition_list_destroy(list);
    return count;
}

static void poll_once(rd_kafka_t *consumer)
{
    rd_kafka_message_t *message = consumer ? rd_kafka_consumer_poll(consumer, 10) : NULL;
    if (message)
        rd_kafka_message_destroy(message);
}

void await_assignment(rd_kafka_t *consumer, rd_kafka_t *other, int partitions)
{
    int64_t until = clock_boot_ms() + DEADLINE_MS;
    while (assigned(consumer) != partitions) {
        if (clock_boot_ms() > until)
            fail_msg("%d partitions assigned, not %d", assigned(consumer), partitions);
        poll_once(consumer);
        poll_once(other);
    }
}

void expect_committed(rd_kafka_t *consumer, const char *topic, int32_t partition, int64_t offset,
                      const char *metadata)
{
    rd_kafka_topic_partition_list_t *list = offset_of(topic, partition, 0, NULL);
    assert_int_equal(rd_kafka_committed(consumer, list, DEADLINE_MS), 0);
    assert_int_equal(list->elems[0].err, 0);
    assert_int_equal(list->elems[0].offset, offset);
    if (metadata) {
        assert_int_equal(list->elems[0].metadata_size, strlen(metadata));
        assert_memory_equal(list->elems[0].metadata, metadata, strlen(metadata));
    }
    rd_kafka_topic_partition_list_destroy(list);
}

rd_kafka_resp_err_t code_of(rd_kafka_error_t *error)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    if (error)
        rd_kafka_error_destroy(error);
    return code;
}

rd_kafka_error_t *send_offset(rd_kafka_t *producer, rd_kafka_t *consumer, const char *topic,
                              int32_t partition, int64_t offset, const char *metadata)
{
    rd_kafka_topic_partition_list_t *list = offset_of(topic, partition, offset, metadata);
    rd_kafka_consumer_group_metadata_t *membership = rd_kafka_consumer_group_metadata(consumer);
    assert_non_null(membership);
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(producer, list, membership, DEADLINE_MS);
    rd_kafka_consumer_group_metadata_destroy(membership);
    rd_kafka_topic_partition_list_destroy(list);
    return error;
}
