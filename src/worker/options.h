/* The command line. Main thread, at start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

enum options_action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_PRINT_CONFIG,
    ACTION_VERSION,
    ACTION_HELP,
    ACTION_LEDGER,
    ACTION_LEDGER_REPAIR,
    ACTION_REDRIVE,
};

struct options {
    enum options_action action;
    enum options_action about; /* for ACTION_HELP: the command; ACTION_RUN: the program */
    const char *file;          /* -c; NULL: none. Borrowed from argv */
    const char **settings;     /* -o KEY=VALUE, in order; options_fini releases the array */
    size_t setting_count;
    /* Options of commands; NULL: not given. Borrowed from argv. */
    bool json;                                         /* ledger */
    bool yes;                                          /* ledger repair */
    const char *topic, *partition, *offset;            /* ledger repair */
    const char *reason, *code, *since, *order, *limit; /* redrive */
    bool dry_run;                                      /* redrive */
};

/* Parses argv without changing it; argv[0] is skipped. Returns 0, or -1 with an error that never
 * contains the value of a setting. The caller calls options_fini in both cases. */
int options_parse(struct options *options, int argc, char *const *argv, struct error *error);

void options_fini(struct options *options);

/* Adds the text of --help: of a command, or for any other action of the program. */
void options_help(struct text *out, enum options_action about);
