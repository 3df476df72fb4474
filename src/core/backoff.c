#include "core/backoff.h"

int64_t backoff_ms(int tries, uint64_t random)
{
    int64_t most = BACKOFF_FIRST_MS;
    for (int i = 1; i < tries && most < BACKOFF_LONGEST_MS; i++)
        most *= 2;
    if (most > BACKOFF_LONGEST_MS)
        most = BACKOFF_LONGEST_MS;
    return (int64_t)(random % (uint64_t)(most + 1));
}
