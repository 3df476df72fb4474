/* Checks whether the committed offsets that this process has written still exist.
 *
 * Kafka deletes committed offsets with their topic. To librdkafka, a topic that is deleted and
 * created again within seconds looks unchanged: it would go on reading in the new log at the
 * position of the old one, and skip the records before that. So records are delivered only while a
 * recent answer says that an offset exists: the time between the deletion of the old topic and the
 * first record of the new one is longer than such an answer is valid. A question is about several
 * partitions in turn. A topic is deleted with all of them, but one may have an offset in the new
 * topic already: of a transaction that was running, or since its log was found to be shorter. So
 * each has to have been asked about in its turn as well. While nothing is delivered, one question a
 * second is enough. A separate runner asks, for which nothing else waits. (librdkafka's admin
 * requests would need no runner, but abort the process if the broker dies at the wrong moment.) If
 * an offset is gone, the partition's log is checked before anything is read again
 * (kafka_log_identity.c). An answer of any kind also shows that Kafka is there; while Kafka seems
 * to be away, the question is asked even if nothing depends on the offset. Kafka thread, except the
 * asking. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum {
    PROBE_EVERY_MS = 1000,
    PROBE_BUSY_MS = 50,   /* interval while records are delivered, or transactions run */
    PROBE_FRESH_MS = 100, /* how long an answer allows the delivery of records */
    PROBE_MIN_MS = 20,    /* at least that long, however long the answer took */
    PROBE_TIMEOUT_MS = 500,
    PROBES_UNANSWERED = 5,
    PARTITIONS_AT_ONCE = 16, /* each answer carries a ledger of up to 4 KiB */
    REFUSED_EVERY_MS = 60000,
};

static bool has_offset(const struct kafka_slot *slot)
{
    return slot->state == SLOT_OWNED && slot->had_ledger && !slot->lost;
}

/* Reads the committed offsets. Prober. */
static void look(struct kafka *kafka)
{
    struct kafka_probe *probe = &kafka->probe;
    struct error error;
    rd_kafka_t *client = kafka_uncommitted_reader(kafka, &error);
    probe->gone = probe->there = probe->answered = false;
    probe->refusal = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!client)
        return;
    rd_kafka_resp_err_t code = rd_kafka_committed(client, probe->list, PROBE_TIMEOUT_MS);
    probe->answered = code >= 0; /* librdkafka's own errors are below 0, the broker's above */
    probe->there = !code;
    probe->refusal = code;
    for (int i = 0; i < probe->list->cnt && !code; i++) {
        const rd_kafka_topic_partition_t *at = &probe->list->elems[i];
        probe->gone |= !at->err && at->offset < 0; /* anything less is not certain */
        probe->there &= !at->err && at->offset >= 0;
        probe->refusal = at->err ? at->err : probe->refusal;
    }
}

#define each_held(slot, kafka)                                                                     \
    for (size_t kind_ = 0; kind_ < REQUEST_KINDS; kind_++)                                         \
        for (size_t i_ = 0; i_ < (kafka)->assignment.slots[kind_].count; i_++)                     \
            for (struct kafka_slot *slot = (kafka)->assignment.slots[kind_].at[i_];                \
                 slot && has_offset(slot); slot = NULL)

/* Whether there are records that must not be taken before the partition has been asked about. */
static bool waits_for_turn(const struct kafka_slot *slot, int64_t now_ms)
{
    return now_ms - slot->verified_ms >= PROBE_FRESH_MS && slot->queue &&
           rd_kafka_queue_length(slot->queue) > 0;
}

/* Adds those whose turn it is of the owned partitions that have a committed ledger of ours: first
 * those whose records wait. */
static void add_in_turn(struct kafka *kafka, rd_kafka_topic_partition_list_t *list, int64_t now_ms)
{
    int32_t turn = kafka->probe.turn;
    for (int round = 0; round < 4; round++) {
        each_held(slot, kafka) if ((slot->partition < turn) == (round % 2 == 1) &&
                                   waits_for_turn(slot, now_ms) == (round < 2) &&
                                   list->cnt < PARTITIONS_AT_ONCE)
        {
            rd_kafka_topic_partition_list_add(list, kafka->config->request_topics[kafka->job],
                                              slot->partition);
            kafka->probe.turn = slot->partition + 1;
        }
    }
}

static int count_held(const struct kafka *kafka)
{
    int count = 0;
    each_held(slot, kafka) count++;
    return count;
}

static void ask(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_probe *probe = &kafka->probe;
    if (!probe->unanswered)
        probe->asked_ms = clock_wall_ms();
    probe->began_ms = now_ms;
    probe->list = memory_must(rd_kafka_topic_partition_list_new(PARTITIONS_AT_ONCE));
    add_in_turn(kafka, probe->list, now_ms);
    probe->about_slots = probe->list->cnt > 0;
    probe->rounds = (count_held(kafka) + PARTITIONS_AT_ONCE - 1) / PARTITIONS_AT_ONCE;
    if (!probe->about_slots)
        rd_kafka_topic_partition_list_add(probe->list, kafka->config->request_topics[kafka->job],
                                          0);
    probe->rebalance = kafka->assignment.number;
    probe->wanted = false;
    each_held(held, kafka) held->asked = held->last;
    kafka_runner_give(&kafka->prober, look);
}

static void drop_list(struct kafka_probe *probe)
{
    if (probe->list)
        rd_kafka_topic_partition_list_destroy(probe->list);
    probe->list = NULL;
}

/* Reports an answer without an offset, with the broker's error. librdkafka tells nobody of refused
 * heartbeats: without this, a member that may no longer read its group looks ready until its
 * session is over. */
static void note_refusal(struct kafka *kafka)
{
    const char *group = kafka->config->group_ids[kafka->job];
    const char *words = rd_kafka_err2str(kafka->probe.refusal);
    if (!kafka->probe.refusal)
        kafka_right_given(kafka, RIGHT_FIND_GROUP, NULL);
    else if (kafka->probe.refusal == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
        kafka_right_missing(kafka, RIGHT_FIND_GROUP, group, words);
    else if (kafka_log_due(&kafka->log_throttle, words, REFUSED_EVERY_MS))
        log_warn("kafka: the coordinator of group %s does not tell its committed offsets: %s; it "
                 "is asked again",
                 group, words);
}

/* Reports a missing answer. librdkafka itself repeats requests that a coordinator refuses while it
 * loads its groups, and does not report them: then no broker is known to be away. Only where all
 * are known to be away has the log said it: the failed connection to one of several says nothing of
 * the coordinator. One group's coordinator stands for both jobs'. */
static void say_silent(struct kafka *kafka)
{
    char words[200];
    snprintf(words, sizeof words,
             "the coordinator of group %s gives no answer, or none but that it is not ready: %s",
             kafka->config->group_ids[kafka->job], rd_kafka_err2str(kafka->probe.refusal));
    kafka_silence_guess(kafka, words);
    if (atomic_load(&kafka->silent_since_ms) && kafka_log_tells_why())
        return;
    if (kafka_log_due(&kafka_log_process, "silent coordinator", REFUSED_EVERY_MS)) {
        log_warn("kafka: %s; it is asked again", words);
        kafka_silence_told();
    }
}

static void note_answer(struct kafka *kafka)
{
    struct kafka_probe *probe = &kafka->probe;
    if (probe->answered) {
        probe->unanswered = 0;
        kafka_silence_ended(kafka);
        if (probe->about_slots)
            note_refusal(kafka);
    } else if (++probe->unanswered >= PROBES_UNANSWERED) {
        say_silent(kafka);
        kafka_silence_began(kafka, probe->asked_ms);
    }
}

/* Of those that the question was about, none is gone. */
static void note_verified(struct kafka *kafka)
{
    struct kafka_probe *probe = &kafka->probe;
    for (int i = 0; i < probe->list->cnt; i++) {
        struct kafka_slot *slot =
            kafka_slot_find(kafka, kafka->job, probe->list->elems[i].partition);
        if (!slot || !has_offset(slot))
            continue;
        if (probe->there)
            slot->before = slot->asked;
        slot->verified_ms = probe->verified_ms;
    }
}

static void answered(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_probe *probe = &kafka->probe;
    const struct kafka_assignment *a = &kafka->assignment;
    probe->at_ms = now_ms;
    note_answer(kafka);
    if (!probe->about_slots)
        return;
    if (!probe->gone) {
        /* A slow broker, or one that does not answer, must not block everything. */
        int64_t least = now_ms - PROBE_FRESH_MS + PROBE_MIN_MS;
        probe->verified_ms = probe->began_ms > least ? probe->began_ms : least;
        note_verified(kafka);
        return;
    }
    /* An answer from before a rebalance is about another assignment. While one is unanswered, what
     * is given back may commit its ledgers into the topic that was made again, so that the next
     * answer finds an offset: this one is noted at once. */
    if (probe->rebalance != a->number)
        return;
    bool is_new = false;
    each_held(slot, kafka)
    {
        is_new |= !slot->restart;
        kafka_partition_restart(kafka, slot);
    }
    if (is_new)
        log_warn("kafka: the committed offsets of this group are gone: topic %s was deleted and "
                 "made again, or the brokers have lost them; the worker checks whether its "
                 "partitions' logs are still those that it has read",
                 kafka->config->request_topics[kafka->job]);
}

bool kafka_probe_lets_take(struct kafka *kafka, struct kafka_slot *slot)
{
    struct kafka_probe *probe = &kafka->probe;
    int64_t now = clock_boot_ms();
    if (!slot->had_ledger || rd_kafka_queue_length(slot->queue) == 0)
        return true;
    bool in_turn =
        !has_offset(slot) || now - slot->verified_ms < (int64_t)PROBE_FRESH_MS * probe->rounds;
    bool fresh = now - probe->verified_ms < PROBE_FRESH_MS && in_turn && !slot->restart;
    probe->busy_until = now + PROBE_FRESH_MS;
    probe->wanted |= !fresh;
    if (!fresh)
        kafka_probe_serve(kafka, now);
    return fresh;
}

void kafka_probe_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_probe *probe = &kafka->probe;
    const struct kafka_assignment *a = &kafka->assignment;
    if (kafka_runner_take(&kafka->prober)) {
        answered(kafka, now_ms);
        drop_list(probe);
    }
    if (!kafka_runner_idle(&kafka->prober) || a->closing)
        return;
    bool busy = now_ms < probe->busy_until || !kafka_runner_idle(&kafka->writer);
    bool due = busy && !probe->unanswered ? now_ms - probe->began_ms >= PROBE_BUSY_MS
                                          : now_ms - probe->at_ms >= PROBE_EVERY_MS;
    if (!due && (!probe->wanted || probe->unanswered))
        return;
    if (count_held(kafka) || probe->unanswered || atomic_load(&kafka->silent_since_ms))
        ask(kafka, now_ms);
}

void kafka_probe_fini(struct kafka *kafka)
{
    drop_list(&kafka->probe);
}
