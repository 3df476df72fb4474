/* JoinGroup, SyncGroup, Heartbeat, LeaveGroup, ListGroups, DescribeGroups. */
#include <stdlib.h>

#include "base/memory.h"
#include "sandbox/broker/api.h"

static void put_members(struct wire_out *out, const struct group *group)
{
    wire_put_array(out, group->member_count);
    list_each(node, &group->members)
    {
        const struct member *member = list_of(node, struct member, node);
        wire_put_string(out, slice_of(member->id));
        wire_put_string(out, slice_of(member->instance));
        wire_put_bytes(out, group_metadata(group, member));
    }
}

/* The leader alone is told the members, and that it leads, so that it assigns: not when it has come
 * back to a stable group. */
static void on_joined(struct call *call, int16_t code, const struct group *group,
                      const struct member *member, struct slice member_id)
{
    struct wire_out out;
    if (code != CODE_NONE)
        group = NULL;
    const struct member *leader = group ? group->leader : NULL;
    if (leader == member && leader && group->state == GROUP_STABLE)
        leader = NULL;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, code);
    wire_put_i32(&out, group ? group->generation : -1);
    wire_put_string(&out, slice_of(group ? group->protocol : ""));
    wire_put_string(&out, slice_of(leader ? leader->id : ""));
    wire_put_string(&out, member_id);
    if (leader && leader == member)
        put_members(&out, group);
    else
        wire_put_array(&out, 0);
    call_answer(call, &out);
}

static void on_synced(struct call *call, int16_t code, struct slice assignment)
{
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, code);
    wire_put_bytes(&out, assignment);
    call_answer(call, &out);
}

struct group_hooks api_group_hooks(void)
{
    return (struct group_hooks){on_joined, on_synced};
}

static struct group_protocol *get_protocols(struct wire_in *in, int32_t *count)
{
    *count = wire_get_array(in);
    struct group_protocol *protocols =
        memory_zeroed((size_t)(*count > 0 ? *count : 0) + 1, sizeof(*protocols));
    for (int32_t i = 0; i < *count; i++) {
        protocols[i].name = wire_get_string(in);
        protocols[i].metadata = wire_get_bytes(in);
        in->bad |= !protocols[i].name.data;
    }
    return protocols;
}

void api_join_group(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct slice name = wire_get_string(in);
    struct group_join join = {.client = call->client_id};
    join.session_ms = wire_get_i32(in);
    join.rebalance_ms = wire_get_i32(in);
    join.member = wire_get_string(in);
    join.instance = wire_get_string(in);
    join.protocol_type = wire_get_string(in);
    struct group_protocol *protocols = get_protocols(in, &join.protocol_count);
    join.protocols = protocols;
    if (in->bad)
        call_refuse(call);
    else if (name.length <= 0)
        on_joined(call, CODE_INVALID_GROUP_ID, NULL, NULL, join.member);
    else
        group_join(&broker->groups, groups_make(&broker->groups, name), &join, call,
                   broker_now(broker));
    free(protocols);
}

void api_sync_group(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct group *group = groups_find(&broker->groups, wire_get_string(in));
    struct group_sync sync = {.generation = wire_get_i32(in)};
    sync.member = wire_get_string(in);
    sync.instance = wire_get_string(in);
    sync.assignment_count = wire_get_array(in);
    struct group_assignment *assignments = memory_zeroed(
        (size_t)(sync.assignment_count > 0 ? sync.assignment_count : 0) + 1, sizeof(*assignments));
    for (int32_t i = 0; i < sync.assignment_count; i++) {
        assignments[i].member = wire_get_string(in);
        assignments[i].bytes = wire_get_bytes(in);
    }
    sync.assignments = assignments;
    if (in->bad)
        call_refuse(call);
    else
        group_sync(&broker->groups, group, &sync, call, broker_now(broker));
    free(assignments);
}

void api_heartbeat(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct group *group = groups_find(&broker->groups, wire_get_string(in));
    int32_t generation = wire_get_i32(in);
    struct slice member = wire_get_string(in);
    struct slice instance = wire_get_string(in);
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, group_heartbeat(group, member, instance, generation, broker_now(broker)));
    api_finish(call, &out);
}

void api_leave_group(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    struct group *group = groups_find(&broker->groups, wire_get_string(in));
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out,
                 group_leave(&broker->groups, group, wire_get_string(in), broker_now(broker)));
    api_finish(call, &out);
}

static const char *state_name(const struct group *group)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance",
                                        "Stable"};
    return group ? names[group->state] : "Dead";
}

void api_list_groups(struct broker *broker, struct call *call)
{
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i16(&out, CODE_NONE);
    size_t where = wire_put_later(&out);
    int32_t count = 0;
    list_each(node, &broker->groups.list)
    {
        const struct group *group = list_of(node, struct group, node);
        wire_put_string(&out, slice_of(group->name));
        wire_put_string(&out, slice_of(group->protocol_type ? group->protocol_type : ""));
        count++;
    }
    wire_put_now(&out, where, count);
    api_finish(call, &out);
}

static void put_described(struct wire_out *out, const struct group *group)
{
    wire_put_array(out, group ? group->member_count : 0);
    if (!group)
        return;
    list_each(node, &group->members)
    {
        const struct member *member = list_of(node, struct member, node);
        wire_put_string(out, slice_of(member->id));
        wire_put_string(out, slice_of("")); /* client id and host, which nobody asks for */
        wire_put_string(out, slice_of(""));
        wire_put_bytes(out, group_metadata(group, member));
        wire_put_bytes(out, member->assignment);
    }
}

void api_describe_groups(struct broker *broker, struct call *call)
{
    struct wire_out out;
    call_begin(call, &out);
    int32_t count = wire_get_array(&call->in);
    wire_put_array(&out, count < 0 ? 0 : count);
    for (int32_t i = 0; i < count && !call->in.bad; i++) {
        struct slice name = wire_get_string(&call->in);
        const struct group *group = groups_find(&broker->groups, name);
        wire_put_i16(&out, CODE_NONE);
        wire_put_string(&out, name);
        wire_put_string(&out, slice_of(state_name(group)));
        wire_put_string(&out, slice_of(group && group->protocol_type ? group->protocol_type : ""));
        wire_put_string(&out, slice_of(group && group->protocol ? group->protocol : ""));
        put_described(&out, group);
    }
    api_finish(call, &out);
}
