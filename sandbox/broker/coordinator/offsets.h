/* The offsets that one group has committed, and those that open transactions have not decided yet.
 * Of several commits for one partition the one that was decided last wins. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/log/topics.h"
#include "sandbox/broker/wire/wire.h"

enum {
    OFFSET_PLAIN = -1,          /* producer id of a commit outside transactions */
    OFFSET_METADATA_MAX = 4096, /* offset.metadata.max.bytes */
};

struct broker_offset {
    int64_t offset;
    int32_t leader_epoch;
    char *metadata; /* NULL: nothing committed */
};

struct broker_offset_slot {
    struct broker_offset committed;
    struct list pending; /* struct offset_pending */
};

struct broker_offset_topic {
    struct list node;
    struct broker_topic *topic;
    struct broker_offset_slot slots[]; /* one for each partition */
};

struct broker_offsets {
    struct list topics;
};

void broker_offsets_init(struct broker_offsets *offsets);
void broker_offsets_fini(struct broker_offsets *offsets);

/* Commits, or notes as pending for a producer's open transaction. Returns a code. */
int16_t broker_offsets_put(struct broker_offsets *offsets, int64_t producer_id,
                           struct broker_topic *topic, int32_t partition, int64_t offset,
                           int32_t leader_epoch, struct broker_slice metadata);

/* Decides everything that is pending for that producer. */
void broker_offsets_end_transaction(struct broker_offsets *offsets, int64_t producer_id,
                                    bool commit);

/* The committed offset, or NULL; *unstable tells whether an open transaction holds another one. */
const struct broker_offset *broker_offsets_get(const struct broker_offsets *offsets,
                                               const struct broker_topic *topic, int32_t partition,
                                               bool *unstable);
