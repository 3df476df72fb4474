/* The embedded broker seen by librdkafka: records and groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka_client.h"

static const struct broker_topic_spec topics[] = {{"orders", 4}, {"one", 1}};

static struct broker *start(void)
{
    return start_broker((struct broker_options){.topics = topics, .topic_count = 2});
}

static void keys_headers_and_times_come_back(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, broker, "");
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("one"), RD_KAFKA_V_KEY("k", 1),
                                       RD_KAFKA_V_VALUE("v", 1),
                                       RD_KAFKA_V_HEADER("ce_id", "7", -1),
                                       RD_KAFKA_V_TIMESTAMP(1234567890123), RD_KAFKA_V_END),
                     0);
    flush(producer);
    rd_kafka_t *reader = reader_new(broker, "", "one", 0, 0);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, DEADLINE_MS);
    assert_non_null(message);
    assert_int_equal(message->err, 0);
    assert_int_equal(message->offset, 0);
    assert_memory_equal(message->key, "k", 1);
    assert_memory_equal(message->payload, "v", 1);
    rd_kafka_timestamp_type_t type;
    assert_int_equal(rd_kafka_message_timestamp(message, &type), 1234567890123);
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;
    assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
    assert_int_equal(rd_kafka_header_get_last(headers, "ce_id", &value, &size), 0);
    assert_memory_equal(value, "7", 1);
    rd_kafka_message_destroy(message);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(producer);
    broker_free(broker);
}

static void compressed_batches_pass_unharmed(void **state)
{
    (void)state;
    static const char *const codecs[] = {"gzip", "snappy", "lz4", "zstd"};
    struct broker *broker = start();
    rd_kafka_t *reader = reader_new(broker, "check.crcs=true", "one", 0, 0);
    for (size_t i = 0; i < 4; i++) {
        char setting[64], value[2001];
        snprintf(setting, sizeof(setting), "compression.codec=%s", codecs[i]);
        memset(value, 'a' + (int)i, sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, broker, setting);
        produce(producer, "one", 0, NULL, value);
        flush(producer);
        rd_kafka_destroy(producer);
        expect_record(reader, value);
    }
    rd_kafka_destroy(reader);
    broker_free(broker);
}

/* With a wait far longer than the test's patience only a new record can end it, or another request
 * on the connection: the client looks for its coordinator there, at the beginning only. So an end
 * of the partition is not asked for: it may be told then. */
static void a_waiting_fetch_is_woken_by_a_record(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *reader =
        reader_new(broker, "fetch.wait.max.ms=60000 socket.timeout.ms=90000", "one", 0, 0);
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, broker, "");
    for (int i = 0; i < 5; i++) {
        char value[16];
        snprintf(value, sizeof(value), "v%d", i);
        produce(producer, "one", 0, NULL, value);
        flush(producer);
        expect_record(reader, value);
    }
    rd_kafka_destroy(reader);
    rd_kafka_destroy(producer);
    broker_free(broker);
}

static void many_records_keep_their_order(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct broker *broker = start();
    rd_kafka_t *producer =
        client_new(RD_KAFKA_PRODUCER, broker, "enable.idempotence=true linger.ms=5");
    rd_kafka_t *reader = reader_new(broker, "", "one", 0, 0);
    char value[16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(value, sizeof(value), "%d", i);
        produce(producer, "one", 0, NULL, value);
    }
    flush(producer);
    for (int i = 0; i < COUNT; i++) {
        snprintf(value, sizeof(value), "%d", i);
        expect_record(reader, value);
    }
    rd_kafka_destroy(reader);
    rd_kafka_destroy(producer);
    broker_free(broker);
}

static void two_members_share_and_one_inherits(void **state)
{
    (void)state;
    const char *strategy = *state;
    char settings[128];
    snprintf(settings, sizeof(settings), "group.id=g partition.assignment.strategy=%s", strategy);
    struct broker *broker = start();
    rd_kafka_t *first = member_new(broker, settings, "orders");
    await_assignment(first, NULL, 4);
    rd_kafka_t *second = member_new(broker, settings, "orders");
    await_assignment(second, first, 2);
    await_assignment(first, second, 2);
    assert_int_equal(rd_kafka_consumer_close(second), 0);
    rd_kafka_destroy(second);
    await_assignment(first, NULL, 4);
    rd_kafka_consumer_close(first);
    rd_kafka_destroy(first);
    broker_free(broker);
}

static void commit_offset(rd_kafka_t *consumer, const char *metadata, rd_kafka_resp_err_t expected)
{
    rd_kafka_topic_partition_list_t *list = offset_of("orders", 1, 5, metadata);
    assert_int_equal(rd_kafka_commit(consumer, list, 0), expected);
    rd_kafka_topic_partition_list_destroy(list);
}

static void metadata_is_committed_and_read_back(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *member = member_new(broker, "group.id=g", "orders");
    await_assignment(member, NULL, 4);
    expect_committed(member, "orders", 1, RD_KAFKA_OFFSET_INVALID, NULL);
    commit_offset(member, "1:7:ledger", 0);
    expect_committed(member, "orders", 1, 5, "1:7:ledger");
    rd_kafka_t *uncommitted_reader = client_new(RD_KAFKA_CONSUMER, broker, "group.id=g");
    expect_committed(uncommitted_reader, "orders", 1, 5, "1:7:ledger");
    commit_offset(uncommitted_reader, "stolen", RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    expect_committed(member, "orders", 1, 5, "1:7:ledger");
    rd_kafka_consumer_close(member);
    commit_offset(uncommitted_reader, "reset", 0); /* nobody is in the group any more */
    expect_committed(uncommitted_reader, "orders", 1, 5, "reset");
    rd_kafka_destroy(uncommitted_reader);
    rd_kafka_destroy(member);
    broker_free(broker);
}

static void too_long_metadata_is_refused(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *member = member_new(broker, "group.id=g", "orders");
    await_assignment(member, NULL, 4);
    char metadata[4098];
    memset(metadata, 'm', sizeof(metadata));
    metadata[4097] = '\0';
    rd_kafka_topic_partition_list_t *list = offset_of("orders", 1, 5, metadata);
    rd_kafka_commit(member, list, 0); /* what it returns differs between versions of librdkafka */
    rd_kafka_topic_partition_list_destroy(list);
    expect_committed(member, "orders", 1, RD_KAFKA_OFFSET_INVALID, NULL);
    metadata[4096] = '\0';
    commit_offset(member, metadata, 0);
    expect_committed(member, "orders", 1, 5, metadata);
    rd_kafka_consumer_close(member);
    rd_kafka_destroy(member);
    broker_free(broker);
}

static char *member_id(rd_kafka_t *consumer)
{
    return rd_kafka_memberid(consumer);
}

/* A static member does not leave when it closes: its partitions wait for it, and come back without
 * a rebalance. */
static void a_static_member_comes_back(void **state)
{
    (void)state;
    struct broker *broker = start();
    const char *first_settings = "group.id=g group.instance.id=a session.timeout.ms=20000";
    rd_kafka_t *first = member_new(broker, first_settings, "orders");
    await_assignment(first, NULL, 4);
    rd_kafka_t *second = member_new(broker, "group.id=g group.instance.id=b", "orders");
    await_assignment(second, first, 2);
    await_assignment(first, second, 2);
    rd_kafka_consumer_close(first);
    rd_kafka_destroy(first);
    char *before = member_id(second);
    first = member_new(broker, first_settings, "orders");
    await_assignment(first, second, 2);
    assert_int_equal(assigned(second), 2);
    char *after = member_id(second);
    assert_string_equal(before, after);
    rd_kafka_mem_free(second, before);
    rd_kafka_mem_free(second, after);
    rd_kafka_consumer_close(first);
    rd_kafka_consumer_close(second);
    rd_kafka_destroy(first);
    rd_kafka_destroy(second);
    broker_free(broker);
}

static void a_silent_member_is_removed(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *first =
        member_new(broker, "group.id=g group.instance.id=a session.timeout.ms=1000", "orders");
    await_assignment(first, NULL, 4);
    rd_kafka_t *second = member_new(broker, "group.id=g", "orders");
    await_assignment(second, first, 2);
    await_assignment(first, second, 2);
    rd_kafka_consumer_close(first); /* static: says nothing */
    rd_kafka_destroy(first);
    await_assignment(second, NULL, 4);
    rd_kafka_consumer_close(second);
    rd_kafka_destroy(second);
    broker_free(broker);
}

/* Who comes later under the same instance name fences the earlier one. */
static void a_second_static_member_fences_the_first(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *first = member_new(broker, "group.id=g group.instance.id=a", "orders");
    await_assignment(first, NULL, 4);
    rd_kafka_t *second = member_new(broker, "group.id=g group.instance.id=a", "orders");
    await_assignment(second, NULL, 4);
    commit_offset(first, "zombie", RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    commit_offset(second, "alive", 0);
    expect_committed(second, "orders", 1, 5, "alive");
    rd_kafka_destroy(first);
    rd_kafka_consumer_close(second);
    rd_kafka_destroy(second);
    broker_free(broker);
}

static void groups_are_listed(void **state)
{
    (void)state;
    struct broker *broker = start();
    rd_kafka_t *member = member_new(broker, "group.id=g", "orders");
    await_assignment(member, NULL, 4);
    const struct rd_kafka_group_list *list;
    assert_int_equal(rd_kafka_list_groups(member, NULL, &list, DEADLINE_MS), 0);
    assert_int_equal(list->group_cnt, 1);
    assert_string_equal(list->groups[0].group, "g");
    assert_string_equal(list->groups[0].state, "Stable");
    assert_int_equal(list->groups[0].member_cnt, 1);
    rd_kafka_group_list_destroy(list);
    rd_kafka_consumer_close(member);
    rd_kafka_destroy(member);
    broker_free(broker);
}

static void a_bad_address_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {"nonsense", "127.0.0.1:", ":9092", "127.0.0.1:99999",
                                      "203.0.113.1:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct error error = {""};
        struct broker_options options = {.address = bad[i]};
        assert_null(broker_new(&options, &error));
        assert_string_not_equal(error.text, "");
    }
    struct error error;
    struct broker *broker = start();
    struct broker_options taken = {.address = broker_address(broker)};
    assert_null(broker_new(&taken, &error));
    broker_free(broker);
}

/* A name or pattern of tests may be given. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    static char cooperative[] = "cooperative-sticky", eager[] = "range";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_headers_and_times_come_back),
        cmocka_unit_test(compressed_batches_pass_unharmed),
        cmocka_unit_test(a_waiting_fetch_is_woken_by_a_record),
        cmocka_unit_test(many_records_keep_their_order),
        cmocka_unit_test_prestate(two_members_share_and_one_inherits, cooperative),
        cmocka_unit_test_prestate(two_members_share_and_one_inherits, eager),
        cmocka_unit_test(metadata_is_committed_and_read_back),
        cmocka_unit_test(too_long_metadata_is_refused),
        cmocka_unit_test(a_static_member_comes_back),
        cmocka_unit_test(a_silent_member_is_removed),
        cmocka_unit_test(a_second_static_member_fences_the_first),
        cmocka_unit_test(groups_are_listed),
        cmocka_unit_test(a_bad_address_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
