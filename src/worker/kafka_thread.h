/* A job's Kafka thread: drives the job's engine (core/engine) with what Kafka (io/kafka) and the
 * call thread report, and carries out what it says. It decides nothing itself but when to give up a
 * stop. It runs on the thread that calls kafka_thread_run and never waits for the network. */
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

/* Where the call thread returns the job's requests. */
struct queue *kafka_thread_finished(struct kafka_thread *thread);

/* Ends a wait of the loop. Any thread. */
void kafka_thread_wake(struct kafka_thread *thread);

/* Runs until stopped. Returns the exit status. */
int kafka_thread_run(struct kafka_thread *thread, struct call_thread *calls,
                     const struct stop *stop);

/* Whether it ended as another process has its instance.id. */
bool kafka_thread_has_twin(const struct kafka_thread *thread);

/* Whether it ended without Kafka's answer, or as a client of Kafka failed for good: ending the
 * clients may then take long, or for ever. */
bool kafka_thread_gave_up(const struct kafka_thread *thread);

/* Releases it with what has come back. The call thread has been freed. NULL is fine. */
void kafka_thread_free(struct kafka_thread *thread);
