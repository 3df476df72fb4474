/* Where an answer's body ends, by its head (RFC 9112, 6.3): Content-Length and Transfer-Encoding,
 * each of which may be repeated, be a list, and say too much. `identity` in Transfer-Encoding says
 * nothing. Pure; the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct framing {
    int lengths, codings; /* Content-Length and Transfer-Encoding lines */
    bool length_known;
    int64_t length;
    int coding_count;   /* codings but for identity */
    bool chunked;       /* the last coding is chunked */
    bool simple;        /* the last value was what servers usually send */
    bool contradictory; /* two readers may find two ends: nothing of the body is known */
};

/* Takes the value of one such line. */
void framing_length(struct framing *framing, const char *value, size_t size);

/* The same; told(argument, ...) gets each coding that lies beneath the chunks. */
typedef void framing_coding_told(void *argument, const char *name, size_t size);
void framing_coding(struct framing *framing, const char *value, size_t size,
                    framing_coding_told *told, void *argument);

/* The head is complete: the body's length is what the framing says, unless it is chunked. */
void framing_settle(struct framing *framing);

/* Whether libcurl, of whatever version, surely finds the same end. */
bool framing_is_plain(const struct framing *framing);
