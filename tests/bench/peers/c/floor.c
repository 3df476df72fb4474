/* The floor of the comparison: one thread, curl_multi and epoll, up to INFLIGHT calls at once, no
 * order, no care for crashes. What it costs is what the same libraries cost with nothing of the
 * worker's guarantees. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "peer.h"

enum { EVENTS = 256, WAIT_MS = 200 };

static int polled;
static double timer_at = -1;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int on_socket(CURL *handle, curl_socket_t socket, int what, void *opaque, void *more)
{
    (void)handle, (void)opaque, (void)more;
    struct epoll_event event = {.data.fd = socket};
    if (what == CURL_POLL_REMOVE)
        return epoll_ctl(polled, EPOLL_CTL_DEL, socket, &event), 0;
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (epoll_ctl(polled, EPOLL_CTL_MOD, socket, &event))
        epoll_ctl(polled, EPOLL_CTL_ADD, socket, &event);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *opaque)
{
    (void)multi, (void)opaque;
    timer_at = ms < 0 ? -1 : now() + (double)ms / 1e3;
    return 0;
}

static void wait_for_sockets(CURLM *multi, int kafka_events)
{
    int running, ms = WAIT_MS;
    uint64_t count;
    struct epoll_event events[EVENTS];
    if (timer_at >= 0 && timer_at - now() < WAIT_MS / 1e3)
        ms = timer_at <= now() ? 0 : (int)((timer_at - now()) * 1e3) + 1;
    int ready = epoll_wait(polled, events, EVENTS, ms);
    for (int i = 0; i < ready; i++) {
        unsigned what = events[i].events;
        if (events[i].data.fd == kafka_events) {
            if (read(kafka_events, &count, sizeof count) < 0)
                continue;
        } else {
            curl_multi_socket_action(multi, events[i].data.fd,
                                     (what & EPOLLIN ? CURL_CSELECT_IN : 0) |
                                         (what & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                         (what & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
                                     &running);
        }
    }
    if (timer_at >= 0 && now() >= timer_at) {
        timer_at = -1;
        curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

/* Starts calls while there are free ones and requests. Returns how many are free then. */
static int start_calls(CURLM *multi, struct call **idle, int idle_count)
{
    rd_kafka_message_t *message;
    while (idle_count && !stopping && (message = rd_kafka_consumer_poll(consumer, 0))) {
        if (!message->err) {
            struct call *call = idle[--idle_count];
            call_prepare(call, message);
            curl_multi_add_handle(multi, call->handle);
        }
        rd_kafka_message_destroy(message);
    }
    return idle_count;
}

static int end_calls(CURLM *multi, struct call **idle, int idle_count)
{
    int left;
    for (CURLMsg *done; (done = curl_multi_info_read(multi, &left));) {
        struct call *call;
        CURLcode code = done->data.result;
        curl_easy_getinfo(done->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        curl_multi_remove_handle(multi, call->handle);
        call_publish(call, code);
        idle[idle_count++] = call;
    }
    return idle_count;
}

static void run(int limit)
{
    CURLM *multi = curl_multi_init();
    struct call *calls = calloc((size_t)limit, sizeof *calls),
                **idle = calloc((size_t)limit, sizeof(struct call *));
    int idle_count = 0, kafka_events = eventfd(0, EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = kafka_events};
    uint64_t one = 1;
    polled = epoll_create1(0);
    epoll_ctl(polled, EPOLL_CTL_ADD, kafka_events, &event);
    rd_kafka_queue_io_event_enable(rd_kafka_queue_get_consumer(consumer), kafka_events, &one,
                                   sizeof one);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)limit + 16);
    for (; idle_count < limit; idle_count++)
        call_init(idle[idle_count] = &calls[idle_count]);
    while (!stopping || idle_count < limit) {
        idle_count = start_calls(multi, idle, idle_count);
        wait_for_sockets(multi, kafka_events);
        idle_count = end_calls(multi, idle, idle_count);
        rd_kafka_poll(producer, 0);
    }
}

int main(void)
{
    run(peer_start());
    return peer_stop();
}
