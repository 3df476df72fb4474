/* Whether the process lives and is ready, as /livez, /readyz and /status say. Any thread. */
#pragma once

#include <stdbool.h>

#include "worker/metrics.h"

/* Whether a job is switched on. */
bool health_is_on(const struct metrics *metrics, int job);

/* In the groups, not draining, and nothing that the whole worker repeats fails for a minute. */
bool health_is_ready(const struct metrics *metrics);

/* Why the worker is not ready, in a line: of what is wrong, what can be mended first. Bounded by
 * `size` bytes, NUL included. */
void health_why_unready(struct metrics *metrics, char *out, size_t size);

/* Which loop has not turned for 10 s, in words; NULL: all turn. */
const char *health_dead(const struct metrics *metrics);
