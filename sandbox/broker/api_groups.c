/* JoinGroup, SyncGroup, Heartbeat, LeaveGroup, ListGroups, DescribeGroups. */
#include <stdlib.h>

#include "base/memory.h"
#include "sandbox/broker/api.h"

static const struct slice NO_INSTANCE = {NULL, -1};

static void put_members(struct wire_out *out, int16_t version, const struct group *group)
{
    wire_put_array(out, group->member_count);
    list_each(node, &group->members)
    {
        const struct member *member = list_of(node, struct member, node);
        wire_put_string(out, slice_of(member->id));
        if (version >= 5)
            wire_put_string(out, slice_of(member->instance));
        wire_put_bytes(out, group_metadata(group, member));
    }
}

/* The leader alone is told the members. */
static void on_joined(struct call *call, int16_t code, const struct group *group,
                      const struct member *member, struct slice member_id)
{
    struct wire_out out;
    if (code != CODE_NONE)
        group = NULL;
    call_begin(call, &out);
    if (call->version >= 2)
        wire_put_i32(&out, 0);
    wire_put_i16(&out, code);
    wire_put_i32(&out, group ? group->generation : -1);
    wire_put_string(&out, slice_of(group ? group->protocol : ""));
    wire_put_string(&out, slice_of(group && group->leader ? group->leader->id : ""));
    wire_put_string(&out, member_id);
    if (group && group->leader == member)
        put_members(&out, call->version, group);
    else
        wire_put_array(&out, 0);
    call_answer(call, &out);
}

static void on_synced(struct call *call, int16_t code, struct slice assignment)
{
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 1)
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
    struct group_join join = {.client = call->client_id, .id_required = call->version >= 4};
    join.session_ms = wire_get_i32(in);
    join.rebalance_ms = call->version >= 1 ? wire_get_i32(in) : join.session_ms;
    join.member = wire_get_string(in);
    join.instance = call->version >= 5 ? wire_get_string(in) : NO_INSTANCE;
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
    sync.instance = call->version >= 3 ? wire_get_string(in) : NO_INSTANCE;
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
    struct slice instance = call->version >= 3 ? wire_get_string(in) : NO_INSTANCE;
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 1)
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
    if (call->version >= 1)
        wire_put_i32(&out, 0);
    if (call->version < 3) {
        wire_put_i16(&out, group_leave(&broker->groups, group, wire_get_string(in), NO_INSTANCE,
                                       broker_now(broker)));
        api_finish(call, &out);
        return;
    }
    wire_put_i16(&out, CODE_NONE);
    int32_t count = wire_get_array(in);
    wire_put_array(&out, count < 0 ? 0 : count);
    for (int32_t i = 0; i < count && !in->bad; i++) {
        struct slice member = wire_get_string(in), instance = wire_get_string(in);
        wire_put_string(&out, member);
        wire_put_string(&out, instance);
        wire_put_i16(&out,
                     group_leave(&broker->groups, group, member, instance, broker_now(broker)));
    }
    api_finish(call, &out);
}

static const char *state_name(const struct group *group)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance",
                                        "Stable"};
    return group ? names[group->state] : "Dead";
}

/* Whether the states that the client asks for (all when it names none) include the group's. */
static bool wanted(struct wire_in states, int32_t count, const struct group *group)
{
    for (int32_t i = 0; i < count; i++)
        if (slice_equal(wire_get_string(&states), state_name(group)))
            return true;
    return count <= 0;
}

static void put_listed(struct wire_out *out, int16_t version, const struct group *group)
{
    wire_put_string(out, slice_of(group->name));
    wire_put_string(out, slice_of(group->protocol_type ? group->protocol_type : ""));
    if (version >= 4)
        wire_put_string(out, slice_of(state_name(group)));
    wire_put_tags(out);
}

void api_list_groups(struct broker *broker, struct call *call)
{
    struct wire_in *states = &call->in;
    int32_t named = call->version >= 4 ? wire_get_array(states) : 0, count = 0;
    list_each(node, &broker->groups.list) count +=
        wanted(*states, named, list_of(node, struct group, node));
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 1)
        wire_put_i32(&out, 0);
    wire_put_i16(&out, CODE_NONE);
    wire_put_array(&out, count);
    list_each(node, &broker->groups.list)
    {
        const struct group *group = list_of(node, struct group, node);
        if (wanted(*states, named, group))
            put_listed(&out, call->version, group);
    }
    wire_put_tags(&out);
    api_finish(call, &out);
}

static void put_described(struct wire_out *out, int16_t version, const struct group *group)
{
    wire_put_array(out, group ? group->member_count : 0);
    if (!group)
        return;
    list_each(node, &group->members)
    {
        const struct member *member = list_of(node, struct member, node);
        wire_put_string(out, slice_of(member->id));
        if (version >= 4)
            wire_put_string(out, slice_of(member->instance));
        wire_put_string(out, slice_of(member->client ? member->client : ""));
        wire_put_string(out, slice_of("/"));
        wire_put_bytes(out, group_metadata(group, member));
        wire_put_bytes(out, member->assignment.data ? member->assignment : slice_of(""));
    }
}

void api_describe_groups(struct broker *broker, struct call *call)
{
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 1)
        wire_put_i32(&out, 0);
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
        put_described(&out, call->version, group);
        if (call->version >= 3)
            wire_put_i32(&out, INT32_MIN);
    }
    api_finish(call, &out);
}
