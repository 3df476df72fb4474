/* The transaction coordinator: producer ids and epochs, and for each transactional id at most one
 * open transaction, which ends in all its partitions and groups at once. Fences what has an older
 * epoch. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/group.h"
#include "sandbox/broker/topics.h"
#include "sandbox/broker/wire.h"

struct txns {
    struct list list; /* struct txn */
    int64_t next_producer_id;
    struct groups *groups; /* borrowed: where pending offsets are decided */
};

/* Who speaks: what each transactional request begins with. */
struct txn_caller {
    struct slice transactional_id;
    int64_t producer_id;
    int16_t epoch;
};

void txns_init(struct txns *txns, struct groups *groups);
void txns_fini(struct txns *txns);

/* A producer id without transactions. */
int64_t txns_allocate(struct txns *txns);

/* Gives the caller (with producer id -1 when it has none yet) its next epoch and aborts its open
 * transaction. Returns a code. */
int16_t txns_init_producer(struct txns *txns, struct txn_caller *caller, int32_t timeout_ms);

/* Adds a partition or a group to the caller's transaction, which begins with the first, at now
 * (ms). Returns a code. */
int16_t txns_add_partition(struct txns *txns, const struct txn_caller *caller,
                           struct partition *partition, int64_t now);
int16_t txns_add_group(struct txns *txns, const struct txn_caller *caller, struct group *group,
                       int64_t now);

/* Whether a transactional write there belongs to the open transaction. Returns a code. */
int16_t txns_check_partition(struct txns *txns, const struct txn_caller *caller,
                             const struct partition *partition);
int16_t txns_check_group(struct txns *txns, const struct txn_caller *caller,
                         const struct group *group);

/* Commits or aborts. Returns a code. */
int16_t txns_end(struct txns *txns, const struct txn_caller *caller, bool commit);

/* Aborts what has outlived its time and fences its producer; whether there was any. */
bool txns_expire(struct txns *txns, int64_t now);
/* When the next one would; INT64_MAX: never. */
int64_t txns_deadline(const struct txns *txns);
