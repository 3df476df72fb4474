/* Finds partitions of which this consumer is told nothing, although their brokers serve them, and
 * replaces the consumer. The Kafka thread, except the look.
 *
 * librdkafka (from 2.1 on) keeps the epoch of each partition's leader, ignores metadata with an
 * older one, and names it when it fetches. A topic that is made anew begins with epoch 0, and so
 * does one of a cluster that was restored. If the old one's partitions have had another leader or
 * a broker that started again, brokers refuse every fetch, and librdkafka repeats it without a
 * word. Only a new client forgets the epoch. Another client shows that brokers do serve the
 * partition: one without a leader is no reason to leave the group. */
#include "base/clock.h"
#include "base/log.h"
#include "io/kafka_internal.h"

enum {
    SERVE_EVERY_MS = 1000,
    SPARE_MS = 5000, /* beyond the time in which each fetch is answered or has failed */
    LOOK_MS = 5000,  /* limit of a look */
    LOOK_PAUSE_MS = 100,
    FIRST_PAUSE_MS =
        60000, /* after a look that found no server, and after a replacement: doubles */
    MOST_PAUSE_MS = 960000,
};

/* Whether a broker tells another client where the partition ends. Looker. */
static void look(struct kafka *kafka)
{
    struct kafka_untold *untold = &kafka->untold;
    const char *topic = kafka->config->request_topics[kafka->job];
    unsigned version; /* the client is gone before it can be outdated */
    struct error error;
    int64_t low, high, until = clock_boot_ms() + LOOK_MS;
    rd_kafka_t *client = kafka_reading_client(kafka, true, &version, &error);
    untold->is_served = false;
    while (client && !untold->is_served && clock_boot_ms() < until &&
           !atomic_load(&kafka->stopping)) {
        untold->is_served = !rd_kafka_query_watermark_offsets(client, topic, untold->partition,
                                                              &low, &high, KAFKA_BLOCK_MAX_MS);
        if (!untold->is_served)
            kafka_runner_sleep(&kafka->looker, LOOK_PAUSE_MS);
    }
    if (client)
        kafka_consumer_end(client);
}

/* The time in which the first fetch of a partition is answered, however slow the line is. */
static int64_t limit_ms(const struct kafka *kafka)
{
    return config_kafka_integer(kafka->config, false, "socket.timeout.ms", 60000) +
           config_kafka_integer(kafka->config, false, "fetch.wait.max.ms", 500) + SPARE_MS;
}

/* Whether the partition is fetched, and neither an end nor an error has come. */
static bool is_untold(const struct kafka *kafka, const struct kafka_slot *slot)
{
    return kafka_partition_is_quiet(slot) && kafka_end(kafka, slot->kind, slot->partition) < 0;
}

/* The next partition in turn that has been untold for long, so that none hides the others; NULL:
 * none. A rebalance stops no reading, so it ends no such time. */
static const struct kafka_slot *find(const struct kafka *kafka, int64_t now_ms)
{
    const struct kafka_assignment *a = &kafka->assignment;
    const struct kafka_slots *slots = &a->slots[kafka->job];
    const struct kafka_slot *first = NULL, *next = NULL;
    int64_t limit = limit_ms(kafka);
    for (size_t i = 0; i < slots->count; i++) {
        struct kafka_slot *slot = slots->at[i];
        if (!slot)
            continue;
        if (a->closing || !is_untold(kafka, slot))
            slot->untold_since_ms = 0;
        else if (!slot->untold_since_ms)
            slot->untold_since_ms = now_ms;
        else if (now_ms - slot->untold_since_ms >= limit) {
            first = first ? first : slot;
            next = !next && slot->partition >= kafka->untold.turn ? slot : next;
        }
    }
    return next ? next : first;
}

static void put_off(struct kafka_untold *untold, int64_t now_ms)
{
    bool again = now_ms - untold->pause_until_ms < MOST_PAUSE_MS;
    untold->pause_ms = !again || !untold->pause_ms            ? FIRST_PAUSE_MS
                       : untold->pause_ms < MOST_PAUSE_MS / 2 ? 2 * untold->pause_ms
                                                              : MOST_PAUSE_MS;
    untold->pause_until_ms = now_ms + untold->pause_ms;
}

static void renew(struct kafka *kafka, const struct kafka_slot *slot, int64_t now_ms)
{
    struct kafka_untold *untold = &kafka->untold;
    struct log_about about = {.topic = kafka->config->request_topics[slot->kind],
                              .partition = slot->partition,
                              .offset = slot->next};
    if (!kafka_assignment_renew(kafka)) /* a rebalance is running */
        return;
    untold->is_served = false;
    put_off(untold, now_ms);
    log_write(LOG_WARN, &about,
              "kafka: nothing comes of this partition, although its broker tells another client "
              "where it ends: librdkafka knows a newer leader of it, of before the topic was made "
              "anew or the cluster was restored; joining group %s anew with a new consumer",
              kafka->config->group_ids[kafka->job]);
}

void kafka_untold_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_untold *untold = &kafka->untold;
    bool was_mine = !kafka->unserved.list && !kafka->unowned.looks;
    if (was_mine && kafka_runner_take(&kafka->looker) && !untold->is_served) {
        untold->pause_until_ms = now_ms + FIRST_PAUSE_MS;
        untold->turn = untold->partition + 1;
    }
    if (now_ms - untold->served_at_ms < SERVE_EVERY_MS)
        return;
    untold->served_at_ms = now_ms;
    const struct kafka_slot *slot = find(kafka, now_ms);
    if (now_ms < untold->pause_until_ms || !kafka_runner_idle(&kafka->looker))
        return;
    if (!slot || slot->partition != untold->partition)
        untold->is_served = false;
    if (slot && untold->is_served) {
        renew(kafka, slot, now_ms);
    } else if (slot) {
        untold->partition = untold->turn = slot->partition;
        kafka_runner_give(&kafka->looker, look);
    }
}
