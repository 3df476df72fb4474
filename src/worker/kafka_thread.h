/* A job's Kafka thread: it passes the reports of Kafka (io/kafka) and of the call thread to the
 * job's engine (core/engine), and does what the engine says. The only decision of its own is when
 * to give up a stop. It runs on the thread that calls kafka_thread_run, and never waits for the
 * network. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/queue.h"
#include "core/config.h"
#include "worker/call_thread.h"
#include "worker/metrics.h"
#include "worker/stop.h"

struct kafka_thread;

/* Creates the job's clients and engine. config, files and metrics must outlive it. NULL on failure.
 */
struct kafka_thread *kafka_thread_new(const struct config *config, enum request_kind job,
                                      struct kafka_files *files, struct metrics *metrics,
                                      struct error *error);

/* The queue through which the call thread returns the job's requests. */
struct queue *kafka_thread_finished(struct kafka_thread *thread);

/* Wakes the loop. Any thread. */
void kafka_thread_wake(struct kafka_thread *thread);

/* Runs until stopped. Returns the exit status. */
int kafka_thread_run(struct kafka_thread *thread, struct call_thread *calls,
                     const struct stop *stop);

/* Whether the thread ended because another process has the same instance.id. */
bool kafka_thread_has_duplicate(const struct kafka_thread *thread);

/* Whether the thread ended without an answer of Kafka, or because a Kafka client failed for good.
 * Closing the clients may then take long or never return. */
bool kafka_thread_gave_up(const struct kafka_thread *thread);

/* Releases the thread and the requests that have come back. The call thread must have been freed
 * before. thread may be NULL.
 * false: as kafka_free. */
bool kafka_thread_free(struct kafka_thread *thread);

/* Its run has ended; before the first kafka_thread_free of several. thread may be NULL. */
void kafka_thread_stop(struct kafka_thread *thread);
