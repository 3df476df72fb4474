/* The worker as a whole: starts the threads, waits for the order to stop, takes all down again. */
#pragma once

#include "core/config.h"

/* Runs until SIGTERM or SIGINT, or until it cannot go on. The main thread becomes the Kafka thread.
 * Returns the exit status: 0 stopped as asked, 1 failed. */
int worker_run(const struct config *config);
