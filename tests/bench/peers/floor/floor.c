/* The floor of the comparison: one thread, curl_multi and epoll, up to INFLIGHT calls at once, no
 * order, no care for crashes. What it costs is what the same libraries cost with nothing of the
 * worker's guarantees. */
#include <curl/curl.h>
#include <librdkafka/rdkafka.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define TOKEN "akwiKeKEKG01kfas63910IRJL6ask38fKF6"
#define APP   "774e5e14a0874r725bfb90351f1e84f677"

enum { BATCH = 512, EVENTS = 256, WAIT_MS = 200 };

struct call {
    CURL *handle;
    struct curl_slist *headers;
    char order[48], caller[24], callee[24], body[400], answer[512];
    size_t answer_size;
};

static volatile sig_atomic_t stopping;
static int polled;
static double timer_at = -1;
static rd_kafka_t *consumer, *producer;
static rd_kafka_topic_t *results;
static char base_url[256];

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    if (!value || !*value) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return value;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Copies what stands behind "name": in flat JSON. */
static void copy_member(const char *json, size_t size, const char *name, char *out, size_t out_size)
{
    size_t length = 0;
    const char *end = json + size, *at = memmem(json, size, name, strlen(name));
    if (at)
        for (at += strlen(name); at < end && strchr("\": ", *at);)
            at++;
    while (at && at < end && !strchr("\",}", *at) && length + 1 < out_size)
        out[length++] = *at++;
    out[length] = '\0';
}

static size_t on_answer(char *data, size_t size, size_t count, void *opaque)
{
    struct call *call = opaque;
    count *= size;
    if (call->answer_size + count >= sizeof call->answer)
        return 0;
    memcpy(call->answer + call->answer_size, data, count);
    call->answer_size += count;
    return count;
}

static void call_init(struct call *call)
{
    call->handle = curl_easy_init();
    curl_easy_setopt(call->handle, CURLOPT_CAINFO, setting("CA"));
    curl_easy_setopt(call->handle, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(call->handle, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(call->handle, CURLOPT_PRIVATE, call);
    curl_easy_setopt(call->handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(call->handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(call->handle, CURLOPT_TIMEOUT_MS, 20000L);
}

/* Reads the event, signs, and makes URL, headers and body of the call. */
static void call_prepare(struct call *call, const rd_kafka_message_t *message)
{
    char plain[160], url[384], header[320] = "Authorization: ";
    unsigned char digest[16];
    time_t local = time(NULL) + 8 * 3600;
    struct tm parts;
    const char *json = message->payload;
    copy_member(json, message->len, "\"orderId\"", call->order, sizeof call->order);
    copy_member(json, message->len, "\"Caller\"", call->caller, sizeof call->caller);
    copy_member(json, message->len, "\"Callee\"", call->callee, sizeof call->callee);
    size_t length = strlen(strcpy(plain, TOKEN ":" APP ":"));
    length +=
        strftime(plain + length, sizeof plain - length, "%Y%m%d%H%M%S", gmtime_r(&local, &parts));
    EVP_Digest(plain, length, digest, NULL, EVP_md5(), NULL);
    int at = snprintf(url, sizeof url, "%s/20171220/bind/callEvent/v1?sig=", base_url);
    for (int i = 0; i < 16; i++)
        at += snprintf(url + at, sizeof url - (size_t)at, "%02X", digest[i]);
    EVP_EncodeBlock((unsigned char *)header + strlen(header), (unsigned char *)plain, (int)length);
    curl_slist_free_all(call->headers);
    call->headers = curl_slist_append(NULL, header);
    call->headers = curl_slist_append(call->headers, "Accept: application/json");
    call->headers =
        curl_slist_append(call->headers, "Content-Type: application/json;charset=utf-8");
    call->headers = curl_slist_append(call->headers, "Expect:");
    snprintf(call->body, sizeof call->body,
             "{\"ACCOUNTSID\":\"" TOKEN "\",\"APPID\":\"" APP
             "\",\"Caller\":\"%s\",\"Callee\":\"%s\",\"Direct\":\"0\"}",
             call->caller, call->callee);
    call->answer_size = 0;
    curl_easy_setopt(call->handle, CURLOPT_URL, url);
    curl_easy_setopt(call->handle, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(call->handle, CURLOPT_POSTFIELDS, call->body);
}

static void call_publish(struct call *call, CURLcode code)
{
    long status = 0;
    char number[64], value[400];
    curl_easy_getinfo(call->handle, CURLINFO_RESPONSE_CODE, &status);
    if (code || status != 200) {
        fprintf(stderr, "call: %s, status %ld\n", curl_easy_strerror(code), status);
        return;
    }
    copy_member(call->answer, call->answer_size, "\"Msg\"", number, sizeof number);
    int size = snprintf(value, sizeof value,
                        "{\"orderId\":\"%s\",\"Caller\":\"%s\",\"Flag\":1,\"Msg\":\"%s\"}",
                        call->order, call->caller, number);
    while (rd_kafka_produce(results, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value,
                            (size_t)size, call->order, strlen(call->order), NULL) &&
           rd_kafka_last_error() == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        rd_kafka_poll(producer, 10);
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

static rd_kafka_t *client(rd_kafka_type_t type, const char *const *settings)
{
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; *settings; settings += 2)
        if (rd_kafka_conf_set(conf, settings[0], settings[1], error, sizeof error))
            exit(fprintf(stderr, "%s\n", error) & 1);
    rd_kafka_t *made = rd_kafka_new(type, conf, error, sizeof error);
    return made ? made : (exit(1), NULL);
}

int main(void)
{
    const char *brokers = setting("BROKERS");
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_ALL);
    snprintf(base_url, sizeof base_url, "https://%s:%s", setting("HTTP_HOST"),
             setting("HTTP_PORT"));
    consumer = client(RD_KAFKA_CONSUMER,
                      (const char *[]){"bootstrap.servers", brokers, "group.id", setting("GROUP"),
                                       "auto.offset.reset", "earliest", "session.timeout.ms",
                                       "10000", NULL});
    producer = client(RD_KAFKA_PRODUCER, (const char *[]){"bootstrap.servers", brokers, "linger.ms",
                                                          "5", "enable.idempotence", "true", NULL});
    results = rd_kafka_topic_new(producer, setting("OUT"), NULL);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, setting("IN"), RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    run(atoi(setting("INFLIGHT")));
    rd_kafka_flush(producer, 5000);
    rd_kafka_consumer_close(consumer);
    return 0;
}
