#include "core/engine/internal.h"

/* Whose turn it is. The cost of a transaction for Kafka and librdkafka grows with the partitions in
 * it. So few partitions start several requests each: a turn, of at most a sixteenth of the slots. A
 * partition that had nothing to start joins the line of the newcomers, which come before all
 * partitions that have had a turn: a request that arrives in a quiet partition waits for one turn
 * of each newcomer before it, and not for the backlogs of the others. After its turn a partition
 * goes to the end of the common line, whether it has requests left or not, so none is a newcomer
 * twice in one round.
 *
 * So each partition has its turn after at most two turns of each other one, whatever these hold.
 * Sixteen turns (with fewer slots, as many turns as slots) fill all slots: with P partitions, each
 * can start something within P / 8 times the duration of a call. */

enum {
    TURN_MAX = 16,   /* requests */
    TURN_SHARES = 16 /* and at most this part of the slots */
};

int64_t turn_length(const struct engine *engine)
{
    if (engine->options.turn)
        return engine->options.turn;
    int64_t share = engine->options.slots / TURN_SHARES;
    return share < 1 ? 1 : share < TURN_MAX ? share : TURN_MAX;
}

void turn_join(struct partition *partition)
{
    if (!list_linked(&partition->turn_node))
        list_append(&partition->engine->newcomers, &partition->turn_node);
}

struct partition *turn_take(struct engine *engine, bool *newcomer)
{
    for (;;) {
        *newcomer = !list_empty(&engine->newcomers);
        struct list *first = list_take_first(*newcomer ? &engine->newcomers : &engine->turns);
        if (!first)
            return NULL;
        struct partition *partition = list_of(first, struct partition, turn_node);
        if (partition->phase == PARTITION_ACTIVE && !list_empty(&partition->ready))
            return partition;
    }
}

void turn_over(struct partition *partition, bool newcomer)
{
    if (newcomer || !list_empty(&partition->ready))
        list_append(&partition->engine->turns, &partition->turn_node);
}

void turn_first(struct partition *partition)
{
    if (!list_linked(&partition->turn_node))
        return;
    list_remove(&partition->turn_node);
    list_prepend(&partition->engine->newcomers, &partition->turn_node);
}
