#include <assert.h>

#include "core/engine/internal.h"

/* Requests go to the call thread, are recalled, and come back. */

static void start_recordings_of(struct engine *engine, struct partition *partition)
{
    int64_t left = turn_length(engine);
    list_each_safe(ready, &partition->ready)
    {
        if (left-- <= 0 || (int64_t)engine->handed >= engine->allowed)
            return;
        struct lane *lane = list_of(ready, struct lane, ready_node);
        struct request *request = list_of(lane->requests.next, struct request, lane_node);
        request->call.lease_until_ms = INT64_MAX;
        request_move(engine, request, REQUEST_STARTING);
        lane_settle(lane);
    }
}

void calls_start_recordings(struct engine *engine)
{
    if (engine->options.kind != REQUEST_RECORDING)
        return;
    bool newcomer;
    struct partition *partition;
    while ((int64_t)engine->handed < engine->allowed &&
           (partition = turn_take(engine, &newcomer))) {
        start_recordings_of(engine, partition);
        turn_over(partition, newcomer);
    }
}

bool calls_next_start(struct engine *engine, struct engine_action *action)
{
    if (list_empty(&engine->start))
        return false;
    struct request *request = list_of(engine->start.next, struct request, list_node);
    request_move(engine, request, REQUEST_HANDED);
    *action = (struct engine_action){.type = ENGINE_START, .request = request};
    return true;
}

bool calls_next_recall(struct engine *engine, struct engine_action *action)
{
    if (engine->recall_all) {
        engine->recall_all = false;
        *action = (struct engine_action){.type = ENGINE_RECALL, .partition = ENGINE_ALL};
        return true;
    }
    list_each_safe(at, &engine->watched)
    {
        struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->recall) {
            partition_recall(partition, false);
            *action = (struct engine_action){.type = ENGINE_RECALL, .partition = partition->number};
            return true;
        }
    }
    return false;
}

/* Model: "comes back". */
static void call_returned(struct engine *engine, struct request *request)
{
    const struct call_state *call = &request->call;
    request->not_before_ms = call->end == CALL_NOT_SENT ? call->retry_at_ms : 0;
    if (request->marked) {
        request_move(engine, request, REQUEST_TO_UNMARK);
        return;
    }
    request_move(engine, request, REQUEST_WAITING);
    lane_settle(request->lane);
}

/* O(1), O(log lanes) for its alarm. Model: "call is answered", "call ends unknown". */
void engine_call_ended(struct engine *engine, struct request *request, int64_t now)
{
    engine->now = now;
    engine->ended_calls++;
    pace_note_latency(engine, request);
    if (!request->partition) {
        assert(request->state == REQUEST_ORPHAN);
        if (request->call.end != CALL_FINISHED)
            outcome_fini(&request->outcome);
        request_late_or_free(engine, request);
        return;
    }
    assert(request->state == REQUEST_HANDED);
    if (request->call.end != CALL_FINISHED) {
        call_returned(engine, request);
        return;
    }
    if (request->outcome.status == STATUS_UNKNOWN)
        lane_doubt(request->lane, request->call.started_boot_ms + engine->options.doubt_ms);
    request_end(engine, request);
}

const struct request *engine_take_orphan(struct engine *engine)
{
    struct list *node = list_take_first(&engine->orphans);
    return node ? list_of(node, struct request, list_node) : NULL;
}

void engine_set_call_limit(struct engine *engine, int64_t most)
{
    engine->allowed = most < engine->options.slots ? most : engine->options.slots;
}
