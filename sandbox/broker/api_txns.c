/* InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn. */
#include "sandbox/broker/api.h"

static struct txn_caller get_caller(struct wire_in *in)
{
    struct txn_caller caller = {.transactional_id = wire_get_string(in)};
    caller.producer_id = wire_get_i64(in);
    caller.epoch = wire_get_i16(in);
    return caller;
}

void api_init_producer_id(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct txn_caller caller = {.transactional_id = wire_get_string(in)};
    int32_t timeout_ms = wire_get_i32(in);
    caller.producer_id = wire_get_i64(in);
    caller.epoch = wire_get_i16(in);
    int16_t code = CODE_NONE;
    if (caller.transactional_id.data && !in->bad) {
        code = txns_init_producer(&broker->txns, &caller, timeout_ms);
        broker->logs_changed = true;
    } else {
        caller.producer_id = txns_allocate(&broker->txns);
        caller.epoch = 0;
    }
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, code);
    wire_put_i64(&out, code == CODE_NONE ? caller.producer_id : -1);
    wire_put_i16(&out, code == CODE_NONE ? caller.epoch : -1);
    wire_put_tags(&out);
    api_finish(call, &out);
}

static void add_one(struct api_walk *walk)
{
    const struct txn_caller *caller = walk->context;
    int32_t index = wire_get_i32(walk->in);
    struct partition *partition = topic_partition(walk->topic, index);
    int16_t code = CODE_UNKNOWN_TOPIC_OR_PARTITION;
    if (partition && !walk->in->bad)
        code = txns_add_partition(&walk->broker->txns, caller, partition, broker_now(walk->broker));
    wire_put_i32(walk->out, index);
    wire_put_i16(walk->out, code);
}

void api_add_partitions_to_txn(struct broker *broker, struct call *call)
{
    struct txn_caller caller = get_caller(&call->in);
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    api_walk(broker, call, &out, add_one, &caller);
    api_finish(call, &out);
}

void api_add_offsets_to_txn(struct broker *broker, struct call *call)
{
    struct txn_caller caller = get_caller(&call->in);
    struct slice name = wire_get_string(&call->in);
    int16_t code = CODE_INVALID_GROUP_ID;
    if (name.length > 0)
        code = txns_add_group(&broker->txns, &caller, groups_make(&broker->groups, name),
                              broker_now(broker));
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, code);
    api_finish(call, &out);
}

void api_end_txn(struct broker *broker, struct call *call)
{
    struct txn_caller caller = get_caller(&call->in);
    bool commit = wire_get_i8(&call->in);
    int16_t code = CODE_NONE;
    if (!call->in.bad)
        code = txns_end(&broker->txns, &caller, commit);
    broker->logs_changed = true;
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, code);
    api_finish(call, &out);
}
