/* io/kafka as a member of its group, against librdkafka's mock cluster: joining, leaving, rights
 * and memberships that come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cases.h"
#include "io/kafka_internal.h"
#include "support.h"

/* API keys of the protocol. */
enum { JOIN_GROUP = 11, HEARTBEAT = 12, SYNC_GROUP = 14, TXN_OFFSET_COMMIT = 28 };

enum { REFUSALS = 3 };

/* A member that has to join again, and is refused for a while. */
static void tells_that_it_joins_again(void **state)
{
    static const struct {
        const char *strategy;
        int16_t request;
        rd_kafka_resp_err_t error;
    } cases[] = {
        {"cooperative-sticky", SYNC_GROUP, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE},
        {"cooperative-sticky", JOIN_GROUP, RD_KAFKA_RESP_ERR_UNKNOWN},
        {"cooperative-sticky", JOIN_GROUP, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS},
        {"range", JOIN_GROUP, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE},
    };
    struct cluster *cluster = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char strategy[80], group[8];
        const char *const options[] = {quick_options[0], quick_options[1], strategy, NULL};
        struct side side;
        snprintf(strategy, sizeof strategy, "kafka.partition.assignment.strategy=%s",
                 cases[i].strategy);
        snprintf(group, sizeof group, "again%zu", i);
        side_init(&side, cluster->bootstrap, group, "a", options);
        assert_int_not_equal(kafka_standing(side.kafka), KAFKA_SETTLED);
        side_join(&side, 2);
        side_until(&side, kafka_standing(side.kafka) == KAFKA_SETTLED);
        size_t before = side.rebalance_count;
        for (int n = 0; n < REFUSALS; n++)
            rd_kafka_mock_push_request_errors(cluster->mock, cases[i].request, 1, cases[i].error);
        rd_kafka_mock_push_request_errors(cluster->mock, HEARTBEAT, 1,
                                          RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
        side_until(&side, kafka_standing(side.kafka) == KAFKA_JOINING);
        side_until(&side, kafka_standing(side.kafka) == KAFKA_SETTLED);
        assert_true(side.rebalance_count > before);
        assert_false(side.rebalances[side.rebalance_count - 1].revoked);
        side_leave(&side);
        side_fini(&side);
    }
}

static bool has_membership(const struct side *side)
{
    rd_kafka_consumer_group_metadata_t *membership = kafka_membership(side->kafka);
    if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return membership;
}

/* What is being given back was granted by an earlier generation than the one that a rejoin has
 * begun, which may have given it to another member: the coordinator would take the commit. */
static void commits_nothing_under_a_generation_that_did_not_grant_it(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    struct stored_ledger ledger = {.partition = 1, .offset = 7, .metadata = ""};
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "call-requests", 1);
    side_init(&side, cluster->bootstrap, "g", "a", quick_options);
    side_join(&side, 2);
    side.answers = false;
    kafka_rebalance_callback(side.kafka->consumer, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS, list,
                             side.kafka);
    side_until(&side, side.rebalances[side.rebalance_count - 1].revoked);
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_DONE);
    for (int n = 0; n < REFUSALS; n++)
        rd_kafka_mock_push_request_errors(cluster->mock, SYNC_GROUP, 1,
                                          RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
    rd_kafka_mock_push_request_errors(cluster->mock, HEARTBEAT, 1,
                                      RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
    size_t before = side.rebalance_count;
    side_until(&side, !has_membership(&side));
    assert_int_equal(side_commit(&side, &ledger, 1), GROUP_NOT_MEMBER);
    assert_int_equal(side.rebalance_count, before);
    rd_kafka_topic_partition_list_destroy(list);
    side_fini(&side);
}

/* What both do until the condition holds. */
#define both_until(one, other, condition)                                                          \
    do {                                                                                           \
        int64_t limit_ = clock_boot_ms() + 60000;                                                  \
        while (!(condition)) {                                                                     \
            assert_true(clock_boot_ms() < limit_);                                                 \
            kafka_wait((one)->kafka, 5);                                                           \
            kafka_serve((one)->kafka);                                                             \
            kafka_serve((other)->kafka);                                                           \
        }                                                                                          \
    } while (0)

static void joins_beside(struct side *joining, struct side *member)
{
    kafka_start(joining->kafka);
    both_until(member, joining, joining->ready);
    kafka_join(joining->kafka);
}

static const struct rebalance *newest(const struct side *side)
{
    return &side->rebalances[side->rebalance_count - 1];
}

/* librdkafka joins anew after a cooperative revocation, but only behind an assignment of the same
 * generation. A LeaveGroup behind that JoinGroup would wait for the whole group, and be given up.
 */
static void leaves_in_order_right_after_a_revocation(void **state)
{
    struct cluster *cluster = *state;
    struct side leaving, staying;
    side_init(&leaving, cluster->bootstrap, "g", "a", quick_options);
    side_join(&leaving, 2);
    side_init(&staying, cluster->bootstrap, "g", "b", quick_options);
    staying.answers = true;
    leaving.answers = false;
    joins_beside(&staying, &leaving);
    both_until(&leaving, &staying, newest(&leaving)->revoked);
    leaving.answers = true;
    kafka_unassign(leaving.kafka, newest(&leaving)->number);
    kafka_leave(leaving.kafka);
    both_until(&leaving, &staying, kafka_left(leaving.kafka));
    assert_true(rd_kafka_consumer_closed(leaving.kafka->consumer));
    side_fini(&leaving);
    side_leave(&staying);
    side_fini(&staying);
}

/* The member keeps the only partition. */
static void joins_as_standby(struct side *standby, struct side *member,
                             const struct cluster *cluster, const char *const *options)
{
    side_init(standby, cluster->bootstrap, "g", "b", options);
    joins_beside(standby, member);
    both_until(member, standby, standby->rebalance_count > 0);
    assert_int_equal(newest(standby)->count, 0);
}

/* A member without partitions that stops right after its librdkafka has begun to join again, of
 * which no event tells: the unsubscription is put off until the rebalance is over, and a close
 * would not wait for that. */
static void leaves_in_order_while_it_joins_again(void **state)
{
    static const char *const options[] = {"kafka.session.timeout.ms=6000",
                                          "topic.call.requests=one-partition", NULL};
    struct cluster *cluster = *state;
    struct side sides[3];
    rd_kafka_mock_topic_create(cluster->mock, "one-partition", 1, 1);
    side_init(&sides[0], cluster->bootstrap, "g", "a", options);
    side_join(&sides[0], 1);
    struct side *standby = &sides[1];
    joins_as_standby(standby, &sides[0], cluster, options);
    both_until(&sides[0], &sides[1], kafka_standing(standby->kafka) == KAFKA_SETTLED);
    side_init(&sides[2], cluster->bootstrap, "g", "c", options);
    joins_beside(&sides[2], &sides[1]);
    both_until(&sides[0], &sides[1], kafka_standing(standby->kafka) == KAFKA_JOINING);
    standby->kafka->assignment.answers = true; /* to what was asked before that */
    kafka_leave(standby->kafka);
    both_until(&sides[0], standby, (kafka_serve(sides[2].kafka), kafka_left(standby->kafka)));
    assert_int_equal(atomic_load(&standby->kafka->all_leaves), 1);
    for (size_t i = 0; i < 3; i++) {
        if (&sides[i] != standby)
            side_leave(&sides[i]);
        side_fini(&sides[i]);
    }
}

/* Whether a connection has failed since brokers answered. */
static bool lost_a_connection(const struct side *side)
{
    char reason[256];
    (void)kafka_silent_since(side->kafka, reason, sizeof reason);
    return *reason;
}

/* A member without partitions whose coordinator is away while other brokers answer: librdkafka
 * forgets the membership, and sends no LeaveGroup for which the close could wait. */
static void closes_although_its_leave_cannot_be_sent(void **state)
{
    enum { LEAVE_WAITS_MS = 15000, COORDINATOR = 2 };
    static const char *const options[] = {"kafka.session.timeout.ms=6000",
                                          "topic.call.requests=one-partition", NULL};
    struct side sides[2];
    struct cluster *cluster = cluster_new(COORDINATOR);
    *state = cluster;
    rd_kafka_mock_topic_create(cluster->mock, "one-partition", 1, 1);
    rd_kafka_mock_topic_create(cluster->mock, "call-results", 1, 1);
    rd_kafka_mock_topic_create(cluster->mock, "privacy-call-dead-letters", 1, 1);
    rd_kafka_mock_coordinator_set(cluster->mock, "group", "g", COORDINATOR);
    side_init(&sides[0], cluster->bootstrap, "g", "a", options);
    side_join(&sides[0], 1);
    joins_as_standby(&sides[1], &sides[0], cluster, options);
    struct kafka *standby = sides[1].kafka;
    kafka_silence_ended(standby);
    rd_kafka_mock_broker_set_down(cluster->mock, COORDINATOR);
    side_until(&sides[1], lost_a_connection(&sides[1]));
    assert_true(kafka_generation_now(standby) >= 0);
    assert_true(kafka_assignment_renew(standby));
    assert_true(standby->assignment.unsubscribing);
    int64_t since = standby->assignment.closing_since_ms;
    side_until(&sides[1], !standby->assignment.unsubscribing);
    assert_int_equal(atomic_load(&standby->all_leaves), 0);
    assert_int_equal(atomic_load(&standby->silent_since_ms), 0);
    assert_true(standby->assignment.closing_since_ms - since < LEAVE_WAITS_MS);
    for (size_t i = 0; i < 2; i++)
        side_fini(&sides[i]);
}

static bool lacks_anything(const struct side *side)
{
    return kafka_lacks_right(side->kafka) || kafka_lacks_topic(side->kafka);
}

static bool has_all(const struct side *side)
{
    return side->rebalance_count > 0 && !newest(side)->revoked && !lacks_anything(side);
}

/* Lets the consumer see what the topics are now. (With a short refresh interval instead, a refresh
 * may come while the leader of the group waits for metadata of its own, and it then joins again.)
 */
static void look_at_topics(const struct side *side)
{
    const struct rd_kafka_metadata *metadata;
    assert_int_equal(rd_kafka_metadata(side->kafka->consumer, 1, NULL, &metadata, 20000), 0);
    rd_kafka_metadata_destroy(metadata);
}

static void set_topic(struct cluster *cluster, struct side *sides, size_t count,
                      rd_kafka_resp_err_t code)
{
    rd_kafka_mock_topic_set_error(cluster->mock, "one-partition", code);
    for (size_t i = 0; i < count; i++)
        look_at_topics(&sides[i]);
}

/* A standby that may not find the topic and later may: the group then has no partition for it. */
static void has_its_rights_again_without_a_partition(void **state)
{
    static const char *const options[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                          "kafka.session.timeout.ms=6000",
                                          "kafka.topic.metadata.refresh.interval.ms=600000",
                                          "topic.call.requests=one-partition", NULL};
    static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                                RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
    enum { AHEAD_MS = 250 };
    struct cluster *cluster = *state;
    struct side sides[2];
    rd_kafka_mock_topic_create(cluster->mock, "one-partition", 1, 1);
    for (size_t i = 0; i < 2; i++) {
        side_init(&sides[i], cluster->bootstrap, "g", i ? "b" : "a", options);
        kafka_start(sides[i].kafka);
        side_until(&sides[i], sides[i].ready == 1);
        kafka_join(sides[i].kafka);
    }
    /* The mock refuses a SyncGroup that comes after the leader's, and the group begins anew, which
     * takes 5 s. The leader asks for metadata first: late answers put the others ahead of it. */
    rd_kafka_mock_broker_set_rtt(cluster->mock, 1, AHEAD_MS);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        both_until(&sides[0], &sides[1], has_all(&sides[0]) && has_all(&sides[1]));
        set_topic(cluster, sides, 2, codes[i]);
        both_until(&sides[0], &sides[1], lacks_anything(&sides[0]) && lacks_anything(&sides[1]));
        sides[0].rebalance_count = sides[1].rebalance_count = 0;
        set_topic(cluster, sides, 2, RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    both_until(&sides[0], &sides[1], has_all(&sides[0]) && has_all(&sides[1]));
    rd_kafka_mock_broker_set_rtt(cluster->mock, 1, 0);
    for (size_t i = 0; i < 2; i++) {
        side_leave(&sides[i]);
        side_fini(&sides[i]);
    }
}

/* What could not be written is written by the next owner, if that one may. Partitions that stay are
 * tried again, which shows whether they need the right. */
static void needs_no_right_to_write_for_partitions_that_are_gone(void **state)
{
    static const char *const outputs[] = {"call-results", "privacy-call-dead-letters"};
    struct cluster *cluster = *state;
    struct side one, other;
    side_init(&one, cluster->bootstrap, "g", "a", quick_options);
    side_join(&one, 2);
    side_init(&other, cluster->bootstrap, "g", "b", quick_options);
    kafka_start(other.kafka);
    both_until(&one, &other, other.ready);
    for (size_t i = 0; i < 2; i++)
        kafka_right_missing(one.kafka, RIGHT_WRITE_TOPIC, outputs[i], "refused");
    kafka_join(other.kafka);
    both_until(&one, &other, newest(&one)->revoked);
    assert_int_equal(newest(&one)->count, 1);
    assert_false(kafka_lacks_right(one.kafka));
    side_leave(&other);
    side_fini(&other);
    for (size_t i = 0; i < 2; i++)
        kafka_right_missing(one.kafka, RIGHT_WRITE_TOPIC, outputs[i], "refused");
    side_leave(&one);
    assert_false(kafka_lacks_right(one.kafka));
    side_fini(&one);
}

/* librdkafka closes no consumer that has a fatal error, and the error may come right before. */
static void joins_anew_although_its_consumer_cannot_be_closed(void **state)
{
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "unclosed", "a", quick_options);
    side_join(&side, 2);
    const rd_kafka_t *before = side.kafka->consumer;
    side.kafka->assignment.lost = true; /* rule 10: it has fenced itself */
    rd_kafka_test_fatal_error(side.kafka->consumer, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, "test");
    assert_true(kafka_assignment_renew(side.kafka));
    size_t count = side.rebalance_count;
    side_until(&side, side.failed || (side.rebalance_count > count && !newest(&side)->revoked));
    assert_int_equal(side.failed, 0);
    assert_ptr_not_equal(side.kafka->consumer, before);
    assert_int_equal(newest(&side)->count, 2);
    side_leave(&side);
    side_fini(&side);
}

/* Who has no partition joins, and that takes as long as other members need for their part, or as
 * brokers are away. Who has partitions without being a member would hold them for ever. */
static void ends_without_membership_only_with_partitions(void **state)
{
    enum { LONG_AGO_MS = 600000 };
    struct cluster *cluster = *state;
    struct side side;
    side_init(&side, cluster->bootstrap, "removed", "a", quick_options);
    side_join(&side, 2);
    side_until(&side, kafka_standing(side.kafka) == KAFKA_SETTLED);
    for (int n = 0; n < REFUSALS; n++)
        rd_kafka_mock_push_request_errors(cluster->mock, JOIN_GROUP, 1, RD_KAFKA_RESP_ERR_UNKNOWN);
    rd_kafka_mock_push_request_errors(cluster->mock, HEARTBEAT, 1,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    side_until(&side, newest(&side)->lost);
    kafka_assignment_no_member(side.kafka, side.kafka->assignment.number,
                               clock_boot_ms() - LONG_AGO_MS);
    side_until(&side, side.failed || !newest(&side)->revoked);
    assert_int_equal(side.failed, 0);
    kafka_assignment_no_member(side.kafka, side.kafka->assignment.number,
                               clock_boot_ms() - LONG_AGO_MS);
    side_until(&side, side.failed);
    side_fini(&side);
}

/* librdkafka calls partitions lost whose topic it does not find, and joins again when it finds the
 * topic, also if the loss is not answered yet. Behind a loss it has stored nothing to be assigned,
 * so it goes on. */
static void keeps_its_consumer_when_a_loss_is_overtaken(void **state)
{
    static const char *const options[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                          "kafka.session.timeout.ms=6000",
                                          "kafka.topic.metadata.refresh.interval.ms=600000",
                                          "topic.call.requests=one-partition", NULL};
    struct cluster *cluster = *state;
    struct side sides[2];
    rd_kafka_mock_topic_create(cluster->mock, "one-partition", 1, 1);
    side_init(&sides[0], cluster->bootstrap, "g", "a", options);
    side_join(&sides[0], 1);
    const rd_kafka_t *consumer = sides[0].kafka->consumer;
    sides[0].answers = false;
    set_topic(cluster, &sides[0], 1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    side_until(&sides[0], newest(&sides[0])->revoked && newest(&sides[0])->lost);
    set_topic(cluster, &sides[0], 1, RD_KAFKA_RESP_ERR_NO_ERROR);
    sides[0].answers = true;
    side_until(&sides[0], !newest(&sides[0])->revoked);
    assert_int_equal(newest(&sides[0])->count, 1);
    assert_ptr_equal(sides[0].kafka->consumer, consumer);
    topic_put(cluster->bootstrap, "one-partition", 0, "o-1", "one", "x");
    side_until(&sides[0], (side_take(&sides[0], 0), sides[0].taken_count > 0));
    /* It takes part in the next rebalance. */
    side_init(&sides[1], cluster->bootstrap, "g", "b", options);
    kafka_start(sides[1].kafka);
    both_until(&sides[0], &sides[1], sides[1].ready);
    size_t before = sides[0].rebalance_count;
    kafka_join(sides[1].kafka);
    both_until(&sides[0], &sides[1], sides[1].rebalance_count && sides[0].rebalance_count > before);
    assert_ptr_equal(sides[0].kafka->consumer, consumer);
    for (size_t i = 0; i < 2; i++) {
        side_leave(&sides[i]);
        assert_false(newest(&sides[i])->lost);
        side_fini(&sides[i]);
    }
}

/* librdkafka tells of a loss, without anything that it is about. */
static void lose_again(const struct side *side)
{
    rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(1);
    kafka_rebalance_callback(side->kafka->consumer, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS, nothing,
                             side->kafka);
    rd_kafka_topic_partition_list_destroy(nothing);
}

/* A static member whose loss is not answered yet may join again, and is then refused as the one
 * that it was before. No other process has its identity, however often librdkafka tells of the
 * loss. */
static void is_not_its_own_duplicate(void **state)
{
    static const char *const options[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                          "kafka.session.timeout.ms=6000",
                                          "kafka.topic.metadata.refresh.interval.ms=600000",
                                          "topic.call.requests=one-partition",
                                          "kafka.group.instance.id=a",
                                          NULL};
    struct cluster *cluster = *state;
    struct side side;
    struct stored_ledger ledger = {.offset = 1, .metadata = "1:1:a", .metadata_size = 5};
    rd_kafka_mock_topic_create(cluster->mock, "one-partition", 1, 1);
    side_init(&side, cluster->bootstrap, "g", "a", options);
    side_join(&side, 1);
    side.answers = false;
    set_topic(cluster, &side, 1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    side_until(&side, newest(&side)->revoked && newest(&side)->lost);
    set_topic(cluster, &side, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
    side_until(&side, kafka_standing(side.kafka) == KAFKA_JOINING);
    assert_true(rd_kafka_assignment_lost(side.kafka->consumer));
    lose_again(&side);
    kafka_assignment_duplicate(side.kafka);
    assert_int_equal(side.failed, 0);
    rd_kafka_mock_push_request_errors(cluster->mock, TXN_OFFSET_COMMIT, 1,
                                      RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    (void)side_transact(&side, NULL, 0, &ledger, 1);
    assert_int_equal(side.failed, 0);
    side.answers = true;
    side_until(&side, !newest(&side)->revoked);
    side_leave(&side);
    assert_int_equal(side.failed, 0);
    side_fini(&side);
}

enum { STATIC_OPTIONS = 10 };

static void set_static(const char *options[STATIC_OPTIONS])
{
    options[0] = "kafka.group.instance.id=a";
    for (size_t i = 0; quick_options[i] && i + 2 < STATIC_OPTIONS; i++)
        options[i + 1] = quick_options[i];
}

/* Told to leave while it looks whether partitions have no owner, it joins no more. */
static void joins_no_more_as_a_static_member_that_leaves(void **state)
{
    enum { OFFSET_FETCH = 9, DELAY_MS = 800 };
    struct cluster *cluster = *state;
    struct side side;
    const char *options[STATIC_OPTIONS] = {0};
    set_static(options);
    side_init(&side, cluster->bootstrap, "g", "a", options);
    kafka_start(side.kafka);
    side_until(&side, side.ready == 1);
    rd_kafka_mock_broker_push_request_error_rtts(cluster->mock, 1, OFFSET_FETCH, 1,
                                                 RD_KAFKA_RESP_ERR_NO_ERROR, DELAY_MS);
    kafka_join(side.kafka);
    side_leave(&side);
    assert_int_equal(atomic_load(&side.kafka->all_joins), 0);
    side_fini(&side);
}

/* librdkafka 2.0.2 aborts if it is closed then without a LeaveGroup. */
static void ends_between_join_and_sync_as_a_static_member(void **state)
{
    enum { DELAY_MS = 3000 };
    struct cluster *cluster = *state;
    struct side side;
    const char *options[STATIC_OPTIONS] = {0};
    set_static(options);
    rd_kafka_mock_broker_push_request_error_rtts(cluster->mock, 1, SYNC_GROUP, 1,
                                                 RD_KAFKA_RESP_ERR_NO_ERROR, DELAY_MS);
    side_init(&side, cluster->bootstrap, "g", "a", options);
    kafka_start(side.kafka);
    kafka_join(side.kafka);
    side_until(&side, kafka_generation_now(side.kafka) >= 0);
    assert_int_equal(side.rebalance_count, 0);
    side_leave(&side);
    side_fini(&side);
}

/* Waits until the member has the answer to its JoinGroup, and the one to its SyncGroup is late. */
static void join_and_wait_for_sync(struct cluster *cluster, struct side *side, int delay_ms)
{
    rd_kafka_mock_broker_push_request_error_rtts(cluster->mock, 1, SYNC_GROUP, 1,
                                                 RD_KAFKA_RESP_ERR_NO_ERROR, delay_ms);
    side_init(side, cluster->bootstrap, "g", "a", quick_options);
    kafka_start(side->kafka);
    kafka_join(side->kafka);
    side_until(side, kafka_generation_now(side->kafka) >= 0);
    assert_int_equal(side->rebalance_count, 0);
}

/* As a worker's end does that could wait no longer. librdkafka 2.0.2 aborts when it destroys such a
 * consumer. */
static void is_freed_between_join_and_sync(void **state)
{
    enum { DELAY_MS = 30000 };
    static struct side side; /* a consumer that cannot be destroyed keeps it */
    join_and_wait_for_sync(*state, &side, DELAY_MS);
    side_fini(&side);
}

/* As after a change of its files. */
static void is_renewed_between_join_and_sync(void **state)
{
    enum { DELAY_MS = 30000 };
    struct cluster *cluster = *state;
    static struct side side; /* a consumer that cannot be destroyed keeps it */
    join_and_wait_for_sync(cluster, &side, DELAY_MS);
    rd_kafka_t *former = side.kafka->consumer;
    side.answers = true;
    rd_kafka_mock_broker_set_down(cluster->mock, 1);
    assert_true(kafka_assignment_renew(side.kafka));
    side_until(&side, side.kafka->consumer != former);
    rd_kafka_mock_broker_set_up(cluster->mock, 1);
    side_until(&side, side.rebalance_count > 0 && newest(&side)->count > 0);
    side_leave(&side);
    assert_int_equal(side.failed, 0);
    side_fini(&side);
}

int main(int argc, char **argv)
{
    log_setup(LOG_WARN, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        with_cluster(ends_between_join_and_sync_as_a_static_member),
        with_cluster(is_freed_between_join_and_sync),
        with_cluster(is_renewed_between_join_and_sync),
        with_cluster(joins_no_more_as_a_static_member_that_leaves),
        with_cluster(has_its_rights_again_without_a_partition),
        with_cluster(needs_no_right_to_write_for_partitions_that_are_gone),
        with_cluster(tells_that_it_joins_again),
        with_cluster(ends_without_membership_only_with_partitions),
        with_cluster(commits_nothing_under_a_generation_that_did_not_grant_it),
        with_cluster(leaves_in_order_right_after_a_revocation),
        with_cluster(leaves_in_order_while_it_joins_again),
        cmocka_unit_test_teardown(closes_although_its_leave_cannot_be_sent, cluster_down),
        with_cluster(keeps_its_consumer_when_a_loss_is_overtaken),
        with_cluster(is_not_its_own_duplicate),
        with_cluster(joins_anew_although_its_consumer_cannot_be_closed),
    };
    return run_cases(tests, argc, argv);
}
