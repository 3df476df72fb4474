/* A histogram of durations. One thread adds, any thread reads. Access is relaxed: a reader may see
 * a duration in a bucket before it is in the sum. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 14 };

/* The buckets' upper bounds in microseconds. */
static const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    1000,   2500,   5000,    10000,   25000,   50000,    100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};

struct histogram {
    _Atomic uint64_t
        buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last bucket has no upper bound */
    _Atomic uint64_t sum_us;
};

static inline void histogram_add(struct histogram *histogram, int64_t us)
{
    int i = 0;
    if (us < 0)
        us = 0;
    while (i < HISTOGRAM_BOUNDS && us > histogram_bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, (uint64_t)us, memory_order_relaxed);
}
