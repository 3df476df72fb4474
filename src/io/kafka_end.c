/* Ends consumers on threads of their own. rd_kafka_destroy takes seconds where brokers are away,
 * and librdkafka 2.0 never returns from it once a partition that was assigned has left the topic
 * (it was deleted, and created again with fewer partitions). No thread that has other work may wait
 * for that. */
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

/* Longer than the worker's own limit for its clients' end (limit_end in worker.c), after which it
 * ends the process without exit handlers, which threads of librdkafka would not survive. */
enum { ENDED_MS = 5000, LOOK_EVERY_MS = 5 };

/* Of the process, because a consumer may outlive its struct kafka. */
static atomic_int ending;

bool kafka_consumer_is_cooperative(rd_kafka_t *consumer)
{
    const char *protocol = rd_kafka_rebalance_protocol(consumer);
    return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

/* librdkafka never ends a consumer whose cooperative assignment is unanswered: its thread takes a
 * whole core, as long as the process lives. */
static void answer_with_nothing(rd_kafka_t *consumer)
{
    if (!kafka_consumer_is_cooperative(consumer))
        return;
    rd_kafka_topic_partition_list_t *none = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_error_t *error = rd_kafka_incremental_assign(consumer, none);
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(none);
}

/* Without rd_kafka_consumer_close, which would wait for callbacks that nobody serves. */
void kafka_consumer_end_now(rd_kafka_t *consumer)
{
    answer_with_nothing(consumer);
    rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void *end(void *consumer)
{
    kafka_consumer_end_now(consumer);
    atomic_fetch_sub(&ending, 1);
    return NULL;
}

void kafka_consumer_end(rd_kafka_t *consumer)
{
    pthread_t thread;
    atomic_fetch_add(&ending, 1);
    if (pthread_create(&thread, NULL, end, consumer))
        log_warn("kafka: a consumer that is replaced stays until the process ends, as no thread "
                 "can be started that ends it");
    else
        pthread_detach(thread);
}

bool kafka_consumers_ended(void)
{
    for (int waited = 0; atomic_load(&ending) && waited < ENDED_MS; waited += LOOK_EVERY_MS)
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_MS * 1000000L}, NULL);
    return !atomic_load(&ending);
}
