#include "core/engine/internal.h"

/* Partitions that are lost without a hand-over: their state is kept until it is known whether
 * another worker has had them. */

/* The state of a lost partition is kept until it is known whether another worker had it in the
 * meantime: see engine_assigned and takeover_load. */
static void set_aside(struct engine *engine, struct partition *partition,
                      enum partition_phase phase)
{
    partition_enter(partition, phase);
    partition->revoked = partition->may_resume = partition->claimed = partition->probes_membership =
        false;
    partition_recall(partition, partition->handed > 0);
    release_stop_starts(engine, partition);
    lane_settle_all(partition);
}

void loss_suspend(struct engine *engine, struct partition *partition)
{
    set_aside(engine, partition, PARTITION_SUSPENDED);
}

void loss_begin(struct engine *engine, struct partition *partition)
{
    if (partition->phase == PARTITION_ACTIVE)
        partition->drain_until = INT64_MAX;
    set_aside(engine, partition, PARTITION_LOST);
    partition->revoked = true; /* librdkafka joins again only after that */
    partition->lost_at = engine->now;
    partition->probes_membership = true;
}

/* Whether the partition has started requests whose outcomes only this process knows: the next owner
 * would publish `unknown`. O(requests). */
static bool has_started(const struct partition *partition)
{
    list_each(at, &partition->requests)
    {
        if (list_of(at, struct request, partition_node)->marked)
            return true;
    }
    return false;
}

/* Whether the state of the partition is kept, to resume it if it comes back. A process that stops
 * keeps it only to publish outcomes, and only for the time of its drains. */
bool loss_keeps_state(const struct partition *partition)
{
    const struct engine *engine = partition->engine;
    return !engine->stopping || (engine->now < engine->stop_until && has_started(partition));
}

/* Whether the partition may go on from memory. A running release may be committed: then the ledger
 * has no owner, and it may not. */
bool loss_may_suspend(const struct partition *partition)
{
    return loss_keeps_state(partition) && !partition->log_changed &&
           (partition->phase == PARTITION_ACTIVE || partition->phase == PARTITION_DRAINING ||
            partition->phase == PARTITION_LOST || partition->phase == PARTITION_SUSPENDED ||
            (partition->phase == PARTITION_RELEASING && !partition->halt_uncommitted) ||
            (partition->phase == PARTITION_ARRIVING && partition->may_resume));
}

bool loss_may_hand_over(const struct partition *partition)
{
    return !partition->log_changed &&
           (partition->phase == PARTITION_ACTIVE || partition->phase == PARTITION_DRAINING);
}

void loss_drop(struct partition *partition)
{
    partition_forget(partition);
    partition->dropped = true;
}

/* Another worker has taken the partition over. Its takeover fences this process, so that fence is
 * no sign of another process with the same instance.id. */
void loss_taken_over(struct partition *partition)
{
    enum partition_phase phase = partition->phase;
    partition->engine->fence_grace_until = partition->engine->now + ENGINE_DUPLICATE_MS;
    partition_clear(partition);
    partition->may_resume = false;
    partition->dropped = phase == PARTITION_SUSPENDED;
    if (phase != PARTITION_ARRIVING) /* otherwise it has come back in the meantime */
        partition_enter(partition, PARTITION_GONE);
}

int64_t loss_gives_up_at(const struct partition *partition)
{
    int64_t until = partition->drain_until;
    return until == INT64_MAX ? until : until + 2 * partition->engine->options.lease_ms;
}

/* Ends the hand-over of a lost partition. Its ledger still names this process, whose transactions
 * the next owner ends. */
void loss_end(struct engine *engine, struct partition *partition)
{
    engine->fence_grace_until = engine->now + ENGINE_DUPLICATE_MS;
    if (loss_keeps_state(partition))
        loss_suspend(engine, partition);
    else
        partition_forget(partition);
}

bool loss_is_over(struct partition *partition)
{
    return partition_drained(partition) ||
           (!partition_in_txn(partition) && partition->engine->now >= loss_gives_up_at(partition));
}

/* Whether the time of the hand-over begins now: a transaction that took as long as a drain has not
 * reached Kafka. */
static bool begins_to_count(const struct partition *partition)
{
    const struct engine *engine = partition->engine;
    return partition->drain_until == INT64_MAX ||
           (!engine->stopping && engine->now - engine->txn.began >= engine->options.drain_ms);
}

void loss_answered(struct engine *engine, enum txn_outcome outcome)
{
    if (outcome == TXN_UNKNOWN || outcome == TXN_FENCED)
        return; /* another transaction follows */
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase != PARTITION_LOST || engine->txn.began <= partition->lost_at)
            continue;
        if (outcome == TXN_NOT_MEMBER)
            loss_end(engine, partition);
        else if (begins_to_count(partition))
            partition->drain_until = engine->now + engine->options.drain_ms;
    }
}
