/* OffsetCommit, TxnOffsetCommit, OffsetFetch: one store for plain and transactional offsets. */
#include "sandbox/broker/api/api.h"

struct commit {
    struct broker_group *group;
    int64_t producer_id;
    int16_t code; /* of the whole request */
};

static void commit_one(struct broker_api_walk *walk)
{
    const struct commit *commit = walk->context;
    int32_t index = broker_get_i32(walk->in);
    int64_t offset = broker_get_i64(walk->in);
    int32_t leader_epoch = broker_get_i32(walk->in);
    struct broker_slice metadata = broker_get_string(walk->in);
    broker_get_tags(walk->in);
    if (walk->in->bad)
        return;
    int16_t code = commit->code;
    if (code == CODE_NONE)
        code = broker_offsets_put(&commit->group->offsets, commit->producer_id, walk->topic, index,
                                  offset, leader_epoch, metadata);
    broker_put_i32(walk->out, index);
    broker_put_i16(walk->out, code);
    broker_put_tags(walk->out);
}

void broker_api_offset_commit(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_slice name = broker_get_string(in);
    int32_t generation = broker_get_i32(in);
    struct broker_slice member = broker_get_string(in), instance = broker_get_string(in);
    struct commit commit = {.producer_id = OFFSET_PLAIN};
    if (name.length <= 0)
        commit.code = CODE_INVALID_GROUP_ID;
    else if (!broker_groups_find(&state->groups, name) && generation >= 0)
        commit.code = CODE_ILLEGAL_GENERATION;
    if (commit.code == CODE_NONE) {
        commit.group = broker_groups_make(&state->groups, name);
        commit.code = broker_group_check_commit(commit.group, member, instance, generation, false,
                                                broker_state_now(state));
    }
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_api_walk(state, call, &out, commit_one, &commit);
    broker_call_finish(call, &out);
}

/* Fencing is checked first, so that a zombie learns of it whatever other error its request has. */
static int16_t check_txn_commit(struct broker_state *state, struct broker_call *call,
                                struct broker_group *group, const struct broker_txn_caller *caller)
{
    struct broker_in *in = &call->in;
    int32_t generation = broker_get_i32(in);
    struct broker_slice member = broker_get_string(in), instance = broker_get_string(in);
    int16_t code = broker_txns_check_group(&state->txns, caller, group);
    if (code != CODE_NONE)
        return code;
    return broker_group_check_commit(group, member, instance, generation, true,
                                     broker_state_now(state));
}

void broker_api_txn_offset_commit(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_txn_caller caller = {.transactional_id = broker_get_string(in)};
    struct broker_slice name = broker_get_string(in);
    caller.producer_id = broker_get_i64(in);
    caller.epoch = broker_get_i16(in);
    struct commit commit = {.producer_id = caller.producer_id};
    if (name.length > 0) {
        commit.group = broker_groups_make(&state->groups, name);
        commit.code = check_txn_commit(state, call, commit.group, &caller);
    } else {
        in->bad = true;
    }
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_api_walk(state, call, &out, commit_one, &commit);
    broker_put_tags(&out);
    broker_call_finish(call, &out);
}

struct reading {
    const struct broker_group *group; /* NULL: nothing was ever committed */
    bool stable;                      /* undecided offsets are an error */
};

static void fetch_one(struct broker_api_walk *walk)
{
    const struct reading *reading = walk->context;
    struct broker_out *out = walk->out;
    int32_t index = broker_get_i32(walk->in);
    bool unstable = false;
    const struct broker_offset *offset = NULL;
    if (reading->group && walk->topic)
        offset = broker_offsets_get(&reading->group->offsets, walk->topic, index, &unstable);
    bool wait = unstable && reading->stable;
    if (wait)
        offset = NULL;
    broker_put_i32(out, index);
    broker_put_i64(out, offset ? offset->offset : -1);
    broker_put_i32(out, offset ? offset->leader_epoch : -1);
    broker_put_string(out, broker_slice_of(offset ? offset->metadata : ""));
    broker_put_i16(out, wait ? CODE_UNSTABLE_OFFSET_COMMIT : CODE_NONE);
    broker_put_tags(out);
}

/* Whether stable offsets are required; this field follows the partitions. */
static bool wants_stable(struct broker_in in)
{
    int32_t topics = broker_get_array(&in);
    for (int32_t i = 0; i < topics && !in.bad; i++) {
        broker_get_string(&in);
        int32_t partitions = broker_get_array(&in);
        for (int32_t k = 0; k < partitions; k++)
            broker_get_i32(&in);
        broker_get_tags(&in);
    }
    return broker_get_i8(&in);
}

void broker_api_offset_fetch(struct broker_state *state, struct broker_call *call)
{
    struct reading reading = {.group =
                                  broker_groups_find(&state->groups, broker_get_string(&call->in))};
    reading.stable = wants_stable(call->in);
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_api_walk(state, call, &out, fetch_one, &reading);
    broker_put_i16(&out, CODE_NONE);
    broker_put_tags(&out);
    broker_call_finish(call, &out);
}
