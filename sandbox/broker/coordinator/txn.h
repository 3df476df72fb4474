/* The transaction coordinator: producer ids and epochs, and for each transactional id at most one
 * open transaction, which ends in all its partitions and groups at once. Requests with an older
 * epoch are fenced. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/coordinator/group.h"
#include "sandbox/broker/log/topics.h"
#include "sandbox/broker/wire/wire.h"

struct broker_txns {
    struct list list; /* struct txn */
    int64_t next_producer_id;
};

/* The caller: the first fields of each transactional request. */
struct broker_txn_caller {
    struct broker_slice transactional_id;
    int64_t producer_id;
    int16_t epoch;
};

void broker_txns_init(struct broker_txns *txns);
void broker_txns_fini(struct broker_txns *txns);

/* A producer id without transactions. */
int64_t broker_txns_allocate(struct broker_txns *txns);

/* Gives the caller (with producer id -1 when it has none yet) its next epoch and aborts its open
 * transaction. Returns a code. */
int16_t broker_txns_init_producer(struct broker_txns *txns, struct broker_txn_caller *caller,
                                  int32_t timeout_ms);

/* Adds a partition or a group to the caller's transaction, which begins with the first, at now
 * (ms). Returns a code. */
int16_t broker_txns_add_partition(struct broker_txns *txns, const struct broker_txn_caller *caller,
                                  struct broker_partition *partition, int64_t now);
int16_t broker_txns_add_group(struct broker_txns *txns, const struct broker_txn_caller *caller,
                              struct broker_group *group, int64_t now);

/* Whether a transactional write there belongs to the open transaction. Returns a code. */
int16_t broker_txns_check_partition(struct broker_txns *txns,
                                    const struct broker_txn_caller *caller,
                                    const struct broker_partition *partition);
int16_t broker_txns_check_group(struct broker_txns *txns, const struct broker_txn_caller *caller,
                                const struct broker_group *group);

/* Commits or aborts. Returns a code. */
int16_t broker_txns_end(struct broker_txns *txns, const struct broker_txn_caller *caller,
                        bool commit);

/* Aborts transactions that have timed out, and fences their producers. Returns whether there was
 * any. */
bool broker_txns_expire(struct broker_txns *txns, int64_t now);
/* When the next transaction times out; INT64_MAX: never. */
int64_t broker_txns_deadline(const struct broker_txns *txns);
