/* Checks whether the log of a partition is still the one that was read.
 *
 * A topic that is deleted and created again has another log under the same name, and librdkafka
 * reports nothing that distinguishes the two in all versions. So this module stores a short print
 * of records that were read. When the committed offset is gone, it reads these records again: if
 * they are still there, only the offset was lost.
 *
 * It compares three records: the last delivered one, one that was delivered before committed
 * offsets were last seen, and the first one. If only the last one is still there, records of the
 * new log were delivered unnoticed, and it is not known which log's requests were handled. If only
 * the first one is still there, the log has lost records, and others may stand in their place. Runs
 * on the reader, with a client of its own that joins no group. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum {
    LOOK_MS = 5000,
    ENDS_MS = 2000,
    LOOKS = 3, /* at a log that grows while it is looked at */
    EDGE = 64, /* bytes at each end of a text that are compared */
};

static uint64_t mix_text(uint64_t hash, const char *text, size_t size)
{
    size_t head = size < EDGE ? size : EDGE, tail = size - head < EDGE ? size - head : EDGE;
    hash = hash_add(hash, &size, sizeof size);
    if (head)
        hash = hash_add(hash, text, head);
    return tail ? hash_add(hash, text + size - tail, tail) : hash;
}

struct kafka_fingerprint kafka_fingerprint_of(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    uint64_t hash = hash_add(HASH_EMPTY, &timestamp, sizeof timestamp);
    hash = mix_text(hash, message->key, message->key_len);
    return (struct kafka_fingerprint){message->offset,
                                      mix_text(hash, message->payload, message->len)};
}

/* Compares the record at the print's position; KAFKA_LOG_NOT_ASKED: no broker answers. */
static enum kafka_log_identity look_at(struct kafka *kafka, rd_kafka_t *client,
                                       rd_kafka_topic_partition_list_t *assignment,
                                       struct kafka_fingerprint print)
{
    enum kafka_log_identity found = KAFKA_LOG_NOT_ASKED;
    int64_t until = clock_boot_ms() + LOOK_MS;
    assignment->elems[0].offset = print.offset;
    if (rd_kafka_assign(client, assignment))
        return KAFKA_LOG_NOT_ASKED;
    while (found == KAFKA_LOG_NOT_ASKED && clock_boot_ms() < until &&
           !atomic_load(&kafka->stopping)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
        if (!message)
            continue;
        struct kafka_fingerprint other = {-1, 0};
        if (!message->err)
            other = kafka_fingerprint_of(message);
        if (!message->err && other.offset == print.offset)
            found = other.hash == print.hash ? KAFKA_LOG_SAME : KAFKA_LOG_OTHER;
        else if (!message->err)
            found = KAFKA_LOG_UNKNOWN; /* the record was deleted, in this log or another one */
        else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            found = KAFKA_LOG_UNKNOWN; /* the log ends before it */
        else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                 message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
            found = KAFKA_LOG_UNKNOWN;
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(client, NULL);
    return found;
}

/* Whether the topic has fewer partitions now: then it was deleted and created again, and this
 * partition's log is gone. Nothing else removes partitions. */
static bool is_gone(rd_kafka_t *client, const rd_kafka_topic_partition_t *at)
{
    struct error error;
    int count = kafka_partition_count(client, at->topic, ENDS_MS, &error);
    return count >= 0 && at->partition >= count;
}

/* Judges a log without a record at the position. A log that begins at 0 and ends before the last
 * record that was read is a new one if it is empty, or if the committed offset went with the old
 * log. Otherwise it may have lost records, and the remaining ones may have been called. */
static enum kafka_log_identity
look_at_ends(rd_kafka_t *client, const rd_kafka_topic_partition_t *at, int64_t next, bool gone)
{
    int64_t low, high;
    if (rd_kafka_query_watermark_offsets(client, at->topic, at->partition, &low, &high, ENDS_MS))
        return KAFKA_LOG_NOT_ASKED;
    if (high == 0 || (gone && next <= 0))
        return KAFKA_LOG_OTHER;
    if (low == 0 && high < next)
        return gone ? KAFKA_LOG_OTHER : KAFKA_LOG_UNKNOWN;
    return low > 0 && high >= next ? KAFKA_LOG_SAME : KAFKA_LOG_UNKNOWN;
}

/* Judges a log with another record in place of the last one, and without the first one: a new log
 * begins at 0. */
static enum kafka_log_identity look_at_begin(rd_kafka_t *client,
                                             const rd_kafka_topic_partition_t *at, int64_t first)
{
    int64_t low, high;
    if (rd_kafka_query_watermark_offsets(client, at->topic, at->partition, &low, &high, ENDS_MS))
        return KAFKA_LOG_NOT_ASKED;
    return low > first ? KAFKA_LOG_OVERWRITTEN : KAFKA_LOG_OTHER;
}

static enum kafka_log_identity look_once(struct kafka *kafka, rd_kafka_t *client,
                                         rd_kafka_topic_partition_list_t *assignment,
                                         const struct kafka_log_memo *of, bool gone)
{
    enum kafka_log_identity found = KAFKA_LOG_UNKNOWN;
    if (of->last.offset >= 0)
        found = look_at(kafka, client, assignment, of->last);
    bool is_away = found == KAFKA_LOG_UNKNOWN || found == KAFKA_LOG_OTHER;
    if (is_away && of->first.offset >= 0 && of->first.offset < of->last.offset) {
        /* The last record is gone: the log is another one, or has lost its newest records, in whose
         * place others may stand. */
        enum kafka_log_identity first = look_at(kafka, client, assignment, of->first);
        if (first == KAFKA_LOG_SAME)
            return found == KAFKA_LOG_OTHER ? KAFKA_LOG_OVERWRITTEN : KAFKA_LOG_UNKNOWN;
        if (first == KAFKA_LOG_UNKNOWN && found == KAFKA_LOG_OTHER)
            return look_at_begin(client, &assignment->elems[0], of->first.offset);
        if (first != KAFKA_LOG_UNKNOWN)
            return first;
    }
    if (found == KAFKA_LOG_UNKNOWN)
        return look_at_ends(client, &assignment->elems[0], of->next, gone);
    if (found != KAFKA_LOG_SAME || of->before.offset < 0 || of->before.offset == of->last.offset)
        return found;
    enum kafka_log_identity before = look_at(kafka, client, assignment, of->before);
    return before == KAFKA_LOG_OTHER ? KAFKA_LOG_UNKNOWN : found;
}

/* A new log may be written while it is looked at: records that were not there before its ends were
 * asked for are there now. */
static enum kafka_log_identity look(struct kafka *kafka, rd_kafka_t *client,
                                    rd_kafka_topic_partition_list_t *assignment,
                                    const struct kafka_log_memo *of, bool gone)
{
    enum kafka_log_identity found = KAFKA_LOG_UNKNOWN;
    for (int looks = 0; looks < LOOKS && found == KAFKA_LOG_UNKNOWN; looks++)
        found = look_once(kafka, client, assignment, of, gone);
    return found;
}

int kafka_identify_logs(struct kafka *kafka, const rd_kafka_topic_partition_list_t *list,
                        const struct kafka_log_memo *memories, enum kafka_log_identity *logs,
                        struct error *error)
{
    rd_kafka_t *client = NULL;
    unsigned version; /* it is gone before it can be outdated */
    for (int i = 0; i < list->cnt && !atomic_load(&kafka->stopping); i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        logs[i] = KAFKA_LOG_SAME;
        if (!memories[i].had_ledger || (at->offset >= 0 && !memories[i].doubtful))
            continue;
        if (!client && !(client = kafka_reading_client(kafka, true, &version, error)))
            return -1;
        if (is_gone(client, at)) {
            logs[i] = KAFKA_LOG_OTHER;
            continue;
        }
        if (memories[i].outdated)
            continue;
        rd_kafka_topic_partition_list_t *assignment =
            memory_must(rd_kafka_topic_partition_list_new(1));
        rd_kafka_topic_partition_list_add(assignment, at->topic, at->partition);
        logs[i] = look(kafka, client, assignment, &memories[i], at->offset < 0);
        rd_kafka_topic_partition_list_destroy(assignment);
        if (logs[i] == KAFKA_LOG_NOT_ASKED)
            break;
    }
    if (client)
        kafka_consumer_end(client);
    for (int i = 0; i < list->cnt; i++)
        if (logs[i] == KAFKA_LOG_NOT_ASKED)
            return error_set(error, "whether a log is still the one that was read cannot be found "
                                    "out yet: brokers do not answer, or the topic is away");
    return 0;
}
