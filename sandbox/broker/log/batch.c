#include "sandbox/broker/log/batch.h"

#include <string.h>

#include "base/memory.h"
#include "sandbox/broker/wire/protocol.h"

enum {
    AT_LENGTH = 8,
    AT_LEADER_EPOCH = 12,
    AT_MAGIC = 16,
    AT_CRC = 17,
    AT_ATTRIBUTES = 21,
    AT_LAST_DELTA = 23,
    AT_BASE_TIMESTAMP = 27,
    AT_MAX_TIMESTAMP = 35,
    AT_PRODUCER_ID = 43,
    AT_PRODUCER_EPOCH = 51,
    AT_BASE_SEQUENCE = 53,
    AT_COUNT = 57,

    TRANSACTIONAL = 0x10,
    CONTROL = 0x20,
    BATCH_MAX = 1048588, /* Kafka's message.max.bytes */
};

/* CRC-32C, four bits at a time: the table is small enough to be read here. */
static uint32_t crc32c(const uint8_t *bytes, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static struct broker_batch *batch_new(const void *bytes, uint32_t size)
{
    struct broker_batch *batch = memory_alloc(sizeof(*batch) + size);
    const uint8_t *at = batch->bytes;
    batch->size = size;
    memcpy(batch->bytes, bytes, size);
    int32_t delta = (int32_t)broker_load(at + AT_LAST_DELTA, 4);
    uint16_t attributes = (uint16_t)broker_load(at + AT_ATTRIBUTES, 2);
    batch->base = (int64_t)broker_load(at, 8);
    batch->last = batch->base + delta;
    batch->producer_id = (int64_t)broker_load(at + AT_PRODUCER_ID, 8);
    batch->producer_epoch = (int16_t)broker_load(at + AT_PRODUCER_EPOCH, 2);
    batch->base_sequence = (int32_t)broker_load(at + AT_BASE_SEQUENCE, 4);
    batch->transactional = attributes & TRANSACTIONAL;
    return batch;
}

int16_t broker_batch_parse(struct broker_slice records, struct broker_batch **batch)
{
    const uint8_t *at = (const uint8_t *)records.data;
    if (records.length > AT_MAGIC && at[AT_MAGIC] != 2)
        return CODE_UNSUPPORTED_FOR_MESSAGE_FORMAT;
    if (records.length < BATCH_HEADER_SIZE)
        return CODE_CORRUPT_MESSAGE;
    if (records.length > BATCH_MAX)
        return CODE_MESSAGE_TOO_LARGE;
    if (broker_load(at + AT_LENGTH, 4) + AT_LEADER_EPOCH != (uint64_t)records.length)
        return CODE_INVALID_RECORD;
    if (crc32c(at + AT_ATTRIBUTES, (size_t)records.length - AT_ATTRIBUTES) !=
        broker_load(at + AT_CRC, 4))
        return CODE_CORRUPT_MESSAGE;
    int32_t delta = (int32_t)broker_load(at + AT_LAST_DELTA, 4);
    if (delta < 0 || (int32_t)broker_load(at + AT_COUNT, 4) != delta + 1 ||
        broker_load(at + AT_ATTRIBUTES, 2) & CONTROL)
        return CODE_INVALID_RECORD;
    *batch = batch_new(at, (uint32_t)records.length);
    return CODE_NONE;
}

struct broker_batch *broker_batch_marker(int64_t base, int64_t producer_id, int16_t producer_epoch,
                                         bool commit, int64_t timestamp)
{
    /* One record: its length, attributes, timestamp and offset deltas; key: version 0 and the kind;
     * value: version 0 and the coordinator's epoch 0; no headers. Lengths are zigzag varints. */
    static const uint8_t record[] = {16 << 1, 0, 0, 0, 4 << 1, 0, 0, 0, 0,
                                     6 << 1,  0, 0, 0, 0,      0, 0, 0};
    enum { AT_KIND = 8, SIZE = BATCH_HEADER_SIZE + sizeof(record) };
    uint8_t bytes[SIZE] = {0};
    memcpy(bytes + BATCH_HEADER_SIZE, record, sizeof(record));
    bytes[BATCH_HEADER_SIZE + AT_KIND] = commit;
    broker_store(bytes + AT_LENGTH, SIZE - AT_LEADER_EPOCH, 4);
    bytes[AT_MAGIC] = 2;
    broker_store(bytes + AT_ATTRIBUTES, TRANSACTIONAL | CONTROL, 2);
    broker_store(bytes + AT_BASE_TIMESTAMP, (uint64_t)timestamp, 8);
    broker_store(bytes + AT_MAX_TIMESTAMP, (uint64_t)timestamp, 8);
    broker_store(bytes + AT_PRODUCER_ID, (uint64_t)producer_id, 8);
    broker_store(bytes + AT_PRODUCER_EPOCH, (uint16_t)producer_epoch, 2);
    broker_store(bytes + AT_BASE_SEQUENCE, UINT32_MAX, 4);
    broker_store(bytes + AT_COUNT, 1, 4);
    broker_store(bytes + AT_CRC, crc32c(bytes + AT_ATTRIBUTES, SIZE - AT_ATTRIBUTES), 4);
    struct broker_batch *batch = batch_new(bytes, SIZE);
    broker_batch_set_base(batch, base);
    return batch;
}

void broker_batch_set_base(struct broker_batch *batch, int64_t base)
{
    batch->last = base + (batch->last - batch->base);
    batch->base = base;
    broker_store(batch->bytes, (uint64_t)base, 8);
    /* No leader epoch: there is only ever one leader. */
    broker_store(batch->bytes + AT_LEADER_EPOCH, UINT32_MAX, 4);
}
