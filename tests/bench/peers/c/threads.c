/* Order in the simplest way: one thread for each call that may be open, and an order id always in
 * the same one. No care for crashes. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "peer.h"

enum {
    AHEAD = 20, /* requests read ahead, for each thread on average */
    STACK = 256 << 10
};

struct item {
    rd_kafka_message_t *message;
    struct item *next;
};

struct lane {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct item *first, **end;
    bool over;
};

static atomic_int waiting;

/* The next one; NULL: there will be none. */
static struct item *take(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (!lane->first && !lane->over)
        pthread_cond_wait(&lane->filled, &lane->lock);
    struct item *item = lane->first;
    if (item && !(lane->first = item->next))
        lane->end = &lane->first;
    pthread_mutex_unlock(&lane->lock);
    return item;
}

static void put(struct lane *lane, rd_kafka_message_t *message)
{
    struct item *item = malloc(sizeof *item);
    *item = (struct item){.message = message};
    pthread_mutex_lock(&lane->lock);
    *lane->end = item;
    lane->end = &item->next;
    pthread_cond_signal(&lane->filled);
    pthread_mutex_unlock(&lane->lock);
}

static void *work(void *argument)
{
    struct lane *lane = argument;
    struct call call = {0};
    call_init(&call);
    for (struct item *item; (item = take(lane)); free(item)) {
        call_prepare(&call, item->message);
        call_publish(&call, curl_easy_perform(call.handle));
        rd_kafka_message_destroy(item->message);
        waiting--;
    }
    return NULL;
}

static struct lane *start(int count)
{
    struct lane *lanes = calloc((size_t)count, sizeof *lanes);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    for (int i = 0; i < count; i++) {
        lanes[i].end = &lanes[i].first;
        pthread_mutex_init(&lanes[i].lock, NULL);
        pthread_cond_init(&lanes[i].filled, NULL);
        pthread_create(&lanes[i].thread, &small, work, &lanes[i]);
    }
    return lanes;
}

static void stop(struct lane *lanes, int count)
{
    for (int i = 0; i < count; i++) {
        pthread_mutex_lock(&lanes[i].lock);
        lanes[i].over = true;
        pthread_cond_signal(&lanes[i].filled);
        pthread_mutex_unlock(&lanes[i].lock);
    }
    for (int i = 0; i < count; i++)
        pthread_join(lanes[i].thread, NULL);
    free(lanes);
}

static size_t lane_of(const rd_kafka_message_t *message, int count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < message->key_len; i++)
        hash = (hash ^ ((const unsigned char *)message->key)[i]) * 0x100000001b3u;
    return (hash >> 20) % (size_t)count;
}

int main(void)
{
    int count = peer_start();
    struct lane *lanes = start(count);
    while (!stopping) {
        rd_kafka_message_t *message = NULL;
        if (waiting < count * AHEAD)
            message = rd_kafka_consumer_poll(consumer, 100);
        else
            usleep(500);
        rd_kafka_poll(producer, 0);
        if (message && message->err) {
            rd_kafka_message_destroy(message);
        } else if (message) {
            waiting++;
            put(&lanes[lane_of(message, count)], message);
        }
    }
    stop(lanes, count);
    return peer_stop();
}
