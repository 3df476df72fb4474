#include "io/platform.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"

enum {
    IDLE_SECONDS = 3, /* a pooled connection older than this is not used again */
    DNS_SECONDS = 60,
    UPLOAD_BUFFER = 16384, /* libcurl's least */
    RECEIVE_BUFFER = 1024, /* libcurl's least: allocated for each request, it fits the allocator's
                              thread cache */
    PATIENCE_STEP_MS = 250,
    HEADERS = 4,
};

/* A socket that libcurl waits for. It stays in the loop while its connection idles in the pool,
 * which saves two system calls a request. */
struct watch {
    uv_poll_t poll;
    struct platform *platform;
    curl_socket_t socket;
    int armed; /* libuv's events; 0: none */
    bool pooled, of_connection;
    bool was_read;  /* libcurl has waited for bytes: it is connected */
    int local_port; /* of a connection; 0: not known yet */
};

/* One slot: an easy handle with all that never changes already set. */
struct transfer {
    struct list node; /* in idle or active */
    struct list awaiting_node;
    struct platform *platform;
    CURL *easy;
    struct platform_post *post;
    struct attempt attempt;
    struct curl_slist headers[HEADERS];
    char authorization[1100];
    char words[CURL_ERROR_SIZE];
    int64_t started_ms;
    bool opened;    /* this transfer made its connection itself */
    bool stale;     /* stopped by the guard */
    bool redialled; /* once is enough: a new connection is never stale */
};

struct platform {
    uv_loop_t *loop;
    const struct config *config;
    const struct platform_events *events;
    void *argument;
    CURLM *multi;
    CURLSH *share;       /* TLS sessions */
    uv_timer_t timer;    /* libcurl's */
    uv_timer_t patience; /* looks after answer_timeout_ms */
    int open_timers;
    struct list idle, active, awaiting;
    int64_t active_count;
    struct watch **watches; /* by descriptor */
    size_t watch_count;
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

/* ---- sockets and timers */

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void forget_watch(struct platform *platform, curl_socket_t socket)
{
    struct watch *watch = (size_t)socket < platform->watch_count ? platform->watches[socket] : NULL;
    if (!watch)
        return;
    platform->watches[socket] = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *find_watch(struct platform *platform, curl_socket_t socket)
{
    size_t index = (size_t)socket;
    if (index >= platform->watch_count) {
        size_t count = index + 64;
        platform->watches = memory_resize(platform->watches, count * sizeof(struct watch *));
        memset(platform->watches + platform->watch_count, 0,
               (count - platform->watch_count) * sizeof(struct watch *));
        platform->watch_count = count;
    }
    if (!platform->watches[index]) {
        struct watch *watch = memory_zeroed(1, sizeof *watch);
        watch->platform = platform;
        watch->socket = socket;
        if (uv_poll_init(platform->loop, &watch->poll, socket)) {
            free(watch);
            return NULL;
        }
        watch->poll.data = watch;
        platform->watches[index] = watch;
    }
    return platform->watches[index];
}

static void arm(struct watch *watch, int events);
static void take_ended(struct platform *platform);

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct platform *platform = watch->platform;
    if (watch->pooled) { /* the end of an idle connection, most likely: the guard will see it */
        arm(watch, 0);
        return;
    }
    int flags = 0, running;
    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(platform->multi, watch->socket, flags, &running);
    take_ended(platform);
}

static void arm(struct watch *watch, int events)
{
    if (events == watch->armed)
        return;
    if (events)
        uv_poll_start(&watch->poll, events, on_socket_ready);
    else
        uv_poll_stop(&watch->poll);
    watch->armed = events;
}

/* libcurl: from now on wait for this on that socket. */
static int on_socket_wanted(CURL *easy, curl_socket_t socket, int what, void *argument,
                            void *unused)
{
    (void)easy;
    (void)unused;
    struct platform *platform = argument;
    struct watch *watch = find_watch(platform, socket);
    if (!watch)
        return -1;
    /* One that never was connected is not told of again: libcurl 7.88 closes it by itself. */
    if (what == CURL_POLL_REMOVE && (!watch->of_connection || !watch->was_read)) {
        forget_watch(platform, socket);
        return 0;
    }
    watch->was_read |= what == CURL_POLL_IN || what == CURL_POLL_INOUT;
    watch->pooled = what == CURL_POLL_REMOVE;
    if (what == CURL_POLL_REMOVE)
        arm(watch, watch->armed ? UV_READABLE : 0);
    else
        arm(watch,
            (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0));
    return 0;
}

static curl_socket_t on_socket_open(void *argument, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
    (void)purpose;
    struct transfer *transfer = argument;
    int type = address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK;
    curl_socket_t made = socket(address->family, type, address->protocol);
    if (made == -1)
        return CURL_SOCKET_BAD;
    transfer->opened = true;
    struct watch *watch = find_watch(transfer->platform, made);
    if (watch)
        watch->of_connection = true;
    return made;
}

static int on_socket_close(void *argument, curl_socket_t socket)
{
    forget_watch(argument, socket);
    return close(socket);
}

static void on_timer(uv_timer_t *timer)
{
    struct platform *platform = timer->data;
    int running;
    curl_multi_socket_action(platform->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_ended(platform);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *argument)
{
    (void)multi;
    struct platform *platform = argument;
    if (timeout_ms < 0)
        uv_timer_stop(&platform->timer);
    else
        uv_timer_start(&platform->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ---- one transfer */

/* The local port of a connection's socket; 0: it has none yet. */
static int port_of(struct watch *watch)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (watch->local_port || getsockname(watch->socket, (struct sockaddr *)&address, &size))
        return watch->local_port;
    if (address.ss_family == AF_INET)
        watch->local_port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    else if (address.ss_family == AF_INET6)
        watch->local_port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return watch->local_port;
}

/* Whether something waits on a connection on which nothing may: an answer nobody asked for, or its
 * end. libcurl does not tell the socket of a connection that it is about to use again
 * (CURLINFO_ACTIVESOCKET: none yet), so it is found by its local port. One that is not found counts
 * as stale: a new connection is always right. */
static bool has_gone_stale(struct platform *platform, int local_port)
{
    bool found = false, stale = false;
    for (size_t i = 0; i < platform->watch_count; i++) {
        struct watch *watch = platform->watches[i];
        char byte;
        if (!watch || !watch->of_connection || port_of(watch) != local_port)
            continue;
        ssize_t n = recv(watch->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        found = true;
        stale |= n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    }
    return !found || stale;
}

/* libcurl is connected and about to send. */
static int before_sending(void *argument, char *remote_ip, char *local_ip, int remote_port,
                          int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    struct transfer *transfer = argument;
    struct attempt *attempt = &transfer->attempt;
    if (attempt->sends > 0)
        attempt->latched = true;
    else if (!transfer->opened && has_gone_stale(transfer->platform, local_port))
        transfer->stale = true;
    else if (clock_boot_ms() > *transfer->post->lease_until_ms)
        attempt->lease_over = true;
    else {
        attempt->sends++;
        return CURL_PREREQFUNC_OK;
    }
    return CURL_PREREQFUNC_ABORT;
}

/* The header's value when the line is that header: spaces around it are cut. NULL otherwise. */
static const char *header_value(const char *line, size_t size, const char *name, size_t *value_size)
{
    size_t n = strlen(name);
    if (size <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return NULL;
    const char *from = line + n + 1, *to = line + size;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == '\r' || to[-1] == '\n' || to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *value_size = (size_t)(to - from);
    return from;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HTTP/x.y NNN: a final status is kept, an interim one (1xx) is not an answer. */
static void read_status(struct attempt *attempt, const char *line, size_t size)
{
    const char *space = memchr(line, ' ', size);
    if (!space || line + size - space < 4 || !is_digit(space[1]) || !is_digit(space[2]) ||
        !is_digit(space[3]))
        return;
    int status = (space[1] - '0') * 100 + (space[2] - '0') * 10 + (space[3] - '0');
    attempt->http_status = status >= 200 ? status : 0;
    attempt->content_type[0] = '\0';
    attempt->retry_after_ms = -1;
}

static void read_retry_after(struct attempt *attempt, const char *value, size_t size)
{
    int64_t seconds = 0;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(value[i]) || i > 8)
            return; /* a date, or nonsense */
        seconds = seconds * 10 + (value[i] - '0');
    }
    if (size)
        attempt->retry_after_ms = seconds * 1000;
}

static size_t on_header(char *line, size_t one, size_t size, void *argument)
{
    struct attempt *attempt = &((struct transfer *)argument)->attempt;
    const char *value;
    size_t value_size;
    if (size >= 5 && memcmp(line, "HTTP/", 5) == 0)
        read_status(attempt, line, size);
    else if ((value = header_value(line, size, "Content-Type", &value_size)))
        snprintf(attempt->content_type, sizeof attempt->content_type, "%.*s",
                 (int)(value_size < 127 ? value_size : 127), value);
    else if ((value = header_value(line, size, "Retry-After", &value_size)))
        read_retry_after(attempt, value, value_size);
    return one * size;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *argument)
{
    struct transfer *transfer = argument;
    struct platform *platform = transfer->platform;
    list_remove(&transfer->awaiting_node);
    if (platform->events->body(platform->argument, transfer->post, &transfer->attempt, bytes, size))
        return one * size;
    transfer->attempt.too_large = true;
    return 0;
}

static void must(CURLcode code)
{
    if (code != CURLE_OK)
        abort(); /* an option that this libcurl does not know: no version that may be used */
}

static void set_trust(CURL *easy, const struct config *config)
{
    must(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L));
    must(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L));
    must(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    /* libcurl parses the authorities once, not for each connection, but only without a CAPATH. */
    const char *system = curl_version_info(CURLVERSION_NOW)->cainfo;
    const char *file = config->platform_ca_file ? config->platform_ca_file : system;
    if (!file)
        return;
    must(curl_easy_setopt(easy, CURLOPT_CAINFO, file));
    must(curl_easy_setopt(easy, CURLOPT_CAPATH, NULL));
}

static void set_http(CURL *easy, const struct config *config)
{
    const char *protocols = config->platform_allow_http ? "http,https" : "https";
    must(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols));
    must(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    must(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    must(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    must(curl_easy_setopt(easy, CURLOPT_USERAGENT, "privacy-call-worker/" PCW_VERSION));
    must(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
    must(curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"));
    must(curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
    must(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    must(curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L));
    must(curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS));
    must(curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_SECONDS));
    must(curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER));
    must(curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER));
    must(curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                          (long)config->platform_connect_timeout_ms));
}

static void set_callbacks(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    must(curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer));
    must(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->words));
    must(curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_sending));
    must(curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer));
    must(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header));
    must(curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer));
    must(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    must(curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer));
    must(curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket_open));
    must(curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer));
    must(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close));
    must(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->platform));
    must(curl_easy_setopt(easy, CURLOPT_SHARE, transfer->platform->share));
}

/* The list that libcurl reads stands in the transfer itself; only Authorization changes. */
static void set_headers(struct transfer *transfer)
{
    static char accept[] = "Accept: application/json",
                content_type[] = "Content-Type: application/json;charset=utf-8",
                expect[] = "Expect:"; /* none: it would cost a round trip */
    char *lines[HEADERS] = {accept, content_type, transfer->authorization, expect};
    for (int i = 0; i < HEADERS; i++) {
        transfer->headers[i].data = lines[i];
        transfer->headers[i].next = i + 1 < HEADERS ? &transfer->headers[i + 1] : NULL;
    }
    must(curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers));
}

static struct transfer *transfer_new(struct platform *platform)
{
    struct transfer *transfer = memory_zeroed(1, sizeof *transfer);
    list_init(&transfer->node);
    list_init(&transfer->awaiting_node);
    transfer->platform = platform;
    transfer->easy = memory_must(curl_easy_init());
    set_http(transfer->easy, platform->config);
    set_trust(transfer->easy, platform->config);
    set_callbacks(transfer);
    set_headers(transfer);
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}

/* ---- starting and ending */

static void dial(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    int64_t left = transfer->started_ms + transfer->post->timeout_ms - clock_boot_ms();
    transfer->attempt = (struct attempt){.retry_after_ms = -1};
    transfer->opened = transfer->stale = false;
    transfer->words[0] = '\0';
    must(curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long)(left > 1 ? left : 1)));
    must(curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, transfer->redialled ? 1L : 0L));
    if (curl_multi_add_handle(platform->multi, transfer->easy) != CURLM_OK)
        abort();
}

static void release(struct transfer *transfer)
{
    struct platform *platform = transfer->platform;
    list_remove(&transfer->awaiting_node);
    list_remove(&transfer->node);
    list_prepend(&platform->idle, &transfer->node);
    transfer->post = NULL;
    platform->active_count--;
}

static void end(struct transfer *transfer, enum attempt_failure failure)
{
    struct platform *platform = transfer->platform;
    struct platform_post *post = transfer->post;
    struct attempt attempt = transfer->attempt;
    attempt.failure = failure;
    attempt.complete = failure == FAILURE_NONE;
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

static void take_ended(struct platform *platform)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(platform->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        char *transfer;
        must(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer));
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
    struct list *node = list_take_first(&platform->idle);
    struct transfer *transfer =
        node ? list_of(node, struct transfer, node) : transfer_new(platform);
    list_append(&platform->active, &transfer->node);
    platform->active_count++;
    transfer->post = post;
    post->transfer = transfer;
    transfer->redialled = false;
    transfer->started_ms = clock_boot_ms();
    snprintf(transfer->authorization, sizeof transfer->authorization, "Authorization: %s",
             post->authorization);
    must(curl_easy_setopt(transfer->easy, CURLOPT_URL, post->url));
    must(curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, post->body));
    must(curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE, (long)post->body_size));
    if (post->answer_timeout_ms > 0 && post->answer_timeout_ms < post->timeout_ms) {
        list_append(&platform->awaiting, &transfer->awaiting_node);
        if (!uv_is_active((uv_handle_t *)&platform->patience))
            uv_timer_start(&platform->patience, on_patience, PATIENCE_STEP_MS, PATIENCE_STEP_MS);
    }
    dial(transfer);
}

void platform_stop(struct platform *platform)
{
    while (!list_empty(&platform->active))
        end(list_of(platform->active.next, struct transfer, node), FAILURE_STOPPED);
}

static void set_multi(struct platform *platform)
{
    CURLM *multi = platform->multi;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, platform);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, platform);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)platform->config->platform_max_in_flight);
    curl_share_setopt(platform->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
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
    list_init(&platform->idle);
    list_init(&platform->active);
    list_init(&platform->awaiting);
    uv_timer_init(loop, &platform->timer);
    uv_timer_init(loop, &platform->patience);
    platform->timer.data = platform->patience.data = platform;
    platform->open_timers = 2;
    platform->multi = memory_must(curl_multi_init());
    platform->share = memory_must(curl_share_init());
    set_multi(platform);
    return platform;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct platform *platform = handle->data;
    if (--platform->open_timers > 0)
        return;
    free(platform->watches);
    free(platform);
    curl_global_cleanup();
}

void platform_free(struct platform *platform)
{
    if (!platform)
        return;
    assert(list_empty(&platform->active));
    struct list *node;
    while ((node = list_take_first(&platform->idle)))
        transfer_free(list_of(node, struct transfer, node));
    curl_multi_cleanup(platform->multi); /* closes the pooled connections, and so their watches */
    curl_share_cleanup(platform->share);
    for (size_t i = 0; i < platform->watch_count; i++)
        forget_watch(platform, (curl_socket_t)i);
    uv_close((uv_handle_t *)&platform->timer, on_timer_closed);
    uv_close((uv_handle_t *)&platform->patience, on_timer_closed);
}
