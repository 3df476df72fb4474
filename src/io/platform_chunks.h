/* Parses a chunked body. libcurl would do this, too, but it silently drops bytes after the last
 * chunk and keeps the connection. So libcurl is configured to pass the bytes on unchanged.
 * Malformed chunks are found here, because not every version of libcurl recognises every chunked
 * body. The loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chunks_state {
    CHUNKS_SIZE,
    CHUNKS_EXTENSION,
    CHUNKS_DATA,
    CHUNKS_DATA_END,
    CHUNKS_TRAILER,
    CHUNKS_DONE,
    CHUNKS_BROKEN /* malformed: the end of the body cannot be known */
};

struct chunks {
    enum chunks_state state;
    int64_t left;    /* bytes left of the chunk; while its size is read, the size so far */
    bool line_begun; /* the current line of a size or of the trailer is not empty */
};

/* Parses bytes[0..n) up to the end of the next piece of content, if there is one. Returns the
 * number of parsed bytes; the last *content of them are content. After the end of the body (state
 * CHUNKS_DONE), and after malformed bytes (CHUNKS_BROKEN), nothing is parsed. */
size_t chunks_take(struct chunks *chunks, const char *bytes, size_t n, size_t *content);
