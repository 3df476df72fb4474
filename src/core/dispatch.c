#include "core/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/backoff.h"

enum {
    LONGEST_RETRY_AFTER_MS = 3600000, /* a longer Retry-After is cut to this */
    SWEEP_MS = 100,       /* a call that has waited too long ends at most that much later */
    TRY_WEIGHT = 16,      /* weight of the old mean in the mean duration of tries */
    RATE_AHEAD_MS = 1000, /* that much time's worth of calls may wait for the rate limit */
    KEPT_MAX = 1024,      /* largest answer that is kept while its call waits for another try */
};

static struct request *request_at(struct list *node)
{
    return list_of(node, struct request, dispatch_node);
}

int64_t dispatch_recordings(const struct config *config)
{
    bool calls_too = *config->request_topics[REQUEST_CALL];
    int64_t slots = config->platform_max_in_flight - calls_too;
    int64_t most = config->recording_max_in_flight;
    return slots < 1 ? 1 : most < slots ? most : slots;
}

void dispatch_init(struct dispatch *dispatch, const struct config *config,
                   uint64_t (*random)(void *argument), void *argument)
{
    *dispatch = (struct dispatch){
        .config = config,
        .random = random,
        .random_argument = argument,
        .limit = config->platform_max_in_flight,
        .overdue = {config->call_max_age_ms, config->call_deadline_ms},
    };
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        list_init(&dispatch->waiting[kind]);
    list_init(&dispatch->flying);
    list_init(&dispatch->done);
    breaker_init(&dispatch->breaker, config->platform_breaker_failures,
                 config->platform_breaker_open_ms);
    limiter_init(&dispatch->limiter, config->platform_rate_per_second);
}

static void give_back(struct dispatch *dispatch, struct request *request, enum call_end end)
{
    list_remove(&request->dispatch_node);
    list_append(&dispatch->done, &request->dispatch_node);
    request->call.end = end;
}

void dispatch_add(struct dispatch *dispatch, struct request *request)
{
    list_init(&request->dispatch_node);
    if (dispatch->stopped[request->position.kind])
        give_back(dispatch, request, CALL_RETURNED);
    else
        list_append(&dispatch->waiting[request->position.kind], &request->dispatch_node);
}

static bool belongs(const struct request *request, enum request_kind kind, int32_t partition)
{
    return request->position.kind == kind &&
           (partition == DISPATCH_ALL || request->position.partition == partition);
}

void dispatch_recall(struct dispatch *dispatch, enum request_kind kind, int32_t partition)
{
    if (partition == DISPATCH_ALL)
        dispatch->stopped[kind] = true;
    list_each_safe(node, &dispatch->waiting[kind])
    {
        if (belongs(request_at(node), kind, partition))
            give_back(dispatch, request_at(node), CALL_RETURNED);
    }
    list_each(node, &dispatch->flying)
    {
        if (belongs(request_at(node), kind, partition))
            request_at(node)->call.lease_until_ms = 0;
    }
}

void dispatch_return_waiting(struct dispatch *dispatch)
{
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        while (!list_empty(&dispatch->waiting[kind]))
            give_back(dispatch, request_at(dispatch->waiting[kind].next), CALL_RETURNED);
}

/* Ends a waiting call that may not be made any more. */
static bool end_overdue(struct dispatch *dispatch, struct request *request, int64_t now_ms,
                        int64_t wall_ms)
{
    if (request->call.lease_until_ms < now_ms)
        give_back(dispatch, request, CALL_RETURNED);
    else if (overdue_end(request, &dispatch->overdue, now_ms, wall_ms))
        give_back(dispatch, request, CALL_FINISHED);
    else
        return false;
    return true;
}

/* Called when nothing may be sent. Calls go back, so that none stays marked as started in the
 * ledger. Recordings have no such mark, and wait. */
static void return_waiting(struct dispatch *dispatch)
{
    struct list *calls = &dispatch->waiting[REQUEST_CALL];
    while (!list_empty(calls))
        give_back(dispatch, request_at(calls->next), CALL_RETURNED);
}

/* Ends calls that have waited too long: each time the first ones, which might be sent now, and now
 * and then all of them. (Recordings may wait.) */
static void sweep(struct dispatch *dispatch, int64_t now_ms, int64_t wall_ms)
{
    bool all = now_ms >= dispatch->sweep_at_ms;
    if (all)
        dispatch->sweep_at_ms = now_ms + SWEEP_MS;
    list_each_safe(node, &dispatch->waiting[REQUEST_CALL])
    {
        if (!end_overdue(dispatch, request_at(node), now_ms, wall_ms) && !all)
            return;
    }
}

static bool has_slot(const struct dispatch *dispatch, enum request_kind kind)
{
    const struct config *config = dispatch->config;
    int64_t calls = dispatch->in_flight[REQUEST_CALL];
    int64_t recordings = dispatch->in_flight[REQUEST_RECORDING];
    if (calls + recordings >= config->platform_max_in_flight)
        return false;
    return kind == REQUEST_CALL || recordings < dispatch_recordings(config);
}

/* The request whose turn it is: calls and recordings alternate while both wait and have slots. */
static struct request *choose(const struct dispatch *dispatch)
{
    for (int i = 0; i < REQUEST_KINDS; i++) {
        enum request_kind kind = (enum request_kind)((dispatch->turn + i) % REQUEST_KINDS);
        if (!list_empty(&dispatch->waiting[kind]) && has_slot(dispatch, kind))
            return request_at(dispatch->waiting[kind].next);
    }
    return NULL;
}

static void begin(struct dispatch *dispatch, struct request *request, int64_t now_ms,
                  int64_t wall_ms)
{
    enum request_kind kind = request->position.kind;
    list_remove(&request->dispatch_node);
    list_append(&dispatch->flying, &request->dispatch_node);
    dispatch->in_flight[kind]++;
    dispatch->turn = (enum request_kind)((kind + 1) % REQUEST_KINDS);
    limiter_take(&dispatch->limiter, now_ms);
    dispatch->rate_delay_counted = false;
    if (dispatch->breaker.state == BREAKER_TRIAL)
        dispatch->trial = request;
    if (request->call.attempts++ == 0) {
        request->call.first_started_at_ms = wall_ms;
        request->call.first_started_boot_ms = now_ms;
    }
    request->call.started_boot_ms = now_ms;
}

struct request *dispatch_next(struct dispatch *dispatch, int64_t now_ms, int64_t wall_ms)
{
    enum breaker_state state = breaker_update(&dispatch->breaker, now_ms);
    dispatch->rate_waits = false;
    if (state == BREAKER_OPEN || (state == BREAKER_TRIAL && dispatch->trial)) {
        return_waiting(dispatch);
        return NULL;
    }
    sweep(dispatch, now_ms, wall_ms);
    struct request *request = choose(dispatch);
    if (!request)
        return NULL;
    if (limiter_due_ms(&dispatch->limiter) > now_ms) {
        dispatch->rate_waits = true;
        dispatch->rate_delays += !dispatch->rate_delay_counted;
        dispatch->rate_delay_counted = true;
        return NULL;
    }
    begin(dispatch, request, now_ms, wall_ms);
    return request;
}

/* Reports an ended call to the breaker; while the breaker is not closed, only the trial call. */
static void tell_breaker(struct dispatch *dispatch, const struct request *request,
                         enum verdict verdict, int64_t now_ms)
{
    struct breaker *breaker = &dispatch->breaker;
    bool is_trial = dispatch->trial == request;
    if (is_trial)
        dispatch->trial = NULL;
    if (breaker->state != BREAKER_CLOSED && !is_trial)
        return;
    switch (verdict) {
    case VERDICT_NOT_SENT:
    case VERDICT_IN_DOUBT:
        breaker_failure(breaker, now_ms);
        break;
    case VERDICT_UNAUTHORIZED:
        breaker_trip(breaker, now_ms);
        break;
    case VERDICT_THROTTLED: /* the platform is alive, which ends a pause, but does not reset the
                               count of failures */
        if (is_trial)
            breaker_success(breaker);
        break;
    case VERDICT_ANSWERED:
    case VERDICT_RETRY:
    case VERDICT_NOT_KEPT: /* the platform did its part */
    case VERDICT_TOO_LARGE:
        breaker_success(breaker);
        break;
    case VERDICT_LEASE_OVER:
    case VERDICTS:
        break;
    }
}

static void finish_with(struct dispatch *dispatch, struct request *request, enum status status,
                        const struct classification *classification, const struct attempt *attempt,
                        int64_t wall_ms)
{
    struct outcome *outcome = &request->outcome;
    free(outcome->error_message);
    outcome->status = status;
    outcome->error_code = classification->code;
    outcome->error_message = memory_string(classification->message);
    outcome->http_status = attempt->http_status;
    outcome->finished_at_ms = wall_ms;
    give_back(dispatch, request, CALL_FINISHED);
}

static void finish_answered(struct dispatch *dispatch, struct request *request, int64_t wall_ms)
{
    request->outcome.finished_at_ms = wall_ms;
    give_back(dispatch, request, CALL_FINISHED);
}

/* Uncounts a try that did not begin. */
static void undo(struct dispatch *dispatch, struct request *request)
{
    struct call_state *call = &request->call;
    if (--call->attempts == 0)
        call->first_started_at_ms = call->first_started_boot_ms = 0;
    call->started_boot_ms = 0;
    if (request->position.kind == REQUEST_RECORDING)
        call->lease_until_ms = INT64_MAX;
    give_back(dispatch, request, CALL_RETURNED);
}

static size_t length_of(const char *text)
{
    return text ? strlen(text) : 0;
}

/* Thousands of calls may wait for another try, so of a long answer only a short Flag is kept. */
static void keep_little(struct outcome *outcome)
{
    if (length_of(outcome->msg_json) + length_of(outcome->platform_json) <= KEPT_MAX)
        return;
    free(outcome->msg_json);
    free(outcome->platform_json);
    outcome->msg_json = outcome->platform_json = NULL;
}

static void try_later(struct dispatch *dispatch, struct request *request, int64_t retry_at_ms)
{
    if (request->position.kind == REQUEST_CALL)
        keep_little(&request->outcome);
    else
        outcome_fini(&request->outcome);
    request->call.retry_at_ms = retry_at_ms;
    give_back(dispatch, request, CALL_NOT_SENT);
}

static int64_t retry_at(struct dispatch *dispatch, const struct request *request,
                        const struct attempt *attempt, int64_t now_ms)
{
    uint64_t random = dispatch->random(dispatch->random_argument);
    int64_t wait = backoff_ms(request->call.attempts, random);
    int64_t asked = attempt->retry_after_ms;
    if (asked > LONGEST_RETRY_AFTER_MS)
        asked = LONGEST_RETRY_AFTER_MS;
    return now_ms + (asked > wait ? asked : wait);
}

static void settle_call(struct dispatch *dispatch, struct request *request,
                        const struct attempt *attempt, const struct classification *classification,
                        int64_t now_ms, int64_t wall_ms)
{
    int64_t deadline = overdue_deadline_ms(request, &dispatch->overdue);
    int64_t again = retry_at(dispatch, request, attempt, now_ms);
    switch (classification->verdict) {
    case VERDICT_NOT_SENT:
    case VERDICT_UNAUTHORIZED:
    case VERDICT_THROTTLED:
        request->call.last_code = classification->code;
        if (now_ms < deadline)
            try_later(dispatch, request, again < deadline ? again : deadline);
        else if (request->outcome.answered) /* an earlier try */
            finish_answered(dispatch, request, wall_ms);
        else
            finish_with(dispatch, request, STATUS_UNAVAILABLE, classification, attempt, wall_ms);
        break;
    case VERDICT_RETRY: /* if no time is left, the platform's own answer is the result */
        if (again >= overdue_at_ms(request, &dispatch->overdue, now_ms, wall_ms))
            finish_answered(dispatch, request, wall_ms);
        else
            try_later(dispatch, request, again);
        break;
    case VERDICT_IN_DOUBT:
        finish_with(dispatch, request, STATUS_UNKNOWN, classification, attempt, wall_ms);
        break;
    case VERDICT_ANSWERED:
        finish_answered(dispatch, request, wall_ms);
        break;
    case VERDICT_LEASE_OVER:
        undo(dispatch, request);
        break;
    case VERDICT_NOT_KEPT: /* cannot happen: calls have no files */
    case VERDICT_TOO_LARGE:
    case VERDICTS:
        abort();
    }
}

/* Recordings are reads, so any failure is tried again, up to recording.attempts. */
static void settle_recording(struct dispatch *dispatch, struct request *request,
                             const struct attempt *attempt,
                             const struct classification *classification, int64_t now_ms,
                             int64_t wall_ms)
{
    enum verdict verdict = classification->verdict;
    bool last = request->call.attempts >= dispatch->config->recording_attempts ||
                verdict == VERDICT_TOO_LARGE;
    if (verdict == VERDICT_ANSWERED)
        finish_answered(dispatch, request, wall_ms);
    else if (verdict == VERDICT_LEASE_OVER || attempt->failure == FAILURE_STOPPED)
        undo(dispatch, request);
    else if (last)
        finish_with(dispatch, request, STATUS_UNAVAILABLE, classification, attempt, wall_ms);
    else
        try_later(dispatch, request, retry_at(dispatch, request, attempt, now_ms));
}

/* A try that was not performed keeps the platform's answer to an earlier try. */
static void settle_outcome(struct request *request, enum verdict verdict, struct outcome *outcome)
{
    bool performed = verdict != VERDICT_NOT_SENT && verdict != VERDICT_UNAUTHORIZED &&
                     verdict != VERDICT_THROTTLED && verdict != VERDICT_LEASE_OVER;
    struct outcome *other = performed ? &request->outcome : outcome;
    outcome_fini(other);
    if (performed)
        request->outcome = *outcome;
}

void dispatch_answered(struct dispatch *dispatch, const struct request *request)
{
    bool is_trial = dispatch->trial == request;
    if (dispatch->breaker.state != BREAKER_CLOSED && !is_trial)
        return;
    if (is_trial)
        dispatch->trial = NULL;
    breaker_success(&dispatch->breaker);
}

void dispatch_end(struct dispatch *dispatch, struct request *request, const struct attempt *attempt,
                  int64_t now_ms, int64_t wall_ms, struct classification *classification)
{
    enum request_kind kind = request->position.kind;
    dispatch->in_flight[kind]--;
    dispatch->try_ms_sum +=
        now_ms - request->call.started_boot_ms - dispatch->try_ms_sum / TRY_WEIGHT;
    assert(dispatch->in_flight[kind] >= 0);
    struct outcome outcome = {0};
    verdict_classify(classification, &outcome, kind, attempt, dispatch->config);
    settle_outcome(request, classification->verdict, &outcome);
    tell_breaker(dispatch, request, classification->verdict, now_ms);
    if (kind == REQUEST_CALL)
        settle_call(dispatch, request, attempt, classification, now_ms, wall_ms);
    else
        settle_recording(dispatch, request, attempt, classification, now_ms, wall_ms);
}

void dispatch_credentials_changed(struct dispatch *dispatch, int64_t now_ms)
{
    if (dispatch->breaker.state == BREAKER_OPEN)
        dispatch->breaker.until_ms = now_ms;
}

struct request *dispatch_take_done(struct dispatch *dispatch)
{
    struct list *node = list_take_first(&dispatch->done);
    return node ? request_at(node) : NULL;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t dispatch_wake_ms(const struct dispatch *dispatch)
{
    int64_t wake = INT64_MAX;
    if (dispatch->breaker.state == BREAKER_OPEN)
        wake = dispatch->breaker.until_ms;
    if (!list_empty(&dispatch->waiting[REQUEST_CALL]))
        wake = least(wake, dispatch->sweep_at_ms);
    if (dispatch->rate_waits)
        wake = least(wake, limiter_due_ms(&dispatch->limiter));
    return wake;
}

/* The number of calls, waiting ones included, that the rate limit can keep busy. It follows the
 * mean duration of tries, but ignores small changes. */
static int64_t rate_allowance(const struct dispatch *dispatch)
{
    int64_t most = dispatch->config->platform_max_in_flight;
    int64_t rate = dispatch->config->platform_rate_per_second;
    int64_t ms = dispatch->try_ms_sum / TRY_WEIGHT + RATE_AHEAD_MS;
    if (!rate || rate * ms / 1000 + 1 >= most)
        return most;
    int64_t calls = rate * ms / 1000 + 1;
    bool near = calls <= dispatch->limit && calls >= dispatch->limit * 3 / 4;
    return near ? dispatch->limit : calls;
}

bool dispatch_take_limit_change(struct dispatch *dispatch, int64_t *calls)
{
    switch (dispatch->breaker.state) {
    case BREAKER_OPEN:
        *calls = 0;
        break;
    case BREAKER_TRIAL:
        *calls = 1;
        break;
    case BREAKER_CLOSED:
        *calls = rate_allowance(dispatch);
        break;
    }
    if (*calls == dispatch->limit)
        return false;
    dispatch->limit = *calls;
    return true;
}
