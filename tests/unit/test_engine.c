/* The engine, step by step: what it asks for, and what it makes of the answers. The simulation
 * (tests/simulation) looks for what nobody thought of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "core/engine/engine.h"

enum { WALL = 1000000000, LENT_MAX = 256 };

/* One engine and what is committed for partitions 0 to 3. */
struct harness {
    struct engine *engine;
    enum request_kind kind;
    int64_t now;
    struct engine_action action;
    int64_t base[4];
    char *metadata[4];
    struct request *lent[LENT_MAX];
    size_t lent_count;
    char published[4096]; /* "type:offset:status " each */
    uint64_t rebalance;
};

static struct engine_options options(void)
{
    return (struct engine_options){.owner = "me",
                                   .lease_ms = 5000,
                                   .doubt_ms = 10000,
                                   .drain_ms = 15000,
                                   .overdue = {.max_age_ms = 900000, .deadline_ms = 60000},
                                   .window = 1000,
                                   .window_bytes = 1 << 20,
                                   .slots = 4};
}

static void harness_init(struct harness *harness, const struct engine_options *given)
{
    *harness = (struct harness){.engine = engine_new(given), .kind = given->kind, .now = 100000};
    for (int i = 0; i < 4; i++)
        harness->base[i] = -1;
    engine_producer_ready(harness->engine, harness->now);
}

static void harness_fini(struct harness *harness)
{
    engine_free(harness->engine);
    for (size_t i = 0; i < harness->lent_count; i++)
        request_free(harness->lent[i]);
    for (int i = 0; i < 4; i++)
        free(harness->metadata[i]);
}

static enum engine_action_type step(struct harness *harness)
{
    enum engine_action_type type =
        engine_next(harness->engine, harness->now, WALL + harness->now, &harness->action);
    if (type == ENGINE_START)
        harness->lent[harness->lent_count++] = harness->action.request;
    return type;
}

static void expect(struct harness *harness, enum engine_action_type type)
{
    assert_int_equal(step(harness), type);
}

/* The committed state becomes what the action says. */
static void land(struct harness *harness)
{
    for (size_t i = 0; i < harness->action.ledger_count; i++) {
        const struct stored_ledger *ledger = &harness->action.ledgers[i];
        assert_true(ledger->metadata_size <= LEDGER_MAX);
        harness->base[ledger->partition] = ledger->offset;
        free(harness->metadata[ledger->partition]);
        harness->metadata[ledger->partition] = memory_copy(ledger->metadata, ledger->metadata_size);
    }
    for (size_t i = 0; i < harness->action.item_count; i++) {
        const struct engine_item *item = &harness->action.items[i];
        size_t used = strlen(harness->published);
        snprintf(harness->published + used, sizeof harness->published - used, "%s:%d:%s ",
                 (const char *[]){"result", "invalid", "late", "gone"}[item->type],
                 (int)item->request->position.offset, status_name(item->request->outcome.status));
    }
}

static void assert_published(struct harness *harness, const char *expected)
{
    assert_string_equal(harness->published, expected);
    harness->published[0] = '\0';
}

static void commit_tick(struct harness *harness)
{
    expect(harness, ENGINE_TRANSACT);
    land(harness);
    engine_transacted(harness->engine, TXN_COMMITTED, NULL, harness->now);
}

static enum ledger_mark mark(const struct harness *harness, int partition, int64_t offset)
{
    struct ledger ledger = {0};
    struct error error;
    const char *metadata = harness->metadata[partition] ? harness->metadata[partition] : "";
    assert_int_equal(
        ledger_decode(&ledger, harness->base[partition], metadata, strlen(metadata), &error), 0);
    enum ledger_mark found = ledger_at(&ledger, offset);
    ledger_fini(&ledger);
    return found;
}

static void assert_owner(const struct harness *harness, int partition, const char *owner)
{
    struct ledger ledger = {0};
    struct error error;
    const char *metadata = harness->metadata[partition];
    assert_int_equal(
        ledger_decode(&ledger, harness->base[partition], metadata, strlen(metadata), &error), 0);
    assert_string_equal(ledger.owner, owner);
    ledger_fini(&ledger);
}

/* Commits a ledger from outside, as another owner or none would have. runs: "sdf" one letter an
 * offset. */
static void preset(struct harness *harness, int partition, int64_t base, uint64_t sequence,
                   const char *owner, const char *marks)
{
    struct ledger ledger = {.base = base, .sequence = sequence};
    struct text text = {0};
    snprintf(ledger.owner, sizeof ledger.owner, "%s", owner);
    for (; *marks; marks++)
        ledger_add(&ledger,
                   *marks == 's'   ? LEDGER_STARTED
                   : *marks == 'd' ? LEDGER_DONE
                                   : LEDGER_FRESH,
                   1);
    ledger_encode(&ledger, &text);
    free(harness->metadata[partition]);
    harness->base[partition] = base;
    harness->metadata[partition] = text_take(&text);
    ledger_fini(&ledger);
}

static void answer_read(struct harness *harness)
{
    struct stored_ledger ledgers[4];
    size_t count = harness->action.position_count;
    for (size_t i = 0; i < count; i++) {
        int32_t partition = harness->action.positions[i].partition;
        const char *metadata = harness->metadata[partition] ? harness->metadata[partition] : "";
        ledgers[i] = (struct stored_ledger){.partition = partition,
                                            .offset = harness->base[partition],
                                            .metadata = metadata,
                                            .metadata_size = strlen(metadata)};
    }
    engine_ledgers_read(harness->engine, GROUP_DONE, ledgers, count, harness->now);
}

static void give(struct harness *harness, int first, int count)
{
    struct record_position positions[4];
    for (int i = 0; i < count; i++)
        positions[i] = (struct record_position){.partition = first + i, .offset = -1};
    engine_assigned(harness->engine, ++harness->rebalance, positions, (size_t)count, harness->now);
}

static void take(struct harness *harness, int first, int count, bool lost)
{
    struct record_position positions[4];
    for (int i = 0; i < count; i++)
        positions[i] = (struct record_position){.partition = first + i, .offset = -1};
    engine_revoked(harness->engine, ++harness->rebalance,
                   lost ? PARTITIONS_OVERTAKEN : PARTITIONS_REVOKED, positions, (size_t)count,
                   harness->now);
}

/* What an assignment begins with, if its ledgers name nobody else. */
static void read_ledgers(struct harness *harness)
{
    expect(harness, ENGINE_READ);
    assert_false(harness->action.stable);
    answer_read(harness);
    expect(harness, ENGINE_READ);
    assert_true(harness->action.stable);
    answer_read(harness);
}

/* Assigned partitions whose ledgers name nobody else. */
static void assign(struct harness *harness, int first, int count)
{
    give(harness, first, count);
    read_ledgers(harness);
    expect(harness, ENGINE_COMMIT);
    land(harness);
    engine_committed(harness->engine, GROUP_DONE, harness->now);
    expect(harness, ENGINE_ASSIGN);
    assert_int_equal(harness->action.rebalance, harness->rebalance);
}

static struct request *record(struct harness *harness, int partition, int64_t offset,
                              const char *order_id)
{
    struct raw_record raw = {.key = "key",
                             .key_size = 3,
                             .value = "{}",
                             .value_size = 2,
                             .timestamp_ms = WALL + harness->now};
    struct request *request =
        request_new((struct record_position){harness->kind, partition, offset}, &raw);
    if (order_id) {
        request->event.order_id = request->event.strings = memory_string(order_id);
    } else {
        request->event.invalid_code = "no-order-id";
        request->event.invalid_message = memory_string("no order id");
    }
    return request;
}

static void arrive(struct harness *harness, int partition, int64_t offset, const char *order_id)
{
    engine_record(harness->engine, record(harness, partition, offset, order_id), harness->now,
                  WALL + harness->now);
}

static struct request *lent(struct harness *harness, int64_t offset)
{
    for (size_t i = 0; i < harness->lent_count; i++)
        if (harness->lent[i]->position.offset == offset)
            return harness->lent[i];
    fail_msg("offset %d was not handed out", (int)offset);
    return NULL;
}

static void back(struct harness *harness, struct request *request)
{
    for (size_t i = 0; i < harness->lent_count; i++) {
        if (harness->lent[i] != request)
            continue;
        harness->lent[i] = harness->lent[--harness->lent_count];
        break;
    }
    engine_call_ended(harness->engine, request, harness->now);
}

static void finish(struct harness *harness, int64_t offset, enum status status)
{
    struct request *request = lent(harness, offset);
    request->call.end = CALL_FINISHED;
    request->call.attempts++;
    request->call.started_boot_ms = harness->now;
    request->outcome.status = status;
    request->outcome.answered = status == STATUS_SUCCEEDED || status == STATUS_REFUSED;
    back(harness, request);
}

static void unsent(struct harness *harness, int64_t offset, int64_t retry_at)
{
    struct request *request = lent(harness, offset);
    request->call.end = retry_at ? CALL_NOT_SENT : CALL_RETURNED;
    request->call.retry_at_ms = retry_at;
    if (retry_at && !request->call.attempts++)
        request->call.first_started_boot_ms = harness->now;
    back(harness, request);
}

static struct engine_partition_stats view_of(const struct harness *harness, int partition)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(harness->engine, i, &view); i++)
        if (view.partition == partition)
            return view;
    fail_msg("partition %d is not there", partition);
    return view;
}

static void ready(struct harness *harness)
{
    struct engine_options given = options();
    harness_init(harness, &given);
    assign(harness, 0, 1);
    expect(harness, ENGINE_NOTHING);
}

/* ... and a call of offset 0 is handed out. */
static void ready_with_a_call(struct harness *harness)
{
    ready(harness);
    arrive(harness, 0, 0, "o-1");
    commit_tick(harness);
    expect(harness, ENGINE_START);
}

static void test_one_call(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    assert_owner(&harness, 0, "me");
    assert_true(engine_wants(harness.engine, 0) > 0);
    arrive(&harness, 0, 0, "o-1");
    commit_tick(&harness);
    assert_published(&harness, "");
    assert_int_equal(mark(&harness, 0, 0), LEDGER_STARTED);
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->call.lease_until_ms, harness.now + 5000);
    expect(&harness, ENGINE_NOTHING);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    assert_int_equal(harness.base[0], 1);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

static void test_nothing_starts_before_the_commit(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    expect(&harness, ENGINE_TRANSACT);
    expect(&harness, ENGINE_NOTHING);
    engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
    expect(&harness, ENGINE_NOTHING); /* the pause after an abort */
    assert_true(engine_wake_time(harness.engine) > harness.now);
    harness.now = engine_wake_time(harness.engine);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

static void test_order_in_a_lane(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-1");
    arrive(&harness, 0, 2, "o-2");
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_NOTHING);
    finish(&harness, 2, STATUS_REFUSED);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness); /* publishes two, and starts the one that may go now */
    assert_published(&harness, "result:2:refused result:0:succeeded ");
    assert_int_equal(mark(&harness, 0, 1), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 2), LEDGER_DONE);
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.offset, 1);
    harness_fini(&harness);
}

static void test_untried_ends(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    struct request *invalid = record(&harness, 0, 0, "o-1");
    invalid->event.invalid_code = "bad";
    invalid->event.invalid_message = memory_string("bad");
    struct request *expired = record(&harness, 0, 1, "o-1");
    expired->event.expires_at_ms = WALL + harness.now - 1;
    struct request *old = record(&harness, 0, 2, "o-2");
    old->raw.timestamp_ms = WALL + harness.now - 900001;
    struct request *future = record(&harness, 0, 3, "o-3");
    future->raw.timestamp_ms = WALL + harness.now + 5000000;
    future->event.expires_at_ms = WALL + harness.now; /* not dialled *after* it */
    engine_record(harness.engine, invalid, harness.now, WALL + harness.now);
    engine_record(harness.engine, expired, harness.now, WALL + harness.now);
    engine_record(harness.engine, old, harness.now, WALL + harness.now);
    engine_record(harness.engine, future, harness.now, WALL + harness.now);
    arrive(&harness, 0, 4, NULL); /* no key and no order id: a dead letter alone */
    commit_tick(&harness);
    assert_published(&harness,
                     "result:0:invalid invalid:0:invalid result:1:expired result:2:expired "
                     "invalid:4:invalid ");
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.offset, 3);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* A request that may not be started ends when its time is over, though nothing else happens: here,
 * while calls are paused, while it is not to be tried again yet, and while its lane is in doubt. */
static void test_what_waits_expires_in_its_time(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "tried");
    arrive(&harness, 0, 1, "doubt");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness.action.request->event.expires_at_ms = WALL + harness.now + 2000;
    expect(&harness, ENGINE_START);
    unsent(&harness, 0, harness.now + 60000);
    finish(&harness, 1, STATUS_UNKNOWN);
    commit_tick(&harness);
    assert_published(&harness, "result:1:unknown ");
    engine_set_call_limit(harness.engine, 0);
    for (int i = 0; i < 2; i++) {
        struct request *request = record(&harness, 0, 2 + i, i ? "paused" : "doubt");
        request->event.expires_at_ms = WALL + harness.now + 3000 + i * 1000;
        engine_record(harness.engine, request, harness.now, WALL + harness.now);
    }
    expect(&harness, ENGINE_NOTHING);
    static const char *const published[] = {"result:0:expired ", "result:2:expired ",
                                            "result:3:expired "};
    for (int i = 0; i < 3; i++) {
        int64_t over = 100000 + 2000 + i * 1000 + 1;
        assert_int_equal(engine_wake_time(harness.engine), over);
        harness.now = over;
        commit_tick(&harness);
        assert_published(&harness, published[i]);
        expect(&harness, ENGINE_NOTHING);
    }
    harness_fini(&harness);
}

static void test_not_sent_loses_its_mark_before_it_is_tried_again(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-1");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    unsent(&harness, 0, harness.now + 500);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_FRESH);
    expect(&harness, ENGINE_NOTHING); /* neither it nor the next of its lane */
    assert_int_equal(engine_wake_time(harness.engine), harness.now + 500);
    harness.now += 500;
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_STARTED);
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.offset, 0);
    harness_fini(&harness);
}

static void test_deadline_ends_retries(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    unsent(&harness, 0, harness.now + 3600000); /* cut to the deadline */
    commit_tick(&harness);
    harness.now += 59999;
    expect(&harness, ENGINE_NOTHING);
    harness.now += 1;
    commit_tick(&harness);
    assert_published(&harness, "result:0:unavailable ");
    harness_fini(&harness);
}

/* A call that the platform has answered, and that it would take once more. */
static void unsent_but_answered(struct harness *harness)
{
    struct outcome *outcome = &lent(harness, 0)->outcome;
    outcome->status = STATUS_REFUSED;
    outcome->answered = true;
    unsent(harness, 0, harness->now + 3600000);
    commit_tick(harness);
    harness->now += 60000;
}

static void test_a_retry_too_late_leaves_the_answer(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    unsent_but_answered(&harness);
    commit_tick(&harness);
    assert_published(&harness, "result:0:refused ");
    harness_fini(&harness);
}

/* Nothing says that it was started: whoever has the partition now calls it, or ends it, anew. */
static void test_its_answer_is_no_late_outcome(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    unsent_but_answered(&harness);
    expect(&harness, ENGINE_TRANSACT);
    take(&harness, 0, 1, true);
    engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    harness.now += 1000;
    expect(&harness, ENGINE_NOTHING);
    assert_published(&harness, "");
    harness_fini(&harness);
}

static void test_lane_in_doubt_waits(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-1");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_UNKNOWN);
    commit_tick(&harness);
    assert_published(&harness, "result:0:unknown ");
    harness.now += 9999;
    expect(&harness, ENGINE_NOTHING);
    harness.now += 1;
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

static void test_takeover_reads_the_marks(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    preset(&harness, 0, 10, 7, "other", "sdfs");
    give(&harness, 0, 1);
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    expect(&harness, ENGINE_END_OWNER);
    assert_string_equal(harness.action.owner, "other");
    engine_owner_ended(harness.engine, GROUP_RETRY, harness.now);
    expect(&harness, ENGINE_NOTHING);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_END_OWNER);
    engine_owner_ended(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledgers[0].offset, 10);
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    land(&harness);
    assert_owner(&harness, 0, "me");
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(harness.action.positions[0].offset, 10);

    assert_false(engine_is_news(harness.engine, 0, 9));
    for (int64_t offset = 10; offset < 14; offset++)
        arrive(&harness, 0, offset, offset < 13 ? "o-1" : "o-2");
    commit_tick(&harness);
    assert_published(&harness, "result:10:unknown result:13:unknown ");
    expect(&harness, ENGINE_NOTHING); /* 12 waits: 10 may still be running */
    harness.now += 10000;
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.offset, 12);
    finish(&harness, 12, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_int_equal(harness.base[0], 14);
    harness_fini(&harness);
}

static void test_deleted_records_and_gaps(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    preset(&harness, 0, 10, 7, "", "sfds");
    assign(&harness, 0, 1);
    arrive(&harness, 0, 12, "o-1"); /* done already; 10 is gone, 11 was never started */
    arrive(&harness, 0, 20, "o-2");
    commit_tick(&harness);
    assert_published(&harness, "gone:10:unknown gone:13:unknown ");
    expect(&harness, ENGINE_NOTHING); /* 20 may be of the same order id as one of them */
    harness.now += 10000;
    commit_tick(&harness);
    assert_int_equal(harness.base[0], 20);
    expect(&harness, ENGINE_START);
    finish(&harness, 20, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_TRANSACT);
    engine_end(harness.engine, 0, 25, harness.now, WALL); /* while it is on its way */
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    assert_int_equal(harness.base[0], 21);
    expect(&harness, ENGINE_NOTHING);
    assert_true(engine_wake_time(harness.engine) <= harness.now + 100);
    harness.now = engine_wake_time(harness.engine);
    commit_tick(&harness);
    assert_int_equal(harness.base[0], 25);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* Only what stood in it when it was assigned makes a topic older than a group without commits. */
static void test_older_than_the_group(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    harness.base[3] = 5;
    assign(&harness, 0, 4);
    engine_end(harness.engine, 0, 0, harness.now, WALL);
    engine_end(harness.engine, 1, 7, harness.now, WALL); /* all of it was deleted */
    for (int partition = 0; partition < 4; partition++) {
        assert_false(view_of(&harness, partition).older_than_group);
        arrive(&harness, partition, 7, "o");
        assert_int_equal(view_of(&harness, partition).older_than_group, partition == 2);
    }
    harness_fini(&harness);
}

static void test_abort_keeps_order(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_START);
    finish(&harness, 1, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_TRANSACT);
    finish(&harness, 0, STATUS_REFUSED);
    engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
    harness.now = engine_wake_time(harness.engine);
    commit_tick(&harness);
    assert_published(&harness, "result:1:succeeded result:0:refused ");
    harness_fini(&harness);
}

/* It may have been aborted as this is no member any more. */
static void test_an_abort_recalls_what_is_not_sent(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    arrive(&harness, 0, 1, "o-2");
    expect(&harness, ENGINE_TRANSACT);
    engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
    expect(&harness, ENGINE_RECALL);
    assert_int_equal(harness.action.partition, 0);
    unsent(&harness, 0, 0);
    harness.now = engine_wake_time(harness.engine);
    commit_tick(&harness); /* un-started, and the other one started */
    expect(&harness, ENGINE_START);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

static void test_a_refused_record_is_made_smaller(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, NULL);
    arrive(&harness, 0, 1, NULL);
    expect(&harness, ENGINE_TRANSACT);
    assert_false(harness.action.items[1].reduced);
    engine_transacted(harness.engine, TXN_REFUSED,
                      (enum record_refusal[]){RECORD_TAKEN, REFUSED_FOR_SIZE}, harness.now);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_TRANSACT);
    assert_false(harness.action.items[0].reduced);
    assert_true(harness.action.items[1].reduced);
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    assert_int_equal(harness.base[0], 2);
    harness_fini(&harness);
}

/* Each of an invalid request's two records keeps its form while only the other one is refused. */
static void test_two_records_become_smaller_one_by_one(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    struct request *request = record(&harness, 0, 0, "o-1");
    request->event.invalid_code = "json-invalid";
    request->event.invalid_message = memory_string("no JSON");
    engine_record(harness.engine, request, harness.now, WALL + harness.now);
    static const enum record_refusal refusals[2][2] = {{RECORD_TAKEN, REFUSED_FOR_SIZE},
                                                       {REFUSED_FOR_SIZE, RECORD_TAKEN}};
    for (int round = 0; round < 3; round++) {
        expect(&harness, ENGINE_TRANSACT);
        assert_int_equal(harness.action.item_count, 2);
        assert_int_equal(harness.action.items[0].type, ITEM_RESULT);
        assert_int_equal(harness.action.items[0].reduced, round > 1);
        assert_int_equal(harness.action.items[1].type, ITEM_INVALID);
        assert_int_equal(harness.action.items[1].reduced, round > 0);
        if (round == 2)
            break;
        engine_transacted(harness.engine, TXN_REFUSED, refusals[round], harness.now);
        harness.now = engine_wake_time(harness.engine);
    }
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    assert_int_equal(harness.base[0], 1);
    harness_fini(&harness);
}

/* The transaction that is asked for is refused for its item `refused`; then the pause is over. */
static void refuse(struct harness *harness, size_t refused)
{
    enum record_refusal flags[4] = {RECORD_TAKEN};
    flags[refused] = REFUSED_FOR_SIZE;
    expect(harness, ENGINE_TRANSACT);
    engine_transacted(harness->engine, TXN_REFUSED, flags, harness->now);
    harness->now = engine_wake_time(harness->engine);
}

/* Partition 0 holds a result that the broker does not take even small, partition 1 is well. */
static void get_stuck(struct harness *harness)
{
    struct engine_options given = options();
    harness_init(harness, &given);
    assign(harness, 0, 2);
    arrive(harness, 0, 0, "o-1");
    arrive(harness, 1, 0, "o-2");
    commit_tick(harness);
    expect(harness, ENGINE_START);
    expect(harness, ENGINE_START);
    for (size_t i = 0; i < 2; i++)
        if (harness->lent[i]->position.partition == 0) {
            struct request *first = harness->lent[i];
            harness->lent[i] = harness->lent[1];
            harness->lent[1] = first;
        }
    finish(harness, 0, STATUS_SUCCEEDED);
    finish(harness, 0, STATUS_SUCCEEDED);
    refuse(harness, 1);
    refuse(harness, 1);
    commit_tick(harness);
    assert_published(harness, "result:0:succeeded ");
    assert_int_equal(harness->base[1], 1);
    assert_int_equal(harness->base[0], 0);
}

static void test_what_is_refused_for_good_holds_its_partition_alone(void **state)
{
    (void)state;
    struct harness harness;
    get_stuck(&harness);
    assert_int_equal(view_of(&harness, 0).refused, 0);
    assert_int_equal(view_of(&harness, 1).refused, -1);
    arrive(&harness, 0, 1, "o-3");
    arrive(&harness, 1, 1, "o-2");
    commit_tick(&harness); /* the other one goes on alone */
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.partition, 1);
    finish(&harness, 1, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:1:succeeded ");
    expect(&harness, ENGINE_NOTHING);
    harness.now = engine_wake_time(harness.engine);
    assert_in_range(harness.now, 100000 + 50000, 100000 + 61000);
    commit_tick(&harness); /* tried again: the broker takes it by now */
    assert_published(&harness, "result:0:succeeded ");
    assert_int_equal(view_of(&harness, 0).refused, -1);
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.offset, 1);
    harness_fini(&harness);
}

/* Partition 0 is revoked, and its drain ends with the call of its first offset still started. */
static void outlive_drain(struct harness *harness)
{
    take(harness, 0, 1, false);
    expect(harness, ENGINE_RECALL);
    expect(harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness->engine), harness->now + 15000);
    harness->now += 15000;
    expect(harness, ENGINE_COMMIT);
    land(harness);
    assert_int_equal(mark(harness, 0, 0), LEDGER_STARTED); /* the successor answers 'unknown' */
    engine_committed(harness->engine, GROUP_DONE, harness->now);
    step(harness); /* what is in hand is recalled, if anything is */
    if (harness->action.type != ENGINE_UNASSIGN)
        expect(harness, ENGINE_UNASSIGN);
}

/* The successor calls it unknown, and the answer goes to the dead letters. */
static void test_what_is_refused_for_good_does_not_hold_a_hand_over(void **state)
{
    (void)state;
    struct harness harness;
    get_stuck(&harness);
    outlive_drain(&harness);
    refuse(&harness, 0); /* nor do the dead letters take it */
    expect(&harness, ENGINE_TRANSACT);
    assert_true(harness.action.items[0].reduced);
    engine_transacted(harness.engine, TXN_REFUSED, (enum record_refusal[]){REFUSED_FOR_SIZE},
                      harness.now);
    harness.now += 1000;
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* Its partition is lost while its result is on its way, small, and is refused once more. */
static void lose_with_result(struct harness *harness, enum record_refusal why)
{
    expect(harness, ENGINE_TRANSACT);
    assert_true(harness->action.items[0].reduced);
    take(harness, 0, 1, true);
    expect(harness, ENGINE_UNASSIGN);
    give(harness, 0, 0);
    engine_transacted(harness->engine, TXN_REFUSED, (enum record_refusal[]){why}, harness->now);
    expect(harness, ENGINE_ASSIGN);
    harness->now += 20; /* nothing holds the dead letters back */
    expect(harness, ENGINE_TRANSACT);
    assert_false(harness->action.items[0].reduced); /* it is another record, for the dead letters */
    land(harness);
    engine_transacted(harness->engine, TXN_COMMITTED, NULL, harness->now);
    assert_published(harness, "late:0:succeeded ");
}

/* That the results do not take it says nothing of the dead letters: its answer is not dropped. */
static void test_a_result_that_is_refused_while_it_is_lost_ends_late(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    refuse(&harness, 0);
    lose_with_result(&harness, REFUSED_FOR_SIZE);
    harness_fini(&harness);
}

static void test_a_result_that_is_refused_as_it_is_ends_late_at_once(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    refuse(&harness, 0);
    lose_with_result(&harness, REFUSED_AS_IS);
    harness_fini(&harness);
}

/* ... nor does a call that came back unsent meanwhile, whose mark no transaction takes away: the
 * hand-over does. */
static void test_what_is_refused_for_good_keeps_no_unsent_call(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    arrive(&harness, 0, 1, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    refuse(&harness, 0);
    refuse(&harness, 0);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    unsent(&harness, 1, 0);
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness.engine), harness.now + 15000);
    harness.now += 15000;
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* Two calls of a partition end, and the broker takes the result of neither even small. */
static void fill_with_stuck(struct harness *harness, int32_t partition)
{
    arrive(harness, partition, 0, "o-1");
    arrive(harness, partition, 1, "o-2");
    commit_tick(harness);
    expect(harness, ENGINE_START);
    expect(harness, ENGINE_START);
    finish(harness, 0, STATUS_SUCCEEDED);
    finish(harness, 1, STATUS_SUCCEEDED);
    refuse(harness, 0);
    expect(harness, ENGINE_TRANSACT);
    engine_transacted(harness->engine, TXN_REFUSED,
                      (enum record_refusal[]){REFUSED_FOR_SIZE, RECORD_TAKEN}, harness->now);
    harness->now += 1000;
}

/* Twice as many started as slots is the limit for a trial call of the breaker, too. */
static void test_no_trial_call_beyond_the_marks(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    given.slots = 2;
    harness_init(&harness, &given);
    assign(&harness, 0, 3);
    fill_with_stuck(&harness, 0);
    fill_with_stuck(&harness, 1);
    arrive(&harness, 2, 0, "o-3");
    expect(&harness, ENGINE_NOTHING);
    engine_set_call_limit(harness.engine, 1);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* After three, and then after sixteen more, or every other one while they are far apart. */
static bool renews_after(int aborts)
{
    return aborts == 3 || (aborts > 12 && (aborts - 3) % 2 == 0);
}

/* What the broker refuses of a transaction again and again may be who asks: also when it has been
 * refused for other reasons for so long that it is asked for seldom. */
static void test_aborts_end_in_a_new_producer(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    int64_t last = harness.now;
    for (int aborts = 1; aborts < 30; aborts++) {
        expect(&harness, ENGINE_TRANSACT);
        engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
        if (renews_after(aborts)) {
            expect(&harness, ENGINE_RENEW_PRODUCER);
            engine_producer_ready(harness.engine, harness.now);
        }
        expect(&harness, ENGINE_NOTHING);
        last = harness.now;
        harness.now = engine_wake_time(harness.engine);
    }
    assert_int_equal(harness.now - last, 10000); /* it asks less and less often */
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

/* While others fail again and again, and so are far apart: what is asked of the new producer does
 * not wait for its turn, as it might be forgotten by then, too. */
static void test_a_producer_that_is_forgotten_is_made_anew_at_once(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    for (int aborts = 1; aborts < 25; aborts++) {
        expect(&harness, ENGINE_TRANSACT);
        engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
        if (renews_after(aborts)) {
            expect(&harness, ENGINE_RENEW_PRODUCER);
            engine_producer_ready(harness.engine, harness.now);
        }
        harness.now = engine_wake_time(harness.engine);
    }
    for (int times = 1; times < 4; times++) {
        expect(&harness, ENGINE_TRANSACT);
        engine_transacted(harness.engine, TXN_EXPIRED, NULL, harness.now);
        expect(&harness, ENGINE_RENEW_PRODUCER);
        engine_producer_ready(harness.engine, harness.now);
        expect(&harness, ENGINE_NOTHING);
        int64_t pause = engine_wake_time(harness.engine) - harness.now;
        assert_int_equal(pause, times == 1 ? 10 : 10000); /* a new one each time is no help */
        harness.now += pause;
    }
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

static void test_no_membership_is_no_reason_for_a_new_producer(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    int64_t last = harness.now;
    for (int aborts = 1; aborts < 30; aborts++) {
        expect(&harness, ENGINE_TRANSACT);
        engine_transacted(harness.engine, TXN_NOT_MEMBER, NULL, harness.now);
        expect(&harness, ENGINE_NOTHING);
        last = harness.now;
        harness.now = engine_wake_time(harness.engine);
    }
    assert_int_equal(harness.now - last, 500);
    harness_fini(&harness);
}

/* A dead letter without a key, for a topic that demands one. */
static void test_a_key_is_given_where_one_is_demanded(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, NULL);
    expect(&harness, ENGINE_TRANSACT);
    assert_false(harness.action.items[0].keyed);
    engine_transacted(harness.engine, TXN_REFUSED, (enum record_refusal[]){REFUSED_FOR_KEY},
                      harness.now);
    assert_false(view_of(&harness, 0).halted);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_TRANSACT);
    assert_true(harness.action.items[0].keyed);
    assert_false(harness.action.items[0].reduced);
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    assert_int_equal(harness.base[0], 1);
    harness_fini(&harness);
}

/* The pause doubles with each transaction that is refused, not with each record in it. */
static void test_many_refused_at_once_make_one_pause(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    for (int i = 0; i < 5; i++)
        arrive(&harness, 0, i, NULL);
    for (int64_t pause = 1000; pause < 8000; pause *= 2) {
        expect(&harness, ENGINE_TRANSACT);
        assert_int_equal(harness.action.item_count, 5);
        engine_transacted(harness.engine, TXN_REFUSED,
                          (enum record_refusal[]){REFUSED_AS_IS, REFUSED_AS_IS, REFUSED_AS_IS,
                                                  REFUSED_AS_IS, REFUSED_AS_IS},
                          harness.now);
        int64_t until = harness.now + pause;
        while (harness.now < until) {
            expect(&harness, ENGINE_NOTHING);
            harness.now = engine_wake_time(harness.engine);
        }
        assert_int_equal(harness.now, until);
    }
    harness_fini(&harness);
}

/* Another form would be refused, too. */
static void test_what_is_refused_as_it_is_halts_its_partition(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    arrive(&harness, 0, 0, NULL);
    int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        expect(&harness, ENGINE_TRANSACT);
        engine_broker_says(harness.engine, "you may not", false);
        engine_transacted(harness.engine, TXN_REFUSED, (enum record_refusal[]){REFUSED_AS_IS},
                          harness.now);
        assert_true(view_of(&harness, 0).halted);
        assert_false(view_of(&harness, 0).needs_repair);
        assert_string_equal(view_of(&harness, 0).halt_reason,
                            "the broker refuses what is published of offset 0: you may not");
        assert_false(view_of(&harness, 1).halted);
        int64_t until = harness.now + pauses[i];
        while (harness.now < until) {
            expect(&harness, ENGINE_NOTHING);
            harness.now = engine_wake_time(harness.engine);
        }
        assert_int_equal(harness.now, until);
    }
    commit_tick(&harness);
    assert_false(view_of(&harness, 0).halted);
    assert_null(view_of(&harness, 0).halt_reason);
    harness_fini(&harness);
}

/* The broker does not say which ledger it was: one partition after another is left out, until it
 * stands alone. */
static void test_refused_offsets_halt_the_one_partition(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    assign(&harness, 0, 4);
    for (int partition = 0; partition < 4; partition++)
        arrive(&harness, partition, 0, "o-1");
    for (int turns = 0; turns < 40; turns++) {
        enum engine_action_type type = step(&harness);
        if (type == ENGINE_NOTHING) {
            if (view_of(&harness, 2).halted)
                break;
            harness.now = engine_wake_time(harness.engine);
        }
        if (type != ENGINE_TRANSACT)
            continue;
        bool with = false;
        for (size_t i = 0; i < harness.action.ledger_count; i++)
            with |= harness.action.ledgers[i].partition == 2;
        engine_broker_says(harness.engine, "no such topic", false);
        if (!with)
            land(&harness);
        engine_transacted(harness.engine, with ? TXN_OFFSETS_REFUSED : TXN_COMMITTED, NULL,
                          harness.now);
    }
    assert_string_equal(view_of(&harness, 2).halt_reason,
                        "the broker refuses to commit its offset: no such topic");
    for (int turns = 0; turns < 20 && harness.lent_count < 3; turns++) {
        enum engine_action_type type = step(&harness);
        if (type == ENGINE_NOTHING)
            harness.now = engine_wake_time(harness.engine);
        if (type == ENGINE_TRANSACT && harness.action.ledgers[0].partition == 2) {
            engine_transacted(harness.engine, TXN_OFFSETS_REFUSED, NULL, harness.now);
        } else if (type == ENGINE_TRANSACT) {
            land(&harness);
            engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
        }
    }
    assert_int_equal(harness.lent_count, 3); /* the others go on */
    for (size_t i = 0; i < 3; i++)
        assert_int_not_equal(harness.lent[i]->position.partition, 2);
    harness_fini(&harness);
}

/* Each partition has another call when its last one has ended. */
static void keep_busy(struct harness *harness, int64_t *offsets, int partitions)
{
    while (harness->lent_count)
        finish(harness, harness->lent[0]->position.offset, STATUS_SUCCEEDED);
    for (int partition = 0; partition < partitions; partition++) {
        char id[24];
        if (view_of(harness, partition).unfinished)
            continue;
        snprintf(id, sizeof id, "o-%d", (int)offsets[partition]);
        arrive(harness, partition, offsets[partition], id);
        offsets[partition] += partitions;
    }
}

/* For what there was no room comes first in the next transaction, whatever has ended of others. */
static void test_what_had_no_room_comes_first(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    for (int partition = 0; partition < 2; partition++)
        arrive(&harness, partition, partition, "o-1");
    expect(&harness, ENGINE_TRANSACT);
    assert_int_equal(harness.action.ledger_count, 2);
    engine_transacted(harness.engine, TXN_OFFSETS_REFUSED, NULL, harness.now);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_TRANSACT); /* one after the other from now on */
    assert_int_equal(harness.action.ledger_count, 1);
    int first = harness.action.ledgers[0].partition;
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    expect(&harness, ENGINE_START);
    finish(&harness, first, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_TRANSACT);
    assert_int_equal(harness.action.ledger_count, 1);
    assert_int_equal(harness.action.ledgers[0].partition, 1 - first);
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

/* What lands between its refusals makes batches grow again, and gives it company: it stands alone
 * soon all the same, and from then on it is tried alone, and less and less often. */
static void refuse_offsets_of(int bad, int partitions)
{
    enum { MINUTE = 60000 };
    struct harness harness;
    struct engine_options given = options();
    int64_t offsets[4];
    int searched = 0, late = 0, landed = 0;
    harness_init(&harness, &given);
    assign(&harness, 0, partitions);
    for (int partition = 0; partition < partitions; partition++)
        offsets[partition] = partition;
    for (int64_t began = harness.now; harness.now < began + 4 * MINUTE;) {
        keep_busy(&harness, offsets, partitions);
        enum engine_action_type type = step(&harness);
        if (type == ENGINE_NOTHING)
            harness.now = engine_wake_time(harness.engine);
        if (type != ENGINE_TRANSACT)
            continue;
        bool with = false, is_known = view_of(&harness, bad).halted;
        for (size_t i = 0; i < harness.action.ledger_count; i++)
            with |= harness.action.ledgers[i].partition == bad;
        searched += with && !is_known;
        late += with && harness.now >= began + 2 * MINUTE;
        landed += !with;
        assert_true(!with || !late || harness.action.ledger_count == 1);
        engine_broker_says(harness.engine, "no such topic", false);
        if (!with)
            land(&harness);
        harness.published[0] = '\0';
        harness.now += 300;
        engine_transacted(harness.engine, with ? TXN_OFFSETS_REFUSED : TXN_COMMITTED, NULL,
                          harness.now);
    }
    assert_true(view_of(&harness, bad).halted);
    assert_in_range(late, 3, 6);
    assert_in_range(searched, 1, 16);
    assert_in_range(landed, 100, 2000);
    harness_fini(&harness);
}

static void test_refused_offsets_are_found_among_busy_ones(void **state)
{
    (void)state;
    for (int partitions = 2; partitions <= 4; partitions++)
        for (int bad = 0; bad < partitions; bad++)
            refuse_offsets_of(bad, partitions);
}

/* A broker that takes ledgers of up to 60 characters only. */
static void test_a_short_limit_is_found_out_and_kept(void **state)
{
    (void)state;
    enum { LIMIT = 60, REQUESTS = 600 };
    struct harness harness;
    struct engine_options given = options();
    int refused = 0, longest = 0, ended = 0;
    given.slots = 120;
    harness_init(&harness, &given);
    assign(&harness, 0, 1);
    char id[16];
    for (int i = 0; i < REQUESTS; i++) {
        snprintf(id, sizeof id, "o-%d", i);
        arrive(&harness, 0, i, id);
    }
    while (ended < REQUESTS - 1 && harness.now < 100000 + 600000) {
        enum engine_action_type type = step(&harness);
        if (type == ENGINE_TRANSACT) {
            int size = (int)harness.action.ledgers[0].metadata_size;
            engine_broker_says(harness.engine, "metadata too large", true);
            refused += size > LIMIT;
            if (size <= LIMIT)
                land(&harness);
            longest = size <= LIMIT && size > longest ? size : longest;
            harness.published[0] = '\0';
            engine_transacted(harness.engine, size > LIMIT ? TXN_OFFSETS_REFUSED : TXN_COMMITTED,
                              NULL, harness.now);
        } else if (type == ENGINE_NOTHING) {
            /* The first call never ends, the others do, those of odd offsets first. */
            int64_t next = 0;
            for (size_t i = 0; i < harness.lent_count && next % 2 == 0; i++)
                if (harness.lent[i]->position.offset)
                    next = harness.lent[i]->position.offset;
            if (next) {
                finish(&harness, next, STATUS_SUCCEEDED);
                ended++;
            } else {
                harness.now = engine_wake_time(harness.engine);
            }
        }
    }
    assert_in_range(ended, 50, REQUESTS); /* as far as a ledger so short reaches */
    assert_in_range(refused, 1, 20);
    assert_in_range(longest, 20, LIMIT);
    assert_int_equal(harness.base[0], 0);
    harness_fini(&harness);
}

/* Asks until a transaction has landed or that time has come. Returns how many were refused. */
static int ask_until(struct harness *harness, int64_t then, size_t limit)
{
    int refused = 0;
    for (bool landed = false; !landed && harness->now < then;) {
        enum engine_action_type type = step(harness);
        if (type == ENGINE_NOTHING)
            harness->now = engine_wake_time(harness->engine);
        if (type != ENGINE_TRANSACT)
            continue;
        landed = harness->action.ledgers[0].metadata_size <= limit;
        refused += !landed;
        if (landed)
            land(harness);
        engine_broker_says(harness->engine, "metadata too large", true);
        engine_transacted(harness->engine, landed ? TXN_COMMITTED : TXN_OFFSETS_REFUSED, NULL,
                          harness->now);
    }
    return refused;
}

/* A ledger that cannot become shorter is offered as it is now and then: what is known of the limit
 * may be too little, or of another time. */
static void test_a_limit_that_is_raised_is_noticed_soon(void **state)
{
    (void)state;
    enum { CALLS = 240, LONGEST = 4000, LIMIT = 60 };
    struct harness harness;
    struct engine_options given = options();
    char id[16];
    given.slots = CALLS;
    harness_init(&harness, &given);
    assign(&harness, 0, 1);
    for (int i = 0; i < CALLS; i++) {
        snprintf(id, sizeof id, "o-%d", i);
        arrive(&harness, 0, i, id);
    }
    ask_until(&harness, harness.now + 1000, LONGEST);
    while (step(&harness) != ENGINE_NOTHING)
        ;
    for (int i = 0; i < CALLS; i++)
        if (i % 3 == 1 || i % 5 == 1)
            finish(&harness, i, STATUS_SUCCEEDED);
    int64_t began = harness.now;
    int refused = ask_until(&harness, began + 300000, LIMIT);
    assert_in_range(refused, 2, 20);
    assert_true(view_of(&harness, 0).halted);
    assert_non_null(strstr(view_of(&harness, 0).halt_reason, "offset.metadata.max.bytes"));
    int64_t raised = harness.now;
    ask_until(&harness, raised + 300000, LONGEST);
    assert_in_range(harness.now - raised, 0, 31000);
    assert_false(view_of(&harness, 0).halted);
    harness_fini(&harness);
}

/* Partition 0 has ended so many calls between those that are under way that its ledger is long, and
 * one more, of offset 2, may start. */
static void get_too_long(struct harness *harness, int partitions)
{
    enum { CALLS = 240 };
    struct engine_options given = options();
    char id[16];
    given.slots = CALLS;
    harness_init(harness, &given);
    assign(harness, 0, partitions);
    for (int i = 0; i < CALLS; i++) {
        snprintf(id, sizeof id, "o-%d", i == 2 ? 1 : i);
        arrive(harness, 0, i, id);
    }
    ask_until(harness, harness->now + 1000, 4000);
    while (step(harness) != ENGINE_NOTHING)
        ;
    for (int i = 0; i < CALLS; i++)
        if (i % 3 == 1 || i % 5 == 1)
            finish(harness, i, STATUS_SUCCEEDED);
    harness->now += 100; /* behind the pace of transactions */
}

/* The broker says so, and halves what is known of its limit. */
static void refuse_its_length(struct harness *harness)
{
    expect(harness, ENGINE_TRANSACT);
    assert_int_equal(harness->action.ledger_count, 1);
    engine_broker_says(harness->engine, "metadata too large", true);
    engine_transacted(harness->engine, TXN_OFFSETS_REFUSED, NULL, harness->now);
    expect(harness, ENGINE_NOTHING);
    harness->now += 100;
}

/* How far marks may reach counts from the first request that is left: what was deleted before it
 * holds no room. */
static void test_a_short_limit_counts_from_what_is_left(void **state)
{
    (void)state;
    enum { SPAN = 200, CALLS = 40 };
    struct harness harness;
    struct engine_options given = options();
    char marks[SPAN + 1], id[16];
    given.slots = CALLS;
    memset(marks, 'd', SPAN);
    marks[0] = 'f';
    marks[SPAN] = '\0';
    harness_init(&harness, &given);
    preset(&harness, 0, 0, 1, "", marks);
    assign(&harness, 0, 2);
    for (int i = 0; i < CALLS; i++) {
        snprintf(id, sizeof id, "o-%d", i);
        arrive(&harness, 1, 7 * i + i % 3, id);
    }
    refuse_its_length(&harness);
    expect(&harness, ENGINE_TRANSACT);
    arrive(&harness, 0, SPAN, "o-1"); /* the first one is deleted */
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    while (step(&harness) == ENGINE_START)
        ;
    assert_int_equal(harness.action.type, ENGINE_TRANSACT);
    land(&harness);
    assert_int_equal(mark(&harness, 0, SPAN), LEDGER_STARTED);
    harness_fini(&harness);
}

/* Its drain is over with that, and is not waited for any more. */
static void test_a_ledger_that_is_too_long_ends_an_overdue_drain(void **state)
{
    (void)state;
    struct harness harness;
    get_too_long(&harness, 1);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    harness.now += 15000;
    refuse_its_length(&harness);
    expect(&harness, ENGINE_COMMIT);
    harness_fini(&harness);
}

/* What it would have started, another partition may start at once. */
static void test_a_ledger_that_is_too_long_leaves_its_slots_to_others(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_stats view;
    get_too_long(&harness, 2);
    refuse_its_length(&harness);
    arrive(&harness, 1, 0, "p-0");
    engine_get_stats(harness.engine, &view);
    engine_set_call_limit(harness.engine, (int64_t)view.handed + 1);
    expect(&harness, ENGINE_TRANSACT);
    assert_int_equal(harness.action.ledgers[0].partition, 1);
    harness_fini(&harness);
}

/* More than one commit takes. */
static void test_claims_and_releases_are_split(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    give(&harness, 0, 4);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 4);
    engine_committed(harness.engine, GROUP_REFUSED, harness.now);
    for (int i = 0; i < 2; i++) {
        expect(&harness, ENGINE_COMMIT);
        assert_int_equal(harness.action.ledger_count, 2);
        land(&harness);
        engine_committed(harness.engine, GROUP_DONE, harness.now);
    }
    expect(&harness, ENGINE_ASSIGN);
    for (int partition = 0; partition < 4; partition++) {
        assert_owner(&harness, partition, "me");
        assert_int_not_equal(engine_wants(harness.engine, partition), 0);
    }
    take(&harness, 0, 4, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_RECALL);
    while (step(&harness) == ENGINE_COMMIT) {
        assert_in_range(harness.action.ledger_count, 1, 3);
        land(&harness);
        engine_committed(harness.engine, GROUP_DONE, harness.now);
    }
    assert_int_equal(harness.action.type, ENGINE_UNASSIGN);
    for (int partition = 0; partition < 4; partition++)
        assert_owner(&harness, partition, "");
    harness_fini(&harness);
}

static void test_a_claim_that_is_refused_alone_halts_its_partition(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    give(&harness, 0, 2);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    engine_broker_says(harness.engine, "too large", true);
    engine_committed(harness.engine, GROUP_REFUSED, harness.now);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 1);
    int32_t refused = harness.action.ledgers[0].partition;
    engine_committed(harness.engine, GROUP_REFUSED, harness.now);
    for (int i = 1; i < 10; i++) { /* it might pass */
        harness.now = engine_wake_time(harness.engine);
        expect(&harness, ENGINE_COMMIT);
        assert_int_equal(harness.action.ledgers[0].partition, refused);
        engine_committed(harness.engine, GROUP_REFUSED, harness.now);
    }
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledgers[0].partition, 1 - refused);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_true(view_of(&harness, refused).halted);
    assert_false(view_of(&harness, refused).needs_repair); /* its marks are worth keeping */
    assert_int_not_equal(engine_wants(harness.engine, 1 - refused), 0);
    harness_fini(&harness);
}

/* It is asked for again by a new assignment of it alone, of which one refusal is enough. */
static void test_a_refused_claim_is_made_again(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    give(&harness, 0, 1);
    read_ledgers(&harness);
    for (int i = 0; i < 10; i++) {
        harness.now = i ? engine_wake_time(harness.engine) : harness.now;
        expect(&harness, ENGINE_COMMIT);
        engine_broker_says(harness.engine, "too large", true);
        engine_committed(harness.engine, GROUP_REFUSED, harness.now);
    }
    expect(&harness, ENGINE_ASSIGN);
    assert_true(view_of(&harness, 0).unclaimed);
    for (int taken = 0; taken < 2; taken++) {
        take(&harness, 0, 1, true);
        give(&harness, 0, 1);
        assert_true(view_of(&harness, 0).halted); /* until it is claimed */
        expect(&harness, ENGINE_UNASSIGN);
        read_ledgers(&harness);
        expect(&harness, ENGINE_COMMIT);
        if (taken)
            land(&harness);
        engine_committed(harness.engine, taken ? GROUP_DONE : GROUP_REFUSED, harness.now);
        expect(&harness, ENGINE_ASSIGN);
        assert_int_equal(view_of(&harness, 0).halted, !taken);
        assert_int_equal(view_of(&harness, 0).unclaimed, !taken);
    }
    assert_true(view_of(&harness, 0).active);
    assert_null(view_of(&harness, 0).halt_reason);
    harness_fini(&harness);
}

static void lose_offset(struct harness *harness, enum offset_loss loss)
{
    expect(harness, ENGINE_READ);
    assert_false(harness->action.stable);
    struct stored_ledger none = {.offset = -1, .metadata = ""};
    engine_ledgers_read(harness->engine, GROUP_DONE, &none, 1, harness->now);
    expect(harness, ENGINE_READ);
    assert_true(harness->action.stable);
    none.loss = loss;
    engine_ledgers_read(harness->engine, GROUP_DONE, &none, 1, harness->now);
}

/* A partition that its topic does not have is neither claimed nor read; the other one is. */
static void test_absent_partition(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    give(&harness, 0, 2);
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    expect(&harness, ENGINE_READ);
    struct stored_ledger none[2] = {{.partition = 0, .offset = -1, .metadata = ""},
                                    {.partition = 1, .offset = -1, .metadata = "", .absent = true}};
    engine_ledgers_read(harness.engine, GROUP_DONE, none, 2, harness.now);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 1);
    assert_int_equal(harness.action.ledgers[0].partition, 0);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(harness.action.position_count, 1);
    assert_int_equal(harness.action.positions[0].partition, 0);
    take(&harness, 0, 2, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 1);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* The brokers have lost what was committed: it is committed again from memory, with its marks. */
static void test_what_was_committed_is_gone(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    take(&harness, 0, 1, true);
    give(&harness, 0, 1);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_UNASSIGN);
    lose_offset(&harness, OFFSET_LOST);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    assert_int_equal(harness.base[0], 1);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_STARTED);
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(harness.action.positions[0].offset, 2);
    finish(&harness, 1, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:1:succeeded ");
    harness_fini(&harness);
}

/* From the oldest request on, calls would be made twice: a person decides. */
static void test_what_was_committed_is_gone_and_not_known(void **state)
{
    (void)state;
    for (int unclear = 0; unclear < 2; unclear++) {
        struct harness harness;
        ready(&harness);
        if (!unclear)
            engine_log_changed(harness.engine, 0); /* nothing is remembered then */
        take(&harness, 0, 1, true);
        give(&harness, 0, 1);
        expect(&harness, ENGINE_UNASSIGN);
        lose_offset(&harness, unclear ? OFFSET_LOSS_UNCLEAR : OFFSET_LOST);
        expect(&harness, ENGINE_COMMIT);
        land(&harness);
        assert_string_equal(harness.metadata[0], LEDGER_HALT);
        assert_int_equal(harness.base[0], 0);
        engine_committed(harness.engine, GROUP_DONE, harness.now);
        expect(&harness, ENGINE_ASSIGN);
        expect(&harness, ENGINE_NOTHING);
        assert_true(view_of(&harness, 0).halted);
        assert_true(view_of(&harness, 0).needs_repair);
        harness_fini(&harness);
    }
}

static void halted_as_its_offset_is_gone(struct harness *harness)
{
    ready(harness);
    take(harness, 0, 1, true);
    give(harness, 0, 1);
    expect(harness, ENGINE_UNASSIGN);
    lose_offset(harness, OFFSET_LOSS_UNCLEAR);
}

static void halted_unsaid(struct harness *harness)
{
    halted_as_its_offset_is_gone(harness);
    expect(harness, ENGINE_COMMIT);
    engine_committed(harness->engine, GROUP_RETRY, harness->now);
    expect(harness, ENGINE_NOTHING);
}

/* Whoever gets the partition next is to know that it is halted: it is said before it is let go. */
static void test_a_halt_is_committed_before_the_partition_is_let_go(void **state)
{
    (void)state;
    for (int stops = 0; stops < 2; stops++) {
        struct harness harness;
        halted_unsaid(&harness);
        if (stops)
            engine_stop(harness.engine, harness.now);
        else
            take(&harness, 0, 1, false);
        harness.now = engine_wake_time(harness.engine);
        if (stops) {
            expect(&harness, ENGINE_RECALL);
            harness.now += 1000;
        }
        expect(&harness, ENGINE_COMMIT);
        land(&harness);
        assert_string_equal(harness.metadata[0], LEDGER_HALT);
        engine_committed(harness.engine, GROUP_DONE, harness.now);
        if (stops)
            expect(&harness, ENGINE_ASSIGN);
        expect(&harness, stops ? ENGINE_LEAVE : ENGINE_UNASSIGN);
        harness_fini(&harness);
    }
}

/* Told that it is no member, the process still owes it: if the partition stays its own it says so
 * with the next assignment, else whoever gets it next would begin at the oldest request. */
static void test_a_halt_that_no_member_could_say(void **state)
{
    (void)state;
    struct harness harness;
    halted_as_its_offset_is_gone(&harness);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_NOT_MEMBER, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    expect(&harness, ENGINE_NOTHING);
    give(&harness, 1, 1);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 2);
    land(&harness);
    assert_string_equal(harness.metadata[0], LEDGER_HALT);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    take(&harness, 0, 1, false); /* it is said once */
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* Lost, it owes nothing any more: a person may have mended the ledger before it comes back. */
static void test_a_halt_that_is_lost_is_not_said(void **state)
{
    (void)state;
    struct harness harness;
    halted_as_its_offset_is_gone(&harness);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_NOT_MEMBER, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    preset(&harness, 0, 5, 3, "", "");
    assign(&harness, 0, 1);
    assert_int_equal(harness.action.positions[0].offset, 5);
    assert_owner(&harness, 0, "me");
    assert_false(view_of(&harness, 0).needs_repair);
    harness_fini(&harness);
}

/* The next one, in this process or another. */
static void test_a_committed_halt_halts(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    harness.metadata[0] = memory_string(LEDGER_HALT);
    harness.base[0] = 0;
    give(&harness, 0, 1);
    read_ledgers(&harness);
    expect(&harness, ENGINE_ASSIGN);
    expect(&harness, ENGINE_NOTHING);
    assert_true(view_of(&harness, 0).needs_repair);
    assert_non_null(strstr(view_of(&harness, 0).halt_reason, "found the committed offset gone"));
    harness_fini(&harness);
}

/* Refused, it is not asked for without end; the next assignment begins anew. */
static void test_a_halt_that_is_refused(void **state)
{
    (void)state;
    struct harness harness;
    halted_as_its_offset_is_gone(&harness);
    for (int times = 0; times < 10; times++) {
        expect(&harness, ENGINE_COMMIT);
        engine_committed(harness.engine, GROUP_REFUSED, harness.now);
        harness.now += 1000;
    }
    expect(&harness, ENGINE_ASSIGN);
    assert_true(view_of(&harness, 0).needs_repair);
    assert_non_null(strstr(view_of(&harness, 0).halt_reason, "its committed offset is gone"));
    harness_fini(&harness);
}

/* One call ended and one chosen in a transaction of unknown end. */
static void unclear(struct harness *harness, enum txn_outcome outcome)
{
    ready(harness);
    arrive(harness, 0, 0, "o-1");
    commit_tick(harness);
    expect(harness, ENGINE_START);
    arrive(harness, 0, 1, "o-2");
    finish(harness, 0, STATUS_SUCCEEDED);
    expect(harness, ENGINE_TRANSACT);
    struct engine_action action = harness->action;
    engine_transacted(harness->engine, outcome, NULL, harness->now);
    expect(harness, ENGINE_RENEW_PRODUCER);
    expect(harness, ENGINE_NOTHING);
    harness->action = action;
}

static void read_back(struct harness *harness)
{
    engine_producer_ready(harness->engine, harness->now);
    expect(harness, ENGINE_READ);
    assert_true(harness->action.stable);
    answer_read(harness);
}

static void test_unknown_that_landed(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_UNKNOWN);
    land(&harness);
    assert_published(&harness, "result:0:succeeded ");
    read_back(&harness);
    commit_tick(&harness); /* what it had started is un-started: its lease is over */
    assert_published(&harness, "");
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->position.offset, 1);
    harness_fini(&harness);
}

static void test_unknown_that_did_not_land(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_UNKNOWN);
    engine_producer_ready(harness.engine, harness.now);
    expect(&harness, ENGINE_READ);
    engine_ledgers_read(harness.engine, GROUP_RETRY, NULL, 0, harness.now);
    expect(&harness, ENGINE_NOTHING);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

static void test_unknown_and_taken_by_another(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_FENCED);
    preset(&harness, 0, 1, 9, "other", "");
    read_back(&harness);
    assert_false(view_of(&harness, 0).active);
    commit_tick(&harness); /* what ended is worth a dead letter */
    assert_published(&harness, "late:0:succeeded ");
    expect(&harness, ENGINE_NOTHING);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* Nothing is left to be read back: what ended goes to the dead letters at once, not at the next
 * occasion. */
static void test_unknown_and_lost(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_UNKNOWN);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    give(&harness, 0, 0);
    expect(&harness, ENGINE_ASSIGN);
    engine_producer_ready(harness.engine, harness.now);
    commit_tick(&harness);
    assert_published(&harness, "late:0:succeeded ");
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* A result that was refused in every form, and is in a transaction again when its partition is
 * lost, is a late outcome that the dead letters have not been asked to take. */
static void test_a_refused_result_becomes_a_late_outcome(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_TRANSACT);
    engine_transacted(harness.engine, TXN_REFUSED, (enum record_refusal[]){REFUSED_AS_IS},
                      harness.now);
    harness.now += 60000;
    expect(&harness, ENGINE_TRANSACT);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    give(&harness, 0, 0);
    expect(&harness, ENGINE_ASSIGN);
    engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
    harness.now += 1000;
    commit_tick(&harness);
    assert_published(&harness, "late:0:succeeded ");
    harness_fini(&harness);
}

/* The dead letters refuse a late outcome. */
static void refuse_late(struct harness *harness)
{
    expect(harness, ENGINE_TRANSACT);
    assert_int_equal(harness->action.items[0].type, ITEM_LATE);
    engine_transacted(harness->engine, TXN_REFUSED, (enum record_refusal[]){REFUSED_AS_IS},
                      harness->now);
}

/* Who stops has little time, and what was refused may be taken by now. */
static void test_a_stop_asks_often_for_late_outcomes(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_UNKNOWN);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    give(&harness, 0, 0);
    expect(&harness, ENGINE_ASSIGN);
    engine_producer_ready(harness.engine, harness.now);
    for (int i = 0; i < 8; i++) {
        refuse_late(&harness);
        harness.now += 30000;
    }
    refuse_late(&harness);
    const struct request *late = engine_next_late(harness.engine, NULL);
    assert_int_equal(late->position.offset, 0);
    assert_null(engine_next_late(harness.engine, late));
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    for (int i = 0; i < 3; i++) {
        harness.now += 999;
        expect(&harness, ENGINE_NOTHING);
        assert_int_equal(engine_wake_time(harness.engine), harness.now + 1);
        harness.now++;
        if (i < 2)
            refuse_late(&harness);
    }
    commit_tick(&harness);
    assert_published(&harness, "late:0:succeeded ");
    expect(&harness, ENGINE_LEAVE);
    harness_fini(&harness);
}

/* Gets fenced once, by a transaction that takes so long, and settles unless it takes that for a
 * duplicate instance's work. */
static void fence_after(struct harness *harness, int64_t offset, int64_t ms)
{
    arrive(harness, 0, offset, NULL);
    expect(harness, ENGINE_TRANSACT);
    harness->now += ms;
    engine_transacted(harness->engine, TXN_FENCED, NULL, harness->now);
    if (step(harness) == ENGINE_READ) {
        /* Suspecting a duplicate instance it reads back first, so as not to fence it in turn when
         * it ends. */
        answer_read(harness);
        if (step(harness) == ENGINE_FAIL)
            return;
        assert_int_equal(harness->action.type, ENGINE_RENEW_PRODUCER);
        engine_producer_ready(harness->engine, harness->now);
    } else {
        assert_int_equal(harness->action.type, ENGINE_RENEW_PRODUCER);
        read_back(harness);
    }
    expect(harness, ENGINE_TRANSACT);
    land(harness);
    engine_transacted(harness->engine, TXN_COMMITTED, NULL, harness->now);
}

static void fence(struct harness *harness, int64_t offset)
{
    fence_after(harness, offset, 0);
}

/* A transaction as it should be: the producer is not fenced. */
static void work(struct harness *harness, int64_t offset)
{
    arrive(harness, 0, offset, NULL);
    expect(harness, ENGINE_TRANSACT);
    land(harness);
    engine_transacted(harness->engine, TXN_COMMITTED, NULL, harness->now);
}

static void test_fenced_by_a_twin(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    harness.now += 200000; /* past its start */
    work(&harness, 0);
    fence(&harness, 1);
    harness.now += 60000;
    work(&harness, 2);
    fence(&harness, 3);
    expect(&harness, ENGINE_NOTHING);
    harness.now += 59999;
    fence(&harness, 4);
    expect(&harness, ENGINE_FAIL);
    harness_fini(&harness);
}

/* That it was fenced, a process learns when it next has something to commit: that may be long ago,
 * and is then not the second time within a minute. */
static void test_fenced_long_ago(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    harness.now += 200000;
    work(&harness, 0);
    harness.now += 60000;
    fence(&harness, 1);
    fence(&harness, 2);
    expect(&harness, ENGINE_NOTHING);
    fence(&harness, 3);
    expect(&harness, ENGINE_FAIL);
    harness_fini(&harness);
}

static void test_fenced_after_a_freeze(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    harness.now += 200000;
    engine_frozen(harness.engine, harness.now);
    for (int i = 0; i < 5; i++)
        fence(&harness, i);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* A transaction that outlasts the session: the broker ends it for its own time-out, or who takes
 * over does, who may not have claimed anything yet. */
static void test_fenced_after_a_session(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    ready(&harness);
    harness.now += 200000;
    for (int i = 0; i < 3; i++)
        fence_after(&harness, i, 2 * given.lease_ms);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* Who took over a partition, untold yet, fences as well. */
static void test_fenced_by_who_took_over(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    harness.now += 200000;
    arrive(&harness, 1, 0, NULL);
    expect(&harness, ENGINE_TRANSACT);
    engine_transacted(harness.engine, TXN_FENCED, NULL, harness.now);
    expect(&harness, ENGINE_RENEW_PRODUCER);
    preset(&harness, 1, 0, 9, "other", "");
    read_back(&harness);
    fence(&harness, 0);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

static void test_fenced_twice_by_who_took_over(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    harness.now += 200000;
    work(&harness, 0);
    fence(&harness, 1);
    arrive(&harness, 1, 0, NULL);
    expect(&harness, ENGINE_TRANSACT);
    engine_transacted(harness.engine, TXN_FENCED, NULL, harness.now);
    preset(&harness, 1, 0, 9, "other", "");
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    expect(&harness, ENGINE_RENEW_PRODUCER);
    engine_producer_ready(harness.engine, harness.now);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* A partition that its topic does not have is reported as lost and as assigned again, whenever it
 * is asked for. */
static void test_fenced_while_one_is_absent(void **state)
{
    (void)state;
    struct harness harness;
    struct stored_ledger none = {.partition = 1, .offset = -1, .metadata = "", .absent = true};
    ready(&harness);
    harness.now += 200000;
    work(&harness, 0);
    fence(&harness, 1);
    take(&harness, 1, 1, true);
    give(&harness, 1, 1);
    expect(&harness, ENGINE_UNASSIGN);
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    expect(&harness, ENGINE_READ);
    engine_ledgers_read(harness.engine, GROUP_DONE, &none, 1, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    fence(&harness, 2);
    expect(&harness, ENGINE_FAIL);
    harness_fini(&harness);
}

/* Those who take over what a dead process of this name had fence the new one, once each. */
static void test_fenced_when_young(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    for (int i = 0; i < 8; i++)
        fence(&harness, i);
    harness.now += 5000;
    fence(&harness, 8);
    fence(&harness, 9);
    expect(&harness, ENGINE_NOTHING);
    fence(&harness, 10);
    fence(&harness, 11);
    expect(&harness, ENGINE_FAIL);
    harness_fini(&harness);
}

static void test_revocation_drains(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-1");
    arrive(&harness, 0, 2, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_START);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    unsent(&harness, 2, 0);
    commit_tick(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    assert_owner(&harness, 0, "");
    assert_int_equal(harness.base[0], 1);
    assert_int_equal(mark(&harness, 0, 2), LEDGER_FRESH);
    expect(&harness, ENGINE_NOTHING);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    assert_int_equal(harness.action.rebalance, harness.rebalance);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

static void test_drain_outlived(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    assert_null(engine_take_orphan(harness.engine));
    outlive_drain(&harness);
    assert_ptr_equal(engine_take_orphan(harness.engine), lent(&harness, 0));
    assert_null(engine_take_orphan(harness.engine));
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "late:0:succeeded ");
    harness_fini(&harness);
}

static void test_orphans_of_a_stop_given_up(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    arrive(&harness, 0, 1, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    engine_stop(harness.engine, harness.now);
    engine_give_up(harness.engine);
    finish(&harness, 0, STATUS_SUCCEEDED); /* it comes back before anybody asks */
    assert_ptr_equal(engine_take_orphan(harness.engine), lent(&harness, 1));
    assert_null(engine_take_orphan(harness.engine));
    harness_fini(&harness);
}

static struct ledger committed_ledger(const struct harness *harness)
{
    struct ledger ledger = {0};
    struct error error;
    assert_int_equal(ledger_decode(&ledger, harness->base[0], harness->metadata[0],
                                   strlen(harness->metadata[0]), &error),
                     0);
    return ledger;
}

/* Two calls end in doubt, which is published. */
static void publish_two_doubts(struct harness *harness, size_t named)
{
    struct engine_options given = options();
    given.doubts = named;
    harness_init(harness, &given);
    assign(harness, 0, 1);
    for (int i = 0; i < 4; i++)
        arrive(harness, 0, i, i % 2 ? "o-1" : "o-0");
    commit_tick(harness);
    for (int i = 0; i < 2; i++) {
        expect(harness, ENGINE_START);
        finish(harness, i, STATUS_UNKNOWN);
    }
    commit_tick(harness);
    assert_published(harness, "result:0:unknown result:1:unknown ");
}

/* Of a doubt that has been published and is not named the next owner knows only that there is one:
 * it would let all lanes wait. */
static void test_doubt_without_a_name_ends_before_a_hand_over(void **state)
{
    (void)state;
    struct harness harness;
    publish_two_doubts(&harness, 1);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness.engine), harness.now + 10000);
    harness.now += 10000;
    expect(&harness, ENGINE_COMMIT);
    harness_fini(&harness);
}

static void test_doubts_go_with_a_hand_over(void **state)
{
    (void)state;
    struct harness harness;
    publish_two_doubts(&harness, 2);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    struct ledger ledger = committed_ledger(&harness);
    assert_false(ledger.doubt);
    assert_int_equal(ledger.doubt_count, 2);
    assert_int_equal(ledger.doubts[0], ledger_name("o-0"));
    assert_int_equal(ledger.doubts[1], ledger_name("o-1"));
    ledger_fini(&ledger);
    harness_fini(&harness);
}

static void die_and_start_again(struct harness *harness, size_t named)
{
    struct engine_options given = options();
    given.doubts = named;
    engine_free(harness->engine);
    harness->engine = engine_new(&given);
    harness->now += 1000;
    engine_producer_ready(harness->engine, harness->now);
    assign(harness, 0, 1);
}

/* Now those from offset 2 on are called, and no doubt is left. */
static void call_until(struct harness *harness, int end)
{
    commit_tick(harness);
    for (int i = 2; i < end; i++)
        expect(harness, ENGINE_START);
    for (int i = 2; i < end; i++)
        finish(harness, i, STATUS_SUCCEEDED);
    commit_tick(harness);
    struct ledger ledger = committed_ledger(harness);
    assert_false(ledger.doubt);
    assert_int_equal(ledger.doubt_count, 0);
    ledger_fini(&ledger);
    harness_fini(harness);
}

/* `unknown` is published, the process dies at once and is started again before the call can be
 * over: nothing of that order id is called before, and all others are. */
static void test_doubts_outlive_their_process(void **state)
{
    (void)state;
    struct harness harness;
    publish_two_doubts(&harness, 0);
    for (int life = 0; life < 2; life++) /* the first dies after its claim */
        die_and_start_again(&harness, 0);
    int64_t claimed = harness.now;
    arrive(&harness, 0, 2, "o-0");
    arrive(&harness, 0, 3, "o-1");
    arrive(&harness, 0, 4, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    finish(&harness, 4, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:4:succeeded ");
    expect(&harness, ENGINE_NOTHING);
    harness.now = claimed + 9999;
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness.engine), claimed + 10000);
    harness.now = claimed + 10000;
    call_until(&harness, 4);
}

/* More of them than have a name: nothing of that partition is called before. */
static void test_doubts_without_a_name_outlive_their_process(void **state)
{
    (void)state;
    struct harness harness;
    publish_two_doubts(&harness, 1);
    die_and_start_again(&harness, 1);
    int64_t claimed = harness.now;
    arrive(&harness, 0, 2, "o-0");
    arrive(&harness, 0, 3, "o-1");
    arrive(&harness, 0, 4, "o-2");
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness.engine), claimed + 10000);
    harness.now = claimed + 10000;
    call_until(&harness, 5);
}

/* Three calls that are handed out, and the partition is lost: the first is answered meanwhile, the
 * third comes back unsent. */
static void lose_three(struct harness *harness)
{
    ready(harness);
    for (int i = 0; i < 3; i++)
        arrive(harness, 0, i, (char[]){'o', (char)('0' + i), 0});
    commit_tick(harness);
    for (int i = 0; i < 3; i++)
        expect(harness, ENGINE_START);
    take(harness, 0, 1, true);
    expect(harness, ENGINE_RECALL);
    expect(harness, ENGINE_UNASSIGN);
    finish(harness, 0, STATUS_SUCCEEDED);
    unsent(harness, 2, 0);
    expect(harness, ENGINE_NOTHING);
    assert_null(engine_take_orphan(harness->engine));
}

/* Nobody else has had it: what is known is told, and what was not sent is started anew. */
static void test_lost_and_back(void **state)
{
    (void)state;
    struct harness harness;
    lose_three(&harness);
    assign(&harness, 0, 1);
    assert_int_equal(harness.action.positions[0].offset, 3);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    assert_int_equal(mark(&harness, 0, 1), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 2), LEDGER_FRESH);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 2), LEDGER_STARTED);
    expect(&harness, ENGINE_START);
    finish(&harness, 1, STATUS_SUCCEEDED);
    finish(&harness, 2, STATUS_REFUSED);
    commit_tick(&harness);
    assert_published(&harness, "result:1:succeeded result:2:refused ");
    assert_int_equal(harness.base[0], 3);
    harness_fini(&harness);
}

/* Two calls that are handed out, and the partition is lost by this process's own clock. */
static void lose_by_clock(struct harness *harness)
{
    struct record_position position = {.offset = -1};
    ready(harness);
    arrive(harness, 0, 0, "a");
    arrive(harness, 0, 1, "b");
    commit_tick(harness);
    expect(harness, ENGINE_START);
    expect(harness, ENGINE_START);
    arrive(harness, 0, 2, "c");
    engine_revoked(harness->engine, ++harness->rebalance, PARTITIONS_LOST, &position, 1,
                   harness->now);
    expect(harness, ENGINE_RECALL);
    expect(harness, ENGINE_NOTHING);
}

/* What is outstanding ends and is told before the answer; nothing new is started. */
static void test_lost_and_handed_over(void **state)
{
    (void)state;
    struct harness harness;
    lose_by_clock(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    assert_owner(&harness, 0, "me");
    expect(&harness, ENGINE_NOTHING);
    unsent(&harness, 1, 0);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    assert_int_equal(mark(&harness, 0, 2), LEDGER_FRESH);
    expect(&harness, ENGINE_UNASSIGN);
    expect(&harness, ENGINE_NOTHING);
    assign(&harness, 0, 1);
    assert_int_equal(harness.action.positions[0].offset, 3); /* it goes on from memory */
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

/* The group has removed this member: that is asked for at once, not when the calls have ended. */
static void test_lost_and_refused(void **state)
{
    (void)state;
    struct harness harness;
    lose_by_clock(&harness);
    harness.now += 100;
    expect(&harness, ENGINE_TRANSACT);
    assert_int_equal(harness.action.ledger_count, 1);
    assert_int_equal(harness.action.item_count, 0);
    engine_transacted(harness.engine, TXN_NOT_MEMBER, NULL, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_UNASSIGN);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* As long as no broker answers, nothing is lost by waiting; then calls have the time of a drain. */
static void test_lost_and_waited_for(void **state)
{
    (void)state;
    struct harness harness;
    lose_by_clock(&harness);
    harness.now += 100;
    expect(&harness, ENGINE_TRANSACT);
    harness.now += 10 * options().drain_ms;
    expect(&harness, ENGINE_NOTHING);
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness.engine), harness.now + options().drain_ms);
    harness.now += options().drain_ms - 1;
    expect(&harness, ENGINE_NOTHING);
    harness.now++;
    expect(&harness, ENGINE_RECALL); /* what is not sent by then must not be, before it is let go */
    expect(&harness, ENGINE_UNASSIGN);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* Its drain is over when it is lost, and the answer waits for the release of another: what there is
 * to do is done at once, as nothing would wake the engine for it. */
static void test_lost_after_its_drain(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    const struct record_position positions[] = {{.partition = 0, .offset = -1},
                                                {.partition = 1, .offset = -1}};
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    arrive(&harness, 0, 0, "a");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    take(&harness, 1, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledgers[0].partition, 1);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_NOTHING);
    harness.now += options().drain_ms;
    engine_revoked(harness.engine, ++harness.rebalance, PARTITIONS_LOST, positions, 2, harness.now);
    while (step(&harness) == ENGINE_RECALL)
        ;
    assert_int_equal(harness.action.type, ENGINE_NOTHING);
    expect(&harness, ENGINE_NOTHING);
    engine_committed(harness.engine, GROUP_NOT_MEMBER, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* Its release is on its way when it is lost, and finds no member any more: if nobody else has had
 * the partition, what came back unsent meanwhile is not in doubt, and is started anew. */
static void test_lost_during_its_release(void **state)
{
    (void)state;
    struct harness harness;
    struct record_position position = {.offset = -1};
    ready(&harness);
    arrive(&harness, 0, 0, "a");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    harness.now += options().drain_ms;
    expect(&harness, ENGINE_COMMIT);
    unsent(&harness, 0, 0);
    engine_revoked(harness.engine, ++harness.rebalance, PARTITIONS_LOST, &position, 1, harness.now);
    expect(&harness, ENGINE_NOTHING);
    engine_committed(harness.engine, GROUP_NOT_MEMBER, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    assign(&harness, 0, 1);
    assert_int_equal(harness.action.positions[0].offset, 1); /* it goes on from memory */
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_FRESH);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_STARTED);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

/* Another rebalance overtakes its revocation, and gives it back: if nobody else has had it, its
 * answer, which came during the drain or after it, is published. */
static void test_overtaken_during_its_drain(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct harness harness;
        ready_with_a_call(&harness);
        take(&harness, 0, 1, false);
        expect(&harness, ENGINE_RECALL);
        if (!late)
            finish(&harness, 0, STATUS_SUCCEEDED);
        take(&harness, 0, 1, true);
        give(&harness, 0, 1);
        if (late)
            finish(&harness, 0, STATUS_SUCCEEDED);
        engine_next(harness.engine, harness.now, WALL + harness.now, &harness.action);
        while (harness.action.type == ENGINE_RECALL || harness.action.type == ENGINE_UNASSIGN)
            engine_next(harness.engine, harness.now, WALL + harness.now, &harness.action);
        assert_int_equal(harness.action.type, ENGINE_READ);
        answer_read(&harness);
        expect(&harness, ENGINE_READ);
        answer_read(&harness);
        expect(&harness, ENGINE_COMMIT);
        land(&harness);
        engine_committed(harness.engine, GROUP_DONE, harness.now);
        expect(&harness, ENGINE_ASSIGN);
        assert_int_equal(harness.action.positions[0].offset, 1); /* it goes on from memory */
        commit_tick(&harness);
        assert_published(&harness, "result:0:succeeded ");
        harness_fini(&harness);
    }
}

/* How long a release that fails is repeated counts from its own first failure. */
static void test_a_release_is_repeated_after_another_that_was_lost(void **state)
{
    (void)state;
    struct harness harness;
    struct record_position position = {.offset = -1};
    ready(&harness);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_RETRY, harness.now);
    engine_revoked(harness.engine, ++harness.rebalance, PARTITIONS_LOST, &position, 1, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    harness.now += 1000;
    assign(&harness, 0, 1);
    harness.now += 3600000;
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_RETRY, harness.now);
    harness.now += 1000;
    expect(&harness, ENGINE_COMMIT);
    harness_fini(&harness);
}

/* A transaction that was asked for under an older membership says nothing of this one. */
static void test_lost_during_an_older_transaction(void **state)
{
    (void)state;
    struct harness harness;
    struct record_position position = {.offset = -1};
    ready_with_a_call(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_TRANSACT);
    harness.now++;
    engine_revoked(harness.engine, ++harness.rebalance, PARTITIONS_LOST, &position, 1, harness.now);
    expect(&harness, ENGINE_NOTHING);
    engine_transacted(harness.engine, TXN_NOT_MEMBER, NULL, harness.now);
    harness.now += 1000;
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* A stop keeps its own limit. */
static void test_lost_and_stopped(void **state)
{
    (void)state;
    struct harness harness;
    lose_by_clock(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_TRANSACT);
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    harness.now += options().drain_ms;
    expect(&harness, ENGINE_NOTHING);
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_UNASSIGN);
    expect(&harness, ENGINE_LEAVE);
    harness_fini(&harness);
}

/* ... the group has removed this member, and a stop follows. */
static void stop_while_away(struct harness *harness)
{
    lose_by_clock(harness);
    harness->now += 100;
    expect(harness, ENGINE_TRANSACT);
    engine_transacted(harness->engine, TXN_NOT_MEMBER, NULL, harness->now);
    expect(harness, ENGINE_RECALL);
    expect(harness, ENGINE_UNASSIGN);
    harness->now += 1000;
    engine_stop(harness->engine, harness->now);
    expect(harness, ENGINE_RECALL);
    expect(harness, ENGINE_NOTHING);
}

/* What comes back to a worker that stops, as nobody else had it, is claimed, told and released;
 * what had not been its own is left alone. */
static void test_away_and_stopped(void **state)
{
    (void)state;
    struct harness harness;
    stop_while_away(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_NOTHING);
    give(&harness, 0, 2);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 1);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(harness.action.position_count, 2);
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_wake_time(harness.engine), harness.now + options().drain_ms);
    unsent(&harness, 1, 0);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    assert_owner(&harness, 0, "");
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_LEAVE);
    harness_fini(&harness);
}

/* The same in the other order: it stops, and learns then that the group has removed it. */
static void test_stopped_and_then_away(void **state)
{
    (void)state;
    struct harness harness;
    lose_by_clock(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    harness.now += 100;
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_TRANSACT);
    engine_transacted(harness.engine, TXN_NOT_MEMBER, NULL, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_UNASSIGN);
    expect(&harness, ENGINE_NOTHING);
    harness.now += 1000;
    assign(&harness, 0, 1);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    unsent(&harness, 1, 0);
    commit_tick(&harness);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_LEAVE);
    harness_fini(&harness);
}

/* The stop comes while what has come back is being read. */
static void test_stopped_while_it_comes_back(void **state)
{
    (void)state;
    struct harness harness;
    lose_three(&harness);
    give(&harness, 0, 2);
    expect(&harness, ENGINE_READ);
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_NOTHING);
    answer_read(&harness);
    expect(&harness, ENGINE_READ);
    assert_int_equal(harness.action.position_count, 1);
    answer_read(&harness);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    commit_tick(&harness);
    assert_published(&harness, "result:0:succeeded ");
    assert_int_equal(mark(&harness, 0, 2), LEDGER_FRESH);
    harness_fini(&harness);
}

/* Another has had it, or it is another's now: what is known is a late outcome. */
static void test_away_and_stopped_and_not_back(void **state)
{
    (void)state;
    struct harness harness;
    for (int given = 0; given < 2; given++) {
        stop_while_away(&harness);
        finish(&harness, 0, STATUS_SUCCEEDED);
        if (given)
            preset(&harness, 0, 0, 9, "", "ss");
        give(&harness, given ? 0 : 1, 1);
        if (given)
            read_ledgers(&harness);
        expect(&harness, ENGINE_RECALL);
        expect(&harness, ENGINE_ASSIGN);
        commit_tick(&harness);
        assert_published(&harness, "late:0:succeeded ");
        expect(&harness, ENGINE_LEAVE);
        harness_fini(&harness);
    }
}

/* It waits for what may come back no longer than a drain, and not at all where nothing is started.
 */
static void test_away_and_stopped_in_vain(void **state)
{
    (void)state;
    struct harness harness;
    stop_while_away(&harness);
    assert_int_equal(engine_wake_time(harness.engine), harness.now + options().drain_ms);
    harness.now += options().drain_ms - 1;
    expect(&harness, ENGINE_NOTHING);
    harness.now++;
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_LEAVE);
    harness_fini(&harness);
    ready(&harness);
    arrive(&harness, 0, 0, "a");
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_LEAVE);
    harness_fini(&harness);
}

/* What it has begun to commit is read back before it goes on. */
static void test_lost_and_back_with_a_transaction_of_unknown_outcome(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_UNKNOWN);
    land(&harness);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    give(&harness, 0, 1);
    expect(&harness, ENGINE_NOTHING);
    read_back(&harness);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_published(&harness, "result:0:succeeded ");
    commit_tick(&harness); /* what it had started is handed back, */
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    commit_tick(&harness); /* and started anew */
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

/* So it is when ledgers are being read for an older assignment at that time: their answer is none
 * to the newer one's question. */
static void test_lost_and_back_while_an_older_assignment_is_read(void **state)
{
    (void)state;
    struct harness harness;
    unclear(&harness, TXN_UNKNOWN);
    give(&harness, 1, 1);
    expect(&harness, ENGINE_READ);
    take(&harness, 0, 2, true);
    expect(&harness, ENGINE_UNASSIGN);
    give(&harness, 0, 2);
    answer_read(&harness);
    expect(&harness, ENGINE_NOTHING);
    read_back(&harness);
    expect(&harness, ENGINE_READ);
    answer_read(&harness);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_STARTED); /* its result is not published */
    harness_fini(&harness);
}

/* Another process of its name has claimed it meanwhile: the sequence number says so. */
static void test_lost_and_back_after_another(void **state)
{
    (void)state;
    struct harness harness;
    lose_three(&harness);
    preset(&harness, 0, 0, 9, "me", "sss");
    give(&harness, 0, 1);
    read_ledgers(&harness);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(harness.action.positions[0].offset, 0);
    for (int i = 0; i < 3; i++)
        arrive(&harness, 0, i, (char[]){'o', (char)('0' + i), 0});
    commit_tick(&harness);
    assert_published(&harness,
                     "late:0:succeeded result:0:unknown result:1:unknown result:2:unknown ");
    assert_non_null(engine_take_orphan(harness.engine));
    finish(&harness, 1, STATUS_UNKNOWN);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

/* Its claim is on its way when it is lost once more: it lands, and is none of the next assignment,
 * before which another has had it. */
static void test_lost_and_back_and_lost_during_its_claim(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    take(&harness, 0, 1, true);
    give(&harness, 0, 1);
    expect(&harness, ENGINE_UNASSIGN);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    take(&harness, 0, 1, true);
    land(&harness);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    preset(&harness, 0, 1, 9, "", "s");
    give(&harness, 0, 1);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    land(&harness);
    assert_owner(&harness, 0, "me");
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(harness.action.positions[0].offset, 1);
    harness_fini(&harness);
}

/* The log is another one, or has lost its end: what was read of it is no news of what stands there,
 * though nobody else has had the partition. */
static void test_back_with_another_log(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    arrive(&harness, 0, 1, "o-1");
    engine_log_changed(harness.engine, 0);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_UNASSIGN);
    assign(&harness, 0, 1);
    assert_int_equal(harness.action.positions[0].offset, 0);
    assert_true(engine_is_news(harness.engine, 0, 1));
    arrive(&harness, 0, 0, "o-1");
    commit_tick(&harness);
    assert_published(&harness, "result:0:unknown ");
    assert_non_null(engine_take_orphan(harness.engine));
    finish(&harness, 0, STATUS_UNKNOWN);
    harness_fini(&harness);
}

/* It is assigned again at once: what was lent of the old log and is not sent must not be. */
static void test_at_once_back_with_another_log(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    engine_log_changed(harness.engine, 0);
    take(&harness, 0, 1, true);
    give(&harness, 0, 1);
    expect(&harness, ENGINE_RECALL);
    assert_int_equal(harness.action.partition, 0);
    expect(&harness, ENGINE_UNASSIGN);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    unsent(&harness, 0, 0);
    harness_fini(&harness);
}

static void test_lost_partitions(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    for (int i = 0; i < 3; i++)
        arrive(&harness, 0, i, (char[]){'o', (char)('0' + i), 0});
    commit_tick(&harness);
    for (int i = 0; i < 3; i++)
        expect(&harness, ENGINE_START);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_RECALL); /* what is not sent yet must not be */
    assert_int_equal(harness.action.partition, 0);
    expect(&harness, ENGINE_UNASSIGN);
    finish(&harness, 0, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_NOTHING);
    give(&harness, 0, 0); /* they do not come back */
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_ASSIGN);
    finish(&harness, 1, STATUS_UNKNOWN); /* in doubt itself: no dead letter */
    unsent(&harness, 2, 0);
    commit_tick(&harness);
    assert_int_equal(harness.action.ledger_count, 0);
    assert_published(&harness, "late:0:succeeded ");
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

static void test_lost_during_a_transaction(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    expect(&harness, ENGINE_TRANSACT);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    expect(&harness, ENGINE_NOTHING); /* not dialled */
    harness_fini(&harness);
}

/* A commit that is on its way must not meet the generation after the answer. */
static void test_unassignment_waits_for_a_claim(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    give(&harness, 0, 1);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_NOTHING);
    engine_committed(harness.engine, GROUP_NOT_MEMBER, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* It may have landed: then the ledger names nobody, and no transaction may hold its offsets. */
static void test_release_of_unknown_end(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    harness.now += 15000;
    expect(&harness, ENGINE_COMMIT);
    finish(&harness, 0, STATUS_SUCCEEDED);
    engine_committed(harness.engine, GROUP_RETRY, harness.now);
    expect(&harness, ENGINE_NOTHING);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_UNASSIGN);
    commit_tick(&harness);
    assert_published(&harness, "late:0:succeeded ");
    harness_fini(&harness);
}

static void test_drain_without_membership_ends(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_call(&harness);
    finish(&harness, 0, STATUS_SUCCEEDED);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    int64_t began = harness.now;
    enum engine_action_type type = ENGINE_NOTHING;
    while (harness.now < began + 60000 && (type = step(&harness)) != ENGINE_UNASSIGN) {
        if (type == ENGINE_TRANSACT)
            engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
        else if (type == ENGINE_RENEW_PRODUCER)
            engine_producer_ready(harness.engine, harness.now);
        else
            harness.now = engine_wake_time(harness.engine);
    }
    assert_int_equal(type, ENGINE_UNASSIGN);
    assert_in_range(harness.now - began, 15000 + 10000, 15000 + 10000 + 1000);
    harness_fini(&harness);
}

static void test_claim_failures(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    give(&harness, 0, 1);
    read_ledgers(&harness);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_RETRY, harness.now);
    expect(&harness, ENGINE_NOTHING);
    harness.now = engine_wake_time(harness.engine);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_NOT_MEMBER, harness.now);
    expect(&harness,
           ENGINE_ASSIGN); /* answered, so that the group can go on; but nothing is read */
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    assert_false(engine_is_news(harness.engine, 0, 0));
    take(&harness, 0, 1, true);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

static void test_unreadable_ledger_halts_alone(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    harness.base[0] = 5;
    harness.metadata[0] = memory_string("somebody else's words");
    assign(&harness, 0, 2);
    assert_int_equal(harness.base[0], 5); /* not written to */
    assert_string_equal(harness.metadata[0], "somebody else's words");
    assert_true(view_of(&harness, 0).halted);
    assert_non_null(view_of(&harness, 0).halt_reason);
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    arrive(&harness, 1, 0, "o-1");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_COMMIT);
    assert_int_equal(harness.action.ledger_count, 1);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_LEAVE);
    take(&harness, 0, 2, false);
    expect(&harness, ENGINE_UNASSIGN);
    harness_fini(&harness);
}

/* The topic was deleted and created anew, or its log was cut: what is read below the base may be
 * done or not. */
/* A ledger as any program with the right to commit can write it: so many started offsets, each
 * followed by a run of done ones. */
static void forge(struct harness *harness, int started, int done, size_t doubts)
{
    struct ledger ledger = {.sequence = 7, .doubt_count = doubts};
    struct text text = {0};
    for (size_t i = 0; i < doubts; i++)
        ledger.doubts[i] = (uint32_t)i;
    for (int i = 0; i < started; i++) {
        ledger_add(&ledger, LEDGER_DONE, i ? done : 0);
        ledger_add(&ledger, LEDGER_STARTED, 1);
    }
    ledger_encode(&ledger, &text);
    assert_in_range(text.length, LEDGER_MAX - 50, LEDGER_MAX);
    harness->base[0] = 0;
    harness->metadata[0] = text_take(&text);
    ledger_fini(&ledger);
}

static void ready_with_a_long_name(struct harness *harness)
{
    struct engine_options given = options();
    given.owner = "a-worker-of-a-deployment-whose-name-is-as-long-as-an-id-may-be-1";
    assert_int_equal(strlen(given.owner), LEDGER_OWNER_SIZE - 1);
    harness_init(harness, &given);
}

/* Together with this process's name its marks need more than a ledger may have. */
static void test_forged_ledger_without_room_halts_alone(void **state)
{
    (void)state;
    struct harness harness;
    ready_with_a_long_name(&harness);
    forge(&harness, 1320, 9, 0);
    assign(&harness, 0, 2);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 1, 0, "o-1");
    commit_tick(&harness);
    assert_true(view_of(&harness, 0).halted);
    assert_true(view_of(&harness, 0).needs_repair);
    assert_false(view_of(&harness, 1).halted);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    harness_fini(&harness);
}

/* Its marks have room, and the names of its doubts have none beside this process's name. */
static void test_full_ledger_names_no_doubts(void **state)
{
    (void)state;
    struct harness harness;
    struct ledger ledger = {0};
    struct error error;
    ready_with_a_long_name(&harness);
    forge(&harness, 775, 100, 20);
    assign(&harness, 0, 1);
    assert_false(view_of(&harness, 0).halted);
    arrive(&harness, 0, 0, "o-1");
    commit_tick(&harness);
    assert_published(&harness, "result:0:unknown ");
    assert_int_equal(ledger_decode(&ledger, harness.base[0], harness.metadata[0],
                                   strlen(harness.metadata[0]), &error),
                     0);
    assert_int_equal(ledger.doubt_count, 0);
    assert_true(ledger.doubt);
    ledger_fini(&ledger);
    harness_fini(&harness);
}

static void test_a_log_that_ends_below_the_base_is_halted(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    harness.published[0] = '\0';
    assert_int_equal(harness.base[0], 1);
    engine_end(harness.engine, 0, 1, harness.now, WALL + harness.now);
    assert_false(view_of(&harness, 0).halted);
    engine_end(harness.engine, 0, 0, harness.now, WALL + harness.now);
    assert_true(view_of(&harness, 0).halted);
    assert_string_equal(view_of(&harness, 0).halt_reason,
                        "its log ends at offset 0, below 1, which was committed: the topic was "
                        "deleted and created anew, or has lost records");
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_NOTHING);
    finish(&harness, 1, STATUS_SUCCEEDED); /* no answer is lost */
    commit_tick(&harness);
    assert_published(&harness, "late:1:succeeded ");
    assert_int_equal(harness.base[0], 1);
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    expect(&harness, ENGINE_LEAVE); /* what is committed stays as it is */
    harness_fini(&harness);
}

/* Marks on what the log does not have: it is another log. A new leader may lag for a moment. */
static void test_a_log_that_ends_below_a_mark_is_halted(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    preset(&harness, 0, 2, 7, "", "sfffd");
    assign(&harness, 0, 1);
    arrive(&harness, 0, 2, "o-1");
    commit_tick(&harness);
    assert_published(&harness, "result:2:unknown ");
    engine_end(harness.engine, 0, 3, harness.now, WALL + harness.now);
    harness.now += 9000;
    step(&harness);
    assert_false(view_of(&harness, 0).halted);
    arrive(&harness, 0, 3, "o-2"); /* it only lagged */
    harness.now += 9000;
    while (step(&harness) == ENGINE_TRANSACT)
        engine_transacted(harness.engine, TXN_ABORTED, NULL, harness.now);
    assert_false(view_of(&harness, 0).halted);
    engine_end(harness.engine, 0, 4, harness.now, WALL + harness.now);
    assert_in_range(engine_wake_time(harness.engine), harness.now, harness.now + 10000);
    harness.now += 10000;
    step(&harness);
    assert_true(view_of(&harness, 0).halted);
    assert_true(view_of(&harness, 0).needs_repair);
    assert_string_equal(view_of(&harness, 0).halt_reason,
                        "its log ends at offset 4, and its committed metadata tells of requests up "
                        "to 7: the topic was deleted and created anew, or has lost records");
    harness_fini(&harness);
}

/* What was handed out of another log and is not sent yet is not sent: no event has to come first.
 */
static void test_what_is_halted_is_recalled_at_once(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    preset(&harness, 0, 0, 7, "", "fffffd");
    assign(&harness, 0, 1);
    arrive(&harness, 0, 0, "o-1");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    engine_end(harness.engine, 0, 1, harness.now, WALL + harness.now);
    expect(&harness, ENGINE_NOTHING);
    harness.now += 10000;
    expect(&harness, ENGINE_RECALL);
    assert_int_equal(harness.action.partition, 0);
    assert_true(view_of(&harness, 0).halted);
    expect(&harness, ENGINE_NOTHING);
    harness_fini(&harness);
}

static void test_window_is_bounded(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    given.window = 3;
    given.window_bytes = 1 << 20;
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    assert_int_equal(engine_wants(harness.engine, 0), 3);
    for (int i = 0; i < 3; i++)
        arrive(&harness, 0, i, "o-1");
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    assert_int_equal(engine_wants(harness.engine, 1), 3);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    assert_int_equal(engine_wants(harness.engine, 0), 1);
    assert_int_equal(view_of(&harness, 0).unfinished, 2);
    harness_fini(&harness);

    given.window = 1000;
    given.window_bytes = 1;
    harness_init(&harness, &given);
    assign(&harness, 0, 1);
    arrive(&harness, 0, 0, "o-1");
    assert_int_equal(engine_wants(harness.engine, 0), 0);
    harness_fini(&harness);
}

static void test_partitions_take_turns(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    harness_init(&harness, &given);
    assign(&harness, 0, 2);
    char order_id[16];
    for (int i = 0; i < 12; i++) {
        snprintf(order_id, sizeof order_id, "o-%d", i);
        arrive(&harness, i < 10 ? 0 : 1, i, order_id);
    }
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 1, 10), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 1, 11), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 2), LEDGER_FRESH); /* four slots */
    harness_fini(&harness);
}

/* One transaction more, with so many outstanding in all. */
static void start_up_to(struct harness *harness, int64_t allowed)
{
    engine_set_call_limit(harness->engine, allowed);
    while (step(harness) == ENGINE_START)
        continue;
    assert_int_equal(harness->action.type, ENGINE_TRANSACT);
    land(harness);
    engine_transacted(harness->engine, TXN_COMMITTED, NULL, harness->now);
}

/* Of many slots a partition has several in a row, and the next transaction goes on where the last
 * one has stopped. */
static void test_a_turn_is_a_part_of_the_slots(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    char order_id[16];
    given.slots = 64;
    harness_init(&harness, &given);
    assign(&harness, 0, 3);
    for (int i = 0; i < 30; i++) {
        snprintf(order_id, sizeof order_id, "o-%d", i);
        arrive(&harness, i / 10, i % 10, order_id);
    }
    start_up_to(&harness, 6);
    assert_int_equal(mark(&harness, 0, 3), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 4), LEDGER_FRESH);
    assert_int_equal(mark(&harness, 1, 1), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 1, 2), LEDGER_FRESH);
    assert_int_equal(mark(&harness, 2, 0), LEDGER_FRESH);
    start_up_to(&harness, 12);
    assert_int_equal(mark(&harness, 2, 3), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 5), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 6), LEDGER_FRESH);
    assert_int_equal(mark(&harness, 1, 2), LEDGER_FRESH);
    harness_fini(&harness);
}

/* What arrives in a quiet partition does not wait for the backlogs of the others; but only once in
 * a round, so that nobody waits for ever. */
static void test_a_quiet_partition_does_not_wait_for_backlogs(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    char order_id[16];
    given.slots = 64; /* turns of four */
    harness_init(&harness, &given);
    assign(&harness, 0, 3);
    for (int i = 0; i < 40; i++) {
        snprintf(order_id, sizeof order_id, "o-%d", i);
        arrive(&harness, i / 20, i % 20, order_id);
    }
    start_up_to(&harness, 4); /* of 0 */
    start_up_to(&harness, 8); /* of 1 */
    assert_int_equal(mark(&harness, 1, 3), LEDGER_STARTED);
    arrive(&harness, 2, 0, "q-1");
    start_up_to(&harness, 12); /* of 2, and 3 of 0 */
    assert_int_equal(mark(&harness, 2, 0), LEDGER_STARTED);
    assert_int_equal(mark(&harness, 0, 6), LEDGER_STARTED);
    arrive(&harness, 2, 1, "q-2");
    start_up_to(&harness, 16); /* of 1: it is no newcomer again */
    assert_int_equal(mark(&harness, 2, 1), LEDGER_FRESH);
    assert_int_equal(mark(&harness, 1, 7), LEDGER_STARTED);
    start_up_to(&harness, 20);
    assert_int_equal(mark(&harness, 2, 1), LEDGER_STARTED);
    harness_fini(&harness);
}

static void test_never_more_than_twice_the_slots(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_stats view;
    char order_id[16];
    ready(&harness);
    int64_t next = 0;
    for (int round = 0; round < 50; round++) {
        for (; view_of(&harness, 0).unfinished < 100; next++) {
            snprintf(order_id, sizeof order_id, "o-%d", (int)next);
            arrive(&harness, 0, next, order_id);
        }
        enum engine_action_type type;
        while ((type = step(&harness)) != ENGINE_NOTHING && type != ENGINE_TRANSACT)
            continue;
        engine_get_stats(harness.engine, &view);
        assert_true(view.started <= 8);
        while (harness.lent_count > (size_t)(round % 3))
            finish(&harness, harness.lent[0]->position.offset, STATUS_SUCCEEDED);
        if (type == ENGINE_TRANSACT)
            engine_transacted(harness.engine, round % 7 ? TXN_COMMITTED : TXN_ABORTED, NULL,
                              harness.now);
        harness.now += 1000;
    }
    assert_in_range(view_of(&harness, 0).base, 10, 1000); /* and it goes on */
    harness_fini(&harness);
}

static void test_allowance(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    engine_set_call_limit(harness.engine, 0);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-2");
    expect(&harness, ENGINE_NOTHING);
    engine_set_call_limit(harness.engine, 1);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_NOTHING);
    engine_set_call_limit(harness.engine, 100);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

static void test_stop(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    arrive(&harness, 0, 1, "o-2");
    commit_tick(&harness);
    expect(&harness, ENGINE_START); /* the second one is not handed out yet */
    engine_stop(harness.engine, harness.now);
    expect(&harness, ENGINE_RECALL);
    assert_int_equal(harness.action.partition, ENGINE_ALL);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_FRESH);
    assert_true(engine_count_unpublished(harness.engine) > 0);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    expect(&harness, ENGINE_COMMIT);
    engine_committed(harness.engine, GROUP_DONE, harness.now);
    expect(&harness, ENGINE_LEAVE);
    expect(&harness, ENGINE_NOTHING);
    assert_int_equal(engine_count_unpublished(harness.engine), 0);
    give(&harness, 1, 1); /* one more comes in the last moment */
    expect(&harness, ENGINE_ASSIGN);
    assert_int_equal(engine_wants(harness.engine, 1), 0);
    harness_fini(&harness);
}

static void test_recordings_need_no_mark(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    given.kind = REQUEST_RECORDING;
    given.slots = 2;
    harness_init(&harness, &given);
    assign(&harness, 0, 1);
    char order_id[16];
    for (int i = 0; i < 3; i++) {
        snprintf(order_id, sizeof order_id, "o-%d", i);
        arrive(&harness, 0, i, order_id);
    }
    expect(&harness, ENGINE_START);
    assert_int_equal(harness.action.request->call.lease_until_ms, INT64_MAX);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_NOTHING); /* recording.max.in.flight */
    finish(&harness, 1, STATUS_SUCCEEDED);
    expect(&harness, ENGINE_START);
    commit_tick(&harness);
    assert_published(&harness, "result:1:succeeded ");
    assert_int_equal(mark(&harness, 0, 0), LEDGER_FRESH);
    assert_int_equal(mark(&harness, 0, 1), LEDGER_DONE);
    harness_fini(&harness);
}

static void test_frozen_between_commit_and_start(void **state)
{
    (void)state;
    struct harness harness;
    ready(&harness);
    arrive(&harness, 0, 0, "o-1");
    expect(&harness, ENGINE_TRANSACT);
    harness.now += 5000; /* the lease counts from before the offsets were sent */
    land(&harness);
    engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    commit_tick(&harness);
    assert_int_equal(mark(&harness, 0, 0), LEDGER_FRESH);
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    harness_fini(&harness);
}

/* A slow call holds the base while thousands end behind it, in any order: the ledger never becomes
 * longer than the broker takes, and once the slow one has ended all goes on. */
static void test_ledger_stays_within_its_bound(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    given.slots = 100;
    given.window = 20000;
    given.window_bytes = INT64_MAX;
    harness_init(&harness, &given);
    assign(&harness, 0, 1);
    uint64_t random = 88172645463325252u;
    char order_id[16];
    int64_t next = 0;
    for (int round = 0; round < 1500; round++) {
        for (size_t n = engine_wants(harness.engine, 0); n; n--, next++) {
            snprintf(order_id, sizeof order_id, "o-%d", (int)next);
            arrive(&harness, 0, next, next % 50 == 49 ? NULL : order_id);
        }
        enum engine_action_type type;
        while ((type = step(&harness)) == ENGINE_START)
            continue;
        if (type == ENGINE_TRANSACT) {
            land(&harness);
            harness.published[0] = '\0';
            engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
        }
        for (size_t i = harness.lent_count; i-- > 0;) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            if (harness.lent[i]->position.offset && random >> 62)
                finish(&harness, harness.lent[i]->position.offset, STATUS_SUCCEEDED);
        }
        harness.now += 10;
    }
    assert_int_equal(harness.base[0], 0);
    assert_true(view_of(&harness, 0).next > ledger_sure_span(LEDGER_MAX));
    take(&harness, 0, 1, false); /* and a drain ends all the same */
    for (int round = 0; round < 10000 && step(&harness) != ENGINE_COMMIT; round++) {
        if (harness.action.type == ENGINE_TRANSACT) {
            land(&harness);
            harness.published[0] = '\0';
            engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
        }
        for (size_t i = harness.lent_count; i-- > 0;)
            if (harness.lent[i]->position.offset)
                finish(&harness, harness.lent[i]->position.offset, STATUS_SUCCEEDED);
        harness.now += 10;
    }
    assert_int_equal(harness.action.type, ENGINE_COMMIT);
    assert_true(harness.action.ledgers[0].metadata_size <= LEDGER_MAX);
    harness_fini(&harness);
}

/* What has ended without a mark, too far ahead for the ledger, is the successor's to end again. */
static void test_what_does_not_fit_does_not_hold_a_drain(void **state)
{
    (void)state;
    struct harness harness;
    struct engine_options given = options();
    given.window = 100000;
    given.window_bytes = INT64_MAX;
    harness_init(&harness, &given);
    assign(&harness, 0, 1);
    int64_t end = ledger_sure_span(LEDGER_MAX) + 500;
    for (int64_t offset = 0; offset < end; offset++)
        arrive(&harness, 0, offset,
               offset % 2 && offset > ledger_sure_span(LEDGER_MAX) ? NULL : "o-1");
    commit_tick(&harness);
    expect(&harness, ENGINE_START);
    expect(&harness, ENGINE_NOTHING);
    take(&harness, 0, 1, false);
    expect(&harness, ENGINE_RECALL);
    finish(&harness, 0, STATUS_SUCCEEDED);
    commit_tick(&harness);
    while (step(&harness) == ENGINE_TRANSACT) { /* what fits now that the base has moved */
        land(&harness);
        engine_transacted(harness.engine, TXN_COMMITTED, NULL, harness.now);
    }
    assert_int_equal(harness.action.type, ENGINE_COMMIT);
    assert_int_equal(mark(&harness, 0, end - 1), LEDGER_FRESH);
    assert_int_equal(harness.base[0], 1);
    harness_fini(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_call),
        cmocka_unit_test(test_nothing_starts_before_the_commit),
        cmocka_unit_test(test_order_in_a_lane),
        cmocka_unit_test(test_untried_ends),
        cmocka_unit_test(test_what_waits_expires_in_its_time),
        cmocka_unit_test(test_not_sent_loses_its_mark_before_it_is_tried_again),
        cmocka_unit_test(test_deadline_ends_retries),
        cmocka_unit_test(test_a_retry_too_late_leaves_the_answer),
        cmocka_unit_test(test_its_answer_is_no_late_outcome),
        cmocka_unit_test(test_lane_in_doubt_waits),
        cmocka_unit_test(test_takeover_reads_the_marks),
        cmocka_unit_test(test_deleted_records_and_gaps),
        cmocka_unit_test(test_older_than_the_group),
        cmocka_unit_test(test_abort_keeps_order),
        cmocka_unit_test(test_an_abort_recalls_what_is_not_sent),
        cmocka_unit_test(test_a_refused_record_is_made_smaller),
        cmocka_unit_test(test_two_records_become_smaller_one_by_one),
        cmocka_unit_test(test_what_is_refused_for_good_holds_its_partition_alone),
        cmocka_unit_test(test_what_is_refused_for_good_does_not_hold_a_hand_over),
        cmocka_unit_test(test_a_result_that_is_refused_while_it_is_lost_ends_late),
        cmocka_unit_test(test_a_result_that_is_refused_as_it_is_ends_late_at_once),
        cmocka_unit_test(test_what_is_refused_for_good_keeps_no_unsent_call),
        cmocka_unit_test(test_no_trial_call_beyond_the_marks),
        cmocka_unit_test(test_aborts_end_in_a_new_producer),
        cmocka_unit_test(test_a_producer_that_is_forgotten_is_made_anew_at_once),
        cmocka_unit_test(test_no_membership_is_no_reason_for_a_new_producer),
        cmocka_unit_test(test_a_key_is_given_where_one_is_demanded),
        cmocka_unit_test(test_many_refused_at_once_make_one_pause),
        cmocka_unit_test(test_what_is_refused_as_it_is_halts_its_partition),
        cmocka_unit_test(test_refused_offsets_halt_the_one_partition),
        cmocka_unit_test(test_what_had_no_room_comes_first),
        cmocka_unit_test(test_refused_offsets_are_found_among_busy_ones),
        cmocka_unit_test(test_a_short_limit_is_found_out_and_kept),
        cmocka_unit_test(test_a_limit_that_is_raised_is_noticed_soon),
        cmocka_unit_test(test_a_short_limit_counts_from_what_is_left),
        cmocka_unit_test(test_a_ledger_that_is_too_long_ends_an_overdue_drain),
        cmocka_unit_test(test_a_ledger_that_is_too_long_leaves_its_slots_to_others),
        cmocka_unit_test(test_a_refused_result_becomes_a_late_outcome),
        cmocka_unit_test(test_a_stop_asks_often_for_late_outcomes),
        cmocka_unit_test(test_claims_and_releases_are_split),
        cmocka_unit_test(test_a_claim_that_is_refused_alone_halts_its_partition),
        cmocka_unit_test(test_a_refused_claim_is_made_again),
        cmocka_unit_test(test_absent_partition),
        cmocka_unit_test(test_what_was_committed_is_gone),
        cmocka_unit_test(test_what_was_committed_is_gone_and_not_known),
        cmocka_unit_test(test_a_halt_is_committed_before_the_partition_is_let_go),
        cmocka_unit_test(test_a_halt_that_no_member_could_say),
        cmocka_unit_test(test_a_halt_that_is_lost_is_not_said),
        cmocka_unit_test(test_a_committed_halt_halts),
        cmocka_unit_test(test_a_halt_that_is_refused),

        cmocka_unit_test(test_unknown_that_landed),
        cmocka_unit_test(test_unknown_that_did_not_land),
        cmocka_unit_test(test_unknown_and_taken_by_another),
        cmocka_unit_test(test_unknown_and_lost),
        cmocka_unit_test(test_fenced_by_a_twin),
        cmocka_unit_test(test_fenced_long_ago),
        cmocka_unit_test(test_fenced_after_a_freeze),
        cmocka_unit_test(test_fenced_after_a_session),
        cmocka_unit_test(test_fenced_by_who_took_over),
        cmocka_unit_test(test_fenced_twice_by_who_took_over),
        cmocka_unit_test(test_fenced_while_one_is_absent),
        cmocka_unit_test(test_fenced_when_young),
        cmocka_unit_test(test_revocation_drains),
        cmocka_unit_test(test_drain_outlived),
        cmocka_unit_test(test_orphans_of_a_stop_given_up),
        cmocka_unit_test(test_doubt_without_a_name_ends_before_a_hand_over),
        cmocka_unit_test(test_doubts_go_with_a_hand_over),
        cmocka_unit_test(test_doubts_outlive_their_process),
        cmocka_unit_test(test_doubts_without_a_name_outlive_their_process),
        cmocka_unit_test(test_back_with_another_log),
        cmocka_unit_test(test_at_once_back_with_another_log),
        cmocka_unit_test(test_lost_partitions),
        cmocka_unit_test(test_lost_and_back),
        cmocka_unit_test(test_lost_and_handed_over),
        cmocka_unit_test(test_lost_and_refused),
        cmocka_unit_test(test_lost_and_waited_for),
        cmocka_unit_test(test_lost_after_its_drain),
        cmocka_unit_test(test_lost_during_its_release),
        cmocka_unit_test(test_overtaken_during_its_drain),
        cmocka_unit_test(test_a_release_is_repeated_after_another_that_was_lost),
        cmocka_unit_test(test_lost_during_an_older_transaction),
        cmocka_unit_test(test_lost_and_stopped),
        cmocka_unit_test(test_away_and_stopped),
        cmocka_unit_test(test_stopped_and_then_away),
        cmocka_unit_test(test_stopped_while_it_comes_back),
        cmocka_unit_test(test_away_and_stopped_and_not_back),
        cmocka_unit_test(test_away_and_stopped_in_vain),
        cmocka_unit_test(test_lost_and_back_with_a_transaction_of_unknown_outcome),
        cmocka_unit_test(test_lost_and_back_while_an_older_assignment_is_read),
        cmocka_unit_test(test_lost_and_back_after_another),
        cmocka_unit_test(test_lost_and_back_and_lost_during_its_claim),
        cmocka_unit_test(test_lost_during_a_transaction),
        cmocka_unit_test(test_unassignment_waits_for_a_claim),
        cmocka_unit_test(test_release_of_unknown_end),
        cmocka_unit_test(test_drain_without_membership_ends),
        cmocka_unit_test(test_claim_failures),
        cmocka_unit_test(test_unreadable_ledger_halts_alone),
        cmocka_unit_test(test_forged_ledger_without_room_halts_alone),
        cmocka_unit_test(test_full_ledger_names_no_doubts),
        cmocka_unit_test(test_a_log_that_ends_below_the_base_is_halted),
        cmocka_unit_test(test_a_log_that_ends_below_a_mark_is_halted),
        cmocka_unit_test(test_what_is_halted_is_recalled_at_once),
        cmocka_unit_test(test_window_is_bounded),
        cmocka_unit_test(test_partitions_take_turns),
        cmocka_unit_test(test_a_turn_is_a_part_of_the_slots),
        cmocka_unit_test(test_a_quiet_partition_does_not_wait_for_backlogs),
        cmocka_unit_test(test_never_more_than_twice_the_slots),
        cmocka_unit_test(test_allowance),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_recordings_need_no_mark),
        cmocka_unit_test(test_frozen_between_commit_and_start),
        cmocka_unit_test(test_ledger_stays_within_its_bound),
        cmocka_unit_test(test_what_does_not_fit_does_not_hold_a_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
