/* The pause before another try: it begins at half a second and doubles up to ten seconds, with full
 * jitter. No I/O; any thread. */
#pragma once

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 500, BACKOFF_LONGEST_MS = 10000 };

/* Twice as much, at most `most`: a pause or a limit that grows with each try. */
static inline int backoff_doubled(int ms, int most)
{
    return ms < most / 2 ? 2 * ms : most;
}

/* The pause in ms after that many tries (at least 1), with a random number of 64 bits. */
int64_t backoff_ms(int tries, uint64_t random);
