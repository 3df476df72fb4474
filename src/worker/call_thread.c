#include "worker/call_thread.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/dispatch.h"
#include "worker/exchange.h"
#include "worker/reload.h"

enum {
    TICK_MS = 500,               /* longest time between two iterations of the loop */
    TROUBLE_EVERY_MS = 60000,    /* at most one log line of a lasting failure in that time */
    CLOCK_OFFSET_MAX_MS = 30000, /* the platform may refuse signatures whose time differs by more */
    STORE_GRACE_MS = 900,        /* at the end, for running file work */
    CALL_STACK_BYTES = 512 * 1024,
    LOOP_FILES = 8,
};

struct recall {
    struct message message;
    enum request_kind kind;
    int32_t partition;
};

/* A failure that is logged at once and then rarely, also if it comes and goes. */
struct log_repeat {
    bool told;         /* the failure is logged, its end is not yet */
    int64_t logged_ms; /* 0: never */
    uint64_t since;    /* failures since the last line */
};

struct call_thread {
    const struct config *config;
    struct queue inbound;
    struct queue *finished[REQUEST_KINDS];
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t wake;
    uv_prepare_t prepare; /* makes all decisions once per iteration, before the loop sleeps */
    uv_timer_t due;       /* dispatch_wake_ms */
    uv_timer_t tick;
    struct dispatch dispatch;
    struct exchanges exchanges;
    struct reload reload;
    bool something_happened, ending, stuck;
    enum breaker_state breaker_seen;
    struct log_repeat trouble, copy_trouble, clock_trouble;
    struct log_repeat reload_troubles[RELOAD_PARTS], reread_trouble;
    struct classification last_failure;
    char host_port[300]; /* of the platform, for the log */
    uint64_t random_state;
    struct call_counters counters;
    pthread_mutex_t pause_lock;
    struct call_pause pause; /* under pause_lock */
    _Atomic int64_t last_turn_ms;
};

/* ---- small things */

/* xorshift64*, which is enough for jitter. */
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

/* Copies the URL's host and port for log lines. */
static void copy_host_port(char *out, size_t size, const char *url)
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

static void send_request(struct call_thread *thread, struct request *request, int64_t wall_ms)
{
    count(&thread->counters.tries);
    if (request->call.attempts > 1)
        count(&thread->counters.retries);
    atomic_fetch_add_explicit(&thread->counters.in_flight, 1, memory_order_relaxed);
    exchange_start(&thread->exchanges, request, wall_ms);
}

/* ---- what the log says */

static void note_pause(struct call_thread *thread, enum breaker_state is)
{
    struct call_pause *pause = &thread->pause;
    pthread_mutex_lock(&thread->pause_lock);
    if (is == BREAKER_CLOSED)
        pause->since_ms = 0;
    else if (!pause->since_ms)
        pause->since_ms = clock_wall_ms();
    pause->until_ms = is == BREAKER_OPEN ? thread->dispatch.breaker.until_ms : 0;
    pthread_mutex_unlock(&thread->pause_lock);
}

static void note_failure(struct call_thread *thread, const struct classification *failure)
{
    thread->last_failure = *failure;
    pthread_mutex_lock(&thread->pause_lock);
    snprintf(thread->pause.reason, sizeof thread->pause.reason, "%s",
             *failure->message ? failure->message
             : failure->code   ? failure->code
                               : "");
    pthread_mutex_unlock(&thread->pause_lock);
}

static void tell_breaker(struct call_thread *thread, int64_t now_ms)
{
    atomic_store_explicit(&thread->counters.failures, (uint64_t)thread->dispatch.breaker.failures,
                          memory_order_relaxed);
    enum breaker_state was = thread->breaker_seen, is = thread->dispatch.breaker.state;
    if (is == was)
        return;
    thread->breaker_seen = is;
    note_pause(thread, is);
    atomic_store_explicit(&thread->counters.breaker, (uint64_t)is, memory_order_relaxed);
    if (is == BREAKER_OPEN)
        log_warn("platform %s: calls are paused for %" PRId64 " ms, then one is tried; last "
                 "failure: %s: %s",
                 thread->host_port, thread->dispatch.breaker.until_ms - now_ms,
                 thread->last_failure.code, thread->last_failure.message);
    else if (is == BREAKER_TRIAL)
        log_info("platform %s: the pause is over, one trial call may run", thread->host_port);
    else
        log_info("platform %s: calls run again", thread->host_port);
}

/* Counts a failure. Returns the number of failures since the last log line if a line is due (the
 * first at once, then rarely), otherwise 0. */
static uint64_t trouble_grows(struct log_repeat *trouble, int64_t now_ms)
{
    uint64_t failures = ++trouble->since;
    if (trouble->logged_ms && now_ms - trouble->logged_ms < TROUBLE_EVERY_MS)
        return 0;
    trouble->told = true;
    trouble->logged_ms = now_ms;
    trouble->since = 0;
    return failures;
}

/* Whether the end of the failure is to be logged. */
static bool trouble_ends(struct log_repeat *trouble)
{
    bool told = trouble->told;
    trouble->told = false;
    return told;
}

/* Logs failed copies of recordings, until one is stored. */
static void log_copy(struct call_thread *thread, const struct classification *classification,
                     const struct attempt *attempt, int64_t now_ms)
{
    struct log_repeat *trouble = &thread->copy_trouble;
    if (attempt->copy == COPY_KEPT) {
        if (trouble_ends(trouble))
            log_info("recording.store: files are kept again");
    } else if (classification->verdict == VERDICT_NOT_KEPT ||
               classification->verdict == VERDICT_TOO_LARGE) {
        uint64_t failures = trouble_grows(trouble, now_ms);
        if (failures)
            log_warn("%s: %s; the recording is %s (failures since the last such line: %" PRIu64 ")",
                     classification->code, classification->message,
                     classification->verdict == VERDICT_TOO_LARGE ? "not asked for again"
                                                                  : "asked for again",
                     failures);
    }
}

/* Logs failures of the platform, until a call succeeds. */
static void log_trouble(struct call_thread *thread, const struct classification *classification,
                        int64_t now_ms)
{
    enum verdict verdict = classification->verdict;
    bool answered =
        verdict == VERDICT_ANSWERED || verdict == VERDICT_NOT_KEPT || verdict == VERDICT_TOO_LARGE;
    if (answered && trouble_ends(&thread->trouble))
        log_info("platform %s answers again", thread->host_port);
    if (verdict != VERDICT_NOT_SENT && verdict != VERDICT_IN_DOUBT &&
        verdict != VERDICT_UNAUTHORIZED && verdict != VERDICT_THROTTLED)
        return;
    note_failure(thread, classification);
    uint64_t failures = trouble_grows(&thread->trouble, now_ms);
    if (failures)
        log_warn("platform %s: %s: %s; %s (failed tries since the last such line: %" PRIu64 ")",
                 thread->host_port, classification->code, classification->message,
                 verdict == VERDICT_IN_DOUBT
                     ? "a call may have been made and is not repeated, a recording is asked for "
                       "again"
                     : "nothing was performed, it is tried again",
                 failures);
}

/* Calls are signed with the time. A platform may refuse a wrong time without saying why. */
static void note_clock(struct call_thread *thread, const struct attempt *attempt, int64_t now_ms)
{
    if (!attempt->dated)
        return;
    int64_t offset = attempt->clock_offset_ms;
    atomic_store_explicit(&thread->counters.clock_offset_ms, offset, memory_order_relaxed);
    atomic_store_explicit(&thread->counters.clock_known, true, memory_order_relaxed);
    if (offset <= CLOCK_OFFSET_MAX_MS && offset >= -CLOCK_OFFSET_MAX_MS) {
        if (trouble_ends(&thread->clock_trouble))
            log_info("the clock agrees with the platform's again");
    } else if (trouble_grows(&thread->clock_trouble, now_ms))
        log_warn("this machine's clock is %" PRId64 " s %s the platform's: calls are signed with "
                 "the time and may be refused for it; set one of the clocks (NTP)",
                 (offset < 0 ? -offset : offset) / 1000, offset < 0 ? "behind" : "ahead of");
}

static void log_end(const struct call_thread *thread, const struct request *request,
                    const struct attempt *attempt, const struct classification *classification,
                    int64_t started_us)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    char caller[32], callee[32];
    bool is_call = request->position.kind == REQUEST_CALL;
    struct log_about about =
        request_about(request, thread->config->request_topics[request->position.kind]);
    text_mask_number(caller, sizeof caller,
                     is_call && request->event.caller ? request->event.caller : "");
    text_mask_number(callee, sizeof callee,
                     is_call && request->event.callee ? request->event.callee : "");
    log_write(LOG_DEBUG, &about, "%s%s%s%s: try %d, %s, HTTP %d, %" PRId64 " ms",
              is_call ? "call " : "recording", caller, is_call ? " to " : "", callee,
              request->call.attempts, classification->code ? classification->code : "answered",
              attempt->http_status, (clock_boot_us() - started_us) / 1000);
}

/* ---- what has ended */

static void count_end(struct call_thread *thread, const struct request *request)
{
    struct call_counters *counters = &thread->counters;
    switch (request->call.end) {
    case CALL_FINISHED:
        count(&counters->ended[request->position.kind][request->outcome.status]);
        break;
    case CALL_NOT_SENT:
        break;
    case CALL_RETURNED:
        count(&counters->returned);
        break;
    }
}

static void count_copy(struct call_thread *thread, const struct attempt *attempt)
{
    if (attempt->copy == COPY_NONE || attempt->failure == FAILURE_STOPPED)
        return;
    if (attempt->copy != COPY_KEPT) {
        count(&thread->counters.copy_failures);
        return;
    }
    count(&thread->counters.files);
    atomic_fetch_add_explicit(&thread->counters.file_bytes, (uint64_t)attempt->file_size,
                              memory_order_relaxed);
}

static void on_answered(void *argument, const struct request *request)
{
    struct call_thread *thread = argument;
    dispatch_answered(&thread->dispatch, request);
    thread->something_happened = true;
}

static void on_ended(void *argument, struct request *request, struct attempt *attempt,
                     int64_t started_us)
{
    struct call_thread *thread = argument;
    struct classification classification;
    int64_t now = clock_boot_ms();
    atomic_fetch_sub_explicit(&thread->counters.in_flight, 1, memory_order_relaxed);
    histogram_add(&thread->counters.latency[request->position.kind], clock_boot_us() - started_us);
    count_copy(thread, attempt);
    note_clock(thread, attempt, now);
    dispatch_end(&thread->dispatch, request, attempt, now, clock_wall_ms(), &classification);
    /* The platform has refused the old token, so a trial call with the new one may begin at
     * once. */
    if (classification.verdict == VERDICT_UNAUTHORIZED && attempt->token_replaced)
        dispatch_credentials_changed(&thread->dispatch, now);
    if (!thread->ending) {
        log_trouble(thread, &classification, now);
        log_copy(thread, &classification, attempt, now);
    }
    log_end(thread, request, attempt, &classification, started_us);
    thread->something_happened = true;
}

/* ---- secrets and certificates */

static void note_reload(struct call_thread *thread, enum reload_part part)
{
    count(&thread->counters.reloads);
    trouble_ends(&thread->reload_troubles[part]);
}

static void credentials_changed(struct call_thread *thread)
{
    dispatch_credentials_changed(&thread->dispatch, clock_boot_ms());
    thread->something_happened = true;
}

static void on_token(void *argument, char *token)
{
    struct call_thread *thread = argument;
    if (!exchanges_use_token(&thread->exchanges, token))
        return;
    note_reload(thread, RELOADS_TOKEN);
    log_info("platform.token.file: there is another token; calls are signed with it from now on");
    credentials_changed(thread);
}

static void on_trust(void *argument, struct platform_trust *trust)
{
    struct call_thread *thread = argument;
    note_reload(thread, RELOADS_TRUST);
    exchanges_use_trust(&thread->exchanges, trust);
    log_info("platform.ca.file, platform.cert.file, platform.key.file: read again; calls from now "
             "on go over new connections");
    credentials_changed(thread);
}

static void on_kafka_files(void *argument, const char *words)
{
    struct call_thread *thread = argument;
    note_reload(thread, RELOADS_KAFKA);
    log_info("files of kafka.*: read again; %s", words);
}

/* Who asks for the reading is told at once each time. */
static void on_reload_failed(void *argument, enum reload_part part, const char *words, bool asked)
{
    struct call_thread *thread = argument;
    count(&thread->counters.reload_failures);
    if (asked)
        thread->reload_troubles[part].logged_ms = 0;
    if (trouble_grows(&thread->reload_troubles[part], clock_boot_ms()))
        log_error(
            "a file that has changed cannot be used, and what was read before stays in force: "
            "%s",
            words);
}

static void on_reread(void *argument, unsigned times)
{
    struct call_thread *thread = argument;
    atomic_fetch_add_explicit(&thread->counters.rereads, times, memory_order_relaxed);
}

static void on_reread_hangs(void *argument, int64_t ms)
{
    struct call_thread *thread = argument;
    count(&thread->counters.reload_failures);
    if (trouble_grows(&thread->reread_trouble, clock_boot_ms()))
        log_error("the files that may change (token, certificates, Kafka's secrets) have not been "
                  "read for %lld s, because a file system does not answer: what was read before "
                  "stays in force",
                  (long long)(ms / 1000));
}

/* ---- the loop */

static void send_limit(struct queue *finished, int64_t calls)
{
    if (!finished)
        return;
    struct limit_message *allowance = memory_zeroed(1, sizeof *allowance);
    allowance->message.type = MESSAGE_LIMIT;
    allowance->calls = calls;
    queue_push(finished, &allowance->message.node);
}

static void give_back(struct call_thread *thread)
{
    int64_t calls;
    struct request *request;
    if (dispatch_take_limit_change(&thread->dispatch, &calls) && !thread->ending)
        for (int job = 0; job < REQUEST_KINDS; job++)
            send_limit(thread->finished[job], calls);
    while ((request = dispatch_take_done(&thread->dispatch))) {
        count_end(thread, request);
        queue_push(thread->finished[request->position.kind], &request->message.node);
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

/* Sends the requests that may be sent, and gives back those that are done. */
static void turn(struct call_thread *thread)
{
    struct request *request;
    int64_t now = clock_boot_ms(), wall = clock_wall_ms();
    thread->something_happened = false;
    while ((request = dispatch_next(&thread->dispatch, now, wall)))
        send_request(thread, request, wall);
    atomic_store_explicit(&thread->counters.rate_limited, thread->dispatch.rate_waits,
                          memory_order_relaxed);
    atomic_store_explicit(&thread->counters.rate_waits, thread->dispatch.rate_delays,
                          memory_order_relaxed);
    give_back(thread);
    tell_breaker(thread, now);
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
    (void)timer; /* the timer only makes the loop run */
}

/* File work does not end: the disk or its server hangs. */
static void on_stuck(uv_timer_t *timer)
{
    struct call_thread *thread = timer->data;
    log_warn(
        "recording.store: the file system has not answered for %d ms; the stop goes on without it",
        STORE_GRACE_MS);
    thread->stuck = true;
    uv_stop(&thread->loop);
}

/* The end: cuts off all tries, gives back all requests, and lets the loop end. */
static void end_thread(struct call_thread *thread)
{
    thread->ending = true;
    exchanges_stop(&thread->exchanges);
    dispatch_return_waiting(&thread->dispatch);
    give_back(thread);
    exchanges_fini(&thread->exchanges);
    reload_fini(&thread->reload);
    uv_close((uv_handle_t *)&thread->wake, NULL);
    uv_close((uv_handle_t *)&thread->prepare, NULL);
    uv_close((uv_handle_t *)&thread->due, NULL);
    uv_timer_start(&thread->tick, on_stuck, STORE_GRACE_MS, 0);
    uv_unref((uv_handle_t *)&thread->tick);
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
    case MESSAGE_REREAD:
        free(message);
        log_info("reading secrets and certificates again");
        reload_now(&thread->reload);
        break;
    case MESSAGE_STOP:
        free(message);
        end_thread(thread);
        break;
    case MESSAGE_LIMIT: /* never sent to this thread */
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
    platform_enter_thread();
    give_back(
        thread); /* reports the limit of calls if the rate limit makes it smaller from the start */
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    if (thread->stuck)
        return NULL;
    uv_close((uv_handle_t *)&thread->tick, NULL);
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- the Kafka threads' side */

static void wake_thread(void *argument)
{
    uv_async_send(&((struct call_thread *)argument)->wake);
}

/* Whether the files that a loop needs can be opened. libuv aborts the process if its first loop
 * cannot open the pipe for signals. */
static bool files_can_be_opened(void)
{
    int files[LOOP_FILES], opened = 0;
    while (opened < LOOP_FILES && (files[opened] = eventfd(0, EFD_CLOEXEC)) >= 0)
        opened++;
    int error = errno;
    for (int i = 0; i < opened; i++)
        close(files[i]);
    errno = error;
    return opened == LOOP_FILES;
}

static int open_loop(struct call_thread *thread, struct error *error)
{
    if (!files_can_be_opened())
        return error_set(error, "call thread: %s", strerror(errno));
    int rc = uv_loop_init(&thread->loop);
    if (rc)
        return error_set(error, "call thread: %s", uv_strerror(rc));
    uv_async_init(&thread->loop, &thread->wake, on_wake);
    uv_prepare_init(&thread->loop, &thread->prepare);
    uv_timer_init(&thread->loop, &thread->due);
    uv_timer_init(&thread->loop, &thread->tick);
    thread->wake.data = thread->prepare.data = thread->due.data = thread->tick.data = thread;
    uv_prepare_start(&thread->prepare, on_prepare);
    uv_timer_start(&thread->tick, on_tick, TICK_MS, TICK_MS);
    return 0;
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

struct call_thread *call_thread_new(const struct config *config, struct kafka_files *kafka,
                                    struct queue *const finished[REQUEST_KINDS],
                                    struct error *error)
{
    struct call_thread *thread = memory_zeroed(1, sizeof *thread);
    thread->config = config;
    memcpy(thread->finished, finished, sizeof thread->finished);
    thread->last_turn_ms = clock_boot_ms();
    copy_host_port(thread->host_port, sizeof thread->host_port, config->platform_url);
    pthread_mutex_init(&thread->pause_lock, NULL);
    seed_random(&thread->random_state);
    dispatch_init(&thread->dispatch, config, next_random, &thread->random_state);
    queue_init(&thread->inbound, wake_thread, thread);
    if (open_loop(thread, error) < 0)
        goto release;
    static const struct exchange_events events = {.answered = on_answered, .ended = on_ended};
    static const struct reload_events reload_events = {
        on_token, on_trust, on_kafka_files, on_reload_failed, on_reread, on_reread_hangs};
    reload_init(&thread->reload, &thread->loop, config, kafka, &reload_events, thread);
    if (exchanges_init(&thread->exchanges, &thread->loop, config, &events, thread, error) < 0)
        goto close;
    if (start(thread, error) == 0)
        return thread;
    exchanges_fini(&thread->exchanges);
close:
    reload_fini(&thread->reload);
    close_loop(thread);
release:
    pthread_mutex_destroy(&thread->pause_lock);
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

void call_thread_reread(struct call_thread *thread)
{
    struct message *message = memory_zeroed(1, sizeof *message);
    message->type = MESSAGE_REREAD;
    queue_push(&thread->inbound, &message->node);
}

bool call_thread_free(struct call_thread *thread)
{
    if (!thread)
        return true;
    struct message *stop = memory_zeroed(1, sizeof *stop);
    stop->type = MESSAGE_STOP;
    queue_push(&thread->inbound, &stop->node);
    pthread_join(thread->thread, NULL);
    if (thread->stuck)
        return false;
    uv_loop_close(&thread->loop);
    pthread_mutex_destroy(&thread->pause_lock);
    queue_fini(&thread->inbound);
    free(thread);
    return true;
}

int64_t call_thread_last_turn_ms(const struct call_thread *thread)
{
    return atomic_load_explicit(&thread->last_turn_ms, memory_order_relaxed);
}

void call_thread_copy_pause(struct call_thread *thread, struct call_pause *out)
{
    pthread_mutex_lock(&thread->pause_lock);
    *out = thread->pause;
    pthread_mutex_unlock(&thread->pause_lock);
}

const struct call_counters *call_thread_counters(const struct call_thread *thread)
{
    return &thread->counters;
}
