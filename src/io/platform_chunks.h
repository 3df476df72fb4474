/* Takes a chunked body apart. libcurl does too, but drops what stands behind the last chunk without
 * a word and keeps the connection; so it is told to leave the bytes as they are. What is malformed
 * is found here, too, as not every libcurl knows each body for a chunked one. */
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
    CHUNKS_BROKEN /* where the body ends cannot be known */
};

struct chunks {
    enum chunks_state state;
    int64_t left;    /* of the chunk; while its size is read: the size so far */
    bool line_begun; /* the line of a size or of the trailer is not empty */
};

/* Takes bytes[0..n) as far as the end of the next piece of content, if there is one. Returns how
 * many bytes that were; the last *content of them are content. Behind the end of the body (state
 * CHUNKS_DONE), and of what is malformed (CHUNKS_BROKEN), nothing is taken. */
size_t chunks_take(struct chunks *chunks, const char *bytes, size_t n, size_t *content);
