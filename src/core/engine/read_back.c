#include <string.h>

#include "core/engine/internal.h"

/* Reads back the ledgers of a transaction of unknown outcome, which show whether it has
 * committed. */

/* The outcome of a transaction is known now. A process that suspected another one with the same
 * instance.id still has its fenced producer: it ends, or makes a new producer. */
static void settle(struct engine *engine)
{
    engine->fail = engine->duplicate_suspected && engine->now >= engine->fence_grace_until;
    producer_enter(engine, engine->duplicate_suspected ? PRODUCER_TO_RENEW : PRODUCER_IDLE);
    engine->duplicate_suspected = false;
    engine_assert_sound(engine);
}

void read_back_begin(struct engine *engine, struct engine_action *action)
{
    *action = (struct engine_action){.type = ENGINE_NOTHING};
    if (group_collect(engine, partition_in_txn)) {
        group_emit_read(engine, OP_READ_BACK, action);
        return;
    }
    /* All partitions of the transaction are gone, so its outcome concerns only their new owners. */
    txn_failed(engine);
    settle(engine);
}

/* "read back". The sequence number and the owner show whether the transaction of unknown outcome
 * has committed. */
void read_back_take(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    bool committed = false;
    for (size_t i = 0; i < count; i++) {
        struct error error;
        struct ledger ledger = {0};
        struct partition *partition = group_partition(engine, &ledgers[i]);
        if (!partition || !partition_in_txn(partition))
            continue;
        bool ours =
            !group_decode(&ledger, &ledgers[i], &error) && !strcmp(ledger.owner, engine->owner);
        if (ours && ledger.sequence == partition->sequence + 1)
            committed = true;
        else if (!ours || ledger.sequence != partition->sequence)
            loss_taken_over(partition); /* the revocation will follow */
        ledger_fini(&ledger);
    }
    if (committed)
        txn_committed(engine, false);
    else
        txn_failed(engine);
    settle(engine);
}
