#include "core/watchdog.h"

static bool has_moved(const struct watched *then, const struct watched *now)
{
    return then->base != now->base || then->next != now->next ||
           then->unfinished != now->unfinished;
}

bool watchdog_is_stuck(struct watch *watch, const struct watched *now, int64_t now_ms,
                       int64_t after_ms)
{
    bool unknown = now->end < 0, was_unknown = watch->seen.end < 0;
    bool waits = unknown || now->end > now->base;
    if (!watch->since_ms || !waits || now->excused || unknown != was_unknown ||
        has_moved(&watch->seen, now)) {
        watch->seen = *now;
        watch->since_ms = now_ms;
        return false;
    }
    return (unknown || now->end > watch->seen.end) && now_ms - watch->since_ms >= after_ms;
}
