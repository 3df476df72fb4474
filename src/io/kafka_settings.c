/* Settings of the two kinds of clients: the worker's own, and the user's kafka.* on the side that
 * knows them. */
#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/memory.h"
#include "core/config_kafka.h"
#include "core/config_source.h"
#include "io/kafka_internal.h"

/* librdkafka's table of properties as text: "name | C/P | range | ...". Its configuration object
 * accepts every property on either side and only warns later, so only this table tells to which
 * side a property belongs. */
static char *property_table(void)
{
    char *table = NULL;
    size_t size = 0;
    FILE *out = memory_must(open_memstream(&table, &size));
    rd_kafka_conf_properties_show(out);
    fclose(out);
    return memory_must(table);
}

/* The columns behind a property's name, from the first '|' on; NULL when the table does not name
 * it.
 */
static const char *property_columns(const char *table, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = table; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, length) && (line[length] == ' ' || line[length] == '|'))
            return strchr(line, '|');
    }
    return NULL;
}

/* '*', 'C' or 'P'; 0: the table does not name the property. */
static char property_side(const char *table, const char *name)
{
    const char *column = property_columns(table, name);
    return column ? column[2] == ' ' ? column[3] : column[2] : 0;
}

/* The range of a property's values in the table, such as "0 .. 900000"; may be empty. */
static void property_values(const char *name, char *out, size_t size)
{
    char *table = property_table();
    const char *column = property_columns(table, name);
    const char *from = column ? strchr(column + 1, '|') : NULL;
    *out = '\0';
    if (from) {
        from += 1 + strspn(from + 1, " ");
        size_t n = strcspn(from, "|\n");
        while (n && from[n - 1] == ' ')
            n--;
        snprintf(out, size, "%.*s", (int)n, from);
    }
    free(table);
}

/* Whether the setting goes to that side. A property that the table does not name (a hidden or
 * unknown one) goes to the sides that its key names. */
static bool is_for(const char *table, const struct kafka_setting *setting, enum kafka_side side)
{
    char whose = property_side(table, setting->name);
    if (side == SIDE_CONSUMER)
        return setting->consumer && whose != 'P';
    return setting->producer && whose != 'C';
}

/* The key as in the configuration. */
static const char *key_of(const struct kafka_setting *setting)
{
    return setting->key ? setting->key : setting->name;
}

/* Whether a librdkafka without this key does the same: it has no other protocol, or nothing to set.
 */
static bool is_implied(const struct kafka_setting *setting)
{
    return setting->newer ||
           (!strcmp(setting->name, "group.protocol") && !strcasecmp(setting->value, "classic"));
}

static int apply(rd_kafka_conf_t *conf, const struct kafka_setting *setting, struct error *error)
{
    char reason[300];
    rd_kafka_conf_res_t result =
        rd_kafka_conf_set(conf, setting->name, setting->value, reason, sizeof reason);
    if (result == RD_KAFKA_CONF_OK || (result == RD_KAFKA_CONF_UNKNOWN && is_implied(setting)))
        return 0;
    const char *origin = setting->origin ? setting->origin : "kafka";
    if (result == RD_KAFKA_CONF_UNKNOWN)
        return error_set(error, "%s: %s: librdkafka %s has no such setting", origin,
                         key_of(setting), rd_kafka_version_str());
    if (kafka_setting_is_secret(setting->name))
        return error_set(error, "%s: %s: librdkafka refuses the value", origin, key_of(setting));
    char values[200] = "";
    if (!strncmp(reason, "Invalid value", strlen("Invalid value")))
        property_values(setting->name, values, sizeof values);
    reason[strcspn(reason, "\n")] = '\0';
    return error_set(error, "%s: %s: %s%s%s", origin, key_of(setting), reason,
                     *values ? ": expected " : "", values);
}

void kafka_setting_must(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char reason[300];
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return;
    log_error("kafka: setting %s: %s", name, reason);
    abort(); /* without this key the guarantees do not hold */
}

/* Opens a socket with a limit for unacknowledged bytes. A machine that vanishes sends nothing:
 * without this limit a heartbeat would wait for its answer for the whole session, and a transaction
 * for socket.timeout.ms, although another broker has taken over long before. A connection ends if
 * sent bytes are not acknowledged for a third of the session. */
static int open_socket(int domain, int type, int protocol, void *opaque)
{
    const struct kafka *kafka = opaque;
    int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    unsigned limit_ms = kafka ? (unsigned)(kafka->config->session_timeout_ms / 3) : 0;
    if (fd >= 0 && limit_ms)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
    return fd;
}

/* Sets what differs between the jobs. The kafka.* settings are those of the group of calls. */
static int set_job(rd_kafka_conf_t *conf, const struct config *config, enum request_kind job,
                   enum kafka_side side, struct error *error)
{
    struct kafka_setting setting = {.name = "group.id",
                                    .key = "recording.group.id",
                                    .origin = "recording.group.id",
                                    .value = config->group_ids[job]};
    if (job == REQUEST_CALL || !setting.value)
        return 0;
    if (side == SIDE_CONSUMER)
        return apply(conf, &setting, error);
    const struct kafka_setting *calls = config_kafka_setting(config, true, "transactional.id");
    if (!calls)
        return 0;
    struct text id = {0};
    config_kafka_transactional_id(&id, config->group_ids[job], config->instance_id);
    setting.name = "transactional.id";
    setting.value = id.data;
    int failed = apply(conf, &setting, error);
    text_fini(&id);
    return failed;
}

rd_kafka_conf_t *kafka_settings(const struct config *config, enum request_kind job,
                                enum kafka_side side, struct error *error)
{
    rd_kafka_conf_t *conf = memory_must(rd_kafka_conf_new());
    char *table = property_table();
    int failed = 0;
    rd_kafka_conf_set_socket_cb(conf, open_socket); /* its opaque is the struct kafka, or NULL */
    for (size_t i = 0; i < config->kafka_count && !failed; i++)
        if (is_for(table, &config->kafka[i], side))
            failed = apply(conf, &config->kafka[i], error);
    if (!failed)
        failed = set_job(conf, config, job, side, error);
    free(table);
    if (!failed)
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

/* Whether librdkafka's error is about the file that this setting names. For a key that does not
 * belong to its certificate, the error names one of the files or neither. */
static bool is_about(const char *reason, const char *location)
{
    bool pair = strstr(reason, "key values mismatch") || strstr(reason, "rivate key check");
    return strstr(reason, location) || (pair && (!strcmp(location, "ssl.certificate.location") ||
                                                 !strcmp(location, "ssl.key.location")));
}

/* librdkafka's error names settings. The reason adds the files, which a person has to look at. */
static void set_reason(struct error *error, const rd_kafka_conf_t *conf,
                       const struct kafka_copies *copies, const char *reason)
{
    struct text words = {0}, said = {0};
    bool any = false;
    text_add(&words, reason);
    for (const char *const *location = kafka_locations; *location; location++) {
        char path[300];
        size_t size = sizeof path;
        if (!is_about(reason, *location) ||
            rd_kafka_conf_get(conf, *location, path, &size) != RD_KAFKA_CONF_OK || !*path)
            continue;
        text_printf(&words, "%skafka.%s = %s", any ? ", " : " (", *location, path);
        any = true;
    }
    text_add(&words, any ? ")" : "");
    kafka_copies_say(copies, words.data, &said);
    error_set(error, "librdkafka: %s", said.length ? said.data : "");
    text_fini(&words);
    text_fini(&said);
}

static rd_kafka_t *new_client(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                              const struct kafka_copies *copies, struct error *error)
{
    char reason[400];
    kafka_copies_use(copies, conf);
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (client)
        return client;
    set_reason(error, conf, copies, reason);
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_t *kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                         const struct kafka_copies *copies, struct error *error)
{
    rd_kafka_t *client = new_client(type, conf, copies, error);
    if (!client)
        return NULL;
    /* librdkafka's own thread renews tokens of OAUTHBEARER, because nobody serves the producer's
     * queue while it is idle. Any other mechanism answers with an error. */
    rd_kafka_error_t *none = rd_kafka_sasl_background_callbacks_enable(client);
    if (none)
        rd_kafka_error_destroy(none);
    return client;
}

/* A check requests no token. */
static void no_token(rd_kafka_t *handle, const char *config, void *opaque)
{
    (void)handle, (void)config, (void)opaque;
}

/* Turns off what the library does as soon as a client exists: it runs sasl.kerberos.kinit.cmd, and
 * asks an OIDC server for a token. */
static void keep_still(rd_kafka_conf_t *conf)
{
    char reason[64];
    rd_kafka_conf_set(conf, "sasl.kerberos.min.time.before.relogin", "0", reason, sizeof reason);
    rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, no_token);
}

/* Settings that are valid one by one may contradict each other, or name files that cannot be read.
 * That shows only when a client is made. Without addresses the client connects to nothing. */
int kafka_try_settings(const struct config *config, const struct kafka_copies *copies,
                       enum kafka_side side, struct error *error)
{
    struct config copy = *config;
    copy.kafka = memory_zeroed(config->kafka_count + 1, sizeof *copy.kafka);
    copy.kafka_count = 0;
    for (size_t i = 0; i < config->kafka_count; i++)
        if (strcmp(config->kafka[i].name, "bootstrap.servers") &&
            strcmp(config->kafka[i].name, "metadata.broker.list") &&
            strcmp(config->kafka[i].name, "debug"))
            copy.kafka[copy.kafka_count++] = config->kafka[i];
    rd_kafka_conf_t *conf = kafka_settings(&copy, REQUEST_CALL, side, error);
    rd_kafka_t *client = NULL;
    if (conf) {
        rd_kafka_conf_set_log_cb(conf, kafka_log_nothing);
        keep_still(conf);
        client = new_client(side == SIDE_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf,
                            copies, error);
    }
    free(copy.kafka);
    if (!client)
        return -1;
    rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return 0;
}

static bool is_letter_of_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Whether a name that ends before `at` goes on there; a dot may end a sentence. */
static bool goes_on(const char *at)
{
    return is_letter_of_name(*at) || (*at == '.' && is_letter_of_name(at[1]));
}

/* Where the text names the setting; NULL: it does not. */
static const char *find_name(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strstr(text, name); at; at = strstr(at + 1, name))
        if ((at == text || (!is_letter_of_name(at[-1]) && at[-1] != '.')) && !goes_on(at + n))
            return at;
    return NULL;
}

/* The user's setting that librdkafka's error is about: the first one that it names. An error about
 * SASL that names none is about the mechanism. NULL: none. */
static const struct kafka_setting *setting_in(const struct config *config, enum kafka_side side,
                                              const char *text)
{
    const struct kafka_setting *found = NULL, *mechanism = NULL;
    const char *first = NULL;
    for (size_t i = 0; i < config->kafka_count; i++) {
        const struct kafka_setting *setting = &config->kafka[i];
        const char *at = find_name(text, setting->name);
        if (setting->is_default || !(side == SIDE_CONSUMER ? setting->consumer : setting->producer))
            continue;
        if (at && (!first || at < first))
            found = setting, first = at;
        if (!strcmp(setting->name, "sasl.mechanisms"))
            mechanism = setting;
    }
    bool of_sasl = strstr(text, "SASL") || strstr(text, "sasl.");
    return found || !of_sasl ? found : mechanism;
}

static int check_together(const struct config *config, enum kafka_side side, struct text *errors)
{
    struct error error;
    if (!kafka_try_settings(config, NULL, side, &error))
        return 0;
    const struct kafka_setting *setting = setting_in(config, side, error.text);
    config_error(errors, setting ? setting->origin : NULL, setting ? key_of(setting) : "kafka.*",
                 "%s", error.text);
    return -1;
}

static int check_one(const struct kafka_setting *setting, struct text *errors)
{
    struct error error;
    rd_kafka_conf_t *conf = memory_must(rd_kafka_conf_new());
    int result = apply(conf, setting, &error);
    rd_kafka_conf_destroy(conf);
    if (result)
        config_error(errors, NULL, NULL, "%s", error.text);
    return result;
}

/* Warns of a setting that has no effect on its side. It is not an error, because the other side
 * knows the key. */
static void warn_of_wrong_side(const char *table, const struct kafka_setting *setting)
{
    char whose = property_side(table, setting->name);
    bool wrong_side = (whose == 'C' && !setting->consumer) || (whose == 'P' && !setting->producer);
    if (wrong_side && !setting->is_default)
        log_warn("%s: %s has no effect: only the %s has such a setting",
                 setting->origin ? setting->origin : "kafka", key_of(setting),
                 whose == 'C' ? "consumer" : "producer");
}

/* librdkafka chooses the port without a word. */
static void tell_of_ports(const struct config *config)
{
    struct text bare = {0};
    config_kafka_bare_servers(config, &bare);
    if (bare.length)
        log_info("kafka.bootstrap.servers: no port is given for %s: port 9092 is used", bare.data);
    text_fini(&bare);
}

/* Whether librdkafka has the key. */
static bool is_known(const struct kafka_setting *setting)
{
    char reason[64];
    rd_kafka_conf_t *conf = memory_must(rd_kafka_conf_new());
    bool known = rd_kafka_conf_set(conf, setting->name, setting->value, reason, sizeof reason) !=
                 RD_KAFKA_CONF_UNKNOWN;
    rd_kafka_conf_destroy(conf);
    return known;
}

void kafka_fit_settings(struct config *config)
{
    size_t kept = 0;
    for (size_t i = 0; i < config->kafka_count; i++) {
        if (!config->kafka[i].newer || is_known(&config->kafka[i]))
            config->kafka[kept++] = config->kafka[i];
        else
            config_kafka_setting_fini(&config->kafka[i]);
    }
    config->kafka_count = kept;
}

/* An error that is the same on both sides is reported once. */
static int check_both_together(const struct config *config, struct text *errors)
{
    size_t start = errors->length;
    int result = check_together(config, SIDE_CONSUMER, errors);
    size_t middle = errors->length;
    if (check_together(config, SIDE_PRODUCER, errors))
        result = -1;
    size_t n = middle - start;
    if (n && errors->length - middle == n &&
        !memcmp(errors->data + start, errors->data + middle, n)) {
        errors->length = middle;
        errors->data[middle] = '\0';
    }
    return result;
}

int kafka_check_settings(const struct config *config, struct text *errors)
{
    char *table = property_table();
    int result = 0;
    for (size_t i = 0; i < config->kafka_count; i++) {
        if (check_one(&config->kafka[i], errors))
            result = -1;
        else
            warn_of_wrong_side(table, &config->kafka[i]);
    }
    free(table);
    tell_of_ports(config);
    return result ? result : check_both_together(config, errors);
}
