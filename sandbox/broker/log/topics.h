/* The table of topics. Topics are never deleted, so a pointer to a topic is valid as long as the
 * broker. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "sandbox/broker/log/partition.h"
#include "sandbox/broker/wire/wire.h"

struct broker_topic {
    struct list node; /* topics.list, oldest first */
    struct map_node by_name;
    char *name;
    int32_t partition_count;
    struct broker_partition partitions[];
};

struct broker_topics {
    struct list list;
    struct map by_name;
    int32_t count;
};

void broker_topics_init(struct broker_topics *topics);
void broker_topics_fini(struct broker_topics *topics);

/* NULL: there is none. */
struct broker_topic *broker_topics_find(const struct broker_topics *topics,
                                        struct broker_slice name);

/* Whether Kafka would accept it as the name of a topic. */
bool broker_topics_name_valid(struct broker_slice name);

/* Makes a topic, which must not exist yet. The name is copied. */
struct broker_topic *broker_topics_add(struct broker_topics *topics, struct broker_slice name,
                                       int32_t partitions);

/* NULL: topic or partition does not exist. topic may be NULL. */
struct broker_partition *broker_topic_partition(struct broker_topic *topic, int32_t index);
