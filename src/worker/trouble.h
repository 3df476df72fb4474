/* What a Kafka thread repeats, and how long it has failed: one line in the log at first, then one a
 * minute, and after a minute the process is not ready. Kafka thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum trouble_kind {
    TROUBLE_PRODUCER,     /* it cannot be made ready */
    TROUBLE_TRANSACTIONS, /* they do not land, or do not end */
    TROUBLE_READS,        /* of ledgers */
    TROUBLE_OWNERS,       /* what a dead one has open cannot be ended */
    TROUBLE_COMMITS,      /* claims and releases */
    TROUBLE_REFUSALS, /* some of a transaction or commit, which is made in another way: only told */
    TROUBLES
};

enum { TROUBLE_TEXT = 400, TROUBLE_LINES = 4 };

struct trouble {
    int64_t since_ms; /* 0: all is well */
    int64_t last_ms;  /* when it last failed */
    char text[TROUBLE_TEXT];
    struct {
        uint64_t hash;
        int64_t at_ms;
    } lines[TROUBLE_LINES]; /* logged lately */
};

struct troubles {
    struct trouble all[TROUBLES];
};

/* It has failed, for the reason told. lasting: it does not pass by itself, so that it is an error
 * from the first time on. */
void trouble_failed(struct troubles *troubles, enum trouble_kind kind, int64_t now_ms,
                    const char *text, bool lasting);

/* It was asked for then, and has not been answered since. */
void trouble_waits(struct troubles *troubles, enum trouble_kind kind, int64_t since_ms,
                   int64_t now_ms, const char *text);

/* It has succeeded, or is not asked for any more. */
void trouble_over(struct troubles *troubles, enum trouble_kind kind, int64_t now_ms);

/* Whether anything fails at present. */
bool troubles_any(const struct troubles *troubles, int64_t now_ms);

/* What has failed for a minute, in words, and since when (NULL: not asked); of several the oldest,
 * which may be why the others fail. NULL: nothing. What has not been tried for a minute counts as
 * over. */
const char *troubles_lasting(struct troubles *troubles, int64_t now_ms, int64_t *since_ms);
