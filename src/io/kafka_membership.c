/* Under which membership of the group something may be committed: its generation, the copy of the
 * one that granted the partitions (rule 6), and whether the group has gone on (rule 7). The rules
 * are those of kafka_assignment.c. Kafka thread. And whether the job is in its group at all, from
 * the requests that librdkafka's threads send. */
#include <string.h>

#include "base/clock.h"
#include "io/kafka_assignment_internal.h"

/* The generation of our membership; -1: none. librdkafka has no accessor for it, so it is read from
 * the serialised form: a magic that ends in ':', the generation, then group and member, each with a
 * NUL. */
static int32_t generation_of(const rd_kafka_consumer_group_metadata_t *membership)
{
    void *bytes = NULL;
    size_t size = 0;
    int32_t generation = -1;
    if (!membership)
        return -1;
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(membership, &bytes, &size);
    if (error) {
        rd_kafka_error_destroy(error);
        return -1;
    }
    const char *at = memchr(bytes, ':', size), *end = (const char *)bytes + size;
    if (at && end - ++at > (ptrdiff_t)sizeof generation) {
        memcpy(&generation, at, sizeof generation);
        at += sizeof generation;
        at += strnlen(at, (size_t)(end - at)) + 1; /* the group */
        if (at >= end || !*at)
            generation = -1; /* no member id */
    }
    rd_kafka_mem_free(NULL, bytes);
    return generation;
}

int32_t kafka_generation_now(struct kafka *kafka)
{
    rd_kafka_consumer_group_metadata_t *membership =
        rd_kafka_consumer_group_metadata(kafka->consumer);
    int32_t generation = generation_of(membership);
    if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return generation;
}

/* Rule 7. */
rd_kafka_consumer_group_metadata_t *kafka_membership(struct kafka *kafka)
{
    const struct kafka_assignment *a = &kafka->assignment;
    rd_kafka_consumer_group_metadata_t *membership =
        rd_kafka_consumer_group_metadata(kafka->consumer);
    int32_t generation = generation_of(membership);
    /* Partitions that are being given back, or (eager) were just assigned, were granted by one
     * generation. If librdkafka has rejoined in the meantime, the next generation may have assigned
     * them to another member, and the coordinator checks generations, not partitions. */
    bool bound = a->asked == ASKED_UNASSIGN || (a->eager && a->asked == ASKED_ASSIGN);
    if (generation >= 0 && (!bound || generation == a->generation))
        return membership;
    if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return NULL;
}

/* NULL: it cannot be copied. */
static rd_kafka_consumer_group_metadata_t *
copy_membership(const rd_kafka_consumer_group_metadata_t *membership)
{
    rd_kafka_consumer_group_metadata_t *copy = NULL;
    void *bytes = NULL;
    size_t size = 0;
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(membership, &bytes, &size);
    if (!error) {
        error = rd_kafka_consumer_group_metadata_read(&copy, bytes, size);
        rd_kafka_mem_free(NULL, bytes);
    }
    if (error)
        rd_kafka_error_destroy(error);
    return copy;
}

static void grant(struct kafka_assignment *a, rd_kafka_consumer_group_metadata_t *membership)
{
    if (a->granted)
        rd_kafka_consumer_group_metadata_destroy(a->granted);
    a->granted = membership;
}

int32_t kafka_membership_keep(struct kafka *kafka)
{
    rd_kafka_consumer_group_metadata_t *membership =
        rd_kafka_consumer_group_metadata(kafka->consumer);
    int32_t generation = generation_of(membership);
    if (generation >= 0)
        grant(&kafka->assignment, membership);
    else if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return generation;
}

/* Rule 6. */
rd_kafka_consumer_group_metadata_t *kafka_membership_to_write(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    rd_kafka_consumer_group_metadata_t *membership = kafka_membership(kafka);
    if (membership)
        grant(a, copy_membership(membership));
    else if (a->asked == ASKED_UNASSIGN && a->granted)
        membership = copy_membership(a->granted);
    return membership;
}

void kafka_membership_granted(struct kafka *kafka)
{
    atomic_store(&kafka->heartbeat_ms, clock_boot_ms());
    atomic_store(&kafka->joins, 0);
}

/* librdkafka tells nobody that it joins again, nor of what it repeats: a JoinGroup or a SyncGroup
 * that is refused for a while, a coordinator that is not found. But each of its requests can be
 * seen, and heartbeats are sent only by a member that is not joining. A broker's thread. */
static rd_kafka_resp_err_t on_request(rd_kafka_t *handle, int socket, const char *broker,
                                      int32_t broker_id, int16_t kind, int16_t version,
                                      int32_t number, size_t size, void *opaque)
{
    enum { JOIN_GROUP = 11, HEARTBEAT = 12, LEAVE_GROUP = 13 };
    struct kafka *kafka = opaque;
    (void)handle, (void)socket, (void)broker, (void)broker_id, (void)version, (void)number,
        (void)size;
    if (kind == JOIN_GROUP) {
        atomic_fetch_add(&kafka->joins, 1);
        atomic_fetch_add(&kafka->all_joins, 1);
    } else if (kind == HEARTBEAT) {
        kafka_membership_granted(kafka);
    } else if (kind == LEAVE_GROUP) {
        atomic_fetch_add(&kafka->all_leaves, 1);
        kafka_wake(kafka);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *opaque,
                                  char *error, size_t size)
{
    (void)conf, (void)error, (void)size;
    return rd_kafka_interceptor_add_on_request_sent(handle, "membership", on_request, opaque);
}

int kafka_membership_follow(struct kafka *kafka, rd_kafka_conf_t *conf)
{
    return rd_kafka_conf_interceptor_add_on_new(conf, "membership", on_new, kafka) ? -1 : 0;
}

enum kafka_standing kafka_standing(const struct kafka *kafka)
{
    enum { REFUSED_JOINS = 10 }; /* rebalances that follow one another need fewer */
    int64_t heartbeat = atomic_load(&kafka->heartbeat_ms);
    unsigned joins = atomic_load(&kafka->joins);
    if (joins)
        return joins < REFUSED_JOINS ? KAFKA_JOINING : KAFKA_JOINS_REFUSED;
    return heartbeat && clock_boot_ms() - heartbeat <= kafka->config->session_timeout_ms
               ? KAFKA_SETTLED
               : KAFKA_NO_COORDINATOR;
}

const char *kafka_join_refusal(const struct kafka *kafka)
{
    return *kafka->refusal && kafka->refusal_ms >= atomic_load(&kafka->heartbeat_ms)
               ? kafka->refusal
               : NULL;
}

void kafka_assignment_is_member(struct kafka *kafka)
{
    kafka->assignment.no_member_since_ms = 0;
}
