/* The platform's TLS connections: reads requests, and sends answers when and how the faults say.
 * One loop, and one timer per connection. A connection frees itself when it ends. The platform's
 * thread. */
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "sandbox/platform/service.h"

enum { CONNECTION_READ_SIZE = 16384 };

/* What all connections share. The owner fills in loop, tls and the callback. */
struct sandbox_connections {
    uv_loop_t *loop;
    SSL_CTX *tls;
    struct sandbox_service service;
    struct list open; /* of struct connection */
    uint64_t accepted;
    void (*faults_changed)(void *argument); /* a request has changed the faults in force */
    void *argument;
    char scratch[CONNECTION_READ_SIZE];
};

/* Serves an accepted, non-blocking socket. The socket belongs to the connection from here on. */
void sandbox_connections_add(struct sandbox_connections *all, int fd);

/* Applies the faults that are in force now to open connections. `refuse` ends each connection whose
 * last request was not a control request. */
void sandbox_connections_apply_faults(struct sandbox_connections *all);

/* Closes all connections. They are freed in the loop's next iteration. */
void sandbox_connections_close(struct sandbox_connections *all);
