#include "core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/config_kafka.h"
#include "core/config_keys.h"
#include "core/config_source.h"

enum {
    CREDENTIALS_LIMIT = 700, /* token and app id together: signature.h's buffer */
    DRAIN_MARGIN_MS = 5000,
};

/* Value and origin of each key of config_keys, in that order: an array of config_key_count. */
struct config_origins {
    char *shown;  /* the value, or *** for a secret; NULL: not set */
    char *origin; /* for errors; NULL: default */
    char *label;  /* for config_print */
};

static void remember(struct config *config, size_t index, const char *value, const char *label)
{
    struct config_origins *row = &config->origins[index];
    free(row->shown);
    free(row->label);
    row->shown = memory_string(config_keys[index].secret ? "***" : value);
    row->label = memory_string(label);
}

static void set_default(struct config *config, size_t index, bool given,
                        const struct config_input *input, struct text *errors)
{
    const struct config_key *key = &config_keys[index];
    char computed[256];
    const char *value = key->fallback;
    if (key->derived)
        return;
    if (key->compute) {
        key->compute(input, computed);
        value = computed;
    }
    struct error why;
    if (value && !key->set(key, value, (char *)config + key->field, &why)) {
        remember(config, index, value, "default");
    } else if (value && !given) {
        config_error(errors, key->fallback, key->name, "%s", why.text);
    } else if (!given) {
        config_required(errors, key->name);
    }
}

static void set_given(struct config *config, size_t index, const struct config_entry *entry,
                      struct text *errors)
{
    const struct config_key *key = &config_keys[index];
    struct error why;
    char *value = NULL;
    int rc = config_entry_value(entry, key->secret, &value, &why);
    if (!rc)
        rc = key->set(key, value, (char *)config + key->field, &why);
    config->origins[index].origin = memory_string(entry->origin);
    if (!rc && entry->from_file && !strcmp(key->name, "platform.token") &&
        config_is_regular(entry->value)) /* the content of a pipe cannot be read again */
        config->platform_token_path = memory_string(entry->value);
    if (!rc)
        remember(config, index, value, config_entry_label(entry));
    else
        config_error(errors, entry->origin, entry->written, "%s", why.text);
    free(value);
}

static const char recording_group[] = "recording.group.id";

/* Each job has its own group, so that each topic is spread evenly over the workers. */
static void set_recording_group(struct config *config, struct text *errors)
{
    const struct config_key *key = config_key_find(recording_group);
    size_t index = (size_t)(key - config_keys);
    const char *calls = config->group_ids[REQUEST_CALL];
    if (!calls || config->origins[index].origin) /* reported already, or given by the user */
        return;
    struct text value = {0};
    struct error why;
    text_printf(&value, "%s-recordings", calls);
    if (!key->set(key, value.data, (char *)config + key->field, &why))
        remember(config, index, value.data, "default");
    else
        config_error(errors, NULL, recording_group,
                     "expected it to be set, as its default, <kafka.group.id>-recordings, is too "
                     "long: %s",
                     why.text);
    text_fini(&value);
}

static void check_groups(const struct config *config, struct text *errors)
{
    const char *calls = config->group_ids[REQUEST_CALL];
    const char *recordings = config->group_ids[REQUEST_RECORDING];
    if (calls && recordings && !strcmp(calls, recordings))
        config_error(errors, config_origin(config, recording_group), recording_group,
                     "expected a group of its own, but kafka.group.id is \"%s\" too", calls);
}

static void check_topics(const struct config *config, struct text *errors)
{
    static const char *const keys[] = {"topic.call.requests", "topic.call.results",
                                       "topic.recording.requests", "topic.recording.results",
                                       "topic.dead.letters"};
    const char *topics[] = {config->request_topics[REQUEST_CALL],
                            config->result_topics[REQUEST_CALL],
                            config->request_topics[REQUEST_RECORDING],
                            config->result_topics[REQUEST_RECORDING], config->dead_letters};
    size_t count = sizeof topics / sizeof *topics;
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++) {
            if (!*topics[i] || strcmp(topics[i], topics[j]) != 0)
                continue;
            bool second = config_origin(config, keys[j]);
            config_error(errors, config_origin(config, keys[second ? j : i]), keys[second ? j : i],
                         "expected a topic of its own, but %s is \"%s\" too", keys[second ? i : j],
                         topics[i]);
        }
    if (!*topics[0] && !*topics[2])
        config_error(errors, config_origin(config, keys[0]), keys[0],
                     "expected this or topic.recording.requests to name a topic: with both empty "
                     "there is nothing to do");
}

/* Whether token and app id together fit into the signature. */
static bool fit_together(const char *token, const char *app_id)
{
    return strlen(token) + strlen(app_id) <= CREDENTIALS_LIMIT;
}

static void check_platform(const struct config *config, struct text *errors)
{
    if (config->platform_key_file && !config->platform_cert_file)
        config_error(errors, config_origin(config, "platform.key.file"), "platform.key.file",
                     "expected platform.cert.file too, the certificate that the key is for");
    if (config->platform_url && !strncmp(config->platform_url, "http://", 7) &&
        !config->platform_allow_http)
        config_error(errors, config_origin(config, "platform.url"), "platform.url",
                     "expected https://: http:// would send the token in the clear, and needs "
                     "platform.allow.http = true");
    const char *token = config->platform_token, *app_id = config->platform_app_id;
    if (token && app_id && !fit_together(token, app_id))
        config_error(errors, config_origin(config, "platform.token"), "platform.token",
                     "expected at most %d bytes together with platform.app.id", CREDENTIALS_LIMIT);
}

/* A drain must end before the group revokes the partitions of a member that does not poll. */
static void check_drain(const struct config *config, struct text *errors)
{
    const struct kafka_setting *poll = config_kafka_setting(config, false, "max.poll.interval.ms");
    int64_t interval, least = config->drain_timeout_ms + DRAIN_MARGIN_MS;
    if (!poll || text_to_integer(poll->value, 0, least - 1, &interval) < 0)
        return;
    const char *origin =
        poll->is_default ? config_origin(config, "drain.timeout.ms") : poll->origin;
    config_error(errors, origin, poll->is_default ? "drain.timeout.ms" : poll->key,
                 "expected kafka.max.poll.interval.ms to be at least drain.timeout.ms and 5 s, so "
                 "%lld, not %lld",
                 (long long)least, (long long)interval);
}

const char *config_origin(const struct config *config, const char *name)
{
    const struct config_key *key = config_key_find(name);
    return key && config->origins ? config->origins[key - config_keys].origin : NULL;
}

int config_load(struct config *config, const struct config_input *input, struct text *errors)
{
    *config = (struct config){.file = input->file};
    config->origins = memory_zeroed(config_key_count, sizeof *config->origins);
    size_t before = errors->length;
    struct config_sources sources;
    config_sources_read(&sources, input, errors);
    if (sources.incomplete) {
        config_sources_fini(&sources);
        return -1;
    }
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_entry *entry = config_sources_find(&sources, config_keys[i].name);
        set_default(config, i, entry, input, errors);
        if (entry)
            set_given(config, i, entry, errors);
    }
    config_kafka_load(config, &sources, errors);
    set_recording_group(config, errors);
    check_groups(config, errors);
    check_topics(config, errors);
    check_platform(config, errors);
    check_drain(config, errors);
    config_sources_fini(&sources);
    return errors->length == before ? 0 : -1;
}

int config_read_token(const struct config *config, char **token, struct error *error)
{
    struct config_entry entry = {.value = config->platform_token_path, .from_file = true};
    const struct config_key *key = config_key_find("platform.token");
    char *value = NULL;
    *token = NULL;
    if (config_entry_value(&entry, true, &value, error) < 0)
        return -1;
    int rc = key->set(key, value, token, error);
    if (!rc && !fit_together(value, config->platform_app_id))
        rc = error_set(error, "expected at most %d bytes together with platform.app.id",
                       CREDENTIALS_LIMIT);
    if (rc) {
        free(*token);
        *token = NULL;
    }
    free(value);
    return rc;
}

static void print_line(struct text *out, const char *key, const char *value, const char *label)
{
    text_printf(out, "%s =", key);
    if (*value)
        text_add(out, " ");
    text_visible(out, value, strlen(value));
    text_add(out, "  # ");
    text_visible(out, label, strlen(label));
    text_add(out, "\n");
}

void config_print(const struct config *config, struct text *out)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_origins *row = &config->origins[i];
        if (row->shown)
            print_line(out, config_keys[i].name, row->shown, row->label);
    }
    for (size_t i = 0; i < config->kafka_count; i++) {
        const struct kafka_setting *setting = &config->kafka[i];
        print_line(out, setting->key,
                   kafka_setting_is_secret(setting->name) ? "***" : setting->value, setting->label);
    }
}

void config_fini(struct config *config)
{
    for (size_t i = 0; config->origins && i < config_key_count; i++) {
        free(config->origins[i].shown);
        free(config->origins[i].origin);
        free(config->origins[i].label);
    }
    free(config->origins);
    config_kafka_fini(config);
    for (size_t i = 0; i < REQUEST_KINDS; i++) {
        free(config->request_topics[i]);
        free(config->result_topics[i]);
        free(config->group_ids[i]);
    }
    free(config->instance_id);
    free(config->dead_letters);
    free(config->platform_url);
    free(config->platform_version);
    free(config->platform_token);
    free(config->platform_app_id);
    free(config->platform_token_path);
    free(config->platform_ca_file);
    free(config->platform_cert_file);
    free(config->platform_key_file);
    free(config->platform_tls_groups);
    free(config->platform_auth_flags.values);
    free(config->call_retry_flags.values);
    free(config->recording_retry_flags.values);
    free(config->recording_store);
    free(config->recording_url_member);
    free(config->recording_url_hosts);
    free(config->http_listen);
    free(config->http_hosts);
    *config = (struct config){0};
}

int64_t config_lease_ms(const struct config *config)
{
    return config->session_timeout_ms / 2;
}

int64_t config_connect_timeout_ms(const struct config *config)
{
    int64_t most = config_lease_ms(config) * 3 / 4;
    return config->platform_connect_timeout_ms < most ? config->platform_connect_timeout_ms : most;
}
