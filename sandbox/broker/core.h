/* What the broker's thread owns. Only this folder includes it. */
#pragma once

#include <uv.h>

#include "base/list.h"
#include "sandbox/broker/broker.h"
#include "sandbox/broker/group.h"
#include "sandbox/broker/topics.h"
#include "sandbox/broker/txn.h"

enum { BROKER_NODE = 1, BROKER_READ_SIZE = 65536 };

struct broker {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_tcp_t listener;
    uv_async_t stop;
    uv_timer_t timer;
    int64_t timer_at; /* when the timer is set to fire; INT64_MAX: it is not */
    char address[80];

    struct topics topics;
    struct groups groups;
    struct txns txns;

    struct list clients;
    struct list ready;   /* clients that may have a whole request waiting */
    struct list fetches; /* calls of Fetch that wait for more bytes */
    bool logs_changed;   /* waiting fetches have to be looked at again */
    bool stopping;
    char read_buffer[BROKER_READ_SIZE];
};

/* Milliseconds of the loop's clock, which all deadlines use. */
int64_t broker_now(const struct broker *broker);

/* Serves everything that can be served now and sets the timer; the last step of each event of the
 * loop. */
void broker_settle(struct broker *broker);
