/* Whether the process is alive and ready, for /livez, /readyz and /status. Any thread. */
#pragma once

#include <stdbool.h>

#include "worker/metrics.h"

/* Whether a job is switched on. */
bool health_is_on(const struct metrics *metrics, int job);

/* The topic of the job that does not exist yet; NULL: none. */
const char *health_lacks_topic(const struct metrics *metrics, int job);

/* Whether the jobs are in their groups (a job without a topic does not count if the other one is in
 * its group), the worker does not drain, Kafka refuses it no right, and no operation at Kafka has
 * failed for a minute. */
bool health_is_ready(const struct metrics *metrics);

/* Whether the worker is not ready, and writes why, as one line. Of several causes it names the one
 * to mend first. `size` includes the NUL. */
bool health_why_unready(struct metrics *metrics, char *out, size_t size);

/* Which loop has not completed an iteration for 10 s, as a text; NULL: none. */
const char *health_dead(const struct metrics *metrics);
