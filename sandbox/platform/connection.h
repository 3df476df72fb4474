/* The platform's TLS connections: reads requests, sends answers when and how the faults want it.
 * One loop, one timer a connection, no thread. A connection frees itself when it ends. The
 * platform's thread. */
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "sandbox/platform/service.h"

enum { CONNECTION_READ_SIZE = 16384 };

/* What all connections share. The owner fills in loop, tls and the callback. */
struct connections {
    uv_loop_t *loop;
    SSL_CTX *tls;
    struct service service;
    struct list open; /* of struct connection */
    uint64_t accepted;
    void (*faults_changed)(void *argument); /* called when a request changed the faults in force */
    void *argument;
    char scratch[CONNECTION_READ_SIZE];
};

/* Serves an accepted, non-blocking socket, which belongs to the connection from here on. */
void connections_add(struct connections *all, int fd);

/* Makes the connections heed the faults that are in force now; refuse: those that did no control
 * request end. */
void connections_heed_faults(struct connections *all);

/* Closes all; they are gone when the loop has turned. */
void connections_close(struct connections *all);
