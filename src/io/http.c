#include "io/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/condition.h"
#include "base/list.h"
#include "base/memory.h"
#include "io/http_host.h"
#include "io/http_target.h"

enum {
    CONNECTIONS = 32, /* for one more, the connection that has been idle for longest is closed */
    LEAVING = 8,      /* in addition: connections that are being closed */
    IDLE_SECONDS = 10,
    CONNECTION_BYTES = 16384, /* memory for the head of a request and of its answer */
    BACKLOG = 64,
    STACK_BYTES = 256 * 1024,
    ENDING_MS = 2000, /* at most, for the connections' end when the server ends */
};

struct http {
    const struct http_handler *handler;
    void *argument;
    struct http_hosts *hosts;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* for what follows, up to the address */
    pthread_cond_t left;  /* open is 0 */
    struct list visitors; /* by the end of their last request, or else by their start */
    unsigned visitor_count;
    unsigned open; /* connections: visitors and those that are being closed */
    bool arriving; /* a connection has been let in, and is not open yet */
    bool ending;   /* no connection is let in */
    char address[NI_MAXHOST + NI_MAXSERV + 4];
};

/* ---- connections. The server's thread, but for the last function. Silent or slow clients must not
 * keep others out: a probe that waits counts as failed. */

struct visitor {
    struct list node; /* in no list while it is being closed */
    int fd;
};

/* The callers of these two hold the lock. */
static void forget(struct http *http, struct visitor *visitor)
{
    list_remove(&visitor->node);
    http->visitor_count--;
}

static void hang_up(struct http *http, struct visitor *visitor)
{
    forget(http, visitor);
    shutdown(visitor->fd, SHUT_RDWR); /* the library then closes it */
}

static enum MHD_Result on_arrival(void *argument, const struct sockaddr *address, socklen_t size)
{
    struct http *http = argument;
    (void)address, (void)size;
    pthread_mutex_lock(&http->lock);
    http->arriving = !http->ending;
    enum MHD_Result let_in = http->ending ? MHD_NO : MHD_YES;
    pthread_mutex_unlock(&http->lock);
    return let_in;
}

static void came(struct http *http, struct visitor *visitor)
{
    pthread_mutex_lock(&http->lock);
    if (http->visitor_count == CONNECTIONS)
        hang_up(http, list_of(http->visitors.next, struct visitor, node));
    list_append(&http->visitors, &visitor->node);
    http->visitor_count++;
    http->open++;
    http->arriving = false;
    if (http->ending)
        hang_up(http, visitor);
    pthread_mutex_unlock(&http->lock);
}

static void went(struct http *http, struct visitor *visitor)
{
    pthread_mutex_lock(&http->lock);
    if (list_linked(&visitor->node))
        forget(http, visitor);
    if (!--http->open)
        pthread_cond_signal(&http->left);
    pthread_mutex_unlock(&http->lock);
    free(visitor);
}

static void on_connection(void *argument, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct visitor *visitor = *context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        went(argument, visitor);
        return;
    }
    *context = visitor = memory_zeroed(1, sizeof *visitor);
    visitor->fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    came(argument, visitor);
}

static void on_end(void *argument, struct MHD_Connection *connection, void **seen,
                   enum MHD_RequestTerminationCode how)
{
    struct http *http = argument;
    struct visitor *visitor =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    free(*seen);
    *seen = NULL;
    if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        return;
    pthread_mutex_lock(&http->lock);
    if (list_linked(&visitor->node)) {
        list_remove(&visitor->node);
        list_append(&http->visitors, &visitor->node);
    }
    pthread_mutex_unlock(&http->lock);
}

/* Closes all connections and waits for it. Main thread. The library must be ended without any: a
 * malformed request that it reads while it is being ended makes it crash (0.9.75). */
static void clear(struct http *http)
{
    struct timespec until = condition_deadline(ENDING_MS);
    int rc = 0;
    pthread_mutex_lock(&http->lock);
    http->ending = true;
    while (!list_empty(&http->visitors))
        hang_up(http, list_of(http->visitors.next, struct visitor, node));
    while ((http->open || http->arriving) && !rc)
        rc = pthread_cond_timedwait(&http->left, &http->lock, &until);
    pthread_mutex_unlock(&http->lock);
}

/* ---- answers. Server's thread. */

/* Whether the client has the content already (If-None-Match). */
static bool has_it(struct MHD_Connection *connection, const char *etag)
{
    const char *known =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
    return known && (strstr(known, etag) || !strcmp(known, "*"));
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct http_answer *answer)
{
    if (answer->status == 200 && answer->etag && has_it(connection, answer->etag)) {
        answer->status = 304;
        text_fini(&answer->body);
    }
    size_t size = answer->body.length;
    struct MHD_Response *response = memory_must(
        MHD_create_response_from_buffer(size, text_take(&answer->body), MHD_RESPMEM_MUST_FREE));
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    MHD_add_response_header(response, "Cache-Control", answer->etag ? "no-cache" : "no-store");
    if (answer->etag)
        MHD_add_response_header(response, "ETag", answer->etag);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'self'; style-src 'self'; "
                            "img-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
                            "base-uri 'none'; form-action 'none'");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    if (answer->status == 405)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (answer->status == 400 || answer->status == 405 || answer->status == 421)
        MHD_add_response_header(response, "Connection", "close"); /* a body may follow */
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_short(struct MHD_Connection *connection, int status, const char *words)
{
    struct http_answer answer = {.status = status, .content_type = "text/plain; charset=utf-8"};
    text_add(&answer.body, words);
    return send_answer(connection, &answer);
}

/* A request, from its first line to its end. */
struct asked {
    bool head_seen;
    const char *at; /* where the target stands in the library's buffer */
    size_t size;    /* length of the target up to the first NUL */
    char target[];
};

/* Called with a request's first line, before it is decoded. */
static void *on_line(void *argument, const char *target, struct MHD_Connection *connection)
{
    (void)argument, (void)connection;
    size_t size = target ? strlen(target) : 0;
    struct asked *asked = memory_zeroed(1, sizeof *asked + size + 1);
    asked->at = target;
    asked->size = size;
    if (size)
        memcpy(asked->target, target, size);
    return asked;
}

struct headers {
    const char *host;
    size_t host_size;
    unsigned hosts;
    bool body;
};

static enum MHD_Result take_header(void *argument, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t size)
{
    struct headers *headers = argument;
    (void)kind, (void)name_size;
    if (!strcasecmp(name, "Host")) {
        headers->hosts++;
        headers->host = value ? value : "";
        headers->host_size = value ? size : 0;
    } else if (!strcasecmp(name, "Transfer-Encoding") ||
               (!strcasecmp(name, "Content-Length") && value && strcmp(value, "0") != 0)) {
        headers->body = true;
    }
    return MHD_YES;
}

/* Checks whether the request is addressed to this server. Returns 0, or the status of the error. */
static int check_host(const struct http *http, const struct headers *headers,
                      const struct http_target *target, const char *version)
{
    if (headers->hosts > 1 || (!headers->hosts && strcmp(version, MHD_HTTP_VERSION_1_0) != 0))
        return 400;
    if (target && target->other_scheme)
        return 421;
    enum http_host verdict = HTTP_HOST_TAKEN; /* HTTP/1.0 without Host: a simple probe */
    if (target && target->authority)
        verdict = http_hosts_check(http->hosts, target->authority, target->authority_size);
    else if (headers->hosts)
        verdict = http_hosts_check(http->hosts, headers->host, headers->host_size);
    return verdict == HTTP_HOST_TAKEN ? 0 : verdict == HTTP_HOST_FOREIGN ? 421 : 400;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, int status)
{
    return send_short(connection, status,
                      status == 421   ? "this name is not served here: http.hosts lists those that "
                                        "are, beside addresses, localhost and the host name with "
                                        "the port listened on\n"
                      : status == 405 ? "only GET and HEAD\n"
                                      : "malformed request\n");
}

static enum MHD_Result answer_target(struct http *http, struct MHD_Connection *connection,
                                     const struct headers *headers, const char *text,
                                     const char *version)
{
    struct http_target target;
    if (http_target_read(&target, text) < 0)
        return refuse(connection, 400);
    enum MHD_Result result;
    struct http_answer answer = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    int wrong = check_host(http, headers, &target, version);
    if (!wrong && headers->body)
        wrong = 400; /* a GET with a body: no client of this server sends one */
    if (wrong) {
        result = refuse(connection, wrong);
    } else if (http->handler->render(http->argument, target.path, &answer)) {
        result = send_answer(connection, &answer);
    } else {
        text_fini(&answer.body);
        result = send_short(connection, 404, "not found\n");
    }
    free(target.path);
    return result;
}

/* Called when a request's head has arrived, and at the request's end. A request is refused at once,
 * before its body. */
static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **seen)
{
    struct http *http = argument;
    struct asked *asked = *seen;
    struct headers headers = {0};
    (void)url, (void)upload;
    if (*upload_size || !asked)
        return MHD_NO; /* refused before */
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take_header, &headers);
    /* The version follows the end of the target; if it does not, the target contains a NUL. */
    if (version != asked->at + asked->size + 1 || !http_target_is_clean(asked->target))
        return refuse(connection, 400);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        int wrong = check_host(http, &headers, NULL, version);
        return refuse(connection, wrong == 400 ? 400 : 405);
    }
    if (!headers.body && !asked->head_seen) {
        asked->head_seen = true;
        return MHD_YES;
    }
    return answer_target(http, connection, &headers, asked->target, version);
}

/* ---- the socket. Main thread. */

/* Splits host:port, without the brackets of an IPv6 address. Returns 0 or -1. */
static int split(const char *listen, char host[NI_MAXHOST], const char **port)
{
    const char *colon = strrchr(listen, ':');
    const char *end = colon;
    const char *start = listen;
    if (!colon || colon == listen)
        return -1;
    if (*start == '[') {
        start++;
        if (*--end != ']')
            return -1;
    }
    *port = colon + 1;
    return snprintf(host, NI_MAXHOST, "%.*s", (int)(end - start), start) < NI_MAXHOST ? 0 : -1;
}

/* Returns the socket, or -1 with errno. */
static int listen_on(const struct addrinfo *address)
{
    const int yes = 1;
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    address->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* The remedy if the server cannot listen on the address. */
static const char *hint(int why)
{
    if (why == EADDRINUSE)
        return "; give this worker a port of its own with http.listen (127.0.0.1:0: one that is "
               "free), or no page with an empty http.listen";
    if (why == EADDRNOTAVAIL)
        return "; http.listen must be an address of this machine (0.0.0.0: each of them)";
    if (why == EACCES)
        return "; give http.listen a port from 1024 up, or the process CAP_NET_BIND_SERVICE";
    return "";
}

static int open_socket(const char *listen, struct error *error)
{
    char host[NI_MAXHOST];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    if (split(listen, host, &port) < 0)
        return error_set(error, "http.listen: %s is not host:port", listen);
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc)
        return error_set(error, "http.listen: cannot find the address %s: %s", listen,
                         rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    int fd = -1;
    for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = listen_on(at);
    if (fd < 0)
        error_set(error, "http.listen: cannot listen on %s: %s%s", listen, strerror(errno),
                  hint(errno));
    freeaddrinfo(list);
    return fd;
}

/* Stores the address, and returns the port. */
static unsigned note_address(struct http *http, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    bool brackets = strchr(host, ':');
    snprintf(http->address, sizeof http->address, "%s%s%s:%s", brackets ? "[" : "", host,
             brackets ? "]" : "", port);
    return (unsigned)strtoul(port, NULL, 10);
}

static void release(struct http *http)
{
    pthread_cond_destroy(&http->left);
    pthread_mutex_destroy(&http->lock);
    http_hosts_free(http->hosts);
    free(http);
}

struct http *http_new(const char *listen, const char *hosts, const struct http_handler *handler,
                      void *argument, struct error *error)
{
    int fd = open_socket(listen, error);
    if (fd < 0)
        return NULL;
    struct http *http = memory_zeroed(1, sizeof *http);
    http->handler = handler;
    http->argument = argument;
    list_init(&http->visitors);
    pthread_mutex_init(&http->lock, NULL);
    condition_init(&http->left);
    http->hosts = http_hosts_new(listen, note_address(http, fd), hosts);
    /* From 1.0 on the library redirects targets with white space, unless it is strict. Before 1.0 a
     * strict library closes the connection without an answer. */
    int strict = *MHD_get_version() != '0';
    /* Not epoll: with epoll the library does not notice that a client has gone in the middle of a
     * request until the idle limit, and such connections fill its table. */
    http->daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC, 0, on_arrival, http, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(CONNECTIONS + LEAVING), MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, http, MHD_OPTION_URI_LOG_CALLBACK, on_line, http,
        MHD_OPTION_STRICT_FOR_CLIENT, strict, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_BYTES, MHD_OPTION_END);
    if (http->daemon)
        return http;
    error_set(error, "http.listen: the server cannot be started: %s", strerror(errno));
    close(fd);
    release(http);
    return NULL;
}

const char *http_address(const struct http *http)
{
    return http->address;
}

void http_free(struct http *http)
{
    if (!http)
        return;
    clear(http);
    MHD_stop_daemon(http->daemon); /* closes the socket, too */
    release(http);
}
