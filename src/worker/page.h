/* The files of the page for people: those of src/worker/page/, which the build embeds
 * (cmake/embed.cmake). Constant. */
#pragma once

#include <stddef.h>

struct page_file {
    const char *path; /* the path of its URL */
    const char *content_type;
    const char *etag; /* a hash of the data, in quotes */
    const unsigned char *data;
    size_t size;
};

extern const struct page_file page_files[];
extern const size_t page_file_count;
