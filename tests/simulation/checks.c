#include <stdio.h>
#include <string.h>

#include "simulation.h"

int task_of(const struct world *world, const struct request *request)
{
    return world->logs[request->place.partition].task_at[request->place.offset];
}

static bool is_over(const struct task *task)
{
    return task->results || task->gone || task->dead;
}

/* A record that a transaction has brought into the results or the dead letters. */
void check_published(struct world *world, const struct published *item)
{
    struct task *task = &world->tasks[item->task];
    struct log *log = &world->logs[task->log];
    say(world, "    %d/%d %s%s", task->log, (int)task->offset, status_name(item->status),
        item->type == ITEM_LATE   ? " (late)"
        : item->type == ITEM_GONE ? " (gone)"
                                  : "");
    switch (item->type) {
    case ITEM_RESULT:
        task->results++;
        task->result = item->status;
        world->counts.results++;
        if (task->offset <= log->last_result[task->key])
            broken(world, "results of key %d in %d are out of order", task->key, task->log);
        log->last_result[task->key] = task->offset;
        break;
    case ITEM_INVALID:
        task->dead += task->key < 0;
        break;
    case ITEM_LATE:
        task->late++;
        /* A commit of unknown end that cannot be read back is made again: better twice than never.
         */
        if (!world->counts.unclear && !world->counts.fenced &&
            (task->late > 1 || (task->results && task->result != STATUS_UNKNOWN)))
            broken(world, "%d/%d has a late outcome besides its result", task->log,
                   (int)task->offset);
        world->counts.late++;
        break;
    case ITEM_GONE:
        task->gone++;
        world->counts.gone++;
        break;
    }
    if (task->results + task->gone + task->dead > 1)
        broken(world, "%d/%d has two results", task->log, (int)task->offset);
    if (item->type == ITEM_GONE && !task->deleted)
        broken(world, "%d/%d is called gone and is not", task->log, (int)task->offset);
    if (item->type == ITEM_RESULT && item->status == STATUS_UNKNOWN) {
        world->counts.unknown++;
        if (!task->doubted_by && !world->excused[task->starter])
            broken(world, "%d/%d is unknown for no good reason", task->log, (int)task->offset);
    }
    if (item->type == ITEM_RESULT && item->status == STATUS_SUCCEEDED && !task->dials &&
        task->kind == REQUEST_CALL)
        broken(world, "%d/%d succeeded without a call", task->log, (int)task->offset);
}

static bool decode(struct world *world, int index, struct ledger *ledger)
{
    const struct log *log = &world->logs[index];
    struct error error;
    const char *metadata = log->metadata ? log->metadata : "";
    if (strlen(metadata) > LEDGER_MAX ||
        ledger_decode(ledger, log->committed < 0 ? 0 : log->committed, metadata, strlen(metadata),
                      &error)) {
        broken(world, "the ledger of %d cannot be read: %s", index, metadata);
        return false;
    }
    return true;
}

/* No process has more calls started than twice its slots. */
void check_started(struct world *world)
{
    int started[INCARNATIONS_MOST] = {0};
    for (int i = 0; i < world->task_count; i++)
        if (!world->tasks[i].inherited)
            started[world->tasks[i].starter]++;
    for (int i = 1; i <= world->incarnations; i++)
        if (started[i] > 2 * world->options.calls)
            broken(world, "incarnation %d has %d calls started", i, started[i]);
}

static bool holds(const struct world *world, int incarnation, int log)
{
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].engine && world->processes[i].incarnation == incarnation)
            return world->processes[i].client.owned & 1u << log;
    return false;
}

/* After a commit: results and their 'done' are one fact. Notes who has started what; incarnation:
 * 0 for a plain commit, which starts nothing. */
void check_ledger(struct world *world, int index, int incarnation)
{
    struct ledger ledger = {0};
    if (!decode(world, index, &ledger))
        return;
    for (int i = 0; i < world->task_count; i++) {
        struct task *task = &world->tasks[i];
        if (task->log != index)
            continue;
        enum ledger_mark mark = ledger_at(&ledger, task->offset);
        if (mark == LEDGER_DONE && !is_over(task) && !task->deleted)
            broken(world, "%d/%d is done in the ledger and has no result", index,
                   (int)task->offset);
        if (mark != LEDGER_DONE && is_over(task))
            broken(world, "%d/%d has a result and is not done in the ledger", index,
                   (int)task->offset);
        if (mark != LEDGER_STARTED)
            task->starter = task->inherited = 0;
        else if (!task->starter && !(task->starter = incarnation))
            broken(world, "%d/%d is started by a plain commit", index, (int)task->offset);
        task->inherited |=
            mark == LEDGER_STARTED && (!ledger.owner[0] || !holds(world, task->starter, index));
    }
    ledger_fini(&ledger);
}

static void check_lane(struct world *world, const struct task *task)
{
    for (int i = 0; i < world->task_count; i++) {
        const struct task *other = &world->tasks[i];
        if (other->log != task->log || other->key != task->key || other == task)
            continue;
        if (other->offset > task->offset && other->dials)
            broken(world, "%d/%d is called after %d, which came later", task->log,
                   (int)task->offset, (int)other->offset);
        if (other->offset < task->offset && other->running_until > world->now)
            broken(world, "%d/%d is called while %d may be running", task->log, (int)task->offset,
                   (int)other->offset);
    }
}

/* A transaction is about to hold offsets: whoever takes over must find its owner in the ledger. */
void check_named(struct world *world, const struct process *process, int index)
{
    struct ledger ledger = {0};
    if (!decode(world, index, &ledger))
        return;
    if (strcmp(ledger.owner, process_name(process->id)) != 0)
        broken(world, "%s has offsets of %d in a transaction, and the ledger names '%s'",
               process_name(process->id), index, ledger.owner);
    ledger_fini(&ledger);
}

/* A plain commit is about to replace a ledger: what its owner had open must have been ended since
 * the owner wrote it. */
void check_replaced(struct world *world, const struct process *process, int index)
{
    struct ledger ledger = {0};
    if (!decode(world, index, &ledger))
        return;
    if (ledger.owner[0] && strcmp(ledger.owner, process_name(process->id)) != 0 &&
        world->transactions[process_id(ledger.owner)].ended_at < world->logs[index].written_at)
        broken(world, "%s takes %d over from %s and has not ended it", process_name(process->id),
               index, ledger.owner);
    ledger_fini(&ledger);
}

/* A request is handed out. */
void check_start(struct world *world, const struct process *process, const struct request *request)
{
    struct engine_partition_view view;
    for (size_t i = 0; engine_look_partition(process->engine, i, &view); i++)
        if (view.partition == request->place.partition && !view.active)
            broken(world, "%s hands out %d/%d in a drain", process_name(process->id),
                   view.partition, (int)request->place.offset);
}

/* A call is about to be made. */
void check_dial(struct world *world, struct process *process, struct task *task)
{
    struct ledger ledger = {0};
    if (task->kind != REQUEST_CALL || !decode(world, task->log, &ledger))
        return;
    const char *name = process_name(process->id);
    enum ledger_mark mark = ledger_at(&ledger, task->offset);
    bool mine = !strcmp(ledger.owner, name);
    ledger_fini(&ledger);
    if (task->dials)
        broken(world, "%s calls %d/%d a second time", name, task->log, (int)task->offset);
    if (is_over(task))
        broken(world, "%s calls %d/%d, which has its result", name, task->log, (int)task->offset);
    if (mark != LEDGER_STARTED || !mine)
        broken(world, "%s calls %d/%d, which is not started in its name", name, task->log,
               (int)task->offset);
    if (task->invalid)
        broken(world, "%s calls %d/%d, which is invalid", name, task->log, (int)task->offset);
    check_lane(world, task);
}

/* Bounded memory. */
void check_process(struct world *world, struct process *process)
{
    struct engine_partition_view view;
    struct engine_view all;
    if (!process->engine || draw(world, 4))
        return;
    engine_look(process->engine, &all);
    for (size_t i = 0; engine_look_partition(process->engine, i, &view); i++) {
        if ((int64_t)view.unfinished > world->options.window && !world->faults.retention)
            broken(world, "%s holds %zu of partition %d", process_name(process->id),
                   view.unfinished, view.partition);
        if (view.ledger_size > LEDGER_MAX)
            broken(world, "%s has a ledger of %zu", process_name(process->id), view.ledger_size);
        if (view.standing_still)
            broken(world, "%s cannot read partition %d", process_name(process->id), view.partition);
    }
    if ((int64_t)all.handed > 2 * world->options.calls + world->options.recordings)
        broken(world, "%s has handed out %zu", process_name(process->id), all.handed);
}

/* The end of all: every request has its one result, and the committed offset is the log's end. */
bool check_all_done(struct world *world, bool say_why)
{
    if (world->task_count < world->task_goal)
        return false;
    for (int i = 0; i < world->task_count; i++) {
        const struct task *task = &world->tasks[i];
        if (is_over(task) || task->deleted)
            continue;
        if (say_why)
            broken(world, "%d/%d never gets a result", task->log, (int)task->offset);
        return false;
    }
    for (int i = 0; i < world->log_count; i++) {
        const struct log *log = &world->logs[i];
        if (log->committed == log->end || (log->committed <= 0 && log->end == 0))
            continue;
        if (say_why)
            broken(world, "%d is committed up to %d and ends at %d", i, (int)log->committed,
                   (int)log->end);
        return false;
    }
    for (int id = 0; id < IDS; id++) {
        if (world->transactions[id].state == TRANSACTION_NONE)
            continue;
        if (say_why)
            broken(world, "a transaction of %s stays open", process_name(id));
        return false;
    }
    return true;
}
