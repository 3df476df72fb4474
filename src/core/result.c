#include "core/result.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum {
    REDUCED_MEMBER_MAX = 256,   /* longest text of others in a reduced result */
    REDUCED_HEADERS_MAX = 1024, /* total of the headers of others in a reduced record */
};

static void add_name(struct text *value, const char *name)
{
    text_append(value, ",\"", 2);
    text_add(value, name);
    text_append(value, "\":", 2);
}

static void add_string(struct text *value, const char *name, const char *string)
{
    if (!string)
        return;
    add_name(value, name);
    text_json(value, string, strlen(string));
}

/* Text that is JSON already. */
static void add_json(struct text *value, const char *name, const char *json)
{
    if (!json)
        return;
    add_name(value, name);
    text_add(value, json);
}

static void add_integer(struct text *value, const char *name, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    add_json(value, name, digits);
}

static void add_time(struct text *value, const char *name, int64_t wall_ms)
{
    char time[CLOCK_TEXT_SIZE];
    clock_to_text(time, wall_ms);
    add_string(value, name, time);
}

/* The text, or NULL if it is too long for a reduced result. */
static const char *if_fits(const char *string, bool reduced)
{
    return string && reduced && strlen(string) > REDUCED_MEMBER_MAX ? NULL : string;
}

#define TOO_LARGE "result-too-large"

static void add_error(struct text *value, const struct outcome *outcome, bool reduced)
{
    const char *code = outcome->error_code;
    const char *message = if_fits(outcome->error_message, reduced);
    if (!reduced && outcome->status == STATUS_SUCCEEDED)
        return;
    add_name(value, "error");
    text_add(value, "{\"code\":");
    if (reduced) {
        struct text both = {0};
        text_add(&both, "the broker refused the whole result for its size: Msg and platform are "
                        "left out");
        if (code)
            text_printf(&both, "; %s: %s", code, message ? message : "");
        text_json(value, TOO_LARGE, sizeof TOO_LARGE - 1);
        add_string(value, "message", both.data);
        text_fini(&both);
    } else {
        assert(code);
        text_json(value, code, strlen(code));
        add_string(value, "message", message ? message : "");
    }
    text_add(value, "}");
}

static void add_answer(struct text *value, const struct outcome *outcome, bool reduced)
{
    add_json(value, "Flag", if_fits(outcome->flag_json, reduced));
    add_json(value, "Msg", reduced ? NULL : outcome->msg_json);
    add_string(value, "virtualNumber", if_fits(outcome->virtual_number, reduced));
    if (outcome->http_status)
        add_integer(value, "httpStatus", outcome->http_status);
    add_json(value, "platform", reduced ? NULL : outcome->platform_json);
}

static void add_recording(struct text *value, const struct recording *recording, bool reduced)
{
    if (!recording->present && !recording->url && !recording->uri)
        return;
    struct text members = {0};
    add_string(&members, "url", if_fits(recording->url, reduced));
    add_string(&members, "uri", if_fits(recording->uri, reduced));
    add_string(&members, "contentType", if_fits(recording->content_type, reduced));
    if (recording->present) {
        add_integer(&members, "size", recording->size);
        add_string(&members, "sha256", recording->sha256);
    }
    add_name(value, "recording");
    text_add(value, "{");
    if (members.length)
        text_add(value, members.data + 1); /* without the first comma */
    text_add(value, "}");
    text_fini(&members);
}

static void add_tries(struct text *value, const struct request *request)
{
    const struct call_state *call = &request->call;
    if (!request->outcome.from_successor) {
        add_integer(value, "attempts", call->attempts);
        if (call->attempts > 0 && call->first_started_at_ms > 0)
            add_time(value, "startedAt", call->first_started_at_ms);
    }
    add_time(value, "finishedAt", request->outcome.finished_at_ms);
}

static void add_source(struct text *value, const char *topic, struct record_position position)
{
    add_name(value, "source");
    text_add(value, "{\"topic\":");
    text_json(value, topic, strlen(topic));
    add_integer(value, "partition", position.partition);
    add_integer(value, "offset", position.offset);
    text_add(value, "}");
}

void result_value(struct text *value, const struct result_names *names,
                  const struct request *request, bool reduced)
{
    const struct event *event = &request->event;
    const struct outcome *outcome = &request->outcome;
    assert(event->order_id && event->request_id);
    text_clear(value);
    text_add(value, "{\"orderId\":");
    text_json(value, event->order_id, strlen(event->order_id));
    add_string(value, "requestId", event->request_id);
    if (request->position.kind == REQUEST_RECORDING)
        add_string(value, "callIdentifier", event->call_identifier);
    add_string(value, "status", status_name(outcome->status));
    add_error(value, outcome, reduced);
    add_answer(value, outcome, reduced);
    if (request->position.kind == REQUEST_RECORDING)
        add_recording(value, &outcome->recording, reduced);
    add_tries(value, request);
    add_source(value, names->request_topics[request->position.kind], request->position);
    text_add(value, "}");
}

enum { HEADERS_MAX = sizeof((struct record *)0)->headers / sizeof(struct record_header) };

static void record_clear(struct record *record)
{
    text_clear(&record->key);
    text_clear(&record->value);
    text_clear(&record->header_bytes);
    record->has_key = record->has_value = false;
    record->header_count = record->more_header_count = 0;
    record->more_headers = NULL;
}

/* Adds a header of the worker. Its value is set by headers_settle. */
static struct record_header *header_open(struct record *record, const char *name)
{
    assert(record->header_count < HEADERS_MAX);
    struct record_header *header = &record->headers[record->header_count++];
    *header = (struct record_header){.name = name};
    return header;
}

static void header_add(struct record *record, const char *name, const char *value, size_t size)
{
    header_open(record, name)->size = size;
    text_append(&record->header_bytes, value, size);
}

static void header_string(struct record *record, const char *name, const char *value)
{
    header_add(record, name, value, strlen(value));
}

static void header_integer(struct record *record, const char *name, int64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, number);
    header_add(record, name, digits, (size_t)n);
}

/* Points the worker's headers at their bytes, which are stored one after another and do not move
 * any more. */
static void headers_settle(struct record *record)
{
    const char *at = record->header_bytes.data;
    for (size_t i = 0; i < record->header_count; i++) {
        record->headers[i].value = at;
        at += record->headers[i].size;
    }
}

/* ce_source is a URI reference: characters that a path segment must not contain are written as
 * %XX. */
static void header_source(struct record *record, const char *group)
{
    static const char prefix[] = "/privacy-call-worker/";
    struct record_header *header = header_open(record, "ce_source");
    size_t start = record->header_bytes.length;
    text_add(&record->header_bytes, prefix);
    for (const unsigned char *p = (const unsigned char *)group; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~!$&'()*+,;=:@", *p);
        if (plain)
            text_append(&record->header_bytes, p, 1);
        else
            text_printf(&record->header_bytes, "%%%02X", *p);
    }
    header->size = record->header_bytes.length - start;
}

static void header_id(struct record *record, const struct result_names *names,
                      struct record_position position)
{
    struct record_header *header = header_open(record, "ce_id");
    size_t start = record->header_bytes.length;
    text_printf(&record->header_bytes, "%s/%s/%" PRId32 "/%" PRId64, names->group,
                names->request_topics[position.kind], position.partition, position.offset);
    header->size = record->header_bytes.length - start;
}

/* Adds the request's trace context unchanged. What does not fit is dropped. */
static void headers_of_trace(struct record *record, const struct raw_record *raw, bool reduced)
{
    size_t room = reduced ? REDUCED_HEADERS_MAX : SIZE_MAX;
    for (size_t i = 0; i < raw->header_count && record->header_count < HEADERS_MAX; i++) {
        const struct record_header *header = &raw->headers[i];
        size_t size = strlen(header->name) + header->size;
        if ((strcmp(header->name, "traceparent") && strcmp(header->name, "tracestate")) ||
            size > room)
            continue;
        room -= reduced ? size : 0;
        record->headers[record->header_count++] = *header;
    }
}

static size_t size_of_headers(const struct raw_record *raw)
{
    size_t size = 0;
    for (size_t i = 0; i < raw->header_count; i++)
        size += strlen(raw->headers[i].name) + raw->headers[i].size;
    return size;
}

void result_render(struct record *record, const struct result_names *names,
                   const struct request *request, bool reduced)
{
    static const char *const types[REQUEST_KINDS] = {
        [REQUEST_CALL] = "privacycall.call.result.v1",
        [REQUEST_RECORDING] = "privacycall.recording.result.v1",
    };
    char time[CLOCK_TEXT_SIZE];
    record_clear(record);
    record->topic = names->result_topics[request->position.kind];
    record->has_key = record->has_value = true;
    text_add(&record->key, request->event.order_id);
    result_value(&record->value, names, request, reduced);

    clock_to_text(time, request->outcome.finished_at_ms);
    header_id(record, names, request->position);
    header_string(record, "ce_type", types[request->position.kind]);
    header_string(record, "ce_subject", request->event.order_id);
    header_source(record, names->group);
    header_string(record, "ce_time", time);
    header_string(record, "ce_specversion", "1.0");
    header_string(record, "content-type", "application/json");
    headers_settle(record);
    headers_of_trace(record, &request->raw, reduced);
}

static void dead_letter_headers(struct record *record, const struct result_names *names,
                                struct record_position position, int64_t timestamp_ms)
{
    header_string(record, "dlq.topic", names->request_topics[position.kind]);
    header_integer(record, "dlq.partition", position.partition);
    header_integer(record, "dlq.offset", position.offset);
    header_integer(record, "dlq.timestamp", timestamp_ms);
    header_string(record, "dlq.group", names->group);
}

static void dead_letter_reason(struct record *record, const char *reason, const char *code,
                               const char *message)
{
    header_string(record, "dlq.reason", reason);
    header_string(record, "dlq.code", code);
    header_string(record, "dlq.message", message);
}

/* A dead letter `invalid`: the event was invalid from the start, or became invalid later. */
static void dead_letter_invalid(struct record *record, const char *reason,
                                const struct request *request)
{
    const struct event *event = &request->event;
    const struct outcome *outcome = &request->outcome;
    const char *code = event->invalid_code ? event->invalid_code : outcome->error_code;
    const char *message = event->invalid_code ? event->invalid_message : outcome->error_message;
    dead_letter_reason(record, reason, code ? code : reason, message ? message : "");
}

void dead_letter_render(struct record *record, const struct result_names *names,
                        const struct request *request, const char *reason, bool reduced)
{
    const struct raw_record *raw = &request->raw;
    bool late = strcmp(reason, "late-outcome") == 0;
    record_clear(record);
    record->topic = names->dead_letters;
    bool keyless = reduced && raw->key_size > REDUCED_MEMBER_MAX;
    bool without_headers = reduced && size_of_headers(raw) > REDUCED_HEADERS_MAX;
    record->has_key = raw->key && !keyless;
    if (record->has_key)
        text_append(&record->key, raw->key, raw->key_size);
    record->has_value = raw->value && !reduced;
    if (record->has_value)
        text_append(&record->value, raw->value, raw->value_size);
    record->more_headers = without_headers ? NULL : raw->headers;
    record->more_header_count = without_headers ? 0 : raw->header_count;

    if (late)
        dead_letter_reason(record, reason, reason,
                           "the call ended after its partition had gone to another worker");
    else
        dead_letter_invalid(record, reason, request);
    dead_letter_headers(record, names, request->position, raw->timestamp_ms);
    if (reduced)
        header_integer(record, "dlq.value.size", (int64_t)raw->value_size);
    if (keyless)
        header_integer(record, "dlq.key.size", (int64_t)raw->key_size);
    if (without_headers)
        header_integer(record, "dlq.headers.size", (int64_t)size_of_headers(raw));
    if (late) {
        struct text outcome = {0};
        result_value(&outcome, names, request, reduced);
        header_add(record, "dlq.outcome", outcome.data, outcome.length);
        text_fini(&outcome);
    }
    headers_settle(record);
}

void record_gone_render(struct record *record, const struct result_names *names,
                        struct record_position position, const char *message)
{
    record_clear(record);
    record->topic = names->dead_letters;
    dead_letter_reason(record, "record-gone", "record-gone", message);
    dead_letter_headers(record, names, position, -1);
    headers_settle(record);
}

void record_give_key(struct record *record, const struct result_names *names,
                     struct record_position position)
{
    if (record->has_key)
        return;
    record->has_key = true;
    text_clear(&record->key);
    text_printf(&record->key, "%s/%" PRId32 "/%" PRId64, names->request_topics[position.kind],
                position.partition, position.offset);
    header_string(record, "dlq.key.missing", "true");
    headers_settle(record);
}

void record_fini(struct record *record)
{
    text_fini(&record->key);
    text_fini(&record->value);
    text_fini(&record->header_bytes);
    *record = (struct record){0};
}
