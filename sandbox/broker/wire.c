#include "sandbox/broker/wire.h"

#include <string.h>

#include "base/memory.h"

bool slice_equal(struct slice slice, const char *string)
{
    if (!slice.data || !string)
        return !slice.data && !string;
    size_t length = strlen(string);
    return (size_t)slice.length == length && memcmp(slice.data, string, length) == 0;
}

char *slice_copy(struct slice slice)
{
    return slice.data ? memory_copy(slice.data, (size_t)slice.length) : NULL;
}

struct slice slice_of(const char *string)
{
    return string ? (struct slice){string, (int32_t)strlen(string)} : (struct slice){NULL, -1};
}

uint64_t wire_load(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

void wire_store(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

/* n bytes of the request, or NULL when it has not that many left. */
static const uint8_t *take(struct wire_in *in, size_t n)
{
    if (in->bad || (size_t)(in->end - in->at) < n) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += n;
    return at;
}

static uint64_t get_number(struct wire_in *in, int bytes)
{
    const uint8_t *at = take(in, (size_t)bytes);
    return at ? wire_load(at, bytes) : 0;
}

int8_t wire_get_i8(struct wire_in *in)
{
    return (int8_t)get_number(in, 1);
}

int16_t wire_get_i16(struct wire_in *in)
{
    return (int16_t)get_number(in, 2);
}

int32_t wire_get_i32(struct wire_in *in)
{
    return (int32_t)get_number(in, 4);
}

int64_t wire_get_i64(struct wire_in *in)
{
    return (int64_t)get_number(in, 8);
}

static uint32_t get_varint(struct wire_in *in)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        const uint8_t *at = take(in, 1);
        if (!at)
            return 0;
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (!(*at & 0x80))
            return value <= INT32_MAX ? (uint32_t)value : (in->bad = true, 0);
    }
    in->bad = true;
    return 0;
}

static struct slice get_slice(struct wire_in *in, int32_t length)
{
    const uint8_t *at = length < 0 ? NULL : take(in, (size_t)length);
    return at ? (struct slice){(const char *)at, length} : (struct slice){NULL, -1};
}

struct slice wire_get_string(struct wire_in *in)
{
    return get_slice(in, in->flexible ? (int32_t)get_varint(in) - 1 : wire_get_i16(in));
}

struct slice wire_get_bytes(struct wire_in *in)
{
    return get_slice(in, in->flexible ? (int32_t)get_varint(in) - 1 : wire_get_i32(in));
}

int32_t wire_get_array(struct wire_in *in)
{
    int32_t count = in->flexible ? (int32_t)get_varint(in) - 1 : wire_get_i32(in);
    if (in->bad || count > in->end - in->at) {
        in->bad = true;
        return 0;
    }
    return count < 0 ? -1 : count;
}

void wire_get_tags(struct wire_in *in)
{
    if (!in->flexible)
        return;
    for (uint32_t count = get_varint(in); count && !in->bad; count--) {
        get_varint(in);
        take(in, get_varint(in));
    }
}

static void put_number(struct wire_out *out, uint64_t value, int bytes)
{
    uint8_t raw[8];
    wire_store(raw, value, bytes);
    text_append(&out->text, raw, (size_t)bytes);
}

void wire_put_i8(struct wire_out *out, int8_t value)
{
    put_number(out, (uint8_t)value, 1);
}

void wire_put_i16(struct wire_out *out, int16_t value)
{
    put_number(out, (uint16_t)value, 2);
}

void wire_put_i32(struct wire_out *out, int32_t value)
{
    put_number(out, (uint32_t)value, 4);
}

void wire_put_i64(struct wire_out *out, int64_t value)
{
    put_number(out, (uint64_t)value, 8);
}

void wire_put_varint(struct wire_out *out, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        put_number(out, (value & 0x7f) | 0x80, 1);
    put_number(out, value, 1);
}

static void put_bytes(struct wire_out *out, struct slice value, int length_bytes)
{
    if (out->flexible)
        wire_put_varint(out, (uint64_t)(value.length + 1));
    else
        put_number(out, (uint64_t)(int64_t)value.length, length_bytes);
    if (value.length > 0)
        text_append(&out->text, value.data, (size_t)value.length);
}

void wire_put_string(struct wire_out *out, struct slice value)
{
    put_bytes(out, value, 2);
}

void wire_put_bytes(struct wire_out *out, struct slice value)
{
    put_bytes(out, value, 4);
}

void wire_put_array(struct wire_out *out, int32_t count)
{
    if (out->flexible)
        wire_put_varint(out, (uint64_t)(count + 1));
    else
        wire_put_i32(out, count);
}

void wire_put_tags(struct wire_out *out)
{
    if (out->flexible)
        wire_put_i8(out, 0);
}

size_t wire_put_later(struct wire_out *out)
{
    size_t where = out->text.length;
    wire_put_i32(out, 0);
    return where;
}

void wire_put_now(struct wire_out *out, size_t where, int32_t value)
{
    wire_store((uint8_t *)out->text.data + where, (uint32_t)value, 4);
}
