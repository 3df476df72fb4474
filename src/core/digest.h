/* SHA-256 of bytes that arrive in pieces. Any thread; a digest is not shared between threads. */
#pragma once

#include <stddef.h>

struct digest; /* heap */

struct digest *digest_new(void);
void digest_add(struct digest *digest, const void *bytes, size_t n);

/* Writes 64 lower-case hexadecimal digits and a NUL, and starts again. */
void digest_text(struct digest *digest, char out[65]);

/* digest may be NULL. */
void digest_free(struct digest *digest);
