/* Whether a call that waits may still be made: its age, its own expiry, the end of its binding, and
 * the deadline of one
 * that was tried before. One rule for both who ask: the engine of what waits with it, and
 * core/dispatch just before a call is sent. Recordings have none of these limits; their tries are
 * counted. Pure; whoever holds the request. */
#pragma once

#include "core/request.h"

struct overdue_limits {
    int64_t max_age_ms;  /* call.max.age.ms; 0: no limit */
    int64_t deadline_ms; /* call.deadline.ms; 0: for ever */
};

/* True when it is over: then the outcome is what the platform answered to an earlier try, if it
 * did; or `invalid` (EndMinute has passed), `expired` (code `too-old` or `expired`), or
 * `unavailable` (code `deadline-passed`: first tried the deadline ago or earlier). now_ms is
 * CLOCK_BOOTTIME, wall_ms the wall clock. */
bool overdue_end(struct request *request, const struct overdue_limits *limits, int64_t now_ms,
                 int64_t wall_ms);

/* When, by CLOCK_BOOTTIME, overdue_end will be true, as far as can be told now; INT64_MAX: never.
 */
int64_t overdue_at_ms(const struct request *request, const struct overdue_limits *limits,
                      int64_t now_ms, int64_t wall_ms);

/* When, by CLOCK_BOOTTIME, a call that was tried before ceases to be tried; INT64_MAX: never. */
int64_t overdue_deadline_ms(const struct request *request, const struct overdue_limits *limits);
