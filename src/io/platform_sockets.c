/* curl_multi_socket_all is deprecated, but no other call runs a transfer that waits for nothing. */
#define CURL_DISABLE_DEPRECATION
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/address.h"
#include "io/platform_internal.h"

enum {
    REFUSAL_MIN_MS = 50,
    REFUSAL_MAX_MS = 400,
    ALERT_MAX = 32, /* largest record of an encrypted alert, in bytes */
};

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
    list_remove(&watch->port_node);
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

/* NULL: the loop cannot wait for it. */
static struct watch *find_watch(struct platform *platform, curl_socket_t socket)
{
    size_t index = (size_t)socket;
    if (index >= platform->watch_count) {
        size_t count = index + 64;
        platform->watches =
            memory_extend(platform->watches, platform->watch_count, count, sizeof(struct watch *));
        platform->watch_count = count;
    }
    if (!platform->watches[index]) {
        struct watch *watch = memory_zeroed(1, sizeof *watch);
        watch->platform = platform;
        watch->socket = socket;
        watch->made_ms = clock_boot_ms();
        list_init(&watch->port_node);
        if (uv_poll_init(platform->loop, &watch->poll, socket)) {
            free(watch);
            return NULL;
        }
        watch->poll.data = watch;
        platform->watches[index] = watch;
    }
    return platform->watches[index];
}

static void act(struct platform *platform, curl_socket_t socket, int flags)
{
    int running;
    if (!platform_multi_works(platform))
        return;
    platform_goes_on(platform);
    CURLMcode code = curl_multi_socket_action(platform->multi, socket, flags, &running);
    platform_guard_end();
    platform_multi_result(platform, "curl_multi_socket_action", code);
    platform_take_ended(platform);
}

static void arm(struct watch *watch, int events);

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct platform *platform = watch->platform;
    if (watch->pooled) { /* probably the end of an idle connection, which the check before its next
                            use finds */
        arm(watch, 0);
        return;
    }
    int flags = 0;
    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(platform, watch->socket, flags);
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

/* 0: none. */
static ino_t inode_of(curl_socket_t socket)
{
    struct stat status;
    return fstat(socket, &status) ? 0 : status.st_ino;
}

/* Whether the socket is connected, or was until its peer closed it. libcurl 7.88 closes the sockets
 * of addresses that have lost before it says so: by then another thread may have the number, and
 * libuv aborts if it is to wait for a descriptor that this thread closes. */
static bool is_connected(struct watch *watch)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (!watch->connected)
        watch->connected = watch->inode && inode_of(watch->socket) == watch->inode &&
                           getpeername(watch->socket, (struct sockaddr *)&address, &size) == 0;
    return watch->connected;
}

/* The transfer of an easy handle; NULL: it is not ours. */
static struct transfer *transfer_of(CURL *easy)
{
    char *transfer = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer) != CURLE_OK)
        return NULL;
    return (struct transfer *)(void *)transfer;
}

/* libcurl waits for bytes only. On a new connection these are those of TLS: TCP is up.
 * (libcurl 8.14 does not report the address before the end of TLS.) */
static void note_tls(struct transfer *transfer, const struct watch *watch)
{
    if (!transfer || !transfer->opened || transfer->has_connection)
        return;
    transfer->in_tls = true;
    transfer->peer = watch->peer;
}

/* libcurl's request to watch a socket for these events. Returning an error would end all
 * transfers. */
static int on_socket_wanted(CURL *easy, curl_socket_t socket, int what, void *argument,
                            void *unused)
{
    (void)unused;
    struct platform *platform = argument;
    struct watch *watch = find_watch(platform, socket);
    struct transfer *transfer = watch ? NULL : transfer_of(easy);
    if (transfer && transfer->post) {
        transfer_fault(transfer, "uv_poll_init", strerror(errno));
        platform_fail_soon(transfer);
    }
    if (!watch)
        return 0;
    if (what == CURL_POLL_IN && watch->of_connection)
        note_tls(transfer_of(easy), watch);
    /* libcurl 7.88 closes a socket that was never connected without reporting it again. The watch
     * of a connection stays, whatever libcurl wants of it now, because 8.14 removes those, too. */
    if (what == CURL_POLL_REMOVE && (!watch->of_connection || !is_connected(watch))) {
        forget_watch(platform, socket);
        return 0;
    }
    watch->pooled = what == CURL_POLL_REMOVE;
    if (what == CURL_POLL_REMOVE)
        arm(watch, watch->armed ? UV_READABLE : 0);
    else
        arm(watch,
            (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0));
    return 0;
}

curl_socket_t platform_socket_open(void *argument, curlsocktype purpose,
                                   struct curl_sockaddr *address)
{
    (void)purpose;
    struct transfer *transfer = argument;
    if (transfer->use == TRANSFER_FETCH &&
        !transfer->platform->config->recording_url_allow_private &&
        !address_is_public(&address->addr)) {
        transfer->attempt.address_refused = true;
        return CURL_SOCKET_BAD;
    }
    struct peer peer = platform_peer(address);
    if (platform_passes_over(transfer, &peer))
        return CURL_SOCKET_BAD;
    int type = address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK;
    curl_socket_t made = socket(address->family, type, address->protocol);
    if (made == -1) {
        transfer->open_error = errno;
        return CURL_SOCKET_BAD;
    }
    transfer->opened = true;
    transfer->reopened = transfer->attempt.sends > 0;
    forget_watch(transfer->platform, made); /* of a socket that libcurl closed without notice */
    struct watch *watch = find_watch(transfer->platform, made);
    if (watch) {
        ports_add(&transfer->platform->ports, watch);
        watch->generation = transfer->trust->generation;
        watch->peer = peer;
        watch->inode = inode_of(made);
    }
    return made;
}

int platform_socket_close(void *argument, curl_socket_t socket)
{
    forget_watch(argument, socket);
    platform_guard_closed(socket);
    return close(socket);
}

void platform_sockets_turn(struct platform *platform)
{
    act(platform, CURL_SOCKET_TIMEOUT, 0);
}

static void on_timer(uv_timer_t *timer)
{
    platform_sockets_turn(timer->data);
}

void platform_sockets_run_all(struct platform *platform)
{
    int running;
    if (!platform_multi_works(platform))
        return;
    platform_goes_on(platform);
    CURLMcode code = curl_multi_socket_all(platform->multi, &running);
    platform_guard_end();
    platform_multi_result(platform, "curl_multi_socket_all", code);
    platform_take_ended(platform);
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

/* Whether bytes, or the end, can be read from the socket. */
static bool is_readable(const struct watch *watch)
{
    char byte;
    ssize_t n = recv(watch->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static bool is_stale(const struct watch *watch, const struct transfer *transfer)
{
    int64_t max_age = transfer->platform->config->platform_connection_max_age_ms;
    if (watch->not_reusable)
        return true;
    /* A new connection that uses TLS may have a session's ticket waiting. */
    if (transfer->opened)
        return strncmp(transfer->post->url, "https:", 6) != 0 && is_readable(watch);
    return watch->generation != transfer->trust->generation ||
           clock_boot_ms() - watch->made_ms >= max_age || is_readable(watch);
}

bool platform_has_gone_stale(struct transfer *transfer, int local_port)
{
    bool found = false, stale = platform_tls_pending(transfer);
    ports_each(watch, &transfer->platform->ports, local_port)
    {
        found = true;
        stale |= is_stale(watch, transfer);
    }
    return stale || !(found || transfer->opened);
}

/* The time of a few round trips, in ms. */
static int deadline_of(const struct watch *watch)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(watch->socket, IPPROTO_TCP, TCP_INFO, &info, &size))
        return REFUSAL_MIN_MS;
    int wait = REFUSAL_MIN_MS + (int)(info.tcpi_rtt / 1000) * 4;
    return wait < REFUSAL_MAX_MS ? wait : REFUSAL_MAX_MS;
}

/* The first input is the end, an alert, or a ticket. The length of an encrypted record tells alerts
 * from tickets. */
static bool refuses(const struct watch *watch)
{
    unsigned char record[5];
    struct pollfd ready = {.fd = watch->socket, .events = POLLIN};
    if (poll(&ready, 1, deadline_of(watch)) <= 0)
        return false;
    ssize_t n = recv(watch->socket, record, sizeof record, MSG_PEEK | MSG_DONTWAIT);
    return n <= 0 || (n == sizeof record && (record[3] << 8 | record[4]) <= ALERT_MAX);
}

bool platform_socket_refuses(struct platform *platform, int local_port)
{
    ports_each(watch, &platform->ports, local_port)
    {
        if (refuses(watch))
            return true;
    }
    return false;
}

void platform_socket_not_reusable(struct platform *platform, int local_port)
{
    ports_each(watch, &platform->ports, local_port)
    {
        watch->not_reusable = true;
    }
}

CURLMcode platform_sockets_tie(struct platform *platform, CURLM *multi)
{
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    if (!code)
        code = curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, platform);
    if (!code)
        code = curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    if (!code)
        code = curl_multi_setopt(multi, CURLMOPT_TIMERDATA, platform);
    return code;
}

void platform_sockets_init(struct platform *platform)
{
    uv_timer_init(platform->loop, &platform->timer);
    platform->timer.data = platform;
    ports_init(&platform->ports);
}

void platform_sockets_forget(struct platform *platform)
{
    for (size_t i = 0; i < platform->watch_count; i++)
        forget_watch(platform, (curl_socket_t)i);
}

void platform_sockets_fini(struct platform *platform)
{
    platform_sockets_forget(platform);
    free(platform->watches);
}
