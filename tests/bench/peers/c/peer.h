/* What the peers written in C share: the call that a request becomes, its result, and the clients
 * of Kafka. Each peer is one program that includes this. */
#pragma once

#include <curl/curl.h>
#include <librdkafka/rdkafka.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKEN "akwiKeKEKG01kfas63910IRJL6ask38fKF6"
#define APP   "774e5e14a0874r725bfb90351f1e84f677"

struct call {
    CURL *handle;
    struct curl_slist *headers;
    char order[48], caller[24], callee[24], body[400], answer[512];
    size_t answer_size;
};

static volatile sig_atomic_t stopping;
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

/* Makes the clients, subscribes, and says how many calls may be open at once. */
static int peer_start(void)
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
    rd_kafka_topic_partition_list_destroy(topics);
    return atoi(setting("INFLIGHT"));
}

static int peer_stop(void)
{
    rd_kafka_flush(producer, 5000);
    rd_kafka_consumer_close(consumer);
    return 0;
}
