/* The ledger: the metadata of a partition's committed offset. The offset is the base: every offset
 * below it is finished. The metadata says which offsets from the base on are started (a call may
 * have been made) and which are done (their result is published). This is the codec; the engine
 * decides the content. No I/O; any thread.
 *
 *     pcw1:SEQUENCE:OWNER:CHECKSUM:BODY        printable ASCII, at most LEDGER_MAX characters
 *
 * - SEQUENCE: decimal; one more with each transaction that contains the partition's ledger, two
 *   more with a claim
 * - OWNER: instance.id of the worker whose transactions may contain it; empty: handed over
 * - CHECKSUM: CRC-32 (ISO 3309) of everything else and the base, 8 hexadecimal digits
 * - BODY: the offsets from the base upwards, in the shorter of two codings; offsets after the last
 *   one are fresh
 *   - r…: runs of f (fresh), s (started) or d (done), each followed by its length in decimal, left
 *     out when 1: `rsd12f2s`
 *   - b…: two bits an offset, three offsets a character of base64 (URL alphabet), the first in the
 *     low bits
 *   - x….r… or x….b…: between x and the dot, four characters of base64 (ledger_name) for each order
 *     id with a call in doubt: its `unknown` is published, and it may still be running
 *   - R… and B… instead of r… and b…: there are also calls in doubt whose order ids are not named
 *
 * Or the metadata is LEDGER_HALT, which is not a ledger: it halts the partition for every worker,
 * also for versions that do not know it, until a person decides where to go on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    LEDGER_MAX = 4000,      /* the broker's offset.metadata.max.bytes is 4096 */
    LEDGER_OWNER_SIZE = 65, /* instance.id and its NUL */
    LEDGER_DOUBTS = 64,     /* limit of named doubts */
    /* Limit of started offsets: twice the largest platform.max.in.flight. A forged ledger with more
     * would cause as many `unknown` results, and as much memory for them. */
    LEDGER_STARTED_MAX = 2 * 65536,
};

/* The metadata that a worker commits, at offset 0, when a committed offset is gone and it does not
 * know what was done: without it the next worker would begin at the oldest request, and call
 * again. */
#define LEDGER_HALT "pcw1:halted:offset-lost"

enum ledger_mark { LEDGER_FRESH, LEDGER_STARTED, LEDGER_DONE };

struct ledger_run {
    enum ledger_mark mark;
    int64_t length;
};

struct ledger {
    int64_t base;
    uint64_t sequence;
    char owner[LEDGER_OWNER_SIZE];
    bool doubt; /* calls whose `unknown` is published may still be running, and are not named */
    uint32_t doubts[LEDGER_DOUBTS]; /* such calls that are named: ledger_name of their order ids */
    size_t doubt_count;
    struct ledger_run *runs; /* from the base upwards; neighbours differ */
    size_t run_count, run_capacity;
};

/* Empties the ledger, with that base and without doubts. Keeps the memory. */
void ledger_reset(struct ledger *ledger, int64_t base);

/* The name of an order id in the ledger, 24 bits. Two order ids may have the same name, and then
 * one of them waits for the other. */
uint32_t ledger_name(const char *order_id);

/* Adds offsets after those in the ledger, and joins equal neighbours. */
void ledger_add(struct ledger *ledger, enum ledger_mark mark, int64_t length);

/* Moves the base over leading done offsets and drops trailing fresh ones. */
void ledger_trim(struct ledger *ledger);

/* The mark of an offset; below the base: done. */
enum ledger_mark ledger_at(const struct ledger *ledger, int64_t offset);

/* Appends the encoded metadata. It is at most LEDGER_MAX long if ledger_bound allowed every started
 * offset in it. */
void ledger_encode(const struct ledger *ledger, struct text *out);

/* The same into an empty text. If that is too long with the names of doubts, they become one doubt
 * without a name: another worker's ledger may leave them no room. */
void ledger_encode_within(struct ledger *ledger, int64_t max, struct text *out);

/* The length of the metadata that a worker of that name needs for the ledger. */
size_t ledger_size_for(const struct ledger *ledger, const char *owner);

/* Parses committed metadata. Empty metadata is a base only. Returns 0; or -1, with an empty ledger,
 * if the metadata cannot be trusted: ledger_encode could not have written it, whatever its checksum
 * says. */
int ledger_decode(struct ledger *ledger, int64_t base, const char *metadata, size_t size,
                  struct error *error);

/* Whether the metadata is LEDGER_HALT. */
bool ledger_is_halt(const char *metadata, size_t size);

/* Upper bound of the encoded length of any ledger with `span` offsets from the base on, of which
 * `undone` are not done, and without named doubts. The bound never grows when an offset becomes
 * done or fresh, or when the base moves up: a ledger below LEDGER_MAX stays below it. */
size_t ledger_bound(int64_t undone, int64_t span);

/* The length that so many named doubts add. */
int64_t ledger_doubts_size(size_t count);

/* The widest span that fits into `most` characters with any content. */
int64_t ledger_sure_span(int64_t most);

void ledger_fini(struct ledger *ledger);
