/* The rate limit (platform.rate.per.second): a virtual clock that says when the next call or
 * recording may be sent, with a tolerance for late timers that allows only short bursts. No I/O;
 * times are CLOCK_BOOTTIME in ms. The call thread, through core/dispatch. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct limiter {
    int64_t interval_us; /* 0: no limit */
    int64_t due_us;      /* when the next call would be exactly on time */
};

void limiter_init(struct limiter *limiter, int64_t per_second);

/* When the next call may start: now or earlier means at once. */
int64_t limiter_due_ms(const struct limiter *limiter);

/* Counts a call that starts now. Called only when a call is due. */
void limiter_take(struct limiter *limiter, int64_t now_ms);
