#include "core/engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* The engine as a whole: its life, what it does next, and when it has to be asked again. */

struct engine *engine_new(const struct engine_options *options)
{
    struct engine *engine = memory_zeroed(1, sizeof *engine);
    engine->options = *options;
    snprintf(engine->owner, sizeof engine->owner, "%s", options->owner);
    engine->options.owner = engine->owner;
    if (!options->ledger_max)
        engine->options.ledger_max = LEDGER_MAX;
    if (!options->doubts)
        engine->options.doubts = LEDGER_DOUBTS;
    engine->ledger_max = engine->options.ledger_max;
    engine->allowed = options->slots;
    engine->unfenced_at = engine->fenced_after = INT64_MIN / 2;
    list_init(&engine->partitions);
    list_init(&engine->newcomers);
    list_init(&engine->turns);
    list_init(&engine->watched);
    list_init(&engine->left_out);
    list_init(&engine->txn.partitions);
    list_init(&engine->start);
    list_init(&engine->to_unmark);
    list_init(&engine->ended);
    list_init(&engine->orphans);
    list_init(&engine->txn.chosen);
    list_init(&engine->txn.unmarked);
    list_init(&engine->txn.ending);
    return engine;
}

static void free_list(struct list *list)
{
    list_each_safe(at, list) request_free(list_of(at, struct request, list_node));
    list_init(list);
}

void engine_free(struct engine *engine)
{
    while (!list_empty(&engine->partitions))
        partition_free(list_of(engine->partitions.next, struct partition, node));
    free_list(&engine->ended);
    free_list(&engine->txn.chosen);
    free_list(&engine->txn.unmarked);
    free_list(&engine->txn.ending);
    txn_fini(&engine->txn);
    for (size_t i = 0; i < engine->group_op_ledger_count; i++)
        free((char *)engine->group_op_ledgers[i].metadata);
    free(engine->group_op_ledgers);
    free(engine->positions);
    free(engine->foreign.names);
    free(engine->ended_owners.names);
    free(engine->alarms);
    free(engine->all);
    free(engine->numbered);
    ledger_fini(&engine->scratch);
    free(engine->changes);
    free(engine);
}

/* O(partitions), but only at the end of a stop. */
static bool next_leave(struct engine *engine, struct engine_action *action)
{
    if (!engine->stopping || engine->left || engine->group_op != OP_NONE ||
        engine->load != LOAD_NONE || engine->revoking ||
        (engine->producer != PRODUCER_IDLE && engine->producer != PRODUCER_STARTING) ||
        engine->late_outcomes)
        return false;
    list_each(at, &engine->partitions)
    {
        enum partition_phase phase = list_of(at, struct partition, node)->phase;
        if (phase != PARTITION_GONE && phase != PARTITION_HALTED)
            return false;
    }
    engine->left = true;
    *action = (struct engine_action){.type = ENGINE_LEAVE};
    return true;
}

/* Forgets a learned limit of the broker after a while, because it may have been raised. */
static void forget_limit(struct engine *engine)
{
    if (!engine->limit_until || engine->now < engine->limit_until)
        return;
    engine->limit_until = 0;
    engine->ledger_max = engine->options.ledger_max;
}

/* If building the transaction blocks a partition, other partitions may start more, and its drain
 * may be over. So there may be something to do after all. The blocked partition takes part again
 * only later, so this loop ends. */
static bool next_step(struct engine *engine, struct engine_action *action)
{
    do {
        engine->blocked = false;
        group_check(engine);
        if (calls_next_recall(engine, action) || group_next(engine, action) ||
            producer_next(engine, action) || next_leave(engine, action))
            return true;
    } while (engine->blocked);
    return false;
}

/* O(watched partitions, due lanes, and the returned action). */
enum engine_action_type engine_next(struct engine *engine, int64_t now, int64_t wall,
                                    struct engine_action *action)
{
    engine_set_time(engine, now, wall);
    *action = (struct engine_action){.type = ENGINE_NOTHING};
    if (engine->fail) {
        action->type = ENGINE_FAIL;
        return ENGINE_FAIL;
    }
    if (calls_next_start(engine, action) || calls_next_recall(engine, action))
        return action->type;
    lane_wake_due(engine);
    forget_limit(engine);
    calls_start_recordings(engine);
    if (!calls_next_start(engine, action))
        next_step(engine, action);
    return action->type;
}

static int64_t drain_wake(const struct partition *partition, int64_t wake)
{
    const int64_t times[] = {partition->drain_until, partition->doubts.overflow_until,
                             partition->all_doubt_until, group_gives_up_at(partition)};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] > partition->engine->now && times[i] < wake)
            wake = times[i];
    return wake;
}

/* O(watched). */
int64_t engine_wake_time(const struct engine *engine)
{
    int64_t wake = lane_next_wake(engine);
    if (engine->retry_at > engine->now && engine->retry_at < wake)
        wake = engine->retry_at;
    if (engine->group_op_retry_at > engine->now && engine->group_op_retry_at < wake)
        wake = engine->group_op_retry_at;
    if (engine->late_outcomes && engine->late_until > engine->now && engine->late_until < wake)
        wake = engine->late_until;
    if (engine->producer == PRODUCER_IDLE && pace_txn_due(engine) > engine->now &&
        pace_txn_due(engine) < wake)
        wake = pace_txn_due(engine);
    list_each_safe(at, &engine->watched)
    {
        const struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_DRAINING || partition->phase == PARTITION_LOST)
            wake = drain_wake(partition, wake);
        if (engine->stopping && partition->phase == PARTITION_SUSPENDED &&
            engine->stop_until > engine->now && engine->stop_until < wake)
            wake = engine->stop_until;
        if ((partition->base_moved || partition->probes_membership) && engine->now + 100 < wake)
            wake = engine->now + 100;
        if (partition->log_short_since && partition->log_short_since + ENGINE_SHORT_LOG_MS < wake)
            wake = partition->log_short_since + ENGINE_SHORT_LOG_MS;
        if (partition->blocked_until > engine->now && partition->blocked_until < wake)
            wake = partition->blocked_until;
    }
    return wake;
}

void engine_ignore_duplicate(struct engine *engine)
{
    engine->fail = false;
}

void engine_frozen(struct engine *engine, int64_t now)
{
    engine->now = now;
    engine->fence_grace_until = now + ENGINE_DUPLICATE_MS;
}
