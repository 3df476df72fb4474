/* The last warnings and errors of the log, kept in memory for /status. Lines that differ only in
 * digits or in their partition share one entry, which counts them. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum { LOG_RECENT = 20, LOG_RECENT_TOPIC = 256, LOG_RECENT_MESSAGE = 640 };

/* Texts are cut at the size of their fields, between two characters. Order ids are left out,
 * because readers of /status may not see them. */
struct log_recent {
    uint64_t times;            /* how often it was logged; 0: no entry */
    int64_t first_ms, last_ms; /* wall clock */
    enum log_level level;
    /* of the last line */
    char message[LOG_RECENT_MESSAGE];
    char topic[LOG_RECENT_TOPIC]; /* empty: none */
    int32_t partition;            /* valid only with a topic */
    int64_t offset;               /* -1: none */
};

/* Adds a line. A new entry replaces the one whose last line is oldest. */
void log_recent_add(enum log_level level, const struct log_about *about, const char *message,
                    int64_t wall_ms);

/* Copies the entries, newest first, into an array of LOG_RECENT. Returns how many. */
size_t log_recent_copy(struct log_recent *out);
