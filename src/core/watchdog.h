/* The watchdog of partitions: it finds a partition whose lag grows, or is not known, while nothing
 * of it is read, called or finished for stuck.after.ms, without a reason that the worker knows. The
 * cause is a fault that nobody has thought of, so it is reported. No I/O; the Kafka thread calls
 * it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watched {
    int64_t base, next; /* base: the committed offset; next: after the last record read */
    int64_t end;        /* below 0: not known, as no broker has served the partition yet */
    size_t unfinished;
    bool excused; /* the worker knows a reason: it is halted, its window is full, ... */
};

/* The watch of one partition; zeroed at first. */
struct watch {
    struct watched seen; /* the state when something last happened */
    int64_t since_ms;    /* when that was; 0: never checked */
};

/* Whether the partition is stuck. Called about once a second. */
bool watchdog_is_stuck(struct watch *watch, const struct watched *now, int64_t now_ms,
                       int64_t after_ms);
