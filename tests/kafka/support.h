/* A worker's Kafka side for tests: made from a whole configuration, driven by the test's own
 * thread, with everything noted that its handler is told. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "io/kafka.h"

enum {
    SEEN = 64,
    SIDE_OPTIONS = 24,
    WAIT_MS = 60000, /* longer than a slow broker needs, and shorter than kafka_untold.c, which
                        would hide that a partition is not read */
};

struct rebalance {
    uint64_t number;
    bool revoked, lost;
    size_t count;
    struct record_position list[SEEN];
};

struct taken {
    struct record_position position;
    char key[64], value[64], header[64];
    int64_t timestamp_ms;
};

struct side {
    struct config config;
    struct kafka *kafka;
    bool answers; /* answers rebalances by itself: reads from the oldest, gives back at once */

    struct rebalance rebalances[SEEN];
    size_t rebalance_count;
    int ready, transacted, ledgers_read, owners_ended, committed, failed;
    enum txn_outcome outcome;
    size_t record_count; /* of the newest transaction */
    enum record_refusal refused[SEEN];
    enum group_answer answer;
    struct stored_ledger ledgers[SEEN];
    char metadata[SEEN][5000];
    size_t ledger_count;
    char error[512];

    struct taken taken[SEEN];
    size_t taken_count, ends;
    int64_t end_offset;
};

/* options: "key=value" with NULL behind the last one; more than the least that a configuration
 * needs. */
void side_init(struct side *side, const char *bootstrap, const char *group, const char *instance,
               const char *const *options);
void side_fini(struct side *side);

/* Serves until the condition holds; fails the test after WAIT_MS. */
#define side_until(side, condition)                                                                \
    do {                                                                                           \
        int64_t limit_ = clock_boot_ms() + WAIT_MS;                                                \
        kafka_serve((side)->kafka);                                                                \
        while (!(condition)) {                                                                     \
            if (clock_boot_ms() > limit_)                                                          \
                fail_msg("waited in vain for: %s", #condition);                                    \
            kafka_wait((side)->kafka, 50);                                                         \
            kafka_serve((side)->kafka);                                                            \
        }                                                                                          \
    } while (0)

/* Starts, joins and waits for `partitions` partitions in one assignment, which it answers. */
void side_join(struct side *side, size_t partitions);
/* Takes what is there of a partition into side->taken. */
void side_take(struct side *side, int32_t partition);
/* One transaction of records (topic, key, value) and one ledger; returns its outcome. */
enum txn_outcome side_transact(struct side *side, const struct record *records, size_t count,
                               const struct stored_ledger *ledgers, size_t ledger_count);
enum group_answer side_commit(struct side *side, const struct stored_ledger *ledgers, size_t count);
enum group_answer side_read(struct side *side, int32_t partition, bool stable);
/* Leaves the group; answers what comes. */
void side_leave(struct side *side);

/* How often an error with these words was logged. */
uint64_t errors_with(const char *words);

void record_set(struct record *record, const char *topic, const char *key, const char *value);

/* A topic of the cluster, by the admin API. */
void topic_make(const char *bootstrap, const char *name, int partitions);
/* One partition that takes no batch larger than that. */
void topic_make_limited(const char *bootstrap, const char *name, int batch_bytes);
void topic_grow(const char *bootstrap, const char *name, int partitions);
void topic_delete(const char *bootstrap, const char *name);
/* Deletes what stands in partition 0 before that offset. */
void topic_trim(const char *bootstrap, const char *name, int64_t begin);
/* So many records into partition 0. */
void topic_fill(const char *bootstrap, const char *name, int count);
/* A record into it. */
void topic_put(const char *bootstrap, const char *name, int32_t partition, const char *key,
               const char *value, const char *header);
/* The values in it as a read_committed (or not) reader finds them up to its end, joined by ','. */
void topic_values(const char *bootstrap, const char *name, bool committed, char *out, size_t size);

/* A producer with that transactional id that has died in the middle of a transaction: a record is
 * produced and the offset of partition 0 is sent. To be destroyed. */
rd_kafka_t *transaction_left_open(const char *bootstrap, const char *group, const char *id,
                                  const char *results, const char *requests, int64_t offset,
                                  const char *metadata);

/* librdkafka's mock cluster. */
struct cluster {
    rd_kafka_t *owner;
    rd_kafka_mock_cluster_t *mock;
    const char *bootstrap;
};

/* Without a topic. cluster_down ends it. */
struct cluster *cluster_new(int brokers);

/* Setup and teardown of a test, whose state is a cluster of one broker, with a topic of two
 * partitions for calls and those for what becomes of them. */
int cluster_up(void **state);
int cluster_down(void **state);

#define with_cluster(test) cmocka_unit_test_setup_teardown(test, cluster_up, cluster_down)

/* Options of a side that waits for little: a member that is forgotten by its client is waited for
 * until its session is over. */
extern const char *const quick_options[];
