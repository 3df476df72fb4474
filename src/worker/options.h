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
    enum options_action about; /* of ACTION_HELP: the command; ACTION_RUN: all of it */
    const char *file;          /* -c; NULL: none. Borrowed from argv */
    const char **settings;     /* -o KEY=VALUE, in their order; the array is owned */
    size_t setting_count;
    /* Of the commands; NULL: not given. Borrowed from argv. */
    bool json;                                         /* ledger */
    bool yes;                                          /* ledger repair */
    const char *topic, *partition, *offset;            /* ledger repair */
    const char *reason, *code, *since, *order, *limit; /* redrive */
    bool dry_run;                                      /* redrive */
};

/* Reads argv (without changing it; argv[0] is skipped). Returns 0, or -1 with what is wrong, which
 * never repeats a setting's value. options_fini is due either way. */
int options_parse(struct options *options, int argc, char *const *argv, struct error *error);

void options_fini(struct options *options);

/* Adds the text of --help, of a command or (any other action) of the program. */
void options_help(struct text *out, enum options_action about);
