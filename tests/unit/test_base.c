/* The small helpers of src/base: arrays that grow, a hash that is the same in every process, waits
 * that end by a clock that nobody sets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/condition.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"

static void an_array_grows_by_doubling_and_keeps_its_items(void **state)
{
    (void)state;
    int *items = NULL;
    size_t capacity = 0;
    for (size_t count = 0; count < 100; count++) {
        items = memory_grow(items, count, &capacity, sizeof *items, 8);
        assert_true(capacity > count);
        items[count] = (int)count;
    }
    assert_int_equal(capacity, 128);
    for (int i = 0; i < 100; i++)
        assert_int_equal(items[i], i);
    free(items);
}

static void an_array_with_room_stays_where_it_is(void **state)
{
    (void)state;
    size_t capacity = 0;
    int *items = memory_grow(NULL, 0, &capacity, sizeof *items, 4);
    assert_ptr_equal(memory_grow(items, 3, &capacity, sizeof *items, 4), items);
    assert_int_equal(capacity, 4);
    free(items);
}

static void new_items_of_an_extended_array_are_zero(void **state)
{
    (void)state;
    uint64_t *items = memory_extend(NULL, 0, 3, sizeof *items);
    for (size_t i = 0; i < 3; i++)
        items[i] = UINT64_MAX;
    items = memory_extend(items, 3, 1000, sizeof *items);
    for (size_t i = 0; i < 1000; i++)
        assert_true(items[i] == (i < 3 ? UINT64_MAX : 0));
    free(items);
}

/* The vectors of the FNV draft, appendix C. */
static void hashes_are_those_of_fnv_1a(void **state)
{
    (void)state;
    assert_true(hash_add(HASH_EMPTY, "", 0) == 0xcbf29ce484222325u);
    assert_true(hash_add(HASH_EMPTY, "a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(hash_add(HASH_EMPTY, "foobar", 6) == 0x85944171f73967e8u);
    assert_true(hash_add(hash_add(HASH_EMPTY, "foo", 3), "bar", 3) == 0x85944171f73967e8u);
}

static void a_wait_that_nobody_ends_ends_by_itself(void **state)
{
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition;
    condition_init(&condition);
    struct timespec before, deadline = condition_deadline(1001), after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_in_range(deadline.tv_sec - before.tv_sec, 0, 60);
    deadline = condition_deadline(20);
    pthread_mutex_lock(&lock);
    int end;
    do
        end = pthread_cond_timedwait(&condition, &lock, &deadline);
    while (!end);
    pthread_mutex_unlock(&lock);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_int_equal(end, ETIMEDOUT);
    assert_true(after.tv_sec > deadline.tv_sec ||
                (after.tv_sec == deadline.tv_sec && after.tv_nsec >= deadline.tv_nsec));
    pthread_cond_destroy(&condition);
}

static void an_error_keeps_what_stands_before_a_suffix(void **state)
{
    (void)state;
    struct error error;
    char full[sizeof error.text];
    error_set(&error, "committing: timed out");
    assert_int_equal(error_suffix(&error, "; finding out: %s", "no broker"), -1);
    assert_string_equal(error.text, "committing: timed out; finding out: no broker");
    memset(full, 'x', sizeof full - 1);
    full[sizeof full - 1] = '\0';
    error_suffix(&error, "%s", full);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    error_suffix(&error, "%s", full);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_memory_equal(error.text, "committing: timed out; ", 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_grows_by_doubling_and_keeps_its_items),
        cmocka_unit_test(an_array_with_room_stays_where_it_is),
        cmocka_unit_test(new_items_of_an_extended_array_are_zero),
        cmocka_unit_test(hashes_are_those_of_fnv_1a),
        cmocka_unit_test(a_wait_that_nobody_ends_ends_by_itself),
        cmocka_unit_test(an_error_keeps_what_stands_before_a_suffix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
