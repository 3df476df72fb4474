#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/dispatch.h"
#include "worker/kafka_thread_internal.h"

enum {
    DUPLICATE_WAIT_MS = 5000, /* how long recordings wait for the end of one of two processes with
                            one instance.id */
    CLAIM_FIRST_MS = 1000,    /* first pause after a refused claim; doubles */
    CLAIM_MAX_MS = 30000,
};

static void do_transact(struct kafka_thread *thread, const struct engine_action *action)
{
    struct kafka_transaction *transaction = publish_fill(
        &thread->publish, action->items, action->item_count, action->ledgers, action->ledger_count);
    atomic_store(&thread->committing, true);
    thread->transaction_us = clock_boot_us();
    kafka_transact(thread->kafka, transaction);
}

static void do_recall(struct kafka_thread *thread, const struct engine_action *action)
{
    bool all = action->partition == ENGINE_ALL;
    call_thread_recall(thread->calls, thread->job, all ? DISPATCH_ALL : action->partition);
}

/* A partition that another worker has taken over is not kept in memory. A process that stops keeps
 * none that is drained, either, and logs each call that outlives the stop. */
static void log_hand_over(struct kafka_thread *thread)
{
    size_t started, kept = kafka_actions_count_lost(thread, &started);
    size_t gone = kept < thread->lost ? thread->lost - kept : 0;
    bool calls = thread->job == REQUEST_CALL;
    if (gone && !thread->stop_until)
        log_warn("another worker has taken over %zu of %zu lost partitions: %s", gone, thread->lost,
                 calls ? "their started requests that had no result yet become unknown"
                       : "it asks again for their recordings that had no result yet");
    if (started)
        log_warn("lost partitions could not be handed over completely: %zu %s go on if their "
                 "partitions come back to this worker before another worker has had them; "
                 "otherwise %s",
                 started, calls ? "started request(s)" : "recording(s) under way",
                 calls ? "they become unknown (if the topic was deleted, they have no result)"
                       : "another worker asks for them again");
    else if (!gone)
        log_info("lost partitions are left to the group: %s",
                 calls ? "no call of theirs is started, so nothing of them becomes unknown"
                       : "no recording of theirs is under way");
    thread->losing = false;
}

size_t kafka_actions_count_lost(const struct kafka_thread *thread, size_t *started)
{
    struct engine_partition_stats view;
    size_t lost = 0;
    *started = 0;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        lost += view.lost;
        *started += view.lost ? view.started : 0;
    }
    return lost;
}

static void do_unassign(struct kafka_thread *thread, const struct engine_action *action)
{
    if (thread->losing)
        log_hand_over(thread);
    kafka_unassign(thread->kafka, action->rebalance);
}

static void do_leave(struct kafka_thread *thread)
{
    thread->leaving = true;
    kafka_leave(thread->kafka);
}

static void end_as_duplicate(struct kafka_thread *thread)
{
    log_error("fenced twice within a minute: another process runs with instance.id %s in group %s; "
              "give each its own. Ending",
              thread->config->instance_id, group_of(thread));
    thread->status = 1;
    thread->done = thread->has_duplicate = true;
}

/* If two processes have one instance.id, both jobs of both are fenced at about the same time, and
 * in each group one of the processes loses. If it were one process in one group and the other in
 * the other, both would end. So the recordings wait a moment while the calls decide, and go on if
 * nobody fences them again. */
static void do_fail(struct kafka_thread *thread)
{
    bool alone = thread->job == REQUEST_CALL || !*thread->config->request_topics[REQUEST_CALL];
    bool again = thread->ignored_at && thread->now - thread->ignored_at < TROUBLE_INTERVAL_MS;
    if (alone || again) {
        end_as_duplicate(thread);
        return;
    }
    log_warn("fenced twice within a minute in group %s: if another process runs with instance.id "
             "%s, one of the two is going to end; waiting for %d ms",
             group_of(thread), thread->config->instance_id, DUPLICATE_WAIT_MS);
    thread->ignored_at = thread->now;
    thread->waits_until = thread->now + DUPLICATE_WAIT_MS;
}

/* An operation begins whose end note_answer is told (kafka_reports.c). */
static void note_asked(struct kafka_thread *thread, enum trouble_kind kind)
{
    thread->asked_since = thread->now;
    thread->asked = kind;
}

static void carry_out(struct kafka_thread *thread, const struct engine_action *action)
{
    switch (action->type) {
    case ENGINE_NOTHING:
        break;
    case ENGINE_TRANSACT:
        do_transact(thread, action);
        break;
    case ENGINE_RENEW_PRODUCER:
        thread->renewing_since = thread->now;
        kafka_renew_producer(thread->kafka);
        break;
    case ENGINE_READ:
        note_asked(thread, TROUBLE_READS);
        kafka_read_ledgers(thread->kafka, action->positions, action->position_count,
                           action->stable);
        break;
    case ENGINE_END_OWNER:
        note_asked(thread, TROUBLE_OWNERS);
        kafka_end_owner(thread->kafka, action->owner);
        break;
    case ENGINE_COMMIT:
        note_asked(thread, TROUBLE_COMMITS);
        kafka_commit(thread->kafka, action->ledgers, action->ledger_count);
        break;
    case ENGINE_ASSIGN:
        kafka_assign(thread->kafka, action->rebalance, action->positions, action->position_count);
        break;
    case ENGINE_UNASSIGN:
        do_unassign(thread, action);
        break;
    case ENGINE_START:
        call_thread_start(thread->calls, action->request);
        break;
    case ENGINE_RECALL:
        do_recall(thread, action);
        break;
    case ENGINE_LEAVE:
        do_leave(thread);
        break;
    case ENGINE_FAIL:
        do_fail(thread);
        break;
    }
}

void kafka_actions_carry_out(struct kafka_thread *thread)
{
    struct engine_action action;
    if (thread->waits_until && thread->now >= thread->waits_until) {
        thread->waits_until = 0;
        engine_ignore_duplicate(thread->engine);
    }
    while (!thread->done && !thread->waits_until &&
           engine_next(thread->engine, thread->now, thread->wall, &action) != ENGINE_NOTHING)
        carry_out(thread, &action);
}

/* Somebody may have mended what the broker refused, so the claim is repeated after a growing pause.
 * That takes a new assignment of this partition alone. */
void kafka_actions_retry_claims(struct kafka_thread *thread)
{
    struct engine_partition_stats view;
    for (size_t i = 0; engine_get_partition_stats(thread->engine, i, &view); i++) {
        struct claim *claim = &notes_of(thread, view.partition)->claim;
        if (view.active)
            *claim = (struct claim){0};
        if (!view.unclaimed || view.active || thread->stop_until || thread->now < claim->at)
            continue;
        if (claim->at)
            kafka_restart(thread->kafka, thread->job, view.partition);
        claim->pause = !claim->pause                     ? CLAIM_FIRST_MS
                       : claim->pause < CLAIM_MAX_MS / 2 ? 2 * claim->pause
                                                         : CLAIM_MAX_MS;
        claim->at = thread->now + claim->pause;
    }
}
