/* The offsets that one group has committed, and those that open transactions have not decided yet.
 * Of several commits for one partition the one that arrived last wins, whether it was plain or
 * transactional, as in Kafka's own log of them. The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "sandbox/broker/topics.h"
#include "sandbox/broker/wire.h"

enum {
    OFFSET_PLAIN = -1,          /* producer id of a commit outside transactions */
    OFFSET_METADATA_MAX = 4096, /* offset.metadata.max.bytes; counted in characters */
};

struct offset {
    int64_t offset;
    int32_t leader_epoch;
    char *metadata; /* never NULL for a committed one */
    uint64_t order; /* of arrival; 0: nothing committed */
};

struct offset_slot {
    struct offset committed;
    struct list pending; /* struct offset_pending */
};

struct offset_topic {
    struct list node;
    struct topic *topic;
    struct offset_slot slots[]; /* one for each partition */
};

struct offsets {
    struct list topics;
    uint64_t arrivals;
};

void offsets_init(struct offsets *offsets);
void offsets_fini(struct offsets *offsets);

/* Commits, or notes as pending for a producer's open transaction. Returns a code. */
int16_t offsets_put(struct offsets *offsets, int64_t producer_id, struct topic *topic,
                    int32_t partition, int64_t offset, int32_t leader_epoch, struct slice metadata);

/* Decides everything that is pending for that producer. */
void offsets_end_transaction(struct offsets *offsets, int64_t producer_id, bool commit);

/* The committed offset, or NULL; *unstable tells whether an open transaction holds another one. */
const struct offset *offsets_get(const struct offsets *offsets, const struct topic *topic,
                                 int32_t partition, bool *unstable);
