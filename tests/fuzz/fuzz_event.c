/* Fuzzes what comes from outside: events (key, headers, value) and the platform's answers, and
 * checks that whatever was read is written again as sound JSON. Input: a byte of switches, a byte
 * with the key's length, the key, the value. */
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/answer.h"
#include "core/event.h"
#include "core/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDING = 1, KEY = 2, STRUCTURED = 4, HEADERS = 8 };

static const struct result_names names = {
    .group = "g",
    .request_topics = {"c", "r"},
    .result_topics = {"cr", "rr"},
    .dead_letters = "d",
};

static void must(int holds)
{
    if (!holds)
        abort();
}

static void must_be_json(const char *text, size_t size)
{
    json_error_t error;
    json_t *json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    /* A number beyond jansson's range is sound JSON, which it does not read; and what is 2048
     * levels deep in an answer is deeper in a result. */
    must(json || json_error_code(&error) == json_error_numeric_overflow ||
         json_error_code(&error) == json_error_stack_overflow);
    json_decref(json);
}

static void check_event(const struct request *request)
{
    const struct event *event = &request->event;
    must(event->request_id != NULL);
    must((event->invalid_code != NULL) == (event->invalid_message != NULL));
    if (event->order_id)
        must(*event->order_id && strlen(event->order_id) <= 256);
    if (event->invalid_code)
        return;
    must(event->order_id != NULL);
    if (request->position.kind == REQUEST_CALL)
        must(event->caller && event->callee && strlen(event->caller) <= 21);
    else
        must(event->call_identifier && strlen(event->call_identifier) <= 128);
}

static void check_rendering(const struct request *request)
{
    struct record record = {0};
    struct text body = {0};
    for (int small = 0; small < 2; small++) {
        if (request->event.order_id) {
            result_render(&record, &names, request, small);
            must_be_json(record.value.data, record.value.length);
            dead_letter_render(&record, &names, request, "late-outcome", small);
        }
        dead_letter_render(&record, &names, request, "invalid", small);
        must(small || record.value.length == request->raw.value_size);
    }
    if (!request->event.invalid_code) {
        answer_request_body(&body, request, "t", "a");
        must_be_json(body.data, body.length);
    }
    text_fini(&body);
    record_fini(&record);
}

static void check_answer(struct request *request, const char *body, size_t size)
{
    const char *reason = NULL;
    struct outcome *outcome = &request->outcome;
    static const struct config config = {
        .platform_url = "https://h", .platform_version = "1", .platform_answer_max_bytes = 1 << 20};
    struct attempt attempt = {.http_status = 200, .body = body, .body_size = size};
    if (answer_read(outcome, request->position.kind, &attempt, &config, &reason)) {
        must(reason != NULL);
        attempt.http_status = 404;
        answer_refused(outcome, request->position.kind, &attempt, &config);
    } else {
        must(outcome->flag_json != NULL);
    }
    must((outcome->status == STATUS_SUCCEEDED) == (outcome->error_code == NULL));
    if (outcome->flag_json)
        must_be_json(outcome->flag_json, strlen(outcome->flag_json));
    if (outcome->msg_json)
        must_be_json(outcome->msg_json, strlen(outcome->msg_json));
    if (outcome->platform_json)
        must_be_json(outcome->platform_json, strlen(outcome->platform_json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct event_rules rules = {{"c", "r"}, 65536};
    if (size < 2)
        return 0;
    int switches = data[0];
    size_t key_size = data[1] < size - 2 ? data[1] : size - 2;
    const char *key = (const char *)data + 2, *value = key + key_size;
    size_t value_size = size - 2 - key_size;
    const struct record_header headers[] = {
        {"content-type",
         switches & STRUCTURED ? "application/cloudevents+json" : "application/json",
         switches & STRUCTURED ? 28 : 16},
        {"ce_id", key, key_size},
        {"ce_subject", key, key_size},
        {"traceparent", key, key_size},
    };
    struct raw_record raw = {
        .key = switches & KEY ? key : NULL,
        .key_size = switches & KEY ? key_size : 0,
        .value = value,
        .value_size = value_size,
        .headers = headers,
        .header_count = switches & HEADERS ? 4 : 1,
    };
    struct record_position position = {switches & RECORDING ? REQUEST_RECORDING : REQUEST_CALL, 3,
                                       42};
    struct request *request = request_new(position, &raw);
    event_parse(request, &rules, 1768212043120);
    check_event(request);
    check_answer(request, value, value_size);
    check_rendering(request);
    request_free(request);
    return 0;
}
