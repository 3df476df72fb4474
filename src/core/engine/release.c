#include "core/engine/internal.h"

/* The hand-over of partitions: their calls end ("drain"), and then their ledgers are committed
 * without an owner ("release"). Comments name the model's rules. */

enum { RELEASE_MAX_MS = 10000 /* how long a failing release is repeated */ };

void release_stop_starts(struct engine *engine, struct partition *partition)
{
    list_each_safe(at, &partition->requests)
    {
        struct request *request = list_of(at, struct request, partition_node);
        if (request->state == REQUEST_STARTING)
            request_move(engine, request, request->marked ? REQUEST_TO_UNMARK : REQUEST_WAITING);
    }
}

void release_drain(struct engine *engine, struct partition *partition)
{
    /* A process that leaves commits nothing more. */
    if (partition_has_uncommitted_halt(partition) && !engine->left)
        partition_enter(partition, PARTITION_RELEASING);
    if (partition->phase == PARTITION_ARRIVING || partition->phase == PARTITION_HALTED ||
        partition->phase == PARTITION_SUSPENDED)
        partition_forget(partition);
    if (partition->phase != PARTITION_ACTIVE)
        return;
    partition_enter(partition, PARTITION_DRAINING);
    partition_recall(partition, !engine->stopping);
    partition->drain_until =
        engine->stopping ? engine->stop_until : engine->now + engine->options.drain_ms;
    release_stop_starts(engine, partition);
}

void engine_stop(struct engine *engine, int64_t now)
{
    engine->now = now;
    if (engine->stopping)
        return;
    engine->stopping = engine->recall_all = true;
    engine->stop_until = now + engine->options.drain_ms;
    if (engine->late_until > now + ENGINE_BLOCK_FIRST_MS) /* a stop waits for late outcomes */
        engine->late_until = now + ENGINE_BLOCK_FIRST_MS;
    list_each(at, &engine->partitions)
    {
        struct partition *partition = list_of(at, struct partition, node);
        if (partition->phase == PARTITION_ACTIVE || partition_has_uncommitted_halt(partition))
            release_drain(engine, partition);
        else if (partition->phase == PARTITION_LOST && partition->drain_until > engine->stop_until)
            partition->drain_until = engine->stop_until;
    }
}

void engine_give_up(struct engine *engine)
{
    list_each(at, &engine->partitions) partition_forget(list_of(at, struct partition, node));
}

/* "drained", "release" */
static bool emit_release(struct engine *engine, struct engine_action *action)
{
    size_t bytes = 0;
    group_clear_ledgers(engine);
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_RELEASING)
            group_add_ledger(engine, partition, "", &bytes);
    }
    if (engine->group_op_ledger_count)
        group_emit_commit(engine, OP_RELEASE, action);
    return engine->group_op_ledger_count;
}

/* A release may be committed although its answer says otherwise, and then the ledger has no owner.
 * So it is repeated until its outcome is known, and no transaction contains the partition any
 * more. */
bool release_next(struct engine *engine, struct engine_action *action)
{
    if (emit_release(engine, action))
        return true;
    engine->release_until = 0; /* an earlier release was lost while it was repeated */
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_DRAINING && !partition_drained(partition))
            return false;
    }
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_DRAINING)
            partition_enter(partition, PARTITION_RELEASING);
    }
    return emit_release(engine, action);
}

/* Model: leave. */
bool release_unassign(struct engine *engine, struct engine_action *action)
{
    /* A running commit must not meet the next generation, which may have assigned the partition to
     * another member: the coordinator checks generations, not owners. */
    if (!engine->revoking || engine->group_op == OP_CLAIM || engine->group_op == OP_RELEASE)
        return false;
    list_each_safe(at, &engine->watched)
    {
        const struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->revoked && partition->phase != PARTITION_GONE)
            return false;
    }
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->revoked)
            partition_free(partition);
    }
    engine->revoking = false;
    *action =
        (struct engine_action){.type = ENGINE_UNASSIGN, .rebalance = engine->revoke_rebalance};
    return true;
}

/* "released" */
static void released(struct engine *engine)
{
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_RELEASING && partition->in_group_op)
            partition_forget(partition);
    }
    engine->release_until = 0;
}

/* Whether a failed release has to be repeated. */
static bool releases_again(struct engine *engine)
{
    if (!engine->release_until)
        engine->release_until = engine->now + RELEASE_MAX_MS;
    return engine->now < engine->release_until;
}

void release_answered(struct engine *engine, enum group_answer answer)
{
    if (answer == GROUP_RETRY && releases_again(engine))
        group_op_again(engine);
    else if (answer != GROUP_REFUSED ||
             !batch_refused(engine, engine->group_op_ledgers, engine->group_op_ledger_count) ||
             engine->group_op_ledger_count == 1)
        released(
            engine); /* if the release is not committed, the next owner ends the open transaction */
}
