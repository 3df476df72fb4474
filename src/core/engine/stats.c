#include "core/engine/internal.h"

/* What the engine shows of itself. */

void engine_get_stats(const struct engine *engine, struct engine_stats *view)
{
    *view = (struct engine_stats){.handed = engine->handed,
                                  .started = engine->marked,
                                  .bytes = engine->bytes,
                                  .transactions = engine->transactions,
                                  .aborted = engine->aborted,
                                  .unknown = engine->unknown,
                                  .fenced = engine->fenced,
                                  .recovered = engine->recovered,
                                  .resumed = engine->resumed,
                                  .stopping = engine->stopping};
    view->partitions = engine->all_count;
    view->late = engine->late_outcomes;
    view->ready_lanes = engine->ready;
    view->waiting_lanes = engine->delayed + engine->ready;
}

bool engine_get_partition_stats(const struct engine *engine, size_t i,
                                struct engine_partition_stats *view)
{
    if (i >= engine->all_count)
        return false;
    const struct partition *partition = engine->all[i];
    const struct request *refused = partition_refused(partition);
    const struct request *oldest =
        list_empty(&partition->requests)
            ? NULL
            : list_of(partition->requests.next, struct request, partition_node);
    bool blocked = (partition->blocked_until || partition->unclaimed) && partition->halt_reason;
    *view = (struct engine_partition_stats){
        .partition = partition->number,
        .lost = partition->phase == PARTITION_SUSPENDED || partition->phase == PARTITION_LOST,
        .active = partition->phase == PARTITION_ACTIVE,
        .halted = partition->phase == PARTITION_HALTED || blocked,
        .needs_repair = partition->needs_repair,
        .unclaimed = partition->unclaimed,
        .draining = partition->phase == PARTITION_DRAINING,
        .halt_reason = partition->halt_reason,
        .refused = refused ? refused->position.offset : -1,
        .base = partition->base,
        .next = partition->next,
        .ready_lanes = partition->ready_count,
        .delayed_lanes = partition->delayed,
        .unfinished = partition->unfinished,
        .unfinished_bytes = partition->bytes,
        .started = partition->busy,
        .handed = partition->handed,
        .ended = partition->ended,
        .oldest_ms = oldest ? oldest->raw.timestamp_ms : -1,
        .ledger_size = partition->ledger_size,
        .older_than_group = partition->older_than_group,
    };
    return true;
}

static bool is_unbegun(const struct engine *engine, const struct request *request)
{
    switch (request->state) {
    case REQUEST_HANDED: /* a call becomes an orphan, which is logged */
        return engine->options.kind == REQUEST_RECORDING;
    case REQUEST_ENDED:
    case REQUEST_ENDING:
        return false;
    default:
        return true;
    }
}

bool engine_get_unbegun(const struct engine *engine, int32_t number, struct engine_range *range)
{
    const struct partition *partition = partition_find(engine, number);
    *range = (struct engine_range){0};
    if (!partition)
        return false;
    list_each(at, &partition->requests)
    {
        const struct request *request = list_of(at, struct request, partition_node);
        if (!is_unbegun(engine, request))
            continue;
        if (!range->count++)
            range->first = request->position.offset;
        range->last = request->position.offset;
    }
    return range->count > 0;
}

bool engine_take_inherited(const struct engine *engine, int32_t number, struct engine_range *range)
{
    struct partition *partition = partition_find(engine, number);
    *range = partition ? partition->inherited : (struct engine_range){0};
    if (partition)
        partition->inherited.count = 0;
    return range->count > 0;
}

const struct request *engine_next_late(const struct engine *engine, const struct request *last)
{
    const struct list *lists[] = {&engine->txn.ending, &engine->ended};
    bool behind = !last;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list_each(at, lists[i])
        {
            const struct request *request = list_of(at, struct request, list_node);
            if (behind && request->late_outcome)
                return request;
            behind |= request == last;
        }
    return NULL;
}

size_t engine_count_unpublished(const struct engine *engine)
{
    size_t count = engine->handed;
    list_each(at, &engine->ended) count++;
    list_each(at, &engine->txn.ending) count++;
    return count;
}
