/* Delivers records from a partition's queue. Kafka thread. */
#include "base/memory.h"
#include "io/kafka_internal.h"

size_t kafka_read_headers(const rd_kafka_message_t *message, struct record_header **list,
                          size_t *room)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    size_t count = rd_kafka_header_cnt(headers);
    if (count > *room) {
        *list = memory_resize(*list, count * sizeof **list);
        *room = count;
    }
    for (size_t i = 0; i < count; i++) {
        struct record_header *header = &(*list)[i];
        if (rd_kafka_header_get_all(headers, i, &header->name, &header->value, &header->size) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
            return i;
    }
    return count;
}

static void deliver(struct kafka *kafka, struct record_position position,
                    const rd_kafka_message_t *message, const struct kafka_record_sink *sink,
                    void *arg)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    struct raw_record raw = {
        .key = message->key,
        .key_size = message->key_len,
        .value = message->payload,
        .value_size = message->len,
        .header_count = kafka_read_headers(message, &kafka->headers, &kafka->header_capacity),
        .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
    };
    raw.headers = kafka->headers;
    sink->record(arg, position, &raw);
}

int64_t kafka_end(const struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    int64_t low, high;
    if (!kafka->consumer ||
        rd_kafka_get_watermark_offsets(kafka->consumer, kafka->config->request_topics[kind],
                                       partition, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    return high < 0 ? -1 : high;
}

int64_t kafka_told_end(const struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    const struct kafka_slot *slot = kafka_slot_find(kafka, kind, partition);
    int64_t end = kafka_end(kafka, kind, partition);
    return end >= 0 && slot && slot->told_end > end ? slot->told_end : end;
}

static void take_one(struct kafka *kafka, const struct kafka_slot *slot,
                     const rd_kafka_message_t *message, const struct kafka_record_sink *sink,
                     void *arg)
{
    struct record_position position = {
        .kind = slot->kind, .partition = slot->partition, .offset = message->offset};
    if (message->err)
        sink->end(arg, slot->kind, slot->partition, message->offset);
    else
        deliver(kafka, position, message, sink, arg);
}

size_t kafka_take(struct kafka *kafka, enum request_kind kind, int32_t partition, size_t most,
                  const struct kafka_record_sink *sink, void *arg)
{
    struct kafka_slot *slot = kafka_slot_find(kafka, kind, partition);
    if (kafka->failed || !slot || !slot->fetched || !slot->queue || slot->state != SLOT_OWNED)
        return 0;
    size_t taken = 0;
    if (!kafka_probe_lets_take(kafka, slot))
        return 0;
    while (taken < most && !slot->reopen && !slot->restart) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(slot->queue, 0);
        if (!message)
            break;
        bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (message->err && !is_end)
            kafka_partition_failed(kafka, slot, message->err, rd_kafka_message_errstr(message));
        else if (kafka_partition_passes(kafka, slot, message))
            take_one(kafka, slot, message, sink, arg);
        rd_kafka_message_destroy(message);
        taken++;
    }
    return taken;
}

bool kafka_take_all(struct kafka *kafka, enum request_kind kind,
                    const struct kafka_record_sink *sink, void *arg)
{
    bool more = false;
    kafka_partitions_news(kafka);
    list_each_safe(at, &kafka->full)
    {
        struct kafka_slot *slot = list_of(at, struct kafka_slot, full_node);
        size_t wanted = sink->wants(arg, slot->partition);
        if (!wanted)
            continue;
        more |= kafka_take(kafka, kind, slot->partition, wanted, sink, arg) == wanted;
        if (rd_kafka_queue_length(slot->queue) == 0)
            list_remove(at); /* a later message is reported */
    }
    return more;
}
