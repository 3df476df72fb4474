#include "simulation.h"

/* Brokers that refuse one kind of request for one reason, for a while or as long as it matters: a
 * right that was taken away, a limit, a clock. A worker may ask on, but seldom, and says what is
 * the matter; when it is over, all goes on. */

enum {
    TOLD_MS = 60000, /* in so long a row it has to have said so, ... */
    ROW_MS = 90000,  /* in which it asks at least so often */
};

static const char *const names[ASKINGS] = {
    "init_transactions", "records",          "offsets",       "ends",
    "plain commits",     "reads of ledgers", "ends of owners"};

void refusal_strike(struct world *world)
{
    struct refusal *refusal = &world->refusal;
    if (refusal->on && world->now >= refusal->until)
        refusal_lift(world);
    if (refusal->on || !strikes(world, FAULT_refusal))
        return;
    refusal->on = true;
    refusal->number++;
    refusal->what = (enum asking)draw(world, ASKINGS);
    refusal->process = draw(world, 2) ? -1 : (int)draw(world, (uint64_t)world->process_count);
    refusal->until =
        strikes(world, FAULT_refusal_lasts) ? INT64_MAX : world->now + (int64_t)draw(world, 60000);
    say(world, "%s are refused", names[refusal->what]);
}

void refusal_lift(struct world *world)
{
    if (world->refusal.on)
        say(world, "%s are refused no more", names[world->refusal.what]);
    world->refusal.on = false;
}

void refusal_excuse(struct process *process)
{
    process->refusal.number = 0;
}

static int64_t asked_before(const struct refused *refused, uint64_t times)
{
    return refused->asked[(refused->count - times) % ASKED_MOST];
}

static void note(struct world *world, struct process *process)
{
    struct refused *refused = &process->refusal;
    if (refused->number != world->refusal.number || world->now - asked_before(refused, 1) > ROW_MS)
        *refused = (struct refused){.number = world->refusal.number, .since = world->now};
    refused->asked[refused->count++ % ASKED_MOST] = world->now;
    if (world->now - refused->since > TOLD_MS)
        check_refused(world, process, names[world->refusal.what]);
    if (refused->count > ASKED_MOST &&
        asked_before(refused, ASKED_MOST) - refused->since > TOLD_MS &&
        world->now - asked_before(refused, ASKED_MOST) < 60000)
        broken(world, "%s asks %d times in a minute for what is refused it (%s)",
               process_name(process->id), ASKED_MOST, names[world->refusal.what]);
}

bool refusal_meets(struct world *world, struct process *process, enum asking what)
{
    const struct refusal *refusal = &world->refusal;
    if (!refusal->on || refusal->what != what ||
        (refusal->process >= 0 && refusal->process != process->index))
        return false;
    say(world, "%s is refused: %s", process_name(process->id), names[what]);
    if (what != ASK_INIT) /* the client asks by itself */
        note(world, process);
    return true;
}
