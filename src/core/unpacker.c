#include "core/unpacker.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/memory.h"
#include "core/zlib_memory.h"

enum {
    PIECE = 16384,
    GZIP_FIRST = 0x1f, /* first byte of gzip's header */
    WINDOW = 15,
    WINDOW_OF_HEADER = WINDOW + 32, /* gzip or zlib, whichever the header says */
};

struct unpacker {
    z_stream stream;
    bool begun, ended, damaged;
    size_t taken; /* of the bytes that are given again */
    size_t held;  /* of the piece that the sink did not take */
    char piece[PIECE];
};

bool unpacker_knows(const char *content_encoding)
{
    static const char *const known[] = {"gzip", "x-gzip", "deflate"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(content_encoding, known[i]))
            return true;
    return false;
}

struct unpacker *unpacker_new(void)
{
    struct unpacker *unpacker = memory_zeroed(1, sizeof *unpacker);
    unpacker->stream.zalloc = zlib_take_memory;
    unpacker->stream.zfree = zlib_give_memory;
    return unpacker;
}

void unpacker_free(struct unpacker *unpacker)
{
    if (unpacker && unpacker->begun)
        inflateEnd(&unpacker->stream);
    free(unpacker);
}

/* `deflate` may mean two formats. The first byte of zlib's header is never the first byte of what
 * programs write without a header. */
static void begin(struct unpacker *unpacker, unsigned char first)
{
    bool header = first == GZIP_FIRST || (first & 0x0f) == Z_DEFLATED;
    unpacker->begun = true;
    unpacker->damaged =
        inflateInit2(&unpacker->stream, header ? WINDOW_OF_HEADER : -WINDOW) != Z_OK;
}

/* Unpacks one piece from those bytes, and counts the ones it used. */
static void unpack_piece(struct unpacker *unpacker, const char *bytes, size_t n)
{
    z_stream *stream = &unpacker->stream;
    size_t left = n - unpacker->taken;
    if (unpacker->ended) {
        bool another = left && (unsigned char)bytes[unpacker->taken] == GZIP_FIRST;
        if (!another || inflateReset(stream) != Z_OK) {
            unpacker->taken = n;
            return;
        }
        unpacker->ended = false;
    }
    stream->next_in = (unsigned char *)bytes + unpacker->taken;
    stream->avail_in = (unsigned)left;
    stream->next_out = (unsigned char *)unpacker->piece;
    stream->avail_out = PIECE;
    int rc = inflate(stream, Z_NO_FLUSH);
    unpacker->taken += left - stream->avail_in;
    unpacker->held = PIECE - stream->avail_out;
    unpacker->ended = rc == Z_STREAM_END;
    unpacker->damaged = rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR;
}

int unpacker_take(struct unpacker *unpacker, const char *bytes, size_t n, unpacker_sink *sink,
                  void *argument)
{
    bool more = unpacker->held > 0;
    if (n && !unpacker->begun)
        begin(unpacker, (unsigned char)*bytes);
    while (!unpacker->damaged && (more || unpacker->taken < n)) {
        if (!unpacker->held)
            unpack_piece(unpacker, bytes, n);
        more = unpacker->held == PIECE; /* zlib may hold more, though it has taken all bytes */
        int result = unpacker->held ? sink(argument, unpacker->piece, unpacker->held) : 0;
        if (result)
            return result;
        unpacker->held = 0;
    }
    unpacker->taken = 0;
    return unpacker->damaged ? UNPACKER_DAMAGED : 0;
}

bool unpacker_ended(const struct unpacker *unpacker)
{
    return unpacker->ended;
}
