/* Turns what the engine wants published into a transaction for io/kafka. Its memory is reused from
 * one transaction to the next. A Kafka thread's. */
#pragma once

#include "core/config.h"
#include "core/engine/engine.h"
#include "core/result.h"
#include "io/kafka.h"
#include "worker/metrics.h"

struct publish {
    enum request_kind job;
    struct result_names names;
    struct record *records;
    size_t record_capacity;
    struct kafka_ledger *ledgers;
    size_t ledger_capacity;
    struct kafka_transaction transaction;
    const struct engine_item *items; /* that were filled in last; the engine's */
    struct published counts;         /* of them */
};

/* Of a job. Names are borrowed from config, which must outlive it. */
void publish_init(struct publish *publish, const struct config *config, enum request_kind job);

/* Renders items as records and ledgers as offsets. The transaction stays valid until the next call;
 * record i is item i. */
struct kafka_transaction *publish_fill(struct publish *publish, const struct engine_item *items,
                                       size_t item_count, const struct engine_ledger *ledgers,
                                       size_t ledger_count);

/* Says which of the items filled in last the broker refused even in their small form, and what to
 * do. One flag an item. */
void publish_log_refused(const struct publish *publish, const enum kafka_refusal *refused);

/* The engine's ledgers as io/kafka takes them. */
void publish_ledgers(const struct publish *publish, struct kafka_ledger *out,
                     const struct engine_ledger *ledgers, size_t count);

void publish_fini(struct publish *publish);
