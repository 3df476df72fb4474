/* Passes librdkafka's log lines and errors on to the log: maps levels, and logs a line that repeats
 * while a broker is away once, and then once a minute. Each job has several clients, which all see
 * the same broker: its failure is one line for the process. Any thread. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "io/kafka_internal.h"

struct kafka_log_throttle kafka_log_process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* When a connection last failed, and when a broker last refused this worker's credentials or the
 * worker the broker's; boot clock. */
static atomic_int_least64_t failed_at, refused_at;

static bool is_recent(const atomic_int_least64_t *at_ms)
{
    int64_t at = atomic_load(at_ms);
    return at && clock_boot_ms() - at < KAFKA_LOG_INTERVAL_MS;
}

bool kafka_log_tells_why(void)
{
    return is_recent(&failed_at) || is_recent(&refused_at);
}

bool kafka_is_refused(void)
{
    return is_recent(&refused_at);
}

bool kafka_log_due(struct kafka_log_throttle *throttle, const char *name, int every_ms)
{
    uint64_t key = hash_add(HASH_EMPTY, name, strlen(name));
    key += !key; /* 0 marks a free slot */
    int64_t now = clock_boot_ms();
    size_t slot = 0;
    bool due = true;
    pthread_mutex_lock(&throttle->lock);
    for (size_t i = 0; i < KAFKA_LOG_LINES; i++) {
        if (throttle->seen[i].key == key) {
            slot = i;
            due = now - throttle->seen[i].at_ms >= every_ms;
            break;
        }
        if (throttle->seen[i].at_ms < throttle->seen[slot].at_ms)
            slot = i;
    }
    if (due) {
        throttle->seen[slot].key = key;
        throttle->seen[slot].at_ms = now;
    }
    pthread_mutex_unlock(&throttle->lock);
    return due;
}

static enum log_level level_of(int syslog_level)
{
    if (syslog_level <= 3)
        return LOG_ERROR;
    if (syslog_level == 4)
        return LOG_WARN;
    return syslog_level >= 7 ? LOG_DEBUG : LOG_INFO;
}

/* The part of "[thrd:...]: ADDRESS/ID: what happened" behind the thread's name. */
static const char *without_thread(const char *text)
{
    const char *end = strncmp(text, "[thrd:", 6) ? NULL : strstr(text, "]: ");
    return end ? end + 3 : text;
}

/* The part behind the client's name, which librdkafka puts before an error if a client has no
 * callback for errors. */
static const char *without_client(const rd_kafka_t *handle, const char *text)
{
    const char *name = rd_kafka_name(handle);
    size_t length = strlen(name);
    return !strncmp(text, name, length) && !strncmp(text + length, ": ", 2) ? text + length + 2
                                                                            : text;
}

/* FAIL and ERROR report a connection that broke or could not be opened: one line for each
 * broker. */
static bool is_connection(const char *facility)
{
    return !strcmp(facility, "FAIL") || !strcmp(facility, "ERROR");
}

/* Whether a connection failed at the first request. */
static bool is_first_request(const char *text)
{
    return strstr(text, " in state APIVERSION_QUERY");
}

enum { PLAIN_TEXT = 600 };

/* librdkafka's guess about a connection that failed at the first request is a Kafka before 0.10.
 * Returns the text with the likely causes in its place, written to out; or the text itself. */
static const char *in_plain_words(const char *text, char out[PLAIN_TEXT])
{
    static const struct {
        const char *theirs, *ours, *cause;
    } rows[] = {
        {"Disconnected while requesting ApiVersion",
         "the connection was closed at the first request", ", or is just stopping"},
        {"ApiVersionRequest failed: ", "no answer of Kafka came to the first request",
         ", or hangs"},
        {"Receive failed: Invalid response size", "the first answer is none of Kafka", ""},
    };
    const char *tail = strstr(text, " (after ");
    for (size_t i = 0; i < sizeof rows / sizeof *rows && is_first_request(text) && tail; i++) {
        const char *at = strstr(text, rows[i].theirs);
        if (!at || at > tail)
            continue;
        bool tls = strstr(text, "ssl://");
        snprintf(out, PLAIN_TEXT, "%.*s%s: what listens there is no Kafka%s%s%s", (int)(at - text),
                 text, rows[i].ours,
                 tls ? "" : ", or expects TLS (kafka.security.protocol = ssl or sasl_ssl)",
                 rows[i].cause, tail);
        return out;
    }
    return text;
}

void kafka_log_nothing(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle, (void)level, (void)facility, (void)text;
}

static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[PLAIN_TEXT];

void kafka_log_keep(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    char plain[PLAIN_TEXT];
    (void)handle, (void)level;
    if (!is_connection(facility) || strstr(text, " brokers are down") ||
        strstr(text, "uthorization failed")) /* the error says which right is missing */
        return;
    pthread_mutex_lock(&kept_lock);
    snprintf(kept, sizeof kept, "%s", in_plain_words(without_thread(text), plain));
    pthread_mutex_unlock(&kept_lock);
}

int kafka_add_kept(struct error *error)
{
    struct text seen = {0};
    pthread_mutex_lock(&kept_lock);
    text_visible(&seen, kept, strlen(kept)); /* it may contain text from a broker */
    pthread_mutex_unlock(&kept_lock);
    if (seen.length)
        error_suffix(error, "; the last connection that failed: %s", seen.data);
    text_fini(&seen);
    return -1;
}

/* Logs what follows from a missing right at the level debug, because kafka_rights.c logs that right
 * as an error: also that a topic was not attempted, because it shares a request with another one
 * on which the right is missing. Returns whether it is such a line. */
static bool follows_from_right(struct kafka *kafka, const char *facility, const char *text)
{
    bool refused = strstr(text, "uthorization failed");
    if (refused)
        kafka_right_read(kafka, facility, text);
    else if (!strstr(text, "Operation not attempted"))
        return false;
    log_debug("kafka: %s: %s", facility, text);
    return true;
}

/* Brokers from 3.9 and 4.0 on refuse the nonce that older versions of librdkafka send. */
static const char *scram_hint(const struct kafka *kafka)
{
    const struct kafka_setting *mechanism =
        config_kafka_setting(kafka->config, false, "sasl.mechanisms");
    bool scram = mechanism && !strncasecmp(mechanism->value, "SCRAM-", 6);
    return scram && rd_kafka_version() < 0x020601ff
               ? "; SCRAM of librdkafka before 2.6.1 does not work with brokers of Kafka 4: use "
                 "another mechanism (PLAIN over TLS, client certificates) or a newer librdkafka"
               : "";
}

/* Which of the worker's own keys holds the authorities that a broker's certificate is checked by:
 * librdkafka's words name none, or one of its own. */
static const char *authority_hint(const struct kafka *kafka)
{
    const struct kafka_setting *pem = config_kafka_setting(kafka->config, false, "ssl.ca.pem");
    if (config_kafka_setting(kafka->config, false, "ssl.ca.location"))
        return "; see kafka.ssl.ca.location";
    if (pem)
        return pem->path ? "; see kafka.ssl.ca.pem.file" : "; see kafka.ssl.ca.pem";
    return "; the system's authorities are trusted, as kafka.ssl.ca.location is not set";
}

/* What to look at after a failed handshake; "": the text says it. */
static const char *handshake_hint(const struct kafka *kafka, const char *text)
{
    if (strstr(text, "SASL "))
        return scram_hint(kafka);
    if (strstr(text, "unexpected eof") || strstr(text, "wrong version number"))
        return "; what listens there may not expect TLS (kafka.security.protocol)";
    return strstr(text, "certificate verify failed") ? authority_hint(kafka) : "";
}

/* Whether the text begins with a word and ": ", and not with an address and an id. */
static bool begins_with_word(const char *text)
{
    return !strncmp(text + strcspn(text, ":/"), ": ", 2);
}

/* The part behind "GroupCoordinator: " or "TxnCoordinator: ". One of them stands before the address
 * if the connection serves what the broker coordinates, and stays where no address follows, because
 * no coordinator is known. */
static const char *without_role(const char *text)
{
    const char *rest = begins_with_word(text) ? strstr(text, ": ") + 2 : text;
    return begins_with_word(rest) ? text : rest;
}

/* Whether a line about that broker is due. The text is "ADDRESS/ID: what happened"; the id, or
 * "bootstrap", is left out, because the same broker has several, and so is its role. */
static bool is_due_for_broker(const char *what, const char *text)
{
    char name[160];
    text = without_role(text);
    const char *end = strstr(text, ": ");
    int length = end ? (int)(end - text) : (int)strlen(text);
    for (int at = length; end && at > 0; at--)
        if (text[at] == '/' && text[at - 1] != '/' && text[at + 1] != '/') {
            length = at;
            break;
        }
    snprintf(name, sizeof name, "%s %.*s", what, length < 120 ? length : 120, text);
    return kafka_log_due(&kafka_log_process, name, KAFKA_LOG_INTERVAL_MS);
}

/* Whether the handshake failed, of TLS or SASL, which does not pass by itself. */
static bool is_handshake(const char *text)
{
    return strstr(text, ": SASL ") || strstr(text, ": SSL handshake") ||
           (strstr(text, ":SSL routines:") && strstr(text, " in state SSL_HANDSHAKE"));
}

/* Whether a line of that text, up to `end` (NULL: all of it), is due. Texts that differ only in
 * digits, such as a time or a sequence number, are the same failure. */
static bool is_due_without_digits(const char *text, const char *end)
{
    char name[160] = "";
    size_t length = 0;
    for (const char *at = text; *at && at != end && length < sizeof name - 1; at++)
        if (!text_is_digit(*at))
            name[length++] = *at;
    name[length] = '\0';
    return kafka_log_due(&kafka_log_process, name, KAFKA_LOG_INTERVAL_MS);
}

/* Whether a line is due about credentials that a broker refuses. They are the worker's, so each of
 * its brokers refuses them for the same reason: the text from there on. */
static bool is_due_for_credentials(const char *reason)
{
    return is_due_without_digits(reason, strstr(reason, " (after "));
}

/* Whether the new user of a changed login is refused because the connection belongs to the old one.
 * librdkafka logs in again where it was logged in when a login ends (connections.max.reauth.ms),
 * and Kafka lets nobody else do so. The connection is closed, and the next one is the new user's.
 */
static bool is_change_of_user(const char *text)
{
    return strstr(text, "Cannot change principals during re-authentication");
}

/* librdkafka reports a failed handshake twice: by its log and by its callback for errors. */
static void handshake_failed(const struct kafka *kafka, const char *text)
{
    const char *refused = strstr(text, ": SASL authentication");
    if (refused && is_change_of_user(refused)) {
        if (is_due_for_credentials(refused))
            log_info("kafka: %s; the connection is made anew with the new user", text);
        return;
    }
    atomic_store(&refused_at, clock_boot_ms());
    if (refused ? is_due_for_credentials(refused) : is_due_for_broker("handshake", text)) {
        log_error("kafka: %s%s; it is tried again", text, handshake_hint(kafka, text));
        kafka_silence_told();
    }
}

static void connection_failed(const struct kafka *kafka, const char *text)
{
    if (is_handshake(text)) {
        handshake_failed(kafka, text);
        return;
    }
    atomic_store(&failed_at, clock_boot_ms());
    if (is_due_for_broker("connection", text)) {
        log_write(LOG_WARN, NULL, "kafka: %s; waiting for this broker", text);
        kafka_silence_told();
    }
}

/* librdkafka begins at the beginning where an offset is not in the log. The worker takes nothing of
 * that before it has looked at what is committed, and may halt the partition. */
static const char *reset_hint(const char *text)
{
    return strstr(text, ": offset reset (")
               ? "; that is where reading goes on, not the work: what is committed decides whether "
                 "the partition goes on there or is halted"
               : "";
}

void kafka_log_callback(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    struct kafka *kafka = rd_kafka_opaque(handle);
    enum log_level to = level_of(level);
    char plain[PLAIN_TEXT];
    if (!kafka)
        return;
    text = in_plain_words(without_client(handle, without_thread(text)), plain);
    if (is_connection(facility) && strstr(text, " brokers are down"))
        return; /* kafka_error_callback logs it */
    if (!strcmp(facility, "TXNERR") || !strcmp(facility, "ADDOFFSETS") ||
        !strcmp(facility, "ADDPARTS") || !strcmp(facility, "GETPID") ||
        (!strcmp(facility, "FATAL") && rd_kafka_type(handle) == RD_KAFKA_PRODUCER))
        to = LOG_DEBUG; /* a call returns it, and what comes of the transaction is logged */
    if (!strcmp(facility, "TERMINATE"))
        to = LOG_DEBUG; /* messages of a producer that is replaced: their transaction is aborted, or
                           its outcome is unknown, as the log says; the line advises to flush */
    if (!strcmp(facility, "REQTMOUT"))
        to = LOG_DEBUG; /* requests without an answer: the connection is closed, as FAIL says */
    if (is_connection(facility))
        kafka_silence_reason(kafka, text);
    if (follows_from_right(kafka, facility, text))
        return;
    if (!log_enabled(to))
        return;
    if (is_connection(facility)) {
        connection_failed(kafka, text);
        return;
    }
    if (to < LOG_INFO || is_due_without_digits(text, NULL))
        log_write(to, NULL, "kafka: %s: %s%s", facility, text, reset_hint(text));
}

void kafka_error_callback(rd_kafka_t *handle, int code, const char *reason, void *opaque)
{
    (void)handle;
    struct kafka *kafka = opaque;
    char name[160];
    snprintf(name, sizeof name, "error %d %s", code,
             rd_kafka_type(handle) == RD_KAFKA_PRODUCER ? "producer" : "consumer");
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT: /* the log callback reports it, with the broker and the
                                          reason */
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        kafka_silence_began(kafka, clock_wall_ms());
        if (!kafka_log_tells_why() &&
            kafka_log_due(&kafka_log_process, "no broker", KAFKA_LOG_INTERVAL_MS)) {
            log_warn("kafka: no broker of %s can be reached; waiting for one",
                     config_kafka_servers(kafka->config));
            kafka_silence_told();
        }
        return;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
        handshake_failed(kafka, reason);
        return;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
        if (is_first_request(reason))
            return; /* the log callback reports it */
        break;
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
        if (kafka_log_due(&kafka_log_process, name, KAFKA_LOG_INTERVAL_MS))
            log_error("kafka: %s: %s", rd_kafka_err2str(code), reason);
        return;
    default:
        break;
    }
    if (kafka_log_due(&kafka->log_throttle, name, KAFKA_LOG_INTERVAL_MS))
        log_warn("kafka: %s: %s", rd_kafka_err2str(code), reason);
}

bool kafka_is_too_old(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
        return true;
    default:
        return false;
    }
}

bool kafka_is_no_member(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__FATAL:
        return true;
    default:
        return false;
    }
}

bool kafka_is_fenced(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}
