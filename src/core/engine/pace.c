#include "core/engine/internal.h"

/* How often there is a transaction. */

enum {
    PACE_MIN_MS = 5,
    PACE_MAX_MS = 30,   /* twice that while requests wait for a slot */
    LATENCY_WEIGHT = 16 /* weight of the old mean in the mean latency */
};

/* A transaction has a fixed cost, whatever it contains. So while most slots are busy,
 * transactions are made at intervals, and each contains more: the interval is about the duration
 * of a call, and twice that while requests wait for a slot, because twice as many starts as
 * slots keep the slots busy in that time. */
int64_t pace_txn_due(const struct engine *engine)
{
    if (engine->stopping || engine->revoking || 2 * (int64_t)engine->handed < engine->options.slots)
        return engine->last_txn;
    int64_t pace = engine->latency_sum / LATENCY_WEIGHT;
    pace = pace < PACE_MIN_MS ? PACE_MIN_MS : pace > PACE_MAX_MS ? PACE_MAX_MS : pace;
    return engine->last_txn + (engine->slots_exhausted ? 2 * pace : pace);
}

void pace_note_latency(struct engine *engine, const struct request *request)
{
    if (request->call.started_boot_ms > 0)
        engine->latency_sum +=
            engine->now - request->call.started_boot_ms - engine->latency_sum / LATENCY_WEIGHT;
}
