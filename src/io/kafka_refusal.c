/* What an error of Kafka means: which record or offset the broker refuses, whether it passes by
 * itself, and the remedy. Any thread. */
#include <string.h>

#include "io/kafka_internal.h"

enum record_refusal kafka_refusal_of(rd_kafka_resp_err_t code, bool has_key)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return REFUSED_FOR_SIZE;
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return has_key ? REFUSED_AS_IS : REFUSED_FOR_KEY;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
        return REFUSED_AS_IS;
    default:
        return RECORD_TAKEN;
    }
}

bool kafka_refuses_offsets(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN: /* Kafka 4.1's answer to commits that are too large together */
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return true;
    default:
        return false;
    }
}

bool kafka_is_about_size(rd_kafka_resp_err_t code)
{
    return kafka_refuses_offsets(code) && code != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED &&
           code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

const char *kafka_remedy(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
        return "the clocks of this machine and of the broker differ by more than the topic allows "
               "(message.timestamp.after.max.ms, an hour by default, and "
               "message.timestamp.before.max.ms): set the clocks right";
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return "the topic demands keys (cleanup.policy=compact), or the broker validates records "
               "in "
               "a way of its own";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return "this worker needs READ on request topics, and WRITE on result and dead-letter "
               "topics";
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        return "this worker needs READ on the group";
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
        return "the group's members have no kafka.partition.assignment.strategy in common with "
               "this worker: give another program a group of its own, and all workers the same "
               "strategy";
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return "this worker needs WRITE on transactional ids prefixed with the group's name";
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return "the topic is gone: create it anew";
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        return "a policy of the broker forbids it";
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return "the topic's format of messages is too old for transactions and headers";
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
        return "choose another kafka.compression.type";
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
        return "kafka.transaction.timeout.ms is above the broker's transaction.max.timeout.ms: "
               "lower the one or raise the other";
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        return "no newer instance need exist: Kafka does the same after "
               "kafka.transaction.timeout.ms";
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
        return "the broker's offset.metadata.max.bytes is below what the ledger needs";
    case RD_KAFKA_RESP_ERR_UNKNOWN:
    case RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return "it may be larger than the topic's max.message.bytes allows";
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return "fewer replicas are in sync than the topic's min.insync.replicas";
    default:
        return NULL;
    }
}

const char *kafka_read_remedy(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
        return "a batch may unpack to more than kafka.receive.message.max.bytes allows: set that "
               "higher and start again";
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
        return "this build of librdkafka or this broker does not have the compression that the "
               "records were written with";
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
        return "the records there are damaged: mend the broker's log, or set the group's offset "
               "behind them with kafka-consumer-groups.sh while all workers are stopped";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return "a batch is larger than kafka.receive.message.max.bytes allows: set that higher and "
               "start again";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return "the worker needs the right READ on this topic";
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return "the topic is gone: create it again";
    case RD_KAFKA_RESP_ERR__TRANSPORT:
        return "look at that broker, and at the network between it and this worker";
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
        return "start a broker that holds it";
    default:
        return "";
    }
}

void kafka_explain(struct error *error, rd_kafka_resp_err_t code, const char *what)
{
    const char *remedy = kafka_remedy(code);
    error_set(error, "%s%s%s", what, remedy ? ": " : "", remedy ? remedy : "");
    /* librdkafka 2.8 writes topic(id)[partition]; without an id it prints a null pointer. */
    static const char no_id[] = "((null))";
    for (char *at; (at = strstr(error->text, no_id));)
        memmove(at, at + sizeof no_id - 1, strlen(at + sizeof no_id - 1) + 1);
}
