#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* One turn of the protocol: what has ended is published, what came back unsent loses its mark, and
 * what may start is chosen, all in one transaction; nothing that it chose is dialled before it has
 * committed. Model: "begin" (build, marks), tickLanded, tickFailed. */

enum {
    ITEMS_MOST = 2000, /* results in one transaction */
    IDLE_COMMIT_MS =
        100, /* a base that moved alone (over gaps of the log) waits this long for company */
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

/* O(came back unsent). */
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

/* Marks that this transaction takes away. O(these). */
static int64_t unmarking(const struct engine *engine)
{
    int64_t count = 0;
    list_each(at, &engine->tick.ending) count += list_of(at, struct request, list_node)->marked;
    list_each(at, &engine->tick.undone) count++;
    return count;
}

/* How many calls may be marked by this transaction: some more than there are slots, as many as end
 * during one tick, so that a slot never waits for a commit; and never more than twice the slots
 * marked at once. */
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

/* One turn of a partition. Returns how many it has chosen. */
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

/* Partitions take turns, across transactions. Those that cannot start anything now stay first in
 * line. O(chosen, those in line that have nothing to start any more, and ready lanes for which
 * there is no room in the ledger). */
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

/* Brings in the partitions whose base alone has moved, when there is something to commit anyhow or
 * it has waited long enough. */
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

/* Takes what this transaction was to do for the partition back. O(its changes, all that has ended).
 */
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

/* The next time to offer a ledger that is too long. What is known of the limit may be too little,
 * or of another time. */
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

/* A limit that was learned is below what is marked already: it waits until more has ended, or until
 * it is offered again. */
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

/* Among those whose offsets were refused together, the one that is refused by itself is found by
 * halving. What lands meanwhile makes batches grow again: these do not, or the one that is looked
 * for would have company for ever. */
static bool fits(const struct engine *engine, const struct partition *partition, size_t bytes,
                 bool suspects)
{
    size_t before = engine->tick.ledger_count - 1;
    if ((suspects || partition->suspect) && before && before >= engine->search_most)
        return false;
    return batch_fits(engine, before, bytes, partition->ledger_size);
}

/* Those for which there was no room come first now: in the transaction, and when it is chosen. */
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

/* Writes the ledgers of those in it. What is too much for one transaction is left for the next one.
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

/* What was left out was to take marks away, and without that more would be marked than may be: then
 * nothing new is. Returns whether it was so. O(chosen, ledgers). */
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

/* O(what has ended, come back, and starts; ledgers with their runs): nothing in it grows with the
 * partitions of which nothing happens, or with the requests that wait. */
bool tick_build(struct engine *engine, struct engine_action *action)
{
    struct tick *tick = &engine->tick;
    gather(engine);
    for (size_t tries = 0; choose_fewer(engine) && !tick->ledger_count && tries < engine->all_count;
         tries++)
        gather(engine); /* what was left out comes first now */
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

/* Offsets that were seen while the transaction was on its way are left for the next one. */
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

/* What was told is remembered. */
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
        engine->aborts = 0; /* not what comes through between those that fail */
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
    if (!request->late || !request->refused) { /* a result that was refused is no dead letter yet */
        request_late_or_free(engine, request);
        return;
    }
    engine->late--; /* not even the dead letters take it */
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
    list_append_all(&later, &engine->ended); /* what failed comes before what has ended since */
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
