/* A consumer group seen from outside, for the operator's commands: its committed offsets, the
 * beginnings and ends of the logs of its topics, and a commit while the group is stopped. It never
 * joins the group. Every function blocks on the network for at most some seconds. The command's
 * thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/config.h"

struct kafka_admin;

struct kafka_admin_partition {
    int32_t partition;
    int64_t begin, end; /* the log's oldest offset, and the offset of its next record */
    int64_t committed;  /* -1: nothing */
    char *metadata;     /* NUL-terminated; "" when there is none */
    size_t metadata_size;
    int64_t oldest_ms; /* timestamp of the first record from the committed offset on; -1: none, or
                          not read in time */
};

struct kafka_admin_group {
    char state[32]; /* as the coordinator reports it: Stable, Empty, Dead (no such group), ... */
    int members;
};

/* Does not connect yet. NULL on failure. */
struct kafka_admin *kafka_admin_new(const struct config *config, const char *group,
                                    struct error *error);

/* Reads the state of the group. Returns 0 or -1. */
int kafka_admin_describe(struct kafka_admin *admin, struct kafka_admin_group *group,
                         struct error *error);

/* All partitions of a topic, by number. Returns 0, and the list is released with
 * kafka_admin_partitions_free; or -1. */
int kafka_admin_read(struct kafka_admin *admin, const char *topic,
                     struct kafka_admin_partition **list, size_t *count, struct error *error);
void kafka_admin_partitions_free(struct kafka_admin_partition *list, size_t count);

/* Commits an offset with empty metadata. The broker accepts it only while the group has no members.
 * Returns 0 or -1. */
int kafka_admin_commit(struct kafka_admin *admin, const char *topic, int32_t partition,
                       int64_t offset, struct error *error);

void kafka_admin_free(struct kafka_admin *admin);
