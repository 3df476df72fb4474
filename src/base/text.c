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

__attribute__((format(printf, 2, 0))) static void add_formatted(struct text *text,
                                                                const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n > 0) {
        text_reserve(text, (size_t)n);
        vsnprintf(text->data + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_formatted(text, format, args);
    va_end(args);
}

void text_item(struct text *text, size_t nth, size_t most, const char *format, ...)
{
    va_list args;
    if (nth > most + 1)
        return;
    if (nth > 1)
        text_add(text, ", ");
    va_start(args, format);
    if (nth > most)
        text_add(text, "...");
    else
        add_formatted(text, format, args);
    va_end(args);
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

static uint32_t code_point(const unsigned char *p, size_t length)
{
    if (length == 1)
        return p[0];
    uint32_t code = p[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (p[i] & 0x3fU);
    return code;
}

/* Characters that control a terminal, or hide, reorder or break text: Unicode's categories Cc, Cf,
 * Zl and Zp, and its noncharacters. */
static bool is_invisible(uint32_t code)
{
    static const uint32_t ranges[][2] = {
        {0x00, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},
        {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
        {0x8e2, 0x8e2},     {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
        {0x2060, 0x206f},   {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},
        {0xfffe, 0xffff},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f},
        {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code <= ranges[i][1])
            return code >= ranges[i][0];
    return false;
}

/* As in a JSON string. */
static void add_escape(struct text *text, uint32_t code)
{
    const char *short_form = code == '\n'   ? "\\n"
                             : code == '\r' ? "\\r"
                             : code == '\t' ? "\\t"
                                            : NULL;
    if (short_form)
        text_append(text, short_form, 2);
    else if (code < 0x10000)
        text_printf(text, "\\u%04x", code);
    else
        text_printf(text, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
}

/* How many bytes from p on need no escape in JSON, a log or an error message. */
static size_t plain_length(const unsigned char *p, size_t n)
{
    size_t plain = 0;
    while (plain < n && p[plain] >= 0x20 && p[plain] < 0x7f && p[plain] != '"' && p[plain] != '\\')
        plain++;
    return plain;
}

/* quoted: write a JSON string. visible: escape invisible characters. */
static void add_string(struct text *text, const char *bytes, size_t n, bool quoted, bool visible)
{
    const unsigned char *p = (const unsigned char *)bytes;
    if (quoted)
        text_append(text, "\"", 1);
    for (size_t i = 0, step; i < n; i += step) {
        step = plain_length(p + i, n - i);
        if (step) {
            text_append(text, p + i, step);
            continue;
        }
        size_t length = utf8_sequence(p + i, n - i);
        uint32_t code = length ? code_point(p + i, length) : 0xfffd;
        step = length ? length : 1;
        if (quoted && (code == '"' || code == '\\'))
            text_printf(text, "\\%c", (int)code);
        else if (code < 0x20 || code == 0x7f || (visible && is_invisible(code)))
            add_escape(text, code);
        else if (length)
            text_append(text, p + i, length);
        else
            text_append(text, "\xef\xbf\xbd", 3);
    }
    if (quoted)
        text_append(text, "\"", 1);
}

void text_json(struct text *text, const char *bytes, size_t n)
{
    add_string(text, bytes, n, true, false);
}

void text_json_visible(struct text *text, const char *bytes, size_t n)
{
    add_string(text, bytes, n, true, true);
}

void text_visible(struct text *text, const char *bytes, size_t n)
{
    text_append(text, "", 0);
    add_string(text, bytes, n, false, true);
}

void text_code_point(struct text *text, uint32_t code)
{
    char bytes[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(first[n] | code);
    text_append(text, bytes, n);
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
    size_t n = strlen(number), first = *number == '+';
    if (!size)
        return;
    size_t i = 0;
    for (; i < n && i < size - 1; i++) {
        bool shown = n - first > 7 && (i < first + 3 || i >= n - 4);
        out[i] = i < first || shown ? number[i] : '*';
    }
    out[i] = '\0';
}
