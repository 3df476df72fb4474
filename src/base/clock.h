/* The two clocks, read by the threads at the edge and handed inward as numbers. Any thread. */
#pragma once

#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 25 }; /* "2026-01-12T10:00:43.120Z" and its NUL */

/* CLOCK_BOOTTIME in milliseconds: goes on while the process is stopped or the machine sleeps. */
int64_t clock_boot_ms(void);

/* The same in microseconds, for latencies. */
int64_t clock_boot_us(void);

/* Wall clock, milliseconds since 1970. */
int64_t clock_wall_ms(void);

/* RFC 3339 in UTC with milliseconds. */
void clock_to_text(char out[CLOCK_TEXT_SIZE], int64_t wall_ms);

/* Reads an RFC 3339 date-time (any offset, fraction of any length cut to ms, leap second as the
 * next one). Returns 0, or -1. */
int clock_from_text(const char *text, int64_t *wall_ms);
