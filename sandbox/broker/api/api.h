/* The requests of the Kafka protocol that the broker answers, one function each: reads the request,
 * asks the module that knows, writes the answer. The broker's thread. */
#pragma once

#include "sandbox/broker/api/call.h"
#include "sandbox/broker/api/state.h"
#include "sandbox/broker/wire/protocol.h"

void broker_api_init(struct broker_state *state, uv_loop_t *loop);
/* All connections must be gone. */
void broker_api_fini(struct broker_state *state);

/* The hooks of the connections, whose owner is the state: hands a request to its function, which
 * answers it, lets it wait, or refuses it; answers a waiting one early, if it can; forgets it. */
void broker_api_serve(void *owner, struct broker_connection *connection,
                      struct broker_slice request);
void broker_api_hurry(void *owner, void *request);
void broker_api_lost(void *owner, void *request);

/* Does what the time or new records ask for. Returns whether it did: more requests may be ready. */
bool broker_api_wake(struct broker_state *state);
/* When the time will ask for something; INT64_MAX: never. */
int64_t broker_api_deadline(const struct broker_state *state);

/* The shape that most requests have: an array of topics with an array of partitions each, answered
 * by the same. */
struct broker_api_walk {
    struct broker_state *state;
    struct broker_call *call;
    struct broker_in *in;
    struct broker_out *out;
    struct broker_slice name;
    struct broker_topic *topic; /* NULL: unknown */
    void *context;
};

/* Reads the arrays and writes those of the answer; `each` reads one partition and writes its
 * answer. */
void broker_api_walk(struct broker_state *state, struct broker_call *call, struct broker_out *out,
                     void (*each)(struct broker_api_walk *walk), void *context);

/* records.c */
void broker_api_produce(struct broker_state *state, struct broker_call *call);
void broker_api_list_offsets(struct broker_state *state, struct broker_call *call);

/* fetch.c; the second answers a waiting one with what there is. */
void broker_api_fetch(struct broker_state *state, struct broker_call *call);
void broker_api_fetch_now(struct broker_state *state, struct broker_call *call);
/* Answers the waiting ones that have enough bytes, or whose time is up. */
void broker_api_fetch_check(struct broker_state *state);
int64_t broker_api_fetch_deadline(const struct broker_state *state);

/* topics.c */
void broker_api_metadata(struct broker_state *state, struct broker_call *call);
void broker_api_find_coordinator(struct broker_state *state, struct broker_call *call);

/* groups.c */
struct broker_group_hooks broker_api_group_hooks(void);
void broker_api_join_group(struct broker_state *state, struct broker_call *call);
void broker_api_sync_group(struct broker_state *state, struct broker_call *call);
void broker_api_heartbeat(struct broker_state *state, struct broker_call *call);
void broker_api_leave_group(struct broker_state *state, struct broker_call *call);
void broker_api_list_groups(struct broker_state *state, struct broker_call *call);
void broker_api_describe_groups(struct broker_state *state, struct broker_call *call);

/* offsets.c */
void broker_api_offset_commit(struct broker_state *state, struct broker_call *call);
void broker_api_offset_fetch(struct broker_state *state, struct broker_call *call);
void broker_api_txn_offset_commit(struct broker_state *state, struct broker_call *call);

/* txns.c */
void broker_api_init_producer_id(struct broker_state *state, struct broker_call *call);
void broker_api_add_partitions_to_txn(struct broker_state *state, struct broker_call *call);
void broker_api_add_offsets_to_txn(struct broker_state *state, struct broker_call *call);
void broker_api_end_txn(struct broker_state *state, struct broker_call *call);
