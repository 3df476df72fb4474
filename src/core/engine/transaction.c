#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* One transaction of the protocol: it publishes requests that have ended, unmarks those that came
 * back unsent, and marks those that may start. A request that it marks is dialled only after the
 * transaction has committed. Model: "begin" (build, marks), tickLanded, tickFailed. */

enum {
    ITEMS_MAX = 2000, /* results in one transaction */
    IDLE_COMMIT_MS =
        100, /* a base that moved alone (over gaps of the log) waits this long for other changes */
};

static void join_txn(struct partition *partition)
{
    if (partition_in_txn(partition))
        return;
    list_append(&partition->engine->txn.partitions, &partition->txn_node);
    partition->txn_top = partition->top;
    partition->limit = partition_start_limit(partition);
}

static void raise_top(struct partition *partition, int64_t offset)
{
    if (offset >= partition->txn_top)
        partition->txn_top = offset + 1;
}

/* O(ended). */
static void take_ended(struct engine *engine)
{
    size_t taken = 0;
    list_each_safe(at, &engine->ended)
    {
        struct request *request = list_of(at, struct request, list_node);
        struct partition *partition = request->partition;
        if (taken >= ITEMS_MAX)
            break;
        if (partition ? !partition_takes_part(partition) : engine->now < engine->late_until)
            continue;
        if (partition) {
            join_txn(partition);
            if (!request->marked && request->position.offset > partition->limit)
                continue;
            raise_top(partition, request->position.offset);
        }
        request_move(engine, request, REQUEST_ENDING);
        taken++;
    }
}

/* O(requests that came back unsent). */
static void take_unsent(struct engine *engine)
{
    list_each_safe(at, &engine->to_unmark)
    {
        struct request *request = list_of(at, struct request, list_node);
        if (!partition_takes_part(request->partition))
            continue;
        join_txn(request->partition);
        request_move(engine, request, REQUEST_UNMARKING);
    }
}

/* The number of requests that this transaction unmarks. O(that number). */
static int64_t unmarking(const struct engine *engine)
{
    int64_t count = 0;
    list_each(at, &engine->txn.ending) count += list_of(at, struct request, list_node)->marked;
    list_each(at, &engine->txn.unmarked) count++;
    return count;
}

/* How many calls this transaction may mark. More than the slots, by as many calls as end during one
 * transaction, so that a slot never waits for a commit; and never more than twice the slots marked
 * in total. */
static int64_t call_budget(const struct engine *engine)
{
    const struct engine_options *options = &engine->options;
    int64_t outstanding = (int64_t)(engine->handed + engine->chosen);
    int64_t slots = engine->allowed < options->slots
                        ? engine->allowed - outstanding
                        : options->slots + (int64_t)engine->overcommit - outstanding;
    int64_t marks = 2 * options->slots - ((int64_t)engine->marked - unmarking(engine)) -
                    (int64_t)engine->chosen;
    return slots < marks ? slots : marks;
}

/* One turn of a partition. Returns how many requests it has chosen. */
static int64_t choose_from(struct engine *engine, struct partition *partition, int64_t most)
{
    int64_t chosen = 0;
    if (!partition_takes_part(partition))
        return 0;
    join_txn(partition);
    list_each_safe(at, &partition->ready)
    {
        struct lane *lane = list_of(at, struct lane, ready_node);
        struct request *request = list_of(lane->requests.next, struct request, lane_node);
        if (request->position.offset > partition->limit)
            continue;
        raise_top(partition, request->position.offset);
        request_move(engine, request, REQUEST_CHOSEN);
        lane_settle(lane);
        if (++chosen == most)
            break;
    }
    return chosen;
}

/* Partitions take turns, across transactions. Partitions that cannot start anything now stay at the
 * front of the line. O(chosen requests, partitions in line without a request to start, and ready
 * lanes without room in the ledger). */
static void choose_calls(struct engine *engine)
{
    int64_t budget = call_budget(engine), turn = turn_length(engine);
    struct list waiting;
    struct partition *partition;
    bool newcomer;
    list_init(&waiting);
    while (budget > 0 && (partition = turn_take(engine, &newcomer))) {
        int64_t chosen = choose_from(engine, partition, turn < budget ? turn : budget);
        budget -= chosen;
        if (!chosen && !list_empty(&partition->ready))
            list_append(&waiting, &partition->turn_node);
        else
            turn_over(partition, newcomer);
    }
    list_append_all(&waiting, &engine->turns);
    list_append_all(&engine->turns, &waiting);
    engine->slots_exhausted = budget <= 0;
}

static void add_item(struct txn *txn, enum engine_item_type type, struct request *request)
{
    if (txn->item_count == txn->item_capacity) {
        txn->item_capacity = txn->item_capacity ? txn->item_capacity * 2 : 64;
        txn->items = memory_resize(txn->items, txn->item_capacity * sizeof *txn->items);
        txn->item_requests =
            memory_resize(txn->item_requests, txn->item_capacity * sizeof *txn->item_requests);
    }
    txn->item_requests[txn->item_count] = request;
    txn->items[txn->item_count++] =
        (struct engine_item){type, request, *request_size_form(request, type), request->keyed};
}

/* O(ending). */
static void write_items(struct txn *txn)
{
    txn->item_count = 0;
    list_each(at, &txn->ending)
    {
        struct request *request = list_of(at, struct request, list_node);
        if (request->record_deleted) {
            add_item(txn, ITEM_GONE, request);
        } else if (request->late_outcome) {
            add_item(txn, ITEM_LATE, request);
        } else {
            if (request->event.order_id)
                add_item(txn, ITEM_RESULT, request);
            if (request->outcome.status == STATUS_INVALID || !request->event.order_id)
                add_item(txn, ITEM_INVALID, request);
        }
    }
}

static void free_ledgers(struct txn *txn)
{
    for (size_t i = 0; i < txn->ledger_count; i++)
        free((char *)txn->ledgers[i].metadata);
    txn->ledger_count = 0;
}

void txn_fini(struct txn *txn)
{
    free_ledgers(txn);
    free(txn->ledgers);
    free(txn->items);
    free(txn->item_requests);
}

/* O(runs of the ledger, changes). */
static void write_ledger(struct engine *engine, struct partition *partition)
{
    struct txn *txn = &engine->txn;
    struct text metadata = {0};
    partition_ledger(partition, engine->owner, partition->sequence + 1, partition->txn_top);
    partition->txn_base = engine->scratch.base;
    partition_encode(engine, &metadata);
    partition->ledger_size = metadata.length;
    txn->ledgers = memory_grow(txn->ledgers, txn->ledger_count, &txn->ledger_capacity,
                               sizeof *txn->ledgers, 16);
    size_t size = metadata.length;
    txn->ledgers[txn->ledger_count++] = (struct stored_ledger){
        .kind = engine->options.kind,
        .partition = partition->number,
        .offset = partition->txn_base,
        .metadata = text_take(&metadata),
        .metadata_size = size,
    };
}

/* Adds the partitions of which only the base has moved, if there is something else to commit, or if
 * they have waited long enough. */
static void join_moved(struct engine *engine, bool anything)
{
    if (!anything && engine->now < engine->last_txn + IDLE_COMMIT_MS)
        return;
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if ((partition->base_moved || partition->probes_membership) &&
            partition_takes_part(partition))
            join_txn(partition);
    }
}

static bool changes_ledger(const struct partition *partition)
{
    return partition->base_moved || partition->probes_membership ||
           !list_empty(&partition->changes);
}

/* Removes the partition from this transaction. O(its changes, all ended requests). */
static void leave_out(struct engine *engine, struct partition *partition)
{
    struct list later;
    list_init(&later);
    list_append_all(&later, &engine->ended); /* as in txn_failed */
    list_each_safe(at, &partition->changes)
    {
        struct request *request = list_of(at, struct request, change_node);
        if (request->state == REQUEST_ENDING)
            request_move(engine, request, REQUEST_ENDED);
    }
    list_append_all(&engine->ended, &later);
    list_each_safe(at, &partition->changes)
    {
        struct request *request = list_of(at, struct request, change_node);
        if (request->state == REQUEST_UNMARKING) {
            request_move(engine, request, REQUEST_TO_UNMARK);
            continue;
        }
        request_move(engine, request, REQUEST_WAITING);
        lane_settle(request->lane);
    }
    list_remove(&partition->txn_node);
    list_remove(&partition->left_node);
    list_append(&engine->left_out, &partition->left_node);
}

/* Sets when a ledger that is too long is sent all the same: the known limit may be too low, or
 * outdated. */
static void put_off_oversize(struct partition *partition)
{
    partition->blocked_pause = block_pause(partition->blocked_pause);
    partition->oversize_retry_at = partition->engine->now + partition->blocked_pause;
}

/* A ledger that no worker would read is never sent. */
static bool is_too_long(const struct partition *partition)
{
    const struct engine *engine = partition->engine;
    int64_t size = (int64_t)partition->ledger_size;
    return size > engine->options.ledger_max ||
           (size > engine->ledger_max &&
            (!partition->oversize_retry_at || engine->now < partition->oversize_retry_at));
}

/* Blocks a partition whose marks need more than the learned limit, until more requests have ended,
 * or until its ledger is sent all the same. */
static void block_too_long(struct partition *partition)
{
    struct engine *engine = partition->engine;
    struct text reason = {0};
    text_printf(&reason,
                "its ledger needs %zu characters now, and the broker seems to take no more than "
                "%" PRId64 " (offset.metadata.max.bytes)",
                partition->ledger_size, engine->ledger_max);
    if (!partition->oversize_retry_at)
        put_off_oversize(partition);
    partition_block(partition, ENGINE_BLOCK_FIRST_MS, reason.data);
    engine->blocked = true;
    text_fini(&reason);
}

/* Whether the partition may be in this transaction. Of partitions whose offsets were refused
 * together, halving finds the one that is refused alone. Accepted batches let batches grow again,
 * but not those with a refused ledger, or the search would never end. */
static bool fits(const struct engine *engine, const struct partition *partition, size_t bytes,
                 bool any_refused)
{
    size_t before = engine->txn.ledger_count - 1;
    if ((any_refused || partition->offsets_refused) && before && before >= engine->search_max)
        return false;
    return batch_fits(engine, before, bytes, partition->ledger_size);
}

/* Partitions that did not fit into the last transaction come first: in this transaction, and when
 * requests are chosen. */
static void join_left_out(struct engine *engine)
{
    list_each(at, &engine->left_out)
    {
        struct partition *partition = list_of(at, struct partition, left_node);
        if (partition_takes_part(partition))
            join_txn(partition);
    }
    while (!list_empty(&engine->left_out)) { /* from the last one on */
        struct list *last = engine->left_out.previous;
        turn_first(list_of(last, struct partition, left_node));
        list_remove(last);
    }
}

/* Writes the ledgers of this transaction. Ledgers that do not fit are left for the next one.
 * O(ledgers). */
static void write_ledgers(struct engine *engine)
{
    struct txn *txn = &engine->txn;
    size_t bytes = 0;
    bool any_refused = false;
    free_ledgers(txn);
    list_each_safe(at, &txn->partitions)
    {
        struct partition *partition = list_of(at, struct partition, txn_node);
        if (!changes_ledger(partition)) {
            list_remove(at);
            continue;
        }
        write_ledger(engine, partition);
        bool too_long = is_too_long(partition);
        if (!too_long && fits(engine, partition, bytes, any_refused)) {
            any_refused |= partition->offsets_refused;
            bytes += partition->ledger_size;
            continue;
        }
        free((char *)txn->ledgers[--txn->ledger_count].metadata);
        leave_out(engine, partition);
        if (too_long)
            block_too_long(partition);
    }
}

static void gather(struct engine *engine)
{
    struct txn *txn = &engine->txn;
    join_left_out(engine);
    take_ended(engine);
    take_unsent(engine);
    if (engine->options.kind == REQUEST_CALL) /* recordings need no mark */
        choose_calls(engine);
    join_moved(engine, !list_empty(&txn->ending) || !list_empty(&txn->unmarked) ||
                           !list_empty(&txn->chosen));
    write_ledgers(engine);
}

/* If partitions that were left out would have unmarked requests, more would be marked than allowed:
 * then this transaction marks no new ones. Returns whether this was the case. O(chosen requests,
 * ledgers). */
static bool choose_fewer(struct engine *engine)
{
    int64_t marked = (int64_t)engine->marked - unmarking(engine) + (int64_t)engine->chosen;
    if (marked <= 2 * engine->options.slots || list_empty(&engine->txn.chosen))
        return false;
    list_each_safe(at, &engine->txn.chosen)
    {
        struct request *request = list_of(at, struct request, list_node);
        request_move(engine, request, REQUEST_WAITING);
        lane_settle(request->lane);
    }
    write_ledgers(engine);
    return true;
}

/* O(requests that ended, came back or start; ledgers with their runs). The cost does not depend on
 * idle partitions or waiting requests. */
bool txn_build(struct engine *engine, struct engine_action *action)
{
    struct txn *txn = &engine->txn;
    gather(engine);
    for (size_t tries = 0; choose_fewer(engine) && !txn->ledger_count && tries < engine->all_count;
         tries++)
        gather(engine); /* partitions that were left out come first now */
    write_items(txn);
    if (!txn->ledger_count && !txn->item_count)
        return false;
    engine->overcommit =
        engine->ended_calls > engine->overcommit / 2 ? engine->ended_calls : engine->overcommit / 2;
    if ((int64_t)engine->overcommit > engine->options.slots)
        engine->overcommit = (size_t)engine->options.slots;
    engine->ended_calls = 0;
    txn->began = engine->last_txn = engine->now;
    *action = (struct engine_action){.type = ENGINE_TRANSACT,
                                     .items = txn->items,
                                     .item_count = txn->item_count,
                                     .ledgers = txn->ledgers,
                                     .ledger_count = txn->ledger_count};
    return true;
}

static void chosen_committed(struct engine *engine, struct request *request, bool lease)
{
    if (!request->partition) {
        request_drop(engine, request);
        return;
    }
    request->marked = true;
    engine->marked++;
    request->call.lease_until_ms = engine->txn.began + engine->options.lease_ms;
    bool start = lease && engine->now < request->call.lease_until_ms &&
                 request->partition->phase == PARTITION_ACTIVE;
    request_move(engine, request, start ? REQUEST_STARTING : REQUEST_TO_UNMARK);
}

/* Its mark is not in the ledger, or the partition is gone. */
static void wait_again(struct engine *engine, struct request *request)
{
    if (!request->partition) {
        request_drop(engine, request);
        return;
    }
    request_move(engine, request, REQUEST_WAITING);
    lane_settle(request->lane);
}

static void unmarked_committed(struct engine *engine, struct request *request)
{
    if (request->marked)
        engine->marked--;
    request->marked = false;
    wait_again(engine, request);
}

static void ending_committed(struct engine *engine, struct request *request)
{
    struct partition *partition = request->partition;
    if (request->marked)
        engine->marked--;
    if (request->late_outcome)
        engine->late_outcomes--;
    if (!partition)
        engine->late_until = engine->late_pause = 0;
    if (partition)
        partition_remove(partition, request);
    request_drop(engine, request);
}

/* Offsets that were read while the transaction was running are left for the next one. */
static void note_what_moved(struct engine *engine)
{
    list_each_safe(at, &engine->txn.partitions)
    {
        struct partition *partition = list_of(at, struct partition, txn_node);
        partition->base_moved = partition->phase != PARTITION_GONE &&
                                list_empty(&partition->requests) &&
                                partition->base < partition->next;
        partition_watch(partition);
        list_remove(at);
    }
}

/* Keeps the marks of the committed ledger. */
static void ledger_committed(struct partition *partition)
{
    struct marks told = partition->committing;
    partition->committing = partition->committed;
    partition->committed = told;
    partition->sequence++;
    partition->base = partition->txn_base;
    partition->top = partition->txn_top > partition->base ? partition->txn_top : partition->base;
    assert(told.base == partition->base && told.end == partition->top);
    marks_drop(&partition->ahead, partition->top);
}

static void ledgers_committed(struct engine *engine)
{
    list_each(at, &engine->txn.partitions)
    {
        struct partition *partition = list_of(at, struct partition, txn_node);
        partition->offsets_refused = false;
        partition->probes_membership &= engine->txn.began <= partition->lost_at;
        partition_unblock(partition);
        ledger_committed(partition);
    }
}

/* O(requests and ledgers in it). */
void txn_committed(struct engine *engine, bool lease)
{
    struct txn *txn = &engine->txn;
    engine->transactions++;
    if (txn->item_count || !engine->aborted_records)
        engine->aborts = 0; /* not by a single success between failures */
    ledgers_committed(engine);
    list_each_safe(at, &txn->ending)
        ending_committed(engine, list_of(at, struct request, list_node));
    list_each_safe(at, &txn->unmarked)
        unmarked_committed(engine, list_of(at, struct request, list_node));
    list_each_safe(at, &txn->chosen)
        chosen_committed(engine, list_of(at, struct request, list_node), lease);
    note_what_moved(engine);
    free_ledgers(txn);
}

static void ending_failed(struct engine *engine, struct request *request)
{
    if (request->partition) {
        request_move(engine, request, REQUEST_ENDED);
        return;
    }
    if (request->marked)
        engine->marked--;
    request->marked = false;
    /* A refused result is not a dead letter yet. */
    if (!request->late_outcome || !request->refused) {
        request_late_or_free(engine, request);
        return;
    }
    engine->late_outcomes--; /* not even the topic of dead letters accepts it */
    request_drop(engine, request);
}

void txn_offsets_refused(struct engine *engine)
{
    const struct txn *txn = &engine->txn;
    list_each(at, &txn->partitions)
    {
        struct partition *partition = list_of(at, struct partition, txn_node);
        partition->offsets_refused = true;
        if (partition->oversize_retry_at)
            put_off_oversize(partition);
    }
    engine->search_max = txn->ledger_count > 1 ? txn->ledger_count / 2 : 1;
    if (!batch_refused(engine, txn->ledgers, txn->ledger_count) && txn->ledger_count) {
        struct partition *partition = partition_find(engine, txn->ledgers[0].partition);
        struct text reason = {0};
        text_printf(&reason, "the broker refuses to commit its offset: %s", engine->broker_says);
        if (partition)
            partition_block(partition, 0, reason.data);
        text_fini(&reason);
    }
    txn_failed(engine);
}

/* O(requests and ledgers in it). */
void txn_failed(struct engine *engine)
{
    struct txn *txn = &engine->txn;
    struct list later;
    list_init(&later);
    list_append_all(&later, &engine->ended); /* requests of the failed transaction come before those
                                                that have ended since */
    list_each_safe(at, &txn->ending) ending_failed(engine, list_of(at, struct request, list_node));
    list_append_all(&engine->ended, &later);
    list_each_safe(at, &txn->unmarked)
    {
        struct request *request = list_of(at, struct request, list_node);
        if (!request->partition)
            unmarked_committed(engine, request);
        else
            request_move(engine, request, REQUEST_TO_UNMARK);
    }
    list_each_safe(at, &txn->chosen) wait_again(engine, list_of(at, struct request, list_node));
    while (list_take_first(&txn->partitions))
        continue;
    free_ledgers(txn);
}
