/* Runs seeds through the simulated world (simulation.h).
 * usage: simulate [--seeds N] [--from S] [--events E] [--failures M] [--seed S] [--trace]
 * Ends after M seeds that failed (5). */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "simulation.h"

static volatile uint64_t seed_now;

uint64_t draw(struct world *world, uint64_t below)
{
    uint64_t z = world->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below ? (z ^ (z >> 31)) % below : 0;
}

bool strikes(struct world *world, unsigned in_thousand)
{
    return !world->calm && in_thousand && draw(world, 1000) < in_thousand;
}

void say(struct world *world, const char *format, ...)
{
    if (!world->trace)
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
    world->failed = true;
    say(world, "BROKEN: %s", world->failure);
}

static unsigned rate(struct world *world, unsigned most)
{
    return draw(world, 2) ? 1 + (unsigned)draw(world, most) : 0;
}

static void draw_settings(struct world *world)
{
    world->session_ms = 6000 + (int64_t)draw(world, 6000);
    world->transaction_ms = 2 * world->session_ms;
    world->options = (struct engine_options){
        .lease_ms = world->session_ms / 2,
        .doubt_ms = 1000 + (int64_t)draw(world, 9000),
        .drain_ms = draw(world, 2) ? 15000 : 200 + (int64_t)draw(world, 3000),
        .overdue = {.max_age_ms = 900000, .deadline_ms = draw(world, 2) ? 60000 : 2000},
        .window = 2 + (int64_t)draw(world, draw(world, 2) ? 6 : 60),
        .window_bytes = 1 << 20,
        .calls = 1 + (int64_t)draw(world, 6),
        .recordings = 1 + (int64_t)draw(world, 3),
    };
    world->faults = (struct faults){
        .crash = rate(world, 8),
        .freeze = rate(world, 8),
        .cut_off = rate(world, 8),
        .unclear = rate(world, 200),
        .abort = rate(world, 100),
        .refuse = rate(world, 1),
        .again = rate(world, 200),
        .stop = rate(world, 8),
        .start = 5 + rate(world, 60),
        .retention = draw(world, 4) ? 0 : rate(world, 6),
        .doubt = rate(world, 150),
        .unsent = rate(world, 200),
        .allowance = rate(world, 20),
        .duplicate = rate(world, 100),
        .keyless = rate(world, 100),
        .gap = rate(world, 300),
        .slow_work = draw(world, 4) ? 0 : rate(world, 950),
        .slow_transact = draw(world, 4) ? 0 : rate(world, 950),
    };
}

static void world_init(struct world *world, uint64_t seed, bool trace)
{
    memset(world, 0, sizeof *world);
    world->seed = world->random = seed;
    world->trace = trace;
    world->now = 1000000;
    world->wall = 1700000000000;
    draw_settings(world);
    broker_init(world);
    world->task_goal = 3 + (int)draw(world, TASKS_MOST - 3);
    world->process_count = 1 + (int)draw(world, PROCESSES_MOST);
    for (int i = 0; i < world->process_count; i++) {
        world->processes[i].index = world->processes[i].id = i;
        if (!i || draw(world, 2))
            process_start(world, &world->processes[i], i);
    }
}

static void world_fini(struct world *world)
{
    world->trace = false;
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state != PROCESS_DEAD)
            process_end(world, &world->processes[i], "ends");
    broker_fini(world);
}

static void pass_time(struct world *world)
{
    static const int64_t steps[] = {0, 0, 0, 1, 1, 5, 20, 100};
    int64_t most = steps[draw(world, sizeof steps / sizeof *steps)];
    int64_t passed = (int64_t)draw(world, (uint64_t)most + 1);
    if (draw(world, 100) == 0)
        passed += (int64_t)draw(world, 1000);
    world->now += passed;
    world->wall += passed;
    if (strikes(world, 2))
        world->wall += (int64_t)draw(world, 4000) - 2000;
}

static bool id_is_taken(const struct world *world, int id)
{
    for (int i = 0; i < world->process_count; i++)
        if (world->processes[i].state != PROCESS_DEAD && world->processes[i].id == id)
            return true;
    return false;
}

static void thaw(struct world *world, struct process *process)
{
    struct member *member = member_find(world, process->client.member);
    int64_t stood = world->now - process->frozen_since;
    say(world, "%s thaws after %d ms", process_name(process->id), (int)stood);
    process->state = PROCESS_RUNNING;
    process->asleep = false;
    if (member && world->now - member->heard_at <= world->session_ms)
        member->heard_at = world->now;
    if (stood > 1000)
        engine_frozen(process->engine, world->now);
}

static void strike_down(struct world *world, struct process *process)
{
    world->counts.crashes++;
    world->excused[process->incarnation] = true;
    process_end(world, process, "crashes");
}

static void strike_running(struct world *world, struct process *process)
{
    const struct faults *faults = &world->faults;
    if (strikes(world, faults->crash)) {
        strike_down(world, process);
    } else if (strikes(world, faults->freeze)) {
        world->counts.freezes++;
        world->excused[process->incarnation] = true;
        process->state = PROCESS_FROZEN;
        process->frozen_since = world->now;
        say(world, "%s freezes", process_name(process->id));
    } else if (strikes(world, faults->cut_off)) {
        world->excused[process->incarnation] = true;
        process->cut_off_until = world->now + (int64_t)draw(world, 20000);
        say(world, "%s is cut off", process_name(process->id));
    } else if (!process->stopping && strikes(world, faults->stop)) {
        process->stopping = true;
        say(world, "%s is to stop", process_name(process->id));
        process->asleep = false;
        engine_stop(process->engine, world->now);
    } else if (strikes(world, faults->allowance)) {
        process->asleep = false;
        engine_allow(process->engine,
                     draw(world, 2) ? world->options.calls : (int64_t)draw(world, 2));
    }
}

/* Chance: deaths, freezes, starts, records, retention. */
static void strike(struct world *world)
{
    struct process *process = &world->processes[draw(world, (uint64_t)world->process_count)];
    if (process->state == PROCESS_DEAD) {
        int id = draw(world, 3) ? process->id : (int)draw(world, IDS);
        if (strikes(world, world->faults.start) && !id_is_taken(world, id) &&
            world->incarnations < INCARNATIONS_MOST - PROCESSES_MOST - 1)
            process_start(world, process, id);
    } else if (process->state == PROCESS_FROZEN) {
        if (strikes(world, 15))
            thaw(world, process);
    } else {
        strike_running(world, process);
    }
    if (draw(world, 12) == 0)
        broker_append(world);
    if (strikes(world, world->faults.retention))
        broker_retain(world);
}

static void step(struct world *world)
{
    world->step++;
    pass_time(world);
    group_step(world);
    if (draw(world, 4) == 0)
        broker_step(world);
    struct process *process = &world->processes[draw(world, (uint64_t)world->process_count)];
    if (process->state == PROCESS_RUNNING)
        process_step(world, process);
}

static void calm_down(struct world *world)
{
    bool any = false;
    say(world, "no faults any more");
    world->calm = true;
    for (int i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        process->cut_off_until = 0;
        if (process->state == PROCESS_FROZEN)
            thaw(world, process);
        process->asleep = false;
        if (process->state == PROCESS_RUNNING)
            engine_allow(process->engine, world->options.calls);
        any |= process->state == PROCESS_RUNNING && !process->stopping;
    }
    for (int i = 0; i < world->process_count && !any; i++) {
        if (world->processes[i].state != PROCESS_DEAD && i + 1 < world->process_count)
            continue;
        if (world->processes[i].state != PROCESS_DEAD)
            strike_down(world, &world->processes[i]);
        int id = 0;
        while (id_is_taken(world, id))
            id++;
        process_start(world, &world->processes[i], id);
        any = true;
    }
}

static void run(struct world *world, uint64_t events)
{
    while (world->step < events && !world->failed) {
        strike(world);
        step(world);
    }
    if (!world->failed)
        calm_down(world);
    uint64_t end = world->step + 60000;
    while (world->step < end && !world->failed) {
        if (world->task_count < world->task_goal && draw(world, 4) == 0)
            broker_append(world);
        step(world);
        if (world->step % 32 == 0 && check_all_done(world, false))
            return;
    }
    if (!world->failed)
        check_all_done(world, true);
}

static void died(int number)
{
    char line[96];
    int n = snprintf(line, sizeof line, "seed %llu died of signal %d\n",
                     (unsigned long long)seed_now, number);
    (void)!write(STDERR_FILENO, line, (size_t)n);
    signal(number, SIG_DFL);
    raise(number);
}

static void add_counts(struct counts *sum, const struct counts *counts)
{
    const uint64_t *from = (const uint64_t *)counts;
    uint64_t *to = (uint64_t *)sum;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

static int run_seed(uint64_t seed, uint64_t events, bool trace, struct counts *sum)
{
    static struct world world;
    seed_now = seed;
    world_init(&world, seed, trace);
    run(&world, events);
    if (world.failed)
        fprintf(stderr,
                "seed %llu, step %llu: %s\n  replay: simulate --events %llu --seed %llu "
                "--trace\n",
                (unsigned long long)seed, (unsigned long long)world.step, world.failure,
                (unsigned long long)events, (unsigned long long)seed);
    add_counts(sum, &world.counts);
    world_fini(&world);
    return world.failed ? -1 : 0;
}

static void print_counts(uint64_t seeds, const struct counts *n)
{
    printf("%llu seeds: %llu calls, %llu results (%llu unknown), %llu late, %llu gone; "
           "%llu crashes, %llu freezes, %llu kicks, %llu rebalances, %llu unclear commits, "
           "%llu fenced\n",
           (unsigned long long)seeds, (unsigned long long)n->dials, (unsigned long long)n->results,
           (unsigned long long)n->unknown, (unsigned long long)n->late, (unsigned long long)n->gone,
           (unsigned long long)n->crashes, (unsigned long long)n->freezes,
           (unsigned long long)n->kicks, (unsigned long long)n->rebalances,
           (unsigned long long)n->unclear, (unsigned long long)n->fenced);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"events", required_argument, NULL, 'e'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"failures", required_argument, NULL, 'm'},
                                          {"trace", no_argument, NULL, 't'},
                                          {NULL, 0, NULL, 0}};
    uint64_t seeds = 1000, from = 1, events = 2000, failures = 0, failures_most = 5;
    struct counts sum = {0};
    bool trace = false;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == 't')
            trace = true;
        else if (option == 'n')
            seeds = strtoull(optarg, NULL, 10);
        else if (option == 'm')
            failures_most = strtoull(optarg, NULL, 10);
        else if (option == 'e')
            events = strtoull(optarg, NULL, 10);
        else if (option == 'f' || option == 's')
            from = strtoull(optarg, NULL, 10);
        else
            return 2;
        if (option == 's')
            seeds = 1;
    }
    signal(SIGABRT, died);
    signal(SIGSEGV, died);
    for (uint64_t i = 0; i < seeds && failures < failures_most; i++)
        failures += run_seed(from + i, events, trace, &sum) != 0;
    print_counts(seeds, &sum);
    return failures ? 1 : 0;
}
