#include "core/engine/engine.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/engine/internal.h"

enum {
    PACE_MIN_MS = 5,
    PACE_MAX_MS = 30,    /* twice that while requests wait for a slot */
    LATENCY_WEIGHT = 16, /* weight of the old mean in the mean latency */
    TAKE_MAX = 128,      /* records accepted from one partition at a time */
    RETRY_FIRST_MS = 10, /* pause after an aborted transaction; doubles */
    RETRY_MAX_MS = 500,
    RETRY_BACKOFF_AFTER = 12, /* after so many consecutive aborts the pause goes on doubling */
    RETRY_BACKOFF_AFTER_DRAIN = 40, /* the same limit while partitions are given back */
    RETRY_LONGEST_MS = 10000,
};

struct engine *engine_new(const struct engine_options *options)
{
    struct engine *engine = memory_zeroed(1, sizeof *engine);
    engine->options = *options;
    snprintf(engine->owner, sizeof engine->owner, "%s", options->owner);
    engine->options.owner = engine->owner;
    if (!options->ledger_max)
        engine->options.ledger_max = LEDGER_MAX;
    if (!options->doubts)
        engine->options.doubts = LEDGER_DOUBTS;
    engine->ledger_max = engine->options.ledger_max;
    engine->allowed = options->slots;
    engine->unfenced_at = engine->fenced_after = INT64_MIN / 2;
    list_init(&engine->partitions);
    list_init(&engine->newcomers);
    list_init(&engine->turns);
    list_init(&engine->watched);
    list_init(&engine->left_out);
    list_init(&engine->txn.partitions);
    list_init(&engine->start);
    list_init(&engine->to_unmark);
    list_init(&engine->ended);
    list_init(&engine->orphans);
    list_init(&engine->txn.chosen);
    list_init(&engine->txn.unmarked);
    list_init(&engine->txn.ending);
    return engine;
}

static void free_list(struct list *list)
{
    list_each_safe(at, list) request_free(list_of(at, struct request, list_node));
    list_init(list);
}

void engine_free(struct engine *engine)
{
    while (!list_empty(&engine->partitions))
        partition_free(list_of(engine->partitions.next, struct partition, node));
    free_list(&engine->ended);
    free_list(&engine->txn.chosen);
    free_list(&engine->txn.unmarked);
    free_list(&engine->txn.ending);
    txn_fini(&engine->txn);
    for (size_t i = 0; i < engine->group_op_ledger_count; i++)
        free((char *)engine->group_op_ledgers[i].metadata);
    free(engine->group_op_ledgers);
    free(engine->positions);
    free(engine->foreign.names);
    free(engine->ended_owners.names);
    free(engine->alarms);
    free(engine->all);
    free(engine->numbered);
    ledger_fini(&engine->scratch);
    free(engine->changes);
    free(engine);
}

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

/* O(1). */
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

/* Ends a request whose outcome is set: it leaves its lane, and the next request of the order id may
 * start. */
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

static void set_time(struct engine *engine, int64_t now, int64_t wall)
{
    engine->now = now;
    if (wall)
        engine->wall_ahead = wall - now;
}

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

/* Recordings are reads: nothing is committed before they are requested. O(started). */
static void start_recordings(struct engine *engine)
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

static bool next_start(struct engine *engine, struct engine_action *action)
{
    if (list_empty(&engine->start))
        return false;
    struct request *request = list_of(engine->start.next, struct request, list_node);
    request_move(engine, request, REQUEST_HANDED);
    *action = (struct engine_action){.type = ENGINE_START, .request = request};
    return true;
}

/* O(watched). */
static bool next_recall(struct engine *engine, struct engine_action *action)
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

/* When the next transaction is due. A transaction has a fixed cost, whatever it contains. So while
 * most slots are busy, transactions are made at intervals, and each contains more: the interval is
 * about the duration of a call, and twice that while requests wait for a slot, because twice as
 * many starts as slots keep the slots busy in that time. */
static int64_t txn_due(const struct engine *engine)
{
    if (engine->stopping || engine->revoking || 2 * (int64_t)engine->handed < engine->options.slots)
        return engine->last_txn;
    int64_t pace = engine->latency_sum / LATENCY_WEIGHT;
    pace = pace < PACE_MIN_MS ? PACE_MIN_MS : pace > PACE_MAX_MS ? PACE_MAX_MS : pace;
    return engine->last_txn + (engine->slots_exhausted ? 2 * pace : pace);
}

static void note_latency(struct engine *engine, const struct request *request)
{
    if (request->call.started_boot_ms > 0)
        engine->latency_sum +=
            engine->now - request->call.started_boot_ms - engine->latency_sum / LATENCY_WEIGHT;
}

static bool next_producer(struct engine *engine, struct engine_action *action)
{
    switch (engine->producer) {
    case PRODUCER_TO_RENEW: /* "new producer" */
        producer_enter(engine, PRODUCER_RENEWING);
        *action = (struct engine_action){.type = ENGINE_RENEW_PRODUCER};
        return true;
    case PRODUCER_TO_READ_BACK:
        if (engine->group_op != OP_NONE || engine->now < engine->group_op_retry_at)
            return false;
        read_back_begin(engine, action);
        return action->type != ENGINE_NOTHING || next_producer(engine, action);
    case PRODUCER_IDLE:
        if (engine->now < engine->retry_at || engine->now < txn_due(engine) ||
            !txn_build(engine, action))
            return false;
        producer_enter(engine, PRODUCER_IN_TXN);
        return true;
    default:
        return false;
    }
}

/* O(partitions), but only at the end of a stop. */
static bool next_leave(struct engine *engine, struct engine_action *action)
{
    if (!engine->stopping || engine->left || engine->group_op != OP_NONE ||
        engine->load != LOAD_NONE || engine->revoking ||
        (engine->producer != PRODUCER_IDLE && engine->producer != PRODUCER_STARTING) ||
        engine->late_outcomes)
        return false;
    list_each(at, &engine->partitions)
    {
        enum partition_phase phase = list_of(at, struct partition, node)->phase;
        if (phase != PARTITION_GONE && phase != PARTITION_HALTED)
            return false;
    }
    engine->left = true;
    *action = (struct engine_action){.type = ENGINE_LEAVE};
    return true;
}

/* Forgets a learned limit of the broker after a while, because it may have been raised. */
static void forget_limit(struct engine *engine)
{
    if (!engine->limit_until || engine->now < engine->limit_until)
        return;
    engine->limit_until = 0;
    engine->ledger_max = engine->options.ledger_max;
}

/* If building the transaction blocks a partition, other partitions may start more, and its drain
 * may be over. So there may be something to do after all. The blocked partition takes part again
 * only later, so this loop ends. */
static bool next_step(struct engine *engine, struct engine_action *action)
{
    do {
        engine->blocked = false;
        group_check(engine);
        if (next_recall(engine, action) || group_next(engine, action) ||
            next_producer(engine, action) || next_leave(engine, action))
            return true;
    } while (engine->blocked);
    return false;
}

/* O(watched partitions, due lanes, and the returned action). */
enum engine_action_type engine_next(struct engine *engine, int64_t now, int64_t wall,
                                    struct engine_action *action)
{
    set_time(engine, now, wall);
    *action = (struct engine_action){.type = ENGINE_NOTHING};
    if (engine->fail) {
        action->type = ENGINE_FAIL;
        return ENGINE_FAIL;
    }
    if (next_start(engine, action) || next_recall(engine, action))
        return action->type;
    lane_wake_due(engine);
    forget_limit(engine);
    start_recordings(engine);
    if (!next_start(engine, action))
        next_step(engine, action);
    return action->type;
}

static int64_t drain_wake(const struct partition *partition, int64_t wake)
{
    const int64_t times[] = {partition->drain_until, partition->doubts.overflow_until,
                             partition->all_doubt_until, group_gives_up_at(partition)};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] > partition->engine->now && times[i] < wake)
            wake = times[i];
    return wake;
}

/* O(watched). */
int64_t engine_wake_time(const struct engine *engine)
{
    int64_t wake = lane_next_wake(engine);
    if (engine->retry_at > engine->now && engine->retry_at < wake)
        wake = engine->retry_at;
    if (engine->group_op_retry_at > engine->now && engine->group_op_retry_at < wake)
        wake = engine->group_op_retry_at;
    if (engine->late_outcomes && engine->late_until > engine->now && engine->late_until < wake)
        wake = engine->late_until;
    if (engine->producer == PRODUCER_IDLE && txn_due(engine) > engine->now &&
        txn_due(engine) < wake)
        wake = txn_due(engine);
    list_each_safe(at, &engine->watched)
    {
        const struct partition *partition = list_of(at, struct partition, watch_node);
        if (partition->phase == PARTITION_DRAINING || partition->phase == PARTITION_LOST)
            wake = drain_wake(partition, wake);
        if (engine->stopping && partition->phase == PARTITION_SUSPENDED &&
            engine->stop_until > engine->now && engine->stop_until < wake)
            wake = engine->stop_until;
        if ((partition->base_moved || partition->probes_membership) && engine->now + 100 < wake)
            wake = engine->now + 100;
        if (partition->log_short_since && partition->log_short_since + ENGINE_SHORT_LOG_MS < wake)
            wake = partition->log_short_since + ENGINE_SHORT_LOG_MS;
        if (partition->blocked_until > engine->now && partition->blocked_until < wake)
            wake = partition->blocked_until;
    }
    return wake;
}

void engine_producer_ready(struct engine *engine, int64_t now)
{
    set_time(engine, now, 0);
    assert(engine->producer == PRODUCER_STARTING || engine->producer == PRODUCER_RENEWING);
    engine->unfenced_at = now;
    if (engine->producer == PRODUCER_STARTING)
        engine->startup_until = now + ENGINE_DUPLICATE_MS + 2 * engine->options.lease_ms;
    bool txn = !list_empty(&engine->txn.chosen) || !list_empty(&engine->txn.unmarked) ||
               !list_empty(&engine->txn.ending) || engine->txn.ledger_count;
    producer_enter(engine, txn ? PRODUCER_TO_READ_BACK : PRODUCER_IDLE);
}

void engine_broker_says(struct engine *engine, const char *words, bool size)
{
    snprintf(engine->broker_says, sizeof engine->broker_says, "%s", words ? words : "");
    engine->says_size = size;
}

/* A fence in a transaction that is older than the session proves nothing: the broker ends a
 * transaction after its time-out, and a successor ends it before it claims anything. */
static void note_fenced(struct engine *engine)
{
    bool slow = engine->now - engine->txn.began >= 2 * engine->options.lease_ms;
    engine->fenced++;
    if (slow || engine->now < engine->fence_grace_until ||
        (engine->now < engine->startup_until && engine->startup_fences++ < ENGINE_STARTUP_FENCES))
        return;
    engine->duplicate_suspected = engine->now - engine->fenced_after < ENGINE_DUPLICATE_MS;
    engine->fenced_after = engine->unfenced_at;
}

/* An abort may mean that this process is no longer a member: heartbeats can get lost while
 * everything else arrives, and the lease depends on heartbeats. So unsent requests are recalled,
 * and need a new lease. O(partitions) for each abort. */
static void doubt_membership(struct engine *engine)
{
    list_each(at, &engine->partitions)
    {
        struct partition *partition = list_of(at, struct partition, node);
        partition_recall(partition, partition->recall || partition->handed > 0);
    }
}

/* Holds back late outcomes, which belong to no partition any more. */
static void block_late(struct engine *engine)
{
    if (engine->late_by == engine->refusals)
        return;
    engine->late_by = engine->refusals;
    engine->late_pause = engine->stopping ? ENGINE_BLOCK_FIRST_MS : block_pause(engine->late_pause);
    engine->late_until = engine->now + engine->late_pause;
}

/* A record that is refused in every form blocks its own partition, so that it does not block the
 * others. The pause grows with each refusal of a transaction, however many records were refused. */
static void block_for_refusal(struct engine *engine, struct request *request, int64_t pause)
{
    struct text reason = {0};
    struct partition *partition = request->partition;
    if (!partition) {
        /* A refused result becomes a late outcome, which is another record. */
        if (request->late_outcome)
            block_late(engine);
        return;
    }
    request->refused = true;
    if (partition->blocked_by == engine->refusals &&
        engine->now + pause <= partition->blocked_until)
        return;
    partition->blocked_by = engine->refusals;
    text_printf(&reason, "the broker refuses what is published of offset %" PRId64 "%s%s",
                request->position.offset, *engine->broker_says ? ": " : "", engine->broker_says);
    partition_block(partition, pause, reason.data);
    text_fini(&reason);
}

/* An invalid request has two records, and only the one that is refused changes its form. */
bool *request_size_form(struct request *request, enum engine_item_type type)
{
    return type == ITEM_INVALID ? &request->dead_letter_reduced : &request->reduced;
}

/* Gives refused records the form that the broker requires. */
static void note_refused(struct engine *engine, const enum record_refusal *refused)
{
    engine->refusals++;
    for (size_t i = 0; refused && i < engine->txn.item_count; i++) {
        struct request *request = engine->txn.item_requests[i];
        const struct engine_item *item = &engine->txn.items[i];
        enum record_refusal refusal = refused[i];
        if (refusal == RECORD_TAKEN)
            continue;
        bool another_form = (refusal == REFUSED_FOR_SIZE && !item->reduced) ||
                            (refusal == REFUSED_FOR_KEY && !item->keyed);
        if (!another_form && !request->partition && refusal == REFUSED_FOR_SIZE)
            request->refused = true; /* a late outcome that is too large in any form is dropped */
        else if (!another_form)
            block_for_refusal(engine, request, refusal == REFUSED_FOR_SIZE ? ENGINE_REFUSED_MS : 0);
        if (refusal == REFUSED_FOR_SIZE)
            *request_size_form(request, item->type) = true;
        if (refusal == REFUSED_FOR_KEY)
            request->keyed = true;
    }
}

/* The pause after consecutive aborts: short at first, because most causes pass, and long in the
 * end, because some never do. */
static int64_t retry_pause(const struct engine *engine)
{
    int64_t pause = (int64_t)RETRY_FIRST_MS << (engine->aborts < 6 ? engine->aborts : 6);
    int64_t most = RETRY_MAX_MS;
    int patient =
        engine->stopping || engine->revoking ? RETRY_BACKOFF_AFTER_DRAIN : RETRY_BACKOFF_AFTER;
    if (engine->aborts >= patient) {
        int doublings = engine->aborts - patient + 1;
        pause = most << (doublings < 5 ? doublings : 5);
        most = RETRY_LONGEST_MS;
    }
    return pause < most ? pause : most;
}

/* Whether so many aborts suggest that the producer itself is the cause. */
static bool needs_new_producer(const struct engine *engine)
{
    if (engine->aborts < RENEW_ABORTS)
        return false;
    bool far_apart = retry_pause(engine) > RETRY_MAX_MS;
    int more = far_apart ? RENEW_ABORTS_FAR_APART : RENEW_ABORTS_MORE;
    return (engine->aborts - RENEW_ABORTS) % more == 0;
}

/* The transaction is aborted. Returns what the producer does next. */
static enum producer_phase after_abort(struct engine *engine, enum txn_outcome outcome,
                                       bool forgotten_again)
{
    engine->aborted++;
    if (outcome == TXN_REFUSED || outcome == TXN_OFFSETS_REFUSED) {
        engine->retry_at = engine->now + RETRY_FIRST_MS; /* the next transaction differs */
        return PRODUCER_IDLE;
    }
    if (outcome == TXN_EXPIRED && !forgotten_again) {
        engine->retry_at = engine->now + RETRY_FIRST_MS; /* the new producer might expire before its
                                                            turn, too */
        return PRODUCER_TO_RENEW;
    }
    engine->retry_at = engine->now + retry_pause(engine);
    if (outcome == TXN_NOT_MEMBER && engine->aborts >= RETRY_BACKOFF_AFTER - 1)
        return PRODUCER_IDLE;
    engine->aborts++;
    engine->aborted_records = engine->txn.item_count;
    bool renew = outcome == TXN_EXPIRED ||
                 (outcome == TXN_ABORTED && needs_new_producer(engine)); /* "new producer" */
    return renew ? PRODUCER_TO_RENEW : PRODUCER_IDLE;
}

/* Returns what the producer does next. */
static enum producer_phase take_outcome(struct engine *engine, enum txn_outcome outcome,
                                        const enum record_refusal *refused)
{
    bool forgotten_again = outcome == TXN_EXPIRED && engine->forgotten;
    engine->forgotten = outcome == TXN_EXPIRED;
    switch (outcome) {
    case TXN_COMMITTED: /* "answered" */
        engine->unfenced_at = engine->txn.began;
        batch_taken(engine, engine->txn.ledgers, engine->txn.ledger_count);
        txn_committed(engine, true);
        return PRODUCER_IDLE;
    case TXN_REFUSED:
        note_refused(engine, refused);
        txn_failed(engine);
        break;
    case TXN_OFFSETS_REFUSED:
        txn_offsets_refused(engine);
        break;
    case TXN_ABORTED: /* "aborted" */
    case TXN_EXPIRED:
    case TXN_NOT_MEMBER:
        doubt_membership(engine);
        txn_failed(engine);
        break;
    case TXN_FENCED: /* "fenced" */
        note_fenced(engine);
        engine->unknown++;
        /* The other producer has ended the open transaction. If another process with the same
         * instance.id is suspected, this one reads back before it makes a new producer, which would
         * fence the other process: only one of the two may end. */
        return engine->duplicate_suspected ? PRODUCER_TO_READ_BACK : PRODUCER_TO_RENEW;
    case TXN_UNKNOWN: /* "answer lost" */
        engine->unknown++;
        return PRODUCER_TO_RENEW;
    }
    return after_abort(engine, outcome, forgotten_again);
}

void engine_transacted(struct engine *engine, enum txn_outcome outcome,
                       const enum record_refusal *refused, int64_t now)
{
    set_time(engine, now, 0);
    assert(engine->producer == PRODUCER_IN_TXN);
    loss_answered(engine, outcome);
    producer_enter(engine, take_outcome(engine, outcome, refused));
    engine_assert_sound(engine);
}

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

bool engine_is_older_than_group(const struct engine *engine, int32_t number)
{
    const struct partition *partition = partition_find(engine, number);
    return partition && partition->older_than_group;
}

/* O(1). */
void engine_record(struct engine *engine, struct request *request, int64_t now, int64_t wall)
{
    set_time(engine, now, wall);
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
    set_time(engine, now, wall);
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
    set_time(engine, now, 0);
    engine->ended_calls++;
    note_latency(engine, request);
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

void engine_ignore_duplicate(struct engine *engine)
{
    engine->fail = false;
}

void engine_frozen(struct engine *engine, int64_t now)
{
    set_time(engine, now, 0);
    engine->fence_grace_until = now + ENGINE_DUPLICATE_MS;
}

void engine_get_stats(const struct engine *engine, struct engine_stats *view)
{
    *view = (struct engine_stats){.handed = engine->handed,
                                  .started = engine->marked,
                                  .late_outcomes = engine->late_outcomes,
                                  .bytes = engine->bytes,
                                  .transactions = engine->transactions,
                                  .aborted = engine->aborted,
                                  .unknown = engine->unknown,
                                  .fenced = engine->fenced,
                                  .recovered = engine->recovered,
                                  .resumed = engine->resumed,
                                  .producer_ready = engine->producer != PRODUCER_STARTING,
                                  .stopping = engine->stopping};
    view->partitions = engine->all_count;
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
        .oldest_ms = oldest ? oldest->raw.timestamp_ms : -1,
        .ledger_size = partition->ledger_size,
        .older_than_group = partition->older_than_group,
    };
    return true;
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
