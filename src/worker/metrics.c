#include "worker/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/process_usage.h"
#include "core/ledger.h"
#include "worker/trouble.h"

#define PREFIX "privacy_call_"

/* The labels of a metric, or the source of its values. */
enum shape {
    PLAIN,
    JOBS, /* the sum of the jobs' values */
    VERSION,
    START,
    CLOCK,
    REQUEST_TOPIC,
    TOPIC_STATUS,
    REASON,
    NONE, /* of a histogram */
    KIND, /* of a histogram */
    PARTITION_LAG,
    PARTITION_UNFINISHED,
    PARTITION_LEDGER,
    PARTITION_LEDGER_USED,
};

struct row {
    const char *name, *type;
    enum shape shape;
    const void *values; /* const _Atomic uint64_t[] or const struct histogram[] */
    const char *help;
};

struct scrape {
    struct text *out;
    const struct config *config;
    struct metrics *metrics;
    struct partition_row *table;
    size_t table_size;
};

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Adds a label. Characters that are special in the format are escaped. */
static void add_label(struct text *out, const char *name, const char *value)
{
    text_printf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            text_append(out, "\\", 1);
        text_append(out, *value == '\n' ? "\\n" : value, *value == '\n' ? 2 : 1);
    }
    text_add(out, "\"");
}

static void add_sample(struct text *out, const char *name, const char *label, const char *value,
                       uint64_t number)
{
    text_printf(out, PREFIX "%s{", name);
    add_label(out, label, value);
    text_printf(out, "} %" PRIu64 "\n", number);
}

static void put_topics(struct scrape *scrape, const struct row *row)
{
    const _Atomic uint64_t *values = row->values;
    for (int job = 0; job < REQUEST_KINDS; job++)
        if (*scrape->config->request_topics[job])
            add_sample(scrape->out, row->name, "topic", scrape->config->request_topics[job],
                       get(&values[job]));
}

static void put_results(struct scrape *scrape, const struct row *row)
{
    for (int job = 0; job < REQUEST_KINDS; job++) {
        for (int status = 0; status < STATUSES && *scrape->config->request_topics[job]; status++) {
            text_printf(scrape->out, PREFIX "%s{", row->name);
            add_label(scrape->out, "topic", scrape->config->result_topics[job]);
            text_printf(scrape->out, ",status=\"%s\"} %" PRIu64 "\n",
                        status_name((enum status)status),
                        get(&scrape->metrics->results[job][status]));
        }
    }
}

static void put_reasons(struct scrape *scrape, const struct row *row)
{
    static const char *const names[] = {[DEAD_LETTER_INVALID] = "invalid",
                                        [DEAD_LETTER_LATE] = "late-outcome",
                                        [DEAD_LETTER_GONE] = "record-gone"};
    const _Atomic uint64_t *values = row->values;
    for (int i = 0; i < DEAD_LETTER_REASONS; i++)
        add_sample(scrape->out, row->name, "reason", names[i], get(&values[i]));
}

/* label: `kind="call"` or empty. */
static void put_histogram(struct text *out, const char *name, const char *label,
                          const struct histogram *histogram)
{
    const char *comma = *label ? "," : "", *open = *label ? "{" : "", *close = *label ? "}" : "";
    uint64_t count = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        count += get(&histogram->buckets[i]);
        text_printf(out, PREFIX "%s_bucket{%s%sle=\"", name, label, comma);
        if (i < HISTOGRAM_BOUNDS)
            text_printf(out, "%g", (double)histogram_bounds_us[i] / 1e6);
        else
            text_add(out, "+Inf");
        text_printf(out, "\"} %" PRIu64 "\n", count);
    }
    uint64_t us = get(&histogram->sum_us);
    text_printf(out, PREFIX "%s_sum%s%s%s %" PRIu64 ".%06" PRIu64 "\n", name, open, label, close,
                us / 1000000, us % 1000000);
    text_printf(out, PREFIX "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, count);
}

static void put_partition_value(struct text *out, const struct partition_row *at, enum shape shape)
{
    switch (shape) {
    case PARTITION_LAG:
        text_printf(out, "%" PRId64 "\n", metrics_lag(at));
        break;
    case PARTITION_UNFINISHED:
        text_printf(out, "%" PRIu64 "\n", at->unfinished);
        break;
    case PARTITION_LEDGER:
        text_printf(out, "%" PRIu64 "\n", at->ledger_size);
        break;
    default:
        text_printf(out, "%.4f\n", (double)at->ledger_size / LEDGER_MAX);
        break;
    }
}

static void put_partitions(struct scrape *scrape, const struct row *row)
{
    for (size_t i = 0; i < scrape->table_size; i++) {
        const struct partition_row *at = &scrape->table[i];
        if (row->shape == PARTITION_LAG && metrics_lag(at) < 0)
            continue;
        text_printf(scrape->out, PREFIX "%s{", row->name);
        add_label(scrape->out, "topic", scrape->config->request_topics[at->job]);
        text_printf(scrape->out, ",partition=\"%" PRId32 "\"} ", at->partition);
        put_partition_value(scrape->out, at, row->shape);
    }
}

/* Adds nothing until an answer has told the platform's time. */
static void put_clock(struct scrape *scrape, const struct row *row)
{
    const struct call_counters *calls = call_thread_counters(scrape->metrics->calls);
    if (atomic_load_explicit(&calls->clock_known, memory_order_relaxed))
        text_printf(scrape->out, PREFIX "%s %.3f\n", row->name,
                    (double)atomic_load_explicit(&calls->clock_offset_ms, memory_order_relaxed) /
                        1000);
}

static void put_process(struct text *out, const struct metrics *metrics)
{
    struct process_usage usage;
    process_usage_read(&usage);
    usage.started_seconds = (double)metrics->started_wall_ms / 1000;
#define ROW(name, type, member, help)                                                              \
    if (usage.member >= 0)                                                                         \
        text_printf(out,                                                                           \
                    "# HELP " #name " " help "\n# TYPE " #name " " #type "\n" #name " %.15g\n",    \
                    (double)usage.member);
    PROCESS_METRICS(ROW)
#undef ROW
}

static void put_row(struct scrape *scrape, const struct row *row)
{
    struct text *out = scrape->out;
    const struct histogram *histogram = row->values;
    text_printf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", row->name, row->help,
                row->name, row->type);
    switch (row->shape) {
    case PLAIN:
        text_printf(out, PREFIX "%s %" PRIu64 "\n", row->name, get(row->values));
        break;
    case JOBS:
        text_printf(out, PREFIX "%s %" PRIu64 "\n", row->name, metrics_sum(row->values));
        break;
    case VERSION:
        add_sample(out, row->name, "version", PCW_VERSION, get(row->values));
        break;
    case START:
        text_printf(out, PREFIX "%s %.3f\n", row->name,
                    (double)scrape->metrics->started_wall_ms / 1000);
        break;
    case CLOCK:
        put_clock(scrape, row);
        break;
    case REQUEST_TOPIC:
        put_topics(scrape, row);
        break;
    case TOPIC_STATUS:
        put_results(scrape, row);
        break;
    case REASON:
        put_reasons(scrape, row);
        break;
    case NONE:
        put_histogram(out, row->name, "", histogram);
        break;
    case KIND:
        put_histogram(out, row->name, "kind=\"call\"", &histogram[REQUEST_CALL]);
        put_histogram(out, row->name, "kind=\"recording\"", &histogram[REQUEST_RECORDING]);
        break;
    default:
        put_partitions(scrape, row);
        break;
    }
}

uint64_t metrics_sum(const _Atomic uint64_t jobs[REQUEST_KINDS])
{
    uint64_t sum = 0;
    for (int job = 0; job < REQUEST_KINDS; job++)
        sum += get(&jobs[job]);
    return sum;
}

void metrics_render(struct metrics *metrics, struct text *out)
{
    const struct metrics *m = metrics;
    const struct call_counters *c = call_thread_counters(metrics->calls);
#define ROW(name, type, shape, values, help) {#name, #type, shape, (const void *)(values), help},
    const struct row rows[] = {METRICS(ROW)};
#undef ROW
    struct scrape scrape = {.out = out, .config = metrics->config, .metrics = metrics};
    scrape.table = memory_zeroed(METRICS_TABLE, sizeof *scrape.table);
    scrape.table_size = metrics_copy_table(metrics, scrape.table);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        put_row(&scrape, &rows[i]);
    put_process(out, metrics);
    free(scrape.table);
}

void metrics_published(struct metrics *metrics, const struct published *published)
{
    for (int job = 0; job < REQUEST_KINDS; job++)
        for (int status = 0; status < STATUSES; status++)
            metrics_count(&metrics->results[job][status], published->results[job][status]);
    for (int reason = 0; reason < DEAD_LETTER_REASONS; reason++)
        metrics_count(&metrics->dead_letters[reason], published->dead_letters[reason]);
    for (int job = 0; job < REQUEST_KINDS; job++)
        if (published->results[job][STATUS_UNKNOWN])
            atomic_store(&metrics->last_unknown_ms, clock_wall_ms());
}

void metrics_condition(struct metrics *metrics, enum request_kind job, enum condition condition,
                       int64_t since_ms)
{
    _Atomic int64_t *since = &metrics->since[job][condition];
    if (!since_ms || !atomic_load(since))
        atomic_store(since, since_ms);
}

/* The job for which the condition has held for longest; -1: none. */
static int job_of(const struct metrics *metrics, enum condition condition)
{
    int first = -1;
    int64_t oldest = 0;
    for (int job = 0; job < REQUEST_KINDS; job++) {
        int64_t since = atomic_load(&metrics->since[job][condition]);
        if (!since || (first >= 0 && since >= oldest))
            continue;
        first = job;
        oldest = since;
    }
    return first;
}

void metrics_silence(struct metrics *metrics, enum request_kind job, const char *reason)
{
    pthread_mutex_lock(&metrics->lock);
    snprintf(metrics->silence[job], sizeof metrics->silence[job], "%s", reason);
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_copy_silence(struct metrics *metrics, char *out, size_t size)
{
    *out = '\0';
    pthread_mutex_lock(&metrics->lock);
    int job = job_of(metrics, CONDITION_NO_KAFKA);
    if (job >= 0)
        snprintf(out, size, "%s", metrics->silence[job]);
    pthread_mutex_unlock(&metrics->lock);
}

static void gather(const struct metrics *metrics, struct history_totals *totals)
{
    const struct call_counters *calls = call_thread_counters(metrics->calls);
    for (int job = 0; job < REQUEST_KINDS; job++) {
        for (int status = 0; status < STATUSES; status++)
            totals->results[job][status] = get(&metrics->results[job][status]);
        for (int i = 0; i <= HISTOGRAM_BOUNDS; i++)
            totals->tries[job][i] = get(&calls->latency[job].buckets[i]);
        totals->lag[job] = get(&metrics->lag[job]);
    }
    totals->in_flight = get(&calls->in_flight);
}

void metrics_sample(struct metrics *metrics, int64_t now_ms)
{
    if (pthread_mutex_trylock(&metrics->history_lock) != 0)
        return;
    if (history_is_due(&metrics->history, now_ms)) {
        struct history_totals totals;
        gather(metrics, &totals);
        history_add(&metrics->history, now_ms, &totals);
    }
    pthread_mutex_unlock(&metrics->history_lock);
}

void metrics_table(struct metrics *metrics, enum request_kind job, const struct partition_row *rows,
                   size_t count)
{
    if (pthread_mutex_trylock(&metrics->lock) != 0)
        return;
    memcpy(metrics->table[job], rows, count * sizeof *rows);
    metrics->table_size[job] = count;
    pthread_mutex_unlock(&metrics->lock);
}

/* Nobody knows how long, if the wall clock was set back: long enough. */
static bool lasts(const struct metrics *metrics, enum request_kind job, enum condition condition,
                  int64_t wall_ms)
{
    int64_t since = atomic_load(&metrics->since[job][condition]);
    return since && llabs(wall_ms - since) >= TROUBLE_LASTING_MS;
}

void metrics_refusal(struct metrics *metrics, enum request_kind job, const char *reason)
{
    pthread_mutex_lock(&metrics->lock);
    snprintf(metrics->refusal[job], sizeof metrics->refusal[job], "%s", reason ? reason : "");
    pthread_mutex_unlock(&metrics->lock);
}

bool metrics_copy_refusal(struct metrics *metrics, int job, char *out, size_t size)
{
    pthread_mutex_lock(&metrics->lock);
    snprintf(out, size, "%s", metrics->refusal[job]);
    pthread_mutex_unlock(&metrics->lock);
    return *out;
}

/* The time of the condition is computed from another clock each time. Small differences do not
 * change it. */
void metrics_failing(struct metrics *metrics, enum request_kind job, const char *text,
                     int64_t since_ms, int64_t wall_ms)
{
    enum { SAME_MS = 1000 };
    bool cut_off = lasts(metrics, job, CONDITION_NO_KAFKA, wall_ms) ||
                   lasts(metrics, job, CONDITION_NO_RIGHT, wall_ms);
    _Atomic int64_t *since = &metrics->since[job][CONDITION_FAILING];
    pthread_mutex_lock(&metrics->lock);
    snprintf(metrics->failing[job], sizeof metrics->failing[job], "%s", text ? text : "");
    if (!text || llabs(since_ms - atomic_load(since)) >= SAME_MS)
        atomic_store(since, text ? since_ms : 0);
    pthread_mutex_unlock(&metrics->lock);
    metrics_set(&metrics->failing_jobs[job], text || cut_off);
}

bool metrics_copy_failing(struct metrics *metrics, char *out, size_t size)
{
    *out = '\0';
    pthread_mutex_lock(&metrics->lock);
    int job = job_of(metrics, CONDITION_FAILING);
    if (job >= 0)
        snprintf(out, size, "%s", metrics->failing[job]);
    pthread_mutex_unlock(&metrics->lock);
    return *out;
}

int64_t metrics_copy_history(struct metrics *metrics, struct history_step steps[HISTORY_STEPS],
                             struct history_totals *totals)
{
    pthread_mutex_lock(&metrics->history_lock);
    int64_t ended_ms = history_copy(&metrics->history, steps);
    *totals = metrics->history.before;
    pthread_mutex_unlock(&metrics->history_lock);
    return ended_ms;
}

static int by_partition(const void *left, const void *right)
{
    const struct partition_row *a = left, *b = right;
    if (a->job != b->job)
        return a->job < b->job ? -1 : 1;
    return (a->partition > b->partition) - (a->partition < b->partition);
}

size_t metrics_copy_table(struct metrics *metrics, struct partition_row *rows)
{
    pthread_mutex_lock(&metrics->lock);
    size_t count = 0;
    for (int job = 0; job < REQUEST_KINDS; job++) {
        memcpy(rows + count, metrics->table[job], metrics->table_size[job] * sizeof *rows);
        count += metrics->table_size[job];
    }
    pthread_mutex_unlock(&metrics->lock);
    qsort(rows, count, sizeof *rows, by_partition);
    return count;
}

int64_t metrics_lag(const struct partition_row *row)
{
    if (row->end < 0 || row->base < 0)
        return -1;
    return row->end > row->base ? row->end - row->base : 0;
}

struct metrics *metrics_new(const struct config *config)
{
    struct metrics *metrics = memory_zeroed(1, sizeof *metrics);
    metrics->config = config;
    metrics->started_wall_ms = clock_wall_ms();
    metrics->started_boot_ms = clock_boot_ms();
    for (int job = 0; job < REQUEST_KINDS; job++)
        metrics->kafka_turned_ms[job] =
            *config->request_topics[job] ? metrics->started_boot_ms : INT64_MAX;
    for (int job = 0; job < REQUEST_KINDS; job++)
        metrics->since[job][CONDITION_OUTSIDE] = metrics->started_wall_ms;
    metrics->one = 1;
    pthread_mutex_init(&metrics->lock, NULL);
    pthread_mutex_init(&metrics->history_lock, NULL);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    pthread_mutex_destroy(&metrics->history_lock);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}
