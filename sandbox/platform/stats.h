/* What the platform counts: requests, answers, repetitions, concurrency, violations. The platform's
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/text.h"

enum { STATS_STATUS_MAX = 600 };

struct stats_number;

struct stats {
    struct map callers, callees, pairs, recordings, files; /* of struct stats_number */
    uint64_t posts, calls, recording_posts, unanswered, rung;
    uint64_t again_caller, again_pair, again_recording; /* POSTs whose numbers had come before */
    uint64_t rung_again_caller, rung_again_pair; /* of these, may have rung a phone once more */
    uint64_t overlaps; /* POSTs that began while another one for the same callee was open */
    uint64_t open, open_max, callee_open_max;
    uint64_t connections, connections_open, connections_resumed;
    uint64_t violations;
    uint64_t status[STATS_STATUS_MAX];
    char last_violation[160];
};

/* One request's place in the counts while it is open. */
struct stats_request {
    struct stats_number *caller, *callee, *pair;
    uint64_t occurrence; /* how many with the same numbers came before */
    bool open;
};

void stats_init(struct stats *stats);
void stats_fini(struct stats *stats);

/* Sets all counts to zero, but for what is open now. */
void stats_reset(struct stats *stats);

/* Counts a POST on arrival. Its numbers may be NULL. */
void stats_call(struct stats *stats, struct stats_request *request, const char *caller,
                const char *callee);
void stats_recording(struct stats *stats, struct stats_request *request,
                     const char *call_identifier);

/* Notes that a recording's file is asked for; how often it was before. */
uint64_t stats_file(struct stats *stats, const char *call_identifier);

/* Counts a call whose answer does not say that nothing was dialled. */
void stats_rung(struct stats *stats, const struct stats_request *request);

/* Counts the end of a request; harmless when it has ended. */
void stats_end(struct stats *stats, struct stats_request *request);

/* A constant text, without values. */
void stats_violation(struct stats *stats, const char *problem);

/* Adds all of it as one JSON object; faults: the SPEC in force. */
void stats_print(const struct stats *stats, const char *faults, struct text *out);
