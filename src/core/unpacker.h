/* Unpacks gzip or deflate piece by piece, in constant memory. No I/O. Its owner calls it, on one
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct unpacker;

/* Takes a piece of what has been unpacked. Returns 0, or another number, which stops the unpacker:
 * the same piece comes again at the next unpacker_take. */
typedef int unpacker_sink(void *argument, const char *piece, size_t size);

enum { UNPACKER_DAMAGED = -1 };

/* Whether the value of a Content-Encoding names one packing that an unpacker can undo. */
bool unpacker_knows(const char *content_encoding);

struct unpacker *unpacker_new(void);
void unpacker_free(struct unpacker *unpacker); /* NULL: nothing happens */

/* Unpacks n bytes into the sink. Returns 0, UNPACKER_DAMAGED (for good), or what the sink returned;
 * then the same bytes must be given again, with or without others after them. Bytes after the end
 * of the packed data are ignored, unless they begin another member of a gzip file. */
int unpacker_take(struct unpacker *unpacker, const char *bytes, size_t n, unpacker_sink *sink,
                  void *argument);

/* Whether the packed data has ended, so that nothing of it is missing. */
bool unpacker_ended(const struct unpacker *unpacker);
