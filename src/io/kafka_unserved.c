/* Finds partitions that cannot be read because their leader does not answer this consumer, or
 * because they have none. librdkafka says nothing of them, and they look like partitions that are
 * idle. The answers are also the ends of partitions of which nothing is taken, and so nothing is
 * fetched. The Kafka thread, except the look.
 *
 * Once in stuck.after.ms the consumer itself asks each leader of its partitions where they end,
 * because another client may get through where it does not. Two questions in a row without an
 * answer, between which nothing has come, are a trouble of the partition (kafka_partition.c). It is
 * then fetched again, so one that can be read proves it before the trouble shows. */
#include "base/clock.h"
#include "base/memory.h"
#include "io/kafka_assignment_internal.h"

enum {
    ANSWER_MS = 2000, /* limit of one question, beyond the time for which a fetch before it waits */
    LOOK_MS = 10000,  /* no question begins after that time */
};

/* The topic's partitions, as a broker knows them; NULL: no answer. */
static const struct rd_kafka_metadata *metadata_of(struct kafka *kafka, int limit_ms)
{
    const struct rd_kafka_metadata *metadata;
    return rd_kafka_metadata(kafka->consumer, 0, kafka->input, &metadata, limit_ms) ? NULL
                                                                                    : metadata;
}

/* Whether that broker leads the partition; -1: none does. librdkafka sorts partitions by number. */
static bool is_led_by(const struct rd_kafka_metadata *metadata, int32_t partition, int32_t broker)
{
    const struct rd_kafka_metadata_topic *topic = metadata->topics;
    return metadata->topic_cnt == 1 && partition < topic->partition_cnt &&
           topic->partitions[partition].id == partition &&
           topic->partitions[partition].leader == broker;
}

/* Those of the list that this broker leads. */
static rd_kafka_topic_partition_list_t *led_by(const struct rd_kafka_metadata *metadata,
                                               const rd_kafka_topic_partition_list_t *list,
                                               int32_t broker)
{
    rd_kafka_topic_partition_list_t *led = memory_must(rd_kafka_topic_partition_list_new(1));
    for (int i = 0; i < list->cnt; i++)
        if (is_led_by(metadata, list->elems[i].partition, broker))
            rd_kafka_topic_partition_list_add(led, list->elems[i].topic, list->elems[i].partition)
                ->offset = RD_KAFKA_OFFSET_END;
    return led;
}

/* librdkafka frees the words with the list. */
static void note(rd_kafka_topic_partition_list_t *list, const rd_kafka_topic_partition_list_t *led,
                 rd_kafka_resp_err_t code, const char *words)
{
    for (int i = 0; i < led->cnt; i++) {
        rd_kafka_topic_partition_t *at =
            rd_kafka_topic_partition_list_find(list, led->elems[i].topic, led->elems[i].partition);
        at->err = code;
        at->metadata = memory_string(words);
    }
}

static void note_ends(rd_kafka_topic_partition_list_t *list,
                      const rd_kafka_topic_partition_list_t *led)
{
    for (int i = 0; i < led->cnt; i++)
        if (!led->elems[i].err)
            rd_kafka_topic_partition_list_find(list, led->elems[i].topic, led->elems[i].partition)
                ->offset = led->elems[i].offset;
}

/* Asks the leaders. Looker. */
static void look(struct kafka *kafka)
{
    rd_kafka_topic_partition_list_t *list = kafka->unserved.list;
    int limit_ms =
        (int)config_kafka_integer(kafka->config, false, "fetch.wait.max.ms", 500) + ANSWER_MS;
    int64_t until = clock_boot_ms() + LOOK_MS;
    const struct rd_kafka_metadata *metadata = metadata_of(kafka, limit_ms);
    if (!metadata)
        return;
    rd_kafka_topic_partition_list_t *led = led_by(metadata, list, -1);
    note(list, led, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, "no broker leads it at present");
    rd_kafka_topic_partition_list_destroy(led);
    for (int i = 0; i < metadata->broker_cnt; i++) {
        const struct rd_kafka_metadata_broker *broker = &metadata->brokers[i];
        led = led_by(metadata, list, broker->id);
        bool asks = led->cnt && clock_boot_ms() < until && !atomic_load(&kafka->stopping);
        rd_kafka_resp_err_t code =
            asks ? rd_kafka_offsets_for_times(kafka->consumer, led, limit_ms) : 0;
        struct error words;
        error_set(&words, "broker %d (%s:%d), which leads it, does not tell where it ends: %s",
                  (int)broker->id, broker->host, broker->port, rd_kafka_err2str(code));
        if (code)
            note(list, led, RD_KAFKA_RESP_ERR__TRANSPORT, words.text);
        else if (asks)
            note_ends(list, led);
        rd_kafka_topic_partition_list_destroy(led);
    }
    rd_kafka_metadata_destroy(metadata);
}

/* One of which no broker has told yet where it ends is stuck, and kafka_untold.c looks after it. */
static bool is_quiet(const struct kafka_slot *slot)
{
    return kafka_partition_is_quiet(slot) &&
           kafka_end(slot->kafka, slot->kind, slot->partition) >= 0;
}

/* Whether something of it waits to be taken. */
static bool is_held_back(const struct kafka_slot *slot)
{
    return slot->fetched && slot->state == SLOT_OWNED && slot->queue &&
           rd_kafka_queue_length(slot->queue) > 0;
}

/* Judges what the look has found of a partition. */
static void judge(struct kafka *kafka, struct kafka_slot *slot,
                  const rd_kafka_topic_partition_t *at)
{
    bool is_unserved = at->metadata && is_quiet(slot);
    int64_t end = kafka_end(kafka, slot->kind, slot->partition);
    bool again =
        slot->is_unserved && slot->unserved_next == slot->next && slot->unserved_end == end;
    if (is_unserved && again)
        kafka_partition_failed(kafka, slot, at->err, at->metadata);
    slot->is_unserved = is_unserved && !again;
    slot->unserved_next = slot->next;
    slot->unserved_end = end;
}

/* Takes what the looker has found. */
static void looked(struct kafka *kafka)
{
    const struct kafka_unserved *unserved = &kafka->unserved;
    rd_kafka_topic_partition_list_t *list = unserved->list;
    bool is_away = atomic_load(&kafka->silent_since_ms); /* all brokers: that is told otherwise */
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_slot *slot = kafka_slot_of(kafka, &list->elems[i]);
        if (slot && !is_away)
            judge(kafka, slot, &list->elems[i]);
        if (slot && unserved->rebalance == kafka->assignment.number)
            slot->told_end = list->elems[i].offset;
    }
    kafka_unserved_fini(kafka);
}

void kafka_unserved_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_unserved *unserved = &kafka->unserved;
    if (unserved->list && kafka_runner_take(&kafka->looker))
        looked(kafka);
    if (!unserved->due_ms)
        unserved->due_ms = now_ms + kafka->config->stuck_after_ms;
    if (now_ms < unserved->due_ms || kafka->assignment.closing ||
        !kafka_runner_idle(&kafka->looker))
        return;
    unserved->due_ms = now_ms + kafka->config->stuck_after_ms;
    unserved->list = memory_must(rd_kafka_topic_partition_list_new(8));
    unserved->rebalance = kafka->assignment.number;
    each_slot(slot, kafka) if (is_quiet(slot) || is_held_back(slot))
        rd_kafka_topic_partition_list_add(unserved->list, kafka->config->request_topics[slot->kind],
                                          slot->partition)
            ->offset = slot->told_end;
    if (unserved->list->cnt)
        kafka_runner_give(&kafka->looker, look);
    else
        kafka_unserved_fini(kafka);
}

void kafka_unserved_fini(struct kafka *kafka)
{
    if (kafka->unserved.list)
        rd_kafka_topic_partition_list_destroy(kafka->unserved.list);
    kafka->unserved.list = NULL;
}
