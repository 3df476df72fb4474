/* Takes the place of glibc's functions: linked into a program, or loaded before one as a library.
 * Then the environment tells what fails: ALLOCATION_FAILS is the number of the allocation, below 0
 * with all later ones; ALLOCATION_SIGNAL, if set, the signal from which on they are counted;
 * ALLOCATION_REPORT a file that gets a line when the first one fails; ALLOCATION_COUNT one that
 * gets how many there were, at the program's orderly end. */
#include "allocations.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t n);

static atomic_long counted;
static atomic_long fails_at; /* below 0: and all later ones; 0: none */
static long at_signal;
static atomic_int report = -1;

void allocations_fail(long at, bool all_later)
{
    atomic_store(&fails_at, 0);
    atomic_store(&counted, 0);
    atomic_store(&fails_at, all_later ? -at : at);
}

long allocations_counted(void)
{
    return atomic_load(&counted);
}

static void tell(void)
{
    static const char line[] = "an allocation has failed\n";
    int fd = atomic_exchange(&report, -1);
    if (fd >= 0 && write(fd, line, sizeof line - 1) > 0)
        close(fd);
}

static bool fails(void)
{
    long number = atomic_fetch_add_explicit(&counted, 1, memory_order_relaxed) + 1;
    long at = atomic_load_explicit(&fails_at, memory_order_relaxed);
    if (!at || (number != at && (at > 0 || number < -at)))
        return false;
    tell();
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *block, size_t n)
{
    return fails() ? NULL : __libc_realloc(block, n);
}

static void on_signal(int number)
{
    (void)number;
    allocations_fail(at_signal < 0 ? -at_signal : at_signal, at_signal < 0);
}

static void __attribute__((constructor)) read_environment(void)
{
    const char *at = getenv("ALLOCATION_FAILS"), *number = getenv("ALLOCATION_SIGNAL");
    const char *path = getenv("ALLOCATION_REPORT");
    if (!at)
        return;
    if (path)
        atomic_store(&report, open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    at_signal = strtol(at, NULL, 10);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (number)
        sigaction((int)strtol(number, NULL, 10), &action, NULL);
    else
        on_signal(0);
}

static void __attribute__((destructor)) tell_count(void)
{
    const char *path = getenv("ALLOCATION_COUNT");
    char digits[24];
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    int length = snprintf(digits, sizeof digits, "%ld", allocations_counted());
    if (fd >= 0 && write(fd, digits, (size_t)length) == length)
        close(fd);
}
