/* Connections: bytes in, whole requests out to the API, answers back. A connection has one request
 * under way at a time, like Kafka's own: the next one is looked at when the last is answered (a
 * waiting Fetch is then answered early). The broker's thread. */
#pragma once

#include <uv.h>

#include "base/list.h"
#include "sandbox/broker/core.h"
#include "sandbox/broker/wire.h"

struct broker_client {
    struct list node;  /* broker.clients */
    struct list ready; /* broker.ready */
    struct broker *broker;
    uv_tcp_t tcp;
    char host[64]; /* how the client reached us */
    int32_t port;
    struct text in; /* bytes read; [consumed] of them served */
    size_t consumed;
    struct call *call; /* under way */
};

/* A request under way. Freed when it is answered, or with its connection. */
struct call {
    struct list node; /* broker.fetches */
    struct broker_client *client;
    int16_t api, version;
    int32_t correlation;
    bool flexible;
    struct slice client_id; /* this and `in` only until the handler returns */
    struct wire_in in;
    struct text body; /* of a waiting Fetch: a copy of what was in `in` */
    int64_t deadline;
};

/* For uv_listen: takes the connection that waits on broker->listener. */
void broker_client_accept(struct broker *broker);

/* Serves at most one request of a client taken from broker.ready. */
void broker_client_serve(struct broker_client *client);

/* Closes it at once; it is released by the loop. */
void broker_client_close(struct broker_client *client);

/* Begins the answer; ends it (sends, releases call and out); or answers nothing. */
void call_begin(struct call *call, struct wire_out *out);
void call_answer(struct call *call, struct wire_out *out);
void call_done(struct call *call);

/* The request makes no sense: closes the connection, which releases the call. */
void call_refuse(struct call *call);
