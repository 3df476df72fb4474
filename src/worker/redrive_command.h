/* The command `redrive`: selects dead letters and puts them back into their topics, each once.
 * `late-outcome` and `record-gone` never go back: the first has its result, the second has no
 * request. Main thread. Text goes to standard output, progress and errors to standard error. */
#pragma once

#include "core/config.h"
#include "worker/options.h"

/* Returns the exit status: 0; 1 if the command could not go on (the next run continues where it
 * ended); 2 for an impossible selection. */
int redrive_command(const struct config *config, const struct options *options);
