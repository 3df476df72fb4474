/* What happens to owned partitions without the group: they are reported as assigned again, because
 * their log or committed state has changed or their topic did not have them; and what cannot be
 * read is begun again. Kafka thread. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/kafka_assignment_internal.h"

enum { ABSENT_TOLD_MS = 10000 /* so long, a broker may not have heard of a new partition */ };

void kafka_restart(struct kafka *kafka, enum request_kind kind, int32_t partition)
{
    struct kafka_slot *slot = kafka_slot_find(kafka, kind, partition);
    if (slot && slot->state == SLOT_OWNED)
        kafka_partition_restart(kafka, slot);
}

static void tell_changed(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    struct record_position *changed = memory_zeroed(a->reported_count, sizeof *changed);
    size_t count = 0;
    for (size_t i = 0; i < a->reported_count; i++) {
        struct kafka_slot *slot =
            kafka_slot_find(kafka, a->reported[i].kind, a->reported[i].partition);
        if (slot->log_changed)
            changed[count++] = a->reported[i];
        slot->log_changed = false;
    }
    if (count && kafka->handler->log_changed)
        kafka->handler->log_changed(kafka->arg, changed, count);
    free(changed);
}

bool kafka_asks_again(const struct kafka *kafka)
{
    return kafka->assignment.asks_again;
}

void kafka_restarts_serve(struct kafka *kafka)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (!a->restarts || a->asked != ASKED_NOTHING || a->closing || a->renewing || a->leaving ||
        kafka_slots_collect(kafka, SLOT_PENDING) > 0)
        return;
    a->reported_count = 0;
    a->restarts = false;
    a->asks_again = true;
    each_slot(slot, kafka) if (slot->restart && slot->state == SLOT_OWNED)
    {
        a->asks_again &= slot->absent_until != 0;
        slot->restart = false;
        slot->restarted = true;
        slot->state = SLOT_PENDING;
        kafka_slot_report(a, slot);
    }
    each_slot(slot, kafka) a->restarts |= slot->restart;
    a->asks_again &= a->reported_count > 0;
    if (a->reported_count == 0)
        return;
    tell_changed(kafka);
    kafka->handler->revoked(kafka->arg, ++a->number, PARTITIONS_OVERTAKEN, a->reported,
                            a->reported_count);
    a->partial = true;
    kafka_pending_notify(kafka);
    a->asks_again = false;
}

void kafka_absent_serve(struct kafka *kafka, int64_t now_ms)
{
    struct kafka_assignment *a = &kafka->assignment;
    if (!a->absences)
        return;
    a->absences = false;
    each_slot(slot, kafka) if (slot->absent_until)
    {
        if (slot->state == SLOT_NONE)
            slot->absent_until = slot->absent_pause = slot->absent_since_ms = 0;
        else if (slot->state == SLOT_OWNED && now_ms >= slot->absent_until) {
            kafka_partition_restart(kafka, slot);
            /* A handler that stops answers without a look. */
            slot->absent_until = now_ms + slot->absent_pause;
        }
        a->absences |= slot->absent_until != 0;
    }
}

int32_t kafka_absent(const struct kafka *kafka, size_t i, int64_t *since_ms)
{
    const struct kafka_slots *slots = &kafka->assignment.slots[kafka->job];
    int64_t now = clock_boot_ms();
    for (size_t at = 0; kafka->assignment.absences && at < slots->count; at++) {
        const struct kafka_slot *slot = slots->at[at];
        if (!slot || slot->state == SLOT_NONE || !slot->absent_since_ms ||
            now - slot->absent_since_ms < ABSENT_TOLD_MS || i-- > 0)
            continue;
        *since_ms = slot->absent_since_ms;
        return slot->partition;
    }
    return -1;
}

void kafka_rereads_serve(struct kafka *kafka, int64_t now_ms)
{
    bool any = false;
    if (!kafka->assignment.needs_reread)
        return;
    each_slot(slot, kafka)
    {
        kafka_partition_serve(kafka, slot, now_ms);
        any |= slot->reopen || slot->trouble.since_ms;
    }
    kafka->assignment.needs_reread = any;
}
