#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/engine/internal.h"

enum { SHORT_LEDGER_DOUBT = 16 }; /* characters of a short ledger for each doubt that it names */

static void register_partition(struct engine *engine, struct partition *partition)
{
    size_t number = (size_t)partition->number, count = engine->numbered_count;
    if (number >= count) {
        engine->numbered =
            memory_extend(engine->numbered, count, number + 1, sizeof(struct partition *));
        engine->numbered_count = number + 1;
    }
    engine->numbered[number] = partition;
    engine->all = memory_grow(engine->all, engine->all_count, &engine->all_capacity,
                              sizeof(struct partition *), 16);
    partition->at = engine->all_count;
    engine->all[engine->all_count++] = partition;
    list_append(&engine->partitions, &partition->node);
}

static void deregister_partition(struct engine *engine, struct partition *partition)
{
    engine->numbered[partition->number] = NULL;
    struct partition *last = engine->all[--engine->all_count];
    engine->all[partition->at] = last;
    last->at = partition->at;
    list_remove(&partition->node);
    list_remove(&partition->turn_node);
    list_remove(&partition->watch_node);
}

struct partition *partition_new(struct engine *engine, int32_t number)
{
    struct partition *partition = memory_zeroed(1, sizeof *partition);
    partition->engine = engine;
    partition->number = number;
    partition->doubts.most = engine->options.doubts;
    list_init(&partition->turn_node);
    list_init(&partition->watch_node);
    list_init(&partition->txn_node);
    list_init(&partition->left_node);
    list_init(&partition->changes);
    list_init(&partition->requests);
    list_init(&partition->ready);
    map_init(&partition->lanes);
    register_partition(engine, partition);
    partition_watch(partition);
    return partition;
}

void partition_watch(struct partition *partition)
{
    bool watched = partition_is_watched(partition);
    if (watched == list_linked(&partition->watch_node))
        return;
    if (watched)
        list_append(&partition->engine->watched, &partition->watch_node);
    else
        list_remove(&partition->watch_node);
}

void partition_enter(struct partition *partition, enum partition_phase phase)
{
    state_check(MACHINE_PARTITION, partition->phase, phase, partition->number, -1);
    partition->phase = phase;
    partition_watch(partition);
}

void partition_recall(struct partition *partition, bool recall)
{
    partition->recall = recall;
    partition_watch(partition);
}

struct partition *partition_find(const struct engine *engine, int32_t number)
{
    return number >= 0 && (size_t)number < engine->numbered_count ? engine->numbered[number] : NULL;
}

/* Handles a request whose partition is gone. Requests in a running transaction stay until it has
 * ended. */
static void request_forget(struct engine *engine, struct request *request)
{
    enum request_state state = request->state;
    if (state != REQUEST_ENDING && state != REQUEST_UNMARKING) {
        engine->marked -= request->marked;
        request->marked = false;
    }
    list_remove(&request->partition_node);
    list_remove(&request->lane_node);
    list_remove(&request->change_node);
    request->lane = NULL;
    if (state == REQUEST_HANDED)
        request_move(engine, request, REQUEST_ORPHAN);
    request->partition = NULL;
    if (state == REQUEST_STARTING || state == REQUEST_TO_UNMARK || state == REQUEST_WAITING) {
        request_drop(engine, request);
    } else if (state == REQUEST_ENDED) {
        request_late_or_free(engine, request);
    }
}

void partition_clear(struct partition *partition)
{
    /* Unsent requests must not be sent any more, because the successor publishes that they may have
     * been. */
    partition->recall = partition->handed > 0;
    list_each_safe(at, &partition->requests)
        request_forget(partition->engine, list_of(at, struct request, partition_node));
    lane_free_all(partition);
    ledger_fini(&partition->loaded);
    marks_fini(&partition->committed);
    marks_fini(&partition->ahead);
    marks_fini(&partition->committing);
    list_remove(&partition->txn_node);
    list_remove(&partition->left_node);
    partition->fits_last = NULL;
    partition->fits_count = 0;
    partition->engine->bytes -= partition->bytes;
    partition->unfinished = partition->bytes = 0;
    partition->busy = partition->handed = partition->ended = 0;
    partition->loaded_end = partition->loaded_undone = partition->log_short_since = 0;
    partition->loaded_run = 0;
    partition->base_moved = partition->probes_membership = partition->offsets_refused = false;
}

void partition_forget(struct partition *partition)
{
    partition_clear(partition);
    partition_enter(partition, PARTITION_GONE);
}

void partition_halt(struct partition *partition, char *reason)
{
    partition_clear(partition);
    partition_enter(partition, PARTITION_HALTED);
    partition->unclaimed = false;
    free(partition->halt_reason);
    partition->halt_reason = reason;
}

void partition_halt_for_repair(struct partition *partition, char *reason)
{
    partition_halt(partition, reason);
    partition->needs_repair = true;
}

int64_t block_pause(int64_t last)
{
    int64_t pause = last ? 2 * last : ENGINE_BLOCK_FIRST_MS;
    return pause < ENGINE_BLOCK_MAX_MS ? pause : ENGINE_BLOCK_MAX_MS;
}

void partition_block(struct partition *partition, int64_t pause, const char *reason)
{
    if (partition->phase == PARTITION_HALTED)
        return;
    if (!pause)
        pause = partition->blocked_pause = block_pause(partition->blocked_pause);
    partition->blocked_until = partition->engine->now + pause;
    partition_watch(partition);
    free(partition->halt_reason);
    partition->halt_reason = memory_string(reason);
}

void partition_unblock(struct partition *partition)
{
    partition->blocked_until = partition->blocked_pause = partition->oversize_retry_at = 0;
    partition_watch(partition);
    if (partition->phase == PARTITION_HALTED)
        return;
    free(partition->halt_reason);
    partition->halt_reason = NULL;
}

void partition_free(struct partition *partition)
{
    partition_clear(partition);
    deregister_partition(partition->engine, partition);
    map_fini(&partition->lanes);
    free(partition->halt_reason);
    free(partition);
}

static void inherit(struct partition *partition, int64_t first, int64_t length)
{
    struct engine_range *range = &partition->inherited;
    if (!range->count)
        range->first = first;
    range->count += (size_t)length;
    range->last = first + length - 1;
}

void partition_load(struct partition *partition, const struct ledger *ledger, bool committed)
{
    ledger_reset(&partition->loaded, ledger->base);
    marks_reset(&partition->committed, ledger->base);
    partition->loaded_run = 0;
    partition->loaded_undone = 0;
    partition->inherited = (struct engine_range){0};
    for (size_t i = 0; i < ledger->run_count; i++) {
        const struct ledger_run *run = &ledger->runs[i];
        if (run->mark == LEDGER_STARTED)
            inherit(partition, partition->committed.end, run->length);
        ledger_add(&partition->loaded, run->mark, run->length);
        marks_add(&partition->committed, run->mark, run->length);
        partition->loaded_undone += run->mark == LEDGER_DONE ? 0 : run->length;
    }
    partition->loaded_end = partition->committed.end;
    if (partition->loaded.run_count)
        partition->loaded_run_end = ledger->base + partition->loaded.runs[0].length;
    marks_reset(&partition->ahead, partition->committed.end);
    partition->sequence = ledger->sequence + ENGINE_CLAIM_STEP;
    partition->base = partition->next = ledger->base;
    partition->top = partition->loaded_end;
    partition->without_commit = !committed;
    doubts_load(&partition->doubts, ledger);
    /* The order ids of some doubts are not known, so all lanes wait, from the claim on. */
    partition->all_doubt_until = ledger->doubt ? INT64_MAX : 0;
}

enum ledger_mark partition_next_mark(const struct partition *partition, int64_t *end)
{
    bool loaded = partition->loaded_run < partition->loaded.run_count;
    *end = loaded ? partition->loaded_run_end : INT64_MAX;
    return loaded ? partition->loaded.runs[partition->loaded_run].mark : LEDGER_FRESH;
}

/* An offset that is fresh in the ledger and is not a record is done. The running transaction does
 * not contain this; the next one does. */
static void pass_no_record(struct partition *partition, int64_t until)
{
    marks_set(&partition->committed, partition->next, until, LEDGER_DONE);
    if (partition_in_txn(partition))
        marks_set(&partition->committing, partition->next, until, LEDGER_DONE);
}

void partition_pass(struct partition *partition, int64_t until, bool is_record)
{
    int64_t end;
    enum ledger_mark mark = partition_next_mark(partition, &end);
    bool loaded = end != INT64_MAX;
    if (loaded && mark == LEDGER_FRESH && !is_record)
        pass_no_record(partition, until);
    if (until > partition->ahead.end)
        marks_add(&partition->ahead, is_record ? LEDGER_FRESH : LEDGER_DONE,
                  until - partition->ahead.end);
    if (loaded && mark != LEDGER_DONE)
        partition->loaded_undone -= until - partition->next;
    partition->next = until;
    if (until == end && ++partition->loaded_run < partition->loaded.run_count)
        partition->loaded_run_end += partition->loaded.runs[partition->loaded_run].length;
    if (loaded && partition->loaded_run == partition->loaded.run_count) {
        ledger_fini(&partition->loaded); /* it is not needed any more */
        partition->loaded_run = 0;
    }
}

/* The request's mark after the running transaction (model: marks). */
static enum ledger_mark mark_of(const struct request *request)
{
    return request->state == REQUEST_ENDING   ? LEDGER_DONE
           : request->state == REQUEST_CHOSEN ? LEDGER_STARTED
                                              : LEDGER_FRESH;
}

static void add_change(struct engine *engine, size_t *count, const struct request *request,
                       enum ledger_mark mark)
{
    engine->changes =
        memory_grow(engine->changes, *count, &engine->change_capacity, sizeof *engine->changes, 64);
    engine->changes[(*count)++] = (struct mark_change){request->position.offset, mark};
}

/* Shellsort: one transaction has at most a few thousand changes, which mostly rise already. */
static void sort_changes(struct mark_change *changes, size_t count)
{
    static const size_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        size_t gap = gaps[g];
        for (size_t i = gap; i < count; i++) {
            struct mark_change change = changes[i];
            size_t at = i;
            for (; at >= gap && changes[at - gap].offset > change.offset; at -= gap)
                changes[at] = changes[at - gap];
            changes[at] = change;
        }
    }
}

/* Collects the changed marks, by offset. In the last ledger, that of a release, requests that came
 * back unsent are unmarked. */
static size_t gather_changes(const struct partition *partition, bool last)
{
    struct engine *engine = partition->engine;
    size_t count = 0;
    list_each(at, &partition->changes)
    {
        const struct request *request = list_of(at, struct request, change_node);
        add_change(engine, &count, request, mark_of(request));
    }
    if (last && partition->busy)
        list_each(at, &partition->requests)
        {
            const struct request *request = list_of(at, struct request, partition_node);
            if (request->state == REQUEST_TO_UNMARK)
                add_change(engine, &count, request, LEDGER_FRESH);
        }
    sort_changes(engine->changes, count);
    return count;
}

/* How many doubts a ledger of at most that size names: fewer if the broker accepts only short
 * ledgers. */
static size_t doubts_told(const struct engine *engine, int64_t ledger_max)
{
    if (ledger_max >= engine->options.ledger_max)
        return engine->options.doubts;
    size_t most = (size_t)ledger_max / SHORT_LEDGER_DOUBT;
    return most < engine->options.doubts ? most : engine->options.doubts;
}

/* The space for marks in a ledger of at most that size. With our own limit there is room for any
 * owner's name; with a smaller limit of the broker, for our own name only. */
static int64_t room_for_marks(const struct engine *engine, int64_t ledger_max)
{
    int64_t room = ledger_max - ledger_doubts_size(doubts_told(engine, ledger_max));
    if (ledger_max >= engine->options.ledger_max)
        return room;
    return room + LEDGER_OWNER_SIZE - 1 - (int64_t)strlen(engine->owner);
}

int64_t partition_ledger_min(const struct engine *engine)
{
    int64_t size = 1;
    while (size < engine->options.ledger_max && ledger_sure_span(room_for_marks(engine, size)) < 1)
        size++;
    return size;
}

/* Model: doubts. Doubts that are not named become one doubt without a name. */
static void add_doubts(const struct partition *partition, struct ledger *ledger)
{
    int64_t now = partition->engine->now;
    size_t most = doubts_told(partition->engine, partition->engine->ledger_max);
    ledger->doubt = now < partition->all_doubt_until;
    doubts_write(&partition->doubts, now, ledger);
    if (ledger->doubt_count > most) {
        ledger->doubt_count = most;
        ledger->doubt = true;
    }
}

void partition_ledger(struct partition *partition, const char *owner, uint64_t sequence,
                      int64_t top)
{
    struct engine *engine = partition->engine;
    struct ledger *ledger = &engine->scratch;
    ledger_reset(ledger, partition->committed.base);
    ledger->sequence = sequence;
    add_doubts(partition, ledger);
    snprintf(ledger->owner, sizeof ledger->owner, "%s", owner);
    size_t count = gather_changes(partition, !*owner);
    marks_write(&partition->committed, &partition->ahead, top, engine->changes, count, ledger);
    marks_take(&partition->committing, ledger);
    ledger_trim(ledger);
}

void partition_encode(struct engine *engine, struct text *out)
{
    ledger_encode_within(&engine->scratch, engine->options.ledger_max, out);
}

/* The lowest base of ledgers from now on: everything below it has ended, or is not a record. */
static int64_t next_base(const struct partition *partition)
{
    if (list_empty(&partition->requests))
        return partition->next;
    return list_of(partition->requests.next, struct request, partition_node)->position.offset;
}

static struct list *behind_within(const struct partition *partition)
{
    return partition->fits_last ? partition->fits_last->partition_node.next
                                : partition->requests.next;
}

/* Advances over the requests for which there is room. A request that had room keeps it, because the
 * bound grows only if the ledger's limit becomes smaller. */
static void move_within(struct partition *partition, int64_t base, int64_t most)
{
    if (partition->fits_max != most) {
        partition->fits_max = most;
        partition->fits_last = NULL;
        partition->fits_count = 0;
    }
    for (struct list *at; (at = behind_within(partition)) != &partition->requests;) {
        struct request *request = list_of(at, struct request, partition_node);
        int64_t behind = request->position.offset + 1;
        int64_t span = (behind > partition->top ? behind : partition->top) - base;
        int64_t undone = partition->loaded_undone + (int64_t)partition->fits_count + 1;
        if ((int64_t)ledger_bound(undone, span) > most)
            return;
        partition->fits_last = request;
        partition->fits_count++;
    }
}

int64_t partition_start_limit(struct partition *partition)
{
    int64_t most = room_for_marks(partition->engine, partition->engine->ledger_max);
    int64_t base = next_base(partition);
    int64_t limit = base + ledger_sure_span(most) - 1;
    if (partition->next <= limit + 1)
        return limit;
    move_within(partition, base, most);
    return partition->fits_last && partition->fits_last->position.offset > limit
               ? partition->fits_last->position.offset
               : limit;
}

void partition_add(struct partition *partition, struct request *request)
{
    request->partition = partition;
    list_append(&partition->requests, &request->partition_node);
    partition->unfinished++;
    partition->bytes += request->bytes;
    partition->engine->bytes += request->bytes;
}

void partition_remove(struct partition *partition, struct request *request)
{
    struct list *before = request->partition_node.previous;
    if (partition->fits_last && request->position.offset <= partition->fits_last->position.offset)
        partition->fits_count--;
    if (partition->fits_last == request)
        partition->fits_last =
            before == &partition->requests ? NULL : list_of(before, struct request, partition_node);
    list_remove(&request->partition_node);
    partition->unfinished--;
    partition->bytes -= request->bytes;
    partition->engine->bytes -= request->bytes;
}

bool partition_takes_part(const struct partition *partition)
{
    return (partition->phase == PARTITION_ACTIVE || partition->phase == PARTITION_DRAINING ||
            partition->phase == PARTITION_LOST) &&
           partition->engine->now >= partition->blocked_until;
}

const struct request *partition_refused(const struct partition *partition)
{
    if (!partition->blocked_until)
        return NULL;
    list_each(at, &partition->requests)
    {
        const struct request *request = list_of(at, struct request, partition_node);
        if (request->refused)
            return request;
    }
    return NULL;
}

/* The number of requests that have ended and are not published, or came back unsent, while
 * something of the partition is refused. The next owner ends them. */
static size_t stuck(const struct partition *partition)
{
    size_t count = 0;
    if (partition_takes_part(partition))
        return 0;
    list_each(at, &partition->requests)
    {
        enum request_state state = list_of(at, struct request, partition_node)->state;
        count += state == REQUEST_ENDED || state == REQUEST_TO_UNMARK;
    }
    return count;
}

/* The number of requests that have ended without a mark and do not fit into the ledger. They stay
 * fresh there, and the next owner ends them again. */
static size_t too_far_ahead(struct partition *partition)
{
    size_t count = 0;
    int64_t limit = partition_start_limit(partition);
    list_each(at, &partition->requests)
    {
        const struct request *request = list_of(at, struct request, partition_node);
        count +=
            request->state == REQUEST_ENDED && !request->marked && request->position.offset > limit;
    }
    return count;
}

/* Model: drained. Requests too far ahead are counted only if nothing else is left. */
bool partition_drained(struct partition *partition)
{
    int64_t now = partition->engine->now;
    bool over = now >= partition->drain_until;
    /* A doubt without a name would make all lanes wait at the next owner, so this owner waits for
     * its end. */
    bool doubt =
        !over && (now < partition->doubts.overflow_until || now < partition->all_doubt_until);
    size_t rest = over ? partition->handed + stuck(partition) : 0;
    if (partition_in_txn(partition) || doubt)
        return false;
    return partition->busy == rest || (partition->busy <= rest + partition->ended &&
                                       partition->busy == rest + too_far_ahead(partition));
}
