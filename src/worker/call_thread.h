/* The call thread: a libuv loop that calls the platform, for phone calls and for recordings alike:
 * it performs their tries (worker/exchange); core/dispatch decides what to send when. The Kafka
 * threads, one per job, share the call thread and use messages only. In: requests to call (struct
 * request), recalls. Out: requests that ended (request->call.end says how), changes of the limit of
 * calls. A request belongs to the call thread from call_thread_start until it comes back through
 * its job's `finished` queue, always exactly once. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/queue.h"
#include "core/config.h"
#include "core/request.h"
#include "worker/histogram.h"

/* Out, to each job: how many of its requests may be outstanding from now on
 * (dispatch_take_limit_change; the job passes it to engine_set_call_limit): 0 while the circuit
 * breaker is open, 1 for its trial call, otherwise platform.max.in.flight, or less for the rate
 * limit. type is MESSAGE_LIMIT. The receiver frees the message. */
struct limit_message {
    struct message message;
    int64_t calls;
};

/* The call thread's counters since its start. Any thread reads them, relaxed. */
struct call_counters {
    _Atomic uint64_t tries;                          /* posts that began */
    _Atomic uint64_t ended[REQUEST_KINDS][STATUSES]; /* requests that came back finished */
    _Atomic uint64_t retries;    /* posts that were not the first of their request */
    _Atomic uint64_t returned;   /* came back as CALL_RETURNED */
    _Atomic uint64_t rate_waits; /* times that the rate limit delayed the next call */
    _Atomic bool rate_limited;   /* it delays one now */
    _Atomic uint64_t in_flight;
    _Atomic uint64_t breaker;           /* enum breaker_state */
    _Atomic uint64_t failures;          /* that the closed breaker counts, one after another */
    _Atomic uint64_t files, file_bytes; /* kept in recording.store */
    _Atomic uint64_t copy_failures;     /* tries whose file could not be kept */
    _Atomic uint64_t reloads;           /* token or certificates read again, and in use */
    _Atomic uint64_t reload_failures;   /* those that could not be used */
    _Atomic uint64_t
        rereads; /* calls of call_thread_reread that are done, with or without success */
    struct histogram latency[REQUEST_KINDS]; /* of the tries */
    _Atomic bool clock_known;                /* an answer has told the platform's time */
    _Atomic int64_t clock_offset_ms; /* how far this machine's clock is ahead of the platform's */
};

/* Why all calls are paused (the circuit breaker). */
struct call_pause {
    int64_t since_ms; /* wall clock; 0: calls are not paused */
    int64_t until_ms; /* CLOCK_BOOTTIME of the next trial call; 0: the trial call is in flight */
    char reason[320]; /* the last failure, also while calls go on; empty: none */
};

struct call_thread;
struct kafka_files;

/* Starts the thread. kafka: Kafka's files to check for changes (NULL: none). finished: each job's
 * queue, whose `wake` wakes the job's Kafka thread; NULL for a job that is off. The queues, kafka
 * and config must outlive the thread. NULL on failure. */
struct call_thread *call_thread_new(const struct config *config, struct kafka_files *kafka,
                                    struct queue *const finished[REQUEST_KINDS],
                                    struct error *error);

/* Hands a request over. A call must be committed as `started` first, and have call.lease_until_ms
 * set. The job's Kafka thread. */
void call_thread_start(struct call_thread *thread, struct request *request);

/* Recalls the requests of a partition that have not been sent: they come back as CALL_RETURNED. A
 * request in flight comes back when it ends. partition DISPATCH_ALL: all partitions of the kind,
 * and nothing of that kind is sent any more (a stop). The job's Kafka thread. */
void call_thread_recall(struct call_thread *thread, enum request_kind kind, int32_t partition);

/* Reads the files of secrets and certificates again, as also happens when they change. Any
 * thread. */
void call_thread_reread(struct call_thread *thread);

/* Ends the thread, after all Kafka threads have ended. Calls that are still in flight are cut off.
 * Every request that has not come back is first pushed to `finished`: as CALL_FINISHED with status
 * unknown if it may have been sent, otherwise as CALL_RETURNED. Returns false if the file system of
 * recording.store hangs and a thread hangs in it: nothing was released, and the process can only
 * _exit. */
bool call_thread_free(struct call_thread *thread);

/* When the loop last began an iteration (CLOCK_BOOTTIME in ms). Any thread. */
int64_t call_thread_last_turn_ms(const struct call_thread *thread);

/* Copies whether and why calls are paused. Any thread. */
void call_thread_copy_pause(struct call_thread *thread, struct call_pause *out);

/* The counters, valid as long as the thread. Any thread. */
const struct call_counters *call_thread_counters(const struct call_thread *thread);
