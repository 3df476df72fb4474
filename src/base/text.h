/* Growing byte buffers, and strict parsing of small texts. The owner of a struct text calls
 * text_fini. Any thread; a text is not shared between threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *data; /* ends with a NUL; NULL until something was added */
    size_t length, capacity;
};

/* Adds n bytes, a string, or a formatted string. */
void text_append(struct text *text, const void *bytes, size_t n);
void text_add(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds the nth (from 1) item of a list with commas. The first one above `most` becomes "...", and
 * those after it nothing. */
void text_item(struct text *text, size_t nth, size_t most, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds bytes as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void text_json(struct text *text, const char *bytes, size_t n);

/* Adds text that people read, in a log line or an error, so that it cannot control a terminal or
 * hide, reorder or break other text. Control characters (C0, C1), line and paragraph separators,
 * direction overrides and other invisible characters become JSON escapes (\u202e); bytes that are
 * not UTF-8 become U+FFFD. text_json_visible adds quotes, and its output is valid JSON. */
void text_visible(struct text *text, const char *bytes, size_t n);
void text_json_visible(struct text *text, const char *bytes, size_t n);

/* Adds a code point, up to 0x10ffff and no surrogate, as UTF-8. */
void text_code_point(struct text *text, uint32_t code);

/* text_clear empties the text and keeps its memory. text_fini releases the memory. text_take
 * returns the memory (never NULL), which the caller releases with free. */
void text_clear(struct text *text);
void text_fini(struct text *text);
char *text_take(struct text *text);

/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool text_is_utf8(const char *bytes, size_t n);

/* Whether c is one of 0 to 9, in any locale. */
static inline bool text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads a whole decimal integer within [min, max]. The only sign is '-'; spaces are refused.
 * Returns 0, or -1 and leaves *value as it is. */
int text_to_integer(const char *string, int64_t min, int64_t max, int64_t *value);

/* Masks a phone number for a log. The first 3 and the last 4 digits (and a leading +) stay, the
 * rest become '*'; of a number of 7 digits or fewer, all do. Cut to the size of out. */
void text_mask_number(char *out, size_t size, const char *number);
