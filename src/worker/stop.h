/* SIGTERM, SIGINT and SIGHUP. A separate thread waits for them, so that no signal handler runs. The
 * first SIGTERM or SIGINT requests a stop. The second ends the process at once with status 1,
 * unless it comes within 10 ms: then it is the same order sent twice. SIGHUP makes the worker read
 * files again. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct stop;

/* Blocks the signals in the calling thread and in those that it starts from now on. Called before
 * any other thread is started. */
void stop_block_signals(void);

/* Starts the thread. It calls wake when the first signal to stop comes, and reread at each SIGHUP
 * before that. NULL on failure. */
struct stop *stop_new(void (*wake)(void *argument), void (*reread)(void *argument), void *argument,
                      struct error *error);

/* Whether a stop was requested. Any thread. */
bool stop_requested(const struct stop *stop);

/* Requests a stop, like the first signal. at_once: without waiting for anything. Any thread. */
void stop_request(struct stop *stop, bool at_once);

/* Whether the stop must not wait for anything. Any thread. */
bool stop_is_at_once(const struct stop *stop);

void stop_free(struct stop *stop);
