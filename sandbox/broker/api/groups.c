/* JoinGroup, SyncGroup, Heartbeat, LeaveGroup, ListGroups, DescribeGroups. */
#include <stdlib.h>

#include "base/memory.h"
#include "sandbox/broker/api/api.h"

static void put_members(struct broker_out *out, const struct broker_group *group)
{
    broker_put_array(out, group->member_count);
    list_each(node, &group->members)
    {
        const struct broker_member *member = list_of(node, struct broker_member, node);
        broker_put_string(out, broker_slice_of(member->id));
        broker_put_string(out, broker_slice_of(member->instance));
        broker_put_bytes(out, broker_group_metadata(group, member));
    }
}

/* Only the leader gets the members, and learns that it leads, so that it assigns partitions. A
 * leader that comes back to a stable group does not. */
static void on_joined(struct broker_call *call, int16_t code, const struct broker_group *group,
                      const struct broker_member *member, struct broker_slice member_id)
{
    struct broker_out out;
    if (code != CODE_NONE)
        group = NULL;
    const struct broker_member *leader = group ? group->leader : NULL;
    if (leader == member && leader && group->state == GROUP_STABLE)
        leader = NULL;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, code);
    broker_put_i32(&out, group ? group->generation : -1);
    broker_put_string(&out, broker_slice_of(group ? group->protocol : ""));
    broker_put_string(&out, broker_slice_of(leader ? leader->id : ""));
    broker_put_string(&out, member_id);
    if (leader && leader == member)
        put_members(&out, group);
    else
        broker_put_array(&out, 0);
    broker_call_answer(call, &out);
}

static void on_synced(struct broker_call *call, int16_t code, struct broker_slice assignment)
{
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, code);
    broker_put_bytes(&out, assignment);
    broker_call_answer(call, &out);
}

struct broker_group_hooks broker_api_group_hooks(void)
{
    return (struct broker_group_hooks){on_joined, on_synced};
}

static struct broker_group_protocol *get_protocols(struct broker_in *in, int32_t *count)
{
    *count = broker_get_array(in);
    struct broker_group_protocol *protocols =
        memory_zeroed((size_t)(*count > 0 ? *count : 0) + 1, sizeof(*protocols));
    for (int32_t i = 0; i < *count; i++) {
        protocols[i].name = broker_get_string(in);
        protocols[i].metadata = broker_get_bytes(in);
        in->bad |= !protocols[i].name.data;
    }
    return protocols;
}

void broker_api_join_group(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_slice name = broker_get_string(in);
    struct broker_group_join join = {.client = call->client_id};
    join.session_ms = broker_get_i32(in);
    join.rebalance_ms = broker_get_i32(in);
    join.member = broker_get_string(in);
    join.instance = broker_get_string(in);
    join.protocol_type = broker_get_string(in);
    struct broker_group_protocol *protocols = get_protocols(in, &join.protocol_count);
    join.protocols = protocols;
    if (in->bad)
        broker_call_refuse(call);
    else if (name.length <= 0)
        on_joined(call, CODE_INVALID_GROUP_ID, NULL, NULL, join.member);
    else
        broker_group_join(&state->groups, broker_groups_make(&state->groups, name), &join, call,
                          broker_state_now(state));
    free(protocols);
}

void broker_api_sync_group(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_group *group = broker_groups_find(&state->groups, broker_get_string(in));
    struct broker_group_sync sync = {.generation = broker_get_i32(in)};
    sync.member = broker_get_string(in);
    sync.instance = broker_get_string(in);
    sync.assignment_count = broker_get_array(in);
    struct broker_group_assignment *assignments = memory_zeroed(
        (size_t)(sync.assignment_count > 0 ? sync.assignment_count : 0) + 1, sizeof(*assignments));
    for (int32_t i = 0; i < sync.assignment_count; i++) {
        assignments[i].member = broker_get_string(in);
        assignments[i].bytes = broker_get_bytes(in);
    }
    sync.assignments = assignments;
    if (in->bad)
        broker_call_refuse(call);
    else
        broker_group_sync(&state->groups, group, &sync, call, broker_state_now(state));
    free(assignments);
}

void broker_api_heartbeat(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_group *group = broker_groups_find(&state->groups, broker_get_string(in));
    int32_t generation = broker_get_i32(in);
    struct broker_slice member = broker_get_string(in);
    struct broker_slice instance = broker_get_string(in);
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(
        &out, broker_group_heartbeat(group, member, instance, generation, broker_state_now(state)));
    broker_call_finish(call, &out);
}

void broker_api_leave_group(struct broker_state *state, struct broker_call *call)
{
    struct broker_in *in = &call->in;
    struct broker_group *group = broker_groups_find(&state->groups, broker_get_string(in));
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, broker_group_leave(&state->groups, group, broker_get_string(in),
                                            broker_state_now(state)));
    broker_call_finish(call, &out);
}

static const char *state_name(const struct broker_group *group)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance",
                                        "Stable"};
    return group ? names[group->state] : "Dead";
}

void broker_api_list_groups(struct broker_state *state, struct broker_call *call)
{
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i16(&out, CODE_NONE);
    size_t where = broker_put_later(&out);
    int32_t count = 0;
    list_each(node, &state->groups.list)
    {
        const struct broker_group *group = list_of(node, struct broker_group, node);
        broker_put_string(&out, broker_slice_of(group->name));
        broker_put_string(&out, broker_slice_of(group->protocol_type ? group->protocol_type : ""));
        count++;
    }
    broker_put_now(&out, where, count);
    broker_call_finish(call, &out);
}

static void put_described(struct broker_out *out, const struct broker_group *group)
{
    broker_put_array(out, group ? group->member_count : 0);
    if (!group)
        return;
    list_each(node, &group->members)
    {
        const struct broker_member *member = list_of(node, struct broker_member, node);
        broker_put_string(out, broker_slice_of(member->id));
        broker_put_string(out, broker_slice_of("")); /* client id and host, which nobody asks for */
        broker_put_string(out, broker_slice_of(""));
        broker_put_bytes(out, broker_group_metadata(group, member));
        broker_put_bytes(out, member->assignment);
    }
}

void broker_api_describe_groups(struct broker_state *state, struct broker_call *call)
{
    struct broker_out out;
    broker_call_begin(call, &out);
    int32_t count = broker_get_array(&call->in);
    broker_put_array(&out, count < 0 ? 0 : count);
    for (int32_t i = 0; i < count && !call->in.bad; i++) {
        struct broker_slice name = broker_get_string(&call->in);
        const struct broker_group *group = broker_groups_find(&state->groups, name);
        broker_put_i16(&out, CODE_NONE);
        broker_put_string(&out, name);
        broker_put_string(&out, broker_slice_of(state_name(group)));
        broker_put_string(
            &out, broker_slice_of(group && group->protocol_type ? group->protocol_type : ""));
        broker_put_string(&out, broker_slice_of(group && group->protocol ? group->protocol : ""));
        put_described(&out, group);
    }
    broker_call_finish(call, &out);
}
