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
 *     partitions whose revocation was overtaken are subtracted before new ones are added. So
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
 *  8. A cooperative revocation that was overtaken leaves librdkafka unable to take part in later
 *     rebalances. The consumer is then closed as for a stop, so that its other partitions are
 *     drained and given back in order, and a new consumer joins.
 *  9. The coordinator answers a JoinGroup when all members have sent theirs, and reads nothing that
 *     stands behind it on its connection. librdkafka gives up a LeaveGroup after 5 s, and the
 *     coordinator then counts on a member that has ended. So a leave waits for an answer first.
 *     librdkafka sends no LeaveGroup at all while it joins, and it joins after each revocation and
 *     loss: a leave then waits for the assignment that ends this.
 * 10. During the wait of rule 6 librdkafka sends heartbeats with group.instance.id and without the
 *     member id, which it has forgotten. The coordinator takes such a member for another process
 *     with the same group.instance.id, and the consumer ends with a fatal error. The membership
 *     itself stays, so the partitions are handed over all the same, and then a new consumer joins.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/config_kafka.h"
#include "io/kafka_internal.h"

enum {
    OFFER_AGAIN_MS = 5000,
    SWEEP_FOR_MS = 5000,
    CLOSE_GIVES_UP_MS = 5000,
    LEAVE_WAITS_MS =
        15000, /* limit of the wait for a running JoinGroup: as long as other members may drain */
    CALL_AGAIN_MS = 200,
    NO_MEMBER_MIN_MS = 120000,
    PARTITIONS_MAX = 100000, /* librdkafka reads no topic with more */
    IMPOSSIBLE_NAMED = 5,    /* how many impossible partitions an error names */
};

typedef bool (*slot_test)(const struct kafka_slot *slot);

enum request_kind kafka_topic_kind(const struct config *config, const char *topic)
{
    int kind = 0;
    while (kind < REQUEST_KINDS && strcmp(config->request_topics[kind], topic))
        kind++;
    return (enum request_kind)kind;
}

struct kafka_slot *kafka_slot_find(struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    const struct kafka_slots *slots = &kafka->assignment.slots[kind];
    return partition >= 0 && (size_t)partition < slots->count ? slots->at[partition] : NULL;
}

/* The partition's slot, which is made if there is none. The partition has passed may_exist. */
static struct kafka_slot *slot_get(struct kafka *kafka, enum request_kind kind, int32_t partition)
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
        slot->first = slot->last = slot->asked = slot->before = (struct kafka_fingerprint){-1, 0};
    }
    return slot;
}

/* The slot after `last` (NULL: the first), or NULL. */
static struct kafka_slot *slot_next(struct kafka *kafka, const struct kafka_slot *last)
{
    size_t kind = last ? (size_t)last->kind : 0;
    size_t at = last ? (size_t)last->partition + 1 : 0;
    for (; kind < REQUEST_KINDS; kind++, at = 0)
        for (; at < kafka->assignment.slots[kind].count; at++)
            if (kafka->assignment.slots[kind].at[at])
                return kafka->assignment.slots[kind].at[at];
    return NULL;
}

/* librdkafka stores the partitions to be assigned after a revocation. If another event overtakes
 * it, librdkafka keeps them for ever, and ignores every further rebalance (2.0.2). Rule 8. */
static bool must_renew(const struct kafka_assignment *a)
{
    return !a->eager && a->asked == ASKED_UNASSIGN && !a->closing;
}

#define each_slot(slot, kafka)                                                                     \
    for (struct kafka_slot *slot = slot_next(kafka, NULL); slot; slot = slot_next(kafka, slot))

static size_t move_all(struct kafka *kafka, enum kafka_slot_state from, enum kafka_slot_state to)
{
    size_t moved = 0;
    each_slot(slot, kafka) if (slot->state == from)
    {
        slot->state = to;
        moved++;
    }
    return moved;
}

static void report_partition(struct kafka_assignment *a, const struct kafka_slot *slot)
{
    a->reported =
        memory_grow(a->reported, a->reported_count, &a->reported_capacity, sizeof *a->reported, 16);
    a->reported[a->reported_count++] =
        (struct record_position){.kind = slot->kind, .partition = slot->partition, .offset = -1};
}

/* Collects the slots in that state, for the handler. */
static size_t collect_slots(struct kafka *kafka, enum kafka_slot_state state)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->reported_count = 0;
    each_slot(slot, kafka) if (slot->state == state) report_partition(a, slot);
    return a->reported_count;
}

static bool is_stale(const struct kafka_slot *slot)
{
    return slot->fetched && slot->state == SLOT_NONE;
}

static bool is_fetched(const struct kafka_slot *slot)
{
    return slot->fetched;
}

static rd_kafka_topic_partition_list_t *list_of_slots(struct kafka *kafka, slot_test test)
{
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(8));
    each_slot(slot, kafka) if (test(slot)) rd_kafka_topic_partition_list_add(
        list, kafka->config->request_topics[slot->kind], slot->partition);
    return list;
}

/* After librdkafka let go of them. */
static void forget_fetched(struct kafka *kafka, slot_test test)
{
    int64_t until = clock_boot_ms() + SWEEP_FOR_MS;
    each_slot(slot, kafka) if (test(slot))
    {
        slot->fetched = false;
        slot->swept_until_ms = until;
    }
}

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

/* Gives fetched partitions that are no longer owned back to librdkafka. Makes the call for which a
 * revocation waits or, before an assign call, changes only the assignment. */
static void call_unassign(struct kafka *kafka, bool is_answer)
{
    if (kafka->assignment.eager) {
        if (is_answer) {
            kafka->assignment.unassign_pending = has_failed(
                kafka, "giving partitions back", error_of(rd_kafka_assign(kafka->consumer, NULL)));
            forget_fetched(kafka, is_fetched);
        }
        return; /* otherwise the assign call replaces everything */
    }
    rd_kafka_topic_partition_list_t *list = list_of_slots(kafka, is_stale);
    bool failed = (is_answer || list->cnt > 0) &&
                  has_failed(kafka, "giving partitions back",
                             rd_kafka_incremental_unassign(kafka->consumer, list));
    rd_kafka_topic_partition_list_destroy(list);
    kafka->assignment.unassign_pending = failed;
    if (!failed)
        forget_fetched(kafka, is_stale);
}

/* Makes the call for which an assignment waits. list has the partitions with offsets. */
static void call_assign(struct kafka *kafka, rd_kafka_topic_partition_list_t *list)
{
    static const char what[] = "taking partitions";
    call_unassign(kafka, false);
    if (kafka->assignment.eager)
        forget_fetched(kafka, is_fetched);
    bool failed =
        has_failed(kafka, what,
                   kafka->assignment.eager ? error_of(rd_kafka_assign(kafka->consumer, list))
                                           : rd_kafka_incremental_assign(kafka->consumer, list));
    kafka->assignment.assign_pending = failed;
    for (int i = 0; i < list->cnt; i++) {
        enum request_kind kind = kafka_topic_kind(kafka->config, list->elems[i].topic);
        struct kafka_slot *slot = kafka_slot_find(kafka, kind, list->elems[i].partition);
        slot->fetched = !failed;
        slot->wanted = failed;
    }
}

/* Adds the slot's partition to what is assigned, from where it is read. */
static void add_from_next(const struct kafka *kafka, rd_kafka_topic_partition_list_t *list,
                          const struct kafka_slot *slot)
{
    rd_kafka_topic_partition_list_add(list, kafka->config->request_topics[slot->kind],
                                      slot->partition)
        ->offset = slot->next < 0 ? RD_KAFKA_OFFSET_BEGINNING : slot->next;
}

/* Repeats failed calls, because librdkafka may be waiting for them. */
static void retry_calls(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if ((!a->assign_pending && !a->unassign_pending) || now_ms < a->retry_at_ms || a->left ||
        a->asked != ASKED_NOTHING)
        return;
    if (a->unassign_pending)
        call_unassign(kafka, true);
    if (!a->assign_pending || a->closing)
        return;
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(8));
    each_slot(slot, kafka) if (slot->wanted && slot->state == SLOT_OWNED)
    {
        add_from_next(kafka, list, slot);
        kafka_partition_open(kafka, slot);
    }
    call_assign(kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void answer_with_nothing(struct kafka *kafka)
{
    rd_kafka_topic_partition_list_t *none = memory_must(rd_kafka_topic_partition_list_new(1));
    call_assign(kafka, none);
    rd_kafka_topic_partition_list_destroy(none);
}

/* Rule 1. */
static void cancel_pending(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (must_renew(a)) {
        log_info("kafka: a rebalance was overtaken by another; joining the group anew");
        a->renewing = true;
    }
    a->asked = ASKED_NOTHING;
    a->reported_count = 0;
    each_slot(slot, kafka) if (slot->state == SLOT_ASSIGNING || slot->state == SLOT_REVOKING)
        report_partition(a, slot);
    move_all(kafka, SLOT_ASSIGNING, SLOT_PENDING);
    move_all(kafka, SLOT_REVOKING, SLOT_NONE);
    if (a->reported_count > 0)
        kafka->handler->revoked(kafka->arg, ++a->number, PARTITIONS_OVERTAKEN, a->reported,
                                a->reported_count);
}

/* Reports pending partitions to the handler as assigned. If there are none, it answers librdkafka
 * at once. */
static void notify_assigned(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->pending_since_ms = 0;
    kafka->lacks_input = false;
    move_all(kafka, SLOT_PENDING, SLOT_ASSIGNING);
    a->number++;
    a->asked = collect_slots(kafka, SLOT_ASSIGNING) > 0 ? ASKED_ASSIGN : ASKED_NOTHING;
    if (a->asked == ASKED_NOTHING)
        answer_with_nothing(kafka);
    kafka->handler->assigned(kafka->arg, a->number, a->reported, a->reported_count);
}

/* The generation of our membership; -1: none. librdkafka has no accessor for it, so it is read from
 * the serialised form: a magic that ends in ':', the generation, then group and member, each with a
 * NUL. */
static int32_t generation_of(const rd_kafka_consumer_group_metadata_t *membership)
{
    void *bytes = NULL;
    size_t size = 0;
    int32_t generation = -1;
    if (!membership)
        return -1;
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(membership, &bytes, &size);
    if (error) {
        rd_kafka_error_destroy(error);
        return -1;
    }
    const char *at = memchr(bytes, ':', size), *end = (const char *)bytes + size;
    if (at && end - ++at > (ptrdiff_t)sizeof generation) {
        memcpy(&generation, at, sizeof generation);
        at += sizeof generation;
        at += strnlen(at, (size_t)(end - at)) + 1; /* the group */
        if (at >= end || !*at)
            generation = -1; /* no member id */
    }
    rd_kafka_mem_free(NULL, bytes);
    return generation;
}

static int32_t generation_now(struct kafka *kafka)
{
    rd_kafka_consumer_group_metadata_t *membership =
        rd_kafka_consumer_group_metadata(kafka->consumer);
    int32_t generation = generation_of(membership);
    if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return generation;
}

rd_kafka_consumer_group_metadata_t *kafka_membership(struct kafka *kafka)
{
    const struct kafka_assignment *a = &kafka->assignment;
    rd_kafka_consumer_group_metadata_t *membership =
        rd_kafka_consumer_group_metadata(kafka->consumer);
    int32_t generation = generation_of(membership);
    /* Partitions that are being given back, or (eager) were just assigned, were granted by one
     * generation. If librdkafka has rejoined in the meantime, the next generation may have assigned
     * them to another member, and the coordinator checks generations, not partitions. */
    bool bound = a->asked == ASKED_UNASSIGN || (a->eager && a->asked == ASKED_ASSIGN);
    if (generation >= 0 && (!bound || generation == a->generation))
        return membership;
    if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return NULL;
}

void kafka_assignment_join_refused(struct kafka *kafka)
{
    kafka->assignment.outside = true;
}

/* Not all of what librdkafka does is seen: of a JoinGroup that it repeats, only a refusal that it
 * does not take as passing; of a SyncGroup, that the generation is newer than its assignment. */
bool kafka_is_settled(struct kafka *kafka)
{
    const struct kafka_assignment *a = &kafka->assignment;
    return !a->outside && !a->closing && a->generation >= 0 &&
           generation_now(kafka) == a->generation;
}

/* NULL: it cannot be copied. */
static rd_kafka_consumer_group_metadata_t *
copy_membership(const rd_kafka_consumer_group_metadata_t *membership)
{
    rd_kafka_consumer_group_metadata_t *copy = NULL;
    void *bytes = NULL;
    size_t size = 0;
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(membership, &bytes, &size);
    if (!error) {
        error = rd_kafka_consumer_group_metadata_read(&copy, bytes, size);
        rd_kafka_mem_free(NULL, bytes);
    }
    if (error)
        rd_kafka_error_destroy(error);
    return copy;
}

static void grant(struct kafka_assignment *a, rd_kafka_consumer_group_metadata_t *membership)
{
    if (a->granted)
        rd_kafka_consumer_group_metadata_destroy(a->granted);
    a->granted = membership;
}

/* Stores the current membership for rule 6, if there is one. Returns its generation; -1: none. */
static int32_t keep_membership(struct kafka *kafka)
{
    rd_kafka_consumer_group_metadata_t *membership =
        rd_kafka_consumer_group_metadata(kafka->consumer);
    int32_t generation = generation_of(membership);
    if (generation >= 0)
        grant(&kafka->assignment, membership);
    else if (membership)
        rd_kafka_consumer_group_metadata_destroy(membership);
    return generation;
}

rd_kafka_consumer_group_metadata_t *kafka_membership_to_write(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    rd_kafka_consumer_group_metadata_t *membership = kafka_membership(kafka);
    if (membership)
        grant(a, copy_membership(membership));
    else if (a->asked == ASKED_UNASSIGN && a->granted)
        membership = copy_membership(a->granted);
    return membership;
}

void kafka_rebalance_callback(rd_kafka_t *handle, rd_kafka_resp_err_t what,
                              rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka *kafka = opaque;
    struct kafka_assignment *a = &kafka->assignment;
    a->events = memory_grow(a->events, a->event_count, &a->event_capacity, sizeof *a->events, 4);
    const char *protocol = rd_kafka_rebalance_protocol(handle);
    a->eager = !protocol || strcmp(protocol, "COOPERATIVE") != 0;
    a->events[a->event_count++] = (struct kafka_event){
        .what = what,
        .list = memory_must(rd_kafka_topic_partition_list_copy(list)),
        .lost = rd_kafka_assignment_lost(handle) != 0,
    };
    /* A consumer whose place another process has taken has its fatal error before it is called
     * lost. */
    a->lost |= a->events[a->event_count - 1].lost && !rd_kafka_fatal_error(handle, NULL, 0);
    /* librdkafka joins with topics that it has found, and with no others, so an assignment without
     * partitions proves that as well. An error that is delivered after it is newer. */
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        kafka_right_given(kafka, RIGHT_FIND_INPUT, NULL);
}

static struct kafka_slot *slot_of(struct kafka *kafka, const rd_kafka_topic_partition_t *at)
{
    enum request_kind kind = kafka_topic_kind(kafka->config, at->topic);
    return kind == REQUEST_KINDS ? NULL : kafka_slot_find(kafka, kind, at->partition);
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
    int count = 0;
    for (int i = 0; i < list->cnt; i++) {
        if (may_exist(kafka, &list->elems[i]) || ++count > IMPOSSIBLE_NAMED)
            continue;
        text_printf(&names, "%s%.60s/%" PRId32, count > 1 ? ", " : "", list->elems[i].topic,
                    list->elems[i].partition);
    }
    if (count > 0 && kafka_log_due(&kafka->log_throttle, "impossible", KAFKA_LOG_INTERVAL_MS))
        log_error("kafka: the leader of group %s assigns this worker %d partition(s) that topic %s "
                  "cannot have: %s%s; they are left alone, and the others are worked on. A program "
                  "that is no worker, or is broken, leads the group: give it a group of its own",
                  kafka->config->group_ids[kafka->job], count,
                  kafka->config->request_topics[kafka->job], names.data,
                  count > IMPOSSIBLE_NAMED ? ", ..." : "");
    text_fini(&names);
}

static void begin_close(struct kafka *kafka);

static void given(struct kafka *kafka, const struct kafka_event *event)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->eager) { /* the list is complete: partitions that are not in it are gone without an event
                     */
        move_all(kafka, SLOT_ASSIGNING, SLOT_REVOKING);
        move_all(kafka, SLOT_OWNED, SLOT_REVOKING);
        move_all(kafka, SLOT_PENDING, SLOT_NONE);
    }
    cancel_pending(kafka);
    say_impossible(kafka, event->list);
    for (int i = 0; i < event->list->cnt; i++) {
        if (!may_exist(kafka, &event->list->elems[i]))
            continue;
        struct kafka_slot *slot = slot_get(kafka, kafka->job, event->list->elems[i].partition);
        if (slot->state == SLOT_NONE)
            slot->state = SLOT_PENDING;
    }
    a->generation = keep_membership(kafka);
    a->lost = a->outside = a->joining = false;
    a->no_member_since_ms = 0;
    kafka_right_given(kafka, RIGHT_READ_GROUP, NULL);
    a->partial = false;
    if (a->closing) {
        answer_with_nothing(kafka);
    } else if (a->renewing || a->leaving) {
        answer_with_nothing(kafka);
        begin_close(kafka);
    } else {
        notify_assigned(kafka);
    }
}

/* Called after a revocation was answered. */
static void unassigned(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    a->asked = ASKED_NOTHING;
    move_all(kafka, SLOT_REVOKING, SLOT_NONE);
    if (collect_slots(kafka, SLOT_OWNED) == 0) /* other members need the partitions now */
        kafka_right_given(kafka, RIGHT_READ_TOPIC, NULL);
    call_unassign(kafka, true);
    a->joining = !a->closing;
    if (a->renewing && !a->closing)
        begin_close(kafka);
    else if (!a->closing && collect_slots(kafka, SLOT_PENDING) > 0)
        notify_assigned(kafka);
}

static void taken(struct kafka *kafka, const struct kafka_event *event)
{
    struct kafka_assignment *a = &kafka->assignment;
    cancel_pending(kafka);
    for (int i = 0; i < event->list->cnt; i++) {
        struct kafka_slot *slot = slot_of(kafka, &event->list->elems[i]);
        if (slot && slot->state == SLOT_PENDING)
            slot->state = SLOT_NONE;
        if (slot && slot->state == SLOT_OWNED)
            slot->state = SLOT_REVOKING;
    }
    if (a->eager) {
        a->outside = true;
        move_all(kafka, SLOT_OWNED, SLOT_REVOKING);
        move_all(kafka, SLOT_PENDING, SLOT_NONE);
    }
    if (collect_slots(kafka, SLOT_REVOKING) == 0) {
        unassigned(kafka);
        return;
    }
    a->generation = keep_membership(kafka);
    a->asked = ASKED_UNASSIGN;
    a->number++;
    kafka->handler->revoked(kafka->arg, a->number,
                            event->lost ? PARTITIONS_LOST : PARTITIONS_REVOKED, a->reported,
                            a->reported_count);
}

/* In the eager protocol the assign call replaces everything, so partitions that stay are in it,
 * too. */
static void add_those_that_stay(struct kafka *kafka, rd_kafka_topic_partition_list_t *list)
{
    each_slot(slot, kafka) if (slot->fetched && slot->state == SLOT_OWNED)
        add_from_next(kafka, list, slot);
}

void kafka_assign(struct kafka *kafka, uint64_t rebalance, const struct record_position *list,
                  size_t count)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (rebalance != a->number || a->asked != ASKED_ASSIGN)
        return;
    a->asked = ASKED_NOTHING;
    rd_kafka_topic_partition_list_t *taking =
        memory_must(rd_kafka_topic_partition_list_new((int)count + 1));
    for (size_t i = 0; i < count; i++) {
        struct kafka_slot *slot = kafka_slot_find(kafka, list[i].kind, list[i].partition);
        if (!slot || slot->state != SLOT_ASSIGNING || slot->absent_until)
            continue; /* librdkafka is never given one that its topic does not have */
        slot->state = SLOT_OWNED;
        kafka_partition_begin(slot, list[i].offset);
        if (slot->fetched && (a->partial || !a->eager))
            kafka_partition_reopen(
                kafka, slot); /* librdkafka has the partition: only the position is new */
        else
            add_from_next(kafka, taking, slot);
    }
    /* Partitions that the handler leaves out are owned, but not read. */
    move_all(kafka, SLOT_ASSIGNING, SLOT_OWNED);
    if (a->eager && a->partial && taking->cnt > 0)
        add_those_that_stay(kafka, taking);
    for (int i = 0; i < taking->cnt; i++)
        kafka_partition_open(kafka, slot_of(kafka, &taking->elems[i]));
    if (!a->partial || taking->cnt > 0)
        call_assign(kafka, taking);
    a->partial = false;
    rd_kafka_topic_partition_list_destroy(taking);
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
    if (a->lost && a->asked == ASKED_UNASSIGN)
        kafka_fail_as_duplicate(kafka, "it joined while this one could not reach the group");
}

void kafka_assignment_is_member(struct kafka *kafka)
{
    kafka->assignment.no_member_since_ms = 0;
}

void kafka_assignment_no_member(struct kafka *kafka, uint64_t rebalance, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (rebalance != a->number)
        return;
    if (!a->no_member_since_ms)
        a->no_member_since_ms = now_ms;
    if (a->asked != ASKED_ASSIGN)
        return;
    cancel_pending(kafka);
    if (!a->partial) /* otherwise librdkafka waits for no answer, and the others stay */
        answer_with_nothing(kafka);
    a->pending_since_ms = now_ms;
}

/* All partitions of the handler are lost. */
static void all_lost(struct kafka *kafka)
{
    move_all(kafka, SLOT_OWNED, SLOT_REVOKING);
    cancel_pending(kafka);
    move_all(kafka, SLOT_PENDING, SLOT_NONE);
    forget_fetched(kafka, is_fetched);
}

static bool has_nothing(struct kafka *kafka)
{
    each_slot(slot, kafka) if (slot->state != SLOT_NONE || slot->fetched) return false;
    return true;
}

/* When a member without partitions is closed, librdkafka sends no LeaveGroup (cooperative; 2.0.2
 * and 2.8), and the next rebalance of the others would wait for the end of its session.
 * Unsubscribing sends LeaveGroup. A static member must not leave. */
static void leave_without_partitions(struct kafka *kafka)
{
    if (!kafka->assignment.eager && has_nothing(kafka) &&
        !config_kafka_setting(kafka->config, false, "group.instance.id"))
        rd_kafka_unsubscribe(kafka->consumer);
}

static void begin_close(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    leave_without_partitions(kafka);
    const uint64_t one = 1;
    a->closing = true;
    a->closing_since_ms = clock_boot_ms();
    if (a->fenced) /* librdkafka closes no consumer that has a fatal error */
        return;
    /* rd_kafka_consumer_poll still delivers events, because it follows the redirection. */
    kafka->close_queue = memory_must(rd_kafka_queue_new(kafka->consumer));
    rd_kafka_queue_io_event_enable(kafka->close_queue, kafka->event_fd, &one, sizeof one);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(kafka->consumer, kafka->close_queue);
    if (!error)
        return;
    log_warn("kafka: leaving the group: %s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    a->left = true;
    all_lost(kafka);
}

/* Called when the consumer is closed, or was given up. */
static void closed(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    all_lost(kafka);
    if (a->leaving) {
        a->left = true;
    } else if (kafka_runner_idle(&kafka->writer) && kafka_runner_idle(&kafka->reader) &&
               kafka_runner_idle(&kafka->prober) && kafka_consumer_renew(kafka)) {
        /* The new consumer has its member id: if it is fenced, another process has joined. */
        a->closing = a->renewing = a->fenced = a->lost = false;
    }
}

/* Rule 9. A static member is not to leave; where no broker answers, nothing is to be waited for. */
static bool waits_for_group(struct kafka *kafka, int64_t now_ms)
{
    const struct kafka_assignment *a = &kafka->assignment;
    return kafka->joined && (a->joining || !a->answers) && now_ms < a->leave_ms &&
           !atomic_load(&kafka->silent_since_ms) &&
           !config_kafka_setting(kafka->config, false, "group.instance.id");
}

static void serve_leaving(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->closing || a->asked == ASKED_UNASSIGN)
        return;
    if (!waits_for_group(kafka, now_ms))
        begin_close(kafka);
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
    serve_leaving(kafka, now);
}

bool kafka_assignment_renew(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->leaving || a->closing || a->renewing || a->asked != ASKED_NOTHING || a->event_count)
        return false;
    a->renewing = true;
    /* In the eager protocol a close would leave without a revocation. Unsubscribing revokes first,
     * and the consumer is closed after the answer. */
    if (a->eager && !has_nothing(kafka))
        rd_kafka_unsubscribe(kafka->consumer);
    else
        begin_close(kafka);
    return true;
}

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
        begin_close(kafka);
    return true;
}

bool kafka_left(const struct kafka *kafka)
{
    return kafka->assignment.left;
}

static void serve_closing(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (a->fenced || rd_kafka_consumer_closed(kafka->consumer)) {
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

static void check_membership(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    int64_t limit = 2 * kafka->config->session_timeout_ms;
    if (limit < NO_MEMBER_MIN_MS)
        limit = NO_MEMBER_MIN_MS;
    if (a->no_member_since_ms && now_ms - a->no_member_since_ms > limit)
        kafka_fail(kafka, "the group coordinator does not take this process as a member any "
                          "more, and no rebalance has changed that");
    if (a->pending_since_ms && a->asked == ASKED_NOTHING && !a->closing &&
        now_ms - a->pending_since_ms > OFFER_AGAIN_MS) {
        a->pending_since_ms = now_ms;
        if (generation_now(kafka) >= 0 && collect_slots(kafka, SLOT_PENDING) > 0)
            notify_assigned(kafka);
    }
}

void kafka_restart(struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    struct kafka_slot *slot = kafka_slot_find(kafka, kind, partition);
    if (slot && slot->state == SLOT_OWNED)
        kafka_partition_restart(kafka, slot);
}

static void tell_changed(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    struct record_position *changed = memory_zeroed(a->reported_count, sizeof *changed);
    size_t count = 0;
    for (size_t i = 0; i < a->reported_count; i++) {
        struct kafka_slot *slot =
            kafka_slot_find(kafka, a->reported[i].kind, a->reported[i].partition);
        if (slot->log_changed)
            changed[count++] = a->reported[i];
        slot->log_changed = false;
    }
    if (count && kafka->handler->log_changed)
        kafka->handler->log_changed(kafka->arg, changed, count);
    free(changed);
}

bool kafka_asks_again(const struct kafka *kafka)
{
    return kafka->assignment.asks_again;
}

/* Reports partitions whose log or committed state has changed unexpectedly as overtaken and as
 * assigned again, so that their committed state is read again. The group is not involved. */
static void restart(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (!a->restarts || a->asked != ASKED_NOTHING || a->closing || a->renewing || a->leaving ||
        collect_slots(kafka, SLOT_PENDING) > 0)
        return;
    a->reported_count = 0;
    a->restarts = false;
    a->asks_again = true;
    each_slot(slot, kafka) if (slot->restart && slot->state == SLOT_OWNED)
    {
        a->asks_again &= slot->absent_until != 0;
        slot->restart = false;
        slot->restarted = true;
        slot->state = SLOT_PENDING;
        report_partition(a, slot);
    }
    each_slot(slot, kafka) a->restarts |= slot->restart;
    a->asks_again &= a->reported_count > 0;
    if (a->reported_count == 0)
        return;
    tell_changed(kafka);
    kafka->handler->revoked(kafka->arg, ++a->number, PARTITIONS_OVERTAKEN, a->reported,
                            a->reported_count);
    a->partial = true;
    notify_assigned(kafka);
    a->asks_again = false;
}

/* Reports partitions that their topic did not have as assigned again when that is due. */
static void ask_for_absent(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (!a->absences)
        return;
    a->absences = false;
    each_slot(slot, kafka) if (slot->absent_until)
    {
        if (slot->state == SLOT_NONE)
            slot->absent_until = slot->absent_pause = 0;
        else if (slot->state == SLOT_OWNED && now_ms >= slot->absent_until) {
            kafka_partition_restart(kafka, slot);
            /* A handler that stops answers without a look. */
            slot->absent_until = now_ms + slot->absent_pause;
        }
        a->absences |= slot->absent_until != 0;
    }
}

/* Drops messages that arrive after a partition was given back, which would keep their memory. */
static void sweep(struct kafka *kafka, int64_t now_ms)
{
    if (now_ms - kafka->swept_at_ms < 1000)
        return;
    kafka->swept_at_ms = now_ms;
    each_slot(slot, kafka)
    {
        if (!slot->queue || slot->fetched)
            continue;
        rd_kafka_message_t *message;
        while ((message = rd_kafka_consume_queue(slot->queue, 0)))
            rd_kafka_message_destroy(message);
        if (now_ms > slot->swept_until_ms)
            kafka_partition_close(slot);
    }
}

/* Serves unreadable slots, and slots to be opened again; usually there are none. */
static void serve_rereads(struct kafka *kafka, int64_t now_ms)
{
    bool any = false;
    if (!kafka->assignment.needs_reread)
        return;
    each_slot(slot, kafka)
    {
        kafka_partition_serve(kafka, slot, now_ms);
        any |= slot->reopen || slot->trouble.since_ms;
    }
    kafka->assignment.needs_reread = any;
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
        serve_leaving(kafka, now_ms);
    if (a->closing && !a->left)
        serve_closing(kafka, now_ms);
    check_membership(kafka, now_ms);
    retry_calls(kafka, now_ms);
    ask_for_absent(kafka, now_ms);
    restart(kafka);
    serve_rereads(kafka, now_ms);
    sweep(kafka, now_ms);
}

void kafka_assignment_close_queues(struct kafka *kafka)
{
    each_slot(slot, kafka) kafka_partition_close(slot);
}

void kafka_assignment_fini(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    kafka_assignment_close_queues(kafka);
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
