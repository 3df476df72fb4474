/* One record batch (message format 2) as in requests and in the log: its header, its checksum, and
 * the control batch that ends a transaction. Records are never decoded, so compressed batches stay
 * unchanged. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/broker/wire/wire.h"

enum { BATCH_HEADER_SIZE = 61 };

struct broker_batch {
    int64_t base, last;  /* offsets */
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    bool transactional;
    uint32_t size;
    uint8_t bytes[]; /* the whole batch, header included */
};

/* Reads and checks a producer's records for one partition, which must be exactly one batch. Returns
 * a code; with CODE_NONE there is a new batch, to be released with free(). */
int16_t broker_batch_parse(struct broker_slice records, struct broker_batch **batch);

/* A commit or abort marker at offset base. */
struct broker_batch *broker_batch_marker(int64_t base, int64_t producer_id, int16_t producer_epoch,
                                         bool commit, int64_t timestamp);

/* Writes the batch's offset in the log into it. */
void broker_batch_set_base(struct broker_batch *batch, int64_t base);
