/* Metadata, FindCoordinator: who is there (one node, always us) and which topics. */
#include <stdlib.h>

#include "sandbox/broker/api/api.h"

static void put_node(struct broker_out *out, const struct broker_call *call)
{
    struct sandbox_address address;
    broker_connection_address(call->connection, &address);
    broker_put_i32(out, NODE_ID);
    broker_put_string(out, broker_slice_of(address.host));
    broker_put_i32(out, (int32_t)strtol(address.port, NULL, 10));
}

static void put_topic(struct broker_out *out, struct broker_slice name,
                      const struct broker_topic *topic)
{
    int32_t partitions = topic ? topic->partition_count : 0;
    broker_put_i16(out, topic ? CODE_NONE : CODE_UNKNOWN_TOPIC_OR_PARTITION);
    broker_put_string(out, name);
    broker_put_i8(out, 0); /* no internal one */
    broker_put_array(out, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        broker_put_i16(out, CODE_NONE);
        broker_put_i32(out, i);
        broker_put_i32(out, NODE_ID);
        for (int list = 0; list < 2; list++) { /* replicas, in-sync replicas */
            broker_put_array(out, 1);
            broker_put_i32(out, NODE_ID);
        }
    }
}

static void put_all(const struct broker_state *state, struct broker_out *out)
{
    broker_put_array(out, state->topics.count);
    list_each(node, &state->topics.list)
    {
        const struct broker_topic *topic = list_of(node, struct broker_topic, node);
        put_topic(out, broker_slice_of(topic->name), topic);
    }
}

static void put_asked(const struct broker_state *state, struct broker_out *out,
                      struct broker_in *in, int32_t count)
{
    broker_put_array(out, count);
    for (int32_t i = 0; i < count && !in->bad; i++) {
        struct broker_slice name = broker_get_string(in);
        put_topic(out, name, broker_topics_find(&state->topics, name));
    }
}

void broker_api_metadata(struct broker_state *state, struct broker_call *call)
{
    int32_t count = broker_get_array(&call->in);
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_array(&out, 1);
    put_node(&out, call);
    broker_put_string(&out, broker_slice_of(NULL)); /* rack */
    broker_put_string(&out, broker_slice_of("privacy-call-sandbox"));
    broker_put_i32(&out, NODE_ID);
    if (count < 0)
        put_all(state, &out);
    else
        put_asked(state, &out, &call->in, count);
    broker_call_finish(call, &out);
}

void broker_api_find_coordinator(struct broker_state *state, struct broker_call *call)
{
    (void)state;
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i32(&out, 0);
    broker_put_i16(&out, CODE_NONE);
    broker_put_string(&out, broker_slice_of(NULL));
    put_node(&out, call);
    broker_call_answer(call, &out);
}
