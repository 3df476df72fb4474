#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* Lanes keep order: one request of an order id at a time. The resting ones stand in a binary heap
 * by the time they wake. */

static void heap_put(struct engine *engine, size_t at, struct lane *lane)
{
    engine->resting[at] = lane;
    lane->heap_at = at;
}

static void heap_up(struct engine *engine, size_t at)
{
    struct lane *lane = engine->resting[at];
    for (; at && engine->resting[(at - 1) / 2]->wake > lane->wake; at = (at - 1) / 2)
        heap_put(engine, at, engine->resting[(at - 1) / 2]);
    heap_put(engine, at, lane);
}

static void heap_down(struct engine *engine, size_t at)
{
    struct lane *lane = engine->resting[at];
    for (size_t child; (child = 2 * at + 1) < engine->resting_count; at = child) {
        if (child + 1 < engine->resting_count &&
            engine->resting[child + 1]->wake < engine->resting[child]->wake)
            child++;
        if (engine->resting[child]->wake >= lane->wake)
            break;
        heap_put(engine, at, engine->resting[child]);
    }
    heap_put(engine, at, lane);
}

static void rest(struct lane *lane, int64_t wake)
{
    struct engine *engine = lane->partition->engine;
    lane->wake = wake;
    if (engine->resting_count == engine->resting_capacity) {
        engine->resting_capacity = engine->resting_capacity ? engine->resting_capacity * 2 : 64;
        engine->resting =
            memory_resize(engine->resting, engine->resting_capacity * sizeof(struct lane *));
    }
    heap_put(engine, engine->resting_count++, lane);
    heap_up(engine, lane->heap_at);
}

static void rouse(struct lane *lane)
{
    struct engine *engine = lane->partition->engine;
    size_t at = lane->heap_at;
    if (at == SIZE_MAX)
        return;
    lane->heap_at = SIZE_MAX;
    struct lane *last = engine->resting[--engine->resting_count];
    if (last == lane)
        return;
    heap_put(engine, at, last);
    heap_up(engine, at);
    heap_down(engine, last->heap_at);
}

static void unready(struct lane *lane)
{
    if (list_linked(&lane->ready_node)) {
        list_remove(&lane->ready_node);
        lane->partition->ready_count--;
    }
}

static void lane_free(struct lane *lane)
{
    rouse(lane);
    unready(lane);
    map_remove(&lane->partition->lanes, &lane->node);
    free(lane);
}

static struct request *head_of(const struct lane *lane)
{
    return list_empty(&lane->requests) ? NULL
                                       : list_of(lane->requests.next, struct request, lane_node);
}

/* Whether a waiting request ends without being tried, now that it is its turn; sets its outcome
 * then. */
static bool ends_untried(struct engine *engine, struct request *request)
{
    const struct engine_options *options = &engine->options;
    const struct event *event = &request->event;
    int64_t timestamp = request->raw.timestamp_ms;
    if (event->invalid_code) {
        outcome_set(&request->outcome, STATUS_INVALID, event->invalid_code, event->invalid_message,
                    engine->wall);
    } else if (request->place.kind == REQUEST_CALL && event->expires_at_ms <= engine->wall) {
        outcome_set(&request->outcome, STATUS_EXPIRED, "expired",
                    "expiresAt has passed: not dialled", engine->wall);
    } else if (request->place.kind == REQUEST_CALL && options->max_age_ms && timestamp >= 0 &&
               engine->wall - timestamp > options->max_age_ms) {
        outcome_set(&request->outcome, STATUS_EXPIRED, "too-old",
                    "older than call.max.age.ms: not dialled", engine->wall);
    } else if (request->place.kind == REQUEST_CALL && options->deadline_ms &&
               request->call.attempts &&
               engine->now >= request->call.first_started_boot_ms + options->deadline_ms) {
        outcome_set(&request->outcome, STATUS_UNAVAILABLE, "deadline-passed",
                    "the platform could not be reached, or did not take the call, within "
                    "call.deadline.ms; not dialled",
                    engine->wall);
    } else {
        return false;
    }
    return true;
}

static int64_t latest(int64_t a, int64_t b, int64_t c)
{
    int64_t most = a > b ? a : b;
    return most > c ? most : c;
}

void lane_settle(struct lane *lane)
{
    struct partition *partition = lane->partition;
    struct engine *engine = partition->engine;
    bool was_ready = list_linked(&lane->ready_node);
    struct request *head;
    rouse(lane);
    while ((head = head_of(lane)) && head->state == REQUEST_WAITING &&
           partition->phase == PARTITION_ACTIVE) {
        int64_t wake = latest(lane->doubt_until, head->not_before_ms, partition->all_doubt_until);
        if (wake > engine->now) {
            unready(lane);
            rest(lane, wake);
            return;
        }
        if (!ends_untried(engine, head)) {
            if (!was_ready) {
                list_append(&partition->ready, &lane->ready_node);
                partition->ready_count++;
            }
            return;
        }
        list_remove(&head->lane_node);
        head->lane = NULL;
        request_end(engine, head);
    }
    unready(lane);
    if (!head && lane->doubt_until > engine->now)
        rest(lane, lane->doubt_until);
    else if (!head)
        lane_free(lane);
}

void lane_add(struct partition *partition, struct request *request)
{
    const char *order_id = request->event.order_id;
    size_t size = strlen(order_id);
    struct map_node *found = map_find(&partition->lanes, order_id, size);
    struct lane *lane = found ? list_of(found, struct lane, node) : NULL;
    if (!lane) {
        lane = memory_alloc(sizeof *lane + size + 1);
        *lane = (struct lane){.partition = partition, .heap_at = SIZE_MAX};
        memcpy(lane->order_id, order_id, size + 1);
        list_init(&lane->requests);
        list_init(&lane->ready_node);
        map_add(&partition->lanes, &lane->node, lane->order_id, size);
    }
    request->lane = lane;
    list_append(&lane->requests, &request->lane_node);
    if (head_of(lane) == request)
        lane_settle(lane);
}

void lane_leave(struct request *request)
{
    struct lane *lane = request->lane;
    if (!lane)
        return;
    request->lane = NULL;
    list_remove(&request->lane_node);
    lane_settle(lane);
}

void lane_doubt(struct lane *lane, int64_t until)
{
    if (!lane)
        return;
    if (until > lane->doubt_until)
        lane->doubt_until = until;
    if (until > lane->partition->lanes_doubt_until)
        lane->partition->lanes_doubt_until = until;
}

void lane_wake_due(struct engine *engine)
{
    while (engine->resting_count && engine->resting[0]->wake <= engine->now)
        lane_settle(engine->resting[0]);
}

int64_t lane_next_wake(const struct engine *engine)
{
    return engine->resting_count ? engine->resting[0]->wake : INT64_MAX;
}

void lane_free_all(struct partition *partition)
{
    for (size_t i = 0; i < partition->lanes.bucket_count; i++) {
        for (struct map_node *node = partition->lanes.buckets[i], *next; node; node = next) {
            next = node->next;
            struct lane *lane = list_of(node, struct lane, node);
            rouse(lane);
            unready(lane);
            free(lane);
        }
        partition->lanes.buckets[i] = NULL;
    }
    partition->lanes.count = 0;
}
