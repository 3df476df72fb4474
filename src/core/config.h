/* The configuration: every documented key. It is read once at the start and constant afterwards, so
 * every thread may read it. Each key is a row in config_keys.c; each Kafka default and rule is a
 * row in config_kafka.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "core/request.h"

/* A setting that goes to librdkafka unchanged. */
struct kafka_setting {
    char *name, *value;      /* name without `kafka.`, `consumer.`, `producer.`, aliases resolved */
    bool consumer, producer; /* the sides that get it */
    bool is_default; /* set by the worker, not by the user: a side that does not know it ignores it
                      */
    bool newer;      /* a default that older versions of librdkafka do not know */
    char *origin;    /* for error messages: file:line, variable or option */
    char *key;       /* for error messages: the key as the user wrote it, without `.file` */
    char *path;      /* the file of the value, if it may be read again; otherwise NULL */
    char *label;     /* for config_print: default, file:line, environment or command line */
};

struct integers { /* a list of Flag values */
    int64_t *values;
    size_t count;
};

struct config {
    struct kafka_setting *kafka; /* of two settings for one side, the later one counts */
    size_t kafka_count;
    char *group_ids[REQUEST_KINDS]; /* each job is a consumer group of its own */
    char *instance_id;
    char *request_topics[REQUEST_KINDS]; /* empty string: that job is off */
    char *result_topics[REQUEST_KINDS];
    char *dead_letters;
    int64_t session_timeout_ms, heartbeat_interval_ms, transaction_timeout_ms;
    int64_t partition_window, partition_window_bytes, memory_max_bytes;
    int64_t stuck_after_ms;
    char *platform_url; /* scheme, host, port and prefix, without a slash at the end */
    bool platform_allow_http;
    char *platform_version, *platform_token, *platform_app_id;
    int platform_utc_offset_minutes;
    char *platform_token_path; /* platform.token.file; NULL: the token is not from a file */
    char *platform_ca_file;    /* NULL: the system's */
    char *platform_cert_file;  /* the client certificate; NULL: none */
    char *platform_key_file;   /* NULL: in platform_cert_file */
    char *platform_tls_groups; /* NULL: OpenSSL's own */
    int64_t platform_connect_timeout_ms, platform_timeout_ms;
    bool platform_connection_reuse;
    int64_t platform_connection_max_age_ms;
    int64_t platform_max_in_flight, recording_max_in_flight;
    int64_t platform_answer_max_bytes, platform_rate_per_second;
    int64_t platform_breaker_failures, platform_breaker_open_ms;
    struct integers platform_auth_flags, call_retry_flags, recording_retry_flags;
    int64_t event_max_bytes, call_max_age_ms, call_deadline_ms;
    int64_t recording_attempts, recording_max_bytes, recording_timeout_ms;
    char *recording_store;      /* a directory; NULL: none */
    char *recording_url_member; /* path of the member with the file's URL; empty: Msg or the first
                                   URL */
    char *recording_url_hosts;  /* names with commas between them; empty: any */
    bool recording_url_allow_private, recording_url_allow_http;
    int64_t drain_timeout_ms;
    char *http_listen;
    char *http_hosts; /* host[:port], with commas between them; may be empty */
    enum log_level log_level;
    enum log_format log_format;
    bool core_dumps;                /* leave the limit of core dumps as it is */
    const char *file;               /* -c; NULL: none. The caller's */
    struct config_origins *origins; /* used by config.c: each key's value and its origin */
};

struct config_input {
    const char *file;           /* -c; NULL: none */
    const char *const *options; /* -o KEY=VALUE */
    size_t option_count;
    char *const *environment; /* as environ */
    bool log_is_terminal;
    const char *host_name; /* default of instance.id; NULL: ask the system */
};

/* Reads and validates the configuration. Returns 0; or -1 with all errors in `errors`, one per
 * line. After -1 config->kafka still holds the settings without an error, so that the Kafka module
 * can check them, too. The caller calls config_fini in both cases. */
int config_load(struct config *config, const struct config_input *input, struct text *errors);

/* Reads platform.token again from its file, by the same rules (platform_token_path is not NULL).
 * Returns 0 or -1; *token is released with free. Any thread. */
int config_read_token(const struct config *config, char **token, struct error *error);

/* Reads a setting's value again from its file (path is not NULL). Returns 0 or -1; *value is
 * released with free. Any thread. */
int config_read_setting(const struct kafka_setting *setting, char **value, struct error *error);

/* Whether the value of that setting is never shown (name as in struct kafka_setting). */
bool kafka_setting_is_secret(const char *name);

/* The setting that one side gets for a name (aliases resolved), or NULL. */
const struct kafka_setting *config_kafka_setting(const struct config *config, bool producer,
                                                 const char *name);
/* The integer that a side gets for a name; `otherwise` if nothing is set. */
int64_t config_kafka_integer(const struct config *config, bool producer, const char *name,
                             int64_t otherwise);

/* How long a call may dial: half the session timeout, ms. */
int64_t config_lease_ms(const struct config *config);
/* The limit of the time for connecting for a call, ms: platform.connect.timeout.ms, but so much
 * less than the lease that the request can still be sent. */
int64_t config_connect_timeout_ms(const struct config *config);

/* kafka.bootstrap.servers, for people. */
const char *config_kafka_servers(const struct config *config);

/* Adds those of them that have no port, with commas between them. librdkafka takes 9092. */
void config_kafka_bare_servers(const struct config *config, struct text *bare);

/* The origin of one of the worker's own keys, for an error; NULL: the key was not given. */
const char *config_origin(const struct config *config, const char *name);

/* Adds `key = value  # origin` lines for every key in force, with secrets as ***. */
void config_print(const struct config *config, struct text *out);

void config_fini(struct config *config);
