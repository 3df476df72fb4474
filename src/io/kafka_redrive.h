/* Dead letters back to their topics, each once even if the process is killed and run again: the
 * records and the note of which letters they were are one transaction. The note is the committed
 * offset of a group of its own (`<kafka.group.id>-redrive`), with a ledger as its metadata, so that
 * letters that a run leaves out can be redriven by a later one. A second redrive at the same time
 * fences the first. Blocks on the network; the command's one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/config.h"
#include "core/request.h"

/* A dead letter, and the request in it. Borrowed for the call. */
struct kafka_letter {
    int32_t partition;
    int64_t offset, timestamp_ms;
    const char *reason, *code, *topic; /* of dlq.*; "" where the header is missing */
    int32_t topic_partition;           /* dlq.partition; -1: missing */
    bool cut;                          /* its key, value or headers were too large to be kept */
    struct raw_record request;
};

enum kafka_letter_choice {
    LETTER_SEND,
    LETTER_LEAVE, /* for a later run */
    LETTER_NEVER, /* no later run takes it either */
    LETTER_STOP,  /* that one and all behind it are left */
};

struct kafka_redrive_handler {
    /* Asked once for each letter that no run has redriven yet, in the order of each partition. */
    enum kafka_letter_choice (*choose)(void *arg, const struct kafka_letter *letter);
    /* So many letters more have been sent and committed, and so many offsets looked at. */
    void (*committed)(void *arg, size_t sent, int64_t looked_at);
};

/* Goes through all partitions of topic.dead.letters up to their present ends. dry_run: only asks,
 * writes nothing. Returns 0; or -1 when it cannot go on: what was told as committed is, and nothing
 * else is half done. */
int kafka_redrive(const struct config *config, bool dry_run,
                  const struct kafka_redrive_handler *handler, void *arg, struct error *error);
