/* The files of the page for people, from src/worker/page/, as the build puts them into the program
 * (cmake/embed.cmake). Constant. */
#pragma once

#include <stddef.h>

struct page_file {
    const char *path; /* under which it is served */
    const char *content_type;
    const char *etag; /* a hash of it, in quotes */
    const unsigned char *data;
    size_t size;
};

extern const struct page_file page_files[];
extern const size_t page_file_count;
