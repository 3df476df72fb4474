/* Growing byte buffers and strict reading of small texts. The owner of a struct text calls
 * text_fini. Any thread, no sharing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *data; /* NUL behind the last byte once anything was added; NULL before */
    size_t length, capacity;
};

/* Adds n bytes, a string, or a formatted string. */
void text_append(struct text *text, const void *bytes, size_t n);
void text_add(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds bytes as a JSON string with its quotes; what is no UTF-8 becomes U+FFFD. */
void text_json(struct text *text, const char *bytes, size_t n);

/* For what people read, in a log or an error: nothing of it steers a terminal or hides, reorders or
 * breaks other text. Control characters (C0, C1), line and paragraph separators, overrides of
 * direction and other invisible characters become JSON's escapes (\u202e), what is no UTF-8 becomes
 * U+FFFD. The second with the quotes of a JSON string, and as valid JSON. */
void text_visible(struct text *text, const char *bytes, size_t n);
void text_json_visible(struct text *text, const char *bytes, size_t n);

/* Adds a code point, up to 0x10ffff and no surrogate, as UTF-8. */
void text_code_point(struct text *text, uint32_t code);

/* Makes it empty, keeping its memory; releases its memory; gives its memory away (never NULL, to be
 * released with free). */
void text_clear(struct text *text);
void text_fini(struct text *text);
char *text_take(struct text *text);

/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool text_is_utf8(const char *bytes, size_t n);

/* Whether it is one of 0 to 9, in any locale. */
static inline bool text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads a whole decimal integer within [min, max]: no sign but '-', no spaces. Returns 0, or -1 and
 * leaves *value. */
int text_to_integer(const char *string, int64_t min, int64_t max, int64_t *value);

/* Masks a phone number for a log: the first 3 and the last 4 digits (and a leading +) stay, the
 * rest become '*'; of 7 digits and fewer all do. Cut to the size of out. */
void text_mask_number(char *out, size_t size, const char *number);
