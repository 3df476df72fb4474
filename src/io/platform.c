#include "io/platform.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/recording_url.h"
#include "io/platform_internal.h"

enum {
    SWEEP_MS = 100,
    MULTI_FAILURES = 10, /* consecutive failures of libcurl before a new multi handle is made */
    COMPLAIN_MS = 60000,
    STOOD_STILL_MS = 1000, /* ten sweeps */
};

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
    case CURLE_SSL_CLIENTCERT:
        return FAILURE_CLIENT_CERTIFICATE;
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

/* ---- ending */

/* Whether the platform's TLS refused the client certificate, or that there is none. With TLS 1.3
 * this is known only after the request was sent; but a server that refuses the handshake has not
 * read what follows it, and the client sends no certificate after the handshake. It says nothing
 * about a request that was sent on another connection before. */
static bool was_certificate_refused(const struct transfer *transfer)
{
    return transfer->certificate_refused ||
           (transfer->tls.certificate_refused && transfer->opened && !transfer->reopened &&
            !transfer->head.begun && !transfer->head.done);
}

void platform_refuses_certificate(struct platform *platform)
{
    platform->refused_ms = clock_boot_ms();
    platform->awaited_ms = 0;
}

/* The key to look at after a failed handshake. libcurl's words name none, and before TLS 1.3 a
 * server may report only that the handshake failed. */
static const char *certificate_hint(const struct transfer *transfer)
{
    if (strstr(transfer->words, "certificate problem"))
        return "; see platform.ca.file";
    if (!transfer->tls.certificate_asked_for && !transfer->tls.certificate_wanted)
        return "";
    return transfer->trust->certificate
               ? "; it had asked for a client certificate, and may refuse platform.cert.file"
               : "; it had asked for a client certificate: platform.cert.file";
}

/* The first cause as a text: a failure outside of the connection says more than libcurl's own
 * error. */
static void find_words(struct transfer *transfer, char *out, size_t size)
{
    struct rlimit limit;
    int spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int failure = spare < 0 ? errno : transfer->open_error;
    if (spare >= 0)
        close(spare);
    if (*transfer->fault)
        snprintf(out, size, "%s", transfer->fault);
    else if (was_certificate_refused(transfer))
        snprintf(out, size, "the platform %s",
                 transfer->trust->certificate
                     ? "does not accept the certificate in platform.cert.file"
                     : "wants a client certificate: platform.cert.file");
    else if (transfer->attempt.sends == 0 && failure == EMFILE && !getrlimit(RLIMIT_NOFILE, &limit))
        snprintf(out, size, "too many open files: the limit of this process is %llu",
                 (unsigned long long)limit.rlim_cur);
    else if (transfer->attempt.sends == 0 && failure == ENFILE)
        snprintf(out, size, "too many open files on this machine");
    else if (transfer->stale)
        snprintf(out, size, "a new connection brought something before anything was asked");
    else
        snprintf(out, size, "%.80s%s", transfer->words, certificate_hint(transfer));
}

/* Removes the transfer from libcurl. A handle that libcurl does not release is not used again. */
static void take_out(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    CURLMcode code = CURLM_OK;
    if (transfer->added)
        code = curl_multi_remove_handle(platform->multi, transfer->easy);
    transfer->added = false;
    if (code != CURLM_OK)
        transfer_fault(transfer, "curl_multi_remove_handle", curl_multi_strerror(code));
}

static void release(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    list_remove(&transfer->awaiting_node);
    list_remove(&transfer->failed_node);
    list_remove(&transfer->node);
    transfer->post = NULL;
    platform->active_count--;
    if (*transfer->fault || transfer->trust != platform->trust || transfer->lookup_failed)
        transfer_free(transfer);
    else
        list_prepend(&platform->idle[transfer->use], &transfer->node);
}

/* The target of a 3xx, as a copy, because libcurl's text belongs to the slot; with escapes for what
 * must not stand in a URL, as libcurl does not fetch from it otherwise. */
static char *location_of(const struct transfer *transfer)
{
    char *location = NULL;
    int status = transfer->attempt.http_status;
    if (*transfer->fault || status < 300 || status > 399 ||
        curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &location) != CURLE_OK)
        return NULL;
    if (!location)
        return NULL;
    struct text escaped = {0};
    recording_url_add_escaped(&escaped, location, strlen(location));
    return text_take(&escaped);
}

static void end(struct transfer *transfer, enum attempt_failure failure)
{
    struct platform *platform = transfer->platform;
    struct platform_post *post = transfer->post;
    struct attempt attempt = transfer->attempt;
    bool proven, whole = answer_is_whole(transfer, &proven);
    if (failure == FAILURE_NONE && transfer->head.framing.contradictory) {
        failure = FAILURE_OTHER;
        snprintf(transfer->words, sizeof transfer->words,
                 "Content-Length and Transfer-Encoding do not say where the answer ends");
    } else if (failure == FAILURE_NONE && !whole) {
        failure = FAILURE_CUT;
        if (transfer->head.chunks.state == CHUNKS_BROKEN)
            snprintf(transfer->words, sizeof transfer->words, "the answer's chunks are malformed");
    }
    attempt.dated &= !transfer->stood_still; /* its Date may be as old as the standstill */
    attempt.failure = failure;
    attempt.complete = failure == FAILURE_NONE;
    attempt.end_proven = attempt.complete && proven;
    attempt.address_refused &= !transfer->opened; /* of all addresses, then */
    if (attempt.http_status && transfer->tls.certificate_asked &&
        transfer->trust == platform->trust)
        platform->certificate_settled = true;
    if (failure != FAILURE_NONE && was_certificate_refused(transfer)) {
        attempt.failure = FAILURE_CLIENT_CERTIFICATE;
        attempt.sends = 0;
        if (!transfer->certificate_refused && transfer->trust == platform->trust) {
            platform_refuses_certificate(platform);
            platform->certificate_settled = false;
        }
    }
    if (failure != FAILURE_NONE && failure != FAILURE_STOPPED)
        find_words(transfer, attempt.detail, sizeof attempt.detail);
    take_out(transfer);
    char *location = location_of(transfer);
    attempt.location = location;
    release(transfer);
    post->transfer = NULL;
    platform->events->ended(platform->argument, post, &attempt);
    free(location);
}

static void on_failing(uv_timer_t *timer)
{
    struct platform *platform = timer->data;
    struct list failed, *node;
    list_init(&failed);
    list_append_all(&failed, &platform->failed); /* not those that fail in the meantime */
    while ((node = list_take_first(&failed)))
        end(list_of(node, struct transfer, failed_node), FAILURE_OTHER);
}

void platform_fail_soon(struct transfer *transfer)
{
    list_remove(&transfer->failed_node);
    list_append(&transfer->platform->failed, &transfer->failed_node);
    uv_timer_start(&transfer->platform->failing, on_failing, 0, 0);
}

/* ---- libcurl's multi interface */

static CURLM *multi_new(struct platform *platform, struct error *error)
{
    CURLM *multi = curl_multi_init();
    if (!multi) {
        error_set(error, "curl_multi_init: no handle");
        return NULL;
    }
    long slots = (long)platform->config->platform_max_in_flight;
    CURLMcode code = platform_sockets_tie(platform, multi);
    if (!code)
        code = curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    if (!code)
        code = curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, slots);
    if (!code)
        return multi;
    error_set(error, "curl_multi_setopt: %s", curl_multi_strerror(code));
    curl_multi_cleanup(multi);
    return NULL;
}

static void complain(struct platform *platform, const char *what, const char *words, bool ends)
{
    int64_t now = clock_boot_ms();
    if (platform->complained_ms && now - platform->complained_ms < COMPLAIN_MS)
        return;
    platform->complained_ms = now;
    log_error("platform: libcurl failed: %s: %s; %s", what, words,
              ends ? "open calls end" : "open calls go on; repeated failures end them");
}

/* Ends all running transfers, and starts again with a new multi handle. */
static void rebuild(struct platform *platform, const char *what, CURLMcode code)
{
    struct list lost, *node;
    list_init(&lost);
    list_append_all(&lost, &platform->active);
    list_each(at, &lost)
    {
        struct transfer *transfer = list_of(at, struct transfer, node);
        transfer_fault(transfer, what, curl_multi_strerror(code));
        take_out(transfer);
    }
    curl_multi_cleanup(platform->multi);
    platform->multi = NULL;
    platform->multi_failures = 0;
    platform_sockets_forget(platform);
    uv_timer_stop(&platform->timer);
    while ((node = list_take_first(&lost))) {
        list_append(&platform->active, node);
        platform_fail_soon(list_of(node, struct transfer, node));
    }
}

bool platform_multi_works(const struct platform *platform)
{
    return platform->multi && platform->multi_failures < MULTI_FAILURES;
}

/* The multi handle had no memory left: libcurl 7.88 then divides by 0 at the next action on a
 * socket that it has forgotten half. */
static void is_spent(struct platform *platform, const char *what, const char *words)
{
    platform->multi_failures = MULTI_FAILURES;
    complain(platform, what, words, true);
}

void platform_multi_result(struct platform *platform, const char *what, CURLMcode code)
{
    const char *words = curl_multi_strerror(code);
    if (!platform_multi_works(platform))
        return;
    if (code == CURLM_OUT_OF_MEMORY) {
        is_spent(platform, what, words);
        return;
    }
    platform->multi_failures = code == CURLM_OK ? 0 : platform->multi_failures + 1;
    if (code != CURLM_OK)
        complain(platform, what, words, false);
}

/* Returns 0; -1: `fault` says why. */
static int add(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    struct error error;
    if (!platform->multi)
        platform->multi = multi_new(platform, &error);
    if (!platform->multi) {
        transfer_fault(transfer, "libcurl", error.text);
        return -1;
    }
    CURLMcode code = curl_multi_add_handle(platform->multi, transfer->easy);
    transfer->added = code == CURLM_OK;
    if (code != CURLM_OK)
        transfer_fault(transfer, "curl_multi_add_handle", curl_multi_strerror(code));
    return transfer->added ? 0 : -1;
}

/* ---- starting and going on */

/* Begins a try for the transfer's post. Returns 0; -1: it cannot go on. */
static int dial(struct transfer *transfer)
{
    transfer->attempt = (struct attempt){.retry_after_ms = -1, .content_length = -1};
    transfer->head = (struct answer_head){0};
    transfer->tls = (struct tls_seen){0};
    transfer->certificate_refused = false;
    transfer->opened = transfer->reopened = false;
    transfer->stale = transfer->has_connection = false;
    transfer->in_tls = false;
    transfer->passed_over = NULL;
    transfer->open_error = 0;
    transfer->words[0] = '\0';
    return transfer_prepare(transfer) || add(transfer) ? -1 : 0;
}

/* For a connection that failed, libcurl reports the target and the system the reason. In "Failed to
 * connect to HOST port N after M ms: Could not connect to server" the reason replaces the last
 * part. */
static void say_why_not_connected(struct transfer *transfer)
{
    long number = 0;
    char *words = transfer->words, *end = strrchr(words, ':');
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
    if (!number || !end || strncmp(words, "Failed to connect to ", 21) != 0)
        return;
    char *after = strstr(words, " after ");
    if (after && after < end)
        end = after;
    snprintf(end, sizeof transfer->words - (size_t)(end - words), ": %s", strerror((int)number));
}

static void finish(struct transfer *transfer, CURLcode code)
{
    bool is_stale = transfer->stale && !transfer->reconnected;
    if (is_stale || platform_peer_fails(transfer, code)) {
        take_out(transfer);
        transfer->reconnected |= is_stale;
        if (dial(transfer))
            platform_fail_soon(transfer);
        return;
    }
    if (transfer->head.ended) /* the transfer was stopped at the end of the answer, which libcurl
                                 did not see */
        code = CURLE_OK;
    if (code != CURLE_OK && !transfer->words[0])
        snprintf(transfer->words, sizeof transfer->words, "%s", curl_easy_strerror(code));
    transfer->lookup_failed = code == CURLE_COULDNT_RESOLVE_HOST;
    if (code == CURLE_COULDNT_CONNECT)
        say_why_not_connected(transfer);
    end(transfer, failure_of(code));
}

/* NULL: it is not ours any more. */
static struct transfer *find_transfer(struct platform *platform, const CURL *easy)
{
    list_each(node, &platform->active)
    {
        struct transfer *transfer = list_of(node, struct transfer, node);
        if (transfer->easy == easy)
            return transfer;
    }
    return NULL;
}

void platform_take_ended(struct platform *platform)
{
    CURLMsg *message;
    int left;
    while (platform->multi && (message = curl_multi_info_read(platform->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        char *private = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *transfer = private ? (struct transfer *)(void *)private
                                            : find_transfer(platform, message->easy_handle);
        if (transfer && transfer->post && transfer->added)
            finish(transfer, code);
    }
}

/* Ends transfers whose answer's body has not begun within its own limit. */
static void end_awaiting(struct platform *platform, int64_t now)
{
    list_each_safe(node, &platform->awaiting)
    {
        struct transfer *transfer = list_of(node, struct transfer, awaiting_node);
        if (now - transfer->started_ms < transfer->post->answer_timeout_ms)
            continue;
        snprintf(transfer->words, sizeof transfer->words, "no answer within %lld ms",
                 (long long)transfer->post->answer_timeout_ms);
        platform_peer_fails(transfer, CURLE_OPERATION_TIMEDOUT);
        end(transfer, FAILURE_TIMEOUT);
    }
}

/* libcurl knows no limit: it would end a transfer before it reads what came while the process stood
 * still. */
static void end_overdue(struct platform *platform, int64_t now)
{
    list_each_safe(node, &platform->active)
    {
        struct transfer *transfer = list_of(node, struct transfer, node);
        int64_t limit = transfer->post->timeout_ms;
        if (now - transfer->started_ms < limit)
            continue;
        snprintf(transfer->words, sizeof transfer->words, "the limit is %" PRId64 " ms", limit);
        platform_peer_fails(transfer, CURLE_OPERATION_TIMEDOUT);
        end(transfer, FAILURE_TIMEOUT);
    }
}

void platform_goes_on(struct platform *platform)
{
    int64_t now = clock_boot_ms(), stood = now - platform->turned_ms;
    platform->turned_ms = now;
    if (stood < STOOD_STILL_MS)
        return;
    list_each(node, &platform->active)
    {
        struct transfer *transfer = list_of(node, struct transfer, node);
        transfer->started_ms += stood;
        transfer->stood_still = true;
    }
}

/* Whether a transfer has been without a connection for a while. */
static bool any_connects(const struct platform *platform, int64_t now)
{
    list_each(node, &platform->active)
    {
        const struct transfer *transfer = list_of(node, struct transfer, node);
        if (transfer->added && !transfer->has_connection && now - transfer->started_ms >= SWEEP_MS)
            return true;
    }
    return false;
}

static void on_sweep(uv_timer_t *timer)
{
    struct platform *platform = timer->data;
    platform_goes_on(platform);
    int64_t now = clock_boot_ms();
    if (any_connects(platform, now))
        platform_sockets_run_all(platform);
    if (platform->multi_failures)
        platform_sockets_turn(platform);
    if (platform->multi_failures >= MULTI_FAILURES)
        rebuild(platform, "libcurl's multi interface", CURLM_INTERNAL_ERROR);
    end_awaiting(platform, now);
    end_overdue(platform, now);
    if (list_empty(&platform->active))
        uv_timer_stop(timer);
}

/* Returns a transfer that is ready for the post and runs, or one that failed and says why. A handle
 * on which an option has failed is not used again, because a new one may work. */
static struct transfer *take_transfer(struct platform *platform, struct platform_post *post)
{
    enum transfer_use use = post->fetch            ? TRANSFER_FETCH
                            : post->may_bring_file ? TRANSFER_RECORDING
                                                   : TRANSFER_CALL;
    struct list *node = list_take_first(&platform->idle[use]);
    struct transfer *transfer =
        node ? list_of(node, struct transfer, node) : transfer_new(platform, use);
    for (bool again = node;; again = false) {
        transfer->post = post;
        transfer->reconnected = false;
        transfer->started_ms = clock_boot_ms();
        transfer->stood_still = false;
        if (!dial(transfer) || !again)
            return transfer;
        transfer_free(transfer);
        transfer = transfer_new(platform, use);
    }
}

void platform_start(struct platform *platform, struct platform_post *post)
{
    assert(platform->active_count < platform->config->platform_max_in_flight);
    if (list_empty(&platform->active))
        platform->turned_ms = clock_boot_ms(); /* nobody has looked since the last one ended */
    platform_goes_on(platform);                /* before there is one that has not stood still */
    struct transfer *transfer = take_transfer(platform, post);
    list_append(&platform->active, &transfer->node);
    platform->active_count++;
    post->transfer = transfer;
    if (*transfer->fault)
        platform_fail_soon(transfer);
    if (post->answer_timeout_ms > 0 && post->answer_timeout_ms < post->timeout_ms)
        list_append(&platform->awaiting, &transfer->awaiting_node);
    if (!uv_is_active((uv_handle_t *)&platform->sweep))
        uv_timer_start(&platform->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

void platform_resume(struct platform_post *post)
{
    struct transfer *transfer = post->transfer;
    CURLcode code = curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    /* With the second, libcurl reports that it had no memory for the socket. */
    if (code == CURLE_OUT_OF_MEMORY || code == CURLE_ABORTED_BY_CALLBACK)
        is_spent(transfer->platform, "curl_easy_pause", curl_easy_strerror(code));
    if (code != CURLE_OK) /* the bytes that libcurl had kept failed, and libcurl does not end the
                             transfer itself */
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
    if (RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1)
        return;
    log_error("OpenSSL: no memory for the random generators of a thread");
    abort();
}

/* Makes one slot of each use, so that options which this libcurl does not know fail at the
 * start. */
static int first_transfers(struct platform *platform, struct error *error)
{
    for (int use = 0; use < TRANSFER_USES; use++) {
        struct transfer *transfer = transfer_new(platform, (enum transfer_use)use);
        list_append(&platform->idle[use], &transfer->node);
        if (*transfer->fault)
            return error_set(error, "libcurl: %s", transfer->fault);
    }
    return 0;
}

static void init(struct platform *platform, uv_loop_t *loop)
{
    platform->loop = loop;
    for (int use = 0; use < TRANSFER_USES; use++)
        list_init(&platform->idle[use]);
    list_init(&platform->active);
    list_init(&platform->awaiting);
    list_init(&platform->failed);
    platform_sockets_init(platform);
    uv_timer_init(loop, &platform->sweep);
    uv_timer_init(loop, &platform->failing);
    platform->sweep.data = platform->failing.data = platform;
    platform->open_timers = 3;
}

static void tell_connect_limit(const struct config *config)
{
    int64_t limit = config_connect_timeout_ms(config);
    if (limit < config->platform_connect_timeout_ms)
        log_info("platform.connect.timeout.ms (%" PRId64 ") is too long for a session of %" PRId64
                 " ms (kafka.session.timeout.ms), as a call may be sent for half "
                 "of the session only: connecting for a call takes %" PRId64 " ms at most",
                 config->platform_connect_timeout_ms, config->session_timeout_ms, limit);
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
    init(platform, loop);
    platform->config = config;
    platform->events = events;
    platform->argument = argument;
    platform->multi = multi_new(platform, error);
    platform->trust = platform->multi ? platform_trust_load(config, error) : NULL;
    if (platform->trust && !platform_tls_init(error) && !first_transfers(platform, error)) {
        tell_connect_limit(config);
        return platform;
    }
    platform_free(platform);
    return NULL;
}

static void free_idle(struct platform *platform)
{
    struct list *node;
    for (int use = 0; use < TRANSFER_USES; use++)
        while ((node = list_take_first(&platform->idle[use])))
            transfer_free(list_of(node, struct transfer, node));
}

void platform_use_trust(struct platform *platform, struct platform_trust *trust)
{
    trust->generation = ++platform->generation;
    platform_trust_release(platform->trust);
    platform->trust = trust;
    platform->refused_ms = platform->awaited_ms = 0;
    platform->certificate_settled = false;
    free_idle(platform);
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
    free_idle(platform);
    curl_multi_cleanup(
        platform->multi); /* closes the pooled connections, and their watches with them */
    platform_trust_release(platform->trust);
    platform_guard_fini(platform);
    platform_sockets_fini(platform);
    uv_close((uv_handle_t *)&platform->timer, on_timer_closed);
    uv_close((uv_handle_t *)&platform->sweep, on_timer_closed);
    uv_close((uv_handle_t *)&platform->failing, on_timer_closed);
}
