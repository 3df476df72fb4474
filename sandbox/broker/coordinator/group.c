#include "sandbox/broker/coordinator/group.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "sandbox/broker/coordinator/member.h"
#include "sandbox/broker/coordinator/rebalance.h"
#include "sandbox/broker/wire/protocol.h"

static const struct broker_slice NOBODY = {"", 0};

void broker_groups_init(struct broker_groups *groups, struct broker_group_hooks hooks)
{
    *groups = (struct broker_groups){.hooks = hooks};
    list_init(&groups->list);
}

void broker_groups_fini(struct broker_groups *groups)
{
    for (struct list *node; (node = list_take_first(&groups->list));) {
        struct broker_group *group = list_of(node, struct broker_group, node);
        list_each_safe(at, &group->members)
            broker_member_remove(group, list_of(at, struct broker_member, node));
        broker_offsets_fini(&group->offsets);
        free(group->protocol_type);
        free(group->protocol);
        free(group->name);
        free(group);
    }
}

struct broker_group *broker_groups_find(const struct broker_groups *groups,
                                        struct broker_slice name)
{
    list_each(node, &groups->list)
    {
        struct broker_group *group = list_of(node, struct broker_group, node);
        if (broker_slice_equal(name, group->name))
            return group;
    }
    return NULL;
}

struct broker_group *broker_groups_make(struct broker_groups *groups, struct broker_slice name)
{
    struct broker_group *group = broker_groups_find(groups, name);
    if (group)
        return group;
    group = memory_zeroed(1, sizeof(*group));
    group->name = broker_slice_copy(name);
    group->join_deadline = INT64_MAX;
    list_init(&group->members);
    broker_offsets_init(&group->offsets);
    list_append(&groups->list, &group->node);
    return group;
}

struct broker_slice broker_group_metadata(const struct broker_group *group,
                                          const struct broker_member *member)
{
    for (int32_t i = 0; i < member->protocol_count; i++)
        if (broker_slice_equal(member->protocols[i].name, group->protocol))
            return member->protocols[i].metadata;
    return (struct broker_slice){"", 0};
}

static void refuse_join(struct broker_groups *groups, struct broker_call *call, int16_t code,
                        struct broker_slice id)
{
    groups->hooks.joined(call, code, NULL, NULL, id);
}

static void join_new(struct broker_groups *groups, struct broker_group *group,
                     const struct broker_group_join *join, struct broker_slice id,
                     struct broker_call *call, int64_t now)
{
    struct broker_member *member = broker_member_add(group, id, join);
    member->deadline = now + join->session_ms;
    free(group->protocol_type);
    group->protocol_type = broker_slice_copy(join->protocol_type);
    broker_rebalance_await_join(groups, group, member, call, now);
}

/* A static member has come back with its instance id: it replaces the old member. */
static void join_instead(struct broker_groups *groups, struct broker_group *group,
                         struct broker_member *member, const struct broker_group_join *join,
                         struct broker_slice id, struct broker_call *call, int64_t now)
{
    broker_rebalance_answer_join(groups, group, member, CODE_FENCED_INSTANCE_ID);
    broker_rebalance_answer_sync(groups, member, CODE_FENCED_INSTANCE_ID);
    free(member->id);
    member->id = broker_slice_copy(id);
    broker_member_update(member, join);
    member->deadline = now + member->session_ms;
    if (group->state == GROUP_STABLE &&
        broker_members_have(group, broker_slice_of(group->protocol)))
        groups->hooks.joined(call, CODE_NONE, group, member,
                             id); /* nothing changes for the other members */
    else
        broker_rebalance_await_join(groups, group, member, call, now);
}

static void join_unknown(struct broker_groups *groups, struct broker_group *group,
                         const struct broker_group_join *join, struct broker_call *call,
                         int64_t now)
{
    char id[300];
    const struct broker_slice prefix = join->instance.data ? join->instance : join->client;
    snprintf(id, sizeof(id), "%.*s-%08llx", prefix.length > 200 ? 200 : (int)prefix.length,
             prefix.length > 0 ? prefix.data : "", (unsigned long long)++groups->next_member);
    struct broker_member *instance = broker_member_find_instance(group, join->instance);
    if (instance)
        join_instead(groups, group, instance, join, broker_slice_of(id), call, now);
    else
        join_new(groups, group, join, broker_slice_of(id), call, now);
}

static void join_known(struct broker_groups *groups, struct broker_group *group,
                       const struct broker_group_join *join, struct broker_call *call, int64_t now)
{
    int16_t code;
    struct broker_member *member = broker_member_check(group, join->member, join->instance, &code);
    if (!member || group->state == GROUP_EMPTY) {
        refuse_join(groups, call, member ? CODE_UNKNOWN_MEMBER_ID : code, join->member);
        return;
    }
    bool same = broker_member_same_protocols(member, join);
    bool stays = group->state == GROUP_COMPLETING
                     ? same
                     : group->state == GROUP_STABLE && same && group->leader != member;
    if (stays) {
        groups->hooks.joined(call, CODE_NONE, group, member, join->member);
        return;
    }
    broker_member_update(member, join);
    broker_rebalance_await_join(groups, group, member, call, now);
}

void broker_group_join(struct broker_groups *groups, struct broker_group *group,
                       const struct broker_group_join *join, struct broker_call *call, int64_t now)
{
    bool fits =
        join->protocol_count > 0 && join->protocol_type.length > 0 &&
        (!group->member_count || (broker_slice_equal(join->protocol_type, group->protocol_type) &&
                                  broker_members_support(group, join)));
    if (!fits)
        refuse_join(groups, call, CODE_INCONSISTENT_GROUP_PROTOCOL, join->member);
    else if (join->member.length > 0)
        join_known(groups, group, join, call, now);
    else
        join_unknown(groups, group, join, call, now);
}

void broker_group_sync(struct broker_groups *groups, struct broker_group *group,
                       const struct broker_group_sync *sync, struct broker_call *call, int64_t now)
{
    int16_t code = CODE_UNKNOWN_MEMBER_ID;
    struct broker_member *member =
        group ? broker_member_check(group, sync->member, sync->instance, &code) : NULL;
    if (member && sync->generation != group->generation)
        code = CODE_ILLEGAL_GENERATION;
    else if (member && group->state == GROUP_PREPARING)
        code = CODE_REBALANCE_IN_PROGRESS;
    if (code != CODE_NONE) {
        groups->hooks.synced(call, code, NOBODY);
        return;
    }
    assert(member);
    broker_rebalance_answer_sync(groups, member,
                                 CODE_UNKNOWN_MEMBER_ID); /* an older one that still waits */
    member->sync = call;
    member->deadline = now + member->session_ms;
    if (group->state == GROUP_STABLE)
        broker_rebalance_answer_sync(groups, member, CODE_NONE);
    else if (member == group->leader)
        broker_rebalance_assign(groups, group, sync, now);
}

int16_t broker_group_heartbeat(struct broker_group *group, struct broker_slice id,
                               struct broker_slice instance, int32_t generation, int64_t now)
{
    int16_t code = CODE_UNKNOWN_MEMBER_ID;
    struct broker_member *member = group ? broker_member_check(group, id, instance, &code) : NULL;
    if (!member)
        return code;
    if (generation != group->generation)
        return CODE_ILLEGAL_GENERATION;
    member->deadline = now + member->session_ms;
    return group->state == GROUP_PREPARING ? CODE_REBALANCE_IN_PROGRESS : CODE_NONE;
}

int16_t broker_group_leave(struct broker_groups *groups, struct broker_group *group,
                           struct broker_slice id, int64_t now)
{
    struct broker_member *member = group ? broker_member_find(group, id) : NULL;
    if (!member)
        return CODE_UNKNOWN_MEMBER_ID;
    broker_rebalance_remove(groups, group, member);
    broker_rebalance_or_complete(groups, group, now);
    return CODE_NONE;
}

int16_t broker_group_check_commit(struct broker_group *group, struct broker_slice id,
                                  struct broker_slice instance, int32_t generation,
                                  bool transactional, int64_t now)
{
    if (generation < 0 && group->state == GROUP_EMPTY)
        return CODE_NONE;
    if (generation < 0 && id.length <= 0 && !instance.data)
        return transactional ? CODE_NONE : CODE_UNKNOWN_MEMBER_ID;
    int16_t code;
    struct broker_member *member = broker_member_check(group, id, instance, &code);
    if (!member)
        return code;
    if (generation != group->generation)
        return CODE_ILLEGAL_GENERATION;
    if (!transactional)
        member->deadline = now + member->session_ms;
    return !transactional && group->state == GROUP_COMPLETING ? CODE_REBALANCE_IN_PROGRESS
                                                              : CODE_NONE;
}

static void expire_members(struct broker_groups *groups, struct broker_group *group, int64_t now)
{
    bool any = false;
    list_each_safe(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        if (member->deadline > now || member->join || member->sync)
            continue;
        log_debug("broker: group %s: member %s was silent too long", group->name, member->id);
        broker_rebalance_remove(groups, group, member);
        any = true;
    }
    if (any)
        broker_rebalance_or_complete(groups, group, now);
}

void broker_groups_expire(struct broker_groups *groups, int64_t now)
{
    list_each(node, &groups->list)
    {
        struct broker_group *group = list_of(node, struct broker_group, node);
        expire_members(groups, group, now);
        if (group->join_deadline <= now)
            broker_rebalance_complete_join(groups, group, now);
    }
}

static int64_t group_deadline(const struct broker_group *group)
{
    int64_t deadline = group->join_deadline;
    list_each(node, &group->members)
    {
        const struct broker_member *member = list_of(node, struct broker_member, node);
        if (!member->join && !member->sync && member->deadline < deadline)
            deadline = member->deadline;
    }
    return deadline;
}

int64_t broker_groups_deadline(const struct broker_groups *groups)
{
    int64_t deadline = INT64_MAX;
    list_each(node, &groups->list)
    {
        int64_t at = group_deadline(list_of(node, struct broker_group, node));
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

static void forget_call(struct broker_groups *groups, struct broker_group *group,
                        const struct broker_call *call, int64_t now)
{
    list_each_safe(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        if (member->sync == call)
            member->sync = NULL;
        if (member->join != call)
            continue;
        member->join = NULL;
        if (member->known)
            continue;
        broker_rebalance_remove(groups, group, member);
        broker_rebalance_or_complete(groups, group, now);
        return;
    }
}

void broker_groups_forget_call(struct broker_groups *groups, const struct broker_call *call,
                               int64_t now)
{
    list_each(node, &groups->list)
        forget_call(groups, list_of(node, struct broker_group, node), call, now);
}
