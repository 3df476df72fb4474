#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* Takeover and hand-over of partitions. An assignment is answered only when all its ledgers have
 * been read, the transactions of the owners in them have been ended, and the partitions are
 * claimed. Until then the group's coordinator begins no other rebalance with this member, so a
 * plain commit cannot meet a newer generation. Comments name the model's rules. */

enum {
    OP_RETRY_MS = 50,
    CLAIM_REFUSALS = 10,   /* refused claims of a single partition, until it is halted */
    OP_BACKOFF_AFTER = 20, /* after so many consecutive failures the pause doubles */
    OP_RETRY_MAX_MS = 5000,
    OP_RETRY_DRAIN_MS = 500, /* longest pause while partitions are given back */
    RELEASE_MAX_MS = 10000,  /* how long a failing release is repeated */
};

static void add_owner(struct owner_list *list, const char *owner)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->names[i], owner))
            return;
    list->names = memory_grow(list->names, list->count, &list->capacity, sizeof *list->names, 4);
    snprintf(list->names[list->count++], LEDGER_OWNER_SIZE, "%s", owner);
}

static bool has_owner(const struct owner_list *list, const char *owner)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->names[i], owner))
            return true;
    return false;
}

static void add_position(struct engine *engine, const struct partition *partition, int64_t offset)
{
    engine->positions = memory_grow(engine->positions, engine->position_count,
                                    &engine->position_capacity, sizeof *engine->positions, 16);
    engine->positions[engine->position_count++] =
        (struct record_position){engine->options.kind, partition->number, offset};
}

static void clear_group_op_ledgers(struct engine *engine)
{
    for (size_t i = 0; i < engine->group_op_ledger_count; i++)
        free((char *)engine->group_op_ledgers[i].metadata);
    engine->group_op_ledger_count = 0;
}

/* Encodes the partition's ledger for a plain commit. Returns the offset. */
static int64_t encode_group_op_ledger(struct partition *partition, const char *owner,
                                      struct text *out)
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

/* Adds the partition's ledger to the commit, unless it has to wait for the next commit. `bytes` is
 * the size of the commit. */
static void add_group_op_ledger(struct engine *engine, struct partition *partition,
                                const char *owner, size_t *bytes)
{
    struct text metadata = {0};
    int64_t offset = encode_group_op_ledger(partition, owner, &metadata);
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

static bool arriving(const struct partition *partition)
{
    return partition->phase == PARTITION_ARRIVING;
}

static size_t collect_positions(struct engine *engine, bool (*which)(const struct partition *))
{
    engine->position_count = 0;
    list_each(at, &engine->partitions)
    {
        const struct partition *partition = list_of(at, struct partition, node);
        if (which(partition))
            add_position(engine, partition, -1);
    }
    return engine->position_count;
}

static void emit_read(struct engine *engine, enum group_op op, struct engine_action *action)
{
    group_op_enter(engine, op);
    *action = (struct engine_action){.type = ENGINE_READ,
                                     .positions = engine->positions,
                                     .position_count = engine->position_count,
                                     .stable = op != OP_READ};
}

static void emit_commit(struct engine *engine, enum group_op op, struct engine_action *action)
{
    group_op_enter(engine, op);
    *action = (struct engine_action){.type = ENGINE_COMMIT,
                                     .ledgers = engine->group_op_ledgers,
                                     .ledger_count = engine->group_op_ledger_count};
}

/* The outcome of a transaction is known now. A process that suspected another one with the same
 * instance.id still has its fenced producer: it ends, or makes a new producer. */
static void settle(struct engine *engine)
{
    engine->fail = engine->duplicate_suspected && engine->now >= engine->fence_grace_until;
    producer_enter(engine, engine->duplicate_suspected ? PRODUCER_TO_RENEW : PRODUCER_IDLE);
    engine->duplicate_suspected = false;
    engine_assert_sound(engine);
}

void group_read_back(struct engine *engine, struct engine_action *action)
{
    *action = (struct engine_action){.type = ENGINE_NOTHING};
    if (collect_positions(engine, partition_in_txn)) {
        emit_read(engine, OP_READ_BACK, action);
        return;
    }
    /* All partitions of the transaction are gone, so its outcome concerns only their new owners. */
    txn_failed(engine);
    settle(engine);
}

/* "end the last owner's transactions" */
static bool end_an_owner(struct engine *engine, struct engine_action *action)
{
    for (size_t i = 0; i < engine->foreign.count; i++) {
        const char *owner = engine->foreign.names[i];
        if (has_owner(&engine->ended_owners, owner))
            continue;
        group_op_enter(engine, OP_END_OWNER);
        *action = (struct engine_action){.type = ENGINE_END_OWNER, .owner = owner};
        return true;
    }
    return false;
}

/* Takes back requests that were about to be handed to the call thread, of a draining or lost
 * partition. */
static void stop_starts(struct engine *engine, struct partition *partition)
{
    list_each_safe(at, &partition->requests)
    {
        struct request *request = list_of(at, struct request, partition_node);
        if (request->state == REQUEST_STARTING)
            request_move(engine, request, request->marked ? REQUEST_TO_UNMARK : REQUEST_WAITING);
    }
}

/* The state of a lost partition is kept until it is known whether another worker had it in the
 * meantime: see engine_assigned and load_ledgers. */
static void set_aside(struct engine *engine, struct partition *partition,
                      enum partition_phase phase)
{
    partition_enter(partition, phase);
    partition->revoked = partition->may_resume = partition->claimed = partition->probes_membership =
        false;
    partition_recall(partition, partition->handed > 0);
    stop_starts(engine, partition);
    lane_settle_all(partition);
}

static void suspend(struct engine *engine, struct partition *partition)
{
    set_aside(engine, partition, PARTITION_SUSPENDED);
}

/* While Kafka is away, partitions are lost by this process's own clock. When the group is back, it
 * gives its members another session, and until that ends the partitions can be handed over. */
static void lose(struct engine *engine, struct partition *partition)
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
static bool keeps_state(const struct partition *partition)
{
    const struct engine *engine = partition->engine;
    return !engine->stopping || (engine->now < engine->stop_until && has_started(partition));
}

/* Drops a lost partition: it will not come back, or another worker has had it. */
static void drop(struct partition *partition)
{
    partition_forget(partition);
    partition->dropped = true;
}

static bool emit_assign(struct engine *engine, struct engine_action *action)
{
    engine->position_count = 0;
    list_each(at, &engine->partitions)
    {
        struct partition *partition = list_of(at, struct partition, node);
        if (partition->arrived_with != engine->load_rebalance)
            continue;
        bool oldest = (partition->without_commit && !partition->next) ||
                      partition->phase == PARTITION_HALTED ||
                      partition->phase == PARTITION_ARRIVING || partition->phase == PARTITION_GONE;
        add_position(engine, partition, oldest ? -1 : partition->next);
        if (partition->phase == PARTITION_ARRIVING && partition->may_resume &&
            keeps_state(partition))
            suspend(engine, partition);
        else if (partition->phase == PARTITION_ARRIVING)
            partition_forget(partition);
    }
    load_enter(engine, LOAD_NONE);
    *action = (struct engine_action){.type = ENGINE_ASSIGN,
                                     .rebalance = engine->load_rebalance,
                                     .positions = engine->positions,
                                     .position_count = engine->position_count};
    return true;
}

static bool has_uncommitted_halt(const struct partition *partition)
{
    return partition->phase == PARTITION_HALTED && partition->halt_uncommitted;
}

static bool is_unclaimed(const struct partition *partition)
{
    return (partition->phase == PARTITION_ARRIVING && !partition->claimed) ||
           has_uncommitted_halt(partition);
}

static bool emit_claim(struct engine *engine, struct engine_action *action)
{
    size_t bytes = 0;
    clear_group_op_ledgers(engine);
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (is_unclaimed(partition))
            add_group_op_ledger(engine, partition, engine->owner, &bytes);
    }
    if (engine->group_op_ledger_count)
        emit_commit(engine, OP_CLAIM, action);
    return engine->group_op_ledger_count;
}

static void claimed(struct engine *engine);

/* Whether a transaction that is running, or whose outcome is unknown, contains a partition that has
 * come back: its ledger's sequence number is known only after that. */
static bool waits_for_own_txn(const struct engine *engine)
{
    list_each_safe(at, &engine->watched)
    {
        const struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_ARRIVING && partition_in_txn(partition))
            return true;
    }
    return false;
}

/* A process that stops takes over only partitions for which it has outcomes to publish. */
static void load_only_unpublished(struct engine *engine)
{
    bool any = false;
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase != PARTITION_ARRIVING)
            continue;
        if (partition->may_resume && keeps_state(partition))
            any = true;
        else
            partition_forget(partition);
    }
    if (!any)
        load_enter(engine, LOAD_ASSIGN);
}

/* One step of the takeover of assigned partitions. */
static bool next_load(struct engine *engine, struct engine_action *action)
{
    if (engine->stopping && engine->load != LOAD_NONE)
        load_only_unpublished(engine);
    /* Checked in each step, because the answer to a read of an older assignment may have ended the
     * first step. */
    if (engine->load != LOAD_ASSIGN && waits_for_own_txn(engine))
        return false;
    if ((engine->load == LOAD_READ || engine->load == LOAD_READ_STABLE) &&
        !collect_positions(engine, arriving))
        load_enter(engine, LOAD_ASSIGN);
    switch (engine->load) {
    case LOAD_NONE:
        return false;
    case LOAD_READ:
        emit_read(engine, OP_READ, action);
        return true;
    case LOAD_END_OWNERS:
        if (end_an_owner(engine, action))
            return true;
        load_enter(engine, LOAD_READ_STABLE);
        return next_load(engine, action);
    case LOAD_READ_STABLE:
        emit_read(engine, OP_READ_STABLE, action);
        return true;
    case LOAD_CLAIM: /* "claim" */
        if (emit_claim(engine, action))
            return true;
        claimed(engine);
        return emit_assign(engine, action);
    case LOAD_ASSIGN:
        return emit_assign(engine, action);
    }
    return false;
}

static void drain(struct engine *engine, struct partition *partition)
{
    /* A process that leaves commits nothing more. */
    if (has_uncommitted_halt(partition) && !engine->left)
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
    stop_starts(engine, partition);
}

/* Another worker has taken the partition over. Its takeover fences this process, so that fence is
 * no sign of another process with the same instance.id. */
static void taken_over_by_other(struct partition *partition)
{
    enum partition_phase phase = partition->phase;
    partition->engine->fence_grace_until = partition->engine->now + ENGINE_DUPLICATE_MS;
    partition_clear(partition);
    partition->may_resume = false;
    partition->dropped = phase == PARTITION_SUSPENDED;
    if (phase != PARTITION_ARRIVING) /* otherwise it has come back in the meantime */
        partition_enter(partition, PARTITION_GONE);
}

/* When a lost partition is given up because the broker neither accepts its transactions nor refuses
 * them for good. */
static int64_t loss_gives_up_at(const struct partition *partition)
{
    int64_t until = partition->drain_until;
    return until == INT64_MAX ? until : until + 2 * partition->engine->options.lease_ms;
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

/* Ends the hand-over of a lost partition. Its ledger still names this process, whose transactions
 * the next owner ends. */
static void end_loss(struct engine *engine, struct partition *partition)
{
    engine->fence_grace_until = engine->now + ENGINE_DUPLICATE_MS;
    if (keeps_state(partition))
        suspend(engine, partition);
    else
        partition_forget(partition);
}

static bool is_handed_over(struct partition *partition)
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

void group_answered(struct engine *engine, enum txn_outcome outcome)
{
    if (outcome == TXN_UNKNOWN || outcome == TXN_FENCED)
        return; /* another transaction follows */
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase != PARTITION_LOST || engine->txn.began <= partition->lost_at)
            continue;
        if (outcome == TXN_NOT_MEMBER)
            end_loss(engine, partition);
        else if (begins_to_count(partition))
            partition->drain_until = engine->now + engine->options.drain_ms;
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
        if (partition->phase == PARTITION_LOST && is_handed_over(partition))
            end_loss(engine, partition);
        if (partition->phase == PARTITION_SUSPENDED && !keeps_state(partition))
            drop(partition);
        if (partition->phase == PARTITION_DRAINING && engine->now >= group_gives_up_at(partition))
            taken_over_by_other(partition);
    }
}

/* "drained", "release" */
static bool emit_release(struct engine *engine, struct engine_action *action)
{
    size_t bytes = 0;
    clear_group_op_ledgers(engine);
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_RELEASING)
            add_group_op_ledger(engine, partition, "", &bytes);
    }
    if (engine->group_op_ledger_count)
        emit_commit(engine, OP_RELEASE, action);
    return engine->group_op_ledger_count;
}

/* A release may be committed although its answer says otherwise, and then the ledger has no owner.
 * So it is repeated until its outcome is known, and no transaction contains the partition any
 * more. */
static bool next_release(struct engine *engine, struct engine_action *action)
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
static bool next_unassign(struct engine *engine, struct engine_action *action)
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
    if (next_unassign(engine, action))
        return true;
    if (engine->group_op != OP_NONE || engine->now < engine->group_op_retry_at)
        return false;
    return next_release(engine, action) || next_load(engine, action);
}

/* Makes an arriving partition without state, except that its claim was refused too often: the new
 * assignment claims it again, and one more refusal halts it. Until the claim is accepted the
 * partition is shown as halted. Requests of the former state that are lent and not sent are still
 * to be recalled. */
static struct partition *arrive_anew(struct engine *engine, const struct record_position *position)
{
    struct partition *former = partition_find(engine, position->partition);
    bool unclaimed = former && former->unclaimed, recall = former && former->recall;
    char *reason = NULL;
    if (unclaimed) {
        reason = former->halt_reason;
        former->halt_reason = NULL;
    }
    if (former)
        partition_free(former);
    struct partition *partition = partition_new(engine, position->partition);
    partition->unclaimed = unclaimed;
    partition->claim_refusals = unclaimed ? CLAIM_REFUSALS - 1 : 0;
    partition->halt_reason = reason;
    partition_recall(partition, recall);
    return partition;
}

/* "assign" */
void engine_assigned(struct engine *engine, uint64_t rebalance,
                     const struct record_position *positions, size_t count, int64_t now)
{
    engine->now = now;
    for (size_t i = 0; i < count; i++) {
        struct partition *partition = partition_find(engine, positions[i].partition);
        if (partition &&
            (partition->phase == PARTITION_SUSPENDED || partition->phase == PARTITION_LOST)) {
            partition_enter(partition, PARTITION_ARRIVING);
            partition->revoked = partition->probes_membership = false;
            partition->may_resume = true;
            /* A claim of an older assignment may have ended since the loss, or may be running. */
            partition->claimed = partition->in_group_op = false;
        } else {
            partition = arrive_anew(engine, &positions[i]);
        }
        partition->arrived_with = rebalance;
    }
    /* A lost partition that is not in the first assignment belongs to another worker. */
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_SUSPENDED)
            drop(partition);
    }
    if (now < engine->startup_until && engine->fence_grace_until < now + ENGINE_STARTUP_MS)
        engine->fence_grace_until = now + ENGINE_STARTUP_MS;
    load_enter(engine, LOAD_READ);
    engine->load_rebalance = rebalance;
    engine->foreign.count = engine->ended_owners.count = 0;
}

/* A newer rebalance came before the assignment was answered. */
static void cancel_load(struct engine *engine)
{
    load_enter(engine, LOAD_NONE);
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_ARRIVING)
            partition_forget(partition);
    }
}

/* Whether the partition may go on from memory. A running release may be committed: then the ledger
 * has no owner, and it may not. */
static bool may_be_suspended(const struct partition *partition)
{
    return keeps_state(partition) && !partition->log_changed &&
           (partition->phase == PARTITION_ACTIVE || partition->phase == PARTITION_DRAINING ||
            partition->phase == PARTITION_LOST || partition->phase == PARTITION_SUSPENDED ||
            (partition->phase == PARTITION_RELEASING && !partition->halt_uncommitted) ||
            (partition->phase == PARTITION_ARRIVING && partition->may_resume));
}

static bool may_be_handed_over(const struct partition *partition)
{
    return !partition->log_changed &&
           (partition->phase == PARTITION_ACTIVE || partition->phase == PARTITION_DRAINING);
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
        if (how == PARTITIONS_LOST && may_be_handed_over(partition))
            lose(engine, partition);
        else if (lost && may_be_suspended(partition))
            suspend(engine, partition);
        else if (lost)
            partition_forget(partition);
        else
            drain(engine, partition);
    }
    if (engine->load != LOAD_NONE && rebalance > engine->load_rebalance)
        cancel_load(engine);
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
        if (partition->phase == PARTITION_ACTIVE || has_uncommitted_halt(partition))
            drain(engine, partition);
        else if (partition->phase == PARTITION_LOST && partition->drain_until > engine->stop_until)
            partition->drain_until = engine->stop_until;
    }
}

void engine_give_up(struct engine *engine)
{
    list_each(at, &engine->partitions) partition_forget(list_of(at, struct partition, node));
}

/* Answers. */

/* Sets the pause before an operation is repeated. Most failures pass at once; for others the pause
 * grows. */
static void again(struct engine *engine)
{
    int doublings = engine->group_op_failures - OP_BACKOFF_AFTER;
    int64_t most = engine->revoking || engine->stopping ? OP_RETRY_DRAIN_MS : OP_RETRY_MAX_MS;
    int64_t pause = OP_RETRY_MS << (doublings < 0 ? 0 : doublings < 10 ? doublings : 10);
    engine->group_op_failures++;
    engine->group_op_retry_at = engine->now + (pause < most ? pause : most);
}

static struct partition *partition_for(const struct engine *engine,
                                       const struct stored_ledger *read)
{
    return partition_find(engine, read->partition);
}

static int decode(struct ledger *ledger, const struct stored_ledger *read, struct error *error)
{
    if (read->offset < 0 && read->metadata_size)
        return error_set(error, "%zu characters without an offset", read->metadata_size);
    return ledger_decode(ledger, read->offset < 0 ? 0 : read->offset, read->metadata,
                         read->metadata_size, error);
}

/* Whether each ledger that was read has no owner, this process as owner, or an owner whose
 * transactions have been ended. */
static bool owners_are_ended(struct engine *engine, const struct stored_ledger *ledgers,
                             size_t count)
{
    bool ended = true;
    for (size_t i = 0; i < count; i++) {
        struct error error;
        struct ledger ledger = {0};
        struct partition *partition = partition_for(engine, &ledgers[i]);
        if (partition && partition->phase == PARTITION_ARRIVING &&
            !decode(&ledger, &ledgers[i], &error) && ledger.owner[0] &&
            strcmp(ledger.owner, engine->owner) != 0) {
            add_owner(&engine->foreign, ledger.owner);
            ended &= has_owner(&engine->ended_owners, ledger.owner);
        }
        ledger_fini(&ledger);
    }
    return ended;
}

/* Whether the ledger is the one that this process committed last: then no other worker has had the
 * partition in the meantime. */
static bool is_own_last_commit(const struct partition *partition, const struct ledger *ledger,
                               const struct stored_ledger *read)
{
    return read->offset == partition->base && ledger->sequence == partition->sequence &&
           !strcmp(ledger->owner, partition->engine->owner);
}

/* The committed state is gone. State that is kept in memory replaces it, because no other worker
 * can have had the partition. Without such state, or if the log may be another one, a person has to
 * decide where to go on: from the oldest request on, calls would be made twice. This is committed,
 * too, for the partition's next owners. */
static void handle_offset_loss(struct partition *partition, enum offset_loss loss)
{
    struct text reason = {0};
    if (partition->may_resume && loss == OFFSET_LOST) {
        partition->engine->resumed++;
        return;
    }
    text_printf(&reason, "its committed offset is gone, %s",
                loss == OFFSET_LOST
                    ? "and what had been done is not known here any more"
                    : "and whether its topic is still the one that was read cannot be told");
    partition_halt(partition, text_take(&reason));
    partition->needs_repair = partition->halt_uncommitted = true;
}

static void take_ledger(struct partition *partition, const struct ledger *ledger,
                        const struct stored_ledger *read)
{
    if (read->loss != OFFSET_NOT_LOST) {
        handle_offset_loss(partition, read->loss);
        return;
    }
    if (partition->may_resume && is_own_last_commit(partition, ledger, read)) {
        partition->engine->resumed++;
        return;
    }
    if (partition->may_resume)
        taken_over_by_other(partition);
    partition_load(partition, ledger, read->offset >= 0);
}

/* Halts a partition whose ledger is too long with this worker's name in it. A worker never marks so
 * many offsets; another program may write such a ledger. */
static void check_room(struct partition *partition)
{
    struct engine *engine = partition->engine;
    struct text metadata = {0}, reason = {0};
    partition_ledger(partition, engine->owner, partition->sequence, partition->top);
    partition_encode(engine, &metadata);
    if (metadata.length > LEDGER_MAX) {
        text_printf(&reason,
                    "its committed metadata needs %zu characters with this worker's name, more "
                    "than the %d of a ledger",
                    metadata.length, LEDGER_MAX);
        partition_halt_for_repair(partition, text_take(&reason));
    }
    text_fini(&metadata);
}

/* "load" */
static void load_ledgers(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error error;
        struct ledger ledger = {0};
        struct partition *partition = partition_for(engine, &ledgers[i]);
        if (partition && partition->phase == PARTITION_ARRIVING && ledgers[i].absent) {
            drop(partition); /* it is assigned again if the topic gets it */
            partition->arrived_with = 0;
        } else if (partition && partition->phase == PARTITION_ARRIVING) {
            if (decode(&ledger, &ledgers[i], &error)) {
                struct text reason = {0};
                text_printf(&reason, "its committed metadata is %s", error.text);
                partition_halt_for_repair(partition, text_take(&reason));
            } else {
                take_ledger(partition, &ledger, &ledgers[i]);
                if (partition->phase == PARTITION_ARRIVING)
                    check_room(partition);
            }
        }
        ledger_fini(&ledger);
    }
    load_enter(engine, LOAD_CLAIM);
}

/* "read back". The sequence number and the owner show whether the transaction of unknown outcome
 * has committed. */
static void read_back(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    bool committed = false;
    for (size_t i = 0; i < count; i++) {
        struct error error;
        struct ledger ledger = {0};
        struct partition *partition = partition_for(engine, &ledgers[i]);
        if (!partition || !partition_in_txn(partition))
            continue;
        bool ours = !decode(&ledger, &ledgers[i], &error) && !strcmp(ledger.owner, engine->owner);
        if (ours && ledger.sequence == partition->sequence + 1)
            committed = true;
        else if (!ours || ledger.sequence != partition->sequence)
            taken_over_by_other(partition); /* the revocation will follow */
        ledger_fini(&ledger);
    }
    if (committed)
        txn_committed(engine, false);
    else
        txn_failed(engine);
    settle(engine);
}

void engine_ledgers_read(struct engine *engine, enum group_answer answer,
                         const struct stored_ledger *ledgers, size_t count, int64_t now)
{
    enum group_op op = engine->group_op;
    engine->now = now;
    group_op_enter(engine, OP_NONE);
    if (answer != GROUP_DONE) {
        again(engine);
        return;
    }
    engine->group_op_failures = 0;
    if (op == OP_READ_BACK) {
        read_back(engine, ledgers, count);
    } else if (op == OP_READ && engine->load == LOAD_READ) {
        owners_are_ended(engine, ledgers, count);
        load_enter(engine, LOAD_END_OWNERS);
    } else if (op == OP_READ_STABLE && engine->load == LOAD_READ_STABLE) {
        if (owners_are_ended(engine, ledgers, count))
            load_ledgers(engine, ledgers, count);
        else
            load_enter(engine, LOAD_END_OWNERS);
    }
}

void engine_owner_ended(struct engine *engine, enum group_answer answer, int64_t now)
{
    engine->now = now;
    group_op_enter(engine, OP_NONE);
    if (answer != GROUP_DONE) {
        again(engine);
        return;
    }
    engine->group_op_failures = 0;
    for (size_t i = 0; i < engine->foreign.count; i++) {
        if (has_owner(&engine->ended_owners, engine->foreign.names[i]))
            continue;
        add_owner(&engine->ended_owners, engine->foreign.names[i]);
        return;
    }
}

/* The predecessor's calls may be running for the longest duration of a call from now on. */
static void doubts_begin(struct partition *partition)
{
    struct engine *engine = partition->engine;
    partition->doubt_until = engine->now + engine->options.doubt_ms;
    doubts_claimed(&partition->doubts, partition->doubt_until);
    if (partition->all_doubt_until)
        partition->all_doubt_until = partition->doubt_until;
}

/* "claimed" */
static void claimed(struct engine *engine)
{
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase != PARTITION_ARRIVING || !partition->claimed ||
            partition->arrived_with != engine->load_rebalance)
            continue;
        partition_enter(partition, PARTITION_ACTIVE);
        if (partition->unclaimed)
            partition_unblock(partition);
        partition->unclaimed = false;
        if (partition->may_resume)
            lane_settle_all(partition);
        else
            doubts_begin(partition);
        partition->may_resume = false;
        if (engine->stopping)
            drain(engine, partition);
    }
    load_enter(engine, LOAD_ASSIGN);
}

/* A part of the claims of this assignment, or of one that a newer rebalance has overtaken, is
 * committed. */
static void claim_committed(struct engine *engine)
{
    size_t left = 0;
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        partition->claimed |= partition->in_group_op;
        if (has_uncommitted_halt(partition) && partition->in_group_op)
            partition->halt_uncommitted = false;
        left += is_unclaimed(partition);
    }
    batch_taken(engine, engine->group_op_ledgers, engine->group_op_ledger_count);
    if (engine->load == LOAD_CLAIM && !left)
        claimed(engine);
}

static struct partition *only_one_in_group_op(const struct engine *engine)
{
    const struct stored_ledger *only = engine->group_op_ledgers;
    struct partition *partition = partition_find(engine, only->partition);
    return engine->group_op_ledger_count == 1 && partition && partition->in_group_op ? partition
                                                                                     : NULL;
}

/* The broker refuses the claim of a single partition. */
static void claim_refused(struct engine *engine)
{
    batch_refused(engine, engine->group_op_ledgers, engine->group_op_ledger_count);
    struct partition *partition = only_one_in_group_op(engine);
    struct text reason = {0};
    if (!partition || !is_unclaimed(partition))
        return;
    if (++partition->claim_refusals < CLAIM_REFUSALS) {
        again(engine); /* the refusal may pass */
        return;
    }
    /* It stays halted here, and is claimed in the next assignment. */
    if (has_uncommitted_halt(partition)) {
        partition->halt_uncommitted = false;
        return;
    }
    text_printf(&reason, "the broker refuses to commit its ledger of %zu characters: %s",
                engine->group_op_ledgers->metadata_size, engine->broker_says);
    partition_halt(partition, text_take(&reason));
    partition->unclaimed = true;
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

static void claim_answered(struct engine *engine, enum group_answer answer)
{
    if (answer == GROUP_RETRY)
        again(engine);
    else if (answer == GROUP_REFUSED)
        claim_refused(engine);
    else if (answer == GROUP_DONE)
        claim_committed(engine);
    else if (engine->load == LOAD_CLAIM)
        load_enter(engine,
                   LOAD_ASSIGN); /* unclaimed: they stay unused until the group revokes them */
}

static void release_answered(struct engine *engine, enum group_answer answer)
{
    if (answer == GROUP_RETRY && releases_again(engine))
        again(engine);
    else if (answer != GROUP_REFUSED ||
             !batch_refused(engine, engine->group_op_ledgers, engine->group_op_ledger_count) ||
             engine->group_op_ledger_count == 1)
        released(
            engine); /* if the release is not committed, the next owner ends the open transaction */
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
        claim_answered(engine, answer);
    else if (op == OP_RELEASE)
        release_answered(engine, answer);
    list_each(at, &engine->partitions) list_of(at, struct partition, node)->in_group_op = false;
    clear_group_op_ledgers(engine);
}
