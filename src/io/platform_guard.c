/* Sees to it that a process which was frozen sends nothing late. Just before a send it looks
 * whether the lease is over. But a process can be frozen between that look and the send (SIGSTOP,
 * the freezer of cgroups, a machine that is suspended), and go on when another worker has the
 * partition. So a timer of the kernel ends with the lease. A thread that goes on handles the
 * timer's signal before its own next instruction, and the handler shuts the connection down: the
 * send fails. Whether bytes went out before is not known, so the request is in doubt.
 *
 * The signal is SIGURG, which is ignored where nobody handles it. It reaches the loop's thread
 * only, and when no send is near it does nothing. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/platform_internal.h"

/* The socket that may be about to send; -1: none. Of the thread, not of its platform, which a late
 * signal may outlive. */
static _Thread_local volatile sig_atomic_t about_to_send = -1;

/* Another process can send this signal, too, at any time. */
static void on_end(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    (void)number, (void)context;
    if (info->si_code == SI_TIMER && about_to_send >= 0)
        shutdown((int)about_to_send, SHUT_RDWR);
    errno = saved;
}

static int make_timer(struct send_guard *guard)
{
    struct sigaction action = {.sa_sigaction = on_end, .sa_flags = SA_RESTART | SA_SIGINFO};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
    event._sigev_un._tid = gettid();
    if (sigaction(SIGURG, &action, NULL))
        return -1;
    return timer_create(CLOCK_BOOTTIME, &event, &guard->timer);
}

/* Once, by the thread of the loop. Returns whether there is a timer. */
static bool has_timer(struct send_guard *guard)
{
    if (guard->state == GUARD_NEW) {
        guard->state = make_timer(guard) ? GUARD_NONE : GUARD_WORKS;
        if (guard->state == GUARD_NONE)
            log_warn("platform: no timer can be made for the end of leases: %s; a process that is "
                     "frozen just before it sends may send when it goes on",
                     strerror(errno));
    }
    return guard->state == GUARD_WORKS;
}

void platform_guard_begin(struct platform *platform, int local_port, int64_t until_ms)
{
    struct send_guard *guard = &platform->guard;
    if (until_ms <= 0 || until_ms == INT64_MAX || !has_timer(guard))
        return;
    int64_t end_ms = until_ms + 1;
    struct itimerspec end = {
        .it_value = {.tv_sec = end_ms / 1000, .tv_nsec = end_ms % 1000 * 1000000}};
    if (until_ms != guard->until_ms)
        timer_settime(guard->timer, TIMER_ABSTIME, &end, NULL);
    guard->until_ms = until_ms;
    ports_each(watch, &platform->ports, local_port)
    {
        about_to_send = watch->socket;
    }
}

void platform_guard_end(void)
{
    about_to_send = -1;
}

void platform_guard_closed(int socket)
{
    if (about_to_send == socket)
        about_to_send = -1;
}

void platform_guard_fini(struct platform *platform)
{
    if (platform->guard.state == GUARD_WORKS)
        timer_delete(platform->guard.timer);
    platform->guard.state = GUARD_NONE;
}
