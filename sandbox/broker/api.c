#include "sandbox/broker/api.h"

static void api_versions(struct broker *broker, struct call *call);

/* One version of each is served, the newest that librdkafka 2.0.2 speaks. Those below it, down to
 * `least`, are offered only because librdkafka takes them as the sign of a feature. */
static const struct api {
    int16_t key, least, version;
    bool flexible;
    void (*serve)(struct broker *broker, struct call *call);
} apis[] = {
    {API_PRODUCE, 3, 7, false, api_produce},
    {API_FETCH, 4, 11, false, api_fetch},
    {API_LIST_OFFSETS, 1, 2, false, api_list_offsets},
    {API_METADATA, 4, 4, false, api_metadata},
    {API_OFFSET_COMMIT, 2, 7, false, api_offset_commit},
    {API_OFFSET_FETCH, 1, 7, true, api_offset_fetch},
    {API_FIND_COORDINATOR, 0, 2, false, api_find_coordinator},
    {API_JOIN_GROUP, 0, 5, false, api_join_group},
    {API_HEARTBEAT, 0, 3, false, api_heartbeat},
    {API_LEAVE_GROUP, 0, 1, false, api_leave_group},
    {API_SYNC_GROUP, 0, 3, false, api_sync_group},
    {API_DESCRIBE_GROUPS, 0, 0, false, api_describe_groups},
    {API_LIST_GROUPS, 0, 0, false, api_list_groups},
    {API_VERSIONS, 0, 3, true, api_versions},
    {API_INIT_PRODUCER_ID, 0, 4, true, api_init_producer_id},
    {API_ADD_PARTITIONS_TO_TXN, 0, 0, false, api_add_partitions_to_txn},
    {API_ADD_OFFSETS_TO_TXN, 0, 0, false, api_add_offsets_to_txn},
    {API_END_TXN, 1, 1, false, api_end_txn},
    {API_TXN_OFFSET_COMMIT, 3, 3, true, api_txn_offset_commit},
};
enum { API_COUNT = sizeof(apis) / sizeof(apis[0]) };

/* NULL when it is not served. */
static const struct api *find(int16_t key, int16_t version)
{
    for (int i = 0; i < API_COUNT; i++)
        if (apis[i].key == key && apis[i].version == version)
            return &apis[i];
    return NULL;
}

bool api_is_flexible(int16_t key, int16_t version)
{
    const struct api *api = find(key, version);
    return api && api->flexible;
}

/* A client that asks in another version is answered in the oldest, and asks again. */
static void api_versions(struct broker *broker, struct call *call)
{
    (void)broker;
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i16(&out, call->flexible ? CODE_NONE : CODE_UNSUPPORTED_VERSION);
    wire_put_array(&out, API_COUNT);
    for (int i = 0; i < API_COUNT; i++) {
        wire_put_i16(&out, apis[i].key);
        wire_put_i16(&out, apis[i].least);
        wire_put_i16(&out, apis[i].version);
        wire_put_tags(&out);
    }
    if (call->flexible)
        wire_put_i32(&out, 0);
    wire_put_tags(&out);
    call_answer(call, &out);
}

void api_serve(struct broker *broker, struct call *call)
{
    const struct api *api = find(call->api, call->version);
    if (call->api == API_VERSIONS)
        api_versions(broker, call);
    else if (api && !call->in.bad)
        api->serve(broker, call);
    else
        call_refuse(call);
}

void api_walk(struct broker *broker, struct call *call, struct wire_out *out,
              void (*each)(struct api_walk *walk), void *context)
{
    struct api_walk walk = {
        .broker = broker, .call = call, .in = &call->in, .out = out, .context = context};
    int32_t topics = wire_get_array(walk.in);
    wire_put_array(out, topics < 0 ? 0 : topics);
    for (int32_t i = 0; i < topics && !walk.in->bad; i++) {
        walk.name = wire_get_string(walk.in);
        walk.topic = topics_find(&broker->topics, walk.name);
        wire_put_string(out, walk.name);
        int32_t partitions = wire_get_array(walk.in);
        wire_put_array(out, partitions < 0 ? 0 : partitions);
        for (int32_t k = 0; k < partitions && !walk.in->bad; k++)
            each(&walk);
        wire_get_tags(walk.in);
        wire_put_tags(out);
    }
}

void api_finish(struct call *call, struct wire_out *out)
{
    if (!call->in.bad) {
        call_answer(call, out);
        return;
    }
    text_fini(&out->text);
    call_refuse(call);
}
