/* JSON by jansson with numbers kept exactly as they were written: one beyond 64 bits or with a
 * fraction is neither refused nor rounded. Pure; any thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

struct json_number { /* a number's text, inside the bytes that were read */
    const char *text;
    size_t size;
};

struct exact_json {
    json_t *root;                /* NULL: not read */
    struct json_number *numbers; /* what the tree's reals stand for: each is index + 0.5 */
    size_t number_count, number_capacity;
};

/* Once in a process, before several threads read: jansson takes memory as base/memory.h does, since
 * without memory it would report many a sound text as unsound. */
void exact_json_prepare(void);

/* Reads JSON text with jansson's flags. The bytes must stay until exact_json_fini. Returns 0; or -1
 * with jansson's error, whose text may hold parts of the bytes: use its code only. */
int exact_json_read(struct exact_json *json, const char *bytes, size_t size, size_t flags,
                    json_error_t *error);

/* Releases it; harmless after a failed read. */
void exact_json_fini(struct exact_json *json);

/* The text of a number that is no integer of up to 18 digits. */
struct json_number exact_json_number(const struct exact_json *json, const json_t *real);

/* Adds a value of the tree as compact JSON text, members in their order. */
void exact_json_write(struct text *out, const struct exact_json *json, const json_t *value);

/* How often a member is given in the objects at a depth (1: the outermost) of well-formed JSON
 * text; 2 when another name there is written with an escape and so could be it. */
int exact_json_times(const char *bytes, size_t size, int depth, const char *member);
