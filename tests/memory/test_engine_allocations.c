/* The engine at work, with each of its allocations failing in turn, which ends its process there:
 * two successors, the first of which fails likewise, go on from what is committed. Whatever was
 * dialled was committed as 'started' before, nothing is dialled twice, and each request has its one
 * result. Committed state, calls and results stand in memory that the processes share. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocations.h"
#include "base/memory.h"
#include "core/engine/engine.h"

enum { REQUESTS = 24, KEYS = 6, WALL = 1000000000, STEPS_MAX = 20000 };

struct committed {
    int64_t base;
    size_t size;
    char metadata[LEDGER_MAX + 1];
};

struct world {
    struct committed committed;
    int64_t now;
    int dials[REQUESTS], results[REQUESTS];
    struct committed at_dial[REQUESTS];
    long allocations;
    bool ended;
};

/* One process: its engine, what it has lent, and how far it has read. */
struct process {
    struct world *world;
    struct engine *engine;
    struct request *lent[REQUESTS];
    size_t lent_count;
    int64_t position; /* -1: not assigned */
    int transactions;
    bool stopping;
};

static void arrive(struct process *process)
{
    struct world *world = process->world;
    char order_id[16];
    while (process->position >= 0 && process->position < REQUESTS &&
           engine_wants(process->engine, 0)) {
        int64_t offset = process->position++;
        if (!engine_is_news(process->engine, 0, offset))
            continue;
        struct raw_record raw = {.key = "k", .key_size = 1, .timestamp_ms = WALL + world->now};
        struct request *request =
            request_new((struct record_position){REQUEST_CALL, 0, offset}, &raw);
        snprintf(order_id, sizeof order_id, "o-%d", (int)(offset % KEYS));
        if (offset % 8 == 7) {
            request->event.invalid_code = "order-id-missing";
            request->event.invalid_message = memory_string("none");
        } else {
            request->event.order_id = request->event.strings = memory_string(order_id);
        }
        engine_record(process->engine, request, world->now, WALL + world->now);
    }
    if (process->position == REQUESTS)
        engine_end(process->engine, 0, REQUESTS, world->now, WALL + world->now);
}

static void land(struct world *world, const struct engine_action *action)
{
    for (size_t i = 0; i < action->ledger_count; i++) {
        world->committed.base = action->ledgers[i].offset;
        world->committed.size = action->ledgers[i].metadata_size;
        memcpy(world->committed.metadata, action->ledgers[i].metadata,
               action->ledgers[i].metadata_size);
    }
    for (size_t i = 0; i < action->item_count; i++)
        world->results[action->items[i].request->position.offset]++;
}

/* Some transactions abort, and of some nobody learns whether they have landed. */
static void transact(struct process *process, const struct engine_action *action)
{
    int number = process->transactions++;
    bool lands = number % 5 != 1 && number % 7 != 3;
    if (lands)
        land(process->world, action);
    engine_transacted(process->engine,
                      number % 5 == 1   ? TXN_ABORTED
                      : number % 7 == 3 ? TXN_UNKNOWN
                      : number % 7 == 5 ? TXN_UNKNOWN
                                        : TXN_COMMITTED,
                      NULL, process->world->now);
}

static void answer_read(struct process *process, const struct engine_action *action)
{
    struct committed *committed = &process->world->committed;
    struct stored_ledger ledger = {.offset = committed->base,
                                   .metadata = committed->metadata,
                                   .metadata_size = committed->size};
    engine_ledgers_read(process->engine, GROUP_DONE, &ledger, action->position_count,
                        process->world->now);
}

/* The oldest call ends: most are performed, some provably not at the first try, some in doubt. */
static void end_call(struct process *process)
{
    struct request *request = process->lent[0];
    struct world *world = process->world;
    int64_t offset = request->position.offset;
    memmove(process->lent, process->lent + 1, --process->lent_count * sizeof *process->lent);
    if (offset % 5 == 2 && !request->call.attempts) {
        request->call.end = CALL_NOT_SENT;
        request->call.retry_at_ms = world->now + 100;
        request->call.first_started_boot_ms = world->now;
    } else if (offset % 5 == 3 && world->now % 2) {
        request->call.end = CALL_RETURNED;
    } else {
        world->dials[offset]++;
        request->call.end = CALL_FINISHED;
        request->call.started_boot_ms = world->now;
        request->outcome.status = offset % 6 == 4 ? STATUS_UNKNOWN : STATUS_SUCCEEDED;
        request->outcome.answered = request->outcome.status == STATUS_SUCCEEDED;
    }
    request->call.attempts += request->call.end != CALL_RETURNED;
    engine_call_ended(process->engine, request, world->now);
}

static void start(struct process *process, struct request *request)
{
    process->world->at_dial[request->position.offset] = process->world->committed;
    process->lent[process->lent_count++] = request;
}

/* Nothing to do: something happens, or the time passes. */
static void pass_time(struct process *process)
{
    struct world *world = process->world;
    int64_t wake = engine_wake_time(process->engine);
    if (process->lent_count)
        end_call(process);
    else if (world->committed.base == REQUESTS && !process->stopping)
        engine_stop(process->engine, world->now), process->stopping = true;
    else if (wake != INT64_MAX && wake > world->now)
        world->now = wake;
    world->now++;
}

/* Returns false at the end. */
static bool step(struct process *process)
{
    struct world *world = process->world;
    struct engine_action action;
    arrive(process);
    switch (engine_next(process->engine, world->now, WALL + world->now, &action)) {
    case ENGINE_NOTHING:
        pass_time(process);
        break;
    case ENGINE_TRANSACT:
        transact(process, &action);
        break;
    case ENGINE_RENEW_PRODUCER:
        engine_producer_ready(process->engine, world->now);
        break;
    case ENGINE_READ:
        answer_read(process, &action);
        break;
    case ENGINE_END_OWNER:
        engine_owner_ended(process->engine, GROUP_DONE, world->now);
        break;
    case ENGINE_COMMIT:
        land(world, &action);
        engine_committed(process->engine, GROUP_DONE, world->now);
        break;
    case ENGINE_ASSIGN:
        process->position = action.positions[0].offset < 0 ? 0 : action.positions[0].offset;
        break;
    case ENGINE_START:
        start(process, action.request);
        break;
    case ENGINE_UNASSIGN:
    case ENGINE_RECALL:
        break;
    case ENGINE_LEAVE:
        return false;
    case ENGINE_FAIL:
        _exit(2);
    }
    return true;
}

static void work(struct world *world, const char *owner, long fails_at)
{
    struct engine_options options = {.owner = owner,
                                     .lease_ms = 5000,
                                     .doubt_ms = 10000,
                                     .drain_ms = 15000,
                                     .overdue = {.max_age_ms = 900000000, .deadline_ms = 90000000},
                                     .window = 16,
                                     .window_bytes = 1 << 20,
                                     .slots = 4};
    struct process process = {.world = world, .position = -1};
    struct record_position position = {.offset = -1};
    allocations_fail(fails_at, false);
    process.engine = engine_new(&options);
    engine_producer_ready(process.engine, world->now);
    engine_assigned(process.engine, 1, &position, 1, world->now);
    for (int steps = 0; step(&process); steps++)
        if (steps == STEPS_MAX)
            _exit(3);
    world->allocations = allocations_counted();
    world->ended = true;
    allocations_fail(0, false);
    engine_free(process.engine);
    _exit(0);
}

/* Runs a process to its end: true when it got there, false when memory ran out. */
static bool live(struct world *world, const char *owner, long fails_at)
{
    const struct rlimit no_core = {0};
    int status;
    world->ended = false;
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        if (fails_at)
            close(STDERR_FILENO);
        work(world, owner, fails_at);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!fails_at || !WIFSIGNALED(status))
        assert_int_equal(status, 0);
    else
        assert_int_equal(WTERMSIG(status), SIGABRT);
    return world->ended;
}

static void check(const struct world *world, long first, long second)
{
    struct ledger ledger = {0};
    struct error error;
    for (int64_t i = 0; i < REQUESTS; i++) {
        const struct committed *at_dial = &world->at_dial[i];
        if (world->results[i] != 1 || world->dials[i] > 1)
            fail_msg("allocations %ld and %ld failed: request %d has %d results and %d calls",
                     first, second, (int)i, world->results[i], world->dials[i]);
        if (!world->dials[i])
            continue;
        assert_int_equal(
            ledger_decode(&ledger, at_dial->base, at_dial->metadata, at_dial->size, &error), 0);
        if (ledger_at(&ledger, i) != LEDGER_STARTED)
            fail_msg("allocations %ld and %ld failed: request %d was dialled unmarked", first,
                     second, (int)i);
    }
    ledger_fini(&ledger);
}

static void begin(struct world *world)
{
    *world = (struct world){.now = 100000, .committed.base = -1};
}

static void test_each_allocation(void **state)
{
    (void)state;
    struct world *world =
        mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(world, MAP_FAILED);
    begin(world);
    assert_true(live(world, "first", 0));
    check(world, 0, 0);
    long count = world->allocations, deaths = 0;
    for (long at = 1; at <= count; at++) {
        long later = at * 7 % count + 1;
        begin(world);
        bool ended = live(world, "first", at) || live(world, at % 2 ? "first" : "second", later);
        deaths += !ended;
        if (!ended)
            assert_true(live(world, "third", 0));
        check(world, at, later);
    }
    print_message("%ld allocations, each failing: %ld times two processes died, and the third did "
                  "the rest\n",
                  count, deaths);
    assert_true(deaths > count / 4);
    munmap(world, sizeof *world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
