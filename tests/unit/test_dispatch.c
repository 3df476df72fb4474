/* What is sent when, and how a request goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "core/dispatch.h"

enum { WALL = 1700000000, BEGIN = 1000000 };
#define WALL_MS (WALL * 1000LL)

struct bench {
    struct config config;
    struct dispatch dispatch;
    struct request *requests[64];
    int count;
    int64_t now;
    uint64_t random;
};

static uint64_t give_random(void *argument)
{
    return ((struct bench *)argument)->random;
}

static int set_up(void **state)
{
    static int64_t retry_flags[] = {50};
    struct bench *bench = memory_zeroed(1, sizeof *bench);
    bench->config = (struct config){
        .request_topics = {"calls", "recordings"},
        .platform_max_in_flight = 4,
        .recording_max_in_flight = 2,
        .platform_breaker_failures = 3,
        .platform_breaker_open_ms = 5000,
        .call_max_age_ms = 900000,
        .call_deadline_ms = 60000,
        .recording_attempts = 3,
        .call_retry_flags = {retry_flags, 1},
        .recording_retry_flags = {retry_flags, 1},
    };
    bench->now = BEGIN;
    dispatch_init(&bench->dispatch, &bench->config, give_random, bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < bench->count; i++)
        request_free(bench->requests[i]);
    free(bench);
    return 0;
}

static struct request *make(struct bench *bench, enum request_kind kind, int32_t partition)
{
    struct raw_record raw = {.timestamp_ms = WALL_MS};
    struct request *request =
        request_new((struct record_position){kind, partition, bench->count}, &raw);
    request->call.lease_until_ms = kind == REQUEST_CALL ? bench->now + 20000 : INT64_MAX;
    bench->requests[bench->count++] = request;
    return request;
}

static struct request *add(struct bench *bench, enum request_kind kind)
{
    struct request *request = make(bench, kind, 0);
    dispatch_add(&bench->dispatch, request);
    return request;
}

static int64_t wall(const struct bench *bench)
{
    return WALL_MS + bench->now - BEGIN;
}

static struct request *next(struct bench *bench)
{
    return dispatch_next(&bench->dispatch, bench->now, wall(bench));
}

static struct request *done(struct bench *bench)
{
    return dispatch_take_done(&bench->dispatch);
}

static void end(struct bench *bench, struct request *request, struct attempt attempt)
{
    struct classification classification;
    dispatch_end(&bench->dispatch, request, &attempt, bench->now, wall(bench), &classification);
}

/* clang-format off */ /* its versions differ about braces in macros */
#define ANSWER(text) \
    (struct attempt){.sends = 1, .http_status = 200, .complete = true, .body = (text), \
                     .body_size = sizeof(text) - 1, .retry_after_ms = -1}
#define OK ANSWER("{\"Flag\":1}")
#define NOT_SENT (struct attempt){.failure = FAILURE_CONNECT, .retry_after_ms = -1}
#define STATUS(number) \
    (struct attempt){.sends = 1, .http_status = (number), .complete = true, .body = "", \
                     .retry_after_ms = -1}
/* clang-format on */

static void comes_back(struct bench *bench, struct request *request, enum call_end how)
{
    assert_ptr_equal(done(bench), request);
    assert_int_equal(request->call.end, how);
}

static void finishes(struct bench *bench, struct request *request, enum status status,
                     const char *code)
{
    comes_back(bench, request, CALL_FINISHED);
    assert_int_equal(request->outcome.status, status);
    assert_string_equal(request->outcome.error_code ? request->outcome.error_code : "none", code);
    assert_int_equal(request->outcome.finished_at_ms, wall(bench));
}

static void calls_run_in_order_in_slots(void **state)
{
    struct bench *bench = *state;
    struct request *requests[6];
    for (int i = 0; i < 6; i++)
        requests[i] = add(bench, REQUEST_CALL);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(next(bench), requests[i]);
    assert_null(next(bench));
    assert_null(done(bench));
    end(bench, requests[2], OK);
    finishes(bench, requests[2], STATUS_SUCCEEDED, "none");
    assert_ptr_equal(next(bench), requests[4]);
    assert_null(next(bench));
    assert_int_equal(requests[0]->call.attempts, 1);
    assert_int_equal(requests[0]->call.first_started_at_ms, WALL_MS);
    assert_int_equal(requests[0]->call.started_boot_ms, bench->now);
    assert_int_equal(requests[5]->call.attempts, 0);
}

static void recordings_have_their_share_and_no_more(void **state)
{
    struct bench *bench = *state;
    int running[REQUEST_KINDS] = {0};
    struct request *request;
    for (int i = 0; i < 6; i++)
        add(bench, REQUEST_RECORDING);
    while ((request = next(bench)))
        running[request->position.kind]++;
    assert_int_equal(running[REQUEST_RECORDING], 2);
    for (int i = 0; i < 6; i++)
        add(bench, REQUEST_CALL);
    while ((request = next(bench)))
        running[request->position.kind]++;
    assert_int_equal(running[REQUEST_CALL], 2);
    end(bench, bench->requests[0], OK); /* calls do not starve recordings either */
    bool recording = false;
    while ((request = next(bench)))
        recording |= request->position.kind == REQUEST_RECORDING;
    end(bench, bench->requests[1], OK);
    while ((request = next(bench)))
        recording |= request->position.kind == REQUEST_RECORDING;
    assert_true(recording);
}

/* How many of a flood of recordings run at once, with so many slots. */
static int flood(struct bench *bench, int64_t slots)
{
    int running = 0;
    bench->config.platform_max_in_flight = slots;
    bench->config.recording_max_in_flight = 32;
    dispatch_init(&bench->dispatch, &bench->config, give_random, bench);
    for (int i = 0; i < 6; i++)
        add(bench, REQUEST_RECORDING);
    while (next(bench))
        running++;
    return running;
}

static void a_flood_of_recordings_holds_no_call_back(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(flood(bench, 4), 3);
    struct request *call = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), call);
    assert_null(next(bench));
    assert_int_equal(flood(bench, 2), 1);
    call = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), call);
}

static void one_slot_is_for_both_in_turn(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(flood(bench, 1), 1);
    struct request *first = bench->requests[0], *call = add(bench, REQUEST_CALL);
    assert_null(next(bench));
    end(bench, first, OK);
    assert_ptr_equal(next(bench), call);
}

static void without_calls_recordings_have_all(void **state)
{
    struct bench *bench = *state;
    bench->config.request_topics[REQUEST_CALL] = "";
    assert_int_equal(flood(bench, 4), 4);
}

static void leases_end(void **state)
{
    struct bench *bench = *state;
    struct request *first = add(bench, REQUEST_CALL), *second = add(bench, REQUEST_CALL);
    first->call.lease_until_ms = bench->now - 1;
    second->call.lease_until_ms = bench->now;
    assert_ptr_equal(next(bench), second);
    comes_back(bench, first, CALL_RETURNED);
    assert_int_equal(first->call.attempts, 0);
    end(bench, second, (struct attempt){.failure = FAILURE_OTHER, .lease_over = true});
    comes_back(bench, second, CALL_RETURNED);
    assert_int_equal(second->call.attempts, 0);
    assert_int_equal(second->call.first_started_at_ms, 0);
}

/* Turns as often as it asks for, without anything else happening, until a request is done. */
static void wait_for_done(struct bench *bench)
{
    while (list_empty(&bench->dispatch.done)) {
        int64_t wake = dispatch_wake_ms(&bench->dispatch);
        assert_true(wake > bench->now && wake < INT64_MAX);
        bench->now = wake;
        assert_null(next(bench));
    }
}

/* Four calls fill the slots, and whatever is added waits. */
static void fill_slots(struct bench *bench)
{
    for (int i = 0; i < 4; i++)
        add(bench, REQUEST_CALL);
    while (next(bench))
        ;
}

static void waiting_ends_with_its_lease(void **state)
{
    struct bench *bench = *state;
    fill_slots(bench);
    struct request *waiting = add(bench, REQUEST_CALL);
    assert_null(next(bench));
    wait_for_done(bench);
    assert_in_range(bench->now, BEGIN + 20001, BEGIN + 20100);
    comes_back(bench, waiting, CALL_RETURNED);
    assert_int_equal(dispatch_wake_ms(&bench->dispatch), INT64_MAX);
}

/* Though it stands behind others, and nothing else happens. */
static void waiting_expires_in_its_time(void **state)
{
    struct bench *bench = *state;
    fill_slots(bench);
    add(bench, REQUEST_CALL);
    struct request *expires = add(bench, REQUEST_CALL), *ages = add(bench, REQUEST_CALL),
                   *ends = add(bench, REQUEST_CALL);
    ends->event.ends_at_ms = WALL_MS + 500;
    expires->event.expires_at_ms = WALL_MS + 1000;
    ages->raw.timestamp_ms = WALL_MS - 900000 + 2000;
    assert_null(next(bench));
    wait_for_done(bench);
    assert_in_range(bench->now, BEGIN + 500, BEGIN + 600);
    finishes(bench, ends, STATUS_INVALID, "member-invalid");
    wait_for_done(bench);
    assert_in_range(bench->now, BEGIN + 1001, BEGIN + 1100);
    finishes(bench, expires, STATUS_EXPIRED, "expired");
    wait_for_done(bench);
    assert_in_range(bench->now, BEGIN + 2001, BEGIN + 2100);
    finishes(bench, ages, STATUS_EXPIRED, "too-old");
}

static void old_calls_expire(void **state)
{
    struct bench *bench = *state;
    struct request *old = make(bench, REQUEST_CALL, 0), *just = make(bench, REQUEST_CALL, 0),
                   *future = make(bench, REQUEST_CALL, 0), *untold = make(bench, REQUEST_CALL, 0),
                   *over = make(bench, REQUEST_CALL, 0),
                   *recording = make(bench, REQUEST_RECORDING, 0);
    old->raw.timestamp_ms = recording->raw.timestamp_ms = WALL_MS - 900001;
    just->raw.timestamp_ms = WALL_MS - 900000;
    future->raw.timestamp_ms = WALL_MS + 5000000;
    untold->raw.timestamp_ms = -1;
    over->event.expires_at_ms = WALL_MS - 1;
    just->event.ends_at_ms = WALL_MS + 1;  /* later than now */
    untold->event.expires_at_ms = WALL_MS; /* not dialled *after* it */
    for (int i = 0; i < bench->count; i++)
        dispatch_add(&bench->dispatch, bench->requests[i]);
    int sent = 0;
    while (next(bench))
        sent++;
    assert_int_equal(sent, 4);
    finishes(bench, old, STATUS_EXPIRED, "too-old");
    assert_int_equal(old->call.attempts, 0);
    finishes(bench, over, STATUS_EXPIRED, "expired");
}

static void no_limit_no_expiry(void **state)
{
    struct bench *bench = *state;
    bench->config.call_max_age_ms = 0;
    dispatch_init(&bench->dispatch, &bench->config, give_random, bench);
    struct request *request = add(bench, REQUEST_CALL);
    request->raw.timestamp_ms = 0;
    assert_ptr_equal(next(bench), request);
}

static void not_sent_comes_back_with_a_pause(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_CALL);
    bench->random = 333;
    next(bench);
    end(bench, request, NOT_SENT);
    comes_back(bench, request, CALL_NOT_SENT);
    assert_int_equal(request->call.retry_at_ms, bench->now + 333);
    assert_null(request->outcome.error_code);
    assert_int_equal(request->call.attempts, 1);
}

static void deadline_makes_it_unavailable(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_CALL);
    int64_t begin = bench->now;
    next(bench);
    bench->now += 59999;
    bench->random = 400;
    end(bench, request, STATUS(429));
    comes_back(bench, request, CALL_NOT_SENT);
    assert_int_equal(request->call.retry_at_ms, begin + 60000); /* not behind the deadline */
    bench->now = begin + 60000;
    request->call.lease_until_ms = INT64_MAX;
    dispatch_add(&bench->dispatch, request);
    assert_null(next(bench));
    finishes(bench, request, STATUS_UNAVAILABLE, "deadline-passed");
    assert_non_null(strstr(request->outcome.error_message, "the last one with throttled"));

    request = add(bench, REQUEST_CALL);
    next(bench);
    bench->now += 60000;
    end(bench, request, STATUS(401));
    finishes(bench, request, STATUS_UNAVAILABLE, "unauthorized");
    assert_int_equal(request->outcome.http_status, 401);
}

static void without_deadline_forever(void **state)
{
    struct bench *bench = *state;
    bench->config.call_deadline_ms = 0;
    dispatch_init(&bench->dispatch, &bench->config, give_random, bench);
    struct request *request = add(bench, REQUEST_CALL);
    next(bench);
    bench->now += 1000000000;
    end(bench, request, NOT_SENT);
    comes_back(bench, request, CALL_NOT_SENT);
}

static void doubt_is_never_tried_again(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_CALL);
    next(bench);
    end(bench, request, STATUS(500));
    finishes(bench, request, STATUS_UNKNOWN, "http-5xx");
    assert_false(request->outcome.answered);
    request = add(bench, REQUEST_CALL);
    next(bench);
    end(bench, request, (struct attempt){.sends = 1, .failure = FAILURE_TIMEOUT});
    finishes(bench, request, STATUS_UNKNOWN, "timeout");
}

static void retry_flags_are_obeyed(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_CALL);
    next(bench);
    end(bench, request, ANSWER("{\"Flag\":50}"));
    comes_back(bench, request, CALL_NOT_SENT);
    dispatch_add(&bench->dispatch, request);
    next(bench);
    bench->now += 60000;
    end(bench, request, ANSWER("{\"Flag\":50}")); /* no time left: the answer stands */
    finishes(bench, request, STATUS_REFUSED, "refused");
    assert_string_equal(request->outcome.flag_json, "50");
}

#define TRY_AGAIN ANSWER("{\"Flag\":50,\"Msg\":\"busy\"}")

/* The platform asked for another try of this call, which has come back for it. */
static struct request *answered_for_now(struct bench *bench)
{
    struct request *request = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), request);
    end(bench, request, TRY_AGAIN);
    comes_back(bench, request, CALL_NOT_SENT);
    request->call.lease_until_ms = INT64_MAX;
    return request;
}

static void ends_with_its_answer(struct bench *bench, struct request *request)
{
    finishes(bench, request, STATUS_REFUSED, "refused");
    assert_string_equal(request->outcome.flag_json, "50");
    assert_string_equal(request->outcome.msg_json, "\"busy\"");
    assert_true(request->outcome.answered);
}

static void a_retry_too_late_leaves_the_answer(void **state)
{
    struct bench *bench = *state;
    struct request *request = answered_for_now(bench);
    bench->now += 60000;
    dispatch_add(&bench->dispatch, request);
    assert_null(next(bench));
    ends_with_its_answer(bench, request);

    request = answered_for_now(bench);
    request->event.expires_at_ms = wall(bench) - 1;
    dispatch_add(&bench->dispatch, request);
    assert_null(next(bench));
    ends_with_its_answer(bench, request);
}

/* It is not begun when it would come too late, whichever limit it is. */
static void no_retry_beyond_a_limit(void **state)
{
    struct bench *bench = *state;
    bench->random = 400;
    struct request *request = add(bench, REQUEST_CALL);
    request->event.expires_at_ms = wall(bench) + 300;
    assert_ptr_equal(next(bench), request);
    end(bench, request, TRY_AGAIN);
    ends_with_its_answer(bench, request);
}

static void an_answer_outlives_tries_that_were_none(void **state)
{
    struct bench *bench = *state;
    const struct attempt none[] = {
        {.failure = FAILURE_OTHER, .lease_over = true}, NOT_SENT, STATUS(401)};
    struct request *request = answered_for_now(bench);
    for (int i = 0; i < 3; i++) {
        dispatch_add(&bench->dispatch, request);
        assert_ptr_equal(next(bench), request);
        end(bench, request, none[i]);
        comes_back(bench, request, i ? CALL_NOT_SENT : CALL_RETURNED);
        request->call.lease_until_ms = INT64_MAX;
    }
    bench->now += 60000;
    dispatch_add(&bench->dispatch, request);
    assert_ptr_equal(next(bench), NULL);
    ends_with_its_answer(bench, request);

    request = answered_for_now(bench);
    dispatch_add(&bench->dispatch, request);
    assert_ptr_equal(next(bench), request);
    bench->now += 60000;
    end(bench, request, NOT_SENT);
    ends_with_its_answer(bench, request);
}

static void a_try_in_doubt_outweighs_an_answer(void **state)
{
    struct bench *bench = *state;
    struct request *request = answered_for_now(bench);
    dispatch_add(&bench->dispatch, request);
    assert_ptr_equal(next(bench), request);
    end(bench, request, STATUS(500));
    finishes(bench, request, STATUS_UNKNOWN, "http-5xx");
    assert_null(request->outcome.flag_json);
    assert_false(request->outcome.answered);
}

/* Thousands may wait: of a long answer the Flag alone is kept. */
static void little_is_kept_of_an_answer(void **state)
{
    struct bench *bench = *state;
    char body[2000];
    struct request *request = add(bench, REQUEST_CALL);
    snprintf(body, sizeof body, "{\"Flag\":50,\"Msg\":\"%01500d\",\"More\":1}", 0);
    struct attempt attempt = TRY_AGAIN;
    attempt.body = body;
    attempt.body_size = strlen(body);
    assert_ptr_equal(next(bench), request);
    end(bench, request, attempt);
    comes_back(bench, request, CALL_NOT_SENT);
    bench->now += 60000;
    dispatch_add(&bench->dispatch, request);
    assert_null(next(bench));
    comes_back(bench, request, CALL_RETURNED);
    request->call.lease_until_ms = INT64_MAX;
    dispatch_add(&bench->dispatch, request);
    assert_null(next(bench));
    finishes(bench, request, STATUS_REFUSED, "refused");
    assert_string_equal(request->outcome.flag_json, "50");
    assert_null(request->outcome.msg_json);
    assert_null(request->outcome.platform_json);
}

static void recordings_have_their_tries(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_RECORDING);
    next(bench);
    end(bench, request, STATUS(500));
    comes_back(bench, request, CALL_NOT_SENT);
    dispatch_add(&bench->dispatch, request);
    next(bench);
    end(bench, request, ANSWER("{\"Flag\":50}"));
    comes_back(bench, request, CALL_NOT_SENT);
    assert_null(request->outcome.flag_json);
    dispatch_add(&bench->dispatch, request);
    next(bench);
    end(bench, request, ANSWER("{\"Flag\":50}"));
    finishes(bench, request, STATUS_UNAVAILABLE, "recording-not-ready");
    assert_string_equal(request->outcome.flag_json, "50");
}

/* A file may take longer than call.deadline.ms, which is for calls. */
static void recordings_have_no_deadline(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_RECORDING);
    const struct attempt failures[] = {STATUS(500), NOT_SENT};
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(next(bench), request);
        bench->now += 70000;
        end(bench, request, failures[i]);
        comes_back(bench, request, CALL_NOT_SENT);
        dispatch_add(&bench->dispatch, request);
    }
    assert_ptr_equal(next(bench), request);
    end(bench, request, OK);
    comes_back(bench, request, CALL_FINISHED);
    assert_int_equal(request->call.attempts, 3);
}

/* The platform did its part: what the store does not take counts as a try, but not for the breaker.
 */
static void copies_that_fail(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_RECORDING);
    struct attempt failed = {.sends = 1,
                             .http_status = 200,
                             .complete = true,
                             .is_file = true,
                             .copy = COPY_STORE_FAILED,
                             .copy_detail = "no space"};
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(next(bench), request);
        end(bench, request, failed);
        comes_back(bench, request, CALL_NOT_SENT);
        dispatch_add(&bench->dispatch, request);
    }
    assert_ptr_equal(next(bench), request);
    end(bench, request, failed);
    finishes(bench, request, STATUS_UNAVAILABLE, "store-failed");
    assert_string_equal(request->outcome.error_message,
                        "the recording's file could not be kept (no space)");
    assert_int_equal(bench->dispatch.breaker.state, BREAKER_CLOSED);
    struct request *stopped = add(bench, REQUEST_RECORDING);
    assert_ptr_equal(next(bench), stopped);
    failed.failure = FAILURE_STOPPED;
    end(bench, stopped, failed);
    comes_back(bench, stopped, CALL_RETURNED);
}

static void cut_off_recordings_are_no_results(void **state)
{
    struct bench *bench = *state;
    struct request *request = add(bench, REQUEST_RECORDING);
    next(bench);
    end(bench, request, (struct attempt){.sends = 1, .failure = FAILURE_STOPPED});
    comes_back(bench, request, CALL_RETURNED);
}

static void recall_is_by_partition(void **state)
{
    struct bench *bench = *state;
    struct request *flying = add(bench, REQUEST_CALL), *other = make(bench, REQUEST_CALL, 1);
    next(bench);
    dispatch_add(&bench->dispatch, other);
    struct request *waiting = add(bench, REQUEST_CALL), *recording = add(bench, REQUEST_RECORDING);
    dispatch_recall(&bench->dispatch, REQUEST_CALL, 0);
    comes_back(bench, waiting, CALL_RETURNED);
    assert_null(done(bench));
    assert_true(flying->call.lease_until_ms < bench->now); /* not sent any more, if not yet */
    assert_ptr_equal(next(bench), recording);
    assert_ptr_equal(next(bench), other);
    assert_true(other->call.lease_until_ms > bench->now);
}

static void recall_of_all_is_a_stop(void **state)
{
    struct bench *bench = *state;
    for (int kind = 0; kind < REQUEST_KINDS; kind++) {
        struct request *request = add(bench, (enum request_kind)kind);
        dispatch_recall(&bench->dispatch, (enum request_kind)kind, DISPATCH_ALL);
        comes_back(bench, request, CALL_RETURNED);
        request = add(bench, (enum request_kind)kind);
        comes_back(bench, request, CALL_RETURNED);
    }
    assert_null(next(bench));
}

static void recalled_recordings_can_run_later(void **state)
{
    struct bench *bench = *state;
    struct request *recording = add(bench, REQUEST_RECORDING);
    next(bench);
    dispatch_recall(&bench->dispatch, REQUEST_RECORDING, 0);
    end(bench, recording, (struct attempt){.failure = FAILURE_OTHER, .lease_over = true});
    comes_back(bench, recording, CALL_RETURNED);
    dispatch_add(&bench->dispatch, recording);
    assert_ptr_equal(next(bench), recording);
}

static void fail_some(struct bench *bench, int count)
{
    for (int i = 0; i < count; i++) {
        struct request *request = add(bench, REQUEST_CALL);
        assert_ptr_equal(next(bench), request);
        end(bench, request, NOT_SENT);
        comes_back(bench, request, CALL_NOT_SENT);
    }
}

static void an_outage_pauses_all_but_a_trial(void **state)
{
    struct bench *bench = *state;
    int64_t calls = -1;
    struct request *late = add(bench, REQUEST_CALL);
    next(bench);
    fail_some(bench, 3);
    struct request *call = add(bench, REQUEST_CALL), *recording = add(bench, REQUEST_RECORDING);
    assert_null(next(bench));
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 0);
    assert_false(dispatch_take_limit_change(&bench->dispatch, &calls));
    comes_back(bench, call, CALL_RETURNED);
    assert_null(done(bench)); /* recordings have no mark: they may wait here */
    end(bench, late, OK);     /* began before the pause: proves nothing */
    finishes(bench, late, STATUS_SUCCEEDED, "none");

    int64_t wake = dispatch_wake_ms(&bench->dispatch);
    assert_int_equal(wake, bench->now + 5000);
    bench->now = wake;
    assert_ptr_equal(next(bench), recording); /* the trial */
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 1);
    call = add(bench, REQUEST_CALL);
    assert_null(next(bench));
    comes_back(bench, call, CALL_RETURNED);
    end(bench, recording, STATUS(500));
    comes_back(bench, recording, CALL_NOT_SENT);
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 0);

    bench->now += 10000;
    call = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), call);
    end(bench, call, ANSWER("{\"Flag\":2}"));
    finishes(bench, call, STATUS_REFUSED, "refused");
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 4);
}

static void what_is_no_outage(void **state)
{
    struct bench *bench = *state;
    int64_t calls;
    fail_some(bench, 2);
    for (int i = 0; i < 10; i++) {
        struct request *request = add(bench, REQUEST_CALL);
        next(bench);
        end(bench, request, STATUS(429));
        comes_back(bench, request, CALL_NOT_SENT);
    }
    assert_false(dispatch_take_limit_change(&bench->dispatch, &calls));
    for (int i = 0; i < 3; i++) {
        struct request *request = add(bench, REQUEST_CALL);
        next(bench);
        end(bench, request, STATUS(403));
        comes_back(bench, request, CALL_FINISHED);
        fail_some(bench, 2);
    }
    assert_false(dispatch_take_limit_change(&bench->dispatch, &calls));
}

static void bad_credentials_pause_at_once(void **state)
{
    struct bench *bench = *state;
    int64_t calls;
    struct request *request = add(bench, REQUEST_CALL);
    next(bench);
    end(bench, request, STATUS(401));
    comes_back(bench, request, CALL_NOT_SENT);
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 0);
}

/* A trial that never ran leaves the next one free. */
static void a_trial_without_an_end_is_no_trial(void **state)
{
    struct bench *bench = *state;
    fail_some(bench, 3);
    bench->now += 5000;
    struct request *trial = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), trial);
    end(bench, trial, (struct attempt){.failure = FAILURE_OTHER, .lease_over = true});
    comes_back(bench, trial, CALL_RETURNED);
    trial = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), trial);
    end(bench, trial, OK);
    assert_int_equal(bench->dispatch.breaker.state, BREAKER_CLOSED);
}

static void the_rate_holds_back(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_rate_per_second = 10;
    dispatch_init(&bench->dispatch, &bench->config, give_random, bench);
    struct request *first = add(bench, REQUEST_CALL), *second = add(bench, REQUEST_CALL);
    assert_ptr_equal(next(bench), first);
    assert_null(next(bench));
    assert_true(bench->dispatch.rate_waits);
    assert_int_equal(dispatch_wake_ms(&bench->dispatch), bench->now + 100);
    bench->now += 50;
    assert_null(next(bench));
    assert_int_equal(bench->dispatch.rate_delays, 1); /* however often it is asked meanwhile */
    bench->now += 50;
    assert_ptr_equal(next(bench), second);
    add(bench, REQUEST_CALL);
    assert_null(next(bench));
    assert_int_equal(bench->dispatch.rate_delays, 2);
}

static void the_rate_limits_what_is_started(void **state)
{
    struct bench *bench = *state;
    int64_t calls;
    bench->config.platform_max_in_flight = 256;
    bench->config.platform_rate_per_second = 10;
    dispatch_init(&bench->dispatch, &bench->config, give_random, bench);
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 11);
    for (int i = 0; i < 10; i++) { /* the longer calls take, the more are under way at that rate */
        struct request *request = add(bench, REQUEST_CALL);
        assert_ptr_equal(next(bench), request);
        bench->now += 8000;
        end(bench, request, OK);
        comes_back(bench, request, CALL_FINISHED);
    }
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_in_range(calls, 40, 60);
    bench->config.platform_rate_per_second = 1000000;
    assert_true(dispatch_take_limit_change(&bench->dispatch, &calls));
    assert_int_equal(calls, 256);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_run_in_order_in_slots),
        TEST(the_rate_limits_what_is_started),
        TEST(recordings_have_their_share_and_no_more),
        TEST(a_flood_of_recordings_holds_no_call_back),
        TEST(one_slot_is_for_both_in_turn),
        TEST(without_calls_recordings_have_all),
        TEST(leases_end),
        TEST(waiting_ends_with_its_lease),
        TEST(waiting_expires_in_its_time),
        TEST(old_calls_expire),
        TEST(no_limit_no_expiry),
        TEST(not_sent_comes_back_with_a_pause),
        TEST(deadline_makes_it_unavailable),
        TEST(without_deadline_forever),
        TEST(doubt_is_never_tried_again),
        TEST(retry_flags_are_obeyed),
        TEST(a_retry_too_late_leaves_the_answer),
        TEST(no_retry_beyond_a_limit),
        TEST(an_answer_outlives_tries_that_were_none),
        TEST(a_try_in_doubt_outweighs_an_answer),
        TEST(little_is_kept_of_an_answer),
        TEST(recordings_have_their_tries),
        TEST(recordings_have_no_deadline),
        TEST(copies_that_fail),
        TEST(cut_off_recordings_are_no_results),
        TEST(recall_is_by_partition),
        TEST(recall_of_all_is_a_stop),
        TEST(recalled_recordings_can_run_later),
        TEST(an_outage_pauses_all_but_a_trial),
        TEST(what_is_no_outage),
        TEST(bad_credentials_pause_at_once),
        TEST(a_trial_without_an_end_is_no_trial),
        TEST(the_rate_holds_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
