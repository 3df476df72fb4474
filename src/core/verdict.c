#include "core/verdict.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "core/answer.h"

/* One row for each code: what it is called in a result, and in words. */
#define CODES(X)                                                                                   \
    X(name_not_found, "name-not-found", "the platform's host name could not be resolved")          \
    X(connect_failed, "connect-failed", "no connection to the platform could be made")             \
    X(connect_timeout, "connect-timeout", "connecting to the platform took too long")              \
    X(tls_failed, "tls-failed", "the TLS handshake with the platform failed")                      \
    X(certificate_rejected, "certificate-rejected", "the platform's certificate is not trusted")   \
    X(not_sent, "not-sent", "the request was not sent")                                            \
    X(lease_over, "lease-over", "the request may not be sent any more without a new lease")        \
    X(timeout, "timeout", "no whole answer came in time")                                          \
    X(connection_reset, "connection-reset", "the connection broke before a whole answer came")     \
    X(connection_closed, "connection-closed", "the platform closed the connection unanswered")     \
    X(answer_cut, "answer-cut", "the connection ended in the middle of the answer")                \
    X(answer_too_large, "answer-too-large", "the answer is longer than allowed")                   \
    X(unreadable_answer, "unreadable-answer", "the answer cannot be read")                         \
    X(http_5xx, "http-5xx", "the platform failed")                                                 \
    X(http_408, "http-408", "the platform did not see the whole request in time")                  \
    X(worker_stopped, "worker-stopped", "the worker stopped while the call was outstanding")       \
    X(unauthorized, "unauthorized", "the platform does not accept the credentials")                \
    X(throttled, "throttled", "the platform asked for fewer requests")                             \
    X(retry_flag, "retry-flag", "the platform answered a Flag that allows another try")            \
    X(not_ready, "recording-not-ready", "the platform has no recording of that call yet")          \
    X(download_failed, "download-failed", "the recording's file could not be fetched")             \
    X(url_refused, "recording-url-refused", "the recording's file may not be fetched from there")  \
    X(store_failed, "store-failed", "the recording's file could not be kept")

enum code_index {
#define X(name, code, words) CODE_##name,
    CODES(X)
#undef X
        CODE_COUNT
};

static const struct {
    const char *code, *words;
} verdict_codes[] = {
#define X(name, code, words) {code, words},
    CODES(X)
#undef X
};

const char *verdict_code(size_t index)
{
    return index < CODE_COUNT ? verdict_codes[index].code : NULL;
}

static void find(struct finding *finding, enum verdict verdict, enum code_index index,
                 const char *detail)
{
    finding->verdict = verdict;
    finding->code = verdict_codes[index].code;
    snprintf(finding->message, sizeof finding->message, "%s%s%s%s", verdict_codes[index].words,
             detail && *detail ? " (" : "", detail ? detail : "", detail && *detail ? ")" : "");
}

static void find_status(struct finding *finding, enum verdict verdict, enum code_index index,
                        int http_status)
{
    char detail[32];
    snprintf(detail, sizeof detail, "HTTP %d", http_status);
    find(finding, verdict, index, detail);
}

static enum code_index unsent_code(enum attempt_failure failure)
{
    switch (failure) {
    case FAILURE_RESOLVE:
        return CODE_name_not_found;
    case FAILURE_CONNECT:
    case FAILURE_RESET:
    case FAILURE_NO_ANSWER:
    case FAILURE_CUT:
        return CODE_connect_failed;
    case FAILURE_TLS:
        return CODE_tls_failed;
    case FAILURE_CERTIFICATE:
        return CODE_certificate_rejected;
    case FAILURE_TIMEOUT:
        return CODE_connect_timeout;
    case FAILURE_NONE:
    case FAILURE_STOPPED:
    case FAILURE_OTHER:
        break;
    }
    return CODE_not_sent;
}

/* Sent, but without a complete status line. */
static enum code_index silence_code(const struct attempt *attempt)
{
    if (attempt->latched)
        return CODE_connection_closed;
    switch (attempt->failure) {
    case FAILURE_TIMEOUT:
        return CODE_timeout;
    case FAILURE_NO_ANSWER:
        return CODE_connection_closed;
    case FAILURE_STOPPED:
        return CODE_worker_stopped;
    case FAILURE_OTHER:
    case FAILURE_NONE:
        return CODE_unreadable_answer;
    default:
        return CODE_connection_reset;
    }
}

/* A 2xx whose body did not arrive as a whole. */
static enum code_index cut_code(const struct attempt *attempt)
{
    if (attempt->too_large)
        return CODE_answer_too_large;
    switch (attempt->failure) {
    case FAILURE_TIMEOUT:
        return CODE_timeout;
    case FAILURE_STOPPED:
        return CODE_worker_stopped;
    case FAILURE_RESET:
    case FAILURE_CUT:
        return CODE_answer_cut;
    default:
        return CODE_unreadable_answer;
    }
}

static bool listed(const struct integers *list, const struct outcome *outcome)
{
    bool is_integer;
    int64_t flag = answer_flag(outcome, &is_integer);
    for (size_t i = 0; is_integer && i < list->count; i++)
        if (list->values[i] == flag)
            return true;
    return false;
}

/* The platform has given the recording: what became of its file. */
static void judge_copy(struct finding *finding, struct outcome *outcome,
                       const struct attempt *attempt)
{
    struct recording *recording = &outcome->recording;
    const char *type = *attempt->file_type ? attempt->file_type : "application/octet-stream";
    switch (attempt->copy) {
    case COPY_TOO_LARGE:
        find(finding, VERDICT_NOT_KEPT, CODE_answer_too_large, attempt->copy_detail);
        outcome_fini(outcome);
        return;
    case COPY_DOWNLOAD_FAILED:
        find(finding, VERDICT_NOT_KEPT, CODE_download_failed, attempt->copy_detail);
        outcome_fini(outcome);
        return;
    case COPY_URL_REFUSED:
        find(finding, VERDICT_NOT_KEPT, CODE_url_refused, attempt->copy_detail);
        outcome_fini(outcome);
        return;
    case COPY_STORE_FAILED:
        find(finding, VERDICT_NOT_KEPT, CODE_store_failed, attempt->copy_detail);
        outcome_fini(outcome);
        return;
    case COPY_KEPT:
        recording->uri = memory_string(attempt->file_uri);
        break;
    case COPY_NONE:
        break;
    }
    if (!attempt->is_file && attempt->copy != COPY_KEPT)
        return;
    recording->present = true;
    recording->size = attempt->file_size;
    recording->content_type = memory_string(type);
    memcpy(recording->sha256, attempt->file_sha256, sizeof recording->sha256);
}

static void judge_file(struct finding *finding, struct outcome *outcome,
                       const struct attempt *attempt)
{
    *finding = (struct finding){.verdict = VERDICT_ANSWERED};
    outcome->status = STATUS_SUCCEEDED;
    outcome->answered = true;
    judge_copy(finding, outcome, attempt);
}

static void judge_success(struct finding *finding, struct outcome *outcome, enum request_kind kind,
                          const struct attempt *attempt, const struct config *config)
{
    const char *reason = NULL;
    if (!attempt->complete) {
        find(finding, VERDICT_IN_DOUBT, cut_code(attempt),
             attempt->too_large ? "" : attempt->detail);
        return;
    }
    if (attempt->is_file) {
        judge_file(finding, outcome, attempt);
        return;
    }
    if (answer_read(outcome, kind, attempt->body, attempt->body_size, &reason)) {
        find(finding, VERDICT_IN_DOUBT, CODE_unreadable_answer, reason);
        return;
    }
    outcome->answered = true;
    *finding = (struct finding){.verdict = VERDICT_ANSWERED};
    if (outcome->status == STATUS_SUCCEEDED) {
        judge_copy(finding, outcome, attempt);
        return;
    }
    if (listed(&config->platform_auth_flags, outcome)) {
        char detail[64];
        snprintf(detail, sizeof detail, "Flag %.40s", outcome->flag_json);
        find(finding, VERDICT_UNAUTHORIZED, CODE_unauthorized, detail);
        outcome_fini(outcome);
    } else if (kind == REQUEST_CALL && listed(&config->call_retry_flags, outcome)) {
        find(finding, VERDICT_RETRY, CODE_retry_flag, NULL);
    } else if (kind == REQUEST_RECORDING && listed(&config->recording_retry_flags, outcome)) {
        find(finding, VERDICT_RETRY, CODE_not_ready, NULL);
    }
}

static void judge_status(struct finding *finding, struct outcome *outcome, enum request_kind kind,
                         const struct attempt *attempt, const struct config *config)
{
    int status = attempt->http_status;
    if (status >= 200 && status < 300)
        judge_success(finding, outcome, kind, attempt, config);
    else if (status == 401)
        find_status(finding, VERDICT_UNAUTHORIZED, CODE_unauthorized, status);
    else if (status == 429)
        find_status(finding, VERDICT_THROTTLED, CODE_throttled, status);
    else if (status == 408)
        find_status(finding, VERDICT_IN_DOUBT, CODE_http_408, status);
    else if (status >= 500 && status < 600)
        find_status(finding, VERDICT_IN_DOUBT, CODE_http_5xx, status);
    else if (status < 200 || status >= 600)
        find_status(finding, VERDICT_IN_DOUBT, CODE_unreadable_answer, status);
    else {
        *finding = (struct finding){.verdict = VERDICT_ANSWERED};
        answer_refused(outcome, kind, status, attempt->body, attempt->body_size);
        outcome->answered = true;
    }
}

void verdict_reach(struct finding *finding, struct outcome *outcome, enum request_kind kind,
                   const struct attempt *attempt, const struct config *config)
{
    if (attempt->sends == 0 && (attempt->lease_over || attempt->failure == FAILURE_STOPPED))
        find(finding, VERDICT_LEASE_OVER, CODE_lease_over, NULL);
    else if (attempt->sends == 0)
        find(finding, VERDICT_NOT_SENT, unsent_code(attempt->failure), attempt->detail);
    else if (attempt->http_status == 0 || attempt->latched)
        find(finding, VERDICT_IN_DOUBT, silence_code(attempt), attempt->detail);
    else
        judge_status(finding, outcome, kind, attempt, config);
}

char *verdict_file_url(const struct attempt *attempt, const struct config *config)
{
    struct finding finding;
    struct outcome outcome = {0};
    verdict_reach(&finding, &outcome, REQUEST_RECORDING, attempt, config);
    bool given = finding.verdict == VERDICT_ANSWERED && outcome.status == STATUS_SUCCEEDED;
    char *url = given && outcome.recording.url ? memory_string(outcome.recording.url) : NULL;
    outcome_fini(&outcome);
    return url;
}

static bool starts(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

bool verdict_is_file(enum request_kind kind, int http_status, const char *content_type,
                     char first_byte)
{
    if (kind != REQUEST_RECORDING || http_status < 200 || http_status > 299)
        return false;
    if (starts(content_type, "audio/") || starts(content_type, "video/"))
        return true;
    bool untold = !*content_type || starts(content_type, "application/octet-stream") ||
                  starts(content_type, "binary/octet-stream");
    return untold && first_byte != '{' && first_byte != ' ' && first_byte != '\t' &&
           first_byte != '\r' && first_byte != '\n';
}
