/* Sees to it that a static member which comes back leaves no partition without an owner. The Kafka
 * thread, except the look.
 *
 * In a cooperative rebalance the group assigns a partition that moves to nobody first: its owner
 * gives it back and joins again, and then another member gets it. If the owner dies in between and
 * comes back as the same static member, the coordinator (Kafka up to 4.1) returns to it what it
 * had been assigned last, and begins no rebalance: the partition has no owner, all members look
 * healthy, and nothing changes that before the next rebalance. So a static member asks for the
 * group's assignment before it joins. If a partition has no owner, it joins once more after its
 * first assignment: it then names what it owns, and had named nothing before, so that the
 * coordinator begins a rebalance. A needless one does no harm: nothing stops for it. But not each
 * start may begin one, because it waits for the sessions of all static members that are away.
 *
 * librdkafka ignores that it is subscribed once more to the same topic, with one exception: while
 * an assignment awaits its answer it postpones that, and then joins again. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/backoff.h"
#include "core/config_kafka.h"
#include "io/kafka_internal.h"

enum {
    LOOK_MS = 8000,    /* limit of the look */
    TRY_MS = 1000,     /* limit of each question of the first try: a broker that is away does not
                          answer. It grows, because each try asks anew */
    TRY_MAX_MS = 2000, /* at most: kafka_free waits for it */
    PAUSE_MS = 100,    /* between two tries */
    UUID_LENGTH = 36,
};

/* What is left of an assignment as the coordinator keeps it. */
struct bytes {
    const unsigned char *at;
    size_t left;
};

/* The next number of so many bytes; -1: there is none. */
static int64_t number(struct bytes *bytes, size_t size)
{
    int64_t value = 0;
    if (bytes->left < size)
        return -1;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes->at[i];
    bytes->at += size;
    bytes->left -= size;
    return value;
}

static bool skip(struct bytes *bytes, int64_t size)
{
    if (size < 0 || (uint64_t)size > bytes->left)
        return false;
    bytes->at += size;
    bytes->left -= (size_t)size;
    return true;
}

/* How many partitions of the topic an assignment contains: a version, and the topics, each with its
 * partitions. */
static int64_t count_in(struct bytes bytes, const char *topic)
{
    int64_t count = 0;
    (void)number(&bytes, 2);
    for (int64_t topics = number(&bytes, 4); topics > 0; topics--) {
        int64_t length = number(&bytes, 2);
        const unsigned char *name = bytes.at;
        if (!skip(&bytes, length))
            return count;
        int64_t partitions = number(&bytes, 4);
        if (partitions < 0 || !skip(&bytes, 4 * partitions))
            return count;
        if (strlen(topic) == (size_t)length && !memcmp(name, topic, (size_t)length))
            count += partitions;
    }
    return count;
}

/* Whether it is the static member of that name: the coordinator adds a UUID. */
static bool is_named(const struct rd_kafka_group_member_info *member, const char *instance)
{
    size_t length = strlen(instance);
    return !strncmp(member->member_id, instance, length) && member->member_id[length] == '-' &&
           strlen(member->member_id) == length + 1 + UUID_LENGTH;
}

/* Judges what the coordinator has told. In the middle of a rebalance it tells of no assignment, and
 * the rebalance may be over before this member joins. */
static void judge(struct kafka *kafka, const struct rd_kafka_group_info *group, int32_t count)
{
    const char *topic = kafka->config->request_topics[kafka->job];
    const char *instance = config_kafka_setting(kafka->config, false, "group.instance.id")->value;
    int64_t owned = 0;
    bool comes_back = false;
    for (int i = 0; i < group->member_cnt; i++) {
        const struct rd_kafka_group_member_info *member = &group->members[i];
        comes_back |= is_named(member, instance);
        owned += count_in(
            (struct bytes){member->member_assignment, (size_t)member->member_assignment_size},
            topic);
    }
    kafka->unowned.joins_again =
        comes_back && (strcmp(group->state, "Stable") != 0 || owned < count);
}

/* The admin API would ask the coordinator alone. But if a broker does not know that request,
 * librdkafka uses what it has freed, and its main thread stands still (2.0.2). The topic comes
 * first, because the question about groups connects to no broker, but waits until one is known. */
static rd_kafka_resp_err_t try_once(struct kafka *kafka, int limit_ms)
{
    const char *name = kafka->config->group_ids[kafka->job];
    const char *topic = kafka->config->request_topics[kafka->job];
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code;
    int32_t count = kafka_partition_count_or(kafka->consumer, topic, limit_ms, &code);
    if (!code || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        code = rd_kafka_list_groups(kafka->consumer, name, &list, limit_ms);
    if (code == RD_KAFKA_RESP_ERR__PARTIAL) /* it is found, and a broker does not answer */
        code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; !code && list && i < list->group_cnt; i++)
        if (!strcmp(list->groups[i].group, name)) {
            code = list->groups[i].err;
            judge(kafka, &list->groups[i], count);
        }
    if (list)
        rd_kafka_group_list_destroy(list);
    return code;
}

/* If the group cannot be read, one rebalance too many is better than a partition without an owner.
 * Looker. */
static void look(struct kafka *kafka)
{
    struct kafka_unowned *unowned = &kafka->unowned;
    int64_t until = clock_boot_ms() + LOOK_MS;
    int limit_ms = TRY_MS;
    while ((unowned->code = try_once(kafka, limit_ms)) && clock_boot_ms() < until &&
           !atomic_load(&kafka->stopping) &&
           unowned->code != RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE &&
           unowned->code != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED &&
           unowned->code != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        kafka_runner_sleep(&kafka->looker, PAUSE_MS);
        limit_ms = backoff_doubled(limit_ms, TRY_MAX_MS);
    }
    if (unowned->code)
        unowned->joins_again = unowned->code != RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
}

bool kafka_unowned_look(struct kafka *kafka)
{
    const struct kafka_setting *strategy =
        config_kafka_setting(kafka->config, false, "partition.assignment.strategy");
    kafka->unowned.joins_again = false;
    if (!config_kafka_setting(kafka->config, false, "group.instance.id") ||
        strcmp(strategy->value, "cooperative-sticky") != 0 || !kafka_runner_idle(&kafka->looker))
        return false;
    kafka->unowned.looks = true;
    kafka_runner_give(&kafka->looker, look);
    return true;
}

void kafka_unowned_serve(struct kafka *kafka)
{
    struct kafka_unowned *unowned = &kafka->unowned;
    if (!unowned->looks || !kafka_runner_take(&kafka->looker))
        return;
    unowned->looks = false;
    /* A leave has begun when nothing was joining, and closes the consumer any time: librdkafka
     * (2.0.2) aborts the process if that is between the answers to a JoinGroup and a SyncGroup. */
    if (!kafka->assignment.closing && !kafka->assignment.leaving)
        kafka_subscribe(kafka);
}

void kafka_unowned_answering(struct kafka *kafka)
{
    struct kafka_unowned *unowned = &kafka->unowned;
    struct kafka_assignment *a = &kafka->assignment;
    if (!unowned->joins_again || a->closing || a->renewing || a->leaving)
        return;
    unowned->joins_again = false;
    a->joining = true; /* a leave waits for its end */
    log_warn(
        "kafka: %s, so partitions of topic %s may have no owner; joining group %s once more, so "
        "that it assigns them",
        unowned->code ? "the group's assignment could not be read before this static member joined"
                      : "this static member ended in the middle of a rebalance",
        kafka->config->request_topics[kafka->job], kafka->config->group_ids[kafka->job]);
    kafka_subscribe(kafka);
}
