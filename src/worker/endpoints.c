#include "worker/endpoints.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/breaker.h"

enum { TURN_MOST_MS = 10000 }; /* a loop that has not turned for longer is not alive */

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static bool is_on(const struct metrics *metrics, int job)
{
    return *metrics->config->request_topics[job];
}

/* Whether each job that is on has joined its group. One that waits for a topic that does not exist
 * yet does not make a worker unready that does the other job. */
static bool is_in_groups(const struct metrics *metrics)
{
    int joined = 0;
    for (int job = 0; job < REQUEST_KINDS; job++) {
        bool in_group = atomic_load(&metrics->in_group[job]);
        if (is_on(metrics, job) && !in_group && !atomic_load(&metrics->lacks_topic[job]))
            return false;
        joined += in_group;
    }
    return joined > 0;
}

static bool is_failing(const struct metrics *metrics)
{
    bool lacks_right = false;
    for (int job = 0; job < REQUEST_KINDS; job++)
        lacks_right |= atomic_load(&metrics->lacks_right[job]);
    return lacks_right || metrics_sum(metrics->failing_jobs) > 0;
}

static bool is_ready(const struct metrics *metrics)
{
    return is_in_groups(metrics) && !atomic_load(&metrics->draining) && !is_failing(metrics);
}

static void put_word(struct http_answer *answer, bool good, const char *yes, const char *no)
{
    answer->status = good ? 200 : 503;
    text_add(&answer->body, good ? yes : no);
}

static void render_livez(struct metrics *metrics, struct http_answer *answer)
{
    int64_t now = clock_boot_ms();
    bool kafka = true;
    for (int job = 0; job < REQUEST_KINDS; job++)
        kafka &= atomic_load_explicit(&metrics->kafka_turned_ms[job], memory_order_relaxed) >
                 now - TURN_MOST_MS;
    bool calls = now - call_thread_last_turn_ms(metrics->calls) < TURN_MOST_MS;
    put_word(answer, kafka && calls, "alive\n",
             kafka ? "the call thread does not turn\n" : "a Kafka thread does not turn\n");
}

static void render_readyz(struct metrics *metrics, struct http_answer *answer)
{
    char failing[400];
    bool fails = metrics_copy_failing(metrics, failing, sizeof failing);
    put_word(answer, is_ready(metrics), "ready\n",
             atomic_load(&metrics->draining) ? "draining\n"
             : fails                         ? failing
                                             : "not in the group yet\n");
}

static void render_metrics(struct metrics *metrics, struct http_answer *answer)
{
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(metrics, &answer->body);
}

static void render_page(struct metrics *metrics, struct http_answer *answer)
{
    (void)metrics;
    answer->content_type = "text/html; charset=utf-8";
    text_add(&answer->body, endpoints_page);
}

/* ---- /status */

static void add_string(struct text *out, const char *name, const char *value)
{
    text_printf(out, "\"%s\": ", name);
    text_json_visible(out, value, strlen(value));
    text_add(out, ", ");
}

static void add_counts(struct text *out, const struct metrics *metrics)
{
    const struct call_counters *calls = call_thread_counters(metrics->calls);
    uint64_t requests = 0, dead_letters = 0;
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        requests += get(&metrics->requests[kind]);
    for (int reason = 0; reason < DEAD_LETTER_REASONS; reason++)
        dead_letters += get(&metrics->dead_letters[reason]);
    text_printf(out, "\"counts\": {\"requests\": %" PRIu64 ", \"results\": {", requests);
    for (int status = 0; status < STATUSES; status++)
        text_printf(out, "%s\"%s\": %" PRIu64, status ? ", " : "", status_name((enum status)status),
                    get(&metrics->results[REQUEST_CALL][status]) +
                        get(&metrics->results[REQUEST_RECORDING][status]));
    text_printf(out, "}, \"deadLetters\": %" PRIu64 ", \"tries\": %" PRIu64, dead_letters,
                get(&calls->tries));
    text_printf(out, ", \"transactions\": %" PRIu64 ", \"aborted\": %" PRIu64,
                metrics_sum(metrics->transactions), metrics_sum(metrics->aborted));
    text_printf(out, ", \"inDoubtRecoveries\": %" PRIu64 ", \"rebalances\": %" PRIu64 "}",
                metrics_sum(metrics->recovered), get(&metrics->rebalances));
}

static void add_partition(struct text *out, const struct config *config,
                          const struct partition_row *row)
{
    int64_t lag = metrics_lag(row);
    text_add(out, "{");
    add_string(out, "topic", config->request_topics[row->kind]);
    add_string(out, "state", row->state);
    text_printf(out, "\"partition\": %" PRId32 ", \"base\": %" PRId64 ", \"next\": %" PRId64,
                row->partition, row->base, row->next);
    if (lag >= 0)
        text_printf(out, ", \"lag\": %" PRId64, lag);
    if (*row->halt_reason) {
        text_add(out, ", \"haltReason\": ");
        text_json_visible(out, row->halt_reason, strlen(row->halt_reason));
    }
    text_printf(out,
                ", \"unfinished\": %" PRIu64 ", \"started\": %" PRIu64 ", \"ledger\": %" PRIu64 "}",
                row->unfinished, row->started, row->ledger_size);
}

static void add_jobs(struct text *out, const struct metrics *metrics)
{
    static const char *const names[] = {
        [REQUEST_CALL] = "calls", [REQUEST_RECORDING] = "recordings"};
    const char *comma = "";
    text_add(out, ", \"jobs\": [");
    for (int job = 0; job < REQUEST_KINDS; job++) {
        if (!is_on(metrics, job))
            continue;
        text_printf(out, "%s{", comma);
        comma = ", ";
        add_string(out, "job", names[job]);
        add_string(out, "group", metrics->config->group_ids[job]);
        text_printf(out, "\"inGroup\": %s, \"lacksTopic\": %s}",
                    atomic_load(&metrics->in_group[job]) ? "true" : "false",
                    atomic_load(&metrics->lacks_topic[job]) ? "true" : "false");
    }
    text_add(out, "]");
}

static void render_status(struct metrics *metrics, struct http_answer *answer)
{
    static const char *const breakers[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_TRIAL] = "trial"};
    const struct config *config = metrics->config;
    const struct call_counters *calls = call_thread_counters(metrics->calls);
    struct text *out = &answer->body;
    struct partition_row *rows = memory_zeroed(METRICS_TABLE, sizeof *rows);
    size_t count = metrics_copy_table(metrics, rows);
    answer->content_type = "application/json";
    text_add(out, "{");
    add_string(out, "version", PCW_VERSION);
    add_string(out, "group", config->group_ids[REQUEST_CALL]);
    add_string(out, "instance", config->instance_id);
    add_string(out, "breaker", breakers[get(&calls->breaker)]);
    text_printf(out, "\"ready\": %s, \"draining\": %s, ", is_ready(metrics) ? "true" : "false",
                atomic_load(&metrics->draining) ? "true" : "false");
    char failing[400];
    if (metrics_copy_failing(metrics, failing, sizeof failing))
        add_string(out, "failing", failing);
    text_printf(out, "\"uptimeSeconds\": %" PRId64 ", \"inFlight\": %" PRIu64 ", ",
                (clock_boot_ms() - metrics->started_boot_ms) / 1000, get(&calls->in_flight));
    text_printf(out, "\"outstanding\": %" PRIu64 ", \"waitingLanes\": %" PRIu64 ", ",
                metrics_sum(metrics->outstanding), metrics_sum(metrics->waiting_lanes));
    add_counts(out, metrics);
    add_jobs(out, metrics);
    text_add(out, ", \"partitions\": [");
    for (size_t i = 0; i < count; i++) {
        text_add(out, i ? ", " : "");
        add_partition(out, config, &rows[i]);
    }
    text_add(out, "]}\n");
    free(rows);
}

/* ---- all of them */

static bool render(void *argument, const char *path, struct http_answer *answer)
{
    static const struct {
        const char *path;
        void (*render)(struct metrics *metrics, struct http_answer *answer);
    } table[] = {{"/", render_page},
                 {"/livez", render_livez},
                 {"/metrics", render_metrics},
                 {"/readyz", render_readyz},
                 {"/status", render_status}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(path, table[i].path) != 0)
            continue;
        table[i].render(argument, answer);
        return true;
    }
    return false;
}

const struct http_handler endpoints = {.render = render};
