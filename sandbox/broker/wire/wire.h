/* The Kafka protocol's primitive types, read from and written to memory. Readers return no errors:
 * after the first malformed value `bad` is set, and all further values are zero, so that a caller
 * checks once. Readers and writers know whether the request's version is a 'flexible' one (compact
 * lengths, tagged fields). The broker's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Borrowed bytes; length -1 and data NULL: the protocol's null. */
struct broker_slice {
    const char *data;
    int32_t length;
};

bool broker_slice_equal(struct broker_slice slice, const char *string);
/* A copy with a NUL added; NULL for null. */
char *broker_slice_copy(struct broker_slice slice);
struct broker_slice broker_slice_of(const char *string);

struct broker_in {
    const uint8_t *at, *end;
    bool flexible, bad;
};

int8_t broker_get_i8(struct broker_in *in);
int16_t broker_get_i16(struct broker_in *in);
int32_t broker_get_i32(struct broker_in *in);
int64_t broker_get_i64(struct broker_in *in);
/* A string (nullable or not); the slice points into the request. */
struct broker_slice broker_get_string(struct broker_in *in);
struct broker_slice broker_get_bytes(struct broker_in *in);
/* The number of elements; -1 for null. Never more than the number of bytes left. */
int32_t broker_get_array(struct broker_in *in);
/* Skips the tagged fields at the end of a structure of a flexible version. */
void broker_get_tags(struct broker_in *in);

struct broker_out {
    struct text text;
    bool flexible;
};

void broker_put_i8(struct broker_out *out, int8_t value);
void broker_put_i16(struct broker_out *out, int16_t value);
void broker_put_i32(struct broker_out *out, int32_t value);
void broker_put_i64(struct broker_out *out, int64_t value);
void broker_put_string(struct broker_out *out, struct broker_slice value);
void broker_put_bytes(struct broker_out *out, struct broker_slice value);
void broker_put_array(struct broker_out *out, int32_t count);
void broker_put_tags(struct broker_out *out);

/* Reserves a 32-bit length or count that is known later. Returns its position. */
size_t broker_put_later(struct broker_out *out);
void broker_put_now(struct broker_out *out, size_t where, int32_t value);

/* Big-endian numbers in raw memory. */
uint64_t broker_load(const uint8_t *at, int bytes);
void broker_store(uint8_t *at, uint64_t value, int bytes);
