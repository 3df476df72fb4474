#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "simulation.h"

/* The brokers: logs of requests, committed offsets, transactions. Committed data is never lost.
 * Data that a failing leader had not replicated was never acknowledged. */

static void add_log(struct world *world)
{
    struct log *log = &world->logs[world->log_count];
    log->kind = world->serves[REQUEST_CALL] ? REQUEST_CALL : REQUEST_RECORDING;
    if (log->kind == REQUEST_CALL && world->serves[REQUEST_RECORDING] && world->log_count)
        log->kind = draw(world, 3) ? REQUEST_CALL : REQUEST_RECORDING;
    log->start = log->end = draw(world, 4) ? 0 : (int64_t)draw(world, 5);
    log->committed = -1;
    for (int key = 0; key < KEYS_MAX; key++)
        log->last_result[key] = -1;
    world->logs_of[log->kind] |= 1u << world->log_count++;
}

void broker_init(struct world *world)
{
    for (int logs = 1 + (int)draw(world, LOGS_MAX - 2); logs; logs--)
        add_log(world);
    bool eager = draw(world, 3) == 0, statics = draw(world, 4) == 0;
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        world->groups[kind] =
            (struct group){.kind = (enum request_kind)kind, .eager = eager, .statics = statics};
}

static void transaction_clear(struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->offset_count; i++)
        free(transaction->offsets[i].metadata);
    transaction->item_count = transaction->offset_count = 0;
    transaction->state = TRANSACTION_NONE;
    transaction->on_its_way = false;
}

void broker_drop_flight(struct flight *flight)
{
    for (size_t i = 0; i < flight->count; i++)
        free(flight->commits[i].metadata);
    flight->count = 0;
}

void broker_fini(struct world *world)
{
    for (int i = 0; i < TRANSACTIONS; i++)
        transaction_clear(&world->transactions[i]);
    for (int i = 0; i < REQUEST_KINDS * PROCESSES_MAX; i++)
        broker_drop_flight(&world->flights[i]);
    for (int i = 0; i < world->log_count; i++)
        free(world->logs[i].metadata);
}

/* Records. */

struct task *broker_task(struct world *world, int log, int64_t offset)
{
    int task = world->logs[log].task_at[offset];
    return task ? &world->tasks[task - 1] : NULL;
}

static void add_gap(struct world *world, struct log *log)
{
    int64_t length = draw(world, 8) ? 1 : (int64_t)draw(world, 300);
    if (log->end + length < LOG_MAX - EVENTS_MAX)
        log->end += length;
}

void broker_append(struct world *world)
{
    int index = (int)draw(world, (uint64_t)world->log_count);
    struct log *log = &world->logs[index];
    if (world->task_count >= world->plan.events)
        return;
    struct task *task = &world->tasks[world->task_count++];
    *task = (struct task){.kind = log->kind,
                          .log = index,
                          .offset = log->end,
                          .created_at = world->wall,
                          .expires_at = INT64_MAX};
    task->key = fault_occurs(world, FAULT_keyless) ? -1 : (int)draw(world, (uint64_t)world->keys);
    task->invalid = task->key < 0 || draw(world, 20) == 0;
    task->big = draw(world, 10) == 0;
    if (draw(world, 15) == 0)
        task->expires_at = world->wall + (int64_t)draw(world, 3000);
    say(world, "record %d/%d key %d%s", index, (int)task->offset, task->key,
        task->invalid ? " invalid" : "");
    log->task_at[log->end++] = (int16_t)world->task_count;
    log->tasks[log->task_count++] = (int16_t)(world->task_count - 1);
    world->open_tasks++;
    while (fault_occurs(world, FAULT_gap))
        add_gap(world, log);
}

static void delete_record(struct world *world, struct log *log, int64_t offset)
{
    struct task *task = broker_task(world, (int)(log - world->logs), offset);
    if (!task || task->deleted)
        return;
    world->open_tasks -= !check_is_over(task);
    task->deleted = true;
}

static void retain(struct world *world, struct log *log)
{
    int64_t start = log->start + (int64_t)draw(world, (uint64_t)(log->end - log->start) + 1);
    for (int64_t offset = log->start; offset < start; offset++)
        delete_record(world, log, offset);
    say(world, "log %d now begins at %d", (int)(log - world->logs), (int)start);
    log->start = start;
}

/* Keeps the newest record of each key. */
static void compact(struct world *world, struct log *log)
{
    bool seen[KEYS_MAX] = {false};
    int64_t from = log->end - (int64_t)draw(world, (uint64_t)(log->end - log->start) + 1);
    for (int64_t offset = log->end - 1; offset >= log->start; offset--) {
        const struct task *task = broker_task(world, (int)(log - world->logs), offset);
        if (!task || task->deleted || task->key < 0)
            continue;
        if (offset < from && seen[task->key])
            delete_record(world, log, offset);
        seen[task->key] = true;
    }
    say(world, "log %d is compacted up to %d", (int)(log - world->logs), (int)from);
}

static const char *name_of(const struct world *world, const struct transaction *transaction)
{
    size_t at = (size_t)(transaction - world->transactions);
    return job_name_of((enum request_kind)(at / IDS), (int)(at % IDS));
}

/* The coordinator forgets an id that has been idle for long. */
static void forget_id(struct world *world)
{
    struct transaction *transaction = &world->transactions[draw(world, TRANSACTIONS)];
    if (transaction->state != TRANSACTION_NONE)
        return;
    transaction->forgotten = true;
    transaction->told = draw(world, 2) == 0;
    say(world, "the id %s has expired", name_of(world, transaction));
}

void broker_inject_faults(struct world *world)
{
    struct log *log = &world->logs[draw(world, (uint64_t)world->log_count)];
    if (fault_occurs(world, FAULT_forget_id))
        forget_id(world);
    if (fault_occurs(world, FAULT_retain))
        retain(world, log);
    if (fault_occurs(world, FAULT_compact))
        compact(world, log);
    if (fault_occurs(world, FAULT_leader))
        log->away_until = world->now + (int64_t)draw(world, 5000);
    coordinator_inject_faults(world);
    if (world->log_count < LOGS_MAX && fault_occurs(world, FAULT_grow)) {
        add_log(world);
        group_rebalance(world, &world->groups[world->logs[world->log_count - 1].kind]);
    }
}

/* Offsets. */

bool broker_is_unstable(const struct world *world, int log)
{
    for (int id = 0; id < IDS; id++) {
        const struct transaction *transaction =
            &world->transactions[world->logs[log].kind * IDS + id];
        for (size_t i = 0; transaction->state != TRANSACTION_NONE && i < transaction->offset_count;
             i++)
            if (transaction->offsets[i].log == log)
                return true;
    }
    return false;
}

static void set_offset(struct world *world, const struct offset_commit *commit, int incarnation)
{
    struct log *log = &world->logs[commit->log];
    uint64_t size = strlen(commit->metadata);
    if (commit->offset < log->committed)
        broken(world, "the committed offset of %d went back from %d to %d", commit->log,
               (int)log->committed, (int)commit->offset);
    if ((int64_t)size > world->options.ledger_max)
        broken(world, "a ledger of %d has %d characters", commit->log, (int)size);
    if (size > world->counts.ledger_max)
        world->counts.ledger_max = size;
    if (log->writer != incarnation)
        log->writer_since = world->step;
    log->writer = incarnation;
    log->committed = commit->offset;
    log->written_at = world->step;
    log->moved_at = world->now;
    free(log->metadata);
    log->metadata = memory_copy(commit->metadata, size);
}

bool broker_land(struct world *world, struct flight *flight)
{
    bool taken = group_is_member(&world->groups[flight->kind], flight->member, flight->generation);
    if (!taken)
        say(world, "the plain commit of %s is refused", job_name_of(flight->kind, flight->id));
    for (size_t i = 0; taken && i < flight->count; i++) {
        const struct offset_commit *commit = &flight->commits[i];
        say(world, "%s commits %d: base %d %s", job_name_of(flight->kind, flight->id), commit->log,
            (int)commit->offset, commit->metadata);
        check_replaced(world, flight->id, commit->log);
        set_offset(world, commit, flight->incarnation);
        check_ledger(world, commit->log, NULL);
        world->counts.claims++;
    }
    broker_drop_flight(flight);
    return taken;
}

static void forget_offsets(struct world *world, int index)
{
    struct log *log = &world->logs[index];
    log->committed = -1;
    log->settled = 0;
    free(log->metadata);
    log->metadata = NULL;
    for (int key = 0; key < KEYS_MAX; key++)
        log->last_result[key] = -1;
    for (int i = 0; i < log->task_count; i++) {
        struct task *task = &world->tasks[log->tasks[i]];
        world->open_tasks += check_is_over(task) && !task->deleted;
        task->forgotten = true;
        task->results = task->gone = task->dead = task->late = 0;
        task->starter = task->doubted_by = task->owed_by = task->answered_by = 0;
        task->running_until = 0;
        task->told = END_NONE;
    }
}

void broker_expire(struct world *world)
{
    for (int kind = 0; kind < REQUEST_KINDS; kind++) {
        world->groups[kind].member_count = 0;
        world->groups[kind].rebalancing = false;
    }
    for (int i = 0; i < TRANSACTIONS; i++) {
        broker_drop(world, &world->transactions[i]);
        world->transactions[i].epoch++;
    }
    for (int i = 0; i < REQUEST_KINDS * PROCESSES_MAX; i++)
        broker_drop_flight(&world->flights[i]);
    for (int log = 0; log < world->log_count; log++)
        forget_offsets(world, log);
}

/* Transactions. */

void broker_drop(struct world *world, struct transaction *transaction)
{
    if (transaction->state != TRANSACTION_NONE)
        say(world, "transaction of %s dropped", name_of(world, transaction));
    transaction_clear(transaction);
}

/* Whether the markers of the transaction's offsets cannot be written yet. */
bool broker_marks_wait(const struct world *world, const struct transaction *transaction)
{
    enum request_kind kind = (enum request_kind)((transaction - world->transactions) / IDS);
    return transaction->state == TRANSACTION_COMMITTED && transaction->offset_count &&
           coordinator_is_away(world, COORDINATOR_GROUP, kind);
}

void broker_apply(struct world *world, struct transaction *transaction)
{
    say(world, "transaction of %s lands: %zu items", name_of(world, transaction),
        transaction->item_count);
    world->counts.transactions++;
    for (size_t i = 0; i < transaction->offset_count; i++)
        set_offset(world, &transaction->offsets[i], transaction->incarnation);
    for (size_t i = 0; i < transaction->item_count; i++)
        check_published(world, &transaction->items[i]);
    for (size_t i = 0; i < transaction->offset_count; i++)
        check_ledger(world, transaction->offsets[i].log, transaction);
    check_started(world);
    transaction->item_count = 0;
    transaction->state = TRANSACTION_COMMITTED;
    if (draw(world, 2) && !broker_marks_wait(world, transaction))
        transaction_clear(transaction);
}

static void end_open(struct world *world, struct transaction *transaction)
{
    if (transaction->state == TRANSACTION_COMMITTED)
        transaction_clear(transaction);
    else
        broker_drop(world, transaction);
}

int broker_init_id(struct world *world, enum request_kind kind, int id)
{
    struct transaction *transaction = &world->transactions[kind * IDS + id];
    end_open(world, transaction);
    transaction->ended_at = world->step;
    transaction->forgotten = transaction->told = false;
    return ++transaction->epoch;
}

void broker_step(struct world *world)
{
    enum request_kind kind =
        draw(world, 2) && world->serves[REQUEST_RECORDING] ? REQUEST_RECORDING : REQUEST_CALL;
    struct transaction *transaction = &world->transactions[(uint64_t)kind * IDS + draw(world, IDS)];
    struct flight *flight =
        &world->flights[(uint64_t)kind * PROCESSES_MAX + draw(world, PROCESSES_MAX)];
    bool group_away = coordinator_is_away(world, COORDINATOR_GROUP, kind);
    if (flight->count && !group_away && draw(world, 4) == 0)
        broker_land(world, flight);
    if (coordinator_is_away(world, COORDINATOR_TRANSACTIONS, kind))
        return;
    if (transaction->state == TRANSACTION_COMMITTED) {
        if (!broker_marks_wait(world, transaction))
            transaction_clear(transaction);
    } else if (transaction->state == TRANSACTION_OPEN && transaction->on_its_way &&
               draw(world, 2)) {
        broker_apply(world, transaction);
    } else if (transaction->state == TRANSACTION_OPEN &&
               world->now - transaction->opened_at > world->transaction_ms) {
        say(world, "transaction of %s times out", name_of(world, transaction));
        broker_drop(world, transaction);
        transaction->epoch++;
    }
}
