/* What the platform answers, and what it is sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/answer.h"

static struct outcome outcome;
static struct config config = {.platform_url = "https://p.example",
                               .platform_version = "v",
                               .platform_answer_max_bytes = 10000};
static struct attempt attempt;

static struct attempt *answered(int http_status, const char *body, size_t size)
{
    attempt = (struct attempt){
        .http_status = http_status, .complete = true, .body = body, .body_size = size};
    return &attempt;
}

static int forget(void **state)
{
    (void)state;
    outcome_fini(&outcome);
    return 0;
}

static void read_ok(enum request_kind kind, const char *body)
{
    const char *reason = NULL;
    outcome_fini(&outcome);
    outcome.finished_at_ms = 5;
    if (answer_read(&outcome, kind, answered(200, body, strlen(body)), &config, &reason))
        fail_msg("unreadable (%s): %s", reason, body);
    assert_true(outcome.answered);
    assert_int_equal(outcome.finished_at_ms, 5);
    assert_int_equal(outcome.http_status, 0);
}

static void succeeds(void **state)
{
    (void)state;
    read_ok(REQUEST_CALL, "{\"Flag\": 1, \"Msg\": \"8617115230000\"}");
    assert_int_equal(outcome.status, STATUS_SUCCEEDED);
    assert_null(outcome.error_code);
    assert_null(outcome.error_message);
    assert_string_equal(outcome.flag_json, "1");
    assert_string_equal(outcome.msg_json, "\"8617115230000\"");
    assert_string_equal(outcome.virtual_number, "17115230000");
    assert_null(outcome.platform_json);
}

static void keeps_further_members(void **state)
{
    (void)state;
    read_ok(REQUEST_CALL, "{\"CallIdentifier\":65445298527236037121523767083120,\"Flag\":\"1\","
                          "\"fee\":0.10,\"Msg\":null,\"x\":{\"b\":[true,\"\\u00e4\\n\\u0000\"],"
                          "\"a\":{}},\"flag\":2,\"y\":[\"\\\" 1.5\"]}");
    assert_int_equal(outcome.status, STATUS_SUCCEEDED);
    assert_string_equal(outcome.flag_json, "1");
    assert_string_equal(outcome.msg_json, "null");
    assert_null(outcome.virtual_number);
    assert_string_equal(
        outcome.platform_json,
        "{\"CallIdentifier\":65445298527236037121523767083120,\"fee\":0.10,"
        "\"x\":{\"b\":[true,\"\xc3\xa4\\n\\u0000\"],\"a\":{}},\"flag\":2,\"y\":[\"\\\" 1.5\"]}");
}

static void assert_flag(const char *json, const char *kept, bool is_integer, int64_t flag)
{
    struct text body = {0};
    bool integer;
    text_printf(&body, "{\"Flag\":%s}", json);
    read_ok(REQUEST_CALL, body.data);
    text_fini(&body);
    assert_string_equal(outcome.flag_json, kept);
    assert_int_equal(answer_flag(&outcome, &integer), flag);
    assert_int_equal(integer, is_integer);
    assert_int_equal(outcome.status, is_integer && flag == 1 ? STATUS_SUCCEEDED : STATUS_REFUSED);
    assert_null(outcome.msg_json);
}

static void reads_any_flag(void **state)
{
    (void)state;
    assert_flag("1", "1", true, 1);
    assert_flag("\"1\"", "1", true, 1);
    assert_flag("\" 01 \"", "1", true, 1);
    assert_flag("1.0", "1", true, 1);
    assert_flag("\"+1\"", "1", true, 1);
    assert_flag("0", "0", true, 0);
    assert_flag("1002", "1002", true, 1002);
    assert_flag("\"-3\"", "-3", true, -3);
    assert_flag("-0", "0", true, 0);
    assert_flag("9223372036854775807", "9223372036854775807", true, INT64_MAX);
    assert_flag("1e0", "1", true, 1);
    assert_flag("10E-1", "1", true, 1);
    assert_flag("0.01e2", "1", true, 1);
    assert_flag("\"\\t1.00\\r\\n\"", "1", true, 1);
    assert_flag("\"1e0\"", "1", true, 1);
    assert_flag("1e3", "1000", true, 1000);
    assert_flag("-1.50e1", "-15", true, -15);
    assert_flag("-0.0", "0", true, 0);
    assert_flag("0e5", "0", true, 0);
    assert_flag("1.0000000000000000000000000000000000000000001",
                "1.0000000000000000000000000000000000000000001", false, -1);
    assert_flag("100000000000000000000e-20", "1", true, 1);
    assert_flag("\"123456789012345678901234567890\"", "123456789012345678901234567890", false, -1);
    assert_flag("1e999999999", "1e999999999", false, -1);
    assert_flag("1e-999999999", "1e-999999999", false, -1);
    assert_flag("\"1.\"", "\"1.\"", false, -1);
    assert_flag("\".1e1\"", "\".1e1\"", false, -1);
    assert_flag("\"1e\"", "\"1e\"", false, -1);
    assert_flag("\"-\"", "\"-\"", false, -1);
    assert_flag("\" \"", "\" \"", false, -1);
    assert_flag("\"0x1\"", "\"0x1\"", false, -1);
    assert_flag("[1]", "[1]", false, -1);
    assert_flag("false", "false", false, -1);
    /* What is no integer stays as it is, and is no success. */
    assert_flag("9223372036854775808", "9223372036854775808", false, -1);
    assert_flag("1.5", "1.5", false, -1);
    assert_flag("\"\"", "\"\"", false, -1);
    assert_flag("\"ok\"", "\"ok\"", false, -1);
    assert_flag("\"1\\u0000\"", "\"1\\u0000\"", false, -1);
    assert_flag("\"1 1\"", "\"1 1\"", false, -1);
    assert_flag("true", "true", false, -1);
    assert_flag("{\"a\":1}", "{\"a\":1}", false, -1);
}

static void refusal_names_the_flag(void **state)
{
    (void)state;
    read_ok(REQUEST_CALL, "{\"Flag\":1002,\"Msg\":\"8617115230000\"}");
    assert_string_equal(outcome.error_code, "refused");
    assert_string_equal(outcome.error_message, "the platform answered Flag 1002");
    assert_string_equal(outcome.msg_json, "\"8617115230000\"");
    assert_null(outcome.virtual_number);
    read_ok(REQUEST_CALL, "{\"Flag\":\"18326070000x\"}");
    assert_string_equal(outcome.error_message, "the platform answered a Flag that is no integer");
}

static void assert_virtual_number(const char *msg, const char *expected)
{
    struct text body = {0};
    text_printf(&body, "{\"Flag\":1,\"Msg\":%s}", msg);
    read_ok(REQUEST_CALL, body.data);
    text_fini(&body);
    if (expected)
        assert_string_equal(outcome.virtual_number, expected);
    else
        assert_null(outcome.virtual_number);
}

static void virtual_number_is_digits_only(void **state)
{
    (void)state;
    assert_virtual_number("\"8617115230000\"", "17115230000");
    assert_virtual_number("\"17115230000\"", "17115230000");
    assert_virtual_number("\"868617115\"", "8617115");
    assert_virtual_number("8617115230000", "17115230000");
    assert_virtual_number("\"\"", NULL);
    assert_virtual_number("\"86\"", NULL);
    assert_virtual_number("\"+8617115230000\"", "17115230000");
    assert_virtual_number("\"008617115230000\"", "17115230000");
    assert_virtual_number("\"+17115230000\"", NULL);
    assert_virtual_number("\"+0086171152\"", NULL);
    assert_virtual_number("\"+86\"", NULL);
    assert_virtual_number("\"0086\"", NULL);
    assert_virtual_number("\"0017115230000\"", "0017115230000");
    assert_virtual_number("\" 8617115230000\"", NULL);
    assert_virtual_number("\"86 17115230000\"", NULL);
    assert_virtual_number("\"8617115230000\\u0000\"", NULL);
    assert_virtual_number("-5", NULL);
    assert_virtual_number("\"ok\"", NULL);
    assert_virtual_number("{}", NULL);
}

static void some_answers_are_unreadable(void **state)
{
    (void)state;
    static const struct {
        const char *body, *reason;
        int read;
    } cases[] = {
        {"", "the answer is no JSON", -1},
        {"<html>", "the answer is no JSON", -1},
        {"{\"Flag\":1", "the answer is no JSON", -1},
        {"{\"Flag\":1} x", "the answer is no JSON", -1},
        {"{\"Flag\":01}", "the answer is no JSON", -1},
        {"[{\"Flag\":1}]", "the answer is no JSON object", -1},
        {"1", "the answer is no JSON object", -1},
        {"null", "the answer is no JSON object", -1},
        {"{}", "the answer has no Flag", 1},
        {"{\"flag\":1}", "the answer has no Flag", 1},
        {"{\"Flag\":null,\"Msg\":\"x\"}", "the answer's Flag is null", 1},
        {"{\"Flag\":1,\"Flag\":2}", "the answer gives Flag twice", -1},
        {"{\"Flag\":1,\"\\u0046lag\":1}", "the answer gives Flag twice", -1},
        {"{\"Flag\":1,\"Msg\":\"a\tb\"}", "the answer is no JSON", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *reason = NULL;
        struct outcome before = {.http_status = 7}, after = before;
        assert_int_equal(answer_read(&after, REQUEST_CALL,
                                     answered(200, cases[i].body, strlen(cases[i].body)), &config,
                                     &reason),
                         cases[i].read);
        assert_string_equal(reason, cases[i].reason);
        assert_memory_equal(&after, &before, sizeof before);
    }
    const char *reason = NULL;
    assert_int_equal(
        answer_read(&outcome, REQUEST_CALL, answered(200, "{\"Flag\":1}\0", 11), &config, &reason),
        -1);
    struct text deep = {0};
    text_add(&deep, "{\"Flag\":1,\"x\":");
    for (int i = 0; i < 20000; i++)
        text_add(&deep, "[");
    assert_int_equal(answer_read(&outcome, REQUEST_CALL, answered(200, deep.data, deep.length),
                                 &config, &reason),
                     -1);
    text_fini(&deep);
    read_ok(REQUEST_CALL, "\xef\xbb\xbf {\"Flag\":1}\r\n");
}

static void refused_by_http(void **state)
{
    (void)state;
    const char *body = "{\"Flag\":1,\"Msg\":\"8617115230000\",\"x\":1}";
    outcome_fini(&outcome);
    answer_refused(&outcome, REQUEST_CALL, answered(404, body, strlen(body)), &config);
    assert_int_equal(outcome.status, STATUS_REFUSED);
    assert_int_equal(outcome.http_status, 404);
    assert_true(outcome.answered);
    assert_string_equal(outcome.error_code, "refused");
    assert_string_equal(outcome.error_message, "the platform answered HTTP 404 with Flag 1");
    assert_string_equal(outcome.flag_json, "1");
    assert_string_equal(outcome.msg_json, "\"8617115230000\"");
    assert_string_equal(outcome.platform_json, "{\"x\":1}");
    assert_null(outcome.virtual_number);
    const char *const bodies[] = {"", "<html>", "[]", "{\"Flag\":1,\"Flag\":2}"};
    for (size_t i = 0; i < 4; i++) {
        answer_refused(&outcome, REQUEST_CALL, answered(302, bodies[i], strlen(bodies[i])),
                       &config);
        assert_string_equal(outcome.error_message, "the platform answered HTTP 302");
        assert_null(outcome.flag_json);
        assert_null(outcome.msg_json);
        assert_null(outcome.platform_json);
    }
    answer_refused(&outcome, REQUEST_CALL, answered(400, "", 0), &config);
    assert_int_equal(outcome.http_status, 400);
    answer_refused(&outcome, REQUEST_CALL, answered(400, "{\"Msg\":\"no\"}", 12), &config);
    assert_null(outcome.flag_json);
    assert_string_equal(outcome.msg_json, "\"no\"");
}

static void assert_url(const char *body, const char *expected)
{
    read_ok(REQUEST_RECORDING, body);
    if (expected) {
        assert_non_null(outcome.recording.url);
        assert_string_equal(outcome.recording.url, expected);
    } else {
        assert_null(outcome.recording.url);
    }
    assert_null(outcome.virtual_number);
}

static void finds_the_recording(void **state)
{
    (void)state;
    assert_url("{\"Flag\":1,\"Msg\":\"https://h/a.wav?x=1\"}", "https://h/a.wav?x=1");
    assert_url("{\"a\":\"http://h/b\",\"Flag\":1,\"Msg\":\"https://h/a\"}", "https://h/a");
    assert_url("{\"Flag\":1,\"Msg\":\"ok\",\"n\":5,\"u\":\"HTTP://h/b\",\"v\":\"http://h/c\"}",
               "HTTP://h/b");
    assert_url("{\"Flag\":1,\"Msg\":\"https://\"}", NULL);
    assert_url("{\"Flag\":1,\"Msg\":\"see https://h/a\"}", NULL);
    assert_url("{\"Flag\":1,\"Msg\":\" https://h/a b\"}", "https://h/a%20b");
    assert_url("{\"Flag\":1,\"x\":[{\"u\":\"https://h/a\"}]}", "https://h/a");
    assert_url("{\"Flag\":1,\"Msg\":\"https://h/a\\u0000b\"}", NULL);
    assert_url("{\"Flag\":1,\"Msg\":\"ftp://h/a\"}", NULL);
    assert_url("{\"Flag\":1,\"Msg\":\"8617115230000\"}", NULL);
    assert_url("{\"Flag\":2,\"Msg\":\"https://h/help\"}", NULL);
    read_ok(REQUEST_CALL, "{\"Flag\":1,\"Msg\":\"https://h/a\"}");
    assert_null(outcome.recording.url);
}

/* They are secrets, and nobody uses them: no record tells them on. */
static void credentials_in_urls_are_dropped(void **state)
{
    (void)state;
    assert_url("{\"Flag\":1,\"Msg\":\"https://user:hush@h/a.wav?x=@1#f\"}",
               "https://h/a.wav?x=@1#f");
    assert_string_equal(outcome.msg_json, "\"https://h/a.wav?x=@1#f\"");
    assert_url("{\"Flag\":1,\"Msg\":\"see HTTP://hush@h/a or  https://a:hush@h\","
               "\"x\":{\"u\":[\" https://us:hu@sh@h:1/b\",7]}}",
               "https://h:1/b");
    assert_string_equal(outcome.msg_json, "\"see HTTP://h/a or  https://h\"");
    assert_string_equal(outcome.platform_json, "{\"x\":{\"u\":[\" https://h:1/b\",7]}}");
    assert_url("{\"Flag\":1,\"Msg\":\" //us:hush@h/a or //b@c\","
               "\"x\":\"see sftp://us:hush@h/@ or s3://hush@h, and a//b@c or ://d@e\"}",
               NULL);
    assert_string_equal(outcome.msg_json, "\" //h/a or //b@c\"");
    assert_string_equal(outcome.platform_json,
                        "{\"x\":\"see sftp://h/@ or s3://h, and a//b@c or ://d@e\"}");
}

static void assert_body(const struct request *request, const char *expected)
{
    struct text body = {0};
    text_add(&body, "rest of the one before");
    answer_request_body(&body, request, "to\"ken", "app");
    assert_string_equal(body.data, expected);
    assert_int_equal(body.length, strlen(expected));
    text_fini(&body);
}

static void writes_the_request(void **state)
{
    (void)state;
    struct request request = {.event = {.caller = "18326000000",
                                        .callee = "18516000000",
                                        .virtual_num = "17118230000",
                                        .direct = "1",
                                        .end_minute = "25",
                                        .code = "021"}};
    assert_body(&request, "{\"ACCOUNTSID\":\"to\\\"ken\",\"APPID\":\"app\","
                          "\"Caller\":\"18326000000\",\"Callee\":\"18516000000\","
                          "\"VirtualNum\":\"17118230000\",\"Direct\":\"1\",\"EndMinute\":\"25\","
                          "\"Code\":\"021\"}");
    struct request least = {.event = {.caller = "1", .callee = "2"}};
    assert_body(&least, "{\"ACCOUNTSID\":\"to\\\"ken\",\"APPID\":\"app\",\"Caller\":\"1\","
                        "\"Callee\":\"2\"}");
    struct request recording = {.position = {.kind = REQUEST_RECORDING},
                                .event = {.call_identifier = "6544"}};
    assert_body(&recording,
                "{\"ACCOUNTSID\":\"to\\\"ken\",\"APPID\":\"app\",\"CallIdentifier\":\"6544\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(succeeds, forget),
        cmocka_unit_test_teardown(keeps_further_members, forget),
        cmocka_unit_test_teardown(reads_any_flag, forget),
        cmocka_unit_test_teardown(refusal_names_the_flag, forget),
        cmocka_unit_test_teardown(virtual_number_is_digits_only, forget),
        cmocka_unit_test_teardown(some_answers_are_unreadable, forget),
        cmocka_unit_test_teardown(refused_by_http, forget),
        cmocka_unit_test_teardown(finds_the_recording, forget),
        cmocka_unit_test_teardown(credentials_in_urls_are_dropped, forget),
        cmocka_unit_test(writes_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
