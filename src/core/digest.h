/* SHA-256 of bytes that arrive piece by piece. Any thread, no sharing. */
#pragma once

#include <stddef.h>

struct digest; /* heap */

struct digest *digest_new(void);
void digest_add(struct digest *digest, const void *bytes, size_t n);

/* Writes 64 lower-case hexadecimal digits and a NUL, and starts anew. */
void digest_text(struct digest *digest, char out[65]);

/* NULL is fine. */
void digest_free(struct digest *digest);
