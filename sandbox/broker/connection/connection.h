/* Connections: they read bytes, pass complete requests to the owner, and send answers. A connection
 * has one open request at a time, like Kafka's: the next one is handled when the last one is
 * answered, and the owner is asked to hurry. The broker's thread. */
#pragma once

#include <uv.h>

#include "base/list.h"
#include "sandbox/address.h"
#include "sandbox/broker/wire/wire.h"

enum { READ_SIZE = 65536 };

struct broker_connection {
    struct list node;  /* connections.open */
    struct list ready; /* connections.ready */
    struct broker_connections *all;
    uv_tcp_t tcp;
    struct text in; /* bytes read; [consumed] of them served */
    size_t consumed;
    void *request; /* the open request, which belongs to the owner; NULL: none */
};

/* The owner's functions for requests. */
struct broker_connection_hooks {
    /* Handles a request, without its length. The bytes are valid until the function returns. It
     * sets ->request, which stays until broker_connection_answered. */
    void (*serve)(void *owner, struct broker_connection *connection, struct broker_slice request);
    void (*hurry)(void *owner, void *request);
    void (*lost)(void *owner, void *request); /* its connection is gone */
};

struct broker_connections {
    uv_loop_t *loop;
    struct broker_connection_hooks hooks;
    void *owner;
    struct list open;
    struct list ready; /* those that may have a whole request waiting */
    char read_buffer[READ_SIZE];
};

void broker_connections_init(struct broker_connections *all, uv_loop_t *loop,
                             struct broker_connection_hooks hooks, void *owner);

/* Accepts the connection that waits on the listener. */
void broker_connections_accept(struct broker_connections *all, uv_stream_t *listener);

/* Serves every request that can be served now. */
void broker_connections_serve(struct broker_connections *all);

/* Closes one connection, or all, at once. The loop releases them. */
void broker_connection_close(struct broker_connection *connection);
void broker_connections_close(struct broker_connections *all);

/* The open request has ended. */
void broker_connection_answered(struct broker_connection *connection);

/* Sends the text and empties it. */
void broker_connection_send(struct broker_connection *connection, struct text *answer);

/* The address at which the client reached the broker. */
void broker_connection_address(const struct broker_connection *connection,
                               struct sandbox_address *address);
