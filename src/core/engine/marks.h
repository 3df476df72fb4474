/* Marks of offsets from a base upwards, as runs. The engine keeps them between two transactions, so
 * that the next ledger is written from them and from the changes, and not from all requests of the
 * partition. No I/O; the engine's caller. */
#pragma once

#include "core/ledger.h"

struct marks {
    int64_t base, end;       /* marks of base up to end - 1 are known */
    struct ledger_run *runs; /* from index first to count - 1; neighbours differ */
    size_t first, count, capacity;
};

/* A new mark of one offset. */
struct mark_change {
    int64_t offset;
    enum ledger_mark mark;
};

/* Empties the marks, and keeps their memory. */
void marks_reset(struct marks *marks, int64_t base);

/* Adds offsets at the end. O(1). */
void marks_add(struct marks *marks, enum ledger_mark mark, int64_t length);

/* Drops the offsets below `base`, which becomes the base. O(dropped runs). */
void marks_drop(struct marks *marks, int64_t base);

/* Gives the offsets from `from` to until - 1 that mark. Offsets below the base, or not below the
 * end, stay as they are. O(runs). */
void marks_set(struct marks *marks, int64_t from, int64_t until, enum ledger_mark mark);

/* Writes the next ledger of a partition: the marks of `told` (the committed ledger), then those of
 * `ahead` (what was read since), up to top - 1, with the changes applied. The ledger has been reset
 * to told's base; the changes are sorted and below `top`. If all these offsets are done, done ones
 * that follow directly are added, too. O(runs below top, changes). */
void marks_write(const struct marks *told, const struct marks *ahead, int64_t top,
                 const struct mark_change *changes, size_t count, struct ledger *ledger);

/* Takes over the marks of a ledger, from its first offset that is not done. O(runs). */
void marks_take(struct marks *marks, const struct ledger *ledger);

void marks_fini(struct marks *marks);
