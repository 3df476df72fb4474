/* The log: one line per entry on standard error, as JSON with ECS names or as text. Any thread. A
 * line is one write(2); when standard error has accepted nothing for a second, lines are dropped
 * and counted. An entry below the level that is set costs a comparison. Callers never pass secrets,
 * and mask phone numbers with text_mask_number first. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_JSON, LOG_TEXT };

/* What an entry is about. Members that are NULL are not written. Partition and offset are written
 * only with a topic; offset -1: none. */
struct log_about {
    const char *topic;
    int32_t partition;
    int64_t offset;
    const char *order_id, *trace_id;
};

/* Sets level, format and the instance's name (copied). Before the threads start. */
void log_setup(enum log_level level, enum log_format format, const char *instance);

bool log_enabled(enum log_level level);

/* Writes an entry; about may be NULL. */
void log_write(enum log_level level, const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes an entry of level fatal, whatever level is set, without allocating. Only fatal.c calls it.
 */
void log_fatal(const char *message);

#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, NULL, __VA_ARGS__) : (void)0)
#define log_info(...)  log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, NULL, __VA_ARGS__)
