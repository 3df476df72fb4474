#include "sandbox/platform/stats.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A phone number, a pair of numbers or an identifier, with its counts. */
struct sandbox_stats_number {
    struct map_node node;
    uint32_t seen, rung, open;
    char key[];
};

void sandbox_stats_init(struct sandbox_stats *stats)
{
    *stats = (struct sandbox_stats){0};
    map_init(&stats->callers);
    map_init(&stats->callees);
    map_init(&stats->pairs);
    map_init(&stats->recordings);
    map_init(&stats->files);
}

static struct sandbox_stats_number *stats_number_of(struct map_node *node)
{
    return (struct sandbox_stats_number *)((char *)node -
                                           offsetof(struct sandbox_stats_number, node));
}

static void map_free_all(struct map *map)
{
    for (size_t i = 0; i < map->bucket_count; i++)
        for (struct map_node *node = map->buckets[i], *next; node; node = next) {
            next = node->next;
            free(stats_number_of(node));
        }
    map_fini(map);
}

void sandbox_stats_fini(struct sandbox_stats *stats)
{
    map_free_all(&stats->callers);
    map_free_all(&stats->callees);
    map_free_all(&stats->pairs);
    map_free_all(&stats->recordings);
    map_free_all(&stats->files);
}

/* Open requests point at their numbers, so the numbers are kept and set to zero. */
static void map_zero_all(struct map *map)
{
    for (size_t i = 0; i < map->bucket_count; i++)
        for (struct map_node *node = map->buckets[i]; node; node = node->next)
            stats_number_of(node)->seen = stats_number_of(node)->rung = 0;
}

void sandbox_stats_reset(struct sandbox_stats *stats)
{
    struct sandbox_stats kept = *stats;
    *stats = (struct sandbox_stats){.callers = kept.callers,
                                    .callees = kept.callees,
                                    .pairs = kept.pairs,
                                    .recordings = kept.recordings,
                                    .files = kept.files,
                                    .open = kept.open,
                                    .open_max = kept.open,
                                    .connections_open = kept.connections_open};
    map_zero_all(&stats->callers);
    map_zero_all(&stats->callees);
    map_zero_all(&stats->pairs);
    map_zero_all(&stats->recordings);
    map_zero_all(&stats->files);
}

static struct sandbox_stats_number *count_seen(struct map *map, const char *key)
{
    if (!key)
        return NULL;
    size_t length = strlen(key);
    struct map_node *node = map_find(map, key, length);
    struct sandbox_stats_number *number = node ? stats_number_of(node) : NULL;
    if (!number) {
        number = memory_zeroed(1, sizeof *number + length + 1);
        memcpy(number->key, key, length + 1);
        map_add(map, &number->node, number->key, length);
    }
    number->seen++;
    return number;
}

static struct sandbox_stats_number *count_seen_pair(struct map *map, const char *caller,
                                                    const char *callee)
{
    if (!caller || !callee)
        return NULL;
    struct text key = {0};
    text_add(&key, caller);
    text_add(&key, " ");
    text_add(&key, callee);
    struct sandbox_stats_number *number = count_seen(map, key.data);
    text_fini(&key);
    return number;
}

static uint64_t is_repeated(const struct sandbox_stats_number *number)
{
    return number && number->seen > 1;
}

static void begin_request(struct sandbox_stats *stats, struct sandbox_stats_request *request)
{
    stats->posts++;
    request->open = true;
    if (++stats->open > stats->open_max)
        stats->open_max = stats->open;
}

void sandbox_stats_call(struct sandbox_stats *stats, struct sandbox_stats_request *request,
                        const char *caller, const char *callee)
{
    *request =
        (struct sandbox_stats_request){.caller = count_seen(&stats->callers, caller),
                                       .callee = count_seen(&stats->callees, callee),
                                       .pair = count_seen_pair(&stats->pairs, caller, callee)};
    begin_request(stats, request);
    stats->calls++;
    stats->repeated_caller += is_repeated(request->caller);
    stats->repeated_pair += is_repeated(request->pair);
    if (request->pair)
        request->occurrence = request->pair->seen - 1;
    if (!request->callee)
        return;
    stats->overlaps += request->callee->open > 0;
    if (++request->callee->open > stats->callee_open_max)
        stats->callee_open_max = request->callee->open;
}

void sandbox_stats_recording(struct sandbox_stats *stats, struct sandbox_stats_request *request,
                             const char *call_identifier)
{
    *request = (struct sandbox_stats_request){0};
    struct sandbox_stats_number *seen = count_seen(&stats->recordings, call_identifier);
    begin_request(stats, request);
    stats->recording_posts++;
    stats->repeated_recording += is_repeated(seen);
    if (seen)
        request->occurrence = seen->seen - 1;
}

uint64_t sandbox_stats_file(struct sandbox_stats *stats, const char *call_identifier)
{
    return count_seen(&stats->files, call_identifier)->seen - 1;
}

void sandbox_stats_rung(struct sandbox_stats *stats, const struct sandbox_stats_request *request)
{
    stats->rung++;
    stats->rung_repeated_caller += request->caller && request->caller->rung++ > 0;
    stats->rung_repeated_pair += request->pair && request->pair->rung++ > 0;
}

void sandbox_stats_end(struct sandbox_stats *stats, struct sandbox_stats_request *request)
{
    if (!request->open)
        return;
    request->open = false;
    stats->open--;
    if (request->callee)
        request->callee->open--;
}

void sandbox_stats_violation(struct sandbox_stats *stats, const char *problem)
{
    stats->violations++;
    snprintf(stats->last_violation, sizeof stats->last_violation, "%s", problem);
}

static void print_statuses(const struct sandbox_stats *stats, struct text *out)
{
    const char *separator = "";
    text_add(out, "\"status\":{");
    for (int i = 0; i < STATS_STATUS_MAX; i++) {
        if (!stats->status[i])
            continue;
        text_printf(out, "%s\"%d\":%" PRIu64, separator, i, stats->status[i]);
        separator = ",";
    }
    text_add(out, "}");
}

void sandbox_stats_print(const struct sandbox_stats *stats, const char *faults, struct text *out)
{
    text_printf(out, "{\"requests\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"recordings\":%" PRIu64 ",",
                stats->posts, stats->calls, stats->recording_posts);
    print_statuses(stats, out);
    text_printf(out, ",\"unanswered\":%" PRIu64 ",\"in_flight\":%" PRIu64, stats->unanswered,
                stats->open);
    text_printf(out,
                ",\"duplicates\":{\"caller_callee\":%" PRIu64 ",\"caller\":%" PRIu64
                ",\"call_identifier\":%" PRIu64 "}",
                stats->repeated_pair, stats->repeated_caller, stats->repeated_recording);
    text_printf(out,
                ",\"rung\":{\"total\":%" PRIu64 ",\"duplicates_caller_callee\":%" PRIu64
                ",\"duplicates_caller\":%" PRIu64 "}",
                stats->rung, stats->rung_repeated_pair, stats->rung_repeated_caller);
    text_printf(out,
                ",\"max_concurrent\":{\"overall\":%" PRIu64 ",\"callee\":%" PRIu64
                "},\"overlaps\":%" PRIu64,
                stats->open_max, stats->callee_open_max, stats->overlaps);
    text_printf(out,
                ",\"connections\":{\"total\":%" PRIu64 ",\"open\":%" PRIu64 ",\"resumed\":%" PRIu64
                "}",
                stats->connections, stats->connections_open, stats->connections_resumed);
    text_printf(out, ",\"violations\":{\"count\":%" PRIu64 ",\"last\":", stats->violations);
    text_json(out, stats->last_violation, strlen(stats->last_violation));
    text_add(out, "},\"faults\":");
    text_json(out, faults, strlen(faults));
    text_add(out, "}\n");
}
