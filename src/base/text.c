#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void text_reserve(struct text *text, size_t more)
{
    size_t need = text->length + more + 1;
    if (need <= text->capacity)
        return;
    size_t capacity = text->capacity ? text->capacity * 2 : 64;
    if (capacity < need)
        capacity = need;
    text->data = memory_resize(text->data, capacity);
    text->capacity = capacity;
}

void text_append(struct text *text, const void *bytes, size_t n)
{
    text_reserve(text, n);
    if (n)
        memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        text_reserve(text, (size_t)n);
        vsnprintf(text->data + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
}

/* The length of the well-formed UTF-8 sequence at p (1 to 4), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                    : (p[0] & 0xf0) == 0xe0        ? 3
                    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                   : 0;
    if (!length || n < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
        return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

bool text_is_utf8(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0, step; i < n; i += step) {
        step = utf8_sequence(p + i, n - i);
        if (!step)
            return false;
    }
    return true;
}

static void json_ascii(struct text *text, unsigned char c)
{
    const char *short_form = c == '"'    ? "\\\""
                             : c == '\\' ? "\\\\"
                             : c == '\n' ? "\\n"
                             : c == '\r' ? "\\r"
                             : c == '\t' ? "\\t"
                                         : NULL;
    if (short_form)
        text_append(text, short_form, 2);
    else if (c < 0x20 || c == 0x7f)
        text_printf(text, "\\u%04x", c);
    else
        text_append(text, &c, 1);
}

void text_json(struct text *text, const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    text_append(text, "\"", 1);
    for (size_t i = 0, step; i < n; i += step) {
        size_t plain = i;
        while (plain < n && p[plain] >= 0x20 && p[plain] < 0x7f && p[plain] != '"' &&
               p[plain] != '\\')
            plain++;
        if (plain > i) {
            text_append(text, p + i, plain - i);
            step = plain - i;
            continue;
        }
        step = utf8_sequence(p + i, n - i);
        if (step == 1)
            json_ascii(text, p[i]);
        else if (step)
            text_append(text, p + i, step);
        else
            text_append(text, "\xef\xbf\xbd", 3);
        step = step ? step : 1;
    }
    text_append(text, "\"", 1);
}

void text_clear(struct text *text)
{
    text->length = 0;
    if (text->data)
        text->data[0] = '\0';
}

void text_fini(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

char *text_take(struct text *text)
{
    text_reserve(text, 0);
    text->data[text->length] = '\0';
    char *data = text->data;
    *text = (struct text){0};
    return data;
}

int text_to_integer(const char *string, int64_t min, int64_t max, int64_t *value)
{
    const char *digits = string[0] == '-' ? string + 1 : string;
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return -1;
    errno = 0;
    long long number = strtoll(string, NULL, 10);
    if (errno || number < min || number > max)
        return -1;
    *value = number;
    return 0;
}

void text_mask_number(char *out, size_t size, const char *number)
{
    size_t n = strlen(number);
    if (!size)
        return;
    size_t i = 0;
    for (; i < n && i < size - 1; i++)
        out[i] = n > 7 && (i < 3 || i >= n - 4) ? number[i] : '*';
    out[i] = '\0';
}
