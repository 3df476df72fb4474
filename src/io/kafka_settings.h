/* The clients' settings, and the copies of the files that librdkafka reads: all that a client needs
 * before it exists, without a struct kafka. Private to io/kafka. Any thread. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "core/config.h"
#include "core/request.h"

struct kafka_copies;

/* kafka_settings.c */

enum kafka_side { SIDE_CONSUMER, SIDE_PRODUCER };
/* The configuration of a job's client without callbacks: its group and transactional id are in it.
 * NULL on failure. */
rd_kafka_conf_t *kafka_settings(const struct config *config, enum request_kind job,
                                enum kafka_side side, struct error *error);
/* Overrides one setting, which librdkafka is known to accept. */
void kafka_setting_must(rd_kafka_conf_t *conf, const char *name, const char *value);
/* Makes a client with the configuration, and owns the configuration even on failure. Of files that
 * have a copy, the copies are used (NULL: there are none). NULL on failure. */
rd_kafka_t *kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                         const struct kafka_copies *copies, struct error *error);

/* Whether a client can be made with the settings. Connects to nothing. Returns 0, or -1. */
int kafka_try_settings(const struct config *config, const struct kafka_copies *copies,
                       enum kafka_side side, struct error *error);

/* kafka_copies.c */

/* The settings that name files which librdkafka reads; NULL at the end. */
extern const char *const kafka_locations[];
/* Whether the setting is one of them, and names a file. */
bool kafka_is_location(const struct kafka_setting *setting);
/* Copies these files. One that cannot be copied (a folder, for example) has no copy. */
struct kafka_copies *kafka_copies_take(const struct config *config);
void kafka_copies_free(struct kafka_copies *copies);
/* Puts the copies' paths into the configuration. They are valid until the copies are freed. */
void kafka_copies_use(const struct kafka_copies *copies, rd_kafka_conf_t *conf);
/* Adds librdkafka's words, with the files' own paths in the places of their copies'. */
void kafka_copies_say(const struct kafka_copies *copies, const char *words, struct text *out);
