#include <stdlib.h>
#include <string.h>

#include "simulation.h"

static const char *const names[IDS] = {"w0", "w1", "w2", "w3", "w4", "w5"};

const char *process_name(int id)
{
    return names[id];
}

int process_id(const char *name)
{
    for (int id = 0; id < IDS; id++)
        if (!strcmp(names[id], name))
            return id;
    abort();
}

void process_start(struct world *world, struct process *process, int id)
{
    int index = process->index;
    memset(process, 0, sizeof *process);
    process->index = index;
    process->id = id;
    process->incarnation = ++world->incarnations;
    process->state = PROCESS_RUNNING;
    process->client.generation = -1;
    process->epoch = -1;
    process->renewing = process->initialising = true;
    process->joins = draw(world, 4) == 0; /* else when the producer is ready */
    struct engine_options options = world->options;
    options.owner = names[id];
    process->engine = engine_new(&options);
    say(world, "%s starts (incarnation %d)", names[id], process->incarnation);
}

void process_end(struct world *world, struct process *process, const char *why)
{
    say(world, "%s %s", names[process->id], why);
    if (process->lent_count)
        world->excused[process->incarnation] = true;
    engine_free(process->engine);
    caller_drop_all(world, process);
    process->engine = NULL;
    process->state = PROCESS_DEAD;
    client_drop(process);
}

static void trace_ledgers(struct world *world, const struct process *process,
                          const struct engine_action *action)
{
    say(world, "%s begins a transaction of %zu items", names[process->id], action->item_count);
    for (size_t i = 0; i < action->ledger_count; i++)
        say(world, "    %d: base %d %s", action->ledgers[i].partition,
            (int)action->ledgers[i].offset, action->ledgers[i].metadata);
    for (size_t i = 0; i < action->item_count; i++)
        say(world, "    %d/%d %s", action->items[i].request->place.partition,
            (int)action->items[i].request->place.offset,
            status_name(action->items[i].request->outcome.status));
}

/* Calls that are out when their partition's ledger is given to nobody have outlived a drain. */
static void note_release(struct world *world, struct process *process)
{
    for (size_t i = 0; process->work.type == ENGINE_COMMIT && i < process->work.ledger_count; i++)
        for (size_t k = 0; k < process->lent_count; k++)
            if (process->lent[k].request->place.partition == process->work.ledgers[i].partition)
                world->excused[process->incarnation] = true;
}

/* Obeys one action; false: there was none. */
static bool obey(struct world *world, struct process *process)
{
    struct engine_action action;
    switch (engine_next(process->engine, world->now, world->wall, &action)) {
    case ENGINE_NOTHING:
        return false;
    case ENGINE_TRANSACT:
        if (process->transact != JOB_IDLE || process->renewing)
            broken(world, "%s wants two transactions at once", names[process->id]);
        trace_ledgers(world, process, &action);
        process->transaction = action;
        process->transact = action.ledger_count && (!action.item_count || draw(world, 2))
                                ? JOB_OFFSETS
                                : JOB_PRODUCE;
        process->member = process->client.member;
        process->generation = process->client.generation;
        return true;
    case ENGINE_RENEW_PRODUCER:
        if (process->transact != JOB_IDLE || process->renewing)
            broken(world, "%s renews in the middle", names[process->id]);
        process->renewing = true;
        return true;
    case ENGINE_READ:
    case ENGINE_END_OWNER:
    case ENGINE_COMMIT:
        if (process->working)
            broken(world, "%s wants two ledger jobs at once", names[process->id]);
        process->work = action;
        note_release(world, process);
        process->working = WORK_TO_DO;
        return true;
    case ENGINE_ASSIGN:
        client_assign(world, process, &action);
        return true;
    case ENGINE_UNASSIGN:
        client_unassign(world, process, &action);
        return true;
    case ENGINE_START:
        check_start(world, process, action.request);
        caller_lend(world, process, action.request);
        return true;
    case ENGINE_RECALL:
        caller_recall(world, process, &action);
        return true;
    case ENGINE_LEAVE:
        say(world, "%s leaves", names[process->id]);
        process->client.leaving = true;
        return true;
    case ENGINE_FAIL:
        broken(world, "%s believes to have a twin", names[process->id]);
        return false;
    }
    return false;
}

static void heartbeat(struct world *world, struct process *process)
{
    struct member *member = member_find(world, process->client.member);
    if (member && world->now - member->heard_at >= world->session_ms / 3)
        member->heard_at = world->now;
}

static void happen(struct world *world, struct process *process)
{
    bool reachable = world->now >= process->cut_off_until;
    switch (draw(world, 6)) {
    case 0:
        if (reachable)
            client_step(world, process);
        break;
    case 1:
        if (reachable)
            client_fetch(world, process);
        break;
    case 2:
        if (reachable)
            client_transact_step(world, process);
        break;
    case 3:
        if (reachable)
            client_work_step(world, process);
        break;
    default:
        caller_step(world, process);
    }
    if (!process->initialising)
        process->joins = true;
}

/* The engine's wake time is not to be missed by more than the second that its sweeps take. */
static void check_sleep(struct world *world, struct process *process)
{
    if (!process->asleep || world->now >= process->wake_at - 1000)
        return;
    if (obey(world, process))
        broken(world, "%s has something to do long before its time", process_name(process->id));
}

/* Up to `most` actions. */
static void pump(struct world *world, struct process *process, size_t most)
{
    process->asleep = false;
    while (most-- && !world->failed) {
        if (obey(world, process))
            continue;
        process->asleep = true;
        process->wake_at = engine_wake_time(process->engine);
        return;
    }
}

void process_step(struct world *world, struct process *process)
{
    check_sleep(world, process);
    if (world->now >= process->cut_off_until)
        heartbeat(world, process);
    happen(world, process);
    pump(world, process, world->calm || draw(world, 8) ? 1000 : draw(world, 3));
    check_process(world, process);
    if (process->client.state == CLIENT_GONE && process->transact == JOB_IDLE)
        process_end(world, process, "has stopped");
}
