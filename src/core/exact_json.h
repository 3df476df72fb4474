/* Reads JSON (RFC 8259) into jansson's trees, and keeps what jansson's own reader refuses, rounds
 * or forgets: numbers as they were written, U+0000 in names, escapes of lone surrogates, and which
 * members are given twice. Pure; any thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

struct json_number { /* a number's text, inside the bytes that were read */
    const char *text;
    size_t size;
};

struct json_duplicate { /* a member that its object gives more than once; the last one holds */
    const json_t *object;
    char *name;
};

struct exact_json {
    json_t *root;                /* NULL: not read */
    struct json_number *numbers; /* what the tree's reals stand for: each is index + 0.5 */
    size_t number_count, number_capacity;
    struct json_duplicate *duplicates;
    size_t duplicate_count, duplicate_capacity;
};

/* What is wrong with a text: the first fault found. With JSON_DUPLICATE and JSON_TRAILING its
 * outermost value may have been read in spite of it. */
enum json_fault {
    JSON_SOUND,
    JSON_NOT_UTF8,
    JSON_SYNTAX,
    JSON_CUT,      /* it ends before its value does */
    JSON_TOO_DEEP, /* nested deeper than the limit; the outermost value is the first level */
    JSON_DUPLICATE,
    JSON_TRAILING, /* more than white space follows the value */
};

/* Once in a process, before several threads read: jansson takes memory as base/memory.h does, since
 * without memory it would report many a sound text as unsound. */
void exact_json_prepare(void);

/* Reads a text, which must stay until exact_json_fini. The escape of a lone surrogate becomes
 * U+FFFD when they are to be mended, else three bytes that are no UTF-8. */
enum json_fault exact_json_read(struct exact_json *json, const char *bytes, size_t size,
                                int depth_limit, bool mend_surrogates);

/* Releases it; harmless after a failed read. */
void exact_json_fini(struct exact_json *json);

/* Whether the object, one of the tree's, gives the member more than once. */
bool exact_json_is_doubled(const struct exact_json *json, const json_t *object, const char *name);

/* The text of a number that is no integer of up to 18 digits. */
struct json_number exact_json_number(const struct exact_json *json, const json_t *real);

/* Adds a value of the tree as compact JSON text, members in their order. */
void exact_json_write(struct text *out, const struct exact_json *json, const json_t *value);
