/* The log of one partition: batches by offset, who produced them (duplicates, fencing, open
 * transactions), which transactions were aborted. Keeps the newest bytes up to a limit. The
 * broker's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/batch.h"

struct partition_abort {
    int64_t producer_id, first, last; /* offsets; last is the marker's */
};

struct partition {
    struct batch **batches; /* from [head] on, count of them, ascending */
    size_t head, count, capacity;
    size_t bytes, bytes_max;
    int64_t start, end; /* first offset kept; next offset to be given */
    struct list producers;
    struct partition_abort *aborts; /* ascending by last */
    size_t abort_count, abort_capacity;
};

void partition_init(struct partition *partition, size_t bytes_max);
void partition_fini(struct partition *partition);

/* Appends a producer's batch and takes it over (releases it when it is refused). Returns a code and
 * the offset of its first record. */
int16_t partition_append(struct partition *partition, struct batch *batch, int64_t *base);

/* Ends the producer's transaction here by a marker; the epoch fences older ones. */
void partition_end_transaction(struct partition *partition, int64_t producer_id, int16_t epoch,
                               bool commit, int64_t timestamp);

/* The offset below which every transaction is decided: where read_committed readers stop. */
int64_t partition_stable_end(const struct partition *partition);

/* The index (for partition_batch) of the batch that holds the offset or follows it; count when
 * there is none. */
size_t partition_find(const struct partition *partition, int64_t offset);
const struct batch *partition_batch(const struct partition *partition, size_t index);
