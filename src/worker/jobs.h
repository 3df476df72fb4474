/* The jobs that are switched on, calls and recordings. Each job is a consumer group of its own,
 * with a Kafka thread (engine, consumer, producer), so that each topic is spread evenly over the
 * workers. All jobs share one call thread, which has the slots. When one job fails, the others are
 * stopped in order. Main thread, except jobs_wake and jobs_reread. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/config.h"
#include "worker/metrics.h"
#include "worker/stop.h"

struct jobs;

/* Creates the Kafka threads and the call thread, and gives metrics the call thread's counters.
 * config and metrics must outlive the jobs. NULL on failure. */
struct jobs *jobs_new(const struct config *config, struct metrics *metrics, struct error *error);

/* Wakes the loops of all jobs. Any thread. The argument is the struct jobs. */
void jobs_wake(void *jobs);

/* Reads the files of secrets and certificates again. Any thread. The argument is the struct
 * jobs. */
void jobs_reread(void *jobs);

/* Runs until all jobs have stopped. Returns the exit status, or -1 if a thread cannot be
 * started. */
int jobs_run(struct jobs *jobs, struct stop *stop, struct error *error);

/* Whether a job ended without an answer of Kafka, or because a Kafka client failed for good.
 * Closing the clients may then take long or never return. */
bool jobs_gave_up(const struct jobs *jobs);

/* Releases everything. false: the call thread hangs (call_thread_free) or clients stay
 * (kafka_free), and the process can only _exit. */
bool jobs_free(struct jobs *jobs);
