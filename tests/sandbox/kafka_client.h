/* Short words for librdkafka in the tests of the embedded broker; whatever goes wrong fails the
 * test. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "sandbox/broker/broker.h"

enum { DEADLINE_MS = 20000 }; /* until something that must happen counts as failed */

struct broker *start_broker(struct broker_options options);

/* settings: "key=value key=value"; the type decides which defaults they get. */
rd_kafka_t *client_new(rd_kafka_type_t type, const struct broker *broker, const char *settings);

/* A consumer that reads one partition from an offset without a group. */
rd_kafka_t *reader_new(const struct broker *broker, const char *settings, const char *topic,
                       int32_t partition, int64_t offset);
rd_kafka_t *member_new(const struct broker *broker, const char *settings, const char *topic);

/* Asks for a topic's metadata, without which the first record of a producer may wait a second. */
void learn_topic(rd_kafka_t *producer, const char *name);

/* Queues a record. */
void produce(rd_kafka_t *producer, const char *topic, int32_t partition, const char *key,
             const char *value);
/* Waits until all are delivered. */
void flush(rd_kafka_t *producer);

/* The next record's value, which the caller frees; at the end of the partition NULL, when
 * enable.partition.eof is set. */
char *next_value(rd_kafka_t *consumer);
void expect_record(rd_kafka_t *consumer, const char *value);

/* Polls both (the second may be NULL) until the first has so many partitions assigned. */
void await_assignment(rd_kafka_t *consumer, rd_kafka_t *other, int partitions);
int assigned(rd_kafka_t *consumer);

/* One committed offset and its metadata (NULL: none wanted); checks them. */
void expect_committed(rd_kafka_t *consumer, const char *topic, int32_t partition, int64_t offset,
                      const char *metadata);

/* A list of one offset with metadata (may be NULL). */
rd_kafka_topic_partition_list_t *offset_of(const char *topic, int32_t partition, int64_t offset,
                                           const char *metadata);

/* The error's code; releases it; NULL is RD_KAFKA_RESP_ERR_NO_ERROR. */
rd_kafka_resp_err_t code_of(rd_kafka_error_t *error);

/* send_offsets_to_transaction with the consumer's present membership. */
rd_kafka_error_t *send_offset(rd_kafka_t *producer, rd_kafka_t *consumer, const char *topic,
                              int32_t partition, int64_t offset, const char *metadata);
