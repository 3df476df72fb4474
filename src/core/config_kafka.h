/* The `kafka.*` keys: those that the worker sets itself, and those that it refuses because they
 * would break a guarantee. All others go to librdkafka unchanged. The tables are constant, and
 * tests compare them with docs/configuration.md. Main thread, at start. */
#pragma once

#include "base/text.h"
#include "core/config.h"
#include "core/config_source.h"

enum kafka_sides { KAFKA_CONSUMER = 1, KAFKA_PRODUCER = 2, KAFKA_BOTH = 3 };

/* A setting of the worker, which the user may override. */
struct kafka_default {
    enum kafka_sides sides;
    const char *name;
    const char *value; /* NULL: required */
    bool newer;        /* only where this librdkafka knows it */
};

extern const char kafka_instance_id[]; /* placeholder for the value of instance.id */
extern const char
    kafka_transactional_id[]; /* placeholder for the id made from group and instance */
extern const struct kafka_default kafka_defaults[];
extern const size_t kafka_default_count;

/* A rule for the value of a setting. */
struct kafka_rule {
    const char *name;
    enum kafka_sides sides; /* the sides that the rule applies to */
    /* Returns 0, or -1 with the expected value as error. */
    int (*check)(const struct kafka_rule *rule, const char *value, struct error *why);
    const char *values; /* the allowed values, with | between them */
    int64_t min, max;
    const char *reason; /* why; NULL: no reason is needed */
};

extern const struct kafka_rule kafka_rules[];
extern const size_t kafka_rule_count;

/* The name of a `kafka.*` key with aliases resolved, to be released with free; NULL: it is not such
 * a key. */
char *config_kafka_key(const char *written);

/* Fills config->kafka and the fields that come from it; checks each setting and all together.
 * config's own keys are set already. */
void config_kafka_load(struct config *config, const struct config_sources *sources,
                       struct text *errors);

void config_kafka_fini(struct config *config);
/* Releases one setting, which the caller takes out of the list. */
void config_kafka_setting_fini(struct kafka_setting *setting);

/* Adds the transactional id of a group's member. An instance.id has no colon, so that two different
 * members never have the same. */
void config_kafka_transactional_id(struct text *id, const char *group_id, const char *instance_id);
/* Adds the transactional id of earlier versions, by which their open transactions are ended.
 * Returns false, and adds nothing, if the group's name contains a colon: "a:b" and "c" made
 * "a:b-c", which is now the id of instance b-c in group a. */
bool config_kafka_former_id(struct text *id, const char *group_id, const char *instance_id);
/* Adds an id that begins with this one, belongs to no member, and has the same coordinator, because
 * the hash by which Kafka distributes transactional ids is the same (that of Java's strings; ASCII
 * only). */
void config_kafka_neighbour_id(struct text *neighbour, const char *id);

/* Adds the key of a default or setting as in a configuration. */
void config_kafka_write_key(struct text *text, enum kafka_sides sides, const char *name);
