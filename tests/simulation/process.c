#include <stdlib.h>
#include <string.h>

#include "simulation.h"

/* One worker: the engine, driven as the Kafka thread drives it, and what it stands between. */

static const char *const names[IDS] = {"w0", "w1", "w2", "w3", "w4", "w5"};

const char *process_name(int id)
{
    return names[id];
}

void process_draw_owners(struct world *world)
{
    bool longest = world->options.ledger_max < LEDGER_MAX;
    for (int id = 0; id < IDS; id++) {
        if (longest)
            memset(world->owners[id], '-', LEDGER_OWNER_SIZE - 1);
        memcpy(world->owners[id], names[id], 2);
    }
}

int process_id(const char *owner)
{
    for (int id = 0; id < IDS; id++)
        if (!strncmp(names[id], owner, 2))
            return id;
    abort();
}

int64_t process_now(const struct world *world, const struct process *process)
{
    return world->now + process->boot_shift;
}

int64_t process_wall(const struct world *world, const struct process *process)
{
    return world->wall + process->wall_shift;
}

void process_start(struct world *world, struct process *process, int id)
{
    int index = process->index;
    memset(process, 0, sizeof *process);
    process->index = index;
    process->id = id;
    process->incarnation = ++world->incarnations;
    process->state = PROCESS_RUNNING;
    process->boot_shift = (int64_t)draw(world, 1000000);
    process->wall_shift = draw(world, 3) ? 0 : (int64_t)draw(world, 2000) - 1000;
    process->client.generation = -1;
    process->epoch = -1;
    process->renewing = process->initialising = true;
    process->joins = draw(world, 4) == 0; /* else when the producer is ready */
    struct engine_options options = world->options;
    options.owner = world->owners[id];
    process->engine = engine_new(&options);
    caller_start(world, process);
    say(world, "%s starts (incarnation %d)", names[id], process->incarnation);
}

void process_end(struct world *world, struct process *process, const char *why)
{
    say(world, "%s %s", names[process->id], why);
    engine_free(process->engine);
    caller_drop_all(process);
    process->engine = NULL;
    process->state = PROCESS_DEAD;
    commit_drop(process);
}

void process_crash(struct world *world, struct process *process)
{
    world->excused_at[process->incarnation] = UINT64_MAX;
    process_end(world, process, "crashes");
}

void process_drain(const struct world *world, struct process *process, unsigned logs)
{
    int64_t until = process_now(world, process) + world->options.drain_ms;
    for (int log = 0; log < LOGS_MOST; log++)
        if (logs & 1u << log && process->drain_until[log] > until) {
            process->drain_until[log] = until;
            process->recalls &= ~(1u << log);
        }
}

static void trace_transaction(struct world *world, const struct process *process,
                              const struct engine_action *action)
{
    say(world, "%s begins a transaction of %zu items", names[process->id], action->item_count);
    for (size_t i = 0; world->plan.trace && i < action->ledger_count; i++)
        say(world, "    %d: base %d %s", action->ledgers[i].partition,
            (int)action->ledgers[i].offset, action->ledgers[i].metadata);
    for (size_t i = 0; world->plan.trace && i < action->item_count; i++)
        say(world, "    %d/%d %s", action->items[i].request->place.partition,
            (int)action->items[i].request->place.offset,
            status_name(action->items[i].request->outcome.status));
}

static void transact(struct world *world, struct process *process,
                     const struct engine_action *action)
{
    if (process->transact != PHASE_IDLE || process->renewing)
        broken(world, "%s wants two transactions at once", names[process->id]);
    trace_transaction(world, process, action);
    process->transaction = *action;
    bool offsets_first = action->ledger_count && (!action->item_count || draw(world, 2));
    process->transact = offsets_first ? PHASE_OFFSETS : PHASE_PRODUCE;
    process->member = process->client.member;
    process->generation = process->client.generation;
}

static void do_ledger_job(struct world *world, struct process *process,
                          const struct engine_action *action)
{
    if (process->working)
        broken(world, "%s wants two ledger jobs at once", names[process->id]);
    process->work = *action;
    for (size_t i = 0; action->type == ENGINE_COMMIT && i < action->ledger_count; i++)
        check_plain_commit(world, process, &action->ledgers[i]);
    process->working = WORK_TO_DO;
}

/* It believes that another process has its name. */
static void fail(struct world *world, struct process *process)
{
    bool twice = process->ended_before && process->ended - process->ended_before < 60000;
    world->counts.accused += twice && !process->has_twin;
    if (process->has_twin || twice)
        process_crash(world, process);
    else
        broken(world, "%s believes to have a twin", names[process->id]);
}

/* Obeys one action; false: there was none. */
static bool obey(struct world *world, struct process *process)
{
    struct engine_action action;
    switch (engine_next(process->engine, process_now(world, process), process_wall(world, process),
                        &action)) {
    case ENGINE_NOTHING:
        return false;
    case ENGINE_TRANSACT:
        transact(world, process, &action);
        return true;
    case ENGINE_RENEW_PRODUCER:
        if (process->transact != PHASE_IDLE || process->renewing)
            broken(world, "%s renews in the middle", names[process->id]);
        process->renewing = true;
        return true;
    case ENGINE_READ:
    case ENGINE_END_OWNER:
    case ENGINE_COMMIT:
        do_ledger_job(world, process, &action);
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
        fail(world, process);
        return false;
    }
    return false;
}

void process_heartbeat(struct world *world, struct process *process)
{
    struct member *member = group_find(world, process->client.member);
    if (member && world->now - member->heard_at >= world->session_ms / 3)
        member->heard_at = world->now;
}

static void step_client(struct world *world, struct process *process)
{
    if (world->now >= world->coordinator_back_at)
        client_step(world, process);
}

/* The Kafka thread hears of one thing, of those that there may be news of. */
static void happen(struct world *world, struct process *process)
{
    void (*news[5])(struct world *, struct process *);
    size_t count = 0;
    if (process->caller.out.count)
        news[count++] = caller_take;
    if (world->now >= process->cut_off_until) {
        news[count++] = step_client;
        if (process->client.fetching)
            news[count++] = client_fetch;
        if (process->transact != PHASE_IDLE || process->renewing)
            news[count++] = commit_transact_step;
        if (process->working != WORK_NONE)
            news[count++] = commit_work_step;
    }
    if (count)
        news[draw(world, count)](world, process);
    if (!process->initialising)
        process->joins = true;
}

/* The engine's wake time is not to be missed, except by a base that has moved alone and waits for
 * company. */
static void check_sleep(struct world *world, struct process *process)
{
    if (!process->asleep || process_now(world, process) >= process->wake_at - 100)
        return;
    if (obey(world, process))
        broken(world, "%s has something to do before its time", process_name(process->id));
}

/* Up to `most` actions. */
static void pump(struct world *world, struct process *process, size_t most)
{
    process->asleep = false;
    while (most-- && !world->failed) {
        if (strikes(world, FAULT_crash_between)) {
            process_crash(world, process);
            return;
        }
        if (obey(world, process))
            continue;
        process->asleep = process->engine != NULL;
        if (process->asleep)
            process->wake_at = engine_wake_time(process->engine);
        return;
    }
}

void process_step(struct world *world, struct process *process)
{
    check_sleep(world, process);
    if (world->now >= process->cut_off_until && world->now >= process->deaf_until)
        process_heartbeat(world, process);
    if (draw(world, 2))
        caller_step(world, process);
    if (world->failed || draw(world, 4) == 0)
        return;
    happen(world, process);
    if (world->failed)
        return;
    if (process->fenced) {
        process_crash(world, process); /* librdkafka says so, and the worker ends */
        return;
    }
    pump(world, process, world->calm || draw(world, 8) ? 1000 : draw(world, 3));
    if (process->engine)
        check_process(world, process);
    if (process->engine && process->client.state == CLIENT_GONE && process->transact == PHASE_IDLE)
        process_end(world, process, "has stopped");
}
