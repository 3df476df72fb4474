/* Parses Retry-After (RFC 9110, 10.2.3). No I/O; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The time to wait in ms, from seconds or from a date in any of HTTP's three formats (a past date:
 * 0); -1: the value is neither. */
int64_t retry_after_ms(const char *value, size_t size, int64_t now_wall_ms);
