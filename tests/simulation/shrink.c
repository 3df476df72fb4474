#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simulation.h"

/* Takes out what a failing run does not need: events, kinds of faults, and the single steps at
 * which faults occur, in halves, quarters and so on down to one. What is left must break the same
 * guarantee; each try runs in a process of its own, as it may die. */

struct trial {
    const char *violation; /* NULL: none */
    int signal;
    uint64_t step;
    int events;
    char failure[512];
    uint64_t fault_steps[STEPS_MAX / 64];
};

static struct trial *trial; /* shared with the trial's process */

static void try_in_child(const struct plan *plan)
{
    static struct world world;
    if (!freopen("/dev/null", "w", stderr))
        _exit(1);
    world_run(&world, plan, trial->fault_steps);
    trial->violation = world.failed ? world.violation : NULL;
    trial->step = world.step;
    trial->events = world.task_count;
    memcpy(trial->failure, world.failure, sizeof trial->failure);
    _exit(0);
}

static void try_plan(const struct plan *plan)
{
    int status = 0;
    memset(trial, 0, sizeof *trial);
    pid_t pid = fork();
    if (pid == 0)
        try_in_child(plan);
    waitpid(pid, &status, 0);
    trial->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (trial->signal)
        snprintf(trial->failure, sizeof trial->failure, "died of signal %d", trial->signal);
}

static struct trial first;

static bool fails_alike(const struct plan *plan)
{
    try_plan(plan);
    return trial->signal == first.signal && trial->violation == first.violation;
}

static int count(const uint64_t *steps)
{
    int sum = 0;
    for (size_t i = 0; i < STEPS_MAX / 64; i++)
        sum += __builtin_popcountll(steps[i]);
    return sum;
}

static void shrink_events(struct plan *plan)
{
    for (int cut = plan->events / 2; cut; cut /= 2) {
        while (plan->events > cut) {
            struct plan shorter = *plan;
            shorter.events -= cut;
            if (!fails_alike(&shorter))
                break;
            *plan = shorter;
        }
    }
}

static void shrink_kinds(struct plan *plan)
{
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        struct plan without = *plan;
        without.without |= 1ull << fault;
        if (fault != FAULT_start && fails_alike(&without))
            *plan = without;
    }
}

/* Without `size` of the steps from the nth on. */
static void take_out(uint64_t *to, const uint64_t *from, int nth, int size)
{
    memcpy(to, from, STEPS_MAX / 8);
    for (int step = 0, n = 0; step < STEPS_MAX; step++) {
        if (!(from[step / 64] >> step % 64 & 1))
            continue;
        if (n >= nth && n < nth + size)
            to[step / 64] &= ~(1ull << step % 64);
        n++;
    }
}

static void shrink_steps(struct plan *plan, uint64_t *steps)
{
    static uint64_t fewer[STEPS_MAX / 64];
    for (int size = (count(steps) + 1) / 2; size; size /= 2) {
        for (int nth = 0; nth < count(steps);) {
            struct plan quieter = *plan;
            take_out(fewer, steps, nth, size);
            quieter.only = fewer;
            if (fails_alike(&quieter))
                memcpy(steps, fewer, sizeof fewer);
            else
                nth += size;
        }
    }
}

static void print_replay(const struct plan *plan)
{
    printf("replay: simulate --seed %llu --events %d", (unsigned long long)plan->seed,
           plan->events);
    for (int i = 0, n = 0; i < FAULT_COUNT; i++)
        if (plan->with >> i & 1)
            printf("%s%s", n++ ? "," : " --with ", fault_names[i]);
    for (int i = 0, n = 0; i < FAULT_COUNT; i++)
        if (plan->without >> i & 1)
            printf("%s%s", n++ ? "," : " --without ", fault_names[i]);
    printf(" --at ");
    for (int step = 0, n = 0; step < STEPS_MAX; step++)
        if (plan->only[step / 64] >> step % 64 & 1)
            printf("%s%d", n++ ? "," : "", step);
    printf("%s --trace\n", count(plan->only) ? "" : "none");
}

int shrink(const struct plan *whole)
{
    static uint64_t steps[STEPS_MAX / 64];
    struct plan plan = *whole;
    plan.trace = false;
    trial = mmap(NULL, sizeof *trial, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trial == MAP_FAILED)
        return 1;
    try_plan(&plan);
    first = *trial;
    if (!first.signal && !first.violation) {
        printf("seed %llu does not fail\n", (unsigned long long)plan.seed);
        return 0;
    }
    memcpy(steps, plan.only ? plan.only : first.fault_steps, sizeof steps);
    plan.only = steps;
    int events = plan.events, faults = count(steps);
    uint64_t without;
    do {
        without = plan.without;
        shrink_kinds(&plan);
        shrink_steps(&plan, steps);
        shrink_events(&plan);
    } while (without != plan.without);
    shrink_steps(&plan, steps);
    try_plan(&plan);
    printf("seed %llu: %s\n  %d events and %d steps with faults were %d and %d, %llu steps were "
           "%llu\n",
           (unsigned long long)plan.seed, trial->failure, plan.events, count(steps), events, faults,
           (unsigned long long)trial->step, (unsigned long long)first.step);
    print_replay(&plan);
    return 1;
}
