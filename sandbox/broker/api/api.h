/* The requests of the Kafka protocol that the broker answers. Each has a function, which reads the
 * request, calls the responsible module, and writes the answer. The broker's thread. */
#pragma once

#include "sandbox/broker/api/call.h"
#include "sandbox/broker/api/state.h"
#include "sandbox/broker/wire/protocol.h"

void broker_api_init(struct broker_state *state, uv_loop_t *loop);
/* Releases everything. All connections must be closed. */
void broker_api_fini(struct broker_state *state);

/* The hooks of the connections, whose owner is the state. serve passes a request to its function,
 * which answers it, lets it wait, or refuses it; hurry answers a waiting request early, if
 * possible; lost forgets it. */
void broker_api_serve(void *owner, struct broker_connection *connection,
                      struct broker_slice request);
void broker_api_hurry(void *owner, void *request);
void broker_api_lost(void *owner, void *request);

/* Handles expired deadlines and new records. Returns whether it did anything: more requests may be
 * ready then. */
bool broker_api_wake(struct broker_state *state);
/* The next deadline; INT64_MAX: none. */
int64_t broker_api_deadline(const struct broker_state *state);

/* The form of most requests: an array of topics, each with an array of partitions. The answer has
 * the same form. */
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

/* fetch.c; the second function answers a waiting Fetch with the records that are there. */
void broker_api_fetch(struct broker_state *state, struct broker_call *call);
void broker_api_fetch_now(struct broker_state *state, struct broker_call *call);
/* Answers waiting Fetches that have enough bytes, or whose time is over. */
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
