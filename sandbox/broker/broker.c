#include "sandbox/broker/broker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/memory.h"
#include "sandbox/address.h"
#include "sandbox/broker/api/api.h"
#include "sandbox/broker/connection/connection.h"

enum { BACKLOG = 128, PARTITIONS_MAX = 10000 };

struct broker {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_tcp_t listener;
    uv_async_t stop;
    uv_prepare_t prepare;
    uv_timer_t timer;
    char address[80];
    struct broker_state state;
    struct broker_connections connections;
};

static void on_timer(uv_timer_t *timer)
{
    (void)timer; /* on_prepare runs next */
}

/* Runs before the loop waits: serves all requests that can be served, and sets the timer. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct broker *broker = prepare->data;
    do
        broker_connections_serve(&broker->connections);
    while (broker_api_wake(&broker->state));
    int64_t at = broker_api_deadline(&broker->state), now = broker_state_now(&broker->state);
    if (at == INT64_MAX)
        uv_timer_stop(&broker->timer);
    else
        uv_timer_start(&broker->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct broker *broker = listener->data;
    if (status == 0)
        broker_connections_accept(&broker->connections, listener);
}

static void on_stop(uv_async_t *stop)
{
    struct broker *broker = stop->data;
    broker_connections_close(&broker->connections);
    uv_close((uv_handle_t *)&broker->listener, NULL);
    uv_close((uv_handle_t *)&broker->prepare, NULL);
    uv_close((uv_handle_t *)&broker->timer, NULL);
    uv_close((uv_handle_t *)&broker->stop, NULL);
}

/* The main thread handles signals. A write to a closed connection would raise SIGPIPE here. */
static void run(void *argument)
{
    struct broker *broker = argument;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    uv_run(&broker->loop, UV_RUN_DEFAULT);
}

static int resolve(uv_loop_t *loop, const char *text, struct sockaddr_storage *found,
                   struct error *error)
{
    struct sandbox_address address;
    if (sandbox_address_split(&address, text, error))
        return -1;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t request;
    int status = uv_getaddrinfo(loop, &request, NULL, address.host, address.port, &hints);
    if (status < 0)
        return error_set(error, "%s: %s", address.host, uv_strerror(status));
    memcpy(found, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return 0;
}

/* Stores the real address. */
static void note_address(struct broker *broker)
{
    struct sockaddr_storage name = {0};
    struct sandbox_address address;
    int size = sizeof(name);
    uv_tcp_getsockname(&broker->listener, (struct sockaddr *)&name, &size);
    sandbox_address_of_name(&address, &name);
    sandbox_address_join(&address, broker->address, sizeof(broker->address));
}

static int listen_on(struct broker *broker, const char *address, struct error *error)
{
    struct sockaddr_storage name;
    if (resolve(&broker->loop, address, &name, error))
        return -1;
    int status = uv_tcp_bind(&broker->listener, (struct sockaddr *)&name, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&broker->listener, BACKLOG, on_connection);
    if (status < 0)
        return error_set(error, "cannot listen on %s: %s", address, uv_strerror(status));
    note_address(broker);
    return 0;
}

static void init(struct broker *broker, const struct broker_options *options)
{
    static const struct broker_connection_hooks hooks = {broker_api_serve, broker_api_hurry,
                                                         broker_api_lost};
    uv_loop_init(&broker->loop);
    uv_tcp_init(&broker->loop, &broker->listener);
    uv_prepare_init(&broker->loop, &broker->prepare);
    uv_timer_init(&broker->loop, &broker->timer);
    uv_async_init(&broker->loop, &broker->stop, on_stop);
    broker->listener.data = broker->prepare.data = broker->stop.data = broker;
    uv_prepare_start(&broker->prepare, on_prepare);
    broker_connections_init(&broker->connections, &broker->loop, hooks, &broker->state);
    broker_api_init(&broker->state, &broker->loop);
    for (size_t i = 0; i < options->topic_count; i++)
        broker_topics_add(&broker->state.topics, broker_slice_of(options->topics[i].name),
                          options->topics[i].partitions);
}

static void fini(struct broker *broker)
{
    int status = uv_loop_close(&broker->loop);
    (void)status;
    broker_api_fini(&broker->state);
    free(broker);
}

struct broker *broker_new(const struct broker_options *options, struct error *error)
{
    struct broker *broker = memory_zeroed(1, sizeof(*broker));
    init(broker, options);
    const char *address = options->address ? options->address : "127.0.0.1:0";
    int status = listen_on(broker, address, error);
    if (status == 0 && uv_thread_create(&broker->thread, run, broker) < 0)
        status = error_set(error, "cannot start the broker's thread");
    if (status == 0)
        return broker;
    on_stop(&broker->stop);
    uv_run(&broker->loop, UV_RUN_DEFAULT);
    fini(broker);
    return NULL;
}

bool broker_topic_valid(const char *name, int64_t partitions)
{
    return broker_topics_name_valid(broker_slice_of(name)) && partitions >= 1 &&
           partitions <= PARTITIONS_MAX;
}

const char *broker_address(const struct broker *broker)
{
    return broker->address;
}

void broker_free(struct broker *broker)
{
    if (!broker)
        return;
    uv_async_send(&broker->stop);
    uv_thread_join(&broker->thread);
    fini(broker);
}
