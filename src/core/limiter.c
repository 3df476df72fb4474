#include "core/limiter.h"

enum { TOLERANCE_US = 20000 };

void limiter_init(struct limiter *limiter, int64_t per_second)
{
    limiter->interval_us = per_second > 0 ? (1000000 + per_second - 1) / per_second : 0;
    limiter->due_us = 0;
}

int64_t limiter_due_ms(const struct limiter *limiter)
{
    if (!limiter->interval_us)
        return 0;
    /* At a slow rate no call may come early; at a fast rate as many as fit into the tolerance. */
    int64_t early = TOLERANCE_US > limiter->interval_us ? TOLERANCE_US - limiter->interval_us : 0;
    return limiter->due_us <= early ? 0 : (limiter->due_us - early + 999) / 1000;
}

void limiter_take(struct limiter *limiter, int64_t now_ms)
{
    if (!limiter->interval_us)
        return;
    int64_t now_us = now_ms * 1000;
    int64_t from = limiter->due_us > now_us ? limiter->due_us : now_us;
    limiter->due_us = from + limiter->interval_us;
}
