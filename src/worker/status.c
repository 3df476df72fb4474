#include "worker/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log_recent.h"
#include "base/memory.h"
#include "core/breaker.h"
#include "core/ledger.h"
#include "worker/health.h"
#include "worker/summary.h"

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- JSON. Each member or element writes the comma before it. name NULL: an element. */

static void put_name(struct text *out, const char *name)
{
    char last = out->length ? out->data[out->length - 1] : '{';
    if (out->length && last != '{' && last != '[')
        text_add(out, ", ");
    if (name)
        text_printf(out, "\"%s\": ", name);
}

static void put_open(struct text *out, const char *name, const char *bracket)
{
    put_name(out, name);
    text_add(out, bracket);
}

static void put_string(struct text *out, const char *name, const char *value)
{
    put_name(out, name);
    text_json_visible(out, value, strlen(value));
}

static void put_if(struct text *out, const char *name, const char *value)
{
    if (value && *value)
        put_string(out, name, value);
}

static void put_number(struct text *out, const char *name, int64_t value)
{
    put_name(out, name);
    text_printf(out, "%" PRId64, value);
}

static void put_count(struct text *out, const char *name, uint64_t value)
{
    put_name(out, name);
    text_printf(out, "%" PRIu64, value);
}

static void put_bool(struct text *out, const char *name, bool value)
{
    put_name(out, name);
    text_add(out, value ? "true" : "false");
}

/* A time that is not known is left out. */
static void put_time(struct text *out, const char *name, int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    if (wall_ms <= 0)
        return;
    clock_to_text(text, wall_ms);
    put_string(out, name, text);
}

/* ---- the parts */

static const char *const jobs[] = {[REQUEST_CALL] = "calls", [REQUEST_RECORDING] = "recordings"};

static void put_problem(struct text *out, const char *name, const struct problem *problem,
                        int64_t wall_ms)
{
    struct text words = {0};
    put_open(out, name, "{");
    put_string(out, "severity", severity_name(problem->severity));
    put_string(out, "state", problem->state);
    summary_sentence(problem, wall_ms, &words);
    put_string(out, "text", words.data);
    put_string(out, "what", problem->what);
    put_if(out, "reason", problem->reason);
    put_time(out, "since", problem->since_ms);
    put_if(out, "next", problem->next_action ? problem->next_action : problem->next);
    if (problem->next_action)
        put_time(out, "nextAt", problem->next_ms);
    put_if(out, "waiting", problem->waiting);
    text_add(out, "}");
    text_fini(&words);
}

static void put_summary(struct text *out, const struct overview *overview)
{
    struct summary summary;
    summary_make(&summary, overview);
    put_problem(out, "summary", &summary.all[0], overview->wall_ms);
    put_open(out, "problems", "[");
    for (size_t i = 0; i < summary.count; i++)
        if (summary.all[i].severity > SEVERITY_OK)
            put_problem(out, NULL, &summary.all[i], overview->wall_ms);
    text_add(out, "]");
}

static void put_counts(struct text *out, const struct metrics *metrics)
{
    const struct call_counters *calls = call_thread_counters(metrics->calls);
    uint64_t requests = 0, dead_letters = 0;
    for (int job = 0; job < REQUEST_KINDS; job++)
        requests += get(&metrics->requests[job]);
    for (int reason = 0; reason < DEAD_LETTER_REASONS; reason++)
        dead_letters += get(&metrics->dead_letters[reason]);
    put_open(out, "counts", "{");
    put_count(out, "requests", requests);
    put_open(out, "results", "{");
    for (int status = 0; status < STATUSES; status++)
        put_count(out, status_name((enum status)status),
                  get(&metrics->results[REQUEST_CALL][status]) +
                      get(&metrics->results[REQUEST_RECORDING][status]));
    text_add(out, "}");
    put_count(out, "deadLetters", dead_letters);
    put_count(out, "tries", get(&calls->tries));
    put_count(out, "retries", get(&calls->retries));
    put_count(out, "rateLimitWaits", get(&calls->rate_waits));
    put_count(out, "transactions", metrics_sum(metrics->transactions));
    put_count(out, "aborted", metrics_sum(metrics->aborted));
    put_count(out, "inDoubtRecoveries", metrics_sum(metrics->recovered));
    put_count(out, "rebalances", get(&metrics->rebalances));
    text_add(out, "}");
}

static void put_jobs(struct text *out, const struct metrics *metrics)
{
    put_open(out, "jobs", "[");
    for (int job = 0; job < REQUEST_KINDS; job++) {
        if (!health_is_on(metrics, job))
            continue;
        put_open(out, NULL, "{");
        put_string(out, "job", jobs[job]);
        put_string(out, "group", metrics->config->group_ids[job]);
        put_string(out, "topic", metrics->config->request_topics[job]);
        put_bool(out, "inGroup", atomic_load(&metrics->in_group[job]));
        put_bool(out, "lacksTopic", health_lacks_topic(metrics, job) != NULL);
        put_count(out, "partitions", get(&metrics->partitions[job]));
        put_count(out, "halted", get(&metrics->halted[job]));
        put_count(out, "lag", get(&metrics->lag[job]));
        text_add(out, "}");
    }
    text_add(out, "]");
}

/* The partition with the oldest unfinished request; NULL: none is known. */
static const struct partition_row *find_oldest(const struct overview *overview)
{
    const struct partition_row *oldest = NULL;
    for (size_t i = 0; i < overview->row_count; i++) {
        const struct partition_row *row = &overview->rows[i];
        if (row->oldest_ms > 0 && (!oldest || row->oldest_ms < oldest->oldest_ms))
            oldest = row;
    }
    return oldest;
}

static void put_waits(struct text *out, const struct overview *overview)
{
    const struct metrics *metrics = overview->metrics;
    const struct partition_row *oldest = find_oldest(overview);
    uint64_t unfinished = 0;
    for (size_t i = 0; i < overview->row_count; i++)
        unfinished += overview->rows[i].unfinished;
    put_open(out, "waits", "{");
    put_count(out, "orderIds", summary_waiting(metrics));
    put_count(out, "lag", metrics_sum(metrics->lag));
    put_count(out, "unfinished", unfinished);
    if (oldest) {
        put_open(out, "oldestUnfinished", "{");
        put_string(out, "topic", metrics->config->request_topics[oldest->job]);
        put_number(out, "partition", oldest->partition);
        put_time(out, "at", oldest->oldest_ms);
        text_add(out, "}");
    }
    text_add(out, "}");
}

static void put_doubt(struct text *out, const struct overview *overview)
{
    const struct metrics *metrics = overview->metrics;
    uint64_t started = 0;
    for (size_t i = 0; i < overview->row_count; i++)
        started += overview->rows[i].started;
    put_open(out, "inDoubt", "{");
    put_count(out, "unknown",
              get(&metrics->results[REQUEST_CALL][STATUS_UNKNOWN]) +
                  get(&metrics->results[REQUEST_RECORDING][STATUS_UNKNOWN]));
    put_count(out, "unknownLately", summary_recent(overview, STATUS_UNKNOWN));
    put_time(out, "lastUnknown", atomic_load(&metrics->last_unknown_ms));
    put_count(out, "taken", metrics_sum(metrics->recovered));
    put_count(out, "lateOutcomes", get(&metrics->dead_letters[DEAD_LETTER_LATE]));
    put_count(out, "recordsGone", get(&metrics->dead_letters[DEAD_LETTER_GONE]));
    put_count(out, "started", started);
    text_add(out, "}");
}

static void put_errors(struct text *out)
{
    struct log_recent *recent = memory_zeroed(LOG_RECENT, sizeof *recent);
    size_t count = log_recent_copy(recent);
    put_open(out, "errors", "[");
    for (size_t i = 0; i < count; i++) {
        const struct log_recent *at = &recent[i];
        put_open(out, NULL, "{");
        put_string(out, "level", at->level == LOG_WARN ? "warn" : "error");
        put_time(out, "at", at->last_ms);
        put_time(out, "first", at->first_ms);
        put_count(out, "times", at->times);
        put_string(out, "message", at->message);
        if (*at->topic) {
            put_string(out, "topic", at->topic);
            put_number(out, "partition", at->partition);
            if (at->offset >= 0)
                put_number(out, "offset", at->offset);
        }
        text_add(out, "}");
    }
    text_add(out, "]");
    free(recent);
}

/* ---- the history */

/* The first known step. Earlier steps are left out. */
static int first_known(const struct history_step *steps)
{
    int i = 0;
    while (i < HISTORY_STEPS && !steps[i].known)
        i++;
    return i;
}

/* Writes one series: value() of each step; null if the step is not known or the value is below
 * 0. */
static void put_series(struct text *out, const char *name, const struct history_step *steps,
                       int64_t (*value)(const struct history_step *step, int job, int status),
                       int job, int status)
{
    put_open(out, name, "[");
    int first = first_known(steps);
    for (int i = first; i < HISTORY_STEPS; i++) {
        int64_t at = steps[i].known ? value(&steps[i], job, status) : -1;
        text_add(out, i > first ? "," : "");
        if (at < 0)
            text_add(out, "null");
        else
            text_printf(out, "%" PRId64, at);
    }
    text_add(out, "]");
}

static int64_t tries_of(const struct history_step *step, int job, int status)
{
    (void)status;
    return (int64_t)step->tries[job];
}

static int64_t results_of(const struct history_step *step, int job, int status)
{
    return (int64_t)step->results[job][status];
}

static int64_t lag_of(const struct history_step *step, int job, int status)
{
    (void)status;
    return (int64_t)step->lag[job];
}

static int64_t p50_of(const struct history_step *step, int job, int status)
{
    (void)status;
    return step->p50_us[job] < 0 ? -1 : (step->p50_us[job] + 500) / 1000;
}

static int64_t p99_of(const struct history_step *step, int job, int status)
{
    (void)status;
    return step->p99_us[job] < 0 ? -1 : (step->p99_us[job] + 500) / 1000;
}

static int64_t in_flight_of(const struct history_step *step, int job, int status)
{
    (void)job, (void)status;
    return (int64_t)step->in_flight;
}

static void put_job_history(struct text *out, const struct history_step *steps, int job)
{
    put_open(out, NULL, "{");
    put_string(out, "job", jobs[job]);
    put_series(out, "tries", steps, tries_of, job, 0);
    put_series(out, "p50Ms", steps, p50_of, job, 0);
    put_series(out, "p99Ms", steps, p99_of, job, 0);
    put_series(out, "lag", steps, lag_of, job, 0);
    put_open(out, "results", "{");
    for (int status = 0; status < STATUSES; status++)
        put_series(out, status_name((enum status)status), steps, results_of, job, status);
    text_add(out, "}}");
}

static void put_history(struct text *out, const struct overview *overview)
{
    put_open(out, "history", "{");
    put_number(out, "stepSeconds", HISTORY_STEP_MS / 1000);
    put_number(out, "steps", HISTORY_STEPS);
    if (first_known(overview->steps) < HISTORY_STEPS)
        put_time(out, "until", overview->wall_ms - overview->boot_ms + overview->stepped_ms);
    put_series(out, "inFlight", overview->steps, in_flight_of, 0, 0);
    put_open(out, "jobs", "[");
    for (int job = 0; job < REQUEST_KINDS; job++)
        if (health_is_on(overview->metrics, job))
            put_job_history(out, overview->steps, job);
    text_add(out, "]}");
}

/* ---- the partitions */

static void put_partition(struct text *out, const struct config *config,
                          const struct partition_row *row)
{
    char remedy[1000];
    put_open(out, NULL, "{");
    put_string(out, "topic", config->request_topics[row->job]);
    put_string(out, "state", row->state);
    put_number(out, "partition", row->partition);
    if (row->base >= 0) {
        put_number(out, "base", row->base);
        put_number(out, "next", row->next);
    }
    if (metrics_lag(row) >= 0)
        put_number(out, "lag", metrics_lag(row));
    put_if(out, "haltReason", row->halt_reason);
    if (row->stuck)
        put_bool(out, "stuck", true);
    put_if(out, "remedy", summary_remedy(row, config, remedy, sizeof remedy));
    if (row->passed.count) {
        put_open(out, "passed", "{");
        put_count(out, "count", row->passed.count);
        put_number(out, "first", row->passed.first);
        put_number(out, "last", row->passed.last);
        text_add(out, "}");
    }
    put_time(out, "since", row->since_ms);
    put_time(out, "oldestUnfinished", row->oldest_ms);
    put_count(out, "unfinished", row->unfinished);
    put_count(out, "started", row->started);
    put_count(out, "ledger", row->ledger_size);
    text_add(out, "}");
}

static void put_partitions(struct text *out, const struct overview *overview)
{
    put_number(out, "ledgerMax", LEDGER_MAX);
    put_open(out, "partitions", "[");
    for (size_t i = 0; i < overview->row_count; i++)
        put_partition(out, overview->metrics->config, &overview->rows[i]);
    text_add(out, "]");
}

/* ---- all of it */

static void put_process(struct text *out, const struct overview *overview, bool ready)
{
    static const char *const breakers[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_TRIAL] = "trial"};
    struct metrics *metrics = overview->metrics;
    const struct config *config = metrics->config;
    const struct call_counters *calls = call_thread_counters(metrics->calls);
    char failing[METRICS_TEXT];
    put_string(out, "version", PCW_VERSION);
    put_string(out, "group", config->group_ids[REQUEST_CALL]);
    put_string(out, "instance", config->instance_id);
    put_time(out, "time", overview->wall_ms);
    put_time(out, "started", metrics->started_wall_ms);
    put_number(out, "uptimeSeconds", (overview->boot_ms - metrics->started_boot_ms) / 1000);
    put_string(out, "breaker", breakers[get(&calls->breaker)]);
    put_bool(out, "ready", ready);
    put_bool(out, "draining", atomic_load(&metrics->draining));
    if (metrics_copy_failing(metrics, failing, sizeof failing))
        put_string(out, "failing", failing);
    put_count(out, "inFlight", get(&calls->in_flight));
    put_number(out, "slots", config->platform_max_in_flight);
    put_count(out, "outstanding", metrics_sum(metrics->outstanding));
    put_count(out, "waitingLanes", metrics_sum(metrics->waiting_lanes));
}

void status_render(struct metrics *metrics, bool ready, struct text *out)
{
    struct partition_row *rows = memory_zeroed(METRICS_TABLE, sizeof *rows);
    struct history_step *steps = memory_zeroed(HISTORY_STEPS, sizeof *steps);
    struct overview overview = {.metrics = metrics,
                                .wall_ms = clock_wall_ms(),
                                .boot_ms = clock_boot_ms(),
                                .rows = rows,
                                .row_count = metrics_copy_table(metrics, rows),
                                .steps = steps};
    overview.stepped_ms = metrics_copy_history(metrics, steps, &overview.stepped);
    text_add(out, "{");
    put_summary(out, &overview);
    put_process(out, &overview, ready);
    put_waits(out, &overview);
    put_doubt(out, &overview);
    put_errors(out);
    put_counts(out, metrics);
    put_jobs(out, metrics);
    put_history(out, &overview);
    put_partitions(out, &overview);
    text_add(out, "}\n");
    free(steps);
    free(rows);
}
