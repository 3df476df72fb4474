/* Produce, ListOffsets. */
#include <stdlib.h>

#include "sandbox/broker/api/api.h"

enum { LATEST = -1, EARLIEST = -2 };

static int16_t append(struct broker_api_walk *walk, int32_t index, struct broker_slice records,
                      int64_t *base)
{
    struct broker_partition *partition = broker_topic_partition(walk->topic, index);
    if (!partition)
        return CODE_UNKNOWN_TOPIC_OR_PARTITION;
    struct broker_batch *batch;
    int16_t code = broker_batch_parse(records, &batch);
    if (code != CODE_NONE)
        return code;
    if (batch->transactional) {
        const struct broker_slice *id = walk->context;
        struct broker_txn_caller caller = {*id, batch->producer_id, batch->producer_epoch};
        code = broker_txns_check_partition(&walk->state->txns, &caller, partition);
    }
    if (code != CODE_NONE) {
        free(batch);
        return code;
    }
    walk->state->logs_changed = true;
    return broker_partition_append(partition, batch, base);
}

static void produce_one(struct broker_api_walk *walk)
{
    int32_t index = broker_get_i32(walk->in);
    struct broker_slice records = broker_get_bytes(walk->in);
    if (walk->in->bad)
        return;
    int64_t base = -1;
    int16_t code = append(walk, index, records, &base);
    struct broker_partition *partition = broker_topic_partition(walk->topic, index);
    broker_put_i32(walk->out, index);
    broker_put_i16(walk->out, code);
    broker_put_i64(walk->out, base);
    broker_put_i64(walk->out, -1); /* the client's own timestamps are kept */
    broker_put_i64(walk->out, partition ? partition->start : -1);
}

void broker_api_produce(struct broker_state *state, struct broker_call *call)
{
    struct broker_slice transactional_id = broker_get_string(&call->in);
    broker_get_i16(&call->in); /* acks: there are no replicas to wait for */
    broker_get_i32(&call->in); /* nor a time-out for them */
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_api_walk(state, call, &out, produce_one, &transactional_id);
    broker_put_i32(&out, 0);
    broker_call_finish(call, &out);
}

static void list_one(struct broker_api_walk *walk)
{
    const bool *committed = walk->context;
    int32_t index = broker_get_i32(walk->in);
    int64_t time = broker_get_i64(walk->in);
    const struct broker_partition *partition = broker_topic_partition(walk->topic, index);
    int16_t code = partition ? CODE_NONE : CODE_UNKNOWN_TOPIC_OR_PARTITION;
    int64_t offset = -1; /* also of every time but the two below: batches are not searched */
    if (partition && time == LATEST)
        offset = *committed ? broker_partition_stable_end(partition) : partition->end;
    else if (partition && time == EARLIEST)
        offset = partition->start;
    broker_put_i32(walk->out, index);
    broker_put_i16(walk->out, code);
    broker_put_i64(walk->out, -1);
    broker_put_i64(walk->out, offset);
}

void broker_api_list_offsets(struct broker_state *state, struct broker_call *call)
{
    broker_get_i32(&call->in); /* replica */
    bool committed = broker_get_i8(&call->in) == 1;
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_api_walk(state, call, &out, list_one, &committed);
    broker_call_finish(call, &out);
}
