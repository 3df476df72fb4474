/* Since when no broker answers, and why, for /status. librdkafka reports when it has lost the last
 * broker; the prober (kafka_probe.c) notices when one answers again, which is a line of the log if
 * another one has said that it is away. Any thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/kafka_internal.h"

/* The log has said so. One for the process: each job notices the same end. */
static atomic_bool told;

void kafka_silence_told(void)
{
    atomic_store(&told, true);
}

void kafka_silence_began(struct kafka *kafka, int64_t wall_ms)
{
    int64_t none = 0;
    atomic_compare_exchange_strong(&kafka->silent_since_ms, &none, wall_ms);
}

/* Errors of earlier connections do not explain a later silence. */
void kafka_silence_ended(struct kafka *kafka)
{
    pthread_mutex_lock(&kafka->log_throttle.lock);
    kafka->silence[0] = '\0';
    pthread_mutex_unlock(&kafka->log_throttle.lock);
    int64_t since = atomic_exchange(&kafka->silent_since_ms, 0);
    if (!since || !atomic_exchange(&told, false))
        return;
    char text[CLOCK_TEXT_SIZE];
    clock_to_text(text, since);
    log_info("kafka: brokers answer again; none did since %s, for %" PRId64 " s: what waited is "
             "published, and the worker joins its groups again if it has lost its partitions",
             text, (clock_wall_ms() - since) / 1000);
}

void kafka_silence_reason(struct kafka *kafka, const char *text)
{
    const char *end = strstr(text, " (after "); /* the duration of the try is left out */
    int length = (int)(end ? end - text : (long)strlen(text));
    pthread_mutex_lock(&kafka->log_throttle.lock);
    snprintf(kafka->silence, sizeof kafka->silence, "%.*s", length, text);
    pthread_mutex_unlock(&kafka->log_throttle.lock);
}

void kafka_silence_guess(struct kafka *kafka, const char *text)
{
    pthread_mutex_lock(&kafka->log_throttle.lock);
    if (!*kafka->silence)
        snprintf(kafka->silence, sizeof kafka->silence, "%s", text);
    pthread_mutex_unlock(&kafka->log_throttle.lock);
}

int64_t kafka_silent_since(struct kafka *kafka, char *reason, size_t size)
{
    pthread_mutex_lock(&kafka->log_throttle.lock);
    snprintf(reason, size, "%s", kafka->silence);
    pthread_mutex_unlock(&kafka->log_throttle.lock);
    return atomic_load(&kafka->silent_since_ms);
}
