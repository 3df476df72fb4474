/* Leaving the group, for a stop or to join anew with another consumer (rules 4, 8, 9 and 10 of
 * kafka_assignment.c): the consumer is closed when its partitions are given back. Kafka thread. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/config_kafka.h"
#include "io/kafka_assignment_internal.h"

enum {
    CLOSE_GIVES_UP_MS = 5000,
    LEAVE_WAITS_MS =
        15000, /* limit of the wait for a running JoinGroup: as long as other members may drain */
    OFFER_WAITS_MS = 5000, /* longer than ledgers are read and claimed where brokers answer */
};

/* All partitions of the handler are lost. */
static void all_lost(struct kafka *kafka)
{
    kafka_slots_move(kafka, SLOT_OWNED, SLOT_REVOKING);
    kafka_pending_cancel(kafka);
    kafka_slots_move(kafka, SLOT_PENDING, SLOT_NONE);
    kafka_assignment_stop(kafka);
    kafka_rights_ask_anew(kafka);
}

/* When a member without partitions is closed, librdkafka sends no LeaveGroup (cooperative; 2.0.2
 * and 2.8), and the next rebalance of the others would wait for the end of its session.
 * Unsubscribing sends LeaveGroup, but not before a rebalance that has begun is over. It may have
 * begun without an event, so the close waits for the request. A static member must not leave, and
 * who was never a member has nothing to leave. */
static bool leaves_by_unsubscribing(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->eager || !kafka_slots_empty(kafka) || kafka_generation_now(kafka) < 0 ||
        config_kafka_setting(kafka->config, false, "group.instance.id"))
        return false;
    a->leaves_before = atomic_load(&kafka->all_leaves);
    return rd_kafka_unsubscribe(kafka->consumer) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

void kafka_first_assignment_look(struct kafka *kafka)
{
    kafka->awaits_first |= !kafka->had_assignment && kafka_consumer_is_cooperative(kafka->consumer);
}

static void begin(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    kafka_first_assignment_look(kafka);
    const uint64_t one = 1;
    a->unsubscribing = false;
    a->closing_since_ms = clock_boot_ms();
    /* rd_kafka_consumer_poll still delivers events, because it follows the redirection. */
    kafka->close_queue = memory_must(rd_kafka_queue_new(kafka->consumer));
    rd_kafka_queue_io_event_enable(kafka->close_queue, kafka->event_fd, &one, sizeof one);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(kafka->consumer, kafka->close_queue);
    if (!error)
        return;
    log_warn("kafka: leaving the group: %s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    /* It has ended, or has a fatal error that is not read yet: there is no close to wait for. */
    a->fenced = true;
    a->left = a->leaving;
    all_lost(kafka);
}

void kafka_close_begin(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->closing = true;
    a->closing_since_ms = clock_boot_ms();
    if (a->fenced) /* librdkafka closes no consumer that has a fatal error */
        return;
    a->unsubscribing = leaves_by_unsubscribing(kafka);
    if (!a->unsubscribing)
        begin(kafka);
}

/* Called when the consumer is closed, or was given up. */
static void closed(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    all_lost(kafka);
    if (a->leaving) {
        a->left = true;
    } else if (kafka_runner_idle(&kafka->writer) && kafka_runner_idle(&kafka->reader) &&
               kafka_runner_idle(&kafka->prober) && kafka_runner_idle(&kafka->looker) &&
               kafka_consumer_renew(kafka)) {
        /* The new consumer has its member id: if it is fenced, another process has joined. */
        a->closing = a->renewing = a->fenced = a->lost = a->follows = false;
        a->owed = ASKED_NOTHING; /* it was the old one's */
    }
}

/* Rule 9. A static member does not leave, but waits as well: librdkafka (2.0.2) aborts the process
 * if it is closed between the answer to its JoinGroup and the one to its SyncGroup. Where no broker
 * answers, nothing is to be waited for. */
static bool waits_for_group(struct kafka *kafka, int64_t now_ms)
{
    const struct kafka_assignment *a = &kafka->assignment;
    return kafka->joined && (a->joining || !a->answers) && now_ms < a->leave_ms &&
           !atomic_load(&kafka->silent_since_ms);
}

/* Rules 4 and 9. */
void kafka_leaving_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->closing || a->asked == ASKED_UNASSIGN)
        return;
    if (!waits_for_group(kafka, now_ms))
        kafka_close_begin(kafka);
    else if (!a->answers && kafka_runner_idle(&kafka->reader))
        kafka_wait_for_answer(kafka);
}

void kafka_leave(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    int64_t now = clock_boot_ms();
    if (a->leaving)
        return;
    a->leaving = true;
    a->leave_ms = now + LEAVE_WAITS_MS;
    kafka_leaving_serve(kafka, now);
}

/* A static member that is closed does not leave, so the group does not begin another generation:
 * the new consumer gets what the last one assigned. If the old one was to give a partition back
 * first, which another member gets when it joins again (cooperative), nobody would do that, and the
 * partition would have no owner. So the close waits until the group has settled, but not for ever:
 * the reason may be what is to be renewed. */
static bool waits_for_next_generation(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    bool settled = !a->joining && !a->follows && !atomic_load(&kafka->joins) &&
                   kafka_generation_now(kafka) == a->generation;
    if (settled || a->eager || atomic_load(&kafka->silent_since_ms) ||
        !config_kafka_setting(kafka->config, false, "group.instance.id"))
        a->renew_ms = now_ms;
    else if (!a->renew_ms)
        a->renew_ms = now_ms + LEAVE_WAITS_MS;
    return now_ms < a->renew_ms;
}

/* An assignment may be unanswered because brokers refuse this very consumer, and while it is,
 * librdkafka (2.0.2 and 2.8) ends no session. So it is waited for, but not for ever: then it is
 * overtaken, and answered with nothing. */
static bool waits_for_handler(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (!a->offer_ends_ms)
        a->offer_ends_ms = now_ms + OFFER_WAITS_MS;
    if (now_ms < a->offer_ends_ms)
        return true;
    kafka_pending_cancel(kafka);
    a->renewing = true; /* so librdkafka is not to join once more (kafka_unowned.c) */
    kafka_answer(kafka, ASKED_ASSIGN);
    return false;
}

bool kafka_assignment_renew(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    int64_t now = clock_boot_ms();
    if (a->leaving || a->closing || a->renewing)
        return false;
    bool is_offered = a->asked == ASKED_ASSIGN && !a->partial && !a->event_count &&
                      kafka_is_outdated(kafka, kafka->consumer_version);
    if (!is_offered && (a->asked != ASKED_NOTHING || a->event_count)) {
        a->renew_ms = 0;
        return false;
    }
    if (is_offered ? waits_for_handler(kafka, now) : waits_for_next_generation(kafka, now))
        return false;
    a->renew_ms = 0;
    a->renewing = true;
    /* In the eager protocol a close would leave without a revocation. Unsubscribing revokes first,
     * and the consumer is closed after the answer. */
    if (a->eager && !kafka_slots_empty(kafka))
        rd_kafka_unsubscribe(kafka->consumer);
    else
        kafka_close_begin(kafka);
    return true;
}

/* Rule 10. */
bool kafka_assignment_fenced(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (!a->lost || a->fenced)
        return a->lost;
    log_info("kafka: this consumer lost its partitions and is fenced under its own "
             "group.instance.id, as librdkafka has forgotten its member id; joining group %s anew",
             kafka->config->group_ids[kafka->job]);
    a->fenced = true;
    if (!a->leaving)
        a->renewing = true;
    if (a->renewing && !a->closing && a->asked == ASKED_NOTHING && !a->event_count)
        kafka_close_begin(kafka);
    return true;
}

bool kafka_left(const struct kafka *kafka)
{
    return kafka->assignment.left;
}

void kafka_closing_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->unsubscribing && !a->fenced) {
        int64_t until_ms = a->leaving ? a->leave_ms : a->closing_since_ms + LEAVE_WAITS_MS;
        /* librdkafka forgets its membership when it leaves, whether it can say so or not. */
        if (atomic_load(&kafka->all_leaves) != a->leaves_before || now_ms >= until_ms ||
            kafka_generation_now(kafka) < 0)
            begin(kafka);
    } else if (a->fenced || rd_kafka_consumer_closed(kafka->consumer)) {
        closed(kafka);
    } else if (a->asked == ASKED_UNASSIGN) {
        a->closing_since_ms = now_ms;
    } else if (now_ms - a->closing_since_ms > CLOSE_GIVES_UP_MS) {
        if (kafka_log_due(&kafka->log_throttle, "close", KAFKA_LOG_INTERVAL_MS))
            log_warn("kafka: the group could not be left in time; the coordinator will notice by "
                     "the session timeout");
        closed(kafka);
    }
}
