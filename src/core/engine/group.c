#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* What the takeover (takeover.c), the hand-over (release.c), the loss of partitions (loss.c) and
 * the read-back (read_back.c) share: their operations at the group's coordinator, one at a time,
 * and the order of their steps. */

enum {
    OP_RETRY_MS = 50,
    OP_BACKOFF_AFTER = 20, /* after so many consecutive failures the pause doubles */
    OP_RETRY_MAX_MS = 5000,
    OP_RETRY_DRAIN_MS = 500, /* longest pause while partitions are given back */
};

void group_add_position(struct engine *engine, const struct partition *partition, int64_t offset)
{
    engine->positions = memory_grow(engine->positions, engine->position_count,
                                    &engine->position_capacity, sizeof *engine->positions, 16);
    engine->positions[engine->position_count++] =
        (struct record_position){engine->options.kind, partition->number, offset};
}

void group_clear_ledgers(struct engine *engine)
{
    for (size_t i = 0; i < engine->group_op_ledger_count; i++)
        free((char *)engine->group_op_ledgers[i].metadata);
    engine->group_op_ledger_count = 0;
}

/* Encodes the partition's ledger for a plain commit. Returns the offset. */
static int64_t encode_ledger(struct partition *partition, const char *owner, struct text *out)
{
    struct engine *engine = partition->engine;
    if (partition->halt_uncommitted) {
        text_add(out, LEDGER_HALT);
        return 0;
    }
    partition_ledger(partition, owner, partition->sequence, partition->top);
    partition_encode(engine, out);
    return engine->scratch.base;
}

void group_add_ledger(struct engine *engine, struct partition *partition, const char *owner,
                      size_t *bytes)
{
    struct text metadata = {0};
    int64_t offset = encode_ledger(partition, owner, &metadata);
    engine->group_op_ledgers =
        memory_grow(engine->group_op_ledgers, engine->group_op_ledger_count,
                    &engine->group_op_ledger_capacity, sizeof *engine->group_op_ledgers, 16);
    size_t size = metadata.length;
    if (!batch_fits(engine, engine->group_op_ledger_count, *bytes, size)) {
        text_fini(&metadata);
        return;
    }
    *bytes += size;
    partition->in_group_op = true;
    engine->group_op_ledgers[engine->group_op_ledger_count++] = (struct stored_ledger){
        .kind = engine->options.kind,
        .partition = partition->number,
        .offset = offset,
        .metadata = text_take(&metadata),
        .metadata_size = size,
    };
}

size_t group_collect(struct engine *engine, bool (*which)(const struct partition *))
{
    engine->position_count = 0;
    list_each(at, &engine->partitions)
    {
        const struct partition *partition = list_of(at, struct partition, node);
        if (which(partition))
            group_add_position(engine, partition, -1);
    }
    return engine->position_count;
}

void group_emit_read(struct engine *engine, enum group_op op, struct engine_action *action)
{
    group_op_enter(engine, op);
    *action = (struct engine_action){.type = ENGINE_READ,
                                     .positions = engine->positions,
                                     .position_count = engine->position_count,
                                     .stable = op != OP_READ};
}

void group_emit_commit(struct engine *engine, enum group_op op, struct engine_action *action)
{
    group_op_enter(engine, op);
    *action = (struct engine_action){.type = ENGINE_COMMIT,
                                     .ledgers = engine->group_op_ledgers,
                                     .ledger_count = engine->group_op_ledger_count};
}

void group_op_again(struct engine *engine)
{
    int doublings = engine->group_op_failures - OP_BACKOFF_AFTER;
    int64_t most = engine->revoking || engine->stopping ? OP_RETRY_DRAIN_MS : OP_RETRY_MAX_MS;
    int64_t pause = OP_RETRY_MS << (doublings < 0 ? 0 : doublings < 10 ? doublings : 10);
    engine->group_op_failures++;
    engine->group_op_retry_at = engine->now + (pause < most ? pause : most);
}

bool group_op_ended(struct engine *engine, enum group_answer answer, int64_t now)
{
    engine->now = now;
    group_op_enter(engine, OP_NONE);
    if (answer == GROUP_DONE)
        engine->group_op_failures = 0;
    else
        group_op_again(engine);
    return answer == GROUP_DONE;
}

struct partition *group_partition(const struct engine *engine, const struct stored_ledger *read)
{
    return partition_find(engine, read->partition);
}

int group_decode(struct ledger *ledger, const struct stored_ledger *read, struct error *error)
{
    if (read->offset < 0 && read->metadata_size)
        return error_set(error, "%zu characters without an offset", read->metadata_size);
    return ledger_decode(ledger, read->offset < 0 ? 0 : read->offset, read->metadata,
                         read->metadata_size, error);
}

int64_t group_gives_up_at(const struct partition *partition)
{
    const struct engine *engine = partition->engine;
    if (partition->phase == PARTITION_LOST)
        return loss_gives_up_at(partition);
    if (engine->aborts < DRAIN_ABORTS || !partition->revoked)
        return INT64_MAX;
    return partition->drain_until + 2 * engine->options.lease_ms;
}

/* Halts a partition whose log ends below a marked offset: a marked offset was read, so this is
 * another log. */
static void check_log(struct partition *partition)
{
    if (!partition->log_short_since)
        return;
    if (partition->phase != PARTITION_ACTIVE || partition->next >= partition->loaded_end) {
        partition->log_short_since = 0;
        partition_watch(partition);
    } else if (partition->engine->now >= partition->log_short_since + ENGINE_SHORT_LOG_MS) {
        struct text reason = {0};
        text_printf(&reason,
                    "its log ends at offset %" PRId64 ", and its committed metadata tells of "
                    "requests up to %" PRId64
                    ": the topic was deleted and created anew, or has lost records",
                    partition->next, partition->loaded_end);
        partition_halt_for_repair(partition, text_take(&reason));
    }
}

/* O(watched partitions), and O(requests) of draining partitions that have only ended requests
 * left. */
void group_check(struct engine *engine)
{
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        check_log(partition);
        if (partition->phase == PARTITION_LOST && loss_is_over(partition))
            loss_end(engine, partition);
        if (partition->phase == PARTITION_SUSPENDED && !loss_keeps_state(partition))
            loss_drop(partition);
        if (partition->phase == PARTITION_DRAINING && engine->now >= group_gives_up_at(partition))
            loss_taken_over(partition);
    }
}

static void free_dropped(struct engine *engine)
{
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->dropped && !partition->recall)
            partition_free(partition);
    }
}

/* O(watched). */
bool group_next(struct engine *engine, struct engine_action *action)
{
    free_dropped(engine);
    if (release_unassign(engine, action))
        return true;
    if (engine->group_op != OP_NONE || engine->now < engine->group_op_retry_at)
        return false;
    return release_next(engine, action) || takeover_next(engine, action);
}

void engine_log_changed(struct engine *engine, int32_t number)
{
    struct partition *partition = partition_find(engine, number);
    if (partition)
        partition->log_changed = true;
}

/* "lost", "revoke" */
void engine_revoked(struct engine *engine, uint64_t rebalance, enum revocation how,
                    const struct record_position *positions, size_t count, int64_t now)
{
    bool lost = how != PARTITIONS_REVOKED;
    engine->now = now;
    engine->revoking = true;
    engine->revoke_rebalance = rebalance;
    for (size_t i = 0; i < count; i++) {
        struct partition *partition = partition_find(engine, positions[i].partition);
        if (!partition)
            continue;
        partition->revoked = true;
        if (lost) /* its next owner fences this process */
            engine->fence_grace_until = now + ENGINE_DUPLICATE_MS;
        if (how == PARTITIONS_LOST && loss_may_hand_over(partition))
            loss_begin(engine, partition);
        else if (lost && loss_may_suspend(partition))
            loss_suspend(engine, partition);
        else if (lost)
            partition_forget(partition);
        else
            release_drain(engine, partition);
    }
    if (engine->load != LOAD_NONE && rebalance > engine->load_rebalance)
        takeover_cancel(engine);
}

void engine_ledgers_read(struct engine *engine, enum group_answer answer,
                         const struct stored_ledger *ledgers, size_t count, int64_t now)
{
    enum group_op op = engine->group_op;
    if (!group_op_ended(engine, answer, now))
        return;
    if (op == OP_READ_BACK) {
        read_back_take(engine, ledgers, count);
    } else if (op == OP_READ && engine->load == LOAD_READ) {
        takeover_owners_ended(engine, ledgers, count);
        load_enter(engine, LOAD_END_OWNERS);
    } else if (op == OP_READ_STABLE && engine->load == LOAD_READ_STABLE) {
        if (takeover_owners_ended(engine, ledgers, count))
            takeover_load(engine, ledgers, count);
        else
            load_enter(engine, LOAD_END_OWNERS);
    }
}

/* If it is refused: "plain commit again", "plain commit refused". */
void engine_committed(struct engine *engine, enum group_answer answer, int64_t now)
{
    enum group_op op = engine->group_op;
    engine->now = now;
    group_op_enter(engine, OP_NONE);
    if (answer == GROUP_NOT_MEMBER)
        engine->fence_grace_until = now + ENGINE_DUPLICATE_MS;
    if (answer == GROUP_DONE)
        engine->group_op_failures = 0;
    if (op == OP_CLAIM)
        takeover_claim_answered(engine, answer);
    else if (op == OP_RELEASE)
        release_answered(engine, answer);
    list_each(at, &engine->partitions) list_of(at, struct partition, node)->in_group_op = false;
    group_clear_ledgers(engine);
}
