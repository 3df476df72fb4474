/* The ledger: what a partition's committed offset says in its metadata. The offset is the base,
 * every offset below it is finished; the metadata tells for the offsets from the base on which are
 * started (a call may have been made) and which are done (their result is published). This is its
 * codec; the engine decides what stands in it. Pure; any thread.
 *
 *     pcw1:SEQUENCE:OWNER:CHECKSUM:BODY        printable ASCII, at most LEDGER_MAX characters
 *
 * - SEQUENCE: decimal, one more with each transaction that carries the partition's ledger
 * - OWNER: instance.id of the worker whose transactions may carry it; empty: handed over in good
 *   order
 * - CHECKSUM: CRC-32 (ISO 3309) of everything else and the base, 8 hexadecimal digits
 * - BODY: the offsets from the base upwards, in the shorter of two codings; those behind the last
 *   one told are fresh
 *   - r…: runs of f (fresh), s (started) or d (done), each followed by its length in decimal, left
 *     out when 1: `rsd12f2s`
 *   - b…: two bits an offset, three offsets a character of base64 (URL alphabet), the first in the
 *     low bits
 *   - x….r… or x….b…: calls whose `unknown` is published may still be running: between x and the
 *     dot, four characters of base64 for each of their order ids (ledger_name)
 *   - R… and B… instead of r… and b…: such calls of order ids that are not named, too
 *
 * Or it is LEDGER_HALT, which is no ledger: it halts the partition for every worker (for those that
 * do not know it, too) until a person has said where to go on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    LEDGER_MAX = 4000,      /* the broker's offset.metadata.max.bytes is 4096 */
    LEDGER_OWNER_SIZE = 65, /* instance.id and its NUL */
    LEDGER_DOUBTS = 64,     /* doubts that it can name */
    /* Started offsets in one: twice the largest platform.max.in.flight. Who claims more would
     * have as many results of unknown outcome published, and as much memory taken for them. */
    LEDGER_STARTED_MAX = 2 * 65536,
};

/* What the worker commits, at offset 0, that has found a committed offset gone and cannot tell what
 * had been done: without it the next one would begin at the oldest request, and call again. */
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
    bool doubt; /* a call whose `unknown` is published may still be running, and is not named */
    uint32_t doubts[LEDGER_DOUBTS]; /* ... those that are: ledger_name of their order ids */
    size_t doubt_count;
    struct ledger_run *runs; /* from the base upwards; neighbours differ */
    size_t run_count, run_capacity;
};

/* Makes it empty with that base and without a doubt, keeping its memory. */
void ledger_reset(struct ledger *ledger, int64_t base);

/* What an order id is called in it, 24 bits: two may have the same name, which makes one of them
 * wait for the other. */
uint32_t ledger_name(const char *order_id);

/* Adds offsets behind those that it tells already; joins equal neighbours. */
void ledger_add(struct ledger *ledger, enum ledger_mark mark, int64_t length);

/* Moves the base over leading done offsets and drops trailing fresh ones. */
void ledger_trim(struct ledger *ledger);

/* The mark of an offset; below the base: done. */
enum ledger_mark ledger_at(const struct ledger *ledger, int64_t offset);

/* Appends the encoded metadata; never longer than LEDGER_MAX when ledger_bound allowed every start
 * in it. */
void ledger_encode(const struct ledger *ledger, struct text *out);

/* Reads committed metadata. Empty metadata is a base only. Returns 0; or -1 when it is not to be
 * trusted, leaving the ledger empty: what is there is nothing that ledger_encode could have
 * written, whatever its checksum says. */
int ledger_decode(struct ledger *ledger, int64_t base, const char *metadata, size_t size,
                  struct error *error);

/* Whether it is LEDGER_HALT. */
bool ledger_is_halt(const char *metadata, size_t size);

/* Upper bound of the encoded length of any ledger in which `span` offsets from the base on are
 * told, `undone` of them not done, and no doubt is named. It never grows when an offset becomes
 * done or fresh, or when the base moves up: what once was below LEDGER_MAX stays below it. */
size_t ledger_bound(int64_t undone, int64_t span);

/* What so many named doubts add to it. */
int64_t ledger_doubts_size(size_t count);

/* The widest span that fits in `most` characters whatever stands in it. */
int64_t ledger_sure_span(int64_t most);

void ledger_fini(struct ledger *ledger);
