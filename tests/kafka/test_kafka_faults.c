/* Each call of librdkafka that can fail fails once, with each error that it plausibly gives, in one
 * life of a worker's Kafka side: it joins, reads and claims its ledgers, reads records, makes a
 * transaction and leaves. No fault ends the process, and none makes it stand still. The calls are
 * led through here by the linker (--wrap). Against librdkafka's mock cluster. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cases.h"
#include "io/kafka_internal.h"
#include "support.h"

#include <librdkafka/rdkafka_mock.h> /* wants rdkafka.h first */

enum call {
    NONE,
    SUBSCRIBE,
    ASSIGN,
    UNASSIGN,
    QUEUE,
    START,
    STOP,
    COMMITTED,
    COMMIT,
    METADATA,
    INIT,
    BEGIN,
    SEND_OFFSETS,
    COMMIT_TRANSACTION,
    ABORT_TRANSACTION,
    NEW,
};

/* Which call is to fail next, with what. It fails once, or until that is changed. */
static atomic_int failing;
static atomic_bool always;
static rd_kafka_resp_err_t with;

static atomic_int struck; /* how often one has failed while `always` holds */

static bool strikes(enum call call)
{
    int expected = call;
    if (atomic_load(&always)) {
        bool fails = atomic_load(&failing) == expected;
        atomic_fetch_add(&struck, fails);
        return fails;
    }
    return atomic_compare_exchange_strong(&failing, &expected, NONE);
}

/* The number of the client that brokers refuse; 0: none. An address may be used again. */
static atomic_int refused;

static int number_of(const rd_kafka_t *client)
{
    return client ? atoi(strrchr(rd_kafka_name(client), '-') + 1) : 0;
}

static rd_kafka_error_t *fault(void)
{
    return rd_kafka_error_new(with, "a fault of the test");
}

#define WRAP_ERROR(call, name, parameters, arguments)                                              \
    rd_kafka_error_t *__real_##name parameters;                                                    \
    rd_kafka_error_t *__wrap_##name parameters;                                                    \
    rd_kafka_error_t *__wrap_##name parameters                                                     \
    {                                                                                              \
        return strikes(call) ? fault() : __real_##name arguments;                                  \
    }
#define WRAP_CODE(call, name, parameters, arguments)                                               \
    rd_kafka_resp_err_t __real_##name parameters;                                                  \
    rd_kafka_resp_err_t __wrap_##name parameters;                                                  \
    rd_kafka_resp_err_t __wrap_##name parameters                                                   \
    {                                                                                              \
        if (number_of(client) == atomic_load(&refused))                                            \
            return RD_KAFKA_RESP_ERR__TRANSPORT;                                                   \
        return strikes(call) ? with : __real_##name arguments;                                     \
    }

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
WRAP_CODE(SUBSCRIBE, rd_kafka_subscribe,
          (rd_kafka_t * client, const rd_kafka_topic_partition_list_t *list), (client, list))
WRAP_CODE(COMMITTED, rd_kafka_committed,
          (rd_kafka_t * client, rd_kafka_topic_partition_list_t *list, int timeout),
          (client, list, timeout))
WRAP_CODE(METADATA, rd_kafka_metadata,
          (rd_kafka_t * client, int all, rd_kafka_topic_t *topic,
           const struct rd_kafka_metadata **metadata, int timeout),
          (client, all, topic, metadata, timeout))
WRAP_CODE(
    COMMIT, rd_kafka_commit_queue,
    (rd_kafka_t * client, const rd_kafka_topic_partition_list_t *list, rd_kafka_queue_t *queue,
     void (*done)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *),
     void *opaque),
    (client, list, queue, done, opaque))
WRAP_ERROR(ASSIGN, rd_kafka_incremental_assign,
           (rd_kafka_t * client, const rd_kafka_topic_partition_list_t *list), (client, list))
WRAP_ERROR(UNASSIGN, rd_kafka_incremental_unassign,
           (rd_kafka_t * client, const rd_kafka_topic_partition_list_t *list), (client, list))
/* With an error of librdkafka's own, for a partition that cannot be. */
#define WRAP_READING(call, name, parameters, arguments, wrong)                                     \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        return strikes(call) ? __real_##name wrong : __real_##name arguments;                      \
    }
WRAP_READING(START, rd_kafka_consume_start,
             (rd_kafka_topic_t * topic, int32_t partition, int64_t offset),
             (topic, partition, offset), (topic, -1, offset))
WRAP_READING(STOP, rd_kafka_consume_stop, (rd_kafka_topic_t * topic, int32_t partition),
             (topic, partition), (topic, -1))
WRAP_ERROR(INIT, rd_kafka_init_transactions, (rd_kafka_t * client, int timeout), (client, timeout))
WRAP_ERROR(BEGIN, rd_kafka_begin_transaction, (rd_kafka_t * client), (client))

/* Where the group's coordinator is not found when offsets are sent next; NULL: nowhere. */
static _Atomic(rd_kafka_mock_cluster_t *) unfound;

rd_kafka_error_t *__real_rd_kafka_send_offsets_to_transaction(
    rd_kafka_t *client, const rd_kafka_topic_partition_list_t *list,
    const rd_kafka_consumer_group_metadata_t *membership, int timeout);
rd_kafka_error_t *__wrap_rd_kafka_send_offsets_to_transaction(
    rd_kafka_t *client, const rd_kafka_topic_partition_list_t *list,
    const rd_kafka_consumer_group_metadata_t *membership, int timeout);
rd_kafka_error_t *__wrap_rd_kafka_send_offsets_to_transaction(
    rd_kafka_t *client, const rd_kafka_topic_partition_list_t *list,
    const rd_kafka_consumer_group_metadata_t *membership, int timeout)
{
    enum { FIND_COORDINATOR = 10, TRIES = 4 };
    rd_kafka_mock_cluster_t *mock = atomic_exchange(&unfound, NULL);
    for (int i = 0; mock && i < TRIES; i++)
        rd_kafka_mock_push_request_errors(mock, FIND_COORDINATOR, 1,
                                          RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
    if (strikes(SEND_OFFSETS))
        return fault();
    return __real_rd_kafka_send_offsets_to_transaction(client, list, membership, timeout);
}
WRAP_ERROR(COMMIT_TRANSACTION, rd_kafka_commit_transaction, (rd_kafka_t * client, int timeout),
           (client, timeout))
WRAP_ERROR(ABORT_TRANSACTION, rd_kafka_abort_transaction, (rd_kafka_t * client, int timeout),
           (client, timeout))

rd_kafka_queue_t *__real_rd_kafka_queue_get_partition(rd_kafka_t *client, const char *topic,
                                                      int32_t partition);
rd_kafka_queue_t *__wrap_rd_kafka_queue_get_partition(rd_kafka_t *client, const char *topic,
                                                      int32_t partition);
rd_kafka_queue_t *__wrap_rd_kafka_queue_get_partition(rd_kafka_t *client, const char *topic,
                                                      int32_t partition)
{
    return strikes(QUEUE) ? NULL : __real_rd_kafka_queue_get_partition(client, topic, partition);
}

rd_kafka_t *__real_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *reason,
                                size_t size);
rd_kafka_t *__wrap_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *reason,
                                size_t size);
rd_kafka_t *__wrap_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *reason,
                                size_t size)
{
    if (type != RD_KAFKA_PRODUCER || !strikes(NEW))
        return __real_rd_kafka_new(type, conf, reason, size);
    snprintf(reason, size, "a fault of the test");
    return NULL;
}

/* Whether the next report of a record that is delivered does not say where: librdkafka takes a
 * batch that a broker has refused for delivered if the broker takes the next one. */
static atomic_bool placeless;
static void (*report)(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);

static void report_without_place(rd_kafka_t *client, const rd_kafka_message_t *message,
                                 void *opaque)
{
    rd_kafka_message_t copy = *message;
    bool expected = true;
    if (!message->err && atomic_compare_exchange_strong(&placeless, &expected, false))
        copy.offset = RD_KAFKA_OFFSET_INVALID;
    report(client, &copy, opaque);
}

typedef void delivery_callback(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);
void __real_rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, delivery_callback *callback);
void __wrap_rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, delivery_callback *callback);
void __wrap_rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, delivery_callback *callback)
{
    report = callback;
    __real_rd_kafka_conf_set_dr_msg_cb(conf, report_without_place);
}

/* Where a partition is written before its ends are asked for next; NULL: nowhere. */
static _Atomic(const char *) grows;

static void put_two(const char *bootstrap, int32_t partition)
{
    for (int i = 0; i < 2; i++)
        topic_put(bootstrap, "call-requests", partition, "o", "of the new log", "x");
}

rd_kafka_resp_err_t __real_rd_kafka_query_watermark_offsets(rd_kafka_t *client, const char *topic,
                                                            int32_t partition, int64_t *low,
                                                            int64_t *high, int timeout);
rd_kafka_resp_err_t __wrap_rd_kafka_query_watermark_offsets(rd_kafka_t *client, const char *topic,
                                                            int32_t partition, int64_t *low,
                                                            int64_t *high, int timeout);
rd_kafka_resp_err_t __wrap_rd_kafka_query_watermark_offsets(rd_kafka_t *client, const char *topic,
                                                            int32_t partition, int64_t *low,
                                                            int64_t *high, int timeout)
{
    const char *bootstrap = atomic_exchange(&grows, NULL);
    if (bootstrap)
        put_two(bootstrap, partition);
    return __real_rd_kafka_query_watermark_offsets(client, topic, partition, low, high, timeout);
}

/* The consumer of which brokers tell no partition's end, but that of `told`; NULL: none. */
static _Atomic(rd_kafka_t *) untold;
static _Atomic int32_t told = -1;

rd_kafka_resp_err_t __real_rd_kafka_get_watermark_offsets(rd_kafka_t *client, const char *topic,
                                                          int32_t partition, int64_t *low,
                                                          int64_t *high);
rd_kafka_resp_err_t __wrap_rd_kafka_get_watermark_offsets(rd_kafka_t *client, const char *topic,
                                                          int32_t partition, int64_t *low,
                                                          int64_t *high);
rd_kafka_resp_err_t __wrap_rd_kafka_get_watermark_offsets(rd_kafka_t *client, const char *topic,
                                                          int32_t partition, int64_t *low,
                                                          int64_t *high)
{
    rd_kafka_resp_err_t code =
        __real_rd_kafka_get_watermark_offsets(client, topic, partition, low, high);
    if (client == atomic_load(&untold) && partition != atomic_load(&told))
        *low = *high = RD_KAFKA_OFFSET_INVALID;
    return code;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* Whether a part of the life ends well: it does, or the handler was told why not. */
#define lives_until(side, condition) side_until(side, (side)->failed || (condition))

static bool claim(struct side *side)
{
    struct stored_ledger ledgers[2];
    for (int32_t i = 0; i < 2; i++)
        ledgers[i] = (struct stored_ledger){
            .partition = i, .offset = 0, .metadata = "1:1:a", .metadata_size = 5};
    for (int tries = 0; tries < 50 && !side->failed; tries++)
        if (side_commit(side, ledgers, 2) == GROUP_DONE)
            return true;
    return false;
}

static bool read_ledger(struct side *side)
{
    for (int tries = 0; tries < 50 && !side->failed; tries++)
        if (side_read(side, 0, true) == GROUP_DONE)
            return true;
    return false;
}

static bool transact(struct side *side)
{
    struct record record = {0};
    struct stored_ledger ledger = {
        .partition = 0, .offset = 1, .metadata = "1:2:a", .metadata_size = 5};
    record_set(&record, side->config.result_topics[REQUEST_CALL], "k", "v");
    bool landed = false;
    for (int tries = 0; tries < 50 && !landed && !side->failed; tries++) {
        int ready = side->ready;
        landed = side_transact(side, &record, 1, &ledger, 1) == TXN_COMMITTED;
        if (landed || side->outcome == TXN_ABORTED)
            continue;
        kafka_renew_producer(side->kafka);
        lives_until(side, side->ready > ready);
    }
    text_fini(&record.key);
    text_fini(&record.value);
    return landed;
}

/* A transaction that has to be aborted: its record is too large for the client itself. */
static void abort_one(struct side *side)
{
    char *large = memory_zeroed(1, 3000);
    struct record record = {0};
    struct stored_ledger ledger = {
        .partition = 0, .offset = 1, .metadata = "1:2:a", .metadata_size = 5};
    memset(large, 'x', 2999);
    record_set(&record, side->config.result_topics[REQUEST_CALL], "k", large);
    if (side_transact(side, &record, 1, &ledger, 1) != TXN_REFUSED) {
        int ready = side->ready;
        kafka_renew_producer(side->kafka);
        lives_until(side, side->ready > ready);
    }
    text_fini(&record.key);
    text_fini(&record.value);
    free(large);
}

/* The partition is told as lost and assigned again, and read again from where it was answered. */
static void read_again(struct side *side)
{
    size_t taken = side->taken_count;
    kafka_restart(side->kafka, REQUEST_CALL, 0);
    lives_until(side, (side_take(side, 0), side->taken_count > taken));
}

static void life(const char *bootstrap, enum call call, rd_kafka_resp_err_t code)
{
    static int number;
    static const char *const quick[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                        "kafka.session.timeout.ms=6000",
                                        "kafka.producer.message.max.bytes=1000", NULL};
    char group[32];
    struct side side;
    snprintf(group, sizeof group, "faults-%d", number++);
    side_init(&side, bootstrap, group, "a", quick);
    with = code;
    atomic_store(&failing, call);
    kafka_start(side.kafka);
    lives_until(&side, side.ready == 1);
    if (!side.failed)
        kafka_join(side.kafka);
    lives_until(&side, side.rebalance_count > 0);
    bool well = !side.failed && read_ledger(&side) && claim(&side);
    lives_until(&side, (side_take(&side, 0), side.taken_count > 0));
    if (call == STOP && !side.failed)
        read_again(&side);
    if (call == ABORT_TRANSACTION && !side.failed)
        abort_one(&side);
    well = well && !side.failed && transact(&side);
    if (!side.failed)
        side_leave(&side);
    if (atomic_exchange(&failing, NONE) != NONE)
        fail_msg("call %d was never made", (int)call);
    if (!well && !side.failed)
        fail_msg("call %d, error %s: neither done nor told", (int)call, rd_kafka_err2name(code));
    side_fini(&side);
}

/* An assignment that cannot be answered is answered again after pauses that grow. */
static void an_answer_that_keeps_failing_is_repeated_ever_later(void **state)
{
    enum { LOOK_MS = 1300 }; /* after 200, 400 and 800 ms, the third one would come */
    const char *bootstrap = ((const struct cluster *)*state)->bootstrap;
    struct side side;
    side_init(&side, bootstrap, "ever-later", "a", NULL);
    with = RD_KAFKA_RESP_ERR__STATE;
    atomic_store(&struck, 0);
    atomic_store(&always, true);
    atomic_store(&failing, ASSIGN);
    side_join(&side, 2);
    int64_t first_ms = clock_boot_ms();
    side_until(&side, clock_boot_ms() >= first_ms + LOOK_MS);
    assert_in_range(atomic_load(&struck), 2, 4);
    atomic_store(&failing, NONE);
    atomic_store(&always, false);
    side_until(&side, side.kafka->assignment.owed == ASKED_NOTHING);
    assert_int_equal(side.kafka->assignment.retry_pause_ms, 0);
    side_leave(&side);
    side_fini(&side);
}

/* A file of the client's certificate may be half written when a takeover begins. */
static void a_takeover_tries_again_at_once(void **state)
{
    const char *bootstrap = ((const struct cluster *)*state)->bootstrap;
    struct side side;
    side_init(&side, bootstrap, "takeover", "a", NULL);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    atomic_store(&failing, NEW);
    kafka_end_owner(side.kafka, "another");
    side_until(&side, side.owners_ended == 1);
    assert_int_equal(side.answer, GROUP_DONE);
    assert_int_equal(atomic_load(&failing), NONE);
    side_fini(&side);
}

/* After a refused batch each transaction tries to get a new producer, and tells a failure once. */
static void a_producer_that_cannot_be_replaced_is_one_line(void **state)
{
    const struct cluster *cluster = *state;
    rd_kafka_mock_cluster_t *mock = cluster->mock;
    const char *bootstrap = cluster->bootstrap;
    struct side side;
    struct record record = {0};
    struct stored_ledger ledger = {.offset = 1, .metadata = "1:2:a", .metadata_size = 5};
    side_init(&side, bootstrap, "gap", "a", NULL);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    kafka_join(side.kafka);
    side_until(&side, side.rebalance_count > 0);
    record_set(&record, side.config.result_topics[REQUEST_CALL], "k", "v");
    rd_kafka_mock_push_request_errors(mock, 0, 1, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_ABORTED);
    atomic_store(&always, true);
    atomic_store(&failing, NEW);
    for (int i = 0; i < 3; i++)
        assert_int_equal(side_transact(&side, NULL, 0, &ledger, 1), TXN_COMMITTED);
    atomic_store(&always, false);
    atomic_store(&failing, NONE);
    assert_int_equal(errors_with("a new producer cannot be made"), 1);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_COMMITTED);
    text_fini(&record.key);
    text_fini(&record.value);
    side_leave(&side);
    side_fini(&side);
}

/* It may be nowhere, and its request would be done for ever. */
static void a_record_delivered_nowhere_is_not_committed(void **state)
{
    const struct cluster *cluster = *state;
    struct side side;
    struct record records[2] = {0};
    struct stored_ledger ledger = {.offset = 1, .metadata = "1:2:a", .metadata_size = 5};
    side_init(&side, cluster->bootstrap, "nowhere", "a", NULL);
    side_join(&side, 2);
    for (size_t i = 0; i < 2; i++)
        record_set(&records[i], side.config.result_topics[REQUEST_CALL], "k", "v");
    atomic_store(&placeless, true);
    const rd_kafka_t *producer = side.kafka->producer;
    assert_int_equal(side_transact(&side, records, 2, &ledger, 1), TXN_ABORTED);
    assert_false(atomic_load(&placeless));
    assert_int_equal(side_transact(&side, records, 2, &ledger, 1), TXN_COMMITTED);
    assert_ptr_not_equal(side.kafka->producer, producer); /* its sequence has a gap */
    for (size_t i = 0; i < 2; i++) {
        text_fini(&records[i].key);
        text_fini(&records[i].value);
    }
    side_leave(&side);
    side_fini(&side);
}

static atomic_bool coordinator_woken;

static void *wake_coordinator_now(void *arg)
{
    struct kafka *kafka = arg;
    struct kafka_wake_up wake_up = {.runner = &kafka->reader, .pause_ms = 1};
    kafka_wake_coordinator(kafka, &wake_up, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS);
    atomic_store(&coordinator_woken, true);
    return NULL;
}

/* librdkafka asks a few times, within milliseconds, and then again only when a connection opens or
 * ends. Nothing limits its call. */
static void a_wake_up_ends_though_its_coordinator_was_not_found(void **state)
{
    const struct cluster *cluster = *state;
    rd_kafka_mock_cluster_t *mock = cluster->mock;
    const char *bootstrap = cluster->bootstrap;
    struct side side;
    pthread_t thread;
    side_init(&side, bootstrap, "wake", "a", NULL);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    atomic_store(&unfound, mock);
    assert_int_equal(pthread_create(&thread, NULL, wake_coordinator_now, side.kafka), 0);
    side_until(&side, atomic_load(&coordinator_woken));
    pthread_join(thread, NULL);
    assert_null(atomic_load(&unfound));
    side_fini(&side);
}

/* A partition whose queue holds something counts as told, and so does one that is assigned again.
 * A rebalance that is not answered ends no such time of the others. What a look at one partition
 * has found says nothing of another. The time is the test's own. */
static void only_who_was_looked_at_is_untold(struct side *side)
{
    enum { LONG_MS = 100000, STEP_MS = 1000 };
    struct kafka *kafka = side->kafka;
    const struct kafka_assignment *a = &kafka->assignment;
    const struct kafka_slot *one = kafka_slot_find(kafka, REQUEST_CALL, 0);
    const struct kafka_slot *other = kafka_slot_find(kafka, REQUEST_CALL, 1);
    topic_put(config_kafka_servers(&side->config), "call-requests", 0, "o-2", "two", "x");
    side_until(side, rd_kafka_queue_length(one->queue) > 0);
    int64_t now = clock_boot_ms() + LONG_MS;
    kafka_untold_serve(kafka, now); /* its last real look may have come before their ends */
    assert_int_equal(one->untold_since_ms + other->untold_since_ms, 0);
    atomic_store(&untold, kafka->consumer);
    kafka_untold_serve(kafka, now += STEP_MS);
    assert_int_equal(one->untold_since_ms, 0);
    assert_int_equal(other->untold_since_ms, now);
    side->answers = false;
    kafka_restart(kafka, REQUEST_CALL, 0);
    side_until(side, a->asked == ASKED_ASSIGN);
    kafka_untold_serve(kafka, now + STEP_MS);
    assert_int_equal(other->untold_since_ms, now);
    int64_t began = now;
    const struct rebalance *newest = &side->rebalances[side->rebalance_count - 1];
    size_t ends = side->ends;
    side->answers = true;
    kafka_assign(kafka, newest->number, newest->list, newest->count);
    side_until(side, (side_take(side, 0), side->ends > ends));
    kafka_untold_serve(kafka, now += 2 * STEP_MS);
    assert_int_equal(one->untold_since_ms, now);
    assert_int_equal(other->untold_since_ms, began);
    kafka_untold_serve(kafka, now += LONG_MS);
    side_until(side, kafka_runner_idle(&kafka->looker));
    assert_int_equal(kafka->untold.partition, 0);
    assert_true(kafka->untold.is_served);
    atomic_store(&told, 0);
    kafka_untold_serve(kafka, now += STEP_MS);
    assert_false(a->renewing);
    side_until(side, kafka_runner_idle(&kafka->looker));
    assert_int_equal(kafka->untold.partition, 1);
    atomic_store(&told, -1);
    atomic_store(&untold, NULL);
    kafka_untold_serve(kafka, now + STEP_MS);
    kafka->untold = (struct kafka_untold){0};
}

/* What librdkafka 2.8 makes of a topic that was made anew, whose partitions have not changed their
 * leader yet: brokers refuse each fetch, and it repeats that without a word. (With Apache Kafka:
 * test_broker_trouble.) A partition that no broker serves is no reason. */
static void an_untold_partition_takes_a_new_consumer(void **state)
{
    enum { LIST_OFFSETS = 2, REFUSALS = 200 };
    static const char *const options[] = {"kafka.session.timeout.ms=6000",
                                          "kafka.consumer.socket.timeout.ms=1100",
                                          "kafka.consumer.fetch.wait.max.ms=10", NULL};
    const struct cluster *cluster = *state;
    rd_kafka_mock_cluster_t *mock = cluster->mock;
    struct side side;
    topic_put(cluster->bootstrap, "call-requests", 0, "o-1", "one", "x");
    side_init(&side, cluster->bootstrap, "untold", "a", options);
    side_join(&side, 2);
    side_until(&side,
               (side_take(&side, 0), side_take(&side, 1), side.taken_count && side.ends > 1));
    only_who_was_looked_at_is_untold(&side);
    side.taken_count = 0;
    rd_kafka_t *before = side.kafka->consumer;
    atomic_store(&untold, before);
    for (int i = 0; i < REFUSALS; i++)
        rd_kafka_mock_push_request_errors(mock, LIST_OFFSETS, 1,
                                          RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR);
    side_until(&side, side.kafka->untold.pause_until_ms);
    assert_ptr_equal(side.kafka->consumer, before);
    assert_false(side.kafka->assignment.renewing);
    assert_int_equal(side.kafka->untold.partition, 0);
    rd_kafka_mock_clear_request_errors(mock, LIST_OFFSETS);
    side.kafka->untold.pause_until_ms = 0;
    size_t count = side.rebalance_count;
    side_until(&side, side.kafka->consumer != before && side.rebalance_count > count + 1);
    atomic_store(&untold, NULL);
    assert_int_equal(side.kafka->untold.partition, 1); /* it was the other one's turn */
    side_until(&side, (side_take(&side, 0), side.taken_count > 0));
    side_leave(&side);
    side_fini(&side);
}

/* The new log of a topic that was made again gets as many records as the old one had after these
 * were looked for, and before its ends were. */
static void another_log_is_known_while_it_is_written(void **state)
{
    const struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    struct kafka_slot *slot = kafka_slot_find(side.kafka, REQUEST_CALL, 1);
    slot->first = (struct kafka_fingerprint){0, 1};
    slot->last = (struct kafka_fingerprint){1, 2};
    slot->next = 2;
    slot->had_ledger = true;
    atomic_store(&grows, cluster->bootstrap);
    assert_int_equal(side_read(&side, 1, true), GROUP_DONE);
    assert_null(atomic_load(&grows));
    assert_int_equal(side.ledgers[0].loss, OFFSET_NOT_LOST);
    assert_true(side.ledgers[0].made_again);
    side_leave(&side);
    side_fini(&side);
}

/* Records that are lost, and others at their offsets, as after the election of an unclean leader:
 * what stands before them was called. Of another log the first record is another one, too. */
static void a_log_with_others_in_place_of_its_newest_records_is_not_another_one(void **state)
{
    const struct cluster *cluster = *state;
    struct side side;
    put_two(cluster->bootstrap, 1);
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    side_until(&side, (side_take(&side, 1), side.taken_count == 2));
    struct kafka_slot *slot = kafka_slot_find(side.kafka, REQUEST_CALL, 1);
    assert_int_equal(slot->first.offset, 0);
    assert_int_equal(slot->last.offset, 1);
    slot->had_ledger = true;
    slot->last.hash ^= 1;
    assert_int_equal(side_read(&side, 1, true), GROUP_DONE);
    assert_false(side.ledgers[0].made_again);
    assert_int_equal(side.ledgers[0].loss, OFFSET_LOSS_UNCLEAR);
    slot->lost = false;
    slot->first.hash ^= 1;
    assert_int_equal(side_read(&side, 1, true), GROUP_DONE);
    assert_true(side.ledgers[0].made_again);
    assert_int_equal(side.ledgers[0].loss, OFFSET_NOT_LOST);
    side_leave(&side);
    side_fini(&side);
}

/* librdkafka waits for the answer to an assignment, which has failed, when its consumer is
 * replaced. */
static void a_consumer_ends_whose_assignment_is_unanswered(void **state)
{
    const struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "unanswered", "a", quick_options);
    with = RD_KAFKA_RESP_ERR__STATE;
    atomic_store(&failing, ASSIGN);
    side_join(&side, 2);
    const struct kafka_assignment *a = &side.kafka->assignment;
    assert_int_equal(a->owed, ASKED_ASSIGN);
    const rd_kafka_t *before = side.kafka->consumer;
    side.kafka->assignment.lost = true; /* rule 10: it has fenced itself */
    rd_kafka_test_fatal_error(side.kafka->consumer, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, "test");
    assert_true(kafka_assignment_renew(side.kafka));
    side_until(&side, side.kafka->consumer != before);
    assert_true(kafka_consumers_ended());
    side_fini(&side);
}

/* A side whose clients have a file of authorities that they do not need. The path is a template. */
static void side_with_file(struct side *side, void **state, char path[], const char *strategy)
{
    const struct cluster *cluster = *state;
    char authority[80];
    const char *const options[] = {quick_options[0], quick_options[1], authority, strategy, NULL};
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    snprintf(authority, sizeof authority, "kafka.ssl.ca.location=%s", path);
    side_init(side, cluster->bootstrap, "g", "a", options);
    side->kafka->files = kafka_files_new(&side->config);
}

static void change(struct side *side, const char *path)
{
    struct error error = {""};
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs("more\n", file) >= 0);
    fclose(file);
    assert_non_null(kafka_files_look(side->kafka->files, false, &error));
    assert_string_equal(error.text, "");
}

static void end_with_file(struct side *side, const char *path)
{
    struct kafka_files *files = side->kafka->files;
    atomic_store(&refused, 0);
    side_leave(side);
    side_fini(side);
    kafka_files_free(files);
    unlink(path);
}

/* The prober's client may have been made before the first join, with a file that was wrong. Files
 * that change again and again make no client each time. */
static void a_reader_follows_its_files_before_the_join(void **state)
{
    char path[] = "/tmp/test-kafka-faults-XXXXXX";
    struct side side;
    side_with_file(&side, state, path, NULL);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    assert_int_equal(side_read(&side, 0, false), GROUP_DONE);
    atomic_store(&refused, number_of(side.kafka->uncommitted_reader.client));
    assert_int_equal(side_read(&side, 0, false), GROUP_RETRY);
    change(&side, path);
    kafka_join(side.kafka);
    side_until(&side, side.rebalance_count > 0 && kafka_runner_idle(&side.kafka->prober));
    assert_int_equal(side_read(&side, 0, false), GROUP_DONE);
    int second = number_of(side.kafka->uncommitted_reader.client);
    change(&side, path);
    assert_int_equal(side_read(&side, 0, false), GROUP_DONE);
    assert_int_equal(side_read(&side, 0, false), GROUP_DONE);
    assert_int_equal(number_of(side.kafka->uncommitted_reader.client), second);
    end_with_file(&side, path);
}

/* Brokers refuse the consumer, and its files change, while a rebalance is unanswered. One other
 * client reads the ledgers as long as that lasts. */
static void read_with_new_files(struct side *side, const char *path)
{
    atomic_store(&refused, number_of(side->kafka->consumer));
    assert_int_equal(side_read(side, 0, true), GROUP_RETRY);
    change(side, path);
    assert_int_equal(side_read(side, 0, true), GROUP_DONE);
    int reader = number_of(side->kafka->stable_reader.client);
    assert_int_not_equal(reader, 0);
    assert_int_equal(side_read(side, 1, true), GROUP_DONE);
    assert_int_equal(number_of(side->kafka->stable_reader.client), reader);
}

/* The next consumer has partitions, and reads by itself. */
static void joins_with_new_files(struct side *side)
{
    size_t before = side->rebalance_count;
    side->answers = true;
    side_until(side, side->rebalance_count > before);
    const struct rebalance *newest = &side->rebalances[side->rebalance_count - 1];
    assert_false(newest->revoked);
    assert_int_equal(newest->count, 2);
    assert_int_not_equal(number_of(side->kafka->consumer), atomic_load(&refused));
    assert_int_equal(side_read(side, 0, true), GROUP_DONE);
    assert_null(side->kafka->stable_reader.client);
}

/* The claims are refused, too, so the assignment cannot be answered. It is overtaken once. */
static void ends_an_unanswered_assignment(void **state, const char *strategy)
{
    char path[] = "/tmp/test-kafka-faults-XXXXXX";
    struct stored_ledger ledger = {.offset = 0, .metadata = "1:1:a", .metadata_size = 5};
    struct side side;
    side_with_file(&side, state, path, strategy);
    side.answers = false;
    side_join(&side, 2);
    read_with_new_files(&side, path);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_RETRY);
    assert_int_equal(side.rebalance_count, 1);
    side_until(&side, side.rebalance_count > 1);
    assert_int_equal(side.rebalance_count, 2);
    assert_true(side.rebalances[1].revoked);
    assert_int_equal(side.rebalances[1].count, 2);
    kafka_assign(side.kafka, side.rebalances[0].number, side.rebalances[0].list, 2); /* too late */
    joins_with_new_files(&side);
    end_with_file(&side, path);
}

static void new_files_end_an_unanswered_assignment(void **state)
{
    ends_an_unanswered_assignment(state, "kafka.partition.assignment.strategy=cooperative-sticky");
}

static void new_files_end_an_unanswered_eager_assignment(void **state)
{
    ends_an_unanswered_assignment(state, "kafka.partition.assignment.strategy=range");
}

/* What is given back is read back first, if the outcome of a transaction is not known. */
static void new_files_let_partitions_be_given_back(void **state)
{
    char path[] = "/tmp/test-kafka-faults-XXXXXX";
    struct side side;
    side_with_file(&side, state, path, NULL);
    side_join(&side, 2);
    side.answers = false;
    kafka_assignment_renew(side.kafka);
    side_until(&side, side.rebalance_count == 2);
    assert_true(side.rebalances[1].revoked);
    read_with_new_files(&side, path);
    assert_int_equal(side.rebalance_count, 2);
    kafka_unassign(side.kafka, side.rebalances[1].number);
    joins_with_new_files(&side);
    end_with_file(&side, path);
}

static void no_fault_ends_or_stops_it(void **state)
{
    static const struct {
        enum call call;
        rd_kafka_resp_err_t code;
    } faults[] = {
        {NONE, RD_KAFKA_RESP_ERR_NO_ERROR},
        {SUBSCRIBE, RD_KAFKA_RESP_ERR__INVALID_ARG},
        {ASSIGN, RD_KAFKA_RESP_ERR__STATE},
        {UNASSIGN, RD_KAFKA_RESP_ERR__STATE},
        {QUEUE, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION},
        {COMMITTED, RD_KAFKA_RESP_ERR__TIMED_OUT},
        {COMMITTED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED},
        {COMMIT, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS},
        {COMMIT, RD_KAFKA_RESP_ERR__TRANSPORT},
        {METADATA, RD_KAFKA_RESP_ERR__TRANSPORT},
        {INIT, RD_KAFKA_RESP_ERR__TIMED_OUT},
        {INIT, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED},
        {INIT, RD_KAFKA_RESP_ERR__FENCED},
        {BEGIN, RD_KAFKA_RESP_ERR__STATE},
        {SEND_OFFSETS, RD_KAFKA_RESP_ERR__STATE},
        {SEND_OFFSETS, RD_KAFKA_RESP_ERR__FENCED},
        {COMMIT_TRANSACTION, RD_KAFKA_RESP_ERR__FENCED},
        {ABORT_TRANSACTION, RD_KAFKA_RESP_ERR__STATE},
        {ABORT_TRANSACTION, RD_KAFKA_RESP_ERR__FENCED},
        {START, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION},
        {STOP, RD_KAFKA_RESP_ERR__INVALID_ARG},
        {NEW, RD_KAFKA_RESP_ERR__FAIL},
    };
    const char *bootstrap = ((const struct cluster *)*state)->bootstrap;
    topic_put(bootstrap, "call-requests", 0, "o-1", "one", "x");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        life(bootstrap, faults[i].call, faults[i].code);
}

int main(int argc, char **argv)
{
    log_setup(getenv("TEST_LOG_DEBUG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        with_cluster(no_fault_ends_or_stops_it),
        with_cluster(a_producer_that_cannot_be_replaced_is_one_line),
        with_cluster(a_record_delivered_nowhere_is_not_committed),
        with_cluster(a_wake_up_ends_though_its_coordinator_was_not_found),
        with_cluster(a_takeover_tries_again_at_once),
        with_cluster(an_answer_that_keeps_failing_is_repeated_ever_later),
        with_cluster(an_untold_partition_takes_a_new_consumer),
        with_cluster(another_log_is_known_while_it_is_written),
        with_cluster(a_log_with_others_in_place_of_its_newest_records_is_not_another_one),
        with_cluster(a_consumer_ends_whose_assignment_is_unanswered),
        with_cluster(a_reader_follows_its_files_before_the_join),
        with_cluster(new_files_end_an_unanswered_assignment),
        with_cluster(new_files_end_an_unanswered_eager_assignment),
        with_cluster(new_files_let_partitions_be_given_back),
    };
    return run_cases(tests, argc, argv);
}
