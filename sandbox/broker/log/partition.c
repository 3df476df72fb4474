#include "sandbox/broker/log/partition.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sandbox/broker/wire/protocol.h"

struct producer {
    struct list node; /* partition.producers */
    int64_t id;
    int16_t epoch;
    int64_t open; /* offset of the first record of its open transaction; -1: none */
    int32_t next; /* sequence number of its next record; -1: any */
};

void broker_partition_init(struct broker_partition *partition, size_t bytes_max)
{
    *partition = (struct broker_partition){.bytes_max = bytes_max};
    list_init(&partition->producers);
}

void broker_partition_fini(struct broker_partition *partition)
{
    for (size_t i = 0; i < partition->count; i++)
        free(partition->batches[partition->head + i]);
    free(partition->batches);
    free(partition->aborts);
    for (struct list *node; (node = list_take_first(&partition->producers));)
        free(list_of(node, struct producer, node));
}

const struct broker_batch *broker_partition_batch(const struct broker_partition *partition,
                                                  size_t index)
{
    return partition->batches[partition->head + index];
}

size_t broker_partition_find(const struct broker_partition *partition, int64_t offset)
{
    size_t low = 0, high = partition->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (broker_partition_batch(partition, middle)->last < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t broker_partition_stable_end(const struct broker_partition *partition)
{
    int64_t end = partition->end;
    list_each(node, &partition->producers)
    {
        const struct producer *producer = list_of(node, struct producer, node);
        if (producer->open >= 0 && producer->open < end)
            end = producer->open;
    }
    return end;
}

static void drop_first(struct broker_partition *partition)
{
    struct broker_batch *batch = partition->batches[partition->head++];
    partition->count--;
    partition->bytes -= batch->size;
    if (batch->last + 1 > partition->start)
        partition->start = batch->last + 1;
    free(batch);
}

static void forget_aborts(struct broker_partition *partition)
{
    size_t gone = 0;
    while (gone < partition->abort_count && partition->aborts[gone].last < partition->start)
        gone++;
    if (!gone)
        return;
    partition->abort_count -= gone;
    memmove(partition->aborts, partition->aborts + gone,
            partition->abort_count * sizeof(*partition->aborts));
}

/* Appends the batch, and drops the oldest ones above the limit. */
static void push(struct broker_partition *partition, struct broker_batch *batch)
{
    if (partition->head > partition->capacity / 2) {
        memmove(partition->batches, partition->batches + partition->head,
                partition->count * sizeof(*partition->batches));
        partition->head = 0;
    }
    partition->batches = memory_grow(partition->batches, partition->head + partition->count,
                                     &partition->capacity, sizeof(*partition->batches), 16);
    partition->batches[partition->head + partition->count++] = batch;
    partition->bytes += batch->size;
    partition->end = batch->last + 1;
    while (partition->bytes > partition->bytes_max && partition->count > 1)
        drop_first(partition);
    forget_aborts(partition);
}

static struct producer *find_producer(const struct broker_partition *partition, int64_t id)
{
    list_each(node, &partition->producers)
    {
        struct producer *producer = list_of(node, struct producer, node);
        if (producer->id == id)
            return producer;
    }
    return NULL;
}

/* The state of the producer, which is made if it is new. */
static struct producer *touch_producer(struct broker_partition *partition, int64_t id,
                                       int16_t epoch)
{
    struct producer *producer = find_producer(partition, id);
    if (!producer) {
        producer = memory_zeroed(1, sizeof(*producer));
        *producer = (struct producer){.id = id, .epoch = epoch, .open = -1, .next = -1};
        list_append(&partition->producers, &producer->node);
    }
    if (epoch != producer->epoch) {
        producer->epoch = epoch;
        producer->next = 0;
    }
    return producer;
}

/* After INT32_MAX sequence numbers go on with 0. */
static int32_t sequence_add(int32_t sequence, int64_t records)
{
    return (int32_t)((sequence + records) & INT32_MAX);
}

/* A batch that is sent again has the sequence number of an earlier record, less than half the range
 * back. */
static int16_t check_producer(const struct producer *producer, const struct broker_batch *batch)
{
    if (batch->producer_epoch < producer->epoch)
        return CODE_INVALID_PRODUCER_EPOCH;
    int32_t next = batch->producer_epoch == producer->epoch ? producer->next : 0;
    if (next < 0 || batch->base_sequence == next)
        return CODE_NONE;
    bool earlier = sequence_add(next, -(int64_t)batch->base_sequence) < INT32_MAX / 2;
    return earlier ? CODE_DUPLICATE_SEQUENCE : CODE_OUT_OF_ORDER_SEQUENCE;
}

static void remember(struct broker_partition *partition, const struct broker_batch *batch)
{
    struct producer *producer =
        touch_producer(partition, batch->producer_id, batch->producer_epoch);
    producer->next = sequence_add(batch->base_sequence, batch->last - batch->base + 1);
    if (batch->transactional && producer->open < 0)
        producer->open = batch->base;
}

int16_t broker_partition_append(struct broker_partition *partition, struct broker_batch *batch,
                                int64_t *base)
{
    const struct producer *producer = find_producer(partition, batch->producer_id);
    int16_t code = producer ? check_producer(producer, batch) : CODE_NONE;
    if (code != CODE_NONE) {
        free(batch);
        return code;
    }
    broker_batch_set_base(batch, partition->end);
    *base = batch->base;
    if (batch->producer_id >= 0)
        remember(partition, batch);
    push(partition, batch);
    return CODE_NONE;
}

static void add_abort(struct broker_partition *partition, struct broker_partition_abort abort)
{
    partition->aborts = memory_grow(partition->aborts, partition->abort_count,
                                    &partition->abort_capacity, sizeof(*partition->aborts), 16);
    partition->aborts[partition->abort_count++] = abort;
}

void broker_partition_end_transaction(struct broker_partition *partition, int64_t producer_id,
                                      int16_t epoch, bool commit, int64_t timestamp)
{
    struct producer *producer = find_producer(partition, producer_id);
    int64_t first = producer ? producer->open : -1;
    producer = touch_producer(partition, producer_id, epoch);
    producer->open = -1;
    struct broker_batch *marker =
        broker_batch_marker(partition->end, producer_id, epoch, commit, timestamp);
    if (!commit && first >= 0)
        add_abort(partition, (struct broker_partition_abort){producer_id, first, marker->last});
    push(partition, marker);
}
