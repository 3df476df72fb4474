#include "sandbox/broker/broker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sandbox/address.h"
#include "sandbox/broker/api.h"
#include "sandbox/broker/client.h"
#include "sandbox/broker/core.h"

enum { BACKLOG = 128 };

int64_t broker_now(const struct broker *broker)
{
    return (int64_t)uv_now(&broker->loop);
}

static void on_timer(uv_timer_t *timer)
{
    struct broker *broker = timer->data;
    broker->timer_at = INT64_MAX;
    groups_expire(&broker->groups, broker_now(broker));
    txns_expire(&broker->txns, broker_now(broker));
    broker->logs_changed = true; /* fetches whose time is up */
    broker_settle(broker);
}

/* A timer that fires too early only looks again, so it is moved only forward. */
static void set_timer(struct broker *broker)
{
    int64_t at = groups_deadline(&broker->groups);
    int64_t txn = txns_deadline(&broker->txns), fetch = api_fetch_deadline(broker);
    at = txn < at ? txn : at;
    at = fetch < at ? fetch : at;
    if (at >= broker->timer_at)
        return;
    broker->timer_at = at;
    int64_t wait = at - broker_now(broker);
    uv_timer_start(&broker->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

void broker_settle(struct broker *broker)
{
    if (broker->stopping)
        return;
    for (;;) {
        struct list *node = list_take_first(&broker->ready);
        if (node) {
            broker_client_serve(list_of(node, struct broker_client, ready));
        } else if (broker->logs_changed) {
            broker->logs_changed = false;
            api_fetch_check(broker);
        } else {
            break;
        }
    }
    set_timer(broker);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct broker *broker = listener->data;
    if (status == 0)
        broker_client_accept(broker);
}

static void on_stop(uv_async_t *stop)
{
    struct broker *broker = stop->data;
    broker->stopping = true;
    list_each_safe(node, &broker->clients)
        broker_client_close(list_of(node, struct broker_client, node));
    uv_close((uv_handle_t *)&broker->listener, NULL);
    uv_close((uv_handle_t *)&broker->timer, NULL);
    uv_close((uv_handle_t *)&broker->stop, NULL);
}

/* Signals are the main thread's; a write to a closed connection would raise one here. */
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
    struct address address;
    if (address_split(&address, text, error))
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

/* Writes the address in force. */
static void note_address(struct broker *broker)
{
    struct sockaddr_storage name;
    int length = sizeof(name);
    char host[64] = "";
    memset(&name, 0, sizeof(name));
    uv_tcp_getsockname(&broker->listener, (struct sockaddr *)&name, &length);
    bool v6 = name.ss_family == AF_INET6;
    const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&name;
    const struct sockaddr_in *in4 = (struct sockaddr_in *)&name;
    if (v6)
        uv_ip6_name(in6, host, sizeof(host));
    else
        uv_ip4_name(in4, host, sizeof(host));
    snprintf(broker->address, sizeof(broker->address), v6 ? "[%s]:%d" : "%s:%d", host,
             ntohs(v6 ? in6->sin6_port : in4->sin_port));
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
    broker->timer_at = INT64_MAX;
    list_init(&broker->clients);
    list_init(&broker->ready);
    list_init(&broker->fetches);
    topics_init(&broker->topics);
    for (size_t i = 0; i < options->topic_count; i++)
        topics_add(&broker->topics, slice_of(options->topics[i].name),
                   options->topics[i].partitions);
    groups_init(&broker->groups, api_group_hooks());
    txns_init(&broker->txns, &broker->groups);
    uv_loop_init(&broker->loop);
    uv_tcp_init(&broker->loop, &broker->listener);
    uv_timer_init(&broker->loop, &broker->timer);
    uv_async_init(&broker->loop, &broker->stop, on_stop);
    broker->listener.data = broker->timer.data = broker->stop.data = broker;
}

static void fini(struct broker *broker)
{
    int status = uv_loop_close(&broker->loop);
    (void)status;
    txns_fini(&broker->txns);
    groups_fini(&broker->groups);
    topics_fini(&broker->topics);
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
