/* The sources of settings: file, environment, command line. This module reads them into entries,
 * one for each key and source, and finds the entry that wins. config.c owns the sources while it
 * loads. Main thread, at start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/map.h"
#include "base/text.h"
#include "core/config.h"

enum config_source { SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_OPTION, CONFIG_SOURCES };

/* A setting in one source. */
struct config_entry {
    struct map_node node; /* by key in its source */
    struct config_entry *next;
    enum config_source source;
    char *key;     /* without `.file`, Kafka's aliases resolved */
    char *written; /* the key in the source; for the environment: decoded */
    char *value;   /* or the file that holds it */
    bool from_file;
    char *origin; /* for errors: file:line, variable or option */
};

struct config_sources {
    bool incomplete; /* the file could not be read, so nobody knows what is missing */
    struct map by_key[CONFIG_SOURCES];
    struct config_entry *first, *last;
};

/* Reads all sources. Errors of lines, names and keys are added to `errors`. */
void config_sources_read(struct config_sources *sources, const struct config_input *input,
                         struct text *errors);

void config_sources_fini(struct config_sources *sources);

/* The entry that wins: the command line's, else the environment's, else the file's; NULL: none. */
const struct config_entry *config_sources_find(const struct config_sources *sources,
                                               const char *key);

/* Reads the entry's value, from its file if it names one (without one newline at the end). Returns
 * 0; or -1 if it cannot be read or is not text (UTF-8 without NUL). secret: the error contains
 * neither path nor value. *value is released with free. */
int config_entry_value(const struct config_entry *entry, bool secret, char **value,
                       struct error *why);

/* The origin, as config_print shows it. */
const char *config_entry_label(const struct config_entry *entry);

/* Reads a whole file of at most `limit` bytes, within 2 s. A FIFO is read to its end, like a file,
 * if somebody writes to it. Returns 0 or -1. The caller releases the content with text_fini in both
 * cases. */
int config_read_file(const char *path, size_t limit, struct text *content, struct error *why);

/* Whether the file can be read again: it is a regular file. */
bool config_is_regular(const char *path);

/* Adds the name of the environment variable for a key. */
void config_variable_name(struct text *name, const char *key);

/* Adds a line that says that the key is required, and where it may stand. */
void config_required(struct text *errors, const char *key);

/* Adds a line `origin: key: message` to errors; origin and key may be NULL. */
void config_error(struct text *errors, const char *origin, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
