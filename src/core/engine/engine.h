// clang-format off
/* The engine: the whole protocol between Kafka and the calls, as a state machine without I/O, clock
 * or thread. One caller (the Kafka thread, or a simulation) tells it what happened and asks
 * engine_next what to do until that says ENGINE_NOTHING. The protocol is modelled in
 * tests/model/ledger.m; comments name its rules in quotes.
 *
 * Times are CLOCK_BOOTTIME milliseconds (now) and wall clock milliseconds (wall). Requests given to
 * engine_record are the engine's; those in ENGINE_START are lent until engine_call_ended gives them
 * back.
 *
 *   partition:   arriving ──▶ active ──▶ draining ──▶ releasing ──▶ gone
 *                (lost while active: lost, until it is handed over or that is refused, then away, until it comes back or
 *                does not; else gone at once; its state not to be trusted: halted)
 *   producer:    starting ──▶ idle ──▶ in a tick ──▶ idle
 *                (outcome unknown: renewing ──▶ reading back ──▶ idle)
 *   ledger job:  none ──▶ reading | ending an owner | committing ──▶ none    (one at a time)
 *   request:     see enum request_state; every state but waiting and handed is a list */
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
    enum request_kind kind; /* of all its requests: each job has an engine of its own */
    const char *owner;      /* instance.id */
    int64_t lease_ms;       /* half the session timeout */
    int64_t doubt_ms;       /* platform.timeout.ms: how long a call in doubt may still be running */
    int64_t drain_ms;       /* drain.timeout.ms */
    struct overdue_limits overdue;
    int64_t window, window_bytes; /* unfinished requests held for one partition */
    int64_t memory_bytes;         /* ... for all partitions together; 0: no bound */
    int64_t record_bytes;         /* of the largest valid request */
    int64_t slots;                /* platform.max.in.flight, or dispatch_recordings */
    int64_t turn;                 /* requests of one partition that start in a row; 0: see turn.c */
    int64_t ledger_max;           /* characters of a ledger; 0: LEDGER_MAX */
    size_t doubts;                /* of order ids that a ledger names; 0: LEDGER_DOUBTS */
};

/* A record to publish, in this order. */
enum engine_item_type { ITEM_RESULT, ITEM_INVALID, ITEM_LATE, ITEM_GONE };
struct engine_item {
    enum engine_item_type type;
    const struct request *request;
    bool small, keyed;
};

enum engine_action_type {
    ENGINE_NOTHING,
    ENGINE_TRANSACT,       /* items and ledgers in one transaction; answer: engine_transacted */
    ENGINE_RENEW_PRODUCER, /* answer: engine_producer_ready */
    ENGINE_READ,           /* read places' ledgers; stable: wait for open transactions. Answer:
                              engine_ledgers_read */
    ENGINE_END_OWNER,      /* end what `owner` has open; answer: engine_owner_ended */
    ENGINE_COMMIT,         /* plainly commit ledgers; answer: engine_committed */
    ENGINE_ASSIGN,         /* rebalance, places */
    ENGINE_UNASSIGN,       /* rebalance */
    ENGINE_START,          /* hand request to the calling side */
    ENGINE_RECALL,         /* ask for unsent requests of partition, or of all, back */
    ENGINE_LEAVE,          /* all is drained and released after engine_stop: leave the group */
    ENGINE_FAIL,           /* two processes share the instance.id: end with 1 */
};

enum { ENGINE_ALL = -1 }; /* partitions */

/* What to do. Pointers stay valid until the job's answer (TRANSACT, COMMIT, READ, END_OWNER) or the
 * next call of engine_next. */
struct engine_action {
    enum engine_action_type type;
    const struct engine_item *items;
    size_t item_count;
    const struct stored_ledger *ledgers;
    size_t ledger_count;
    const struct record_position *places;
    size_t place_count;
    bool stable;
    const char *owner;
    uint64_t rebalance;
    struct request *request;
    int32_t partition;
};

struct engine;

struct engine *engine_new(const struct engine_options *options);

/* Releases all but the requests that are lent. */
void engine_free(struct engine *engine);

/* The next thing to do now. */
enum engine_action_type engine_next(struct engine *engine, int64_t now, int64_t wall,
                                    struct engine_action *action);

/* When engine_next may have something to do though nothing happens: a time, INT64_MAX for never. */
int64_t engine_wake_time(const struct engine *engine);

/* The group. What is lost is handed over, if the broker takes that still: nothing new is started,
 * what is outstanding ends and is told (for drain_ms from the broker's first answer on). Handed
 * over or not, it is remembered until the next assignment: if it comes back with a ledger that is
 * still as this process committed it last, it goes on from memory. */
void engine_assigned(struct engine *engine, uint64_t rebalance,
                     const struct record_position *places, size_t count, int64_t now);
void engine_revoked(struct engine *engine, uint64_t rebalance, enum revocation parting,
                    const struct record_position *places, size_t count, int64_t now);

/* The partition's log is not the one that was read: once lost, it is not gone on with from memory,
 * whatever its ledger says. */
void engine_log_changed(struct engine *engine, int32_t partition);

/* What the broker says of the job whose end is told next, for halt_reason; copied. size: it is
 * about the size of what was sent. */
void engine_broker_says(struct engine *engine, const char *words, bool size);

/* Ends of jobs. refused: one an item, with TXN_REFUSED; else NULL. */
void engine_producer_ready(struct engine *engine, int64_t now);
void engine_transacted(struct engine *engine, enum txn_outcome outcome,
                       const enum record_refusal *refused, int64_t now);
void engine_ledgers_read(struct engine *engine, enum group_answer answer,
                         const struct stored_ledger *ledgers, size_t count, int64_t now);
void engine_owner_ended(struct engine *engine, enum group_answer answer, int64_t now);
void engine_committed(struct engine *engine, enum group_answer answer, int64_t now);

/* How many records of a partition it takes now; 0: stop fetching. */
size_t engine_wants(const struct engine *engine, int32_t partition);

/* Whether a record at that offset is news (and not finished already, or delivered twice). Only then
 * is it worth parsing and giving. */
bool engine_is_news(const struct engine *engine, int32_t partition, int64_t offset);

/* Whether nothing was committed of it when it was taken over, and yet records stood in it. O(1). */
bool engine_is_older_than_group(const struct engine *engine, int32_t partition);

/* A record arrived, its event parsed. Offsets rise; what they leave out is no record. */
void engine_record(struct engine *engine, struct request *request, int64_t now, int64_t wall);

/* The end of a partition: the next record will have this offset or a higher one. An end below what
 * is committed is another log's: then the partition is halted. */
void engine_end(struct engine *engine, int32_t partition, int64_t offset, int64_t now,
                int64_t wall);

/* A lent request is back (request->call.end says how). */
void engine_call_ended(struct engine *engine, struct request *request, int64_t now);

/* A request that is lent still, though its partition was handed over (its drain was over) or lost:
 * each once, before it is back; NULL: none. */
const struct request *engine_take_orphan(struct engine *engine);

/* How many requests may be outstanding from now on (the circuit breaker's word). */
void engine_allow(struct engine *engine, int64_t most);

/* The process stood still (SIGSTOP, a paused machine): being fenced after that is no sign of a
 * twin. */
void engine_frozen(struct engine *engine, int64_t now);

/* After ENGINE_FAIL: goes on with a new producer all the same, which fences the twin if there is
 * one still. */
void engine_pardon(struct engine *engine);

/* No new starts; drains, releases, then ENGINE_LEAVE. What is lost, and has calls started, is
 * waited for until drains are over: if it comes back, it is claimed to tell of them, and released.
 */
void engine_stop(struct engine *engine, int64_t now);

/* The stop is given up: all partitions are forgotten, and what is lent becomes an orphan. */
void engine_give_up(struct engine *engine);

/* For logs, metrics and checks. */
struct engine_partition_view {
    int32_t partition;
    bool away; /* lost: being handed over, or remembered until the next assignment */
    bool active, halted, draining;
    bool needs_repair;       /* halted until a person has mended its committed state */
    bool unclaimed;          /* halted, as the broker refuses its claim */
    const char *halt_reason; /* why; NULL: it is not halted */
    int64_t refused;    /* -1, or the first request whose result or dead letter the broker refuses
                           in every form */
    int64_t base, next; /* next: behind the last record seen */
    size_t ready_lanes, unfinished, unfinished_bytes, started, ledger_size;
    int64_t oldest_ms;     /* the oldest unfinished record's timestamp; -1: none, or not known */
    size_t resting_lanes;  /* order ids whose next request may start at a time that is not yet */
    bool older_than_group; /* nothing was committed, and yet records stood in it */
};
struct engine_view {
    size_t partitions, handed, started, waiting_lanes, ready_lanes, late, bytes;
    uint64_t transactions, aborted, unknown, fenced, recovered, resumed;
    bool producer_ready, stopping;
};
void engine_look(const struct engine *engine, struct engine_view *view);
/* The i-th partition; false when there are no more. */
bool engine_look_partition(const struct engine *engine, size_t i,
                           struct engine_partition_view *view);

/* Counts and walks anew what is kept in counters and lists, and writes the ledgers from all that is
 * held: returns what contradicts that, NULL for nothing. For tests. O(all that is held). */
const char *engine_contradiction(const struct engine *engine);

/* What is left to be published: results, late outcomes, and what calls under way will bring. */
size_t engine_count_unpublished(const struct engine *engine);

/* The late outcome behind `last` (NULL: the first) of those that the dead letters have not taken;
 * NULL: no more. */
const struct request *engine_next_late(const struct engine *engine, const struct request *last);
