/* Tells that a broker's quota slows a client down. Nothing else shows it: librdkafka waits, and
 * everything works, but late. The thread that polls the client. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "core/config_kafka.h"
#include "io/kafka_internal.h"

static const char *client_id(const struct kafka *kafka, bool produces)
{
    const struct kafka_setting *setting =
        config_kafka_setting(kafka->config, produces, "client.id");
    return setting ? setting->value : "";
}

static void on_throttle(rd_kafka_t *handle, const char *broker, int32_t id, int delay_ms,
                        void *opaque)
{
    struct kafka *kafka = opaque;
    char name[64];
    (void)broker;
    if (delay_ms <= 0) /* the first answer that is not delayed any more */
        return;
    atomic_fetch_add(&kafka->throttles, 1);
    bool produces = rd_kafka_type(handle) == RD_KAFKA_PRODUCER;
    snprintf(name, sizeof name, "throttle %d", produces);
    if (kafka_log_due(&kafka->log_throttle, name, KAFKA_LOG_INTERVAL_MS))
        log_warn("kafka: broker %" PRId32 " delays the %s of client.id %s by %d ms, because it is "
                 "over its quota; what it %s comes that much later; raise the quota, or run more "
                 "workers",
                 id, produces ? "producer" : "consumer", client_id(kafka, produces), delay_ms,
                 produces ? "publishes" : "reads");
}

void kafka_quota_follow(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_throttle_cb(conf, on_throttle);
}

unsigned kafka_throttles(const struct kafka *kafka)
{
    return atomic_load(&kafka->throttles);
}
