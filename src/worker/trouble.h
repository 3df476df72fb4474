/* Operations that a Kafka thread repeats, and how long each has failed: a log line at once, then
 * one a minute, also if the other job's operation fails in the same words; after a minute the
 * process is not ready. Kafka thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum trouble_kind {
    TROUBLE_PRODUCER,     /* making the producer ready */
    TROUBLE_TRANSACTIONS, /* transactions that abort or do not end */
    TROUBLE_READS,        /* reads of ledgers */
    TROUBLE_OWNERS,       /* ending the transactions of a dead owner */
    TROUBLE_COMMITS,      /* claims and releases */
    TROUBLE_JOIN,         /* joining the group */
    TROUBLE_REFUSALS,     /* refused records or offsets, then sent in another way: only logged */
    TROUBLES
};

enum {
    TROUBLE_TEXT = 700,
    TROUBLE_LASTING_MS = 60000, /* after so long the process is not ready */
};

struct trouble {
    int64_t since_ms; /* 0: all is well */
    int64_t last_ms;  /* when it last failed */
    char text[TROUBLE_TEXT];
};

struct troubles {
    struct trouble all[TROUBLES];
};

/* Texts that differ only in numbers, such as a time or a size, are the same failure; those that
 * name different topics are not. */
uint64_t trouble_hash(const char *text);

/* The operation has failed, for the reason in `text`. lasting: the failure does not pass by itself,
 * so it is logged as an error from the first time on. */
void trouble_failed(struct troubles *troubles, enum trouble_kind kind, int64_t now_ms,
                    const char *text, bool lasting);

/* The operation was started at `since_ms` and has not ended yet. told: the log says something
 * that may be the reason, so it needs no line during the first minute. */
void trouble_waits(struct troubles *troubles, enum trouble_kind kind, int64_t since_ms,
                   int64_t now_ms, const char *text, bool told);

/* The operation has succeeded, or is no longer needed. */
void trouble_over(struct troubles *troubles, enum trouble_kind kind, int64_t now_ms);

/* Whether anything fails at present that all partitions need: no refusal, which keeps back the
 * partition of what is refused only. */
bool troubles_any(const struct troubles *troubles, int64_t now_ms);

/* The operation that has failed for a minute, as a text, and since when (since_ms may be NULL);
 * NULL: none. Of several it is the oldest, which may be the cause of the others. An operation that
 * has not been tried for a minute counts as over. */
const char *troubles_lasting(struct troubles *troubles, int64_t now_ms, int64_t *since_ms);
