#include "core/config_kafka.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "core/config_value.h"

static const char root[] = "kafka.", consumer_part[] = "consumer.", producer_part[] = "producer.";
const char kafka_instance_id[] = "instance.id";
const char kafka_transactional_id[] = "<kafka.group.id>:<instance.id>";

/* Names of the same property. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"metadata.broker.list", "bootstrap.servers"},
    {"max.in.flight", "max.in.flight.requests.per.connection"},
    {"sasl.mechanism", "sasl.mechanisms"},
    {"max.partition.fetch.bytes", "fetch.message.max.bytes"},
    {"queue.buffering.max.ms", "linger.ms"},
    {"message.send.max.retries", "retries"},
    {"compression.type", "compression.codec"},
    {"request.required.acks", "acks"},
    {"delivery.timeout.ms", "message.timeout.ms"},
    {"auto.commit.enable", "enable.auto.commit"},
};

/* clang-format off */
const struct kafka_default kafka_defaults[] = {
    {KAFKA_BOTH, "bootstrap.servers", NULL, false},
    {KAFKA_BOTH, "client.id", kafka_instance_id, false},
    {KAFKA_BOTH, "group.id", "privacy-call-worker", false},
    {KAFKA_BOTH, "allow.auto.create.topics", "false", false},
    {KAFKA_BOTH, "auto.offset.reset", "earliest", false},
    {KAFKA_BOTH, "enable.auto.commit", "false", false},
    {KAFKA_BOTH, "enable.auto.offset.store", "false", false},
    {KAFKA_BOTH, "enable.idempotence", "true", false},
    {KAFKA_BOTH, "enable.partition.eof", "true", false},
    {KAFKA_BOTH, "heartbeat.interval.ms", "500", false},
    {KAFKA_BOTH, "isolation.level", "read_committed", false},
    {KAFKA_BOTH, "max.poll.interval.ms", "300000", false},
    {KAFKA_BOTH, "partition.assignment.strategy", "cooperative-sticky", false},
    {KAFKA_BOTH, "partitioner", "murmur2_random", false},
    {KAFKA_BOTH, "reconnect.backoff.max.ms", "500", false},
    {KAFKA_BOTH, "reconnect.backoff.ms", "100", false},
    {KAFKA_BOTH, "session.timeout.ms", "30000", false},
    {KAFKA_BOTH, "socket.nagle.disable", "true", false},
    {KAFKA_BOTH, "socket.timeout.ms", "20000", false},
    {KAFKA_BOTH, "topic.metadata.refresh.interval.ms", "10000", false},
    {KAFKA_BOTH, "transaction.timeout.ms", "60000", false},
    {KAFKA_BOTH, "transactional.id", kafka_transactional_id, false},
    {KAFKA_CONSUMER, "check.crcs", "true", false},
    {KAFKA_CONSUMER, "fetch.max.bytes", "4194304", false},
    {KAFKA_CONSUMER, "fetch.wait.max.ms", "100", false},
    {KAFKA_CONSUMER, "queued.max.messages.kbytes", "256", false},
    {KAFKA_CONSUMER, "queued.min.messages", "1000", false},
    {KAFKA_PRODUCER, "linger.ms", "2", false},
    {KAFKA_PRODUCER, "message.max.bytes", "2097152", false},
    {KAFKA_PRODUCER, "queue.buffering.max.messages", "0", false},
    {KAFKA_PRODUCER, "retry.backoff.ms", "3", false},
    {KAFKA_BOTH, "enable.metrics.push", "false", true},
    {KAFKA_CONSUMER, "fetch.queue.backoff.ms", "100", true},
    {KAFKA_PRODUCER, "retry.backoff.max.ms", "100", true},
};
/* clang-format on */
const size_t kafka_default_count = sizeof kafka_defaults / sizeof *kafka_defaults;

/* Whether the item text[0..n) stands in `list`, whose items have `separator` between them. */
static bool listed(const char *list, char separator, const char *text, size_t n)
{
    for (const char *at = list;; at++) {
        const char *end = strchr(at, separator);
        size_t size = end ? (size_t)(end - at) : strlen(at);
        if (size == n && !strncasecmp(at, text, n))
            return true;
        if (!end)
            return false;
        at = end;
    }
}

static int refuse(const struct kafka_rule *rule, struct error *why, const char *expected)
{
    return error_set(why, "expected %s%s%s", expected, rule->reason ? ": " : "",
                     rule->reason ? rule->reason : "");
}

#define RULE(name)                                                                                 \
    static int name(const struct kafka_rule *rule, const char *value, struct error *why)

RULE(only)
{
    if (listed(rule->values, '|', value, strlen(value)))
        return 0;
    char expected[128];
    snprintf(expected, sizeof expected, "%.*s", (int)strcspn(rule->values, "|"), rule->values);
    return refuse(rule, why, expected);
}

RULE(never)
{
    (void)value;
    return refuse(rule, why, "it not to be set");
}

RULE(any)
{
    (void)rule, (void)value, (void)why;
    return 0;
}

RULE(range)
{
    int64_t number;
    if (!text_to_integer(value, rule->min, rule->max, &number))
        return 0;
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)rule->min,
             (long long)rule->max);
    return refuse(rule, why, expected);
}

/* Files must be regular: librdkafka would wait for ever for a writer of a FIFO. */
RULE(readable)
{
    struct stat status;
    if (rule->values && !strcmp(value, rule->values))
        return 0;
    if (stat(value, &status) < 0 || access(value, R_OK) < 0)
        return refuse(rule, why, "the path of a file that can be read");
    if (S_ISREG(status.st_mode) || (rule->values && S_ISDIR(status.st_mode)))
        return 0;
    return refuse(rule, why, "the path of a regular file");
}

RULE(name_like_topic)
{
    return config_is_topic(value)
               ? 0
               : refuse(rule, why, "1 to 249 of A-Z a-z 0-9 . _ - (not . or ..)");
}

RULE(group)
{
    return config_is_group(value) ? 0
                                  : refuse(rule, why, "1 to 249 bytes without control characters");
}

/* The length of a leading protocol. librdkafka ignores a server with an unknown protocol. */
static size_t protocol_length(const char *text, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++)
        if (!memcmp(text + i, "://", 3))
            return listed("plaintext|ssl|sasl_plaintext|sasl_ssl", '|', text, i) ? i + 3 : 0;
    return 0;
}

/* The length of the leading host: an IPv6 address in brackets, or a name. 0: there is none. */
static size_t host_length(const char *text, size_t n)
{
    size_t i = n && text[0] == '[';
    if (i) {
        while (i < n && (isalnum((unsigned char)text[i]) || strchr(":.%-_", text[i])))
            i++;
        return i > 1 && i < n && text[i] == ']' ? i + 1 : 0;
    }
    while (i < n && (isalnum((unsigned char)text[i]) || strchr("._-", text[i]) ||
                     (unsigned char)text[i] >= 0x80))
        i++;
    return i;
}

/* Whether text[0..n) is [protocol://]host[:port]. *bare is set if it has no port. */
static bool is_server(const char *text, size_t n, bool *bare)
{
    size_t protocol = protocol_length(text, n);
    text += protocol, n -= protocol;
    size_t host = host_length(text, n);
    *bare = host == n;
    if (!host || *bare)
        return host > 0;
    int64_t port;
    char digits[8];
    size_t count = n - host - 1;
    if (text[host] != ':' || count > 5)
        return false;
    snprintf(digits, sizeof digits, "%.*s", (int)count, text + host + 1);
    return !text_to_integer(digits, 1, 65535, &port);
}

/* Adds the servers without a port to bare. Returns -1 if one of them is malformed. */
static int read_servers(const char *value, struct text *bare)
{
    bool is_bare;
    for (const char *at = value;; at++) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ","), used = n;
        while (used && at[used - 1] == ' ')
            used--;
        if (!is_server(at, used, &is_bare))
            return -1;
        if (is_bare)
            text_printf(bare, "%s%.*s", bare->length ? ", " : "", (int)used, at);
        at += n;
        if (!*at)
            return 0;
    }
}

void config_kafka_bare_servers(const struct config *config, struct text *bare)
{
    (void)read_servers(config_kafka_servers(config), bare);
}

RULE(servers)
{
    struct text bare = {0};
    int rc = read_servers(value, &bare);
    text_fini(&bare);
    return rc ? refuse(rule, why, "host:port, with commas between several") : 0;
}

/* Providers by name. A path would load foreign code. */
RULE(providers)
{
    for (const char *at = value;; at++) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ","), used = n;
        while (used && at[used - 1] == ' ')
            used--;
        if (used && !listed("default|legacy|base|fips|null", '|', at, used))
            return refuse(rule, why, "names of OpenSSL's own providers (default, legacy, fips)");
        at += n;
        if (!*at)
            return 0;
    }
}

RULE(strategy)
{
    size_t cooperative = 0, eager = 0, other = 0;
    for (const char *at = value;; at++) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ","), used = n;
        while (used && at[used - 1] == ' ')
            used--;
        if (listed("cooperative-sticky", '|', at, used))
            cooperative++;
        else if (listed("range|roundrobin", '|', at, used))
            eager++;
        else
            other++;
        at += n;
        if (!*at)
            break;
    }
    if (!other && !cooperative != !eager)
        return 0;
    return refuse(rule, why, "cooperative-sticky, or range and roundrobin");
}

/* clang-format off */
const struct kafka_rule kafka_rules[] = {
    {"bootstrap.servers", KAFKA_BOTH, servers, NULL, 0, 0, NULL},
    {"group.id", KAFKA_BOTH, group, NULL, 0, 0, NULL},
    {"group.instance.id", KAFKA_BOTH, name_like_topic, NULL, 0, 0, NULL},

    {"enable.auto.commit", KAFKA_BOTH, only, "false|f|0", 0, 0,
     "an offset committed without its ledger would let a call be dialled twice or never"},
    {"enable.auto.offset.store", KAFKA_BOTH, only, "false|f|0", 0, 0,
     "offsets are committed with their ledgers, never by the library itself"},
    {"offset.store.method", KAFKA_BOTH, only, "broker", 0, 0,
     "the ledger lives in the offsets that the broker keeps"},
    {"auto.offset.reset", KAFKA_BOTH, only, "earliest|smallest|beginning", 0, 0,
     "any other start would skip requests without a result"},
    {"isolation.level", KAFKA_BOTH, only, "read_committed", 0, 0,
     "the worker would act on offsets and requests of transactions that are open or were aborted"},
    {"enable.partition.eof", KAFKA_BOTH, only, "true|t|1", 0, 0,
     "the end of a partition distinguishes gaps in the log from requests that have not arrived yet"},
    {"group.protocol", KAFKA_BOTH, only, "classic", 0, 0,
     "leases are measured against the session timeout of the classic protocol, and its generations fence late commits"},
    {"group.protocol.type", KAFKA_BOTH, only, "consumer", 0, 0,
     "the worker is a consumer group"},
    {"partition.assignment.strategy", KAFKA_BOTH, strategy, NULL, 0, 0,
     "eager and cooperative strategies cannot be mixed in one group, and the worker supports no other"},
    {"session.timeout.ms", KAFKA_BOTH, range, NULL, 6000, 3600000,
     "brokers accept no shorter session"},
    {"heartbeat.interval.ms", KAFKA_BOTH, range, NULL, 1, 1200000, NULL},
    {"max.poll.interval.ms", KAFKA_BOTH, range, NULL, 6000, 86400000, NULL},

    {"transactional.id", KAFKA_BOTH, any, NULL, 0, 0, /* check_transactional_id checks the value */
     "it is made from kafka.group.id and instance.id, so that a successor can end a dead owner's transaction"},
    {"transaction.timeout.ms", KAFKA_BOTH, range, NULL, 6000, 2147483647, NULL},
    {"enable.idempotence", KAFKA_BOTH, only, "true|t|1", 0, 0,
     "without it a result could be written twice or out of order"},
    {"acks", KAFKA_PRODUCER, only, "all|-1", 0, 0,
     "a result that not all replicas have could be lost with a broker"},
    {"max.in.flight.requests.per.connection", KAFKA_PRODUCER, range, NULL, 1, 5,
     "with more than 5 the broker cannot keep results in order"},
    {"retries", KAFKA_PRODUCER, range, NULL, 1, 2147483647,
     "a lost answer of the broker must not end a transaction"},
    {"message.timeout.ms", KAFKA_PRODUCER, range, NULL, 1000, 2147483647,
     "with a shorter one results fail at each short disturbance; with 0 (no limit) a stop could wait for ever"},
    {"queuing.strategy", KAFKA_PRODUCER, only, "fifo", 0, 0,
     "results with one key must stay in order"},
    {"partitioner", KAFKA_PRODUCER, only, "murmur2_random", 0, 0,
     "results of one order id must go where Java clients look for them, and never to two partitions"},
    {"delivery.report.only.error", KAFKA_PRODUCER, only, "false|f|0", 0, 0,
     "a result counts as written only when the broker has said so"},
    {"enable.gapless.guarantee", KAFKA_PRODUCER, only, "false|f|0", 0, 0,
     "one result that is too large would stop all others"},

    {"api.version.request", KAFKA_BOTH, only, "true|t|1", 0, 0,
     "without it the library falls back to a protocol without transactions"},
    {"plugin.library.paths", KAFKA_BOTH, never, NULL, 0, 0,
     "foreign code between the worker and the broker voids every guarantee"},
    {"ssl.engine.location", KAFKA_BOTH, never, NULL, 0, 0,
     "it loads foreign code into the worker"},
    {"ssl.providers", KAFKA_BOTH, providers, NULL, 0, 0,
     "others load foreign code into the worker"},
    {"test.mock.num.brokers", KAFKA_BOTH, only, "0", 0, 0,
     "a simulated broker in the worker's memory keeps no ledger"},
    {"topic.blacklist", KAFKA_BOTH, never, NULL, 0, 0,
     "a topic of the worker that matches it would seem not to exist"},
    {"internal.termination.signal", KAFKA_BOTH, only, "0", 0, 0,
     "the library would send it to the worker's threads"},
    {"statistics.interval.ms", KAFKA_BOTH, only, "0", 0, 0,
     "nobody reads the library's statistics, so they would pile up; the worker's own are under /metrics"},
    {"enable.sasl.oauthbearer.unsecure.jwt", KAFKA_BOTH, only, "false|f|0", 0, 0,
     "such a token proves nothing, and renewing it can crash the library"},
    {"enabled_events", KAFKA_BOTH, never, NULL, 0, 0,
     "it would take rebalances away from the worker"},
    {"log.queue", KAFKA_BOTH, only, "false|f|0", 0, 0,
     "the library's log lines would pile up unread"},

    {"ssl.ca.location", KAFKA_BOTH, readable, "probe", 0, 0, NULL},
    {"ssl.certificate.location", KAFKA_BOTH, readable, NULL, 0, 0, NULL},
    {"ssl.key.location", KAFKA_BOTH, readable, NULL, 0, 0, NULL},
    {"ssl.crl.location", KAFKA_BOTH, readable, NULL, 0, 0, NULL},
    {"ssl.keystore.location", KAFKA_BOTH, readable, NULL, 0, 0, NULL},
    {"sasl.kerberos.keytab", KAFKA_BOTH, readable, NULL, 0, 0, NULL},
};
/* clang-format on */
const size_t kafka_rule_count = sizeof kafka_rules / sizeof *kafka_rules;

static enum kafka_sides key_sides(const char *key, const char **name)
{
    *name = key + sizeof root - 1;
    if (!strncmp(*name, consumer_part, sizeof consumer_part - 1)) {
        *name += sizeof consumer_part - 1;
        return KAFKA_CONSUMER;
    }
    if (!strncmp(*name, producer_part, sizeof producer_part - 1)) {
        *name += sizeof producer_part - 1;
        return KAFKA_PRODUCER;
    }
    return KAFKA_BOTH;
}

static const char *without_alias(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (!strcmp(aliases[i].alias, name))
            return aliases[i].name;
    return name;
}

void config_kafka_write_key(struct text *text, enum kafka_sides sides, const char *name)
{
    text_printf(text, "%s%s%s", root,
                sides == KAFKA_CONSUMER   ? consumer_part
                : sides == KAFKA_PRODUCER ? producer_part
                                          : "",
                name);
}

char *config_kafka_key(const char *written)
{
    if (strncmp(written, root, sizeof root - 1) != 0)
        return NULL;
    const char *name;
    enum kafka_sides sides = key_sides(written, &name);
    size_t n = strlen(name);
    if (!n || (n >= 5 && !strcmp(name + n - 5, ".file")))
        return NULL;
    struct text key = {0};
    config_kafka_write_key(&key, sides, without_alias(name));
    return text_take(&key);
}

bool kafka_setting_is_secret(const char *name)
{
    return strstr(name, "password") || strstr(name, "secret") || strstr(name, "key.pem") ||
           strstr(name, "passphrase");
}

const struct kafka_setting *config_kafka_setting(const struct config *config, bool producer,
                                                 const char *name)
{
    const struct kafka_setting *found = NULL;
    for (size_t i = 0; i < config->kafka_count; i++) {
        const struct kafka_setting *setting = &config->kafka[i];
        if ((producer ? setting->producer : setting->consumer) && !strcmp(setting->name, name))
            found = setting;
    }
    return found;
}

const char *config_kafka_servers(const struct config *config)
{
    const struct kafka_setting *servers = config_kafka_setting(config, false, "bootstrap.servers");
    return servers ? servers->value : "?";
}

void config_kafka_setting_fini(struct kafka_setting *setting)
{
    free(setting->name);
    free(setting->value);
    free(setting->origin);
    free(setting->key);
    free(setting->path);
    free(setting->label);
}

void config_kafka_fini(struct config *config)
{
    for (size_t i = 0; i < config->kafka_count; i++)
        config_kafka_setting_fini(&config->kafka[i]);
    free(config->kafka);
    config->kafka = NULL;
    config->kafka_count = 0;
}

static void add_setting(struct config *config, struct kafka_setting setting)
{
    size_t n = config->kafka_count;
    if (!(n & (n + 1))) /* grows at 0, 1, 3, 7, ...: it doubles each time */
        config->kafka = memory_resize(config->kafka, (2 * n + 1) * sizeof *config->kafka);
    config->kafka[config->kafka_count++] = setting;
}

/* The sides for which the user has no setting with that name. `general`: a setting for both sides
 * counts, too. */
static enum kafka_sides open_sides(const struct config_sources *sources, enum kafka_sides sides,
                                   const char *name, bool general)
{
    struct text key = {0};
    enum kafka_sides open = sides;
    static const enum kafka_sides each[] = {KAFKA_CONSUMER, KAFKA_PRODUCER, KAFKA_BOTH};
    for (size_t i = 0; i < (general ? 3 : 2); i++) {
        text_clear(&key);
        config_kafka_write_key(&key, each[i], name);
        if (config_sources_find(sources, key.data))
            open &= ~each[i];
    }
    text_fini(&key);
    return open;
}

/* The rule for a name on any of these sides, or NULL. */
static const struct kafka_rule *find_rule(const char *name, enum kafka_sides sides)
{
    for (size_t i = 0; i < kafka_rule_count; i++)
        if ((kafka_rules[i].sides & sides) && !strcmp(kafka_rules[i].name, name))
            return &kafka_rules[i];
    return NULL;
}

/* Checks a value on the sides where it is in force. */
static int check_value(const char *name, const char *value, enum kafka_sides in_force,
                       struct error *why)
{
    const struct kafka_rule *rule = find_rule(name, in_force);
    return rule ? rule->check(rule, value, why) : 0;
}

/* Whether the setting is always for both clients, which must use one cluster and one group. */
static bool is_for_both(const char *name)
{
    return !strcmp(name, "bootstrap.servers") || !strcmp(name, "group.id");
}

static void add_given(struct config *config, const struct config_sources *sources,
                      const struct config_entry *entry, struct text *errors)
{
    const char *name;
    enum kafka_sides sides = key_sides(entry->key, &name);
    if (sides != KAFKA_BOTH && is_for_both(name)) {
        config_error(errors, entry->origin, entry->written,
                     "expected kafka.%s, for consumer and producer alike", name);
        return;
    }
    enum kafka_sides in_force =
        sides == KAFKA_BOTH ? open_sides(sources, sides, name, false) : sides;
    if (!in_force)
        return;
    struct error why;
    char *value = NULL;
    if (config_entry_value(entry, kafka_setting_is_secret(name), &value, &why) < 0 ||
        check_value(name, value, in_force, &why) < 0) {
        config_error(errors, entry->origin, entry->written, "%s", why.text);
        free(value);
        return;
    }
    size_t key_size = strlen(entry->written) - (entry->from_file ? strlen(".file") : 0);
    add_setting(config, (struct kafka_setting){
                            .name = memory_string(name),
                            .value = value,
                            .consumer = sides & KAFKA_CONSUMER,
                            .producer = sides & KAFKA_PRODUCER,
                            .origin = memory_string(entry->origin),
                            .key = memory_copy(entry->written, key_size),
                            .path = entry->from_file && config_is_regular(entry->value)
                                        ? memory_string(entry->value)
                                        : NULL, /* what a pipe gave is gone */
                            .label = memory_string(config_entry_label(entry)),
                        });
}

int config_read_setting(const struct kafka_setting *setting, char **value, struct error *error)
{
    const struct config_entry entry = {.value = setting->path, .from_file = true};
    const enum kafka_sides sides =
        (setting->consumer ? KAFKA_CONSUMER : 0) | (setting->producer ? KAFKA_PRODUCER : 0);
    bool secret = kafka_setting_is_secret(setting->name);
    *value = NULL;
    int rc = config_entry_value(&entry, secret, value, error);
    if (!rc && !**value)
        rc = error_set(error, "expected a value, not an empty file");
    if (!rc)
        rc = check_value(setting->name, *value, sides, error);
    if (!rc)
        return 0;
    free(*value);
    *value = NULL;
    return error_prefix(error, "%s.file: ", setting->key);
}

void config_kafka_transactional_id(struct text *id, const char *group_id, const char *instance_id)
{
    text_printf(id, "%s:%s", group_id, instance_id);
}

bool config_kafka_former_id(struct text *id, const char *group_id, const char *instance_id)
{
    if (strchr(group_id, ':'))
        return false;
    text_printf(id, "%s-%s", group_id, instance_id);
    return true;
}

static uint32_t java_hash(const char *string)
{
    uint32_t hash = 0;
    for (; *string; string++)
        hash = 31 * hash + (unsigned char)*string;
    return hash;
}

/* Seven digits to base 31, written as A to _, can make up any difference of 32 bits. */
void config_kafka_neighbour_id(struct text *neighbour, const char *id)
{
    char end[] = ":AAAAAAA";
    struct text begun = {0};
    text_printf(&begun, "%s%s", id, end);
    uint32_t missing = java_hash(id) - java_hash(begun.data);
    text_fini(&begun);
    for (size_t i = strlen(end) - 1; i > 0; i--, missing /= 31)
        end[i] = (char)(end[i] + (int)(missing % 31));
    text_printf(neighbour, "%s%s", id, end);
}

/* The value of a default, to be released with free; NULL: there is none. */
static char *default_value(const struct config *config, const struct kafka_default *row)
{
    if (row->value == kafka_instance_id)
        return memory_string(config->instance_id);
    if (row->value != kafka_transactional_id)
        return memory_string(row->value);
    const struct kafka_setting *group_id = config_kafka_setting(config, true, "group.id");
    if (!group_id || !config->instance_id)
        return NULL;
    struct text id = {0};
    config_kafka_transactional_id(&id, group_id->value, config->instance_id);
    return text_take(&id);
}

/* Whether the worker's default contradicts what the user has set beside it. */
static bool is_overtaken(const struct config *config, const struct kafka_default *row)
{
    int64_t value;
    if (!row->value || text_to_integer(row->value, 0, INT64_MAX, &value))
        return false;
    if (!strcmp(row->name, "retry.backoff.max.ms"))
        return config_kafka_integer(config, true, "retry.backoff.ms", 0) > value;
    if (!strcmp(row->name, "socket.timeout.ms"))
        return config_kafka_integer(config, true, "transaction.timeout.ms", value) < value ||
               config_kafka_integer(config, false, "fetch.wait.max.ms", 0) + 1000 > value;
    if (!strcmp(row->name, "fetch.max.bytes"))
        return config_kafka_integer(config, false, "receive.message.max.bytes", INT32_MAX) <
                   value + 512 ||
               config_kafka_integer(config, false, "message.max.bytes", 0) > value;
    return false;
}

static void add_default(struct config *config, const struct config_sources *sources,
                        const struct kafka_default *row, struct text *errors)
{
    if (!open_sides(sources, row->sides, row->name, true) || is_overtaken(config, row))
        return;
    struct text key = {0};
    config_kafka_write_key(&key, row->sides, row->name);
    char *value = default_value(config, row);
    if (!row->value)
        config_required(errors, key.data);
    if (!value) {
        text_fini(&key);
        return;
    }
    add_setting(config, (struct kafka_setting){
                            .name = memory_string(row->name),
                            .value = value,
                            .consumer = row->sides & KAFKA_CONSUMER,
                            .producer = row->sides & KAFKA_PRODUCER,
                            .is_default = true,
                            .newer = row->newer,
                            .origin = memory_string("default"),
                            .key = text_take(&key),
                            .label = memory_string("default"),
                        });
}

int64_t config_kafka_integer(const struct config *config, bool producer, const char *name,
                             int64_t otherwise)
{
    const struct kafka_setting *setting = config_kafka_setting(config, producer, name);
    int64_t value = otherwise;
    if (setting)
        text_to_integer(setting->value, INT64_MIN, INT64_MAX, &value);
    return value;
}

/* Adds an error: a value must be at most (or at least) `limit`, which follows from `other`. The
 * error names the one of the two keys that was given. */
static void disagree(const struct config *config, bool producer, const char *name,
                     const char *other, const char *what, int64_t limit, struct text *errors)
{
    const struct kafka_setting *setting = config_kafka_setting(config, producer, name);
    const struct kafka_setting *related = config_kafka_setting(config, producer, other);
    const struct kafka_setting *at = setting && !setting->is_default ? setting
                                     : related                       ? related
                                                                     : setting;
    config_error(errors, at ? at->origin : NULL, at ? at->key : name,
                 "expected kafka.%s %s, so %lld, not %s", name, what, (long long)limit,
                 setting ? setting->value : "the library's default");
}

static void check_together(const struct config *config, struct text *errors)
{
    int64_t session = config->session_timeout_ms, transaction = config->transaction_timeout_ms;
    int64_t poll = config_kafka_integer(config, false, "max.poll.interval.ms", 300000);
    if (config->heartbeat_interval_ms > session / 3)
        disagree(config, false, "heartbeat.interval.ms", "session.timeout.ms",
                 "to be at most a third of kafka.session.timeout.ms", session / 3, errors);
    if (poll < session)
        disagree(config, false, "max.poll.interval.ms", "session.timeout.ms",
                 "to be at least kafka.session.timeout.ms", session, errors);
    if (config_kafka_integer(config, true, "message.timeout.ms", 0) > transaction)
        disagree(config, true, "message.timeout.ms", "transaction.timeout.ms",
                 "to be at most kafka.transaction.timeout.ms", transaction, errors);
    if (config_kafka_integer(config, true, "socket.timeout.ms", 0) > transaction + 100)
        disagree(config, true, "socket.timeout.ms", "transaction.timeout.ms",
                 "to be at most kafka.transaction.timeout.ms and 0.1 s", transaction + 100, errors);
    for (int producer = 0; producer < 2; producer++) {
        int64_t max = config_kafka_integer(config, producer, "reconnect.backoff.max.ms", 10000);
        if (config_kafka_integer(config, producer, "reconnect.backoff.ms", 100) > max) {
            disagree(config, producer, "reconnect.backoff.ms", "reconnect.backoff.max.ms",
                     "to be at most kafka.reconnect.backoff.max.ms", max, errors);
            break;
        }
    }
}

static void check_transactional_id(const struct config *config, struct text *errors)
{
    static const char name[] = "transactional.id";
    struct text id = {0};
    if (!config->group_ids[REQUEST_CALL] || !config->instance_id)
        return;
    config_kafka_transactional_id(&id, config->group_ids[REQUEST_CALL], config->instance_id);
    for (size_t i = 0; i < config->kafka_count; i++) {
        const struct kafka_setting *setting = &config->kafka[i];
        if (!strcmp(setting->name, name) && strcmp(setting->value, id.data) != 0)
            config_error(errors, setting->origin, setting->key, "expected %s: %s", id.data,
                         find_rule(name, KAFKA_BOTH)->reason);
    }
    text_fini(&id);
}

static bool is_set_to(const struct config *config, bool producer, const char *name,
                      const char *value)
{
    const struct kafka_setting *setting = config_kafka_setting(config, producer, name);
    return setting && !strcasecmp(setting->value, value);
}

/* Only the library's own OIDC client can provide tokens. */
static void check_tokens(const struct config *config, struct text *errors)
{
    for (int producer = 0; producer < 2; producer++) {
        bool sasl = is_set_to(config, producer, "security.protocol", "sasl_plaintext") ||
                    is_set_to(config, producer, "security.protocol", "sasl_ssl");
        if (!sasl || !is_set_to(config, producer, "sasl.mechanisms", "OAUTHBEARER") ||
            is_set_to(config, producer, "sasl.oauthbearer.method", "oidc"))
            continue;
        const struct kafka_setting *at = config_kafka_setting(config, producer, "sasl.mechanisms");
        config_error(errors, at->origin, at->key,
                     "expected kafka.sasl.oauthbearer.method = oidc with OAUTHBEARER: nobody else "
                     "in the worker gets tokens (and librdkafka has to be built with OIDC)");
        break;
    }
}

/* Sorts by name, and the setting for both sides before that for one side, which overrides it. */
static int in_order(const void *left, const void *right)
{
    const struct kafka_setting *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    if (order)
        return order;
    order = (b->consumer && b->producer) - (a->consumer && a->producer);
    return order ? order : b->consumer - a->consumer;
}

void config_kafka_load(struct config *config, const struct config_sources *sources,
                       struct text *errors)
{
    for (const struct config_entry *entry = sources->first; entry; entry = entry->next)
        if (!strncmp(entry->key, root, sizeof root - 1) &&
            config_sources_find(sources, entry->key) == entry)
            add_given(config, sources, entry, errors);
    for (size_t i = 0; i < kafka_default_count; i++)
        add_default(config, sources, &kafka_defaults[i], errors);
    if (config->kafka_count)
        qsort(config->kafka, config->kafka_count, sizeof *config->kafka, in_order);

    const struct kafka_setting *group_id = config_kafka_setting(config, false, "group.id");
    config->group_ids[REQUEST_CALL] = memory_string(group_id ? group_id->value : NULL);
    config->session_timeout_ms = config_kafka_integer(config, false, "session.timeout.ms", 30000);
    config->heartbeat_interval_ms =
        config_kafka_integer(config, false, "heartbeat.interval.ms", 500);
    config->transaction_timeout_ms =
        config_kafka_integer(config, true, "transaction.timeout.ms", 60000);
    check_together(config, errors);
    check_tokens(config, errors);
    check_transactional_id(config, errors);
}
