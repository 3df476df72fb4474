/* Puts dead letters back into their topics, each once even if the process is killed and run again:
 * the records and the note of which dead letters they were are one transaction. The note is the
 * committed offset of a separate group (`<kafka.group.id>-redrive`), with a ledger as its metadata,
 * so that a later run can redrive the dead letters that this one leaves out. A second redrive at
 * the same time fences the first. Blocks on the network. The command's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/config.h"
#include "core/request.h"

/* A dead letter, and the request in it. Borrowed for the call. */
struct kafka_dead_letter {
    int32_t partition;
    int64_t offset, timestamp_ms;
    const char *reason, *code, *topic; /* of dlq.*; "" where the header is missing */
    int32_t topic_partition;           /* dlq.partition; -1: missing */
    bool cut;                          /* its key, value or headers were too large to be kept */
    struct raw_record request;
};

enum kafka_dead_letter_choice {
    LETTER_SEND,
    LETTER_LEAVE, /* leave it for a later run */
    LETTER_NEVER, /* no run redrives it */
    LETTER_STOP,  /* leave it and all after it */
};

struct kafka_redrive_handler {
    /* Called once for each dead letter that no run has redriven yet, in the order of each
     * partition. */
    enum kafka_dead_letter_choice (*choose)(void *arg, const struct kafka_dead_letter *letter);
    /* So many more dead letters have been sent and committed, and so many offsets checked. */
    void (*committed)(void *arg, size_t sent, int64_t looked_at);
};

/* Goes through all partitions of topic.dead.letters up to their current ends. dry_run: only asks,
 * and writes nothing. Returns 0; or -1 if it cannot go on: the dead letters that it has reported as
 * committed are, and no other is half done. */
int kafka_redrive(const struct config *config, bool dry_run,
                  const struct kafka_redrive_handler *handler, void *arg, struct error *error);
