/* Results and dead letters, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/event.h"
#include "core/result.h"

static const struct result_names names = {
    .group = "gr\xc3\xa4 p/%",
    .request_topics = {"call-requests", "recording-requests"},
    .result_topics = {"call-results", "recording-results"},
    .dead_letters = "dead",
};

static int64_t at(const char *time)
{
    int64_t wall_ms;
    assert_int_equal(clock_from_text(time, &wall_ms), 0);
    return wall_ms;
}

static struct request *request_from(enum request_kind kind, const char *key, const char *value,
                                    const struct record_header *headers, size_t header_count)
{
    const struct event_rules rules = {{"call-requests", "recording-requests"}, 65536};
    struct raw_record raw = {
        key,     key ? strlen(key) : 0, value,        value ? strlen(value) : 0,
        headers, header_count,          1768212043120};
    struct request *request = request_new((struct record_position){kind, 3, 42}, &raw);
    event_parse(request, &rules, 0);
    return request;
}

static struct request *succeeded(void)
{
    struct request *request =
        request_from(REQUEST_CALL, "o-1001",
                     "{\"requestId\":\"r-7\",\"Caller\":\"123\",\"Callee\":\"124\"}", NULL, 0);
    request->outcome = (struct outcome){
        .status = STATUS_SUCCEEDED,
        .flag_json = memory_string("1"),
        .msg_json = memory_string("\"8617115230000\""),
        .virtual_number = memory_string("17115230000"),
        .answered = true,
        .finished_at_ms = at("2026-01-12T10:00:43.391Z"),
    };
    request->call.attempts = 1;
    request->call.first_started_at_ms = at("2026-01-12T10:00:43.120Z");
    return request;
}

static void assert_value(const struct request *request, bool small, const char *expected)
{
    struct text value = {0};
    result_value(&value, &names, request, small);
    assert_string_equal(value.data, expected);
    json_t *json = json_loadb(value.data, value.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    json_decref(json);
    text_fini(&value);
}

static void assert_header(const struct record *record, size_t i, const char *name,
                          const char *value)
{
    assert_true(i < record->header_count);
    assert_string_equal(record->headers[i].name, name);
    if (record->headers[i].size != strlen(value) ||
        memcmp(record->headers[i].value, value, strlen(value)) != 0)
        fail_msg("%s is %.*s, not %s", name, (int)record->headers[i].size,
                 (const char *)record->headers[i].value, value);
}

static void writes_the_example(void **state)
{
    (void)state;
    struct request *request = succeeded();
    assert_value(request, false,
                 "{\"orderId\":\"o-1001\",\"requestId\":\"r-7\",\"status\":\"succeeded\","
                 "\"Flag\":1,\"Msg\":\"8617115230000\",\"virtualNumber\":\"17115230000\","
                 "\"attempts\":1,\"startedAt\":\"2026-01-12T10:00:43.120Z\","
                 "\"finishedAt\":\"2026-01-12T10:00:43.391Z\",\"source\":{\"topic\":"
                 "\"call-requests\",\"partition\":3,\"offset\":42}}");
    request_free(request);
}

static void writes_all_there_is(void **state)
{
    (void)state;
    struct request *request = succeeded();
    request->outcome.status = STATUS_REFUSED;
    request->outcome.error_code = "refused";
    request->outcome.error_message = memory_string("the \"platform\"");
    request->outcome.http_status = 404;
    request->outcome.platform_json = memory_string("{\"a\":[1]}");
    assert_value(request, false,
                 "{\"orderId\":\"o-1001\",\"requestId\":\"r-7\",\"status\":\"refused\","
                 "\"error\":{\"code\":\"refused\",\"message\":\"the \\\"platform\\\"\"},"
                 "\"Flag\":1,\"Msg\":\"8617115230000\",\"virtualNumber\":\"17115230000\","
                 "\"httpStatus\":404,\"platform\":{\"a\":[1]},"
                 "\"attempts\":1,\"startedAt\":\"2026-01-12T10:00:43.120Z\","
                 "\"finishedAt\":\"2026-01-12T10:00:43.391Z\",\"source\":{\"topic\":"
                 "\"call-requests\",\"partition\":3,\"offset\":42}}");
    request_free(request);
}

static void leaves_out_what_is_not_known(void **state)
{
    (void)state;
    struct request *request =
        request_from(REQUEST_CALL, "o", "{\"Caller\":\"123\",\"Callee\":\"124\"}", NULL, 0);
    outcome_set(&request->outcome, STATUS_EXPIRED, "expired", "too old", 0);
    assert_value(request, false,
                 "{\"orderId\":\"o\",\"requestId\":\"call-requests/3/42\",\"status\":\"expired\","
                 "\"error\":{\"code\":\"expired\",\"message\":\"too old\"},\"attempts\":0,"
                 "\"finishedAt\":\"1970-01-01T00:00:00.000Z\",\"source\":{\"topic\":"
                 "\"call-requests\",\"partition\":3,\"offset\":42}}");
    request->call.first_started_at_ms = 1;
    struct text value = {0};
    result_value(&value, &names, request, false);
    assert_null(strstr(value.data, "startedAt"));
    text_fini(&value);
    outcome_set(&request->outcome, STATUS_UNKNOWN, "worker-died", "x", 0);
    request->outcome.from_successor = true;
    assert_value(request, false,
                 "{\"orderId\":\"o\",\"requestId\":\"call-requests/3/42\",\"status\":\"unknown\","
                 "\"error\":{\"code\":\"worker-died\",\"message\":\"x\"},"
                 "\"finishedAt\":\"1970-01-01T00:00:00.000Z\",\"source\":{\"topic\":"
                 "\"call-requests\",\"partition\":3,\"offset\":42}}");
    request_free(request);
}

static void writes_a_recording(void **state)
{
    (void)state;
    struct request *request =
        request_from(REQUEST_RECORDING, "o", "{\"CallIdentifier\":\"65\"}", NULL, 0);
    struct recording *recording = &request->outcome.recording;
    request->outcome.flag_json = memory_string("1");
    request->call.attempts = 2;
    assert_value(request, false,
                 "{\"orderId\":\"o\",\"requestId\":\"recording-requests/3/42\","
                 "\"callIdentifier\":\"65\",\"status\":\"succeeded\",\"Flag\":1,\"attempts\":2,"
                 "\"finishedAt\":\"1970-01-01T00:00:00.000Z\",\"source\":{\"topic\":"
                 "\"recording-requests\",\"partition\":3,\"offset\":42}}");
    recording->url = memory_string("https://h/a");
    recording->uri = memory_string("file:///r/65.wav");
    recording->content_type = memory_string("audio/wav");
    recording->size = 7;
    recording->present = true;
    memset(recording->sha256, 'a', 64);
    struct text value = {0};
    result_value(&value, &names, request, false);
    assert_non_null(
        strstr(value.data,
               ",\"recording\":{\"url\":\"https://h/a\",\"uri\":\"file:///r/65.wav\","
               "\"contentType\":\"audio/wav\",\"size\":7,\"sha256\":\"aaaaaaaaaaaaaaaaaaaaaaaaa"
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},\"attempts\":2"));
    recording->present = false;
    free(recording->uri);
    free(recording->content_type);
    recording->uri = recording->content_type = NULL;
    result_value(&value, &names, request, false);
    assert_non_null(strstr(value.data, ",\"recording\":{\"url\":\"https://h/a\"},"));
    text_fini(&value);
    request_free(request);
}

static void small_results_shed_the_platforms_words(void **state)
{
    (void)state;
    struct request *request = succeeded();
    request->outcome.platform_json = memory_string("{\"a\":[1]}");
    assert_value(request, true,
                 "{\"orderId\":\"o-1001\",\"requestId\":\"r-7\",\"status\":\"succeeded\","
                 "\"error\":{\"code\":\"result-too-large\",\"message\":\"the broker refused the "
                 "whole result for its size: Msg and platform are left out\"},"
                 "\"Flag\":1,\"virtualNumber\":\"17115230000\","
                 "\"attempts\":1,\"startedAt\":\"2026-01-12T10:00:43.120Z\","
                 "\"finishedAt\":\"2026-01-12T10:00:43.391Z\",\"source\":{\"topic\":"
                 "\"call-requests\",\"partition\":3,\"offset\":42}}");
    struct outcome *outcome = &request->outcome;
    char *huge = memory_alloc(100001);
    memset(huge, '7', 100000);
    huge[100000] = '\0';
    outcome_fini(outcome);
    outcome->status = STATUS_REFUSED;
    outcome->error_code = "refused";
    outcome->error_message = memory_string("because");
    outcome->flag_json = memory_string(huge);
    outcome->virtual_number = memory_string(huge);
    struct text value = {0};
    result_value(&value, &names, request, true);
    assert_non_null(strstr(value.data, "\"status\":\"refused\",\"error\":{\"code\":"
                                       "\"result-too-large\""));
    assert_non_null(strstr(value.data, "refused: because\""));
    assert_true(value.length < 1000);
    text_fini(&value);
    free(huge);
    request_free(request);
}

/* Whatever the request brought with it: a broker that takes 4 KB takes these. */
static void small_records_are_small(void **state)
{
    (void)state;
    enum { HUGE = 100000 };
    struct record record = {0};
    char *huge = memory_alloc(HUGE + 1);
    memset(huge, 'x', HUGE);
    huge[HUGE] = '\0';
    const struct record_header headers[] = {
        {"tracestate", huge, HUGE}, {"traceparent", "00-a", 4}, {"other", huge, HUGE}};
    struct request *request =
        request_from(REQUEST_CALL, "o", "{\"Caller\":\"123\",\"Callee\":\"124\"}", headers, 3);
    request->outcome.error_code = "refused";
    request->outcome.error_message = memory_string(huge);
    request->outcome.finished_at_ms = at("2026-01-12T10:00:43.391Z");
    result_render(&record, &names, request, true);
    assert_true(record.value.length < 1000);
    assert_int_equal(record.header_count, 8); /* our seven, and the one that is short */
    assert_header(&record, 7, "traceparent", "00-a");
    dead_letter_render(&record, &names, request, "late-outcome", true);
    assert_true(record.header_bytes.length < 2000);
    assert_int_equal(record.more_header_count, 0);
    assert_header(&record, 9, "dlq.headers.size", "200030");
    request_free(request);

    request = request_from(REQUEST_CALL, huge, "{}", headers + 1, 1);
    dead_letter_render(&record, &names, request, "invalid", false);
    assert_int_equal(record.key.length, HUGE);
    dead_letter_render(&record, &names, request, "invalid", true);
    assert_false(record.has_key);
    assert_int_equal(record.key.length, 0);
    assert_header(&record, 9, "dlq.key.size", "100000");
    assert_int_equal(record.more_header_count, 1);
    request_free(request);
    record_fini(&record);
    free(huge);
}

static void results_are_cloud_events(void **state)
{
    (void)state;
    struct record record = {0};
    const struct record_header headers[] = {{"a", "1", 1},
                                            {"traceparent", "00-a\0b", 6},
                                            {"tracestate", NULL, 0},
                                            {"b", "", 0},
                                            {"tracestate", "x=1", 3}};
    struct request *request = request_from(REQUEST_CALL, "\xe8\xae\xa2 \"1\"",
                                           "{\"Caller\":\"123\",\"Callee\":\"124\"}", headers, 5);
    request->outcome.finished_at_ms = at("2026-01-12T10:00:43.391Z");
    for (int again = 0; again < 2; again++) {
        result_render(&record, &names, request, false);
        assert_string_equal(record.topic, "call-results");
        assert_true(record.has_key && record.has_value);
        assert_string_equal(record.key.data, "\xe8\xae\xa2 \"1\"");
        assert_int_equal(record.more_header_count, 0);
        assert_int_equal(record.header_count, 10);
        assert_header(&record, 0, "ce_id", "gr\xc3\xa4 p/%/call-requests/3/42");
        assert_header(&record, 1, "ce_type", "privacycall.call.result.v1");
        assert_header(&record, 2, "ce_subject", "\xe8\xae\xa2 \"1\"");
        assert_header(&record, 3, "ce_source", "/privacy-call-worker/gr%C3%A4%20p%2F%25");
        assert_header(&record, 4, "ce_time", "2026-01-12T10:00:43.391Z");
        assert_header(&record, 5, "ce_specversion", "1.0");
        assert_header(&record, 6, "content-type", "application/json");
        assert_string_equal(record.headers[7].name, "traceparent");
        assert_int_equal(record.headers[7].size, 6);
        assert_memory_equal(record.headers[7].value, "00-a\0b", 6);
        assert_null(record.headers[8].value);
        assert_header(&record, 9, "tracestate", "x=1");
    }
    request_free(request);
    request = request_from(REQUEST_RECORDING, "o", "{\"CallIdentifier\":\"65\"}", NULL, 0);
    result_render(&record, &names, request, false);
    assert_string_equal(record.topic, "recording-results");
    assert_header(&record, 0, "ce_id", "gr\xc3\xa4 p/%/recording-requests/3/42");
    assert_header(&record, 1, "ce_type", "privacycall.recording.result.v1");
    request_free(request);
    record_fini(&record);
}

static void a_flood_of_trace_headers_is_cut(void **state)
{
    (void)state;
    struct record record = {0};
    struct record_header headers[100];
    for (size_t i = 0; i < 100; i++)
        headers[i] = (struct record_header){"tracestate", "x", 1};
    struct request *request =
        request_from(REQUEST_CALL, "o", "{\"Caller\":\"123\",\"Callee\":\"124\"}", headers, 100);
    result_render(&record, &names, request, false);
    assert_int_equal(record.header_count, sizeof record.headers / sizeof record.headers[0]);
    request_free(request);
    record_fini(&record);
}

static void dead_letters_keep_the_request(void **state)
{
    (void)state;
    struct record record = {0};
    struct record_header headers[100] = {{"dlq.reason", "old", 3}, {"n", NULL, 0}, {"z", "\0", 1}};
    for (size_t i = 3; i < 100; i++)
        headers[i] = (struct record_header){"h", "v", 1};
    struct request *request = request_from(REQUEST_CALL, "o", "{\"Caller\":1}\xff", headers, 100);
    dead_letter_render(&record, &names, request, "invalid", false);
    assert_string_equal(record.topic, "dead");
    assert_true(record.has_key && record.has_value);
    assert_string_equal(record.key.data, "o");
    assert_int_equal(record.value.length, request->raw.value_size);
    assert_memory_equal(record.value.data, request->raw.value, record.value.length);
    assert_int_equal(record.more_header_count, 100);
    assert_ptr_equal(record.more_headers, request->raw.headers);
    assert_int_equal(record.header_count, 8);
    assert_header(&record, 0, "dlq.reason", "invalid");
    assert_header(&record, 1, "dlq.code", "utf8-invalid");
    assert_header(&record, 2, "dlq.message", "value: must be UTF-8");
    assert_header(&record, 3, "dlq.topic", "call-requests");
    assert_header(&record, 4, "dlq.partition", "3");
    assert_header(&record, 5, "dlq.offset", "42");
    assert_header(&record, 6, "dlq.timestamp", "1768212043120");
    assert_header(&record, 7, "dlq.group", "gr\xc3\xa4 p/%");
    request->event.invalid_code = NULL; /* it has become invalid since */
    outcome_set(&request->outcome, STATUS_INVALID, "member-invalid", "EndMinute: passed", 5);
    dead_letter_render(&record, &names, request, "invalid", false);
    assert_header(&record, 1, "dlq.code", "member-invalid");
    assert_header(&record, 2, "dlq.message", "EndMinute: passed");
    dead_letter_render(&record, &names, request, "invalid", true);
    assert_false(record.has_value);
    assert_int_equal(record.value.length, 0);
    assert_header(&record, 8, "dlq.value.size", "13");
    request_free(request);

    request = request_from(REQUEST_CALL, NULL, NULL, NULL, 0);
    dead_letter_render(&record, &names, request, "invalid", false);
    assert_false(record.has_key);
    assert_false(record.has_value);
    assert_header(&record, 1, "dlq.code", "value-missing");
    request_free(request);
    request = request_from(REQUEST_CALL, "", "", NULL, 0);
    dead_letter_render(&record, &names, request, "invalid", false);
    assert_true(record.has_key && record.has_value);
    assert_int_equal(record.key.length + record.value.length, 0);
    request_free(request);
    record_fini(&record);
}

static void late_outcomes_carry_their_result(void **state)
{
    (void)state;
    struct record record = {0};
    struct text value = {0};
    struct request *request = succeeded();
    for (int small = 0; small < 2; small++) {
        dead_letter_render(&record, &names, request, "late-outcome", small);
        result_value(&value, &names, request, small);
        assert_int_equal(record.has_value, !small);
        assert_header(&record, 0, "dlq.reason", "late-outcome");
        assert_header(&record, 1, "dlq.code", "late-outcome");
        assert_header(&record, 8 + (size_t)small, "dlq.outcome", value.data);
    }
    text_fini(&value);
    request_free(request);
    record_fini(&record);
}

static void gone_records_have_no_content(void **state)
{
    (void)state;
    struct record record = {0};
    const struct record_header header = {"n", "v", 1};
    struct request *request = request_from(REQUEST_CALL, "o", "{}", &header, 1);
    dead_letter_render(&record, &names, request, "invalid", false);
    assert_int_equal(record.more_header_count, 1);
    record_gone_render(&record, &names, (struct record_position){REQUEST_CALL, 3, 42},
                       "it is gone");
    assert_string_equal(record.topic, "dead");
    assert_false(record.has_key);
    assert_false(record.has_value);
    assert_int_equal(record.more_header_count, 0);
    assert_int_equal(record.header_count, 8);
    assert_header(&record, 0, "dlq.reason", "record-gone");
    assert_header(&record, 1, "dlq.code", "record-gone");
    assert_header(&record, 2, "dlq.message", "it is gone");
    assert_header(&record, 3, "dlq.topic", "call-requests");
    assert_header(&record, 5, "dlq.offset", "42");
    assert_header(&record, 6, "dlq.timestamp", "-1");
    request_free(request);
    record_fini(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_example),
        cmocka_unit_test(writes_all_there_is),
        cmocka_unit_test(leaves_out_what_is_not_known),
        cmocka_unit_test(writes_a_recording),
        cmocka_unit_test(small_results_shed_the_platforms_words),
        cmocka_unit_test(small_records_are_small),
        cmocka_unit_test(results_are_cloud_events),
        cmocka_unit_test(a_flood_of_trace_headers_is_cut),
        cmocka_unit_test(dead_letters_keep_the_request),
        cmocka_unit_test(late_outcomes_carry_their_result),
        cmocka_unit_test(gone_records_have_no_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
