#include <inttypes.h>
#include <stdio.h>

#include "base/fatal.h"
#include "core/engine/internal.h"

/* Which states may follow which. A transition that is not here is a contradiction, and the process
 * dies of it before it can act on a wrong state: the ledger makes that safe. docs/architecture.md
 * lists and explains the same transitions, and a test compares. */

#define TO(state) (1U << (state))

struct state {
    const char *name;
    unsigned next; /* those that may follow: one bit each */
};

/* Any partition can be gone at once: when it is lost while nothing of it is kept, and when a stop
 * is given up (engine_give_up). The simulation never makes these: active to halted, halted to
 * releasing (no topic is made anew in it, and no offset is lost); active or draining to suspended,
 * lost to arriving (its group ends a revocation before the next rebalance). */
static const struct state partition_states[] = {
    [PARTITION_ARRIVING] = {"arriving", TO(PARTITION_ACTIVE) | TO(PARTITION_HALTED) |
                                            TO(PARTITION_SUSPENDED) | TO(PARTITION_GONE)},
    [PARTITION_ACTIVE] = {"active", TO(PARTITION_HALTED) | TO(PARTITION_DRAINING) |
                                        TO(PARTITION_LOST) | TO(PARTITION_SUSPENDED) |
                                        TO(PARTITION_GONE)},
    [PARTITION_HALTED] = {"halted", TO(PARTITION_RELEASING) | TO(PARTITION_GONE)},
    [PARTITION_DRAINING] = {"draining", TO(PARTITION_RELEASING) | TO(PARTITION_LOST) |
                                            TO(PARTITION_SUSPENDED) | TO(PARTITION_GONE)},
    [PARTITION_RELEASING] = {"releasing", TO(PARTITION_SUSPENDED) | TO(PARTITION_GONE)},
    [PARTITION_LOST] = {"lost",
                        TO(PARTITION_ARRIVING) | TO(PARTITION_SUSPENDED) | TO(PARTITION_GONE)},
    [PARTITION_SUSPENDED] = {"suspended",
                             TO(PARTITION_ARRIVING) | TO(PARTITION_SUSPENDED) | TO(PARTITION_GONE)},
    [PARTITION_GONE] = {"gone", TO(PARTITION_GONE)},
};

/* One whose outcome is in a transaction never starts again. A running transaction may lose the
 * partition of each of its requests: then these are over when it ends, or become late outcomes. */
static const struct state request_states[] = {
    [REQUEST_WAITING] = {"waiting", TO(REQUEST_CHOSEN) | TO(REQUEST_STARTING) | TO(REQUEST_ENDED) |
                                        TO(REQUEST_OVER)},
    [REQUEST_CHOSEN] = {"chosen", TO(REQUEST_WAITING) | TO(REQUEST_STARTING) |
                                      TO(REQUEST_TO_UNMARK) | TO(REQUEST_OVER)},
    [REQUEST_STARTING] = {"starting", TO(REQUEST_WAITING) | TO(REQUEST_HANDED) |
                                          TO(REQUEST_TO_UNMARK) | TO(REQUEST_OVER)},
    [REQUEST_HANDED] = {"handed", TO(REQUEST_WAITING) | TO(REQUEST_TO_UNMARK) | TO(REQUEST_ENDED) |
                                      TO(REQUEST_ORPHAN)},
    [REQUEST_TO_UNMARK] = {"to unmark", TO(REQUEST_UNMARKING) | TO(REQUEST_OVER)},
    [REQUEST_UNMARKING] = {"unmarking",
                           TO(REQUEST_WAITING) | TO(REQUEST_TO_UNMARK) | TO(REQUEST_OVER)},
    [REQUEST_ENDED] = {"ended", TO(REQUEST_ENDED) | TO(REQUEST_ENDING) | TO(REQUEST_OVER)},
    [REQUEST_ENDING] = {"ending", TO(REQUEST_ENDED) | TO(REQUEST_OVER)},
    [REQUEST_ORPHAN] = {"orphan", TO(REQUEST_ENDED) | TO(REQUEST_OVER)},
    [REQUEST_OVER] = {"over", 0},
};

/* After an unknown outcome, no transaction before the ledgers are read back. */
static const struct state producer_states[] = {
    [PRODUCER_STARTING] = {"starting", TO(PRODUCER_IDLE)},
    [PRODUCER_IDLE] = {"idle", TO(PRODUCER_IN_TXN)},
    [PRODUCER_IN_TXN] = {"in txn",
                         TO(PRODUCER_IDLE) | TO(PRODUCER_TO_RENEW) | TO(PRODUCER_TO_READ_BACK)},
    [PRODUCER_TO_RENEW] = {"to renew", TO(PRODUCER_RENEWING)},
    [PRODUCER_RENEWING] = {"renewing", TO(PRODUCER_IDLE) | TO(PRODUCER_TO_READ_BACK)},
    [PRODUCER_TO_READ_BACK] = {"to read back", TO(PRODUCER_IDLE) | TO(PRODUCER_TO_RENEW)},
};

/* Nothing is claimed before a stable read, after the end of each foreign owner. A newer rebalance
 * ends a takeover, or begins it anew (which the simulation's group never does before an answer, but
 * nothing here excludes it). */
static const struct state load_states[] = {
    [LOAD_NONE] = {"none", TO(LOAD_READ)},
    [LOAD_READ] = {"read", TO(LOAD_NONE) | TO(LOAD_READ) | TO(LOAD_END_OWNERS) | TO(LOAD_ASSIGN)},
    [LOAD_END_OWNERS] = {"end owners",
                         TO(LOAD_NONE) | TO(LOAD_READ) | TO(LOAD_READ_STABLE) | TO(LOAD_ASSIGN)},
    [LOAD_READ_STABLE] = {"read stable", TO(LOAD_NONE) | TO(LOAD_READ) | TO(LOAD_END_OWNERS) |
                                             TO(LOAD_CLAIM) | TO(LOAD_ASSIGN)},
    [LOAD_CLAIM] = {"claim", TO(LOAD_NONE) | TO(LOAD_READ) | TO(LOAD_ASSIGN)},
    [LOAD_ASSIGN] = {"assign", TO(LOAD_NONE) | TO(LOAD_READ) | TO(LOAD_ASSIGN)},
};

/* One at a time: each begins when none is running, and its answer ends it. */
static const struct state group_op_states[] = {
    [OP_NONE] = {"none", TO(OP_READ) | TO(OP_READ_STABLE) | TO(OP_END_OWNER) | TO(OP_CLAIM) |
                             TO(OP_RELEASE) | TO(OP_READ_BACK)},
    [OP_READ] = {"read", TO(OP_NONE)},
    [OP_READ_STABLE] = {"read stable", TO(OP_NONE)},
    [OP_END_OWNER] = {"end owner", TO(OP_NONE)},
    [OP_CLAIM] = {"claim", TO(OP_NONE)},
    [OP_RELEASE] = {"release", TO(OP_NONE)},
    [OP_READ_BACK] = {"read back", TO(OP_NONE)},
};

static const struct {
    const char *name;
    const struct state *states;
    unsigned count;
} machines[] = {
    [MACHINE_PARTITION] = {"partition", partition_states,
                           sizeof partition_states / sizeof *partition_states},
    [MACHINE_REQUEST] = {"request", request_states, sizeof request_states / sizeof *request_states},
    [MACHINE_PRODUCER] = {"producer", producer_states,
                          sizeof producer_states / sizeof *producer_states},
    [MACHINE_LOAD] = {"takeover", load_states, sizeof load_states / sizeof *load_states},
    [MACHINE_GROUP_OP] = {"group operation", group_op_states,
                          sizeof group_op_states / sizeof *group_op_states},
};

const char *machine_name(enum machine machine)
{
    return machines[machine].name;
}

const char *state_name(enum machine machine, unsigned state)
{
    return state < machines[machine].count ? machines[machine].states[state].name : NULL;
}

bool state_may_follow(enum machine machine, unsigned from, unsigned to)
{
    return from < machines[machine].count && to < machines[machine].count &&
           machines[machine].states[from].next & TO(to);
}

static const char *name_or_number(enum machine machine, unsigned state, char number[16])
{
    const char *name = state_name(machine, state);
    snprintf(number, 16, "%u", state);
    return name ? name : number;
}

static void die(enum machine machine, unsigned from, unsigned to, int32_t partition, int64_t offset)
{
    char what[256], where[64] = "", before[16], after[16];
    if (offset >= 0)
        snprintf(where, sizeof where, " at offset %" PRId64 " of partition %" PRId32, offset,
                 partition);
    else if (partition >= 0)
        snprintf(where, sizeof where, " %" PRId32, partition);
    snprintf(what, sizeof what,
             "internal contradiction: %s%s would go from %s to %s, which is never right; the "
             "process ends",
             machines[machine].name, where, name_or_number(machine, from, before),
             name_or_number(machine, to, after));
    fatal(what);
}

void state_check(enum machine machine, unsigned from, unsigned to, int32_t partition,
                 int64_t offset)
{
    if (!state_may_follow(machine, from, to))
        die(machine, from, to, partition, offset);
}

void producer_enter(struct engine *engine, enum producer_phase phase)
{
    state_check(MACHINE_PRODUCER, engine->producer, phase, -1, -1);
    engine->producer = phase;
}

void load_enter(struct engine *engine, enum load_phase load)
{
    state_check(MACHINE_LOAD, engine->load, load, -1, -1);
    engine->load = load;
}

void group_op_enter(struct engine *engine, enum group_op op)
{
    state_check(MACHINE_GROUP_OP, engine->group_op, op, -1, -1);
    engine->group_op = op;
}
