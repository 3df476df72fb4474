#include "simulation.h"

/* The coordinators of groups and transactional ids. A coordinator that is away has died or moves:
 * requests get no answer until it is back. The clients repeat them, and give up in the end. */

static struct coordinator *coordinator_of(struct world *world, enum coordination what,
                                          enum request_kind kind)
{
    return &world->coordinators[what * REQUEST_KINDS + (int)kind];
}

bool coordinator_is_away(const struct world *world, enum coordination what, enum request_kind kind)
{
    const struct coordinator *at = &world->coordinators[what * REQUEST_KINDS + (int)kind];
    return world->now < at->away_until && world->now >= at->away_from;
}

static void lose(struct world *world, enum coordination what, enum request_kind kind, int64_t from,
                 int64_t ms)
{
    struct coordinator *at = coordinator_of(world, what, kind);
    say(world, "the coordinator of %s of %s is away in %d ms, for %d",
        what == COORDINATOR_GROUP ? "the group" : "transactions",
        kind == REQUEST_CALL ? "calls" : "recordings", (int)(from - world->now), (int)ms);
    *at = (struct coordinator){.away_from = from, .away_until = from + ms};
}

/* A broker dies or moves: some of the coordinators with it. */
static void fail_over(struct world *world)
{
    int64_t ms = (int64_t)draw(world, 8000);
    unsigned which = 1 + (unsigned)draw(world, (1u << COORDINATORS) - 1);
    for (int i = 0; i < COORDINATORS; i++)
        if (which & 1u << i)
            lose(world, (enum coordination)(i / REQUEST_KINDS),
                 (enum request_kind)(i % REQUEST_KINDS), world->now, ms);
}

/* Brokers die one after another, or a rolling restart goes wrong: each coordinator is away for a
 * while, shorter or longer than a session, before or after the last one is back. */
static void lose_one_by_one(struct world *world)
{
    int64_t from = world->now;
    for (int i = 0, first = (int)draw(world, COORDINATORS); i < COORDINATORS; i++) {
        int which = (first + i) % COORDINATORS;
        int64_t ms = (int64_t)draw(world, draw(world, 2) ? 4000 : 30000);
        lose(world, (enum coordination)(which / REQUEST_KINDS),
             (enum request_kind)(which % REQUEST_KINDS), from, ms);
        from += ms / 2 + (int64_t)draw(world, (uint64_t)ms + 1);
    }
}

void coordinator_inject_faults(struct world *world)
{
    if (fault_occurs(world, FAULT_failover))
        fail_over(world);
    if (fault_occurs(world, FAULT_one_by_one))
        lose_one_by_one(world);
}

void coordinator_calm(struct world *world)
{
    for (int i = 0; i < COORDINATORS; i++)
        world->coordinators[i] = (struct coordinator){0};
}

/* The producer's operation needs both coordinators: that of its id for everything, and that of the
 * group for offsets and, before a new producer is ready, for the markers of the last
 * transaction. */
static bool is_answered(struct world *world, const struct job *job)
{
    bool group_away = coordinator_is_away(world, COORDINATOR_GROUP, job->kind);
    if (coordinator_is_away(world, COORDINATOR_TRANSACTIONS, job->kind))
        return false;
    if (job->renewing)
        return !broker_marks_wait(world, transaction_of(world, job));
    return !group_away || job->transact != PHASE_OFFSETS;
}

/* The coordinator of a transaction does not answer for longer than the client waits: the
 * transaction cannot be aborted, and it is not known whether its commit was requested. */
static void give_up(struct world *world, struct job *job)
{
    bool away = coordinator_is_away(world, COORDINATOR_TRANSACTIONS, job->kind);
    job->waits_since = 0;
    if (away)
        commit_lose_answer(world, job, job->transact == PHASE_COMMIT && draw(world, 2));
    else
        commit_abort(world, job, TXN_ABORTED);
}

bool coordinator_delays(struct world *world, struct job *job)
{
    if (is_answered(world, job)) {
        job->waits_since = 0;
        return false;
    }
    if (!job->waits_since)
        job->waits_since = world->now;
    if (!job->renewing && job->transact != PHASE_IDLE &&
        world->now - job->waits_since > world->session_ms && draw(world, 8) == 0)
        give_up(world, job);
    return true;
}

bool coordinator_delays_work(struct world *world, struct job *job)
{
    bool ends = job->work.type == ENGINE_END_OWNER;
    enum coordination asked = ends ? COORDINATOR_TRANSACTIONS : COORDINATOR_GROUP;
    bool marks_wait =
        ends &&
        broker_marks_wait(world,
                          &world->transactions[(int)job->kind * IDS + process_id(job->work.owner)]);
    if (!coordinator_is_away(world, asked, job->kind) && !marks_wait)
        return false;
    if (draw(world, 32) == 0) { /* the client gives up */
        job->answer = GROUP_RETRY;
        job->working = WORK_DONE;
    }
    return true;
}
