#include "sandbox/broker/connection/connection.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum {
    REQUEST_MAX = 104857600, /* socket.request.max.bytes */
    BACKLOG_MAX = 268435456, /* unread answers, after which a client is dropped */
    LENGTH_SIZE = 4,
};

void broker_connections_init(struct broker_connections *all, uv_loop_t *loop,
                             struct broker_connection_hooks hooks, void *owner)
{
    all->loop = loop;
    all->hooks = hooks;
    all->owner = owner;
    list_init(&all->open);
    list_init(&all->ready);
}

static void on_closed(uv_handle_t *handle)
{
    struct broker_connection *connection = handle->data;
    text_fini(&connection->in);
    free(connection);
}

static bool closing(const struct broker_connection *connection)
{
    return uv_is_closing((const uv_handle_t *)&connection->tcp);
}

void broker_connection_close(struct broker_connection *connection)
{
    if (closing(connection))
        return;
    list_remove(&connection->ready);
    list_remove(&connection->node);
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
    if (connection->request)
        connection->all->hooks.lost(connection->all->owner, connection->request);
    connection->request = NULL;
}

void broker_connections_close(struct broker_connections *all)
{
    while (!list_empty(&all->open))
        broker_connection_close(list_of(all->open.next, struct broker_connection, node));
}

static void make_ready(struct broker_connection *connection)
{
    if (!closing(connection) && !list_linked(&connection->ready))
        list_append(&connection->all->ready, &connection->ready);
}

void broker_connection_answered(struct broker_connection *connection)
{
    connection->request = NULL;
    make_ready(connection);
}

struct sending {
    uv_write_t write;
    char *data;
};

static void on_sent(uv_write_t *write, int status)
{
    struct sending *sending = write->data;
    struct broker_connection *connection = write->handle->data;
    free(sending->data);
    free(sending);
    if (status < 0)
        broker_connection_close(connection);
}

void broker_connection_send(struct broker_connection *connection, struct text *answer)
{
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    uv_buf_t buffer = uv_buf_init(NULL, (unsigned)answer->length);
    buffer.base = text_take(answer);
    struct sending *sending = memory_zeroed(1, sizeof(*sending));
    sending->data = buffer.base;
    sending->write.data = sending;
    int status = uv_write(&sending->write, stream, &buffer, 1, on_sent);
    if (status < 0) {
        free(sending->data);
        free(sending);
    }
    if (status < 0 || uv_stream_get_write_queue_size(stream) > BACKLOG_MAX)
        broker_connection_close(connection);
}

/* The next whole request in the buffer, its length left out; length -1: none yet. */
static struct broker_slice next_request(struct broker_connection *connection)
{
    const struct broker_slice none = {NULL, -1};
    size_t have = connection->in.length - connection->consumed;
    if (have < LENGTH_SIZE)
        return none;
    const char *at = connection->in.data + connection->consumed;
    uint64_t length = broker_load((const uint8_t *)at, LENGTH_SIZE);
    if (length > REQUEST_MAX) {
        broker_connection_close(connection);
        return none;
    }
    if (have - LENGTH_SIZE < length)
        return none;
    return (struct broker_slice){at + LENGTH_SIZE, (int32_t)length};
}

static void consume(struct broker_connection *connection, size_t n)
{
    struct text *in = &connection->in;
    connection->consumed += n;
    if (connection->consumed < in->length && connection->consumed < in->length / 2)
        return;
    memmove(in->data, in->data + connection->consumed, in->length - connection->consumed);
    in->length -= connection->consumed;
    connection->consumed = 0;
}

static void serve_one(struct broker_connection *connection)
{
    const struct broker_connections *all = connection->all;
    struct broker_slice request = next_request(connection);
    if (!request.data)
        return;
    if (connection->request)
        all->hooks.hurry(all->owner, connection->request);
    if (connection->request || closing(connection))
        return;
    all->hooks.serve(all->owner, connection, request);
    if (closing(connection))
        return;
    consume(connection, LENGTH_SIZE + (size_t)request.length);
    make_ready(connection);
}

void broker_connections_serve(struct broker_connections *all)
{
    for (struct list *node; (node = list_take_first(&all->ready));)
        serve_one(list_of(node, struct broker_connection, ready));
}

static void on_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)size;
    struct broker_connection *connection = handle->data;
    *buffer = uv_buf_init(connection->all->read_buffer, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct broker_connection *connection = stream->data;
    if (n < 0 || connection->in.length - connection->consumed > REQUEST_MAX + LENGTH_SIZE) {
        broker_connection_close(connection);
    } else if (n > 0) {
        text_append(&connection->in, buffer->base, (size_t)n);
        make_ready(connection);
    }
}

void broker_connection_address(const struct broker_connection *connection,
                               struct sandbox_address *address)
{
    struct sockaddr_storage name = {0};
    int size = sizeof(name);
    uv_tcp_getsockname(&connection->tcp, (struct sockaddr *)&name, &size);
    sandbox_address_of_name(address, &name);
}

void broker_connections_accept(struct broker_connections *all, uv_stream_t *listener)
{
    struct broker_connection *connection = memory_zeroed(1, sizeof(*connection));
    connection->all = all;
    list_init(&connection->ready);
    uv_tcp_init(all->loop, &connection->tcp);
    connection->tcp.data = connection;
    list_append(&all->open, &connection->node);
    if (uv_accept(listener, (uv_stream_t *)&connection->tcp) < 0) {
        broker_connection_close(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
}
