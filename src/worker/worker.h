/* The worker as a whole: starts the threads, waits for a stop, and ends them. */
#pragma once

#include "core/config.h"

/* Runs until SIGTERM or SIGINT, or until the worker cannot go on. Returns the exit status: 0
 * stopped by a signal, 1 failed. */
int worker_run(const struct config *config);
