#include "io/platform_chunks.h"

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void end_of_size(struct chunks *chunks)
{
    chunks->state = chunks->left ? CHUNKS_DATA : CHUNKS_TRAILER;
    chunks->line_begun = false;
}

static void take_size(struct chunks *chunks, char c)
{
    int digit = hex_of(c);
    if (digit < 0 && !chunks->line_begun)
        chunks->state = CHUNKS_BROKEN;
    else if (c == '\n')
        end_of_size(chunks);
    else if (digit < 0)
        chunks->state = CHUNKS_EXTENSION;
    else if (chunks->left >= INT64_MAX / 32)
        chunks->state = CHUNKS_BROKEN;
    else
        chunks->left = chunks->left * 16 + digit;
    chunks->line_begun = chunks->state == CHUNKS_SIZE || chunks->state == CHUNKS_EXTENSION;
}

static void take_framing(struct chunks *chunks, char c)
{
    switch (chunks->state) {
    case CHUNKS_SIZE:
        take_size(chunks, c);
        break;
    case CHUNKS_EXTENSION:
        if (c == '\n')
            end_of_size(chunks);
        break;
    case CHUNKS_DATA_END:
        if (c == '\n')
            *chunks = (struct chunks){.state = CHUNKS_SIZE};
        else if (c != '\r')
            chunks->state = CHUNKS_BROKEN;
        break;
    case CHUNKS_TRAILER:
        if (c == '\n' && !chunks->line_begun)
            chunks->state = CHUNKS_DONE;
        else if (c != '\r')
            chunks->line_begun = c != '\n';
        break;
    case CHUNKS_DATA:
    case CHUNKS_DONE:
    case CHUNKS_BROKEN:
        break;
    }
}

size_t chunks_take(struct chunks *chunks, const char *bytes, size_t n, size_t *content)
{
    size_t taken = 0;
    *content = 0;
    while (taken < n && chunks->state < CHUNKS_DONE) {
        if (chunks->state != CHUNKS_DATA) {
            take_framing(chunks, bytes[taken++]);
            continue;
        }
        size_t left = n - taken;
        *content = (int64_t)left < chunks->left ? left : (size_t)chunks->left;
        chunks->left -= (int64_t)*content;
        if (!chunks->left)
            chunks->state = CHUNKS_DATA_END;
        return taken + *content;
    }
    return taken;
}
