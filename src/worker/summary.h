/* What is wrong, since when, and what happens next, as a text for the person on call: the sentence
 * at the top of the page. HTTP thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "worker/history.h"
#include "worker/metrics.h"

enum severity {
    SEVERITY_OK,
    SEVERITY_NOTICE,  /* nothing is wrong, but the worker does not do all its work */
    SEVERITY_WARNING, /* somebody has to look at it, but not at once */
    SEVERITY_ERROR,   /* a part of the work is stopped */
};

struct problem {
    enum severity severity;
    const char *state;         /* static, kebab-case */
    char what[300];            /* 'Calls paused' */
    char reason[METRICS_TEXT]; /* empty: none is known */
    int64_t since_ms;          /* wall clock; 0: not known */
    char next[METRICS_TEXT];   /* what happens next, or what to do; empty: next_action says it */
    const char *next_action;   /* static: what happens at next_ms; NULL: nothing at a known time */
    int64_t next_ms;           /* wall clock */
    char waiting[120]; /* the work that waits until the problem is over; empty: none is counted */
};

enum { SUMMARY_MAX = 16 };

struct summary {
    struct problem all[SUMMARY_MAX]; /* worst first, at least one */
    size_t count;
};

/* The data of /status and its summary, read once. */
struct overview {
    struct metrics *metrics;
    int64_t wall_ms, boot_ms;
    const struct partition_row *rows;
    size_t row_count;
    const struct history_step *steps; /* HISTORY_STEPS of them */
    int64_t stepped_ms;               /* CLOCK_BOOTTIME: when the last one ended */
    struct history_totals stepped;    /* the counters then */
};

void summary_make(struct summary *summary, const struct overview *overview);

/* The problem as one sentence, times in UTC. */
void summary_sentence(const struct problem *problem, int64_t wall_ms, struct text *out);

/* What to do about a partition that is halted or stuck; NULL: nothing is wrong with it. */
const char *summary_remedy(const struct partition_row *row, const struct config *config, char *out,
                           size_t size);

/* The name of a severity in /status. */
const char *severity_name(enum severity severity);

/* The number of order ids with a request that waits for its turn, a slot or the platform. */
uint64_t summary_waiting(const struct metrics *metrics);

/* The number of results with that status in the last quarter of an hour. */
uint64_t summary_recent(const struct overview *overview, enum status status);
