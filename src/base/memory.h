/* Allocation that does not fail: without memory the process aborts, as a crash is what the
 * committed ledger makes safe, while going on with half a state is not. Blocks are released with
 * free(). Any thread. */
#pragma once

#include <stddef.h>

/* n bytes, uninitialised. */
void *memory_alloc(size_t n) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* n times size bytes, zeroed. */
void *memory_zeroed(size_t n, size_t size)
    __attribute__((malloc, returns_nonnull, warn_unused_result));

/* As realloc(3). */
void *memory_resize(void *block, size_t n) __attribute__((returns_nonnull, warn_unused_result));

/* Room for one item more in an array of `count` items of `size` bytes: as it is, or twice as many
 * (at first `least`) when *capacity is reached. */
void *memory_grow(void *items, size_t count, size_t *capacity, size_t size, size_t least)
    __attribute__((returns_nonnull, warn_unused_result));

/* An array of `count` items that had `before` of them, fewer; the new ones are zeroed. */
void *memory_extend(void *items, size_t before, size_t count, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));

/* A copy of n bytes with a NUL behind them. */
char *memory_copy(const void *bytes, size_t n)
    __attribute__((malloc, returns_nonnull, warn_unused_result));

/* A copy of a string; NULL stays NULL. */
char *memory_string(const char *text) __attribute__((malloc, warn_unused_result));

/* For libraries that report 'no memory' as NULL: gives the pointer back or aborts. */
void *memory_must(void *pointer) __attribute__((returns_nonnull));
