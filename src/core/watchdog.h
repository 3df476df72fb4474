/* The watchdog of last resort: a partition whose lag grows while nothing of it is read, called or
 * finished for stuck.after.ms, for no reason that the worker knows. Whatever the cause is, nobody
 * has thought of it, so it is told. Pure; the Kafka thread calls it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watched {
    int64_t base, next; /* committed; behind the last record seen */
    int64_t end;        /* below 0: not known */
    size_t unfinished;
    bool excused; /* there is a reason of the worker's: calls under way, a pause, a full window, ...
                   */
};

/* One partition's; zeroed at first. */
struct watch {
    struct watched seen; /* when something last happened */
    int64_t since_ms;    /* when that was; 0: never looked at */
};

/* Whether it is stuck. To be asked about each second. */
bool watchdog_is_stuck(struct watch *watch, const struct watched *now, int64_t now_ms,
                       int64_t after_ms);
