/* Whether a request that waits may still be tried: its age, its own expiry, and the deadline of one
 * that was tried before. Pure; core/dispatch asks just before a call is sent, and the engine may
 * ask of what waits with it (calls that are paused come to no end otherwise). Whoever holds the
 * request. */
#pragma once

#include "core/config.h"
#include "core/request.h"

/* True when it is over: then the outcome is `expired` (calls; code `too-old` or `expired`), or
 * `unavailable` (code `deadline-passed`: first tried call.deadline.ms ago or earlier).
 * now_ms is CLOCK_BOOTTIME, wall_ms the wall clock. */
bool overdue_end(struct request *request, const struct config *config, int64_t now_ms,
                 int64_t wall_ms);

/* When, by CLOCK_BOOTTIME, a request that was tried before ceases to be tried; INT64_MAX: never. */
int64_t overdue_deadline_ms(const struct request *request, const struct config *config);
