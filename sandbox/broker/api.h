/* The requests of the Kafka protocol that the broker answers, one function each: reads the request,
 * asks the module that knows, writes the answer. The broker's thread. */
#pragma once

#include "sandbox/broker/client.h"
#include "sandbox/broker/core.h"
#include "sandbox/broker/protocol.h"

bool api_is_flexible(int16_t api, int16_t version);

/* Hands a request to its function, which answers it, lets it wait, or refuses it. */
void api_serve(struct broker *broker, struct call *call);

/* The shape that most requests have: an array of topics with an array of partitions each, answered
 * by the same. */
struct api_walk {
    struct broker *broker;
    struct call *call;
    struct wire_in *in;
    struct wire_out *out;
    struct slice name;
    struct topic *topic; /* NULL: unknown */
    void *context;
};

/* Reads the arrays and writes those of the answer; `each` reads one partition and writes its
 * answer. */
void api_walk(struct broker *broker, struct call *call, struct wire_out *out,
              void (*each)(struct api_walk *walk), void *context);

/* Sends the answer, or refuses the request when reading it went wrong. */
void api_finish(struct call *call, struct wire_out *out);

/* api_records.c */
void api_produce(struct broker *broker, struct call *call);
void api_list_offsets(struct broker *broker, struct call *call);

/* api_fetch.c; the second answers a waiting one with what there is. */
void api_fetch(struct broker *broker, struct call *call);
void api_fetch_now(struct broker *broker, struct call *call);
/* Answers the waiting ones that have enough bytes, or whose time is up. */
void api_fetch_check(struct broker *broker);
int64_t api_fetch_deadline(const struct broker *broker);

/* api_topics.c */
void api_metadata(struct broker *broker, struct call *call);
void api_find_coordinator(struct broker *broker, struct call *call);

/* api_groups.c */
struct group_hooks api_group_hooks(void);
void api_join_group(struct broker *broker, struct call *call);
void api_sync_group(struct broker *broker, struct call *call);
void api_heartbeat(struct broker *broker, struct call *call);
void api_leave_group(struct broker *broker, struct call *call);
void api_list_groups(struct broker *broker, struct call *call);
void api_describe_groups(struct broker *broker, struct call *call);

/* api_offsets.c */
void api_offset_commit(struct broker *broker, struct call *call);
void api_offset_fetch(struct broker *broker, struct call *call);
void api_txn_offset_commit(struct broker *broker, struct call *call);

/* api_txns.c */
void api_init_producer_id(struct broker *broker, struct call *call);
void api_add_partitions_to_txn(struct broker *broker, struct call *call);
void api_add_offsets_to_txn(struct broker *broker, struct call *call);
void api_end_txn(struct broker *broker, struct call *call);
