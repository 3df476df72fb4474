/* Parses HTTP's dates (RFC 9110, 5.6.7). No I/O; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* *wall_ms: milliseconds since 1970, from any of the three formats. false: the text is not such a
 * date. */
bool http_date_ms(const char *value, size_t size, int64_t *wall_ms);
