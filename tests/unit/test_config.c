/* The configuration: every rule has a value that breaks it, and the message says where it stands,
 * which key it is and what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "core/config.h"
#include "core/config_kafka.h"

#define REQUIRED                                                                                   \
    "kafka.bootstrap.servers = 127.0.0.1:9092\n"                                                   \
    "platform.url = https://platform.example\n"                                                    \
    "platform.token = the-s3cret\n"                                                                \
    "platform.app.id = app-1\n"
#define MANY "....................................................................................."

static char directory[] = "/tmp/test-config-XXXXXX";

/* A run of config_load. Lists end with NULL. */
struct run {
    const char *file; /* the file's text */
    size_t size;      /* of it; 0: its length */
    const char *environment[8], *options[12];
    bool terminal;
    const char *host;
    struct config config;
    struct text errors, printed;
    int rc;
};

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void load(struct run *run)
{
    char path[128];
    if (run->file)
        write_file("conf", run->file, run->size ? run->size : strlen(run->file));
    strcpy(path, path_of("conf"));
    struct config_input input = {
        .file = run->file ? path : NULL,
        .options = run->options,
        .environment = (char *const *)run->environment,
        .log_is_terminal = run->terminal,
        .host_name = run->host ? run->host : "host-1",
    };
    while (run->options[input.option_count])
        input.option_count++;
    run->rc = config_load(&run->config, &input, &run->errors);
    text_append(&run->errors, "", 0);
    config_print(&run->config, &run->printed);
}

static void done(struct run *run)
{
    assert_null(strstr(run->errors.data, "s3cret"));
    assert_null(strstr(run->printed.data, "s3cret"));
    config_fini(&run->config);
    text_fini(&run->errors);
    text_fini(&run->printed);
}

static void load_well(struct run *run)
{
    load(run);
    if (run->rc)
        fail_msg("unexpected errors:\n%s", run->errors.data);
    assert_int_equal(run->errors.length, 0);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in:\n%s", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("expected no \"%s\" in:\n%s", part, text);
}

static size_t count_lines(const struct text *text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text->length; i++)
        lines += text->data[i] == '\n';
    return lines;
}

/* With the required keys and this one option: exactly one error, with all these parts. */
static void refused(const char *option, const char *part1, const char *part2)
{
    struct run run = {.file = REQUIRED, .options = {option}};
    load(&run);
    if (run.rc != -1 || count_lines(&run.errors) != 1)
        fail_msg("expected one error for %s, not:\n%s", option, run.errors.data);
    if (strncmp(run.errors.data, "option -o: ", 11) != 0)
        fail_msg("expected the option to be named: %s", run.errors.data);
    char *key = memory_copy(option, strcspn(option, "="));
    assert_has(run.errors.data, key);
    assert_has(run.errors.data, "expected");
    assert_has(run.errors.data, part1);
    assert_has(run.errors.data, part2);
    free(key);
    done(&run);
}

/* With the required keys and this one option all is well. */
static void accepted(const char *option)
{
    struct run run = {.file = REQUIRED, .options = {option}};
    load_well(&run);
    done(&run);
}

static void accepted_pair(const char *first, const char *second)
{
    struct run run = {.file = REQUIRED, .options = {first, second}};
    load_well(&run);
    done(&run);
}

static const char *kafka_value(const struct run *run, bool producer, const char *name)
{
    const struct kafka_setting *setting = config_kafka_setting(&run->config, producer, name);
    return setting ? setting->value : "(none)";
}

static void defaults(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED};
    load_well(&run);
    const struct config *config = &run.config;
    assert_string_equal(config->group_ids[REQUEST_CALL], "privacy-call-worker");
    assert_string_equal(config->instance_id, "host-1");
    assert_string_equal(config->request_topics[REQUEST_CALL], "call-requests");
    assert_string_equal(config->result_topics[REQUEST_CALL], "call-results");
    assert_string_equal(config->request_topics[REQUEST_RECORDING], "recording-requests");
    assert_string_equal(config->result_topics[REQUEST_RECORDING], "recording-results");
    assert_string_equal(config->dead_letters, "privacy-call-dead-letters");
    assert_int_equal(config->session_timeout_ms, 30000);
    assert_int_equal(config->heartbeat_interval_ms, 500);
    assert_int_equal(config->transaction_timeout_ms, 60000);
    assert_int_equal(config->partition_window, 10000);
    assert_int_equal(config->partition_window_bytes, 67108864);
    assert_string_equal(config->platform_url, "https://platform.example");
    assert_false(config->platform_allow_http);
    assert_string_equal(config->platform_version, "20171220");
    assert_string_equal(config->platform_token, "the-s3cret");
    assert_string_equal(config->platform_app_id, "app-1");
    assert_int_equal(config->platform_utc_offset_minutes, 480);
    assert_null(config->platform_ca_file);
    assert_int_equal(config->platform_connect_timeout_ms, 3000);
    assert_int_equal(config->platform_timeout_ms, 10000);
    assert_int_equal(config->platform_max_in_flight, 256);
    assert_int_equal(config->recording_max_in_flight, 32);
    assert_int_equal(config->platform_answer_max_bytes, 65536);
    assert_int_equal(config->platform_rate_per_second, 0);
    assert_int_equal(config->platform_breaker_failures, 20);
    assert_int_equal(config->platform_breaker_open_ms, 5000);
    assert_int_equal(config->platform_auth_flags.count, 0);
    assert_int_equal(config->event_max_bytes, 65536);
    assert_int_equal(config->call_max_age_ms, 900000);
    assert_int_equal(config->call_deadline_ms, 60000);
    assert_int_equal(config->call_retry_flags.count, 0);
    assert_int_equal(config->recording_attempts, 5);
    assert_int_equal(config->recording_retry_flags.count, 0);
    assert_null(config->recording_store);
    assert_string_equal(config->recording_url_member, "");
    assert_string_equal(config->recording_url_hosts, "");
    assert_false(config->recording_url_allow_private);
    assert_false(config->recording_url_allow_http);
    assert_int_equal(config->recording_max_bytes, 104857600);
    assert_int_equal(config->recording_timeout_ms, 300000);
    assert_int_equal(config->drain_timeout_ms, 15000);
    assert_string_equal(config->http_listen, "127.0.0.1:9464");
    assert_int_equal(config->log_level, LOG_INFO);
    assert_int_equal(config->log_format, LOG_JSON);
    assert_false(config->core_dumps);
    assert_string_equal(kafka_value(&run, false, "client.id"), "host-1");
    assert_string_equal(kafka_value(&run, true, "bootstrap.servers"), "127.0.0.1:9092");
    assert_string_equal(kafka_value(&run, true, "linger.ms"), "2");
    assert_string_equal(kafka_value(&run, false, "linger.ms"), "(none)");
    done(&run);
}

static void each_value_reaches_its_field(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED "kafka.group.id = g\n"
                                       "instance.id = i.1_-\n"
                                       "topic.call.requests = a\n"
                                       "topic.call.results = b\n"
                                       "topic.recording.requests =\n"
                                       "topic.recording.results = c\n"
                                       "topic.dead.letters = d\n"
                                       "kafka.session.timeout.ms = 45000\n"
                                       "kafka.heartbeat.interval.ms = 15000\n"
                                       "kafka.transaction.timeout.ms = 70000\n"
                                       "partition.window = 1\n"
                                       "partition.window.bytes = 1024\n"
                                       "platform.version = v2\n"
                                       "platform.utc.offset = -03:30\n"
                                       "platform.connect.timeout.ms = 1\n"
                                       "platform.timeout.ms = 2\n"
                                       "platform.max.in.flight = 3\n"
                                       "recording.max.in.flight = 4\n"
                                       "platform.answer.max.bytes = 5\n"
                                       "platform.breaker.failures = 6\n"
                                       "platform.breaker.open.ms = 7\n"
                                       "platform.auth.flags = 401, -2,3\n"
                                       "event.max.bytes = 8\n"
                                       "call.max.age.ms = 0\n"
                                       "call.deadline.ms = 0\n"
                                       "call.retry.flags = 9\n"
                                       "recording.attempts = 10\n"
                                       "recording.retry.flags = 11,12\n"
                                       "recording.url.member = data.url\n"
                                       "recording.url.hosts = *.example.com\n"
                                       "recording.url.allow.private = true\n"
                                       "recording.url.allow.http = true\n"
                                       "recording.max.bytes = 13\n"
                                       "recording.timeout.ms = 14\n"
                                       "drain.timeout.ms = 0\n"
                                       "http.listen =\n"
                                       "log.level = debug\n"
                                       "log.format = text\n"
                                       "core.dumps = true\n"};
    load_well(&run);
    const struct config *config = &run.config;
    assert_string_equal(config->group_ids[REQUEST_CALL], "g");
    assert_string_equal(config->instance_id, "i.1_-");
    assert_string_equal(config->request_topics[REQUEST_CALL], "a");
    assert_string_equal(config->result_topics[REQUEST_CALL], "b");
    assert_string_equal(config->request_topics[REQUEST_RECORDING], "");
    assert_string_equal(config->result_topics[REQUEST_RECORDING], "c");
    assert_string_equal(config->dead_letters, "d");
    assert_int_equal(config->session_timeout_ms, 45000);
    assert_int_equal(config->heartbeat_interval_ms, 15000);
    assert_int_equal(config->transaction_timeout_ms, 70000);
    assert_int_equal(config->partition_window, 1);
    assert_int_equal(config->partition_window_bytes, 1024);
    assert_string_equal(config->platform_version, "v2");
    assert_int_equal(config->platform_utc_offset_minutes, -210);
    assert_int_equal(config->platform_connect_timeout_ms, 1);
    assert_int_equal(config->platform_timeout_ms, 2);
    assert_int_equal(config->platform_max_in_flight, 3);
    assert_int_equal(config->recording_max_in_flight, 4);
    assert_int_equal(config->platform_answer_max_bytes, 5);
    assert_int_equal(config->platform_breaker_failures, 6);
    assert_int_equal(config->platform_breaker_open_ms, 7);
    assert_int_equal(config->platform_auth_flags.count, 3);
    assert_int_equal(config->platform_auth_flags.values[0], 401);
    assert_int_equal(config->platform_auth_flags.values[1], -2);
    assert_int_equal(config->platform_auth_flags.values[2], 3);
    assert_int_equal(config->event_max_bytes, 8);
    assert_int_equal(config->call_max_age_ms, 0);
    assert_int_equal(config->call_deadline_ms, 0);
    assert_int_equal(config->call_retry_flags.count, 1);
    assert_int_equal(config->call_retry_flags.values[0], 9);
    assert_int_equal(config->recording_attempts, 10);
    assert_int_equal(config->recording_retry_flags.count, 2);
    assert_string_equal(config->recording_url_member, "data.url");
    assert_string_equal(config->recording_url_hosts, "*.example.com");
    assert_true(config->recording_url_allow_private);
    assert_true(config->recording_url_allow_http);
    assert_int_equal(config->recording_max_bytes, 13);
    assert_int_equal(config->recording_timeout_ms, 14);
    assert_int_equal(config->drain_timeout_ms, 0);
    assert_string_equal(config->http_listen, "");
    assert_int_equal(config->log_level, LOG_DEBUG);
    assert_int_equal(config->log_format, LOG_TEXT);
    assert_true(config->core_dumps);
    assert_string_equal(kafka_value(&run, false, "client.id"), "i.1_-");
    done(&run);
}

static void precedence(void **state)
{
    (void)state;
    struct run run = {
        .file = REQUIRED "topic.call.requests = of-file\ntopic.call.results = of-file2\n"
                         "partition.window = 11\nkafka.client.id = of-file\n",
        .environment = {"PRIVACY_CALL_TOPIC_CALL_REQUESTS=of-environment",
                        "PRIVACY_CALL_TOPIC_CALL_RESULTS=of-environment2",
                        "PRIVACY_CALL_KAFKA_CLIENT_ID=of-environment", "HOME=/", "OTHER_TOPIC=x"},
        .options = {"topic.call.requests=of-option"},
    };
    load_well(&run);
    assert_string_equal(run.config.request_topics[REQUEST_CALL], "of-option");
    assert_string_equal(run.config.result_topics[REQUEST_CALL], "of-environment2");
    assert_int_equal(run.config.partition_window, 11);
    assert_has(run.printed.data, "topic.call.requests = of-option  # command line\n");
    assert_has(run.printed.data, "topic.call.results = of-environment2  # environment\n");
    assert_has(run.printed.data, "kafka.client.id = of-environment  # environment\n");
    assert_has(run.printed.data, "partition.window.bytes = 67108864  # default\n");
    char line[160];
    snprintf(line, sizeof line, "partition.window = 11  # %s:7\n", path_of("conf"));
    assert_has(run.printed.data, line);
    done(&run);
}

static void environment_names(void **state)
{
    (void)state;
    struct run run = {
        .environment = {"PRIVACY_CALL_PLATFORM_TOKEN=the-s3cret", "PRIVACY_CALL_PLATFORM_APP_ID=a",
                        "PRIVACY_CALL_KAFKA_BOOTSTRAP_SERVERS=k:1",
                        "PRIVACY_CALL_PLATFORM_URL=https://p=", "PRIVACY_CALL_KAFKA_LOG__LEVEL=7",
                        "PRIVACY_CALL_KAFKA_CONSUMER_CHECK_CRCS=true"},
    };
    load(&run);
    assert_has(run.errors.data, "environment variable PRIVACY_CALL_PLATFORM_URL: platform.url: ");
    assert_string_equal(kafka_value(&run, false, "log_level"), "7");
    assert_string_equal(kafka_value(&run, false, "check.crcs"), "true");
    assert_string_equal(kafka_value(&run, true, "check.crcs"), "(none)");
    assert_string_equal(run.config.platform_token, "the-s3cret");
    assert_int_equal(count_lines(&run.errors), 1);
    done(&run);
}

static void kubernetes_variables_are_ignored(void **state)
{
    (void)state;
    struct run run = {
        .file = REQUIRED,
        .environment = {"PRIVACY_CALL_WORKER_SERVICE_HOST=10.0.0.1", "PRIVACY_CALL_SERVICE_PORT=1",
                        "PRIVACY_CALL_WORKER_SERVICE_PORT_HTTP=1",
                        "PRIVACY_CALL_WORKER_PORT=tcp://10.0.0.1:1",
                        "PRIVACY_CALL_PORT_9464_TCP=tcp://10.0.0.1:9464",
                        "PRIVACY_CALL_PORT_9464_TCP_ADDR=10.0.0.1",
                        "PRIVACY_CALL_X_PORT_53_UDP_PROTO=udp"},
    };
    load_well(&run);
    done(&run);

    struct run other = {
        .file = REQUIRED,
        .environment = {"PRIVACY_CALL_PORTS=1", "PRIVACY_CALL_PORT_X_TCP=1",
                        "PRIVACY_CALL_SERVICE_HOSTS=1", "PRIVACY_CALL_=1",
                        "PRIVACY_CALL_platform_token=1"},
    };
    load(&other);
    assert_int_equal(count_lines(&other.errors), 5);
    assert_has(other.errors.data,
               "environment variable PRIVACY_CALL_PORTS: ports: unknown key: expected ");
    assert_has(other.errors.data, "variable PRIVACY_CALL_platform_token: unknown");
    done(&other);
}

static void all_errors_are_told(void **state)
{
    (void)state;
    struct run run = {
        .file = "platform.timeout.ms = soon\n\n# note\nno.such.key = 1\nwhat is this\n",
        .environment = {"PRIVACY_CALL_LOG_LEVEL=loud", "PRIVACY_CALL_NO_SUCH=1"},
        .options = {"event.max.bytes=0", "nonsense", "kafka.acks=1"},
    };
    load(&run);
    char line[256];
    snprintf(line, sizeof line,
             "%s:1: platform.timeout.ms: expected an integer from 1 to 3600000, not \"soon\"\n",
             path_of("conf"));
    assert_has(run.errors.data, line);
    snprintf(line, sizeof line, "%s:4: no.such.key: unknown key: expected ", path_of("conf"));
    assert_has(run.errors.data, line);
    snprintf(line, sizeof line, "%s:5: expected `key = value`", path_of("conf"));
    assert_has(run.errors.data, line);
    assert_has(run.errors.data,
               "environment variable PRIVACY_CALL_LOG_LEVEL: log.level: expected trace, ");
    assert_has(run.errors.data,
               "environment variable PRIVACY_CALL_NO_SUCH: no.such: unknown key: expected ");
    assert_has(run.errors.data, "option -o: event.max.bytes: expected an integer from 1 to ");
    assert_has(run.errors.data, "option -o: number 2: expected KEY=VALUE");
    assert_has(run.errors.data, "option -o: kafka.acks: expected all: ");
    assert_has(run.errors.data, "kafka.bootstrap.servers: required: expected it in the file, as "
                                "PRIVACY_CALL_KAFKA_BOOTSTRAP_SERVERS, with -o, or in a file of "
                                "its own that kafka.bootstrap.servers.file names\n");
    assert_has(run.errors.data, "platform.url: required");
    assert_has(run.errors.data, "platform.token: required: expected it in the file, as "
                                "PRIVACY_CALL_PLATFORM_TOKEN, with -o, or in a file of its own "
                                "that platform.token.file names\n");
    assert_has(run.errors.data, "platform.app.id: required");
    assert_int_equal(count_lines(&run.errors), 12);
    done(&run);
}

static void given_twice(void **state)
{
    (void)state;
    write_file("token", "x", 1);
    char option[160];
    snprintf(option, sizeof option, "platform.token.file=%s", path_of("token"));
    struct run run = {
        .file = REQUIRED "log.level = info\nlog.level = info\nkafka.linger.ms = 1\n"
                         "kafka.queue.buffering.max.ms = 1\n",
        .environment = {"PRIVACY_CALL_LOG_FORMAT=json", "PRIVACY_CALL_LOG_FORMAT=json"},
        .options = {"platform.token=the-s3cret", option, "kafka.sasl.password=s3cret",
                    "kafka.sasl.password.file=s3cret"},
    };
    load(&run);
    char line[512], first[160];
    snprintf(first, sizeof first, "%s", path_of("conf"));
    snprintf(line, sizeof line,
             "%s:6: log.level: given twice: expected it once in one source, but log.level stands "
             "at %s:5 too\n",
             path_of("conf"), first);
    assert_has(run.errors.data, line);
    assert_has(run.errors.data, ":8: kafka.queue.buffering.max.ms: given twice");
    assert_has(run.errors.data, "PRIVACY_CALL_LOG_FORMAT: log.format: given twice");
    assert_has(run.errors.data, "option -o: platform.token.file: given twice: expected it once in "
                                "one source, but platform.token stands at option -o too\n");
    assert_has(run.errors.data, "option -o: kafka.sasl.password.file: given twice");
    assert_int_equal(count_lines(&run.errors), 5);
    done(&run);
}

static void file_syntax(void **state)
{
    (void)state;
    struct run run = {.file =
                          "\xef\xbb\xbf# with a byte order mark, and lines that end with CRLF\r\n"
                          "  kafka.bootstrap.servers=127.0.0.1:9092  # local\r\n"
                          "\t\r\n"
                          "platform.url  =https://platform.example/#\r\n"
                          "platform.token = a=b#c#\r\n"
                          "kafka.client.id = \xe5\x91\xbc\xe5\x8f\xab x\t# note\r\n"
                          "kafka.client.rack = # nothing\n"
                          "platform.app.id=#1"};
    load(&run);
    assert_int_equal(count_lines(&run.errors), 1);
    assert_has(run.errors.data, ":4: platform.url: ");
    assert_has(run.errors.data, "fragment");
    assert_string_equal(run.config.platform_token, "a=b#c#");
    assert_string_equal(run.config.platform_app_id, "#1");
    assert_string_equal(kafka_value(&run, true, "client.id"), "\xe5\x91\xbc\xe5\x8f\xab x");
    assert_string_equal(kafka_value(&run, true, "client.rack"), "");
    assert_string_equal(kafka_value(&run, true, "bootstrap.servers"), "127.0.0.1:9092");
    done(&run);
}

static void bad_lines(void **state)
{
    (void)state;
    static const char text[] = REQUIRED "log.level = in\0fo\n"
                                        "log.format = \xff\n"
                                        "= value\n"
                                        "Log.Level = info\n"
                                        "log.level\n"
                                        "MIIEs3cretpieceofapemkey==\n"
                                        "two words = 1\n";
    struct run run = {.file = text, .size = sizeof text - 1};
    load(&run);
    assert_has(run.errors.data, ":5: expected UTF-8 text without NUL\n");
    assert_has(run.errors.data, ":6: expected UTF-8 text without NUL\n");
    for (int line = 7; line <= 11; line++) {
        char part[64];
        snprintf(part, sizeof part, ":%d: expected `key = value`", line);
        assert_has(run.errors.data, part);
    }
    assert_int_equal(count_lines(&run.errors), 7);
    assert_has_not(run.errors.data, "MII");
    done(&run);
}

static void unreadable_files(void **state)
{
    (void)state;
    struct text errors = {0};
    struct config config;
    struct config_input input = {.file = "/no/such/file"};
    assert_int_equal(config_load(&config, &input, &errors), -1);
    assert_has(errors.data, "/no/such/file: expected a readable configuration file: No such file");
    assert_int_equal(count_lines(&errors), 1); /* what is missing is in the file, perhaps */
    config_fini(&config);
    text_clear(&errors);
    input.file = directory;
    assert_int_equal(config_load(&config, &input, &errors), -1);
    assert_has(errors.data, ": expected a readable configuration file: Is a directory\n");
    config_fini(&config);
    text_clear(&errors);
    input.file = "/dev/zero";
    assert_int_equal(config_load(&config, &input, &errors), -1);
    assert_has(errors.data, "/dev/zero: expected a readable configuration file: longer than");
    config_fini(&config);
    text_fini(&errors);
}

/* Nobody writes to it: an error in time, wherever a file is read. */
static void silent_fifos(void **state)
{
    (void)state;
    char option[160];
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    struct text errors = {0};
    struct config config;
    struct config_input input = {.file = path_of("fifo")};
    alarm(20);
    assert_int_equal(config_load(&config, &input, &errors), -1);
    assert_has(errors.data, "fifo: expected a readable configuration file: nothing wrote it");
    config_fini(&config);
    text_fini(&errors);
    static const char *const keys[] = {"log.level.file", "platform.token.file",
                                       "kafka.sasl.password.file"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(option, sizeof option, "%s=%s", keys[i], path_of("fifo"));
        refused(option, "readable", "nothing wrote it to its end within 2 s");
    }
    snprintf(option, sizeof option, "platform.ca.file=%s", path_of("fifo"));
    refused(option, "expected a readable PEM file", "no regular file");
    snprintf(option, sizeof option, "kafka.ssl.ca.location=%s", path_of("fifo"));
    refused(option, "the path of a regular file", "");
    alarm(0);
}

static void fifo_that_is_written(void **state)
{
    (void)state;
    int ends[2];
    char option[64];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "77\n", 3), 3);
    close(ends[1]);
    snprintf(option, sizeof option, "partition.window.file=/dev/fd/%d", ends[0]);
    struct run run = {.file = REQUIRED, .options = {option}};
    load_well(&run);
    assert_int_equal(run.config.partition_window, 77);
    done(&run);
    close(ends[0]);

    /* A token from there is not looked for again. */
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "77\n", 3), 3);
    close(ends[1]);
    snprintf(option, sizeof option, "platform.token.file=/dev/fd/%d", ends[0]);
    struct run token = {.file = REQUIRED, .options = {option}};
    load_well(&token);
    assert_string_equal(token.config.platform_token, "77");
    assert_null(token.config.platform_token_path);
    done(&token);
    close(ends[0]);
}

/* What comes from outside reaches a terminal by an error, and must not steer it. */
static void errors_are_visible(void **state)
{
    (void)state;
    struct run run = {.file = "log.level = a\x1b[2J\xc2\x9b\xe2\x80\xae\n",
                      .environment = {"PRIVACY_CALL_\x1b=1"},
                      .options = {"instance.id=\xe2\x80\xa8"}};
    load(&run);
    assert_has(run.errors.data, "\"a\\u001b[2J\\u009b\\u202e\"");
    assert_has(run.errors.data, "PRIVACY_CALL_\\u001b: ");
    assert_has(run.errors.data, "\"\\u2028\"");
    assert_has_not(run.errors.data, "\x1b");
    assert_has_not(run.errors.data, "\xc2\x9b");
    assert_has_not(run.errors.data, "\xe2\x80");
    done(&run);
}

static void long_lines(void **state)
{
    (void)state;
    struct text text = {0};
    text_add(&text, REQUIRED "kafka.client.rack = ");
    for (int i = 0; i < 100000; i++)
        text_add(&text, "r");
    text_add(&text, "\nlog.level = ");
    for (int i = 0; i < 100000; i++)
        text_add(&text, "\xe5\x91\xbc");
    text_add(&text, "\n");
    for (int i = 0; i < 300; i++)
        text_add(&text, "a");
    text_add(&text, " = 1\n");
    struct run run = {.file = text.data};
    load(&run);
    assert_int_equal(strlen(kafka_value(&run, true, "client.rack")), 100000);
    assert_has(run.errors.data, ":6: log.level: expected");
    assert_has(run.errors.data, "...");
    assert_has(run.errors.data, ":7: expected `key = value`");
    assert_int_equal(count_lines(&run.errors), 2);
    assert_true(text_is_utf8(run.errors.data, run.errors.length));
    assert_true(run.errors.length < 1000);
    done(&run);
    text_fini(&text);
}

/* Files that are no configuration end in errors, never in a crash. */
static void garbage(void **state)
{
    (void)state;
    uint32_t seed = 1;
    static const char *const pieces[] = {"kafka.",
                                         "platform.token",
                                         ".file",
                                         " = ",
                                         "=",
                                         "\n",
                                         "#",
                                         "\r\n",
                                         "\xff",
                                         "x",
                                         ",",
                                         "1",
                                         "consumer.",
                                         "\t",
                                         "topic.call.requests",
                                         "[",
                                         ":",
                                         "\xe5\x91"};
    for (int round = 0; round < 300; round++) {
        struct text text = {0};
        for (int i = 0; i < 400; i++) {
            seed = seed * 1664525 + 1013904223;
            size_t pick = (seed >> 8) % (sizeof pieces / sizeof *pieces + 2);
            char byte = (char)(seed >> 24);
            if (pick < sizeof pieces / sizeof *pieces)
                text_add(&text, pieces[pick]);
            else
                text_append(&text, &byte, 1);
        }
        struct run run = {.file = text.data, .size = text.length};
        load(&run);
        assert_int_equal(run.rc, -1);
        assert_true(text_is_utf8(run.errors.data, run.errors.length));
        done(&run);
        text_fini(&text);
    }
}

static void values_from_files(void **state)
{
    (void)state;
    write_file("token", "the-s3cret\n", 11);
    write_file("ca.pem", "text\n-----BEGIN CERTIFICATE-----\n", 33);
    write_file("window", "77", 2);
    write_file("pem", "-----BEGIN\ns3cret\n-----END\n\n", 28);
    char token[256], ca_name[160], window[160], pem[160], ca_path[160];
    snprintf(token, sizeof token, "platform.token.file=%s", path_of("token"));
    snprintf(window, sizeof window, "partition.window.file=%s", path_of("window"));
    snprintf(pem, sizeof pem, "kafka.ssl.key.pem.file=%s", path_of("pem"));
    strcpy(ca_path, path_of("ca.pem"));
    write_file("ca.name", ca_path, strlen(ca_path));
    snprintf(ca_name, sizeof ca_name, "platform.ca.file.file=%s", path_of("ca.name"));
    struct run run = {.file = REQUIRED, .options = {token, window, pem, ca_name}};
    load_well(&run);
    assert_string_equal(run.config.platform_token, "the-s3cret");
    assert_int_equal(run.config.partition_window, 77);
    assert_string_equal(kafka_value(&run, true, "ssl.key.pem"), "-----BEGIN\ns3cret\n-----END\n");
    assert_string_equal(run.config.platform_ca_file, ca_path);
    assert_has(run.printed.data, "platform.token = ***  # command line\n");
    assert_has(run.printed.data, "kafka.ssl.key.pem = ***  # command line\n");
    assert_has(run.printed.data, "partition.window = 77  # command line\n");
    done(&run);

    snprintf(token, sizeof token, "PRIVACY_CALL_PLATFORM_TOKEN_FILE=%s", path_of("token"));
    struct run named = {.file = REQUIRED, .environment = {token}};
    load_well(&named);
    assert_string_equal(named.config.platform_token, "the-s3cret");
    assert_has(named.printed.data, "platform.token = ***  # environment\n");
    done(&named);
}

/* As lines of the configuration's file may. */
static void value_files_may_end_with_crlf(void **state)
{
    (void)state;
    char token[160], password[160];
    write_file("token", "the-s3cret\r\n", 12);
    write_file("password", "a\r\n\r\n", 5);
    snprintf(token, sizeof token, "platform.token.file=%s", path_of("token"));
    snprintf(password, sizeof password, "kafka.sasl.password.file=%s", path_of("password"));
    struct run run = {.file = REQUIRED, .options = {token, password}};
    load_well(&run);
    assert_string_equal(run.config.platform_token, "the-s3cret");
    assert_string_equal(kafka_value(&run, true, "sasl.password"), "a\r\n"); /* one newline */
    done(&run);
}

static void bad_value_files(void **state)
{
    (void)state;
    char option[160];
    refused("log.level.file=/no/such/file", "readable file at \"/no/such/file\"", "No such file");
    refused("platform.token.file=the-s3cret", "readable file: ", "No such file");
    refused("kafka.sasl.password.file=the-s3cret", "readable file: ", "No such file");
    write_file("nul", "a\0b", 3);
    snprintf(option, sizeof option, "kafka.client.id.file=%s", path_of("nul"));
    refused(option, "UTF-8 text without NUL", "file");
    write_file("latin", "\xe9", 1);
    snprintf(option, sizeof option, "platform.app.id.file=%s", path_of("latin"));
    refused(option, "UTF-8 text without NUL", "file");
    write_file("empty", "", 0);
    snprintf(option, sizeof option, "platform.app.id.file=%s", path_of("empty"));
    refused(option, "1 to 700 printable", "");
}

static void unknown(const char *option)
{
    struct run run = {.file = REQUIRED, .options = {option}};
    load(&run);
    assert_int_equal(count_lines(&run.errors), 1);
    assert_has(run.errors.data, "option -o: ");
    assert_has(run.errors.data, ": unknown key: expected ");
    done(&run);
}

static void unknown_keys(void **state)
{
    (void)state;
    unknown("platform.tokens=the-s3cret");
    unknown("platform.token.file.file=the-s3cret");
    unknown("platform.ca=x");
    unknown("kafka.=x");
    unknown("kafka.consumer.=x");
    unknown("kafka.client.id.file.file=x");
    unknown("kafka=x");
    unknown("log=x");
    unknown(".file=x");
}

/* A setting that is overridden is not looked at. */
static void overridden_values(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED "platform.token.file = /no\nlog.level = loud\n",
                      .environment = {"PRIVACY_CALL_LOG_LEVEL=warn"}};
    load(&run);
    assert_has(run.errors.data, "platform.token.file: given twice");
    assert_int_equal(count_lines(&run.errors), 1);
    assert_int_equal(run.config.log_level, LOG_WARN);
    done(&run);
}

static void urls(void **state)
{
    (void)state;
    static const char *const good[] = {
        "https://p",       "https://p.example:8443/", "https://10.0.0.1/a/b///",
        "HTTPS://P/x%20y", "https://[::1]:1/x",       "https://xn--fiqs8s/@:;"};
    static const char *const bad[][2] = {
        {"ftp://p", "https://"},
        {"p.example", "https://"},
        {"", "https://"},
        {"https://", "host"},
        {"https:///x", "host"},
        {"https://user:s3cret@p/", "user information"},
        {"https://user@p/", "user information"},
        {"https://p/x?token=s3cret", "query"},
        {"https://p?s3cret", "query"},
        {"https://p/#s3cret", "fragment"},
        {"https://p:0", "port"},
        {"https://p:65536", "port"},
        {"https://p:", "port"},
        {"https://p:8o", "port"},
        {"https://p:-1", "port"},
        {"https://[::1", "host"},
        {"https://[]", "host"},
        {"https://[::1]x", "host"},
        {"https://[zz]", "host"},
        {"https://h h/", "host"},
        {"https://h\xc3\xa9/", "host"},
        {"https://p/a//b", "path"},
        {"https://p/../b", "path"},
        {"https://p/a/.", "path"},
        {"https://p/a b", "path"},
        {"https://p/%2", "path"},
        {"https://p/%zz", "path"},
        {"https://p/a\\b", "path"},
        {"https://p/" MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY
             MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY MANY,
         "too long"},
    };
    char option[4096];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(option, sizeof option, "platform.url=%s", good[i]);
        accepted(option);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(option, sizeof option, "platform.url=%s", bad[i][0]);
        refused(option, "https://host[:port][/prefix]: ", bad[i][1]);
    }
    struct run run = {.file = REQUIRED, .options = {"platform.url=HTTPS://P:1/a/b//"}};
    load_well(&run);
    assert_string_equal(run.config.platform_url, "https://P:1/a/b");
    done(&run);
}

static void plain_http(void **state)
{
    (void)state;
    refused("platform.url=http://p", "https://", "platform.allow.http = true");
    struct run run = {.file = REQUIRED,
                      .options = {"platform.url=http://p", "platform.allow.http=true"}};
    load_well(&run);
    assert_string_equal(run.config.platform_url, "http://p");
    done(&run);
}

static void topics(void **state)
{
    (void)state;
    refused("topic.call.results=", "topic", "249");
    refused("topic.dead.letters=a b", "topic", "\"a b\"");
    refused("topic.call.requests=.", "topic", "249");
    refused("topic.call.requests=..", "topic", "249");
    refused("topic.call.requests=\xc3\xa9", "topic", "249");
    refused("topic.recording.results=" MANY MANY MANY, "topic", "249");
    accepted("topic.recording.results=" MANY MANY "x");
    refused("topic.dead.letters=call-results", "topic.call.results is \"call-results\" too", "own");
    refused("topic.call.requests=call-results", "topic.call.results", "own");
    refused("topic.recording.results=call-requests", "topic.call.requests", "own");
    accepted("topic.call.requests=");
    accepted("topic.recording.requests=");
    struct run run = {.file = REQUIRED,
                      .options = {"topic.call.requests=", "topic.recording.requests="}};
    load(&run);
    assert_int_equal(count_lines(&run.errors), 1);
    assert_has(run.errors.data, "option -o: topic.call.requests: expected this or "
                                "topic.recording.requests to name a topic");
    done(&run);
}

static void credentials(void **state)
{
    (void)state;
    refused("platform.token=", "1 to 700 printable", "':'");
    refused("platform.token=s3cret:x", "1 to 700 printable", "':'");
    refused("platform.token=s3cret x", "1 to 700 printable", "':'");
    refused("platform.token=s3cret\x01", "1 to 700 printable", "':'");
    refused("platform.token=s3cret\xc3\xa9", "1 to 700 printable", "':'");
    refused("platform.app.id=a:b", "1 to 700 printable", "':'");
    refused("platform.app.id=", "1 to 700 printable", "':'");
    char option[800] = "platform.token=";
    size_t prefix = strlen(option);
    memset(option + prefix, 't', 695);
    accepted(option); /* 695 and "app-1" are 700 */
    option[prefix + 695] = 't';
    struct run run = {.file = REQUIRED, .options = {option}};
    load(&run);
    assert_string_equal(run.errors.data, "option -o: platform.token: expected at most 700 bytes "
                                         "together with platform.app.id\n");
    done(&run);
}

static void names_and_zones(void **state)
{
    (void)state;
    refused("instance.id=", "1 to 64", "\"\"");
    refused("instance.id=a/b", "1 to 64", "\"a/b\"");
    refused("instance.id=" MANY, "1 to 64", "...");
    accepted("instance.id=.");
    accepted("instance.id=..");
    refused("platform.version=..", "1 to 64", "not . or ..");
    refused("platform.version=a/b", "1 to 64", "");
    static const char *const zones[] = {"",       "8",       "+8:00",  "08:00", "+08:60", "+15:00",
                                        "-12:01", "+08:00 ", "+08-00", "Z",     "+0a:00"};
    char option[64];
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        snprintf(option, sizeof option, "platform.utc.offset=%s", zones[i]);
        refused(option, "an offset like +08:00", "");
    }
    accepted("platform.utc.offset=+14:00");
    accepted("platform.utc.offset=-12:00");
    accepted("platform.utc.offset=+00:00");

    struct run run = {.file = REQUIRED, .host = "bad host"};
    load(&run);
    assert_has(run.errors.data, "host name: instance.id: expected 1 to 64");
    assert_int_equal(count_lines(&run.errors), 1);
    done(&run);
    struct run named = {.file = REQUIRED, .host = "bad host", .options = {"instance.id=good"}};
    load_well(&named);
    done(&named);
    struct run terminal = {.file = REQUIRED, .terminal = true};
    load_well(&terminal);
    assert_int_equal(terminal.config.log_format, LOG_TEXT);
    done(&terminal);
}

static void numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "partition.window=0",          "partition.window=1000001",
        "partition.window.bytes=1023", "platform.connect.timeout.ms=0",
        "platform.timeout.ms=0",       "platform.timeout.ms=3600001",
        "platform.max.in.flight=0",    "recording.max.in.flight=0",
        "platform.answer.max.bytes=0", "platform.breaker.failures=0",
        "platform.breaker.open.ms=0",  "platform.breaker.open.ms=60001",
        "event.max.bytes=0",           "call.max.age.ms=-1",
        "call.deadline.ms=-1",         "recording.attempts=0",
        "recording.max.bytes=0",       "recording.timeout.ms=0",
        "drain.timeout.ms=-1",         "drain.timeout.ms=3600001",
        "partition.window=",           "partition.window=1.5",
        "partition.window= 1",         "partition.window=0x10",
        "partition.window=1k",         "partition.window=99999999999999999999",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i], "an integer from", strchr(bad[i], '=') + 1);
    refused("platform.allow.http=yes", "true or false", "\"yes\"");
    refused("log.format=xml", "json or text", "\"xml\"");
    refused("platform.auth.flags=1", "success", "");
    refused("call.retry.flags=2,1", "success", "");
    refused("recording.retry.flags=2;3", "integers", "");
    refused("recording.url.member=a..b", "names with dots", "a..b");
    refused("recording.url.hosts=a b", "host names", "a b");
    refused("recording.url.allow.private=1", "true or false", "1");
    refused("recording.retry.flags=2,", "integers", "");
    accepted("recording.retry.flags=");
}

static void parts_that_are_missing(void **state)
{
    (void)state;
    accepted("platform.rate.per.second=10");
    refused("platform.rate.per.second=-1", "0", "expected an integer from 0 to 1000000");
    refused("recording.store=s3://b/p", "none", "not part of this version");
    accepted("platform.rate.per.second=0");
    accepted("recording.store=none");
}

static void stores(void **state)
{
    (void)state;
    accepted("recording.store=/tmp");
    refused("recording.store=", "directory", "No such file");
    refused("recording.store=/nowhere/at/all", "directory", "No such file");
    refused("recording.store=/dev/null", "directory", "is none");
    char option[] = "recording.store=/tmp/privacy-call-store-XXXXXX";
    char *made = mkdtemp(strchr(option, '/'));
    assert_non_null(made);
    accepted(option);
    assert_int_equal(chmod(made, 0500), 0);
    if (geteuid() != 0) /* nothing is forbidden to root */
        refused(option, "can be written to", "Permission denied");
    rmdir(made);
}

static void places_to_listen(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",          "127.0.0.1:0",     "0.0.0.0:9464",     "[::1]:0",
        "[::]:9464", "localhost:65535", "metrics.example:1"};
    static const char *const bad[] = {"127.0.0.1", ":9464", "127.0.0.1:",    "[::1]",  "[::1]9464",
                                      "::1:9464",  "9464",  "h:65536",       "h:-1",   "h:9464/",
                                      "h h:1",     "h:1 ",  "http://h:9464", "[zz]:1", "[]:1",
                                      "h:000001",  "u@h:1", "h\xc3\xa9:1"};
    char option[64];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(option, sizeof option, "http.listen=%s", good[i]);
        accepted(option);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(option, sizeof option, "http.listen=%s", bad[i]);
        refused(option, "expected host:port", "or no value");
    }
}

static void ca_files(void **state)
{
    (void)state;
    char option[160];
    refused("platform.ca.file=/no/such/ca.pem", "\"/no/such/ca.pem\"", "No such file");
    write_file("no.pem", "hello\n", 6);
    snprintf(option, sizeof option, "platform.ca.file=%s", path_of("no.pem"));
    refused(option, "PEM file with a certificate", "holds none");
    write_file("no.pem", "", 0);
    refused(option, "PEM file with a certificate", "holds none");
    accepted("platform.ca.file=");
}

static void kafka_values_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"kafka.enable.auto.commit=true", "false: an offset committed without its ledger"},
        {"kafka.consumer.enable.auto.commit=true", "false: "},
        {"kafka.auto.commit.enable=1", "false: "},
        {"kafka.enable.auto.offset.store=true", "false: "},
        {"kafka.offset.store.method=file", "broker: "},
        {"kafka.auto.offset.reset=latest", "earliest: "},
        {"kafka.auto.offset.reset=error", "earliest: "},
        {"kafka.isolation.level=read_uncommitted", "read_committed: "},
        {"kafka.enable.partition.eof=false", "true: "},
        {"kafka.group.protocol=consumer", "classic: "},
        {"kafka.group.protocol.type=connect", "consumer: "},
        {"kafka.partition.assignment.strategy=range,cooperative-sticky", "cooperative-sticky, or"},
        {"kafka.partition.assignment.strategy=", "cooperative-sticky, or"},
        {"kafka.partition.assignment.strategy=sticky", "cooperative-sticky, or"},
        {"kafka.session.timeout.ms=5999", "an integer from 6000"},
        {"kafka.session.timeout.ms=soon", "an integer from 6000"},
        {"kafka.heartbeat.interval.ms=0", "an integer from 1"},
        {"kafka.max.poll.interval.ms=5999", "an integer from 6000"},
        {"kafka.transactional.id=x", "it is made from kafka.group.id"},
        {"kafka.producer.transactional.id=x", "expected privacy-call-worker:host-1: "},
        {"kafka.transaction.timeout.ms=5999", "an integer from 6000"},
        {"kafka.enable.idempotence=false", "true: "},
        {"kafka.acks=1", "all: "},
        {"kafka.request.required.acks=0", "all: "},
        {"kafka.max.in.flight=6", "an integer from 1 to 5: "},
        {"kafka.producer.max.in.flight.requests.per.connection=6", "an integer from 1 to 5: "},
        {"kafka.retries=0", "an integer from 1"},
        {"kafka.message.timeout.ms=0", "an integer from 1000"},
        {"kafka.delivery.timeout.ms=999", "an integer from 1000"},
        {"kafka.queuing.strategy=lifo", "fifo: "},
        {"kafka.partitioner=random", "murmur2_random: "},
        {"kafka.delivery.report.only.error=true", "false: "},
        {"kafka.enable.gapless.guarantee=true", "false: "},
        {"kafka.api.version.request=false", "true: "},
        {"kafka.plugin.library.paths=monitor.so", "it not to be set: "},
        {"kafka.enabled_events=1", "it not to be set: "},
        {"kafka.ssl.engine.location=/usr/lib/engine.so", "it not to be set: it loads"},
        {"kafka.consumer.ssl.engine.location=engine.so", "it not to be set: it loads"},
        {"kafka.ssl.providers=default, /tmp/mine", "OpenSSL's own providers"},
        {"kafka.test.mock.num.brokers=1", "0: "},
        {"kafka.topic.blacklist=call-.*", "it not to be set: "},
        {"kafka.internal.termination.signal=15", "0: "},
        {"kafka.statistics.interval.ms=20", "0: nobody reads"},
        {"kafka.consumer.statistics.interval.ms=20", "0: nobody reads"},
        {"kafka.producer.statistics.interval.ms=60000", "0: nobody reads"},
        {"kafka.enable.sasl.oauthbearer.unsecure.jwt=true", "false: such a token proves nothing"},
        {"kafka.log.queue=true", "false: "},
        {"kafka.ssl.ca.location=/no/such", "a file that can be read"},
        {"kafka.ssl.certificate.location=/no/such", "a file that can be read"},
        {"kafka.ssl.key.location=/no/such", "a file that can be read"},
        {"kafka.ssl.crl.location=/no/such", "a file that can be read"},
        {"kafka.ssl.keystore.location=/no/such", "a file that can be read"},
        {"kafka.sasl.kerberos.keytab=/no/such", "a file that can be read"},
        {"kafka.group.instance.id=", "1 to 249 of"},
        {"kafka.group.id=", "1 to 249 bytes"},
        {"kafka.group.id=a\tb", "1 to 249 bytes"},
        {"kafka.heartbeat.interval.ms=10001", "a third of kafka.session.timeout.ms, so 10000"},
        {"kafka.session.timeout.ms=300001", "at least kafka.session.timeout.ms, so 300001"},
        {"kafka.max.poll.interval.ms=29999", "at least kafka.session.timeout.ms, so 30000"},
        {"kafka.message.timeout.ms=60001", "at most kafka.transaction.timeout.ms, so 60000"},
        {"kafka.socket.timeout.ms=60101", "at most kafka.transaction.timeout.ms and 0.1 s"},
        {"kafka.reconnect.backoff.ms=501", "at most kafka.reconnect.backoff.max.ms, so 500"},
        {"kafka.reconnect.backoff.max.ms=99", "at most kafka.reconnect.backoff.max.ms, so 99"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i][0], bad[i][1], "");
    refused("kafka.consumer.bootstrap.servers=k:1", "expected kafka.bootstrap.servers, for", "");
    refused("kafka.producer.group.id=g", "expected kafka.group.id, for", "");
    static const char *const servers[] = {"",         ",",      "a,,b",  "a b:1",      "a:0",
                                          "a:65536",  "a:",     ":9092", "a:1,",       "a:-1",
                                          "ssl://",   "a:9O92", "a:1;b", "a:1/",       "a:1:2",
                                          "[::1]x:1", "[]:1",   "::1",   "http://a:1", "kafka://a"};
    char option[64];
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        struct run run = {.file = REQUIRED, .options = {option}};
        snprintf(option, sizeof option, "kafka.bootstrap.servers=%s", servers[i]);
        load(&run);
        assert_has(run.errors.data, "option -o: kafka.bootstrap.servers: expected host:port");
        assert_int_equal(count_lines(&run.errors), 1);
        done(&run);
    }
}

static void drain_and_poll_interval(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED, .options = {"drain.timeout.ms=295001"}};
    load(&run);
    assert_int_equal(count_lines(&run.errors), 1);
    assert_has(run.errors.data, "option -o: drain.timeout.ms: ");
    assert_has(run.errors.data, "kafka.max.poll.interval.ms");
    assert_has(run.errors.data, "300001, not 300000\n");
    done(&run);

    struct run low = {.file = REQUIRED "kafka.session.timeout.ms = 6000\n",
                      .options = {"kafka.max.poll.interval.ms=19999"}};
    load(&low);
    assert_int_equal(count_lines(&low.errors), 1);
    assert_has(low.errors.data, "option -o: kafka.max.poll.interval.ms: expected kafka.max.poll");
    assert_has(low.errors.data, "20000, not 19999\n");
    done(&low);
    struct run both = {.file = REQUIRED,
                       .options = {"drain.timeout.ms=600000", "kafka.max.poll.interval.ms=605000"}};
    load_well(&both);
    done(&both);
}

static void kafka_values_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        "kafka.enable.auto.commit=false",
        "kafka.auto.offset.reset=smallest",
        "kafka.isolation.level=read_committed",
        "kafka.group.instance.id=static-1",
        "kafka.partition.assignment.strategy=range, roundrobin",
        "kafka.partition.assignment.strategy=roundrobin",
        "kafka.acks=-1",
        "kafka.max.in.flight=5",
        "kafka.consumer.max.in.flight=100",
        "kafka.ssl.ca.location=/",
        "kafka.ssl.ca.location=probe",
        "kafka.bootstrap.servers=a, b:1,SSL://c:2 ,[::1]:9",
        "kafka.bootstrap.servers=plaintext://my_broker-1.example.,[::ffff:10.0.0.1],sasl_ssl://"
        "[::1]",
        "kafka.group.id=\xe5\x91\xbc",
        "kafka.session.timeout.ms=6000",
        "kafka.socket.timeout.ms=60100",
        "kafka.anything.else=1",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        accepted(good[i]);
}

/* What is given for one side beats what is given for both, which beats the worker's default. */
static void sides(void **state)
{
    (void)state;
    struct run run = {
        .file = REQUIRED "kafka.linger.ms = 7\nkafka.consumer.client.id = c\n"
                         "kafka.socket.nagle.disable = false\n"
                         "kafka.producer.socket.nagle.disable = true\n"
                         "kafka.consumer.debug = cgrp\nkafka.producer.debug = eos\n",
        .options = {"kafka.debug=all", "kafka.fetch.wait.max.ms=9",
                    "kafka.consumer.session.timeout.ms=9000"},
    };
    load_well(&run);
    assert_string_equal(kafka_value(&run, true, "linger.ms"), "7");
    assert_string_equal(kafka_value(&run, false, "client.id"), "c");
    assert_string_equal(kafka_value(&run, true, "client.id"), "host-1");
    assert_string_equal(kafka_value(&run, false, "socket.nagle.disable"), "false");
    assert_string_equal(kafka_value(&run, true, "socket.nagle.disable"), "true");
    assert_string_equal(kafka_value(&run, false, "debug"), "cgrp");
    assert_string_equal(kafka_value(&run, true, "debug"), "eos");
    assert_string_equal(kafka_value(&run, false, "fetch.wait.max.ms"), "9");
    assert_int_equal(run.config.session_timeout_ms, 9000);
    assert_has_not(run.printed.data, "kafka.debug = ");
    assert_has_not(run.printed.data, "kafka.producer.linger.ms = ");
    assert_has(run.printed.data, "kafka.fetch.wait.max.ms = 9  # command line\n");
    /* What is for both comes first, so that setting all in order gives each side its own. */
    for (size_t i = 1; i < run.config.kafka_count; i++) {
        const struct kafka_setting *setting = &run.config.kafka[i];
        if (!strcmp(setting->name, run.config.kafka[i - 1].name))
            assert_false(setting->consumer && setting->producer);
    }
    /* A rule looks at what is in force. */
    accepted_pair("kafka.max.in.flight=6", "kafka.producer.max.in.flight=5");
    done(&run);
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    struct run run = {
        .file = REQUIRED "kafka.sasl.password = s3cret\nkafka.ssl.key.password = s3cret\n"
                         "kafka.consumer.ssl.key.pem = s3cret\nkafka.sasl.username = me\n",
        .environment = {"PRIVACY_CALL_KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET=s3cret"},
        .options = {"kafka.ssl.keystore.password=s3cret"},
    };
    load_well(&run);
    assert_has(run.printed.data, "kafka.sasl.password = ***  # ");
    assert_has(run.printed.data, "kafka.ssl.key.password = ***  # ");
    assert_has(run.printed.data, "kafka.consumer.ssl.key.pem = ***  # ");
    assert_has(run.printed.data, "kafka.sasl.oauthbearer.client.secret = ***  # environment\n");
    assert_has(run.printed.data, "kafka.ssl.keystore.password = ***  # command line\n");
    assert_has(run.printed.data, "platform.token = ***  # ");
    assert_has(run.printed.data, "platform.app.id = app-1  # ");
    assert_has(run.printed.data, "kafka.sasl.username = me  # ");
    done(&run);
}

/* What is printed is a configuration again, and prints the same. */
static void printed_is_readable(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED "kafka.ssl.ca.pem.file = /dev/null\n",
                      .options = {"topic.call.requests=", "log.level=warn", "http.listen="}};
    load_well(&run);
    char *again = memory_string(run.printed.data);
    for (char *at; (at = strstr(again, "***"));)
        memcpy(at, "xyz", 3);
    struct run second = {.file = again};
    load_well(&second);
    assert_int_equal(count_lines(&run.printed), count_lines(&second.printed));
    assert_has(second.printed.data, "log.level = warn  # ");
    assert_has(second.printed.data, "topic.call.requests =  # ");
    assert_string_equal(second.config.request_topics[REQUEST_CALL], "");
    free(again);
    done(&run);
    done(&second);

    struct run control = {.file = REQUIRED, .options = {"kafka.client.rack=a\nb\x01"}};
    load_well(&control);
    assert_has(control.printed.data, "kafka.client.rack = a\\nb\\u0001  # command line\n");
    done(&control);
}

/* What the worker always sets is shown like any other default, may be written down, and gets no
 * other value. */
static void what_is_always_set(void **state)
{
    (void)state;
    static const char *const always[][2] = {
        {"kafka.enable.auto.commit", "false"},
        {"kafka.enable.auto.offset.store", "false"},
        {"kafka.isolation.level", "read_committed"},
        {"kafka.enable.partition.eof", "true"},
        {"kafka.auto.offset.reset", "earliest"},
        {"kafka.enable.idempotence", "true"},
        {"kafka.partitioner", "murmur2_random"},
        {"kafka.transactional.id", "privacy-call-worker:host-1"},
    };
    struct run run = {.file = REQUIRED};
    load_well(&run);
    char line[128];
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        snprintf(line, sizeof line, "\n%s = %s  # default\n", always[i][0], always[i][1]);
        assert_has(run.printed.data, line);
        snprintf(line, sizeof line, "%s=%s", always[i][0], always[i][1]);
        accepted(line);
    }
    done(&run);

    struct run named = {
        .file = REQUIRED,
        .options = {"kafka.transactional.id=g:i", "kafka.group.id=g", "instance.id=i"}};
    load_well(&named);
    assert_has(named.printed.data, "\nkafka.transactional.id = g:i  # command line\n");
    done(&named);
    refused("kafka.transactional.id=privacy-call-worker",
            "expected privacy-call-worker:host-1: ", "it is made from kafka.group.id");
}

/* Nobody in the worker gets a token but the library's own OIDC client. */
static void tokens_need_oidc(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED,
                      .options = {"kafka.security.protocol=SASL_SSL",
                                  "kafka.producer.sasl.mechanism=oauthbearer"}};
    load(&run);
    assert_int_equal(run.rc, -1);
    assert_int_equal(count_lines(&run.errors), 1);
    assert_has(run.errors.data, "option -o: kafka.producer.sasl.mechanism: expected "
                                "kafka.sasl.oauthbearer.method = oidc");
    done(&run);
    accepted_pair("kafka.sasl.mechanism=OAUTHBEARER", "kafka.sasl.oauthbearer.method=oidc");
    accepted("kafka.ssl.providers=default, legacy");
}

/* A default that would lie below the user's own shortest back-off is left out. */
static void longest_backoff_fits(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED};
    load_well(&run);
    assert_string_equal(kafka_value(&run, true, "retry.backoff.max.ms"), "100");
    done(&run);
    struct run slow = {.file = REQUIRED, .options = {"kafka.producer.retry.backoff.ms=101"}};
    load_well(&slow);
    assert_string_equal(kafka_value(&slow, true, "retry.backoff.max.ms"), "(none)");
    done(&slow);
}

/* A broker that hangs is given up before the session ends, and one answer is small enough to come
 * in that time. Where a default contradicts what the user has set, librdkafka's own is left, which
 * fits itself. */
static void an_answer_is_awaited_for_less_than_a_session(void **state)
{
    (void)state;
    struct run run = {.file = REQUIRED};
    load_well(&run);
    assert_string_equal(kafka_value(&run, true, "socket.timeout.ms"), "20000");
    assert_string_equal(kafka_value(&run, false, "socket.timeout.ms"), "20000");
    assert_string_equal(kafka_value(&run, false, "fetch.max.bytes"), "4194304");
    assert_string_equal(kafka_value(&run, false, "check.crcs"), "true");
    done(&run);
    static const char *const others[][2] = {
        {"kafka.transaction.timeout.ms=19999", "socket.timeout.ms"},
        {"kafka.fetch.wait.max.ms=19001", "socket.timeout.ms"},
        {"kafka.receive.message.max.bytes=4194815", "fetch.max.bytes"},
        {"kafka.message.max.bytes=4194305", "fetch.max.bytes"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct run own = {.file = REQUIRED, .options = {others[i][0]}};
        load_well(&own);
        assert_string_equal(kafka_value(&own, false, others[i][1]), "(none)");
        done(&own);
    }
}

/* After an error config_load still leaves what was right, for further checks. */
static void the_rest_stays_usable(void **state)
{
    (void)state;
    struct run run = {
        .options = {"kafka.bootstrap.servers=k:1", "kafka.acks=0", "kafka.debug=all"}};
    load(&run);
    assert_int_equal(run.rc, -1);
    assert_string_equal(kafka_value(&run, true, "debug"), "all");
    assert_string_equal(kafka_value(&run, true, "acks"), "(none)");
    assert_string_equal(run.config.group_ids[REQUEST_CALL], "privacy-call-worker");
    done(&run);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    static const char *const names[] = {"conf", "token", "ca.pem", "window", "pem", "ca.name",
                                        "nul",  "latin", "empty",  "no.pem", "fifo"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    return rmdir(directory);
}

/* The id of earlier versions, unless it may be another instance's in another group by now. */
static void test_former_transactional_ids(void **state)
{
    (void)state;
    struct text id = {0};
    assert_true(config_kafka_former_id(&id, "calls", "eu-1"));
    assert_string_equal(id.data, "calls-eu-1");
    text_clear(&id);
    assert_false(config_kafka_former_id(&id, "calls:eu", "1"));
    assert_string_equal(id.data, "");
    text_fini(&id);
}

/* Kafka hashes both alike, so that they have the same coordinator. */
static void test_neighbour_of_a_transactional_id(void **state)
{
    (void)state;
    static const char *const ids[] = {"calls:eu-1", "privacy-call-worker:a", "x:y",
                                      "g.recordings:host_0123456789.example"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct text id = {0};
        uint32_t hash[2] = {0};
        config_kafka_neighbour_id(&id, ids[i]);
        assert_int_equal(strlen(ids[i]) + 8, id.length);
        assert_memory_equal(ids[i], id.data, strlen(ids[i]));
        for (const char *at = ids[i]; *at; at++)
            hash[0] = 31 * hash[0] + (unsigned char)*at;
        for (const char *at = id.data; *at; at++)
            hash[1] = 31 * hash[1] + (unsigned char)*at;
        assert_int_equal(hash[0], hash[1]);
        text_fini(&id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_former_transactional_ids),
        cmocka_unit_test(test_neighbour_of_a_transactional_id),
        cmocka_unit_test(defaults),
        cmocka_unit_test(each_value_reaches_its_field),
        cmocka_unit_test(precedence),
        cmocka_unit_test(environment_names),
        cmocka_unit_test(kubernetes_variables_are_ignored),
        cmocka_unit_test(all_errors_are_told),
        cmocka_unit_test(given_twice),
        cmocka_unit_test(file_syntax),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(unreadable_files),
        cmocka_unit_test(silent_fifos),
        cmocka_unit_test(fifo_that_is_written),
        cmocka_unit_test(errors_are_visible),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(garbage),
        cmocka_unit_test(values_from_files),
        cmocka_unit_test(value_files_may_end_with_crlf),
        cmocka_unit_test(bad_value_files),
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(overridden_values),
        cmocka_unit_test(urls),
        cmocka_unit_test(plain_http),
        cmocka_unit_test(topics),
        cmocka_unit_test(credentials),
        cmocka_unit_test(names_and_zones),
        cmocka_unit_test(numbers),
        cmocka_unit_test(parts_that_are_missing),
        cmocka_unit_test(stores),
        cmocka_unit_test(places_to_listen),
        cmocka_unit_test(ca_files),
        cmocka_unit_test(kafka_values_refused),
        cmocka_unit_test(drain_and_poll_interval),
        cmocka_unit_test(kafka_values_accepted),
        cmocka_unit_test(sides),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(printed_is_readable),
        cmocka_unit_test(what_is_always_set),
        cmocka_unit_test(tokens_need_oidc),
        cmocka_unit_test(longest_backoff_fits),
        cmocka_unit_test(an_answer_is_awaited_for_less_than_a_session),
        cmocka_unit_test(the_rest_stays_usable),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
