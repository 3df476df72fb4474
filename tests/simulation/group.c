#include <assert.h>

#include "simulation.h"

/* The group's coordinator: members, generations, assignments. */

struct member *group_find(struct group *group, int id)
{
    for (size_t i = 0; id && i < group->member_count; i++)
        if (group->members[i].id == id && group->members[i].live)
            return &group->members[i];
    return NULL;
}

bool group_is_member(const struct group *group, int member, int generation)
{
    for (size_t i = 0; i < group->member_count; i++)
        if (group->members[i].id == member)
            return group->members[i].live && generation == group->generation;
    return false;
}

void group_rebalance(struct world *world, struct group *group)
{
    if (group->rebalancing)
        return;
    group->rebalancing = true;
    group->rebalancing_since = world->now;
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i].joined = false;
}

static void forget_dead_members(struct group *group)
{
    size_t kept = 0;
    for (size_t i = 0; i < group->member_count; i++)
        if (group->members[i].live)
            group->members[kept++] = group->members[i];
    group->member_count = kept;
}

static struct member *add_member(struct group *group, int instance)
{
    assert(group->member_count < MEMBERS_MAX);
    struct member *member = &group->members[group->member_count++];
    *member = (struct member){.id = ++group->next_member, .instance = instance, .live = true};
    return member;
}

static bool all_given(const struct world *world, const struct group *group)
{
    unsigned given = 0;
    for (size_t i = 0; i < group->member_count; i++)
        given |= group->members[i].live ? group->members[i].given : 0;
    return given == world->logs_of[group->kind];
}

bool group_is_taken(const struct group *group, int instance)
{
    for (size_t i = 0; i < group->member_count; i++)
        if (group->members[i].live && group->members[i].instance == instance)
            return true;
    return false;
}

/* A static member that comes back replaces its predecessor, without a rebalance, unless the
 * predecessor died during one. */
static struct member *replace(struct world *world, struct group *group, int instance)
{
    for (size_t i = 0; instance >= 0 && i < group->member_count; i++) {
        struct member *member = &group->members[i];
        if (!member->live || member->instance != instance)
            continue;
        member->id = ++group->next_member;
        member->owned = 0;
        member->heard_at = world->now;
        if (!all_given(world, group))
            group_rebalance(world, group);
        member->synced = !group->rebalancing;
        member->joined = true;
        say(world, "static member %d takes its place again", member->id);
        return member;
    }
    return NULL;
}

int group_join(struct world *world, enum request_kind kind, int id, int instance, unsigned owned)
{
    struct group *group = &world->groups[kind];
    struct member *member = group_find(group, id);
    if (!member && (member = replace(world, group, instance)))
        return member->id;
    group_rebalance(world, group);
    if (!member)
        member = add_member(group, instance);
    member->joined = true;
    member->synced = false;
    member->owned = owned;
    member->heard_at = world->now;
    return member->id;
}

void group_leave(struct world *world, enum request_kind kind, int id)
{
    struct group *group = &world->groups[kind];
    struct member *member = group_find(group, id);
    if (!member)
        return;
    member->live = false;
    member->given = member->owned = 0;
    group_rebalance(world, group);
}

static void kick(struct world *world, struct group *group, struct member *member)
{
    say(world, "member %d is kicked", member->id);
    world->counts.kicks++;
    for (int i = 0; i < world->process_count; i++) {
        const struct job *job = &world->processes[i].jobs[group->kind];
        if (job->engine && job->client.member == member->id)
            allow_unknown(world, job);
    }
    group_leave(world, group->kind, member->id);
}

/* Assigns the logs: mostly balanced, now and then at random. A log that moves is revoked from its
 * owner first. */
static void give(struct world *world, struct group *group)
{
    struct member *live[MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < group->member_count; i++) {
        group->members[i].given = 0;
        if (group->members[i].live)
            live[count++] = &group->members[i];
    }
    size_t turn = draw(world, count);
    for (int log = 0; log < world->log_count; log++) {
        if (world->logs[log].kind != group->kind)
            continue;
        struct member *target =
            live[draw(world, 4) ? (turn + (size_t)log) % count : draw(world, count)];
        struct member *owner = NULL;
        for (size_t i = 0; i < count; i++)
            if (live[i]->owned & 1u << log)
                owner = live[i];
        if (owner && draw(world, 3))
            target = owner;
        if (!owner || owner == target)
            target->given |= 1u << log;
    }
}

static void complete_rebalance(struct world *world, struct group *group)
{
    forget_dead_members(group);
    group->generation++;
    group->rebalancing = false;
    world->counts.rebalances++;
    give(world, group);
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i].synced = group->members[i].live;
    say(world, "generation %d", group->generation);
}

/* The coordinator is back, or another one has taken over: sessions and unfinished rebalances begin
 * again. */
static void load(const struct world *world, struct group *group)
{
    for (size_t i = 0; i < group->member_count; i++) {
        group->members[i].heard_at = world->now;
        if (group->rebalancing)
            group->members[i].joined = false;
    }
}

void group_step(struct world *world, struct group *group)
{
    bool all = true, any = false;
    bool was_away = group->away;
    group->away = coordinator_is_away(world, COORDINATOR_GROUP, group->kind);
    if (group->away)
        return;
    if (was_away)
        load(world, group);
    for (size_t i = 0; i < group->member_count; i++) {
        struct member *member = &group->members[i];
        if (!member->live)
            continue;
        if (world->now - member->heard_at > world->session_ms)
            kick(world, group, member);
        else if (group->rebalancing && !member->joined &&
                 world->now - group->rebalancing_since > 120000)
            kick(world, group, member);
    }
    for (size_t i = 0; i < group->member_count; i++) {
        any |= group->members[i].live;
        all &= !group->members[i].live || group->members[i].joined;
    }
    if (group->rebalancing && any && all)
        complete_rebalance(world, group);
}
