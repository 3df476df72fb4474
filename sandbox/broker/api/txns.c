/* InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn. */
#include "sandbox/broker/api/api.h"

static struct broker_txn_caller get_caller(struct broker_in *in)
{
    struct broker_txn_caller caller = {.transactional_id = broker_get_string(in)};
    caller.producer_id = broker_get_i64(in);
    caller.epoch = broker_get_i16(in);
    return caller;
}

void broker_api_init_producer_id(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_txn_caller caller = {.transactional_id = broker_get_string(in)};
    int32_t timeout_ms = broker_get_i32(in);
    caller.producer_id = broker_get_i64(in);
    caller.epoch = broker_get_i16(in);
    int16_t code = CODE_NONE;
    if (caller.transactional_id.data && !in->bad) {
        code = broker_txns_init_producer(&state->txns, &caller, timeout_ms);
        state->logs_changed = true;
    } else {
        caller.producer_id = broker_txns_allocate(&state->txns);
        caller.epoch = 0;
    }
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, code);
    broker_put_i64(&out, code == CODE_NONE ? caller.producer_id : -1);
    broker_put_i16(&out, code == CODE_NONE ? caller.epoch : -1);
    broker_put_tags(&out);
    broker_call_finish(call, &out);
}

static void add_one(struct broker_api_walk *walk)
{
    const struct broker_txn_caller *caller = walk->context;
    int32_t index = broker_get_i32(walk->in);
    struct broker_partition *partition = broker_topic_partition(walk->topic, index);
    int16_t code = CODE_UNKNOWN_TOPIC_OR_PARTITION;
    if (partition && !walk->in->bad)
        code = broker_txns_add_partition(&walk->state->txns, caller, partition,
                                         broker_state_now(walk->state));
    broker_put_i32(walk->out, index);
    broker_put_i16(walk->out, code);
}

void broker_api_add_partitions_to_txn(struct broker_state *state, struct broker_call *call)
{
    struct broker_txn_caller caller = get_caller(&call->in);
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_api_walk(state, call, &out, add_one, &caller);
    broker_call_finish(call, &out);
}

void broker_api_add_offsets_to_txn(struct broker_state *state, struct broker_call *call)
{
    struct broker_txn_caller caller = get_caller(&call->in);
    struct broker_slice name = broker_get_string(&call->in);
    int16_t code = CODE_INVALID_GROUP_ID;
    if (name.length > 0)
        code =
            broker_txns_add_group(&state->txns, &caller, broker_groups_make(&state->groups, name),
                                  broker_state_now(state));
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, code);
    broker_call_finish(call, &out);
}

void broker_api_end_txn(struct broker_state *state, struct broker_call *call)
{
    struct broker_txn_caller caller = get_caller(&call->in);
    bool commit = broker_get_i8(&call->in);
    int16_t code = CODE_NONE;
    if (!call->in.bad)
        code = broker_txns_end(&state->txns, &caller, commit);
    state->logs_changed = true;
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, code);
    broker_call_finish(call, &out);
}
