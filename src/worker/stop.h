/* SIGTERM and SIGINT, and SIGHUP: a thread of its own waits for them, so that no handler runs
 * anywhere. The first asks for a stop, the second ends the process at once with status 1, unless it
 * comes so soon that it is the same order told twice. SIGHUP asks for files to be read again. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct stop;

/* Blocks the signals in the calling thread and those that it starts from now on. Before any other
 * thread is started. */
void stop_block_signals(void);

/* Starts the thread; wake is called from it when the first signal came, reread at each SIGHUP
 * before. NULL on failure. */
struct stop *stop_new(void (*wake)(void *argument), void (*reread)(void *argument), void *argument,
                      struct error *error);

/* Whether a stop was asked for. Any thread. */
bool stop_requested(const struct stop *stop);

/* Asks for a stop as the first signal does. at_once: nothing is waited for. Any thread. */
void stop_request(struct stop *stop, bool at_once);

/* Whether nothing is to be waited for any more. Any thread. */
bool stop_is_at_once(const struct stop *stop);

void stop_free(struct stop *stop);
