/* Whether librdkafka survives (a) an answer to a fetch that names the new leader of one partition,
 * and says of the others that they have none (LeaderId -1 in the tag CurrentLeader, KIP-951), as a
 * broker that starts again does; (b) a topic that is made again: with another id under its name.
 * The broker here knows no more than this takes. Memory that malloc
 * has just given is filled with 0xFE. A partition that librdkafka has not filled in has therefore
 * this number and this leader. The answer names a broker of that number, too, so that using such a
 * partition ends the process for certain (SIGSEGV); so does memory that was freed, of which malloc
 * fills each byte with 0x01. Needs a librdkafka that knows Fetch 16 (2.4 or
 * newer). Exit status: 0 if it survives, 1 if the test itself did not work. */
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* So many that librdkafka's memory for them is not one that malloc keeps for quick use, and does
 * not fill. ANSWERS: enough for the first to be used. */
enum {
    PARTITIONS = 32,
    ANSWERS = 20,
    SECONDS = 60,
    PRODUCE = 0,
    FETCH = 1,
    METADATA = 3,
    API_VERSIONS = 18
};
#define UNFILLED ((int32_t)0xFEFEFEFE)

static const char host[] = "127.0.0.1", topic[] = "requests";
static int port;
static atomic_int answered; /* fetches of all partitions */
static atomic_int again;    /* how often the topic was made again */

struct bytes {
    size_t length;
    unsigned char data[8192];
};

static void put(struct bytes *to, int size, int64_t value)
{
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
        to->data[to->length++] = (unsigned char)(value >> shift);
}

static void put_text(struct bytes *to, const char *text)
{
    put(to, 1, (int64_t)strlen(text) + 1);
    memcpy(to->data + to->length, text, strlen(text));
    to->length += strlen(text);
}

static void put_topic_id(struct bytes *to)
{
    put(to, 8, 1);
    put(to, 8, 2 + again);
}

static void put_broker(struct bytes *to, int32_t node, int at)
{
    put(to, 4, node);
    put_text(to, host);
    put(to, 4, at);
    put(to, 1, 0); /* no rack */
    put(to, 1, 0);
}

static void put_versions(struct bytes *to)
{
    static const int known[][3] = {
        {PRODUCE, 0, 3}, {FETCH, 4, 16}, {METADATA, 12, 12}, {API_VERSIONS, 0, 3}};
    put(to, 2, 0);
    put(to, 1, 5);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++)
            put(to, 2, known[i][j]);
        put(to, 1, 0);
    }
    put(to, 4, 0);
    put(to, 1, 0);
}

static void put_metadata(struct bytes *to)
{
    put(to, 4, 0);
    put(to, 1, 2);
    put_broker(to, 1, port);
    put_text(to, "cluster");
    put(to, 4, 1);
    put(to, 1, 2);
    put(to, 2, 0);
    put_text(to, topic);
    put_topic_id(to);
    put(to, 1, 0);
    put(to, 1, PARTITIONS + 1);
    for (int i = 0; i < PARTITIONS; i++) {
        put(to, 2, 0);
        put(to, 4, i);
        put(to, 4, 1); /* leader */
        put(to, 4, 0); /* its epoch */
        for (int j = 0; j < 2; j++) {
            put(to, 1, 2);
            put(to, 4, 1);
        }
        put(to, 1, 1); /* no replica is offline */
        put(to, 1, 0);
    }
    put(to, 4, INT32_MIN);
    put(to, 1, 0);
    put(to, 1, 0);
}

/* An answer without records. all: with all partitions, the first of which has a leader. */
static void put_fetched(struct bytes *to, int all)
{
    put(to, 4, 0);
    put(to, 2, 0);
    put(to, 4, 0);
    put(to, 1, all ? 2 : 1);
    if (all) {
        put_topic_id(to);
        put(to, 1, PARTITIONS + 1);
        for (int i = 0; i < PARTITIONS; i++) {
            put(to, 4, i);
            put(to, 2, 0);
            for (int j = 0; j < 3; j++)
                put(to, 8, 0); /* high watermark, last stable offset, log start */
            put(to, 1, 0);
            put(to, 4, -1);
            put(to, 1, 1); /* no records */
            put(to, 1, 1); /* one tag, CurrentLeader, of nine bytes */
            put(to, 1, 1);
            put(to, 1, 9);
            put(to, 4, i == 0 ? 1 : -1);
            put(to, 4, i == 0 ? 0 : -1);
            put(to, 1, 0);
        }
        put(to, 1, 0);
    }
    if (!all) {
        put(to, 1, 0);
        return;
    }
    struct bytes nodes = {0};
    put(&nodes, 1, 2);
    put_broker(&nodes, UNFILLED, 1);
    put(to, 1, 1); /* one tag, NodeEndpoints */
    put(to, 1, 0);
    put(to, 1, (int64_t)nodes.length);
    memcpy(to->data + to->length, nodes.data, nodes.length);
    to->length += nodes.length;
}

static uint32_t number(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Answers a request of that many bytes; -1: it cannot. */
static int answer(int socket, const unsigned char *request, size_t length)
{
    struct bytes to = {0};
    int api = request[1], name = request[8] << 8 | request[9];
    const unsigned char *body = request + 11 + name;
    put(&to, 4, 0);
    put(&to, 4, number(request + 4));
    if (api == API_VERSIONS) {
        put_versions(&to);
    } else if (api == METADATA) {
        put(&to, 1, 0);
        put_metadata(&to);
    } else if (api == FETCH && request[3] == 16 && body + 38 < request + length) {
        int all =
            body[21] == 2 &&
            body[38] == PARTITIONS + 1; /* behind one topic's id: how many partitions, and one */
        put(&to, 1, 0);
        put_fetched(&to, all);
        answered += all;
    } else {
        fprintf(stderr, "leaders: an unexpected request: API %d, version %d\n", api, request[3]);
        return -1;
    }
    uint32_t size = htonl((uint32_t)to.length - 4);
    memcpy(to.data, &size, 4);
    return send(socket, to.data, to.length, MSG_NOSIGNAL) == (ssize_t)to.length ? 0 : -1;
}

static void *serve(void *socket_)
{
    int socket = (int)(intptr_t)socket_;
    unsigned char size[4], request[8192];
    while (recv(socket, size, 4, MSG_WAITALL) == 4 && number(size) > 16 &&
           number(size) <= sizeof request &&
           recv(socket, request, number(size), MSG_WAITALL) == (ssize_t)number(size) &&
           answer(socket, request, number(size)) == 0) {
    }
    close(socket);
    return NULL;
}

static void *accept_all(void *listener)
{
    for (int socket; (socket = accept((int)(intptr_t)listener, NULL, NULL)) >= 0;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)socket) != 0)
            exit(1);
    }
    return NULL;
}

static void need(int fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "leaders: %s\n", what);
    exit(1);
}

static rd_kafka_t *client(rd_kafka_type_t type)
{
    char error[256] = "", broker[32];
    snprintf(broker, sizeof broker, "%s:%d", host, port);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    need(rd_kafka_conf_set(conf, "bootstrap.servers", broker, error, sizeof error) ==
             RD_KAFKA_CONF_OK,
         error);
    rd_kafka_t *kafka = rd_kafka_new(type, conf, error, sizeof error);
    need(kafka != NULL, error);
    return kafka;
}

static void names_leaders(void)
{
    rd_kafka_t *kafka = client(RD_KAFKA_CONSUMER);
    rd_kafka_topic_t *requests = rd_kafka_topic_new(kafka, topic, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
    for (int i = 0; i < PARTITIONS; i++)
        need(rd_kafka_consume_start_queue(requests, i, 0, queue) == 0,
             "a partition cannot be read");
    for (time_t end = time(NULL) + SECONDS; answered < ANSWERS && time(NULL) < end;) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 100);
        if (message)
            rd_kafka_message_destroy(message);
    }
    need(answered >= ANSWERS, "not all partitions were fetched");
}

/* By a client that reads nothing. */
static void makes_topic_again(void)
{
    rd_kafka_t *kafka = client(RD_KAFKA_PRODUCER);
    rd_kafka_topic_t *requests = rd_kafka_topic_new(kafka, topic, NULL);
    for (again = 0; again < ANSWERS; again++) {
        const struct rd_kafka_metadata *found;
        need(rd_kafka_metadata(kafka, 0, requests, &found, SECONDS * 1000) == 0,
             "the topic is not found");
        rd_kafka_metadata_destroy(found);
    }
}

int main(void)
{
    need(mallopt(M_PERTURB, 0x01) == 1, "malloc does not fill its memory");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    need(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 8) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &length) == 0,
         "no port to listen at");
    port = ntohs(address.sin_port);
    pthread_t acceptor;
    need(pthread_create(&acceptor, NULL, accept_all, (void *)(intptr_t)listener) == 0, "no thread");

    names_leaders();
    printf("librdkafka %s survives %d answers that name leaders and say of other partitions that "
           "they have none",
           rd_kafka_version_str(), ANSWERS);
    fflush(stdout);
    makes_topic_again();
    printf(", and %d topics that are made again\n", ANSWERS);
    return 0;
}
