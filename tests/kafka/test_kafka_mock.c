/* io/kafka against librdkafka's mock cluster: settings, the consumer, plain commits, errors that a
 * broker is made to answer. (The mock forgets what transactions commit; see test_kafka_real.) What
 * the group does is in test_kafka_group. */
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cases.h"
#include "core/ledger.h"
#include "io/kafka_internal.h"
#include "support.h"

#include <librdkafka/rdkafka_mock.h> /* wants rdkafka.h first */

/* API keys of the protocol. */
enum { PRODUCE = 0, OFFSET_COMMIT = 8, OFFSET_FETCH = 9, TXN_OFFSET_COMMIT = 28 };

static void delivers_records_whole_and_ends(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    topic_put(cluster->bootstrap, "call-requests", 0, "o-1", "one", "x");
    topic_put(cluster->bootstrap, "call-requests", 0, "o-2", "two", "y");
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    side_until(&side, (side_take(&side, 0), side.ends > 0));
    assert_int_equal(side.taken_count, 2);
    assert_string_equal(side.taken[0].key, "o-1");
    assert_string_equal(side.taken[1].value, "two");
    assert_string_equal(side.taken[1].header, "h=y");
    assert_int_equal(side.taken[1].position.offset, 1);
    assert_int_equal(side.taken[1].position.kind, REQUEST_CALL);
    assert_true(side.taken[0].timestamp_ms > 1600000000000);
    assert_int_equal(side.end_offset, 2);
    side_leave(&side);
    assert_true(side.rebalances[side.rebalance_count - 1].revoked);
    assert_false(side.rebalances[side.rebalance_count - 1].lost);
    assert_int_equal(side.failed, 0);
    side_fini(&side);
}

/* What comes in the queue of the client's events would be a gap in the log for whoever reads on. */
static void reads_again_what_came_in_another_queue(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    topic_put(cluster->bootstrap, "call-requests", 0, "o-1", "one", "x");
    side_until(&side, (side_take(&side, 0), side.taken_count == 1));
    rd_kafka_queue_forward(kafka_slot_find(side.kafka, REQUEST_CALL, 0)->queue,
                           side.kafka->consumer_queue);
    topic_put(cluster->bootstrap, "call-requests", 0, "o-2", "two", "x");
    side_until(&side, (side_take(&side, 0), side.taken_count == 2));
    assert_int_equal(side.taken[1].position.offset, 1);
    assert_null(kafka_trouble(side.kafka, REQUEST_CALL, 0));
    topic_put(cluster->bootstrap, "call-requests", 0, "o-3", "three", "x");
    side_until(&side, (side_take(&side, 0), side.taken_count == 3));
    side_leave(&side);
    side_fini(&side);
}

static void commits_plainly_and_reads_back(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    assert_int_equal(side_read(&side, 1, true), GROUP_DONE);
    assert_int_equal(side.ledgers[0].offset, -1);
    assert_int_equal(side.ledgers[0].metadata_size, 0);
    struct stored_ledger ledger = {
        .kind = REQUEST_CALL, .partition = 1, .offset = 7, .metadata = "1:2:a", .metadata_size = 5};
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    for (int stable = 0; stable < 2; stable++) {
        assert_int_equal(side_read(&side, 1, stable), GROUP_DONE);
        assert_int_equal(side.ledgers[0].offset, 7);
        assert_int_equal(side.ledgers[0].partition, 1);
        assert_string_equal(side.ledgers[0].metadata, "1:2:a");
    }
    side_leave(&side);
    side_fini(&side);
}

/* An answer that a rebalance drops leaves a partition with records of a log that is gone. */
static void reads_another_log(struct kafka_slot *slot, struct kafka_fingerprint of_gone)
{
    slot->first = slot->last = of_gone;
    slot->log_is_other = true;
}

static void assert_forgotten(const struct kafka_slot *slot)
{
    assert_false(slot->log_is_other);
    assert_int_equal(slot->first.offset, -1);
    assert_int_equal(slot->last.offset, -1);
}

/* A log that is gone says nothing of the one that is there: not once another worker's ledger of
 * that one was read, nor once its end was. */
static void forgets_a_log_that_is_gone(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct text metadata = {0};
    const struct ledger anothers = {.base = 1, .sequence = 2, .owner = "b"};
    const struct record_position at_end = {.kind = REQUEST_CALL, .offset = 1};
    topic_put(cluster->bootstrap, "call-requests", 0, "o-1", "one", "x");
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    side_until(&side, (side_take(&side, 0), side.ends > 0));
    struct kafka_slot *slot = kafka_slot_find(side.kafka, REQUEST_CALL, 0);
    const struct kafka_fingerprint of_gone = slot->last;
    assert_int_equal(of_gone.offset, 0);
    reads_another_log(slot, of_gone);
    ledger_encode(&anothers, &metadata);
    struct stored_ledger ledger = {
        .offset = 1, .metadata = metadata.data, .metadata_size = metadata.length};
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    assert_int_equal(side_read(&side, 0, true), GROUP_DONE);
    assert_forgotten(slot);
    reads_another_log(slot, of_gone);
    size_t before = side.rebalance_count, ends = side.ends;
    side.answers = false;
    kafka_restart(side.kafka, REQUEST_CALL, 0);
    side_until(&side, side.rebalance_count == before + 2);
    kafka_assign(side.kafka, side.rebalances[before + 1].number, &at_end, 1);
    side_until(&side, (side_take(&side, 0), side.ends > ends));
    assert_int_equal(side.taken_count, 1);
    assert_forgotten(slot);
    text_fini(&metadata);
    side_leave(&side);
    side_fini(&side);
}

/* A record counts as delivered while its partition's offset was there only if a question was about
 * that partition: one is not about so many. */
static void asks_and_believes_only_what_was_asked(void **state)
{
    enum { PARTITIONS = 20, AT_ONCE = 16 };
    (void)state;
    void *own = cluster_new(1);
    const struct cluster *cluster = own;
    struct side side;
    struct stored_ledger ledgers[PARTITIONS];
    const struct kafka_fingerprint delivered = {7, 7};
    rd_kafka_mock_topic_create(cluster->mock, "call-requests", PARTITIONS, 1);
    rd_kafka_mock_topic_create(cluster->mock, "call-results", 1, 1);
    rd_kafka_mock_topic_create(cluster->mock, "privacy-call-dead-letters", 1, 1);
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, PARTITIONS);
    for (int32_t i = 0; i < PARTITIONS; i++)
        ledgers[i] = (struct stored_ledger){
            .partition = i, .metadata = "1:1:a", .metadata_size = strlen("1:1:a")};
    assert_int_equal(side_commit(&side, ledgers, PARTITIONS), GROUP_DONE);
    struct kafka_probe *probe = &side.kafka->probe;
    side_until(&side, !probe->list);
    for (int32_t i = 0; i < PARTITIONS; i++)
        kafka_slot_find(side.kafka, REQUEST_CALL, i)->last = delivered;
    probe->turn = 0;
    probe->at_ms = 0;
    for (size_t want = AT_ONCE; want <= PARTITIONS; want += PARTITIONS - AT_ONCE) {
        size_t found = 0;
        side_until(&side, probe->list);
        side_until(&side, !probe->list);
        for (int32_t i = 0; i < PARTITIONS; i++)
            found += kafka_slot_find(side.kafka, REQUEST_CALL, i)->before.offset == 7;
        assert_int_equal(found, want);
    }
    /* One whose records wait is not let through by an answer about others, and comes first. */
    struct kafka_slot *last = kafka_slot_find(side.kafka, REQUEST_CALL, PARTITIONS - 1);
    topic_put(cluster->bootstrap, "call-requests", PARTITIONS - 1, "o-1", "one", "x");
    side_until(&side, rd_kafka_queue_length(last->queue) > 0);
    side_until(&side, !probe->list);
    probe->verified_ms = last->verified_ms = clock_boot_ms();
    assert_true(kafka_probe_lets_take(side.kafka, last));
    last->verified_ms = probe->turn = 0;
    probe->verified_ms = clock_boot_ms();
    assert_false(kafka_probe_lets_take(side.kafka, last));
    side_until(&side, !probe->list);
    last->verified_ms = probe->turn = 0;
    probe->at_ms = 0;
    side_until(&side, probe->list);
    assert_non_null(
        rd_kafka_topic_partition_list_find(probe->list, "call-requests", PARTITIONS - 1));
    side_until(&side, !probe->list);
    side_leave(&side);
    side_fini(&side);
    cluster_down(&own);
}

static int waiting(const struct kafka_reader *reader)
{
    return reader->client ? rd_kafka_outq_len(reader->client) : 0;
}

/* What a client tells (here that its broker is gone) waits until somebody polls, also of one for
 * which there is nothing to do. */
static void polls_clients_that_are_idle(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    assert_int_equal(side_read(&side, 0, false), GROUP_DONE);
    side_until(&side, !side.kafka->probe.list);
    rd_kafka_t *producer = side.kafka->producer;
    const struct kafka_reader *reader = &side.kafka->uncommitted_reader;
    assert_non_null(reader->client);
    int64_t limit = clock_boot_ms() + WAIT_MS;
    rd_kafka_mock_broker_set_down(cluster->mock, 1);
    while (!rd_kafka_outq_len(producer) || !waiting(reader)) {
        assert_true(clock_boot_ms() < limit);
        kafka_wait(side.kafka, 5);
    }
    rd_kafka_mock_broker_set_up(cluster->mock, 1);
    side_until(&side, kafka_runner_idle(&side.kafka->prober) && !rd_kafka_outq_len(producer));
    side_until(&side, kafka_runner_idle(&side.kafka->prober) && !waiting(reader));
    side_leave(&side);
    side_fini(&side);
}

/* Each answer takes longer than the first limit of a question. */
static void begins_at_slow_brokers(void **state)
{
    enum { SLOW_MS = 700 };
    struct cluster *cluster = *state;
    struct side side;
    rd_kafka_mock_broker_set_rtt(cluster->mock, 1, SLOW_MS);
    side_init(&side, cluster->bootstrap, "slow", "a", quick_options);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    rd_kafka_mock_broker_set_rtt(cluster->mock, 1, 0);
    side_fini(&side);
}

static void commits_nothing_without_membership(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct record record;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_NOT_MEMBER);
    record_set(&record, "call-results", "k", "v");
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_NOT_MEMBER);
    char values[64];
    topic_values(cluster->bootstrap, "call-results", false, values, sizeof values);
    assert_string_equal(values, "");
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

static void takes_an_offer_back_when_it_is_no_member(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side.answers = false;
    side_join(&side, 2);
    rd_kafka_mock_push_request_errors(cluster->mock, OFFSET_COMMIT, 1,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_NOT_MEMBER);
    assert_int_equal(side.rebalance_count, 2);
    assert_true(side.rebalances[1].revoked && side.rebalances[1].lost);
    assert_int_equal(side.rebalances[1].count, 2);
    /* Its answer to the overtaken offer changes nothing; it hears of the partitions again. */
    kafka_assign(side.kafka, side.rebalances[0].number, side.rebalances[0].list, 2);
    side.answers = true;
    side_until(&side,
               side.rebalance_count > 2 && !side.rebalances[side.rebalance_count - 1].revoked);
    assert_int_equal(side.rebalances[side.rebalance_count - 1].count, 2);
    side_until(&side, (side_take(&side, 0), side.ends > 0));
    side_leave(&side);
    side_fini(&side);
}

static void keeps_an_offer_that_came_after_a_commit_without_membership(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side.answers = false;
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    kafka_join(side.kafka);
    bool without = false; /* the last of these commits may come when it is one already */
    while (!side.rebalance_count)
        without |= side_commit(&side, &ledger, 1) == GROUP_NOT_MEMBER;
    assert_true(without);
    assert_int_equal(side.rebalance_count, 1);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    kafka_assign(side.kafka, side.rebalances[0].number, side.rebalances[0].list, 2);
    side_until(&side, (side_take(&side, 0), side.ends > 0));
    side_leave(&side);
    side_fini(&side);
}

/* Every connection of the worker's own ends when a third of the session passes without any
 * acknowledgement: a broker's machine may vanish without a word. */
static void gives_up_connections_that_are_not_acknowledged(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    const char *colon = strrchr(cluster->bootstrap, ':');
    int limited = 0;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof peer;
        unsigned limit_ms = 0;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) || peer.sin_family != AF_INET ||
            ntohs(peer.sin_port) != atoi(colon + 1))
            continue;
        size = sizeof limit_ms;
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, &size), 0);
        assert_int_equal(limit_ms, 2000);
        limited++;
    }
    assert_true(limited > 2); /* both clients, and the coordinators */
    side_leave(&side);
    side_fini(&side);
}

static void tells_a_commit_that_may_be_repeated(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    rd_kafka_mock_push_request_errors(cluster->mock, OFFSET_COMMIT, 1,
                                      RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_RETRY);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    side_leave(&side);
    side_fini(&side);
}

/* A takeover fences the producer of the worker that lost its partitions: no error, and what comes
 * of it is logged where the call returns. */
static void leaves_a_producers_fatal_error_to_its_calls(void **state)
{
    static const char line[] =
        "[thrd:main]: Fatal error: Local: This instance has been fenced by a "
        "newer instance: Failed to end transaction";
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    kafka_log_callback(side.kafka->producer, 0, "FATAL", line);
    assert_int_equal(errors_with("fenced by a newer instance"), 0);
    kafka_log_callback(side.kafka->consumer, 0, "FATAL", line);
    assert_int_equal(errors_with("fenced by a newer instance"), 1);
    side_leave(&side);
    side_fini(&side);
}

/* What librdkafka says of it sounds as if all were done again, but the worker may halt. */
static void a_reset_offset_is_told_as_no_decision(void **state)
{
    static const char line[] =
        "[thrd:main]: requests [0]: offset reset (at offset 9 (leader epoch 0), broker 1) to "
        "offset "
        "BEGINNING (leader epoch -1): fetch failed due to requested offset not available on the "
        "broker: Broker: Offset out of range";
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    kafka_log_callback(side.kafka->consumer, 3, "OFFSET", line);
    assert_int_equal(errors_with("what is committed decides whether the partition"), 1);
    side_fini(&side);
}

/* A claim that may not be committed, because the group may not be read any more. */
static void names_the_right_that_a_commit_lacks(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    side_init(&side, cluster->bootstrap, "forbidden", "a", quick_options);
    side_join(&side, 2);
    rd_kafka_mock_push_request_errors(cluster->mock, OFFSET_COMMIT, 1,
                                      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_RETRY);
    assert_true(kafka_lacks_right(side.kafka));
    assert_int_equal(errors_with("READ on group forbidden"), 1);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    assert_false(kafka_lacks_right(side.kafka));
    side_leave(&side);
    side_fini(&side);
}

/* What is polled in one go is handled after it: the refusal is the newer of the two. */
static void an_older_assignment_proves_no_right(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "call-requests", 1);
    side_init(&side, cluster->bootstrap, "older", "a", quick_options);
    kafka_right_missing(side.kafka, RIGHT_READ_GROUP, "older", "refused");
    kafka_rebalance_callback(side.kafka->consumer, RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, list,
                             side.kafka);
    assert_false(kafka_lacks_right(side.kafka));
    kafka_right_missing(side.kafka, RIGHT_READ_GROUP, "older", "refused");
    side_until(&side, side.rebalance_count == 1);
    assert_true(kafka_lacks_right(side.kafka));
    rd_kafka_topic_partition_list_destroy(list);
    side_fini(&side);
}

/* The partitions may be halted, and then nothing else is asked of the topic. */
static void names_the_right_on_the_topic_that_offsets_lack(void **state)
{
    static const rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    struct cluster *cluster = *state;
    struct side side;
    struct record record;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    uint64_t before = errors_with("READ on topic call-requests");
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    record_set(&record, "call-results", "k", "v");
    rd_kafka_mock_push_request_errors(cluster->mock, TXN_OFFSET_COMMIT, 1, code);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_OFFSETS_REFUSED);
    assert_true(kafka_lacks_right(side.kafka));
    assert_int_equal(errors_with("READ on topic call-requests"), before + 1);
    while (side_transact(&side, &record, 1, &ledger, 1) == TXN_ABORTED)
        ;
    assert_int_equal(side.outcome, TXN_COMMITTED);
    assert_false(kafka_lacks_right(side.kafka));
    rd_kafka_mock_push_request_errors(cluster->mock, OFFSET_COMMIT, 1, code);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_REFUSED);
    assert_true(kafka_lacks_right(side.kafka));
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    assert_false(kafka_lacks_right(side.kafka));
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

static void tells_of_a_record_that_the_broker_refuses(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct record record;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    record_set(&record, "call-results", "k", "v");
    rd_kafka_mock_push_request_errors(cluster->mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_REFUSED);
    assert_true(side.refused[0]);
    /* It is the record that was refused, not the producer. */
    while (side_transact(&side, &record, 1, &ledger, 1) == TXN_ABORTED)
        ;
    assert_int_equal(side.outcome, TXN_COMMITTED);
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

/* A broker that demands keys, or validates records in a way of its own, answers the same. */
static void tells_whether_a_key_may_help(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct record record;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    record_set(&record, "call-results", "k", "v");
    for (int i = 0; i < 2; i++) {
        record.has_key = i == 0;
        rd_kafka_mock_push_request_errors(cluster->mock, PRODUCE, 1,
                                          RD_KAFKA_RESP_ERR_INVALID_RECORD);
        assert_int_equal(side_transact(&side, &record, 1, NULL, 0), TXN_REFUSED);
        assert_int_equal(side.refused[0], record.has_key ? REFUSED_AS_IS : REFUSED_FOR_KEY);
        assert_non_null(strstr(side.error, "demands keys"));
        while (side_transact(&side, &record, 1, NULL, 0) == TXN_ABORTED)
            ;
        assert_int_equal(side.outcome, TXN_COMMITTED);
    }
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

/* librdkafka refuses some records itself, by kafka.message.max.bytes. */
static void tells_why_a_record_is_too_large_for_the_client(void **state)
{
    static const char *const small[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                        "kafka.session.timeout.ms=6000",
                                        "kafka.producer.message.max.bytes=1000", NULL};
    struct cluster *cluster = *state;
    struct side side;
    struct record record;
    char large[3000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    side_init(&side, cluster->bootstrap, "g", "a", small);
    side_join(&side, 2);
    record_set(&record, "call-results", "k", large);
    assert_int_equal(side_transact(&side, &record, 1, NULL, 0), TXN_REFUSED);
    assert_int_equal(side.refused[0], REFUSED_FOR_SIZE);
    assert_non_null(strstr(side.error, "writing to call-results: "));
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

/* Whether a line with these words has been written to the file. */
static bool was_logged(FILE *caught, const char *words)
{
    char line[2000];
    bool found = false;
    fseek(caught, 0, SEEK_SET);
    while (!found && fgets(line, sizeof line, caught))
        found = strstr(line, words);
    return found;
}

static size_t count_lines(FILE *caught)
{
    char line[2000];
    size_t lines = 0;
    fseek(caught, 0, SEEK_SET);
    while (fgets(line, sizeof line, caught))
        lines++;
    return lines;
}

/* What was said of connections before brokers answered is no reason for a later silence. */
static void tells_since_when_no_broker_answers_and_why(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    char reason[256];
    FILE *caught = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_true(caught && dup2(fileno(caught), STDERR_FILENO) >= 0);
    log_setup(LOG_INFO, LOG_TEXT, "test");
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    assert_int_equal(kafka_silent_since(side.kafka, reason, sizeof reason), 0);
    rd_kafka_mock_broker_set_down(cluster->mock, 1);
    side_until(&side, kafka_silent_since(side.kafka, reason, sizeof reason) != 0);
    assert_true(clock_wall_ms() - kafka_silent_since(side.kafka, reason, sizeof reason) < 10000);
    assert_non_null(strstr(reason, "127.0.0.1:"));
    side_until(&side, was_logged(caught, "; waiting for "));
    assert_false(was_logged(caught, "brokers answer again"));
    rd_kafka_mock_broker_set_up(cluster->mock, 1);
    side_until(&side, kafka_silent_since(side.kafka, reason, sizeof reason) == 0);
    assert_string_equal(reason, "");
    log_setup(LOG_WARN, LOG_TEXT, "test");
    dup2(before, STDERR_FILENO);
    close(before);
    assert_true(was_logged(caught, "kafka: brokers answer again; none did since 2"));
    fclose(caught);
    side_leave(&side);
    side_fini(&side);
}

/* The other job notices the same end, and an absence that was not told has no end that is. */
static void tells_once_that_brokers_answer_again(void **state)
{
    struct kafka calls = {.log_throttle.lock = PTHREAD_MUTEX_INITIALIZER};
    struct kafka recordings = {.log_throttle.lock = PTHREAD_MUTEX_INITIALIZER};
    FILE *caught = tmpfile();
    int before = dup(STDERR_FILENO);
    (void)state;
    assert_true(caught && dup2(fileno(caught), STDERR_FILENO) >= 0);
    log_setup(LOG_INFO, LOG_TEXT, "test");
    kafka_silence_told();
    kafka_silence_ended(&calls); /* nothing was silent */
    assert_int_equal(count_lines(caught), 0);
    for (int round = 0; round < 2; round++) {
        kafka_silence_began(&calls, clock_wall_ms());
        kafka_silence_began(&recordings, clock_wall_ms());
        kafka_silence_ended(&calls);
        kafka_silence_ended(&recordings);
        assert_int_equal(count_lines(caught), 1); /* nobody has told the second absence */
    }
    log_setup(LOG_WARN, LOG_TEXT, "test");
    dup2(before, STDERR_FILENO);
    close(before);
    fclose(caught);
}

/* What librdkafka guesses of a port behind which there is no Kafka, or one that expects TLS. */
static void tells_what_may_listen_where_no_kafka_answers(void **state)
{
    static const struct {
        const char *theirs, *ours;
    } rows[] = {
        {"127.0.0.1:1001/bootstrap: Disconnected while requesting ApiVersion: might be caused by "
         "incorrect security.protocol configuration (connecting to a SSL listener?) or broker "
         "version is < 0.10 (see api.version.request) (after 2ms in state APIVERSION_QUERY)",
         "127.0.0.1:1001/bootstrap: the connection was closed at the first request: what listens "
         "there is no Kafka, or expects TLS (kafka.security.protocol = ssl or sasl_ssl), or is "
         "just stopping (after 2ms in state APIVERSION_QUERY)"},
        {"127.0.0.1:1002/bootstrap: ApiVersionRequest failed: Local: Timed out: probably due to "
         "broker version < 0.10 (see api.version.request configuration) (after 10002ms in state "
         "APIVERSION_QUERY)",
         "127.0.0.1:1002/bootstrap: no answer of Kafka came to the first request: what listens "
         "there is no Kafka, or expects TLS (kafka.security.protocol = ssl or sasl_ssl), or hangs "
         "(after 10002ms in state APIVERSION_QUERY)"},
        {"127.0.0.1:1003/bootstrap: Receive failed: Invalid response size 1213486160 "
         "(0..100000000): increase receive.message.max.bytes (after 4ms in state "
         "APIVERSION_QUERY)",
         "127.0.0.1:1003/bootstrap: the first answer is none of Kafka: what listens there is no "
         "Kafka, or expects TLS (kafka.security.protocol = ssl or sasl_ssl) (after 4ms in state "
         "APIVERSION_QUERY)"},
        {"ssl://127.0.0.1:1004/bootstrap: Disconnected while requesting ApiVersion: might be "
         "caused by broker version < 0.10 (see api.version.request) (after 2ms in state "
         "APIVERSION_QUERY)",
         "ssl://127.0.0.1:1004/bootstrap: the connection was closed at the first request: what "
         "listens there is no Kafka, or is just stopping (after 2ms in state APIVERSION_QUERY)"},
        {"127.0.0.1:1005/1: Receive failed: Invalid response size 120000000 (0..100000000): "
         "increase receive.message.max.bytes (after 4ms in state UP)",
         "127.0.0.1:1005/1: Receive failed: Invalid response size 120000000 (0..100000000): "
         "increase receive.message.max.bytes (after 4ms in state UP)"},
        {"ssl://127.0.0.1:1006/bootstrap: SSL handshake failed: error:0A000126:SSL "
         "routines::unexpected eof while reading (after 3ms in state SSL_HANDSHAKE)",
         "(after 3ms in state SSL_HANDSHAKE); what listens there may not expect TLS "
         "(kafka.security.protocol)"},
    };
    struct cluster *cluster = *state;
    struct side side;
    struct error error = {0};
    char line[600], reason[256];
    FILE *caught = tmpfile();
    int before = dup(STDERR_FILENO);
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    assert_true(caught && dup2(fileno(caught), STDERR_FILENO) >= 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(line, sizeof line, "[thrd:x]: %s", rows[i].theirs);
        kafka_log_callback(side.kafka->consumer, 3, "FAIL", line);
        kafka_error_callback(side.kafka->consumer, RD_KAFKA_RESP_ERR__TRANSPORT, rows[i].theirs,
                             side.kafka);
        if (i == 2) /* librdkafka calls it so, for each client and try */
            kafka_error_callback(side.kafka->consumer, RD_KAFKA_RESP_ERR__BAD_MSG, rows[i].theirs,
                                 side.kafka);
        if (!i) {
            kafka_silent_since(side.kafka, reason, sizeof reason);
            kafka_log_keep(side.kafka->consumer, 3, "FAIL", line);
            kafka_add_kept(&error);
        }
    }
    dup2(before, STDERR_FILENO);
    close(before);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!was_logged(caught, rows[i].ours))
            fail_msg("not logged: %s", rows[i].ours);
    assert_int_equal(count_lines(caught), sizeof rows / sizeof *rows);
    fclose(caught);
    assert_non_null(strstr(reason, "or is just stopping"));
    assert_non_null(strstr(error.text, "or is just stopping"));
    side_leave(&side);
    side_fini(&side);
}

/* librdkafka from 2.2 on logs in again on an open connection when a login has ended. */
static void a_changed_user_is_not_refused(void **state)
{
    static const char theirs[] =
        "[thrd:x]: sasl_ssl://127.0.0.1:1001/1: SASL authentication error: Cannot change "
        "principals during re-authentication from User.a: User.b (after 150ms in state AUTH_REQ)";
    struct cluster *cluster = *state;
    struct side side;
    FILE *caught = tmpfile();
    int before = dup(STDERR_FILENO);
    log_setup(LOG_INFO, LOG_TEXT, "test");
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    assert_true(caught && dup2(fileno(caught), STDERR_FILENO) >= 0);
    kafka_log_callback(side.kafka->consumer, 3, "FAIL", theirs);
    kafka_error_callback(side.kafka->consumer, RD_KAFKA_RESP_ERR__AUTHENTICATION,
                         strchr(theirs, ' ') + 1, side.kafka);
    dup2(before, STDERR_FILENO);
    close(before);
    assert_true(was_logged(caught, "info  kafka: sasl_ssl://127.0.0.1:1001/1: SASL"));
    assert_true(was_logged(caught, "the connection is made anew with the new user"));
    assert_int_equal(count_lines(caught), 1);
    assert_false(kafka_is_refused());
    fclose(caught);
    side_fini(&side);
}

/* No newer instance exists where Kafka itself has ended a transaction. */
static void explains_what_fences_a_producer(void **state)
{
    static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR__FENCED,
                                                RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
                                                RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH};
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct error error;
        assert_true(kafka_is_fenced(codes[i]));
        kafka_explain(&error, codes[i], "committing: fenced by a newer instance");
        assert_non_null(strstr(error.text, "no newer instance need exist"));
        assert_non_null(strstr(error.text, "kafka.transaction.timeout.ms"));
    }
}

/* A partition of which nothing comes because its leader does not answer looks like one that is
 * idle. */
static void tells_of_a_leader_that_does_not_answer(void **state)
{
    enum { LEADER = 2 };
    static const char *const options[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                          "kafka.session.timeout.ms=6000", "stuck.after.ms=1000",
                                          NULL};
    struct cluster *cluster = cluster_new(LEADER);
    struct side side;
    *state = cluster;
    rd_kafka_mock_topic_create(cluster->mock, "call-requests", 2, 1);
    rd_kafka_mock_topic_create(cluster->mock, "call-results", 1, 1);
    rd_kafka_mock_topic_create(cluster->mock, "privacy-call-dead-letters", 1, 1);
    rd_kafka_mock_partition_set_leader(cluster->mock, "call-requests", 0, 1);
    rd_kafka_mock_partition_set_leader(cluster->mock, "call-requests", 1, LEADER);
    rd_kafka_mock_coordinator_set(cluster->mock, "group", "g", 1);
    side_init(&side, cluster->bootstrap, "g", "a", options);
    side_join(&side, 2);
    side_until(&side, (side_take(&side, 0), side_take(&side, 1), side.ends > 1));
    const struct kafka_slot *served = kafka_slot_find(side.kafka, REQUEST_CALL, 0);
    const struct kafka_slot *unserved = kafka_slot_find(side.kafka, REQUEST_CALL, 1);
    rd_kafka_mock_broker_set_down(cluster->mock, LEADER);
    side_until(&side, unserved->trouble.since_ms);
    assert_non_null(strstr(unserved->trouble.reason, "broker 2 (127.0.0.1:"));
    assert_int_equal(served->trouble.since_ms, 0);
    assert_int_equal(atomic_load(&side.kafka->silent_since_ms), 0);
    rd_kafka_mock_broker_set_up(cluster->mock, LEADER);
    side_until(&side, (side_take(&side, 1), !unserved->trouble.since_ms));
    topic_put(cluster->bootstrap, "call-requests", 1, "o-1", "one", "x");
    side_until(&side, (side_take(&side, 1), side.taken_count > 0));
    side_leave(&side);
    side_fini(&side);
}

static void push_fetch_errors(struct cluster *cluster, rd_kafka_resp_err_t code)
{
    rd_kafka_resp_err_t errors[200];
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        errors[i] = code;
    rd_kafka_mock_push_request_errors_array(cluster->mock, OFFSET_FETCH,
                                            sizeof errors / sizeof *errors, errors);
}

/* The client of the first read of ledgers has events that nobody else reads. */
static void names_the_right_that_the_first_read_lacks(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "unread", "a", quick_options);
    side_join(&side, 2);
    push_fetch_errors(cluster, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    assert_int_equal(side_read(&side, 1, false), GROUP_RETRY);
    assert_int_equal(errors_with("READ on group unread"), 1);
    rd_kafka_mock_clear_request_errors(cluster->mock, OFFSET_FETCH);
    side_leave(&side);
    side_fini(&side);
}

/* A coordinator that answers, but not with offsets: its words are told, not that nobody answers. */
static void tells_what_the_coordinator_says(void **state)
{
    static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                                                RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                                                RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS};
    struct cluster *cluster = *state;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = "1:2:a"};
    struct side side, other;
    char reason[256];
    FILE *caught = tmpfile();
    int before = dup(STDERR_FILENO);
    ledger.metadata_size = strlen(ledger.metadata);
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    assert_int_equal(side_read(&side, 1, true), GROUP_DONE);
    side_init(&other, cluster->bootstrap, "other", "a", quick_options);
    side_join(&other, 2);
    assert_int_equal(side_commit(&other, &ledger, 1), GROUP_DONE);
    assert_int_equal(side_read(&other, 1, true), GROUP_DONE);
    assert_true(caught && dup2(fileno(caught), STDERR_FILENO) >= 0);
    for (size_t i = 0; i < 2; i++) {
        push_fetch_errors(cluster, codes[i]);
        side_until(&side, was_logged(caught, rd_kafka_err2str(codes[i])));
        assert_int_equal(kafka_silent_since(side.kafka, reason, sizeof reason), 0);
        assert_int_equal(kafka_lacks_right(side.kafka), i == 1);
        rd_kafka_mock_clear_request_errors(cluster->mock, OFFSET_FETCH);
        side_until(&side, !kafka_lacks_right(side.kafka));
    }
    /* librdkafka keeps this one to itself. A dead bootstrap broker is no reason not to tell it. */
    kafka_log_callback(side.kafka->consumer, 3, "FAIL",
                       "[thrd:x]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed");
    kafka_silence_ended(side.kafka);
    assert_true(kafka_log_tells_why());
    push_fetch_errors(cluster, codes[2]);
    side_until(&side, kafka_silent_since(side.kafka, reason, sizeof reason) != 0);
    assert_true(was_logged(caught, "the coordinator of group g gives no answer"));
    side_until(&other, kafka_silent_since(other.kafka, reason, sizeof reason) != 0);
    assert_false(was_logged(caught, "the coordinator of group other gives no answer"));
    dup2(before, STDERR_FILENO);
    close(before);
    assert_non_null(strstr(reason, "the coordinator of group other gives no answer, or none but"));
    rd_kafka_mock_clear_request_errors(cluster->mock, OFFSET_FETCH);
    side_until(&side, kafka_silent_since(side.kafka, reason, sizeof reason) == 0);
    assert_string_equal(reason, "");
    fclose(caught);
    side_until(&other, kafka_silent_since(other.kafka, reason, sizeof reason) == 0);
    side_leave(&other);
    side_fini(&other);
    side_leave(&side);
    side_fini(&side);
}

/* librdkafka never ends a consumer whose assignment is unanswered. */
static void frees_while_an_assignment_is_unanswered(void **strategy)
{
    struct cluster *cluster = cluster_new(1);
    const char *const options[] = {*strategy, NULL};
    void *down = cluster;
    struct side side;
    rd_kafka_mock_topic_create(cluster->mock, "call-requests", 2, 1);
    rd_kafka_mock_topic_create(cluster->mock, "call-results", 1, 1);
    rd_kafka_mock_topic_create(cluster->mock, "privacy-call-dead-letters", 1, 1);
    side_init(&side, cluster->bootstrap, "g", "a", options);
    side.answers = false;
    side_join(&side, 2);
    side_fini(&side);
    cluster_down(&down);
}

static void frees_while_jobs_hang(void **state)
{
    (void)state;
    struct side side;
    /* Nothing listens there. */
    side_init(&side, "127.0.0.1:1", "g", "a", NULL);
    kafka_start(side.kafka);
    kafka_join(side.kafka);
    struct record_position position = {.kind = REQUEST_CALL};
    kafka_read_ledgers(side.kafka, &position, 1, true);
    side_until(&side, side.ledgers_read == 1);
    assert_int_equal(side.answer, GROUP_RETRY);
    kafka_end_owner(side.kafka, "other");
    kafka_serve(side.kafka);
    int64_t before = clock_boot_ms();
    side_fini(&side);
    assert_true(clock_boot_ms() - before < 10000);
}

static void setting(struct kafka_setting *to, const char *name, const char *value, bool consumer,
                    bool producer)
{
    *to = (struct kafka_setting){.name = (char *)name,
                                 .value = (char *)value,
                                 .consumer = consumer,
                                 .producer = producer,
                                 .origin = "file.conf:7"};
}

static int check(const char *name, const char *value, bool consumer, bool producer, char *said,
                 size_t size)
{
    struct kafka_setting settings[3];
    struct config config = {.kafka = settings,
                            .kafka_count = 3,
                            .group_ids = {"g", "g-recordings"},
                            .instance_id = "i",
                            .session_timeout_ms = 30000,
                            .heartbeat_interval_ms = 1000,
                            .transaction_timeout_ms = 60000};
    struct text errors = {0};
    setting(&settings[0], "bootstrap.servers", "127.0.0.1:1", true, true);
    setting(&settings[1], "security.protocol", "ssl", true, true);
    setting(&settings[2], name, value, consumer, producer);
    char key[80];
    snprintf(key, sizeof key, "kafka.%s", name);
    settings[2].key = key;
    int result = kafka_check_settings(&config, &errors);
    snprintf(said, size, "%s", errors.data ? errors.data : "");
    text_fini(&errors);
    return result;
}

static void checks_settings(void **state)
{
    (void)state;
    char said[600];
    assert_int_equal(check("linger.ms", "5", true, true, said, sizeof said), 0);
    assert_string_equal(said, "");
    assert_int_equal(check("fetch.wait.max.ms", "5", true, true, said, sizeof said), 0);
    assert_int_equal(check("partitioner", "consistent", false, true, said, sizeof said), 0);
    assert_int_equal(check("linger.ms", "many", true, true, said, sizeof said), -1);
    assert_non_null(strstr(said, "file.conf:7"));
    assert_non_null(strstr(said, "kafka.linger.ms"));
    assert_non_null(strstr(said, "expected 0 .. 900000\n"));
    assert_int_equal(check("compression.codec", "zip", true, true, said, sizeof said), -1);
    assert_non_null(strstr(said, "expected none, gzip, "));
    assert_int_equal(check("linger.ms", "900001", true, true, said, sizeof said), -1);
    assert_null(strchr(said, '\\'));
    assert_int_equal(check("lingering", "5", true, true, said, sizeof said), -1);
    assert_non_null(strstr(said, "kafka.lingering"));
    /* For the side that does not know it: the other one does, so it is no error. */
    assert_int_equal(check("linger.ms", "5", true, false, said, sizeof said), 0);
    assert_int_equal(check("fetch.wait.max.ms", "5", false, true, said, sizeof said), 0);
    assert_int_equal(check("fetch.wait.max.ms", "much", false, true, said, sizeof said), -1);
    /* Wrong only when used, or together with others. */
    assert_int_equal(check("ssl.ca.location", "/nowhere", true, true, said, sizeof said), -1);
    assert_non_null(strstr(said, "ssl.ca.location"));
    /* What consumer and producer refuse alike is said once. */
    assert_ptr_equal(strchr(said, '\n'), strrchr(said, '\n'));
    assert_int_equal(check("max.poll.interval.ms", "7000", true, false, said, sizeof said), -1);
    /* A secret's value is not repeated. */
    assert_int_equal(check("ssl.key.pem", "hush-hush", true, true, said, sizeof said), -1);
    assert_null(strstr(said, "hush"));
}

static void explains_without_what_is_not_there(void **state)
{
    (void)state;
    struct error error;
    kafka_explain(&error, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
                  "sending: call-requests((null))[4], call-requests((null))[5]: no");
    assert_string_equal(error.text, "sending: call-requests[4], call-requests[5]: no");
}

/* A broker that hangs: librdkafka reports each request of each connection, then their number, then
 * the connection, and that once more as an error; and what a call returns. Each client has
 * connections of its own, and some of them are called after what the broker coordinates. */
static void tells_once_that_a_broker_hangs(void **state)
{
    static const char *const names[] = {"127.0.0.1:4/3", "GroupCoordinator/3", "TxnCoordinator/3"};
    static const char *const brokers[] = {"127.0.0.1:4/3", "GroupCoordinator: 127.0.0.1:4",
                                          "TxnCoordinator: 127.0.0.1:4"};
    static const char *const requests[] = {"Heartbeat", "Fetch", "OffsetFetch"};
    struct cluster *cluster = *state;
    struct side side;
    char line[300];
    FILE *caught = tmpfile();
    int before = dup(STDERR_FILENO);
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    assert_true(caught && dup2(fileno(caught), STDERR_FILENO) >= 0);
    log_setup(LOG_INFO, LOG_TEXT, "test");
    for (int round = 0; round < 12; round++) {
        rd_kafka_t *client = round % 2 ? side.kafka->consumer : side.kafka->producer;
        int way = round / 2 % 3;
        for (size_t i = 0; i < 3; i++) {
            snprintf(line, sizeof line,
                     "[thrd:x]: %s: Timed out %sRequest in flight (after 2005%dms, timeout #%zu)",
                     names[way], requests[i], round, i);
            kafka_log_callback(client, 5, "REQTMOUT", line);
        }
        snprintf(line, sizeof line,
                 "[thrd:x]: %s: Timed out %d in-flight, 0 retry-queued, 0 out-queue, 0 "
                 "partially-sent requests",
                 names[way], round);
        kafka_log_callback(client, 4, "REQTMOUT", line);
        snprintf(line, sizeof line,
                 "[thrd:x]: %s: %d request(s) timed out: disconnect (after 4154%dms in state UP)",
                 brokers[way], round, round);
        kafka_log_callback(client, 3, "FAIL", line);
        snprintf(line, sizeof line,
                 "[thrd:main]: %s: Failed to add offsets to transaction on broker %s: Local: "
                 "Timed out (after %dms, 0ms remains): error is retriable",
                 names[way], names[way], round);
        kafka_log_callback(side.kafka->producer, 3, "ADDOFFSETS", line);
        kafka_error_callback(client, RD_KAFKA_RESP_ERR__TIMED_OUT, strstr(line, ": ") + 2,
                             side.kafka);
    }
    /* What is done about these two is in lines of the worker's own. */
    kafka_log_callback(side.kafka->producer, 4, "GETPID",
                       "[thrd:main]: Failed to acquire transactional PID from broker "
                       "TxnCoordinator/1: Broker: Not coordinator: retrying");
    kafka_log_callback(side.kafka->producer, 4, "TERMINATE",
                       "[thrd:app]: Producer terminating with 23 messages (7866 bytes) still in "
                       "queue or transit: use flush() to wait for outstanding message delivery");
    /* Lines that inform are limited like any others. */
    kafka_log_callback(side.kafka->consumer, 6, "WORD", "[thrd:x]: the same 1");
    kafka_log_callback(side.kafka->consumer, 6, "WORD", "[thrd:x]: the same 2");
    log_setup(LOG_WARN, LOG_TEXT, "test");
    dup2(before, STDERR_FILENO);
    close(before);
    assert_true(was_logged(caught, "request(s) timed out: disconnect"));
    assert_true(was_logged(caught, "the same 1"));
    assert_int_equal(count_lines(caught), 2);
    fclose(caught);
    side_leave(&side);
    side_fini(&side);
}

/* Rebalances as a leader of the group makes them that is broken, or no worker: the good partition
 * is worked on, and the rest costs one error and no memory. */
static void leaves_alone_what_cannot_exist(void **state)
{
    static const struct {
        const char *topic;
        int32_t partition;
    } handed_out[] = {
        {"call-requests", -1},
        {"call-requests", INT32_MIN},
        {"call-requests", INT32_MAX},
        {"call-requests", 100000},
        {"another-topic", 0},
        {"recording-requests", 0},
        {"\xff\xfe\n\x1b[2J: broken", 0},
        {"", 0},
        {"call-requests", 1},
        {"call-requests", 1},
    };
    static const rd_kafka_resp_err_t rebalances[] = {RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
                                                     RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS};
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < sizeof handed_out / sizeof *handed_out; i++)
        rd_kafka_topic_partition_list_add(list, handed_out[i].topic, handed_out[i].partition);
    for (size_t i = 0; i < 6; i++) {
        kafka_rebalance_callback(side.kafka->consumer, rebalances[i % 2], list, side.kafka);
        side_until(&side, side.rebalance_count == i + 1);
        assert_int_equal(side.rebalances[i].revoked, i % 2);
        assert_int_equal(side.rebalances[i].count, 1);
        assert_int_equal(side.rebalances[i].list[0].partition, 1);
    }
    assert_int_equal(side.kafka->assignment.slots[REQUEST_CALL].count, 2);
    assert_int_equal(side.kafka->assignment.slots[REQUEST_RECORDING].count, 0);
    assert_int_equal(errors_with("call-requests/-1"), 1);
    rd_kafka_topic_partition_list_destroy(list);
    side_fini(&side);
}

/* Newer versions of librdkafka keep the newest epoch of a partition's leader, and ignore what they
 * hear of an older one. A topic of results that is made anew begins with epoch 0, so a producer
 * that knew the old one goes on asking the old one's leader. */
static void writes_on_when_leaders_begin_anew(void **state)
{
    typedef rd_kafka_resp_err_t push(rd_kafka_mock_cluster_t *, const char *, int, int32_t,
                                     int32_t);
    static const char *const options[] = {
        "kafka.session.timeout.ms=6000", "kafka.producer.message.timeout.ms=2000",
        "kafka.producer.topic.metadata.refresh.interval.ms=600000", NULL};
    enum { NEW_EPOCH = 5, TRIES = 4 };
    push *say_leader = NULL;
    *(void **)&say_leader = dlsym(RTLD_DEFAULT, "rd_kafka_mock_partition_push_leader_response");
    const struct rd_kafka_metadata *metadata;
    struct side side;
    struct record record;
    struct cluster *cluster = cluster_new(2);
    rd_kafka_mock_cluster_t *mock = cluster->mock;
    *state = cluster;
    rd_kafka_mock_topic_create(mock, "call-requests", 1, 1);
    rd_kafka_mock_topic_create(mock, "call-results", 1, 2);
    rd_kafka_mock_topic_create(mock, "privacy-call-dead-letters", 1, 1);
    rd_kafka_mock_partition_set_leader(mock, "call-results", 0, 1);
    side_init(&side, cluster->bootstrap, "g", "a", options);
    side_join(&side, 1);
    record_set(&record, "call-results", "k", "v");
    assert_int_equal(side_transact(&side, &record, 1, NULL, 0), TXN_COMMITTED);
    if (say_leader) /* else this version knows no epochs: the leader moves, and no more */
        say_leader(mock, "call-results", 0, 1, NEW_EPOCH);
    assert_int_equal(
        rd_kafka_metadata(side.kafka->producer, 0, side.kafka->outputs[0].topic, &metadata, 20000),
        0);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_mock_partition_set_leader(mock, "call-results", 0, 2);
    enum txn_outcome outcome = TXN_ABORTED;
    for (int i = 0; i < TRIES && outcome == TXN_ABORTED; i++)
        outcome = side_transact(&side, &record, 1, NULL, 0);
    assert_int_equal(outcome, TXN_COMMITTED);
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

int main(int argc, char **argv)
{
    log_setup(LOG_WARN, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_settings),
        cmocka_unit_test(explains_without_what_is_not_there),
        with_cluster(delivers_records_whole_and_ends),
        with_cluster(reads_again_what_came_in_another_queue),
        with_cluster(commits_plainly_and_reads_back),
        with_cluster(forgets_a_log_that_is_gone),
        with_cluster(commits_nothing_without_membership),
        cmocka_unit_test(asks_and_believes_only_what_was_asked),
        with_cluster(polls_clients_that_are_idle),
        with_cluster(begins_at_slow_brokers),
        with_cluster(takes_an_offer_back_when_it_is_no_member),
        with_cluster(keeps_an_offer_that_came_after_a_commit_without_membership),
        with_cluster(gives_up_connections_that_are_not_acknowledged),
        with_cluster(tells_a_commit_that_may_be_repeated),
        with_cluster(leaves_a_producers_fatal_error_to_its_calls),
        with_cluster(a_reset_offset_is_told_as_no_decision),
        with_cluster(names_the_right_that_a_commit_lacks),
        with_cluster(an_older_assignment_proves_no_right),
        with_cluster(names_the_right_on_the_topic_that_offsets_lack),
        with_cluster(tells_of_a_record_that_the_broker_refuses),
        with_cluster(tells_whether_a_key_may_help),
        with_cluster(tells_why_a_record_is_too_large_for_the_client),
        with_cluster(tells_since_when_no_broker_answers_and_why),
        cmocka_unit_test(tells_once_that_brokers_answer_again),
        with_cluster(tells_what_may_listen_where_no_kafka_answers),
        with_cluster(a_changed_user_is_not_refused),
        cmocka_unit_test(explains_what_fences_a_producer),
        cmocka_unit_test_teardown(tells_of_a_leader_that_does_not_answer, cluster_down),
        with_cluster(names_the_right_that_the_first_read_lacks),
        with_cluster(tells_what_the_coordinator_says),
        with_cluster(tells_once_that_a_broker_hangs),
        with_cluster(leaves_alone_what_cannot_exist),
        cmocka_unit_test_teardown(writes_on_when_leaders_begin_anew, cluster_down),
        cmocka_unit_test(frees_while_jobs_hang),
        {"frees_while_an_assignment_is_unanswered: cooperative-sticky",
         frees_while_an_assignment_is_unanswered, NULL, NULL,
         "kafka.partition.assignment.strategy=cooperative-sticky"},
        {"frees_while_an_assignment_is_unanswered: range", frees_while_an_assignment_is_unanswered,
         NULL, NULL, "kafka.partition.assignment.strategy=range"},
    };
    return run_cases(tests, argc, argv);
}
