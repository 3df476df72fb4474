/* Every rule of docs/records.md's 'Requests'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/event.h"

#define CALL "\"Caller\":\"18326070000\",\"Callee\":\"18326070001\""

static const struct event_rules rules = {{"call-requests", "recording-requests"}, 65536};

struct given {
    enum request_kind kind;
    const char *key;
    size_t key_size; /* 0: strlen */
    const char *value;
    size_t value_size; /* 0: strlen */
    const struct record_header *headers;
    size_t header_count;
    const char *now;
};

static struct request *parse(const struct given *given)
{
    struct raw_record raw = {
        .key = given->key,
        .key_size = given->key_size ? given->key_size
                    : given->key    ? strlen(given->key)
                                    : 0,
        .value = given->value,
        .value_size = given->value_size ? given->value_size
                      : given->value    ? strlen(given->value)
                                        : 0,
        .headers = given->headers,
        .header_count = given->header_count,
    };
    int64_t now;
    assert_int_equal(clock_from_text(given->now ? given->now : "2026-01-12T10:00:43Z", &now), 0);
    struct record_position position = {given->kind, 3, 42};
    struct request *request = request_new(position, &raw);
    event_parse(request, &rules, now);
    return request;
}

#define PARSE(...) parse(&(struct given){__VA_ARGS__})

/* That the record is invalid with this code, under this order id (NULL: none). Returns the message,
 * valid until the next call. */
static const char *assert_invalid(struct request *request, const char *code, const char *order_id)
{
    static char message[512];
    const struct event *event = &request->event;
    if (!event->invalid_code)
        fail_msg("valid, not %s: %.200s", code, request->raw.value);
    assert_string_equal(event->invalid_code, code);
    assert_non_null(event->invalid_message);
    if (order_id) {
        assert_non_null(event->order_id);
        assert_string_equal(event->order_id, order_id);
    } else {
        assert_null(event->order_id);
    }
    assert_non_null(event->request_id);
    snprintf(message, sizeof message, "%s", event->invalid_message);
    request_free(request);
    return message;
}

static void assert_valid(struct request *request)
{
    if (request->event.invalid_code)
        fail_msg("%s: %s: %.200s", request->event.invalid_code, request->event.invalid_message,
                 request->raw.value);
    request_free(request);
}

static void reads_a_whole_call(void **state)
{
    (void)state;
    struct request *request =
        PARSE(.key = "o-1",
              .value =
                  " {\"orderId\":\"o-1\"," CALL ",\"VirtualNum\":\"+17118230000\","
                  "\"Direct\":\"1\",\"EndMinute\":\"25\",\"Code\":\"021\",\"requestId\":\"r-7\","
                  "\"expiresAt\":\"2026-01-12T18:00:43.5+08:00\",\"other\":[{},null,1.5]}\r\n\t ");
    const struct event *event = &request->event;
    assert_null(event->invalid_code);
    assert_string_equal(event->order_id, "o-1");
    assert_string_equal(event->request_id, "r-7");
    assert_string_equal(event->caller, "18326070000");
    assert_string_equal(event->callee, "18326070001");
    assert_string_equal(event->virtual_num, "+17118230000");
    assert_string_equal(event->direct, "1");
    assert_string_equal(event->end_minute, "25");
    assert_string_equal(event->code, "021");
    int64_t expires;
    clock_from_text("2026-01-12T10:00:43.500Z", &expires);
    assert_int_equal(event->expires_at_ms, expires);
    request_free(request);
}

static void absent_members_have_defaults(void **state)
{
    (void)state;
    struct request *request =
        PARSE(.key = "o",
              .value = "{" CALL ",\"VirtualNum\":null,\"Direct\":\"\",\"EndMinute\":null,"
                       "\"Code\":\"\",\"requestId\":\"\",\"expiresAt\":\"\",\"orderId\":null}");
    const struct event *event = &request->event;
    assert_null(event->invalid_code);
    assert_string_equal(event->request_id, "call-requests/3/42");
    assert_null(event->virtual_num);
    assert_null(event->direct);
    assert_null(event->end_minute);
    assert_null(event->code);
    assert_null(event->trace_id);
    assert_true(event->expires_at_ms == INT64_MAX);
    request_free(request);
}

static void reads_a_recording(void **state)
{
    (void)state;
    struct request *request = PARSE(.kind = REQUEST_RECORDING, .key = "o",
                                    .value = "{\"CallIdentifier\":\"6544-AZ_az\",\"Caller\":5,"
                                             "\"expiresAt\":1}");
    assert_null(request->event.invalid_code);
    assert_string_equal(request->event.call_identifier, "6544-AZ_az");
    assert_string_equal(request->event.request_id, "recording-requests/3/42");
    request_free(request);

    char value[200];
    const char *const wrong[] = {"\"a.b\"", "\"a/b\"", "\"a b\"", "\"\xc3\xa4\"", "1.0", "1e3",
                                 "-0",      "true",    "[]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(value, sizeof value, "{\"CallIdentifier\":%s}", wrong[i]);
        request = PARSE(.kind = REQUEST_RECORDING, .key = "o", .value = value);
        assert_string_equal(
            assert_invalid(request, "member-invalid", "o"),
            "CallIdentifier: must be a string of 1 to 128 letters, digits, - and _, or an integer");
    }
    const char *const integers[] = {"5", "0", "-5", "65445298527236037121523767083120", "\"007\""};
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        snprintf(value, sizeof value, "{\"CallIdentifier\":%s}", integers[i]);
        request = PARSE(.kind = REQUEST_RECORDING, .key = "o", .value = value);
        bool quoted = integers[i][0] == '"';
        assert_memory_equal(request->event.call_identifier, integers[i] + quoted,
                            strlen(integers[i]) - 2 * quoted);
        assert_valid(request);
    }
    for (int size = 128; size <= 129; size++) {
        snprintf(value, sizeof value, "{\"CallIdentifier\":\"%0*d\"}", size, 0);
        request = PARSE(.kind = REQUEST_RECORDING, .key = "o", .value = value);
        if (size == 128)
            assert_valid(request);
        else
            assert_invalid(request, "member-invalid", "o");
    }
    request = PARSE(.kind = REQUEST_RECORDING, .key = "o", .value = "{}");
    assert_invalid(request, "member-missing", "o");
    /* Read though another member is wrong, as the result carries it. */
    request = PARSE(.kind = REQUEST_RECORDING, .key = "o",
                    .value = "{\"CallIdentifier\":\"65\",\"requestId\":[]}");
    assert_string_equal(request->event.call_identifier, "65");
    assert_invalid(request, "member-invalid", "o");
}

static void key_gives_the_order_id(void **state)
{
    (void)state;
    char long_key[258] = {0};
    memset(long_key, 'k', 257);
    assert_valid(PARSE(.key = long_key, .key_size = 256, .value = "{" CALL "}"));
    assert_invalid(PARSE(.key = long_key, .key_size = 257, .value = "{\"orderId\":\"o\"," CALL "}"),
                   "key-invalid", NULL);
    assert_invalid(PARSE(.key = "a\0b", .key_size = 3, .value = "{\"orderId\":\"o\"," CALL "}"),
                   "key-invalid", NULL);
    assert_invalid(PARSE(.key = "\xff", .value = "{\"orderId\":\"o\"," CALL "}"), "key-invalid",
                   NULL);
    assert_invalid(PARSE(.key = "\xed\xa0\x80", .value = "{" CALL "}"), "key-invalid", NULL);
    assert_valid(PARSE(.key = "\xe8\xae\xa2\xe5\x8d\x95", .value = "{" CALL "}"));
    assert_valid(PARSE(.key = "\xc3\xa4", .value = "{\"orderId\":\"\\u00e4\"," CALL "}"));
    assert_string_equal(
        assert_invalid(PARSE(.key = "o-1", .value = "{\"orderId\":\"o-2\"," CALL "}"),
                       "order-id-mismatch", "o-1"),
        "orderId: must be the same as the record's key");
    assert_invalid(PARSE(.key = "o-12", .value = "{\"orderId\":\"o-1\"," CALL "}"),
                   "order-id-mismatch", "o-12");
    assert_invalid(PARSE(.key = "o-1", .value = "{\"orderId\":\"o-12\"," CALL "}"),
                   "order-id-mismatch", "o-1");
    assert_invalid(PARSE(.key = "o-1", .value = "{\"orderId\":[]," CALL "}"), "order-id-invalid",
                   "o-1");
    assert_invalid(PARSE(.key = "o-1", .value = "{\"orderId\":true," CALL "}"), "order-id-invalid",
                   "o-1");
    assert_invalid(PARSE(.key = "7", .value = "{\"orderId\":8," CALL "}"), "order-id-mismatch",
                   "7");
    assert_valid(PARSE(.key = "7", .value = "{\"orderId\":7," CALL "}"));
}

static void assert_order_id(const char *json, const char *expected)
{
    char value[1024];
    snprintf(value, sizeof value, "{\"orderId\":%s," CALL "}", json);
    struct request *request = PARSE(.key = "", .value = value);
    if (expected) {
        assert_null(request->event.invalid_code);
        assert_string_equal(request->event.order_id, expected);
        request_free(request);
    } else {
        assert_invalid(request, "order-id-invalid", NULL);
    }
}

static void value_gives_the_order_id(void **state)
{
    (void)state;
    assert_order_id("\"o-1\"", "o-1");
    assert_order_id("7", "7");
    assert_order_id("-7", "-7");
    assert_order_id("12345678901234567890123456789012", "12345678901234567890123456789012");
    assert_order_id("9223372036854775808", "9223372036854775808");
    assert_order_id("1.0", NULL);
    assert_order_id("1e3", NULL);
    assert_order_id("{}", NULL);
    assert_order_id("false", NULL);
    char text[300];
    snprintf(text, sizeof text, "\"%0256d\"", 0);
    struct request *request = PARSE(.value = "{}");
    request_free(request);
    char expected[300];
    snprintf(expected, sizeof expected, "%0256d", 0);
    assert_order_id(text, expected);
    snprintf(text, sizeof text, "\"%0257d\"", 0);
    assert_order_id(text, NULL);
    assert_string_equal(assert_invalid(PARSE(.value = "{" CALL "}"), "order-id-missing", NULL),
                        "orderId: is required in a record without a key");
    assert_invalid(PARSE(.value = "{\"orderId\":\"\"," CALL "}"), "order-id-missing", NULL);
    assert_invalid(PARSE(.value = "{\"orderId\":null," CALL "}"), "order-id-missing", NULL);
    /* Another fault leaves the order id readable. */
    assert_invalid(PARSE(.value = "{\"orderId\":\"o\"}"), "member-missing", "o");
}

static void assert_member(const char *name, const char *json, bool valid)
{
    char value[512], expected[128];
    bool other = strcmp(name, "Caller") == 0;
    snprintf(value, sizeof value, "{\"%s\":\"18326070000\",\"%s\":%s%s}",
             other ? "Callee" : "Caller", name, json,
             other || strcmp(name, "Callee") == 0 ? "" : ",\"Callee\":\"18326070001\"");
    struct request *request = PARSE(.key = "o", .value = value);
    if (valid) {
        assert_valid(request);
        return;
    }
    const char *message = assert_invalid(request, "member-invalid", "o");
    snprintf(expected, sizeof expected, "%s: must be ", name);
    assert_memory_equal(message, expected, strlen(expected));
}

static void numbers_have_a_form(void **state)
{
    (void)state;
    const char *const names[] = {"Caller", "Callee", "VirtualNum"};
    for (size_t i = 0; i < 3; i++) {
        assert_member(names[i], "\"123\"", true);
        assert_member(names[i], "\"+123\"", true);
        assert_member(names[i], "\"12345678901234567890\"", true);
        assert_member(names[i], "\"+12345678901234567890\"", true);
        assert_member(names[i], "\"\\u0031\\u0032\\u0033\"", true);
        assert_member(names[i], "\"12\"", false);
        assert_member(names[i], "\"+12\"", false);
        assert_member(names[i], "\"123456789012345678901\"", false);
        assert_member(names[i], "\"+\"", false);
        assert_member(names[i], "\"++123\"", false);
        assert_member(names[i], "\"12a4\"", false);
        assert_member(names[i], "\" 1234\"", false);
        assert_member(names[i], "\"1234 \"", false);
        assert_member(names[i], "\"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x93\"", false);
        assert_member(names[i], "18326070000", false);
        assert_member(names[i], "12345678901234567890", false);
        assert_member(names[i], "true", false);
        assert_member(names[i], "[\"123\"]", false);
    }
}

static void options_have_a_form(void **state)
{
    (void)state;
    const char *const direct_good[] = {"0", "1", "2", "\"0\"", "\"1\"", "\"2\"", "null", "\"\""};
    const char *const direct_bad[] = {"3", "-1", "\"3\"", "\"01\"", "1.0", "true", "\" 1\"", "{}"};
    for (size_t i = 0; i < 8; i++) {
        assert_member("Direct", direct_good[i], true);
        assert_member("Direct", direct_bad[i], false);
    }
    const char *const code_good[] = {"\"021\"", "\"0755\"", "\"010\"", "null", "\"\""};
    const char *const code_bad[] = {"\"21\"", "\"02\"", "\"07555\"", "\"121\"", "21", "\"0a1\""};
    for (size_t i = 0; i < 5; i++)
        assert_member("Code", code_good[i], true);
    for (size_t i = 0; i < 6; i++)
        assert_member("Code", code_bad[i], false);
}

static void end_minute_has_two_forms(void **state)
{
    (void)state;
    const char *const good[] = {"1",
                                "60",
                                "\"1\"",
                                "\"60\"",
                                "25",
                                "\"2026-01-12T10:00:44Z\"",
                                "\"2099-12-31T23:59:59Z\"",
                                "null"};
    const char *const bad[] = {"0",
                               "61",
                               "\"0\"",
                               "\"61\"",
                               "-1",
                               "1.5",
                               "100",
                               "\"+5\"",
                               "\"2026-01-12T10:00:43Z\"",
                               "\"2016-05-20T23:59:59Z\"",
                               "\"2099-12-31T23:59:59+08:00\"",
                               "\"2099-12-31 23:59:59Z\"",
                               "\"2099-12-31T23:59:59z\"",
                               "\"2099-12-31T23:59:59.000Z\"",
                               "\"2099-02-30T23:59:59Z\"",
                               "\"2099-12-31T23:59:59\"",
                               "99999999999999999999999",
                               "\"soon\"",
                               "false"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_member("EndMinute", good[i], true);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_member("EndMinute", bad[i], false);
    struct request *request = PARSE(.key = "o", .value = "{" CALL ",\"EndMinute\":7}");
    assert_string_equal(request->event.end_minute, "7");
    assert_int_equal(request->event.ends_at_ms, 0);
    request_free(request);
    request = PARSE(.key = "o", .value = "{" CALL ",\"EndMinute\":\"2027-01-01T00:00:00Z\"}");
    assert_string_equal(request->event.end_minute, "2027-01-01T00:00:00Z");
    assert_int_equal(request->event.ends_at_ms, 1798761600000LL);
    request_free(request);
}

static void expiry_is_a_date_time(void **state)
{
    (void)state;
    assert_member("expiresAt", "\"2026-01-12T10:00:43Z\"", true);
    assert_member("expiresAt", "\"1999-01-12T10:00:43.123456789-11:30\"", true);
    assert_member("expiresAt", "\"2026-01-12\"", false);
    assert_member("expiresAt", "\"2026-01-12T10:00:43\"", false);
    assert_member("expiresAt", "1767225600", false);
    assert_member("expiresAt", "\"2026-01-12T10:00:43Z\\n\"", false);
    struct request *request = PARSE(.key = "o", .value = "{" CALL ",\"expiresAt\":\"x\"}");
    assert_true(request->event.expires_at_ms == INT64_MAX);
    request_free(request);
}

static void assert_request_id(const char *json, const char *expected)
{
    char value[512];
    snprintf(value, sizeof value, "{" CALL ",\"requestId\":%s}", json);
    struct request *request = PARSE(.key = "o", .value = value);
    assert_string_equal(request->event.request_id, expected ? expected : "call-requests/3/42");
    if (expected)
        assert_valid(request);
    else
        assert_invalid(request, "member-invalid", "o");
}

static void request_id_has_a_form(void **state)
{
    (void)state;
    char json[256], text[200];
    assert_request_id("\"r 7/\xc3\xa4\"", "r 7/\xc3\xa4");
    assert_request_id("7", "7");
    assert_request_id("123456789012345678901234567890", "123456789012345678901234567890");
    snprintf(text, sizeof text, "%0128d", 0);
    snprintf(json, sizeof json, "\"%s\"", text);
    assert_request_id(json, text);
    snprintf(json, sizeof json, "\"%0129d\"", 0);
    assert_request_id(json, NULL);
    assert_request_id("\"a\\nb\"", NULL);
    assert_request_id("\"a\\u007f\"", NULL);
    assert_request_id("\"a\\u0085\"", NULL);
    assert_request_id("\"a\\u00a0\"", "a\xc2\xa0");
    assert_request_id("1.5", NULL);
    assert_request_id("[]", NULL);
}

static void required_members_are_missed(void **state)
{
    (void)state;
    assert_string_equal(
        assert_invalid(PARSE(.key = "o", .value = "{\"Callee\":\"123\"}"), "member-missing", "o"),
        "Caller: is required");
    assert_invalid(PARSE(.key = "o", .value = "{\"Caller\":\"123\"}"), "member-missing", "o");
    assert_invalid(PARSE(.key = "o", .value = "{\"Caller\":null,\"Callee\":\"123\"}"),
                   "member-missing", "o");
    assert_invalid(PARSE(.key = "o", .value = "{\"Caller\":\"\",\"Callee\":\"123\"}"),
                   "member-missing", "o");
    assert_invalid(PARSE(.key = "o", .value = "{\"caller\":\"123\",\"Callee\":\"123\"}"),
                   "member-missing", "o");
    assert_invalid(PARSE(.key = "o", .value = "{}"), "member-missing", "o");
    struct request *request = PARSE(.key = "o", .value = "{\"requestId\":\"r\"}");
    assert_string_equal(request->event.request_id, "r");
    assert_invalid(request, "member-missing", "o");
}

static void faulty_json_is_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *value, *code;
    } cases[] = {
        {"[]", "object-expected"},
        {"\"x\"", "object-expected"},
        {"5", "object-expected"},
        {"null", "object-expected"},
        {"", "json-invalid"},
        {" ", "json-invalid"},
        {"{", "json-invalid"},
        {"{" CALL, "json-invalid"},
        {"{" CALL ",}", "json-invalid"},
        {"{" CALL "} x", "json-invalid"},
        {"{" CALL "}{}", "json-invalid"},
        {"{" CALL "},", "json-invalid"},
        {"{" CALL ",\"n\":01}", "json-invalid"},
        {"{" CALL ",\"n\":012345678901234567890}", "json-invalid"},
        {"{" CALL ",\"n\":01.5}", "json-invalid"},
        {"{" CALL ",\"n\":1.}", "json-invalid"},
        {"{" CALL ",\"n\":.5}", "json-invalid"},
        {"{" CALL ",\"n\":+1}", "json-invalid"},
        {"{" CALL ",\"n\":1e}", "json-invalid"},
        {"{" CALL ",\"n\":NaN}", "json-invalid"},
        {"{" CALL ",'n':1}", "json-invalid"},
        {"{" CALL ",\"n\":\"\\x\"}", "json-invalid"},
        {"{" CALL ",\"n\":\"\\ud80\"}", "json-invalid"},
        {"{" CALL ",\"n\":\"\\", "json-invalid"},
        {"{" CALL ",\"n\":tru}", "json-invalid"},
        {"{" CALL ",\"n\":-}", "json-invalid"},
        {"{" CALL ",\"n\":1e+}", "json-invalid"},
        {"{" CALL ",\"n\":[1,]}", "json-invalid"},
        {"{" CALL ",\"n\" 1}", "json-invalid"},
        {"{" CALL ",n:1}", "json-invalid"},
        {"{" CALL ",\"n\":\"a\tb\"}", "json-invalid"},
        {"{" CALL ",\"n\":\"\xff\"}", "utf8-invalid"},
        {"{" CALL ",\"n\":\"\xc0\x80\"}", "utf8-invalid"},
        {"{" CALL ",\"n\":\"\xed\xa0\x80\"}", "utf8-invalid"},
        {"\xef\xbb\xbf{" CALL "}", "json-invalid"},
        {"{" CALL ",\"Caller\":\"123\"}", "member-duplicate"},
        {"{" CALL ",\"x\":{\"a\":1,\"b\":[{\"c\":1,\"c\":2}]}}", "member-duplicate"},
        {"{" CALL ",\"x\":1,\"\\u0078\":1}", "member-duplicate"},
        {"{" CALL ",\"\\u0000\":1,\"\\u0000\":1}", "member-duplicate"},
        {"{" CALL ",\"x\":[{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}]}", "member-duplicate"},
        {"{" CALL ",\"x\":1,\"x\":", "member-duplicate"},
        {"{\"Caller\":\"123\\u0000\",\"Callee\":\"123456\"}", "member-invalid"},
        {"{" CALL ",\"requestId\":\"\\ud800\"}", "member-invalid"},
        {"{" CALL ",\"requestId\":-0}", "member-invalid"},
        {"{" CALL ",\"orderId\":\"o\\ud800\"}", "order-id-invalid"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *value = cases[i].value;
        struct raw_record raw = {"o", 1, value, strlen(value), NULL, 0, -1};
        struct request *request = request_new((struct record_position){0}, &raw);
        event_parse(request, &rules, 0);
        assert_invalid(request, cases[i].code, "o");
    }
    assert_invalid(PARSE(.key = "o", .value = "{" CALL "}\0", .value_size = sizeof "{" CALL "}"),
                   "json-invalid", "o");
    assert_string_equal(assert_invalid(PARSE(.key = "o"), "value-missing", "o"),
                        "value: must not be null");
    assert_invalid(PARSE(.value = NULL), "value-missing", NULL);
}

static void unknown_members_are_ignored(void **state)
{
    (void)state;
    assert_valid(PARSE(.key = "o", .value = "{" CALL ",\"n\":123456789012345678901234567890}"));
    assert_valid(PARSE(.key = "o", .value = "{" CALL ",\"n\":[1e999,-1E-999,0.1e+5,-0]}"));
    assert_valid(
        PARSE(.key = "o", .value = "{" CALL ",\"a\":{\"Caller\":1},\"b\":{\"Caller\":1}}"));
    assert_valid(PARSE(.key = "o", .value = "{" CALL ",\"n\":\"\\u0000\",\"\\u0000\":1}"));
    assert_valid(PARSE(.key = "o", .value = "{" CALL ",\"a\":1,\"a\\u0000\":1,\"a\\u0000b\":1}"));
    assert_valid(
        PARSE(.key = "o", .value = "{" CALL ",\"n\":\"\\ud800\",\"\\udc00\":\"\\udc00\\ud800\"}"));
    assert_valid(
        PARSE(.key = "o", .value = "{" CALL ",\"\":{\"\":[]},\"\\/\\b\\f\":\"\\uD83D\\uDE00\"}"));
}

static void duplicates_name_the_member(void **state)
{
    (void)state;
    assert_string_equal(
        assert_invalid(PARSE(.key = "o", .value = "{" CALL ",\"Callee\":\"999888777\"}"),
                       "member-duplicate", "o"),
        "Callee: is given twice");
}

static void faulty_json_may_show_whose_it_is(void **state)
{
    (void)state;
    struct request *request =
        PARSE(.value = "{\"orderId\":\"o\",\"requestId\":\"r\"," CALL ",\"Caller\":\"1\"}");
    assert_string_equal(request->event.request_id, "r");
    assert_invalid(request, "member-duplicate", "o");
    assert_invalid(PARSE(.value = "{\"orderId\":\"o\"," CALL "} x {\"orderId\":\"p\"}"),
                   "json-invalid", "o");
    assert_invalid(PARSE(.value = "{\"orderId\":\"o\",\"a\":{\"orderId\":1,\"orderId\":2}}"),
                   "member-duplicate", "o");
    assert_invalid(PARSE(.value = "{\"orderId\":\"o\",\"orderId\":\"o\"," CALL "}"),
                   "member-duplicate", NULL);
    assert_invalid(PARSE(.value = "{\"orderId\":\"o\",\"\\u006frderId\":\"p\"," CALL "}"),
                   "member-duplicate", NULL);
    request = PARSE(.key = "o", .value = "{\"requestId\":\"r\",\"requestId\":\"s\"," CALL "}");
    assert_string_equal(request->event.request_id, "call-requests/3/42");
    assert_invalid(request, "member-duplicate", "o");
}

static void size_comes_first(void **state)
{
    (void)state;
    char *value = malloc(65538);
    int n = snprintf(value, 65538, "{" CALL "}");
    memset(value + n, ' ', 65538 - (size_t)n);
    assert_valid(PARSE(.key = "o", .value = value, .value_size = 65536));
    assert_invalid(PARSE(.key = "o", .value = value, .value_size = 65537), "event-too-large", "o");
    assert_invalid(PARSE(.value = value, .value_size = 65537), "event-too-large", NULL);
    assert_invalid(PARSE(.key = "\xff", .value = value, .value_size = 65537), "event-too-large",
                   NULL);
    free(value);
}

static void depth_is_no_danger(void **state)
{
    (void)state;
    const struct event_rules wide = {{"c", "r"}, 1 << 24};
    const char fills[] = {'[', '{', '"'};
    size_t size = 1 << 20;
    for (size_t i = 0; i < sizeof fills; i++) {
        char *value = malloc(size);
        memset(value, fills[i], size);
        struct raw_record raw = {"o", 1, value, size, NULL, 0, -1};
        struct request *request = request_new((struct record_position){0}, &raw);
        event_parse(request, &wide, 0);
        assert_invalid(request, "json-invalid", "o");
        free(value);
    }
    struct text nested = {0};
    text_add(&nested, "{" CALL ",\"x\":");
    for (int i = 0; i < 250000; i++)
        text_add(&nested, "{\"a\":");
    struct raw_record raw = {"o", 1, nested.data, nested.length, NULL, 0, -1};
    struct request *request = request_new((struct record_position){0}, &raw);
    event_parse(request, &wide, 0);
    assert_string_equal(assert_invalid(request, "json-invalid", "o"),
                        "value: a member is nested deeper than 64 levels");
    text_fini(&nested);
}

/* A member may hold 64 levels; in a structured CloudEvent it stands one level deeper. */
static void depth_is_limited(void **state)
{
    (void)state;
    static const struct record_header structured[] = {
        {"content-type", "application/cloudevents+json", 28}};
    for (int i = 0; i < 4; i++) {
        int levels = 64 + i % 2;
        struct text value = {0};
        text_add(&value, i < 2 ? "{" CALL ",\"x\":" : "{\"data\":{" CALL ",\"x\":");
        for (int level = 0; level < levels; level++)
            text_add(&value, level % 2 ? "[" : "{\"a\":");
        text_add(&value, "1");
        for (int level = levels; level-- > 0;)
            text_add(&value, level % 2 ? "]" : "}");
        text_add(&value, i < 2 ? "}" : "}}");
        struct raw_record raw = {"o", 1, value.data, value.length, structured, i < 2 ? 0 : 1, -1};
        struct request *request = request_new((struct record_position){0}, &raw);
        event_parse(request, &rules, 0);
        if (levels == 64)
            assert_valid(request);
        else
            assert_invalid(request, "json-invalid", "o");
        text_fini(&value);
    }
}

static void messages_never_quote_values(void **state)
{
    (void)state;
    const char *const values[] = {
        "{\"Caller\":\"18326070000x\",\"Callee\":\"18326070000\"}",
        "{\"Caller\":\"123\",\"Callee\":18326070000}",
        "{\"Caller\":\"18326070000\",\"Callee\":\"18326070000\"",
        "{\"Caller\":\"18326070000\"18326070000}",
        "{\"18326070000\":1,\"18326070000\":2}",
        "{\"orderId\":\"18326070000\"}",
        "{" CALL ",\"requestId\":\"18326070000\\n\"}",
        "{" CALL ",\"EndMinute\":18326070000}",
        "{" CALL ",\"expiresAt\":\"18326070000\"}",
        "{" CALL "} 18326070000",
        "{\"Caller\":\"18326070000\xff\"}",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct request *request = PARSE(.key = "o", .value = values[i]);
        assert_non_null(request->event.invalid_message);
        assert_null(strstr(request->event.invalid_message, "1832607"));
        request_free(request);
    }
}

static void assert_trace_id(const char *traceparent, size_t size, const char *expected)
{
    const struct record_header headers[] = {{"x", "1", 1}, {"traceparent", traceparent, size}};
    const char *const values[] = {"{" CALL "}", "ring ring"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct request *request =
            PARSE(.key = "o", .value = values[i], .headers = headers, .header_count = 2);
        if (expected)
            assert_string_equal(request->event.trace_id, expected);
        else
            assert_null(request->event.trace_id);
        request_free(request);
    }
}

#define TRACE_ID "0af7651916cd43dd8448eb211c80319c"
#define PARENT   "b7ad6b7169203331"

static void trace_id_is_of_a_sound_traceparent(void **state)
{
    (void)state;
    const char *const good[] = {
        "00-" TRACE_ID "-" PARENT "-01",
        "00-" TRACE_ID "-" PARENT "-ff",
        "01-" TRACE_ID "-" PARENT "-00",
        "fe-" TRACE_ID "-" PARENT "-00-what will be",
    };
    const char *const bad[] = {
        "",
        "00-ab-cd-01",
        "00-" TRACE_ID "-" PARENT "-0",
        "00-" TRACE_ID "-" PARENT "-01-what will be",
        "00-" TRACE_ID "-" PARENT "-010",
        "01-" TRACE_ID "-" PARENT "-010",
        "00-" TRACE_ID "-" PARENT "_01",
        "00-" TRACE_ID "_" PARENT "-01",
        "00_" TRACE_ID "-" PARENT "-01",
        "ff-" TRACE_ID "-" PARENT "-01",
        "0g-" TRACE_ID "-" PARENT "-01",
        "0A-" TRACE_ID "-" PARENT "-01",
        "00-" TRACE_ID "-" PARENT "-0x",
        "00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
        "00-0af7651916cd43dd8448eb211c80319 -" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE_ID "-0000000000000000-01",
        "00-" TRACE_ID "-b7ad6b716920333\xc3-01",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_trace_id(good[i], strlen(good[i]), TRACE_ID);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_trace_id(bad[i], strlen(bad[i]), NULL);
    assert_trace_id(NULL, 0, NULL);
    assert_trace_id("00-" TRACE_ID "-" PARENT "-01\0", 56, NULL);
    assert_trace_id("00-" TRACE_ID "-" PARENT "-01 and more", 55, TRACE_ID);
}

static void cloud_events_in_binary_mode(void **state)
{
    (void)state;
    const struct record_header headers[] = {
        {"ce_specversion", "1.0", 3}, {"ce_id", "e-9", 3}, {"ce_subject", "o-9", 3}};
    struct request *request = PARSE(.value = "{" CALL "}", .headers = headers, .header_count = 3);
    assert_string_equal(request->event.order_id, "o-9");
    assert_string_equal(request->event.request_id, "e-9");
    assert_valid(request);
    request = PARSE(.key = "o-1", .value = "{\"requestId\":\"r\"," CALL "}", .headers = headers,
                    .header_count = 3);
    assert_string_equal(request->event.order_id, "o-1");
    assert_string_equal(request->event.request_id, "r");
    assert_valid(request);
    request =
        PARSE(.value = "{\"orderId\":\"o-2\"," CALL "}", .headers = headers, .header_count = 3);
    assert_string_equal(request->event.order_id, "o-2");
    assert_valid(request);
    const struct record_header bad[] = {{"ce_id", "e\n", 2}, {"ce_subject", "\xff", 1}};
    request = PARSE(.value = "{" CALL "}", .headers = bad, .header_count = 2);
    assert_string_equal(request->event.request_id, "call-requests/3/42");
    assert_invalid(request, "order-id-missing", NULL);
}

static void cloud_events_in_structured_mode(void **state)
{
    (void)state;
    const struct record_header headers[] = {
        {"content-type", "application/cloudevents+json; charset=utf-8", 43}};
    struct request *request =
        PARSE(.value = "{\"specversion\":\"1.0\",\"id\":\"e-9\",\"subject\":\"o-9\","
                       "\"type\":\"t\",\"source\":\"s\",\"data\":{" CALL "}}",
              .headers = headers, .header_count = 1);
    assert_string_equal(request->event.order_id, "o-9");
    assert_string_equal(request->event.request_id, "e-9");
    assert_string_equal(request->event.caller, "18326070000");
    assert_valid(request);
    request = PARSE(.key = "o", .value = "{\"id\":\"e\",\"data\":5," CALL "}", .headers = headers,
                    .header_count = 1);
    assert_string_equal(request->event.request_id, "e");
    assert_invalid(request, "object-expected", "o");
    /* Another content type makes it a plain request. */
    const struct record_header plain[] = {{"content-type", "application/json", 16}};
    request =
        PARSE(.key = "o", .value = "{" CALL ",\"data\":5}", .headers = plain, .header_count = 1);
    assert_valid(request);
}

/* The headers stand beside the value, and tell whose it is however bad it is. */
static void headers_name_an_unreadable_cloud_event(void **state)
{
    (void)state;
    const struct record_header headers[] = {{"ce_id", "e-9", 3}, {"ce_subject", "o-9", 3}};
    static const struct {
        const char *value, *code;
        size_t size;
    } cases[] = {
        {NULL, "value-missing", 0},
        {"ring ring", "json-invalid", 9},
        {"", "json-invalid", 0},
        {"[]", "object-expected", 2},
        {"{\"Caller\":\"\xff\"}", "utf8-invalid", 14},
        {"{\"orderId\":\"o\",\"orderId\":\"p\"}", "member-duplicate", 29},
        {"{\"orderId\":{}}", "order-id-invalid", 14},
        {"", "event-too-large", 65537},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *value = cases[i].value ? calloc(1, cases[i].size + 1) : NULL;
        if (value)
            memcpy(value, cases[i].value, strlen(cases[i].value));
        struct raw_record raw = {NULL, 0, value, cases[i].size, headers, 2, -1};
        struct request *request = request_new((struct record_position){0, 3, 42}, &raw);
        event_parse(request, &rules, 0);
        assert_string_equal(request->event.request_id, "e-9");
        assert_invalid(request, cases[i].code, "o-9");
        free(value);
    }
    struct request *request =
        PARSE(.key = "o-1", .value = "ring", .headers = headers, .header_count = 2);
    assert_string_equal(request->event.request_id, "e-9");
    assert_invalid(request, "json-invalid", "o-1");
    request = PARSE(.key = "\xff", .value = "ring", .headers = headers, .header_count = 2);
    assert_invalid(request, "key-invalid", NULL);
    request = PARSE(.value = "{\"orderId\":\"o\",\"a\":1,\"a\":2}", .headers = headers,
                    .header_count = 2);
    assert_invalid(request, "member-duplicate", "o");
    char subject[257];
    memset(subject, 's', sizeof subject);
    const struct record_header longs[] = {{"ce_subject", subject, 257}};
    request = PARSE(.value = "ring", .headers = longs, .header_count = 1);
    assert_invalid(request, "json-invalid", NULL);
    const struct record_header bad[] = {{"ce_id", "e\n", 2}, {"ce_subject", "a\0b", 3}};
    request = PARSE(.value = "ring", .headers = bad, .header_count = 2);
    assert_string_equal(request->event.request_id, "call-requests/3/42");
    assert_invalid(request, "json-invalid", NULL);
}

static void assert_faulty_event(const char *json, const char *code, const char *order_id,
                                const char *request_id)
{
    const struct record_header type = {"content-type", "application/cloudevents+json", 28};
    struct request *request = PARSE(.value = json, .headers = &type, .header_count = 1);
    assert_string_equal(request->event.request_id, request_id);
    assert_invalid(request, code, order_id);
}

static void faulty_structured_events_may_show_whose_they_are(void **state)
{
    (void)state;
    const char *own = "call-requests/3/42";
    assert_faulty_event("{\"id\":\"e\",\"subject\":\"s\",\"data\":{" CALL ",\"Caller\":\"1\"}}",
                        "member-duplicate", "s", "e");
    assert_faulty_event("{\"id\":\"e\",\"subject\":\"s\",\"data\":{" CALL "}} x", "json-invalid",
                        "s", "e");
    assert_faulty_event("{\"subject\":\"s\",\"subject\":\"t\",\"id\":\"e\",\"data\":{" CALL "}}",
                        "member-duplicate", NULL, "e");
    assert_faulty_event("{\"subject\":\"s\",\"\\u0073ubject\":\"t\",\"data\":{" CALL "}}",
                        "member-duplicate", NULL, own);
    assert_faulty_event("{\"id\":\"e\",\"id\":\"f\",\"subject\":\"s\",\"data\":{" CALL "}}",
                        "member-duplicate", "s", own);
    /* What data says itself counts for more, where data and it are given once. */
    assert_faulty_event(
        "{\"subject\":\"s\",\"data\":{\"orderId\":\"o\",\"requestId\":\"r\",\"a\":1,"
        "\"a\":2}}",
        "member-duplicate", "o", "r");
    assert_faulty_event("{\"subject\":\"s\",\"data\":{\"orderId\":\"o\",\"orderId\":\"p\"}}",
                        "member-duplicate", "s", own);
    assert_faulty_event(
        "{\"subject\":\"s\",\"data\":{\"orderId\":\"o\"},\"data\":{\"requestId\":\"r\"}}",
        "member-duplicate", "s", own);
    assert_faulty_event("{\"orderId\":\"o\",\"orderId\":\"p\",\"data\":{\"orderId\":\"q\"}}",
                        "member-duplicate", "q", own);
    assert_faulty_event("{\"id\":\"e\",\"subject\":\"s\"", "json-invalid", NULL, own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_whole_call),
        cmocka_unit_test(absent_members_have_defaults),
        cmocka_unit_test(reads_a_recording),
        cmocka_unit_test(key_gives_the_order_id),
        cmocka_unit_test(value_gives_the_order_id),
        cmocka_unit_test(numbers_have_a_form),
        cmocka_unit_test(options_have_a_form),
        cmocka_unit_test(end_minute_has_two_forms),
        cmocka_unit_test(expiry_is_a_date_time),
        cmocka_unit_test(request_id_has_a_form),
        cmocka_unit_test(required_members_are_missed),
        cmocka_unit_test(faulty_json_is_invalid),
        cmocka_unit_test(unknown_members_are_ignored),
        cmocka_unit_test(duplicates_name_the_member),
        cmocka_unit_test(faulty_json_may_show_whose_it_is),
        cmocka_unit_test(size_comes_first),
        cmocka_unit_test(depth_is_no_danger),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(messages_never_quote_values),
        cmocka_unit_test(trace_id_is_of_a_sound_traceparent),
        cmocka_unit_test(cloud_events_in_binary_mode),
        cmocka_unit_test(cloud_events_in_structured_mode),
        cmocka_unit_test(headers_name_an_unreadable_cloud_event),
        cmocka_unit_test(faulty_structured_events_may_show_whose_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
