#include "core/config_keys.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/config_value.h"

#define FIELD(member) offsetof(struct config, member)

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    KIB = 1024,
    MIB = 1024 * KIB,
    GIB = 1024 * MIB,
};
#define YEARS(n) ((n) * (int64_t)365 * 24 * HOUR)
#define TIB      ((int64_t)1024 * GIB)

static void compute_instance(const struct config_input *input, char value[256])
{
    if (input->host_name)
        snprintf(value, 256, "%s", input->host_name);
    else if (gethostname(value, 256) < 0)
        value[0] = '\0';
    value[255] = '\0';
}

static void compute_log_format(const struct config_input *input, char value[256])
{
    strcpy(value, input->log_is_terminal ? "text" : "json");
}

/* clang-format off */
#define INTEGER(key, member, fallback_, min_, max_) \
    .name = key, .fallback = fallback_, .set = config_set_integer, .field = FIELD(member), \
    .min = min_, .max = max_
#define VALUE(key, member, fallback_, setter) \
    .name = key, .fallback = fallback_, .set = setter, .field = FIELD(member)

const struct config_key config_keys[] = {
    {VALUE("instance.id", instance_id, "host name", config_set_name), .min = 1, .max = 64,
     .compute = compute_instance},
    {VALUE("recording.group.id", group_ids[REQUEST_RECORDING], "<kafka.group.id>-recordings", config_set_group),
     .derived = true},
    {VALUE("topic.call.requests", request_topics[REQUEST_CALL], "call-requests", config_set_job_topic)},
    {VALUE("topic.call.results", result_topics[REQUEST_CALL], "call-results", config_set_topic)},
    {VALUE("topic.recording.requests", request_topics[REQUEST_RECORDING], "recording-requests", config_set_job_topic)},
    {VALUE("topic.recording.results", result_topics[REQUEST_RECORDING], "recording-results", config_set_topic)},
    {VALUE("topic.dead.letters", dead_letters, "privacy-call-dead-letters", config_set_topic)},
    {INTEGER("partition.window", partition_window, "10000", 1, 1000000)},
    {INTEGER("partition.window.bytes", partition_window_bytes, "67108864", KIB, TIB)},
    {INTEGER("memory.max.bytes", memory_max_bytes, "134217728", MIB, TIB)},
    {INTEGER("stuck.after.ms", stuck_after_ms, "60000", 1000, 24 * HOUR)},
    {VALUE("platform.url", platform_url, NULL, config_set_url)},
    {VALUE("platform.allow.http", platform_allow_http, "false", config_set_boolean)},
    {VALUE("platform.version", platform_version, "20171220", config_set_path_part), .min = 1, .max = 64},
    {VALUE("platform.token", platform_token, NULL, config_set_credential), .secret = true},
    {VALUE("platform.app.id", platform_app_id, NULL, config_set_credential)},
    {VALUE("platform.utc.offset", platform_utc_offset_minutes, "+08:00", config_set_zone)},
    {VALUE("platform.ca.file", platform_ca_file, "", config_set_ca_file)},
    {VALUE("platform.cert.file", platform_cert_file, "", config_set_ca_file)},
    {VALUE("platform.key.file", platform_key_file, "", config_set_key_file)},
    {VALUE("platform.tls.groups", platform_tls_groups, "", config_set_tls_groups)},
    {INTEGER("platform.connect.timeout.ms", platform_connect_timeout_ms, "3000", 1, HOUR)},
    {INTEGER("platform.timeout.ms", platform_timeout_ms, "10000", 1, HOUR)},
    {VALUE("platform.connection.reuse", platform_connection_reuse, "true", config_set_boolean)},
    {INTEGER("platform.connection.max.age.ms", platform_connection_max_age_ms, "60000", 1, 24 * HOUR)},
    {INTEGER("platform.max.in.flight", platform_max_in_flight, "256", 1, 65536)},
    {INTEGER("recording.max.in.flight", recording_max_in_flight, "32", 1, 65536)},
    {INTEGER("platform.answer.max.bytes", platform_answer_max_bytes, "65536", 1, GIB)},
    {INTEGER("platform.rate.per.second", platform_rate_per_second, "0", 0, 1000000)},
    {INTEGER("platform.breaker.failures", platform_breaker_failures, "20", 1, 1000000)},
    {INTEGER("platform.breaker.open.ms", platform_breaker_open_ms, "5000", 1, MINUTE)},
    {VALUE("platform.auth.flags", platform_auth_flags, "", config_set_flags)},
    {INTEGER("event.max.bytes", event_max_bytes, "65536", 1, GIB)},
    {INTEGER("call.max.age.ms", call_max_age_ms, "900000", 0, YEARS(10))},
    {INTEGER("call.deadline.ms", call_deadline_ms, "60000", 0, YEARS(10))},
    {VALUE("call.retry.flags", call_retry_flags, "", config_set_flags)},
    {INTEGER("recording.attempts", recording_attempts, "5", 1, 1000000)},
    {VALUE("recording.retry.flags", recording_retry_flags, "", config_set_flags)},
    {VALUE("recording.url.member", recording_url_member, "", config_set_path)},
    {VALUE("recording.url.hosts", recording_url_hosts, "", config_set_hosts)},
    {VALUE("recording.url.allow.private", recording_url_allow_private, "false", config_set_boolean)},
    {VALUE("recording.url.allow.http", recording_url_allow_http, "false", config_set_boolean)},
    {VALUE("recording.store", recording_store, "none", config_set_store)},
    {INTEGER("recording.max.bytes", recording_max_bytes, "104857600", 1, TIB)},
    {INTEGER("recording.timeout.ms", recording_timeout_ms, "300000", 1, 24 * HOUR)},
    {INTEGER("drain.timeout.ms", drain_timeout_ms, "15000", 0, HOUR)},
    {VALUE("http.listen", http_listen, "127.0.0.1:9464", config_set_listen)},
    {VALUE("http.hosts", http_hosts, "", config_set_http_hosts)},
    {VALUE("log.level", log_level, "info", config_set_log_level)},
    {VALUE("log.format", log_format, "json", config_set_log_format), .compute = compute_log_format},
    {VALUE("core.dumps", core_dumps, "false", config_set_boolean)},
};
/* clang-format on */

const size_t config_key_count = sizeof config_keys / sizeof *config_keys;

const struct config_key *config_key_find(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (!strcmp(config_keys[i].name, name))
            return &config_keys[i];
    return NULL;
}
