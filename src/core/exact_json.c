#include "core/exact_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { EXACT_DIGITS = 18 }; /* so many always fit 64 bits */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The place behind the string whose opening quote stands at `at`. */
static size_t behind_string(const char *bytes, size_t size, size_t at)
{
    for (at++; at < size && bytes[at] != '"'; at++)
        if (bytes[at] == '\\')
            at++;
    return at < size ? at + 1 : size;
}

static size_t behind_number(const char *bytes, size_t size, size_t at)
{
    while (at < size && (is_digit(bytes[at]) || (bytes[at] && strchr("+-.eE", bytes[at]))))
        at++;
    return at;
}

static size_t digits_at(const char *text, size_t size, size_t at)
{
    size_t start = at;
    while (at < size && is_digit(text[at]))
        at++;
    return at - start;
}

/* The grammar of RFC 8259, section 6; *plain: without fraction and exponent. */
static bool is_number(const char *text, size_t size, bool *plain)
{
    size_t at = size && text[0] == '-' ? 1 : 0;
    size_t digits = digits_at(text, size, at);
    if (!digits || (digits > 1 && text[at] == '0'))
        return false;
    at += digits;
    *plain = at == size;
    if (at < size && text[at] == '.') {
        digits = digits_at(text, size, at + 1);
        if (!digits)
            return false;
        at += 1 + digits;
    }
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < size && (text[at] == '+' || text[at] == '-'))
            at++;
        digits = digits_at(text, size, at);
        if (!digits)
            return false;
        at += digits;
    }
    return at == size;
}

/* Whether jansson would refuse, round or rewrite the number. */
static bool needs_care(const char *text, size_t size)
{
    bool plain;
    if (!is_number(text, size, &plain))
        return false; /* jansson says what is wrong with it */
    return !plain || size > EXACT_DIGITS || (size == 2 && text[0] == '-' && text[1] == '0');
}

/* Finds the next number that needs care, from *at; *at ends behind it. Returns false at the end. */
static bool next_number(const char *bytes, size_t size, size_t *at, struct json_number *number)
{
    while (*at < size) {
        size_t start = *at;
        if (bytes[start] == '"') {
            *at = behind_string(bytes, size, start);
        } else if (bytes[start] == '-' || is_digit(bytes[start])) {
            *at = behind_number(bytes, size, start);
            *number = (struct json_number){bytes + start, *at - start};
            if (needs_care(number->text, number->size))
                return true;
        } else {
            ++*at;
        }
    }
    return false;
}

static void remember_number(struct exact_json *json, struct json_number number)
{
    if (json->number_count == json->number_capacity) {
        json->number_capacity = json->number_capacity ? json->number_capacity * 2 : 8;
        json->numbers = memory_resize(json->numbers, json->number_capacity * sizeof *json->numbers);
    }
    json->numbers[json->number_count++] = number;
}

/* Writes the text anew with the number of each careful number in its place; empty when there are
 * none. */
static void replace_numbers(struct text *copy, struct exact_json *json, const char *bytes,
                            size_t size)
{
    size_t at = 0, copied = 0;
    struct json_number number;
    while (next_number(bytes, size, &at, &number)) {
        size_t start = (size_t)(number.text - bytes);
        text_append(copy, bytes + copied, start - copied);
        text_printf(copy, "%zu.5", json->number_count);
        remember_number(json, number);
        copied = at;
    }
    if (json->number_count)
        text_append(copy, bytes + copied, size - copied);
}

void exact_json_prepare(void)
{
    json_set_alloc_funcs(memory_alloc, free);
    json_object_seed(0); /* which is not for several threads at once either */
}

int exact_json_read(struct exact_json *json, const char *bytes, size_t size, size_t flags,
                    json_error_t *error)
{
    struct text copy = {0};
    *json = (struct exact_json){0};
    replace_numbers(&copy, json, bytes, size);
    if (json->number_count)
        json->root = json_loadb(copy.data, copy.length, flags, error);
    else
        json->root = json_loadb(bytes, size, flags, error);
    text_fini(&copy);
    if (json->root)
        return 0;
    exact_json_fini(json);
    return -1;
}

void exact_json_fini(struct exact_json *json)
{
    json_decref(json->root);
    free(json->numbers);
    *json = (struct exact_json){0};
}

struct json_number exact_json_number(const struct exact_json *json, const json_t *real)
{
    return json->numbers[(size_t)json_real_value(real)];
}

static void write_object(struct text *out, const struct exact_json *json, const json_t *object)
{
    const char *separator = "{", *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        text_add(out, separator);
        text_json(out, name, strlen(name));
        text_add(out, ":");
        exact_json_write(out, json, value);
        separator = ",";
    }
    text_add(out, *separator == '{' ? "{}" : "}");
}

static void write_array(struct text *out, const struct exact_json *json, const json_t *array)
{
    size_t i;
    json_t *value;
    text_add(out, "[");
    json_array_foreach(array, i, value)
    {
        if (i)
            text_add(out, ",");
        exact_json_write(out, json, value);
    }
    text_add(out, "]");
}

/* Recursion is bounded by jansson's own limit of depth, 2048. */
void exact_json_write(struct text *out, const struct exact_json *json, const json_t *value)
{
    struct json_number number;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, json, value);
        break;
    case JSON_ARRAY:
        write_array(out, json, value);
        break;
    case JSON_STRING:
        text_json(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        text_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        number = exact_json_number(json, value);
        text_append(out, number.text, number.size);
        break;
    case JSON_TRUE:
        text_add(out, "true");
        break;
    case JSON_FALSE:
        text_add(out, "false");
        break;
    case JSON_NULL:
        text_add(out, "null");
        break;
    }
}

static bool colon_follows(const char *bytes, size_t size, size_t at)
{
    while (at < size && bytes[at] && strchr(" \t\r\n", bytes[at]))
        at++;
    return at < size && bytes[at] == ':';
}

int exact_json_times(const char *bytes, size_t size, int depth, const char *member)
{
    size_t length = strlen(member);
    int inside = 0, times = 0;
    for (size_t at = 0, end; at < size; at = end) {
        end = at + 1;
        if (bytes[at] == '{' || bytes[at] == '[')
            inside++;
        if ((bytes[at] == '}' || bytes[at] == ']') && --inside == 0)
            break;
        if (bytes[at] != '"')
            continue;
        end = behind_string(bytes, size, at);
        if (inside != depth || !colon_follows(bytes, size, end))
            continue;
        const char *name = bytes + at + 1;
        size_t name_size = end - at - 2;
        if (memchr(name, '\\', name_size))
            return 2;
        times += name_size == length && memcmp(name, member, length) == 0;
    }
    return times;
}
