/* Whether the process lives and is ready, as /livez, /readyz and /status say. Any thread. */
#pragma once

#include <stdbool.h>

#include "worker/metrics.h"

/* Whether a job is switched on. */
bool health_is_on(const struct metrics *metrics, int job);

/* In the groups, not draining, and nothing that the whole worker repeats fails for a minute. */
bool health_is_ready(const struct metrics *metrics);

/* Which loop has not turned for 10 s, in words; NULL: all turn. */
const char *health_dead(const struct metrics *metrics);
