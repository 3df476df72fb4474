#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static ssize_t take(struct server_connection *connection, char *into, size_t n)
{
    return connection->tls ? SSL_read(connection->tls, into, (int)n)
                           : recv(connection->fd, into, n, 0);
}

static void put(struct server_connection *connection, const char *bytes)
{
    size_t n = strlen(bytes);
    ssize_t sent = connection->tls ? SSL_write(connection->tls, bytes, (int)n)
                                   : send(connection->fd, bytes, n, MSG_NOSIGNAL);
    (void)sent;
}

/* A whole request, or NULL at the connection's end. */
static char *read_request(struct server_connection *connection)
{
    char *text = calloc(1, 65536);
    size_t length = 0;
    for (;;) {
        ssize_t n = take(connection, text + length, 65535 - length);
        if (n <= 0)
            break;
        length += (size_t)n;
        char *end = strstr(text, "\r\n\r\n");
        char *size = end ? strcasestr(text, "\r\nContent-Length:") : NULL;
        size_t body = size ? strtoul(size + 17, NULL, 10) : 0;
        if (end && length >= (size_t)(end + 4 - text) + body)
            return text;
    }
    free(text);
    return NULL;
}

static struct reply note(struct server *server, char *request)
{
    pthread_mutex_lock(&server->lock);
    must(server->request_count < SERVER_REQUESTS, "too many requests");
    int number = server->request_count++;
    server->requests[number] = request;
    if (++server->open > server->most_open)
        server->most_open = server->open;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    int last = server->script_length - 1;
    return server->script[number < last ? number : last];
}

static void pause_ms(int ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

static void send_more(struct server_connection *connection)
{
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    bool due = server->more && !server->more_sent;
    pthread_mutex_unlock(&server->lock);
    if (!due)
        return;
    pause_ms(server->more_ms);
    put(connection, server->more);
    pthread_mutex_lock(&server->lock);
    server->more_sent = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* As servers do that want a client certificate for some of their paths only. */
static void shake_hands_again(SSL *tls)
{
    char nothing;
    SSL_set_options(tls, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
    SSL_clear_mode(tls, SSL_MODE_AUTO_RETRY);
    SSL_renegotiate(tls);
    SSL_do_handshake(tls);            /* asks for it; */
    (void)SSL_peek(tls, &nothing, 0); /* it takes place while something is read */
    SSL_set_mode(tls, SSL_MODE_AUTO_RETRY);
}

/* Returns whether the connection goes on. */
static bool act(struct server_connection *connection, struct reply reply)
{
    struct server *server = connection->server;
    if (server->delay_ms)
        pause_ms(server->delay_ms);
    pthread_mutex_lock(&server->lock);
    server->open--;
    pthread_mutex_unlock(&server->lock);
    if (server->shakes_hands_again)
        shake_hands_again(connection->tls);
    if (reply.bytes)
        put(connection, reply.bytes);
    send_more(connection);
    char byte;
    while (reply.then == THEN_HANG && recv(connection->fd, &byte, 1, 0) > 0)
        ;
    if (reply.then == THEN_RESET) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        pthread_mutex_lock(&server->lock);
        close(connection->fd);
        connection->fd = -1;
        pthread_mutex_unlock(&server->lock);
    }
    return reply.then == THEN_KEEP;
}

static void serve(struct server_connection *connection)
{
    char byte;
    while (connection->server->hang_connect && recv(connection->fd, &byte, 1, 0) > 0)
        ;
    int wait = connection->server->connect_delay_ms;
    nanosleep(&(struct timespec){wait / 1000, wait % 1000 * 1000000L}, NULL);
    if (connection->tls && SSL_accept(connection->tls) != 1)
        return;
    if (connection->server->greeting)
        put(connection, connection->server->greeting);
    char *request;
    while ((request = read_request(connection)))
        if (!act(connection, note(connection->server, request)))
            break;
    if (connection->tls && connection->server->says_goodbye)
        SSL_shutdown(connection->tls);
}

static void *run_connection(void *argument)
{
    struct server_connection *connection = argument;
    serve(connection);
    pthread_mutex_lock(&connection->server->lock);
    if (connection->fd >= 0)
        shutdown(connection->fd, SHUT_RDWR);
    pthread_mutex_unlock(&connection->server->lock);
    return NULL;
}

static void *run(void *argument)
{
    struct server *server = argument;
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0 || errno == EMFILE) {
        if (fd < 0)
            continue; /* a test has taken all files away, for a moment */
        pthread_mutex_lock(&server->lock);
        must(server->connection_count < SERVER_CONNECTIONS, "too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct server_connection *connection = &server->connections[server->connection_count++];
        *connection = (struct server_connection){.server = server, .fd = fd};
        if (server->tls) {
            connection->tls = SSL_new(server->tls);
            SSL_set_fd(connection->tls, fd);
        }
        pthread_create(&connection->thread, NULL, run_connection, connection);
        pthread_mutex_unlock(&server->lock);
    }
    return NULL;
}

void server_start(struct server *server, const char *address, SSL_CTX *tls,
                  const struct reply *script, int script_length)
{
    server_start_at(server, address, 0, tls, script, script_length);
}

void server_start_at(struct server *server, const char *address, int port, SSL_CTX *tls,
                     const struct reply *script, int script_length)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof at;
    inet_pton(AF_INET, address, &at.sin_addr);
    server->tls = tls;
    server->script = script;
    server->script_length = script_length;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(server->listener, (struct sockaddr *)&at, sizeof at) == 0, "bind");
    must(listen(server->listener, 64) == 0, "listen");
    must(getsockname(server->listener, (struct sockaddr *)&at, &size) == 0, "getsockname");
    server->port = ntohs(at.sin_port);
    snprintf(server->url, sizeof server->url, "%s://%s:%d", tls ? "https" : "http", address,
             server->port);
    must(pthread_create(&server->thread, NULL, run, server) == 0, "thread");
}

void server_await(struct server *server, int requests)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&server->lock);
    while (server->request_count < requests)
        must(pthread_cond_timedwait(&server->changed, &server->lock, &until) == 0,
             "no request came");
    pthread_mutex_unlock(&server->lock);
}

void server_await_more(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    while (!server->more_sent)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

/* On a busy machine the kernel may deliver on the loopback device later than send() returns. */
static void await_delivery(int fd)
{
    int left;
    for (int i = 0; i < 20000; i++) {
        must(ioctl(fd, SIOCOUTQ, &left) == 0, "SIOCOUTQ");
        if (left == 0)
            return;
        pause_ms(1);
    }
    must(false, "delivery");
}

void server_poke(struct server *server, const char *bytes, bool close)
{
    pthread_mutex_lock(&server->lock);
    struct server_connection *connection = &server->connections[server->connection_count - 1];
    if (bytes)
        put(connection, bytes);
    if (close)
        shutdown(connection->fd, SHUT_RDWR);
    await_delivery(connection->fd);
    pthread_mutex_unlock(&server->lock);
}

int server_requests(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    int count = server->request_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

int server_connections(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    int count = server->connection_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

void server_stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    server->listener = 0;
    for (int i = 0; i < server->connection_count; i++) {
        struct server_connection *connection = &server->connections[i];
        pthread_mutex_lock(&server->lock);
        if (connection->fd >= 0)
            shutdown(connection->fd, SHUT_RDWR);
        pthread_mutex_unlock(&server->lock);
        pthread_join(connection->thread, NULL);
        if (connection->fd >= 0)
            close(connection->fd);
        SSL_free(connection->tls);
    }
    for (int i = 0; i < server->request_count; i++)
        free(server->requests[i]);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
}
