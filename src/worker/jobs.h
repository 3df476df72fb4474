/* The jobs that are switched on, calls and recordings: each is a consumer group of its own, with a
 * Kafka thread (engine, consumer, producer), so that each topic is spread evenly over the workers;
 * all share one call thread, which has the slots. When one fails, the others are stopped in order.
 * Main thread, but for jobs_wake. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/config.h"
#include "worker/metrics.h"
#include "worker/stop.h"

struct jobs;

/* Creates the Kafka threads and the call thread, whose counters metrics then tells of. config and
 * metrics must outlive it. NULL on failure. */
struct jobs *jobs_new(const struct config *config, struct metrics *metrics, struct error *error);

/* Ends a wait of all their loops. Any thread. Its argument is the struct jobs. */
void jobs_wake(void *jobs);

/* Asks for the files of secrets and certificates to be read again. Any thread. Its argument is the
 * struct jobs. */
void jobs_reread(void *jobs);

/* Runs until all are stopped. Returns the exit status, or -1 when a thread cannot be started. */
int jobs_run(struct jobs *jobs, struct stop *stop, struct error *error);

/* Whether it ended without Kafka's answer, or as a client of Kafka failed for good: ending the
 * clients may then take long, or for ever. */
bool jobs_gave_up(const struct jobs *jobs);

/* false: what hangs was not released (call_thread_free), and the process can only _exit. */
bool jobs_free(struct jobs *jobs);
