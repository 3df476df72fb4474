#include "sandbox/broker/rebalance.h"

#include <stdlib.h>

#include "base/log.h"
#include "sandbox/broker/member.h"
#include "sandbox/broker/protocol.h"

static const struct slice NOBODY = {"", 0};

static void replace(char **string, struct slice with)
{
    free(*string);
    *string = slice_copy(with);
}

/* Each answer takes the call from the member, so that it is answered once. */
void answer_join(struct groups *groups, struct group *group, struct member *member, int16_t code)
{
    struct call *call = member->join;
    member->join = NULL;
    if (!call)
        return;
    member->known |= code == CODE_NONE;
    struct slice id = code == CODE_NONE ? slice_of(member->id) : NOBODY;
    groups->hooks.joined(call, code, group, member, id);
}

void answer_sync(struct groups *groups, struct member *member, int16_t code)
{
    struct call *call = member->sync;
    member->sync = NULL;
    if (call)
        groups->hooks.synced(call, code, code == CODE_NONE ? member->assignment : NOBODY);
}

void remove_member(struct groups *groups, struct group *group, struct member *member)
{
    answer_join(groups, group, member, CODE_UNKNOWN_MEMBER_ID);
    answer_sync(groups, member, CODE_UNKNOWN_MEMBER_ID);
    member_remove(group, member);
}

static void remove_unjoined(struct groups *groups, struct group *group)
{
    list_each_safe(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        if (!member->joined && !member->instance)
            remove_member(groups, group, member);
    }
}

/* Keeps the leader if it joined, else takes the first that did. */
static void elect(struct group *group)
{
    if (group->leader && group->leader->joined)
        return;
    group->leader = NULL;
    list_each(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        if (member->joined && !group->leader)
            group->leader = member;
    }
}

static void become_empty(struct group *group)
{
    group->state = GROUP_EMPTY;
    group->join_deadline = INT64_MAX;
    replace(&group->protocol, (struct slice){NULL, -1});
}

void complete_join(struct groups *groups, struct group *group, int64_t now)
{
    remove_unjoined(groups, group);
    elect(group);
    if (group->member_count && !group->leader) {
        group->join_deadline =
            now + members_rebalance_ms(group); /* static members only, all silent */
        return;
    }
    group->generation++;
    if (!group->member_count) {
        become_empty(group);
        return;
    }
    replace(&group->protocol, members_select(group));
    group->state = GROUP_COMPLETING;
    group->join_deadline = INT64_MAX;
    list_each(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        member->joined = false;
        member->deadline = now + member->session_ms;
        answer_join(groups, group, member, CODE_NONE);
    }
    log_debug("broker: group %s generation %d with %d members", group->name, (int)group->generation,
              (int)group->member_count);
}

static bool all_joined(const struct group *group)
{
    list_each(node, &group->members) if (!list_of(node, struct member, node)->joined) return false;
    return true;
}

static void complete_join_if_all(struct groups *groups, struct group *group, int64_t now)
{
    if (group->state == GROUP_PREPARING && all_joined(group))
        complete_join(groups, group, now);
}

/* Asks everybody to join again. */
static void rebalance(struct groups *groups, struct group *group, int64_t now)
{
    if (group->state == GROUP_COMPLETING)
        list_each(node, &group->members)
            answer_sync(groups, list_of(node, struct member, node), CODE_REBALANCE_IN_PROGRESS);
    group->state = GROUP_PREPARING;
    group->join_deadline = now + members_rebalance_ms(group);
    complete_join_if_all(groups, group, now);
}

void rebalance_or_complete(struct groups *groups, struct group *group, int64_t now)
{
    if (group->state == GROUP_PREPARING)
        complete_join_if_all(groups, group, now);
    else
        rebalance(groups, group, now);
}

void await_join(struct groups *groups, struct group *group, struct member *member,
                struct call *call, int64_t now)
{
    answer_join(groups, group, member, CODE_UNKNOWN_MEMBER_ID); /* an older one that still waits */
    member->join = call;
    member->joined = true;
    rebalance_or_complete(groups, group, now);
}

static struct slice find_assignment(const struct group_sync *sync, const struct member *member)
{
    for (int32_t i = 0; i < sync->assignment_count; i++)
        if (slice_equal(sync->assignments[i].member, member->id))
            return sync->assignments[i].bytes;
    return NOBODY;
}

void assign(struct groups *groups, struct group *group, const struct group_sync *sync, int64_t now)
{
    group->state = GROUP_STABLE;
    list_each(node, &group->members)
    {
        struct member *member = list_of(node, struct member, node);
        member_set_assignment(member, find_assignment(sync, member));
        if (member->sync)
            member->deadline = now + member->session_ms;
        answer_sync(groups, member, CODE_NONE);
    }
}
