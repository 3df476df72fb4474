#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/fatal.h"

void *memory_must(void *pointer)
{
    if (!pointer)
        fatal("out of memory: the process ends; the committed ledger tells its successor where it "
              "stood");
    return pointer;
}

void *memory_alloc(size_t n)
{
    return memory_must(malloc(n ? n : 1));
}

void *memory_zeroed(size_t n, size_t size)
{
    return memory_must(calloc(n ? n : 1, size ? size : 1));
}

void *memory_resize(void *block, size_t n)
{
    return memory_must(realloc(block, n ? n : 1));
}

void *memory_grow(void *items, size_t count, size_t *capacity, size_t size, size_t least)
{
    if (items && count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : least;
    return memory_resize(items, *capacity * size);
}

void *memory_extend(void *items, size_t before, size_t count, size_t size)
{
    char *bigger = memory_resize(items, count * size);
    memset(bigger + before * size, 0, (count - before) * size);
    return bigger;
}

char *memory_copy(const void *bytes, size_t n)
{
    char *copy = memory_alloc(n + 1);
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

char *memory_string(const char *text)
{
    return text ? memory_copy(text, strlen(text)) : NULL;
}
