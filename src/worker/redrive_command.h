/* The command `redrive`: chooses dead letters and puts them back to their topics, each once.
 * `late-outcome` and `record-gone` never are: the first is no request any more, the second has
 * none. Main thread; text goes to standard output, progress and errors to standard error. */
#pragma once

#include "core/config.h"
#include "worker/options.h"

/* Returns the exit status: 0; 1 when it could not go on (run again, it takes up where it ended); 2
 * for a choice that cannot be. */
int redrive_command(const struct config *config, const struct options *options);
