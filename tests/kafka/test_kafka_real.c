/* io/kafka against Apache Kafka, at the address in KAFKA_BOOTSTRAP: transactions, dead owners,
 * fencing, and rebalances that come at the wrong moment. Skipped without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/kafka_internal.h"
#include "support.h"

/* Topics and group of one test. */
struct place_names {
    const char *bootstrap;
    char group[64], requests[64], results[64], dead[64];
    char requests_option[100], results_option[100], dead_option[100];
    const char *options[SIDE_OPTIONS];
};

static void names_init(struct place_names *names, const char *test, const char *const *more)
{
    size_t count = 0;
    memset(names, 0, sizeof *names);
    names->bootstrap = getenv("KAFKA_BOOTSTRAP");
    int length = snprintf(names->group, sizeof names->group, "%s-%d-%lld", test, (int)getpid(),
                          (long long)(clock_wall_ms() % 100000));
    assert_true(length < (int)sizeof names->group - 4);
    snprintf(names->requests, sizeof names->requests, "%.58s-in", names->group);
    snprintf(names->results, sizeof names->results, "%.58s-out", names->group);
    snprintf(names->dead, sizeof names->dead, "%.58s-dead", names->group);
    snprintf(names->requests_option, sizeof names->requests_option, "topic.call.requests=%s",
             names->requests);
    snprintf(names->results_option, sizeof names->results_option, "topic.call.results=%s",
             names->results);
    snprintf(names->dead_option, sizeof names->dead_option, "topic.dead.letters=%s", names->dead);
    names->options[count++] = names->requests_option;
    names->options[count++] = names->results_option;
    names->options[count++] = names->dead_option;
    names->options[count++] = "kafka.session.timeout.ms=30000";
    if (getenv("TEST_LOG_DEBUG"))
        names->options[count++] = "kafka.consumer.debug=cgrp";
    names->options[count++] = "kafka.topic.metadata.refresh.interval.ms=500";
    for (; more && *more; more++)
        names->options[count++] = *more;
}

static void topics_make(const struct place_names *names, int partitions)
{
    topic_make(names->bootstrap, names->requests, partitions);
    topic_make(names->bootstrap, names->results, 1);
    topic_make(names->bootstrap, names->dead, 1);
}

static void side_of(struct side *side, const struct place_names *names, const char *instance)
{
    side_init(side, names->bootstrap, names->group, instance, names->options);
}

static struct rebalance *newest(struct side *side)
{
    assert_true(side->rebalance_count > 0);
    return &side->rebalances[side->rebalance_count - 1];
}

static bool was_told(const struct side *side, bool revoked, bool lost, int32_t partition)
{
    for (size_t i = 0; i < side->rebalance_count; i++)
        for (size_t j = 0; j < side->rebalances[i].count; j++)
            if (side->rebalances[i].revoked == revoked && side->rebalances[i].lost == lost &&
                side->rebalances[i].list[j].partition == partition)
                return true;
    return false;
}

/* What the handler owns, by what it was told. */
static size_t owned(const struct side *side)
{
    bool has[SEEN] = {false};
    size_t count = 0;
    for (size_t i = 0; i < side->rebalance_count; i++)
        for (size_t j = 0; j < side->rebalances[i].count; j++) {
            int32_t partition = side->rebalances[i].list[j].partition;
            /* It is never told of one that it has, nor loses one that it has not; but what it is
             * giving back it may yet lose. */
            assert_true(side->rebalances[i].lost || has[partition] == side->rebalances[i].revoked);
            has[partition] = !side->rebalances[i].revoked;
        }
    for (size_t i = 0; i < SEEN; i++)
        count += has[i];
    return count;
}

static struct stored_ledger ledger_of(int32_t partition, int64_t offset, const char *metadata)
{
    return (struct stored_ledger){.kind = REQUEST_CALL,
                                  .partition = partition,
                                  .offset = offset,
                                  .metadata = metadata,
                                  .metadata_size = strlen(metadata)};
}

/* Repeats what a broker has not answered in time, or (stable) has not ended yet: it writes the
 * markers of a transaction after it has answered its commit. */
#define until_done(call)                                                                           \
    do {                                                                                           \
        int64_t limit_ = clock_boot_ms() + WAIT_MS;                                                \
        enum group_answer answer_;                                                                 \
        while ((answer_ = (call)) == GROUP_RETRY)                                                  \
            assert_true(clock_boot_ms() < limit_);                                                 \
        assert_int_equal(answer_, GROUP_DONE);                                                     \
    } while (0)

static enum group_answer side_end_owner(struct side *side, const char *owner)
{
    int before = side->owners_ended;
    kafka_end_owner(side->kafka, owner);
    side_until(side, side->owners_ended == before + 1);
    return side->answer;
}

static void commits_results_and_ledgers_as_one(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    struct record records[2];
    char values[200], long_one[4001];
    names_init(&names, "atomic", NULL);
    topics_make(&names, 2);
    side_of(&side, &names, "a");
    side_join(&side, 2);
    record_set(&records[0], names.results, "k", "r1");
    record_set(&records[1], names.results, "k", "r2");
    memset(long_one, 'x', 4000);
    long_one[4000] = '\0';
    struct stored_ledger ledgers[] = {ledger_of(0, 5, long_one), ledger_of(1, 0, "1:1:a")};
    assert_int_equal(side_transact(&side, records, 2, ledgers, 2), TXN_COMMITTED);
    topic_values(names.bootstrap, names.results, true, values, sizeof values);
    assert_string_equal(values, "r1,r2");
    until_done(side_read(&side, 0, true));
    assert_int_equal(side.ledgers[0].offset, 5);
    assert_string_equal(side.ledgers[0].metadata, long_one);
    until_done(side_read(&side, 1, false));
    assert_int_equal(side.ledgers[0].offset, 0);
    assert_string_equal(side.ledgers[0].metadata, "1:1:a");
    /* Ledgers alone, results alone. */
    ledgers[1] = ledger_of(1, 1, "1:2:a");
    assert_int_equal(side_transact(&side, NULL, 0, &ledgers[1], 1), TXN_COMMITTED);
    assert_int_equal(side_transact(&side, records, 1, NULL, 0), TXN_COMMITTED);
    topic_values(names.bootstrap, names.results, true, values, sizeof values);
    assert_string_equal(values, "r1,r2,r1");
    record_fini(&records[0]);
    record_fini(&records[1]);
    side_leave(&side);
    assert_int_equal(side.failed, 0);
    side_fini(&side);
}

static void aborts_whole(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    struct record record;
    char values[200], too_long[4101];
    names_init(&names, "abort", NULL);
    topics_make(&names, 1);
    side_of(&side, &names, "a");
    side_join(&side, 1);
    record_set(&record, names.results, "k", "r1");
    memset(too_long, 'x', 4100);
    too_long[4100] = '\0';
    struct stored_ledger ledger = ledger_of(0, 5, too_long);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_OFFSETS_REFUSED);
    assert_true(strlen(side.error) > 0);
    topic_values(names.bootstrap, names.results, true, values, sizeof values);
    assert_string_equal(values, "");
    until_done(side_read(&side, 0, true));
    assert_int_equal(side.ledgers[0].offset, -1);
    ledger = ledger_of(0, 5, "1:1:a");
    while (side_transact(&side, &record, 1, &ledger, 1) == TXN_ABORTED)
        ;
    assert_int_equal(side.outcome, TXN_COMMITTED);
    record_fini(&record);
    side_leave(&side);
    side_fini(&side);
}

static void replaces_what_is_refused(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    struct record records[3];
    char values[20000], big[9001];
    names_init(&names, "refuse", NULL);
    topic_make(names.bootstrap, names.requests, 1);
    topic_make_limited(names.bootstrap, names.results, 4000);
    topic_make(names.bootstrap, names.dead, 1);
    side_of(&side, &names, "a");
    side_join(&side, 1);
    for (size_t i = 0; i < 9000; i++)
        big[i] = 'a' + (char)(i % 23);
    big[9000] = '\0';
    record_set(&records[0], names.results, "k", "r0");
    record_set(&records[1], names.results, "k", big);
    record_set(&records[2], names.results, "k", "r2");
    struct stored_ledger ledger = ledger_of(0, 3, "1:1:a");
    int tries = 0;
    while (side_transact(&side, records, 3, &ledger, 1) == TXN_ABORTED)
        assert_true(tries++ < 10);
    assert_int_equal(side.outcome, TXN_REFUSED);
    assert_false(side.refused[0]);
    assert_true(side.refused[1]);
    assert_false(side.refused[2]);
    record_fini(&records[1]);
    /* Each fits, all together do not: that is no refusal. */
    big[1800] = '\0';
    for (int i = 0; i < 3; i++) {
        if (i != 1)
            record_fini(&records[i]);
        record_set(&records[i], names.results, "k", big);
    }
    tries = 0;
    while (side_transact(&side, records, 3, &ledger, 1) == TXN_ABORTED)
        assert_true(tries++ < 10);
    assert_int_equal(side.outcome, TXN_COMMITTED);
    topic_values(names.bootstrap, names.results, true, values, sizeof values);
    assert_int_equal(strlen(values), 3 * 1800 + 2);
    /* librdkafka's own limit is told without the broker. */
    char *huge = calloc(1, 1100001);
    memset(huge, 'x', 1100000);
    record_fini(&records[2]);
    record_set(&records[2], names.results, "k", huge);
    assert_int_equal(side_transact(&side, records, 3, &ledger, 1), TXN_REFUSED);
    assert_false(side.refused[0]);
    assert_true(side.refused[2]);
    free(huge);
    for (int i = 0; i < 3; i++)
        record_fini(&records[i]);
    side_leave(&side);
    side_fini(&side);
}

static void is_fenced_and_goes_on_with_a_new_producer(void **state)
{
    (void)state;
    struct place_names names;
    struct side side, twin;
    struct record record;
    char values[200];
    names_init(&names, "fence", NULL);
    topics_make(&names, 1);
    side_of(&side, &names, "a");
    side_join(&side, 1);
    record_set(&record, names.results, "k", "r1");
    struct stored_ledger ledger = ledger_of(0, 1, "1:1:a");
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_COMMITTED);
    side_of(&twin, &names, "a");
    kafka_start(twin.kafka);
    side_until(&twin, twin.ready == 1);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_FENCED);
    assert_non_null(strstr(side.error, "no newer instance need exist"));
    kafka_renew_producer(side.kafka);
    side_until(&side, side.ready == 2);
    assert_int_equal(side_transact(&side, &record, 1, &ledger, 1), TXN_COMMITTED);
    topic_values(names.bootstrap, names.results, true, values, sizeof values);
    assert_string_equal(values, "r1,r1");
    record_fini(&record);
    side_fini(&twin);
    side_leave(&side);
    side_fini(&side);
}

/* Its state is what stands between the group and the dead owner's name in the transactional id: the
 * present colon, or the hyphen of earlier versions. */
static void ends_a_dead_owner(void **state)
{
    struct place_names names;
    struct side side;
    char id[80];
    names_init(&names, "owner", NULL);
    topics_make(&names, 1);
    side_of(&side, &names, "b");
    snprintf(id, sizeof id, "%s%sa", names.group, (const char *)*state);
    rd_kafka_t *dead = transaction_left_open(names.bootstrap, names.group, id, names.results,
                                             names.requests, 4, "1:3:a");
    side_join(&side, 1);
    assert_int_equal(side_read(&side, 0, true), GROUP_RETRY);
    until_done(side_read(&side, 0, false));
    assert_int_equal(side.ledgers[0].offset, -1);
    until_done(side_end_owner(&side, "a"));
    until_done(side_read(&side, 0, true));
    assert_int_equal(side.ledgers[0].offset, -1);
    /* Its commit comes too late. */
    rd_kafka_error_t *error = rd_kafka_commit_transaction(dead, WAIT_MS);
    assert_non_null(error);
    assert_true(rd_kafka_error_is_fatal(error));
    rd_kafka_error_destroy(error);
    rd_kafka_destroy(dead);
    /* Our own name is no other's. */
    until_done(side_end_owner(&side, "b"));
    struct stored_ledger ledger = ledger_of(0, 1, "1:1:b");
    until_done(side_commit(&side, &ledger, 1));
    assert_int_equal(side_transact(&side, NULL, 0, &ledger, 1), TXN_COMMITTED);
    side_leave(&side);
    side_fini(&side);
}

/* An update in place: the process before had the same name, but another transactional id. */
static void ends_what_an_earlier_version_of_itself_left(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    char id[80];
    names_init(&names, "former", NULL);
    topics_make(&names, 1);
    snprintf(id, sizeof id, "%s-a", names.group);
    rd_kafka_t *dead = transaction_left_open(names.bootstrap, names.group, id, names.results,
                                             names.requests, 4, "1:3:a");
    side_of(&side, &names, "a");
    side_join(&side, 1);
    until_done(side_read(&side, 0, true));
    rd_kafka_error_t *error = rd_kafka_commit_transaction(dead, WAIT_MS);
    assert_non_null(error);
    assert_true(rd_kafka_error_is_fatal(error));
    rd_kafka_error_destroy(error);
    rd_kafka_destroy(dead);
    side_leave(&side);
    side_fini(&side);
}

static void waits_for_topics(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    names_init(&names, "late", NULL);
    side_of(&side, &names, "a");
    kafka_start(side.kafka);
    kafka_join(side.kafka);
    for (int i = 0; i < 20; i++) {
        kafka_wait(side.kafka, 50);
        kafka_serve(side.kafka);
    }
    assert_int_equal(side.ready, 0);
    assert_int_equal(owned(&side), 0);
    topics_make(&names, 1);
    side_until(&side, side.ready == 1);
    side_until(&side, owned(&side) == 1);
    side_until(&side, (side_take(&side, 0), side.ends > 0));
    assert_int_equal(side.failed, 0);
    side_leave(&side);
    side_fini(&side);
}

/* Serves two until the condition. */
#define both_until(one, two, condition)                                                            \
    side_until(one, (kafka_serve((two)->kafka), kafka_wait((two)->kafka, 5), (condition)))

/* The second one leaves, the first one has its partitions, of four, and leaves, too. */
static void both_leave(struct side *one, struct side *two)
{
    kafka_leave(two->kafka);
    both_until(one, two, kafka_left(two->kafka) && owned(one) == 4);
    assert_int_equal(owned(two), 0);
    side_leave(one);
    assert_int_equal(one->failed + two->failed, 0);
    side_fini(two);
    side_fini(one);
}

static void shares_with_another(void **strategy)
{
    const char *const more[] = {*strategy, NULL};
    struct place_names names;
    struct side one, two;
    names_init(&names, "share", more);
    topics_make(&names, 4);
    side_of(&one, &names, "a");
    side_join(&one, 4);
    side_of(&two, &names, "b");
    kafka_start(two.kafka);
    kafka_join(two.kafka);
    both_until(&one, &two, owned(&one) == 2 && owned(&two) == 2);
    for (int32_t i = 0; i < 4; i++)
        topic_put(names.bootstrap, names.requests, i, "k", "v", "h");
    for (int32_t i = 0; i < 4; i++)
        side_until(&one, (side_take(&one, i), kafka_serve(two.kafka), side_take(&two, i),
                          one.taken_count + two.taken_count == (size_t)i + 1));
    both_leave(&one, &two);
}

/* librdkafka pauses what it has been assigned while a rebalance is unanswered: `assigned` until its
 * ledgers are read, `revoked` until the calls have ended. */
static void reads_what_stays_during_a_rebalance(void **state)
{
    (void)state;
    struct place_names names;
    struct side one, two;
    names_init(&names, "stays", NULL);
    topics_make(&names, 3);
    side_of(&one, &names, "a");
    side_of(&two, &names, "b");
    side_join(&one, 3);
    one.answers = false;
    size_t before = one.rebalance_count;
    topic_grow(names.bootstrap, names.requests, 4);
    side_until(&one, one.rebalance_count == before + 1);
    topic_put(names.bootstrap, names.requests, 0, "k", "v", "h");
    side_until(&one, (side_take(&one, 0), one.taken_count == 1));
    kafka_assign(one.kafka, newest(&one)->number, newest(&one)->list, newest(&one)->count);
    kafka_start(two.kafka);
    kafka_join(two.kafka);
    both_until(&one, &two, newest(&one)->revoked);
    int32_t stays = 0;
    while (was_told(&one, true, false, stays))
        stays++;
    topic_put(names.bootstrap, names.requests, stays, "k", "v", "h");
    both_until(&one, &two, (side_take(&one, stays), one.taken_count == 2));
    assert_int_equal(owned(&two), 0);
    kafka_unassign(one.kafka, newest(&one)->number);
    one.answers = true;
    both_leave(&one, &two);
}

/* The topic is made again while a revocation is unanswered. What is given back commits its ledger,
 * so that there is an offset again when the answer comes. */
static void reads_another_log_of_what_stays_from_its_beginning(void **state)
{
    (void)state;
    struct place_names names;
    struct side one, two;
    struct stored_ledger ledgers[4];
    int32_t stays = 0;
    names_init(&names, "stays-anew", NULL);
    for (const char **option = names.options; *option; option++)
        if (strstr(*option, ".metadata.refresh.")) /* it hears nothing of the topic's absence */
            *option = "kafka.topic.metadata.refresh.interval.ms=600000";
    topics_make(&names, 4);
    side_of(&one, &names, "a");
    side_of(&two, &names, "b");
    side_join(&one, 4);
    for (int32_t i = 0; i < 4; i++) {
        ledgers[i] = ledger_of(i, 1, "1:1:a");
        topic_put(names.bootstrap, names.requests, i, "k", "of the old log", "h");
        side_until(&one, (side_take(&one, i), one.taken_count == (size_t)i + 1));
    }
    until_done(side_commit(&one, ledgers, 4));
    one.answers = false;
    kafka_start(two.kafka);
    kafka_join(two.kafka);
    both_until(&one, &two, newest(&one)->revoked);
    while (was_told(&one, true, false, stays))
        stays++;
    uint64_t number = newest(&one)->number;
    topic_delete(names.bootstrap, names.requests);
    both_until(&one, &two, kafka_slot_find(one.kafka, REQUEST_CALL, stays)->restart);
    topic_make(names.bootstrap, names.requests, 4);
    for (int i = 0; i < 3; i++)
        topic_put(names.bootstrap, names.requests, stays, "k", "of the new log", "h");
    both_until(&one, &two, side_commit(&one, ledgers, 4) == GROUP_DONE);
    assert_int_equal(newest(&one)->number, number);
    one.answers = true;
    kafka_unassign(one.kafka, number);
    both_until(&one, &two, (side_take(&one, stays), one.taken_count > 4));
    assert_int_equal(one.taken[4].position.offset, 0);
    both_leave(&one, &two);
}

/* All partitions but one have an offset in the topic that was made again before anything is asked:
 * that one is found all the same, though one question is not about so many. */
static void asks_about_each_partition_in_turn(void **state)
{
    enum { LATER_MS = 600000, PARTITIONS = 40 };
    (void)state;
    struct place_names names;
    struct side side;
    names_init(&names, "turn", NULL);
    for (const char **option = names.options; *option; option++)
        if (strstr(*option, ".metadata.refresh.")) /* it hears nothing of the topic's absence */
            *option = "kafka.topic.metadata.refresh.interval.ms=600000";
    topics_make(&names, PARTITIONS);
    side_of(&side, &names, "a");
    side_join(&side, PARTITIONS);
    struct stored_ledger ledgers[PARTITIONS];
    for (int32_t i = 0; i < PARTITIONS; i++)
        ledgers[i] = ledger_of(i, 0, "1:1:a");
    until_done(side_commit(&side, ledgers, PARTITIONS));
    const struct kafka_slot *slot = kafka_slot_find(side.kafka, REQUEST_CALL, PARTITIONS - 1);
    side_until(&side, !side.kafka->probe.list && side.kafka->probe.at_ms);
    side.kafka->probe.at_ms = clock_boot_ms() + LATER_MS;
    topic_delete(names.bootstrap, names.requests);
    topic_make(names.bootstrap, names.requests, PARTITIONS);
    /* A broker may not know the topic yet. */
    side_until(&side, side_commit(&side, ledgers, PARTITIONS - 1) == GROUP_DONE);
    assert_false(slot->restarted);
    side.kafka->probe.at_ms = 0;
    side_until(&side, slot->restarted);
    side_leave(&side);
    side_fini(&side);
}

/* The partition count changes while `assigned` is unanswered. */
static void hears_again_of_an_overtaken_offer(void **strategy)
{
    const char *const more[] = {*strategy, NULL};
    struct place_names names;
    struct side side;
    names_init(&names, "offer", more);
    topics_make(&names, 2);
    side_of(&side, &names, "a");
    side.answers = false;
    side_join(&side, 2);
    uint64_t first = newest(&side)->number;
    topic_grow(names.bootstrap, names.requests, 3);
    side_until(&side, owned(&side) == 3);
    assert_true(was_told(&side, true, true, 0) && was_told(&side, true, true, 1));
    /* The late answer changes nothing. */
    kafka_assign(side.kafka, first, side.rebalances[0].list, 2);
    topic_put(names.bootstrap, names.requests, 1, "k", "v", "h");
    for (int i = 0; i < 10; i++) {
        kafka_wait(side.kafka, 50);
        kafka_serve(side.kafka);
        side_take(&side, 1);
    }
    assert_int_equal(side.taken_count, 0);
    struct stored_ledger ledger = ledger_of(1, 0, "1:1:a");
    until_done(side_commit(&side, &ledger, 1));
    side.answers = true;
    kafka_assign(side.kafka, newest(&side)->number, newest(&side)->list, newest(&side)->count);
    side_until(&side, (side_take(&side, 1), side.taken_count == 1));
    side_leave(&side);
    assert_int_equal(owned(&side), 0);
    assert_int_equal(side.failed, 0);
    side_fini(&side);
}

/* The partition count changes while `revoked` is unanswered. */
static void loses_an_overtaken_revocation(void **strategy)
{
    const char *const more[] = {*strategy, NULL};
    struct place_names names;
    struct side one, two;
    names_init(&names, "revoke", more);
    topics_make(&names, 2);
    side_of(&one, &names, "a");
    side_join(&one, 2);
    side_of(&two, &names, "b");
    kafka_start(two.kafka);
    one.answers = false;
    kafka_join(two.kafka);
    both_until(&one, &two, newest(&one)->revoked);
    assert_false(newest(&one)->lost);
    uint64_t late = newest(&one)->number;
    size_t before = one.rebalance_count;
    topic_grow(names.bootstrap, names.requests, 4);
    both_until(&one, &two, one.rebalance_count > before);
    assert_true(one.rebalances[before].revoked && one.rebalances[before].lost);
    one.answers = true;
    if (!newest(&one)->revoked)
        kafka_assign(one.kafka, newest(&one)->number, newest(&one)->list, newest(&one)->count);
    kafka_unassign(one.kafka, late);
    both_until(&one, &two, owned(&one) == 2 && owned(&two) == 2);
    for (int32_t i = 0; i < 4; i++)
        topic_put(names.bootstrap, names.requests, i, "k", "v", "h");
    for (int32_t i = 0; i < 4; i++)
        side_until(&one, (side_take(&one, i), kafka_serve(two.kafka), side_take(&two, i),
                          one.taken_count + two.taken_count >= (size_t)i + 1));
    /* It still takes part in what comes next. */
    both_leave(&one, &two);
}

/* The partition count changes while `revoked` is unanswered, and the answer comes before the
 * assignment of the rejoin: another member holds that up, as it would by a drain of its own.
 * (Cooperative: in the eager protocol that other member waits in its JoinGroup already.) */
static void goes_on_after_a_late_answer_to_an_overtaken_revocation(void **state)
{
    (void)state;
    struct place_names names;
    struct side one, two;
    names_init(&names, "late", NULL);
    topics_make(&names, 2);
    side_of(&one, &names, "a");
    side_join(&one, 2);
    for (const char **option = names.options; *option; option++)
        if (strstr(*option, ".metadata.refresh.")) /* it does not join again by itself */
            *option = "kafka.topic.metadata.refresh.interval.ms=600000";
    side_of(&two, &names, "b");
    kafka_start(two.kafka);
    one.answers = false;
    kafka_join(two.kafka);
    side_until(&one, newest(&one)->revoked);
    uint64_t late = newest(&one)->number;
    one.answers = true;
    /* The other one has its assignment, but is not served, and so does not join again. */
    side_until(&one, kafka_standing(one.kafka) == KAFKA_SETTLED &&
                         kafka_standing(two.kafka) == KAFKA_SETTLED);
    topic_grow(names.bootstrap, names.requests, 4);
    side_until(&one, kafka_standing(one.kafka) == KAFKA_JOINING);
    assert_int_equal(newest(&one)->number, late);
    kafka_unassign(one.kafka, late);
    both_until(&one, &two, owned(&one) == 2 && owned(&two) == 2);
    /* It still takes part in what comes next. */
    both_leave(&one, &two);
}

static void leaves_while_an_offer_is_unanswered(void **strategy)
{
    const char *const more[] = {*strategy, NULL};
    struct place_names names;
    struct side side;
    names_init(&names, "leave", more);
    topics_make(&names, 2);
    side_of(&side, &names, "a");
    side.answers = false;
    side_join(&side, 2);
    side_leave(&side);
    assert_int_equal(owned(&side), 0);
    side_fini(&side);
}

/* A stop in the middle of a hand-over: the drain goes on as ours. */
static void leaves_after_the_drain(void **strategy)
{
    const char *const more[] = {*strategy, NULL};
    struct place_names names;
    struct side one, two;
    names_init(&names, "drain", more);
    topics_make(&names, 2);
    side_of(&one, &names, "a");
    side_join(&one, 2);
    side_of(&two, &names, "b");
    kafka_start(two.kafka);
    one.answers = false;
    kafka_join(two.kafka);
    both_until(&one, &two, newest(&one)->revoked);
    uint64_t number = newest(&one)->number;
    int32_t partition = newest(&one)->list[0].partition;
    kafka_leave(one.kafka);
    for (int i = 0; i < 10; i++) {
        kafka_wait(one.kafka, 50);
        kafka_serve(one.kafka);
        kafka_serve(two.kafka);
    }
    struct stored_ledger ledger = ledger_of(partition, 1, "1:1:");
    assert_int_equal(side_transact(&one, NULL, 0, &ledger, 1), TXN_COMMITTED);
    assert_int_equal(newest(&one)->number, number);
    one.answers = true;
    kafka_unassign(one.kafka, number);
    both_until(&one, &two, kafka_left(one.kafka) && owned(&two) == 2);
    until_done(side_read(&two, partition, true));
    assert_int_equal(two.ledgers[0].offset, 1);
    side_leave(&two);
    assert_int_equal(one.failed + two.failed, 0);
    side_fini(&two);
    side_fini(&one);
}

static void reads_from_where_it_is_told(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    names_init(&names, "from", NULL);
    topics_make(&names, 2);
    for (int i = 0; i < 3; i++) {
        topic_put(names.bootstrap, names.requests, 0, "k", "v", "h");
        topic_put(names.bootstrap, names.requests, 1, "k", "v", "h");
    }
    side_of(&side, &names, "a");
    side.answers = false;
    side_join(&side, 2);
    /* The other one is held without being read. */
    struct record_position position = {.kind = REQUEST_CALL, .partition = 1, .offset = 2};
    kafka_assign(side.kafka, newest(&side)->number, &position, 1);
    side_until(&side, (side_take(&side, 0), side_take(&side, 1), side.ends > 0));
    assert_int_equal(side.taken_count, 1);
    assert_int_equal(side.taken[0].position.partition, 1);
    assert_int_equal(side.taken[0].position.offset, 2);
    side_leave(&side);
    assert_int_equal(owned(&side), 0);
    side_fini(&side);
}

static void ends_when_its_static_identity_is_taken(void **state)
{
    (void)state;
    const char *const more[] = {"kafka.group.instance.id=same", NULL};
    struct place_names names;
    struct side one, two;
    names_init(&names, "static", more);
    topics_make(&names, 2);
    side_of(&one, &names, "a");
    side_join(&one, 2);
    until_done(side_read(&one, 0, false));
    side_of(&two, &names, "b");
    kafka_start(two.kafka);
    kafka_join(two.kafka);
    both_until(&one, &two, one.failed);
    assert_non_null(strstr(one.error, "group.instance.id"));
    assert_int_equal(two.failed, 0);
    side_fini(&one);
    side_leave(&two); /* librdkafka never ends a consumer whose assignment is unanswered */
    side_fini(&two);
}

static bool is_renewed(struct side *side, bool *renewed)
{
    const struct kafka_assignment *a = &side->kafka->assignment;
    *renewed = *renewed || kafka_assignment_renew(side->kafka);
    return *renewed && !a->renewing && !a->closing;
}

/* The group has assigned two partitions of four to a static member that had all, and awaits that it
 * gives the others back and joins again. Closed then, it does not leave, and its next consumer is
 * assigned the two. */
static void leaves_no_partition_without_owner_as_a_static_member(void **state)
{
    (void)state;
    const char *const first[] = {"kafka.group.instance.id=one", NULL};
    const char *const second[] = {"kafka.group.instance.id=two", NULL};
    struct place_names names;
    struct side one, two;
    names_init(&names, "unowned", first);
    topics_make(&names, 4);
    side_of(&one, &names, "one");
    side_join(&one, 4);
    for (size_t i = 0; names.options[i]; i++)
        if (names.options[i] == first[0])
            names.options[i] = second[0];
    side_of(&two, &names, "two");
    kafka_start(two.kafka);
    kafka_join(two.kafka);
    side_until(&two,
               two.rebalance_count > 0); /* librdkafka joins for the other, which is not served */
    assert_int_equal(owned(&two), 0);
    bool renewed = kafka_assignment_renew(one.kafka);
    both_until(&one, &two, is_renewed(&one, &renewed) && owned(&one) == 2 && owned(&two) == 2);
    side_leave(&one);
    side_leave(&two);
    assert_int_equal(one.failed + two.failed, 0);
    side_fini(&one);
    side_fini(&two);
}

/* The same member dies instead, and comes back under its name. */
static void leaves_no_partition_without_owner_when_a_static_member_comes_back(void **state)
{
    (void)state;
    const char *const first[] = {"kafka.group.instance.id=one", NULL};
    struct place_names names, others;
    struct side one, two;
    names_init(&names, "unowned", first);
    topics_make(&names, 4);
    others = names;
    for (size_t i = 0; others.options[i]; i++)
        if (others.options[i] == first[0])
            others.options[i] = "kafka.group.instance.id=two";
    side_of(&one, &names, "one");
    side_join(&one, 4);
    one.answers = false;
    side_of(&two, &others, "two");
    kafka_start(two.kafka);
    kafka_join(two.kafka);
    both_until(&one, &two, newest(&one)->revoked && two.rebalance_count > 0);
    assert_int_equal(owned(&two), 0);
    side_fini(&one); /* without leaving, as if killed */
    side_of(&one, &names, "one");
    side_join(&one, 2);
    both_until(&one, &two, owned(&one) == 2 && owned(&two) == 2);
    side_leave(&one);
    side_leave(&two);
    assert_int_equal(one.failed + two.failed, 0);
    side_fini(&one);
    side_fini(&two);
}

/* A leader of the group assigns a partition that the topic does not have: it is reported as
 * assigned again when the topic has it. (An assignment of no real rebalance.) */
static void asks_again_for_a_partition_that_is_absent(void **state)
{
    (void)state;
    struct place_names names;
    struct side side;
    names_init(&names, "absent", NULL);
    topics_make(&names, 2);
    side_of(&side, &names, "a");
    side.answers = false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
    rd_kafka_topic_partition_list_add(list, names.requests, 0);
    rd_kafka_topic_partition_list_add(list, names.requests, 2);
    kafka_rebalance_callback(side.kafka->consumer, RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, list,
                             side.kafka);
    side_until(&side, side.rebalance_count == 1);
    assert_int_equal(side.rebalances[0].count, 2);
    until_done(side_read(&side, 0, true));
    assert_false(side.ledgers[0].absent);
    side_until(&side, side_read(&side, 2, true) == GROUP_DONE && side.ledgers[0].absent);
    /* A handler that stops takes nothing over, and answers with all of them. */
    kafka_assign(side.kafka, 1, side.rebalances[0].list, 2);
    assert_true(kafka_slot_find(side.kafka, REQUEST_CALL, 0)->fetched);
    assert_false(kafka_slot_find(side.kafka, REQUEST_CALL, 2)->fetched);
    struct kafka_slot *absent = kafka_slot_find(side.kafka, REQUEST_CALL, 2);
    int64_t due = absent->absent_until, since_ms = 0;
    assert_int_equal(kafka_absent(side.kafka, 0, &since_ms), -1); /* not for long yet */
    absent->absent_since_ms -= 60000;
    assert_int_equal(kafka_absent(side.kafka, 0, &since_ms), 2);
    assert_int_equal(kafka_absent(side.kafka, 1, &since_ms), -1);
    topic_grow(names.bootstrap, names.requests, 3);
    side_until(&side, side.rebalance_count == 3);
    assert_true(kafka_slot_find(side.kafka, REQUEST_CALL, 2)->absent_until > due);
    assert_true(side.rebalances[1].revoked);
    assert_int_equal(side.rebalances[2].count, 1);
    assert_int_equal(side.rebalances[2].list[0].partition, 2);
    until_done(side_read(&side, 2, true));
    assert_false(side.ledgers[0].absent);
    assert_int_equal(kafka_absent(side.kafka, 0, &since_ms), -1);
    kafka_assign(side.kafka, newest(&side)->number, newest(&side)->list, 1);
    topic_put(names.bootstrap, names.requests, 2, "k", "v", "h");
    side_until(&side, (side_take(&side, 2), side.taken_count == 1));
    /* The other one is still read. */
    topic_put(names.bootstrap, names.requests, 0, "k", "v", "h");
    side_until(&side, (side_take(&side, 0), side.taken_count == 2));
    assert_int_equal(side.taken[1].position.partition, 0);
    rd_kafka_topic_partition_list_destroy(list);
    side_fini(&side);
}

/* librdkafka remembers where a log began when it last fetched, and takes that for its beginning. It
 * fetches nothing while its queue is full. */
static void begins_where_a_log_that_was_made_anew_begins(void **state)
{
    enum { BEGIN = 50, FULL = 1000, MORE = 120 };
    (void)state;
    struct place_names names;
    struct side side;
    names_init(&names, "anew", NULL);
    for (const char **option = names.options; *option; option++)
        if (strstr(*option, "metadata.refresh"))
            *option = "kafka.topic.metadata.refresh.interval.ms=600000";
    topics_make(&names, 1);
    topic_fill(names.bootstrap, names.requests, 2 * FULL);
    topic_trim(names.bootstrap, names.requests, BEGIN);
    side_of(&side, &names, "a");
    side_join(&side, 1);
    struct stored_ledger ledger = ledger_of(0, BEGIN, "1:1:a");
    until_done(side_commit(&side, &ledger, 1));
    side_until(&side, (side_take(&side, 0), side.taken_count > 0));
    assert_int_equal(side.taken[0].position.offset, BEGIN);
    const struct kafka_slot *slot = kafka_slot_find(side.kafka, REQUEST_CALL, 0);
    side_until(&side, rd_kafka_queue_length(slot->queue) >= FULL);
    side.answers = false;
    size_t before = side.rebalance_count;
    topic_delete(names.bootstrap, names.requests);
    topic_make(names.bootstrap, names.requests, 1);
    topic_fill(names.bootstrap, names.requests, MORE);
    side_until(&side, side.rebalance_count >= before + 2 && !newest(&side)->revoked);
    for (int i = 0; i < 2; i++) { /* a rebalance may drop the first answer */
        until_done(side_read(&side, 0, true));
        assert_int_equal(side.ledgers[0].loss, OFFSET_NOT_LOST);
        assert_true(side.ledgers[0].made_again);
    }
    ledger = ledger_of(0, 0, "1:2:a");
    until_done(side_commit(&side, &ledger, 1));
    side.taken_count = 0;
    kafka_assign(side.kafka, newest(&side)->number, newest(&side)->list, 1);
    side_until(&side, (side_take(&side, 0), side.taken_count > 0));
    assert_int_equal(side.taken[0].position.offset, 0);
    /* A beginning that has moved since is found as well. */
    topic_trim(names.bootstrap, names.requests, 2 * BEGIN);
    before = side.rebalance_count;
    kafka_restart(side.kafka, REQUEST_CALL, 0);
    side_until(&side, side.rebalance_count == before + 2);
    side.taken_count = 0;
    kafka_assign(side.kafka, newest(&side)->number, newest(&side)->list, 1);
    side_until(&side, (side_take(&side, 0), side.taken_count > 0));
    assert_int_equal(side.taken[0].position.offset, 2 * BEGIN);
    side.answers = true;
    side_leave(&side);
    side_fini(&side);
}

/* A name or pattern of tests may be given. */
/* A test for each way of rebalancing; the setting is its state. */
/* clang-format off */ /* its versions differ about braces in macros */
#define WAY(test, strategy) \
    {#test ": " strategy, test, NULL, NULL, "kafka.partition.assignment.strategy=" strategy}
/* clang-format on */
#define BOTH_WAYS(test) WAY(test, "cooperative-sticky"), WAY(test, "range")

int main(int argc, char **argv)
{
    if (!getenv("KAFKA_BOOTSTRAP")) {
        puts("KAFKA_BOOTSTRAP is not set");
        return 77;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    log_setup(getenv("TEST_LOG_DEBUG") ? LOG_DEBUG : LOG_WARN, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_results_and_ledgers_as_one),
        cmocka_unit_test(aborts_whole),
        cmocka_unit_test(replaces_what_is_refused),
        cmocka_unit_test(is_fenced_and_goes_on_with_a_new_producer),
        {"ends_a_dead_owner", ends_a_dead_owner, NULL, NULL, ":"},
        {"ends_a_dead_owner of an earlier version", ends_a_dead_owner, NULL, NULL, "-"},
        cmocka_unit_test(ends_what_an_earlier_version_of_itself_left),
        cmocka_unit_test(waits_for_topics),
        cmocka_unit_test(reads_from_where_it_is_told),
        BOTH_WAYS(shares_with_another),
        cmocka_unit_test(reads_what_stays_during_a_rebalance),
        cmocka_unit_test(reads_another_log_of_what_stays_from_its_beginning),
        cmocka_unit_test(asks_about_each_partition_in_turn),
        BOTH_WAYS(hears_again_of_an_overtaken_offer),
        BOTH_WAYS(loses_an_overtaken_revocation),
        cmocka_unit_test(goes_on_after_a_late_answer_to_an_overtaken_revocation),
        BOTH_WAYS(leaves_while_an_offer_is_unanswered),
        BOTH_WAYS(leaves_after_the_drain),
        cmocka_unit_test(ends_when_its_static_identity_is_taken),
        cmocka_unit_test(leaves_no_partition_without_owner_as_a_static_member),
        cmocka_unit_test(leaves_no_partition_without_owner_when_a_static_member_comes_back),
        cmocka_unit_test(asks_again_for_a_partition_that_is_absent),
        cmocka_unit_test(begins_where_a_log_that_was_made_anew_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
