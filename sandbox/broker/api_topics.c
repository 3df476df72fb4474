/* Metadata, CreateTopics, FindCoordinator: who is there (one node, always us) and which topics. */
#include "sandbox/broker/api.h"

static void put_node(struct wire_out *out, const struct call *call)
{
    wire_put_i32(out, BROKER_NODE);
    wire_put_string(out, slice_of(call->client->host));
    wire_put_i32(out, call->client->port);
}

static void put_topic(struct wire_out *out, int16_t version, struct slice name,
                      const struct topic *topic, int16_t code)
{
    int32_t partitions = topic ? topic->partition_count : 0;
    wire_put_i16(out, code);
    wire_put_string(out, name);
    if (version >= 1)
        wire_put_i8(out, 0);
    wire_put_array(out, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        wire_put_i16(out, CODE_NONE);
        wire_put_i32(out, i);
        wire_put_i32(out, BROKER_NODE);
        if (version >= 7)
            wire_put_i32(out, -1);
        for (int list = 0; list < 2; list++) { /* replicas, in-sync replicas */
            wire_put_array(out, 1);
            wire_put_i32(out, BROKER_NODE);
        }
        if (version >= 5)
            wire_put_array(out, 0);
    }
    if (version >= 8)
        wire_put_i32(out, INT32_MIN);
}

static void put_asked(struct broker *broker, struct wire_out *out, int16_t version,
                      struct slice name, bool create)
{
    struct topic *topic = topics_find(&broker->topics, name);
    int16_t code = CODE_NONE;
    if (!topic && !topics_name_valid(name))
        code = CODE_INVALID_TOPIC;
    else if (!topic && create)
        topic = topics_add(&broker->topics, name, broker->default_partitions);
    else if (!topic)
        code = CODE_UNKNOWN_TOPIC_OR_PARTITION;
    put_topic(out, version, name, topic, code);
}

static void put_all(const struct broker *broker, struct wire_out *out, int16_t version)
{
    wire_put_array(out, broker->topics.count);
    list_each(node, &broker->topics.list)
    {
        const struct topic *topic = list_of(node, struct topic, node);
        put_topic(out, version, slice_of(topic->name), topic, CODE_NONE);
    }
}

/* Whether topics may be made; it stands behind their names. */
static bool may_create(struct call *call, struct wire_in in, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        wire_get_string(&in);
    bool create = call->version < 4 || wire_get_i8(&in);
    call->in.bad |= in.bad;
    return create && !in.bad;
}

void api_metadata(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in;
    int16_t version = call->version;
    int32_t count = wire_get_array(in);
    bool create = may_create(call, *in, count);
    struct wire_out out;
    call_begin(call, &out);
    if (version >= 3)
        wire_put_i32(&out, 0);
    wire_put_array(&out, 1);
    put_node(&out, call);
    if (version >= 1)
        wire_put_string(&out, slice_of(NULL));
    if (version >= 2)
        wire_put_string(&out, slice_of("privacy-call-sandbox"));
    if (version >= 1)
        wire_put_i32(&out, BROKER_NODE);
    if (count < 0 || (count == 0 && version == 0)) {
        put_all(broker, &out, version);
    } else {
        wire_put_array(&out, count);
        for (int32_t i = 0; i < count && !in->bad; i++)
            put_asked(broker, &out, version, wire_get_string(in), create);
    }
    if (version >= 8)
        wire_put_i32(&out, INT32_MIN);
    api_finish(call, &out);
}

struct create {
    struct slice name;
    int32_t partitions;
};

static struct create get_create(struct wire_in *in)
{
    struct create create = {.name = wire_get_string(in)};
    create.partitions = wire_get_i32(in);
    wire_get_i16(in); /* replication factor */
    int32_t assigned = wire_get_array(in);
    for (int32_t i = 0; i < assigned; i++) {
        wire_get_i32(in);
        int32_t replicas = wire_get_array(in);
        for (int32_t k = 0; k < replicas; k++)
            wire_get_i32(in);
    }
    if (assigned > 0)
        create.partitions = assigned;
    int32_t settings = wire_get_array(in);
    for (int32_t i = 0; i < settings; i++) {
        wire_get_string(in);
        wire_get_string(in);
    }
    return create;
}

static int16_t create_topic(struct broker *broker, struct create create, bool only_check)
{
    if (create.partitions == -1)
        create.partitions = broker->default_partitions;
    if (!topics_name_valid(create.name))
        return CODE_INVALID_TOPIC;
    if (topics_find(&broker->topics, create.name))
        return CODE_TOPIC_ALREADY_EXISTS;
    if (create.partitions < 1 || create.partitions > TOPIC_PARTITIONS_MAX)
        return CODE_INVALID_PARTITIONS;
    if (!only_check)
        topics_add(&broker->topics, create.name, create.partitions);
    return CODE_NONE;
}

void api_create_topics(struct broker *broker, struct call *call)
{
    struct wire_in *in = &call->in, ahead = *in;
    int32_t count = wire_get_array(in);
    /* 'Only check' stands behind all topics. */
    wire_get_array(&ahead);
    for (int32_t i = 0; i < count; i++)
        get_create(&ahead);
    wire_get_i32(&ahead);
    bool only_check = call->version >= 1 && wire_get_i8(&ahead);
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 2)
        wire_put_i32(&out, 0);
    wire_put_array(&out, count < 0 ? 0 : count);
    for (int32_t i = 0; i < count && !ahead.bad; i++) {
        struct create create = get_create(in);
        wire_put_string(&out, create.name);
        wire_put_i16(&out, create_topic(broker, create, only_check));
        if (call->version >= 1)
            wire_put_string(&out, slice_of(NULL));
    }
    in->bad |= ahead.bad;
    api_finish(call, &out);
}

void api_find_coordinator(struct broker *broker, struct call *call)
{
    (void)broker;
    wire_get_string(&call->in); /* whose: we coordinate them all */
    if (call->version >= 1)
        wire_get_i8(&call->in);
    struct wire_out out;
    call_begin(call, &out);
    if (call->version >= 1)
        wire_put_i32(&out, 0);
    wire_put_i16(&out, CODE_NONE);
    if (call->version >= 1)
        wire_put_string(&out, slice_of(NULL));
    put_node(&out, call);
    api_finish(call, &out);
}
