/* What the engine costs for each call: it is driven with a backlog that never ends, without Kafka,
 * platform or clock, and nothing else is counted.
 *
 *     cost PARTITIONS KEYS SLOTS CALLS [SLOW]
 *
 * KEYS order ids in all (each belongs to one partition). A call takes 10 to 20 ms; each SLOW-th one
 * 100 times as long. Prints transactions, ledgers and characters of them for each call, and the CPU
 * time of a call, which a shared machine makes too large: `cost/run` counts instructions instead.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "core/engine/engine.h"

enum { WALL = 1000000000, CALL_MS = 10, COMMIT_MS = 5, STEP_MS = 1 };

struct flight {
    struct request *request;
    int64_t ends;
};

struct bench {
    struct engine *engine;
    int64_t now;
    int32_t partitions;
    uint64_t keys, slow, random, started, ended, asleep;
    int64_t *next;
    struct flight *flights;
    size_t flying, room;
    int64_t commits_at; /* 0: no transaction is on its way */
    uint64_t transactions, ledgers, bytes;
};

static uint64_t draw(struct bench *bench)
{
    bench->random = bench->random * 6364136223846793005u + 1442695040888963407u;
    return bench->random >> 33;
}

/* Not counted: it is no work of the engine's. */
static struct request *__attribute__((noinline)) record(struct bench *bench, int32_t partition)
{
    char name[32];
    uint64_t mine = bench->keys / (uint64_t)bench->partitions;
    snprintf(name, sizeof name, "%" PRId32 ".%" PRIu64, partition, draw(bench) % (mine ? mine : 1));
    struct raw_record raw = {.value = "{}", .value_size = 2, .timestamp_ms = WALL + bench->now};
    struct record_position position = {REQUEST_CALL, partition, bench->next[partition]++};
    struct request *request = request_new(position, &raw);
    request->event.order_id = request->event.strings = memory_string(name);
    return request;
}

/* As the Kafka thread does. */
static void take(struct bench *bench)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(bench->engine, i, &view); i++)
        for (size_t n = engine_wants(bench->engine, view.partition); n; n--)
            engine_record(bench->engine, record(bench, view.partition), bench->now,
                          WALL + bench->now);
}

static void start(struct bench *bench, struct request *request)
{
    if (bench->flying == bench->room) {
        bench->room = bench->room ? 2 * bench->room : 64;
        bench->flights = memory_resize(bench->flights, bench->room * sizeof *bench->flights);
    }
    bool slow = bench->slow && ++bench->started % bench->slow == 0;
    request->call.attempts++;
    request->call.started_boot_ms = bench->now;
    bench->flights[bench->flying++] = (struct flight){
        request, bench->now + (slow ? 100 : 1) * (CALL_MS + (int64_t)(draw(bench) % CALL_MS))};
}

static void end_calls(struct bench *bench)
{
    for (size_t i = 0; i < bench->flying;) {
        struct request *request = bench->flights[i].request;
        if (bench->flights[i].ends > bench->now) {
            i++;
            continue;
        }
        bench->flights[i] = bench->flights[--bench->flying];
        request->call.end = CALL_FINISHED;
        request->outcome.status = STATUS_SUCCEEDED;
        engine_call_ended(bench->engine, request, bench->now);
        bench->ended++;
    }
}

static void read_ledgers(struct bench *bench, const struct engine_action *action)
{
    struct stored_ledger *ledgers = memory_zeroed(action->position_count, sizeof *ledgers);
    for (size_t i = 0; i < action->position_count; i++)
        ledgers[i] = (struct stored_ledger){
            .partition = action->positions[i].partition, .offset = -1, .metadata = ""};
    engine_ledgers_read(bench->engine, GROUP_DONE, ledgers, action->position_count, bench->now);
    free(ledgers);
}

static void act(struct bench *bench)
{
    struct engine_action action;
    while (engine_next(bench->engine, bench->now, WALL + bench->now, &action) != ENGINE_NOTHING) {
        switch (action.type) {
        case ENGINE_START:
            start(bench, action.request);
            break;
        case ENGINE_READ:
            read_ledgers(bench, &action);
            break;
        case ENGINE_COMMIT:
            engine_committed(bench->engine, GROUP_DONE, bench->now);
            break;
        case ENGINE_TRANSACT:
            bench->transactions++;
            bench->ledgers += action.ledger_count;
            for (size_t i = 0; i < action.ledger_count; i++)
                bench->bytes += action.ledgers[i].metadata_size;
            bench->commits_at = bench->now + COMMIT_MS;
            break;
        default:
            break;
        }
    }
}

static void turn(struct bench *bench)
{
    bench->now += STEP_MS;
    if (bench->commits_at && bench->now >= bench->commits_at) {
        bench->commits_at = 0;
        engine_transacted(bench->engine, TXN_COMMITTED, NULL, bench->now);
    }
    end_calls(bench);
    take(bench);
    act(bench);
    bench->asleep += engine_wake_time(bench->engine) > bench->now;
}

static void assign(struct bench *bench)
{
    struct record_position *positions = memory_zeroed((size_t)bench->partitions, sizeof *positions);
    for (int32_t i = 0; i < bench->partitions; i++)
        positions[i] = (struct record_position){.partition = i, .offset = -1};
    engine_assigned(bench->engine, 1, positions, (size_t)bench->partitions, bench->now);
    free(positions);
}

static int64_t cpu_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return at.tv_sec * 1000000000 + at.tv_nsec;
}

/* What `cost/run` counts. */
static void __attribute__((noinline)) measured(struct bench *bench, uint64_t calls)
{
    for (uint64_t until = bench->ended + calls; bench->ended < until;)
        turn(bench);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    struct bench bench = {.now = 100000,
                          .partitions = atoi(argv[1]),
                          .keys = strtoull(argv[2], NULL, 10),
                          .slow = argc > 5 ? strtoull(argv[5], NULL, 10) : 0};
    uint64_t calls = strtoull(argv[4], NULL, 10);
    struct engine_options options = {.owner = "me",
                                     .lease_ms = 15000,
                                     .doubt_ms = 10000,
                                     .drain_ms = 15000,
                                     .overdue = {.max_age_ms = 900000, .deadline_ms = 60000},
                                     .window = 10000,
                                     .window_bytes = 64 << 20,
                                     .memory_bytes = 128 << 20,
                                     .record_bytes = 65536,
                                     .slots = atoll(argv[3])};
    bench.next = memory_zeroed((size_t)bench.partitions, sizeof *bench.next);
    bench.engine = engine_new(&options);
    engine_producer_ready(bench.engine, bench.now);
    assign(&bench);
    while (bench.ended < calls / 4 + 1) /* until it is steady */
        turn(&bench);
    uint64_t ended = bench.ended, transactions = bench.transactions, ledgers = bench.ledgers,
             bytes = bench.bytes;
    int64_t began = bench.now, ns = cpu_ns();
    measured(&bench, calls);
    ns = cpu_ns() - ns;
    double n = (double)(bench.ended - ended);
    struct engine_stats view;
    engine_get_stats(bench.engine, &view);
    printf("partitions %" PRId32 " keys %" PRIu64 " slow %" PRIu64 ": calls %.0f in %" PRId64
           " ms, %.0f ns a call; for each call transactions %.3f, ledgers "
           "%.3f, characters %.1f; held %zu KiB\n",
           bench.partitions, bench.keys, bench.slow, n, bench.now - began, (double)ns / n,
           (double)(bench.transactions - transactions) / n, (double)(bench.ledgers - ledgers) / n,
           (double)(bench.bytes - bytes) / n, view.bytes / 1024);
    for (size_t i = 0; i < bench.flying; i++) {
        bench.flights[i].request->call.end = CALL_RETURNED;
        engine_call_ended(bench.engine, bench.flights[i].request, bench.now);
    }
    engine_free(bench.engine);
    free(bench.flights);
    free(bench.next);
    return 0;
}
