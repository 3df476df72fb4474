/* Rights that the broker does not grant. A right that was taken away may be granted again, and the
 * process holds calls in the meantime. So the process keeps trying, logs once a minute which right
 * is missing, and is not ready. Any thread. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/kafka_internal.h"

enum { SAY_EVERY_MS = 60000 };

/* Both jobs need the right on the topic of dead letters: one line for the process. */
static struct kafka_log_throttle said = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The bit of a right. The right to write has a bit for each topic, because success on one topic
 * proves nothing about another. */
static unsigned bit_of(const struct kafka *kafka, enum kafka_right right, const char *on)
{
    unsigned output = 0;
    bool written = right == RIGHT_FIND_OUTPUT || right == RIGHT_WRITE_TOPIC;
    while (written && output + 1 < kafka->output_count && strcmp(kafka->outputs[output].name, on))
        output++;
    return 1u << ((unsigned)right * KAFKA_OUTPUTS + output);
}

void kafka_right_missing(struct kafka *kafka, enum kafka_right right, const char *on,
                         const char *words)
{
    static const char *const names[] = {
        [RIGHT_FIND_INPUT] = "READ on topic",
        [RIGHT_READ_TOPIC] = "READ on topic",
        [RIGHT_FIND_OUTPUT] = "WRITE on topic",
        [RIGHT_WRITE_TOPIC] = "WRITE on topic",
        [RIGHT_FIND_GROUP] = "READ on group",
        [RIGHT_READ_GROUP] = "READ on group",
        [RIGHT_WRITE_ID] = "WRITE on the transactional ids that begin with",
    };
    char name[320];
    atomic_fetch_or(&kafka->rights_missing, bit_of(kafka, right, on));
    snprintf(name, sizeof name, "right %s %s", names[right], on);
    if (kafka_log_due(&said, name, SAY_EVERY_MS))
        log_error("kafka: no permission (%s): the worker needs the right %s %s: give it to the "
                  "worker's user (docs/kafka.md); it is tried again",
                  words, names[right], on);
}

void kafka_right_given(struct kafka *kafka, enum kafka_right right, const char *on)
{
    unsigned given = bit_of(kafka, right, on);
    if (right == RIGHT_READ_GROUP) /* who may read the group may find it */
        given |= bit_of(kafka, RIGHT_FIND_GROUP, on);
    atomic_fetch_and(&kafka->rights_missing, ~given);
}

bool kafka_line_forbids(const char *facility, const char *line, const char *topic)
{
    char name[260];
    snprintf(name, sizeof name, "\"%s\" [", topic);
    return !strcmp(facility, "ADDPARTS") && strstr(line, "uthorization failed") &&
           strstr(line, name);
}

void kafka_right_read(struct kafka *kafka, const char *facility, const char *line)
{
    for (size_t i = 0; i < kafka->output_count; i++)
        if (kafka_line_forbids(facility, line, kafka->outputs[i].name))
            kafka_right_missing(kafka, RIGHT_WRITE_TOPIC, kafka->outputs[i].name,
                                rd_kafka_err2str(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
}

bool kafka_may_not_write(const struct kafka *kafka, const char *topic)
{
    return atomic_load(&kafka->rights_missing) & bit_of(kafka, RIGHT_WRITE_TOPIC, topic);
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

void kafka_offsets_denied(struct kafka *kafka, rd_kafka_resp_err_t code, const char *words)
{
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        kafka_right_missing(kafka, RIGHT_READ_TOPIC, kafka->config->request_topics[kafka->job],
                            words);
    else
        kafka_is_denied(kafka, code, words);
}

bool kafka_is_lasting(rd_kafka_resp_err_t code)
{
    return kafka_remedy(code) && code != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
}

const char *kafka_why_refused(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return ": give this user the right READ on the topic (docs/kafka.md)";
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        return ": give this user the right READ on the group (docs/kafka.md)";
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return ": give this user the right WRITE on the transactional ids that begin with "
               "kafka.group.id (docs/kafka.md)";
    default:
        return "";
    }
}
