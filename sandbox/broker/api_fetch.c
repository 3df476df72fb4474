/* Fetch: answered at once when there are enough bytes or there is something to say, else kept until
 * then. The answer is made anew each time, and dropped when it is not enough. */
#include "sandbox/broker/api.h"

enum { ANSWER_MAX = 52428800 };

struct fetch {
    int32_t max_wait_ms, min_bytes, budget;
    bool committed;
    int64_t bytes; /* found so far */
    bool urgent;   /* some partition has an error to tell */
};

static struct fetch read_head(struct wire_in *in)
{
    struct fetch fetch = {0};
    wire_get_i32(in); /* replica */
    fetch.max_wait_ms = wire_get_i32(in);
    fetch.min_bytes = wire_get_i32(in);
    int32_t max_bytes = wire_get_i32(in);
    fetch.budget = max_bytes < 0 || max_bytes > ANSWER_MAX ? ANSWER_MAX : max_bytes;
    fetch.committed = wire_get_i8(in) == 1;
    wire_get_i64(in); /* id and epoch of a session, which is not offered */
    return fetch;
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

static void put_partition(struct api_walk *walk, const struct partition *partition, int64_t offset,
                          int32_t max)
{
    struct fetch *fetch = walk->context;
    struct wire_out *out = walk->out;
    int64_t stable = partition_stable_end(partition);
    size_t first = partition_find(partition, offset);
    size_t count =
        take_batches(fetch, partition, first, fetch->committed ? stable : partition->end, max);
    int64_t next = count ? partition_batch(partition, first + count - 1)->last + 1 : offset;
    wire_put_i16(out, CODE_NONE);
    wire_put_i64(out, partition->end);
    wire_put_i64(out, stable);
    wire_put_i64(out, partition->start);
    if (fetch->committed)
        put_aborted(out, partition, offset, next);
    else
        wire_put_array(out, -1);
    wire_put_i32(out, -1); /* no preferred replica */
    put_records(out, partition, first, count);
}

static void put_error(struct api_walk *walk, int16_t code)
{
    struct fetch *fetch = walk->context;
    fetch->urgent = true;
    wire_put_i16(walk->out, code);
    wire_put_i64(walk->out, -1); /* end, stable end and start */
    wire_put_i64(walk->out, -1);
    wire_put_i64(walk->out, -1);
    wire_put_array(walk->out, -1);
    wire_put_i32(walk->out, -1);
    wire_put_i32(walk->out, 0);
}

static void fetch_one(struct api_walk *walk)
{
    int32_t index = wire_get_i32(walk->in);
    wire_get_i32(walk->in); /* leader epoch */
    int64_t offset = wire_get_i64(walk->in);
    wire_get_i64(walk->in); /* where the log of a follower begins */
    int32_t max = wire_get_i32(walk->in);
    const struct partition *partition = topic_partition(walk->topic, index);
    wire_put_i32(walk->out, index);
    if (!partition)
        put_error(walk, CODE_UNKNOWN_TOPIC_OR_PARTITION);
    else if (offset < partition->start || offset > partition->end)
        put_error(walk, CODE_OFFSET_OUT_OF_RANGE);
    else
        put_partition(walk, partition, offset, max);
}

/* Makes the answer to what stands in call->in. */
static struct fetch make_answer(struct broker *broker, struct call *call, struct wire_out *out)
{
    struct fetch fetch = read_head(&call->in);
    call_begin(call, out);
    wire_put_i32(out, 0);
    wire_put_i16(out, CODE_NONE);
    wire_put_i32(out, 0); /* no session */
    api_walk(broker, call, out, fetch_one, &fetch);
    return fetch;
}

static bool enough(const struct fetch *fetch, const struct call *call)
{
    return fetch->urgent || call->in.bad || fetch->bytes >= fetch->min_bytes;
}

void api_fetch(struct broker *broker, struct call *call)
{
    struct wire_in request = call->in;
    struct wire_out out;
    struct fetch fetch = make_answer(broker, call, &out);
    if (enough(&fetch, call) || fetch.max_wait_ms <= 0) {
        api_finish(call, &out);
        return;
    }
    text_fini(&out.text);
    text_append(&call->body, request.at, (size_t)(request.end - request.at));
    call->deadline = broker_now(broker) + fetch.max_wait_ms;
    list_append(&broker->fetches, &call->node);
}

/* Answers a waiting one now, or if it need not wait any longer. */
static void answer(struct broker *broker, struct call *call, bool now)
{
    const uint8_t *body = (const uint8_t *)call->body.data;
    call->in = (struct wire_in){.at = body, .end = body + call->body.length};
    struct wire_out out;
    struct fetch fetch = make_answer(broker, call, &out);
    if (now || enough(&fetch, call))
        api_finish(call, &out);
    else
        text_fini(&out.text);
}

void api_fetch_now(struct broker *broker, struct call *call)
{
    answer(broker, call, true);
}

void api_fetch_check(struct broker *broker)
{
    list_each_safe(node, &broker->fetches)
    {
        struct call *call = list_of(node, struct call, node);
        answer(broker, call, call->deadline <= broker_now(broker));
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
