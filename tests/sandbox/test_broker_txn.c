/* The embedded broker's transactions, seen by librdkafka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka_client.h"

static const struct broker_topic_spec topics[] = {{"in", 2}, {"out", 1}};

/* A broker, one member of group g with both partitions of `in`, and a transactional producer t. */
struct scene {
    struct broker *broker;
    rd_kafka_t *member, *producer;
};

static rd_kafka_t *producer_new(const struct broker *broker, const char *settings)
{
    char all[128];
    snprintf(all, sizeof(all), "transactional.id=t %s", settings);
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, broker, all);
    learn_topic(producer, "out");
    assert_int_equal(code_of(rd_kafka_init_transactions(producer, DEADLINE_MS)), 0);
    return producer;
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    scene->broker = start_broker((struct broker_options){.topics = topics, .topic_count = 2});
    scene->member = member_new(scene->broker, "group.id=g", "in");
    await_assignment(scene->member, NULL, 2);
    scene->producer = producer_new(scene->broker, "");
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    rd_kafka_consumer_close(scene->member);
    rd_kafka_destroy(scene->member);
    rd_kafka_destroy(scene->producer);
    broker_free(scene->broker);
    free(scene);
    return 0;
}

static void begin(rd_kafka_t *producer)
{
    assert_int_equal(code_of(rd_kafka_begin_transaction(producer)), 0);
}

/* What a tick of the worker is: a result and the ledger in one transaction. */
static void begin_with_offset(const struct scene *scene, const char *value, int64_t offset,
                              const char *metadata)
{
    begin(scene->producer);
    produce(scene->producer, "out", 0, "k", value);
    flush(scene->producer);
    assert_int_equal(
        code_of(send_offset(scene->producer, scene->member, "in", 0, offset, metadata)), 0);
}

static void commit(rd_kafka_t *producer)
{
    assert_int_equal(code_of(rd_kafka_commit_transaction(producer, -1)), 0);
}

static void undo(rd_kafka_t *producer)
{
    assert_int_equal(code_of(rd_kafka_abort_transaction(producer, DEADLINE_MS)), 0);
}

static rd_kafka_t *output(const struct scene *scene, const char *isolation)
{
    char settings[128];
    snprintf(settings, sizeof(settings), "enable.partition.eof=true isolation.level=%s", isolation);
    return reader_new(scene->broker, settings, "out", 0, 0);
}

/* Everything in the output, as one word after another. */
static void expect_output(const struct scene *scene, const char *isolation, const char *expected)
{
    rd_kafka_t *reader = output(scene, isolation);
    char all[256] = "";
    for (char *value; (value = next_value(reader)); free(value)) {
        strncat(all, value, sizeof(all) - strlen(all) - 1);
        strncat(all, " ", sizeof(all) - strlen(all) - 1);
    }
    rd_kafka_destroy(reader);
    assert_string_equal(all, expected);
}

/* The committed offset as one sees it who does not wait for open transactions. */
static void expect_unsettled(const struct scene *scene, int64_t offset, const char *metadata)
{
    rd_kafka_t *uncommitted_reader =
        client_new(RD_KAFKA_CONSUMER, scene->broker, "group.id=g isolation.level=read_uncommitted");
    expect_committed(uncommitted_reader, "in", 0, offset, metadata);
    rd_kafka_destroy(uncommitted_reader);
}

static void a_commit_shows_records_and_offsets_at_once(void **state)
{
    struct scene *scene = *state;
    begin_with_offset(scene, "first", 10, "ledger-1");
    expect_unsettled(scene, RD_KAFKA_OFFSET_INVALID, NULL);
    expect_output(scene, "read_committed", "");
    expect_output(scene, "read_uncommitted", "first ");
    commit(scene->producer);
    expect_committed(scene->member, "in", 0, 10, "ledger-1");
    expect_output(scene, "read_committed", "first ");
    begin_with_offset(scene, "second", 11, "ledger-2");
    expect_unsettled(scene, 10, "ledger-1");
    commit(scene->producer);
    expect_committed(scene->member, "in", 0, 11, "ledger-2");
    expect_output(scene, "read_committed", "first second ");
}

static void an_abort_leaves_nothing(void **state)
{
    struct scene *scene = *state;
    begin_with_offset(scene, "kept", 10, "ledger-1");
    commit(scene->producer);
    begin_with_offset(scene, "lost", 11, "ledger-2");
    undo(scene->producer);
    expect_committed(scene->member, "in", 0, 10, "ledger-1");
    begin_with_offset(scene, "more", 12, "ledger-3");
    commit(scene->producer);
    expect_committed(scene->member, "in", 0, 12, "ledger-3");
    expect_output(scene, "read_committed", "kept more ");
    expect_output(scene, "read_uncommitted", "kept lost more ");
}

static void offsets_alone_are_a_transaction(void **state)
{
    struct scene *scene = *state;
    begin(scene->producer);
    assert_int_equal(code_of(send_offset(scene->producer, scene->member, "in", 1, 3, "started")),
                     0);
    commit(scene->producer);
    expect_committed(scene->member, "in", 1, 3, "started");
}

static void many_transactions_in_a_row(void **state)
{
    struct scene *scene = *state;
    char expected[256] = "", value[16];
    for (int i = 0; i < 30; i++) {
        snprintf(value, sizeof(value), "v%d", i);
        begin_with_offset(scene, value, i, value);
        if (i % 3 == 2) {
            undo(scene->producer);
            continue;
        }
        commit(scene->producer);
        expect_committed(scene->member, "in", 0, i, value);
        strcat(strcat(expected, value), " ");
    }
    expect_output(scene, "read_committed", expected);
}

/* A committed offset is not handed out while an open transaction may change it. */
static void undecided_offsets_are_waited_for(void **state)
{
    struct scene *scene = *state;
    begin_with_offset(scene, "v", 10, "pending");
    rd_kafka_topic_partition_list_t *list = offset_of("in", 0, 0, NULL);
    assert_int_equal(rd_kafka_committed(scene->member, list, 300), RD_KAFKA_RESP_ERR__TIMED_OUT);
    rd_kafka_topic_partition_list_destroy(list);
    expect_committed(scene->member, "in", 1, RD_KAFKA_OFFSET_INVALID, NULL);
    undo(scene->producer);
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL);
}

static void expect_fenced(rd_kafka_t *producer)
{
    char text[256];
    assert_int_equal(rd_kafka_fatal_error(producer, text, sizeof(text)), RD_KAFKA_RESP_ERR__FENCED);
}

/* A successor under the same id ends the open transaction; the old producer's commit fails and
 * nothing of it lands. */
static void a_successor_fences_the_commit(void **state)
{
    struct scene *scene = *state;
    begin_with_offset(scene, "zombie", 10, "zombie");
    rd_kafka_t *successor = producer_new(scene->broker, "");
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL);
    rd_kafka_error_t *error = rd_kafka_commit_transaction(scene->producer, -1);
    assert_true(rd_kafka_error_is_fatal(error));
    assert_int_equal(code_of(error), RD_KAFKA_RESP_ERR__FENCED);
    expect_fenced(scene->producer);
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL);
    expect_output(scene, "read_committed", "");
    begin(successor);
    produce(successor, "out", 0, NULL, "alive");
    commit(successor);
    expect_output(scene, "read_committed", "alive ");
    rd_kafka_destroy(successor);
}

static void a_successor_fences_send_offsets(void **state)
{
    struct scene *scene = *state;
    begin(scene->producer);
    rd_kafka_t *successor = producer_new(scene->broker, "");
    rd_kafka_error_t *error = send_offset(scene->producer, scene->member, "in", 0, 10, "zombie");
    assert_true(rd_kafka_error_is_fatal(error));
    assert_int_equal(code_of(error), RD_KAFKA_RESP_ERR__FENCED);
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL);
    rd_kafka_destroy(successor);
}

/* The zombie has registered the partition already, so that only its batches tell who it is. */
static void a_successor_fences_records(void **state)
{
    struct scene *scene = *state;
    begin_with_offset(scene, "before", 10, "zombie");
    rd_kafka_t *successor = producer_new(scene->broker, "");
    produce(scene->producer, "out", 0, NULL, "after");
    rd_kafka_flush(scene->producer, DEADLINE_MS);
    expect_fenced(scene->producer);
    expect_output(scene, "read_uncommitted", "before ");
    expect_output(scene, "read_committed", "");
    rd_kafka_destroy(successor);
}

static void the_time_out_ends_a_transaction(void **state)
{
    struct scene *scene = *state;
    rd_kafka_destroy(scene->producer);
    scene->producer = producer_new(scene->broker, "transaction.timeout.ms=3000 "
                                                  "message.timeout.ms=3000 socket.timeout.ms=3000");
    begin_with_offset(scene, "late", 10, "late");
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL); /* waits for the end */
    expect_output(scene, "read_committed", "");
    rd_kafka_error_t *error = rd_kafka_commit_transaction(scene->producer, -1);
    assert_non_null(error);
    assert_int_not_equal(code_of(error), 0);
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL);
}

/* Membership of a generation that is over does not commit; the transaction is to be aborted and may
 * be tried again. */
static void an_old_generation_cannot_commit(void **state)
{
    struct scene *scene = *state;
    rd_kafka_consumer_group_metadata_t *old = rd_kafka_consumer_group_metadata(scene->member);
    rd_kafka_t *second = member_new(scene->broker, "group.id=g", "in");
    await_assignment(second, scene->member, 1);
    await_assignment(scene->member, second, 1);
    begin(scene->producer);
    rd_kafka_topic_partition_list_t *list = offset_of("in", 0, 10, "old");
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(scene->producer, list, old, DEADLINE_MS);
    assert_true(rd_kafka_error_txn_requires_abort(error));
    assert_int_equal(code_of(error), RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
    undo(scene->producer);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(old);
    begin_with_offset(scene, "new", 10, "new");
    commit(scene->producer);
    expect_committed(scene->member, "in", 0, 10, "new");
    rd_kafka_consumer_close(second);
    rd_kafka_destroy(second);
}

static void who_left_cannot_commit(void **state)
{
    struct scene *scene = *state;
    rd_kafka_consumer_group_metadata_t *old = rd_kafka_consumer_group_metadata(scene->member);
    rd_kafka_consumer_close(scene->member);
    rd_kafka_destroy(scene->member);
    scene->member = member_new(scene->broker, "group.id=g", "in");
    await_assignment(scene->member, NULL, 2);
    begin(scene->producer);
    rd_kafka_topic_partition_list_t *list = offset_of("in", 0, 10, "old");
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(scene->producer, list, old, DEADLINE_MS);
    assert_true(rd_kafka_error_txn_requires_abort(error));
    assert_int_equal(code_of(error), RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    undo(scene->producer);
    expect_committed(scene->member, "in", 0, RD_KAFKA_OFFSET_INVALID, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(old);
}

static void too_long_metadata_ends_the_transaction(void **state)
{
    struct scene *scene = *state;
    char metadata[4098];
    memset(metadata, 'm', sizeof(metadata));
    metadata[4097] = '\0';
    begin(scene->producer);
    rd_kafka_error_t *error = send_offset(scene->producer, scene->member, "in", 0, 10, metadata);
    assert_true(rd_kafka_error_txn_requires_abort(error));
    assert_int_equal(code_of(error), RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE);
    undo(scene->producer);
    metadata[4096] = '\0';
    begin_with_offset(scene, "v", 10, metadata);
    commit(scene->producer);
    expect_committed(scene->member, "in", 0, 10, metadata);
}

/* A reader waits at the first undecided record, and goes on when another producer's transaction
 * before it is aborted. */
static void readers_wait_for_the_oldest_transaction(void **state)
{
    struct scene *scene = *state;
    rd_kafka_t *other = client_new(RD_KAFKA_PRODUCER, scene->broker, "transactional.id=other");
    assert_int_equal(code_of(rd_kafka_init_transactions(other, DEADLINE_MS)), 0);
    begin(other);
    produce(other, "out", 0, NULL, "undecided");
    flush(other);
    begin(scene->producer);
    produce(scene->producer, "out", 0, NULL, "committed");
    commit(scene->producer);
    expect_output(scene, "read_committed", "");
    rd_kafka_t *reader =
        reader_new(scene->broker, "fetch.wait.max.ms=60000 socket.timeout.ms=90000", "out", 0, 0);
    assert_null(rd_kafka_consumer_poll(reader, 100));
    undo(other);
    expect_record(reader, "committed");
    rd_kafka_destroy(reader);
    rd_kafka_destroy(other);
}

int main(void)
{
#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SCENE(a_commit_shows_records_and_offsets_at_once),
        SCENE(an_abort_leaves_nothing),
        SCENE(offsets_alone_are_a_transaction),
        SCENE(many_transactions_in_a_row),
        SCENE(undecided_offsets_are_waited_for),
        SCENE(a_successor_fences_the_commit),
        SCENE(a_successor_fences_send_offsets),
        SCENE(a_successor_fences_records),
        SCENE(the_time_out_ends_a_transaction),
        SCENE(an_old_generation_cannot_commit),
        SCENE(who_left_cannot_commit),
        SCENE(too_long_metadata_ends_the_transaction),
        SCENE(readers_wait_for_the_oldest_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
