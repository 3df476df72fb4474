// clang-format off
/* The engine: the whole protocol between Kafka and the calls, as a state machine without I/O, clock
 * or thread. One caller (the Kafka thread, or a simulation) reports events to it, and asks
 * engine_next what to do until the answer is ENGINE_NOTHING. The protocol is modelled in
 * tests/model/ledger.m; comments name the model's rules in quotes.
 *
 * Times are CLOCK_BOOTTIME milliseconds (now) and wall clock milliseconds (wall). The engine owns
 * requests that are passed to engine_record; it lends those of ENGINE_START until
 * engine_call_ended.
 *
 *   partition:   arriving ──▶ active ──▶ draining ──▶ releasing ──▶ gone
 *                (after a loss: lost or suspended, then arriving again or gone; if its state
 *                cannot be trusted: halted. docs/architecture.md has all transitions)
 *   producer:    starting ──▶ idle ──▶ in a transaction ──▶ idle
 *                (outcome unknown: renewing ──▶ reading back ──▶ idle)
 *   group:       none ──▶ reading | ending an owner | committing ──▶ none    (one at a time)
 *   request:     see enum request_state */
// clang-format on
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ledger.h"
#include "core/overdue.h"
#include "core/request.h"
#include "core/txn.h"

struct engine_options {
    enum request_kind kind; /* kind of all its requests: each job has its own engine */
    const char *owner;      /* instance.id */
    int64_t lease_ms;       /* half the session timeout */
    int64_t doubt_ms;       /* platform.timeout.ms: how long a call in doubt may still be running */
    int64_t drain_ms;       /* drain.timeout.ms */
    struct overdue_limits overdue;
    int64_t window, window_bytes; /* limits of the unfinished requests of one partition */
    int64_t memory_bytes;         /* limit for all partitions together; 0: none */
    int64_t record_bytes;         /* size of the largest valid request */
    int64_t slots;                /* platform.max.in.flight, or dispatch_recordings */
    int64_t turn;       /* requests of one partition that start one after another; 0: see turn.c */
    int64_t ledger_max; /* characters of a ledger; 0: LEDGER_MAX */
    size_t doubts;      /* limit of order ids that a ledger names; 0: LEDGER_DOUBTS */
};

/* A record of a transaction: a result, or one of three dead letters (of a request that breaks a
 * rule, with the late outcome of a call whose partition has gone, of a started request whose record
 * was deleted). Records are written in the order of the list. */
enum engine_item_type { ITEM_RESULT, ITEM_INVALID, ITEM_LATE, ITEM_GONE };
struct engine_item {
    enum engine_item_type type;
    const struct request *request;
    bool reduced, keyed;
};

enum engine_action_type {
    ENGINE_NOTHING,
    ENGINE_TRANSACT,       /* items and ledgers in one transaction; answer: engine_transacted */
    ENGINE_RENEW_PRODUCER, /* answer: engine_producer_ready */
    ENGINE_READ, /* read the ledgers of `positions`; stable: wait for open transactions. Answer:
                    engine_ledgers_read */
    ENGINE_END_OWNER, /* end the open transaction of `owner`; answer: engine_owner_ended */
    ENGINE_COMMIT,    /* commit ledgers outside of a transaction; answer: engine_committed */
    ENGINE_ASSIGN,    /* answer that assignment: read each of `positions` from its offset on */
    ENGINE_UNASSIGN,  /* answer that revocation: give the partitions back */
    ENGINE_START,     /* hand the request to the call thread */
    ENGINE_RECALL,    /* recall the unsent requests of the partition, or of all */
    ENGINE_LEAVE,     /* after engine_stop everything is drained and released: leave the group */
    ENGINE_FAIL,      /* another process has the same instance.id: end with 1 */
};

enum { ENGINE_ALL = -1 }; /* partitions */

/* What to do. Pointers are valid until the answer (TRANSACT, COMMIT, READ, END_OWNER) or the next
 * call of engine_next. */
struct engine_action {
    enum engine_action_type type;
    const struct engine_item *items;
    size_t item_count;
    const struct stored_ledger *ledgers;
    size_t ledger_count;
    const struct record_position *positions;
    size_t position_count;
    bool stable;
    const char *owner;
    uint64_t rebalance;
    struct request *request;
    int32_t partition;
};

struct engine;

struct engine *engine_new(const struct engine_options *options);

/* Releases everything except the lent requests. */
void engine_free(struct engine *engine);

/* Returns the next thing to do. */
enum engine_action_type engine_next(struct engine *engine, int64_t now, int64_t wall,
                                    struct engine_action *action);

/* When engine_next has to be called without an event; INT64_MAX: never. */
int64_t engine_wake_time(const struct engine *engine);

/* Events of the group. A lost partition is handed over if the broker still accepts that: nothing
 * new is started, and outstanding requests may end and are published (for drain_ms from the
 * broker's first answer on). An overtaken one is not handed over, and is forgotten if it was
 * draining. Otherwise the state of both is kept in memory until the next assignment. If the
 * partition comes back with the ledger that this process committed last, it goes on from memory. */
void engine_assigned(struct engine *engine, uint64_t rebalance,
                     const struct record_position *positions, size_t count, int64_t now);
void engine_revoked(struct engine *engine, uint64_t rebalance, enum revocation how,
                    const struct record_position *positions, size_t count, int64_t now);

/* The partition's log is not the one that was read: when it is lost, it never goes on from memory,
 * whatever its ledger says. */
void engine_log_changed(struct engine *engine, int32_t partition);

/* The broker's error about the operation whose end is reported next, for halt_reason; copied. size:
 * it refused the size. */
void engine_broker_says(struct engine *engine, const char *words, bool size);

/* Ends of operations. refused: with TXN_REFUSED one element per item; otherwise NULL. */
void engine_producer_ready(struct engine *engine, int64_t now);
void engine_transacted(struct engine *engine, enum txn_outcome outcome,
                       const enum record_refusal *refused, int64_t now);
void engine_ledgers_read(struct engine *engine, enum group_answer answer,
                         const struct stored_ledger *ledgers, size_t count, int64_t now);
void engine_owner_ended(struct engine *engine, enum group_answer answer, int64_t now);
void engine_committed(struct engine *engine, enum group_answer answer, int64_t now);

/* How many records of a partition the engine accepts now; 0: stop fetching. */
size_t engine_wants(const struct engine *engine, int32_t partition);

/* Whether a record at that offset is new: not finished, and not delivered before. Only new records
 * have to be parsed and passed to engine_record. */
bool engine_is_news(const struct engine *engine, int32_t partition, int64_t offset);

/* The end of the marks in the ledger with which the partition was taken over; 0: it is not active.
 * Each offset below has been in the log. O(1). */
int64_t engine_ledger_end(const struct engine *engine, int32_t partition);

/* Whether that ledger tells that the offset, from `next` on, is done. O(runs). */
bool engine_is_done(const struct engine *engine, int32_t partition, int64_t offset);

/* The log is proved to be another one than that of the ledger: halts the active partition. Takes
 * over the reason (heap). */
void engine_log_is_other(struct engine *engine, int32_t partition, char *reason, int64_t now);

/* Whether the partition had records but no committed offset when it was taken over. O(1). */
bool engine_is_older_than_group(const struct engine *engine, int32_t partition);

/* A record has arrived; its event is parsed. Offsets rise; skipped offsets are not records. */
void engine_record(struct engine *engine, struct request *request, int64_t now, int64_t wall);

/* The end of a partition: the next record will have this offset or a higher one. An end below the
 * committed offset belongs to another log, and halts the partition. */
void engine_end(struct engine *engine, int32_t partition, int64_t offset, int64_t now,
                int64_t wall);

/* A lent request has come back (request->call.end says how). */
void engine_call_ended(struct engine *engine, struct request *request, int64_t now);

/* Returns a request that is still lent although its partition was handed over after the drain, or
 * lost: each once, before it comes back; NULL: none. */
const struct request *engine_take_orphan(struct engine *engine);

/* Sets how many requests may be outstanding from now on (by the circuit breaker). */
void engine_set_call_limit(struct engine *engine, int64_t most);

/* The process stood still (SIGSTOP, a paused machine): a fence after that is no sign of another
 * process with the same instance.id. */
void engine_frozen(struct engine *engine, int64_t now);

/* After ENGINE_FAIL: goes on with a new producer all the same, which fences the other process if it
 * still exists. */
void engine_ignore_duplicate(struct engine *engine);

/* Stops: no new starts, then drains and releases, then ENGINE_LEAVE. Until drains are over, the
 * engine waits for lost partitions with started calls: one that comes back is claimed, to publish
 * their results, and released. */
void engine_stop(struct engine *engine, int64_t now);

/* Gives up the stop: all partitions are forgotten, and lent requests become orphans. */
void engine_give_up(struct engine *engine);

/* For logs, metrics and checks. */
struct engine_partition_stats {
    int32_t partition;
    bool lost; /* being handed over, or kept in memory until the next assignment */
    bool active, halted, draining;
    bool needs_repair;       /* halted until a person has repaired its committed state */
    bool unclaimed;          /* halted, because the broker refuses its claim */
    const char *halt_reason; /* why it is halted; NULL: it is not */
    int64_t refused;    /* the first request whose result or dead letter the broker refuses in every
                           form; -1: none */
    int64_t base, next; /* next: after the last record seen */
    size_t ready_lanes, unfinished, unfinished_bytes, started, ledger_size;
    size_t handed, ended;  /* of those started: at the call thread; not in a transaction yet */
    int64_t oldest_ms;     /* the oldest unfinished record's timestamp; -1: none, or not known */
    size_t delayed_lanes;  /* order ids in back-off */
    bool older_than_group; /* had records but no committed offset */
};
/* Requests of a partition. */
struct engine_range {
    size_t count;
    int64_t first, last; /* offsets */
};
struct engine_stats {
    size_t partitions, handed, started, waiting_lanes, ready_lanes, bytes;
    size_t late; /* late outcomes that are not in the dead letters yet */
    uint64_t transactions, aborted, unknown, fenced, recovered, resumed;
    bool stopping;
};
void engine_get_stats(const struct engine *engine, struct engine_stats *view);
/* Fills in the i-th partition; false: there is no such partition. */
bool engine_get_partition_stats(const struct engine *engine, size_t i,
                                struct engine_partition_stats *view);

/* The requests of the partition that the engine knows and that are not performed yet: of calls,
 * those that are not with the call thread. false: there are none. O(requests). */
bool engine_get_unbegun(const struct engine *engine, int32_t partition, struct engine_range *range);

/* The requests that the last takeover of the partition found started: they become `unknown`. Each
 * takeover is told once; false: none, or it was told. */
bool engine_take_inherited(const struct engine *engine, int32_t partition,
                           struct engine_range *range);

/* Recounts the counters and lists, and rebuilds the ledgers from all requests. Returns a
 * contradiction; NULL: none. For tests. O(all requests). */
const char *engine_contradiction(const struct engine *engine);

/* The number of results and late outcomes to be published, including those of outstanding calls. */
size_t engine_count_unpublished(const struct engine *engine);

/* The next late outcome after `last` (NULL: the first) that is not in the dead letters yet; NULL:
 * no more. */
const struct request *engine_next_late(const struct engine *engine, const struct request *last);
