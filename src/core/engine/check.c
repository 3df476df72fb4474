#include <stdlib.h>
#include <string.h>

#include "core/engine/internal.h"

/* Recomputes what the engine keeps in counters, lists and marks, and compares. Each function
 * returns a contradiction, or NULL. O(all requests). */

/* Sums over the partitions. */
struct found {
    size_t marked, ready, delayed, bytes, in_txn, handed;
};

static bool changes_mark(enum request_state state)
{
    return state == REQUEST_CHOSEN || state == REQUEST_UNMARKING || state == REQUEST_ENDING;
}

static size_t length_of(const struct list *list)
{
    size_t count = 0;
    list_each(at, list) count++;
    return count;
}

/* Whether the partition's marks are in use: not while it arrives without kept state, is gone, or is
 * halted. */
static bool has_ledger(const struct partition *partition)
{
    return partition->phase == PARTITION_ACTIVE || partition->phase == PARTITION_DRAINING ||
           partition->phase == PARTITION_LOST || partition->phase == PARTITION_SUSPENDED ||
           (partition->phase == PARTITION_RELEASING && !partition->halt_uncommitted) ||
           (partition->phase == PARTITION_ARRIVING && partition->may_resume);
}

static const char *check_request(const struct partition *partition, const struct request *request,
                                 int64_t last)
{
    enum request_state state = request->state;
    bool is_listed = state != REQUEST_WAITING && state != REQUEST_HANDED;
    if (request->partition != partition || request->position.offset <= last ||
        request->position.offset >= partition->next)
        return "a request stands in a partition that is not its own, or in the wrong place";
    if (is_listed != list_linked(&request->list_node))
        return "a request's state and its list differ";
    if (changes_mark(state) != list_linked(&request->change_node))
        return "a change of a mark is not listed, or what is listed changes none";
    if (changes_mark(state) && !partition_in_txn(partition))
        return "a mark changes in a transaction that does not carry its ledger";
    return NULL;
}

static const char *check_requests(const struct partition *partition, struct found *found)
{
    size_t count = 0, bytes = 0, busy = 0, handed = 0, ended = 0, changes = 0;
    int64_t last = -1;
    list_each(at, &partition->requests)
    {
        const struct request *request = list_of(at, struct request, partition_node);
        const char *wrong = check_request(partition, request, last);
        if (wrong)
            return wrong;
        last = request->position.offset;
        count++;
        bytes += request->bytes;
        busy += request->state != REQUEST_WAITING;
        handed += request->state == REQUEST_HANDED;
        ended += request->state == REQUEST_ENDED;
        changes += changes_mark(request->state);
        found->marked += request->marked;
        found->handed += request->state == REQUEST_HANDED || request->state == REQUEST_STARTING;
    }
    found->bytes += bytes;
    if (changes != length_of(&partition->changes))
        return "marks that change are listed twice, or of another partition";
    return count == partition->unfinished && bytes == partition->bytes && busy == partition->busy &&
                   handed == partition->handed && ended == partition->ended
               ? NULL
               : "a partition's requests are miscounted";
}

static const char *check_alarm(const struct engine *engine, const struct lane *lane)
{
    size_t at = lane->heap_at;
    if (at == SIZE_MAX)
        return NULL;
    return at < engine->alarm_count && engine->alarms[at] == lane &&
                   (!at || engine->alarms[(at - 1) / 2]->wake <= lane->wake)
               ? NULL
               : "an alarm stands in the wrong place";
}

static const char *check_lane(const struct partition *partition, const struct lane *lane,
                              size_t *ready, size_t *delayed)
{
    bool is_ready = list_linked(&lane->ready_node);
    const struct request *head = list_empty(&lane->requests)
                                     ? NULL
                                     : list_of(lane->requests.next, struct request, lane_node);
    bool waits = head && head->state == REQUEST_WAITING && partition->phase == PARTITION_ACTIVE;
    int64_t last = -1;
    list_each(at, &lane->requests)
    {
        const struct request *request = list_of(at, struct request, lane_node);
        if (request->lane != lane || request->position.offset <= last)
            return "a request stands in the wrong lane, or not in order";
        last = request->position.offset;
    }
    *ready += is_ready;
    *delayed += lane->delayed;
    if (is_ready && (!head || head->state != REQUEST_WAITING))
        return "a lane is ready and has nothing to start";
    if (waits && is_ready == lane->delayed)
        return "the first request of a lane waits for nothing, or for two things";
    return check_alarm(partition->engine, lane);
}

static const char *check_lanes(const struct partition *partition, struct found *found)
{
    size_t ready = 0, delayed = 0;
    for (size_t i = 0; i < partition->lanes.bucket_count; i++)
        for (struct map_node *node = partition->lanes.buckets[i]; node; node = node->next) {
            const char *wrong =
                check_lane(partition, list_of(node, struct lane, node), &ready, &delayed);
            if (wrong)
                return wrong;
        }
    found->ready += ready;
    found->delayed += delayed;
    if (ready != partition->ready_count || ready != length_of(&partition->ready) ||
        delayed != partition->delayed)
        return "a partition's lanes are miscounted";
    return partition->phase == PARTITION_ACTIVE && ready && !list_linked(&partition->turn_node)
               ? "a partition that could start something is not in line"
               : NULL;
}

static void add_runs(struct marks *to, const struct marks *from)
{
    for (size_t i = from->first; i < from->count; i++)
        marks_add(to, from->runs[i].mark, from->runs[i].length);
}

static void add_up_to(struct marks *marks, enum ledger_mark mark, int64_t end)
{
    if (end > marks->end)
        marks_add(marks, mark, end - marks->end);
}

/* The mark of a request in the committed ledger, or in that of the running transaction. */
static enum ledger_mark mark_now(const struct request *request, bool telling)
{
    if (telling && request->state == REQUEST_ENDING)
        return LEDGER_DONE;
    if (telling && request->state == REQUEST_CHOSEN)
        return LEDGER_STARTED;
    if (telling && request->state == REQUEST_UNMARKING)
        return LEDGER_FRESH;
    return request->marked ? LEDGER_STARTED : LEDGER_FRESH;
}

/* Builds a partition's ledger from its base on from all its requests: an offset that was read and
 * has no request any more is done; offsets that were not read have the marks of the ledger that was
 * read. */
static void walk(const struct partition *partition, bool telling, struct marks *out)
{
    const struct ledger *loaded = &partition->loaded;
    list_each(at, &partition->requests)
    {
        const struct request *request = list_of(at, struct request, partition_node);
        if (request->position.offset < out->base)
            continue;
        add_up_to(out, LEDGER_DONE, request->position.offset);
        marks_add(out, mark_now(request, telling), 1);
    }
    add_up_to(out, LEDGER_DONE, partition->next);
    int64_t end = loaded->base;
    for (size_t i = 0; i < loaded->run_count; i++)
        add_up_to(out, loaded->runs[i].mark, end += loaded->runs[i].length);
}

/* Whether both have the same marks below `end`. */
static bool say_the_same(struct marks *a, struct marks *b, int64_t end)
{
    int64_t at = a->base;
    size_t i = a->first, j = b->first;
    int64_t left_a = 0, left_b = 0;
    if (a->base != b->base || a->end < end || b->end < end)
        return false;
    for (; at < end; at++) {
        int64_t step;
        if (!left_a)
            left_a = a->runs[i++].length;
        if (!left_b)
            left_b = b->runs[j++].length;
        if (a->runs[i - 1].mark != b->runs[j - 1].mark)
            return false;
        step = left_a < left_b ? left_a : left_b;
        left_a -= step;
        left_b -= step;
        at += step - 1;
    }
    return true;
}

static const char *check_ledger(const struct partition *partition)
{
    int64_t seen = partition->next > partition->top ? partition->next : partition->top;
    struct marks known = {0}, walked = {0};
    if (!has_ledger(partition))
        return NULL;
    if (partition->committed.base != partition->base ||
        partition->committed.end != partition->top || partition->ahead.base != partition->top ||
        partition->ahead.end != seen)
        return "what is remembered of a ledger begins or ends elsewhere";
    marks_reset(&known, partition->base);
    marks_reset(&walked, partition->base);
    add_runs(&known, &partition->committed);
    add_runs(&known, &partition->ahead);
    walk(partition, false, &walked);
    bool same = say_the_same(&known, &walked, seen);
    marks_fini(&known);
    marks_fini(&walked);
    return same ? NULL : "what is remembered of a ledger is not what is held";
}

/* Checks the ledger of the running transaction. */
static const char *check_telling(struct partition *partition, bool in_transaction)
{
    int64_t base = partition->txn_base, end = partition->committing.end;
    struct marks walked = {0};
    if (!in_transaction || !partition_in_txn(partition))
        return NULL;
    if (partition->committing.base != base ||
        end != (base > partition->txn_top ? base : partition->txn_top))
        return "the ledger on its way begins or ends elsewhere";
    marks_reset(&walked, base);
    walk(partition, true, &walked);
    bool same = say_the_same(&partition->committing, &walked, end);
    marks_fini(&walked);
    return same ? NULL : "the ledger on its way is not what the transaction does";
}

static const char *check_read(const struct partition *partition)
{
    int64_t undone = 0, end = partition->loaded.base;
    size_t within = 0;
    bool found = !partition->fits_last;
    for (size_t i = 0; i < partition->loaded.run_count; i++) {
        const struct ledger_run *run = &partition->loaded.runs[i];
        end += run->length;
        int64_t left = end - partition->next;
        if (run->mark != LEDGER_DONE && left > 0)
            undone += left < run->length ? left : run->length;
    }
    for (const struct list *at = partition->requests.next; !found && at != &partition->requests;
         at = at->next) {
        within++;
        found = list_of(at, struct request, partition_node) == partition->fits_last;
    }
    if (!found || within != partition->fits_count)
        return "the requests for which a ledger has room are miscounted";
    return undone == partition->loaded_undone ? NULL : "what is to be delivered yet is miscounted";
}

static const char *check_partition(struct partition *partition, bool in_transaction,
                                   struct found *found)
{
    const struct engine *engine = partition->engine;
    if (engine->numbered[partition->number] != partition || engine->all[partition->at] != partition)
        return "a partition is not found by its number";
    if (partition_is_watched(partition) != list_linked(&partition->watch_node))
        return "a partition that has to be looked after is not, or the other way round";
    if ((partition->probes_membership && partition->phase != PARTITION_LOST) ||
        (partition->dropped && partition->phase != PARTITION_GONE) ||
        (partition->revoked && partition->phase == PARTITION_ACTIVE))
        return "a partition is asked about, dropped or revoked in the wrong phase";
    found->in_txn += partition_in_txn(partition);
    const char *wrong = check_requests(partition, found);
    if (!wrong)
        wrong = check_lanes(partition, found);
    if (!wrong)
        wrong = check_ledger(partition);
    if (!wrong)
        wrong = check_telling(partition, in_transaction);
    if (!wrong)
        wrong = check_read(partition);
    return wrong;
}

static void count_loose(const struct list *list, struct found *found, size_t *late)
{
    list_each(at, list)
    {
        const struct request *request = list_of(at, struct request, list_node);
        *late += request->late_outcome;
        if (!request->partition)
            found->marked += request->marked;
    }
}

const char *engine_contradiction(const struct engine *engine)
{
    struct found found = {0};
    size_t partitions = 0, late = 0;
    const struct txn *txn = &engine->txn;
    bool in_transaction =
        engine->producer != PRODUCER_IDLE && engine->producer != PRODUCER_STARTING;
    list_each(at, &engine->partitions)
    {
        partitions++;
        const char *wrong =
            check_partition(list_of(at, struct partition, node), in_transaction, &found);
        if (wrong)
            return wrong;
    }
    count_loose(&engine->ended, &found, &late);
    count_loose(&txn->ending, &found, &late);
    count_loose(&txn->unmarked, &found, &late);
    count_loose(&txn->chosen, &found, &late);
    if (partitions != engine->all_count || found.in_txn != length_of(&txn->partitions))
        return "partitions are miscounted";
    if (!in_transaction && (found.in_txn || !list_empty(&txn->ending) ||
                            !list_empty(&txn->unmarked) || !list_empty(&txn->chosen)))
        return "something is left of a transaction that has ended";
    return found.marked == engine->marked && found.ready == engine->ready &&
                   found.delayed == engine->delayed && found.bytes == engine->bytes &&
                   late == engine->late_outcomes && length_of(&txn->chosen) == engine->chosen &&
                   found.handed <= engine->handed
               ? NULL
               : "what all partitions have together is miscounted";
}
