/* The Kafka protocol's primitive types, read from and written to memory. Readers never fail loudly:
 * after the first thing that does not fit, `bad` is set and everything further reads as zero, so
 * that a caller checks once. Both sides know whether the request's version is a 'flexible' one
 * (compact lengths, tagged fields). The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Bytes that belong to somebody else; length -1 and data NULL: the protocol's null. */
struct slice {
    const char *data;
    int32_t length;
};

bool slice_equal(struct slice slice, const char *string);
/* A copy with a NUL behind it; null gives NULL. */
char *slice_copy(struct slice slice);
struct slice slice_of(const char *string);

struct wire_in {
    const uint8_t *at, *end;
    bool flexible, bad;
};

int8_t wire_get_i8(struct wire_in *in);
int16_t wire_get_i16(struct wire_in *in);
int32_t wire_get_i32(struct wire_in *in);
int64_t wire_get_i64(struct wire_in *in);
/* A string (nullable or not); the slice points into the request. */
struct slice wire_get_string(struct wire_in *in);
struct slice wire_get_bytes(struct wire_in *in);
/* The number of elements; -1 for null. Never more than there are bytes left. */
int32_t wire_get_array(struct wire_in *in);
/* Skips the tagged fields at the end of a structure of a flexible version. */
void wire_get_tags(struct wire_in *in);

struct wire_out {
    struct text text;
    bool flexible;
};

void wire_put_i8(struct wire_out *out, int8_t value);
void wire_put_i16(struct wire_out *out, int16_t value);
void wire_put_i32(struct wire_out *out, int32_t value);
void wire_put_i64(struct wire_out *out, int64_t value);
void wire_put_varint(struct wire_out *out, uint64_t value);
void wire_put_string(struct wire_out *out, struct slice value);
void wire_put_bytes(struct wire_out *out, struct slice value);
void wire_put_array(struct wire_out *out, int32_t count);
void wire_put_tags(struct wire_out *out);

/* Leaves room for a 32-bit length or count that is known later; returns where. */
size_t wire_put_later(struct wire_out *out);
void wire_put_now(struct wire_out *out, size_t where, int32_t value);

/* Big-endian numbers in raw memory. */
uint64_t wire_load(const uint8_t *at, int bytes);
void wire_store(uint8_t *at, uint64_t value, int bytes);
