#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "worker/kafka_thread_internal.h"
#include "worker/repair_line.h"

enum { HALTED_NAMED = 50 /* how many partitions a log line names */ };

/* A halted partition. */
struct halted {
    int32_t partition;
    enum hold hold;
    const char *reason; /* borrowed */
    uint64_t hash;      /* of the reason */
};

static void say_halted(const struct kafka_thread *thread, const struct halted *one)
{
    const char *topic = topic_of(thread);
    struct log_about about = {.topic = topic, .partition = one->partition, .offset = -1};
    char command[REPAIR_LINE];
    if (one->hold == HOLD_REPAIR)
        log_write(
            LOG_ERROR, &about,
            "partition %s/%d is halted, nothing of it is dialled: %s; stop all workers of "
            "group %s, run `%s` (with --offset N, where to go on, if it asks for it), then "
            "start them again",
            topic, one->partition, one->reason, group_of(thread),
            repair_line(thread->config, thread->job, one->partition, command, sizeof command));
    else
        log_write(LOG_ERROR, &about,
                  "partition %s/%d is halted, nothing more of it is %s: %s; it is tried again by "
                  "itself",
                  topic, one->partition,
                  one->hold == HOLD_READING ? "read" : "dialled or published", one->reason);
}

/* What a broker says of a topic or of itself, or refuses to one partition after another, has one
 * cause. A reason of our own holds for its partition. */
static uint64_t cause_hash(const char *reason)
{
    static const char *const common[] = {"uthorization failed", "the topic is gone",
                                         "offset.metadata.max.bytes", "the broker refuses",
                                         "cannot be read"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (strstr(reason, common[i]))
            return trouble_hash(reason);
    return hash_add(HASH_EMPTY, reason, strlen(reason));
}

static bool is_told(const struct kafka_thread *thread, const struct partition_notes *notes,
                    enum hold hold)
{
    return notes->told_at[hold] && thread->now < notes->told_at[hold] + TROUBLE_INTERVAL_MS;
}

static void note_told(struct kafka_thread *thread, const struct halted *one, int64_t at)
{
    struct partition_notes *notes = notes_of(thread, one->partition);
    notes->told_at[one->hold] = at;
    notes->told_of[one->hold] = one->hash;
}

static bool has_same_reason(const struct halted *one, const struct halted *other)
{
    return one->hold == other->hold && one->hold != HOLD_REPAIR && one->hash == other->hash;
}

/* Logs partitions that are halted for the same reason as the first of the list. */
static void say_halted_together(struct kafka_thread *thread, const struct halted *list,
                                size_t count)
{
    struct text names = {0};
    size_t named = 0;
    for (size_t i = 0; i < count; i++) {
        const struct halted *one = &list[i];
        if (i && (!has_same_reason(list, one) ||
                  is_told(thread, notes_of(thread, one->partition), one->hold)))
            continue;
        note_told(thread, one, thread->now);
        text_item(&names, ++named, HALTED_NAMED, "%" PRId32, one->partition);
    }
    if (named == 1)
        say_halted(thread, list);
    else
        log_error("partitions %s of %s (%zu) are halted for the same reason, nothing more of them "
                  "is %s; of %s/%d: %s; they are tried again by themselves",
                  names.data, topic_of(thread), named,
                  list->hold == HOLD_READING ? "read" : "dialled or published", topic_of(thread),
                  list->partition, list->reason);
    text_fini(&names);
}

/* When the log last reported that a partition is halted for this reason, within the last minute; 0:
 * it did not. */
static int64_t cause_told_at(const struct kafka_thread *thread, const struct halted *one)
{
    if (one->hold == HOLD_REPAIR) /* each has to be repaired by itself */
        return 0;
    for (size_t i = 0; i < thread->notes_count; i++) {
        const struct partition_notes *notes = &thread->notes[i];
        if (notes->told_of[one->hold] == one->hash && is_told(thread, notes, one->hold))
            return notes->told_at[one->hold];
    }
    return 0;
}

/* Whether the reason is a missing right, which is logged once a minute by itself. */
static bool is_for_right(const struct kafka_thread *thread, const struct halted *one)
{
    return one->hold != HOLD_REPAIR && strstr(one->reason, "uthorization failed") &&
           kafka_lacks_right(thread->kafka);
}

/* A halted partition is logged at once, then once a minute, also if it goes on in between because
 * its claim is repeated and refused again. Partitions that are halted for the same reason are one
 * line: those that follow within the minute are in the next one. */
static void complain_of(struct kafka_thread *thread, const struct halted *list, size_t count)
{
    if (is_told(thread, notes_of(thread, list->partition), list->hold))
        return;
    int64_t at = is_for_right(thread, list) ? thread->now : cause_told_at(thread, list);
    if (!at) {
        say_halted_together(thread, list, count);
        return;
    }
    note_told(thread, list, at);
    log_debug("partition %s/%d is halted, too: %s", topic_of(thread), list->partition,
              list->reason);
}

void halted_log(struct kafka_thread *thread)
{
    struct engine_partition_stats view;
    struct halted *list = NULL;
    size_t count = 0, capacity = 0;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        const char *trouble = kafka_trouble(thread->kafka, thread->job, view.partition);
        const char *reason = view.halted ? view.halt_reason : trouble;
        if (!reason)
            continue;
        list = memory_grow(list, count, &capacity, sizeof *list, 4);
        list[count++] = (struct halted){.partition = view.partition,
                                        .hold = view.needs_repair ? HOLD_REPAIR
                                                : view.halted     ? HOLD_WRITING
                                                                  : HOLD_READING,
                                        .reason = reason,
                                        .hash = cause_hash(reason)};
    }
    for (size_t i = 0; i < count; i++)
        complain_of(thread, list + i, count - i);
    free(list);
}
