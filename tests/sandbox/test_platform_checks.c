/* What the simulated platform accepts and refuses, by the rules of its document; its signature code
 * is checked with the document's vectors, not with the worker's code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sandbox/platform/checks.h"

#define TOKEN "akwiKeKEKG01kfas63910IRJL6ask38fKF6"
#define APP   "774e5e14a0874r725bfb90351f1e84f677"
#define SIG   "86A2363A1B59FC378D19C947B7FB976B"
#define AUTHORIZATION                                                                              \
    "YWt3aUtlS0VLRzAxa2ZhczYzOTEwSVJKTDZhc2szOGZLRjY6Nzc0ZTVlMTRhMDg3NHI3MjViZmI5MDM1MWYxZTg0Z"    \
    "jY3NzoyMDI0MDExMjE4MDA0Mw=="
#define ACCOUNT    "\"ACCOUNTSID\":\"" TOKEN "\",\"APPID\":\"" APP "\""
#define NUMBERS    ACCOUNT ",\"Caller\":\"18326070000\",\"Callee\":\"18326070001\""
#define CALL_PATH  "/20171220/bind/callEvent/v1"
#define VOICE_PATH "/20171220/bind/callEvent/voice/v1"

/* A request to be checked; NULL takes what is right, "" leaves a header out. */
struct sent {
    const char *what;
    int flag, status; /* expected: 0 when it is accepted */
    const char *body, *path, *query, *accept, *type, *authorization, *extra;
};

static const struct sandbox_credentials documented = {TOKEN, APP, "20171220", 480, false};

static void add_header(struct text *out, const char *name, const char *value, const char *preset)
{
    if (!value || *value)
        text_printf(out, "%s: %s\r\n", name, value ? value : preset);
}

static void compose(struct text *out, const struct sent *sent)
{
    const char *body = sent->body ? sent->body : "{" NUMBERS "}";
    text_printf(out, "POST %s%s HTTP/1.1\r\nHost: localhost\r\n",
                sent->path ? sent->path : CALL_PATH, sent->query ? sent->query : "?sig=" SIG);
    add_header(out, "Accept", sent->accept, "application/json");
    add_header(out, "Content-Type", sent->type, "application/json;charset=utf-8");
    add_header(out, "Authorization", sent->authorization, AUTHORIZATION);
    text_printf(out, "%sContent-Length: %zu\r\n\r\n%s", sent->extra ? sent->extra : "",
                strlen(body), body);
}

static int64_t wall(const char *instant)
{
    int64_t ms;
    assert_int_equal(clock_from_text(instant, &ms), 0);
    return ms;
}

static struct sandbox_verdict check(const struct sandbox_credentials *expected,
                                    const struct sent *sent, const char *now)
{
    struct text bytes = {0};
    struct sandbox_http_request request;
    struct sandbox_platform_body body;
    enum sandbox_endpoint endpoint;
    compose(&bytes, sent);
    assert_int_equal(sandbox_http_read(&request, bytes.data, bytes.length), HTTP_READY);
    assert_int_equal(sandbox_checks_endpoint(expected, request.path, &endpoint), 0);
    struct sandbox_verdict verdict =
        sandbox_checks_request(expected, endpoint, &request, wall(now), &body);
    sandbox_platform_body_fini(&body);
    text_fini(&bytes);
    return verdict;
}

static void check_all(const struct sent *sent)
{
    for (; sent->what; sent++) {
        struct sandbox_verdict verdict = check(&documented, sent, "2024-01-12T10:00:43Z");
        int status = verdict.problem ? verdict.status : 0;
        if (verdict.flag != sent->flag || status != sent->status)
            fail_msg("%s: Flag %d, status %d (%s)", sent->what, verdict.flag, status,
                     verdict.problem ? verdict.problem : "accepted");
    }
}

static void headers_and_signature(void **state)
{
    (void)state;
    check_all((const struct sent[]){
        {.what = "all right"},
        {"no Accept", 9003, 400, .accept = ""},
        {"wrong Accept", 9003, 400, .accept = "*/*"},
        {"two Accepts", 9003, 400, .extra = "accept: application/json\r\n"},
        {"no Content-Type", 9004, 400, .type = ""},
        {"a space in Content-Type", 9004, 400, .type = "application/json; charset=utf-8"},
        {"upper case in Content-Type", 9004, 400, .type = "application/json;charset=UTF-8"},
        {"no Authorization", 9010, 401, .authorization = ""},
        {"two Authorizations", 9010, 401, .extra = "Authorization: x\r\n"},
        {"a scheme word", 9011, 401, .authorization = "Basic " AUTHORIZATION},
        {"no padding", 9011, 401, .authorization = "dDphOjE5OTkxMjMxMjM1OTU"},
        {"padding in the middle", 9011, 401, .authorization = "dDph=jE5"},
        {"bits behind the end", 9011, 401, .authorization = "dDphOjE5OTkxMjMxMjM1OTV="},
        {"not base64 at all", 9011, 401, .authorization = "!!!!"},
        {"another token", 9012, 401, .authorization = "dDphOjE5OTkxMjMxMjM1OTU5"},
        {"no sig", 9016, 401, .query = ""},
        {"another parameter", 9016, 401, .query = "?signature=" SIG},
        {"a parameter too many", 9016, 401, .query = "?sig=" SIG "&a=b"},
        {"lower case", 9016, 401, .query = "?sig=86a2363a1b59fc378d19c947b7fb976b"},
        {"too short", 9016, 401, .query = "?sig=86A2363A1B59FC378D19C947B7FB976"},
        {"another digest", 9017, 401, .query = "?sig=86A2363A1B59FC378D19C947B7FB976C"},
        {0},
    });
}

static void call_bodies(void **state)
{
    (void)state;
    check_all((const struct sent[]){
        {"the document's sample, but for its numbers", 0, 0,
         .body = "{" NUMBERS ",\"VirtualNum\":\"17118230000\",\"Direct\":\"1\","
                 "\"EndMinute\":\"25\",\"Code\":\"021\"}"},
        {"an instant", 0, 0, .body = "{" NUMBERS ",\"EndMinute\":\"2099-05-20T23:59:59Z\"}"},
        {"empty VirtualNum and Code", 0, 0,
         .body = "{" NUMBERS ",\"VirtualNum\":\"\",\"Code\":\"\"}"},
        {"a plus", 0, 0, .body = "{" ACCOUNT ",\"Caller\":\"+8618326070000\",\"Callee\":\"114\"}"},
        {"no JSON", 9020, 400, .body = "Caller=1"},
        {"empty", 9020, 400, .body = ""},
        {"an array", 9020, 400, .body = "[]"},
        {"something behind it", 9020, 400, .body = "{" NUMBERS "}x"},
        {"a member twice", 9020, 400, .body = "{" NUMBERS ",\"Caller\":\"18326070000\"}"},
        {"an unknown member", 9021, 400, .body = "{" NUMBERS ",\"orderId\":\"1\"}"},
        {"case of a name", 9021, 400, .body = "{" NUMBERS ",\"direct\":\"1\"}"},
        {"a number", 9022, 400, .body = "{" NUMBERS ",\"Direct\":1}"},
        {"null", 9022, 400, .body = "{" NUMBERS ",\"Code\":null}"},
        {"no account", 9024, 400, .body = "{\"APPID\":\"" APP "\"}"},
        {"no app id", 9025, 400, .body = "{\"ACCOUNTSID\":\"" TOKEN "\"}"},
        {"another account", 9024, 401,
         .body =
             "{\"ACCOUNTSID\":\"t\",\"APPID\":\"" APP "\",\"Caller\":\"114\",\"Callee\":\"114\"}"},
        {"another app id", 9025, 401,
         .body = "{\"ACCOUNTSID\":\"" TOKEN
                 "\",\"APPID\":\"a\",\"Caller\":\"114\",\"Callee\":\"114\"}"},
        {"no Caller", 9030, 400, .body = "{" ACCOUNT ",\"Callee\":\"114\"}"},
        {"Caller too short", 9030, 400,
         .body = "{" ACCOUNT ",\"Caller\":\"11\",\"Callee\":\"114\"}"},
        {"Caller too long", 9030, 400,
         .body = "{" ACCOUNT ",\"Caller\":\"123456789012345678901\",\"Callee\":\"114\"}"},
        {"no Callee", 9031, 400, .body = "{" ACCOUNT ",\"Caller\":\"114\"}"},
        {"a space in Callee", 9031, 400,
         .body = "{" ACCOUNT ",\"Caller\":\"114\",\"Callee\":\"1 4 4\"}"},
        {"letters in VirtualNum", 9032, 400, .body = "{" NUMBERS ",\"VirtualNum\":\"abc\"}"},
        {"Direct 3", 9033, 400, .body = "{" NUMBERS ",\"Direct\":\"3\"}"},
        {"Direct empty", 9033, 400, .body = "{" NUMBERS ",\"Direct\":\"\"}"},
        {"0 minutes", 9034, 400, .body = "{" NUMBERS ",\"EndMinute\":\"0\"}"},
        {"61 minutes", 9034, 400, .body = "{" NUMBERS ",\"EndMinute\":\"61\"}"},
        {"minutes with a zero in front", 9034, 400, .body = "{" NUMBERS ",\"EndMinute\":\"05\"}"},
        {"the past", 9034, 400, .body = "{" NUMBERS ",\"EndMinute\":\"2016-05-20T23:59:59Z\"}"},
        {"another offset", 9034, 400,
         .body = "{" NUMBERS ",\"EndMinute\":\"2099-05-20T23:59:59+08:00\"}"},
        {"no such day", 9034, 400, .body = "{" NUMBERS ",\"EndMinute\":\"2099-02-30T23:59:59Z\"}"},
        {"Code without zero", 9035, 400, .body = "{" NUMBERS ",\"Code\":\"210\"}"},
        {"Code too long", 9035, 400, .body = "{" NUMBERS ",\"Code\":\"02100\"}"},
        {"a recording's member", 9021, 400, .body = "{" NUMBERS ",\"CallIdentifier\":\"1\"}"},
        {0},
    });
}

static void recording_bodies(void **state)
{
    (void)state;
    check_all((const struct sent[]){
        {"the sample's identifier", 0, 0, .path = VOICE_PATH,
         .body = "{" ACCOUNT ",\"CallIdentifier\":\"65445298527236037121523767083120\"}"},
        {"none", 9036, 400, .path = VOICE_PATH, .body = "{" ACCOUNT "}"},
        {"a dot", 9036, 400, .path = VOICE_PATH,
         .body = "{" ACCOUNT ",\"CallIdentifier\":\"a.b\"}"},
        {"empty", 9036, 400, .path = VOICE_PATH, .body = "{" ACCOUNT ",\"CallIdentifier\":\"\"}"},
        {"a call's member", 9021, 400, .path = VOICE_PATH,
         .body = "{" ACCOUNT ",\"CallIdentifier\":\"1\",\"Caller\":\"114\"}"},
        {0},
    });
}

static void timestamps(void **state)
{
    (void)state;
    const struct sent good = {0};
    assert_null(check(&documented, &good, "2024-01-12T10:10:43Z").problem);
    assert_int_equal(check(&documented, &good, "2024-01-12T10:10:44Z").flag, 9015);
    assert_null(check(&documented, &good, "2024-01-12T09:50:43Z").problem);
    assert_int_equal(check(&documented, &good, "2024-01-12T09:50:42Z").flag, 9015);
    assert_int_equal(check(&documented, &good, "2024-01-12T18:00:43Z").flag, 9015);
    struct sandbox_credentials utc = documented;
    utc.utc_offset_minutes = 0;
    assert_null(check(&utc, &good, "2024-01-12T18:00:43Z").problem);
    utc.any_timestamp = true;
    assert_null(check(&utc, &good, "2030-01-01T00:00:00Z").problem);
}

/* Authorization of token t, app id a: the second vector, and others that are no date. */
static void small_vector(void **state)
{
    (void)state;
    const struct sandbox_credentials small = {"t", "a", "v", 480, true};
    const struct sent good = {.path = "/v/bind/callEvent/v1",
                              .query = "?sig=2D2DA432F2FA4C828A7C840810FF561D",
                              .authorization = "dDphOjE5OTkxMjMxMjM1OTU5",
                              .body = "{\"ACCOUNTSID\":\"t\",\"APPID\":\"a\",\"Caller\":\"114\","
                                      "\"Callee\":\"114\"}"};
    assert_null(check(&small, &good, "2024-01-12T10:00:43Z").problem);
    static const struct {
        const char *authorization;
        int flag;
    } wrong[] = {
        {"dDpiOjE5OTkxMjMxMjM1OTU5", 9013},     /* t:b:19991231235959 */
        {"dDphOjE5OTkxMjMxMjM1OTU=", 9014},     /* t:a:1999123123595 */
        {"dDphOjE5OTkxMzMxMjM1OTU5", 9014},     /* t:a:19991331235959 */
        {"dDphOjE5OTkwMjI5MjM1OTU5", 9014},     /* t:a:19990229235959 */
        {"dDphOjE5OTkxMjMxMjQwMDAw", 9014},     /* t:a:19991231240000 */
        {"dDphOjE5OTkxMjMxMjM1OTU4", 9017},     /* t:a:19991231235958: another one than in sig */
        {"dDphOiAxOTk5MTIzMTIzNTk1OQ==", 9014}, /* t:a: 19991231235959 */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sent sent = good;
        sent.authorization = wrong[i].authorization;
        struct sandbox_verdict verdict = check(&small, &sent, "2024-01-12T10:00:43Z");
        if (verdict.flag != wrong[i].flag)
            fail_msg("%s: %d", wrong[i].authorization, verdict.flag);
        assert_int_equal(verdict.status, 401);
    }
}

static void paths(void **state)
{
    (void)state;
    static const char *const wrong[] = {"/",
                                        CALL_PATH "/",
                                        "/20171221/bind/callEvent/v1",
                                        "20171220/bind/callEvent/v1",
                                        "/20171220/bind/callevent/v1",
                                        "/20171220/bind/callEvent/voice/v2"};
    enum sandbox_endpoint endpoint;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sandbox_http_span path = {wrong[i], strlen(wrong[i])};
        assert_int_equal(sandbox_checks_endpoint(&documented, path, &endpoint), -1);
    }
    struct sandbox_http_span voice = {VOICE_PATH, strlen(VOICE_PATH)};
    assert_int_equal(sandbox_checks_endpoint(&documented, voice, &endpoint), 0);
    assert_int_equal(endpoint, ENDPOINT_RECORDING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_and_signature), cmocka_unit_test(call_bodies),
        cmocka_unit_test(recording_bodies),      cmocka_unit_test(timestamps),
        cmocka_unit_test(small_vector),          cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
