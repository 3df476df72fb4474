// clang-format off
/* Runs seeds through the simulated world (simulation.h), in several processes at once. For a seed that fails it prints
 * the reason and how to replay it.
 *
 * usage: simulate [--seeds N] [--from S] [--jobs J] [--failures M]
 *            N seeds from S on (1000, 1); ends after M failures (5)
 *        simulate --seed S [--trace | --shrink] [--events E] [--without FAULT,...] [--at STEP,...]
 *            one seed: --trace prints everything that happens; --shrink removes what is not needed to break the same
 *            guarantee. E events instead of 200; without some kinds of faults; with faults at these steps only
 *        simulate --faults
 *            prints the kinds of faults */
// clang-format on
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simulation.h"

enum { JOBS_MAX = 256, CHUNK = 20, ALL_FAULTS_SEEDS = 2000 };

/* What the processes share. */
struct shared {
    uint64_t next, end, failures, failures_max; /* seeds */
    struct {
        volatile uint64_t seed, until;
    } job[JOBS_MAX];
    struct counts counts[JOBS_MAX];
    uint64_t seeds[JOBS_MAX];
};

static struct shared *shared;
static const volatile uint64_t *seed_now;

static void died(int number)
{
    char line[96];
    int n = snprintf(line, sizeof line, "seed %llu died of signal %d\n",
                     (unsigned long long)*seed_now, number);
    (void)!write(STDERR_FILENO, line, (size_t)n);
    signal(number, SIG_DFL);
    raise(number);
}

static void add_counts(struct counts *sum, const struct counts *counts)
{
    const uint64_t *from = (const uint64_t *)counts;
    uint64_t *to = (uint64_t *)sum;
    size_t sums = offsetof(struct counts, calm_ms_max) / sizeof *to;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] = i < sums ? to[i] + from[i] : to[i] > from[i] ? to[i] : from[i];
}

static bool run_seed(const struct plan *plan, struct counts *sum)
{
    static struct world world;
    world_run(&world, plan, NULL);
    if (world.failed)
        fprintf(stderr,
                "seed %llu, step %llu: %s\n  replay: simulate --seed %llu --trace; a shorter one: "
                "simulate --seed %llu --shrink\n",
                (unsigned long long)plan->seed, (unsigned long long)world.step, world.failure,
                (unsigned long long)plan->seed, (unsigned long long)plan->seed);
    add_counts(sum, &world.counts);
    world_end(&world);
    return !world.failed;
}

/* One process: chunk after chunk. It goes on where a predecessor in its place has died. */
static void work(int job, struct plan plan)
{
    uint64_t failures_max = shared->failures_max;
    seed_now = &shared->job[job].seed;
    for (;;) {
        while (shared->job[job].seed < shared->job[job].until) {
            if (__atomic_load_n(&shared->failures, __ATOMIC_RELAXED) >= failures_max)
                exit(0);
            plan.seed = shared->job[job].seed;
            if (!run_seed(&plan, &shared->counts[job]))
                __atomic_add_fetch(&shared->failures, 1, __ATOMIC_RELAXED);
            shared->seeds[job]++;
            shared->job[job].seed++;
        }
        uint64_t from = __atomic_fetch_add(&shared->next, CHUNK, __ATOMIC_RELAXED);
        if (from >= shared->end)
            exit(0);
        shared->job[job].seed = from;
        shared->job[job].until = from + CHUNK < shared->end ? from + CHUNK : shared->end;
    }
}

static pid_t start(int job, const struct plan *plan)
{
    pid_t pid = fork();
    if (pid == 0)
        work(job, *plan);
    return pid;
}

static void run_jobs(int jobs, const struct plan *plan)
{
    pid_t pids[JOBS_MAX];
    int left = jobs, status;
    for (int job = 0; job < jobs; job++)
        pids[job] = start(job, plan);
    while (left) {
        pid_t pid = wait(&status);
        int job = 0;
        if (pid < 0)
            return;
        while (job < jobs && pids[job] != pid)
            job++;
        left--;
        if (job == jobs || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
            continue;
        __atomic_add_fetch(&shared->failures, 1, __ATOMIC_RELAXED);
        shared->seeds[job]++;
        shared->job[job].seed++;
        pids[job] = start(job, plan);
        left++;
    }
}

static void print_counts(const struct counts *counts, uint64_t seeds, const struct plan *plan)
{
    static const char *const names[] = {
#define X(name) #name,
        COUNTS(X)
#undef X
    };
    const uint64_t *values = (const uint64_t *)counts;
    printf("%llu runs of %d events:", (unsigned long long)seeds, plan->events);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf(" %s %llu", names[i], (unsigned long long)values[i]);
    printf("\nfaults:");
    for (int i = 0; i < FAULT_COUNT; i++)
        printf(" %s %llu", fault_names[i], (unsigned long long)counts->faults[i]);
    printf("\nat most: calm until all had ended %llu ms, %llu steps; ledger %llu characters\n",
           (unsigned long long)counts->calm_ms_max, (unsigned long long)counts->calm_steps_max,
           (unsigned long long)counts->ledger_max);
}

/* A fault that never occurs tests nothing. */
static bool all_faults_occurred(const struct counts *sum, const struct plan *plan)
{
    bool all = sum->resumed && sum->unheard && sum->handed_over;
    if (!all)
        fprintf(stderr, "nothing was gone on with from memory, or nothing lost was handed over\n");
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (sum->faults[i] || !fault_is_possible(plan, (enum fault)i))
            continue;
        fprintf(stderr, "there was no %s\n", fault_names[i]);
        all = false;
    }
    return all;
}

static int run_seeds(const struct plan *plan, uint64_t seeds, int jobs, uint64_t failures_max)
{
    struct counts sum = {0};
    uint64_t done = 0;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    shared->next = plan->seed;
    shared->end = plan->seed + seeds;
    shared->failures_max = failures_max;
    signal(SIGABRT, died);
    signal(SIGSEGV, died);
    if (jobs == 1 && seeds == 1) {
        seed_now = &plan->seed;
        shared->failures = !run_seed(plan, &shared->counts[0]);
        shared->seeds[0] = 1;
    } else {
        run_jobs(jobs, plan);
    }
    for (int job = 0; job < jobs; job++) {
        add_counts(&sum, &shared->counts[job]);
        done += shared->seeds[job];
    }
    print_counts(&sum, done, plan);
    if (sum.events != done * (uint64_t)plan->events && !shared->failures) {
        fprintf(stderr, "not every run had its %d events\n", plan->events);
        return 1;
    }
    if (done >= ALL_FAULTS_SEEDS && !shared->failures && !all_faults_occurred(&sum, plan))
        return 1;
    return shared->failures ? 1 : 0;
}

static int read_faults(const char *text, uint64_t *faults)
{
    char copy[1024];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *name = strtok(copy, ","); name; name = strtok(NULL, ",")) {
        int fault = 0;
        while (fault < FAULT_COUNT && strcmp(fault_names[fault], name) != 0)
            fault++;
        if (fault == FAULT_COUNT) {
            fprintf(stderr, "no such fault: %s\n", name);
            return -1;
        }
        *faults |= 1ull << fault;
    }
    return 0;
}

static void read_steps(const char *text, uint64_t *steps)
{
    for (char *end; *text; text = *end ? end + 1 : end) {
        uint64_t step = strtoull(text, &end, 10);
        if (end == text)
            return;
        if (step < STEPS_MAX)
            steps[step / 64] |= 1ull << step % 64;
    }
}

struct arguments {
    struct plan plan;
    uint64_t only[STEPS_MAX / 64];
    uint64_t seeds, failures;
    long jobs;
    bool one, shrink;
};

static int read_option(struct arguments *arguments, int option)
{
    struct plan *plan = &arguments->plan;
    switch (option) {
    case 'n':
        arguments->seeds = strtoull(optarg, NULL, 10);
        return 0;
    case 's':
        arguments->one = true;
        __attribute__((fallthrough));
    case 'f':
        plan->seed = strtoull(optarg, NULL, 10);
        return 0;
    case 'j':
        arguments->jobs = strtol(optarg, NULL, 10);
        return arguments->jobs < 1 || arguments->jobs > JOBS_MAX ? -1 : 0;
    case 'm':
        arguments->failures = strtoull(optarg, NULL, 10);
        return 0;
    case 'e':
        plan->events = atoi(optarg);
        return plan->events < 1 || plan->events > EVENTS_MAX ? -1 : 0;
    case 'w':
        return read_faults(optarg, &plan->without);
    case 'i':
        return read_faults(optarg, &plan->with);
    case 'a':
        read_steps(optarg, arguments->only);
        plan->only = arguments->only;
        return 0;
    case 't':
        plan->trace = true;
        return 0;
    case 'h':
        arguments->shrink = true;
        return 0;
    case 'l':
        for (int i = 0; i < FAULT_COUNT; i++)
            puts(fault_names[i]);
        exit(0);
    default:
        return -1;
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"events", required_argument, NULL, 'e'},
                                          {"failures", required_argument, NULL, 'm'},
                                          {"trace", no_argument, NULL, 't'},
                                          {"shrink", no_argument, NULL, 'h'},
                                          {"at", required_argument, NULL, 'a'},
                                          {"without", required_argument, NULL, 'w'},
                                          {"with", required_argument, NULL, 'i'},
                                          {"faults", no_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    static struct arguments arguments = {
        .plan = {.seed = 1, .events = EVENTS}, .seeds = 1000, .failures = 5};
    arguments.jobs = sysconf(_SC_NPROCESSORS_ONLN);
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;)
        if (read_option(&arguments, option))
            return 2;
    if (arguments.one && arguments.shrink)
        return shrink(&arguments.plan);
    if (arguments.one)
        return run_seeds(&arguments.plan, 1, 1, 1);
    return run_seeds(&arguments.plan, arguments.seeds, (int)arguments.jobs, arguments.failures);
}
