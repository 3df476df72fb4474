#include <inttypes.h>

#include "base/log.h"
#include "worker/kafka_thread_internal.h"

/* Requests that were read, are not begun, and whose log is gone: nobody else performs them, so the
 * log tells of each partition once. */

enum { TOLD_EACH = 20 /* partitions with a line of their own; the others share one */ };

struct telling {
    const char *why, *then;
    size_t told, more, requests; /* partitions with a line, the others, and these' requests */
};

static void tell(struct kafka_thread *thread, int32_t partition, struct telling *telling)
{
    struct partition_notes *notes = notes_of(thread, partition);
    struct engine_range range;
    if (notes->gone_told || !engine_get_unbegun(thread->engine, partition, &range))
        return;
    notes->gone_told = true;
    if (telling->told++ >= TOLD_EACH) {
        telling->more++;
        telling->requests += range.count;
        return;
    }
    struct log_about about = {
        .topic = topic_of(thread), .partition = partition, .offset = range.first};
    log_write(LOG_WARN, &about,
              "%s: %zu request%s of %s/%" PRId32 " that %s read and not begun (offsets %" PRId64
              " to %" PRId64 ") %s",
              telling->why, range.count, range.count == 1 ? "" : "s", topic_of(thread), partition,
              range.count == 1 ? "was" : "were", range.first, range.last, telling->then);
}

static void tell_rest(const struct kafka_thread *thread, const struct telling *telling)
{
    if (telling->more)
        log_warn("%s: so it is with %zu more partitions of %s, and %zu requests of theirs",
                 telling->why, telling->more, topic_of(thread), telling->requests);
}

void gone_log_changed(struct kafka_thread *thread, const struct record_position *list, size_t count)
{
    struct telling telling = {
        .why = "the log that was read is gone",
        .then = "went with it: what the present log does not hold is not performed, and has no "
                "result"};
    for (size_t i = 0; i < count; i++)
        tell(thread, list[i].partition, &telling);
    tell_rest(thread, &telling);
}

void gone_log(struct kafka_thread *thread)
{
    bool gone = kafka_lacks_requests(thread->kafka);
    struct telling telling = {
        .why = "the topic is gone",
        .then = "are not performed, and have no result if it was deleted; they go on if it comes "
                "back with the group's committed offsets"};
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        if (view.active)
            notes_of(thread, view.partition)->gone_told = false;
        else if (gone && view.lost)
            tell(thread, view.partition, &telling);
    }
    tell_rest(thread, &telling);
}
