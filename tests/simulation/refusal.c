#include "simulation.h"

/* Brokers that refuse one kind of request for one reason, for a while or as long as it matters: a
 * right that was taken away, a limit, a clock. A worker may ask on, but seldom, and says what is
 * the matter; when it is over, all goes on. */

enum {
    TOLD_MS = 120000, /* in so long a row it has to have said so, ... */
    ROW_MS = 90000,   /* in which it asks at least so often */
    LEDGER_AROUND = 40,
};

static const char *const names[ASKINGS] = {
    "init_transactions", "records",          "offsets",       "ends",
    "plain commits",     "reads of ledgers", "ends of owners"};

void refusal_init(struct world *world)
{
    int64_t longest = world->options.ledger_max;
    if (world->rates[FAULT_short_commits] && longest < LEDGER_MAX) {
        world->commit_max = longest + LEDGER_AROUND + (int64_t)draw(world, 2 * (uint64_t)longest);
        world->counts.faults[FAULT_short_commits]++;
    }
}

/* A limit that a person sets, and sets again. */
static void set_ledgers(struct world *world)
{
    int64_t least = world->options.ledger_max < LEDGER_MAX ? 85 : 25; /* names are long, or short */
    world->ledger_max = draw(world, 3) ? least + (int64_t)draw(world, 80) : 0;
    say(world, "ledgers may have %d characters", (int)world->ledger_max);
}

bool refusal_of_size(struct world *world, const struct stored_ledger *ledgers, size_t count)
{
    int64_t sum = 0;
    bool too_long = false;
    for (size_t i = 0; i < count; i++) {
        sum += (int64_t)ledgers[i].metadata_size + LEDGER_AROUND;
        too_long |= world->ledger_max && (int64_t)ledgers[i].metadata_size > world->ledger_max;
    }
    if (too_long && count == 1)
        world->logs[ledgers->partition].too_long_at = world->now;
    if (too_long || (world->commit_max && sum > world->commit_max))
        say(world, "%zu ledgers with %d characters are too much", count, (int)sum);
    return too_long || (world->commit_max && sum > world->commit_max);
}

void refusal_inject(struct world *world)
{
    struct refusal *refusal = &world->refusal;
    if (fault_occurs(world, FAULT_short_ledgers))
        set_ledgers(world);
    if (refusal->on && world->now >= refusal->until)
        refusal_lift(world);
    if (refusal->on || !fault_occurs(world, FAULT_refusal))
        return;
    refusal->on = true;
    refusal->number++;
    refusal->what = (enum asking)draw(world, ASKINGS);
    refusal->process = draw(world, 2) ? -1 : (int)draw(world, (uint64_t)world->process_count);
    refusal->log = -1;
    refusal->for_good = draw(world, 2);
    bool is_partitions = refusal->what == ASK_PRODUCE || refusal->what == ASK_OFFSETS;
    if (refusal->for_good && is_partitions && draw(world, 2))
        refusal->log = (int)draw(world, (uint64_t)world->log_count);
    refusal->until = fault_occurs(world, FAULT_refusal_lasts)
                         ? INT64_MAX
                         : world->now + (int64_t)draw(world, 60000);
    say(world, "%s are refused", names[refusal->what]);
}

void refusal_lift(struct world *world)
{
    if (world->refusal.on)
        say(world, "%s are refused no more", names[world->refusal.what]);
    world->refusal.on = false;
}

void refusal_end_series(struct job *job)
{
    job->refusal.number = 0;
}

static int64_t asked_before(const struct refused *refused, uint64_t times)
{
    return refused->asked[(refused->count - times) % ASKED_MAX];
}

/* What is a partition's matter holds that one back, and each is asked for less and less often by
 * itself: one that was not refused lately begins a row of its own. */
static bool is_first(const struct world *world, struct refused *refused, unsigned logs)
{
    bool first = false;
    for (int log = 0; log < world->log_count; log++) {
        if (!(logs & 1u << log))
            continue;
        first |= world->now - refused->log_at[log] > ROW_MS;
        refused->log_at[log] = world->now;
    }
    return first;
}

/* Who gives partitions back has little time, and asks often; and a claim that is refused for good
 * is made some times for each partition, and then never again. */
static void note(struct world *world, struct job *job)
{
    struct refused *refused = &job->refusal;
    unsigned logs = refused->logs;
    bool claims = world->refusal.what == ASK_COMMIT && world->refusal.for_good;
    refused->logs = 0;
    if (claims)
        check_claim_refused(world, job);
    if (job->process->stopping || job->client.asked == ASKED_UNASSIGN || claims) {
        refusal_end_series(job);
        return;
    }
    if (refused->number != world->refusal.number || world->now - asked_before(refused, 1) > ROW_MS)
        *refused = (struct refused){
            .number = world->refusal.number, .since = world->now, .holds = refused->holds};
    if (is_first(world, refused, logs))
        refused->since = world->now;
    refused->asked[refused->count++ % ASKED_MAX] = world->now;
    if (world->now - refused->since > TOLD_MS)
        check_refused(world, job);
    if (refused->count > ASKED_MAX && asked_before(refused, ASKED_MAX) - refused->since > TOLD_MS &&
        world->now - asked_before(refused, ASKED_MAX) < 60000)
        broken(world, "%s asks %d times in a minute for what is refused it (%s)", job_name(job),
               ASKED_MAX, names[world->refusal.what]);
}

static bool is_met(const struct world *world, const struct job *job, enum asking what)
{
    const struct refusal *refusal = &world->refusal;
    return refusal->on && refusal->what == what &&
           (refusal->process < 0 || refusal->process == job->process->index);
}

bool refusal_meets_record(struct world *world, struct job *job, int log)
{
    const struct refusal *refusal = &world->refusal;
    if (!is_met(world, job, ASK_PRODUCE) || !refusal->for_good ||
        (refusal->log >= 0 && refusal->log != log))
        return false;
    say(world, "%s is refused records of %d", job_name(job), log);
    job->refusal.logs |= 1u << log;
    return true;
}

/* One partition's offsets are refused together with all that are in the transaction. */
static bool is_in(const struct refusal *refusal, const struct job *job, enum asking what)
{
    if (what != ASK_OFFSETS || refusal->log < 0)
        return true;
    for (size_t i = 0; i < job->transaction.ledger_count; i++)
        if (job->transaction.ledgers[i].partition == refusal->log)
            return true;
    return false;
}

bool refusal_meets(struct world *world, struct job *job, enum asking what)
{
    if (!is_met(world, job, what) || !is_in(&world->refusal, job, what))
        return false;
    say(world, "%s is refused: %s", job_name(job), names[what]);
    for (size_t i = 0;
         what == ASK_OFFSETS && world->refusal.for_good && i < job->transaction.ledger_count; i++)
        job->refusal.logs |= 1u << job->transaction.ledgers[i].partition;
    if (what != ASK_INIT) /* the client asks by itself */
        note(world, job);
    return true;
}
