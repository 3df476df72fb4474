/* Parses JSON (RFC 8259) into jansson's trees, and keeps what jansson's parser refuses, rounds or
 * drops: numbers as written, U+0000 in names, escapes of lone surrogates, and which members occur
 * twice. No I/O; any thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

struct json_number { /* a number's text, within the parsed bytes */
    const char *text;
    size_t size;
};

struct json_duplicate { /* a member that occurs more than once in its object; the last one counts */
    const json_t *object;
    char *name;
};

struct exact_json {
    json_t *root;                /* NULL: not parsed */
    struct json_number *numbers; /* the numbers behind the tree's reals: each real is index + 0.5 */
    size_t number_count, number_capacity;
    struct json_duplicate *duplicates;
    size_t duplicate_count, duplicate_capacity;
};

/* The first fault of a text. With JSON_DUPLICATE and JSON_TRAILING the outermost value may be
 * parsed all the same. */
enum json_fault {
    JSON_SOUND,
    JSON_NOT_UTF8,
    JSON_SYNTAX,
    JSON_CUT,      /* the text ends within its value */
    JSON_TOO_DEEP, /* nested deeper than the limit; the outermost value is the first level */
    JSON_DUPLICATE,
    JSON_TRAILING, /* more than white space follows the value */
};

/* Called once per process, before several threads parse. It makes jansson allocate like
 * base/memory.h, because without memory jansson would report valid texts as invalid. */
void exact_json_prepare(void);

/* Parses a text, which must stay until exact_json_fini. The escape of a lone surrogate becomes
 * U+FFFD with mend_surrogates, otherwise three bytes that are not UTF-8. */
enum json_fault exact_json_read(struct exact_json *json, const char *bytes, size_t size,
                                int depth_limit, bool mend_surrogates);

/* Releases the tree. May be called after a failed parse. */
void exact_json_fini(struct exact_json *json);

/* Whether the object, which is in the tree, has the member more than once. */
bool exact_json_is_doubled(const struct exact_json *json, const json_t *object, const char *name);

/* The text of a number that is not an integer of up to 18 digits. */
struct json_number exact_json_number(const struct exact_json *json, const json_t *real);

/* Adds a value of the tree as compact JSON text, members in their order. */
void exact_json_write(struct text *out, const struct exact_json *json, const json_t *value);
