/* One open request of the Kafka protocol: its head, its unread rest, and its answer. It ends when
 * it is answered or refused, or when its connection is gone. The broker's thread. */
#pragma once

#include "sandbox/broker/connection/connection.h"
#include "sandbox/broker/wire/wire.h"

struct broker_call {
    struct list node; /* state.fetches */
    struct broker_connection *connection;
    int16_t api, version;
    int32_t correlation;
    struct broker_slice
        client_id; /* client_id and `in` are valid only while the request is being served */
    struct broker_in in;
    struct text body; /* of a waiting Fetch: a copy of `in` */
    int64_t deadline;
};

/* Reads api, version and correlation. broker_call_read_head reads the rest of the head. */
struct broker_call *broker_call_new(struct broker_connection *connection,
                                    struct broker_slice request);
void broker_call_read_head(struct broker_call *call, bool flexible);
void broker_call_free(struct broker_call *call);

/* Begins the answer; ends it (sends, releases call and out). */
void broker_call_begin(const struct broker_call *call, struct broker_out *out);
void broker_call_answer(struct broker_call *call, struct broker_out *out);

/* Refuses a malformed request: closes the connection, which releases the call. */
void broker_call_refuse(struct broker_call *call);

/* Sends the answer, or refuses the request if it could not be read. */
void broker_call_finish(struct broker_call *call, struct broker_out *out);
