/* The test record: one JSON line for each POST and each GET of a file, written with one write(2) on
 * arrival, before any answer, so that it survives a kill -9 of either side. Numbers stand in it in
 * full: they are made up, and tests count second POSTs with it. The platform's thread. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct record {
    int file; /* -1: nothing is recorded */
    struct text line;
};

/* What is written of a POST, or of the GET of a recording's file; strings may be NULL. */
struct record_entry {
    int64_t wall_ms;
    const char *endpoint, *caller, *callee, *call_identifier, *fault, *violation;
    uint64_t connection;
};

/* Opens the file for appending; path NULL: records nothing. */
int record_init(struct record *record, const char *path, struct error *error);
void record_fini(struct record *record);

void record_write(struct record *record, const struct record_entry *entry);
