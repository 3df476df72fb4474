#include "sandbox/broker/api/api.h"

static void api_versions(struct broker_state *state, struct broker_call *call);

/* Of each request one version is served, the newest of librdkafka 2.0.2. Lower versions, down to
 * `least`, are offered only because librdkafka concludes from them that a feature exists. */
static const struct api {
    int16_t key, least, version;
    bool flexible;
    void (*serve)(struct broker_state *state, struct broker_call *call);
} apis[] = {
    {API_PRODUCE, 3, 7, false, broker_api_produce},
    {API_FETCH, 4, 11, false, broker_api_fetch},
    {API_LIST_OFFSETS, 1, 2, false, broker_api_list_offsets},
    {API_METADATA, 4, 4, false, broker_api_metadata},
    {API_OFFSET_COMMIT, 2, 7, false, broker_api_offset_commit},
    {API_OFFSET_FETCH, 1, 7, true, broker_api_offset_fetch},
    {API_FIND_COORDINATOR, 0, 2, false, broker_api_find_coordinator},
    {API_JOIN_GROUP, 0, 5, false, broker_api_join_group},
    {API_HEARTBEAT, 0, 3, false, broker_api_heartbeat},
    {API_LEAVE_GROUP, 0, 1, false, broker_api_leave_group},
    {API_SYNC_GROUP, 0, 3, false, broker_api_sync_group},
    {API_DESCRIBE_GROUPS, 0, 0, false, broker_api_describe_groups},
    {API_LIST_GROUPS, 0, 0, false, broker_api_list_groups},
    {API_VERSIONS, 0, 3, true, api_versions},
    {API_INIT_PRODUCER_ID, 0, 4, true, broker_api_init_producer_id},
    {API_ADD_PARTITIONS_TO_TXN, 0, 0, false, broker_api_add_partitions_to_txn},
    {API_ADD_OFFSETS_TO_TXN, 0, 0, false, broker_api_add_offsets_to_txn},
    {API_END_TXN, 1, 1, false, broker_api_end_txn},
    {API_TXN_OFFSET_COMMIT, 3, 3, true, broker_api_txn_offset_commit},
};
enum { API_COUNT = sizeof(apis) / sizeof(apis[0]) };

/* NULL: the request is not served. */
static const struct api *find(int16_t key, int16_t version)
{
    for (int i = 0; i < API_COUNT; i++)
        if (apis[i].key == key && apis[i].version == version)
            return &apis[i];
    return NULL;
}

/* A client that asks in another version gets an answer in the oldest version, and asks again. */
static void api_versions(struct broker_state *state, struct broker_call *call)
{
    (void)state;
    struct broker_out out;
    broker_call_begin(call, &out);
    broker_put_i16(&out, call->in.flexible ? CODE_NONE : CODE_UNSUPPORTED_VERSION);
    broker_put_array(&out, API_COUNT);
    for (int i = 0; i < API_COUNT; i++) {
        broker_put_i16(&out, apis[i].key);
        broker_put_i16(&out, apis[i].least);
        broker_put_i16(&out, apis[i].version);
        broker_put_tags(&out);
    }
    if (call->in.flexible)
        broker_put_i32(&out, 0);
    broker_put_tags(&out);
    broker_call_answer(call, &out);
}

void broker_api_serve(void *owner, struct broker_connection *connection,
                      struct broker_slice request)
{
    struct broker_state *state = owner;
    struct broker_call *call = broker_call_new(connection, request);
    const struct api *api = find(call->api, call->version);
    broker_call_read_head(call, api && api->flexible);
    if (call->api == API_VERSIONS)
        api_versions(state, call);
    else if (api && !call->in.bad)
        api->serve(state, call);
    else
        broker_call_refuse(call);
}

void broker_api_hurry(void *owner, void *request)
{
    struct broker_call *call = request;
    if (call->api == API_FETCH)
        broker_api_fetch_now(owner, call);
}

void broker_api_lost(void *owner, void *request)
{
    struct broker_state *state = owner;
    broker_groups_forget_call(&state->groups, request, broker_state_now(state));
    broker_call_free(request);
}

bool broker_api_wake(struct broker_state *state)
{
    int64_t now = broker_state_now(state);
    broker_groups_expire(&state->groups, now);
    bool look = broker_txns_expire(&state->txns, now) || state->logs_changed ||
                broker_api_fetch_deadline(state) <= now;
    state->logs_changed = false;
    if (look)
        broker_api_fetch_check(state);
    return look;
}

int64_t broker_api_deadline(const struct broker_state *state)
{
    int64_t deadlines[] = {broker_groups_deadline(&state->groups),
                           broker_txns_deadline(&state->txns), broker_api_fetch_deadline(state)};
    int64_t first = deadlines[0];
    for (int i = 1; i < 3; i++)
        first = deadlines[i] < first ? deadlines[i] : first;
    return first;
}

void broker_api_init(struct broker_state *state, uv_loop_t *loop)
{
    state->loop = loop;
    list_init(&state->fetches);
    broker_topics_init(&state->topics);
    broker_groups_init(&state->groups, broker_api_group_hooks());
    broker_txns_init(&state->txns);
}

void broker_api_fini(struct broker_state *state)
{
    broker_txns_fini(&state->txns);
    broker_groups_fini(&state->groups);
    broker_topics_fini(&state->topics);
}

void broker_api_walk(struct broker_state *state, struct broker_call *call, struct broker_out *out,
                     void (*each)(struct broker_api_walk *walk), void *context)
{
    struct broker_api_walk walk = {
        .state = state, .call = call, .in = &call->in, .out = out, .context = context};
    int32_t topics = broker_get_array(walk.in);
    broker_put_array(out, topics < 0 ? 0 : topics);
    for (int32_t i = 0; i < topics && !walk.in->bad; i++) {
        walk.name = broker_get_string(walk.in);
        walk.topic = broker_topics_find(&state->topics, walk.name);
        broker_put_string(out, walk.name);
        int32_t partitions = broker_get_array(walk.in);
        broker_put_array(out, partitions < 0 ? 0 : partitions);
        for (int32_t k = 0; k < partitions && !walk.in->bad; k++)
            each(&walk);
        broker_get_tags(walk.in);
        broker_put_tags(out);
    }
}
