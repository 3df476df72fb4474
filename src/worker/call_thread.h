/* The call thread: a libuv loop that carries out tries (worker/exchange) and decides by
 * core/dispatch what to send when. The Kafka threads, one for each job, share it, and talk to it
 * through messages only: in: requests to call (struct request), recalls; out: requests that ended
 * (request->call.end says how), changes of the allowance. A request belongs to the call thread from
 * call_thread_start until it comes back through its job's `finished` queue, always exactly once. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/queue.h"
#include "core/config.h"
#include "core/request.h"
#include "worker/histogram.h"

/* Out: how many calls may be outstanding from now on (core/dispatch). 0 while the circuit breaker
 * is open, 1 for its trial call, otherwise platform.max.in.flight. type is MESSAGE_ALLOWANCE; the
 * taker frees it. */
struct allowance_message {
    struct message message;
    int64_t calls;
};

/* What it counts, from its start on; any thread reads them, relaxed. */
struct call_counters {
    _Atomic uint64_t tries;                          /* posts that began */
    _Atomic uint64_t ended[REQUEST_KINDS][STATUSES]; /* requests that came back finished */
    _Atomic uint64_t retries;                        /* came back as CALL_NOT_SENT */
    _Atomic uint64_t returned;                       /* came back as CALL_RETURNED */
    _Atomic uint64_t rate_waits;                     /* turns that held a call back for the rate */
    _Atomic uint64_t in_flight;
    _Atomic uint64_t breaker;           /* enum breaker_state */
    _Atomic uint64_t files, file_bytes; /* kept in recording.store */
    _Atomic uint64_t copy_failures;     /* tries whose file could not be kept */
    _Atomic uint64_t reloads;           /* token or certificates read anew, and used */
    _Atomic uint64_t reload_failures;   /* those that could not be used */
    _Atomic uint64_t rereads;           /* calls of call_thread_reread that are done, well or not */
    struct histogram latency[REQUEST_KINDS]; /* of the tries */
    _Atomic bool clock_known;                /* an answer has said what time it is there */
    _Atomic int64_t clock_offset_ms; /* how far this machine's clock is ahead of the platform's */
};

/* Why all calls are paused (the circuit breaker). */
struct call_pause {
    int64_t since_ms; /* wall clock; 0: they are not */
    int64_t until_ms; /* CLOCK_BOOTTIME of the next trial call; 0: it is under way */
    char reason[320]; /* the failure that was last, for people */
};

struct call_thread;
struct kafka_files;

/* Starts the thread. kafka: files to look at (NULL: none). finished: each job's queue, NULL for one
 * that is off; they (whose wakes wake the takers), kafka and config must outlive it. NULL on
 * failure. */
struct call_thread *call_thread_new(const struct config *config, struct kafka_files *kafka,
                                    struct queue *const finished[REQUEST_KINDS],
                                    struct error *error);

/* Hands a request over. Calls: only when its `started` is committed, with call.lease_until_ms set.
 * Its job's Kafka thread. */
void call_thread_start(struct call_thread *thread, struct request *request);

/* Asks for the requests of a partition that have not been sent: they come back as CALL_RETURNED
 * (what is on the wire comes back when it ends). partition DISPATCH_ALL: of all partitions of the
 * kind, and from then on nothing of it is sent any more (a stop). That job's Kafka thread. */
void call_thread_recall(struct call_thread *thread, enum request_kind kind, int32_t partition);

/* Asks for the files of secrets and certificates to be read again (they are too when they change).
 * Any thread. */
void call_thread_reread(struct call_thread *thread);

/* Ends the thread, when no Kafka thread turns any more; calls still on the wire are cut off. Every
 * request that has not come back is pushed to `finished` first: what may have been sent as
 * CALL_FINISHED with status unknown, the others as CALL_RETURNED. false: the file system of
 * recording.store hangs, a thread with it, and nothing was released: the process can only _exit. */
bool call_thread_free(struct call_thread *thread);

/* Milliseconds (CLOCK_BOOTTIME) at which its loop last turned; any thread. */
int64_t call_thread_last_turn_ms(const struct call_thread *thread);

/* Whether and why calls are paused. Any thread. */
void call_thread_copy_pause(struct call_thread *thread, struct call_pause *out);

/* Its counters; valid as long as the thread. Any thread. */
const struct call_counters *call_thread_counters(const struct call_thread *thread);
