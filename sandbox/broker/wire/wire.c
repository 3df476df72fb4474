#include "sandbox/broker/wire/wire.h"

#include <string.h>

#include "base/memory.h"

bool broker_slice_equal(struct broker_slice slice, const char *string)
{
    if (!slice.data || !string)
        return !slice.data && !string;
    size_t length = strlen(string);
    return (size_t)slice.length == length && memcmp(slice.data, string, length) == 0;
}

char *broker_slice_copy(struct broker_slice slice)
{
    return slice.data ? memory_copy(slice.data, (size_t)slice.length) : NULL;
}

struct broker_slice broker_slice_of(const char *string)
{
    return string ? (struct broker_slice){string, (int32_t)strlen(string)}
                  : (struct broker_slice){NULL, -1};
}

uint64_t broker_load(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

void broker_store(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

/* n bytes of the request; NULL: fewer are left. */
static const uint8_t *take(struct broker_in *in, size_t n)
{
    if (in->bad || (size_t)(in->end - in->at) < n) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += n;
    return at;
}

static uint64_t get_number(struct broker_in *in, int bytes)
{
    const uint8_t *at = take(in, (size_t)bytes);
    return at ? broker_load(at, bytes) : 0;
}

int8_t broker_get_i8(struct broker_in *in)
{
    return (int8_t)get_number(in, 1);
}

int16_t broker_get_i16(struct broker_in *in)
{
    return (int16_t)get_number(in, 2);
}

int32_t broker_get_i32(struct broker_in *in)
{
    return (int32_t)get_number(in, 4);
}

int64_t broker_get_i64(struct broker_in *in)
{
    return (int64_t)get_number(in, 8);
}

static uint32_t get_varint(struct broker_in *in)
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

static struct broker_slice get_slice(struct broker_in *in, int32_t length)
{
    const uint8_t *at = length < 0 ? NULL : take(in, (size_t)length);
    return at ? (struct broker_slice){(const char *)at, length} : (struct broker_slice){NULL, -1};
}

struct broker_slice broker_get_string(struct broker_in *in)
{
    return get_slice(in, in->flexible ? (int32_t)get_varint(in) - 1 : broker_get_i16(in));
}

struct broker_slice broker_get_bytes(struct broker_in *in)
{
    return get_slice(in, in->flexible ? (int32_t)get_varint(in) - 1 : broker_get_i32(in));
}

int32_t broker_get_array(struct broker_in *in)
{
    int32_t count = in->flexible ? (int32_t)get_varint(in) - 1 : broker_get_i32(in);
    if (in->bad || count > in->end - in->at) {
        in->bad = true;
        return 0;
    }
    return count < 0 ? -1 : count;
}

void broker_get_tags(struct broker_in *in)
{
    if (!in->flexible)
        return;
    for (uint32_t count = get_varint(in); count && !in->bad; count--) {
        get_varint(in);
        take(in, get_varint(in));
    }
}

static void put_number(struct broker_out *out, uint64_t value, int bytes)
{
    uint8_t raw[8];
    broker_store(raw, value, bytes);
    text_append(&out->text, raw, (size_t)bytes);
}

void broker_put_i8(struct broker_out *out, int8_t value)
{
    put_number(out, (uint8_t)value, 1);
}

void broker_put_i16(struct broker_out *out, int16_t value)
{
    put_number(out, (uint16_t)value, 2);
}

void broker_put_i32(struct broker_out *out, int32_t value)
{
    put_number(out, (uint32_t)value, 4);
}

void broker_put_i64(struct broker_out *out, int64_t value)
{
    put_number(out, (uint64_t)value, 8);
}

static void put_varint(struct broker_out *out, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        put_number(out, (value & 0x7f) | 0x80, 1);
    put_number(out, value, 1);
}

static void put_bytes(struct broker_out *out, struct broker_slice value, int length_bytes)
{
    if (out->flexible)
        put_varint(out, (uint64_t)(value.length + 1));
    else
        put_number(out, (uint64_t)(int64_t)value.length, length_bytes);
    if (value.length > 0)
        text_append(&out->text, value.data, (size_t)value.length);
}

void broker_put_string(struct broker_out *out, struct broker_slice value)
{
    put_bytes(out, value, 2);
}

void broker_put_bytes(struct broker_out *out, struct broker_slice value)
{
    put_bytes(out, value, 4);
}

void broker_put_array(struct broker_out *out, int32_t count)
{
    if (out->flexible)
        put_varint(out, (uint64_t)(count + 1));
    else
        broker_put_i32(out, count);
}

void broker_put_tags(struct broker_out *out)
{
    if (out->flexible)
        broker_put_i8(out, 0);
}

size_t broker_put_later(struct broker_out *out)
{
    size_t where = out->text.length;
    broker_put_i32(out, 0);
    return where;
}

void broker_put_now(struct broker_out *out, size_t where, int32_t value)
{
    broker_store((uint8_t *)out->text.data + where, (uint32_t)value, 4);
}
