/* Metadata, FindCoordinator: who is there (one node, always us) and which topics. */
#include "sandbox/broker/api.h"

static void put_node(struct wire_out *out, const struct call *call)
{
    wire_put_i32(out, BROKER_NODE);
    wire_put_string(out, slice_of(call->client->host));
    wire_put_i32(out, call->client->port);
}

static void put_topic(struct wire_out *out, struct slice name, const struct topic *topic)
{
    int32_t partitions = topic ? topic->partition_count : 0;
    wire_put_i16(out, topic ? CODE_NONE : CODE_UNKNOWN_TOPIC_OR_PARTITION);
    wire_put_string(out, name);
    wire_put_i8(out, 0); /* no internal one */
    wire_put_array(out, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        wire_put_i16(out, CODE_NONE);
        wire_put_i32(out, i);
        wire_put_i32(out, BROKER_NODE);
        for (int list = 0; list < 2; list++) { /* replicas, in-sync replicas */
            wire_put_array(out, 1);
            wire_put_i32(out, BROKER_NODE);
        }
    }
}

static void put_all(const struct broker *broker, struct wire_out *out)
{
    wire_put_array(out, broker->topics.count);
    list_each(node, &broker->topics.list)
    {
        const struct topic *topic = list_of(node, struct topic, node);
        put_topic(out, slice_of(topic->name), topic);
    }
}

static void put_asked(const struct broker *broker, struct wire_out *out, struct wire_in *in,
                      int32_t count)
{
    wire_put_array(out, count);
    for (int32_t i = 0; i < count && !in->bad; i++) {
        struct slice name = wire_get_string(in);
        put_topic(out, name, topics_find(&broker->topics, name));
    }
}

void api_metadata(struct broker *broker, struct call *call)
{
    int32_t count = wire_get_array(&call->in);
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_array(&out, 1);
    put_node(&out, call);
    wire_put_string(&out, slice_of(NULL)); /* rack */
    wire_put_string(&out, slice_of("privacy-call-sandbox"));
    wire_put_i32(&out, BROKER_NODE);
    if (count < 0)
        put_all(broker, &out);
    else
        put_asked(broker, &out, &call->in, count);
    api_finish(call, &out);
}

void api_find_coordinator(struct broker *broker, struct call *call)
{
    (void)broker;
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    wire_put_i16(&out, CODE_NONE);
    wire_put_string(&out, slice_of(NULL));
    put_node(&out, call);
    call_answer(call, &out);
}
