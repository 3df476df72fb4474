#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* One transaction of the protocol: it publishes requests that have ended, unmarks those that came
 * back unsent, and marks those that may start. A request that it marks is dialled only after the
 * transaction has committed. Model: "begin" (build, marks), tickLanded, tickFailed. */

enum {
    ITEMS_MOST = 2000, /* results in one transaction */
    IDLE_COMMIT_MS =
        100, /* a base that moved alone (over gaps of the log) waits this long for other changes */
};

static void join_tick(struct partition *partition)
{
    if (partition_in_tick(partition))
        return;
    list_append(&partition->engine->tick.partitions, &partition->tick_node);
    partition->tick_top = partition->top;
    partition->limit = partition_start_limit(partition);
}

static void raise_top(struct partition *partition, int64_t offset)
{
    if (offset >= partition->tick_top)
        partition->tick_top = offset + 1;
}

/* O(ended). */
static void take_ended(struct engine *engine)
{
    size_t taken = 0;
    list_each_safe(at, &engine->ended)
    {
        struct request *request = list_of(at, struct request, list_node);
        struct partition *partition = request->partition;
        if (taken >= ITEMS_MOST)
            break;
        if (partition ? !partition_takes_part(partition) : engine->now < engine->late_until)
            continue;
        if (partition) {
            join_tick(partition);
            if (!request->marked && request->place.offset > partition->limit)
                continue;
            raise_top(partition, request->place.offset);
        }
        request_move(engine, request, REQUEST_ENDING);
        taken++;
    }
}

/* O(requests that came back unsent). */
static void take_unstarted(struct engine *engine)
{
    list_each_safe(at, &engine->unstart)
    {
        struct request *request = list_of(at, struct request, list_node);
        if (!partition_takes_part(request->partition))
            continue;
        join_tick(request->partition);
        request_move(engine, request, REQUEST_UNSTARTING);
    }
}

/* The number of requests that this transaction unmarks. O(that number). */
static int64_t unmarking(const struct engine *engine)
{
    int64_t count = 0;
    list_each(at, &engine->tick.ending) count += list_of(at, struct request, list_node)->marked;
    list_each(at, &engine->tick.undone) count++;
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
                        : options->slots + (int64_t)engine->surplus - outstanding;
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
    join_tick(partition);
    list_each_safe(at, &partition->ready)
    {
        struct lane *lane = list_of(at, struct lane, ready_node);
        struct request *request = list_of(lane->requests.next, struct request, lane_node);
        if (request->place.offset > partition->limit)
            continue;
        raise_top(partition, request->place.offset);
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
    engine->short_of_slots = budget <= 0;
}

static void add_item(struct tick *tick, enum engine_item_type type, struct request *request)
{
    if (tick->item_count == tick->item_capacity) {
        tick->item_capacity = tick->item_capacity ? tick->item_capacity * 2 : 64;
        tick->items = memory_resize(tick->items, tick->item_capacity * sizeof *tick->items);
        tick->item_requests =
            memory_resize(tick->item_requests, tick->item_capacity * sizeof *tick->item_requests);
    }
    tick->item_requests[tick->item_count] = request;
    tick->items[tick->item_count++] =
        (struct engine_item){type, request, request->small, request->keyed};
}

/* O(ending). */
static void write_items(struct tick *tick)
{
    tick->item_count = 0;
    list_each(at, &tick->ending)
    {
        struct request *request = list_of(at, struct request, list_node);
        if (request->gone) {
            add_item(tick, ITEM_GONE, request);
        } else if (request->late) {
            add_item(tick, ITEM_LATE, request);
        } else {
            if (request->event.order_id)
                add_item(tick, ITEM_RESULT, request);
            if (request->outcome.status == STATUS_INVALID || !request->event.order_id)
                add_item(tick, ITEM_INVALID, request);
        }
    }
}

static void free_ledgers(struct tick *tick)
{
    for (size_t i = 0; i < tick->ledger_count; i++)
        free((char *)tick->ledgers[i].metadata);
    tick->ledger_count = 0;
}

void tick_fini(struct tick *tick)
{
    free_ledgers(tick);
    free(tick->ledgers);
    free(tick->items);
    free(tick->item_requests);
}

/* O(runs of the ledger, changes). */
static void write_ledger(struct engine *engine, struct partition *partition)
{
    struct tick *tick = &engine->tick;
    struct text metadata = {0};
    partition_ledger(partition, engine->owner, partition->sequence + 1, partition->tick_top);
    partition->tick_base = engine->scratch.base;
    ledger_encode(&engine->scratch, &metadata);
    assert((int64_t)metadata.length <= engine->options.ledger_max);
    partition->ledger_size = metadata.length;
    if (tick->ledger_count == tick->ledger_capacity) {
        tick->ledger_capacity = tick->ledger_capacity ? tick->ledger_capacity * 2 : 16;
        tick->ledgers = memory_resize(tick->ledgers, tick->ledger_capacity * sizeof *tick->ledgers);
    }
    size_t size = metadata.length;
    tick->ledgers[tick->ledger_count++] = (struct stored_ledger){
        .kind = engine->options.kind,
        .partition = partition->number,
        .offset = partition->tick_base,
        .metadata = text_take(&metadata),
        .metadata_size = size,
    };
}

/* Adds the partitions of which only the base has moved, if there is something else to commit, or if
 * they have waited long enough. */
static void join_moved(struct engine *engine, bool anything)
{
    if (!anything && engine->now < engine->last_tick + IDLE_COMMIT_MS)
        return;
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if ((partition->changed || partition->asks) && partition_takes_part(partition))
            join_tick(partition);
    }
}

static bool changes_ledger(const struct partition *partition)
{
    return partition->changed || partition->asks || !list_empty(&partition->changes);
}

/* Removes the partition from this transaction. O(its changes, all ended requests). */
static void leave_out(struct engine *engine, struct partition *partition)
{
    struct list later;
    list_init(&later);
    list_append_all(&later, &engine->ended); /* as in tick_failed */
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
        if (request->state == REQUEST_UNSTARTING) {
            request_move(engine, request, REQUEST_UNSTART);
            continue;
        }
        request_move(engine, request, REQUEST_WAITING);
        lane_settle(request->lane);
    }
    list_remove(&partition->tick_node);
    list_remove(&partition->left_node);
    list_append(&engine->left_out, &partition->left_node);
}

/* Sets when a ledger that is too long is sent all the same: the known limit may be too low, or
 * outdated. */
static void put_off(struct partition *partition)
{
    partition->stuck_pause = block_pause(partition->stuck_pause);
    partition->offer_at = partition->engine->now + partition->stuck_pause;
}

static bool is_too_long(const struct partition *partition)
{
    const struct engine *engine = partition->engine;
    return (int64_t)partition->ledger_size > engine->ledger_max &&
           (!partition->offer_at || engine->now < partition->offer_at);
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
    if (!partition->offer_at)
        put_off(partition);
    partition_block(partition, ENGINE_BLOCK_FIRST_MS, reason.data);
    engine->blocked = true;
    text_fini(&reason);
}

/* Whether the partition may be in this transaction. Of partitions whose offsets were refused
 * together, halving finds the one that is refused alone. Accepted batches let batches grow again,
 * but not those with suspects, or the search would never end. */
static bool fits(const struct engine *engine, const struct partition *partition, size_t bytes,
                 bool suspects)
{
    size_t before = engine->tick.ledger_count - 1;
    if ((suspects || partition->suspect) && before && before >= engine->search_most)
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
            join_tick(partition);
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
    struct tick *tick = &engine->tick;
    size_t bytes = 0;
    bool suspects = false;
    free_ledgers(tick);
    list_each_safe(at, &tick->partitions)
    {
        struct partition *partition = list_of(at, struct partition, tick_node);
        if (!changes_ledger(partition)) {
            list_remove(at);
            continue;
        }
        write_ledger(engine, partition);
        bool too_long = is_too_long(partition);
        if (!too_long && fits(engine, partition, bytes, suspects)) {
            suspects |= partition->suspect;
            bytes += partition->ledger_size;
            continue;
        }
        free((char *)tick->ledgers[--tick->ledger_count].metadata);
        leave_out(engine, partition);
        if (too_long)
            block_too_long(partition);
    }
}

static void gather(struct engine *engine)
{
    struct tick *tick = &engine->tick;
    join_left_out(engine);
    take_ended(engine);
    take_unstarted(engine);
    if (engine->options.kind == REQUEST_CALL) /* recordings need no mark */
        choose_calls(engine);
    join_moved(engine, !list_empty(&tick->ending) || !list_empty(&tick->undone) ||
                           !list_empty(&tick->chosen));
    write_ledgers(engine);
}

/* If partitions that were left out would have unmarked requests, more would be marked than allowed:
 * then this transaction marks no new ones. Returns whether this was the case. O(chosen requests,
 * ledgers). */
static bool choose_fewer(struct engine *engine)
{
    int64_t marked = (int64_t)engine->marked - unmarking(engine) + (int64_t)engine->chosen;
    if (marked <= 2 * engine->options.slots || list_empty(&engine->tick.chosen))
        return false;
    list_each_safe(at, &engine->tick.chosen)
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
bool tick_build(struct engine *engine, struct engine_action *action)
{
    struct tick *tick = &engine->tick;
    gather(engine);
    for (size_t tries = 0; choose_fewer(engine) && !tick->ledger_count && tries < engine->all_count;
         tries++)
        gather(engine); /* partitions that were left out come first now */
    write_items(tick);
    if (!tick->ledger_count && !tick->item_count)
        return false;
    engine->surplus =
        engine->ended_calls > engine->surplus / 2 ? engine->ended_calls : engine->surplus / 2;
    if ((int64_t)engine->surplus > engine->options.slots)
        engine->surplus = (size_t)engine->options.slots;
    engine->ended_calls = 0;
    tick->began = engine->last_tick = engine->now;
    *action = (struct engine_action){.type = ENGINE_TRANSACT,
                                     .items = tick->items,
                                     .item_count = tick->item_count,
                                     .ledgers = tick->ledgers,
                                     .ledger_count = tick->ledger_count};
    return true;
}

static void chosen_landed(struct engine *engine, struct request *request, bool lease)
{
    if (!request->partition) {
        request_move(engine, request, REQUEST_WAITING);
        request_free(request);
        return;
    }
    request->marked = true;
    engine->marked++;
    request->call.lease_until_ms = engine->tick.began + engine->options.lease_ms;
    bool start = lease && engine->now < request->call.lease_until_ms &&
                 request->partition->phase == PARTITION_ACTIVE;
    request_move(engine, request, start ? REQUEST_STARTING : REQUEST_UNSTART);
}

static void undone_landed(struct engine *engine, struct request *request)
{
    struct partition *partition = request->partition;
    if (request->marked)
        engine->marked--;
    request->marked = false;
    request_move(engine, request, REQUEST_WAITING);
    if (!partition)
        request_free(request);
    else
        lane_settle(request->lane);
}

static void ending_landed(struct engine *engine, struct request *request)
{
    struct partition *partition = request->partition;
    if (request->marked)
        engine->marked--;
    if (request->late)
        engine->late--;
    if (!partition)
        engine->late_until = engine->late_pause = 0;
    request_move(engine, request, REQUEST_WAITING);
    if (partition)
        partition_remove(partition, request);
    request_free(request);
}

/* Offsets that were read while the transaction was running are left for the next one. */
static void note_what_moved(struct engine *engine)
{
    list_each_safe(at, &engine->tick.partitions)
    {
        struct partition *partition = list_of(at, struct partition, tick_node);
        partition->changed = partition->phase != PARTITION_GONE &&
                             list_empty(&partition->requests) && partition->base < partition->next;
        partition_watch(partition);
        list_remove(at);
    }
}

/* Keeps the marks of the committed ledger. */
static void ledger_landed(struct partition *partition)
{
    struct marks told = partition->telling;
    partition->telling = partition->told;
    partition->told = told;
    partition->sequence++;
    partition->base = partition->tick_base;
    partition->top = partition->tick_top > partition->base ? partition->tick_top : partition->base;
    assert(told.base == partition->base && told.end == partition->top);
    marks_drop(&partition->ahead, partition->top);
}

static void ledgers_landed(struct engine *engine)
{
    list_each(at, &engine->tick.partitions)
    {
        struct partition *partition = list_of(at, struct partition, tick_node);
        partition->suspect = false;
        partition->asks &= engine->tick.began <= partition->lost_at;
        partition_unblock(partition);
        ledger_landed(partition);
    }
}

/* O(requests and ledgers in it). */
void tick_landed(struct engine *engine, bool lease)
{
    struct tick *tick = &engine->tick;
    engine->transactions++;
    if (tick->item_count || !engine->aborted_records)
        engine->aborts = 0; /* not by a single success between failures */
    ledgers_landed(engine);
    list_each_safe(at, &tick->ending) ending_landed(engine, list_of(at, struct request, list_node));
    list_each_safe(at, &tick->undone) undone_landed(engine, list_of(at, struct request, list_node));
    list_each_safe(at, &tick->chosen)
        chosen_landed(engine, list_of(at, struct request, list_node), lease);
    note_what_moved(engine);
    free_ledgers(tick);
    engine_assert_sound(engine);
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
    if (!request->late || !request->refused) { /* a refused result is not a dead letter yet */
        request_late_or_free(engine, request);
        return;
    }
    engine->late--; /* not even the topic of dead letters accepts it */
    request_move(engine, request, REQUEST_WAITING);
    request_free(request);
}

void tick_offsets_refused(struct engine *engine)
{
    const struct tick *tick = &engine->tick;
    list_each(at, &tick->partitions)
    {
        struct partition *partition = list_of(at, struct partition, tick_node);
        partition->suspect = true;
        if (partition->offer_at)
            put_off(partition);
    }
    engine->search_most = tick->ledger_count > 1 ? tick->ledger_count / 2 : 1;
    if (!batch_refused(engine, tick->ledgers, tick->ledger_count) && tick->ledger_count) {
        struct partition *partition = partition_find(engine, tick->ledgers[0].partition);
        struct text reason = {0};
        text_printf(&reason, "the broker refuses to commit its offset: %s", engine->broker_says);
        if (partition)
            partition_block(partition, 0, reason.data);
        text_fini(&reason);
    }
    tick_failed(engine);
}

/* O(requests and ledgers in it). */
void tick_failed(struct engine *engine)
{
    struct tick *tick = &engine->tick;
    struct list later;
    list_init(&later);
    list_append_all(&later, &engine->ended); /* requests of the failed transaction come before those
                                                that have ended since */
    list_each_safe(at, &tick->ending) ending_failed(engine, list_of(at, struct request, list_node));
    list_append_all(&engine->ended, &later);
    list_each_safe(at, &tick->undone)
    {
        struct request *request = list_of(at, struct request, list_node);
        if (!request->partition)
            undone_landed(engine, request);
        else
            request_move(engine, request, REQUEST_UNSTART);
    }
    list_each_safe(at, &tick->chosen)
    {
        struct request *request = list_of(at, struct request, list_node);
        request_move(engine, request, REQUEST_WAITING);
        if (!request->partition)
            request_free(request);
        else
            lane_settle(request->lane);
    }
    while (list_take_first(&tick->partitions))
        continue;
    free_ledgers(tick);
    engine_assert_sound(engine);
}
