#include "worker/stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

enum { TOLD_TWICE_MS = 10 };

struct stop {
    pthread_t thread;
    atomic_bool requested, at_once, over;
    void (*wake)(void *argument);
    void (*reread)(void *argument);
    void *argument;
};

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void stop_block_signals(void)
{
    sigset_t set;
    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Some senders (such as timeout(1)) signal the process and its group: one order, sent twice. The
 * signals are blocked, so the second one would stay pending and be read later. */
static void take_told_twice(struct stop *stop, const sigset_t *set)
{
    int64_t until = clock_boot_ms() + TOLD_TWICE_MS;
    for (int64_t left; !atomic_load(&stop->over) && (left = until - clock_boot_ms()) > 0;)
        sigtimedwait(set, NULL, &(struct timespec){.tv_nsec = left * 1000000});
}

/* Waits for the next signal. 0: the thread shall end. */
static int next_signal(struct stop *stop, const sigset_t *set)
{
    int number = 0;
    while (!atomic_load(&stop->over))
        if (!sigwait(set, &number) && !atomic_load(&stop->over))
            return number;
    return 0;
}

static void *wait_for_signals(void *argument)
{
    struct stop *stop = argument;
    sigset_t set;
    int number;
    stop_signals(&set);
    while ((number = next_signal(stop, &set)) == SIGHUP)
        stop->reread(stop->argument);
    if (!number)
        return NULL;
    log_info("%s: stopping; a second signal ends the process at once",
             number == SIGINT ? "SIGINT" : "SIGTERM");
    stop_request(stop, false);
    take_told_twice(stop, &set);
    while ((number = next_signal(stop, &set)) == SIGHUP)
        ;
    if (!number)
        return NULL;
    log_warn("second signal: ending at once; calls on the wire become unknown with the next owner");
    _exit(1);
}

struct stop *stop_new(void (*wake)(void *argument), void (*reread)(void *argument), void *argument,
                      struct error *error)
{
    struct stop *stop = memory_zeroed(1, sizeof *stop);
    stop->wake = wake;
    stop->reread = reread;
    stop->argument = argument;
    int rc = pthread_create(&stop->thread, NULL, wait_for_signals, stop);
    if (rc) {
        error_set(error, "cannot start the signal thread: %s", strerror(rc));
        free(stop);
        return NULL;
    }
    return stop;
}

void stop_request(struct stop *stop, bool at_once)
{
    if (at_once)
        atomic_store(&stop->at_once, true);
    atomic_store(&stop->requested, true);
    stop->wake(stop->argument);
}

bool stop_requested(const struct stop *stop)
{
    return atomic_load(&stop->requested);
}

bool stop_is_at_once(const struct stop *stop)
{
    return atomic_load(&stop->at_once);
}

void stop_free(struct stop *stop)
{
    if (!stop)
        return;
    /* Not pthread_cancel: it loads a library, and aborts the process if no file can be opened. */
    atomic_store(&stop->over, true);
    pthread_kill(stop->thread, SIGHUP);
    pthread_join(stop->thread, NULL);
    free(stop);
}
