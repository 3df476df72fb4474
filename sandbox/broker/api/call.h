/* One request of the Kafka protocol under way: its head, what is left of it to read, and its
 * answer. It ends when it is answered, refused, or its connection is gone. The broker's thread. */
#pragma once

#include "sandbox/broker/connection/connection.h"
#include "sandbox/broker/wire/wire.h"

struct broker_call {
    struct list node; /* state.fetches */
    struct broker_connection *connection;
    int16_t api, version;
    int32_t correlation;
    struct broker_slice client_id; /* this and `in` only until the request was served */
    struct broker_in in;
    struct text body; /* of a waiting Fetch: a copy of what was in `in` */
    int64_t deadline;
};

/* Reads api, version and correlation; the rest of the head only broker_call_read_head does. */
struct broker_call *broker_call_new(struct broker_connection *connection,
                                    struct broker_slice request);
void broker_call_read_head(struct broker_call *call, bool flexible);
void broker_call_free(struct broker_call *call);

/* Begins the answer; ends it (sends, releases call and out). */
void broker_call_begin(const struct broker_call *call, struct broker_out *out);
void broker_call_answer(struct broker_call *call, struct broker_out *out);

/* The request makes no sense: closes the connection, which releases the call. */
void broker_call_refuse(struct broker_call *call);

/* Sends the answer, or refuses the request when reading it went wrong. */
void broker_call_finish(struct broker_call *call, struct broker_out *out);
