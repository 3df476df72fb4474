#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "simulation.h"

/* One run: a world that is drawn from the seed, a time with faults in which all events arrive, and
 * a calm time in which everything must end. */

const char *const fault_names[FAULT_COUNT] = {
#define X(name, most, every) #name,
    FAULTS(X)
#undef X
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t draw(struct world *world, uint64_t below)
{
    uint64_t number = mix(world->random += 0x9e3779b97f4a7c15u);
    return below ? number % below : 0;
}

/* Each step has its own stream of random numbers. */
static void begin_stream(struct world *world)
{
    world->random = mix(world->plan.seed * 0x9e3779b97f4a7c15u ^ mix(world->step));
}

static bool may_inject(const struct world *world)
{
    const uint64_t *only = world->plan.only;
    return !only || (world->step < STEPS_MAX && only[world->step / 64] >> world->step % 64 & 1);
}

static uint64_t *recorded_steps;

bool fault_occurs(struct world *world, enum fault fault)
{
    if (world->calm || !world->rates[fault] || draw(world, 10000) >= world->rates[fault] ||
        !may_inject(world))
        return false;
    world->counts.faults[fault]++;
    if (recorded_steps && world->step < STEPS_MAX)
        recorded_steps[world->step / 64] |= 1ull << world->step % 64;
    say(world, "FAULT %s", fault_names[fault]);
    return true;
}

void say(struct world *world, const char *format, ...)
{
    if (!world->plan.trace)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("%6llu %8lld  ", (unsigned long long)world->step, (long long)world->now);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

void broken(struct world *world, const char *format, ...)
{
    if (world->failed)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
    world->violation = format;
    world->failed = true;
    say(world, "BROKEN: %s", world->failure);
}

static const struct {
    unsigned most, every;
} kinds[FAULT_COUNT] = {
#define X(name, most, every) {most, every},
    FAULTS(X)
#undef X
};

bool fault_is_possible(const struct plan *plan, enum fault fault)
{
    return (kinds[fault].every || plan->with >> fault & 1) && !(plan->without >> fault & 1);
}

static void draw_faults(struct world *world)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        bool on = draw(world, kinds[i].every ? kinds[i].every : 3) == 0;
        unsigned rate = 1 + (unsigned)draw(world, kinds[i].most);
        world->rates[i] = on && fault_is_possible(&world->plan, (enum fault)i) ? rate : 0;
    }
}

static int64_t draw_either(struct world *world, int64_t usual, int64_t least, int64_t span)
{
    int64_t other = least + (int64_t)draw(world, (uint64_t)span);
    return draw(world, 2) ? usual : other;
}

/* Mostly both jobs are switched on. */
static void draw_jobs(struct world *world)
{
    uint64_t which = draw(world, 8);
    world->serves[REQUEST_CALL] = which != 0;
    world->serves[REQUEST_RECORDING] = which == 0 || which > 3;
}

static void draw_settings(struct world *world)
{
    draw_jobs(world);
    world->session_ms = 6000 + (int64_t)draw(world, 6000);
    world->transaction_ms = 2 * world->session_ms;
    world->options = (struct engine_options){
        .lease_ms = world->session_ms / 2,
        .doubt_ms = 1000 + (int64_t)draw(world, 9000),
        .drain_ms = draw_either(world, 15000, 200, 3000),
        .overdue = {.max_age_ms = draw(world, 8) ? 900000 : 5000 + (int64_t)draw(world, 60000),
                    .deadline_ms = draw_either(world, 60000, draw(world, 4) ? 2000 : 0, 1)},
        .window = 2 + (int64_t)draw(world, draw(world, 2) ? 6 : 60),
        .window_bytes = draw(world, 4) ? 1 << 20 : 600 + (int64_t)draw(world, 8000),
        .memory_bytes = draw(world, 2) ? 1 << 20 : 600 + (int64_t)draw(world, 20000),
        .record_bytes = RECORD_MAX,
        .ledger_max = LEDGER_MAX,
        .turn = 1 + (int64_t)(mix(~world->plan.seed) % 3), /* the slots are too few for more */
    };
    if (draw(world, 2)) { /* little room, for offsets and for doubts */
        world->options.doubts = 1 + draw(world, 2);
        world->options.ledger_max =
            122 + ledger_doubts_size(world->options.doubts) + (int64_t)draw(world, 60);
    }
    static int64_t auth_flags[] = {9}, retry_flags[] = {50};
    static char calls[] = "calls", recordings[] = "recordings", none[] = "";
    const struct engine_options *options = &world->options;
    world->config = (struct config){
        .request_topics = {world->serves[REQUEST_CALL] ? calls : none,
                           world->serves[REQUEST_RECORDING] ? recordings : none},
        .platform_max_in_flight = 1 + (int64_t)draw(world, 6),
        .recording_max_in_flight = 1 + (int64_t)draw(world, 3),
        .platform_timeout_ms = options->doubt_ms,
        .platform_rate_per_second = draw(world, 4) ? 0 : 2 + (int64_t)draw(world, 200),
        .platform_breaker_failures = 1 + (int64_t)draw(world, draw(world, 2) ? 5 : 20),
        .platform_breaker_open_ms = 20 + (int64_t)draw(world, 3000),
        .platform_auth_flags = {auth_flags, 1},
        .call_retry_flags = {retry_flags, 1},
        .recording_retry_flags = {retry_flags, 1},
        .call_max_age_ms = options->overdue.max_age_ms,
        .call_deadline_ms = options->overdue.deadline_ms,
        .recording_attempts = 1 + (int64_t)draw(world, 5),
    };
    world->options.slots = world->config.platform_max_in_flight;
}

static void world_init(struct world *world, const struct plan *plan)
{
    memset(world, 0, sizeof *world);
    world->plan = *plan;
    world->now = 1000000;
    world->wall = 1700000000000;
    begin_stream(world);
    draw_settings(world);
    draw_faults(world);
    refusal_init(world);
    process_draw_owners(world);
    world->append_every = 4 + (unsigned)draw(world, 56);
    world->keys = 2 + (int)draw(world, KEYS_MAX - 1);
    broker_init(world);
    world->process_count = 1 + (int)draw(world, PROCESSES_MAX);
    for (int i = 0; i < world->process_count; i++) {
        world->processes[i].index = world->processes[i].id = i;
        if (!i || draw(world, 2))
            process_start(world, &world->processes[i], i);
    }
}

void world_end(struct world *world)
{
    world->plan.trace = false;
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state != PROCESS_DEAD)
            process_end(world, &world->processes[i], "ends");
    broker_fini(world);
}

/* A jump of a clock: mostly a small correction, now and then by minutes, forward or back. */
static int64_t draw_jump(struct world *world)
{
    int64_t most = draw(world, 4) ? 2000 : 240000;
    return (int64_t)draw(world, 2 * (uint64_t)most) - most;
}

static void report_freeze(struct world *world, struct process *process)
{
    each_job(job, process) engine_frozen(job->engine, job_now(world, job));
}

static void pass_time(struct world *world)
{
    static const int64_t steps[] = {0, 0, 0, 1, 1, 5, 20, 100};
    int64_t most = steps[draw(world, sizeof steps / sizeof *steps)];
    int64_t passed = (int64_t)draw(world, (uint64_t)most + 1);
    if (draw(world, 100) == 0)
        passed += (int64_t)draw(world, 1000);
    if (fault_occurs(world, FAULT_sleep))
        passed += (int64_t)draw(world, 40000);
    world->now += passed;
    world->wall += passed;
    for (int i = 0; passed > 1000 + world->session_ms / 3 && i < world->process_count; i++)
        if (world->processes[i].state == PROCESS_RUNNING)
            report_freeze(world, &world->processes[i]);
    if (fault_occurs(world, FAULT_wall))
        world->wall += draw_jump(world);
}

static struct process *process_named(struct world *world, int id)
{
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state != PROCESS_DEAD && world->processes[i].id == id)
            return &world->processes[i];
    return NULL;
}

/* Whether a process with that name may be started: another process with the same name must be
 * frozen. */
static bool name_is_free(struct world *world, int id)
{
    struct process *other = process_named(world, id);
    if (!other)
        return true;
    if (other->state != PROCESS_FROZEN || !fault_occurs(world, FAULT_second_instance))
        return false;
    other->has_duplicate = true;
    return true;
}

static void start(struct world *world, struct process *process)
{
    int id = draw(world, 3) ? process->id : (int)draw(world, IDS);
    bool second = process_named(world, id) != NULL;
    if (world->incarnations >= INCARNATIONS_MAX - PROCESSES_MAX - 1 || !name_is_free(world, id))
        return;
    process_start(world, process, id);
    process->has_duplicate = second;
}

/* A heartbeat may be answered before the process notices that none was answered for long. */
static void thaw_job(struct world *world, struct job *job)
{
    struct member *member = group_find(group_of(world, job), job->client.member);
    job->asleep = false;
    refusal_end_series(job);
    if (!member || world->now - member->heard_at > world->session_ms)
        return;
    member->heard_at = world->now;
    if (draw(world, 2))
        job->client.heard_at = world->now;
}

static void thaw(struct world *world, struct process *process)
{
    int64_t stood = world->now - process->frozen_since;
    say(world, "%s thaws after %d ms", process_name(process->id), (int)stood);
    process->state = PROCESS_RUNNING;
    each_job(job, process) thaw_job(world, job);
    if (fault_occurs(world, FAULT_stand)) {
        process->boot_shift -= stood;
        process->clock_stood = true;
    } else if (stood > 1000) {
        report_freeze(world, process);
    }
}

static void freeze(struct world *world, struct process *process)
{
    world->unknown_allowed_at[process->incarnation] = world->step;
    process->state = PROCESS_FROZEN;
    process->frozen_since = world->now;
}

static void stop(struct world *world, struct process *process)
{
    process->stopping = true;
    process->stops_since = world->now;
    process->stop_until = process_now(world, process) + world->options.drain_ms;
    each_job(job, process)
    {
        job->asleep = false;
        job_drain(world, job, ~0u);
        engine_stop(job->engine, job_now(world, job));
    }
}

static void inject_process_faults(struct world *world, struct process *process)
{
    if (fault_occurs(world, FAULT_crash)) {
        process_crash(world, process);
    } else if (fault_occurs(world, FAULT_freeze)) {
        freeze(world, process);
    } else if (fault_occurs(world, FAULT_cut_off)) {
        world->unknown_allowed_at[process->incarnation] = world->step;
        process->cut_off_until = world->now + (int64_t)draw(world, 20000);
    } else if (fault_occurs(world, FAULT_deaf)) {
        world->unknown_allowed_at[process->incarnation] = world->step;
        process->deaf_until = world->now + (int64_t)draw(world, 20000);
    } else if (!process->stopping && fault_occurs(world, FAULT_stop)) {
        stop(world, process);
    }
}

/* All processes die, and none starts for longer than the group's offsets are kept and calls
 * last. */
static void expire(struct world *world)
{
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state != PROCESS_DEAD)
            process_crash(world, &world->processes[i]);
    world->now += 8 * 86400000ll;
    world->wall += 8 * 86400000ll;
    broker_expire(world);
}

/* Random events: deaths, freezes, starts, records, faults of brokers and platform. */
static void inject_faults(struct world *world)
{
    struct process *process = &world->processes[draw(world, (uint64_t)world->process_count)];
    if (process->state == PROCESS_RUNNING)
        inject_process_faults(world, process);
    else if (process->state == PROCESS_FROZEN && draw(world, 70) == 0)
        thaw(world, process);
    else if (process->state == PROCESS_DEAD && fault_occurs(world, FAULT_start))
        start(world, process);
    if (draw(world, world->append_every) == 0)
        broker_append(world);
    broker_inject_faults(world);
    refusal_inject(world);
    if (fault_occurs(world, FAULT_outage))
        world->outage_until = world->now + (int64_t)draw(world, 8000);
    if (fault_occurs(world, FAULT_ill))
        world->ill_until = world->now + (int64_t)draw(world, 4000);
    if (fault_occurs(world, FAULT_expire))
        expire(world);
}

static void step(struct world *world)
{
    pass_time(world);
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        group_step(world, &world->groups[kind]);
    platform_step(world);
    if (draw(world, 4) == 0)
        broker_step(world);
    struct process *running[PROCESSES_MAX];
    size_t count = 0;
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state == PROCESS_RUNNING)
            running[count++] = &world->processes[i];
    if (count)
        process_step(world, running[draw(world, count)]);
}

/* Keeps at least one process that does not stop, as soon as there is room for one. */
static void keep_one(struct world *world)
{
    struct process *dead = NULL;
    for (int i = 0; i < world->process_count; i++) {
        if (world->processes[i].state == PROCESS_RUNNING && !world->processes[i].stopping)
            return;
        if (world->processes[i].state == PROCESS_DEAD)
            dead = &world->processes[i];
    }
    if (!dead)
        return;
    int id = 0;
    while (process_named(world, id))
        id++;
    process_start(world, dead, id);
}

static void calm_down(struct world *world)
{
    say(world, "no faults any more");
    world->calm = true;
    coordinator_calm(world);
    world->outage_until = world->ill_until = world->now;
    for (int i = 0; i < world->log_count; i++)
        world->logs[i].away_until = world->now;
    for (int i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        process->cut_off_until = world->now;
        process->stops_since = world->now;
        each_job(job, process)
        {
            job->idle_since = job->client.asked_since = job->client.heard_at = world->now;
            job->asleep = false;
        }
        if (process->state != PROCESS_DEAD && process->has_duplicate)
            process_crash(world,
                          process); /* two processes with one name would end each other in turn */
        else if (process->state == PROCESS_FROZEN)
            thaw(world, process);
    }
    keep_one(world);
}

/* Lets a permanent refusal last for some more minutes, in which nothing else happens. */
static void outlast_refusal(struct world *world)
{
    enum { REFUSAL_LASTS_MS = 300000, STEP_MS = 400, SHORT_STEP_MS = 60 };
    int64_t until = world->now + REFUSAL_LASTS_MS;
    int64_t step_ms = world->refusal.log < 0 ? STEP_MS : SHORT_STEP_MS; /* the others go on */
    while (!world->failed && world->now < until) {
        world->step++;
        begin_stream(world);
        int64_t passed = (int64_t)draw(world, (uint64_t)step_ms);
        world->now += passed;
        world->wall += passed;
        for (int i = 0; i < world->process_count; i++)
            if (world->processes[i].state == PROCESS_RUNNING)
                process_heartbeat(world, &world->processes[i]);
        if (world->step % 256 == 0)
            keep_one(world);
        step(world);
    }
    if (!world->failed)
        check_others_went_on(world);
    refusal_lift(world);
    for (int i = 0; i < world->process_count; i++) {
        world->processes[i].stops_since = world->now;
        each_job(job, &world->processes[i]) job->idle_since = world->now;
    }
}

/* A person repairs the cause of halted partitions; other refusals end without a report to the
 * worker. (A limit that halts no partition stays.) */
static void repair_halted(struct world *world)
{
    for (int i = 0; i < world->process_count; i++)
        each_job(job, &world->processes[i]) if (check_is_stuck(job)) world->ledger_max = 0;
    keep_one(world);
}

static void run_calm(struct world *world)
{
    uint64_t from = world->step;
    int64_t began = world->now;
    while (!world->failed) {
        world->step++;
        begin_stream(world);
        if (world->task_count < world->plan.events && draw(world, 4) == 0)
            broker_append(world);
        if (world->step % 256 == 0)
            repair_halted(world);
        step(world);
        if (world->failed || (world->step % 32 == 0 && check_all_done(world, false)))
            break;
        if (world->step - from >= CALM_STEPS_MAX)
            check_all_done(world, true);
    }
    world->counts.calm_steps_max = world->step - from;
    world->counts.calm_ms_max = (uint64_t)(world->now - began);
}

void world_run(struct world *world, const struct plan *plan, uint64_t *fault_steps)
{
    recorded_steps = fault_steps;
    map_set_seed(plan->seed);
    world_init(world, plan);
    uint64_t until = STEPS_MAX;
    while (world->step < until && !world->failed) {
        world->step++;
        begin_stream(world);
        inject_faults(world);
        if (!world->failed)
            step(world);
        if (world->task_count == plan->events && until == STEPS_MAX)
            until = world->step + draw(world, 2000);
    }
    if (!world->failed)
        calm_down(world);
    if (world->refusal.on && world->refusal.until == INT64_MAX)
        outlast_refusal(world);
    refusal_lift(world);
    run_calm(world);
    world->counts.eager = world->groups[0].eager;
    world->counts.statics = world->groups[0].statics;
    world->counts.steps = world->step;
    world->counts.events = (uint64_t)world->task_count;
}
