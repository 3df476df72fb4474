/* Judges a try: what it means for its request. One table decides this; docs/verdicts.md shows the
 * table. No I/O; the call thread calls it through core/dispatch. */
#pragma once

#include "base/text.h"
#include "core/attempt.h"
#include "core/config.h"
#include "core/request.h"

/* What a try means. If you add a kind, the compiler names the switches in verdict.c and dispatch.c
 * that need a case. It does not name the code that compares with single kinds: settle_outcome,
 * settle_recording, verdict_classify, and the log in worker/call_thread.c. */
enum verdict {
    VERDICT_IN_DOUBT,     /* perhaps performed; no answer is known. It is 0: what nobody judged is
                             not sent again */
    VERDICT_NOT_SENT,     /* certainly never sent */
    VERDICT_LEASE_OVER,   /* not sent, because we stopped it (lease, recall, end of the thread) */
    VERDICT_ANSWERED,     /* the outcome is filled: succeeded or refused */
    VERDICT_UNAUTHORIZED, /* HTTP 401 or a Flag of platform.auth.flags: certainly not performed */
    VERDICT_THROTTLED,    /* HTTP 429: certainly not performed */
    VERDICT_RETRY,    /* a Flag of call.retry.flags or recording.retry.flags; outcome is filled */
    VERDICT_NOT_KEPT, /* the platform has the recording, but its file could not be fetched or stored
                       */
    VERDICT_TOO_LARGE, /* the same, and another try would not change it */
    VERDICTS,
};

/* What a try means, with the code and the message of its result. */
struct classification {
    enum verdict verdict;
    int row;           /* of the table, counted from 0 */
    const char *code;  /* static, kebab-case; NULL with VERDICT_ANSWERED */
    char message[256]; /* for people: never contains a secret or a phone number */
};

/* Judges the try. Only VERDICT_ANSWERED and VERDICT_RETRY fill the outcome, which was empty before,
 * with the platform's answer, without finished_at_ms. */
void verdict_classify(struct classification *classification, struct outcome *outcome,
                      enum request_kind kind, const struct attempt *attempt,
                      const struct config *config);

/* The URL of the file in the answer to a recording request, to be released with free; NULL:
 * none. */
char *verdict_file_url(const struct attempt *attempt, const struct config *config);

/* Adds a row of the table, by number from 0, as a line of Markdown; false: there is no such row. */
bool verdict_describe(int row, struct text *line);

/* A code of a classification, by number from 0; NULL: there is no such number. */
const char *verdict_code(size_t index);
