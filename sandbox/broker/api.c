#include "sandbox/broker/api.h"

#include <assert.h>

enum { NEVER = INT16_MAX };

static void api_versions(struct broker *broker, struct call *call);

/* Produce begins at 0 because librdkafka takes the lower versions as a sign of features; below 3
 * (older formats) it is refused. */
static const struct api {
    int16_t key, min, max;
    int16_t flexible; /* first version that is */
    void (*serve)(struct broker *broker, struct call *call);
} apis[] = {
    {API_PRODUCE, 0, 7, NEVER, api_produce},
    {API_FETCH, 4, 11, NEVER, api_fetch},
    {API_LIST_OFFSETS, 1, 5, NEVER, api_list_offsets},
    {API_METADATA, 0, 8, NEVER, api_metadata},
    {API_OFFSET_COMMIT, 2, 7, NEVER, api_offset_commit},
    {API_OFFSET_FETCH, 1, 7, 6, api_offset_fetch},
    {API_FIND_COORDINATOR, 0, 2, NEVER, api_find_coordinator},
    {API_JOIN_GROUP, 0, 5, NEVER, api_join_group},
    {API_HEARTBEAT, 0, 3, NEVER, api_heartbeat},
    {API_LEAVE_GROUP, 0, 3, NEVER, api_leave_group},
    {API_SYNC_GROUP, 0, 3, NEVER, api_sync_group},
    {API_DESCRIBE_GROUPS, 0, 4, NEVER, api_describe_groups},
    {API_LIST_GROUPS, 0, 4, 3, api_list_groups},
    {API_VERSIONS, 0, 3, 3, api_versions},
    {API_CREATE_TOPICS, 0, 4, NEVER, api_create_topics},
    {API_DELETE_RECORDS, 0, 1, NEVER, api_delete_records},
    {API_INIT_PRODUCER_ID, 0, 4, 2, api_init_producer_id},
    {API_ADD_PARTITIONS_TO_TXN, 0, 2, NEVER, api_add_partitions_to_txn},
    {API_ADD_OFFSETS_TO_TXN, 0, 2, NEVER, api_add_offsets_to_txn},
    {API_END_TXN, 0, 2, NEVER, api_end_txn},
    {API_TXN_OFFSET_COMMIT, 0, 3, 3, api_txn_offset_commit},
};
enum { API_COUNT = sizeof(apis) / sizeof(apis[0]) };

static const struct api *find(int16_t key)
{
    for (int i = 0; i < API_COUNT; i++)
        if (apis[i].key == key)
            return &apis[i];
    return NULL;
}

bool api_is_flexible(int16_t key, int16_t version)
{
    const struct api *api = find(key);
    return api && version >= api->flexible;
}

/* A client that asks for a newer version of ApiVersions than we have is answered in the oldest. */
static void api_versions(struct broker *broker, struct call *call)
{
    (void)broker;
    const struct api *own = find(API_VERSIONS);
    assert(own);
    bool known = call->version >= 0 && call->version <= own->max;
    if (!known) {
        call->version = 0;
        call->flexible = false;
    }
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i16(&out, known ? CODE_NONE : CODE_UNSUPPORTED_VERSION);
    wire_put_array(&out, API_COUNT);
    for (int i = 0; i < API_COUNT; i++) {
        wire_put_i16(&out, apis[i].key);
        wire_put_i16(&out, apis[i].min);
        wire_put_i16(&out, apis[i].max);
        wire_put_tags(&out);
    }
    if (call->version >= 1)
        wire_put_i32(&out, 0);
    wire_put_tags(&out);
    call_answer(call, &out);
}

void api_serve(struct broker *broker, struct call *call)
{
    const struct api *api = find(call->api);
    bool known = api && call->version >= api->min && call->version <= api->max;
    assert(api || call->api != API_VERSIONS);
    if ((known && !call->in.bad) || (!known && call->api == API_VERSIONS))
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
