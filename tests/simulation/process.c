#include <stdlib.h>
#include <string.h>

#include "simulation.h"

/* One worker: its jobs, each with an engine that is driven like the Kafka thread drives it. */

static const char *const names[IDS] = {"w0", "w1", "w2", "w3", "w4", "w5"};

const char *process_name(int id)
{
    return names[id];
}

const char *job_name_of(enum request_kind kind, int id)
{
    static const char *const recorders[IDS] = {"r0", "r1", "r2", "r3", "r4", "r5"};
    return kind == REQUEST_CALL ? names[id] : recorders[id];
}

const char *job_name(const struct job *job)
{
    return job_name_of(job->kind, job->process->id);
}

struct transaction *transaction_of(struct world *world, const struct job *job)
{
    return &world->transactions[(int)job->kind * IDS + job->process->id];
}

struct group *group_of(struct world *world, const struct job *job)
{
    return &world->groups[job->kind];
}

int64_t job_now(const struct world *world, const struct job *job)
{
    return process_now(world, job->process);
}

int64_t job_wall(const struct world *world, const struct job *job)
{
    return process_wall(world, job->process);
}

void allow_unknown(struct world *world, const struct job *job)
{
    if (job->kind == REQUEST_CALL) /* recordings are never in doubt */
        world->unknown_allowed_at[job->process->incarnation] = world->step;
}

void process_draw_owners(struct world *world)
{
    bool longest = world->options.ledger_max < LEDGER_MAX;
    for (int id = 0; id < IDS; id++) {
        if (longest)
            memset(world->owners[id], '-', LEDGER_OWNER_SIZE - 1);
        memcpy(world->owners[id], names[id], 2);
    }
}

int process_id(const char *owner)
{
    for (int id = 0; id < IDS; id++)
        if (!strncmp(names[id], owner, 2))
            return id;
    abort();
}

int64_t process_now(const struct world *world, const struct process *process)
{
    return world->now + process->boot_shift;
}

int64_t process_wall(const struct world *world, const struct process *process)
{
    return world->wall + process->wall_shift;
}

static void start_job(struct world *world, struct process *process, enum request_kind kind)
{
    struct job *job = &process->jobs[kind];
    struct engine_options options = world->options;
    *job = (struct job){.process = process, .kind = kind};
    job->client.generation = -1;
    job->epoch = -1;
    job->renewing = job->initialising = true;
    job->joins = draw(world, 4) == 0; /* else when the producer is ready */
    options.owner = world->owners[process->id];
    options.kind = kind;
    if (kind == REQUEST_RECORDING)
        options.slots = dispatch_recordings(&world->config);
    if (world->serves[kind])
        job->engine = engine_new(&options);
}

void process_start(struct world *world, struct process *process, int id)
{
    int index = process->index;
    memset(process, 0, sizeof *process);
    process->index = index;
    process->id = id;
    process->incarnation = ++world->incarnations;
    process->state = PROCESS_RUNNING;
    process->boot_shift = (int64_t)draw(world, 1000000);
    process->wall_shift = draw(world, 3) ? 0 : (int64_t)draw(world, 2000) - 1000;
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        start_job(world, process, (enum request_kind)kind);
    caller_start(world, process);
    say(world, "%s starts (incarnation %d)", names[id], process->incarnation);
}

void process_end(struct world *world, struct process *process, const char *why)
{
    say(world, "%s %s", names[process->id], why);
    each_job(job, process) engine_free(job->engine);
    caller_drop_all(process);
    process->state = PROCESS_DEAD;
    each_job(job, process)
    {
        commit_drop(job);
        job->engine = NULL;
    }
}

void process_crash(struct world *world, struct process *process)
{
    world->unknown_allowed_at[process->incarnation] = UINT64_MAX;
    process_end(world, process, "crashes");
}

void job_drain(const struct world *world, struct job *job, unsigned logs)
{
    int64_t until = job_now(world, job) + world->options.drain_ms;
    for (int log = 0; log < LOGS_MAX; log++)
        if (logs & 1u << log && job->drain_until[log] > until) {
            job->drain_until[log] = until;
            job->recalls &= ~(1u << log);
        }
}

static void trace_transaction(struct world *world, const struct job *job,
                              const struct engine_action *action)
{
    say(world, "%s begins a transaction of %zu items", job_name(job), action->item_count);
    for (size_t i = 0; world->plan.trace && i < action->ledger_count; i++)
        say(world, "    %d: base %d %s", action->ledgers[i].partition,
            (int)action->ledgers[i].offset, action->ledgers[i].metadata);
    for (size_t i = 0; world->plan.trace && i < action->item_count; i++)
        say(world, "    %d/%d %s", action->items[i].request->position.partition,
            (int)action->items[i].request->position.offset,
            status_name(action->items[i].request->outcome.status));
}

static void transact(struct world *world, struct job *job, const struct engine_action *action)
{
    if (job->transact != PHASE_IDLE || job->renewing)
        broken(world, "%s wants two transactions at once", job_name(job));
    trace_transaction(world, job, action);
    job->transaction = *action;
    job->asked_at = world->step;
    bool offsets_first = action->ledger_count && (!action->item_count || draw(world, 2));
    job->transact = offsets_first ? PHASE_OFFSETS : PHASE_PRODUCE;
    job->member = job->client.member;
    job->generation = job->client.generation;
}

static void do_ledger_job(struct world *world, struct job *job, const struct engine_action *action)
{
    if (job->working)
        broken(world, "%s wants two ledger jobs at once", job_name(job));
    job->work = *action;
    for (size_t i = 0; action->type == ENGINE_COMMIT && i < action->ledger_count; i++)
        check_plain_commit(world, job, &action->ledgers[i]);
    job->working = WORK_TO_DO;
}

/* The engine suspects another process with the same instance.id. */
static void fail(struct world *world, struct job *job)
{
    bool twice = job->ended_before && job->ended - job->ended_before < 60000;
    world->counts.accused += twice && !job->process->has_duplicate;
    if (job->process->has_duplicate || twice)
        process_crash(world, job->process);
    else
        broken(world, "%s believes to have a duplicate instance", job_name(job));
}

/* Performs one action; false: there is none. */
static bool obey(struct world *world, struct job *job)
{
    struct engine_action action;
    switch (engine_next(job->engine, job_now(world, job), job_wall(world, job), &action)) {
    case ENGINE_NOTHING:
        return false;
    case ENGINE_TRANSACT:
        transact(world, job, &action);
        return true;
    case ENGINE_RENEW_PRODUCER:
        if (job->transact != PHASE_IDLE || job->renewing)
            broken(world, "%s renews in the middle", job_name(job));
        job->renewing = true;
        return true;
    case ENGINE_READ:
    case ENGINE_END_OWNER:
    case ENGINE_COMMIT:
        do_ledger_job(world, job, &action);
        return true;
    case ENGINE_ASSIGN:
        client_assign(world, job, &action);
        return true;
    case ENGINE_UNASSIGN:
        client_unassign(world, job, &action);
        return true;
    case ENGINE_START:
        check_start(world, job, action.request);
        caller_lend(world, job, action.request);
        return true;
    case ENGINE_RECALL:
        caller_recall(world, job, &action);
        return true;
    case ENGINE_LEAVE:
        say(world, "%s leaves", job_name(job));
        check_stopped(world, job);
        job->client.leaving = true;
        return true;
    case ENGINE_FAIL:
        fail(world, job);
        return false;
    }
    return false;
}

void process_heartbeat(struct world *world, struct process *process)
{
    each_job(job, process)
    {
        struct member *member = group_find(group_of(world, job), job->client.member);
        if (job->client.lost || job->client.state == CLIENT_GONE ||
            coordinator_is_away(world, COORDINATOR_GROUP, job->kind))
            continue;
        job->client.heard_at = world->now;
        if (member && world->now - member->heard_at >= world->session_ms / 3)
            member->heard_at = world->now;
    }
}

/* The Kafka thread gets one event of those that are possible. */
static void happen(struct world *world, struct job *job)
{
    void (*news[5])(struct world *, struct job *);
    size_t count = 0;
    bool away = coordinator_is_away(world, COORDINATOR_GROUP, job->kind);
    if (job->process->caller.out[job->kind].count)
        news[count++] = caller_take;
    if (world->now < job->process->cut_off_until) {
        news[count++] = client_alone;
    } else {
        news[count++] = away ? client_alone : client_step;
        if (job->client.fetching)
            news[count++] = client_fetch;
        if (job->transact != PHASE_IDLE || job->renewing)
            news[count++] = commit_transact_step;
        if (job->working != WORK_NONE)
            news[count++] = commit_work_step;
    }
    news[draw(world, count)](world, job);
    if (!job->initialising)
        job->joins = true;
}

/* The engine must act at its wake time, unless only a base has moved, which waits for other
 * changes. */
static void check_sleep(struct world *world, struct job *job)
{
    if (!job->asleep || job_now(world, job) >= job->wake_at - 100)
        return;
    if (obey(world, job))
        broken(world, "%s has something to do before its time", job_name(job));
}

/* Up to `most` actions. */
static void pump(struct world *world, struct job *job, size_t most)
{
    job->asleep = false;
    while (most-- && !world->failed) {
        if (fault_occurs(world, FAULT_crash_between)) {
            process_crash(world, job->process);
            return;
        }
        if (obey(world, job))
            continue;
        job->asleep = job->engine != NULL;
        if (job->asleep)
            job->wake_at = engine_wake_time(job->engine);
        return;
    }
}

/* Its thread ends once it has left the group and nothing of it is on its way; then the process,
 * when both have. */
static bool has_ended(const struct job *job)
{
    return !job->engine || (job->client.state == CLIENT_GONE && job->transact == PHASE_IDLE);
}

static void count_resumed(struct world *world, struct job *job)
{
    struct engine_stats view;
    engine_get_stats(job->engine, &view);
    world->counts.resumed += view.resumed - job->resumed;
    job->resumed = view.resumed;
}

static void job_step(struct world *world, struct job *job)
{
    happen(world, job);
    if (world->failed)
        return;
    if (job->fenced) {
        process_crash(world, job->process); /* librdkafka says so, and the worker ends */
        return;
    }
    pump(world, job, world->calm || draw(world, 8) ? 1000 : draw(world, 3));
    if (!job->engine)
        return;
    count_resumed(world, job);
    check_job(world, job);
}

/* One of its jobs that have not ended; NULL: none. */
static struct job *draw_job(struct world *world, struct process *process)
{
    struct job *running[REQUEST_KINDS];
    size_t count = 0;
    each_job(job, process)
    {
        if (!has_ended(job))
            running[count++] = job;
    }
    return count ? running[draw(world, count)] : NULL;
}

void process_step(struct world *world, struct process *process)
{
    struct job *job = draw_job(world, process);
    if (!job) {
        process_end(world, process, "has stopped");
        return;
    }
    check_sleep(world, job);
    if (process->state == PROCESS_DEAD)
        return;
    if (world->now >= process->cut_off_until && world->now >= process->deaf_until)
        process_heartbeat(world, process);
    if (draw(world, 2))
        caller_step(world, process);
    if (!world->failed && draw(world, 4))
        job_step(world, job);
}
