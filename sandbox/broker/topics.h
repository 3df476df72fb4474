/* The table of topics. Topics are never deleted, so that a pointer to one stays good for the
 * broker's life. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "sandbox/broker/partition.h"
#include "sandbox/broker/wire.h"

struct topic {
    struct list node; /* topics.list, oldest first */
    struct map_node by_name;
    char *name;
    int32_t partition_count;
    struct partition partitions[];
};

struct topics {
    struct list list;
    struct map by_name;
    int32_t count;
};

enum { TOPIC_PARTITIONS_MAX = 10000 };

void topics_init(struct topics *topics);
void topics_fini(struct topics *topics);

/* NULL when there is none. */
struct topic *topics_find(const struct topics *topics, struct slice name);

/* Whether Kafka would take it as a topic's name. */
bool topics_name_valid(struct slice name);

/* Makes a topic that is not there yet; the name is copied. */
struct topic *topics_add(struct topics *topics, struct slice name, int32_t partitions);

/* NULL when topic or partition does not exist; topic may be NULL. */
struct partition *topic_partition(struct topic *topic, int32_t index);
