/* Reads the text of a value into a field: one function for each type in the key table. All return
 * 0; or -1 with the expected value as error, and the field unchanged. The field's old string is
 * released. Main thread, at start. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/config_keys.h"

#define CONFIG_SETTER(name)                                                                        \
    int name(const struct config_key *key, const char *value, void *field, struct error *why)

CONFIG_SETTER(config_set_integer);    /* int64_t within min and max */
CONFIG_SETTER(config_set_boolean);    /* bool */
CONFIG_SETTER(config_set_name);       /* min to max of A-Z a-z 0-9 . _ - */
CONFIG_SETTER(config_set_path_part);  /* the same, but not . or .. */
CONFIG_SETTER(config_set_group);      /* a consumer group's id */
CONFIG_SETTER(config_set_topic);      /* Kafka's rule for topic names */
CONFIG_SETTER(config_set_job_topic);  /* the same, or empty */
CONFIG_SETTER(config_set_credential); /* printable ASCII without white space and colon */
CONFIG_SETTER(config_set_url);        /* http(s)://host[:port][/prefix]; no slash at the end */
CONFIG_SETTER(config_set_listen);     /* host:port, where the port may be 0; or empty */
CONFIG_SETTER(config_set_http_hosts); /* host[:port], with commas between them; or empty */
CONFIG_SETTER(config_set_zone);       /* +hh:mm; int minutes */
CONFIG_SETTER(config_set_ca_file);    /* a readable PEM file with a certificate; empty: NULL */
CONFIG_SETTER(config_set_key_file);   /* a readable PEM file with a private key; empty: NULL */
CONFIG_SETTER(config_set_tls_groups); /* names with colons between them; empty: NULL */
CONFIG_SETTER(config_set_store);      /* a directory that can be written to; none: NULL */
CONFIG_SETTER(config_set_path);       /* of a member of an answer; or empty */
CONFIG_SETTER(config_set_hosts);      /* host names, also *.name, with commas; or empty */
CONFIG_SETTER(config_set_flags);      /* struct integers: Flag values but 1 */
CONFIG_SETTER(config_set_log_level);  /* enum log_level */
CONFIG_SETTER(config_set_log_format); /* enum log_format */
CONFIG_SETTER(config_set_text);       /* any text */

/* Whether the name is 1 to 249 of A-Z a-z 0-9 . _ - and not . or .. (Kafka's rule for topics). */
bool config_is_topic(const char *name);

/* Whether the text can be a consumer group's id, which is used in headers and transactional ids: 1
 * to 249 bytes without control characters. */
bool config_is_group(const char *id);

/* A value for an error message: in quotes, escaped, and cut if it is long. */
struct config_shown {
    char text[400];
};
struct config_shown config_show(const char *value);
