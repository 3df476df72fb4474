/* Pages of the source tree that a unit test compares with the code. */
#pragma once

#include <stdio.h>
#include <string.h>

/* Opens a file of the source tree, which this file's own path leads to. */
static inline FILE *open_page(const char *name)
{
    char path[512];
    const char *tail = strstr(__FILE__, "tests/unit/");
    assert_non_null(tail);
    snprintf(path, sizeof path, "%.*s%s", (int)(tail - __FILE__), __FILE__, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}
