/* Whether the committed offsets that this process has written are still there. Kafka deletes them
 * with their topic, and a topic that is deleted and made again within seconds looks to librdkafka
 * as if nothing had happened: it would read on in the new log where it stood in the old one. One
 * partition is asked about each second, as a topic goes with all of its partitions. Kafka
 * thread. */
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum { PROBE_EVERY_MS = 1000, PROBE_TIMEOUT_MS = 10000 };

/* A partition that is read and has a ledger of ours; NULL: none. */
static const struct kafka_slot *choose(const struct kafka *kafka)
{
    for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
        const struct kafka_slots *slots = &kafka->assignment.slots[kind];
        for (size_t i = 0; i < slots->count; i++)
            if (slots->at[i] && slots->at[i]->standing == SLOT_HELD && slots->at[i]->had_ledger)
                return slots->at[i];
    }
    return NULL;
}

static void ask(struct kafka *kafka, const struct kafka_slot *slot)
{
    const uint64_t one = 1;
    char reason[128];
    struct kafka_probe *probe = &kafka->probe;
    if (!probe->queue) {
        probe->queue = memory_must(rd_kafka_queue_new(kafka->consumer));
        rd_kafka_queue_io_event_enable(probe->queue, kafka->event_fd, &one, sizeof one);
    }
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list, kafka->config->request_topics[slot->kind],
                                      slot->partition);
    rd_kafka_ListConsumerGroupOffsets_t *question =
        rd_kafka_ListConsumerGroupOffsets_new(kafka->config->group_ids[kafka->job], list);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(kafka->consumer, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_AdminOptions_set_request_timeout(options, PROBE_TIMEOUT_MS, reason, sizeof reason);
    rd_kafka_ListConsumerGroupOffsets(kafka->consumer, &question, 1, options, probe->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(question);
    rd_kafka_topic_partition_list_destroy(list);
    probe->rebalance = kafka->assignment.number;
    probe->asked = true;
}

/* Whether the answer says for certain that nothing is committed. */
static bool says_gone(const rd_kafka_event_t *event)
{
    size_t count = 0;
    const rd_kafka_ListConsumerGroupOffsets_result_t *result =
        rd_kafka_event_ListConsumerGroupOffsets_result((rd_kafka_event_t *)event);
    if (rd_kafka_event_error((rd_kafka_event_t *)event) || !result)
        return false;
    const rd_kafka_group_result_t **groups =
        rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);
    if (count != 1 || rd_kafka_group_result_error(groups[0]))
        return false;
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(groups[0]);
    return list && list->cnt == 1 && !list->elems[0].err && list->elems[0].offset < 0;
}

static void restart_all(struct kafka *kafka)
{
    for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
        const struct kafka_slots *slots = &kafka->assignment.slots[kind];
        for (size_t i = 0; i < slots->count; i++)
            if (slots->at[i] && slots->at[i]->standing == SLOT_HELD && slots->at[i]->had_ledger) {
                slots->at[i]->had_ledger = false;
                slots->at[i]->restart = true;
            }
    }
}

void kafka_probe_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_probe *probe = &kafka->probe;
    const struct kafka_assignment *a = &kafka->assignment;
    rd_kafka_event_t *event = probe->asked ? rd_kafka_queue_poll(probe->queue, 0) : NULL;
    if (event) {
        probe->asked = false;
        probe->at_ms = now_ms;
        /* An answer from before a rebalance is about another holding. */
        if (says_gone(event) && probe->rebalance == a->number && a->asked == ASKED_NOTHING) {
            log_warn("kafka: the committed offsets of this group are gone: topic %s was deleted "
                     "and made again; its partitions are read anew",
                     kafka->config->request_topics[kafka->job]);
            restart_all(kafka);
        }
        rd_kafka_event_destroy(event);
    }
    if (probe->asked || now_ms - probe->at_ms < PROBE_EVERY_MS || a->closing ||
        a->asked != ASKED_NOTHING)
        return;
    const struct kafka_slot *slot = choose(kafka);
    if (slot)
        ask(kafka, slot);
}

void kafka_probe_close(struct kafka *kafka)
{
    if (kafka->probe.queue)
        rd_kafka_queue_destroy(kafka->probe.queue);
    memset(&kafka->probe, 0, sizeof kafka->probe);
}
