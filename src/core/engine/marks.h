/* Marks of offsets from a base upwards, as runs: what the engine remembers of a partition's ledger
 * between two transactions, so that the next one is written from it and from what has changed, and
 * not from all that the partition holds. Pure; one thread. */
#pragma once

#include "core/ledger.h"

struct marks {
    int64_t base, end;       /* marks of base up to end - 1 are known */
    struct ledger_run *runs; /* first up to count - 1; neighbours differ */
    size_t first, count, capacity;
};

/* The mark that one offset gets. */
struct mark_change {
    int64_t offset;
    enum ledger_mark mark;
};

/* Makes it empty, keeping its memory. */
void marks_reset(struct marks *marks, int64_t base);

/* Adds offsets from the end on. O(1). */
void marks_add(struct marks *marks, enum ledger_mark mark, int64_t length);

/* Forgets what is below `base`, which becomes the base. O(runs that go). */
void marks_drop(struct marks *marks, int64_t base);

/* Gives offsets up to until - 1 that mark; what is below the base or not below the end is left as
 * it is. O(runs). */
void marks_set(struct marks *marks, int64_t from, int64_t until, enum ledger_mark mark);

/* Adds to a ledger (which has been reset to told's base) what `told`, and `ahead` behind it, say of
 * the offsets below `top`, with the changes, which are sorted and below it. If all of that is done,
 * what is done at once behind it is added, too. O(runs below top, changes). */
void marks_tell(const struct marks *told, const struct marks *ahead, int64_t top,
                const struct mark_change *changes, size_t count, struct ledger *ledger);

/* Takes over what a ledger says, from its first offset on that is not done. O(runs). */
void marks_take(struct marks *marks, const struct ledger *ledger);

void marks_fini(struct marks *marks);
