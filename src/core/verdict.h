/* Judges a try: what it means for its request. One table says it, which docs/verdicts.md shows.
 * Pure; the call thread calls it through core/dispatch. */
#pragma once

#include "base/text.h"
#include "core/attempt.h"
#include "core/config.h"
#include "core/request.h"

enum verdict {
    VERDICT_NOT_SENT,     /* certainly never sent */
    VERDICT_LEASE_OVER,   /* never sent, as we held it back (lease, recall, end of the thread) */
    VERDICT_IN_DOUBT,     /* perhaps performed; no answer is known */
    VERDICT_ANSWERED,     /* the outcome is filled: succeeded or refused */
    VERDICT_UNAUTHORIZED, /* HTTP 401 or a Flag of platform.auth.flags: certainly not performed */
    VERDICT_THROTTLED,    /* HTTP 429: certainly not performed */
    VERDICT_RETRY,     /* a Flag of call.retry.flags or recording.retry.flags; outcome is filled */
    VERDICT_NOT_KEPT,  /* the platform gave a recording, but its file could not be had or kept */
    VERDICT_TOO_LARGE, /* ... and no other try would change that */
    VERDICTS,
};

struct finding {
    enum verdict verdict;
    int row;           /* of the table, from 0 */
    const char *code;  /* static, kebab-case; NULL with VERDICT_ANSWERED */
    char message[256]; /* for people: never a secret or a number */
};

/* Judges the try. Only VERDICT_ANSWERED and VERDICT_RETRY touch the outcome (which is empty
 * before): the platform's answer, without finished_at_ms. */
void verdict_reach(struct finding *finding, struct outcome *outcome, enum request_kind kind,
                   const struct attempt *attempt, const struct config *config);

/* The URL of the file that the answer to a recording's request gives, to be released with free;
 * NULL: none. */
char *verdict_file_url(const struct attempt *attempt, const struct config *config);

/* Adds a row of the table as a line of Markdown, by number from 0; false past the last one. */
bool verdict_describe(int row, struct text *line);

/* A code that a finding may carry, by number from 0; NULL past the last one. */
const char *verdict_code(size_t index);
