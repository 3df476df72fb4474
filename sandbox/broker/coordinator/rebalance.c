#include "sandbox/broker/coordinator/rebalance.h"

#include <stdlib.h>

#include "base/log.h"
#include "sandbox/broker/coordinator/member.h"
#include "sandbox/broker/wire/protocol.h"

static const struct broker_slice NOBODY = {"", 0};

static void replace(char **string, struct broker_slice with)
{
    free(*string);
    *string = broker_slice_copy(with);
}

/* Each answer takes the call from the member, so that it is answered once. */
void broker_rebalance_answer_join(struct broker_groups *groups, struct broker_group *group,
                                  struct broker_member *member, int16_t code)
{
    struct broker_call *call = member->join;
    member->join = NULL;
    if (!call)
        return;
    member->known |= code == CODE_NONE;
    struct broker_slice id = code == CODE_NONE ? broker_slice_of(member->id) : NOBODY;
    groups->hooks.joined(call, code, group, member, id);
}

void broker_rebalance_answer_sync(struct broker_groups *groups, struct broker_member *member,
                                  int16_t code)
{
    struct broker_call *call = member->sync;
    member->sync = NULL;
    if (call)
        groups->hooks.synced(call, code, code == CODE_NONE ? member->assignment : NOBODY);
}

void broker_rebalance_remove(struct broker_groups *groups, struct broker_group *group,
                             struct broker_member *member)
{
    broker_rebalance_answer_join(groups, group, member, CODE_UNKNOWN_MEMBER_ID);
    broker_rebalance_answer_sync(groups, member, CODE_UNKNOWN_MEMBER_ID);
    broker_member_remove(group, member);
}

static void remove_unjoined(struct broker_groups *groups, struct broker_group *group)
{
    list_each_safe(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        if (!member->joined && !member->instance)
            broker_rebalance_remove(groups, group, member);
    }
}

/* Keeps the leader if it has joined; otherwise takes the first member that has. */
static void elect(struct broker_group *group)
{
    if (group->leader && group->leader->joined)
        return;
    group->leader = NULL;
    list_each(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        if (member->joined && !group->leader)
            group->leader = member;
    }
}

static void become_empty(struct broker_group *group)
{
    group->state = GROUP_EMPTY;
    group->join_deadline = INT64_MAX;
    replace(&group->protocol, (struct broker_slice){NULL, -1});
}

void broker_rebalance_complete_join(struct broker_groups *groups, struct broker_group *group,
                                    int64_t now)
{
    remove_unjoined(groups, group);
    elect(group);
    if (group->member_count && !group->leader) {
        group->join_deadline =
            now + broker_members_rebalance_ms(group); /* static members only, all silent */
        return;
    }
    group->generation++;
    if (!group->member_count) {
        become_empty(group);
        return;
    }
    replace(&group->protocol, broker_members_select(group));
    group->state = GROUP_COMPLETING;
    group->join_deadline = INT64_MAX;
    list_each(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        member->joined = false;
        member->deadline = now + member->session_ms;
        broker_rebalance_answer_join(groups, group, member, CODE_NONE);
    }
    log_debug("broker: group %s generation %d with %d members", group->name, (int)group->generation,
              (int)group->member_count);
}

static bool all_joined(const struct broker_group *group)
{
    list_each(node, &group->members)
    {
        if (!list_of(node, struct broker_member, node)->joined)
            return false;
    }
    return true;
}

static void complete_join_if_all(struct broker_groups *groups, struct broker_group *group,
                                 int64_t now)
{
    if (group->state == GROUP_PREPARING && all_joined(group))
        broker_rebalance_complete_join(groups, group, now);
}

/* Asks all members to join again. */
static void rebalance(struct broker_groups *groups, struct broker_group *group, int64_t now)
{
    list_each(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        broker_rebalance_answer_sync(groups, member, CODE_REBALANCE_IN_PROGRESS);
    }
    group->state = GROUP_PREPARING;
    group->join_deadline = now + broker_members_rebalance_ms(group);
    complete_join_if_all(groups, group, now);
}

void broker_rebalance_or_complete(struct broker_groups *groups, struct broker_group *group,
                                  int64_t now)
{
    if (group->state == GROUP_PREPARING)
        complete_join_if_all(groups, group, now);
    else
        rebalance(groups, group, now);
}

void broker_rebalance_await_join(struct broker_groups *groups, struct broker_group *group,
                                 struct broker_member *member, struct broker_call *call,
                                 int64_t now)
{
    broker_rebalance_answer_join(groups, group, member,
                                 CODE_UNKNOWN_MEMBER_ID); /* an older one that still waits */
    member->join = call;
    member->joined = true;
    broker_rebalance_or_complete(groups, group, now);
}

static struct broker_slice find_assignment(const struct broker_group_sync *sync,
                                           const struct broker_member *member)
{
    for (int32_t i = 0; i < sync->assignment_count; i++)
        if (broker_slice_equal(sync->assignments[i].member, member->id))
            return sync->assignments[i].bytes;
    return NOBODY;
}

void broker_rebalance_assign(struct broker_groups *groups, struct broker_group *group,
                             const struct broker_group_sync *sync, int64_t now)
{
    group->state = GROUP_STABLE;
    list_each(node, &group->members)
    {
        struct broker_member *member = list_of(node, struct broker_member, node);
        broker_member_set_assignment(member, find_assignment(sync, member));
        if (member->sync)
            member->deadline = now + member->session_ms;
        broker_rebalance_answer_sync(groups, member, CODE_NONE);
    }
}
