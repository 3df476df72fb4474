/* The last quarter of an hour in steps of some seconds, for the plots of the page. The caller
 * passes the counters' current values, and the history keeps what each step added. The caller
 * locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"
#include "worker/histogram.h"

enum { HISTORY_STEP_MS = 5000, HISTORY_STEPS = 180 };

/* Counters since the start of the process, and current values of gauges. */
struct history_totals {
    uint64_t results[REQUEST_KINDS][STATUSES];
    uint64_t tries[REQUEST_KINDS][HISTOGRAM_BOUNDS + 1]; /* ended tries, by duration */
    uint64_t lag[REQUEST_KINDS];
    uint64_t in_flight;
};

struct history_step {
    bool known; /* false: the process did not run at that time */
    uint64_t results[REQUEST_KINDS][STATUSES];
    uint64_t tries[REQUEST_KINDS];
    int64_t p50_us[REQUEST_KINDS],
        p99_us[REQUEST_KINDS];   /* of the step's tries; -1: there was none */
    uint64_t lag[REQUEST_KINDS]; /* at the end of the step */
    uint64_t in_flight;
};

struct history {
    struct history_step steps[HISTORY_STEPS]; /* a ring */
    int64_t last; /* number of the newest step: the time of its end / HISTORY_STEP_MS */
    struct history_totals before;
    bool begun;
};

/* Whether a step has ended since the last one was added. now_ms: CLOCK_BOOTTIME. */
bool history_is_due(const struct history *history, int64_t now_ms);

/* Ends a step. The first call only stores the values of the counters. */
void history_add(struct history *history, int64_t now_ms, const struct history_totals *totals);

/* Copies the steps, oldest first. Steps before the first one are not known. Returns when the last
 * step ended (CLOCK_BOOTTIME). */
int64_t history_copy(const struct history *history, struct history_step steps[HISTORY_STEPS]);

/* The duration in microseconds below which that share (0 to 1) of the counted durations lies.
 * Within a bucket it is interpolated logarithmically; above the last bound it is that bound. -1:
 * nothing was counted. */
int64_t history_quantile(const uint64_t counts[HISTOGRAM_BOUNDS + 1], double share);
