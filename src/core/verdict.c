#include "core/verdict.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "core/answer.h"

#define NOT_SENT     VERDICT_NOT_SENT
#define LEASE_OVER   VERDICT_LEASE_OVER
#define IN_DOUBT     VERDICT_IN_DOUBT
#define ANSWERED     VERDICT_ANSWERED
#define UNAUTHORIZED VERDICT_UNAUTHORIZED
#define THROTTLED    VERDICT_THROTTLED
#define RETRY        VERDICT_RETRY
#define NOT_KEPT     VERDICT_NOT_KEPT
#define TOO_LARGE    VERDICT_TOO_LARGE
#define NEVER        VERDICTS /* impossible for this kind of request */

#define AUTH_WORDS                                                                                 \
    "the platform does not accept platform.token, platform.app.id or the time "                    \
    "(platform.utc.offset)"

/* Every end of a try: its name, what happened, the error's code and text (NULL: from the answer),
 * and the verdicts for a call and for a recording. */
/* clang-format off */
#define ROWS(X)                                                                                                       \
    X(resolve, "never sent: the host name could not be resolved", "name-not-found",                                   \
      "the platform's host name could not be resolved", NOT_SENT, NOT_SENT)                                           \
    X(connect, "never sent: no connection could be made", "connect-failed",                                           \
      "no connection to the platform could be made", NOT_SENT, NOT_SENT)                                              \
    X(connect_timeout, "never sent: connecting took too long", "connect-timeout",                                     \
      "connecting to the platform took too long", NOT_SENT, NOT_SENT)                                                 \
    X(tls, "never sent: the TLS handshake failed", "tls-failed",                                                      \
      "the TLS handshake with the platform failed", NOT_SENT, NOT_SENT)                                               \
    X(certificate, "never sent: the certificate is not trusted", "certificate-rejected",                              \
      "the platform's certificate is not trusted", NOT_SENT, NOT_SENT)                                                \
    X(client_certificate, "never read: the platform's TLS wants a client certificate, or another one",                \
      "client-certificate-refused", "the platform wants a client certificate, or another one", NOT_SENT, NOT_SENT)    \
    X(not_sent, "never sent, for another reason", "not-sent", "the request was not sent", NOT_SENT, NOT_SENT)         \
    X(lease_over, "never sent: the worker may not send any more without a new lease", "lease-over",                   \
      "the request may not be sent any more without a new lease", LEASE_OVER, LEASE_OVER)                             \
    X(silent_timeout, "sent, and no answer in time", "timeout", "no whole answer came in time", IN_DOUBT, IN_DOUBT)   \
    X(silent_reset, "sent, and the connection broke before a status line came", "connection-reset",                   \
      "the connection broke before a whole answer came", IN_DOUBT, IN_DOUBT)                                          \
    X(silent_closed, "sent, and the connection was closed unanswered", "connection-closed",                           \
      "the platform closed the connection unanswered", IN_DOUBT, IN_DOUBT)                                            \
    X(silent_stopped, "sent, and the worker ended before an answer came", "worker-stopped",                           \
      "the worker stopped while the call was outstanding", IN_DOUBT, IN_DOUBT)                                        \
    X(silent_other, "sent, and what came is no HTTP", "unreadable-answer", "the answer cannot be read",               \
      IN_DOUBT, IN_DOUBT)                                                                                             \
    X(auth_flag, "any status with a `Flag` of `platform.auth.flags`", "unauthorized", AUTH_WORDS,                     \
      UNAUTHORIZED, UNAUTHORIZED)                                                                                     \
    X(retry_flag, "any status with a `Flag` of `call.retry.flags`", "retry-flag",                                     \
      "the platform answered a Flag that allows another try", RETRY, NEVER)                                           \
    X(not_ready, "any status with a `Flag` of `recording.retry.flags`", "recording-not-ready",                        \
      "the platform has no recording of that call yet", NEVER, RETRY)                                                 \
    X(success, "2xx with `Flag` 1", NULL, NULL, ANSWERED, ANSWERED)                                                   \
    X(file, "2xx that is audio, whole", NULL, NULL, NEVER, ANSWERED)                                                  \
    X(redirected, "3xx with a `Location` that is an `http(s)` URL", NULL, NULL, NEVER, ANSWERED)                      \
    X(contradiction, "`Flag` 1 with any other status", "contradictory-answer",                                        \
      "the platform answered success with a status that says otherwise", IN_DOUBT, IN_DOUBT)                          \
    X(refusal, "2xx with another `Flag`", "refused", NULL, ANSWERED, ANSWERED)                                        \
    X(unreadable, "2xx that is unreadable", "unreadable-answer", "the answer cannot be read", IN_DOUBT, IN_DOUBT)     \
    X(cut, "2xx whose body broke off, or a file whose end nothing proves", "answer-cut",                              \
      "the connection ended in the middle of the answer", IN_DOUBT, IN_DOUBT)                                         \
    X(cut_timeout, "2xx whose body did not come in time", "timeout", "no whole answer came in time",                  \
      IN_DOUBT, IN_DOUBT)                                                                                             \
    X(cut_stopped, "2xx, and the worker ended before the whole body came", "worker-stopped",                          \
      "the worker stopped while the call was outstanding", IN_DOUBT, IN_DOUBT)                                        \
    X(too_long, "2xx with more than `platform.answer.max.bytes`", "answer-too-large",                                 \
      "the answer is longer than allowed", IN_DOUBT, IN_DOUBT)                                                        \
    X(http_401, "401", "unauthorized", AUTH_WORDS, UNAUTHORIZED, UNAUTHORIZED)                                        \
    X(http_429, "429", "throttled", "the platform asked for fewer requests", THROTTLED, THROTTLED)                    \
    X(http_408, "408", "http-408", "the platform did not see the whole request in time", IN_DOUBT, IN_DOUBT)          \
    X(http_5xx, "5xx", "http-5xx", "the platform failed", IN_DOUBT, IN_DOUBT)                                         \
    X(http_3xx, "3xx", "refused", NULL, ANSWERED, NEVER)                                                              \
    X(no_location, "3xx without a `Location` that is an `http(s)` URL", "recording-url-missing",                      \
      "the answer gives no URL of a file", NEVER, IN_DOUBT)                                                           \
    X(http_4xx, "another 4xx", "refused", NULL, ANSWERED, ANSWERED)                                                   \
    X(http_other, "a status that HTTP does not know", "unreadable-answer", "the answer cannot be read",               \
      IN_DOUBT, IN_DOUBT)                                                                                             \
    X(no_url, "with a store: success without the URL of a file", "recording-url-missing",                             \
      "the answer gives no URL of a file", NEVER, NOT_KEPT)                                                           \
    X(url_refused, "with a store: a URL that may not be fetched", "recording-url-refused",                            \
      "the recording's file may not be fetched from there", NEVER, NOT_KEPT)                                          \
    X(not_fetched, "with a store: the file cannot be fetched as a whole", "download-failed",                          \
      "the recording's file could not be fetched", NEVER, NOT_KEPT)                                                   \
    X(not_audio, "with a store: what is behind the URL is no audio", "not-a-recording",                               \
      "what the platform gives as a recording is none", NEVER, NOT_KEPT)                                              \
    X(not_stored, "with a store: the file cannot be written", "store-failed",                                         \
      "the recording's file could not be kept", NEVER, NOT_KEPT)                                                      \
    X(file_too_large, "a file larger than `recording.max.bytes`", "answer-too-large",                                 \
      "the answer is longer than allowed", NEVER, TOO_LARGE)
/* clang-format on */

enum row {
#define X(name, what, code, words, call, recording) ROW_##name,
    ROWS(X)
#undef X
        ROW_COUNT
};

/* A kind of request without a column is in doubt. */
_Static_assert(VERDICT_IN_DOUBT == 0, "what nobody judged must not be sent again");
static const struct {
    const char *what, *code, *words;
    enum verdict verdicts[REQUEST_KINDS];
} rows[] = {
#define X(name, what, code, words, call, recording) {what, code, words, {call, recording}},
    ROWS(X)
#undef X
};

const char *verdict_code(size_t index)
{
    for (size_t row = 0; row < ROW_COUNT; row++)
        if (rows[row].code && index-- == 0)
            return rows[row].code;
    return NULL;
}

/* ---- the table as a document */

static const char *status_after(enum row row, enum request_kind kind)
{
    bool refusal = rows[row].code;
    switch (rows[row].verdicts[kind]) {
    case VERDICT_NOT_SENT:
    case VERDICT_UNAUTHORIZED:
    case VERDICT_THROTTLED:
    case VERDICT_NOT_KEPT:
        return "tried again, then `unavailable`";
    case VERDICT_LEASE_OVER:
        return "given back, not counted as a try";
    case VERDICT_IN_DOUBT:
        return kind == REQUEST_CALL ? "`unknown`" : "tried again, then `unavailable`";
    case VERDICT_ANSWERED:
        return refusal ? "`refused`" : "`succeeded`";
    case VERDICT_RETRY:
        return kind == REQUEST_CALL ? "tried again, then `refused`"
                                    : "tried again, then `unavailable`";
    case VERDICT_TOO_LARGE:
        return "`unavailable` at once";
    case VERDICTS:
        break;
    }
    return "";
}

bool verdict_describe(int row, struct text *line)
{
    if (row >= ROW_COUNT)
        return false;
    const char *code = rows[row].code ? rows[row].code : "", *tick = *code ? "`" : "";
    text_printf(line, "| %s | %s%s%s | %s | %s |", rows[row].what, tick, code, tick,
                status_after((enum row)row, REQUEST_CALL),
                status_after((enum row)row, REQUEST_RECORDING));
    return true;
}

/* ---- findings */

static enum row unsent_row(enum attempt_failure failure)
{
    switch (failure) {
    case FAILURE_RESOLVE:
        return ROW_resolve;
    case FAILURE_CONNECT:
    case FAILURE_RESET:
    case FAILURE_NO_ANSWER:
    case FAILURE_CUT:
        return ROW_connect;
    case FAILURE_TLS:
        return ROW_tls;
    case FAILURE_CERTIFICATE:
        return ROW_certificate;
    case FAILURE_CLIENT_CERTIFICATE:
        return ROW_client_certificate;
    case FAILURE_TIMEOUT:
        return ROW_connect_timeout;
    case FAILURE_NONE:
    case FAILURE_STOPPED:
    case FAILURE_OTHER:
        break;
    }
    return ROW_not_sent;
}

/* Sent, but without a complete status line. */
static enum row silence_row(const struct attempt *attempt)
{
    if (attempt->resend_blocked)
        return ROW_silent_closed;
    switch (attempt->failure) {
    case FAILURE_TIMEOUT:
        return ROW_silent_timeout;
    case FAILURE_NO_ANSWER:
        return ROW_silent_closed;
    case FAILURE_STOPPED:
        return ROW_silent_stopped;
    case FAILURE_OTHER:
    case FAILURE_NONE:
        return ROW_silent_other;
    default:
        return ROW_silent_reset;
    }
}

/* A 2xx whose body is incomplete. */
static enum row cut_row(const struct attempt *attempt)
{
    if (attempt->too_large)
        return ROW_too_long;
    switch (attempt->failure) {
    case FAILURE_TIMEOUT:
        return ROW_cut_timeout;
    case FAILURE_STOPPED:
        return ROW_cut_stopped;
    case FAILURE_RESET:
    case FAILURE_CUT:
        return ROW_cut;
    default:
        return ROW_unreadable;
    }
}

static enum row copy_row(enum attempt_copy copy)
{
    switch (copy) {
    case COPY_NONE:
    case COPY_KEPT:
        break;
    case COPY_TOO_LARGE:
        return ROW_file_too_large;
    case COPY_DOWNLOAD_FAILED:
        return ROW_not_fetched;
    case COPY_URL_REFUSED:
        return ROW_url_refused;
    case COPY_NOT_AUDIO:
        return ROW_not_audio;
    case COPY_STORE_FAILED:
        return ROW_not_stored;
    }
    return ROW_file;
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

static bool is_one(const struct outcome *outcome)
{
    bool is_integer;
    return answer_flag(outcome, &is_integer) == 1;
}

static bool is_success(int status)
{
    return status >= 200 && status < 300;
}

static bool has_location(enum request_kind kind, const struct attempt *attempt)
{
    int status = attempt->http_status;
    return kind == REQUEST_RECORDING && status >= 300 && status < 400 && attempt->location &&
           recording_url_is_http(attempt->location);
}

/* The row of an answer with a Flag, which is in the outcome. Listed Flags count with any status.
 * Otherwise the status alone decides, except for a success that contradicts it. */
static enum row flag_row(const struct outcome *outcome, enum request_kind kind,
                         const struct attempt *attempt, const struct config *config,
                         enum row by_status)
{
    if (listed(&config->platform_auth_flags, outcome))
        return ROW_auth_flag;
    if (kind == REQUEST_CALL && listed(&config->call_retry_flags, outcome))
        return ROW_retry_flag;
    if (kind == REQUEST_RECORDING && listed(&config->recording_retry_flags, outcome))
        return ROW_not_ready;
    if (is_success(attempt->http_status))
        return is_one(outcome) ? ROW_success : ROW_refusal;
    return is_one(outcome) && by_status != ROW_redirected ? ROW_contradiction : by_status;
}

static enum row status_row(enum request_kind kind, const struct attempt *attempt)
{
    int status = attempt->http_status;
    if (is_success(status))
        return ROW_unreadable;
    if (status == 401)
        return ROW_http_401;
    if (status == 429)
        return ROW_http_429;
    if (status == 408)
        return ROW_http_408;
    if (status >= 500 && status < 600)
        return ROW_http_5xx;
    if (status < 200 || status >= 600)
        return ROW_http_other;
    if (status >= 400)
        return ROW_http_4xx;
    if (kind == REQUEST_CALL)
        return ROW_http_3xx;
    return has_location(kind, attempt) ? ROW_redirected : ROW_no_location;
}

/* The row of an answer that is not a file, and the reason. If the answer is read, the outcome is
 * filled. */
static enum row answer_row(struct outcome *outcome, enum request_kind kind,
                           const struct attempt *attempt, const struct config *config,
                           const char **reason)
{
    enum row row = status_row(kind, attempt);
    if (attempt->too_large)
        *reason = NULL;
    int read = attempt->complete ? answer_read(outcome, kind, attempt, config, reason) : -1;
    if (read == 0)
        return flag_row(outcome, kind, attempt, config, row);
    if (is_success(attempt->http_status))
        return attempt->complete ? row : cut_row(attempt);
    if (attempt->complete)
        *reason = NULL;
    /* A call that may have been performed is not sent again for a damaged answer. In an answer that
     * is not damaged, a Flag inside another member is not the answer's. */
    bool shown = read < 0 && row != ROW_redirected && answer_shows_success(attempt, config);
    return shown ? ROW_contradiction : row;
}

/* With a store, a successful answer must end with a stored file. */
static enum row with_store(enum row row, const struct attempt *attempt, const struct config *config,
                           const char **reason)
{
    struct text url = {0};
    if (attempt->copy != COPY_NONE) {
        enum row copied = copy_row(attempt->copy);
        *reason = attempt->copy_detail;
        return copied == ROW_file ? row : copied;
    }
    if (!config->recording_store || row == ROW_redirected)
        return row;
    enum recording_url found = answer_file_url(&url, attempt, config);
    text_fini(&url);
    if (found == RECORDING_URL_FOUND) /* the file was not requested, because the thread ends */
        return ROW_not_fetched;
    *reason = found == RECORDING_URL_UNUSABLE ? "it is no http or https URL" : NULL;
    return found == RECORDING_URL_UNUSABLE ? ROW_url_refused : ROW_no_url;
}

static enum row file_row(const struct attempt *attempt, const char **reason)
{
    *reason = attempt->copy_detail;
    if (copy_row(attempt->copy) != ROW_file)
        return copy_row(attempt->copy);
    *reason = attempt->detail;
    if (!attempt->complete)
        return cut_row(attempt);
    *reason = "nothing proves that it is whole";
    return attempt->end_proven ? ROW_file : ROW_cut;
}

static enum row classify(struct outcome *outcome, enum request_kind kind,
                         const struct attempt *attempt, const struct config *config,
                         const char **reason)
{
    *reason = attempt->detail;
    if (attempt->sends == 0 && (attempt->lease_over || attempt->failure == FAILURE_STOPPED))
        return ROW_lease_over;
    if (attempt->sends == 0)
        return unsent_row(attempt->failure);
    if (attempt->http_status == 0 || attempt->resend_blocked)
        return silence_row(attempt);
    if (attempt->is_file)
        return file_row(attempt, reason);
    enum row row = answer_row(outcome, kind, attempt, config, reason);
    if (kind == REQUEST_RECORDING && (row == ROW_success || row == ROW_redirected))
        row = with_store(row, attempt, config, reason);
    return row;
}

/* Fills the recording's part of a success. */
static void fill_recording(struct outcome *outcome, const struct attempt *attempt)
{
    struct recording *recording = &outcome->recording;
    const char *type = *attempt->file_type ? attempt->file_type : "application/octet-stream";
    if (attempt->copy == COPY_KEPT)
        recording->uri = memory_string(attempt->file_uri);
    if (!attempt->is_file && attempt->copy != COPY_KEPT)
        return;
    recording->present = true;
    recording->size = attempt->file_size;
    recording->content_type = memory_string(type);
    memcpy(recording->sha256, attempt->file_sha256, sizeof recording->sha256);
}

static void fill_outcome(struct outcome *outcome, enum request_kind kind,
                         const struct attempt *attempt, const struct config *config, enum row row)
{
    outcome->answered = true;
    if (rows[row].code) {
        if (!outcome->error_code)
            answer_refused(outcome, kind, attempt, config);
        return;
    }
    if (row == ROW_redirected) {
        outcome_fini(outcome);
        outcome->answered = true;
        outcome->recording.url = memory_string(attempt->location);
        size_t size = strlen(attempt->location);
        outcome->recording.url[recording_url_drop_users(outcome->recording.url, size)] = '\0';
    }
    outcome->status = STATUS_SUCCEEDED;
    if (kind == REQUEST_RECORDING)
        fill_recording(outcome, attempt);
}

static void describe(struct classification *classification, enum row row,
                     const struct attempt *attempt, const struct outcome *outcome,
                     const char *reason)
{
    char flag[48];
    bool is_integer, by_flag = row == ROW_auth_flag || row == ROW_retry_flag ||
                               row == ROW_not_ready || row == ROW_contradiction;
    int64_t value = by_flag && outcome->flag_json ? answer_flag(outcome, &is_integer) : 1;
    if (by_flag) { /* any other Flag may be any text of the platform. A contradiction's is 1 */
        snprintf(flag, sizeof flag, "Flag %" PRId64, value);
        reason = flag;
    }
    char status[32] = "";
    bool told = reason && *reason;
    if (!is_success(attempt->http_status) && attempt->http_status)
        snprintf(status, sizeof status, "HTTP %d", attempt->http_status);
    bool both = told && *status;
    snprintf(classification->message, sizeof classification->message, "%s%s%s%s%s%s",
             rows[row].words ? rows[row].words : "", told || *status ? " (" : "", status,
             both ? ", " : "", told ? reason : "", told || *status ? ")" : "");
}

void verdict_classify(struct classification *classification, struct outcome *outcome,
                      enum request_kind kind, const struct attempt *attempt,
                      const struct config *config)
{
    const char *reason;
    enum row row = classify(outcome, kind, attempt, config, &reason);
    enum verdict verdict = rows[row].verdicts[kind];
    assert(verdict < VERDICTS);
    *classification = (struct classification){.verdict = verdict, .row = row};
    if (verdict == VERDICT_ANSWERED) {
        fill_outcome(outcome, kind, attempt, config, row);
        return;
    }
    classification->code = rows[row].code;
    describe(classification, row, attempt, outcome, reason);
    if (verdict != VERDICT_RETRY)
        outcome_fini(outcome);
}

char *verdict_file_url(const struct attempt *attempt, const struct config *config)
{
    struct outcome outcome = {0};
    const char *unused;
    struct text url = {0};
    enum row row = answer_row(&outcome, REQUEST_RECORDING, attempt, config, &unused);
    outcome_fini(&outcome);
    if (attempt->sends == 0 || attempt->resend_blocked)
        return NULL;
    if (row == ROW_redirected)
        return memory_string(attempt->location);
    if (row != ROW_success || answer_file_url(&url, attempt, config) != RECORDING_URL_FOUND)
        return NULL;
    return text_take(&url);
}
