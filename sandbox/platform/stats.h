/* What the platform counts: requests, answers, repetitions, concurrency, violations. The platform's
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/text.h"

enum { STATS_STATUS_MAX = 600 };

struct sandbox_stats_number;

struct sandbox_stats {
    struct map callers, callees, pairs, recordings, files; /* of struct sandbox_stats_number */
    uint64_t posts, calls, recording_posts, unanswered, rung;
    uint64_t repeated_caller, repeated_pair,
        repeated_recording; /* POSTs with numbers that came before */
    uint64_t rung_repeated_caller,
        rung_repeated_pair; /* of these, POSTs that may have rung a phone again */
    uint64_t overlaps;      /* POSTs that began while another POST for the same callee was open */
    uint64_t open, open_max, callee_open_max;
    uint64_t connections, connections_open, connections_resumed;
    uint64_t violations;
    uint64_t status[STATS_STATUS_MAX];
    char last_violation[160];
};

/* The counts that an open request belongs to. */
struct sandbox_stats_request {
    struct sandbox_stats_number *caller, *callee, *pair;
    uint64_t occurrence; /* how many requests with the same numbers came before */
    bool open;
};

void sandbox_stats_init(struct sandbox_stats *stats);
void sandbox_stats_fini(struct sandbox_stats *stats);

/* Sets all counts to zero, except those of open requests and connections. */
void sandbox_stats_reset(struct sandbox_stats *stats);

/* Counts a POST on arrival. Its numbers may be NULL. */
void sandbox_stats_call(struct sandbox_stats *stats, struct sandbox_stats_request *request,
                        const char *caller, const char *callee);
void sandbox_stats_recording(struct sandbox_stats *stats, struct sandbox_stats_request *request,
                             const char *call_identifier);

/* Counts a GET of a recording's file. Returns how many came before. */
uint64_t sandbox_stats_file(struct sandbox_stats *stats, const char *call_identifier);

/* Counts a call after whose answer a phone may have rung. */
void sandbox_stats_rung(struct sandbox_stats *stats, const struct sandbox_stats_request *request);

/* Counts the end of a request. A second call does nothing. */
void sandbox_stats_end(struct sandbox_stats *stats, struct sandbox_stats_request *request);

/* problem: a constant text without values from the request. */
void sandbox_stats_violation(struct sandbox_stats *stats, const char *problem);

/* Adds all counts as one JSON object. faults: the SPEC in force. */
void sandbox_stats_print(const struct sandbox_stats *stats, const char *faults, struct text *out);
