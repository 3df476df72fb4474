/* Produce, ListOffsets. */
#include <stdlib.h>

#include "sandbox/broker/api.h"

enum { LATEST = -1, EARLIEST = -2 };

static int16_t append(struct api_walk *walk, int32_t index, struct slice records, int64_t *base)
{
    struct partition *partition = topic_partition(walk->topic, index);
    if (!partition)
        return CODE_UNKNOWN_TOPIC_OR_PARTITION;
    struct batch *batch;
    int16_t code = batch_parse(records, &batch);
    if (code != CODE_NONE)
        return code;
    if (batch->transactional) {
        const struct slice *id = walk->context;
        struct txn_caller caller = {*id, batch->producer_id, batch->producer_epoch};
        code = txns_check_partition(&walk->broker->txns, &caller, partition);
    }
    if (code != CODE_NONE) {
        free(batch);
        return code;
    }
    walk->broker->logs_changed = true;
    return partition_append(partition, batch, base);
}

static void produce_one(struct api_walk *walk)
{
    int32_t index = wire_get_i32(walk->in);
    struct slice records = wire_get_bytes(walk->in);
    if (walk->in->bad)
        return;
    int64_t base = -1;
    int16_t code = append(walk, index, records, &base);
    struct partition *partition = topic_partition(walk->topic, index);
    wire_put_i32(walk->out, index);
    wire_put_i16(walk->out, code);
    wire_put_i64(walk->out, base);
    wire_put_i64(walk->out, -1); /* the client's own timestamps are kept */
    wire_put_i64(walk->out, partition ? partition->start : -1);
}

void api_produce(struct broker *broker, struct call *call)
{
    struct slice transactional_id = wire_get_string(&call->in);
    wire_get_i16(&call->in); /* acks: there are no replicas to wait for */
    wire_get_i32(&call->in); /* nor a time-out for them */
    struct wire_out out;
    call_begin(call, &out);
    api_walk(broker, call, &out, produce_one, &transactional_id);
    wire_put_i32(&out, 0);
    api_finish(call, &out);
}

static void list_one(struct api_walk *walk)
{
    const bool *committed = walk->context;
    int32_t index = wire_get_i32(walk->in);
    int64_t time = wire_get_i64(walk->in);
    const struct partition *partition = topic_partition(walk->topic, index);
    int16_t code = partition ? CODE_NONE : CODE_UNKNOWN_TOPIC_OR_PARTITION;
    int64_t offset = -1; /* also of every time but the two below: batches are not searched */
    if (partition && time == LATEST)
        offset = *committed ? partition_stable_end(partition) : partition->end;
    else if (partition && time == EARLIEST)
        offset = partition->start;
    wire_put_i32(walk->out, index);
    wire_put_i16(walk->out, code);
    wire_put_i64(walk->out, -1);
    wire_put_i64(walk->out, offset);
}

void api_list_offsets(struct broker *broker, struct call *call)
{
    wire_get_i32(&call->in); /* replica */
    bool committed = wire_get_i8(&call->in) == 1;
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    api_walk(broker, call, &out, list_one, &committed);
    api_finish(call, &out);
}
