/* What the worker counts. The Kafka threads and the call thread write, and the HTTP thread reads.
 * Counters are relaxed atomics. Each job has a table of its partitions, which its Kafka thread
 * renews about once a second under a lock; a reader holds the lock only while it copies the tables.
 * One row of METRICS is one metric; docs/metrics.md lists the same. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "core/config.h"
#include "core/engine/engine.h"
#include "worker/call_thread.h"
#include "worker/histogram.h"
#include "worker/history.h"

struct kafka;

enum {
    METRICS_PARTITIONS = 1024
};                           /* rows of one job; further partitions are counted, but not listed */
enum { METRICS_TEXT = 700 }; /* room for why the work does not go on */
enum { METRICS_TABLE = REQUEST_KINDS * METRICS_PARTITIONS };

enum dead_letter_reason {
    DEAD_LETTER_INVALID,
    DEAD_LETTER_LATE,
    DEAD_LETTER_GONE,
    DEAD_LETTER_REASONS
};

/* Results and dead letters of one transaction. */
struct published {
    uint64_t results[REQUEST_KINDS][STATUSES];
    uint64_t dead_letters[DEAD_LETTER_REASONS];
};

/* Requests that count as done in the ledger, although they came after its log had ended below
 * them. */
struct passed {
    uint64_t count;
    int64_t first, last; /* offsets */
};

struct partition_row {
    enum request_kind job;
    int32_t partition;
    const char *state; /* static */
    char halt_reason[256];
    int64_t base, next; /* next: the offset after the last record read */
    int64_t end;        /* the partition's end, as last reported; below 0: not known */
    uint64_t unfinished, started, ledger_size;
    bool needs_repair, stuck;
    struct passed passed; /* since the partition was assigned */
    int64_t since_ms;     /* wall clock: since when it is in this state */
    int64_t oldest_ms;    /* wall clock: of the oldest unfinished request; -1: none, or not known */
};

/* What keeps a job from its work. */
enum condition {
    CONDITION_NO_KAFKA, /* no broker answers */
    CONDITION_NO_TOPIC, /* one of its topics does not exist yet */
    CONDITION_NO_RIGHT, /* the broker refuses it something it needs */
    CONDITION_FAILING,  /* an operation that it repeats has failed for a minute */
    CONDITION_STUCK,    /* partitions do not move, for no known reason */
    CONDITION_OUTSIDE,  /* it is not a member of its group */
    CONDITIONS
};

struct metrics {
    /* written by all Kafka threads, which only add */
    _Atomic uint64_t requests[REQUEST_KINDS], passed[REQUEST_KINDS];
    _Atomic uint64_t results[REQUEST_KINDS][STATUSES];
    _Atomic uint64_t dead_letters[DEAD_LETTER_REASONS];
    _Atomic uint64_t rebalances;
    struct histogram transaction_time;
    _Atomic bool draining;
    _Atomic int64_t draining_since;  /* wall clock */
    _Atomic int64_t last_unknown_ms; /* wall clock: when a result was last `unknown`; 0: never */
    /* set by each job's Kafka thread; readers add them up */
    _Atomic uint64_t partitions[REQUEST_KINDS], halted[REQUEST_KINDS];
    _Atomic uint64_t waiting_lanes[REQUEST_KINDS], outstanding[REQUEST_KINDS];
    _Atomic uint64_t transactions[REQUEST_KINDS], aborted[REQUEST_KINDS], unknown[REQUEST_KINDS];
    _Atomic uint64_t fenced[REQUEST_KINDS], recovered[REQUEST_KINDS];
    _Atomic uint64_t resumed[REQUEST_KINDS], late_waiting[REQUEST_KINDS], throttles[REQUEST_KINDS];
    _Atomic int64_t kafka_turned_ms[REQUEST_KINDS]; /* CLOCK_BOOTTIME of the loop's last iteration;
                                                       INT64_MAX: the thread has ended */
    _Atomic bool in_group[REQUEST_KINDS];
    _Atomic int64_t since[REQUEST_KINDS][CONDITIONS]; /* wall clock; 0: not so */
    _Atomic uint64_t lag[REQUEST_KINDS]; /* of its partitions, where the lag is known */
    pthread_mutex_t history_lock;
    struct history history; /* under history_lock */
    pthread_mutex_t lock;   /* of the tables */
    struct partition_row table[REQUEST_KINDS][METRICS_PARTITIONS];
    size_t table_size[REQUEST_KINDS];
    char failing[REQUEST_KINDS][METRICS_TEXT]; /* the operation that keeps failing; empty: none */
    char refusal[REQUEST_KINDS]
                [METRICS_TEXT];       /* why the group refuses the join; empty: it does not */
    char silence[REQUEST_KINDS][256]; /* why no broker answers, as last reported */
    _Atomic uint64_t failing_jobs[REQUEST_KINDS]; /* 1: it is failing (metrics_failing) */
    _Atomic uint64_t stuck[REQUEST_KINDS];
    /* constant once the threads run */
    const struct config *config;
    struct call_thread *calls;
    const struct kafka *kafka[REQUEST_KINDS]; /* NULL: switched off */
    int64_t started_wall_ms, started_boot_ms;
    _Atomic uint64_t one; /* build_info's value */
};

/* ROW(name without privacy_call_, type, shape (the labels), the values, help) */
#define METRICS(ROW)                                                                               \
    ROW(build_info, gauge, VERSION, &m->one, "1, with the version as its label")                   \
    ROW(start_time_seconds, gauge, START, NULL, "Start of the process, in seconds since 1970")     \
    ROW(requests_total, counter, REQUEST_TOPIC, m->requests, "Requests read from Kafka")           \
    ROW(passed_requests_total, counter, JOBS, m->passed,                                           \
        "Requests without a result: they came after their log had ended below the offsets that "   \
        "the ledger tells of, and it says that they are done")                                     \
    ROW(results_total, counter, TOPIC_STATUS, m->results, "Results published")                     \
    ROW(dead_letters_total, counter, REASON, m->dead_letters, "Dead letters published")            \
    ROW(late_outcomes_total, counter, PLAIN, &m->dead_letters[DEAD_LETTER_LATE],                   \
        "Calls that ended after their partition had gone to another worker")                       \
    ROW(late_outcomes_waiting, gauge, JOBS, m->late_waiting,                                       \
        "Late outcomes that are not in the dead letters yet; they stay when the broker refuses "   \
        "them")                                                                                    \
    ROW(calls_in_flight, gauge, PLAIN, &c->in_flight,                                              \
        "Calls in flight at the platform, recordings included")                                    \
    ROW(outstanding_requests, gauge, JOBS, m->outstanding,                                         \
        "Requests handed to the call thread, including those that wait there")                     \
    ROW(waiting_lanes, gauge, JOBS, m->waiting_lanes,                                              \
        "Order ids whose next request waits to be started")                                        \
    ROW(tries_total, counter, PLAIN, &c->tries, "Tries begun, repeated ones included")             \
    ROW(retries_total, counter, PLAIN, &c->retries,                                                \
        "Tries that repeat an earlier one of the same request")                                    \
    ROW(returned_total, counter, PLAIN, &c->returned,                                              \
        "Requests given back without a try: the lease was over, or they were recalled")            \
    ROW(call_duration_seconds, histogram, KIND, c->latency, "Duration of the tries")               \
    ROW(recording_files_total, counter, PLAIN, &c->files,                                          \
        "Files of recordings kept in recording.store")                                             \
    ROW(recording_bytes_total, counter, PLAIN, &c->file_bytes, "Bytes of these files")             \
    ROW(recording_copy_failures_total, counter, PLAIN, &c->copy_failures,                          \
        "Tries whose file could not be fetched or kept")                                           \
    ROW(reloads_total, counter, PLAIN, &c->reloads,                                                \
        "Changed files of secrets and certificates that were read again and are in use")           \
    ROW(reload_failures_total, counter, PLAIN, &c->reload_failures,                                \
        "Times, once a second, that a changed file of secrets or certificates could not be used: " \
        "the old content stays in use")                                                            \
    ROW(breaker_state, gauge, PLAIN, &c->breaker,                                                  \
        "Circuit breaker: 0 closed, 1 open (all calls pause), 2 one trial call")                   \
    ROW(platform_clock_offset_seconds, gauge, CLOCK, NULL,                                         \
        "How far this machine's clock is ahead of the platform's, by the Date of its last answer") \
    ROW(rate_limit_waits_total, counter, PLAIN, &c->rate_waits,                                    \
        "Times that the rate limit delayed the next call")                                         \
    ROW(transactions_total, counter, JOBS, m->transactions, "Transactions committed")              \
    ROW(transactions_aborted_total, counter, JOBS, m->aborted,                                     \
        "Transactions aborted; their records are sent again in another one")                       \
    ROW(transactions_unknown_total, counter, JOBS, m->unknown,                                     \
        "Transactions with an unknown outcome; the ledger was then read back")                     \
    ROW(fenced_total, counter, JOBS, m->fenced,                                                    \
        "Times that another producer with the same transactional id fenced this one")              \
    ROW(transaction_duration_seconds, histogram, NONE, &m->transaction_time,                       \
        "Duration of the transactions, whatever their outcome")                                    \
    ROW(in_doubt_recoveries_total, counter, JOBS, m->recovered,                                    \
        "Calls that a predecessor had started, and that were answered as unknown")                 \
    ROW(partitions_resumed_total, counter, JOBS, m->resumed,                                       \
        "Lost partitions that came back before another worker had them; the worker went on from "  \
        "memory")                                                                                  \
    ROW(kafka_throttles_total, counter, JOBS, m->throttles,                                        \
        "Answers of Kafka's brokers that were delayed because the worker was over a quota")        \
    ROW(rebalances_total, counter, PLAIN, &m->rebalances, "Rebalances of the groups")              \
    ROW(partitions, gauge, JOBS, m->partitions, "Partitions assigned")                             \
    ROW(partitions_halted, gauge, JOBS, m->halted,                                                 \
        "Halted partitions, of which nothing is dialled; /status and the log say why")             \
    ROW(partitions_stuck, gauge, JOBS, m->stuck,                                                   \
        "Partitions whose lag grows, or is not known, while nothing happens in them, for no "      \
        "known reason")                                                                            \
    ROW(kafka_failing, gauge, JOBS, m->failing_jobs,                                               \
        "Jobs for which, for a minute, an operation at Kafka has failed, no broker has answered "  \
        "or a right has been missing; the worker is not ready then")                               \
    ROW(consumer_lag, gauge, PARTITION_LAG, NULL,                                                  \
        "Offsets from the committed one to the end of the partition")                              \
    ROW(unfinished_requests, gauge, PARTITION_UNFINISHED, NULL,                                    \
        "Requests read and not yet finished")                                                      \
    ROW(ledger_bytes, gauge, PARTITION_LEDGER, NULL, "Size of the committed ledger")               \
    ROW(ledger_used_ratio, gauge, PARTITION_LEDGER_USED, NULL,                                     \
        "Used part of the ledger's space; at 1 no further request can be started")

/* ROW(name, type, member of struct process_usage, help): metrics of the process, under the names
 * that Prometheus's client libraries use. */
#define PROCESS_METRICS(ROW)                                                                       \
    ROW(process_cpu_seconds_total, counter, cpu_seconds, "CPU time, user and system")              \
    ROW(process_resident_memory_bytes, gauge, resident_bytes, "Resident memory")                   \
    ROW(process_virtual_memory_bytes, gauge, virtual_bytes, "Virtual memory")                      \
    ROW(process_open_fds, gauge, open_files, "Open file descriptors")                              \
    ROW(process_max_fds, gauge, max_files, "Limit of open file descriptors")                       \
    ROW(process_threads, gauge, threads, "Threads")                                                \
    ROW(process_start_time_seconds, gauge, started_seconds,                                        \
        "Start of the process, in seconds since 1970")

/* config must outlive it. */
struct metrics *metrics_new(const struct config *config);
void metrics_free(struct metrics *metrics);

static inline void metrics_set(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

static inline void metrics_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* The sum of the jobs' values. Any thread. */
uint64_t metrics_sum(const _Atomic uint64_t jobs[REQUEST_KINDS]);

/* A transaction with these has committed. A Kafka thread. */
void metrics_published(struct metrics *metrics, const struct published *published);

/* Renews a job's table. If the table is being read at the moment, the old rows stay. The job's
 * Kafka thread. */
void metrics_table(struct metrics *metrics, enum request_kind job, const struct partition_row *rows,
                   size_t count);

/* Sets the operation of a job that has failed for a minute, and since when (wall clock); NULL:
 * none. The job fails as well if no broker has answered, or a right has been missing, for a minute
 * up to wall_ms: an idle job repeats no other operation. The job's Kafka thread. */
void metrics_failing(struct metrics *metrics, enum request_kind job, const char *text,
                     int64_t since_ms, int64_t wall_ms);

/* Copies that text of the job that has failed for longest. Returns whether there is one. HTTP
 * thread. */
bool metrics_copy_failing(struct metrics *metrics, char *out, size_t size);

/* Notes that a condition holds since then (wall clock). A time that was noted before stays. 0: the
 * condition does not hold. The job's Kafka thread. */
void metrics_condition(struct metrics *metrics, enum request_kind job, enum condition condition,
                       int64_t since_ms);

/* Sets why no broker answers a job (the job's Kafka thread), and copies that reason of the job that
 * has waited for longest (HTTP thread). */
void metrics_silence(struct metrics *metrics, enum request_kind job, const char *reason);
void metrics_copy_silence(struct metrics *metrics, char *out, size_t size);

/* Sets why its group refuses a job's join (NULL: it does not; the job's Kafka thread), and copies
 * that. Returns whether there is a reason (HTTP thread). */
void metrics_refusal(struct metrics *metrics, enum request_kind job, const char *reason);
bool metrics_copy_refusal(struct metrics *metrics, int job, char *out, size_t size);

/* Ends a step of the history when its time is over. Any Kafka thread calls it once a second. */
void metrics_sample(struct metrics *metrics, int64_t now_ms);

/* Copies the history's steps, oldest first, and the counters at the end of the last step. Returns
 * when that step ended (CLOCK_BOOTTIME). HTTP thread. */
int64_t metrics_copy_history(struct metrics *metrics, struct history_step steps[HISTORY_STEPS],
                             struct history_totals *totals);

/* Copies the tables, sorted, into an array of METRICS_TABLE. Returns the number of rows. HTTP
 * thread. */
size_t metrics_copy_table(struct metrics *metrics, struct partition_row *rows);

/* Offsets between base and end; -1: not known. */
int64_t metrics_lag(const struct partition_row *row);

/* Renders all metrics in Prometheus's text format 0.0.4. HTTP thread. */
void metrics_render(struct metrics *metrics, struct text *out);
