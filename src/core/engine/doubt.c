#include "core/engine/internal.h"

static struct doubt *find(struct doubts *doubts, uint32_t name, int64_t now)
{
    struct doubt *over = NULL;
    for (size_t i = 0; i < doubts->count; i++) {
        struct doubt *doubt = &doubts->named[i];
        if (doubt->name == name)
            return doubt;
        if (doubt->until <= now)
            over = doubt;
    }
    if (!over && doubts->count < doubts->most)
        over = &doubts->named[doubts->count++];
    if (over)
        *over = (struct doubt){.name = name};
    return over;
}

void doubts_add(struct doubts *doubts, const char *order_id, int64_t until, int64_t now)
{
    struct doubt *doubt = find(doubts, ledger_name(order_id), now);
    int64_t *last = doubt ? &doubt->until : &doubts->overflow_until;
    if (until > *last)
        *last = until;
}

int64_t doubts_until(const struct doubts *doubts, const char *order_id)
{
    uint32_t name = doubts->count ? ledger_name(order_id) : 0;
    for (size_t i = 0; i < doubts->count; i++)
        if (doubts->named[i].name == name)
            return doubts->named[i].until;
    return 0;
}

void doubts_load(struct doubts *doubts, const struct ledger *ledger)
{
    *doubts = (struct doubts){.count = ledger->doubt_count, .most = doubts->most};
    for (size_t i = 0; i < ledger->doubt_count; i++)
        doubts->named[i] = (struct doubt){ledger->doubts[i], INT64_MAX};
}

void doubts_claimed(struct doubts *doubts, int64_t until)
{
    for (size_t i = 0; i < doubts->count; i++)
        doubts->named[i].until = until;
}

void doubts_write(const struct doubts *doubts, int64_t now, struct ledger *ledger)
{
    ledger->doubt |= now < doubts->overflow_until;
    for (size_t i = 0; i < doubts->count; i++)
        if (now < doubts->named[i].until)
            ledger->doubts[ledger->doubt_count++] = doubts->named[i].name;
}
