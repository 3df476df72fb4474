/* Fetch: answered at once when there are enough bytes or there is something to say, else kept until
 * then. The request is walked anew each time: first to count, then to answer. */
#include "sandbox/broker/api.h"

enum { ANSWER_MAX = 52428800 };

struct fetch {
    struct broker *broker;
    struct call *call;
    struct wire_in in; /* at the array of topics */
    int32_t max_wait_ms, min_bytes, budget;
    bool committed;
    struct wire_out *out; /* NULL while counting */
    int64_t bytes;        /* found so far */
    bool urgent;          /* some partition has an error to tell */
};

static void read_head(struct fetch *fetch)
{
    struct wire_in *in = &fetch->in;
    wire_get_i32(in); /* replica */
    fetch->max_wait_ms = wire_get_i32(in);
    fetch->min_bytes = wire_get_i32(in);
    int32_t max_bytes = wire_get_i32(in);
    fetch->budget = max_bytes < 0 || max_bytes > ANSWER_MAX ? ANSWER_MAX : max_bytes;
    fetch->committed = wire_get_i8(in) == 1;
    if (fetch->call->version >= 7) { /* incremental sessions are not offered */
        wire_get_i32(in);
        wire_get_i32(in);
    }
}

static void put_aborted(struct wire_out *out, const struct partition *partition, int64_t from,
                        int64_t to)
{
    size_t where = wire_put_later(out);
    int32_t count = 0;
    for (size_t i = 0; i < partition->abort_count; i++) {
        const struct partition_abort *abort = &partition->aborts[i];
        if (abort->last < from || abort->first >= to)
            continue;
        wire_put_i64(out, abort->producer_id);
        wire_put_i64(out, abort->first);
        count++;
    }
    wire_put_now(out, where, count);
}

/* How many batches from [first] on fit: at least one when nothing was taken yet. */
static size_t take_batches(struct fetch *fetch, const struct partition *partition, size_t first,
                           int64_t end, int32_t max)
{
    size_t taken = first;
    int64_t bytes = 0;
    while (taken < partition->count) {
        const struct batch *batch = partition_batch(partition, taken);
        int64_t more = bytes + batch->size;
        bool fits = more <= max && fetch->bytes + more <= fetch->budget;
        if (batch->base >= end || !(fits || fetch->bytes + bytes == 0))
            break;
        bytes = more;
        taken++;
    }
    fetch->bytes += bytes;
    return taken - first;
}

static void put_records(struct wire_out *out, const struct partition *partition, size_t first,
                        size_t count)
{
    size_t where = wire_put_later(out);
    size_t begin = out->text.length;
    for (size_t i = first; i < first + count; i++) {
        const struct batch *batch = partition_batch(partition, i);
        text_append(&out->text, batch->bytes, batch->size);
    }
    wire_put_now(out, where, (int32_t)(out->text.length - begin));
}

static void put_partition(struct fetch *fetch, const struct partition *partition, int32_t index,
                          int16_t code, int64_t offset, int32_t max)
{
    struct wire_out *out = fetch->out;
    int64_t end = !partition         ? -1
                  : fetch->committed ? partition_stable_end(partition)
                                     : partition->end;
    size_t first = 0, count = 0;
    if (code == CODE_NONE) {
        first = partition_find(partition, offset);
        count = take_batches(fetch, partition, first, end, max);
    }
    if (!out)
        return;
    int64_t next = count ? partition_batch(partition, first + count - 1)->last + 1 : offset;
    wire_put_i32(out, index);
    wire_put_i16(out, code);
    wire_put_i64(out, partition ? partition->end : -1);
    wire_put_i64(out, partition ? partition_stable_end(partition) : -1);
    if (fetch->call->version >= 5)
        wire_put_i64(out, partition ? partition->start : -1);
    if (code == CODE_NONE && fetch->committed)
        put_aborted(out, partition, offset, next);
    else
        wire_put_array(out, -1);
    if (fetch->call->version >= 11)
        wire_put_i32(out, -1); /* no preferred replica */
    if (code == CODE_NONE)
        put_records(out, partition, first, count);
    else
        wire_put_i32(out, 0);
}

static void walk_partition(struct fetch *fetch, struct topic *topic)
{
    struct wire_in *in = &fetch->in;
    int16_t version = fetch->call->version;
    int32_t index = wire_get_i32(in);
    if (version >= 9)
        wire_get_i32(in); /* leader epoch */
    int64_t offset = wire_get_i64(in);
    if (version >= 5)
        wire_get_i64(in);
    int32_t max = wire_get_i32(in);
    const struct partition *partition = topic_partition(topic, index);
    int16_t code = CODE_NONE;
    if (!partition)
        code = CODE_UNKNOWN_TOPIC_OR_PARTITION;
    else if (offset < partition->start || offset > partition->end)
        code = CODE_OFFSET_OUT_OF_RANGE;
    fetch->urgent |= code != CODE_NONE;
    put_partition(fetch, partition, index, code, offset, max);
}

static void walk_topics(struct fetch *fetch)
{
    struct wire_in *in = &fetch->in;
    int32_t topics = wire_get_array(in);
    if (fetch->out)
        wire_put_i32(fetch->out, topics < 0 ? 0 : topics);
    for (int32_t i = 0; i < topics && !in->bad; i++) {
        struct slice name = wire_get_string(in);
        struct topic *topic = topics_find(&fetch->broker->topics, name);
        int32_t partitions = wire_get_array(in);
        if (fetch->out) {
            wire_put_string(fetch->out, name);
            wire_put_i32(fetch->out, partitions < 0 ? 0 : partitions);
        }
        for (int32_t k = 0; k < partitions && !in->bad; k++)
            walk_partition(fetch, topic);
    }
}

static struct fetch begin(struct broker *broker, struct call *call)
{
    struct fetch fetch = {.broker = broker, .call = call, .in = call->in};
    if (call->body.length) {
        fetch.in.at = (const uint8_t *)call->body.data;
        fetch.in.end = fetch.in.at + call->body.length;
    }
    read_head(&fetch);
    return fetch;
}

void api_fetch_now(struct broker *broker, struct call *call)
{
    struct fetch fetch = begin(broker, call);
    struct wire_out out;
    call_begin(call, &out);
    wire_put_i32(&out, 0);
    if (call->version >= 7) {
        wire_put_i16(&out, CODE_NONE);
        wire_put_i32(&out, 0); /* no session */
    }
    fetch.out = &out;
    walk_topics(&fetch);
    call->in.bad = fetch.in.bad;
    api_finish(call, &out);
}

/* Whether the answer need not wait any longer. */
static bool enough(const struct fetch *fetch)
{
    return fetch->urgent || fetch->in.bad || fetch->bytes >= fetch->min_bytes;
}

void api_fetch(struct broker *broker, struct call *call)
{
    struct fetch fetch = begin(broker, call);
    walk_topics(&fetch);
    if (enough(&fetch) || fetch.max_wait_ms <= 0) {
        api_fetch_now(broker, call);
        return;
    }
    text_append(&call->body, call->in.at, (size_t)(call->in.end - call->in.at));
    call->deadline = broker_now(broker) + fetch.max_wait_ms;
    list_append(&broker->fetches, &call->node);
}

void api_fetch_check(struct broker *broker)
{
    int64_t now = broker_now(broker);
    list_each_safe(node, &broker->fetches)
    {
        struct call *call = list_of(node, struct call, node);
        struct fetch fetch = begin(broker, call);
        if (call->deadline > now)
            walk_topics(&fetch);
        if (call->deadline <= now || enough(&fetch))
            api_fetch_now(broker, call);
    }
}

int64_t api_fetch_deadline(const struct broker *broker)
{
    int64_t deadline = INT64_MAX;
    list_each(node, &broker->fetches)
    {
        int64_t at = list_of(node, struct call, node)->deadline;
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}
