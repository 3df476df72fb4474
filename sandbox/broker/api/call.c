#include "sandbox/broker/api/call.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "sandbox/broker/wire/protocol.h"

enum { LENGTH_SIZE = 4 };

struct broker_call *broker_call_new(struct broker_connection *connection,
                                    struct broker_slice request)
{
    struct broker_call *call = memory_zeroed(1, sizeof(*call));
    list_init(&call->node);
    call->connection = connection;
    connection->request = call;
    call->in.at = (const uint8_t *)request.data;
    call->in.end = call->in.at + request.length;
    call->api = broker_get_i16(&call->in);
    call->version = broker_get_i16(&call->in);
    call->correlation = broker_get_i32(&call->in);
    return call;
}

void broker_call_read_head(struct broker_call *call, bool flexible)
{
    call->client_id = broker_get_string(&call->in);
    call->in.flexible = flexible;
    broker_get_tags(&call->in);
}

void broker_call_free(struct broker_call *call)
{
    list_remove(&call->node);
    text_fini(&call->body);
    free(call);
}

void broker_call_begin(const struct broker_call *call, struct broker_out *out)
{
    *out = (struct broker_out){.flexible = call->in.flexible};
    broker_put_later(out);
    broker_put_i32(out, call->correlation);
    if (call->api != API_VERSIONS)
        broker_put_tags(out);
}

void broker_call_answer(struct broker_call *call, struct broker_out *out)
{
    struct broker_connection *connection = call->connection;
    broker_put_now(out, 0, (int32_t)(out->text.length - LENGTH_SIZE));
    broker_call_free(call);
    broker_connection_answered(connection);
    broker_connection_send(connection, &out->text);
}

void broker_call_refuse(struct broker_call *call)
{
    log_warn("broker: request %d version %d is malformed or unknown: connection closed", call->api,
             call->version);
    broker_connection_close(call->connection);
}

void broker_call_finish(struct broker_call *call, struct broker_out *out)
{
    if (!call->in.bad) {
        broker_call_answer(call, out);
        return;
    }
    text_fini(&out->text);
    broker_call_refuse(call);
}
