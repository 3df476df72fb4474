/* Produce, ListOffsets, DeleteRecords. */
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
        if (code == CODE_PRODUCER_FENCED)
            code = CODE_INVALID_PRODUCER_EPOCH; /* what a producer's batch is told */
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
    if (walk->call->version >= 5)
        wire_put_i64(walk->out, partition ? partition->start : -1);
}

void api_produce(struct broker *broker, struct call *call)
{
    if (call->version < 3) {
        call_refuse(call);
        return;
    }
    struct slice transactional_id = wire_get_string(&call->in);
    int16_t acks = wire_get_i16(&call->in);
    wire_get_i32(&call->in); /* time-out: nothing to wait for */
    struct wire_out out;
    call_begin(call, &out);
    api_walk(broker, call, &out, produce_one, &transactional_id);
    wire_put_i32(&out, 0);
    if (acks == 0 && !call->in.bad) {
        text_fini(&out.text);
        call_done(call);
        return;
    }
    api_finish(call, &out);
}

/* The first batch that holds a record of that time or later: its first offset, as batches are not
 * opened here. */
static int64_t find_time(const struct partition *partition, int64_t time, int64_t end,
                         int64_t *found)
{
    for (size_t i = 0; i < partition->count; i++) {
        const struct batch *batch = partition_batch(partition, i);
        if (batch->base >= end)
            break;
        if (!batch->control && batch->max_timestamp >= time) {
            *found = batch->max_timestamp;
            return batch->base > partition->start ? batch->base : partition->start;
        }
    }
    return -1;
}

static void list_one(struct api_walk *walk)
{
    const int8_t *committed = walk->context;
    int32_t index = wire_get_i32(walk->in);
    if (walk->call->version >= 4)
        wire_get_i32(walk->in);
    int64_t time = wire_get_i64(walk->in), found = -1, offset = -1;
    const struct partition *partition = topic_partition(walk->topic, index);
    if (partition) {
        int64_t end = *committed ? partition_stable_end(partition) : partition->end;
        offset = time == LATEST     ? end
                 : time == EARLIEST ? partition->start
                                    : find_time(partition, time, end, &found);
    }
    wire_put_i32(walk->out, index);
    wire_put_i16(walk->out, partition ? CODE_NONE : CODE_UNKNOWN_TOPIC_OR_PARTITION);
    wire_put_i64(walk->out, found);
    wire_put_i64(walk->out, offset);
    if (walk->call->version >= 4)
        wire_put_i32(walk->out, -1);
}

void api_list_offsets(struct broker *broker, struct call *call)
{
    wire_get_i32(&call->in); /* replica */
    int8_t committed = call->version >= 2 ? wire_get_i8(&call->in) : 0;
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 2)
        wire_put_i32(&out, 0);
    api_walk(broker, call, &out, list_one, &committed);
    api_finish(call, &out);
}

static void delete_one(struct api_walk *walk)
{
    int32_t index = wire_get_i32(walk->in);
    int64_t before = wire_get_i64(walk->in);
    struct partition *partition = topic_partition(walk->topic, index);
    int16_t code = partition ? CODE_NONE : CODE_UNKNOWN_TOPIC_OR_PARTITION;
    if (partition && before == -1)
        before = partition->end;
    if (partition && (before < 0 || before > partition->end))
        code = CODE_OFFSET_OUT_OF_RANGE;
    if (code == CODE_NONE && !walk->in->bad)
        partition_delete_before(partition, before);
    wire_put_i32(walk->out, index);
    wire_put_i64(walk->out, code == CODE_NONE ? partition->start : -1);
    wire_put_i16(walk->out, code);
}

void api_delete_records(struct broker *broker, struct call *call)
{
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    api_walk(broker, call, &out, delete_one, NULL);
    api_finish(call, &out);
}
