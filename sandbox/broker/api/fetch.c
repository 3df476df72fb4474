/* Fetch. It is answered at once if there are enough bytes or an error; otherwise it waits. The
 * answer is built again each time, and dropped if it has not enough bytes. */
#include "sandbox/broker/api/api.h"

enum { ANSWER_MAX = 52428800 };

struct fetch {
    int32_t max_wait_ms, min_bytes, budget;
    bool committed;
    int64_t bytes; /* found so far */
    bool urgent;   /* a partition has an error */
};

static struct fetch read_head(struct broker_in *in)
{
    struct fetch fetch = {0};
    broker_get_i32(in); /* replica */
    fetch.max_wait_ms = broker_get_i32(in);
    fetch.min_bytes = broker_get_i32(in);
    int32_t max_bytes = broker_get_i32(in);
    fetch.budget = max_bytes < 0 || max_bytes > ANSWER_MAX ? ANSWER_MAX : max_bytes;
    fetch.committed = broker_get_i8(in) == 1;
    broker_get_i64(in); /* id and epoch of a session, which is not offered */
    return fetch;
}

static void put_aborted(struct broker_out *out, const struct broker_partition *partition,
                        int64_t from, int64_t to)
{
    size_t where = broker_put_later(out);
    int32_t count = 0;
    for (size_t i = 0; i < partition->abort_count; i++) {
        const struct broker_partition_abort *abort = &partition->aborts[i];
        if (abort->last < from || abort->first >= to)
            continue;
        broker_put_i64(out, abort->producer_id);
        broker_put_i64(out, abort->first);
        count++;
    }
    broker_put_now(out, where, count);
}

/* How many batches from [first] on fit: at least one if none was taken yet. */
static size_t take_batches(struct fetch *fetch, const struct broker_partition *partition,
                           size_t first, int64_t end, int32_t max)
{
    size_t taken = first;
    int64_t bytes = 0;
    while (taken < partition->count) {
        const struct broker_batch *batch = broker_partition_batch(partition, taken);
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

static void put_records(struct broker_out *out, const struct broker_partition *partition,
                        size_t first, size_t count)
{
    size_t where = broker_put_later(out);
    size_t begin = out->text.length;
    for (size_t i = first; i < first + count; i++) {
        const struct broker_batch *batch = broker_partition_batch(partition, i);
        text_append(&out->text, batch->bytes, batch->size);
    }
    broker_put_now(out, where, (int32_t)(out->text.length - begin));
}

static void put_partition(struct broker_api_walk *walk, const struct broker_partition *partition,
                          int64_t offset, int32_t max)
{
    struct fetch *fetch = walk->context;
    struct broker_out *out = walk->out;
    int64_t stable = broker_partition_stable_end(partition);
    size_t first = broker_partition_find(partition, offset);
    size_t count =
        take_batches(fetch, partition, first, fetch->committed ? stable : partition->end, max);
    int64_t next = count ? broker_partition_batch(partition, first + count - 1)->last + 1 : offset;
    broker_put_i16(out, CODE_NONE);
    broker_put_i64(out, partition->end);
    broker_put_i64(out, stable);
    broker_put_i64(out, partition->start);
    if (fetch->committed)
        put_aborted(out, partition, offset, next);
    else
        broker_put_array(out, -1);
    broker_put_i32(out, -1); /* no preferred replica */
    put_records(out, partition, first, count);
}

static void put_error(struct broker_api_walk *walk, int16_t code)
{
    struct fetch *fetch = walk->context;
    fetch->urgent = true;
    broker_put_i16(walk->out, code);
    broker_put_i64(walk->out, -1); /* end, stable end and start */
    broker_put_i64(walk->out, -1);
    broker_put_i64(walk->out, -1);
    broker_put_array(walk->out, -1);
    broker_put_i32(walk->out, -1);
    broker_put_i32(walk->out, 0);
}

static void fetch_one(struct broker_api_walk *walk)
{
    int32_t index = broker_get_i32(walk->in);
    broker_get_i32(walk->in); /* leader epoch */
    int64_t offset = broker_get_i64(walk->in);
    broker_get_i64(walk->in); /* where the log of a follower begins */
    int32_t max = broker_get_i32(walk->in);
    const struct broker_partition *partition = broker_topic_partition(walk->topic, index);
    broker_put_i32(walk->out, index);
    if (!partition)
        put_error(walk, CODE_UNKNOWN_TOPIC_OR_PARTITION);
    else if (offset < partition->start || offset > partition->end)
        put_error(walk, CODE_OFFSET_OUT_OF_RANGE);
    else
        put_partition(walk, partition, offset, max);
}

/* Builds the answer to the request in call->in. */
static struct fetch make_answer(struct broker_state *state, struct broker_call *call,
                                struct broker_out *out)
{
    struct fetch fetch = read_head(&call->in);
    broker_call_begin(call, out);
    broker_put_i32(out, 0);
    broker_put_i16(out, CODE_NONE);
    broker_put_i32(out, 0); /* no session */
    broker_api_walk(state, call, out, fetch_one, &fetch);
    return fetch;
}

static bool enough(const struct fetch *fetch, const struct broker_call *call)
{
    return fetch->urgent || call->in.bad || fetch->bytes >= fetch->min_bytes;
}

void broker_api_fetch(struct broker_state *state, struct broker_call *call)
{
    struct broker_in request = call->in;
    struct broker_out out;
    struct fetch fetch = make_answer(state, call, &out);
    if (enough(&fetch, call) || fetch.max_wait_ms <= 0) {
        broker_call_finish(call, &out);
        return;
    }
    text_fini(&out.text);
    text_append(&call->body, request.at, (size_t)(request.end - request.at));
    call->deadline = broker_state_now(state) + fetch.max_wait_ms;
    list_append(&state->fetches, &call->node);
}

/* Answers a waiting Fetch now, or if it need not wait any longer. */
static void answer(struct broker_state *state, struct broker_call *call, bool now)
{
    const uint8_t *body = (const uint8_t *)call->body.data;
    call->in = (struct broker_in){.at = body, .end = body + call->body.length};
    struct broker_out out;
    struct fetch fetch = make_answer(state, call, &out);
    if (now || enough(&fetch, call))
        broker_call_finish(call, &out);
    else
        text_fini(&out.text);
}

void broker_api_fetch_now(struct broker_state *state, struct broker_call *call)
{
    answer(state, call, true);
}

void broker_api_fetch_check(struct broker_state *state)
{
    list_each_safe(node, &state->fetches)
    {
        struct broker_call *call = list_of(node, struct broker_call, node);
        answer(state, call, call->deadline <= broker_state_now(state));
    }
}

int64_t broker_api_fetch_deadline(const struct broker_state *state)
{
    int64_t deadline = INT64_MAX;
    list_each(node, &state->fetches)
    {
        int64_t at = list_of(node, struct broker_call, node)->deadline;
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}
