/* Reads Retry-After (RFC 9110, 10.2.3). Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* How long to wait in ms, by seconds or by a date in any of HTTP's three formats (one that has
 * passed: 0); -1: it is neither. */
int64_t retry_after_ms(const char *value, size_t size, int64_t now_wall_ms);
