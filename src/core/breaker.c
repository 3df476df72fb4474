#include "core/breaker.h"

void breaker_init(struct breaker *breaker, int64_t failures, int64_t open_ms)
{
    *breaker = (struct breaker){
        .state = BREAKER_CLOSED,
        .limit = failures,
        .first_pause_ms = open_ms,
        .pause_ms = open_ms,
    };
}

void breaker_success(struct breaker *breaker)
{
    if (breaker->state == BREAKER_OPEN)
        return;
    breaker->state = BREAKER_CLOSED;
    breaker->failures = 0;
    breaker->pause_ms = breaker->first_pause_ms;
}

void breaker_trip(struct breaker *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_OPEN)
        return;
    breaker->state = BREAKER_OPEN;
    breaker->failures = 0;
    breaker->until_ms = now_ms + breaker->pause_ms;
    int64_t longest =
        breaker->first_pause_ms > BREAKER_LONGEST_MS ? breaker->first_pause_ms : BREAKER_LONGEST_MS;
    breaker->pause_ms = breaker->pause_ms * 2 < longest ? breaker->pause_ms * 2 : longest;
}

void breaker_failure(struct breaker *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_OPEN)
        return;
    breaker->failures++;
    if (breaker->state == BREAKER_TRIAL || breaker->failures >= breaker->limit)
        breaker_trip(breaker, now_ms);
}

enum breaker_state breaker_update(struct breaker *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_OPEN && now_ms >= breaker->until_ms)
        breaker->state = BREAKER_TRIAL;
    return breaker->state;
}
