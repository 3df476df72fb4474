/* The log of one partition: batches by offset, their producers (duplicates, fencing, open
 * transactions), and aborted transactions. It keeps the newest bytes, up to a limit. The broker's
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/log/batch.h"

struct broker_partition_abort {
    int64_t producer_id, first, last; /* offsets; last is the marker's */
};

struct broker_partition {
    struct broker_batch **batches; /* from [head] on, count of them, ascending */
    size_t head, count, capacity;
    size_t bytes, bytes_max;
    int64_t start, end; /* first kept offset; next free offset */
    struct list producers;
    struct broker_partition_abort *aborts; /* ascending by last */
    size_t abort_count, abort_capacity;
};

void broker_partition_init(struct broker_partition *partition, size_t bytes_max);
void broker_partition_fini(struct broker_partition *partition);

/* Appends a producer's batch, which the partition owns from here on (a refused batch is released).
 * Returns a code and the offset of the first record. */
int16_t broker_partition_append(struct broker_partition *partition, struct broker_batch *batch,
                                int64_t *base);

/* Ends the producer's transaction here by a marker; the epoch fences older ones. */
void broker_partition_end_transaction(struct broker_partition *partition, int64_t producer_id,
                                      int16_t epoch, bool commit, int64_t timestamp);

/* The offset below which every transaction is decided: where read_committed readers stop. */
int64_t broker_partition_stable_end(const struct broker_partition *partition);

/* The index (for broker_partition_batch) of the batch with the offset, or of the next one; count:
 * there is none. */
size_t broker_partition_find(const struct broker_partition *partition, int64_t offset);
const struct broker_batch *broker_partition_batch(const struct broker_partition *partition,
                                                  size_t index);
