#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void __attribute__((noreturn)) out_of_memory(void)
{
    static const char line[] =
        "{\"log.level\":\"fatal\",\"message\":\"out of memory: the process ends; "
        "the committed ledger tells its successor where it stood\"}\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    abort();
}

void *memory_must(void *pointer)
{
    if (!pointer)
        out_of_memory();
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
