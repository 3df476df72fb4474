/* The pause before another try: half a second doubling to ten, of which a random part is waited
 * (full jitter). Pure; any thread. */
#pragma once

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 500, BACKOFF_LONGEST_MS = 10000 };

/* The pause in ms after that many tries (at least 1), by a random number of 64 bits. */
int64_t backoff_ms(int tries, uint64_t random);
