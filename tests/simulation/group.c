#include <assert.h>

#include "simulation.h"

/* The group's coordinator: members, generations, who gets what. */

struct member *group_find(struct world *world, int id)
{
    for (size_t i = 0; id && i < world->group.member_count; i++)
        if (world->group.members[i].id == id && world->group.members[i].live)
            return &world->group.members[i];
    return NULL;
}

bool group_is_member(const struct world *world, int member, int generation)
{
    for (size_t i = 0; i < world->group.member_count; i++)
        if (world->group.members[i].id == member)
            return world->group.members[i].live && generation == world->group.generation;
    return false;
}

void group_rebalance(struct world *world)
{
    struct group *group = &world->group;
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

static struct member *add_member(struct world *world, int instance)
{
    struct group *group = &world->group;
    assert(group->member_count < MEMBERS_MOST);
    struct member *member = &group->members[group->member_count++];
    *member = (struct member){.id = ++group->next_member, .instance = instance, .live = true};
    return member;
}

static bool all_given(const struct world *world)
{
    unsigned given = 0;
    for (size_t i = 0; i < world->group.member_count; i++)
        given |= world->group.members[i].live ? world->group.members[i].given : 0;
    return given == (1u << world->log_count) - 1;
}

bool group_is_taken(const struct world *world, int instance)
{
    for (size_t i = 0; i < world->group.member_count; i++)
        if (world->group.members[i].live && world->group.members[i].instance == instance)
            return true;
    return false;
}

/* A static member that comes back takes its predecessor's place; without a rebalance, unless the
 * predecessor died in the middle of one. */
static struct member *replace(struct world *world, int instance)
{
    struct group *group = &world->group;
    for (size_t i = 0; instance >= 0 && i < group->member_count; i++) {
        struct member *member = &group->members[i];
        if (!member->live || member->instance != instance)
            continue;
        member->id = ++group->next_member;
        member->owned = 0;
        member->heard_at = world->now;
        if (!all_given(world))
            group_rebalance(world);
        member->synced = !group->rebalancing;
        member->joined = true;
        say(world, "static member %d takes its place again", member->id);
        return member;
    }
    return NULL;
}

int group_join(struct world *world, int id, int instance, unsigned owned)
{
    struct member *member = group_find(world, id);
    if (!member && (member = replace(world, instance)))
        return member->id;
    group_rebalance(world);
    if (!member)
        member = add_member(world, instance);
    member->joined = true;
    member->synced = false;
    member->owned = owned;
    member->heard_at = world->now;
    return member->id;
}

void group_leave(struct world *world, int id)
{
    struct member *member = group_find(world, id);
    if (!member)
        return;
    member->live = false;
    member->given = member->owned = 0;
    group_rebalance(world);
}

static void kick(struct world *world, struct member *member)
{
    say(world, "member %d is kicked", member->id);
    world->counts.kicks++;
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].engine && world->processes[i].client.member == member->id)
            world->excused_at[world->processes[i].incarnation] = world->step;
    group_leave(world, member->id);
}

/* Who gets what: mostly balanced, now and then anyhow. What moves is taken from its owner first. */
static void give(struct world *world)
{
    struct group *group = &world->group;
    struct member *live[MEMBERS_MOST];
    size_t count = 0;
    for (size_t i = 0; i < group->member_count; i++) {
        group->members[i].given = 0;
        if (group->members[i].live)
            live[count++] = &group->members[i];
    }
    size_t turn = draw(world, count);
    for (int log = 0; log < world->log_count; log++) {
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

static void complete_rebalance(struct world *world)
{
    struct group *group = &world->group;
    forget_dead_members(group);
    group->generation++;
    group->rebalancing = false;
    world->counts.rebalances++;
    give(world);
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i].synced = group->members[i].live;
    say(world, "generation %d", group->generation);
}

void group_step(struct world *world)
{
    struct group *group = &world->group;
    bool all = true, any = false;
    if (world->now < world->coordinator_back_at)
        return;
    for (size_t i = 0; i < group->member_count; i++) {
        struct member *member = &group->members[i];
        if (!member->live)
            continue;
        if (world->now - member->heard_at > world->session_ms)
            kick(world, member);
        else if (group->rebalancing && !member->joined &&
                 world->now - group->rebalancing_since > 120000)
            kick(world, member);
    }
    for (size_t i = 0; i < group->member_count; i++) {
        any |= group->members[i].live;
        all &= !group->members[i].live || group->members[i].joined;
    }
    if (group->rebalancing && any && all)
        complete_rebalance(world);
}
