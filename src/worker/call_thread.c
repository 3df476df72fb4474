#include "worker/call_thread.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/answer.h"
#include "core/digest.h"
#include "core/dispatch.h"
#include "core/signature.h"
#include "io/platform.h"

enum {
    TICK_MS = 500,            /* how often the loop turns at least */
    TROUBLE_EVERY_MS = 30000, /* of a trouble that lasts, one line in that time */
    BUFFER_KEPT = 16384,      /* of an answer's buffer, what is kept for the next one */
    CALL_STACK_BYTES = 512 * 1024,
};

/* One post: what platform_post borrows, and the answer as it arrives. */
struct slot {
    struct list node; /* in the free ones */
    struct platform_post post;
    struct request *request;
    struct text url, body, answer;
    char authorization[sizeof((struct signature *)0)->authorization];
    bool is_file;
    int64_t size; /* of the body so far */
    struct digest *digest;
    int64_t started_us;
};

struct recall {
    struct message message;
    enum request_kind kind;
    int32_t partition;
};

/* A trouble that is logged at once and then seldom. */
struct trouble {
    int64_t logged_ms; /* 0: not in trouble */
    uint64_t since;    /* failures since the last line */
};

struct call_thread {
    const struct config *config;
    struct queue inbound;
    struct queue *finished;
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    uv_prepare_t
        prepare;    /* one turn of decisions for all that the loop reported, before it sleeps */
    uv_timer_t due; /* dispatch_wake_ms */
    uv_timer_t tick;
    struct dispatch dispatch;
    struct platform *platform;
    struct list free_slots;
    struct signature signature; /* of signed_second */
    int64_t signed_second;
    bool something_happened, ending;
    enum breaker_state breaker_seen;
    struct trouble trouble;
    struct finding last_failure;
    char place[300]; /* host:port, for the log */
    uint64_t random_state;
    struct call_counters counters;
    _Atomic int64_t last_turn_ms;
};

/* ---- small things */

/* xorshift64*: jitter needs no more. */
static uint64_t next_random(void *argument)
{
    uint64_t *x = argument;
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return *x * 0x2545f4914f6cdd1d;
}

static void seed_random(uint64_t *state)
{
    if (getrandom(state, sizeof *state, 0) != sizeof *state || !*state)
        *state = (uint64_t)clock_boot_us() | 1;
}

/* The URL's host and port, which are all that a log line needs. */
static void find_place(char *out, size_t size, const char *url)
{
    const char *scheme = strstr(url, "://");
    const char *from = scheme ? scheme + 3 : url;
    size_t n = strcspn(from, "/?#");
    const char *at = memchr(from, '@', n);
    if (at) {
        n -= (size_t)(at + 1 - from);
        from = at + 1;
    }
    snprintf(out, size, "%.*s", (int)n, from);
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- slots */

static struct slot *slot_take(struct call_thread *thread)
{
    struct list *node = list_take_first(&thread->free_slots);
    if (node)
        return list_of(node, struct slot, node);
    struct slot *slot = memory_zeroed(1, sizeof *slot);
    list_init(&slot->node);
    return slot;
}

static void slot_release(struct call_thread *thread, struct slot *slot)
{
    text_clear(&slot->answer);
    if (slot->answer.capacity > BUFFER_KEPT)
        text_fini(&slot->answer);
    slot->request = NULL;
    slot->is_file = false;
    slot->size = 0;
    list_prepend(&thread->free_slots, &slot->node);
}

static void slot_free(struct slot *slot)
{
    text_fini(&slot->url);
    text_fini(&slot->body);
    text_fini(&slot->answer);
    digest_free(slot->digest);
    free(slot);
}

/* Signatures hold a time in seconds: all calls of one second share theirs. */
static void sign(struct call_thread *thread, struct slot *slot, int64_t wall_ms)
{
    const struct config *config = thread->config;
    if (wall_ms / 1000 != thread->signed_second) {
        signature_make(&thread->signature, config->platform_token, config->platform_app_id, wall_ms,
                       config->platform_utc_offset_minutes);
        thread->signed_second = wall_ms / 1000;
    }
    text_clear(&slot->url);
    text_printf(&slot->url, "%s/%s/bind/callEvent/%sv1?sig=%s", config->platform_url,
                config->platform_version,
                slot->request->place.kind == REQUEST_RECORDING ? "voice/" : "",
                thread->signature.sig);
    snprintf(slot->authorization, sizeof slot->authorization, "%s",
             thread->signature.authorization);
}

static void send_request(struct call_thread *thread, struct request *request, int64_t wall_ms)
{
    const struct config *config = thread->config;
    struct slot *slot = slot_take(thread);
    bool recording = request->place.kind == REQUEST_RECORDING;
    int64_t file_ms = config->recording_timeout_ms;
    slot->request = request;
    slot->started_us = clock_boot_us();
    sign(thread, slot, wall_ms);
    text_clear(&slot->body);
    answer_request_body(&slot->body, request, config->platform_token, config->platform_app_id);
    slot->post = (struct platform_post){
        .url = slot->url.data,
        .authorization = slot->authorization,
        .body = slot->body.data,
        .body_size = slot->body.length,
        .lease_until_ms = &request->call.lease_until_ms,
        .timeout_ms = config->platform_timeout_ms,
    };
    /* A file may take its time, once it is on its way. */
    if (recording && file_ms > config->platform_timeout_ms) {
        slot->post.timeout_ms = file_ms;
        slot->post.answer_timeout_ms = config->platform_timeout_ms;
    }
    count(&thread->counters.tries);
    atomic_fetch_add_explicit(&thread->counters.in_flight, 1, memory_order_relaxed);
    platform_start(thread->platform, &slot->post);
}

/* ---- what the log says */

static void log_breaker(struct call_thread *thread, int64_t now_ms)
{
    enum breaker_state was = thread->breaker_seen, is = thread->dispatch.breaker.state;
    if (is == was)
        return;
    thread->breaker_seen = is;
    atomic_store_explicit(&thread->counters.breaker, (uint64_t)is, memory_order_relaxed);
    if (is == BREAKER_OPEN)
        log_warn("platform %s: calls are paused for %" PRId64 " ms, then one is tried; last "
                 "failure: %s: %s",
                 thread->place, thread->dispatch.breaker.until_ms - now_ms,
                 thread->last_failure.code, thread->last_failure.message);
    else if (is == BREAKER_TRIAL)
        log_info("platform %s: the pause is over, one trial call may run", thread->place);
    else
        log_info("platform %s: calls run again", thread->place);
}

/* First at once, then seldom and with a count, until a call goes well. */
static void log_trouble(struct call_thread *thread, const struct finding *finding, int64_t now_ms)
{
    struct trouble *trouble = &thread->trouble;
    if (finding->verdict == VERDICT_ANSWERED) {
        if (trouble->logged_ms)
            log_info("platform %s answers again", thread->place);
        *trouble = (struct trouble){0};
        return;
    }
    if (finding->verdict == VERDICT_LEASE_OVER || finding->verdict == VERDICT_RETRY)
        return;
    thread->last_failure = *finding;
    trouble->since++;
    if (trouble->logged_ms && now_ms - trouble->logged_ms < TROUBLE_EVERY_MS)
        return;
    log_warn("platform %s: %s: %s; %s (failed tries since the last such line: %" PRIu64 ")",
             thread->place, finding->code, finding->message,
             finding->verdict == VERDICT_IN_DOUBT
                 ? "a call may have been made and is not repeated, a recording is asked for again"
                 : "nothing was performed, it is tried again",
             trouble->since);
    trouble->logged_ms = now_ms;
    trouble->since = 0;
}

static void log_end(const struct call_thread *thread, const struct slot *slot,
                    const struct request *request, const struct attempt *attempt,
                    const struct finding *finding)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    char caller[32], callee[32];
    bool is_call = request->place.kind == REQUEST_CALL;
    struct log_about about = {
        .topic = thread->config->request_topics[request->place.kind],
        .partition = request->place.partition,
        .offset = request->place.offset,
        .order_id = request->event.order_id,
    };
    text_mask_number(caller, sizeof caller,
                     is_call && request->event.caller ? request->event.caller : "");
    text_mask_number(callee, sizeof callee,
                     is_call && request->event.callee ? request->event.callee : "");
    log_write(LOG_DEBUG, &about, "%s%s%s%s: try %d, %s, HTTP %d, %" PRId64 " ms",
              is_call ? "call " : "recording", caller, is_call ? " to " : "", callee,
              request->call.attempts, finding->code ? finding->code : "answered",
              attempt->http_status, (clock_boot_us() - slot->started_us) / 1000);
}

/* ---- what the platform module reports */

static bool on_body(void *argument, struct platform_post *post, const struct attempt *attempt,
                    const char *bytes, size_t n)
{
    struct call_thread *thread = argument;
    struct slot *slot = list_of(post, struct slot, post);
    if (slot->size == 0 && n) {
        slot->is_file = verdict_is_file(slot->request->place.kind, attempt->http_status,
                                        attempt->content_type, bytes[0]);
        if (slot->is_file && !slot->digest)
            slot->digest = digest_new();
    }
    slot->size += (int64_t)n;
    if (slot->is_file) {
        digest_add(slot->digest, bytes, n);
        return slot->size <= thread->config->recording_max_bytes;
    }
    if (slot->size > thread->config->platform_answer_max_bytes)
        return false;
    text_append(&slot->answer, bytes, n);
    return true;
}

static void count_end(struct call_thread *thread, const struct request *request)
{
    struct call_counters *counters = &thread->counters;
    switch (request->call.end) {
    case CALL_FINISHED:
        count(&counters->ended[request->place.kind][request->outcome.status]);
        break;
    case CALL_NOT_SENT:
        count(&counters->retries);
        break;
    case CALL_RETURNED:
        count(&counters->returned);
        break;
    }
}

static void on_ended(void *argument, struct platform_post *post, struct attempt *attempt)
{
    struct call_thread *thread = argument;
    struct slot *slot = list_of(post, struct slot, post);
    struct request *request = slot->request;
    struct finding finding;
    int64_t now = clock_boot_ms();
    attempt->body = slot->answer.data ? slot->answer.data : "";
    attempt->body_size = slot->answer.length;
    attempt->is_file = slot->is_file;
    attempt->file_size = slot->size;
    if (slot->is_file)
        digest_text(slot->digest, attempt->file_sha256);
    atomic_fetch_sub_explicit(&thread->counters.in_flight, 1, memory_order_relaxed);
    histogram_add(&thread->counters.latency[request->place.kind],
                  clock_boot_us() - slot->started_us);
    dispatch_end(&thread->dispatch, request, attempt, now, clock_wall_ms(), &finding);
    if (!thread->ending)
        log_trouble(thread, &finding, now);
    log_end(thread, slot, request, attempt, &finding);
    slot_release(thread, slot);
    thread->something_happened = true;
}

/* ---- the loop */

static void give_back(struct call_thread *thread)
{
    int64_t calls;
    struct request *request;
    if (dispatch_allowance(&thread->dispatch, &calls) && !thread->ending) {
        struct allowance_message *allowance = memory_zeroed(1, sizeof *allowance);
        allowance->message.type = MESSAGE_ALLOWANCE;
        allowance->calls = calls;
        queue_push(thread->finished, &allowance->message.node);
    }
    while ((request = dispatch_take_done(&thread->dispatch))) {
        count_end(thread, request);
        queue_push(thread->finished, &request->message.node);
    }
}

static void on_due(uv_timer_t *timer)
{
    ((struct call_thread *)timer->data)->something_happened = true;
}

static void arm_due(struct call_thread *thread, int64_t now_ms)
{
    int64_t wake = dispatch_wake_ms(&thread->dispatch);
    if (wake == INT64_MAX) {
        uv_timer_stop(&thread->due);
        return;
    }
    uv_update_time(&thread->loop);
    uv_timer_start(&thread->due, on_due, wake > now_ms ? (uint64_t)(wake - now_ms) : 0, 0);
}

/* Sends what may be sent, gives back what is done. */
static void turn(struct call_thread *thread)
{
    struct request *request;
    int64_t now = clock_boot_ms(), wall = clock_wall_ms();
    thread->something_happened = false;
    while ((request = dispatch_next(&thread->dispatch, now, wall)))
        send_request(thread, request, wall);
    if (thread->dispatch.rate_waits)
        count(&thread->counters.rate_waits);
    give_back(thread);
    log_breaker(thread, now);
    arm_due(thread, now);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct call_thread *thread = prepare->data;
    atomic_store_explicit(&thread->last_turn_ms, clock_boot_ms(), memory_order_relaxed);
    if (thread->something_happened && !thread->ending)
        turn(thread);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* turning is all that it is for */
}

/* The end: cuts off what runs, gives back all, and lets the loop run out. */
static void end_thread(struct call_thread *thread)
{
    struct list *node;
    thread->ending = true;
    platform_stop(thread->platform);
    dispatch_return_waiting(&thread->dispatch);
    give_back(thread);
    platform_free(thread->platform);
    while ((node = list_take_first(&thread->free_slots)))
        slot_free(list_of(node, struct slot, node));
    uv_close((uv_handle_t *)&thread->wake, NULL);
    uv_close((uv_handle_t *)&thread->prepare, NULL);
    uv_close((uv_handle_t *)&thread->due, NULL);
    uv_close((uv_handle_t *)&thread->tick, NULL);
}

static void receive(struct call_thread *thread, struct message *message)
{
    struct recall *recall = (struct recall *)message;
    switch (message->type) {
    case MESSAGE_REQUEST:
        dispatch_add(&thread->dispatch, (struct request *)message);
        break;
    case MESSAGE_RECALL:
        dispatch_recall(&thread->dispatch, recall->kind, recall->partition);
        free(recall);
        break;
    case MESSAGE_STOP:
        free(message);
        end_thread(thread);
        break;
    case MESSAGE_ALLOWANCE: /* only ever goes the other way */
        abort();
    }
}

static void on_wake(uv_async_t *async)
{
    struct call_thread *thread = async->data;
    struct list messages, *node;
    list_init(&messages);
    queue_take(&thread->inbound, &messages);
    while ((node = list_take_first(&messages)))
        receive(thread, list_of(node, struct message, node));
    thread->something_happened = true;
}

static void *run(void *argument)
{
    struct call_thread *thread = argument;
    pthread_setname_np(pthread_self(), "calls");
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- the Kafka thread's side */

static void wake_thread(void *argument)
{
    uv_async_send(&((struct call_thread *)argument)->wake);
}

static void open_loop(struct call_thread *thread)
{
    uv_loop_init(&thread->loop);
    uv_async_init(&thread->loop, &thread->wake, on_wake);
    uv_prepare_init(&thread->loop, &thread->prepare);
    uv_timer_init(&thread->loop, &thread->due);
    uv_timer_init(&thread->loop, &thread->tick);
    thread->wake.data = thread->prepare.data = thread->due.data = thread->tick.data = thread;
    uv_prepare_start(&thread->prepare, on_prepare);
    uv_timer_start(&thread->tick, on_tick, TICK_MS, TICK_MS);
}

static void close_loop(struct call_thread *thread)
{
    uv_close((uv_handle_t *)&thread->wake, NULL);
    uv_close((uv_handle_t *)&thread->prepare, NULL);
    uv_close((uv_handle_t *)&thread->due, NULL);
    uv_close((uv_handle_t *)&thread->tick, NULL);
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    uv_loop_close(&thread->loop);
}

static int start(struct call_thread *thread, struct error *error)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, CALL_STACK_BYTES);
    int rc = pthread_create(&thread->thread, &attributes, run, thread);
    pthread_attr_destroy(&attributes);
    return rc ? error_set(error, "call thread: %s", strerror(rc)) : 0;
}

struct call_thread *call_thread_new(const struct config *config, struct queue *finished,
                                    struct error *error)
{
    static const struct platform_events events = {.body = on_body, .ended = on_ended};
    struct call_thread *thread = memory_zeroed(1, sizeof *thread);
    thread->config = config;
    thread->finished = finished;
    thread->signed_second = -1;
    thread->last_turn_ms = clock_boot_ms();
    list_init(&thread->free_slots);
    find_place(thread->place, sizeof thread->place, config->platform_url);
    seed_random(&thread->random_state);
    dispatch_init(&thread->dispatch, config, next_random, &thread->random_state);
    queue_init(&thread->inbound, wake_thread, thread);
    open_loop(thread);
    thread->platform = platform_new(&thread->loop, config, &events, thread, error);
    if (thread->platform && start(thread, error) == 0)
        return thread;
    platform_free(thread->platform);
    close_loop(thread);
    queue_fini(&thread->inbound);
    free(thread);
    return NULL;
}

void call_thread_start(struct call_thread *thread, struct request *request)
{
    queue_push(&thread->inbound, &request->message.node);
}

void call_thread_recall(struct call_thread *thread, enum request_kind kind, int32_t partition)
{
    struct recall *recall = memory_zeroed(1, sizeof *recall);
    recall->message.type = MESSAGE_RECALL;
    recall->kind = kind;
    recall->partition = partition;
    queue_push(&thread->inbound, &recall->message.node);
}

void call_thread_free(struct call_thread *thread)
{
    if (!thread)
        return;
    struct message *stop = memory_zeroed(1, sizeof *stop);
    stop->type = MESSAGE_STOP;
    queue_push(&thread->inbound, &stop->node);
    pthread_join(thread->thread, NULL);
    uv_loop_close(&thread->loop);
    queue_fini(&thread->inbound);
    free(thread);
}

int64_t call_thread_last_turn_ms(const struct call_thread *thread)
{
    return atomic_load_explicit(&thread->last_turn_ms, memory_order_relaxed);
}

const struct call_counters *call_thread_counters(const struct call_thread *thread)
{
    return &thread->counters;
}
