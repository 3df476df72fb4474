#include "core/exact_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { EXACT_DIGITS = 18 }; /* that many digits always fit into 64 bits */

struct reader {
    struct exact_json *json;
    const char *at, *end;
    int depth, depth_limit;
    bool mend_surrogates;
    enum json_fault fault;
    struct text string; /* the one that is being read, unescaped */
};

/* The first fault counts; the rest is not parsed. */
static json_t *fail(struct reader *reader, enum json_fault fault)
{
    if (!reader->fault)
        reader->fault = fault;
    return NULL;
}

static json_t *fail_here(struct reader *reader)
{
    return fail(reader, reader->at == reader->end ? JSON_CUT : JSON_SYNTAX);
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && *reader->at && strchr(" \t\r\n", *reader->at))
        reader->at++;
}

static bool take(struct reader *reader, char c)
{
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    return true;
}

/* ---- numbers */

static size_t take_digits(struct reader *reader)
{
    const char *from = reader->at;
    while (reader->at < reader->end && text_is_digit(*reader->at))
        reader->at++;
    return (size_t)(reader->at - from);
}

static json_t *remember_number(struct exact_json *json, struct json_number number)
{
    json->numbers = memory_grow(json->numbers, json->number_count, &json->number_capacity,
                                sizeof *json->numbers, 8);
    json->numbers[json->number_count] = number;
    return json_real((double)json->number_count++ + 0.5);
}

/* Skips a number; *plain: it has no fraction and no exponent. */
static bool take_number(struct reader *reader, bool *plain)
{
    take(reader, '-');
    bool zero = reader->at < reader->end && *reader->at == '0';
    size_t digits = take_digits(reader);
    if (!digits || (zero && digits > 1))
        return false;
    *plain = true;
    if (take(reader, '.')) {
        *plain = false;
        if (!take_digits(reader))
            return false;
    }
    if (take(reader, 'e') || take(reader, 'E')) {
        *plain = false;
        if (!take(reader, '+'))
            take(reader, '-');
        if (!take_digits(reader))
            return false;
    }
    return true;
}

static json_t *read_number(struct reader *reader)
{
    const char *from = reader->at;
    bool plain;
    if (!take_number(reader, &plain))
        return fail_here(reader);
    struct json_number number = {from, (size_t)(reader->at - from)};
    if (!plain || number.size > EXACT_DIGITS || (number.size == 2 && !memcmp(from, "-0", 2)))
        return remember_number(reader->json, number);
    char digits[EXACT_DIGITS + 1];
    memcpy(digits, from, number.size);
    digits[number.size] = '\0';
    return json_integer(strtoll(digits, NULL, 10));
}

/* ---- strings */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four hexadecimal digits of an escape; -1: they are not such digits. */
static long code_unit(const struct reader *reader, const char *at)
{
    long unit = 0;
    if (reader->end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int value = hex_value(at[i]);
        if (value < 0)
            return -1;
        unit = unit << 4 | value;
    }
    return unit;
}

/* Behind \u. */
static bool read_unicode(struct reader *reader)
{
    long code = code_unit(reader, reader->at), low = -1;
    if (code < 0)
        return false;
    reader->at += 4;
    if (code >= 0xd800 && code < 0xdc00 && reader->end - reader->at >= 2 && reader->at[0] == '\\' &&
        reader->at[1] == 'u')
        low = code_unit(reader, reader->at + 2);
    if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        reader->at += 6;
    } else if (code >= 0xd800 && code < 0xe000 && reader->mend_surrogates) {
        code = 0xfffd;
    }
    text_code_point(&reader->string, (uint32_t)code);
    return true;
}

static bool read_escape(struct reader *reader)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end)
        return false;
    char c = *reader->at++;
    if (c == 'u')
        return read_unicode(reader);
    const char *name = c ? strchr(names, c) : NULL;
    if (!name) {
        reader->at--;
        return false;
    }
    text_append(&reader->string, &meanings[name - names], 1);
    return true;
}

/* Reads a string into reader->string, after its opening quote. */
static bool read_string(struct reader *reader)
{
    text_clear(&reader->string);
    text_append(&reader->string, "", 0);
    for (;;) {
        const char *from = reader->at;
        while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\\' &&
               (unsigned char)*reader->at >= ' ')
            reader->at++;
        text_append(&reader->string, from, (size_t)(reader->at - from));
        if (take(reader, '"'))
            return true;
        if (!take(reader, '\\') || !read_escape(reader)) {
            fail_here(reader);
            return false;
        }
    }
}

/* ---- arrays and objects */

static json_t *read_value(struct reader *reader);

static json_t *give_up(json_t *value)
{
    json_decref(value);
    return NULL;
}

/* After an item: whether another one follows. *ok is false if neither another item nor the end
 * follows. */
static bool another_follows(struct reader *reader, char closing, bool *ok)
{
    skip_space(reader);
    *ok = true;
    if (take(reader, closing))
        return false;
    *ok = take(reader, ',');
    if (!*ok)
        fail_here(reader);
    return *ok;
}

static json_t *read_array(struct reader *reader)
{
    json_t *array = json_array();
    bool ok = true;
    skip_space(reader);
    if (take(reader, ']'))
        return array;
    do {
        json_t *item = read_value(reader);
        if (!item)
            return give_up(array);
        json_array_append_new(array, item);
    } while (another_follows(reader, ']', &ok));
    return ok ? array : give_up(array);
}

static void remember_duplicate(struct reader *reader, const json_t *object, const char *name,
                               size_t length)
{
    struct exact_json *json = reader->json;
    json->duplicates = memory_grow(json->duplicates, json->duplicate_count,
                                   &json->duplicate_capacity, sizeof *json->duplicates, 8);
    json->duplicates[json->duplicate_count++] =
        (struct json_duplicate){object, memory_copy(name, length)};
    fail(reader, JSON_DUPLICATE);
}

static bool read_member(struct reader *reader, json_t *object)
{
    skip_space(reader);
    if (!take(reader, '"')) {
        fail_here(reader);
        return false;
    }
    if (!read_string(reader))
        return false;
    struct text name = reader->string;
    reader->string = (struct text){0};
    if (json_object_getn(object, name.data, name.length))
        remember_duplicate(reader, object, name.data, name.length);
    skip_space(reader);
    json_t *value = NULL;
    if (take(reader, ':'))
        value = read_value(reader);
    else
        fail_here(reader);
    if (value)
        json_object_setn_new_nocheck(object, name.data, name.length, value);
    text_fini(&name);
    return value;
}

static json_t *read_object(struct reader *reader)
{
    json_t *object = json_object();
    bool ok = true;
    skip_space(reader);
    if (take(reader, '}'))
        return object;
    do {
        if (!read_member(reader, object))
            return give_up(object);
    } while (another_follows(reader, '}', &ok));
    return ok ? object : give_up(object);
}

static json_t *read_nested(struct reader *reader, bool array)
{
    if (reader->depth == reader->depth_limit)
        return fail(reader, JSON_TOO_DEEP);
    reader->depth++;
    json_t *value = array ? read_array(reader) : read_object(reader);
    reader->depth--;
    return value;
}

static json_t *read_word(struct reader *reader, const char *word, json_t *value)
{
    for (; *word; word++)
        if (!take(reader, *word))
            return fail_here(reader);
    return value;
}

static json_t *read_value(struct reader *reader)
{
    skip_space(reader);
    if (reader->at == reader->end)
        return fail(reader, JSON_CUT);
    switch (*reader->at) {
    case '{':
    case '[':
        return read_nested(reader, *reader->at++ == '[');
    case '"':
        reader->at++;
        return read_string(reader)
                   ? json_stringn_nocheck(reader->string.data, reader->string.length)
                   : NULL;
    case 't':
        return read_word(reader, "true", json_true());
    case 'f':
        return read_word(reader, "false", json_false());
    case 'n':
        return read_word(reader, "null", json_null());
    default:
        return read_number(reader);
    }
}

/* ---- the whole */

void exact_json_prepare(void)
{
    json_set_alloc_funcs(memory_alloc, free);
    json_object_seed(0); /* which must not run in several threads at once either */
}

enum json_fault exact_json_read(struct exact_json *json, const char *bytes, size_t size,
                                int depth_limit, bool mend_surrogates)
{
    struct reader reader = {.json = json,
                            .at = bytes,
                            .end = bytes + size,
                            .depth_limit = depth_limit,
                            .mend_surrogates = mend_surrogates};
    *json = (struct exact_json){0};
    if (!text_is_utf8(bytes, size))
        return JSON_NOT_UTF8;
    json->root = read_value(&reader);
    text_fini(&reader.string);
    if (json->root) {
        skip_space(&reader);
        if (reader.at < reader.end)
            fail(&reader, JSON_TRAILING);
    }
    return reader.fault;
}

void exact_json_fini(struct exact_json *json)
{
    json_decref(json->root);
    free(json->numbers);
    for (size_t i = 0; i < json->duplicate_count; i++)
        free(json->duplicates[i].name);
    free(json->duplicates);
    *json = (struct exact_json){0};
}

bool exact_json_is_doubled(const struct exact_json *json, const json_t *object, const char *name)
{
    for (size_t i = 0; i < json->duplicate_count; i++)
        if (json->duplicates[i].object == object && !strcmp(json->duplicates[i].name, name))
            return true;
    return false;
}

struct json_number exact_json_number(const struct exact_json *json, const json_t *real)
{
    return json->numbers[(size_t)json_real_value(real)];
}

static void write_object(struct text *out, const struct exact_json *json, const json_t *object)
{
    const char *separator = "{", *name;
    size_t length;
    json_t *value;
    json_object_keylen_foreach((json_t *)object, name, length, value)
    {
        text_add(out, separator);
        text_json(out, name, length);
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

/* Recursion is limited by the depth limit with which the tree was parsed. */
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
