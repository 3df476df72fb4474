#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "simulation.h"

/* Rebalances, as librdkafka tells them: each is asked for and waits for its answer. */

static size_t places_of(const struct world *world, unsigned logs, struct engine_place *places)
{
    size_t count = 0;
    for (int log = 0; log < world->log_count; log++)
        if (logs & 1u << log)
            places[count++] = (struct engine_place){world->logs[log].kind, log, -1};
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
    engine_assigned(process->engine, ++client->rebalance, places, count, world->now);
}

static void ask_unassign(struct world *world, struct process *process, unsigned logs, bool lost)
{
    struct client *client = &process->client;
    struct engine_place places[LOGS_MOST];
    size_t count = places_of(world, logs, places);
    client->asked = ASKED_UNASSIGN;
    client->asked_logs = logs;
    client->lost = lost;
    say(world, "%s %s %x", process_name(process->id), lost ? "has lost" : "is asked to give back",
        logs);
    if (lost)
        world->excused[process->incarnation] = true;
    for (int i = 0; lost && i < world->task_count; i++)
        world->tasks[i].inherited |= world->tasks[i].starter == process->incarnation;
    engine_revoked(process->engine, ++client->rebalance, lost, places, count, world->now);
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
    if (client->lost)
        return;
    if (client->asked == ASKED_ASSIGN || (client->asked && !strikes(world, 300))) {
        if (client->asked == ASKED_UNASSIGN || !strikes(world, 100))
            return; /* told when the callback has been answered */
        held |= client->asked_logs;
    }
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

static void rejoin(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    if (world->group.eager && client->owned) {
        client->rejoin = true;
        ask_unassign(world, process, client->owned, false);
        return;
    }
    client->rejoin = false;
    client->member = group_join(world, client->member, client->owned);
    client->state = CLIENT_JOINING;
}

static void leave(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    if (client->owned) {
        ask_unassign(world, process, client->owned, false);
        return;
    }
    group_leave(world, client->member);
    client->state = CLIENT_GONE;
}

void client_step(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    struct member *member = client->member ? member_find(world, client->member) : NULL;
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
    if (client->state == CLIENT_JOINING && member->synced)
        synced(world, process, member);
    if (client->state != CLIENT_STABLE || client->asked)
        return;
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
    }
    if (logs != client->asked_logs)
        broken(world, "%s was given %x and answers %x", process_name(process->id),
               client->asked_logs, logs);
    client->owned |= logs;
    client->fetching |= logs;
    client->asked = ASKED_NOTHING;
}

static bool holds_any(const struct process *process, unsigned logs)
{
    for (size_t i = 0; i < process->lent_count; i++)
        if (logs & 1u << process->lent[i].request->place.partition)
            return true;
    return false;
}

void client_unassign(struct world *world, struct process *process,
                     const struct engine_action *action)
{
    struct client *client = &process->client;
    say(world, "%s answers unassign %d", process_name(process->id), (int)action->rebalance);
    if (action->rebalance != client->rebalance || client->asked != ASKED_UNASSIGN)
        return;
    if (holds_any(process, client->asked_logs))
        world->excused[process->incarnation] = true; /* they outlived the drain */
    client->owned &= ~client->asked_logs;
    client->fetching &= ~client->asked_logs;
    client->asked = ASKED_NOTHING;
    if (client->lost)
        be_out(client);
}

static void deliver(struct world *world, struct process *process, int log, int64_t offset)
{
    const struct task *task = &world->tasks[world->logs[log].task_at[offset]];
    struct raw_record raw = {
        .key = "k", .key_size = 1, .value = "{}", .value_size = 2, .timestamp_ms = world->wall};
    char key[16];
    if (!engine_is_news(process->engine, task->kind, log, offset))
        return;
    struct request *request = request_new((struct place){task->kind, log, offset}, &raw);
    if (task->key >= 0) {
        snprintf(key, sizeof key, "o-%d", task->key);
        request->event.order_id = request->event.strings = memory_string(key);
    }
    if (task->invalid) {
        request->event.invalid_code = "invalid";
        request->event.invalid_message = memory_string("invalid");
    }
    request->event.expires_at_ms = task->expires_at;
    engine_record(process->engine, request, world->now, world->wall);
}

void client_fetch(struct world *world, struct process *process)
{
    struct client *client = &process->client;
    int index = (int)draw(world, (uint64_t)world->log_count);
    struct log *log = &world->logs[index];
    if (!(client->fetching & 1u << index))
        return;
    int64_t *position = &client->position[index];
    if (*position < log->start)
        *position = log->start;
    if (strikes(world, world->faults.duplicate) && *position > log->start)
        --*position;
    size_t most = engine_wants(process->engine, log->kind, index);
    if (most > 1 && draw(world, 2))
        most = 1 + draw(world, most);
    for (; most && *position < log->end; ++*position) {
        if (log->task_at[*position] < 0)
            continue;
        deliver(world, process, index, *position);
        most--;
    }
    if (*position == log->end && client->end_told[index] != log->end && draw(world, 2)) {
        client->end_told[index] = log->end;
        engine_end(process->engine, log->kind, index, log->end, world->now, world->wall);
    }
}

/* The transaction on its way, step by step. */

static void tell(struct process *process, enum engine_outcome outcome)
{
    process->outcome = outcome;
    process->transact = JOB_TELL;
}

static void abort_transaction(struct world *world, struct process *process,
                              enum engine_outcome outcome)
{
    if (world->transactions[process->id].state == TRANSACTION_OPEN)
        broker_drop(world, &world->transactions[process->id]);
    tell(process, outcome);
}

static bool refuses(struct world *world, struct process *process)
{
    bool any = false;
    for (size_t i = 0; i < process->transaction.item_count; i++) {
        const struct engine_item *item = &process->transaction.items[i];
        process->refused[i] =
            world->faults.refuse && !item->small && world->tasks[task_of(world, item->request)].big;
        any |= process->refused[i];
    }
    return any;
}

/* False: it waits until the last one's markers are written. */
static bool begin(const struct world *world, const struct process *process,
                  struct transaction *transaction)
{
    if (transaction->state == TRANSACTION_OPEN)
        return true;
    if (transaction->state == TRANSACTION_COMMITTED)
        return false;
    transaction->state = TRANSACTION_OPEN;
    transaction->opened_at = world->now;
    transaction->incarnation = process->incarnation;
    return true;
}

/* Records and offsets reach the broker in either order. */
static enum job_phase next_phase(const struct process *process,
                                 const struct transaction *transaction)
{
    if (transaction->offset_count < process->transaction.ledger_count)
        return JOB_OFFSETS;
    return transaction->item_count < process->transaction.item_count ? JOB_PRODUCE
                                                                     : JOB_COMMIT_TRANSACTION;
}

static void produce(struct world *world, struct process *process)
{
    struct transaction *transaction = &world->transactions[process->id];
    if (!begin(world, process, transaction))
        return;
    if (refuses(world, process)) {
        abort_transaction(world, process, ENGINE_REFUSED);
        return;
    }
    for (size_t i = 0; i < process->transaction.item_count; i++) {
        const struct engine_item *item = &process->transaction.items[i];
        transaction->items[transaction->item_count++] = (struct published){
            item->type, task_of(world, item->request), item->request->outcome.status,
            item->request->outcome.from_successor};
    }
    process->transact = next_phase(process, transaction);
}

static void send_offsets(struct world *world, struct process *process)
{
    struct transaction *transaction = &world->transactions[process->id];
    if (!broker_is_member(world, process->member, process->generation)) {
        abort_transaction(world, process, ENGINE_ABORTED);
        return;
    }
    if (!begin(world, process, transaction))
        return;
    for (size_t i = 0; i < process->transaction.ledger_count; i++) {
        const struct engine_ledger *ledger = &process->transaction.ledgers[i];
        check_named(world, process, ledger->partition);
        transaction->offsets[transaction->offset_count++] =
            (struct offset_commit){ledger->partition, ledger->offset,
                                   memory_copy(ledger->metadata, ledger->metadata_size)};
    }
    process->transact = next_phase(process, transaction);
}

static void commit_transaction(struct world *world, struct process *process)
{
    struct transaction *transaction = &world->transactions[process->id];
    if (strikes(world, world->faults.unclear)) {
        world->counts.unclear++;
        switch (draw(world, 3)) {
        case 0:
            broker_apply(world, transaction);
            break;
        case 1:
            transaction->on_its_way = true;
            break;
        default:
            break;
        }
        tell(process, ENGINE_UNKNOWN);
        return;
    }
    broker_apply(world, transaction);
    tell(process, ENGINE_COMMITTED);
}

void client_transact_step(struct world *world, struct process *process)
{
    struct transaction *transaction = &world->transactions[process->id];
    if (strikes(world, world->faults.slow_transact))
        return;
    if (process->renewing && draw(world, 2)) {
        process->renewing = process->initialising = false;
        process->epoch = broker_init_id(world, process->id);
        say(world, "%s has a producer of epoch %d", process_name(process->id), process->epoch);
        engine_producer_ready(process->engine, world->now);
        return;
    }
    if (process->transact == JOB_IDLE)
        return;
    if (process->transact == JOB_TELL) {
        process->transact = JOB_IDLE;
        static const char *const names[] = {"committed", "aborted", "refused", "unknown", "fenced"};
        say(world, "%s is told: %s", process_name(process->id), names[process->outcome]);
        engine_transacted(process->engine, process->outcome,
                          process->outcome == ENGINE_REFUSED ? process->refused : NULL, world->now);
        return;
    }
    if (process->epoch != transaction->epoch) {
        world->counts.fenced++;
        tell(process, ENGINE_FENCED);
        return;
    }
    if (strikes(world, world->faults.abort)) {
        abort_transaction(world, process, ENGINE_ABORTED);
        return;
    }
    if (process->transact == JOB_PRODUCE)
        produce(world, process);
    else if (process->transact == JOB_OFFSETS)
        send_offsets(world, process);
    else
        commit_transaction(world, process);
}

/* The ledger jobs: what they find, or do, and when that is told are two steps. */

static void drop_found(struct process *process)
{
    for (size_t i = 0; i < process->found_count; i++)
        free((char *)process->found[i].metadata);
    process->found_count = 0;
}

static enum engine_answer read_ledgers(struct world *world, struct process *process)
{
    const struct engine_action *work = &process->work;
    for (size_t i = 0; i < work->place_count; i++) {
        int log = work->places[i].partition;
        const char *metadata = world->logs[log].metadata ? world->logs[log].metadata : "";
        if (work->stable && broker_is_unstable(world, log))
            return ENGINE_AGAIN;
        process->found[process->found_count++] =
            (struct engine_ledger){work->places[i].kind, log, world->logs[log].committed,
                                   memory_string(metadata), strlen(metadata)};
    }
    return ENGINE_DONE;
}

static enum engine_answer commit_plainly(struct world *world, struct process *process, bool lost)
{
    const struct client *client = &process->client;
    if (!broker_is_member(world, client->member, client->generation))
        return ENGINE_NO_MEMBER;
    if (lost && draw(world, 2))
        return ENGINE_AGAIN; /* it did not get there */
    for (size_t i = 0; i < process->work.ledger_count; i++) {
        const struct engine_ledger *ledger = &process->work.ledgers[i];
        say(world, "%s commits %d: base %d %s", process_name(process->id), ledger->partition,
            (int)ledger->offset, ledger->metadata);
        check_replaced(world, process, ledger->partition);
        broker_set_offset(world, (struct offset_commit){ledger->partition, ledger->offset,
                                                        (char *)ledger->metadata});
        check_ledger(world, ledger->partition, 0);
    }
    return lost ? ENGINE_AGAIN : ENGINE_DONE;
}

static enum engine_answer work(struct world *world, struct process *process)
{
    bool lost = strikes(world, world->faults.again);
    if (process->work.type == ENGINE_COMMIT)
        return commit_plainly(world, process, lost);
    if (process->work.type == ENGINE_READ)
        return lost ? ENGINE_AGAIN : read_ledgers(world, process);
    say(world, "%s ends %s", process_name(process->id), process->work.owner);
    if (!lost || draw(world, 2))
        broker_init_id(world, process_id(process->work.owner));
    return lost ? ENGINE_AGAIN : ENGINE_DONE;
}

void client_work_step(struct world *world, struct process *process)
{
    if (strikes(world, world->faults.slow_work))
        return;
    if (process->working == WORK_TO_DO) {
        process->answer = work(world, process);
        process->working = WORK_DONE;
        if (draw(world, 2))
            return;
    }
    if (process->working != WORK_DONE)
        return;
    process->working = WORK_NONE;
    if (process->work.type == ENGINE_COMMIT)
        engine_committed(process->engine, process->answer, world->now);
    else if (process->work.type == ENGINE_END_OWNER)
        engine_owner_ended(process->engine, process->answer, world->now);
    else
        engine_ledgers_read(process->engine, process->answer, process->found,
                            process->answer == ENGINE_DONE ? process->found_count : 0, world->now);
    drop_found(process);
}

void client_drop(struct process *process)
{
    drop_found(process);
    process->working = WORK_NONE;
    process->transact = JOB_IDLE;
    process->renewing = false;
}
