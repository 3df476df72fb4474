/* The two clocks. Threads that do I/O read them and pass the time to src/core as a number. Any
 * thread. */
#pragma once

#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 25 }; /* "2026-01-12T10:00:43.120Z" and its NUL */

/* CLOCK_BOOTTIME in milliseconds: it goes on while the process is stopped or the machine sleeps. */
int64_t clock_boot_ms(void);

/* CLOCK_BOOTTIME in microseconds, for latencies. */
int64_t clock_boot_us(void);

/* Wall clock, milliseconds since 1970. */
int64_t clock_wall_ms(void);

/* RFC 3339 in UTC with milliseconds. */
void clock_to_text(char out[CLOCK_TEXT_SIZE], int64_t wall_ms);

/* Reads an RFC 3339 date-time with any offset. A fraction is cut to milliseconds, a leap second is
 * read as the next second. Returns 0, or -1 for anything else. */
int clock_from_text(const char *text, int64_t *wall_ms);
