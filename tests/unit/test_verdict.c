/* What each end of a try means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/verdict.h"

static int64_t auth_flags[] = {40, 41}, call_flags[] = {50}, recording_flags[] = {60};
static const struct config config = {
    .platform_auth_flags = {auth_flags, 2},
    .call_retry_flags = {call_flags, 1},
    .recording_retry_flags = {recording_flags, 1},
};

struct row {
    struct attempt attempt;
    enum verdict verdict;
    const char *code; /* NULL: answered */
};

#define BODY(text) .body = (text), .body_size = sizeof(text) - 1
/* clang-format off */ /* its versions differ about braces in macros */
#define ANSWER(status_, text) \
    {.sends = 1, .http_status = (status_), .complete = true, .body = (text), \
     .body_size = sizeof(text) - 1}
/* clang-format on */

static const struct row calls[] = {
    /* never sent, whatever libcurl calls it */
    {{.failure = FAILURE_CONNECT}, VERDICT_NOT_SENT, "connect-failed"},
    {{.failure = FAILURE_RESOLVE}, VERDICT_NOT_SENT, "name-not-found"},
    {{.failure = FAILURE_TIMEOUT}, VERDICT_NOT_SENT, "connect-timeout"},
    {{.failure = FAILURE_TLS}, VERDICT_NOT_SENT, "tls-failed"},
    {{.failure = FAILURE_CERTIFICATE}, VERDICT_NOT_SENT, "certificate-rejected"},
    {{.failure = FAILURE_RESET}, VERDICT_NOT_SENT, "connect-failed"},
    {{.failure = FAILURE_OTHER}, VERDICT_NOT_SENT, "not-sent"},
    {{.failure = FAILURE_OTHER, .lease_over = true}, VERDICT_LEASE_OVER, "lease-over"},
    {{.failure = FAILURE_STOPPED}, VERDICT_LEASE_OVER, "lease-over"},
    /* sent, and no status line: codes that say 'could not connect' lie */
    {{.sends = 1, .failure = FAILURE_CONNECT}, VERDICT_IN_DOUBT, "connection-reset"},
    {{.sends = 1, .failure = FAILURE_TLS}, VERDICT_IN_DOUBT, "connection-reset"},
    {{.sends = 1, .failure = FAILURE_TIMEOUT}, VERDICT_IN_DOUBT, "timeout"},
    {{.sends = 1, .failure = FAILURE_RESET}, VERDICT_IN_DOUBT, "connection-reset"},
    {{.sends = 1, .failure = FAILURE_NO_ANSWER}, VERDICT_IN_DOUBT, "connection-closed"},
    {{.sends = 1, .failure = FAILURE_STOPPED}, VERDICT_IN_DOUBT, "worker-stopped"},
    {{.sends = 1, .failure = FAILURE_OTHER}, VERDICT_IN_DOUBT, "unreadable-answer"},
    {{.sends = 1, .failure = FAILURE_OTHER, .latched = true},
     VERDICT_IN_DOUBT,
     "connection-closed"},
    /* even the lease cannot take back what was sent */
    {{.sends = 1, .failure = FAILURE_OTHER, .latched = true, .lease_over = true},
     VERDICT_IN_DOUBT,
     "connection-closed"},
    /* a status line */
    {ANSWER(200, "{\"Flag\":1,\"Msg\":\"8617115230000\"}"), VERDICT_ANSWERED, NULL},
    {ANSWER(201, "{\"Flag\":\"1\"}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":2}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":60}"), VERDICT_ANSWERED, NULL}, /* a recordings' Flag */
    {ANSWER(200, "{\"Flag\":\"x\"}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":40}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(200, "{\"Flag\":\"41\"}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(200, "{\"Flag\":50}"), VERDICT_RETRY, "retry-flag"},
    {ANSWER(200, "{\"Msg\":1}"), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(200, "[]"), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(200, ""), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(101, ""), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(600, ""), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(300, ""), VERDICT_ANSWERED, NULL},
    {ANSWER(399, ""), VERDICT_ANSWERED, NULL},
    {ANSWER(400, "{\"Flag\":40}"), VERDICT_ANSWERED, NULL},
    {ANSWER(401, ""), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(407, ""), VERDICT_ANSWERED, NULL},
    {ANSWER(408, ""), VERDICT_IN_DOUBT, "http-408"},
    {ANSWER(429, ""), VERDICT_THROTTLED, "throttled"},
    {ANSWER(499, ""), VERDICT_ANSWERED, NULL},
    {ANSWER(500, "{\"Flag\":1}"), VERDICT_IN_DOUBT, "http-5xx"},
    {ANSWER(599, ""), VERDICT_IN_DOUBT, "http-5xx"},
    /* a status line, and no whole body */
    {{.sends = 1, .http_status = 200, .failure = FAILURE_CUT}, VERDICT_IN_DOUBT, "answer-cut"},
    {{.sends = 1, .http_status = 200, .failure = FAILURE_RESET}, VERDICT_IN_DOUBT, "answer-cut"},
    {{.sends = 1, .http_status = 200, .failure = FAILURE_TIMEOUT}, VERDICT_IN_DOUBT, "timeout"},
    {{.sends = 1, .http_status = 200, .failure = FAILURE_STOPPED},
     VERDICT_IN_DOUBT,
     "worker-stopped"},
    {{.sends = 1, .http_status = 200, .failure = FAILURE_OTHER, .too_large = true},
     VERDICT_IN_DOUBT,
     "answer-too-large"},
    {{.sends = 1, .http_status = 403, .failure = FAILURE_CUT, .body = "", .body_size = 0},
     VERDICT_ANSWERED,
     NULL},
    {{.sends = 1, .http_status = 401, .failure = FAILURE_TIMEOUT},
     VERDICT_UNAUTHORIZED,
     "unauthorized"},
};

static const struct row recordings[] = {
    {ANSWER(200, "{\"Flag\":60}"), VERDICT_RETRY, "recording-not-ready"},
    {ANSWER(200, "{\"Flag\":50}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":40}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(200, "RIFF"), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(502, ""), VERDICT_IN_DOUBT, "http-5xx"},
};

static void check(enum request_kind kind, const struct row *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &table[i];
        struct outcome outcome = {0};
        struct finding finding;
        verdict_reach(&finding, &outcome, kind, &row->attempt, &config);
        if (finding.verdict != row->verdict ||
            strcmp(finding.code ? finding.code : "none", row->code ? row->code : "none") != 0)
            fail_msg("row %zu: verdict %d, code %s", i, finding.verdict,
                     finding.code ? finding.code : "none");
        bool filled = finding.verdict == VERDICT_ANSWERED || finding.verdict == VERDICT_RETRY;
        assert_int_equal(outcome.answered, filled);
        if (!filled)
            assert_null(outcome.flag_json);
        outcome_fini(&outcome);
    }
}

static void calls_are_judged(void **state)
{
    (void)state;
    check(REQUEST_CALL, calls, sizeof calls / sizeof *calls);
}

static void recordings_are_judged(void **state)
{
    (void)state;
    check(REQUEST_RECORDING, recordings, sizeof recordings / sizeof *recordings);
}

static void a_file_succeeds(void **state)
{
    (void)state;
    struct attempt attempt = {.sends = 1,
                              .http_status = 200,
                              .complete = true,
                              .is_file = true,
                              .file_size = 7,
                              .content_type = "audio/wav",
                              .file_type = "audio/wav",
                              .file_sha256 = "ab"};
    struct outcome outcome = {0};
    struct finding finding;
    verdict_reach(&finding, &outcome, REQUEST_RECORDING, &attempt, &config);
    assert_int_equal(finding.verdict, VERDICT_ANSWERED);
    assert_int_equal(outcome.status, STATUS_SUCCEEDED);
    assert_true(outcome.recording.present);
    assert_int_equal(outcome.recording.size, 7);
    assert_string_equal(outcome.recording.content_type, "audio/wav");
    assert_string_equal(outcome.recording.sha256, "ab");
    outcome_fini(&outcome);
    attempt.complete = false;
    attempt.failure = FAILURE_CUT;
    verdict_reach(&finding, &outcome, REQUEST_RECORDING, &attempt, &config);
    assert_int_equal(finding.verdict, VERDICT_IN_DOUBT);
}

static void judge(struct attempt *attempt, struct finding *finding, struct outcome *outcome)
{
    attempt->sends = 1;
    attempt->http_status = 200;
    attempt->complete = true;
    *outcome = (struct outcome){0};
    verdict_reach(finding, outcome, REQUEST_RECORDING, attempt, &config);
}

static void copies_are_judged(void **state)
{
    (void)state;
    static const struct {
        enum attempt_copy copy;
        const char *code;
    } failures[] = {{COPY_TOO_LARGE, "answer-too-large"},
                    {COPY_DOWNLOAD_FAILED, "download-failed"},
                    {COPY_STORE_FAILED, "store-failed"}};
    struct attempt file = {.is_file = true, .file_size = 7, .file_uri = "file:///s/id.wav"};
    struct attempt url = {.file_size = 7,
                          .file_uri = "file:///s/id.wav",
                          .file_type = "audio/x",
                          BODY("{\"Flag\":1,\"Msg\":\"https://h/f\"}")};
    struct outcome outcome;
    struct finding finding;
    for (size_t i = 0; i < 3; i++) {
        file.copy = url.copy = failures[i].copy;
        judge(i % 2 ? &file : &url, &finding, &outcome);
        assert_int_equal(finding.verdict, VERDICT_NOT_KEPT);
        assert_string_equal(finding.code, failures[i].code);
        assert_false(outcome.answered);
        assert_null(outcome.recording.url);
        outcome_fini(&outcome);
    }
    file.copy = url.copy = COPY_KEPT;
    judge(&file, &finding, &outcome);
    assert_int_equal(finding.verdict, VERDICT_ANSWERED);
    assert_string_equal(outcome.recording.uri, "file:///s/id.wav");
    assert_string_equal(outcome.recording.content_type, "application/octet-stream");
    outcome_fini(&outcome);
    judge(&url, &finding, &outcome);
    assert_int_equal(finding.verdict, VERDICT_ANSWERED);
    assert_string_equal(outcome.recording.uri, "file:///s/id.wav");
    assert_string_equal(outcome.recording.url, "https://h/f");
    assert_string_equal(outcome.recording.content_type, "audio/x");
    assert_true(outcome.recording.present);
    assert_int_equal(outcome.recording.size, 7);
    outcome_fini(&outcome);
    url.copy = COPY_NONE; /* there is no store: the URL alone is told */
    judge(&url, &finding, &outcome);
    assert_string_equal(outcome.recording.url, "https://h/f");
    assert_false(outcome.recording.present);
    outcome_fini(&outcome);
}

static void urls_of_files(void **state)
{
    (void)state;
    struct attempt answers[] = {{BODY("{\"Flag\":1,\"Msg\":\"https://h/f\"}")},
                                {BODY("{\"Flag\":50,\"Msg\":\"https://h/f\"}")},
                                {BODY("{\"Flag\":60,\"Msg\":\"https://h/f\"}")},
                                {BODY("{\"Flag\":1,\"Msg\":\"none\"}")},
                                {BODY("nonsense")}};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        answers[i].sends = 1;
        answers[i].http_status = 200;
        answers[i].complete = true;
        char *url = verdict_file_url(&answers[i], &config);
        if (i == 0)
            assert_string_equal(url, "https://h/f");
        else
            assert_null(url);
        free(url);
    }
}

static void files_are_told_from_json(void **state)
{
    (void)state;
    assert_true(verdict_is_file(REQUEST_RECORDING, 200, "audio/mpeg", '{'));
    assert_true(verdict_is_file(REQUEST_RECORDING, 206, "Video/mp4", 'x'));
    assert_true(verdict_is_file(REQUEST_RECORDING, 200, "application/octet-stream", '\0'));
    assert_true(verdict_is_file(REQUEST_RECORDING, 200, "", 'R'));
    assert_false(verdict_is_file(REQUEST_RECORDING, 200, "", '{'));
    assert_false(verdict_is_file(REQUEST_RECORDING, 200, "application/octet-stream", ' '));
    assert_false(verdict_is_file(REQUEST_RECORDING, 200, "application/json", 'R'));
    assert_false(verdict_is_file(REQUEST_RECORDING, 200, "text/html", '<'));
    assert_false(verdict_is_file(REQUEST_RECORDING, 404, "audio/mpeg", 'R'));
    assert_false(verdict_is_file(REQUEST_CALL, 200, "audio/mpeg", 'R'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_judged), cmocka_unit_test(recordings_are_judged),
        cmocka_unit_test(a_file_succeeds),  cmocka_unit_test(copies_are_judged),
        cmocka_unit_test(urls_of_files),    cmocka_unit_test(files_are_told_from_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
