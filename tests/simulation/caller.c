#include <stdlib.h>

#include "simulation.h"

/* The calling side: takes what is lent, sends it within its lease, and gives everything back once.
 */

void caller_lend(struct world *world, struct process *process, struct request *request)
{
    if (process->lent_count == LENT_MOST) {
        broken(world, "%s is handed too much", process_name(process->id));
        return;
    }
    say(world, "%s is handed %d/%d", process_name(process->id), request->place.partition,
        (int)request->place.offset);
    process->lent[process->lent_count++] = (struct lent){.request = request};
}

void caller_recall(struct world *world, struct process *process, const struct engine_action *action)
{
    say(world, "%s recalls", process_name(process->id));
    process->stop_all_sends |= action->kind == REQUEST_KINDS;
    for (size_t i = 0; i < process->lent_count; i++) {
        const struct place *place = &process->lent[i].request->place;
        if (action->kind == REQUEST_KINDS ||
            (place->kind == action->kind && place->partition == action->partition))
            process->lent[i].recalled = true;
    }
}

static void give_back(struct world *world, struct process *process, size_t at, enum call_end end)
{
    struct request *request = process->lent[at].request;
    process->lent[at] = process->lent[--process->lent_count];
    request->call.end = end;
    say(world, "%s gives %d/%d back: %s", process_name(process->id), request->place.partition,
        (int)request->place.offset,
        end == CALL_FINISHED   ? status_name(request->outcome.status)
        : end == CALL_NOT_SENT ? "not sent"
                               : "returned");
    engine_call_ended(process->engine, request, world->now);
}

static void begin_try(struct world *world, struct request *request)
{
    if (!request->call.attempts++) {
        request->call.first_started_at_ms = world->wall;
        request->call.first_started_boot_ms = world->now;
    }
    request->call.started_boot_ms = world->now;
}

static size_t sent_count(const struct process *process)
{
    size_t count = 0;
    for (size_t i = 0; i < process->lent_count; i++)
        count += process->lent[i].sent;
    return count;
}

static void send(struct world *world, struct process *process, size_t at)
{
    struct lent *lent = &process->lent[at];
    struct request *request = lent->request;
    struct task *task = &world->tasks[task_of(world, request)];
    if (lent->recalled || process->stop_all_sends || world->now >= request->call.lease_until_ms ||
        strikes(world, world->faults.unsent)) {
        give_back(world, process, at, CALL_RETURNED);
        return;
    }
    if ((int64_t)sent_count(process) >= world->options.calls)
        return;
    begin_try(world, request);
    if (strikes(world, world->faults.unsent)) {
        request->call.retry_at_ms = world->now + (int64_t)draw(world, 3000);
        give_back(world, process, at, CALL_NOT_SENT);
        return;
    }
    lent->sent = true;
    lent->plan = strikes(world, world->faults.doubt)    ? PLAN_DOUBT
                 : strikes(world, world->faults.unsent) ? PLAN_NOT_PERFORMED
                                                        : PLAN_ANSWER;
    say(world, "%s sends %d/%d", process_name(process->id), request->place.partition,
        (int)request->place.offset);
    check_dial(world, process, task);
    if (lent->plan != PLAN_NOT_PERFORMED) {
        task->dials++;
        task->running_until = world->now + world->options.doubt_ms;
        world->counts.dials++;
    }
}

static void end_call(struct world *world, struct process *process, size_t at)
{
    struct lent *lent = &process->lent[at];
    struct request *request = lent->request;
    struct task *task = &world->tasks[task_of(world, request)];
    bool late = world->now >= request->call.started_boot_ms + world->options.doubt_ms;
    if (lent->plan == PLAN_NOT_PERFORMED && !late) {
        request->call.retry_at_ms = world->now + (int64_t)draw(world, 3000);
        give_back(world, process, at, CALL_NOT_SENT);
    } else if (lent->plan == PLAN_DOUBT || late) {
        task->doubted_by = process->incarnation;
        outcome_set(&request->outcome, STATUS_UNKNOWN, "reset", "reset", world->wall);
        give_back(world, process, at, CALL_FINISHED);
    } else {
        task->running_until = 0;
        request->outcome.status = draw(world, 4) ? STATUS_SUCCEEDED : STATUS_REFUSED;
        request->outcome.answered = true;
        give_back(world, process, at, CALL_FINISHED);
    }
}

void caller_step(struct world *world, struct process *process)
{
    if (!process->lent_count)
        return;
    size_t at = draw(world, process->lent_count);
    if (!process->lent[at].sent)
        send(world, process, at);
    else if (world->calm || draw(world, 3) == 0 ||
             world->now >=
                 process->lent[at].request->call.started_boot_ms + world->options.doubt_ms)
        end_call(world, process, at);
}

void caller_drop_all(struct world *world, struct process *process)
{
    (void)world;
    for (size_t i = 0; i < process->lent_count; i++)
        request_free(process->lent[i].request);
    process->lent_count = 0;
}
