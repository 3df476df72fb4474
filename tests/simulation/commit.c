#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "simulation.h"

/* The transaction on its way, step by step, and the ledger jobs: what they find, or do, and when
 * that is told are two steps. */

static void tell(struct process *process, enum engine_outcome outcome)
{
    process->outcome = outcome;
    process->landed = false;
    process->transact = PHASE_TELL;
}

static void abort_transaction(struct world *world, struct process *process,
                              enum engine_outcome outcome)
{
    if (world->transactions[process->id].state == TRANSACTION_OPEN)
        broker_drop(world, &world->transactions[process->id]);
    tell(process, outcome);
}

/* Why the brokers do not take a record; false: they do. */
static bool refuses_record(struct world *world, struct process *process,
                           const struct engine_item *item, enum record_refusal *why)
{
    const struct task *task = &world->tasks[task_of(world, item->request)];
    bool keyless = item->type == ITEM_GONE || (item->type == ITEM_INVALID && task->key < 0);
    *why = REFUSED_AS_IS;
    if (refusal_meets_record(world, process, task->log))
        return true;
    *why = REFUSED_FOR_KEY;
    if (world->rates[FAULT_keys_only] && keyless && !item->keyed) {
        world->counts.faults[FAULT_keys_only]++;
        return true;
    }
    *why = REFUSED_FOR_SIZE;
    return world->rates[FAULT_refuse] && task->big &&
           (!item->small || strikes(world, FAULT_refuse_small));
}

static bool refuses(struct world *world, struct process *process)
{
    bool any = false, for_good = false;
    for (size_t i = 0; i < process->transaction.item_count; i++) {
        const struct engine_item *item = &process->transaction.items[i];
        struct task *task = &world->tasks[task_of(world, item->request)];
        enum record_refusal why;
        process->refused[i] = refuses_record(world, process, item, &why);
        any |= process->refused[i];
        if (process->refused[i])
            ((struct request *)item->request)->refusal = why;
        for_good |= process->refused[i] && why == REFUSED_AS_IS;
        if (why != REFUSED_FOR_SIZE)
            continue;
        if (!process->refused[i] || !item->small)
            continue;
        world->excused_at[process->incarnation] =
            UINT64_MAX; /* the next owner may have to end it */
        if (item->type == ITEM_LATE)
            task->owed_by = 0; /* there is no smaller form of it to wait for */
    }
    if (for_good)
        refusal_meets(world, process, ASK_PRODUCE);
    world->counts.faults[FAULT_refuse] += any;
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
    transaction->opened_step = world->step;
    transaction->incarnation = process->incarnation;
    return true;
}

/* Records and offsets reach the broker in either order. */
static enum transact_phase next_phase(const struct process *process,
                                      const struct transaction *transaction)
{
    if (transaction->offset_count < process->transaction.ledger_count)
        return PHASE_OFFSETS;
    return transaction->item_count < process->transaction.item_count ? PHASE_PRODUCE : PHASE_COMMIT;
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
    if (!group_is_member(world, process->member, process->generation)) {
        abort_transaction(world, process, ENGINE_NOT_MEMBER);
        return;
    }
    if (!begin(world, process, transaction))
        return;
    if (refusal_of_size(world, process->transaction.ledgers, process->transaction.ledger_count)) {
        process->about_size = true;
        abort_transaction(world, process, ENGINE_OFFSETS_REFUSED);
        return;
    }
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
    if (strikes(world, FAULT_unclear)) {
        switch (draw(world, 4)) {
        case 3: /* the client asks again, and may learn that it is fenced */
            broker_apply(world, transaction);
            process->landed = true;
            return;
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

static void told(struct world *world, struct process *process)
{
    static const char *const names[] = {"committed", "aborted",   "refused",         "unknown",
                                        "fenced",    "no member", "offsets refused", "expired"};
    process->transact = PHASE_IDLE;
    say(world, "%s is told: %s", process_name(process->id), names[process->outcome]);
    engine_broker_says(process->engine, "no", process->about_size);
    process->about_size = false;
    engine_transacted(process->engine, process->outcome,
                      process->outcome == ENGINE_REFUSED ? process->refused : NULL,
                      process_now(world, process));
}

static void init_producer(struct world *world, struct process *process)
{
    process->renewing = process->initialising = false;
    process->epoch = broker_init_id(world, process->id);
    say(world, "%s has a producer of epoch %d", process_name(process->id), process->epoch);
    engine_producer_ready(process->engine, process_now(world, process));
}

static bool is_refused(struct world *world, struct process *process)
{
    static const enum asking askings[] = {
        [PHASE_PRODUCE] = ASK_PRODUCE, [PHASE_OFFSETS] = ASK_OFFSETS, [PHASE_COMMIT] = ASK_END};
    if (world->transactions[process->id].forgotten)
        return true;
    if (process->transact == PHASE_PRODUCE &&
        (!process->transaction.item_count || world->refusal.for_good))
        return false; /* its records are */
    return refusal_meets(world, process, askings[process->transact]);
}

void commit_transact_step(struct world *world, struct process *process)
{
    if (process->transact == PHASE_TELL) {
        told(world, process);
        return;
    }
    if (world->now < world->coordinator_back_at || strikes(world, FAULT_slow_transact))
        return;
    if (process->renewing && draw(world, 2)) {
        if (!refusal_meets(world, process, ASK_INIT))
            init_producer(world, process);
        return;
    }
    if (process->transact == PHASE_IDLE)
        return;
    if (process->epoch != world->transactions[process->id].epoch) {
        world->counts.fenced++;
        tell(process, ENGINE_FENCED);
        return;
    }
    if (process->landed) {
        if (world->calm || draw(world, 8) == 0)
            tell(process, ENGINE_COMMITTED);
        return;
    }
    if (strikes(world, FAULT_abort))
        abort_transaction(world, process, ENGINE_ABORTED);
    else if (world->transactions[process->id].told)
        abort_transaction(world, process, ENGINE_EXPIRED);
    else if (is_refused(world, process))
        abort_transaction(world, process,
                          process->transact == PHASE_OFFSETS && world->refusal.for_good &&
                                  !world->transactions[process->id].forgotten
                              ? ENGINE_OFFSETS_REFUSED
                              : ENGINE_ABORTED);
    else if (process->transact == PHASE_PRODUCE)
        produce(world, process);
    else if (process->transact == PHASE_OFFSETS)
        send_offsets(world, process);
    else
        commit_transaction(world, process);
}

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
        process->found[process->found_count++] = (struct engine_ledger){
            log, world->logs[log].committed, memory_string(metadata), strlen(metadata)};
    }
    return ENGINE_DONE;
}

/* A client's requests arrive in the order in which they were sent: what it sent before and got no
 * answer to has arrived before this, or never will. */
static struct flight *take_off(struct world *world, struct process *process)
{
    struct flight *flight = &world->flights[process->index];
    if (flight->count && draw(world, 2))
        broker_land(world, flight);
    broker_drop_flight(flight);
    *flight = (struct flight){.id = process->id,
                              .incarnation = process->incarnation,
                              .member = process->client.member,
                              .generation = process->client.generation};
    for (size_t i = 0; i < process->work.ledger_count; i++) {
        const struct engine_ledger *ledger = &process->work.ledgers[i];
        flight->commits[flight->count++] =
            (struct offset_commit){ledger->partition, ledger->offset,
                                   memory_copy(ledger->metadata, ledger->metadata_size)};
    }
    return flight;
}

static enum engine_answer commit_plainly(struct world *world, struct process *process)
{
    if (refusal_of_size(world, process->work.ledgers, process->work.ledger_count)) {
        process->about_size = true;
        return ENGINE_NOT_TAKEN;
    }
    struct flight *flight = take_off(world, process);
    if (!strikes(world, FAULT_again))
        return broker_land(world, flight) ? ENGINE_DONE : ENGINE_NO_MEMBER;
    switch (draw(world, 3)) {
    case 0:
        broker_land(world, flight);
        break;
    case 1:
        broker_drop_flight(flight);
        break;
    default:
        break; /* it may still arrive */
    }
    return ENGINE_AGAIN;
}

static void end_id(struct world *world, int id)
{
    broker_init_id(world, id);
    for (int i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        if (process->state == PROCESS_DEAD || process->id != id)
            continue;
        process->ended_before = process->ended;
        process->ended = world->now;
    }
}

static enum engine_answer end_owner(struct world *world, struct process *process)
{
    bool lost = strikes(world, FAULT_again);
    say(world, "%s ends %s", process_name(process->id), process->work.owner);
    if (!lost || draw(world, 2))
        end_id(world, process_id(process->work.owner));
    return lost ? ENGINE_AGAIN : ENGINE_DONE;
}

static enum engine_answer work(struct world *world, struct process *process)
{
    enum asking what = process->work.type == ENGINE_COMMIT      ? ASK_COMMIT
                       : process->work.type == ENGINE_END_OWNER ? ASK_END_OWNER
                                                                : ASK_READ;
    if (refusal_meets(world, process, what))
        return what == ASK_COMMIT && world->refusal.for_good ? ENGINE_NOT_TAKEN : ENGINE_AGAIN;
    if (process->work.type == ENGINE_COMMIT)
        return commit_plainly(world, process);
    if (process->work.type == ENGINE_END_OWNER)
        return end_owner(world, process);
    return strikes(world, FAULT_again) ? ENGINE_AGAIN : read_ledgers(world, process);
}

static void tell_work(struct world *world, struct process *process)
{
    int64_t now = process_now(world, process);
    process->working = WORK_NONE;
    engine_broker_says(process->engine, "no", process->about_size);
    process->about_size = false;
    if (process->work.type == ENGINE_COMMIT)
        engine_committed(process->engine, process->answer, now);
    else if (process->work.type == ENGINE_END_OWNER)
        engine_owner_ended(process->engine, process->answer, now);
    else
        engine_ledgers_read(process->engine, process->answer, process->found,
                            process->answer == ENGINE_DONE ? process->found_count : 0, now);
    drop_found(process);
}

void commit_work_step(struct world *world, struct process *process)
{
    if (process->working == WORK_DONE) {
        tell_work(world, process);
        return;
    }
    if (process->working == WORK_NONE || world->now < world->coordinator_back_at ||
        strikes(world, FAULT_slow_work))
        return;
    process->answer = work(world, process);
    process->working = WORK_DONE;
    if (draw(world, 2))
        tell_work(world, process);
}

void commit_drop(struct process *process)
{
    drop_found(process);
    process->working = WORK_NONE;
    process->transact = PHASE_IDLE;
    process->renewing = false;
}
