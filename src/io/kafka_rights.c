/* Rights that the broker does not grant. A right that is taken away may be given back, and the
 * process holds calls meanwhile: so it goes on asking, says once a minute which right is missing,
 * and is not ready. Any thread. */
#include <stdio.h>

#include "base/log.h"
#include "io/kafka_internal.h"

enum { SAY_EVERY_MS = 60000 };

void kafka_right_missing(struct kafka *kafka, enum kafka_right right, const char *on,
                         const char *words)
{
    static const char *const names[] = {
        [RIGHT_READ_TOPIC] = "READ on topic",
        [RIGHT_WRITE_TOPIC] = "WRITE on topic",
        [RIGHT_READ_GROUP] = "READ on group",
        [RIGHT_WRITE_ID] = "WRITE on the transactional ids that begin with",
    };
    char name[320];
    atomic_fetch_or(&kafka->rights_missing, 1u << right);
    snprintf(name, sizeof name, "right %d %s", (int)right, on);
    if (kafka_noise_due(&kafka->noise, name, SAY_EVERY_MS))
        log_error("kafka: no permission (%s): the worker needs the right %s %s; trying on", words,
                  names[right], on);
}

void kafka_right_given(struct kafka *kafka, enum kafka_right right)
{
    atomic_fetch_and(&kafka->rights_missing, ~(1u << right));
}

bool kafka_lacks_right(const struct kafka *kafka)
{
    return atomic_load(&kafka->rights_missing) != 0;
}

bool kafka_is_denied(struct kafka *kafka, rd_kafka_resp_err_t code, const char *words)
{
    const char *group = kafka->config->group_ids[kafka->job];
    switch (code) {
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        kafka_right_missing(kafka, RIGHT_READ_GROUP, group, words);
        return true;
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        kafka_right_missing(kafka, RIGHT_WRITE_ID, group, words);
        return true;
    default:
        return false;
    }
}
