#include "base/fatal.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static atomic_flag told = ATOMIC_FLAG_INIT;

static void tell(const char *what)
{
    if (!atomic_flag_test_and_set(&told))
        log_fatal(what);
}

static void on_abort(int number)
{
    tell("aborted: an internal contradiction, here or in a library; the process ends");
    signal(number, SIG_DFL); /* somebody else may have sent it, who will not do so again */
    raise(number);
}

void fatal_prepare(void)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGABRT, &action, NULL);
}

void fatal(const char *what)
{
    tell(what);
    abort();
}

/* The C library's, which writes a line of its own form. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    char what[512];
    snprintf(what, sizeof what,
             "internal contradiction at %s:%u (%s): expected %s; the process ends", file, line,
             function, assertion);
    fatal(what);
}
