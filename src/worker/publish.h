/* Turns the items that the engine publishes into a transaction for io/kafka. The memory is reused
 * for the next transaction. One Kafka thread. */
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
    struct kafka_transaction transaction;
    const struct engine_item *items; /* of the last publish_fill; they belong to the engine */
    struct published counts;         /* of these items */
};

/* Initialises a job's publish. Names are borrowed from config, which must outlive it. */
void publish_init(struct publish *publish, const struct config *config, enum request_kind job);

/* Renders items as records and ledgers as offsets. Record i is item i. The transaction is valid
 * until the next call. */
struct kafka_transaction *publish_fill(struct publish *publish, const struct engine_item *items,
                                       size_t item_count, const struct stored_ledger *ledgers,
                                       size_t ledger_count);

/* Logs which items of the last publish_fill the broker refused even in their reduced form, and what
 * to do. refused has one element per item. */
void publish_log_refused(const struct publish *publish, const enum record_refusal *refused);

void publish_fini(struct publish *publish);
