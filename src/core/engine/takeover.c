#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* The takeover of assigned partitions. An assignment is answered only when all its ledgers have
 * been read, the transactions of the owners in them have been ended, and the partitions are
 * claimed. Until then the group's coordinator begins no other rebalance with this member, so a
 * plain commit cannot meet a newer generation. Comments name the model's rules. */

enum { CLAIM_REFUSALS = 10 /* refused claims of a single partition, until it is halted */ };

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

static bool arriving(const struct partition *partition)
{
    return partition->phase == PARTITION_ARRIVING;
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
        group_add_position(engine, partition, oldest ? -1 : partition->next);
        if (partition->phase == PARTITION_ARRIVING && partition->may_resume &&
            loss_keeps_state(partition))
            loss_suspend(engine, partition);
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

static bool is_unclaimed(const struct partition *partition)
{
    return (partition->phase == PARTITION_ARRIVING && !partition->claimed) ||
           partition_has_uncommitted_halt(partition);
}

static bool emit_claim(struct engine *engine, struct engine_action *action)
{
    size_t bytes = 0;
    group_clear_ledgers(engine);
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (is_unclaimed(partition))
            group_add_ledger(engine, partition, engine->owner, &bytes);
    }
    if (engine->group_op_ledger_count)
        group_emit_commit(engine, OP_CLAIM, action);
    return engine->group_op_ledger_count;
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
            release_drain(engine, partition);
    }
    load_enter(engine, LOAD_ASSIGN);
}

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
        if (partition->may_resume && loss_keeps_state(partition))
            any = true;
        else
            partition_forget(partition);
    }
    if (!any)
        load_enter(engine, LOAD_ASSIGN);
}

/* One step of the takeover of assigned partitions. */
bool takeover_next(struct engine *engine, struct engine_action *action)
{
    if (engine->stopping && engine->load != LOAD_NONE)
        load_only_unpublished(engine);
    /* Checked in each step, because the answer to a read of an older assignment may have ended the
     * first step. */
    if (engine->load != LOAD_ASSIGN && waits_for_own_txn(engine))
        return false;
    if ((engine->load == LOAD_READ || engine->load == LOAD_READ_STABLE) &&
        !group_collect(engine, arriving))
        load_enter(engine, LOAD_ASSIGN);
    switch (engine->load) {
    case LOAD_NONE:
        return false;
    case LOAD_READ:
        group_emit_read(engine, OP_READ, action);
        return true;
    case LOAD_END_OWNERS:
        if (end_an_owner(engine, action))
            return true;
        load_enter(engine, LOAD_READ_STABLE);
        return takeover_next(engine, action);
    case LOAD_READ_STABLE:
        group_emit_read(engine, OP_READ_STABLE, action);
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
            loss_drop(partition);
    }
    if (now < engine->startup_until && engine->fence_grace_until < now + ENGINE_STARTUP_MS)
        engine->fence_grace_until = now + ENGINE_STARTUP_MS;
    load_enter(engine, LOAD_READ);
    engine->load_rebalance = rebalance;
    engine->foreign.count = engine->ended_owners.count = 0;
}

void takeover_cancel(struct engine *engine)
{
    load_enter(engine, LOAD_NONE);
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_ARRIVING)
            partition_forget(partition);
    }
}

bool takeover_owners_ended(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    bool ended = true;
    for (size_t i = 0; i < count; i++) {
        struct error error;
        struct ledger ledger = {0};
        struct partition *partition = group_partition(engine, &ledgers[i]);
        if (partition && partition->phase == PARTITION_ARRIVING &&
            !group_decode(&ledger, &ledgers[i], &error) && ledger.owner[0] &&
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
        loss_taken_over(partition);
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
void takeover_load(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error error;
        struct ledger ledger = {0};
        struct partition *partition = group_partition(engine, &ledgers[i]);
        if (partition && partition->phase == PARTITION_ARRIVING && ledgers[i].absent) {
            loss_drop(partition); /* it is assigned again if the topic gets it */
            partition->arrived_with = 0;
        } else if (partition && partition->phase == PARTITION_ARRIVING) {
            if (group_decode(&ledger, &ledgers[i], &error)) {
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

void engine_owner_ended(struct engine *engine, enum group_answer answer, int64_t now)
{
    if (!group_op_ended(engine, answer, now))
        return;
    for (size_t i = 0; i < engine->foreign.count; i++) {
        if (has_owner(&engine->ended_owners, engine->foreign.names[i]))
            continue;
        add_owner(&engine->ended_owners, engine->foreign.names[i]);
        return;
    }
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
        if (partition_has_uncommitted_halt(partition) && partition->in_group_op)
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
        group_op_again(engine); /* the refusal may pass */
        return;
    }
    /* It stays halted here, and is claimed in the next assignment. */
    if (partition_has_uncommitted_halt(partition)) {
        partition->halt_uncommitted = false;
        return;
    }
    text_printf(&reason, "the broker refuses to commit its ledger of %zu characters: %s",
                engine->group_op_ledgers->metadata_size, engine->broker_says);
    partition_halt(partition, text_take(&reason));
    partition->unclaimed = true;
}

void takeover_claim_answered(struct engine *engine, enum group_answer answer)
{
    if (answer == GROUP_RETRY)
        group_op_again(engine);
    else if (answer == GROUP_REFUSED)
        claim_refused(engine);
    else if (answer == GROUP_DONE)
        claim_committed(engine);
    else if (engine->load == LOAD_CLAIM)
        load_enter(engine,
                   LOAD_ASSIGN); /* unclaimed: they stay unused until the group revokes them */
}
