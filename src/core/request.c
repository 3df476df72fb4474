#include "core/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static size_t raw_size(const struct raw_record *raw)
{
    size_t size = raw->header_count * sizeof *raw->headers + raw->key_size + raw->value_size;
    for (size_t i = 0; i < raw->header_count; i++)
        size += strlen(raw->headers[i].name) + 1 + raw->headers[i].size;
    return size;
}

static const char *put(char **at, const void *bytes, size_t n)
{
    if (!bytes)
        return NULL;
    char *copy = *at;
    memcpy(copy, bytes, n);
    *at += n;
    return copy;
}

struct request *request_new(struct record_position position, const struct raw_record *raw)
{
    size_t size = sizeof(struct request) + raw_size(raw);
    struct request *request = memory_alloc(size);
    memset(request, 0, sizeof *request);
    request->position = position;
    request->raw = *raw;
    request->bytes = size;
    request->message.type = MESSAGE_REQUEST;
    request->event.expires_at_ms = INT64_MAX;

    struct record_header *headers = (struct record_header *)(request + 1);
    char *at = (char *)(headers + raw->header_count);
    for (size_t i = 0; i < raw->header_count; i++) {
        headers[i].name = put(&at, raw->headers[i].name, strlen(raw->headers[i].name) + 1);
        headers[i].value = put(&at, raw->headers[i].value, raw->headers[i].size);
        headers[i].size = raw->headers[i].size;
    }
    request->raw.headers = raw->header_count ? headers : NULL;
    request->raw.key = put(&at, raw->key, raw->key_size);
    request->raw.value = put(&at, raw->value, raw->value_size);

    list_init(&request->message.node);
    list_init(&request->dispatch_node);
    list_init(&request->lane_node);
    list_init(&request->partition_node);
    list_init(&request->change_node);
    list_init(&request->list_node);
    return request;
}

void outcome_fini(struct outcome *outcome)
{
    free(outcome->error_message);
    free(outcome->flag_json);
    free(outcome->msg_json);
    free(outcome->virtual_number);
    free(outcome->platform_json);
    free(outcome->recording.url);
    free(outcome->recording.uri);
    free(outcome->recording.content_type);
    *outcome = (struct outcome){0};
}

struct log_about request_about(const struct request *request, const char *topic)
{
    return (struct log_about){.topic = topic,
                              .partition = request->position.partition,
                              .offset = request->position.offset,
                              .order_id = request->event.order_id,
                              .trace_id = request->event.trace_id};
}

void request_free(struct request *request)
{
    if (!request)
        return;
    outcome_fini(&request->outcome);
    free(request->event.invalid_message);
    free(request->event.strings);
    free(request);
}

void outcome_set(struct outcome *outcome, enum status status, const char *code, const char *message,
                 int64_t now_wall_ms)
{
    outcome_fini(outcome);
    outcome->status = status;
    outcome->error_code = code;
    outcome->error_message = memory_string(message);
    outcome->finished_at_ms = now_wall_ms;
}

const char *status_name(enum status status)
{
    static const char *const names[STATUSES] = {"succeeded", "refused",     "invalid",
                                                "expired",   "unavailable", "unknown"};
    return names[status];
}
