/* The platform's listening socket. The fault `refuse` closes it and opens it again without losing
 * its port, because a second socket stays bound to the port and never listens. The platform's
 * thread; the owner's thread opens it before that one starts. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/error.h"
#include "sandbox/address.h"

struct sandbox_listener {
    uv_loop_t *loop;
    uv_poll_t *poll; /* NULL while connections are refused */
    int holder, fd;
    struct sockaddr_storage address;
    socklen_t address_size;
    struct sandbox_address given;
    char authority[300]; /* host:port with the real port */
    void (*accepted)(void *argument, int fd);
    void *argument;
};

/* Binds "host:port" ("[v6]:port"), and does not listen yet. The callback `accepted` gets each new
 * socket, which is non-blocking, and owns it. */
int sandbox_listener_init(struct sandbox_listener *listener, uv_loop_t *loop, const char *address,
                          struct error *error);

/* Listens. Nothing happens if it listens already. */
int sandbox_listener_open(struct sandbox_listener *listener, struct error *error);

/* Refuses connections until sandbox_listener_open. */
void sandbox_listener_close(struct sandbox_listener *listener);

/* Closes all sockets. The loop has to run one more iteration. */
void sandbox_listener_fini(struct sandbox_listener *listener);
