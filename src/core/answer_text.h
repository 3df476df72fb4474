/* Makes the body of an answer readable: unpacks it, and converts its characters to UTF-8. No I/O;
 * the call thread calls it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct answer_form {
    const char *content_type, *content_encoding; /* the headers' values; empty: not given */
    size_t max_bytes;                            /* limit of the unpacked body */
    bool damaged; /* of a damaged or too long body, what can be unpacked is taken */
};

/* Adds the body as UTF-8 without a byte order mark. gzip and deflate are unpacked with or without a
 * header. The encoding is that of the byte order mark, or of a GB charset, or UTF-8, or else
 * damaged GB18030 or UTF-8, whichever fits better. Bytes that cannot be decoded become U+FFFD.
 * Returns 0, or -1 if the body cannot be unpacked; reason is then static text. */
int answer_text(struct text *out, const char *body, size_t size, const struct answer_form *form,
                const char **reason);
