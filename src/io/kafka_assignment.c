/* Rebalances: assignments and revocations of the group. They are reported to the handler with a
 * number, and answered to librdkafka when the handler answers. Kafka thread.
 *
 * librdkafka's callback makes no assign call; it only notes the event. Until that call is made,
 * librdkafka is in WAIT_ASSIGN_CALL or WAIT_UNASSIGN_CALL: heartbeats go on, and it ignores that
 * the group rebalances, so commits of the handler use the generation that granted the partitions.
 * But other events may come during these waits:
 *  - a changed number of partitions or a deleted topic (rd_kafka_cgrp_metadata_update_check) makes
 *    librdkafka rejoin, or revoke, during either wait;
 *  - closing revokes everything (cooperative), or leaves without an event (eager).
 * So a new event may come while the last one is unanswered. These rules keep both sides correct:
 *  1. Only the answer to the newest number counts. Before a newer event is reported, unanswered
 *     partitions are reported as overtaken: the handler forgets them, and gets them again if they
 *     are still ours. Unanswered assigned partitions stay pending (cooperative: the group counts
 *     them as ours, and no later event names them again). Partitions that were to be given back
 *     may belong to another member already: after the rejoin the coordinator would accept our
 *     commits under the new generation, so no work on them may go on.
 *  2. An answer makes the one call that the newest event waits for, with all differences:
 *     what leaves is not read any more when it is made. So
 *     librdkafka never keeps waiting, and a late answer cannot affect a newer assignment.
 *  3. Events without a question to the handler are answered at once. (librdkafka 2.0.2 never
 *     terminates if it is closed while an empty assignment is unanswered.)
 *  4. A close waits for the answer to a revocation: in the eager protocol it would send LeaveGroup
 *     during the drain.
 *  5. In both waits librdkafka also ignores that the coordinator has removed this member. So when a
 *     commit reports that, an unanswered assignment is cancelled and answered with nothing: in its
 *     steady state librdkafka finds out by a heartbeat, revokes and rejoins. If it does not, the
 *     pending partitions are assigned again after a while. A commit that was started before the
 *     assignment proves nothing: under load one is always running when the generation changes.
 *  6. Partitions that librdkafka's own clock calls lost, because Kafka was away for longer than the
 *     session, may still be ours: a coordinator that comes back gives the members that it remembers
 *     another session. So until the handler answers, transactions go on under the membership that
 *     granted the partitions. A copy of it is kept, because librdkafka has forgotten its member id.
 *     Only after the answer does librdkafka join again. The coordinator accepts these transactions
 *     while there is no newer generation and the member has not been removed; before that, no other
 *     member can have got any of the partitions.
 *  7. Results of partitions that leave after a rejoin has begun must not be committed under the new
 *     generation: see kafka_membership.
 *  8. A cooperative revocation, but no loss, that was overtaken leaves librdkafka unable to take
 *     part in later rebalances, whether the next event comes before the answer or after it. The
 *     consumer is then closed as for a stop, so that its other partitions are drained and given
 *     back in order, and a new consumer joins.
 *  9. The coordinator answers a JoinGroup when all members have sent theirs, and reads nothing that
 *     stands behind it on its connection. librdkafka gives up a LeaveGroup after 5 s, and the
 *     coordinator then counts on a member that has ended. So a leave waits for an answer first.
 *     librdkafka sends no LeaveGroup at all while it joins without partitions, and one behind its
 *     JoinGroup with partitions. It joins after each revocation and loss: a leave then waits for
 *     the assignment that ends this. (A cooperative revocation is followed by an assignment of the
 *     same generation, and only after that librdkafka joins.) It also joins when a heartbeat's
 *     answer says that the group rebalances, and no event tells of that: see kafka_leave.c.
 * 10. During the wait of rule 6 librdkafka sends heartbeats with group.instance.id and without the
 *     member id, which it has forgotten. The coordinator takes such a member for another process
 *     with the same group.instance.id, and the consumer ends with a fatal error. The membership
 *     itself stays, so the partitions are handed over all the same, and then a new consumer joins.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_assignment_internal.h"

enum {
    OFFER_AGAIN_MS = 5000,
    NO_MEMBER_MIN_MS = 120000,
    PARTITIONS_MAX = 100000, /* librdkafka reads no topic with more */
    IMPOSSIBLE_NAMED = 5,    /* how many impossible partitions an error names */
};

/* librdkafka stores the partitions to be assigned after a revocation. If another event overtakes
 * it, librdkafka keeps them for ever, and ignores every further rebalance (2.0.2). Rule 8. */
static void renew(struct kafka_assignment *a)
{
    if (a->closing || a->renewing)
        return;
    log_info("kafka: a rebalance was overtaken by another; joining the group anew");
    a->renewing = true;
}

/* Rule 1. */
void kafka_pending_cancel(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->asked == ASKED_UNASSIGN && a->follows) /* behind a loss nothing is stored */
        renew(a);
    a->asked = ASKED_NOTHING;
    a->reported_count = 0;
    each_slot(slot, kafka) if (slot->state == SLOT_ASSIGNING || slot->state == SLOT_REVOKING)
        kafka_slot_report(a, slot);
    kafka_slots_move(kafka, SLOT_ASSIGNING, SLOT_PENDING);
    kafka_slots_move(kafka, SLOT_REVOKING, SLOT_NONE);
    if (a->reported_count > 0)
        kafka->handler->revoked(kafka->arg, ++a->number, PARTITIONS_OVERTAKEN, a->reported,
                                a->reported_count);
}

/* Rule 3. */
void kafka_pending_notify(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->pending_since_ms = a->offer_ends_ms = 0;
    atomic_store(&kafka->lacks_input, NULL);
    kafka_slots_move(kafka, SLOT_PENDING, SLOT_ASSIGNING);
    a->number++;
    a->asked = kafka_slots_collect(kafka, SLOT_ASSIGNING) > 0 ? ASKED_ASSIGN : ASKED_NOTHING;
    if (a->asked == ASKED_NOTHING)
        kafka_answer(kafka, ASKED_ASSIGN);
    kafka->handler->assigned(kafka->arg, a->number, a->reported, a->reported_count);
}

void kafka_rebalance_callback(rd_kafka_t *handle, rd_kafka_resp_err_t what,
                              rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka *kafka = opaque;
    struct kafka_assignment *a = &kafka->assignment;
    a->events = memory_grow(a->events, a->event_count, &a->event_capacity, sizeof *a->events, 4);
    const char *protocol = rd_kafka_rebalance_protocol(handle);
    bool lost = rd_kafka_assignment_lost(handle) != 0;
    a->eager = !protocol || strcmp(protocol, "COOPERATIVE") != 0;
    a->events[a->event_count++] = (struct kafka_event){
        .what = what,
        .list = memory_must(rd_kafka_topic_partition_list_copy(list)),
        .lost = lost,
    };
    if (lost && !a->lost)
        a->joins_at_loss = atomic_load(&kafka->all_joins);
    /* A consumer whose place another process has taken has its fatal error before it is called
     * lost. */
    a->lost |= lost && !rd_kafka_fatal_error(handle, NULL, 0);
    /* librdkafka joins with topics that it has found, and with no others, so an assignment without
     * partitions proves that as well. An error that is delivered after it is newer. */
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        kafka_right_given(kafka, RIGHT_FIND_INPUT, NULL);
        kafka_right_given(kafka, RIGHT_READ_GROUP, NULL);
    }
}

/* Whether the job may get such a partition. The leader of the group is a client like this one, and
 * the coordinator passes on whatever it assigns. */
static bool may_exist(const struct kafka *kafka, const rd_kafka_topic_partition_t *at)
{
    return kafka_topic_kind(kafka->config, at->topic) == kafka->job && at->partition >= 0 &&
           at->partition < PARTITIONS_MAX;
}

static void say_impossible(struct kafka *kafka, const rd_kafka_topic_partition_list_t *list)
{
    struct text names = {0};
    size_t count = 0;
    for (int i = 0; i < list->cnt; i++)
        if (!may_exist(kafka, &list->elems[i]))
            text_item(&names, ++count, IMPOSSIBLE_NAMED, "%.60s/%" PRId32, list->elems[i].topic,
                      list->elems[i].partition);
    if (count > 0 && kafka_log_due(&kafka->log_throttle, "impossible", KAFKA_LOG_INTERVAL_MS))
        log_error(
            "kafka: the leader of group %s assigns this worker %zu partition(s) that topic %s "
            "cannot have: %s; they are left alone, and the others are worked on. A program "
            "that is no worker, or is broken, leads the group: give it a group of its own",
            kafka->config->group_ids[kafka->job], count, kafka->config->request_topics[kafka->job],
            names.data);
    text_fini(&names);
}

static void given(struct kafka *kafka, const struct kafka_event *event)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->eager) { /* the list is complete: partitions that are not in it are gone without an event
                     */
        kafka_slots_move(kafka, SLOT_ASSIGNING, SLOT_REVOKING);
        kafka_slots_move(kafka, SLOT_OWNED, SLOT_REVOKING);
        kafka_slots_move(kafka, SLOT_PENDING, SLOT_NONE);
    }
    kafka->had_assignment = true;
    kafka_pending_cancel(kafka);
    say_impossible(kafka, event->list);
    for (int i = 0; i < event->list->cnt; i++) {
        if (!may_exist(kafka, &event->list->elems[i]))
            continue;
        struct kafka_slot *slot =
            kafka_slot_get(kafka, kafka->job, event->list->elems[i].partition);
        if (slot->state == SLOT_NONE)
            slot->state = SLOT_PENDING;
    }
    kafka_stop_leaving(kafka);
    int32_t before = a->generation;
    a->generation = kafka_membership_keep(kafka);
    a->joining &= a->follows && a->generation == before;
    if (a->follows && a->generation > before) /* librdkafka has joined again in the meantime */
        renew(a);
    a->lost = a->follows = false;
    a->no_member_since_ms = 0;
    kafka_membership_granted(kafka);
    a->partial = false;
    if (a->closing) {
        kafka_answer(kafka, ASKED_ASSIGN);
    } else if (a->renewing || a->leaving) {
        kafka_answer(kafka, ASKED_ASSIGN);
        if (a->renewing || !a->joining)
            kafka_close_begin(kafka);
    } else {
        kafka_pending_notify(kafka);
    }
}

void kafka_rights_ask_anew(struct kafka *kafka)
{
    for (size_t i = 0; i < kafka->output_count; i++)
        kafka_right_given(kafka, RIGHT_WRITE_TOPIC, kafka->outputs[i].name);
    if (kafka_slots_collect(kafka, SLOT_OWNED) == 0)
        kafka_right_given(kafka, RIGHT_READ_TOPIC, NULL);
}

/* Called after a revocation was answered. */
static void unassigned(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->asked = ASKED_NOTHING;
    kafka_slots_move(kafka, SLOT_REVOKING, SLOT_NONE);
    kafka_rights_ask_anew(kafka);
    kafka_answer(kafka, ASKED_UNASSIGN);
    a->joining = !a->closing;
    if (a->renewing && !a->closing)
        kafka_close_begin(kafka);
    else if (!a->closing && !a->leaving && kafka_slots_collect(kafka, SLOT_PENDING) > 0)
        kafka_pending_notify(kafka);
}

static void taken(struct kafka *kafka, const struct kafka_event *event)
{
    struct kafka_assignment *a = &kafka->assignment;
    kafka_pending_cancel(kafka);
    if (a->follows) /* by an assignment, not by this */
        renew(a);
    a->follows = !a->eager && !event->lost && !a->closing;
    a->generation = kafka_membership_keep(kafka);
    for (int i = 0; i < event->list->cnt; i++) {
        struct kafka_slot *slot = kafka_slot_of(kafka, &event->list->elems[i]);
        if (slot && slot->state == SLOT_PENDING)
            slot->state = SLOT_NONE;
        if (slot && slot->state == SLOT_OWNED)
            slot->state = SLOT_REVOKING;
    }
    if (a->eager) {
        kafka_slots_move(kafka, SLOT_OWNED, SLOT_REVOKING);
        kafka_slots_move(kafka, SLOT_PENDING, SLOT_NONE);
    }
    kafka_stop_leaving(kafka);
    if (kafka_slots_collect(kafka, SLOT_REVOKING) == 0) {
        unassigned(kafka);
        return;
    }
    a->asked = ASKED_UNASSIGN;
    a->number++;
    kafka->handler->revoked(kafka->arg, a->number,
                            event->lost ? PARTITIONS_LOST : PARTITIONS_REVOKED, a->reported,
                            a->reported_count);
}

/* Rule 2. */
void kafka_assign(struct kafka *kafka, uint64_t rebalance, const struct record_position *list,
                  size_t count)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (rebalance != a->number || a->asked != ASKED_ASSIGN)
        return;
    a->asked = ASKED_NOTHING;
    for (size_t i = 0; i < count; i++) {
        struct kafka_slot *slot = kafka_slot_find(kafka, list[i].kind, list[i].partition);
        if (!slot || slot->state != SLOT_ASSIGNING)
            continue;
        slot->state = SLOT_OWNED;
        if (slot->absent_until) { /* librdkafka never reads what its topic does not have */
            kafka_partition_stop(kafka, slot);
            continue;
        }
        kafka_partition_begin(slot, list[i].offset);
        if (slot->fetched)
            kafka_partition_reopen(kafka, slot); /* it is read: only the position is new */
        else
            kafka_partition_start(kafka, slot);
    }
    /* Partitions that the handler leaves out are owned, but not read. */
    kafka_slots_move(kafka, SLOT_ASSIGNING, SLOT_OWNED);
    if (!a->partial)
        kafka_answer(kafka, ASKED_ASSIGN);
    a->partial = false;
}

void kafka_unassign(struct kafka *kafka, uint64_t rebalance)
{
    const struct kafka_assignment *a = &kafka->assignment;
    if (rebalance == a->number && a->asked == ASKED_UNASSIGN && !kafka->failed)
        unassigned(kafka);
}

void kafka_assignment_duplicate(struct kafka *kafka)
{
    const struct kafka_assignment *a = &kafka->assignment;
    /* librdkafka joins anew before the answer if the topic has changed: then it is this process
     * that has taken its own place. */
    if (a->lost && a->asked == ASKED_UNASSIGN && atomic_load(&kafka->all_joins) == a->joins_at_loss)
        kafka_fail_as_duplicate(kafka, "it joined while this one could not reach the group");
}

/* Rule 5. */
void kafka_assignment_no_member(struct kafka *kafka, uint64_t rebalance, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (rebalance != a->number)
        return;
    if (!a->no_member_since_ms)
        a->no_member_since_ms = now_ms;
    if (a->asked != ASKED_ASSIGN)
        return;
    kafka_pending_cancel(kafka);
    if (!a->partial) /* otherwise librdkafka waits for no answer, and the others stay */
        kafka_answer(kafka, ASKED_ASSIGN);
    a->pending_since_ms = now_ms;
}

static void check_membership(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    int64_t limit = 2 * kafka->config->session_timeout_ms;
    if (limit < NO_MEMBER_MIN_MS)
        limit = NO_MEMBER_MIN_MS;
    /* Without a partition it waits to join, for as long as others or brokers need. */
    if (a->no_member_since_ms && now_ms - a->no_member_since_ms > limit &&
        !kafka_slots_empty(kafka))
        kafka_fail(kafka, "the group coordinator does not take this process as a member any "
                          "more, and no rebalance has changed that");
    if (a->pending_since_ms && a->asked == ASKED_NOTHING && !a->closing && !a->leaving &&
        now_ms - a->pending_since_ms > OFFER_AGAIN_MS) {
        a->pending_since_ms = now_ms;
        if (kafka_generation_now(kafka) >= 0 && kafka_slots_collect(kafka, SLOT_PENDING) > 0)
            kafka_pending_notify(kafka);
    }
}

/* O(1) but for a rebalance, what is in trouble, and once a second. */
void kafka_assignment_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    for (size_t i = 0; i < a->event_count; i++) {
        struct kafka_event event = a->events[i]; /* handlers may grow the array */
        if (event.what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
            given(kafka, &event);
        else
            taken(kafka, &event);
        rd_kafka_topic_partition_list_destroy(event.list);
    }
    a->event_count = 0;
    if (a->leaving && !a->left)
        kafka_leaving_serve(kafka, now_ms);
    if (a->closing && !a->left)
        kafka_closing_serve(kafka, now_ms);
    check_membership(kafka, now_ms);
    kafka_answer_again(kafka, now_ms);
    kafka_absent_serve(kafka, now_ms);
    kafka_restarts_serve(kafka);
    kafka_rereads_serve(kafka, now_ms);
}

void kafka_assignment_fini(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    kafka_assignment_stop(kafka);
    for (size_t i = 0; i < a->event_count; i++)
        rd_kafka_topic_partition_list_destroy(a->events[i].list);
    if (a->granted)
        rd_kafka_consumer_group_metadata_destroy(a->granted);
    free(a->events);
    free(a->reported);
    for (size_t kind = 0; kind < REQUEST_KINDS; kind++) {
        for (size_t i = 0; i < a->slots[kind].count; i++)
            free(a->slots[kind].at[i]);
        free(a->slots[kind].at);
    }
}
