/* The last warnings and errors of the log, kept in memory for whoever looks at the process. Lines
 * that differ in figures alone, or in the partition that they are about, are one entry, which says
 * how often. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum { LOG_RECENT = 20, LOG_RECENT_TOPIC = 256, LOG_RECENT_MESSAGE = 640 };

/* Texts are cut at the size of their fields, between characters. Order ids are left out: whoever
 * may look at the process may not know them. */
struct log_recent {
    uint64_t times;            /* that it was logged; 0: no entry */
    int64_t first_ms, last_ms; /* wall clock */
    enum log_level level;
    /* of the last time */
    char message[LOG_RECENT_MESSAGE];
    char topic[LOG_RECENT_TOPIC]; /* empty: none */
    int32_t partition;            /* counts with a topic only */
    int64_t offset;               /* -1: none */
};

/* Takes a line over; of the entries the one whose last time is longest ago makes room. */
void log_recent_add(enum log_level level, const struct log_about *about, const char *message,
                    int64_t wall_ms);

/* Copies the entries, newest first, into room for LOG_RECENT. Returns how many. */
size_t log_recent_copy(struct log_recent *out);
