#include "sandbox/broker/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "sandbox/broker/api.h"

enum {
    REQUEST_MAX = 104857600, /* socket.request.max.bytes */
    BACKLOG_MAX = 268435456, /* unread answers, after which a client is dropped */
    LENGTH_SIZE = 4,
};

static void on_closed(uv_handle_t *handle)
{
    struct broker_client *client = handle->data;
    text_fini(&client->in);
    free(client);
}

static void call_free(struct call *call)
{
    call->client->call = NULL;
    list_remove(&call->node);
    text_fini(&call->body);
    free(call);
}

void broker_client_close(struct broker_client *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    if (client->call) {
        groups_forget_call(&client->broker->groups, client->call, broker_now(client->broker));
        call_free(client->call);
    }
    list_remove(&client->ready);
    list_remove(&client->node);
    uv_close((uv_handle_t *)&client->tcp, on_closed);
}

static void make_ready(struct broker_client *client)
{
    if (!uv_is_closing((uv_handle_t *)&client->tcp) && !list_linked(&client->ready))
        list_append(&client->broker->ready, &client->ready);
}

void call_done(struct call *call)
{
    struct broker_client *client = call->client;
    call_free(call);
    make_ready(client);
}

void call_refuse(struct call *call)
{
    log_warn("broker: request %d version %d is malformed or unknown: connection closed", call->api,
             call->version);
    broker_client_close(call->client);
}

void call_begin(struct call *call, struct wire_out *out)
{
    *out = (struct wire_out){.flexible = call->flexible};
    wire_put_later(out);
    wire_put_i32(out, call->correlation);
    if (call->api != API_VERSIONS)
        wire_put_tags(out);
}

struct sending {
    uv_write_t write;
    char *data;
};

static void on_sent(uv_write_t *write, int status)
{
    struct sending *sending = write->data;
    struct broker_client *client = write->handle->data;
    free(sending->data);
    free(sending);
    if (status < 0)
        broker_client_close(client);
}

void call_answer(struct call *call, struct wire_out *out)
{
    struct broker_client *client = call->client;
    size_t length = out->text.length;
    wire_put_now(out, 0, (int32_t)(length - LENGTH_SIZE));
    call_done(call);
    struct sending *sending = memory_zeroed(1, sizeof(*sending));
    sending->data = text_take(&out->text);
    sending->write.data = sending;
    uv_buf_t buffer = uv_buf_init(sending->data, (unsigned)length);
    int status = uv_write(&sending->write, (uv_stream_t *)&client->tcp, &buffer, 1, on_sent);
    if (status < 0) {
        free(sending->data);
        free(sending);
    }
    if (status < 0 || uv_stream_get_write_queue_size((uv_stream_t *)&client->tcp) > BACKLOG_MAX)
        broker_client_close(client);
}

/* The next whole request in the buffer, its length left out; length -1: none yet. */
static struct slice next_request(struct broker_client *client)
{
    const struct slice none = {NULL, -1};
    size_t have = client->in.length - client->consumed;
    if (have < LENGTH_SIZE)
        return none;
    const char *at = client->in.data + client->consumed;
    uint64_t length = wire_load((const uint8_t *)at, LENGTH_SIZE);
    if (length > REQUEST_MAX) {
        broker_client_close(client);
        return none;
    }
    if (have - LENGTH_SIZE < length)
        return none;
    return (struct slice){at + LENGTH_SIZE, (int32_t)length};
}

static void consume(struct broker_client *client, size_t n)
{
    struct text *in = &client->in;
    client->consumed += n;
    if (client->consumed < in->length && client->consumed < in->length / 2)
        return;
    memmove(in->data, in->data + client->consumed, in->length - client->consumed);
    in->length -= client->consumed;
    client->consumed = 0;
}

static struct call *call_new(struct broker_client *client, struct slice request)
{
    struct call *call = memory_zeroed(1, sizeof(*call));
    list_init(&call->node);
    call->client = client;
    client->call = call;
    struct wire_in *in = &call->in;
    in->at = (const uint8_t *)request.data;
    in->end = in->at + request.length;
    call->api = wire_get_i16(in);
    call->version = wire_get_i16(in);
    call->correlation = wire_get_i32(in);
    call->client_id = wire_get_string(in);
    call->flexible = api_is_flexible(call->api, call->version);
    in->flexible = call->flexible;
    wire_get_tags(in);
    return call;
}

void broker_client_serve(struct broker_client *client)
{
    struct slice request = next_request(client);
    if (!request.data)
        return;
    if (client->call && client->call->api == API_FETCH)
        api_fetch_now(client->broker, client->call);
    if (client->call || uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    api_serve(client->broker, call_new(client, request));
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    consume(client, LENGTH_SIZE + (size_t)request.length);
    make_ready(client);
}

static void on_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)size;
    struct broker_client *client = handle->data;
    *buffer = uv_buf_init(client->broker->read_buffer, BROKER_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct broker_client *client = stream->data;
    struct broker *broker = client->broker;
    if (n < 0 || client->in.length - client->consumed > REQUEST_MAX + LENGTH_SIZE) {
        broker_client_close(client);
    } else if (n > 0) {
        text_append(&client->in, buffer->base, (size_t)n);
        make_ready(client);
    }
    broker_settle(broker);
}

static void note_address(struct broker_client *client)
{
    struct sockaddr_storage name;
    int length = sizeof(name);
    memset(&name, 0, sizeof(name));
    uv_tcp_getsockname(&client->tcp, (struct sockaddr *)&name, &length);
    if (name.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&name;
        uv_ip6_name(v6, client->host, sizeof(client->host));
        client->port = ntohs(v6->sin6_port);
    } else {
        const struct sockaddr_in *v4 = (struct sockaddr_in *)&name;
        uv_ip4_name(v4, client->host, sizeof(client->host));
        client->port = ntohs(v4->sin_port);
    }
}

void broker_client_accept(struct broker *broker)
{
    struct broker_client *client = memory_zeroed(1, sizeof(*client));
    client->broker = broker;
    list_init(&client->ready);
    uv_tcp_init(&broker->loop, &client->tcp);
    client->tcp.data = client;
    list_append(&broker->clients, &client->node);
    if (uv_accept((uv_stream_t *)&broker->listener, (uv_stream_t *)&client->tcp) < 0) {
        broker_client_close(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    note_address(client);
    uv_read_start((uv_stream_t *)&client->tcp, on_allocate, on_read);
}
