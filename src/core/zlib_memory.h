/* The allocator for zlib's streams. It allocates like base/memory.h, so that without memory good
 * data does not count as damaged. Any thread. */
#pragma once

#include <stdlib.h>

#include "base/memory.h"

static inline void *zlib_take_memory(void *unused, unsigned items, unsigned size)
{
    (void)unused;
    return memory_zeroed(items, size);
}

static inline void zlib_give_memory(void *unused, void *memory)
{
    (void)unused;
    free(memory);
}
