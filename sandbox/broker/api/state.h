/* The state of the broker. The broker's thread owns it. */
#pragma once

#include <uv.h>

#include "base/list.h"
#include "sandbox/broker/coordinator/group.h"
#include "sandbox/broker/coordinator/txn.h"
#include "sandbox/broker/log/topics.h"

enum { NODE_ID = 1 };

struct broker_state {
    uv_loop_t *loop; /* whose clock all deadlines use */
    struct broker_topics topics;
    struct broker_groups groups;
    struct broker_txns txns;
    struct list fetches; /* calls of Fetch that wait for more bytes */
    bool logs_changed;   /* they have to be checked again */
};

/* Milliseconds of the loop's clock. */
static inline int64_t broker_state_now(const struct broker_state *state)
{
    return (int64_t)uv_now(state->loop);
}
