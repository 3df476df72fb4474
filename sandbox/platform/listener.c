#include "sandbox/platform/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

enum { BACKLOG = 4096, ACCEPT_AT_ONCE = 64 };

static int resolve(struct sandbox_listener *listener, struct error *error)
{
    const struct sandbox_address *given = &listener->given;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    int failure = getaddrinfo(given->host, given->port, &hints, &found);
    if (failure)
        return error_set(error, "%s: %s", given->host, gai_strerror(failure));
    memcpy(&listener->address, found->ai_addr, found->ai_addrlen);
    listener->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* shared: other sockets that are shared, too, may bind the same address. */
static int bound_socket(const struct sandbox_listener *listener, bool shared)
{
    int fd = socket(listener->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    if (!bind(fd, (const struct sockaddr *)&listener->address, listener->address_size))
        return fd;
    int failure = errno;
    close(fd);
    errno = failure;
    return -1;
}

int sandbox_listener_init(struct sandbox_listener *listener, uv_loop_t *loop, const char *address,
                          struct error *error)
{
    *listener = (struct sandbox_listener){.loop = loop, .holder = -1, .fd = -1};
    if (sandbox_address_split(&listener->given, address, error) || resolve(listener, error))
        return -1;
    int probe = bound_socket(listener, false); /* fails if another program listens there */
    if (probe >= 0) {
        close(probe);
        listener->holder = bound_socket(listener, true);
    }
    if (listener->holder < 0)
        return error_set(error, "cannot bind %s: %m", address);
    getsockname(listener->holder, (struct sockaddr *)&listener->address, &listener->address_size);
    struct sandbox_address bound;
    sandbox_address_of_name(&bound, &listener->address);
    memcpy(listener->given.port, bound.port, sizeof bound.port);
    sandbox_address_join(&listener->given, listener->authority, sizeof listener->authority);
    return 0;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct sandbox_listener *listener = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_AT_ONCE && listener->fd >= 0; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        listener->accepted(listener->argument, fd);
    }
}

int sandbox_listener_open(struct sandbox_listener *listener, struct error *error)
{
    if (listener->fd >= 0)
        return 0;
    int fd = bound_socket(listener, true);
    if (fd < 0 || listen(fd, BACKLOG)) {
        int failure = errno;
        if (fd >= 0)
            close(fd);
        errno = failure;
        return error_set(error, "cannot listen at %s: %m", listener->authority);
    }
    listener->fd = fd;
    listener->poll = memory_zeroed(1, sizeof *listener->poll);
    listener->poll->data = listener;
    uv_poll_init(listener->loop, listener->poll, fd);
    uv_poll_start(listener->poll, UV_READABLE, on_connection);
    return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

void sandbox_listener_close(struct sandbox_listener *listener)
{
    if (listener->fd < 0)
        return;
    uv_poll_stop(listener->poll);
    uv_close((uv_handle_t *)listener->poll, on_poll_closed);
    close(listener->fd);
    listener->poll = NULL;
    listener->fd = -1;
}

void sandbox_listener_fini(struct sandbox_listener *listener)
{
    sandbox_listener_close(listener);
    if (listener->holder >= 0)
        close(listener->holder);
    listener->holder = -1;
}
