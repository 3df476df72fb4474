#include "core/engine/marks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void marks_reset(struct marks *marks, int64_t base)
{
    marks->base = marks->end = base;
    marks->first = marks->count = 0;
}

/* Makes room for one more run. Free space at the front is used first if it is half of the array. */
static void make_room(struct marks *marks)
{
    if (marks->count < marks->capacity)
        return;
    if (marks->first > marks->capacity / 2) {
        marks->count -= marks->first;
        memmove(marks->runs, marks->runs + marks->first, marks->count * sizeof *marks->runs);
        marks->first = 0;
        return;
    }
    marks->capacity = marks->capacity ? marks->capacity * 2 : 8;
    marks->runs = memory_resize(marks->runs, marks->capacity * sizeof *marks->runs);
}

void marks_add(struct marks *marks, enum ledger_mark mark, int64_t length)
{
    assert(length >= 0);
    if (!length)
        return;
    marks->end += length;
    if (marks->count > marks->first && marks->runs[marks->count - 1].mark == mark) {
        marks->runs[marks->count - 1].length += length;
        return;
    }
    make_room(marks);
    marks->runs[marks->count++] = (struct ledger_run){mark, length};
}

void marks_drop(struct marks *marks, int64_t base)
{
    if (base >= marks->end) {
        marks_reset(marks, base);
        return;
    }
    while (marks->base < base) {
        struct ledger_run *run = &marks->runs[marks->first];
        int64_t below = base - marks->base < run->length ? base - marks->base : run->length;
        run->length -= below;
        marks->base += below;
        marks->first += run->length == 0;
    }
}

void marks_set(struct marks *marks, int64_t from, int64_t until, enum ledger_mark mark)
{
    struct marks changed = {.base = marks->base, .end = marks->base};
    from = from < marks->base ? marks->base : from;
    until = until > marks->end ? marks->end : until;
    if (from >= until)
        return;
    int64_t at = marks->base;
    for (size_t i = marks->first; i < marks->count; i++) {
        const struct ledger_run *run = &marks->runs[i];
        int64_t end = at + run->length;
        int64_t before = from < end ? from : end, behind = until > at ? until : at;
        if (before > at)
            marks_add(&changed, run->mark, before - at);
        if (at <= from && from < end)
            marks_add(&changed, mark, until - from);
        if (behind < end)
            marks_add(&changed, run->mark, end - behind);
        at = end;
    }
    free(marks->runs);
    *marks = changed;
}

/* The state of marks_write. */
struct writer {
    struct ledger *ledger;
    int64_t at;
    const struct mark_change *change, *last;
};

static void tell_up_to(struct writer *writer, enum ledger_mark mark, int64_t end)
{
    for (; writer->change < writer->last && writer->change->offset < end; writer->change++) {
        assert(writer->change->offset >= writer->at);
        ledger_add(writer->ledger, mark, writer->change->offset - writer->at);
        ledger_add(writer->ledger, writer->change->mark, 1);
        writer->at = writer->change->offset + 1;
    }
    if (end > writer->at) {
        ledger_add(writer->ledger, mark, end - writer->at);
        writer->at = end;
    }
}

static bool is_all_done(const struct ledger *ledger)
{
    return !ledger->run_count || (ledger->run_count == 1 && ledger->runs[0].mark == LEDGER_DONE);
}

void marks_write(const struct marks *told, const struct marks *ahead, int64_t top,
                 const struct mark_change *changes, size_t count, struct ledger *ledger)
{
    struct writer writer = {ledger, told->base, changes, changes + count};
    int64_t end = told->base;
    assert(told->end == ahead->base && top <= ahead->end);
    for (size_t i = told->first; i < told->count && end < top; i++) {
        end += told->runs[i].length;
        tell_up_to(&writer, told->runs[i].mark, end < top ? end : top);
    }
    for (size_t i = ahead->first; i < ahead->count; i++) {
        const struct ledger_run *run = &ahead->runs[i];
        end += run->length;
        if (writer.at < top)
            tell_up_to(&writer, run->mark, end < top ? end : top);
        if (end <= top)
            continue;
        if (run->mark == LEDGER_DONE && is_all_done(ledger))
            tell_up_to(&writer, run->mark, end);
        break;
    }
    assert(writer.change == writer.last);
}

void marks_take(struct marks *marks, const struct ledger *ledger)
{
    size_t i = 0;
    marks_reset(marks, ledger->base);
    for (; i < ledger->run_count && ledger->runs[i].mark == LEDGER_DONE; i++)
        marks_reset(marks, marks->base + ledger->runs[i].length);
    for (; i < ledger->run_count; i++)
        marks_add(marks, ledger->runs[i].mark, ledger->runs[i].length);
}

void marks_fini(struct marks *marks)
{
    free(marks->runs);
    *marks = (struct marks){0};
}
