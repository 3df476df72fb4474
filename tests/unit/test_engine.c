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

enum { WALL = 1000000000, LENT_MOST = 256 };

/* One engine and what is committed for partitions 0 to 3. */
struct desk {
    struct engine *engine;
    int64_t now;
    struct engine_action action;
    int64_t base[4];
    char *metadata[4];
    struct request *lent[LENT_MOST];
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
                                   .max_age_ms = 900000,
                                   .deadline_ms = 60000,
                                   .window = 1000,
                                   .window_bytes = 1 << 20,
                                   .calls = 4,
                                   .recordings = 2};
}

static void desk_init(struct desk *desk, const struct engine_options *given)
{
    *desk = (struct desk){.engine = engine_new(given), .now = 100000};
    for (int i = 0; i < 4; i++)
        desk->base[i] = -1;
    engine_producer_ready(desk->engine, desk->now);
}

static void desk_fini(struct desk *desk)
{
    engine_free(desk->engine);
    for (size_t i = 0; i < desk->lent_count; i++)
        request_free(desk->lent[i]);
    for (int i = 0; i < 4; i++)
        free(desk->metadata[i]);
}

static enum engine_action_type step(struct desk *desk)
{
    enum engine_action_type type =
        engine_next(desk->engine, desk->now, WALL + desk->now, &desk->action);
    if (type == ENGINE_START)
        desk->lent[desk->lent_count++] = desk->action.request;
    return type;
}

static void expect(struct desk *desk, enum engine_action_type type)
{
    assert_int_equal(step(desk), type);
}

/* The committed state becomes what the action says. */
static void land(struct desk *desk)
{
    for (size_t i = 0; i < desk->action.ledger_count; i++) {
        const struct engine_ledger *ledger = &desk->action.ledgers[i];
        assert_true(ledger->metadata_size <= LEDGER_MAX);
        desk->base[ledger->partition] = ledger->offset;
        free(desk->metadata[ledger->partition]);
        desk->metadata[ledger->partition] = memory_copy(ledger->metadata, ledger->metadata_size);
    }
    for (size_t i = 0; i < desk->action.item_count; i++) {
        const struct engine_item *item = &desk->action.items[i];
        size_t used = strlen(desk->published);
        snprintf(desk->published + used, sizeof desk->published - used, "%s:%d:%s ",
                 (const char *[]){"result", "invalid", "late", "gone"}[item->type],
                 (int)item->request->place.offset, status_name(item->request->outcome.status));
    }
}

static void assert_published(struct desk *desk, const char *expected)
{
    assert_string_equal(desk->published, expected);
    desk->published[0] = '\0';
}

static void commit_tick(struct desk *desk)
{
    expect(desk, ENGINE_TRANSACT);
    land(desk);
    engine_transacted(desk->engine, ENGINE_COMMITTED, NULL, desk->now);
}

static enum ledger_mark mark(const struct desk *desk, int partition, int64_t offset)
{
    struct ledger ledger = {0};
    struct error error;
    const char *metadata = desk->metadata[partition] ? desk->metadata[partition] : "";
    assert_int_equal(
        ledger_decode(&ledger, desk->base[partition], metadata, strlen(metadata), &error), 0);
    enum ledger_mark found = ledger_at(&ledger, offset);
    ledger_fini(&ledger);
    return found;
}

static void assert_owner(const struct desk *desk, int partition, const char *owner)
{
    struct ledger ledger = {0};
    struct error error;
    const char *metadata = desk->metadata[partition];
    assert_int_equal(
        ledger_decode(&ledger, desk->base[partition], metadata, strlen(metadata), &error), 0);
    assert_string_equal(ledger.owner, owner);
    ledger_fini(&ledger);
}

/* Commits a ledger from outside, as another owner or none would have. runs: "sdf" one letter an
 * offset. */
__attribute__((unused)) static void preset(struct desk *desk, int partition, int64_t base, uint64_t sequence,
                   const char *owner, const char *marks)
{
    struct ledger ledger = {.base = base, .sequence = sequence};
    struct text text = {0};
    snprintf(ledger.owner, sizeof ledger.owner, "%s", owner);
    for (; *marks; marks++)
        ledger_add(&ledger, *marks == 's'   ? LEDGER_STARTED
                            : *marks == 'd' ? LEDGER_DONE
                                            : LEDGER_FRESH, 1);
    ledger_encode(&ledger, &text);
    free(desk->metadata[partition]);
    desk->base[partition] = base;
    desk->metadata[partition] = text_take(&text);
    ledger_fini(&ledger);
}

static void answer_read(struct desk *desk)
{
    struct engine_ledger ledgers[4];
    size_t count = desk->action.place_count;
    for (size_t i = 0; i < count; i++) {
        int32_t partition = desk->action.places[i].partition;
        const char *metadata = desk->metadata[partition] ? desk->metadata[partition] : "";
        ledgers[i] = (struct engine_ledger){desk->action.places[i].kind, partition,
                                            desk->base[partition], metadata, strlen(metadata)};
    }
    engine_ledgers_read(desk->engine, ENGINE_DONE, ledgers, count, desk->now);
}

static void give(struct desk *desk, enum request_kind kind, int first, int count)
{
    struct engine_place places[4];
    for (int i = 0; i < count; i++)
        places[i] = (struct engine_place){kind, first + i, -1};
    engine_assigned(desk->engine, ++desk->rebalance, places, (size_t)count, desk->now);
}

__attribute__((unused)) static void take(struct desk *desk, enum request_kind kind, int first, int count, bool lost)
{
    struct engine_place places[4];
    for (int i = 0; i < count; i++)
        places[i] = (struct engine_place){kind, first + i, -1};
    engine_revoked(desk->engine, ++desk->rebalance, lost, places, (size_t)count, desk->now);
}

/* Assigned partitions whose ledgers name nobody else. */
static void assign(struct desk *desk, enum request_kind kind, int first, int count)
{
    give(desk, kind, first, count);
    expect(desk, ENGINE_READ);
    assert_false(desk->action.stable);
    answer_read(desk);
    expect(desk, ENGINE_READ);
    assert_true(desk->action.stable);
    answer_read(desk);
    expect(desk, ENGINE_COMMIT);
    land(desk);
    engine_committed(desk->engine, ENGINE_DONE, desk->now);
    expect(desk, ENGINE_ASSIGN);
    assert_int_equal(desk->action.rebalance, desk->rebalance);
}

static struct request *record(struct desk *desk, enum request_kind kind, int partition,
                              int64_t offset, const char *order_id)
{
    struct raw_record raw = {.key = "key", .key_size = 3, .value = "{}", .value_size = 2,
                             .timestamp_ms = WALL + desk->now};
    struct request *request = request_new((struct place){kind, partition, offset}, &raw);
    if (order_id) {
        request->event.order_id = request->event.strings = memory_string(order_id);
    } else {
        request->event.invalid_code = "no-order-id";
        request->event.invalid_message = memory_string("no order id");
    }
    return request;
}

static void arrive(struct desk *desk, int partition, int64_t offset, const char *order_id)
{
    engine_record(desk->engine, record(desk, REQUEST_CALL, partition, offset, order_id), desk->now,
                  WALL + desk->now);
}

static struct request *lent(struct desk *desk, int64_t offset)
{
    for (size_t i = 0; i < desk->lent_count; i++)
        if (desk->lent[i]->place.offset == offset)
            return desk->lent[i];
    fail_msg("offset %d was not handed out", (int)offset);
    return NULL;
}

static void back(struct desk *desk, struct request *request)
{
    for (size_t i = 0; i < desk->lent_count; i++) {
        if (desk->lent[i] != request)
            continue;
        desk->lent[i] = desk->lent[--desk->lent_count];
        break;
    }
    engine_call_ended(desk->engine, request, desk->now);
}

static void finish(struct desk *desk, int64_t offset, enum status status)
{
    struct request *request = lent(desk, offset);
    request->call.end = CALL_FINISHED;
    request->call.attempts++;
    request->call.started_boot_ms = desk->now;
    request->outcome.status = status;
    request->outcome.answered = status == STATUS_SUCCEEDED || status == STATUS_REFUSED;
    back(desk, request);
}

__attribute__((unused)) static void unsent(struct desk *desk, int64_t offset, int64_t retry_at)
{
    struct request *request = lent(desk, offset);
    request->call.end = retry_at ? CALL_NOT_SENT : CALL_RETURNED;
    request->call.retry_at_ms = retry_at;
    if (retry_at && !request->call.attempts++)
        request->call.first_started_boot_ms = desk->now;
    back(desk, request);
}

__attribute__((unused)) static struct engine_partition_view view_of(const struct desk *desk, int partition)
{
    struct engine_partition_view view;
    for (size_t i = 0; engine_look_partition(desk->engine, i, &view); i++)
        if (view.partition == partition)
            return view;
    fail_msg("partition %d is not there", partition);
    return view;
}

static void ready(struct desk *desk)
{
    struct engine_options given = options();
    desk_init(desk, &given);
    assign(desk, REQUEST_CALL, 0, 1);
    expect(desk, ENGINE_NOTHING);
}

static void test_one_call(void **state)
{
    (void)state;
    struct desk desk;
    ready(&desk);
    assert_owner(&desk, 0, "me");
    assert_true(engine_wants(desk.engine, REQUEST_CALL, 0) > 0);
    arrive(&desk, 0, 0, "o-1");
    commit_tick(&desk);
    assert_published(&desk, "");
    assert_int_equal(mark(&desk, 0, 0), LEDGER_STARTED);
    expect(&desk, ENGINE_START);
    assert_int_equal(desk.action.request->call.lease_until_ms, desk.now + 5000);
    expect(&desk, ENGINE_NOTHING);
    finish(&desk, 0, STATUS_SUCCEEDED);
    commit_tick(&desk);
    assert_published(&desk, "result:0:succeeded ");
    assert_int_equal(desk.base[0], 1);
    expect(&desk, ENGINE_NOTHING);
    desk_fini(&desk);
}

static void test_nothing_starts_before_the_commit(void **state)
{
    (void)state;
    struct desk desk;
    ready(&desk);
    arrive(&desk, 0, 0, "o-1");
    expect(&desk, ENGINE_TRANSACT);
    expect(&desk, ENGINE_NOTHING);
    engine_transacted(desk.engine, ENGINE_ABORTED, NULL, desk.now);
    expect(&desk, ENGINE_NOTHING); /* the pause after an abort */
    assert_true(engine_wake_time(desk.engine) > desk.now);
    desk.now = engine_wake_time(desk.engine);
    commit_tick(&desk);
    expect(&desk, ENGINE_START);
    desk_fini(&desk);
}

static void test_order_in_a_lane(void **state)
{
    (void)state;
    struct desk desk;
    ready(&desk);
    arrive(&desk, 0, 0, "o-1");
    arrive(&desk, 0, 1, "o-1");
    arrive(&desk, 0, 2, "o-2");
    commit_tick(&desk);
    assert_int_equal(mark(&desk, 0, 1), LEDGER_FRESH);
    expect(&desk, ENGINE_START);
    expect(&desk, ENGINE_START);
    expect(&desk, ENGINE_NOTHING);
    finish(&desk, 2, STATUS_REFUSED);
    finish(&desk, 0, STATUS_SUCCEEDED);
    commit_tick(&desk); /* publishes two, and starts the one that may go now */
    assert_published(&desk, "result:2:refused result:0:succeeded ");
    assert_int_equal(mark(&desk, 0, 1), LEDGER_STARTED);
    assert_int_equal(mark(&desk, 0, 2), LEDGER_DONE);
    expect(&desk, ENGINE_START);
    assert_int_equal(desk.action.request->place.offset, 1);
    desk_fini(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_call),
        cmocka_unit_test(test_nothing_starts_before_the_commit),
        cmocka_unit_test(test_order_in_a_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
