#include "core/engine/internal.h"

/* The transitions of a request. They keep the engine's lists and counters up to date. */

static struct list *list_for(struct engine *engine, enum request_state state)
{
    switch (state) {
    case REQUEST_CHOSEN:
        return &engine->txn.chosen;
    case REQUEST_STARTING:
        return &engine->start;
    case REQUEST_TO_UNMARK:
        return &engine->to_unmark;
    case REQUEST_UNMARKING:
        return &engine->txn.unmarked;
    case REQUEST_ENDED:
        return &engine->ended;
    case REQUEST_ENDING:
        return &engine->txn.ending;
    case REQUEST_ORPHAN:
        return &engine->orphans;
    default:
        return NULL;
    }
}

static bool occupies(enum request_state state)
{
    return state == REQUEST_STARTING || state == REQUEST_HANDED || state == REQUEST_ORPHAN;
}

static bool is_busy(enum request_state state)
{
    return state != REQUEST_WAITING && state != REQUEST_OVER;
}

/* Whether the running transaction changes the request's mark. */
static bool changes_mark(enum request_state state)
{
    return state == REQUEST_CHOSEN || state == REQUEST_UNMARKING || state == REQUEST_ENDING;
}

void request_move(struct engine *engine, struct request *request, enum request_state state)
{
    enum request_state old = request->state;
    struct partition *partition = request->partition;
    struct list *list = list_for(engine, state);
    state_check(MACHINE_REQUEST, old, state, request->position.partition, request->position.offset);
    list_remove(&request->list_node);
    if (list)
        list_append(list, &request->list_node);
    request->state = state;
    engine->handed += (size_t)occupies(state) - (size_t)occupies(old);
    engine->chosen += (size_t)(state == REQUEST_CHOSEN) - (size_t)(old == REQUEST_CHOSEN);
    if (partition) {
        partition->busy += (size_t)is_busy(state) - (size_t)is_busy(old);
        partition->handed += (size_t)(state == REQUEST_HANDED) - (size_t)(old == REQUEST_HANDED);
        partition->ended += (size_t)(state == REQUEST_ENDED) - (size_t)(old == REQUEST_ENDED);
        list_remove(&request->change_node);
        if (changes_mark(state))
            list_append(&partition->changes, &request->change_node);
    }
}

void request_drop(struct engine *engine, struct request *request)
{
    request_move(engine, request, REQUEST_OVER);
    request_free(request);
}

void request_end(struct engine *engine, struct request *request)
{
    request_move(engine, request, REQUEST_ENDED);
    lane_leave(request);
}

/* Model: "call ends late", "call ends late, unknown". */
void request_late_or_free(struct engine *engine, struct request *request)
{
    enum status status = request->outcome.status;
    bool answered =
        request->outcome.answered && (status == STATUS_SUCCEEDED || status == STATUS_REFUSED);
    if (!request->late_outcome && (engine->options.kind != REQUEST_CALL || !answered)) {
        request_drop(engine, request);
        return;
    }
    if (!request->late_outcome) /* it becomes another record, in another topic */
        request->reduced = request->refused = false;
    engine->late_outcomes += !request->late_outcome;
    request->late_outcome = true;
    request_move(engine, request, REQUEST_ENDED);
}
