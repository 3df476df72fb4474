#include "io/platform.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/platform_internal.h"

enum { PATIENCE_STEP_MS = 250 };

static enum attempt_failure failure_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return FAILURE_NONE;
    case CURLE_COULDNT_RESOLVE_HOST:
        return FAILURE_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return FAILURE_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
        return FAILURE_TLS;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return FAILURE_CERTIFICATE;
    case CURLE_OPERATION_TIMEDOUT:
        return FAILURE_TIMEOUT;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return FAILURE_RESET;
    case CURLE_GOT_NOTHING:
        return FAILURE_NO_ANSWER;
    case CURLE_PARTIAL_FILE:
        return FAILURE_CUT;
    default:
        return FAILURE_OTHER;
    }
}

/* ---- starting and ending */

static void dial(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    int64_t left = transfer->started_ms + transfer->post->timeout_ms - clock_boot_ms();
    transfer->attempt = (struct attempt){.retry_after_ms = -1, .content_length = -1};
    transfer->opened = transfer->stale = transfer->framed = false;
    transfer->words[0] = '\0';
    platform_must(
        curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long)(left > 1 ? left : 1)));
    bool fresh = transfer->redialled || transfer->fetches;
    platform_must(curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L));
    if (curl_multi_add_handle(platform->multi, transfer->easy) != CURLM_OK)
        abort();
}

static void release(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    list_remove(&transfer->awaiting_node);
    list_remove(&transfer->node);
    list_prepend(&platform->idle[transfer->fetches], &transfer->node);
    transfer->post = NULL;
    platform->active_count--;
}

/* Where a 3xx points to; libcurl's memory, which the next transfer of this slot takes back. */
static const char *location_of(const struct transfer *transfer)
{
    char *location = NULL;
    int status = transfer->attempt.http_status;
    if (status >= 300 && status < 400 &&
        curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &location) != CURLE_OK)
        return NULL;
    return location;
}

static void end(struct transfer *transfer, enum attempt_failure failure)
{
    struct platform *platform = transfer->platform;
    struct platform_post *post = transfer->post;
    struct attempt attempt = transfer->attempt;
    attempt.failure = failure;
    attempt.complete = failure == FAILURE_NONE;
    attempt.end_proven = attempt.complete && transfer->framed;
    attempt.location = location_of(transfer);
    if (failure != FAILURE_NONE && failure != FAILURE_STOPPED)
        snprintf(attempt.detail, sizeof attempt.detail, "%.150s", transfer->words);
    curl_multi_remove_handle(platform->multi, transfer->easy);
    release(transfer);
    post->transfer = NULL;
    platform->events->ended(platform->argument, post, &attempt);
}

static void finish(struct transfer *transfer, CURLcode code)
{
    if (transfer->stale && !transfer->redialled) {
        curl_multi_remove_handle(transfer->platform->multi, transfer->easy);
        transfer->redialled = true;
        dial(transfer);
        return;
    }
    if (code != CURLE_OK && !transfer->words[0])
        snprintf(transfer->words, sizeof transfer->words, "%s", curl_easy_strerror(code));
    end(transfer, failure_of(code));
}

void platform_take_ended(struct platform *platform)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(platform->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        char *transfer;
        platform_must(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer));
        finish((struct transfer *)(void *)transfer, code);
    }
}

static void on_patience(uv_timer_t *timer)
{
    struct platform *platform = timer->data;
    int64_t now = clock_boot_ms();
    list_each_safe(node, &platform->awaiting)
    {
        struct transfer *transfer = list_of(node, struct transfer, awaiting_node);
        if (now - transfer->started_ms < transfer->post->answer_timeout_ms)
            continue;
        snprintf(transfer->words, sizeof transfer->words, "no answer within %lld ms",
                 (long long)transfer->post->answer_timeout_ms);
        end(transfer, FAILURE_TIMEOUT);
    }
    if (list_empty(&platform->awaiting))
        uv_timer_stop(timer);
}

void platform_start(struct platform *platform, struct platform_post *post)
{
    assert(platform->active_count < platform->config->platform_max_in_flight);
    struct list *node = list_take_first(&platform->idle[post->fetch]);
    struct transfer *transfer =
        node ? list_of(node, struct transfer, node) : transfer_new(platform, post->fetch);
    list_append(&platform->active, &transfer->node);
    platform->active_count++;
    transfer->post = post;
    post->transfer = transfer;
    transfer->redialled = false;
    transfer->started_ms = clock_boot_ms();
    transfer_prepare(transfer, post);
    if (post->answer_timeout_ms > 0 && post->answer_timeout_ms < post->timeout_ms) {
        list_append(&platform->awaiting, &transfer->awaiting_node);
        if (!uv_is_active((uv_handle_t *)&platform->patience))
            uv_timer_start(&platform->patience, on_patience, PATIENCE_STEP_MS, PATIENCE_STEP_MS);
    }
    dial(transfer);
}

void platform_resume(struct platform_post *post)
{
    struct transfer *transfer = post->transfer;
    CURLcode code = curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK) /* of the bytes that it had kept: it does not end the transfer itself */
        finish(transfer, code);
}

void platform_stop(struct platform *platform)
{
    while (!list_empty(&platform->active))
        end(list_of(platform->active.next, struct transfer, node), FAILURE_STOPPED);
}

void platform_enter_thread(void)
{
    unsigned char byte;
    if (RAND_bytes(&byte, 1) != 1 || RAND_priv_bytes(&byte, 1) != 1)
        abort();
}

struct platform *platform_new(uv_loop_t *loop, const struct config *config,
                              const struct platform_events *events, void *argument,
                              struct error *error)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) {
        error_set(error, "libcurl: %s", curl_easy_strerror(code));
        return NULL;
    }
    struct platform *platform = memory_zeroed(1, sizeof *platform);
    platform->loop = loop;
    platform->config = config;
    platform->events = events;
    platform->argument = argument;
    list_init(&platform->idle[0]);
    list_init(&platform->idle[1]);
    list_init(&platform->active);
    list_init(&platform->awaiting);
    uv_timer_init(loop, &platform->patience);
    platform->patience.data = platform;
    platform->open_timers = 2;
    platform->multi = memory_must(curl_multi_init());
    platform->share = memory_must(curl_share_init());
    platform_sockets_init(platform);
    curl_multi_setopt(platform->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(platform->multi, CURLMOPT_MAXCONNECTS, (long)config->platform_max_in_flight);
    curl_share_setopt(platform->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return platform;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct platform *platform = handle->data;
    if (--platform->open_timers > 0)
        return;
    free(platform);
    curl_global_cleanup();
}

void platform_free(struct platform *platform)
{
    if (!platform)
        return;
    assert(list_empty(&platform->active));
    struct list *node;
    for (int fetches = 0; fetches < 2; fetches++)
        while ((node = list_take_first(&platform->idle[fetches])))
            transfer_free(list_of(node, struct transfer, node));
    curl_multi_cleanup(platform->multi); /* closes the pooled connections, and so their watches */
    curl_share_cleanup(platform->share);
    platform_sockets_fini(platform);
    uv_close((uv_handle_t *)&platform->timer, on_timer_closed);
    uv_close((uv_handle_t *)&platform->patience, on_timer_closed);
}
