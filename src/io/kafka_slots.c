/* The partitions of the job that a rebalance has ever named (slots): found, gathered by their
 * state, and listed for the handler. Kafka thread. */
#include <string.h>

#include "base/memory.h"
#include "io/kafka_assignment_internal.h"

enum request_kind kafka_topic_kind(const struct config *config, const char *topic)
{
    int kind = 0;
    while (kind < REQUEST_KINDS && strcmp(config->request_topics[kind], topic))
        kind++;
    return (enum request_kind)kind;
}

struct kafka_slot *kafka_slot_find(const struct kafka *kafka, enum request_kind kind,
                                   int32_t partition)
{
    const struct kafka_slots *slots = &kafka->assignment.slots[kind];
    return partition >= 0 && (size_t)partition < slots->count ? slots->at[partition] : NULL;
}

struct kafka_slot *kafka_slot_get(struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    struct kafka_slots *slots = &kafka->assignment.slots[kind];
    if ((size_t)partition >= slots->count) {
        size_t count = (size_t)partition + 1;
        slots->at = memory_extend(slots->at, slots->count, count, sizeof *slots->at);
        slots->count = count;
    }
    struct kafka_slot *slot = slots->at[partition];
    if (!slot) {
        slot = slots->at[partition] = memory_zeroed(1, sizeof *slot);
        slot->kind = kind;
        list_init(&slot->full_node);
        slot->partition = partition;
        kafka_partition_forget_log(slot);
    }
    return slot;
}

struct kafka_slot *kafka_slot_of(struct kafka *kafka, const rd_kafka_topic_partition_t *at)
{
    enum request_kind kind = kafka_topic_kind(kafka->config, at->topic);
    return kind == REQUEST_KINDS ? NULL : kafka_slot_find(kafka, kind, at->partition);
}

struct kafka_slot *kafka_slot_next(struct kafka *kafka, const struct kafka_slot *last)
{
    size_t kind = last ? (size_t)last->kind : 0;
    size_t at = last ? (size_t)last->partition + 1 : 0;
    for (; kind < REQUEST_KINDS; kind++, at = 0)
        for (; at < kafka->assignment.slots[kind].count; at++)
            if (kafka->assignment.slots[kind].at[at])
                return kafka->assignment.slots[kind].at[at];
    return NULL;
}

void kafka_slots_move(struct kafka *kafka, enum kafka_slot_state from, enum kafka_slot_state to)
{
    each_slot(slot, kafka) if (slot->state == from) slot->state = to;
}

void kafka_slot_report(struct kafka_assignment *a, const struct kafka_slot *slot)
{
    a->reported =
        memory_grow(a->reported, a->reported_count, &a->reported_capacity, sizeof *a->reported, 16);
    a->reported[a->reported_count++] =
        (struct record_position){.kind = slot->kind, .partition = slot->partition, .offset = -1};
}

size_t kafka_slots_collect(struct kafka *kafka, enum kafka_slot_state state)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->reported_count = 0;
    each_slot(slot, kafka) if (slot->state == state) kafka_slot_report(a, slot);
    return a->reported_count;
}

bool kafka_slots_empty(struct kafka *kafka)
{
    each_slot(slot, kafka) if (slot->state != SLOT_NONE || slot->fetched) return false;
    return true;
}

void kafka_assignment_stop(struct kafka *kafka)
{
    each_slot(slot, kafka)
    {
        kafka_partition_stop(kafka, slot);
        slot->fetched = false;
    }
}
