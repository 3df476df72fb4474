/* What a request's line asks for. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A request's target: /path?query, or http://host[:port]/path?query. */
struct http_target {
    const char *authority; /* points into the target; NULL: it names none, Host counts */
    size_t authority_size;
    bool other_scheme; /* it is not for http:// */
    char *path;        /* decoded, without the query; to be released with free */
};

/* Whether it has no characters but those that a target may have: visible ASCII. */
bool http_target_is_clean(const char *target);

/* Returns 0; or -1 when it is malformed (a path that holds control characters, encoded or not, is),
 * and nothing is to be released. */
int http_target_read(struct http_target *target, const char *text);
