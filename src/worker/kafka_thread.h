/* The Kafka thread: drives the engine (core/engine) with what Kafka (io/kafka) and the call thread
 * report, and carries out what it says. It decides nothing itself but when to give up a stop. It
 * runs on the thread that calls kafka_thread_run and never waits for the network. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/config.h"
#include "worker/metrics.h"
#include "worker/stop.h"

struct kafka_thread;

/* Creates the clients, the engine and the call thread, whose counters metrics then tells of. config
 * and metrics must outlive it. NULL on failure. */
struct kafka_thread *kafka_thread_new(const struct config *config, struct metrics *metrics,
                                      struct error *error);

/* Ends a wait of the loop. Any thread. Its argument is the struct kafka_thread. */
void kafka_thread_wake(void *thread);

/* Runs until stopped. Returns the exit status. */
int kafka_thread_run(struct kafka_thread *thread, const struct stop *stop);

/* Whether a stop ended without Kafka's answer. */
bool kafka_thread_gave_up(const struct kafka_thread *thread);

/* false: what hangs was not released (call_thread_free), and the process can only _exit. */
bool kafka_thread_free(struct kafka_thread *thread);
