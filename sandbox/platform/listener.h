/* The platform's listening socket, which the fault `refuse` closes and opens again without losing
 * its port: a second socket stays bound to it and never listens. The platform's thread (opened by
 * the owner's before that starts). */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/error.h"
#include "sandbox/address.h"

struct listener {
    uv_loop_t *loop;
    uv_poll_t *poll; /* NULL while connections are refused */
    int holder, fd;
    struct sockaddr_storage address;
    socklen_t address_size;
    struct address given;
    char authority[300]; /* host:port with the real port */
    void (*accepted)(void *argument, int fd);
    void *argument;
};

/* Binds "host:port" ("[v6]:port") and does not listen yet. accepted takes over each non-blocking
 * socket. */
int listener_init(struct listener *listener, uv_loop_t *loop, const char *address,
                  struct error *error);

/* Listens; harmless when it does. */
int listener_open(struct listener *listener, struct error *error);

/* Refuses connections until it is opened again. */
void listener_close(struct listener *listener);

/* Closes all; the loop has to turn once more. */
void listener_fini(struct listener *listener);
