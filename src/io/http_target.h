/* Parses the target of an HTTP request. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A request's target: /path?query, or http://host[:port]/path?query. */
struct http_target {
    const char *authority; /* points into the target; NULL: the target has none, and Host counts */
    size_t authority_size;
    bool other_scheme; /* the scheme is not http */
    char *path;        /* decoded, without the query; to be released with free */
};

/* Whether the target has only characters that are allowed: visible ASCII. */
bool http_target_is_clean(const char *target);

/* Returns 0; or -1 for a malformed target, such as a path with control characters, encoded or not.
 * Then there is nothing to release. */
int http_target_read(struct http_target *target, const char *text);
