#include "sandbox/platform/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

enum {
    INPUT_MAX = HTTP_HEAD_MAX + HTTP_BODY_MAX + CONNECTION_READ_SIZE,
    BUFFER_KEPT_MAX = 8192, /* largest buffer that an idle connection keeps */
    PIECES = 10,            /* of a slow body; the first one is sent at once */
    REQUEST_RECORD_MIN = 64 /* a shorter TLS record is an alert, not a request */
};

enum phase {
    PHASE_HANDSHAKE,
    PHASE_UNSERVED, /* accepted, and never served */
    PHASE_IDLE,     /* waiting for a request, or for the rest of one */
    PHASE_DELAYED,  /* the timer will start the answer */
    PHASE_SENDING,  /* the answer is being sent, up to `allowed` */
    PHASE_HANGING,  /* no answer will come */
    PHASE_CLOSED,   /* waiting for libuv to close its handles */
};

struct connection {
    struct list node;
    struct sandbox_connections *all;
    uv_poll_t poll;
    uv_timer_t timer;
    int handles; /* libuv's, not closed yet */
    int fd, events;
    SSL *tls;
    uint64_t number;
    enum phase phase;
    bool last;    /* ends after the current answer */
    bool control; /* its last request was a control request, to the sandbox itself */
    struct text in, out;
    size_t head, sent, allowed,
        total; /* bytes of the answer: out and then zeros; total may be cut short */
    struct sandbox_exchange exchange;
};

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    if (--connection->handles > 0)
        return;
    text_fini(&connection->in);
    text_fini(&connection->out);
    free(connection);
}

static void end_exchange(struct connection *connection, bool answered)
{
    sandbox_exchange_end(&connection->all->service, &connection->exchange, answered);
}

enum ending { END_QUIET, END_RESET };

static void close_socket(int fd, enum ending ending)
{
    if (ending == END_RESET)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

static void close_connection(struct connection *connection, enum ending ending)
{
    if (connection->phase == PHASE_CLOSED)
        return;
    bool send_close_notify =
        ending == END_QUIET && connection->tls && SSL_is_init_finished(connection->tls);
    if (connection->phase != PHASE_HANDSHAKE && connection->phase != PHASE_IDLE)
        end_exchange(connection, false);
    connection->phase = PHASE_CLOSED;
    list_remove(&connection->node);
    connection->all->service.stats.connections_open--;
    uv_poll_stop(&connection->poll);
    uv_close((uv_handle_t *)&connection->poll, on_handle_closed);
    uv_close((uv_handle_t *)&connection->timer, on_handle_closed);
    ERR_clear_error();
    if (send_close_notify)
        SSL_shutdown(connection->tls);
    SSL_free(connection->tls);
    close_socket(connection->fd, ending);
    ERR_clear_error();
}

static void watch_events(struct connection *connection, int events)
{
    if (connection->events == events)
        return;
    connection->events = events;
    uv_poll_start(&connection->poll, events, on_ready);
}

/* After an operation of OpenSSL that did not succeed: returns true if it only has to wait;
 * otherwise closes the connection. */
static bool wait_or_close(struct connection *connection, int result)
{
    int error = SSL_get_error(connection->tls, result);
    if (error == SSL_ERROR_WANT_WRITE) {
        watch_events(connection, UV_READABLE | UV_WRITABLE);
        return true;
    }
    if (error == SSL_ERROR_WANT_READ)
        return true;
    if (error == SSL_ERROR_SYSCALL || error == SSL_ERROR_SSL)
        SSL_set_quiet_shutdown(connection->tls, 1);
    close_connection(connection, END_QUIET);
    return false;
}

/* Starts the timer from now, not from the time at which the loop last read the clock. */
static void start_timer(struct connection *connection, int64_t ms)
{
    uv_update_time(connection->all->loop);
    uv_timer_start(&connection->timer, on_timer, (uint64_t)ms, 0);
}

static void start_idle_timer(struct connection *connection)
{
    const struct sandbox_faults *faults = &connection->all->service.faults;
    int64_t ms = sandbox_faults_value(faults, FAULT_IDLE_CLOSE);
    if (ms < 0)
        ms = sandbox_faults_value(faults, FAULT_IDLE_408);
    if (ms >= 0 && !connection->control)
        start_timer(connection, ms);
    else
        uv_timer_stop(&connection->timer);
}

static void become_idle(struct connection *connection)
{
    connection->phase = PHASE_IDLE;
    start_idle_timer(connection);
}

/* The next bytes of the answer: from `out`, or from the zeros that follow it. */
static const char *next_bytes(const struct connection *connection, size_t *length)
{
    static const char zeros[CONNECTION_READ_SIZE];
    const char *bytes = zeros;
    *length = connection->allowed - connection->sent;
    if (connection->sent < connection->out.length) {
        bytes = connection->out.data + connection->sent;
        if (*length > connection->out.length - connection->sent)
            *length = connection->out.length - connection->sent;
    }
    if (*length > sizeof zeros)
        *length = sizeof zeros;
    return bytes;
}

/* Empties a buffer, and releases its memory if it has grown large. */
static void reset_buffer(struct text *text)
{
    if (text->capacity > BUFFER_KEPT_MAX)
        text_fini(text);
    else
        text_clear(text);
}

static void answer_sent(struct connection *connection)
{
    end_exchange(connection, true);
    reset_buffer(&connection->out);
    watch_events(connection, UV_READABLE);
    become_idle(connection);
    if (connection->last)
        close_connection(connection, END_QUIET);
}

static void send_output(struct connection *connection)
{
    while (connection->sent < connection->allowed) {
        size_t length;
        const char *bytes = next_bytes(connection, &length);
        ERR_clear_error();
        int sent = SSL_write(connection->tls, bytes, (int)length);
        if (sent <= 0) {
            wait_or_close(connection, sent);
            return;
        }
        connection->sent += (size_t)sent;
    }
    if (connection->sent == connection->total)
        answer_sent(connection);
    else
        watch_events(connection, UV_READABLE); /* the timer allows the next piece */
}

/* Allows the next piece of a slow body to be sent, and starts the timer for the one after it. */
static void allow_next_piece(struct connection *connection)
{
    size_t piece = (connection->total - connection->head) / PIECES + 1;
    connection->allowed += piece;
    if (connection->allowed > connection->total)
        connection->allowed = connection->total;
    else
        start_timer(connection, connection->exchange.fault.slow_body_ms / (PIECES - 1));
    send_output(connection);
}

static void start_answer(struct connection *connection)
{
    struct sandbox_exchange *exchange = &connection->exchange;
    struct sandbox_answer *answer = &exchange->answer;
    size_t length = answer->body.length + answer->zeros;
    bool cut = exchange->fault.outcome == FAULT_CUT_BODY;
    connection->last = connection->last || cut || exchange->fault.last;
    connection->phase = PHASE_SENDING;
    sandbox_http_head(&connection->out, answer->status, answer->type, length,
                      connection->last && !cut, answer->extra.data);
    connection->head = connection->out.length;
    text_append(&connection->out, answer->body.data, answer->body.length);
    connection->sent = 0;
    connection->total = connection->head + (cut ? length / 2 : length);
    connection->allowed = connection->total;
    if (exchange->fault.slow_body_ms > 0) {
        connection->allowed = connection->head;
        allow_next_piece(connection);
    } else {
        send_output(connection);
    }
}

/* Begins what was decided for a request, after its latency. */
static void start_outcome(struct connection *connection)
{
    switch (connection->exchange.fault.outcome) {
    case FAULT_RESET:
        close_connection(connection, END_RESET);
        break;
    case FAULT_CLOSE:
        close_connection(connection, END_QUIET);
        break;
    case FAULT_HANG:
        connection->phase = PHASE_HANGING;
        break;
    default:
        start_answer(connection);
    }
}

static void schedule_outcome(struct connection *connection)
{
    int64_t latency = connection->exchange.fault.latency_ms;
    connection->control = connection->exchange.control;
    uv_timer_stop(&connection->timer);
    connection->phase = PHASE_DELAYED;
    if (connection->exchange.faults_changed)
        connection->all->faults_changed(connection->all->argument);
    if (latency > 0)
        start_timer(connection, latency);
    else
        start_outcome(connection);
}

static void drop_input(struct connection *connection, size_t size)
{
    struct text *in = &connection->in;
    size_t rest = in->length - size;
    if (!rest) {
        reset_buffer(in);
        return;
    }
    memmove(in->data, in->data + size, rest + 1);
    in->length = rest;
}

/* Begins the next request if all of it has arrived. Returns whether another one may have arrived,
 * too. */
static bool take_request(struct connection *connection)
{
    struct sandbox_http_request request;
    struct sandbox_service *service = &connection->all->service;
    if (connection->phase != PHASE_IDLE || !connection->in.length)
        return false;
    switch (sandbox_http_read(&request, connection->in.data, connection->in.length)) {
    case HTTP_MORE:
        return false;
    case HTTP_BROKEN:
        connection->last = true;
        sandbox_exchange_begin_broken(service, request.problem, &connection->exchange);
        text_clear(&connection->in);
        break;
    case HTTP_READY:
        connection->last = request.last;
        sandbox_exchange_begin(service, &request, connection->number, &connection->exchange);
        drop_input(connection, request.size);
        break;
    }
    schedule_outcome(connection);
    return true;
}

/* Resets the connection before the request is read: peeks at the TLS record and leaves it in the
 * socket. */
static bool reset_unread(struct connection *connection)
{
    struct sandbox_faults *faults = &connection->all->service.faults;
    if (connection->in.length || sandbox_faults_value(faults, FAULT_RESET_BEFORE) < 0)
        return false;
    unsigned char head[5] = {0, 0, 0, 1, 0};
    if (!SSL_has_pending(connection->tls) &&
        recv(connection->fd, head, sizeof head, MSG_PEEK) != sizeof head)
        return false;
    if ((head[3] << 8 | head[4]) < REQUEST_RECORD_MIN ||
        !sandbox_faults_hit_connection(faults, FAULT_RESET_BEFORE))
        return false;
    close_connection(connection, END_RESET);
    return true;
}

static void read_input(struct connection *connection)
{
    if (connection->phase == PHASE_IDLE && reset_unread(connection))
        return;
    char *scratch = connection->all->scratch;
    for (;;) {
        if (connection->in.length > INPUT_MAX) {
            watch_events(connection, UV_WRITABLE & connection->events);
            return;
        }
        ERR_clear_error();
        int length = SSL_read(connection->tls, scratch, CONNECTION_READ_SIZE);
        if (length <= 0) {
            wait_or_close(connection, length);
            return;
        }
        text_append(&connection->in, scratch, (size_t)length);
        if (!SSL_has_pending(connection->tls))
            return;
    }
}

static void continue_handshake(struct connection *connection)
{
    ERR_clear_error();
    int result = SSL_accept(connection->tls);
    if (result != 1) {
        wait_or_close(connection, result);
        return;
    }
    if (SSL_session_reused(connection->tls))
        connection->all->service.stats.connections_resumed++;
    watch_events(connection, UV_READABLE);
    become_idle(connection);
    if (SSL_has_pending(connection->tls)) /* a request that came with the end of the handshake */
        read_input(connection);
}

/* Reads and discards input, to notice when the client gives up. */
static void discard_input(struct connection *connection)
{
    ssize_t length = recv(connection->fd, connection->all->scratch, CONNECTION_READ_SIZE, 0);
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR))
        close_connection(connection, END_QUIET);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = poll->data;
    if (status < 0) {
        close_connection(connection, END_QUIET);
        return;
    }
    if (connection->phase == PHASE_UNSERVED) {
        discard_input(connection);
        return;
    }
    if (connection->phase == PHASE_HANDSHAKE) {
        continue_handshake(connection);
    } else {
        if ((events & UV_WRITABLE) && connection->phase != PHASE_SENDING)
            watch_events(connection, UV_READABLE);
        read_input(connection);
    }
    if (connection->phase == PHASE_SENDING)
        send_output(connection);
    while (take_request(connection))
        ;
}

static void end_idle(struct connection *connection)
{
    if (sandbox_faults_value(&connection->all->service.faults, FAULT_IDLE_CLOSE) < 0) {
        sandbox_http_head(&connection->out, 408, NULL, 0, true, NULL);
        ERR_clear_error();
        SSL_write(connection->tls, connection->out.data, (int)connection->out.length);
    }
    close_connection(connection, END_QUIET);
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *connection = timer->data;
    if (connection->phase == PHASE_IDLE)
        end_idle(connection);
    else if (connection->phase == PHASE_DELAYED)
        start_outcome(connection);
    else if (connection->phase == PHASE_SENDING)
        allow_next_piece(connection);
    while (take_request(connection))
        ;
}

void sandbox_connections_add(struct sandbox_connections *all, int fd)
{
    struct sandbox_faults *faults = &all->service.faults;
    all->service.stats.connections++;
    if (sandbox_faults_hit_connection(faults, FAULT_RESET_ACCEPT)) {
        close_socket(fd, END_RESET);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection *connection = memory_zeroed(1, sizeof *connection);
    connection->all = all;
    connection->fd = fd;
    connection->number = ++all->accepted;
    connection->poll.data = connection->timer.data = connection;
    connection->handles = 2;
    uv_timer_init(all->loop, &connection->timer);
    uv_poll_init(all->loop, &connection->poll, fd);
    list_append(&all->open, &connection->node);
    all->service.stats.connections_open++;
    connection->tls = memory_must(SSL_new(all->tls));
    SSL_set_fd(connection->tls, fd);
    connection->phase =
        sandbox_faults_hit_connection(faults, FAULT_HANG_ACCEPT) ? PHASE_UNSERVED : PHASE_HANDSHAKE;
    watch_events(connection, UV_READABLE);
}

void sandbox_connections_apply_faults(struct sandbox_connections *all)
{
    bool refused = sandbox_faults_value(&all->service.faults, FAULT_REFUSE) >= 0;
    list_each_safe(node, &all->open)
    {
        struct connection *connection = list_of(node, struct connection, node);
        if (refused && !connection->control) {
            connection->last = true;
            if (connection->phase == PHASE_IDLE || connection->phase == PHASE_HANDSHAKE)
                close_connection(connection, END_QUIET);
        } else if (connection->phase == PHASE_IDLE && !connection->in.length) {
            start_idle_timer(connection);
        }
    }
}

void sandbox_connections_close(struct sandbox_connections *all)
{
    list_each_safe(node, &all->open)
        close_connection(list_of(node, struct connection, node), END_QUIET);
}
