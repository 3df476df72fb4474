#include <inttypes.h>
#include <stdlib.h>

#include "core/engine/internal.h"

/* Records that are read: how many of a partition are wanted, and what the partition's ledger makes
 * of each one. */

enum { TAKE_MAX = 128 /* records accepted from one partition at a time */ };

/* How many more records fit into the memory of all partitions. Room for one record of each
 * partition is always reserved, so that no partition waits for another one's memory. */
static int64_t memory_wants(const struct engine *engine, const struct partition *partition)
{
    const struct engine_options *options = &engine->options;
    if (!options->memory_bytes)
        return TAKE_MAX;
    int64_t kept = (int64_t)engine->all_count * options->record_bytes;
    if (kept > options->memory_bytes / 2)
        kept = options->memory_bytes / 2;
    int64_t room = options->memory_bytes - kept - (int64_t)engine->bytes;
    if (room > 0)
        return 1 + room / options->record_bytes;
    return partition->unfinished ? 0 : 1;
}

/* Whether more records of the partition could be used soon. The next two transactions start at most
 * twice as many calls as there are slots. While fewer order ids than that can start, every
 * partition is read further; otherwise a partition is read only up to its share, so that each has
 * something to start. More would only fill memory. O(1). */
static bool is_short_of_starts(const struct engine *engine, const struct partition *partition)
{
    size_t enough = 2 * (size_t)engine->options.slots;
    return engine->ready < enough || partition->ready_count <= enough / engine->all_count;
}

/* O(1). */
size_t engine_wants(const struct engine *engine, int32_t number)
{
    const struct partition *partition = partition_find(engine, number);
    const struct engine_options *options = &engine->options;
    if (!partition || partition->phase != PARTITION_ACTIVE)
        return 0;
    if ((int64_t)partition->unfinished >= options->window ||
        (int64_t)partition->bytes >= options->window_bytes ||
        !is_short_of_starts(engine, partition))
        return 0;
    int64_t wanted = options->window - (int64_t)partition->unfinished;
    int64_t room = memory_wants(engine, partition);
    wanted = room < wanted ? room : wanted;
    return wanted < TAKE_MAX ? (size_t)wanted : TAKE_MAX;
}

bool engine_is_news(const struct engine *engine, int32_t number, int64_t offset)
{
    const struct partition *partition = partition_find(engine, number);
    return partition && partition->phase == PARTITION_ACTIVE && offset >= partition->next;
}

static void recover(struct partition *partition, struct request *request, int64_t now_wall)
{
    struct engine *engine = partition->engine;
    engine->recovered++;
    engine->marked++;
    request->marked = true;
    partition_add(partition, request);
    outcome_set(&request->outcome, STATUS_UNKNOWN, "worker-died",
                "the worker that had started this call died or lost its partition: it may have "
                "been dialled",
                now_wall);
    request->outcome.from_successor = true;
}

/* Notes that the base of the partition's ledger has moved. */
static void base_moves(struct partition *partition)
{
    partition->base_moved = true;
    partition_watch(partition);
}

/* Handles a started offset whose record has been deleted. */
static void recover_gone(struct partition *partition, int64_t offset)
{
    struct record_position position = {partition->engine->options.kind, partition->number, offset};
    struct request *request = request_new(position, &(struct raw_record){.timestamp_ms = -1});
    request->record_deleted = true;
    partition->all_doubt_until = partition->doubt_until;
    recover(partition, request, engine_wall(partition->engine));
    request_end(partition->engine, request);
}

/* Passes offsets that will never arrive: the record of a started one of them is deleted. */
static void pass_gap(struct partition *partition, int64_t until)
{
    while (partition->next < until) {
        int64_t end;
        enum ledger_mark mark = partition_next_mark(partition, &end);
        end = end < until ? end : until;
        for (int64_t offset = partition->next; mark == LEDGER_STARTED && offset < end; offset++)
            recover_gone(partition, offset);
        partition_pass(partition, end, false);
    }
    if (list_empty(&partition->requests))
        base_moves(partition);
    if (partition->all_doubt_until > partition->engine->now)
        list_each_safe(at, &partition->ready) lane_settle(list_of(at, struct lane, ready_node));
}

int64_t engine_ledger_end(const struct engine *engine, int32_t number)
{
    const struct partition *partition = partition_find(engine, number);
    return partition && partition->phase == PARTITION_ACTIVE ? partition->loaded_end : 0;
}

bool engine_is_done(const struct engine *engine, int32_t number, int64_t offset)
{
    const struct partition *partition = partition_find(engine, number);
    if (!partition || offset < partition->next)
        return false;
    int64_t end = partition->loaded_run_end;
    for (size_t i = partition->loaded_run; i < partition->loaded.run_count; i++) {
        if (offset < end)
            return partition->loaded.runs[i].mark == LEDGER_DONE;
        if (i + 1 < partition->loaded.run_count)
            end += partition->loaded.runs[i + 1].length;
    }
    return false;
}

void engine_log_is_other(struct engine *engine, int32_t number, char *reason, int64_t now)
{
    struct partition *partition = partition_find(engine, number);
    engine->now = now;
    if (partition && partition->phase == PARTITION_ACTIVE)
        partition_halt_for_repair(partition, reason);
    else
        free(reason);
}

bool engine_is_older_than_group(const struct engine *engine, int32_t number)
{
    const struct partition *partition = partition_find(engine, number);
    return partition && partition->older_than_group;
}

/* O(1). */
void engine_record(struct engine *engine, struct request *request, int64_t now, int64_t wall)
{
    engine_set_time(engine, now, wall);
    struct partition *partition = partition_find(engine, request->position.partition);
    int64_t offset = request->position.offset;
    if (!partition || partition->phase != PARTITION_ACTIVE || offset < partition->next) {
        request_free(request);
        return;
    }
    if (offset > partition->next)
        pass_gap(partition, offset);
    if (partition->log_short_since) {
        partition->log_short_since = 0;
        partition_watch(partition);
    }
    partition->older_than_group |= partition->without_commit;
    int64_t end;
    enum ledger_mark mark = partition_next_mark(partition, &end);
    partition_pass(partition, offset + 1, true);
    if (mark == LEDGER_DONE) {
        request_free(request);
        if (list_empty(&partition->requests))
            base_moves(partition);
    } else if (mark == LEDGER_STARTED) {
        recover(partition, request, wall);
        request_move(engine, request, REQUEST_ENDED);
        if (request->event.order_id) {
            lane_add(partition, request);
            lane_doubt(request->lane, partition->doubt_until);
            lane_leave(request);
        }
    } else {
        partition_add(partition, request);
        if (request->event.order_id) {
            lane_add(partition, request);
        } else {
            outcome_set(&request->outcome, STATUS_INVALID, request->event.invalid_code,
                        request->event.invalid_message, wall);
            request_end(engine, request);
        }
    }
}

void engine_end(struct engine *engine, int32_t number, int64_t offset, int64_t now, int64_t wall)
{
    engine_set_time(engine, now, wall);
    struct partition *partition = partition_find(engine, number);
    if (!partition || partition->phase != PARTITION_ACTIVE)
        return;
    partition->without_commit = false;
    if (offset > partition->next) {
        pass_gap(partition, offset);
    } else if (offset < partition->base) {
        struct text reason = {0};
        text_printf(&reason,
                    "its log ends at offset %" PRId64 ", below %" PRId64
                    ", which was committed: the topic was deleted and created anew, or has lost "
                    "records",
                    offset, partition->base);
        partition_halt_for_repair(partition, text_take(&reason));
    } else if (offset < partition->loaded_end && !partition->log_short_since) {
        partition->log_short_since = now;
        partition_watch(partition);
    }
}
