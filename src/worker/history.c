#include "worker/history.h"

#include <math.h>

static struct history_step *step_at(struct history *history, int64_t number)
{
    return &history->steps[number % HISTORY_STEPS];
}

static int64_t number_of(int64_t now_ms)
{
    return now_ms / HISTORY_STEP_MS;
}

bool history_is_due(const struct history *history, int64_t now_ms)
{
    return !history->begun || number_of(now_ms) > history->last;
}

int64_t history_quantile(const uint64_t counts[HISTOGRAM_BOUNDS + 1], double share)
{
    uint64_t all = 0, below = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++)
        all += counts[i];
    double wanted = share * (double)all;
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        if (counts[i] && (double)(below + counts[i]) >= wanted) {
            double high = (double)histogram_bounds_us[i];
            double low = i ? (double)histogram_bounds_us[i - 1] : high / 10;
            double part = (wanted - (double)below) / (double)counts[i];
            return (int64_t)(low * pow(high / low, part));
        }
        below += counts[i];
    }
    return all ? histogram_bounds_us[HISTOGRAM_BOUNDS - 1] : -1;
}

static struct history_step difference(const struct history_totals *before,
                                      const struct history_totals *now)
{
    struct history_step step = {.known = true, .in_flight = now->in_flight};
    for (int job = 0; job < REQUEST_KINDS; job++) {
        uint64_t counts[HISTOGRAM_BOUNDS + 1];
        for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
            counts[i] = now->tries[job][i] - before->tries[job][i];
            step.tries[job] += counts[i];
        }
        for (int status = 0; status < STATUSES; status++)
            step.results[job][status] = now->results[job][status] - before->results[job][status];
        step.p50_us[job] = history_quantile(counts, 0.5);
        step.p99_us[job] = history_quantile(counts, 0.99);
        step.lag[job] = now->lag[job];
    }
    return step;
}

void history_add(struct history *history, int64_t now_ms, const struct history_totals *totals)
{
    int64_t number = number_of(now_ms);
    if (history->begun) {
        int64_t first = history->last + 1;
        if (number - first >= HISTORY_STEPS)
            first = number - HISTORY_STEPS + 1;
        for (int64_t missed = first; missed < number; missed++)
            *step_at(history, missed) = (struct history_step){.known = false};
        *step_at(history, number) = difference(&history->before, totals);
    }
    history->begun = true;
    history->last = number;
    history->before = *totals;
}

int64_t history_copy(const struct history *history, struct history_step steps[HISTORY_STEPS])
{
    for (int i = 0; i < HISTORY_STEPS; i++) {
        int64_t number = history->last - HISTORY_STEPS + 1 + i;
        steps[i] = (struct history_step){.known = false};
        if (number >= 0)
            steps[i] = history->steps[number % HISTORY_STEPS];
    }
    return history->last * HISTORY_STEP_MS;
}
