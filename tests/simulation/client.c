#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "simulation.h"

/* The consumer: records, and rebalances as librdkafka reports them (each waits for its answer). */

static size_t positions_of(const struct world *world, unsigned logs,
                           struct record_position *positions)
{
    size_t count = 0;
    for (int log = 0; log < world->log_count; log++)
        if (logs & 1u << log)
            positions[count++] = (struct record_position){.partition = log, .offset = -1};
    return count;
}

/* Calls that the process has started there are not its own any more, even if no release is
 * committed and the ledger still names it: it has forgotten these logs, and goes on as a successor
 * if they come back. */
static void note_dropped(struct world *world, const struct job *job, unsigned logs)
{
    for (int i = 0; i < world->task_count; i++) {
        struct task *task = &world->tasks[i];
        if (!(logs & 1u << task->log) || task->starter != job->process->incarnation)
            continue;
        task->inherited = task->dropped = true;
        task->resumed = false;
    }
}

/* Whoever is refused its claim for good remembers nothing of the log either. */
static void note_unclaimed(struct world *world, const struct job *job, unsigned logs)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++)
        if (view.unclaimed && logs & 1u << view.partition)
            note_dropped(world, job, 1u << view.partition);
}

static void ask_assign(struct world *world, struct job *job, unsigned logs)
{
    struct client *client = &job->client;
    struct record_position positions[LOGS_MAX];
    size_t count = positions_of(world, logs, positions);
    client->asked = ASKED_ASSIGN;
    memset(job->claims_refused, 0, sizeof job->claims_refused);
    for (int log = 0; log < world->log_count; log++)
        if (logs & 1u << log) /* earlier knowledge is gone with the partition */
            job->too_long[log].size = 0;
    client->asked_logs = logs;
    note_dropped(world, job, job->lost & ~logs);
    job->lost &= logs; /* logs that are not in the first assignment belong to another process */
    say(world, "%s is given %x", job_name(job), logs);
    engine_assigned(job->engine, ++client->rebalance, positions, count, job_now(world, job));
}

/* Calls of a partition that the process had lost or given up before are its own again only if it
 * went on from memory. Otherwise it has taken them over like any successor, and knows their end, if
 * at all, as a late outcome: that needs no partition, so nothing has to be handed over. */
static void note_lost(struct world *world, struct job *job, unsigned logs)
{
    job->lost |= logs;
    for (int i = 0; i < world->task_count; i++) {
        struct task *task = &world->tasks[i];
        if (task->kind != job->kind || task->starter != job->process->incarnation)
            continue;
        task->given_up = task->inherited && !task->resumed;
        task->inherited = true;
        task->resumed = false;
    }
}

/* Calls that were started while the partition was being lost are lost, too. */
static void note_parted(struct world *world, const struct job *job)
{
    for (int i = 0; i < world->task_count; i++) {
        struct task *task = &world->tasks[i];
        task->inherited |= task->kind == job->kind && task->starter == job->process->incarnation;
    }
}

static void ask_unassign(struct world *world, struct job *job, unsigned logs, bool lost)
{
    struct client *client = &job->client;
    struct record_position positions[LOGS_MAX];
    size_t count = positions_of(world, logs, positions);
    client->asked = ASKED_UNASSIGN;
    client->asked_since = world->now;
    client->asked_logs = logs;
    client->lost = lost;
    client->answered_at = 0;
    say(world, "%s %s %x", job_name(job), lost ? "has lost" : "is asked to give back", logs);
    note_unclaimed(world, job, logs);
    if (lost)
        note_lost(world, job, logs);
    else
        job_drain(world, job, logs);
    engine_revoked(job->engine, ++client->rebalance, lost ? PARTITIONS_LOST : PARTITIONS_REVOKED,
                   positions, count, job_now(world, job));
}

static void be_out(struct client *client)
{
    client->state = CLIENT_OUT;
    client->member = 0;
    client->generation = -1;
    client->owned = client->fetching = client->then_assign = 0;
    client->lost = client->rejoin = false;
}

static void lose_all(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    unsigned held = client->owned;
    refusal_end_series(job);
    allow_unknown(world, job);
    if (client->lost)
        return;
    if (client->asked && !fault_occurs(world, FAULT_lost_anyhow))
        return; /* reported when the callback has been answered */
    if (client->asked)
        held |= client->asked_logs;
    client->then_assign = 0;
    if (held)
        ask_unassign(world, job, held, true);
    else
        be_out(client);
}

static void be_kicked(struct world *world, struct job *job)
{
    struct group *group = group_of(world, job);
    job->fenced = group->statics && group_is_taken(group, job->process->id);
    lose_all(world, job);
}

void client_alone(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    if (client->state == CLIENT_OUT || client->state == CLIENT_GONE || !client->member ||
        client->lost || world->now - client->heard_at <= world->session_ms)
        return;
    /* The client counts everything as lost, and joins again, as a new member. */
    world->counts.unheard++;
    say(world, "%s has not been answered for a session", job_name(job));
    if (client->state == CLIENT_STABLE && !client->asked && client->owned) {
        /* Until the answer, it commits as the old member. */
        client->then_assign = 0;
        ask_unassign(world, job, client->owned, true);
        return;
    }
    client->member = 0;
    client->generation = -1;
    lose_all(world, job);
}

static void synced(struct world *world, struct job *job, struct member *member)
{
    struct client *client = &job->client;
    unsigned given = member->given, back = client->owned & ~given;
    member->synced = false;
    client->state = CLIENT_STABLE;
    client->generation = group_of(world, job)->generation;
    if (back) {
        client->then_assign = given & ~client->owned;
        client->rejoin = true;
        ask_unassign(world, job, back, false);
    } else {
        ask_assign(world, job, given & ~client->owned);
    }
}

static void join(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    int instance = group_of(world, job)->statics ? job->process->id : -1;
    client->rejoin = false;
    client->member = group_join(world, job->kind, client->member, instance, client->owned);
    client->state = CLIENT_JOINING;
    client->heard_at = world->now;
}

static void rejoin(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    if (group_of(world, job)->eager && client->owned) {
        client->rejoin = true;
        ask_unassign(world, job, client->owned, false);
        return;
    }
    join(world, job);
}

static void leave(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    if (client->owned) {
        ask_unassign(world, job, client->owned, false);
        return;
    }
    if (!group_of(world, job)->statics)
        group_leave(world, job->kind, client->member);
    client->state = CLIENT_GONE;
}

/* The log whose refused claim has to be repeated now; -1: none. */
static int claim_due(const struct world *world, struct job *job)
{
    enum { FIRST_MS = 1000, MOST_MS = 30000 };
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++) {
        struct claim *claim = &job->claims[view.partition];
        bool waits = view.unclaimed && !view.active && !job->process->stopping;
        bool due = claim->at && job_now(world, job) >= claim->at;
        if (view.active)
            *claim = (struct claim){0};
        if (!waits || (claim->at && !due))
            continue;
        claim->pause = !claim->pause ? FIRST_MS : 2 * claim->pause;
        if (claim->pause > MOST_MS)
            claim->pause = MOST_MS;
        claim->at = job_now(world, job) + claim->pause;
        if (due)
            return view.partition;
    }
    return -1;
}

/* Like the worker's thread: the log is reported as lost and as assigned again, and the group is not
 * involved. */
static void retry_claim(struct world *world, struct job *job, int log)
{
    struct client *client = &job->client;
    struct record_position position = {.partition = log, .offset = -1};
    client->owned &= ~(1u << log);
    client->fetching &= ~(1u << log);
    note_dropped(world, job, 1u << log);
    engine_revoked(job->engine, ++client->rebalance, PARTITIONS_OVERTAKEN, &position, 1,
                   job_now(world, job));
    ask_assign(world, job, 1u << log);
}

/* Events and actions of a stable member without an open rebalance. */
static void go_on(struct world *world, struct job *job, const struct member *member)
{
    struct client *client = &job->client;
    int due = client->then_assign || client->leaving ? -1 : claim_due(world, job);
    if (client->then_assign) {
        unsigned logs = client->then_assign;
        client->then_assign = 0;
        ask_assign(world, job, logs);
    } else if (client->leaving) {
        leave(world, job);
    } else if (client->rejoin || (group_of(world, job)->rebalancing && !member->joined)) {
        rejoin(world, job);
    } else if (due >= 0) {
        retry_claim(world, job, due);
    }
}

static void step_joining(struct world *world, struct job *job, struct member *member)
{
    bool overtaken = member->synced && group_of(world, job)->rebalancing;
    if (overtaken ? fault_occurs(world, FAULT_lost_sync) : !member->synced && !member->joined)
        join(world, job);
    else if (member->synced)
        synced(world, job, member);
}

void client_step(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    struct member *member = group_find(group_of(world, job), client->member);
    if (client->state == CLIENT_OUT) {
        if (client->leaving)
            client->state = CLIENT_GONE;
        else if (job->joins)
            rejoin(world, job);
        return;
    }
    if (client->state == CLIENT_GONE)
        return;
    if (!member) {
        be_kicked(world, job);
        return;
    }
    if (client->state == CLIENT_JOINING)
        step_joining(world, job, member);
    if (client->state != CLIENT_STABLE)
        return;
    if (!client->asked)
        go_on(world, job, member);
    else if (client->asked == ASKED_UNASSIGN && !client->lost &&
             fault_occurs(world, FAULT_again_revoked))
        ask_unassign(world, job, client->owned, false);
}

static bool is_active(const struct job *job, int log)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(job->engine, i, &view); i++)
        if (view.partition == log)
            return view.active;
    return false;
}

/* Notes that a log that has come back is claimed: the process has gone on from memory with the
 * calls that were started since another process last wrote the ledger. */
static void note_resumed(struct world *world, const struct job *job, int index)
{
    const struct log *log = &world->logs[index];
    int incarnation = job->process->incarnation;
    if (log->writer != incarnation || !is_active(job, index))
        return;
    for (int i = 0; i < log->task_count; i++) {
        struct task *task = &world->tasks[log->tasks[i]];
        task->resumed |=
            task->starter == incarnation && !task->dropped && task->started_at > log->writer_since;
    }
}

/* Notes that a lost log has come back, and no other process has had it. */
static void note_holder(struct world *world, struct job *job, int log)
{
    bool lost = job->lost & 1u << log;
    world->counts.came_back += lost && world->logs[log].holder == job->process->incarnation;
    if (lost)
        note_resumed(world, job, log);
    job->lost &= ~(1u << log);
    world->logs[log].holder = job->process->incarnation;
}

void client_assign(struct world *world, struct job *job, const struct engine_action *action)
{
    struct client *client = &job->client;
    unsigned logs = 0;
    say(world, "%s answers assign %d", job_name(job), (int)action->rebalance);
    if (action->rebalance != client->rebalance || client->asked != ASKED_ASSIGN)
        return;
    for (size_t i = 0; i < action->position_count; i++) {
        int log = action->positions[i].partition;
        int64_t from = action->positions[i].offset;
        logs |= 1u << log;
        note_holder(world, job, log);
        client->position[log] = from < world->logs[log].start ? world->logs[log].start : from;
        client->end_told[log] = -1;
        job->refusal.log_at[log] = 0;
        job->drain_until[log] = job->process->stopping ? 0 : INT64_MAX / 2; /* 0: never claimed */
    }
    if (logs != client->asked_logs)
        broken(world, "%s was given %x and answers %x", job_name(job), client->asked_logs, logs);
    note_unclaimed(world, job, logs);
    client->owned |= logs;
    client->fetching |= logs;
    client->asked = ASKED_NOTHING;
}

void client_unassign(struct world *world, struct job *job, const struct engine_action *action)
{
    struct client *client = &job->client;
    say(world, "%s answers unassign %d", job_name(job), (int)action->rebalance);
    if (action->rebalance != client->rebalance || client->asked != ASKED_UNASSIGN)
        return;
    check_given_back(world, job, client->asked_logs);
    if (client->lost && group_find(group_of(world, job), client->member))
        check_handed_over(world, job, client->asked_logs);
    client->owned &= ~client->asked_logs;
    client->fetching &= ~client->asked_logs;
    client->asked = ASKED_NOTHING;
    if (client->lost) {
        note_parted(world, job);
        be_out(client);
    } else {
        note_dropped(world, job, client->asked_logs);
    }
}

static void deliver(struct world *world, struct job *job, const struct task *task)
{
    struct raw_record raw = {.key = "k",
                             .key_size = 1,
                             .value = "{}",
                             .value_size = 2,
                             .timestamp_ms = task->created_at};
    char key[16];
    if (!engine_is_news(job->engine, task->log, task->offset))
        return;
    struct request *request =
        request_new((struct record_position){task->kind, task->log, task->offset}, &raw);
    if (task->key >= 0) {
        snprintf(key, sizeof key, "o-%d", task->key);
        request->event.order_id = request->event.strings = memory_string(key);
    }
    if (task->invalid) {
        request->event.invalid_code = "invalid";
        request->event.invalid_message = memory_string("invalid");
    }
    request->event.expires_at_ms = task->expires_at;
    engine_record(job->engine, request, job_now(world, job), job_wall(world, job));
}

void client_fetch(struct world *world, struct job *job)
{
    struct client *client = &job->client;
    int index = (int)draw(world, (uint64_t)world->log_count);
    struct log *log = &world->logs[index];
    if (!(client->fetching & 1u << index) || world->now < log->away_until)
        return;
    int64_t *position = &client->position[index];
    if (*position < log->start)
        *position = log->start;
    if (fault_occurs(world, FAULT_duplicate) && *position > log->start)
        --*position;
    size_t most = engine_wants(job->engine, index);
    if (most > 1 && draw(world, 2))
        most = 1 + draw(world, most);
    for (; most && *position < log->end; ++*position) {
        const struct task *task = broker_task(world, index, *position);
        if (!task || task->deleted)
            continue;
        deliver(world, job, task);
        most--;
    }
    if (*position == log->end && client->end_told[index] != log->end && draw(world, 2)) {
        client->end_told[index] = log->end;
        engine_end(job->engine, index, log->end, job_now(world, job), job_wall(world, job));
    }
}
