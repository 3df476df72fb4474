#include "sandbox/broker/log/topics.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { PARTITION_BYTES = 67108864 };

void broker_topics_init(struct broker_topics *topics)
{
    *topics = (struct broker_topics){0};
    list_init(&topics->list);
    map_init(&topics->by_name);
}

void broker_topics_fini(struct broker_topics *topics)
{
    for (struct list *node; (node = list_take_first(&topics->list));) {
        struct broker_topic *topic = list_of(node, struct broker_topic, node);
        for (int32_t i = 0; i < topic->partition_count; i++)
            broker_partition_fini(&topic->partitions[i]);
        free(topic->name);
        free(topic);
    }
    map_fini(&topics->by_name);
}

struct broker_topic *broker_topics_find(const struct broker_topics *topics,
                                        struct broker_slice name)
{
    if (!name.data)
        return NULL;
    struct map_node *node = map_find(&topics->by_name, name.data, (size_t)name.length);
    return node ? list_of(node, struct broker_topic, by_name) : NULL;
}

bool broker_topics_name_valid(struct broker_slice name)
{
    if (name.length < 1 || name.length > 249 || broker_slice_equal(name, ".") ||
        broker_slice_equal(name, ".."))
        return false;
    for (int32_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !text_is_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

struct broker_topic *broker_topics_add(struct broker_topics *topics, struct broker_slice name,
                                       int32_t partitions)
{
    struct broker_topic *topic =
        memory_zeroed(1, sizeof(*topic) + (size_t)partitions * sizeof(topic->partitions[0]));
    topic->name = broker_slice_copy(name);
    topic->partition_count = partitions;
    for (int32_t i = 0; i < partitions; i++)
        broker_partition_init(&topic->partitions[i], PARTITION_BYTES);
    list_append(&topics->list, &topic->node);
    map_add(&topics->by_name, &topic->by_name, topic->name, strlen(topic->name));
    topics->count++;
    return topic;
}

struct broker_partition *broker_topic_partition(struct broker_topic *topic, int32_t index)
{
    return topic && index >= 0 && index < topic->partition_count ? &topic->partitions[index] : NULL;
}
