#include "base/fatal.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static atomic_flag reported = ATOMIC_FLAG_INIT;

static void report(const char *what)
{
    if (!atomic_flag_test_and_set(&reported))
        log_fatal(what);
}

static void on_abort(int number)
{
    report("aborted: an internal contradiction, here or in a library; the process ends");
    signal(number, SIG_DFL); /* a SIGABRT from outside comes once only: end here */
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
    report(what);
    abort();
}

/* Replaces the C library's function, whose line is not in the log's format. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    char what[512];
    snprintf(what, sizeof what,
             "internal contradiction at %s:%u (%s): expected %s; the process ends", file, line,
             function, assertion);
    fatal(what);
}
