#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "simulation.h"

void broker_init(struct world *world)
{
    world->log_count = 1 + (int)draw(world, LOGS_MOST);
    for (int i = 0; i < world->log_count; i++) {
        struct log *log = &world->logs[i];
        log->kind = i && draw(world, 5) == 0 ? REQUEST_RECORDING : REQUEST_CALL;
        log->start = log->end = draw(world, 4) ? 0 : (int64_t)draw(world, 5);
        log->committed = -1;
        for (int key = 0; key < KEYS; key++)
            log->last_result[key] = -1;
    }
    world->group.eager = draw(world, 6) == 0;
}

static void transaction_clear(struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->offset_count; i++)
        free(transaction->offsets[i].metadata);
    transaction->item_count = transaction->offset_count = 0;
    transaction->state = TRANSACTION_NONE;
    transaction->on_its_way = false;
}

void broker_fini(struct world *world)
{
    for (int id = 0; id < IDS; id++)
        transaction_clear(&world->transactions[id]);
    for (int i = 0; i < world->log_count; i++)
        free(world->logs[i].metadata);
}

static void add_offset(struct world *world, int index, int task)
{
    struct log *log = &world->logs[index];
    if (log->end >= LOG_MOST) {
        world->task_goal = world->task_count;
        return;
    }
    log->task_at[log->end++] = task;
}

void broker_append(struct world *world)
{
    int index = (int)draw(world, (uint64_t)world->log_count);
    if (world->task_count >= world->task_goal || world->logs[index].end >= LOG_MOST - 4)
        return;
    struct task *task = &world->tasks[world->task_count];
    *task =
        (struct task){.kind = world->logs[index].kind,
                      .log = index,
                      .offset = world->logs[index].end,
                      .key = strikes(world, world->faults.keyless) ? -1 : (int)draw(world, KEYS),
                      .expires_at = INT64_MAX};
    task->invalid = task->key < 0 || draw(world, 15) == 0;
    task->big = draw(world, 10) == 0;
    if (draw(world, 12) == 0)
        task->expires_at = world->wall + (int64_t)draw(world, 3000);
    say(world, "record %d/%d key %d%s", index, (int)task->offset, task->key,
        task->invalid ? " invalid" : "");
    add_offset(world, index, world->task_count++);
    while (strikes(world, world->faults.gap))
        add_offset(world, index, -1);
}

/* Retention deletes the oldest records. */
void broker_retain(struct world *world)
{
    int index = (int)draw(world, (uint64_t)world->log_count);
    struct log *log = &world->logs[index];
    int64_t start = log->start + (int64_t)draw(world, (uint64_t)(log->end - log->start) + 1);
    for (int64_t offset = log->start; offset < start; offset++)
        if (log->task_at[offset] >= 0)
            world->tasks[log->task_at[offset]].deleted = true;
    say(world, "log %d now begins at %d", index, (int)start);
    log->start = start;
}

bool broker_is_unstable(const struct world *world, int log)
{
    for (int id = 0; id < IDS; id++) {
        const struct transaction *transaction = &world->transactions[id];
        for (size_t i = 0; transaction->state != TRANSACTION_NONE && i < transaction->offset_count;
             i++)
            if (transaction->offsets[i].log == log)
                return true;
    }
    return false;
}

void broker_set_offset(struct world *world, struct offset_commit commit)
{
    struct log *log = &world->logs[commit.log];
    if (commit.offset < log->committed)
        broken(world, "the committed offset of %d went back from %d to %d", commit.log,
               (int)log->committed, (int)commit.offset);
    log->committed = commit.offset;
    log->written_at = world->step;
    free(log->metadata);
    log->metadata = memory_string(commit.metadata);
}

void broker_drop(struct world *world, struct transaction *transaction)
{
    if (transaction->state != TRANSACTION_NONE)
        say(world, "transaction of %s dropped",
            process_name((int)(transaction - world->transactions)));
    transaction_clear(transaction);
}

void broker_apply(struct world *world, struct transaction *transaction)
{
    say(world, "transaction of %s lands: %zu items",
        process_name((int)(transaction - world->transactions)), transaction->item_count);
    for (size_t i = 0; i < transaction->offset_count; i++)
        broker_set_offset(world, transaction->offsets[i]);
    for (size_t i = 0; i < transaction->item_count; i++)
        check_published(world, &transaction->items[i]);
    for (size_t i = 0; i < transaction->offset_count; i++)
        check_ledger(world, transaction->offsets[i].log, transaction->incarnation);
    check_started(world);
    transaction->item_count = 0;
    transaction->state = TRANSACTION_COMMITTED;
    if (draw(world, 2))
        transaction_clear(transaction);
}

static void end_open(struct world *world, struct transaction *transaction)
{
    if (transaction->state == TRANSACTION_COMMITTED)
        transaction_clear(transaction);
    else
        broker_drop(world, transaction);
}

int broker_init_id(struct world *world, int id)
{
    end_open(world, &world->transactions[id]);
    world->transactions[id].ended_at = world->step;
    return ++world->transactions[id].epoch;
}

void broker_step(struct world *world)
{
    struct transaction *transaction = &world->transactions[draw(world, IDS)];
    if (transaction->state == TRANSACTION_COMMITTED) {
        transaction_clear(transaction);
    } else if (transaction->state == TRANSACTION_OPEN && transaction->on_its_way &&
               draw(world, 2)) {
        broker_apply(world, transaction);
    } else if (transaction->state == TRANSACTION_OPEN &&
               world->now - transaction->opened_at > world->transaction_ms) {
        say(world, "transaction of %s times out",
            process_name((int)(transaction - world->transactions)));
        broker_drop(world, transaction);
        transaction->epoch++;
    }
}

struct member *member_find(struct world *world, int id)
{
    for (size_t i = 0; i < world->group.member_count; i++)
        if (world->group.members[i].id == id && world->group.members[i].live)
            return &world->group.members[i];
    return NULL;
}

bool broker_is_member(const struct world *world, int member, int generation)
{
    for (size_t i = 0; i < world->group.member_count; i++)
        if (world->group.members[i].id == member)
            return world->group.members[i].live && generation == world->group.generation;
    return false;
}

static void begin_rebalance(struct world *world)
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

int group_join(struct world *world, int id, unsigned owned)
{
    static const struct member none;
    struct group *group = &world->group;
    struct member *member = member_find(world, id);
    begin_rebalance(world);
    if (!member) {
        if (group->member_count == MEMBERS_MOST)
            forget_dead_members(group);
        member = &group->members[group->member_count++];
        *member = none;
        member->id = (int)world->step + 1000; /* new for each step */
        member->live = true;
    }
    member->joined = true;
    member->synced = false;
    member->owned = owned;
    member->heard_at = world->now;
    return member->id;
}

void group_leave(struct world *world, int id)
{
    struct member *member = member_find(world, id);
    if (!member)
        return;
    member->live = false;
    member->given = member->owned = 0;
    begin_rebalance(world);
}

static void kick(struct world *world, struct member *member)
{
    say(world, "member %d is kicked", member->id);
    world->counts.kicks++;
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
