/* The `kafka.*` keys: what the worker sets itself, and what it does not let be set, because it
 * would break a guarantee. Everything else goes to librdkafka as it is. Constant tables, which the
 * tests compare with docs/configuration.md. Main thread, at start. */
#pragma once

#include "base/text.h"
#include "core/config.h"
#include "core/config_source.h"

enum kafka_sides { KAFKA_CONSUMER = 1, KAFKA_PRODUCER = 2, KAFKA_BOTH = 3 };

/* A setting that the worker makes where the user does not. */
struct kafka_default {
    enum kafka_sides sides;
    const char *name;
    const char *value; /* NULL: required */
    bool newer;        /* only where this librdkafka knows it */
};

extern const char kafka_instance_id[];      /* stands for the value of instance.id */
extern const char kafka_transactional_id[]; /* stands for the id made of group and instance */
extern const struct kafka_default kafka_defaults[];
extern const size_t kafka_default_count;

/* What a setting must be. */
struct kafka_rule {
    const char *name;
    enum kafka_sides sides; /* which side's setting it is about */
    /* Returns 0, or -1 with what was expected. */
    int (*check)(const struct kafka_rule *rule, const char *value, struct error *why);
    const char *values; /* the values allowed, with | between them */
    int64_t min, max;
    const char *reason; /* NULL: the value would just be wrong */
};

extern const struct kafka_rule kafka_rules[];
extern const size_t kafka_rule_count;

/* The key under which a written `kafka.*` key is known (aliases resolved), to be released with
 * free; NULL when it is no such key. */
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
/* Adds the one that earlier versions used: what such a version has left open is ended under it.
 * Returns false, and adds nothing, where the group's name holds a colon: "a:b" and "c" made
 * "a:b-c", which is now the id of instance b-c in group a. */
bool config_kafka_former_id(struct text *id, const char *group_id, const char *instance_id);
/* Adds an id that begins with this one, is no member's, and has the same coordinator: the hash by
 * which Kafka spreads transactional ids is the same (that of Java's strings; of ASCII only). */
void config_kafka_neighbour_id(struct text *neighbour, const char *id);

/* Adds a default's or setting's key as it is written in a configuration. */
void config_kafka_write_key(struct text *text, enum kafka_sides sides, const char *name);
