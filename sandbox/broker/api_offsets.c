/* OffsetCommit, TxnOffsetCommit, OffsetFetch: one store for plain and transactional offsets. */
#include "sandbox/broker/api.h"

struct commit {
    struct group *group;
    int64_t producer_id;
    int16_t code; /* of the whole request */
};

static void commit_one(struct api_walk *walk)
{
    const struct commit *commit = walk->context;
    int32_t index = wire_get_i32(walk->in);
    int64_t offset = wire_get_i64(walk->in);
    int32_t leader_epoch = wire_get_i32(walk->in);
    struct slice metadata = wire_get_string(walk->in);
    wire_get_tags(walk->in);
    if (walk->in->bad)
        return;
    int16_t code = commit->code;
    if (code == CODE_NONE)
        code = offsets_put(&commit->group->offsets, commit->producer_id, walk->topic, index, offset,
                           leader_epoch, metadata);
    wire_put_i32(walk->out, index);
    wire_put_i16(walk->out, code);
    wire_put_tags(walk->out);
}

void api_offset_commit(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct slice name = wire_get_string(in);
    int32_t generation = wire_get_i32(in);
    struct slice member = wire_get_string(in), instance = wire_get_string(in);
    struct commit commit = {.producer_id = OFFSET_PLAIN};
    if (name.length <= 0)
        commit.code = CODE_INVALID_GROUP_ID;
    else if (!groups_find(&broker->groups, name) && generation >= 0)
        commit.code = CODE_ILLEGAL_GENERATION;
    if (commit.code == CODE_NONE) {
        commit.group = groups_make(&broker->groups, name);
        commit.code = group_check_commit(commit.group, member, instance, generation, false,
                                         broker_now(broker));
    }
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    api_walk(broker, call, &out, commit_one, &commit);
    api_finish(call, &out);
}

/* Fencing first: a zombie is told so whatever else is wrong with it. */
static int16_t check_txn_commit(struct broker *broker, struct call *call, struct group *group,
                                const struct txn_caller *caller)
{
    struct wire_in *in = &call->in;
    int32_t generation = wire_get_i32(in);
    struct slice member = wire_get_string(in), instance = wire_get_string(in);
    int16_t code = txns_check_group(&broker->txns, caller, group);
    if (code != CODE_NONE)
        return code;
    return group_check_commit(group, member, instance, generation, true, broker_now(broker));
}

void api_txn_offset_commit(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct txn_caller caller = {.transactional_id = wire_get_string(in)};
    struct slice name = wire_get_string(in);
    caller.producer_id = wire_get_i64(in);
    caller.epoch = wire_get_i16(in);
    struct commit commit = {.producer_id = caller.producer_id};
    if (name.length > 0) {
        commit.group = groups_make(&broker->groups, name);
        commit.code = check_txn_commit(broker, call, commit.group, &caller);
    } else {
        in->bad = true;
    }
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    api_walk(broker, call, &out, commit_one, &commit);
    wire_put_tags(&out);
    api_finish(call, &out);
}

struct reading {
    const struct group *group; /* NULL: nothing was ever committed */
    bool stable;               /* undecided offsets are an error */
};

static void fetch_one(struct api_walk *walk)
{
    const struct reading *reading = walk->context;
    struct wire_out *out = walk->out;
    int32_t index = wire_get_i32(walk->in);
    bool unstable = false;
    const struct offset *offset = NULL;
    if (reading->group && walk->topic)
        offset = offsets_get(&reading->group->offsets, walk->topic, index, &unstable);
    bool wait = unstable && reading->stable;
    if (wait)
        offset = NULL;
    wire_put_i32(out, index);
    wire_put_i64(out, offset ? offset->offset : -1);
    wire_put_i32(out, offset ? offset->leader_epoch : -1);
    wire_put_string(out, slice_of(offset ? offset->metadata : ""));
    wire_put_i16(out, wait ? CODE_UNSTABLE_OFFSET_COMMIT : CODE_NONE);
    wire_put_tags(out);
}

/* Whether stable offsets are wanted stands behind the partitions. */
static bool wants_stable(struct wire_in in)
{
    int32_t topics = wire_get_array(&in);
    for (int32_t i = 0; i < topics && !in.bad; i++) {
        wire_get_string(&in);
        int32_t partitions = wire_get_array(&in);
        for (int32_t k = 0; k < partitions; k++)
            wire_get_i32(&in);
        wire_get_tags(&in);
    }
    return wire_get_i8(&in);
}

void api_offset_fetch(struct broker *broker, struct call *call)
{
    struct reading reading = {.group = groups_find(&broker->groups, wire_get_string(&call->in))};
    reading.stable = wants_stable(call->in);
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    api_walk(broker, call, &out, fetch_one, &reading);
    wire_put_i16(&out, CODE_NONE);
    wire_put_tags(&out);
    api_finish(call, &out);
}
