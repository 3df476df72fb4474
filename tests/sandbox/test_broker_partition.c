/* One partition's log without network: sequence numbers, fencing, where readers stop, what is
 * forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "sandbox/broker/log/partition.h"
#include "sandbox/broker/wire/protocol.h"

enum { P = 7, Q = 8 }; /* producer ids */

static struct broker_partition partition;

static int set_up(void **state)
{
    (void)state;
    broker_partition_init(&partition, 100000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    broker_partition_fini(&partition);
    return 0;
}

/* A batch of count records as a producer would send it. */
static int16_t append(int64_t producer, int16_t epoch, int32_t sequence, int32_t count, bool open,
                      int64_t *base)
{
    struct broker_batch *batch = memory_zeroed(1, sizeof(*batch) + BATCH_HEADER_SIZE);
    batch->last = count - 1;
    batch->producer_id = producer;
    batch->producer_epoch = epoch;
    batch->base_sequence = sequence;
    batch->transactional = open;
    batch->size = BATCH_HEADER_SIZE;
    *base = -1;
    return broker_partition_append(&partition, batch, base);
}

static void expect_append(int16_t code, int64_t at, int64_t producer, int16_t epoch,
                          int32_t sequence, int32_t count)
{
    int64_t base;
    assert_int_equal(append(producer, epoch, sequence, count, false, &base), code);
    assert_int_equal(base, at);
}

static void offsets_go_up_by_records(void **state)
{
    (void)state;
    expect_append(CODE_NONE, 0, -1, -1, -1, 3);
    expect_append(CODE_NONE, 3, -1, -1, -1, 1);
    assert_int_equal(partition.end, 4);
    assert_int_equal(broker_partition_find(&partition, 0), 0);
    assert_int_equal(broker_partition_find(&partition, 2), 0);
    assert_int_equal(broker_partition_find(&partition, 3), 1);
    assert_int_equal(broker_partition_find(&partition, 4), 2);
}

static void a_batch_sent_twice_stands_once(void **state)
{
    (void)state;
    expect_append(CODE_NONE, 0, P, 0, 0, 2);
    expect_append(CODE_NONE, 2, P, 0, 2, 1);
    expect_append(CODE_DUPLICATE_SEQUENCE, -1, P, 0, 0, 2);
    expect_append(CODE_DUPLICATE_SEQUENCE, -1, P, 0, 2, 1);
    assert_int_equal(partition.end, 3);
    assert_int_equal(partition.count, 2);
}

static void a_gap_in_the_sequence_is_refused(void **state)
{
    (void)state;
    expect_append(CODE_NONE, 0, P, 0, 0, 2);
    expect_append(CODE_OUT_OF_ORDER_SEQUENCE, -1, P, 0, 3, 1);
    expect_append(CODE_NONE, 2, P, 0, 2, 1);
    expect_append(CODE_NONE, 3, Q, 0, 0, 1); /* another producer has its own */
}

static void the_sequence_wraps(void **state)
{
    (void)state;
    expect_append(CODE_NONE, 0, P, 0, INT32_MAX - 1, 2);
    expect_append(CODE_OUT_OF_ORDER_SEQUENCE, -1, P, 0, 1, 1);
    expect_append(CODE_NONE, 2, P, 0, 0, 1);
    expect_append(CODE_DUPLICATE_SEQUENCE, -1, P, 0, INT32_MAX, 1);
    expect_append(CODE_NONE, 3, P, 0, 1, 1);
}

static void an_older_epoch_is_fenced(void **state)
{
    (void)state;
    expect_append(CODE_NONE, 0, P, 0, 0, 1);
    expect_append(CODE_OUT_OF_ORDER_SEQUENCE, -1, P, 1, 1, 1); /* a new epoch counts from 0 */
    expect_append(CODE_NONE, 1, P, 1, 0, 1);
    expect_append(CODE_INVALID_PRODUCER_EPOCH, -1, P, 0, 1, 1);
    broker_partition_end_transaction(&partition, P, 2, false, 0);
    expect_append(CODE_INVALID_PRODUCER_EPOCH, -1, P, 1, 1, 1);
}

static void readers_stop_at_the_first_open_transaction(void **state)
{
    (void)state;
    int64_t base;
    assert_int_equal(append(-1, -1, -1, 1, false, &base), CODE_NONE);
    assert_int_equal(append(P, 0, 0, 1, true, &base), CODE_NONE); /* offset 1 */
    assert_int_equal(append(Q, 0, 0, 1, true, &base), CODE_NONE); /* offset 2 */
    assert_int_equal(append(P, 0, 1, 1, true, &base), CODE_NONE);
    assert_int_equal(broker_partition_stable_end(&partition), 1);
    broker_partition_end_transaction(&partition, P, 0, true, 0); /* marker at 4 */
    assert_int_equal(broker_partition_stable_end(&partition), 2);
    assert_int_equal(partition.abort_count, 0);
    broker_partition_end_transaction(&partition, Q, 0, false, 0); /* marker at 5 */
    assert_int_equal(broker_partition_stable_end(&partition), 6);
    assert_int_equal(partition.abort_count, 1);
    assert_int_equal(partition.aborts[0].producer_id, Q);
    assert_int_equal(partition.aborts[0].first, 2);
    assert_int_equal(partition.aborts[0].last, 5);
}

static void what_is_dropped_is_forgotten(void **state)
{
    (void)state;
    int64_t base;
    for (int i = 0; partition.start < 1000; i++) {
        assert_int_equal(append(P, 0, i, 1, true, &base), CODE_NONE);
        broker_partition_end_transaction(&partition, P, 0, false, 0);
    }
    assert_in_range(partition.aborts[0].last, partition.start, partition.start + 1);
    assert_in_range(partition.abort_count, partition.count / 2, partition.count / 2 + 1);
}

static void bytes_stay_below_the_limit(void **state)
{
    (void)state;
    int64_t base;
    for (int i = 0; i < 100000; i++)
        assert_int_equal(append(P, 0, i, 1, false, &base), CODE_NONE);
    assert_true(partition.bytes <= 100000);
    assert_int_equal(partition.count, 100000 / BATCH_HEADER_SIZE);
    assert_int_equal(partition.start, 100000 - partition.count);
    assert_int_equal(broker_partition_find(&partition, partition.start), 0);
    assert_true(partition.capacity < 10000);
}

static void damaged_batches_are_refused(void **state)
{
    (void)state;
    struct broker_batch *marker = broker_batch_marker(0, P, 0, true, 0), *parsed;
    struct broker_slice bytes = {(char *)marker->bytes, (int32_t)marker->size};
    assert_int_equal(broker_batch_parse(bytes, &parsed),
                     CODE_INVALID_RECORD); /* only brokers write markers */
    marker->bytes[22] = 0;
    assert_int_equal(broker_batch_parse(bytes, &parsed), CODE_CORRUPT_MESSAGE);
    bytes.length--;
    assert_int_equal(broker_batch_parse(bytes, &parsed), CODE_INVALID_RECORD);
    bytes.length = 60;
    assert_int_equal(broker_batch_parse(bytes, &parsed), CODE_CORRUPT_MESSAGE);
    marker->bytes[16] = 1;
    assert_int_equal(broker_batch_parse(bytes, &parsed), CODE_UNSUPPORTED_FOR_MESSAGE_FORMAT);
    assert_int_equal(broker_batch_parse((struct broker_slice){NULL, -1}, &parsed),
                     CODE_CORRUPT_MESSAGE);
    free(marker);
}

int main(void)
{
#define PARTITION(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PARTITION(offsets_go_up_by_records),
        PARTITION(a_batch_sent_twice_stands_once),
        PARTITION(a_gap_in_the_sequence_is_refused),
        PARTITION(the_sequence_wraps),
        PARTITION(an_older_epoch_is_fenced),
        PARTITION(readers_stop_at_the_first_open_transaction),
        PARTITION(what_is_dropped_is_forgotten),
        PARTITION(bytes_stay_below_the_limit),
        PARTITION(damaged_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
