/* The state of a job's Kafka thread, and what the files about it share; private to them:
 * kafka_thread.c (the loop and the stop), kafka_reports.c (what Kafka reports), kafka_actions.c
 * (what the engine says), halted_log.c (log lines about halted partitions), gone_log.c
 * (about requests whose log is gone), job_view.c (what the
 * page and the metrics show). Kafka thread, unless a function says otherwise. */
#pragma once

#include <stdatomic.h>

#include "core/engine/engine.h"
#include "core/event.h"
#include "core/watchdog.h"
#include "io/kafka.h"
#include "worker/kafka_thread.h"
#include "worker/publish.h"
#include "worker/trouble.h"

enum {
    TROUBLE_INTERVAL_MS = 60000, /* how often the same trouble of a partition is logged */
};

/* Why a partition is halted. */
enum hold { HOLD_REPAIR, HOLD_READING, HOLD_WRITING, HOLDS };

struct claim {
    int64_t at, pause; /* when the claim is repeated; 0: it was not refused */
};

/* What is remembered of a partition: how it was last shown, and what the log has said of it. */
struct partition_notes {
    struct watch watch;
    const char *state; /* NULL: never */
    int64_t since_ms;  /* wall clock: since when in that state */
    uint64_t round;    /* when that was */
    bool stuck;
    int64_t unread_from, unread_since; /* with lag and room for more: since when it stands there */
    bool older, older_due;   /* records older than the group were found; that is to be logged */
    bool made_again;         /* its log is another one, which is logged with its first request */
    int64_t told_at[HOLDS];  /* when the log last reported that it is halted; 0: never */
    uint64_t told_of[HOLDS]; /* and the hash of the reason */
    bool log_is_short; /* its log ended below what the ledger tells of, since it was assigned: */
    int64_t short_end, short_wall; /* where, and when that was found */
    struct passed passed;
    uint64_t passed_told; /* how many of these the log has told, and when */
    int64_t passed_told_at;
    struct claim claim;
    bool gone_told;    /* so were the requests whose log is gone */
    int64_t halted_at; /* the committed offset with which it was halted when that was read; -1: it
                          was not */
};

struct kafka_thread {
    const struct config *config;
    enum request_kind job;
    struct kafka *kafka;
    struct engine *engine;
    struct call_thread *calls;
    struct metrics *metrics;
    struct queue finished;
    struct publish publish;
    struct event_rules rules;
    int64_t now, wall;
    int64_t transaction_us;      /* when the running transaction began */
    uint64_t transactions;       /* committed ones, as last counted */
    uint64_t rebalance;          /* as last counted */
    int64_t table_at;            /* when the metrics' table is due */
    struct partition_row *table; /* buffer of the next table */
    int64_t turned_at;           /* time of the loop's last iteration */
    int64_t renewing_since;      /* 0: the producer is ready */
    int64_t asked_since;         /* when the read, takeover or commit that runs began; 0: none */
    enum trouble_kind asked;     /* as which trouble it counts if it does not end */
    int64_t outside_since;       /* without excused time; 0: in the group, or not to be in it yet */
    int64_t outside_seen, outside_excused;
    int64_t stop_until;     /* 0: no stop yet */
    atomic_bool committing; /* a transaction is running: requests that end wait for its end */
    int64_t waits_until, ignored_at; /* of recordings, see do_fail; 0: never */
    struct troubles troubles;
    struct partition_notes *notes; /* by partition number */
    size_t notes_count;
    uint64_t round;      /* how often partitions were shown */
    bool older_due;      /* some partition has it */
    int64_t stuck_at;    /* when stuck partitions were last logged */
    uint64_t rate_waits; /* as last seen */
    int64_t full_at;     /* when all slots were last taken; 0: never */
    bool said_lasting;   /* the broker's error about the operation that ends next does not pass by
                            itself */
    bool shut_out;       /* it counts as outside, though it has neither lost nor given back all */
    bool losing;         /* lost partitions are being handed over */
    size_t lost;         /* how many, when they were lost */
    bool leaving, done, gave_up, has_duplicate;
    int status;
};

/* What is remembered of a partition. Valid until the next call. */
struct partition_notes *notes_of(struct kafka_thread *thread, int32_t partition);

/* Takes the present time. */
void read_clocks(struct kafka_thread *thread);

/* The job's topic of requests, and its group. */
const char *topic_of(const struct kafka_thread *thread);
const char *group_of(const struct kafka_thread *thread);

/* Slots that the job may fill. The call thread distributes them. */
int64_t slots_of(const struct config *config, enum request_kind job);

/* kafka_reports.c: what Kafka reports, and the records that are read. The argument is the thread.
 */
extern const struct kafka_handler kafka_reports_handler;
extern const struct kafka_record_sink kafka_reports_records;

/* kafka_reports.c: logs partitions without a committed offset that have requests. */
void older_log(struct kafka_thread *thread);

/* kafka_actions.c: does all that the engine says at present. */
void kafka_actions_carry_out(struct kafka_thread *thread);

/* kafka_actions.c: counts lost partitions that are kept in memory, and their started requests. */
size_t kafka_actions_count_lost(const struct kafka_thread *thread, size_t *started);

/* kafka_actions.c: repeats claims that the broker refused, when their time has come. */
void kafka_actions_retry_claims(struct kafka_thread *thread);

/* halted_log.c: logs partitions that are halted, and why: each at once, then once a minute. */
void halted_log(struct kafka_thread *thread);

/* gone_log.c: logs requests that were read and not begun: of lost partitions whose topic is gone
 * (once a second), and of partitions whose log is another one (before the engine forgets them). */
void gone_log(struct kafka_thread *thread);
void gone_log_changed(struct kafka_thread *thread, const struct record_position *list,
                      size_t count);

/* job_view.c: shows that the loop runs, and what keeps it from its work. Each iteration. */
void job_view_turned(struct kafka_thread *thread);

/* job_view.c: renews what other threads see of this job, and logs partitions in which nothing
 * happens. */
void job_view_renew(struct kafka_thread *thread);
