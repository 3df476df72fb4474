/* Finds where an answer's body ends, by its head (RFC 9112, 6.3): Content-Length and
 * Transfer-Encoding, each of which may be repeated, be a list, and contradict the other. `identity`
 * in Transfer-Encoding has no meaning. No I/O. The loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct framing {
    int lengths, codings; /* Content-Length and Transfer-Encoding lines */
    bool length_known;
    int64_t length;
    int coding_count;   /* codings except identity */
    bool chunked;       /* the last coding is chunked */
    bool simple;        /* the last value has the form that servers usually send */
    bool contradictory; /* two readers may find different ends: nothing of the body is known */
};

/* A member of a list in a header's value; it points into the value. */
struct framing_member {
    const char *name;
    size_t size;
};

/* The next member of the list that is not empty, without the blanks around it; false: there is
 * none. */
bool framing_next_member(const char **at, const char *end, struct framing_member *member);
/* Upper and lower case are the same. */
bool framing_is_named(const struct framing_member *member, const char *name);

/* Adds the value of one Content-Length line. */
void framing_length(struct framing *framing, const char *value, size_t size);

/* Adds the value of one Transfer-Encoding line. told(argument, ...) gets each coding that was
 * applied before the chunks. */
typedef void framing_coding_told(void *argument, const char *name, size_t size);
void framing_coding(struct framing *framing, const char *value, size_t size,
                    framing_coding_told *told, void *argument);

/* Called when the head is complete: decides the body's length, unless the body is chunked. */
void framing_settle(struct framing *framing);

/* Whether every version of libcurl certainly finds the same end. */
bool framing_is_plain(const struct framing *framing);
