/* The calls that answer librdkafka's rebalances, in both protocols. Each answer is empty:
 * librdkafka pauses what it has been assigned while a rebalance is unanswered, and what is given
 * back may need seconds, in which the other partitions are to be read. So partitions are read
 * without an assignment (kafka_partition.c). What the group has granted librdkafka keeps beside
 * that. An answer that fails is repeated, because librdkafka waits for it. Kafka thread; the rules
 * are those of kafka_assignment.c. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_assignment_internal.h"

enum {
    CALL_AGAIN_MS = 200, /* first pause before an answer that failed is repeated; doubles */
    CALL_AGAIN_MAX_MS = 5000,
};

static int64_t next_pause(int64_t last)
{
    int64_t pause = last ? 2 * last : CALL_AGAIN_MS;
    return pause < CALL_AGAIN_MAX_MS ? pause : CALL_AGAIN_MAX_MS;
}

/* Whether the call failed and has to be repeated. While librdkafka closes, it refuses calls that it
 * is going to make itself. */
static bool has_failed(struct kafka *kafka, const char *what, rd_kafka_error_t *error)
{
    struct kafka_assignment *a = &kafka->assignment;
    bool matters = error != NULL;
    if (matters && !a->closing && kafka_log_due(&kafka->log_throttle, what, KAFKA_LOG_INTERVAL_MS))
        log_error("kafka: %s: %s; trying again", what, rd_kafka_error_string(error));
    a->retry_pause_ms = matters ? next_pause(a->retry_pause_ms) : 0;
    a->retry_at_ms = clock_boot_ms() + a->retry_pause_ms;
    if (error)
        rd_kafka_error_destroy(error);
    return matters;
}

static rd_kafka_error_t *error_of(rd_kafka_resp_err_t code)
{
    return code ? rd_kafka_error_new(code, "%s", rd_kafka_err2str(code)) : NULL;
}

void kafka_stop_leaving(struct kafka *kafka)
{
    each_slot(slot, kafka) if (slot->fetched &&
                               (slot->state == SLOT_NONE || slot->state == SLOT_REVOKING))
        kafka_partition_stop(kafka, slot);
}

static rd_kafka_error_t *call(struct kafka *kafka, enum kafka_question question,
                              rd_kafka_topic_partition_list_t *none)
{
    if (question == ASKED_UNASSIGN)
        return kafka->assignment.eager ? error_of(rd_kafka_assign(kafka->consumer, NULL))
                                       : rd_kafka_incremental_unassign(kafka->consumer, none);
    return kafka->assignment.eager ? error_of(rd_kafka_assign(kafka->consumer, none))
                                   : rd_kafka_incremental_assign(kafka->consumer, none);
}

void kafka_answer(struct kafka *kafka, enum kafka_question question)
{
    rd_kafka_topic_partition_list_t *none = memory_must(rd_kafka_topic_partition_list_new(1));
    kafka_stop_leaving(kafka);
    if (question == ASKED_ASSIGN)
        kafka_unowned_answering(kafka);
    bool failed = has_failed(
        kafka, question == ASKED_UNASSIGN ? "giving partitions back" : "taking partitions",
        call(kafka, question, none));
    kafka->assignment.owed = failed ? question : ASKED_NOTHING;
    rd_kafka_topic_partition_list_destroy(none);
}

void kafka_answer_again(struct kafka *kafka, int64_t now_ms)
{
    const struct kafka_assignment *a = &kafka->assignment;
    bool is_due = a->owed == ASKED_UNASSIGN || (a->owed == ASKED_ASSIGN && !a->closing);
    if (is_due && now_ms >= a->retry_at_ms && !a->left && a->asked == ASKED_NOTHING)
        kafka_answer(kafka, a->owed);
}
