#include "io/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/memory.h"

enum {
    CONNECTIONS = 32, /* for one more, that which has asked for nothing for longest is hung up on */
    LEAVING = 8,      /* beside them, such as have been hung up on */
    IDLE_SECONDS = 10,
    CONNECTION_BYTES = 16384, /* for a request's head and the answer's */
    BACKLOG = 64,
    STACK_BYTES = 256 * 1024,
};

struct http {
    const struct http_handler *handler;
    void *argument;
    struct MHD_Daemon *daemon;
    struct list visitors; /* by their last request's end, or else their start; server's thread */
    unsigned visitor_count;
    char address[NI_MAXHOST + NI_MAXSERV + 4];
};

/* ---- connections. Server's thread.
 * Nobody is kept out by others that are silent or slow: a probe that waited would be taken for one
 * that failed. */

struct visitor {
    struct list node; /* in none once hung up on */
    struct MHD_Connection *connection;
};

static void forget(struct http *http, struct visitor *visitor)
{
    list_remove(&visitor->node);
    http->visitor_count--;
}

static void hang_up(struct http *http, struct visitor *visitor)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(visitor->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    forget(http, visitor);
    shutdown(info->connect_fd, SHUT_RDWR); /* the library then closes it */
}

static void on_connection(void *argument, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = argument;
    struct visitor *visitor = *context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (list_linked(&visitor->node))
            forget(http, visitor);
        free(visitor);
        return;
    }
    if (http->visitor_count == CONNECTIONS)
        hang_up(http, list_of(http->visitors.next, struct visitor, node));
    *context = visitor = memory_zeroed(1, sizeof *visitor);
    visitor->connection = connection;
    list_append(&http->visitors, &visitor->node);
    http->visitor_count++;
}

static void on_end(void *argument, struct MHD_Connection *connection, void **seen,
                   enum MHD_RequestTerminationCode how)
{
    struct http *http = argument;
    struct visitor *visitor =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    (void)seen;
    if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK || !list_linked(&visitor->node))
        return;
    list_remove(&visitor->node);
    list_append(&http->visitors, &visitor->node);
}

/* ---- answers. Server's thread. */

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct http_answer *answer)
{
    size_t size = answer->body.length;
    struct MHD_Response *response = memory_must(
        MHD_create_response_from_buffer(size, text_take(&answer->body), MHD_RESPMEM_MUST_FREE));
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; style-src 'unsafe-inline'; "
                            "script-src 'unsafe-inline'; connect-src 'self'; "
                            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
    if (answer->status == 405) {
        MHD_add_response_header(response, "Allow", "GET, HEAD");
        MHD_add_response_header(response, "Connection", "close"); /* a body may follow */
    }
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

/* Called when a request's head is there (*seen is NULL), with its body, and at its end. */
static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **seen)
{
    struct http *http = argument;
    (void)version;
    (void)upload;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return send_short(connection, 405, "only GET and HEAD\n");
    if (*upload_size)
        return MHD_NO; /* a GET with a body: not from anyone whom this is for */
    if (!*seen) {
        *seen = http;
        return MHD_YES;
    }
    struct http_answer answer = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    if (http->handler->render(http->argument, url, &answer))
        return send_answer(connection, &answer);
    text_fini(&answer.body);
    return send_short(connection, 404, "not found\n");
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
        error_set(error, "http.listen: cannot listen on %s: %s", listen, strerror(errno));
    freeaddrinfo(list);
    return fd;
}

static void note_address(struct http *http, int fd)
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
}

struct http *http_new(const char *listen, const struct http_handler *handler, void *argument,
                      struct error *error)
{
    int fd = open_socket(listen, error);
    if (fd < 0)
        return NULL;
    struct http *http = memory_zeroed(1, sizeof *http);
    http->handler = handler;
    http->argument = argument;
    list_init(&http->visitors);
    note_address(http, fd);
    /* Not epoll: by that the library does not notice, until they are idle for too long, connections
     * whose other side has gone in the middle of a request, and they fill its table. */
    http->daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(CONNECTIONS + LEAVING), MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, http, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES, MHD_OPTION_END);
    if (http->daemon)
        return http;
    error_set(error, "http.listen: the server cannot be started: %s", strerror(errno));
    close(fd);
    free(http);
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
    MHD_stop_daemon(http->daemon); /* closes the socket, too */
    free(http);
}
