#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/engine/internal.h"

/* Lanes keep order: one request of an order id at a time. A lane whose first request may start at a
 * later time, or becomes overdue then, is in a binary heap by that time. */

static void heap_put(struct engine *engine, size_t at, struct lane *lane)
{
    engine->alarms[at] = lane;
    lane->heap_at = at;
}

static void heap_up(struct engine *engine, size_t at)
{
    struct lane *lane = engine->alarms[at];
    for (; at && engine->alarms[(at - 1) / 2]->wake > lane->wake; at = (at - 1) / 2)
        heap_put(engine, at, engine->alarms[(at - 1) / 2]);
    heap_put(engine, at, lane);
}

static void heap_down(struct engine *engine, size_t at)
{
    struct lane *lane = engine->alarms[at];
    for (size_t child; (child = 2 * at + 1) < engine->alarm_count; at = child) {
        if (child + 1 < engine->alarm_count &&
            engine->alarms[child + 1]->wake < engine->alarms[child]->wake)
            child++;
        if (engine->alarms[child]->wake >= lane->wake)
            break;
        heap_put(engine, at, engine->alarms[child]);
    }
    heap_put(engine, at, lane);
}

static void set_alarm(struct lane *lane, int64_t wake)
{
    struct engine *engine = lane->partition->engine;
    if (wake == INT64_MAX)
        return;
    lane->wake = wake;
    engine->alarms = memory_grow(engine->alarms, engine->alarm_count, &engine->alarm_capacity,
                                 sizeof(struct lane *), 64);
    heap_put(engine, engine->alarm_count++, lane);
    heap_up(engine, lane->heap_at);
}

static void clear_alarm(struct lane *lane)
{
    struct engine *engine = lane->partition->engine;
    size_t at = lane->heap_at;
    if (at == SIZE_MAX)
        return;
    lane->heap_at = SIZE_MAX;
    struct lane *last = engine->alarms[--engine->alarm_count];
    if (last == lane)
        return;
    heap_put(engine, at, last);
    heap_up(engine, at);
    heap_down(engine, last->heap_at);
}

static void set_delayed(struct lane *lane, bool delayed)
{
    lane->partition->engine->delayed += (size_t)delayed - (size_t)lane->delayed;
    lane->partition->delayed += (size_t)delayed - (size_t)lane->delayed;
    lane->delayed = delayed;
}

static void become_ready(struct lane *lane)
{
    struct partition *partition = lane->partition;
    if (list_linked(&lane->ready_node))
        return;
    turn_join(partition);
    list_append(&partition->ready, &lane->ready_node);
    partition->ready_count++;
    partition->engine->ready++;
}

static void unready(struct lane *lane)
{
    struct partition *partition = lane->partition;
    if (!list_linked(&lane->ready_node))
        return;
    list_remove(&lane->ready_node);
    partition->ready_count--;
    partition->engine->ready--;
}

/* Removes the lane from everything except the partition's map. */
static void detach(struct lane *lane)
{
    clear_alarm(lane);
    set_delayed(lane, false);
    unready(lane);
}

static void lane_free(struct lane *lane)
{
    detach(lane);
    map_remove(&lane->partition->lanes, &lane->node);
    free(lane);
}

static struct request *head_of(const struct lane *lane)
{
    return list_empty(&lane->requests) ? NULL
                                       : list_of(lane->requests.next, struct request, lane_node);
}

/* Whether a waiting request, the first of its lane, ends without a try. If so, its outcome is
 * set. */
static bool ends_untried(struct engine *engine, struct request *request)
{
    const struct event *event = &request->event;
    int64_t wall = engine_wall(engine);
    if (!event->invalid_code) {
        if (!overdue_end(request, &engine->options.overdue, engine->now, wall))
            return false;
        /* The request is not marked as started, so the next owner starts it again, and the answer
         * to an earlier try is never a late outcome. */
        request->outcome.answered = false;
        return true;
    }
    outcome_set(&request->outcome, STATUS_INVALID, event->invalid_code, event->invalid_message,
                wall);
    return true;
}

static int64_t latest(int64_t a, int64_t b, int64_t c)
{
    int64_t most = a > b ? a : b;
    return most > c ? most : c;
}

/* Handles a waiting first request: it waits for its turn, or for the time at which it may start. */
static void settle_waiting(struct lane *lane, const struct request *head)
{
    struct partition *partition = lane->partition;
    const struct engine *engine = partition->engine;
    int64_t start = latest(lane->doubt_until, head->not_before_ms, partition->all_doubt_until);
    int64_t wake = overdue_at_ms(head, &engine->options.overdue, engine->now, engine_wall(engine));
    bool ready = start <= engine->now;
    set_delayed(lane, !ready);
    if (ready)
        become_ready(lane);
    else
        unready(lane);
    set_alarm(lane, !ready && start < wake ? start : wake);
}

/* O(log lanes). Model: startable; "doubt passes", "all doubts pass". */
void lane_settle(struct lane *lane)
{
    struct partition *partition = lane->partition;
    struct engine *engine = partition->engine;
    struct request *head;
    clear_alarm(lane);
    while ((head = head_of(lane)) && head->state == REQUEST_WAITING &&
           partition->phase == PARTITION_ACTIVE) {
        if (!ends_untried(engine, head)) {
            settle_waiting(lane, head);
            return;
        }
        list_remove(&head->lane_node);
        head->lane = NULL;
        request_end(engine, head);
    }
    unready(lane);
    set_delayed(lane, !head && lane->doubt_until > engine->now);
    if (lane->delayed)
        set_alarm(lane, lane->doubt_until);
    else if (!head)
        lane_free(lane);
}

void lane_settle_all(struct partition *partition)
{
    list_each_safe(at, &partition->requests)
    {
        struct request *request = list_of(at, struct request, partition_node);
        if (request->lane)
            lane_settle(request->lane);
    }
}

void lane_add(struct partition *partition, struct request *request)
{
    const char *order_id = request->event.order_id;
    size_t size = strlen(order_id);
    struct map_node *found = map_find(&partition->lanes, order_id, size);
    struct lane *lane = found ? list_of(found, struct lane, node) : NULL;
    if (!lane) {
        lane = memory_alloc(sizeof *lane + size + 1);
        *lane = (struct lane){.partition = partition,
                              .heap_at = SIZE_MAX,
                              .doubt_until = doubts_until(&partition->doubts, order_id)};
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
    struct partition *partition = lane->partition;
    if (until > lane->doubt_until)
        lane->doubt_until = until;
    doubts_add(&partition->doubts, lane->order_id, until, partition->engine->now);
}

void lane_wake_due(struct engine *engine)
{
    while (engine->alarm_count && engine->alarms[0]->wake <= engine->now)
        lane_settle(engine->alarms[0]);
}

int64_t lane_next_wake(const struct engine *engine)
{
    return engine->alarm_count ? engine->alarms[0]->wake : INT64_MAX;
}

void lane_free_all(struct partition *partition)
{
    for (size_t i = 0; i < partition->lanes.bucket_count; i++) {
        for (struct map_node *node = partition->lanes.buckets[i], *next; node; node = next) {
            next = node->next;
            struct lane *lane = list_of(node, struct lane, node);
            detach(lane);
            free(lane);
        }
        partition->lanes.buckets[i] = NULL;
    }
    partition->lanes.count = 0;
}
