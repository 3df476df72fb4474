/* Makes an answer's body readable, whatever it was sent in: unpacks it, and turns its characters
 * into UTF-8. Pure; the call thread calls it. */
#pragma once

#include <stddef.h>

#include "base/text.h"

struct answer_form {
    const char *content_type, *content_encoding; /* the headers' values; empty: not said */
    size_t max_bytes;                            /* of what is unpacked */
};

/* Adds the body as UTF-8 without a byte order mark. gzip and deflate are unpacked whether a header
 * says so or not. The characters are those of the byte order mark, of a charset that is a GB one,
 * UTF-8, or else GB18030 or UTF-8 with damage, whichever fits better; what cannot be decoded
 * becomes U+FFFD. Returns 0, or -1 when it cannot be unpacked; reason is then static text. */
int answer_text(struct text *out, const char *body, size_t size, const struct answer_form *form,
                const char **reason);
