/* Reading one partition: its queue, the position of reading, and what stops it. Kafka thread.
 *
 * A partition is started and stopped by itself (rd_kafka_consume_start), and is in no assignment of
 * librdkafka's: see kafka_assign_calls.c.
 *
 * Two things go wrong without a rebalance:
 *  - The log is suddenly shorter than the position of reading: the topic was deleted and created
 *    again (which also deletes its committed offsets), or has lost records. The committed state
 *    decides: the partition is reported as overtaken and as assigned again. If the committed
 *    state is still the old one, the engine halts the partition.
 *  - The broker or librdkafka refuses the record at a position, each time or once and then
 *    silently. Only a record or the partition's end proves that the failure is over. So after a
 *    while the position is fetched again, and after TROUBLE_BUDGET_MS the partition counts as
 *    halted. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum {
    STOP_TRIES = 5,
    REOPEN_EVERY_MS = 500,     /* after one that failed */
    REREAD_EVERY_MS = 5000,    /* while it cannot be read */
    TROUBLE_BUDGET_MS = 10000, /* after that time it counts as halted */
    COMPLAIN_EVERY_MS = 60000,
};

static struct log_about about(const struct kafka *kafka, const struct kafka_slot *slot)
{
    return (struct log_about){.topic = kafka->config->request_topics[slot->kind],
                              .partition = slot->partition,
                              .offset = slot->next};
}

/* Whether an error is about the whole topic. */
static bool is_of_topic(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

/* Whether a line is due: one for all partitions, because a broker may refuse one as the other.
 * Those that stay in trouble are logged as halted, each or together. */
static bool is_due(struct kafka *kafka, const struct kafka_slot *slot, rd_kafka_resp_err_t code)
{
    char name[96];
    snprintf(name, sizeof name, "reading %d, error %d", (int)slot->kind, (int)code);
    return !kafka_trouble(kafka, slot->kind, slot->partition) &&
           kafka_log_due(&kafka->log_throttle, name, COMPLAIN_EVERY_MS);
}

/* The queue is not empty any more. One of librdkafka's threads, which holds the queue's lock: once
 * that is closed, none is here. */
static void something_came(rd_kafka_t *handle, void *opaque)
{
    (void)handle;
    struct kafka_slot *slot = opaque;
    struct kafka *kafka = slot->kafka;
    if (!atomic_exchange(&slot->has_news, true)) {
        slot->next_news = atomic_load(&kafka->news);
        while (!atomic_compare_exchange_weak(&kafka->news, &slot->next_news, slot))
            continue;
    }
    kafka_wake(kafka);
}

void kafka_partitions_news(struct kafka *kafka)
{
    struct kafka_slot *slot = atomic_exchange(&kafka->news, NULL);
    while (slot) {
        struct kafka_slot *next = slot->next_news;
        atomic_store(&slot->has_news, false); /* before its queue is looked into */
        if (slot->queue && !list_linked(&slot->full_node))
            list_append(&kafka->full, &slot->full_node);
        slot = next;
    }
}

void kafka_partition_restart(struct kafka *kafka, struct kafka_slot *slot)
{
    slot->restart = kafka->assignment.restarts = true;
}

static void close_queue(struct kafka_slot *slot)
{
    if (!slot->queue)
        return;
    rd_kafka_message_t *message; /* each would keep its memory, and librdkafka's object */
    while ((message = rd_kafka_consume_queue(slot->queue, 0)))
        rd_kafka_message_destroy(message);
    rd_kafka_queue_cb_event_enable(slot->queue, NULL, NULL);
    list_remove(&slot->full_node);
    rd_kafka_queue_destroy(slot->queue);
    slot->queue = NULL;
}

/* Opens the partition's own queue, so that a full window stops only this partition. */
static void open_queue(struct kafka *kafka, struct kafka_slot *slot)
{
    close_queue(slot); /* it may belong to an older object of librdkafka */
    slot->queue = rd_kafka_queue_get_partition(
        kafka->consumer, kafka->config->request_topics[slot->kind], slot->partition);
    if (!slot->queue)
        return;
    slot->kafka = kafka;
    rd_kafka_queue_forward(slot->queue, NULL);
    rd_kafka_queue_cb_event_enable(slot->queue, something_came, slot);
    list_append(&kafka->full, &slot->full_node); /* what came before that */
}

/* Returns whether it is not read any more: librdkafka drops a stop that one of its own seeks
 * overtakes (2.8). Fetches that are not answered yet are void. */
static bool stop(struct kafka *kafka, struct kafka_slot *slot)
{
    for (int tries = 0; slot->fetched && tries < STOP_TRIES; tries++)
        slot->fetched = rd_kafka_consume_stop(kafka->input, slot->partition) &&
                        rd_kafka_last_error() != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    return !slot->fetched;
}

/* NULL: it cannot be made now. */
static rd_kafka_topic_t *input(struct kafka *kafka)
{
    if (!kafka->input)
        kafka->input =
            rd_kafka_topic_new(kafka->consumer, kafka->config->request_topics[kafka->job], NULL);
    return kafka->input;
}

/* It could not be stopped or started, and that is tried again. */
static void put_off(struct kafka *kafka, struct kafka_slot *slot)
{
    rd_kafka_resp_err_t code =
        slot->queue ? rd_kafka_last_error() : RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    slot->reopen = kafka->assignment.needs_reread = true;
    slot->reopen_at_ms = clock_boot_ms() + REOPEN_EVERY_MS;
    if (!slot->trouble.since_ms) /* otherwise the next reading says whether it lasts */
        kafka_partition_failed(kafka, slot, code, rd_kafka_err2str(code));
}

void kafka_partition_start(struct kafka *kafka, struct kafka_slot *slot)
{
    if (kafka->assignment.closing) /* a consumer that closes may not see it, and never ends then */
        return;
    int64_t from = slot->next < 0 ? RD_KAFKA_OFFSET_BEGINNING : slot->next;
    open_queue(kafka, slot); /* after a stop, which may end librdkafka's object of the partition */
    slot->fetched =
        slot->queue && input(kafka) && !rd_kafka_consume_start(kafka->input, slot->partition, from);
    slot->was_fetched |= slot->fetched;
    if (!slot->fetched)
        put_off(kafka, slot);
}

void kafka_partition_stop(struct kafka *kafka, struct kafka_slot *slot)
{
    slot->reopen = false;
    slot->trouble.since_ms = 0;
    (void)stop(kafka, slot); /* else it is stopped with what leaves next */
    close_queue(slot);
}

void kafka_partition_begin(struct kafka_slot *slot, int64_t offset)
{
    /* librdkafka takes for the beginning where the log began when it last fetched, and that may
     * have been another log. An offset before the beginning lets it ask. */
    slot->next = offset >= 0 ? offset : slot->was_fetched ? 0 : -1;
    slot->restart = slot->log_changed = slot->reopen = false;
    slot->trouble.since_ms = slot->untold_since_ms = slot->told_end = 0;
}

bool kafka_partition_is_quiet(const struct kafka_slot *slot)
{
    return slot->fetched && slot->state == SLOT_OWNED && !slot->reopen && !slot->trouble.since_ms &&
           slot->queue && rd_kafka_queue_length(slot->queue) == 0;
}

void kafka_partition_failed(struct kafka *kafka, struct kafka_slot *slot, rd_kafka_resp_err_t code,
                            const char *words)
{
    int64_t now = clock_boot_ms();
    struct kafka_trouble *trouble = &slot->trouble;
    kafka->assignment.needs_reread = true;
    if (!trouble->since_ms) {
        trouble->since_ms = now;
        trouble->reread_ms = now;
    }
    const char *what_to_do = kafka_read_remedy(code);
    struct error what, text;
    if (is_of_topic(code))
        error_set(&what, "topic %s cannot be read", kafka->config->request_topics[slot->kind]);
    else if (slot->next < 0)
        error_set(&what, "what is to be read first cannot be read");
    else
        error_set(&what, "what stands at offset %" PRId64 " cannot be read", slot->next);
    error_set(&text, "%s (%s)%s%s", what.text, words, *what_to_do ? "; " : "", what_to_do);
    snprintf(trouble->reason, sizeof trouble->reason, "%s", text.text);
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        kafka_right_missing(kafka, RIGHT_READ_TOPIC, kafka->config->request_topics[slot->kind],
                            words);
    else if (is_due(kafka, slot, code)) {
        struct log_about where = about(kafka, slot);
        log_write(LOG_WARN, &where, "kafka: %s; it is tried again", trouble->reason);
    }
}

void kafka_partitions_failed(struct kafka *kafka, rd_kafka_resp_err_t code, const char *words)
{
    for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
        const struct kafka_slots *slots = &kafka->assignment.slots[kind];
        for (size_t i = 0; i < slots->count; i++)
            if (slots->at[i] && slots->at[i]->fetched && slots->at[i]->state == SLOT_OWNED)
                kafka_partition_failed(kafka, slots->at[i], code, words);
    }
}

const char *kafka_trouble(const struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    const struct kafka_slots *slots = &kafka->assignment.slots[kind];
    if (partition < 0 || (size_t)partition >= slots->count || !slots->at[partition])
        return NULL;
    const struct kafka_slot *slot = slots->at[partition];
    bool lasts = slot->state == SLOT_OWNED && slot->trouble.since_ms &&
                 clock_boot_ms() - slot->trouble.since_ms >= TROUBLE_BUDGET_MS;
    return lasts ? slot->trouble.reason : NULL;
}

static bool is_shorter(const struct kafka *kafka, const struct kafka_slot *slot)
{
    int64_t end = kafka_end(kafka, slot->kind, slot->partition);
    return end >= 0 && end < slot->next;
}

void kafka_partition_forget_log(struct kafka_slot *slot)
{
    slot->first = slot->last = slot->asked = slot->before = (struct kafka_fingerprint){-1, 0};
    slot->log_is_other = false;
}

bool kafka_partition_passes(struct kafka *kafka, struct kafka_slot *slot,
                            const rd_kafka_message_t *message)
{
    bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    bool is_back = message->offset < slot->next && (is_end || is_shorter(kafka, slot));
    slot->trouble.since_ms = 0;
    kafka_right_given(kafka, RIGHT_FIND_INPUT, NULL);
    kafka_right_given(kafka, RIGHT_READ_TOPIC, NULL);
    if (is_back && !slot->restarted) {
        struct log_about where = about(kafka, slot);
        log_write(LOG_WARN, &where,
                  "kafka: this partition's log is shorter than offset %" PRId64
                  ", up to which it was read: the topic was deleted and made again, or has lost "
                  "records; its committed state is read anew",
                  slot->next);
        slot->log_changed = true;
        kafka_partition_restart(kafka, slot);
        kafka_wake(kafka);
        return false;
    }
    if (message->offset >= slot->next) {
        if (slot->log_is_other)
            kafka_partition_forget_log(slot);
        if (!is_end)
            slot->last = kafka_fingerprint_of(message);
        if (slot->first.offset < 0)
            slot->first = slot->last;
        slot->next = message->offset + (is_end ? 0 : 1);
        slot->restarted = false;
    }
    return true;
}

void kafka_partition_reopen(struct kafka *kafka, struct kafka_slot *slot)
{
    slot->reopen = false;
    if (stop(kafka, slot))
        kafka_partition_start(kafka, slot);
    else
        put_off(kafka, slot);
}

void kafka_partition_serve(struct kafka *kafka, struct kafka_slot *slot, int64_t now_ms)
{
    struct kafka_trouble *trouble = &slot->trouble;
    if (slot->state != SLOT_OWNED)
        return;
    if (trouble->since_ms && !slot->reopen && now_ms - trouble->reread_ms >= REREAD_EVERY_MS) {
        trouble->reread_ms = now_ms;
        slot->reopen = true;
        slot->reopen_at_ms = 0;
    }
    if (slot->reopen && now_ms >= slot->reopen_at_ms)
        kafka_partition_reopen(kafka, slot);
}
