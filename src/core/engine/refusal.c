#include <inttypes.h>
#include <stdio.h>

#include "core/engine/internal.h"

/* Records that the broker refuses: each gets another form, or holds back its own partition only. */

/* Holds back late outcomes, which belong to no partition any more. */
static void block_late(struct engine *engine)
{
    if (engine->late_by == engine->refusals)
        return;
    engine->late_by = engine->refusals;
    engine->late_pause = engine->stopping ? ENGINE_BLOCK_FIRST_MS : block_pause(engine->late_pause);
    engine->late_until = engine->now + engine->late_pause;
}

/* A record that is refused in every form blocks its own partition, so that it does not block the
 * others. The pause grows with each refusal of a transaction, however many records were refused. */
static void block_for_refusal(struct engine *engine, struct request *request, int64_t pause)
{
    struct text reason = {0};
    struct partition *partition = request->partition;
    if (!partition) {
        /* A refused result becomes a late outcome, which is another record. */
        if (request->late_outcome)
            block_late(engine);
        return;
    }
    request->refused = true;
    if (partition->blocked_by == engine->refusals &&
        engine->now + pause <= partition->blocked_until)
        return;
    partition->blocked_by = engine->refusals;
    text_printf(&reason, "the broker refuses what is published of offset %" PRId64 "%s%s",
                request->position.offset, *engine->broker_says ? ": " : "", engine->broker_says);
    partition_block(partition, pause, reason.data);
    text_fini(&reason);
}

/* An invalid request has two records, and only the one that is refused changes its form. */
bool *request_size_form(struct request *request, enum engine_item_type type)
{
    return type == ITEM_INVALID ? &request->dead_letter_reduced : &request->reduced;
}

void refusal_note(struct engine *engine, const enum record_refusal *refused)
{
    engine->refusals++;
    for (size_t i = 0; refused && i < engine->txn.item_count; i++) {
        struct request *request = engine->txn.item_requests[i];
        const struct engine_item *item = &engine->txn.items[i];
        enum record_refusal refusal = refused[i];
        if (refusal == RECORD_TAKEN)
            continue;
        bool another_form = (refusal == REFUSED_FOR_SIZE && !item->reduced) ||
                            (refusal == REFUSED_FOR_KEY && !item->keyed);
        if (!another_form && !request->partition && refusal == REFUSED_FOR_SIZE)
            request->refused = true; /* a late outcome that is too large in any form is dropped */
        else if (!another_form)
            block_for_refusal(engine, request, refusal == REFUSED_FOR_SIZE ? ENGINE_REFUSED_MS : 0);
        if (refusal == REFUSED_FOR_SIZE)
            *request_size_form(request, item->type) = true;
        if (refusal == REFUSED_FOR_KEY)
            request->keyed = true;
    }
}

void engine_broker_says(struct engine *engine, const char *words, bool size)
{
    snprintf(engine->broker_says, sizeof engine->broker_says, "%s", words ? words : "");
    engine->says_size = size;
}
