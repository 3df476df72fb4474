#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "simulation.h"

/* The running transaction, step by step, and the ledger jobs. Their effect and its report are two
 * steps. */

static void tell(struct job *job, enum txn_outcome outcome)
{
    job->outcome = outcome;
    job->committed = false;
    job->transact = PHASE_TELL;
}

void commit_abort(struct world *world, struct job *job, enum txn_outcome outcome)
{
    if (transaction_of(world, job)->state == TRANSACTION_OPEN)
        broker_drop(world, transaction_of(world, job));
    tell(job, outcome);
}

void commit_lose_answer(struct world *world, struct job *job, bool on_its_way)
{
    struct transaction *transaction = transaction_of(world, job);
    transaction->on_its_way |= on_its_way && transaction->state == TRANSACTION_OPEN;
    world->counts.unanswered++;
    tell(job, TXN_UNKNOWN);
}

/* The brokers' answer to a record. */
static enum record_refusal judge_record(struct world *world, struct job *job,
                                        const struct engine_item *item)
{
    const struct task *task = &world->tasks[task_of(world, item->request)];
    bool keyless = item->type == ITEM_GONE || (item->type == ITEM_INVALID && task->key < 0);
    if (refusal_meets_record(world, job, task->log))
        return REFUSED_AS_IS;
    if (world->rates[FAULT_keys_only] && keyless && !item->keyed) {
        world->counts.faults[FAULT_keys_only]++;
        return REFUSED_FOR_KEY;
    }
    if (world->rates[FAULT_refuse] && task->big &&
        (!item->reduced || fault_occurs(world, FAULT_refuse_small)))
        return REFUSED_FOR_SIZE;
    return RECORD_TAKEN;
}

static bool refuses(struct world *world, struct job *job)
{
    bool any = false, for_good = false;
    job->refusal.holds = false;
    for (size_t i = 0; i < job->transaction.item_count; i++) {
        const struct engine_item *item = &job->transaction.items[i];
        struct task *task = &world->tasks[task_of(world, item->request)];
        enum record_refusal why = job->refused[i] = judge_record(world, job, item);
        any |= why != RECORD_TAKEN;
        for_good |= why == REFUSED_AS_IS;
        job->refusal.holds |= why == REFUSED_AS_IS && item->type != ITEM_LATE;
        if (why == REFUSED_FOR_SIZE && item->reduced && item->type == ITEM_LATE)
            task->owed_by = task->answered_by = 0; /* there is no smaller form of it to wait for */
    }
    if (for_good)
        refusal_meets(world, job, ASK_PRODUCE);
    world->counts.faults[FAULT_refuse] += any;
    return any;
}

/* false: the transaction waits until the markers of the last one are written. */
static bool begin(const struct world *world, const struct job *job, struct transaction *transaction)
{
    if (transaction->state == TRANSACTION_OPEN)
        return true;
    if (transaction->state == TRANSACTION_COMMITTED)
        return false;
    transaction->state = TRANSACTION_OPEN;
    transaction->opened_at = world->now;
    transaction->opened_step = job->asked_at;
    transaction->incarnation = job->process->incarnation;
    return true;
}

/* Records and offsets reach the broker in either order. */
static enum transact_phase next_phase(const struct job *job, const struct transaction *transaction)
{
    if (transaction->offset_count < job->transaction.ledger_count)
        return PHASE_OFFSETS;
    return transaction->item_count < job->transaction.item_count ? PHASE_PRODUCE : PHASE_COMMIT;
}

static void produce(struct world *world, struct job *job)
{
    struct transaction *transaction = transaction_of(world, job);
    if (!begin(world, job, transaction))
        return;
    if (refuses(world, job)) {
        commit_abort(world, job, TXN_REFUSED);
        return;
    }
    for (size_t i = 0; i < job->transaction.item_count; i++) {
        const struct engine_item *item = &job->transaction.items[i];
        transaction->items[transaction->item_count++] = (struct published){
            item->type, task_of(world, item->request), item->request->outcome.status,
            item->request->outcome.from_successor};
    }
    job->transact = next_phase(job, transaction);
}

static void send_offsets(struct world *world, struct job *job)
{
    struct transaction *transaction = transaction_of(world, job);
    if (!group_is_member(group_of(world, job), job->member, job->generation)) {
        commit_abort(world, job, TXN_NOT_MEMBER);
        return;
    }
    if (!begin(world, job, transaction))
        return;
    if (refusal_of_size(world, job->transaction.ledgers, job->transaction.ledger_count)) {
        check_offered(world, job);
        job->about_size = true;
        commit_abort(world, job, TXN_OFFSETS_REFUSED);
        return;
    }
    for (size_t i = 0; i < job->transaction.ledger_count; i++) {
        const struct stored_ledger *ledger = &job->transaction.ledgers[i];
        check_named(world, job, ledger->partition);
        transaction->offsets[transaction->offset_count++] =
            (struct offset_commit){ledger->partition, ledger->offset,
                                   memory_copy(ledger->metadata, ledger->metadata_size)};
    }
    job->transact = next_phase(job, transaction);
}

static void commit_transaction(struct world *world, struct job *job)
{
    struct transaction *transaction = transaction_of(world, job);
    if (fault_occurs(world, FAULT_unclear)) {
        switch (draw(world, 4)) {
        case 3: /* the client asks again, and may learn that it is fenced */
            broker_apply(world, transaction);
            job->committed = true;
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
        world->counts.unanswered++;
        tell(job, TXN_UNKNOWN);
        return;
    }
    broker_apply(world, transaction);
    tell(job, TXN_COMMITTED);
}

static void told(struct world *world, struct job *job)
{
    static const char *const names[] = {"committed", "aborted",   "refused",         "unknown",
                                        "fenced",    "no member", "offsets refused", "expired"};
    job->transact = PHASE_IDLE;
    if (job->client.lost && !job->client.answered_at && job->outcome != TXN_UNKNOWN &&
        job->outcome != TXN_FENCED)
        job->client.answered_at = world->now;
    say(world, "%s is told: %s", job_name(job), names[job->outcome]);
    engine_broker_says(job->engine, "no", job->about_size);
    job->about_size = false;
    engine_transacted(job->engine, job->outcome, job->outcome == TXN_REFUSED ? job->refused : NULL,
                      job_now(world, job));
}

static void init_producer(struct world *world, struct job *job)
{
    job->renewing = job->initialising = false;
    job->epoch = broker_init_id(world, job->kind, job->process->id);
    say(world, "%s has a producer of epoch %d", job_name(job), job->epoch);
    engine_producer_ready(job->engine, job_now(world, job));
}

static bool is_refused(struct world *world, struct job *job)
{
    static const enum asking askings[] = {
        [PHASE_PRODUCE] = ASK_PRODUCE, [PHASE_OFFSETS] = ASK_OFFSETS, [PHASE_COMMIT] = ASK_END};
    if (transaction_of(world, job)->forgotten)
        return true;
    if (job->transact == PHASE_PRODUCE && (!job->transaction.item_count || world->refusal.for_good))
        return false; /* its records are */
    return refusal_meets(world, job, askings[job->transact]);
}

void commit_transact_step(struct world *world, struct job *job)
{
    if (job->transact == PHASE_TELL) {
        told(world, job);
        return;
    }
    if (fault_occurs(world, FAULT_slow_transact) || coordinator_delays(world, job))
        return;
    if (job->renewing && draw(world, 2)) {
        if (!refusal_meets(world, job, ASK_INIT))
            init_producer(world, job);
        return;
    }
    if (job->transact == PHASE_IDLE)
        return;
    if (job->epoch != transaction_of(world, job)->epoch) {
        world->counts.fenced++;
        tell(job, TXN_FENCED);
        return;
    }
    if (job->committed) {
        if (world->calm || draw(world, 8) == 0)
            tell(job, TXN_COMMITTED);
        return;
    }
    if (fault_occurs(world, FAULT_abort))
        commit_abort(world, job, TXN_ABORTED);
    else if (transaction_of(world, job)->told)
        commit_abort(world, job, TXN_EXPIRED);
    else if (is_refused(world, job))
        commit_abort(world, job,
                     job->transact == PHASE_OFFSETS && world->refusal.for_good &&
                             !transaction_of(world, job)->forgotten
                         ? TXN_OFFSETS_REFUSED
                         : TXN_ABORTED);
    else if (job->transact == PHASE_PRODUCE)
        produce(world, job);
    else if (job->transact == PHASE_OFFSETS)
        send_offsets(world, job);
    else
        commit_transaction(world, job);
}

static void drop_found(struct job *job)
{
    for (size_t i = 0; i < job->found_count; i++)
        free((char *)job->found[i].metadata);
    job->found_count = 0;
}

/* A read that does not wait for transactions would find the same, so no run can distinguish them:
 * the reader has ended the owner's transactions before, which waits for their markers. */
static enum group_answer read_ledgers(struct world *world, struct job *job)
{
    const struct engine_action *work = &job->work;
    for (size_t i = 0; i < work->position_count; i++) {
        int log = work->positions[i].partition;
        const char *metadata = world->logs[log].metadata ? world->logs[log].metadata : "";
        if (work->stable && broker_is_unstable(world, log))
            return GROUP_RETRY;
        job->found[job->found_count++] =
            (struct stored_ledger){.kind = job->kind,
                                   .partition = log,
                                   .offset = world->logs[log].committed,
                                   .metadata = memory_string(metadata),
                                   .metadata_size = strlen(metadata)};
    }
    return GROUP_DONE;
}

/* Requests of a client arrive in the order in which they were sent: an earlier request without an
 * answer has arrived before this one, or never will. */
static struct flight *take_off(struct world *world, struct job *job)
{
    struct flight *flight = &world->flights[(int)job->kind * PROCESSES_MAX + job->process->index];
    if (flight->count && draw(world, 2))
        broker_land(world, flight);
    broker_drop_flight(flight);
    *flight = (struct flight){.kind = job->kind,
                              .id = job->process->id,
                              .incarnation = job->process->incarnation,
                              .member = job->client.member,
                              .generation = job->client.generation};
    for (size_t i = 0; i < job->work.ledger_count; i++) {
        const struct stored_ledger *ledger = &job->work.ledgers[i];
        flight->commits[flight->count++] =
            (struct offset_commit){ledger->partition, ledger->offset,
                                   memory_copy(ledger->metadata, ledger->metadata_size)};
    }
    return flight;
}

static enum group_answer commit_plainly(struct world *world, struct job *job)
{
    if (refusal_of_size(world, job->work.ledgers, job->work.ledger_count)) {
        job->about_size = true;
        return GROUP_REFUSED;
    }
    struct flight *flight = take_off(world, job);
    if (!fault_occurs(world, FAULT_again))
        return broker_land(world, flight) ? GROUP_DONE : GROUP_NOT_MEMBER;
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
    return GROUP_RETRY;
}

static void end_id(struct world *world, enum request_kind kind, int id)
{
    broker_init_id(world, kind, id);
    for (int i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        if (process->state == PROCESS_DEAD || process->id != id)
            continue;
        process->jobs[kind].ended_before = process->jobs[kind].ended;
        process->jobs[kind].ended = world->now;
    }
}

static enum group_answer end_owner(struct world *world, struct job *job)
{
    bool lost = fault_occurs(world, FAULT_again);
    say(world, "%s ends %s", job_name(job), job->work.owner);
    if (!lost || draw(world, 2))
        end_id(world, job->kind, process_id(job->work.owner));
    return lost ? GROUP_RETRY : GROUP_DONE;
}

static enum group_answer work(struct world *world, struct job *job)
{
    enum asking what = job->work.type == ENGINE_COMMIT      ? ASK_COMMIT
                       : job->work.type == ENGINE_END_OWNER ? ASK_END_OWNER
                                                            : ASK_READ;
    if (refusal_meets(world, job, what))
        return what == ASK_COMMIT && world->refusal.for_good ? GROUP_REFUSED : GROUP_RETRY;
    if (job->work.type == ENGINE_COMMIT)
        return commit_plainly(world, job);
    if (job->work.type == ENGINE_END_OWNER)
        return end_owner(world, job);
    return fault_occurs(world, FAULT_again) ? GROUP_RETRY : read_ledgers(world, job);
}

static void tell_work(struct world *world, struct job *job)
{
    int64_t now = job_now(world, job);
    job->working = WORK_NONE;
    engine_broker_says(job->engine, "no", job->about_size);
    job->about_size = false;
    if (job->work.type == ENGINE_COMMIT)
        engine_committed(job->engine, job->answer, now);
    else if (job->work.type == ENGINE_END_OWNER)
        engine_owner_ended(job->engine, job->answer, now);
    else
        engine_ledgers_read(job->engine, job->answer, job->found,
                            job->answer == GROUP_DONE ? job->found_count : 0, now);
    drop_found(job);
}

void commit_work_step(struct world *world, struct job *job)
{
    if (job->working == WORK_DONE) {
        tell_work(world, job);
        return;
    }
    if (job->working == WORK_NONE || fault_occurs(world, FAULT_slow_work) ||
        coordinator_delays_work(world, job))
        return;
    job->answer = work(world, job);
    job->working = WORK_DONE;
    if (draw(world, 2))
        tell_work(world, job);
}

void commit_drop(struct job *job)
{
    drop_found(job);
    job->working = WORK_NONE;
    job->transact = PHASE_IDLE;
    job->renewing = false;
}
