#include "sandbox/broker/group.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "sandbox/broker/member.h"
#include "sandbox/broker/protocol.h"
#include "sandbox/broker/rebalance.h"

static const struct slice NOBODY = {"", 0};

void groups_init(struct groups *groups, struct group_hooks hooks)
{
    *groups = (struct groups){.hooks = hooks};
    list_init(&groups->list);
}

void groups_fini(struct groups *groups)
{
    for (struct list *node; (node = list_take_first(&groups->list));) {
        struct group *group = list_of(node, struct group, node);
        list_each_safe(at, &group->members) member_remove(group, list_of(at, struct member, node));
        offsets_fini(&group->offsets);
        free(group->protocol_type);
        free(group->protocol);
        free(group->name);
        free(group);
    }
}

struct group *groups_find(const struct groups *groups, struct slice name)
{
    list_each(node, &groups->list)
    {
        struct group *group = list_of(node, struct group, node);
        if (slice_equal(name, group->name))
            return group;
    }
    return NULL;
}

struct group *groups_make(struct groups *groups, struct slice name)
{
    struct group *group = groups_find(groups, name);
    if (group)
        return group;
    group = memory_zeroed(1, sizeof(*group));
    group->name = slice_copy(name);
    group->join_deadline = INT64_MAX;
    list_init(&group->members);
    offsets_init(&group->offsets);
    list_append(&groups->list, &group->node);
    return group;
}

struct slice group_metadata(const struct group *group, const struct member *member)
{
    for (int32_t i = 0; i < member->protocol_count; i++)
        if (slice_equal(member->protocols[i].name, group->protocol))
            return member->protocols[i].metadata;
    return (struct slice){"", 0};
}

static void refuse_join(struct groups *groups, struct call *call, int16_t code, struct slice id)
{
    groups->hooks.joined(call, code, NULL, NULL, id);
}

static void join_new(struct groups *groups, struct group *group, const struct group_join *join,
                     struct slice id, struct call *call, int64_t now)
{
    struct member *member = member_add(group, id, join);
    member->deadline = now + join->session_ms;
    free(group->protocol_type);
    group->protocol_type = slice_copy(join->protocol_type);
    await_join(groups, group, member, call, now);
}

/* A static member came back under its instance's name: it takes the old one's place. */
static void join_instead(struct groups *groups, struct group *group, struct member *member,
                         const struct group_join *join, struct slice id, struct call *call,
                         int64_t now)
{
    answer_join(groups, group, member, CODE_FENCED_INSTANCE_ID);
    answer_sync(groups, member, CODE_FENCED_INSTANCE_ID);
    free(member->id);
    member->id = slice_copy(id);
    member_update(member, join);
    member->deadline = now + member->session_ms;
    if (group->state == GROUP_STABLE && members_have(group, slice_of(group->protocol)))
        groups->hooks.joined(call, CODE_NONE, group, member, id); /* nothing changes for anybody */
    else
        await_join(groups, group, member, call, now);
}

static void join_unknown(struct groups *groups, struct group *group, const struct group_join *join,
                         struct call *call, int64_t now)
{
    char id[300];
    const struct slice prefix = join->instance.data ? join->instance : join->client;
    snprintf(id, sizeof(id), "%.*s-%08llx", prefix.length > 200 ? 200 : (int)prefix.length,
             prefix.length > 0 ? prefix.data : "", (unsigned long long)++groups->next_member);
    struct member *instance = member_find_instance(group, join->instance);
    if (instance)
        join_instead(groups, group, instance, join, slice_of(id), call, now);
    else
        join_new(groups, group, join, slice_of(id), call, now);
}

static void join_known(struct groups *groups, struct group *group, const struct group_join *join,
                       struct call *call, int64_t now)
{
    int16_t code;
    struct member *member = member_check(group, join->member, join->instance, &code);
    if (!member || group->state == GROUP_EMPTY) {
        refuse_join(groups, call, member ? CODE_UNKNOWN_MEMBER_ID : code, join->member);
        return;
    }
    bool same = member_same_protocols(member, join);
    bool stays = group->state == GROUP_COMPLETING
                     ? same
                     : group->state == GROUP_STABLE && same && group->leader != member;
    if (stays) {
        groups->hooks.joined(call, CODE_NONE, group, member, join->member);
        return;
    }
    member_update(member, join);
    await_join(groups, group, member, call, now);
}

void group_join(struct groups *groups, struct group *group, const struct group_join *join,
                struct call *call, int64_t now)
{
    bool fits = join->protocol_count > 0 && join->protocol_type.length > 0 &&
                (!group->member_count || (slice_equal(join->protocol_type, group->protocol_type) &&
                                          members_support(group, join)));
    if (!fits)
        refuse_join(groups, call, CODE_INCONSISTENT_GROUP_PROTOCOL, join->member);
    else if (join->member.length > 0)
        join_known(groups, group, join, call, now);
    else
        join_unknown(groups, group, join, call, now);
}

void group_sync(struct groups *groups, struct group *group, const struct group_sync *sync,
                struct call *call, int64_t now)
{
    int16_t code = CODE_UNKNOWN_MEMBER_ID;
    struct member *member = group ? member_check(group, sync->member, sync->instance, &code) : NULL;
    if (member && sync->generation != group->generation)
        code = CODE_ILLEGAL_GENERATION;
    else if (member && group->state == GROUP_PREPARING)
        code = CODE_REBALANCE_IN_PROGRESS;
    if (code != CODE_NONE) {
        groups->hooks.synced(call, code, NOBODY);
        return;
    }
    assert(member);
    answer_sync(groups, member, CODE_UNKNOWN_MEMBER_ID); /* an older one that still waits */
    member->sync = call;
    member->deadline = now + member->session_ms;
    if (group->state == GROUP_STABLE)
        answer_sync(groups, member, CODE_NONE);
    else if (member == group->leader)
        assign(groups, group, sync, now);
}

int16_t group_heartbeat(struct group *group, struct slice id, struct slice instance,
                        int32_t generation, int64_t now)
{
    int16_t code = CODE_UNKNOWN_MEMBER_ID;
    struct member *member = group ? member_check(group, id, instance, &code) : NULL;
    if (!member)
        return code;
    if (generation != group->generation)
        return CODE_ILLEGAL_GENERATION;
    member->deadline = now + member->session_ms;
    return group->state == GROUP_PREPARING ? CODE_REBALANCE_IN_PROGRESS : CODE_NONE;
}

int16_t group_leave(struct groups *groups, struct group *group, struct slice id, int64_t now)
{
    struct member *member = group ? member_find(group, id) : NULL;
    if (!member)
        return CODE_UNKNOWN_MEMBER_ID;
    remove_member(groups, group, member);
    rebalance_or_complete(groups, group, now);
    return CODE_NONE;
}

int16_t group_check_commit(struct group *group, struct slice id, struct slice instance,
                           int32_t generation, bool transactional, int64_t now)
{
    if (generation < 0 && group->state == GROUP_EMPTY)
        return CODE_NONE;
    if (generation < 0 && id.length <= 0 && !instance.data)
        return transactional ? CODE_NONE : CODE_UNKNOWN_MEMBER_ID;
    int16_t code;
    struct member *member = member_check(group, id, instance, &code);
    if (!member)
        return code;
    if (generation != group->generation)
        return CODE_ILLEGAL_GENERATION;
    if (!transactional)
        member->deadline = now + member->session_ms;
    return !transactional && group->state == GROUP_COMPLETING ? CODE_REBALANCE_IN_PROGRESS
                                                              : CODE_NONE;
}

static void expire_members(struct groups *groups, struct group *group, int64_t now)
{
    bool any = false;
    list_each_safe(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        if (member->deadline > now || member->join || member->sync)
            continue;
        log_debug("broker: group %s: member %s was silent too long", group->name, member->id);
        remove_member(groups, group, member);
        any = true;
    }
    if (any)
        rebalance_or_complete(groups, group, now);
}

void groups_expire(struct groups *groups, int64_t now)
{
    list_each(node, &groups->list)
    {
        struct group *group = list_of(node, struct group, node);
        expire_members(groups, group, now);
        if (group->join_deadline <= now)
            complete_join(groups, group, now);
    }
}

static int64_t group_deadline(const struct group *group)
{
    int64_t deadline = group->join_deadline;
    list_each(node, &group->members)
    {
        const struct member *member = list_of(node, struct member, node);
        if (!member->join && !member->sync && member->deadline < deadline)
            deadline = member->deadline;
    }
    return deadline;
}

int64_t groups_deadline(const struct groups *groups)
{
    int64_t deadline = INT64_MAX;
    list_each(node, &groups->list)
    {
        int64_t at = group_deadline(list_of(node, struct group, node));
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

static void forget_call(struct groups *groups, struct group *group, const struct call *call,
                        int64_t now)
{
    list_each_safe(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        if (member->sync == call)
            member->sync = NULL;
        if (member->join != call)
            continue;
        member->join = NULL;
        if (member->known)
            continue;
        remove_member(groups, group, member);
        rebalance_or_complete(groups, group, now);
        return;
    }
}

void groups_forget_call(struct groups *groups, const struct call *call, int64_t now)
{
    list_each(node, &groups->list)
        forget_call(groups, list_of(node, struct group, node), call, now);
}
