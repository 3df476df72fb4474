#include "core/engine/internal.h"

/* How much goes into one transaction or commit. The broker limits each ledger
 * (offset.metadata.max.bytes) and all ledgers of one commit together (message.max.bytes of the
 * offsets topic). It reports neither limit, nor which ledger was too large. So a refused batch is
 * halved until a single ledger is left, whose size shows the limit. */

enum { BATCH_NO_LIMIT = 1 << 20 };

bool batch_fits(const struct engine *engine, size_t count, size_t bytes, size_t size)
{
    size_t most = engine->batch_max ? engine->batch_max : BATCH_NO_LIMIT;
    return count == 0 || (count < most &&
                          bytes + size + (count + 1) * ENGINE_LEDGER_AROUND <= ENGINE_COMMIT_BYTES);
}

void batch_taken(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((int64_t)ledgers[i].metadata_size > engine->ledger_good)
            engine->ledger_good = (int64_t)ledgers[i].metadata_size;
    if (engine->ledger_good > engine->ledger_max)
        engine->ledger_max = engine->ledger_good;
    /* The limit grows by one each time, so that the refused size is not reached again at once. */
    if (engine->batch_max && count >= engine->batch_max && ++engine->batch_max >= BATCH_NO_LIMIT)
        engine->batch_max = 0;
}

bool batch_refused(struct engine *engine, const struct stored_ledger *ledgers, size_t count)
{
    if (count != 1) {
        engine->batch_max = count / 2;
        return count > 1;
    }
    int64_t size = (int64_t)ledgers[0].metadata_size, least = partition_ledger_min(engine);
    if (!engine->says_size || size <= least)
        return false;
    if (engine->ledger_good >= size)
        engine->ledger_good = 0; /* it is from before the limit changed */
    engine->ledger_max = size / 2 > engine->ledger_good ? size / 2 : engine->ledger_good;
    if (engine->ledger_max < least)
        engine->ledger_max = least;
    engine->limit_until = engine->now + ENGINE_LIMIT_LASTS_MS;
    return true;
}
