#include <stdio.h>

#include "base/memory.h"
#include "simulation.h"

/* The consumer: rebalances, as librdkafka tells them (each is asked for and waits for its answer),
 * and records. */

static size_t places_of(const struct world *world, unsigned logs, struct engine_place *places)
{
    size_t count = 0;
    for (int log = 0; log < world->log_count; log++)
        if (logs & 1u << log)
            places[count++] = (struct engine_place){log, -1};
    return count;
}

static void ask_assign(struct world *world, struct process *process, unsigned logs)
{
    struct client *client = &process->client;
    struct engine_place places[LOGS_MOST];
    size_t count = places_of(world, logs, places);
    client->asked = ASKED_ASSIGN;
    client->asked_logs = logs;
    say(world, "%s is given %x", process_name(process->id), logs);
    engine_assigned(process->engine, ++client->rebalance, places, count,
                    process_now(world, process));
}

static void ask_unassign(struct world *world, struct process *process, unsigned logs, bool lost)
{
    struct client *client = &process->client;
    struct engine_place places[LOGS_MOST];
    size_t count = places_of(world, logs, places);
    client->asked = ASKED_UNASSIGN;
    client->asked_since = world->now;
    client->asked_logs = logs;
    client->lost = lost;
    say(world, "%s %s %x", process_name(process->id), lost ? "has lost" : "is asked to give back",
        logs);
    for (int i = 0; lost && i < world->task_count; i++)
        world->tasks[i].inherited |= world->tasks[i].starter == process->incarnation;
    if (!lost)
        process_drain(world, process, logs);
    engine_revoked(process->engine, ++client->rebalance, lost, places, count,
                   process_now(world, process));
}

static void be_out(struct client *client)
{
    client->state = CLIENT_OUT;
    client->member = 0;
    client->generation = -1;
    client->owned = client->fetching = client->then_assign = 0;
    client->lost = client->rejoin = false;
}

static void be_kicked(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    unsigned held = client->owned;
    refusal_excuse(process);
    world->excused_at[process->incarnation] = world->step;
    process->fenced = world->group.statics && group_is_taken(world, process->id);
    if (client->lost)
        return;
    if (client->asked && !strikes(world, FAULT_lost_anyhow))
        return; /* told when the callback has been answered */
    if (client->asked)
        held |= client->asked_logs;
    client->then_assign = 0;
    if (held)
        ask_unassign(world, process, held, true);
    else
        be_out(client);
}

static void synced(struct world *world, struct process *process, struct member *member)
{
    struct client *client = &process->client;
    unsigned given = member->given, back = client->owned & ~given;
    member->synced = false;
    client->state = CLIENT_STABLE;
    client->generation = world->group.generation;
    if (back) {
        client->then_assign = given & ~client->owned;
        client->rejoin = true;
        ask_unassign(world, process, back, false);
    } else {
        ask_assign(world, process, given & ~client->owned);
    }
}

static void join(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    int instance = world->group.statics ? process->id : -1;
    client->rejoin = false;
    client->member = group_join(world, client->member, instance, client->owned);
    client->state = CLIENT_JOINING;
}

static void rejoin(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    if (world->group.eager && client->owned) {
        client->rejoin = true;
        ask_unassign(world, process, client->owned, false);
        return;
    }
    join(world, process);
}

static void leave(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    if (client->owned) {
        ask_unassign(world, process, client->owned, false);
        return;
    }
    if (!world->group.statics)
        group_leave(world, client->member);
    client->state = CLIENT_GONE;
}

/* What a stable member is told, or does, when nothing is asked of it. */
static void go_on(struct world *world, struct process *process, const struct member *member)
{
    struct client *client = &process->client;
    if (client->then_assign) {
        unsigned logs = client->then_assign;
        client->then_assign = 0;
        ask_assign(world, process, logs);
    } else if (client->leaving) {
        leave(world, process);
    } else if (client->rejoin || (world->group.rebalancing && !member->joined)) {
        rejoin(world, process);
    }
}

static void step_joining(struct world *world, struct process *process, struct member *member)
{
    bool overtaken = member->synced && world->group.rebalancing;
    if (overtaken ? strikes(world, FAULT_lost_sync) : !member->synced && !member->joined)
        join(world, process);
    else if (member->synced)
        synced(world, process, member);
}

void client_step(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    struct member *member = group_find(world, client->member);
    if (client->state == CLIENT_OUT) {
        if (client->leaving)
            client->state = CLIENT_GONE;
        else if (process->joins)
            rejoin(world, process);
        return;
    }
    if (client->state == CLIENT_GONE)
        return;
    if (!member) {
        be_kicked(world, process);
        return;
    }
    if (client->state == CLIENT_JOINING)
        step_joining(world, process, member);
    if (client->state != CLIENT_STABLE)
        return;
    if (!client->asked)
        go_on(world, process, member);
    else if (client->asked == ASKED_UNASSIGN && !client->lost &&
             strikes(world, FAULT_again_revoked))
        ask_unassign(world, process, client->owned, false);
}

void client_assign(struct world *world, struct process *process, const struct engine_action *action)
{
    struct client *client = &process->client;
    unsigned logs = 0;
    say(world, "%s answers assign %d", process_name(process->id), (int)action->rebalance);
    if (action->rebalance != client->rebalance || client->asked != ASKED_ASSIGN)
        return;
    for (size_t i = 0; i < action->place_count; i++) {
        int log = action->places[i].partition;
        int64_t from = action->places[i].offset;
        logs |= 1u << log;
        client->position[log] = from < world->logs[log].start ? world->logs[log].start : from;
        client->end_told[log] = -1;
        process->refusal.log_at[log] = 0;
        process->drain_until[log] = process->stopping ? 0 : INT64_MAX / 2; /* 0: never claimed */
    }
    if (logs != client->asked_logs)
        broken(world, "%s was given %x and answers %x", process_name(process->id),
               client->asked_logs, logs);
    client->owned |= logs;
    client->fetching |= logs;
    client->asked = ASKED_NOTHING;
}

void client_unassign(struct world *world, struct process *process,
                     const struct engine_action *action)
{
    struct client *client = &process->client;
    say(world, "%s answers unassign %d", process_name(process->id), (int)action->rebalance);
    if (action->rebalance != client->rebalance || client->asked != ASKED_UNASSIGN)
        return;
    check_given_back(world, process, client->asked_logs);
    client->owned &= ~client->asked_logs;
    client->fetching &= ~client->asked_logs;
    client->asked = ASKED_NOTHING;
    if (client->lost)
        be_out(client);
}

static void deliver(struct world *world, struct process *process, const struct task *task)
{
    struct raw_record raw = {.key = "k",
                             .key_size = 1,
                             .value = "{}",
                             .value_size = 2,
                             .timestamp_ms = task->created_at};
    char key[16];
    if (!engine_is_news(process->engine, task->log, task->offset))
        return;
    struct request *request =
        request_new((struct place){task->kind, task->log, task->offset}, &raw);
    if (task->key >= 0) {
        snprintf(key, sizeof key, "o-%d", task->key);
        request->event.order_id = request->event.strings = memory_string(key);
    }
    if (task->invalid) {
        request->event.invalid_code = "invalid";
        request->event.invalid_message = memory_string("invalid");
    }
    request->event.expires_at_ms = task->expires_at;
    engine_record(process->engine, request, process_now(world, process),
                  process_wall(world, process));
}

void client_fetch(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    int index = (int)draw(world, (uint64_t)world->log_count);
    struct log *log = &world->logs[index];
    if (!(client->fetching & 1u << index) || world->now < log->away_until)
        return;
    int64_t *position = &client->position[index];
    if (*position < log->start)
        *position = log->start;
    if (strikes(world, FAULT_duplicate) && *position > log->start)
        --*position;
    size_t most = engine_wants(process->engine, index);
    if (most > 1 && draw(world, 2))
        most = 1 + draw(world, most);
    for (; most && *position < log->end; ++*position) {
        const struct task *task = broker_task(world, index, *position);
        if (!task || task->deleted)
            continue;
        deliver(world, process, task);
        most--;
    }
    if (*position == log->end && client->end_told[index] != log->end && draw(world, 2)) {
        client->end_told[index] = log->end;
        engine_end(process->engine, index, log->end, process_now(world, process),
                   process_wall(world, process));
    }
}
