/* What each end of a try means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/verdict.h"
#include "page.h"

static int64_t auth_flags[] = {40, 41}, call_flags[] = {50}, recording_flags[] = {60};
static struct config config = {
    .platform_url = "https://p.example",
    .platform_version = "v",
    .platform_answer_max_bytes = 65536,
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
#define CUT(status_, failure_, text) \
    {.sends = 1, .http_status = (status_), .failure = (failure_), .body = (text), \
     .body_size = sizeof(text) - 1}
#define MOVED(status_, text, where) \
    {.sends = 1, .http_status = (status_), .complete = true, .location = (where), \
     .body = (text), .body_size = sizeof(text) - 1}

/* {"Flag":1,"Msg":"8617115230000"} as gzip, without its last six bytes */
#define CUT_GZIP \
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x72\xcb\x49\x4c\x57\xb2" \
    "\x32\xd4\x51\xf2\x2d\x06\xd2\x4a\x16\x66\x86\xe6\x86\x86\xa6\x46\xc6\x06" \
    "\x40\xa0\x54\x0b\x00\xd2\x0f"

/* the same as deflate with zlib's header, without its checksum, and without header, three bytes
 * shorter */
#define CUT_ZLIB \
    "\x78\xda\xab\x56\x72\xcb\x49\x4c\x57\xb2\x32\xd4\x51\xf2\x2d\x06\xd2\x4a" \
    "\x16\x66\x86\xe6\x86\x86\xa6\x46\xc6\x06\x40\xa0\x54\x0b\x00"
#define CUT_DEFLATE \
    "\xab\x56\x72\xcb\x49\x4c\x57\xb2\x32\xd4\x51\xf2\x2d\x06\xd2\x4a" \
    "\x16\x66\x86\xe6\x86\x86\xa6\x46\xc6\x06\x40"
#define CUT_CODED(status_, coding, text) \
    {.sends = 1, .http_status = (status_), .failure = FAILURE_CUT, .body = (text), \
     .body_size = sizeof(text) - 1, .content_encoding = (coding)}
/* clang-format on */

static const struct row calls[] = {
    /* never sent, whatever libcurl calls it */
    {{.failure = FAILURE_CONNECT}, VERDICT_NOT_SENT, "connect-failed"},
    {{.failure = FAILURE_RESOLVE}, VERDICT_NOT_SENT, "name-not-found"},
    {{.failure = FAILURE_TIMEOUT}, VERDICT_NOT_SENT, "connect-timeout"},
    {{.failure = FAILURE_TLS}, VERDICT_NOT_SENT, "tls-failed"},
    {{.failure = FAILURE_CERTIFICATE}, VERDICT_NOT_SENT, "certificate-rejected"},
    {{.failure = FAILURE_CLIENT_CERTIFICATE}, VERDICT_NOT_SENT, "client-certificate-refused"},
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
    {{.sends = 1, .failure = FAILURE_OTHER, .resend_blocked = true},
     VERDICT_IN_DOUBT,
     "connection-closed"},
    /* even the lease cannot take back what was sent */
    {{.sends = 1, .failure = FAILURE_OTHER, .resend_blocked = true, .lease_over = true},
     VERDICT_IN_DOUBT,
     "connection-closed"},
    /* a status line */
    {ANSWER(200, "{\"Flag\":1,\"Msg\":\"8617115230000\"}"), VERDICT_ANSWERED, NULL},
    {ANSWER(201, "{\"Flag\":\"1\"}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":2}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":60}"), VERDICT_ANSWERED, NULL}, /* a recordings' Flag */
    {ANSWER(200, "{\"Flag\":\"x\"}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":true}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":1,\"x\":1,\"x\":2}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":null}"), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(200, "{\"Flag\":1,\"Flag\":2}"), VERDICT_IN_DOUBT, "unreadable-answer"},
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
    /* these Flags count with any status */
    {ANSWER(302, "{\"Flag\":40}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(400, "{\"Flag\":40}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(403, "{\"Flag\":\"50\"}"), VERDICT_RETRY, "retry-flag"},
    {ANSWER(408, "{\"Flag\":50}"), VERDICT_RETRY, "retry-flag"},
    {ANSWER(429, "{\"Flag\":40}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(500, "{\"Flag\":50}"), VERDICT_RETRY, "retry-flag"},
    {ANSWER(503, "{\"Flag\":41}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(503, "{\"Flag\":42}"), VERDICT_IN_DOUBT, "http-5xx"},
    {ANSWER(400, "{\"Flag\":60}"), VERDICT_ANSWERED, NULL},
    /* a success that the status denies */
    {ANSWER(300, "{\"Flag\":1}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(404, "{\"Flag\":\"1\"}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(401, "{\"Flag\":1}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(429, "{\"Flag\":1.0}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(401, ""), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(407, ""), VERDICT_ANSWERED, NULL},
    {ANSWER(408, ""), VERDICT_IN_DOUBT, "http-408"},
    {ANSWER(429, ""), VERDICT_THROTTLED, "throttled"},
    {ANSWER(499, ""), VERDICT_ANSWERED, NULL},
    {ANSWER(500, "{\"Flag\":1}"), VERDICT_IN_DOUBT, "contradictory-answer"},
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
    /* a success that the status denies, in an answer that cannot be read as a whole */
    {CUT(404, FAILURE_CUT, "{\"Flag\":1}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {CUT(429, FAILURE_RESET, "{\"Flag\" : \" 1.0 \",\"Msg\":\"86"), VERDICT_IN_DOUBT,
     "contradictory-answer"},
    {CUT(401, FAILURE_TIMEOUT, "{\"Msg\":\"\",\"Flag\":1"), VERDICT_IN_DOUBT,
     "contradictory-answer"},
    {CUT(302, FAILURE_OTHER, "{\"Flag\":1,\"x\":\"aaa"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(429, "{\"Flag\":1}x"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(401, "{\"Flag\":2,\"Flag\":1}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {CUT(429, FAILURE_CUT, "{\"Flag\":11,\"x\":1"), VERDICT_THROTTLED, "throttled"},
    {CUT(404, FAILURE_CUT, "{\"Flag\":\"1"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {CUT(404, FAILURE_CUT, "{\"Flag\""), VERDICT_ANSWERED, NULL},
    {CUT(404, FAILURE_CUT, "{\"Flag\":"), VERDICT_ANSWERED, NULL},
    {CUT(404, FAILURE_CUT, "{\"Flag\":[1],\"x\":"), VERDICT_ANSWERED, NULL},
    {ANSWER(404, "<p>{Flag: 1}</p>"), VERDICT_ANSWERED, NULL},
    {CUT(429, FAILURE_CUT, CUT_GZIP), VERDICT_IN_DOUBT, "contradictory-answer"},
    {CUT_CODED(429, "deflate", CUT_ZLIB), VERDICT_IN_DOUBT, "contradictory-answer"},
    {CUT_CODED(401, "", CUT_ZLIB), VERDICT_IN_DOUBT, "contradictory-answer"},
    {CUT_CODED(429, "deflate", CUT_DEFLATE), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(429, "{\"error\":\"x\",\"data\":{\"Flag\":1}}"), VERDICT_THROTTLED, "throttled"},
    {ANSWER(404, "{\"error\":\"x\",\"data\":{\"Flag\":1}}"), VERDICT_ANSWERED, NULL},
    {CUT(404, FAILURE_CUT, "{\"Flag\"x\"Flag\"x\"Flag\":1,"), VERDICT_IN_DOUBT,
     "contradictory-answer"},
    {CUT_CODED(429, "deflate", " {\"Flag\":1,"), VERDICT_IN_DOUBT, "contradictory-answer"},
};

static const struct row recordings[] = {
    {ANSWER(200, "{\"Flag\":60}"), VERDICT_RETRY, "recording-not-ready"},
    {ANSWER(200, "{\"Flag\":50}"), VERDICT_ANSWERED, NULL},
    {ANSWER(200, "{\"Flag\":40}"), VERDICT_UNAUTHORIZED, "unauthorized"},
    {ANSWER(200, "RIFF"), VERDICT_IN_DOUBT, "unreadable-answer"},
    {ANSWER(502, ""), VERDICT_IN_DOUBT, "http-5xx"},
    {ANSWER(404, "{\"Flag\":60}"), VERDICT_RETRY, "recording-not-ready"},
    {ANSWER(404, "{\"Flag\":2}"), VERDICT_ANSWERED, NULL},
    {ANSWER(404, "{\"Flag\":1}"), VERDICT_IN_DOUBT, "contradictory-answer"},
    {ANSWER(302, ""), VERDICT_IN_DOUBT, "recording-url-missing"},
    {MOVED(302, "", "ftp://h/f"), VERDICT_IN_DOUBT, "recording-url-missing"},
    {MOVED(301, "", "https://h/f"), VERDICT_ANSWERED, NULL},
    {MOVED(308, "{\"Flag\":1}", "http://h/f"), VERDICT_ANSWERED, NULL},
    {MOVED(302, "{\"Flag\":60}", "http://h/f"), VERDICT_RETRY, "recording-not-ready"},
    {MOVED(302, "{\"Flag\":40}", "http://h/f"), VERDICT_UNAUTHORIZED, "unauthorized"},
};

static bool reached[100]; /* the rows of the table */

static void check(enum request_kind kind, const struct row *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &table[i];
        struct outcome outcome = {0};
        struct classification classification;
        verdict_classify(&classification, &outcome, kind, &row->attempt, &config);
        if (classification.verdict != row->verdict ||
            strcmp(classification.code ? classification.code : "none",
                   row->code ? row->code : "none") != 0)
            fail_msg("kind %d, row %zu: verdict %d, code %s", kind, i, classification.verdict,
                     classification.code ? classification.code : "none");
        reached[classification.row] = true;
        bool filled =
            classification.verdict == VERDICT_ANSWERED || classification.verdict == VERDICT_RETRY;
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
                              .end_proven = true,
                              .is_file = true,
                              .file_size = 7,
                              .content_type = "audio/wav",
                              .file_type = "audio/wav",
                              .file_sha256 = "ab"};
    struct outcome outcome = {0};
    struct classification classification;
    verdict_classify(&classification, &outcome, REQUEST_RECORDING, &attempt, &config);
    assert_int_equal(classification.verdict, VERDICT_ANSWERED);
    assert_int_equal(outcome.status, STATUS_SUCCEEDED);
    assert_true(outcome.recording.present);
    assert_int_equal(outcome.recording.size, 7);
    assert_string_equal(outcome.recording.content_type, "audio/wav");
    assert_string_equal(outcome.recording.sha256, "ab");
    reached[classification.row] = true;
    outcome_fini(&outcome);
    attempt.end_proven = false;
    verdict_classify(&classification, &outcome, REQUEST_RECORDING, &attempt, &config);
    assert_int_equal(classification.verdict, VERDICT_IN_DOUBT);
    assert_string_equal(classification.code, "answer-cut");
    attempt.complete = false;
    attempt.failure = FAILURE_CUT;
    verdict_classify(&classification, &outcome, REQUEST_RECORDING, &attempt, &config);
    assert_int_equal(classification.verdict, VERDICT_IN_DOUBT);
}

/* A Flag of the platform's own making may be anything, a number too: no message has it. */
static void messages_name_listed_flags_only(void **state)
{
    (void)state;
    static const struct {
        struct attempt attempt;
        const char *message;
    } cases[] = {
        {ANSWER(403, "{\"Flag\":\"50\"}"),
         "the platform answered a Flag that allows another try (HTTP 403, Flag 50)"},
        {ANSWER(404, "{\"Flag\":1.0}"),
         "the platform answered success with a status that says otherwise (HTTP 404, Flag 1)"},
        {ANSWER(503, "{\"Flag\":\"18326070000\"}"), "the platform failed (HTTP 503)"},
        {ANSWER(401, "{\"Flag\":18326070000}"), "the platform does not accept platform.token, "
                                                "platform.app.id or the time (platform.utc.offset) "
                                                "(HTTP 401)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome outcome = {0};
        struct classification classification;
        verdict_classify(&classification, &outcome, REQUEST_CALL, &cases[i].attempt, &config);
        assert_string_equal(classification.message, cases[i].message);
        outcome_fini(&outcome);
    }
}

static void judge(struct attempt *attempt, struct classification *classification,
                  struct outcome *outcome)
{
    attempt->sends = 1;
    attempt->http_status = 200;
    attempt->complete = attempt->end_proven = true;
    *outcome = (struct outcome){0};
    verdict_classify(classification, outcome, REQUEST_RECORDING, attempt, &config);
}

static void copies_are_judged(void **state)
{
    (void)state;
    static const struct {
        enum attempt_copy copy;
        const char *code;
    } failures[] = {{COPY_TOO_LARGE, "answer-too-large"},
                    {COPY_URL_REFUSED, "recording-url-refused"},
                    {COPY_NOT_AUDIO, "not-a-recording"},
                    {COPY_DOWNLOAD_FAILED, "download-failed"},
                    {COPY_STORE_FAILED, "store-failed"}};
    struct attempt file = {.is_file = true, .file_size = 7, .file_uri = "file:///s/id.wav"};
    struct attempt url = {.file_size = 7,
                          .file_uri = "file:///s/id.wav",
                          .file_type = "audio/x",
                          BODY("{\"Flag\":1,\"Msg\":\"https://h/f\"}")};
    struct outcome outcome;
    struct classification classification;
    for (size_t i = 0; i < 5; i++) {
        file.copy = url.copy = failures[i].copy;
        judge(i % 2 ? &file : &url, &classification, &outcome);
        assert_int_equal(classification.verdict, i ? VERDICT_NOT_KEPT : VERDICT_TOO_LARGE);
        reached[classification.row] = true;
        assert_string_equal(classification.code, failures[i].code);
        assert_false(outcome.answered);
        assert_null(outcome.recording.url);
        outcome_fini(&outcome);
    }
    file.copy = url.copy = COPY_KEPT;
    judge(&file, &classification, &outcome);
    assert_int_equal(classification.verdict, VERDICT_ANSWERED);
    assert_string_equal(outcome.recording.uri, "file:///s/id.wav");
    assert_string_equal(outcome.recording.content_type, "application/octet-stream");
    outcome_fini(&outcome);
    judge(&url, &classification, &outcome);
    assert_int_equal(classification.verdict, VERDICT_ANSWERED);
    assert_string_equal(outcome.recording.uri, "file:///s/id.wav");
    assert_string_equal(outcome.recording.url, "https://h/f");
    assert_string_equal(outcome.recording.content_type, "audio/x");
    assert_true(outcome.recording.present);
    assert_int_equal(outcome.recording.size, 7);
    outcome_fini(&outcome);
    url.copy = COPY_NONE; /* there is no store: the URL alone is told */
    judge(&url, &classification, &outcome);
    assert_string_equal(outcome.recording.url, "https://h/f");
    assert_false(outcome.recording.present);
    outcome_fini(&outcome);
    struct attempt moved = {.location = "https://user:hush@h/f"};
    moved.sends = 1;
    moved.http_status = 302;
    verdict_classify(&classification, &outcome, REQUEST_RECORDING, &moved, &config);
    assert_int_equal(outcome.status, STATUS_SUCCEEDED);
    assert_string_equal(outcome.recording.url, "https://h/f");
    assert_null(outcome.error_code);
    assert_int_equal(outcome.http_status, 0);
    outcome_fini(&outcome);
}

/* With a store a success without a file is none. */
static void a_success_without_a_file(void **state)
{
    (void)state;
    struct attempt without[] = {{BODY("{\"Flag\":1,\"Msg\":\"ok\"}")},
                                {BODY("{\"Flag\":1,\"Msg\":\"ftp://h/f\"}")}};
    static const char *const codes[] = {"recording-url-missing", "recording-url-refused"};
    struct outcome outcome;
    struct classification classification;
    for (int i = 0; i < 2; i++) {
        judge(&without[i], &classification, &outcome);
        assert_int_equal(classification.verdict, VERDICT_ANSWERED);
        assert_null(outcome.recording.url);
        outcome_fini(&outcome);
        config.recording_store = "/s";
        judge(&without[i], &classification, &outcome);
        config.recording_store = NULL;
        assert_int_equal(classification.verdict, VERDICT_NOT_KEPT);
        assert_string_equal(classification.code, codes[i]);
        reached[classification.row] = true;
    }
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

static void read_document(struct text *document)
{
    char buffer[4096];
    FILE *file = open_page("docs/verdicts.md");
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        text_append(document, buffer, n);
    fclose(file);
}

/* docs/verdicts.md has the same table, row by row; and the cases above reach each row. */
static void the_document_has_the_same_table(void **state)
{
    (void)state;
    struct text document = {0}, table = {0};
    int row = 0;
    read_document(&document);
    text_add(&table, "|\n| --- | --- | --- | --- |\n");
    while (verdict_describe(row, &table)) {
        text_add(&table, "\n");
        if (!reached[row++])
            fail_msg("no case reaches row %d: %s", row - 1, table.data);
    }
    text_add(&table, "\n");
    if (!strstr(document.data, table.data))
        fail_msg("docs/verdicts.md has to have:\n%s", table.data);
    text_fini(&document);
    text_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_judged),
        cmocka_unit_test(recordings_are_judged),
        cmocka_unit_test(messages_name_listed_flags_only),
        cmocka_unit_test(a_file_succeeds),
        cmocka_unit_test(copies_are_judged),
        cmocka_unit_test(a_success_without_a_file),
        cmocka_unit_test(urls_of_files),
        cmocka_unit_test(the_document_has_the_same_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
