/* Allocation that does not fail: without memory the process aborts. The committed ledger makes a
 * crash safe; going on with half a state would not be safe. Blocks are released with free(). Any
 * thread. */
#pragma once

#include <stddef.h>

/* n bytes, uninitialised. */
void *memory_alloc(size_t n) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* n times size bytes, zeroed. */
void *memory_zeroed(size_t n, size_t size)
    __attribute__((malloc, returns_nonnull, warn_unused_result));

/* Like realloc(3). */
void *memory_resize(void *block, size_t n) __attribute__((returns_nonnull, warn_unused_result));

/* Makes room for one more item in an array of `count` items of `size` bytes. If *capacity is
 * reached it doubles (from 0 it becomes `least`). Returns the array. */
void *memory_grow(void *items, size_t count, size_t *capacity, size_t size, size_t least)
    __attribute__((returns_nonnull, warn_unused_result));

/* Resizes an array from `before` items to `count`, which is more. The new items are zeroed. */
void *memory_extend(void *items, size_t before, size_t count, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));

/* A copy of n bytes, with a NUL added. */
char *memory_copy(const void *bytes, size_t n)
    __attribute__((malloc, returns_nonnull, warn_unused_result));

/* A copy of a string; NULL stays NULL. */
char *memory_string(const char *text) __attribute__((malloc, warn_unused_result));

/* For libraries that report 'no memory' as NULL: returns the pointer, or aborts if it is NULL. */
void *memory_must(void *pointer) __attribute__((returns_nonnull));
