#include "worker/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/answer.h"
#include "core/audio.h"
#include "core/digest.h"
#include "core/overdue.h"
#include "core/recording_file.h"
#include "core/recording_url.h"
#include "core/unpacker.h"
#include "core/verdict.h"

enum {
    BUFFER_KEPT = 16384, /* largest answer buffer that is kept for the next try */
    DEADLINE_STEP_MS = 250,
    PART_OF_A_FILE = 206,  /* HTTP's status, for which nobody asked */
    REDIRECTS = 5,         /* limit of redirects of a fetch */
    REDIRECT_BODY = 65536, /* limit of a redirect's body, which is read and ignored */
};

struct exchange {
    struct list node; /* in exchanges->free or ->keeping */
    struct exchanges *all;
    struct platform_post post; /* the POST, and after it the fetch */
    struct request *request;
    int64_t started_us;
    uint64_t token_number; /* number of the token that signed it */
    struct text url, body, answer;
    struct text location; /* of a 3xx */
    char authorization[sizeof((struct signature *)0)->authorization];
    struct attempt attempt; /* valid when the POST has ended */
    bool fetching;

    /* The recording's file, if there is one. */
    bool is_file;              /* the answer itself is the file */
    struct unpacker *unpacker; /* NULL: the answer is not packed, or is no file */
    enum audio audio;          /* judged by the first bytes */
    struct text head;          /* first bytes of a fetched or packed file, until they are judged */
    char *file_url;            /* as in the answer */
    struct text fetch_url;     /* file_url, or the target of the last redirect */
    int redirects;
    size_t redirect_body;
    int64_t size;
    struct digest *digest;
    struct store_file *file;
    struct text file_uri;
    enum attempt_copy copy;
    char copy_detail[sizeof((struct attempt *)0)->copy_detail];
};

static struct exchange *exchange_take(struct exchanges *exchanges)
{
    struct list *node = list_take_first(&exchanges->free);
    if (node)
        return list_of(node, struct exchange, node);
    struct exchange *exchange = memory_zeroed(1, sizeof *exchange);
    list_init(&exchange->node);
    exchange->all = exchanges;
    return exchange;
}

static void drop_unpacker(struct exchange *exchange)
{
    unpacker_free(exchange->unpacker);
    exchange->unpacker = NULL;
}

static void exchange_release(struct exchange *exchange)
{
    text_clear(&exchange->answer);
    if (exchange->answer.capacity > BUFFER_KEPT)
        text_fini(&exchange->answer);
    free(exchange->file_url);
    exchange->file_url = NULL;
    exchange->request = NULL;
    exchange->is_file = exchange->fetching = false;
    drop_unpacker(exchange);
    exchange->audio = AUDIO_OPEN;
    text_clear(&exchange->head);
    exchange->size = 0;
    exchange->redirects = 0;
    exchange->copy = COPY_NONE;
    exchange->copy_detail[0] = '\0';
    text_clear(&exchange->file_uri);
    list_prepend(&exchange->all->free, &exchange->node);
}

static void exchange_free(struct exchange *exchange)
{
    text_fini(&exchange->url);
    text_fini(&exchange->body);
    text_fini(&exchange->answer);
    text_fini(&exchange->location);
    text_fini(&exchange->head);
    text_fini(&exchange->file_uri);
    text_fini(&exchange->fetch_url);
    digest_free(exchange->digest);
    free(exchange);
}

/* ---- the end of a try */

static void tell(struct exchange *exchange)
{
    struct exchanges *all = exchange->all;
    struct attempt *attempt = &exchange->attempt;
    attempt->body = exchange->answer.data ? exchange->answer.data : "";
    attempt->body_size = exchange->answer.length;
    attempt->is_file = exchange->is_file;
    attempt->copy = exchange->copy;
    attempt->file_size = exchange->size;
    attempt->file_uri = exchange->file_uri.data;
    if (exchange->copy != COPY_NONE)
        snprintf(attempt->copy_detail, sizeof attempt->copy_detail, "%s", exchange->copy_detail);
    if (exchange->size)
        digest_text(exchange->digest, attempt->file_sha256);
    attempt->token_replaced = exchange->token_number != all->tokens;
    struct request *request = exchange->request;
    all->events->ended(all->argument, request, attempt, exchange->started_us);
    exchange_release(exchange);
}

static void copy_failed(struct exchange *exchange, enum attempt_copy copy, const char *detail)
{
    if (exchange->copy != COPY_NONE)
        return; /* the first reason counts */
    exchange->copy = copy;
    snprintf(exchange->copy_detail, sizeof exchange->copy_detail, "%s", detail);
}

static void tell_without_file(struct exchange *exchange)
{
    store_drop(exchange->file);
    exchange->file = NULL;
    tell(exchange);
}

/* ---- the file */

static enum platform_taken take_file(struct exchange *exchange, const char *bytes, size_t n)
{
    struct exchanges *all = exchange->all;
    if (exchange->size + (int64_t)n > all->config->recording_max_bytes) {
        copy_failed(exchange, COPY_TOO_LARGE, "a file larger than recording.max.bytes");
        return PLATFORM_TOO_LARGE;
    }
    if (all->store && !exchange->file)
        exchange->file = store_open(all->store, exchange);
    switch (exchange->file ? store_write(exchange->file, bytes, n) : STORE_TAKEN) {
    case STORE_TAKEN:
        break;
    case STORE_FULL:
        return PLATFORM_LATER;
    case STORE_FAILED:
        copy_failed(exchange, COPY_STORE_FAILED, store_why(exchange->file));
        return PLATFORM_ENOUGH;
    }
    if (!exchange->digest)
        exchange->digest = digest_new();
    digest_add(exchange->digest, bytes, n);
    exchange->size += (int64_t)n;
    return PLATFORM_TAKEN;
}

/* Judges the first bytes of a possible file, and takes them if it is one. */
static enum platform_taken take_head(struct exchange *exchange, struct text *head, bool whole,
                                     const struct attempt *attempt)
{
    const struct config *config = exchange->all->config;
    exchange->audio = audio_judge(head->data, head->length, whole, attempt->content_type);
    if (exchange->audio != AUDIO_YES)
        return PLATFORM_TAKEN;
    if (attempt->content_length > config->recording_max_bytes) {
        copy_failed(exchange, COPY_TOO_LARGE, "a file larger than recording.max.bytes");
        return PLATFORM_TOO_LARGE;
    }
    return take_file(exchange, head->data, head->length);
}

static void on_room(void *argument)
{
    struct exchange *exchange = argument;
    if (exchange->post.transfer)
        platform_resume(&exchange->post);
}

static int64_t left_ms(const struct exchange *exchange)
{
    int64_t spent_ms = (clock_boot_us() - exchange->started_us) / 1000;
    return exchange->all->config->recording_timeout_ms - spent_ms;
}

/* A try gives up a hanging file system like a hanging platform: the time of the file system counts
 * as the try's. */
static void on_deadline(uv_timer_t *timer)
{
    struct exchanges *all = timer->data;
    list_each_safe(node, &all->keeping)
    {
        struct exchange *exchange = list_of(node, struct exchange, node);
        if (left_ms(exchange) > 0)
            continue;
        list_remove(&exchange->node);
        copy_failed(exchange, COPY_STORE_FAILED, "it took longer than recording.timeout.ms");
        tell_without_file(exchange);
    }
    if (list_empty(&all->keeping))
        uv_timer_stop(timer);
}

/* The file has arrived completely. */
static void keep_file(struct exchange *exchange)
{
    struct text name = {0};
    struct attempt *attempt = &exchange->attempt;
    recording_file_name(&name, exchange->request->event.call_identifier, attempt->file_type,
                        exchange->file_url);
    store_uri(exchange->all->store, name.data, &exchange->file_uri);
    list_append(&exchange->all->keeping, &exchange->node);
    if (!uv_is_active((uv_handle_t *)&exchange->all->deadline_timer))
        uv_timer_start(&exchange->all->deadline_timer, on_deadline, DEADLINE_STEP_MS,
                       DEADLINE_STEP_MS);
    store_keep(exchange->file, name.data);
    text_fini(&name);
}

static void on_kept(void *argument, const char *why)
{
    struct exchange *exchange = argument;
    list_remove(&exchange->node);
    exchange->file = NULL;
    if (why)
        copy_failed(exchange, COPY_STORE_FAILED, why);
    else
        exchange->copy = COPY_KEPT;
    tell(exchange);
}

/* ---- the fetch */

static void set_file_times(struct exchange *exchange, int64_t left)
{
    const struct config *config = exchange->all->config;
    exchange->post.timeout_ms = left;
    exchange->post.answer_timeout_ms =
        config->platform_timeout_ms < left ? config->platform_timeout_ms : 0;
}

/* Fetches from that URL if the settings allow it. url may point into the platform module's
 * memory. */
static void start_fetch(struct exchange *exchange, const char *url)
{
    int64_t left = left_ms(exchange);
    const char *refusal = recording_url_refusal(url, exchange->all->config);
    if (refusal)
        copy_failed(exchange, COPY_URL_REFUSED, refusal);
    else if (left <= 0)
        copy_failed(exchange, COPY_DOWNLOAD_FAILED, "recording.timeout.ms had passed");
    if (exchange->copy != COPY_NONE) {
        tell(exchange);
        return;
    }
    text_clear(&exchange->fetch_url);
    recording_url_add_plain(&exchange->fetch_url, url);
    exchange->fetching = true;
    exchange->redirect_body = 0;
    text_clear(&exchange->head);
    drop_unpacker(exchange);
    exchange->post = (struct platform_post){.fetch = true, .url = exchange->fetch_url.data};
    set_file_times(exchange, left);
    platform_start(exchange->all->platform, &exchange->post);
}

/* The argument of what takes unpacked pieces. */
struct unpacking {
    struct exchange *exchange;
    const struct attempt *attempt;
};

static void packed_file_failed(struct exchange *exchange)
{
    copy_failed(exchange, COPY_DOWNLOAD_FAILED, "it is compressed and damaged");
}

static bool is_packed(const struct attempt *attempt)
{
    return *attempt->content_encoding != '\0';
}

static bool is_redirect(const struct attempt *fetch)
{
    return fetch->http_status >= 300 && fetch->http_status < 400;
}

static enum platform_taken judge_fetched(struct exchange *exchange, const struct attempt *fetch,
                                         bool whole)
{
    const struct text *head = &exchange->head;
    enum platform_taken taken = take_head(exchange, &exchange->head, whole, fetch);
    if (exchange->audio != AUDIO_NO)
        return taken;
    copy_failed(exchange, COPY_NOT_AUDIO, audio_describe(head->data, head->length));
    return PLATFORM_ENOUGH;
}

static enum platform_taken take_content(struct exchange *exchange, const struct attempt *fetch,
                                        const char *bytes, size_t n)
{
    if (exchange->audio == AUDIO_YES)
        return take_file(exchange, bytes, n);
    text_append(&exchange->head, bytes, n);
    return judge_fetched(exchange, fetch, false);
}

static int take_unpacked_content(void *argument, const char *piece, size_t size)
{
    const struct unpacking *unpacking = argument;
    return (int)take_content(unpacking->exchange, unpacking->attempt, piece, size);
}

static enum platform_taken take_packed_content(struct exchange *exchange,
                                               const struct attempt *fetch, const char *bytes,
                                               size_t n)
{
    struct unpacking unpacking = {exchange, fetch};
    if (!unpacker_knows(fetch->content_encoding)) {
        copy_failed(exchange, COPY_DOWNLOAD_FAILED,
                    "it is compressed, and neither gzip nor deflate");
        return PLATFORM_ENOUGH;
    }
    if (!exchange->unpacker)
        exchange->unpacker = unpacker_new();
    int taken = unpacker_take(exchange->unpacker, bytes, n, take_unpacked_content, &unpacking);
    if (taken != UNPACKER_DAMAGED)
        return (enum platform_taken)taken;
    packed_file_failed(exchange);
    return PLATFORM_ENOUGH;
}

/* libcurl reports the target of a redirect only at its end. */
static enum platform_taken take_fetched(struct exchange *exchange, const struct attempt *fetch,
                                        const char *bytes, size_t n)
{
    if (fetch->http_status == 200)
        return is_packed(fetch) ? take_packed_content(exchange, fetch, bytes, n)
                                : take_content(exchange, fetch, bytes, n);
    exchange->redirect_body += n;
    return is_redirect(fetch) && exchange->redirect_body <= REDIRECT_BODY ? PLATFORM_TAKEN
                                                                          : PLATFORM_ENOUGH;
}

static void follow_redirect(struct exchange *exchange, const struct attempt *fetch)
{
    if (exchange->redirects++ < REDIRECTS) {
        start_fetch(exchange, fetch->location);
        return;
    }
    copy_failed(exchange, COPY_DOWNLOAD_FAILED, "it is redirected too often");
    tell(exchange);
}

static void fetch_ended(struct exchange *exchange, const struct attempt *fetch)
{
    char detail[sizeof exchange->copy_detail];
    if (fetch->failure == FAILURE_STOPPED)
        exchange->attempt.failure = FAILURE_STOPPED;
    if (is_redirect(fetch) && fetch->location && fetch->failure != FAILURE_STOPPED) {
        follow_redirect(exchange, fetch);
        return;
    }
    if (fetch->address_refused && !fetch->http_status) {
        copy_failed(exchange, COPY_URL_REFUSED,
                    "its address is not a public one: see recording.url.allow.private");
        tell_without_file(exchange);
        return;
    }
    if (fetch->complete && exchange->unpacker && !unpacker_ended(exchange->unpacker))
        packed_file_failed(exchange);
    if (fetch->complete && fetch->http_status == 200 && exchange->audio == AUDIO_OPEN &&
        exchange->head.length)
        judge_fetched(exchange, fetch, true);
    if (fetch->http_status && fetch->http_status != 200)
        snprintf(detail, sizeof detail, "HTTP %d", fetch->http_status);
    else if (fetch->failure != FAILURE_NONE)
        snprintf(detail, sizeof detail, "%s", *fetch->detail ? fetch->detail : "cut off");
    else if (exchange->size == 0)
        snprintf(detail, sizeof detail, "it is empty");
    else if (!fetch->end_proven)
        snprintf(detail, sizeof detail, "nothing proves that it is whole");
    else if (exchange->copy == COPY_NONE) {
        snprintf(exchange->attempt.file_type, sizeof exchange->attempt.file_type, "%s",
                 fetch->content_type);
        keep_file(exchange);
        return;
    }
    copy_failed(exchange, COPY_DOWNLOAD_FAILED, detail);
    tell_without_file(exchange);
}

/* ---- what the platform module reports */

static bool may_be_file(const struct exchange *exchange, const struct attempt *attempt)
{
    return exchange->request->position.kind == REQUEST_RECORDING && exchange->audio == AUDIO_OPEN &&
           attempt->http_status >= 200 && attempt->http_status < 300 &&
           attempt->http_status != PART_OF_A_FILE &&
           (!is_packed(attempt) || unpacker_knows(attempt->content_encoding));
}

static void take_as_file(struct exchange *exchange)
{
    struct exchanges *all = exchange->all;
    exchange->is_file = true;
    text_clear(&exchange->answer);
    all->events->answered(all->argument, exchange->request);
}

/* The first bytes of an answer tell whether the answer is the file. */
static enum platform_taken judge_answer(struct exchange *exchange, const struct attempt *attempt,
                                        bool whole)
{
    struct exchanges *all = exchange->all;
    enum platform_taken taken = take_head(exchange, &exchange->answer, whole, attempt);
    if (exchange->audio == AUDIO_YES) {
        take_as_file(exchange);
    } else if (exchange->audio == AUDIO_NO &&
               (int64_t)exchange->answer.length > all->config->platform_answer_max_bytes) {
        return PLATFORM_TOO_LARGE;
    }
    return taken;
}

/* The first unpacked bytes of an answer tell whether the answer is the file. */
static int take_unpacked(void *argument, const char *piece, size_t size)
{
    const struct unpacking *unpacking = argument;
    struct exchange *exchange = unpacking->exchange;
    if (exchange->is_file)
        return (int)take_file(exchange, piece, size);
    if (exchange->audio == AUDIO_NO)
        return PLATFORM_TAKEN;
    text_append(&exchange->head, piece, size);
    enum platform_taken taken = take_head(exchange, &exchange->head, false, unpacking->attempt);
    if (exchange->audio == AUDIO_YES)
        take_as_file(exchange);
    return (int)taken;
}

/* Until its first bytes are judged, a packed answer may also be a document, which is kept as it
 * comes. One that cannot be unpacked is never a file. */
static enum platform_taken take_packed(struct exchange *exchange, const struct attempt *attempt,
                                       const char *bytes, size_t n)
{
    struct unpacking unpacking = {exchange, attempt};
    if (!exchange->unpacker)
        exchange->unpacker = unpacker_new();
    int taken = unpacker_take(exchange->unpacker, bytes, n, take_unpacked, &unpacking);
    if (taken == UNPACKER_DAMAGED && exchange->is_file) {
        packed_file_failed(exchange);
        return PLATFORM_ENOUGH;
    }
    if (exchange->is_file || taken > 0)
        return (enum platform_taken)taken;
    if (taken == UNPACKER_DAMAGED)
        exchange->audio = AUDIO_NO;
    if (exchange->audio == AUDIO_NO)
        drop_unpacker(exchange);
    text_append(&exchange->answer, bytes, n);
    return (int64_t)exchange->answer.length > exchange->all->config->platform_answer_max_bytes
               ? PLATFORM_TOO_LARGE
               : PLATFORM_TAKEN;
}

/* The answer is complete, and its first bytes have not decided what it is. */
static enum platform_taken judge_whole(struct exchange *exchange, const struct attempt *attempt)
{
    if (!exchange->unpacker)
        return judge_answer(exchange, attempt, true);
    enum platform_taken taken = take_head(exchange, &exchange->head, true, attempt);
    if (exchange->audio == AUDIO_YES)
        take_as_file(exchange);
    return taken;
}

/* A file whose announced length is too large is refused before its first byte. */
static enum platform_taken judge_length(struct exchange *exchange, const struct attempt *attempt)
{
    bool is_file = exchange->fetching ? attempt->http_status == 200
                                      : may_be_file(exchange, attempt) &&
                                            !strncasecmp(attempt->content_type, "audio/", 6);
    if (!is_file || attempt->content_length <= exchange->all->config->recording_max_bytes)
        return PLATFORM_TAKEN;
    copy_failed(exchange, COPY_TOO_LARGE, "a file larger than recording.max.bytes");
    if (!exchange->fetching)
        take_as_file(exchange);
    return PLATFORM_TOO_LARGE;
}

static enum platform_taken on_body(void *argument, struct platform_post *post,
                                   const struct attempt *attempt, const char *bytes, size_t n)
{
    (void)argument;
    struct exchange *exchange = list_of(post, struct exchange, post);
    const struct config *config = exchange->all->config;
    if (n == 0)
        return judge_length(exchange, attempt);
    if (exchange->fetching)
        return take_fetched(exchange, attempt, bytes, n);
    if (exchange->unpacker ||
        (may_be_file(exchange, attempt) && unpacker_knows(attempt->content_encoding)))
        return take_packed(exchange, attempt, bytes, n);
    if (exchange->is_file)
        return take_file(exchange, bytes, n);
    if (may_be_file(exchange, attempt)) {
        text_append(&exchange->answer, bytes, n);
        return judge_answer(exchange, attempt, false);
    }
    if ((int64_t)(exchange->answer.length + n) > config->platform_answer_max_bytes)
        return PLATFORM_TOO_LARGE;
    text_append(&exchange->answer, bytes, n);
    return PLATFORM_TAKEN;
}

/* The answer was a file, complete or not. */
static void file_ended(struct exchange *exchange)
{
    struct attempt *attempt = &exchange->attempt;
    snprintf(attempt->file_type, sizeof attempt->file_type, "%s", attempt->content_type);
    if (attempt->complete && exchange->unpacker && !unpacker_ended(exchange->unpacker))
        packed_file_failed(exchange);
    if (exchange->copy != COPY_NONE) /* we cut the answer off ourselves, so it was readable */
        attempt->complete = true;
    if (attempt->end_proven && exchange->copy == COPY_NONE && exchange->file)
        keep_file(exchange);
    else
        tell_without_file(exchange);
}

static void on_ended(void *argument, struct platform_post *post, struct attempt *attempt)
{
    (void)argument;
    struct exchange *exchange = list_of(post, struct exchange, post);
    if (exchange->fetching) {
        fetch_ended(exchange, attempt);
        return;
    }
    exchange->attempt = *attempt;
    if (attempt->location) {
        text_clear(&exchange->location);
        text_add(&exchange->location, attempt->location);
        exchange->attempt.location = exchange->location.data;
    }
    if (attempt->complete && exchange->answer.length && may_be_file(exchange, attempt) &&
        judge_whole(exchange, attempt) == PLATFORM_TOO_LARGE && !exchange->is_file) {
        exchange->attempt.complete = false;
        exchange->attempt.too_large = true;
    }
    if (exchange->is_file) {
        file_ended(exchange);
        return;
    }
    if (exchange->all->store && exchange->request->position.kind == REQUEST_RECORDING) {
        exchange->attempt.body = exchange->answer.data ? exchange->answer.data : "";
        exchange->attempt.body_size = exchange->answer.length;
        exchange->file_url = verdict_file_url(&exchange->attempt, exchange->all->config);
    }
    if (!exchange->file_url) {
        tell(exchange);
        return;
    }
    exchange->all->events->answered(exchange->all->argument, exchange->request);
    exchange->audio = AUDIO_OPEN;
    start_fetch(exchange, exchange->file_url);
}

/* ---- the start of a try */

/* Signatures have a time in seconds, so all calls of one second share one. */
static void sign(struct exchange *exchange, int64_t wall_ms)
{
    struct exchanges *all = exchange->all;
    const struct config *config = all->config;
    if (wall_ms / 1000 != all->signed_second) {
        signature_make(&all->signature, all->token, config->platform_app_id, wall_ms,
                       config->platform_utc_offset_minutes);
        all->signed_second = wall_ms / 1000;
    }
    exchange->token_number = all->tokens;
    text_clear(&exchange->url);
    text_printf(&exchange->url, "%s/%s/bind/callEvent/%sv1?sig=%s", config->platform_url,
                config->platform_version,
                exchange->request->position.kind == REQUEST_RECORDING ? "voice/" : "",
                all->signature.sig);
    snprintf(exchange->authorization, sizeof exchange->authorization, "%s",
             all->signature.authorization);
}

/* Until when the call may be sent. A call whose connection is ready later goes back unsent. */
static int64_t send_until_ms(const struct config *config, const struct request *request,
                             int64_t wall_ms)
{
    struct overdue_limits limits = {config->call_max_age_ms, 0};
    int64_t until = overdue_at_ms(request, &limits, clock_boot_ms(), wall_ms);
    return until == INT64_MAX ? 0 : until;
}

bool exchanges_use_token(struct exchanges *exchanges, char *token)
{
    bool other = !exchanges->token || strcmp(exchanges->token, token) != 0;
    exchanges->tokens += other;
    exchanges->signed_second = -1;
    free(exchanges->token);
    exchanges->token = token;
    return other;
}

void exchanges_use_trust(struct exchanges *exchanges, struct platform_trust *trust)
{
    platform_use_trust(exchanges->platform, trust);
}

void exchange_start(struct exchanges *exchanges, struct request *request, int64_t wall_ms)
{
    const struct config *config = exchanges->config;
    struct exchange *exchange = exchange_take(exchanges);
    bool recording = request->position.kind == REQUEST_RECORDING;
    exchange->request = request;
    exchange->started_us = clock_boot_us();
    sign(exchange, wall_ms);
    text_clear(&exchange->body);
    answer_request_body(&exchange->body, request, exchanges->token, config->platform_app_id);
    exchange->post = (struct platform_post){
        .url = exchange->url.data,
        .authorization = exchange->authorization,
        .body = exchange->body.data,
        .body_size = exchange->body.length,
        .lease_until_ms = &request->call.lease_until_ms,
        .may_bring_file = recording,
        .timeout_ms = config->platform_timeout_ms,
    };
    if (!recording)
        exchange->post.send_until_ms = send_until_ms(config, request, wall_ms);
    /* A file has more time once its first byte has arrived. */
    if (recording)
        set_file_times(exchange, config->recording_timeout_ms);
    platform_start(exchanges->platform, &exchange->post);
}

int exchanges_init(struct exchanges *exchanges, uv_loop_t *loop, const struct config *config,
                   const struct exchange_events *events, void *argument, struct error *error)
{
    static const struct platform_events platform_events = {.body = on_body, .ended = on_ended};
    static const struct store_events store_events = {.room = on_room, .kept = on_kept};
    *exchanges = (struct exchanges){
        .config = config, .events = events, .argument = argument, .signed_second = -1};
    list_init(&exchanges->free);
    list_init(&exchanges->keeping);
    if (config->recording_store) {
        exchanges->store =
            store_new(loop, config->recording_store, config->instance_id, &store_events, error);
        if (!exchanges->store)
            return -1;
    }
    exchanges->platform = platform_new(loop, config, &platform_events, exchanges, error);
    if (!exchanges->platform) {
        store_free(exchanges->store);
        return -1;
    }
    exchanges_use_token(exchanges, memory_string(config->platform_token));
    uv_timer_init(loop, &exchanges->deadline_timer);
    exchanges->deadline_timer.data = exchanges;
    return 0;
}

void exchanges_stop(struct exchanges *exchanges)
{
    struct list *node;
    platform_stop(exchanges->platform);
    while ((node = list_take_first(&exchanges->keeping))) {
        struct exchange *exchange = list_of(node, struct exchange, node);
        exchange->attempt.failure = FAILURE_STOPPED;
        copy_failed(exchange, COPY_STORE_FAILED, "stopped");
        tell_without_file(exchange);
    }
}

void exchanges_fini(struct exchanges *exchanges)
{
    struct list *node;
    platform_free(exchanges->platform);
    store_free(exchanges->store);
    uv_close((uv_handle_t *)&exchanges->deadline_timer, NULL);
    free(exchanges->token);
    while ((node = list_take_first(&exchanges->free)))
        exchange_free(list_of(node, struct exchange, node));
}
