/* The calls by which librdkafka gets its assignment, in both protocols. A call that fails is
 * repeated, because librdkafka may be waiting for it. Kafka thread; the rules are those of
 * kafka_assignment.c. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_assignment_internal.h"

enum {
    CALL_AGAIN_MS = 200,
};

/* Whether the call failed and has to be repeated. While librdkafka closes, it refuses calls that it
 * is going to make itself. */
static bool has_failed(struct kafka *kafka, const char *what, rd_kafka_error_t *error)
{
    bool matters = error != NULL;
    if (matters && !kafka->assignment.closing &&
        kafka_log_due(&kafka->log_throttle, what, KAFKA_LOG_INTERVAL_MS))
        log_error("kafka: %s: %s; trying again", what, rd_kafka_error_string(error));
    if (matters)
        kafka->assignment.retry_at_ms = clock_boot_ms() + CALL_AGAIN_MS;
    if (error)
        rd_kafka_error_destroy(error);
    return matters;
}

static rd_kafka_error_t *error_of(rd_kafka_resp_err_t code)
{
    return code ? rd_kafka_error_new(code, "%s", rd_kafka_err2str(code)) : NULL;
}

static bool is_stale(const struct kafka_slot *slot)
{
    return slot->fetched && slot->state == SLOT_NONE;
}

/* Lets the partitions that librdkafka has be read at once. It pauses all of them for each rebalance
 * that it reports, and a broker's thread that finds nothing to fetch in that time sleeps for up to
 * a second: that they may be fetched again, or from elsewhere (2.8), does not wake it. The only
 * call that wakes these threads and asks no broker is the one that sets SASL credentials, so it
 * sets the same ones again. (Without SASL they mean nothing. A mechanism without a user's name, as
 * GSSAPI, might take note of an empty one, so its clients sleep on.) */
static void wake_fetchers(struct kafka *kafka)
{
    (void)kafka_generation_now(kafka); /* librdkafka's main thread has done what was asked before */
    kafka_tell_again(kafka);
}

void kafka_call_unassign(struct kafka *kafka, bool is_answer)
{
    if (kafka->assignment.eager) {
        if (is_answer) {
            kafka->assignment.unassign_pending = has_failed(
                kafka, "giving partitions back", error_of(rd_kafka_assign(kafka->consumer, NULL)));
            kafka_slots_forget(kafka, kafka_slot_is_fetched);
        }
        return; /* otherwise the assign call replaces everything */
    }
    rd_kafka_topic_partition_list_t *list = kafka_slots_list(kafka, is_stale);
    bool failed = (is_answer || list->cnt > 0) &&
                  has_failed(kafka, "giving partitions back",
                             rd_kafka_incremental_unassign(kafka->consumer, list));
    rd_kafka_topic_partition_list_destroy(list);
    kafka->assignment.unassign_pending = failed;
    if (!failed)
        kafka_slots_forget(kafka, is_stale);
}

void kafka_call_assign(struct kafka *kafka, rd_kafka_topic_partition_list_t *list)
{
    static const char what[] = "taking partitions";
    kafka_call_unassign(kafka, false);
    if (kafka->assignment.eager)
        kafka_slots_forget(kafka, kafka_slot_is_fetched);
    bool failed =
        has_failed(kafka, what,
                   kafka->assignment.eager ? error_of(rd_kafka_assign(kafka->consumer, list))
                                           : rd_kafka_incremental_assign(kafka->consumer, list));
    kafka->assignment.assign_pending = failed;
    for (int i = 0; i < list->cnt; i++) {
        enum request_kind kind = kafka_topic_kind(kafka->config, list->elems[i].topic);
        struct kafka_slot *slot = kafka_slot_find(kafka, kind, list->elems[i].partition);
        slot->fetched = !failed;
        slot->was_fetched |= !failed;
        slot->wanted = failed;
    }
    if (!failed && !kafka_slots_empty(kafka))
        wake_fetchers(kafka);
}

void kafka_call_nothing(struct kafka *kafka)
{
    rd_kafka_topic_partition_list_t *none = memory_must(rd_kafka_topic_partition_list_new(1));
    kafka_call_assign(kafka, none);
    rd_kafka_topic_partition_list_destroy(none);
}

void kafka_add_from_next(const struct kafka *kafka, rd_kafka_topic_partition_list_t *list,
                         const struct kafka_slot *slot)
{
    rd_kafka_topic_partition_list_add(list, kafka->config->request_topics[slot->kind],
                                      slot->partition)
        ->offset = slot->next < 0 ? RD_KAFKA_OFFSET_BEGINNING : slot->next;
}

void kafka_calls_retry(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if ((!a->assign_pending && !a->unassign_pending) || now_ms < a->retry_at_ms || a->left ||
        a->asked != ASKED_NOTHING)
        return;
    if (a->unassign_pending)
        kafka_call_unassign(kafka, true);
    if (!a->assign_pending || a->closing)
        return;
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(8));
    each_slot(slot, kafka) if (slot->wanted && slot->state == SLOT_OWNED)
    {
        kafka_add_from_next(kafka, list, slot);
        kafka_partition_open(kafka, slot);
    }
    kafka_call_assign(kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
}
