/* The last quarter of an hour in steps of some seconds, for the plots of a page that is opened
 * later. Counters are handed in as they stand; kept is what each step added. Whoever calls locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"
#include "worker/histogram.h"

enum { HISTORY_STEP_MS = 5000, HISTORY_STEPS = 180 };

/* Counters since the process started, and gauges as they are now. */
struct history_totals {
    uint64_t results[REQUEST_KINDS][STATUSES];
    uint64_t tries[REQUEST_KINDS][HISTOGRAM_BOUNDS + 1]; /* that ended, by how long they took */
    uint64_t lag[REQUEST_KINDS];
    uint64_t in_flight;
};

struct history_step {
    bool known; /* false: the process did not run, or not yet */
    uint64_t results[REQUEST_KINDS][STATUSES];
    uint64_t tries[REQUEST_KINDS];
    int64_t p50_us[REQUEST_KINDS], p99_us[REQUEST_KINDS]; /* of these; -1: there was none */
    uint64_t lag[REQUEST_KINDS];                          /* at its end */
    uint64_t in_flight;
};

struct history {
    struct history_step steps[HISTORY_STEPS]; /* a ring */
    int64_t last;                             /* number of the newest step: its end's time / step */
    struct history_totals before;
    bool begun;
};

/* Whether a step has ended since the last one was added. now_ms: CLOCK_BOOTTIME. */
bool history_is_due(const struct history *history, int64_t now_ms);

/* Ends a step. The first call only notes where the counters stand. */
void history_add(struct history *history, int64_t now_ms, const struct history_totals *totals);

/* The steps, oldest first; those before the first one are not known. Returns when the last one
 * ended (CLOCK_BOOTTIME). */
int64_t history_copy(const struct history *history, struct history_step steps[HISTORY_STEPS]);

/* The time below which that share (0 to 1) of the counted durations lies, in microseconds: between
 * a bucket's bounds by the logarithm; of those above the last bound that bound. -1: none was
 * counted. */
int64_t history_quantile(const uint64_t counts[HISTOGRAM_BOUNDS + 1], double share);
