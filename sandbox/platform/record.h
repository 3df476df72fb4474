/* The test record: one JSON line for each POST and each GET of a file. Each line is one write(2) on
 * arrival, before any answer, so that it survives a kill -9 of either side. Phone numbers are
 * written in full, because they are invented and tests count second POSTs by them. The platform's
 * thread. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct sandbox_record {
    int file; /* -1: no record is kept */
    struct text line;
};

/* What is recorded of a POST, or of a GET of a recording's file. Strings may be NULL. */
struct sandbox_record_entry {
    int64_t wall_ms;
    const char *endpoint, *caller, *callee, *call_identifier, *fault, *violation;
    uint64_t connection;
};

/* Opens the file for appending. path NULL: nothing is recorded. */
int sandbox_record_init(struct sandbox_record *record, const char *path, struct error *error);
void sandbox_record_fini(struct sandbox_record *record);

void sandbox_record_write(struct sandbox_record *record, const struct sandbox_record_entry *entry);
