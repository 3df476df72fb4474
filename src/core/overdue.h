/* Decides whether a waiting call may still be made: by its age, its expiry, the end of its binding,
 * and its deadline if it was tried before. The engine asks this for requests that wait there, and
 * core/dispatch asks just before a call is sent. Recordings have none of these limits; their tries
 * are counted. No I/O; the thread that owns the request. */
#pragma once

#include "core/request.h"

struct overdue_limits {
    int64_t max_age_ms;  /* call.max.age.ms; 0: no limit */
    int64_t deadline_ms; /* call.deadline.ms; 0: for ever */
};

/* Returns true if the call may not be made any more, and sets its outcome: the platform's answer to
 * an earlier try, if there is one; or `invalid` (EndMinute has passed), `expired` (code `too-old`
 * or `expired`), or `unavailable` (code `deadline-passed`: the first try is as long ago as the
 * deadline). now_ms is CLOCK_BOOTTIME, wall_ms the wall clock. */
bool overdue_end(struct request *request, const struct overdue_limits *limits, int64_t now_ms,
                 int64_t wall_ms);

/* When (CLOCK_BOOTTIME) overdue_end will return true, by the clocks' present difference; INT64_MAX:
 * never. */
int64_t overdue_at_ms(const struct request *request, const struct overdue_limits *limits,
                      int64_t now_ms, int64_t wall_ms);

/* When (CLOCK_BOOTTIME) a call that was tried before is not tried any more; INT64_MAX: never. */
int64_t overdue_deadline_ms(const struct request *request, const struct overdue_limits *limits);
