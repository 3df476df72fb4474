/* The pause before another try: it begins at half a second and doubles up to ten seconds, with full
 * jitter. No I/O; any thread. */
#pragma once

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 500, BACKOFF_LONGEST_MS = 10000 };

/* The pause in ms after that many tries (at least 1), with a random number of 64 bits. */
int64_t backoff_ms(int tries, uint64_t random);
