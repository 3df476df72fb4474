#include "sandbox/broker/coordinator/offsets.h"

#include <stdlib.h>

#include "base/memory.h"
#include "sandbox/broker/wire/protocol.h"

struct offset_pending {
    struct list node; /* broker_offset_slot.pending */
    int64_t producer_id;
    struct broker_offset offset;
};

void broker_offsets_init(struct broker_offsets *offsets)
{
    list_init(&offsets->topics);
}

static void pending_free(struct offset_pending *pending)
{
    list_remove(&pending->node);
    free(pending->offset.metadata);
    free(pending);
}

void broker_offsets_fini(struct broker_offsets *offsets)
{
    for (struct list *node; (node = list_take_first(&offsets->topics));) {
        struct broker_offset_topic *entry = list_of(node, struct broker_offset_topic, node);
        for (int32_t i = 0; i < entry->topic->partition_count; i++) {
            free(entry->slots[i].committed.metadata);
            list_each_safe(at, &entry->slots[i].pending)
                pending_free(list_of(at, struct offset_pending, node));
        }
        free(entry);
    }
}

static struct broker_offset_topic *find_topic(const struct broker_offsets *offsets,
                                              const struct broker_topic *topic)
{
    list_each(node, &offsets->topics)
    {
        struct broker_offset_topic *entry = list_of(node, struct broker_offset_topic, node);
        if (entry->topic == topic)
            return entry;
    }
    return NULL;
}

static struct broker_offset_topic *make_topic(struct broker_offsets *offsets,
                                              struct broker_topic *topic)
{
    struct broker_offset_topic *entry =
        memory_zeroed(1, sizeof(*entry) + (size_t)topic->partition_count * sizeof(entry->slots[0]));
    entry->topic = topic;
    for (int32_t i = 0; i < topic->partition_count; i++)
        list_init(&entry->slots[i].pending);
    list_append(&offsets->topics, &entry->node);
    return entry;
}

static struct offset_pending *find_pending(struct broker_offset_slot *slot, int64_t producer_id)
{
    list_each(node, &slot->pending)
    {
        struct offset_pending *pending = list_of(node, struct offset_pending, node);
        if (pending->producer_id == producer_id)
            return pending;
    }
    return NULL;
}

static void replace(struct broker_offset *offset, struct broker_offset with)
{
    free(offset->metadata);
    *offset = with;
}

int16_t broker_offsets_put(struct broker_offsets *offsets, int64_t producer_id,
                           struct broker_topic *topic, int32_t partition, int64_t offset,
                           int32_t leader_epoch, struct broker_slice metadata)
{
    if (!broker_topic_partition(topic, partition))
        return CODE_UNKNOWN_TOPIC_OR_PARTITION;
    if (metadata.length > OFFSET_METADATA_MAX)
        return CODE_OFFSET_METADATA_TOO_LARGE;
    struct broker_offset_topic *entry = find_topic(offsets, topic);
    if (!entry)
        entry = make_topic(offsets, topic);
    struct broker_offset_slot *slot = &entry->slots[partition];
    struct broker_offset *place = &slot->committed;
    if (producer_id != OFFSET_PLAIN) {
        struct offset_pending *pending = find_pending(slot, producer_id);
        if (!pending) {
            pending = memory_zeroed(1, sizeof(*pending));
            pending->producer_id = producer_id;
            list_append(&slot->pending, &pending->node);
        }
        place = &pending->offset;
    }
    char *copy = metadata.data ? broker_slice_copy(metadata) : memory_string("");
    replace(place, (struct broker_offset){offset, leader_epoch, copy});
    return CODE_NONE;
}

static void end_in_slot(struct broker_offset_slot *slot, int64_t producer_id, bool commit)
{
    struct offset_pending *pending = find_pending(slot, producer_id);
    if (!pending)
        return;
    if (commit) {
        replace(&slot->committed, pending->offset);
        pending->offset.metadata = NULL;
    }
    pending_free(pending);
}

void broker_offsets_end_transaction(struct broker_offsets *offsets, int64_t producer_id,
                                    bool commit)
{
    list_each(node, &offsets->topics)
    {
        struct broker_offset_topic *entry = list_of(node, struct broker_offset_topic, node);
        for (int32_t i = 0; i < entry->topic->partition_count; i++)
            end_in_slot(&entry->slots[i], producer_id, commit);
    }
}

const struct broker_offset *broker_offsets_get(const struct broker_offsets *offsets,
                                               const struct broker_topic *topic, int32_t partition,
                                               bool *unstable)
{
    *unstable = false;
    const struct broker_offset_topic *entry = find_topic(offsets, topic);
    if (!entry || partition < 0 || partition >= topic->partition_count)
        return NULL;
    const struct broker_offset_slot *slot = &entry->slots[partition];
    *unstable = !list_empty(&slot->pending);
    return slot->committed.metadata ? &slot->committed : NULL;
}
