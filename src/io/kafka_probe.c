/* Whether the committed offsets that this process has written are still there. Kafka deletes them
 * with their topic, and a topic that is deleted and made again within seconds looks to librdkafka
 * as if nothing had happened: it would read on in the new log where it stood in the old one. One
 * partition is asked about each second, as a topic goes with all of its partitions. A runner asks,
 * for which nobody waits (librdkafka's admin requests, which would need none, end the process when
 * the broker dies at the wrong moment). That it is answered at all shows that Kafka is there: while
 * it seems not to be, the question is put also when nothing depends on what the answer says. Kafka
 * thread, but for the asking. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum { PROBE_EVERY_MS = 1000, PROBE_TIMEOUT_MS = 500, PROBES_UNANSWERED = 5 };

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

/* On the prober. */
static void look(struct kafka *kafka)
{
    struct kafka_probe *probe = &kafka->probe;
    rd_kafka_resp_err_t code = rd_kafka_committed(kafka->consumer, probe->list, PROBE_TIMEOUT_MS);
    const rd_kafka_topic_partition_t *at = &probe->list->elems[0];
    probe->gone = !code && !at->err && at->offset < 0; /* nothing less is certain */
    probe->answered = code >= 0; /* librdkafka's own errors are below, the broker's above */
}

static void ask(struct kafka *kafka, const struct kafka_slot *slot)
{
    struct kafka_probe *probe = &kafka->probe;
    if (!probe->unanswered)
        probe->asked_ms = clock_wall_ms();
    probe->about_slot = slot;
    probe->list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(probe->list, kafka->config->request_topics[kafka->job],
                                      slot ? slot->partition : 0);
    probe->rebalance = kafka->assignment.number;
    kafka_runner_give(&kafka->prober, look);
}

static void drop_list(struct kafka_probe *probe)
{
    if (probe->list)
        rd_kafka_topic_partition_list_destroy(probe->list);
    probe->list = NULL;
}

static void note_answer(struct kafka *kafka)
{
    struct kafka_probe *probe = &kafka->probe;
    if (probe->answered) {
        probe->unanswered = 0;
        kafka_silence_ended(kafka);
    } else if (++probe->unanswered == PROBES_UNANSWERED) {
        kafka_silence_began(kafka, probe->asked_ms);
    }
}

static void restart_all(struct kafka *kafka)
{
    for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
        const struct kafka_slots *slots = &kafka->assignment.slots[kind];
        for (size_t i = 0; i < slots->count; i++)
            if (slots->at[i] && slots->at[i]->standing == SLOT_HELD && slots->at[i]->had_ledger) {
                slots->at[i]->had_ledger = false;
                slots->at[i]->restart = slots->at[i]->log_changed = true;
            }
    }
}

void kafka_probe_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_probe *probe = &kafka->probe;
    const struct kafka_assignment *a = &kafka->assignment;
    if (kafka_runner_take(&kafka->prober)) {
        drop_list(probe);
        probe->at_ms = now_ms;
        note_answer(kafka);
        /* An answer from before a rebalance is about another holding. */
        if (probe->about_slot && probe->gone && probe->rebalance == a->number &&
            a->asked == ASKED_NOTHING) {
            log_warn("kafka: the committed offsets of this group are gone: topic %s was deleted "
                     "and made again; its partitions are read anew",
                     kafka->config->request_topics[kafka->job]);
            restart_all(kafka);
        }
    }
    if (!kafka_runner_idle(&kafka->prober) || now_ms - probe->at_ms < PROBE_EVERY_MS ||
        a->closing || a->asked != ASKED_NOTHING)
        return;
    const struct kafka_slot *slot = choose(kafka);
    if (slot || probe->unanswered || atomic_load(&kafka->silent_since_ms))
        ask(kafka, slot);
}

void kafka_probe_fini(struct kafka *kafka)
{
    drop_list(&kafka->probe);
}
