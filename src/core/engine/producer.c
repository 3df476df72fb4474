#include <assert.h>

#include "core/engine/internal.h"

/* The producer: what it does next, and what follows from the end of a transaction. Comments name
 * the model's rules. */

enum {
    RETRY_FIRST_MS = 10, /* pause after an aborted transaction; doubles */
    RETRY_MAX_MS = 500,
    RETRY_BACKOFF_AFTER = 12, /* after so many consecutive aborts the pause goes on doubling */
    RETRY_BACKOFF_AFTER_DRAIN = 40, /* the same limit while partitions are given back */
    RETRY_LONGEST_MS = 10000,
};

bool producer_next(struct engine *engine, struct engine_action *action)
{
    switch (engine->producer) {
    case PRODUCER_TO_RENEW: /* "new producer" */
        producer_enter(engine, PRODUCER_RENEWING);
        *action = (struct engine_action){.type = ENGINE_RENEW_PRODUCER};
        return true;
    case PRODUCER_TO_READ_BACK:
        if (engine->group_op != OP_NONE || engine->now < engine->group_op_retry_at)
            return false;
        read_back_begin(engine, action);
        return action->type != ENGINE_NOTHING || producer_next(engine, action);
    case PRODUCER_IDLE:
        if (engine->now < engine->retry_at || engine->now < pace_txn_due(engine) ||
            !txn_build(engine, action))
            return false;
        producer_enter(engine, PRODUCER_IN_TXN);
        return true;
    default:
        return false;
    }
}

void engine_producer_ready(struct engine *engine, int64_t now)
{
    engine->now = now;
    assert(engine->producer == PRODUCER_STARTING || engine->producer == PRODUCER_RENEWING);
    engine->unfenced_at = now;
    if (engine->producer == PRODUCER_STARTING)
        engine->startup_until = now + ENGINE_DUPLICATE_MS + 2 * engine->options.lease_ms;
    bool txn = !list_empty(&engine->txn.chosen) || !list_empty(&engine->txn.unmarked) ||
               !list_empty(&engine->txn.ending) || engine->txn.ledger_count;
    producer_enter(engine, txn ? PRODUCER_TO_READ_BACK : PRODUCER_IDLE);
}

/* A fence in a transaction that is older than the session proves nothing: the broker ends a
 * transaction after its time-out, and a successor ends it before it claims anything. */
static void note_fenced(struct engine *engine)
{
    bool slow = engine->now - engine->txn.began >= 2 * engine->options.lease_ms;
    engine->fenced++;
    if (slow || engine->now < engine->fence_grace_until ||
        (engine->now < engine->startup_until && engine->startup_fences++ < ENGINE_STARTUP_FENCES))
        return;
    engine->duplicate_suspected = engine->now - engine->fenced_after < ENGINE_DUPLICATE_MS;
    engine->fenced_after = engine->unfenced_at;
}

/* An abort may mean that this process is no longer a member: heartbeats can get lost while
 * everything else arrives, and the lease depends on heartbeats. So unsent requests are recalled,
 * and need a new lease. O(partitions) for each abort. */
static void doubt_membership(struct engine *engine)
{
    list_each(at, &engine->partitions)
    {
        struct partition *partition = list_of(at, struct partition, node);
        partition_recall(partition, partition->recall || partition->handed > 0);
    }
}

/* The pause after consecutive aborts: short at first, because most causes pass, and long in the
 * end, because some never do. */
static int64_t retry_pause(const struct engine *engine)
{
    int64_t pause = (int64_t)RETRY_FIRST_MS << (engine->aborts < 6 ? engine->aborts : 6);
    int64_t most = RETRY_MAX_MS;
    int patient =
        engine->stopping || engine->revoking ? RETRY_BACKOFF_AFTER_DRAIN : RETRY_BACKOFF_AFTER;
    if (engine->aborts >= patient) {
        int doublings = engine->aborts - patient + 1;
        pause = most << (doublings < 5 ? doublings : 5);
        most = RETRY_LONGEST_MS;
    }
    return pause < most ? pause : most;
}

/* Whether so many aborts suggest that the producer itself is the cause. */
static bool needs_new_producer(const struct engine *engine)
{
    if (engine->aborts < RENEW_ABORTS)
        return false;
    bool far_apart = retry_pause(engine) > RETRY_MAX_MS;
    int more = far_apart ? RENEW_ABORTS_FAR_APART : RENEW_ABORTS_MORE;
    return (engine->aborts - RENEW_ABORTS) % more == 0;
}

/* The transaction is aborted. Returns what the producer does next. */
static enum producer_phase after_abort(struct engine *engine, enum txn_outcome outcome,
                                       bool forgotten_again)
{
    engine->aborted++;
    if (outcome == TXN_REFUSED || outcome == TXN_OFFSETS_REFUSED) {
        engine->retry_at = engine->now + RETRY_FIRST_MS; /* the next transaction differs */
        return PRODUCER_IDLE;
    }
    if (outcome == TXN_EXPIRED && !forgotten_again) {
        engine->retry_at = engine->now + RETRY_FIRST_MS; /* the new producer might expire before its
                                                            turn, too */
        return PRODUCER_TO_RENEW;
    }
    engine->retry_at = engine->now + retry_pause(engine);
    if (outcome == TXN_NOT_MEMBER && engine->aborts >= RETRY_BACKOFF_AFTER - 1)
        return PRODUCER_IDLE;
    engine->aborts++;
    engine->aborted_records = engine->txn.item_count;
    bool renew = outcome == TXN_EXPIRED ||
                 (outcome == TXN_ABORTED && needs_new_producer(engine)); /* "new producer" */
    return renew ? PRODUCER_TO_RENEW : PRODUCER_IDLE;
}

/* Returns what the producer does next. */
static enum producer_phase take_outcome(struct engine *engine, enum txn_outcome outcome,
                                        const enum record_refusal *refused)
{
    bool forgotten_again = outcome == TXN_EXPIRED && engine->forgotten;
    engine->forgotten = outcome == TXN_EXPIRED;
    switch (outcome) {
    case TXN_COMMITTED: /* "answered" */
        engine->unfenced_at = engine->txn.began;
        batch_taken(engine, engine->txn.ledgers, engine->txn.ledger_count);
        txn_committed(engine, true);
        return PRODUCER_IDLE;
    case TXN_REFUSED:
        refusal_note(engine, refused);
        txn_failed(engine);
        break;
    case TXN_OFFSETS_REFUSED:
        txn_offsets_refused(engine);
        break;
    case TXN_ABORTED: /* "aborted" */
    case TXN_EXPIRED:
    case TXN_NOT_MEMBER:
        doubt_membership(engine);
        txn_failed(engine);
        break;
    case TXN_FENCED: /* "fenced" */
        note_fenced(engine);
        engine->unknown++;
        /* The other producer has ended the open transaction. If another process with the same
         * instance.id is suspected, this one reads back before it makes a new producer, which would
         * fence the other process: only one of the two may end. */
        return engine->duplicate_suspected ? PRODUCER_TO_READ_BACK : PRODUCER_TO_RENEW;
    case TXN_UNKNOWN: /* "answer lost" */
        engine->unknown++;
        return PRODUCER_TO_RENEW;
    }
    return after_abort(engine, outcome, forgotten_again);
}

void engine_transacted(struct engine *engine, enum txn_outcome outcome,
                       const enum record_refusal *refused, int64_t now)
{
    engine->now = now;
    assert(engine->producer == PRODUCER_IN_TXN);
    loss_answered(engine, outcome);
    producer_enter(engine, take_outcome(engine, outcome, refused));
    engine_assert_sound(engine);
}
