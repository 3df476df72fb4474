#include "worker/call_thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/answer.h"
#include "core/digest.h"
#include "core/dispatch.h"
#include "core/signature.h"
#include "io/platform.h"

enum { COMPLAIN_EACH_MS = 30000 };

/* Out of the Kafka thread: a recall, or the end. */
struct order_message {
    struct message message;
    enum request_kind kind;
    int32_t partition;
};

/* One try on the wire. Kept for the next when it has ended. */
struct call {
    struct list node; /* call_thread->spare */
    struct platform_post post;
    struct request *request;
    struct signature signature;
    struct text url, body, answer;
    struct digest *digest; /* of a recording's file */
    int64_t file_size;
};

/* A complaint about the platform, told at once and then counted for a while. */
struct complaint {
    int64_t told_at;
    uint64_t unsaid;
};

struct call_thread {
    const struct config *config;
    struct queue inbound, *finished;
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    struct platform *platform;
    struct platform_events events;
    struct dispatch dispatch;
    struct list spare; /* calls */
    struct complaint complaint;
    uint64_t random;
    bool ending;
    _Atomic int64_t turned_at;
};

/* For jitter only (splitmix64). */
static uint64_t random_bits(void *argument)
{
    uint64_t *state = argument;
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Calls. */

static struct call *call_take(struct call_thread *thread)
{
    struct list *node = list_take_first(&thread->spare);
    if (node)
        return list_of(node, struct call, node);
    struct call *call = memory_zeroed(1, sizeof *call);
    list_init(&call->node);
    return call;
}

static void call_free(struct call *call)
{
    text_fini(&call->url);
    text_fini(&call->body);
    text_fini(&call->answer);
    digest_free(call->digest);
    free(call);
}

static void send_request(struct call_thread *thread, struct request *request, int64_t wall)
{
    static const char *const paths[REQUEST_KINDS] = {"bind/callEvent/v1",
                                                     "bind/callEvent/voice/v1"};
    const struct config *config = thread->config;
    bool recording = request->place.kind == REQUEST_RECORDING;
    struct call *call = call_take(thread);
    call->request = request;
    call->file_size = 0;
    signature_make(&call->signature, config->platform_token, config->platform_app_id, wall,
                   config->platform_utc_offset_minutes);
    text_clear(&call->url);
    text_clear(&call->body);
    text_clear(&call->answer);
    text_printf(&call->url, "%s/%s/%s?sig=%s", config->platform_url, config->platform_version,
                paths[request->place.kind], call->signature.sig);
    answer_request_body(&call->body, request, config->platform_token, config->platform_app_id);
    call->post = (struct platform_post){
        .url = call->url.data,
        .authorization = call->signature.authorization,
        .body = call->body.data,
        .body_size = call->body.length,
        .lease_until_ms = &request->call.lease_until_ms,
        .timeout_ms = recording ? config->recording_timeout_ms : config->platform_timeout_ms,
        .answer_timeout_ms = recording ? config->platform_timeout_ms : 0,
    };
    request->dispatch_data = call;
    platform_start(thread->platform, &call->post);
}

static void log_end(const struct call_thread *thread, const struct request *request,
                    const struct finding *finding)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    char caller[24] = "";
    if (request->event.caller)
        text_mask_number(caller, sizeof caller, request->event.caller);
    struct log_about about = {.topic = thread->config->request_topics[request->place.kind],
                              .partition = request->place.partition,
                              .offset = request->place.offset,
                              .order_id = request->event.order_id};
    log_write(LOG_DEBUG, &about, "try %d of caller %s ended: %s", request->call.attempts, caller,
              finding->code ? finding->code : "answered");
}

/* Says what is wrong with the platform, at once and then each half minute with what was left
 * unsaid. */
static void complain(struct call_thread *thread, const struct finding *finding,
                     const struct attempt *attempt, int64_t now)
{
    struct complaint *complaint = &thread->complaint;
    if (finding->verdict == VERDICT_ANSWERED || finding->verdict == VERDICT_LEASE_OVER ||
        finding->verdict == VERDICT_RETRY)
        return;
    if (complaint->told_at && now < complaint->told_at + COMPLAIN_EACH_MS) {
        complaint->unsaid++;
        return;
    }
    log_warn("platform %s: %s (%s%s%s)%s", thread->config->platform_url, finding->message,
             finding->code, attempt->detail[0] ? ": " : "", attempt->detail,
             finding->verdict == VERDICT_IN_DOUBT
                 ? "; the call may have been made and is not repeated"
                 : "; nothing was dialled, it is tried again until call.deadline.ms");
    if (complaint->unsaid)
        log_warn("platform %s: %llu more tries have failed since the last line like this one",
                 thread->config->platform_url, (unsigned long long)complaint->unsaid);
    *complaint = (struct complaint){.told_at = now};
}

/* Gives back what is done and sends what may go. */
static void turn(struct call_thread *thread);

static bool on_body(void *argument, struct platform_post *post, const struct attempt *attempt,
                    const char *bytes, size_t n)
{
    struct call_thread *thread = argument;
    struct call *call = list_of(post, struct call, post);
    const struct config *config = thread->config;
    bool first = !call->answer.length && !call->file_size;
    bool file =
        call->file_size > 0 || (first && n &&
                                verdict_is_file(call->request->place.kind, attempt->http_status,
                                                attempt->content_type, bytes[0]));
    if (!file) {
        if (call->answer.length + n > (size_t)config->platform_answer_max_bytes)
            return false;
        text_append(&call->answer, bytes, n);
        return true;
    }
    call->file_size += (int64_t)n;
    if (call->file_size > config->recording_max_bytes)
        return false;
    if (!call->digest)
        call->digest = digest_new();
    digest_add(call->digest, bytes, n);
    return true;
}

static void on_ended(void *argument, struct platform_post *post, struct attempt *attempt)
{
    struct call_thread *thread = argument;
    struct call *call = list_of(post, struct call, post);
    struct request *request = call->request;
    struct finding finding;
    int64_t now = clock_boot_ms();
    attempt->body = call->answer.data;
    attempt->body_size = call->answer.length;
    attempt->is_file = call->file_size > 0;
    attempt->file_size = call->file_size;
    if (call->digest)
        digest_text(call->digest, attempt->file_sha256);
    dispatch_end(&thread->dispatch, request, attempt, now, clock_wall_ms(), &finding);
    log_end(thread, request, &finding);
    complain(thread, &finding, attempt, now);
    request->dispatch_data = NULL;
    list_append(&thread->spare, &call->node);
    turn(thread);
}

static void tell_allowance(struct call_thread *thread)
{
    int64_t calls;
    if (!dispatch_allowance(&thread->dispatch, &calls))
        return;
    struct allowance_message *message = memory_zeroed(1, sizeof *message);
    message->message.type = MESSAGE_ALLOWANCE;
    message->calls = calls;
    list_init(&message->message.node);
    queue_push(thread->finished, &message->message.node);
    if (!calls)
        log_warn(
            "platform %s: calls are paused; one trial call will find out whether it is well again",
            thread->config->platform_url);
    else if (calls > 1 || thread->config->platform_max_in_flight == 1)
        log_info("platform %s: calls go on", thread->config->platform_url);
}

static void give_back(struct call_thread *thread)
{
    tell_allowance(thread);
    for (struct request *request; (request = dispatch_take_done(&thread->dispatch));)
        queue_push(thread->finished, &request->message.node);
}

static void on_timer(uv_timer_t *timer)
{
    turn(timer->data);
}

static void turn(struct call_thread *thread)
{
    int64_t now = clock_boot_ms(), wall = clock_wall_ms();
    atomic_store_explicit(&thread->turned_at, now, memory_order_relaxed);
    for (struct request *request;
         !thread->ending && (request = dispatch_next(&thread->dispatch, now, wall));)
        send_request(thread, request, wall);
    give_back(thread);
    int64_t wake = dispatch_wake_ms(&thread->dispatch);
    if (thread->ending)
        return;
    int64_t wait = wake == INT64_MAX || wake - now > 1000 ? 1000 : wake > now ? wake - now : 1;
    uv_timer_start(&thread->timer, on_timer, (uint64_t)wait, 0);
}

/* The end of the thread: what waits goes back unsent, what is on the wire is cut off. */
static void end(struct call_thread *thread)
{
    thread->ending = true;
    dispatch_recall(&thread->dispatch, REQUEST_KINDS, 0);
    platform_stop(thread->platform);
    dispatch_return_waiting(&thread->dispatch);
    give_back(thread);
    platform_free(thread->platform);
    uv_close((uv_handle_t *)&thread->wake, NULL);
    uv_close((uv_handle_t *)&thread->timer, NULL);
}

static void on_wake(uv_async_t *async)
{
    struct call_thread *thread = async->data;
    struct list messages;
    bool stop = false;
    list_init(&messages);
    queue_take(&thread->inbound, &messages);
    for (struct list *node; (node = list_take_first(&messages));) {
        struct message *message = list_of(node, struct message, node);
        struct order_message *order = list_of(message, struct order_message, message);
        if (message->type == MESSAGE_REQUEST) {
            dispatch_add(&thread->dispatch, list_of(message, struct request, message));
            continue;
        }
        if (message->type == MESSAGE_STOP)
            stop = true;
        else
            dispatch_recall(&thread->dispatch, order->kind, order->partition);
        free(order);
    }
    if (thread->ending)
        return;
    if (stop)
        end(thread);
    else
        turn(thread);
}

static void *run(void *argument)
{
    struct call_thread *thread = argument;
    turn(thread);
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void wake_loop(void *argument)
{
    struct call_thread *thread = argument;
    uv_async_send(&thread->wake);
}

static void fini(struct call_thread *thread)
{
    for (struct list *node; (node = list_take_first(&thread->spare));)
        call_free(list_of(node, struct call, node));
    queue_fini(&thread->inbound);
    free(thread);
}

struct call_thread *call_thread_new(const struct config *config, struct queue *finished,
                                    struct error *error)
{
    struct call_thread *thread = memory_zeroed(1, sizeof *thread);
    thread->config = config;
    thread->finished = finished;
    thread->events = (struct platform_events){.body = on_body, .ended = on_ended};
    list_init(&thread->spare);
    queue_init(&thread->inbound, wake_loop, thread);
    if (getrandom(&thread->random, sizeof thread->random, 0) != sizeof thread->random)
        thread->random = (uint64_t)clock_boot_us();
    dispatch_init(&thread->dispatch, config, random_bits, &thread->random);
    if (uv_loop_init(&thread->loop)) {
        error_set(error, "cannot make the call thread's event loop");
        goto free_thread;
    }
    uv_async_init(&thread->loop, &thread->wake, on_wake);
    uv_timer_init(&thread->loop, &thread->timer);
    thread->wake.data = thread->timer.data = thread;
    thread->platform = platform_new(&thread->loop, config, &thread->events, thread, error);
    if (!thread->platform)
        goto close_loop;
    int rc = pthread_create(&thread->thread, NULL, run, thread);
    if (!rc)
        return thread;
    error_set(error, "cannot start the call thread: %s", strerror(rc));
    platform_free(thread->platform);
close_loop:
    uv_close((uv_handle_t *)&thread->wake, NULL);
    uv_close((uv_handle_t *)&thread->timer, NULL);
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    uv_loop_close(&thread->loop);
free_thread:
    fini(thread);
    return NULL;
}

void call_thread_start(struct call_thread *thread, struct request *request)
{
    queue_push(&thread->inbound, &request->message.node);
}

static void order(struct call_thread *thread, enum message_type type, enum request_kind kind,
                  int32_t partition)
{
    struct order_message *message = memory_zeroed(1, sizeof *message);
    message->message.type = type;
    list_init(&message->message.node);
    message->kind = kind;
    message->partition = partition;
    queue_push(&thread->inbound, &message->message.node);
}

void call_thread_recall(struct call_thread *thread, enum request_kind kind, int32_t partition)
{
    order(thread, MESSAGE_RECALL, kind, partition);
}

void call_thread_free(struct call_thread *thread)
{
    order(thread, MESSAGE_STOP, REQUEST_KINDS, 0);
    pthread_join(thread->thread, NULL);
    uv_loop_close(&thread->loop);
    fini(thread);
}

int64_t call_thread_last_turn_ms(const struct call_thread *thread)
{
    return atomic_load_explicit(&thread->turned_at, memory_order_relaxed);
}
