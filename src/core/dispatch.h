/* Decides what is sent when: the decisions of the call thread, without its I/O. Requests wait here
 * in order of arrival, start when there is a slot, and leave through a list of done requests with
 * request->call.end set. The dispatch reads no clock: now_ms is CLOCK_BOOTTIME, wall_ms the wall
 * clock. It borrows each request from dispatch_add until dispatch_take_done, and uses the request's
 * `call`, `outcome` and `dispatch_node`. The call thread. */
#pragma once

#include "core/attempt.h"
#include "core/breaker.h"
#include "core/config.h"
#include "core/limiter.h"
#include "core/overdue.h"
#include "core/request.h"
#include "core/verdict.h"

struct dispatch {
    const struct config *config;
    uint64_t (*random)(void *argument); /* for the jitter of back-offs */
    void *random_argument;
    struct list waiting[REQUEST_KINDS]; /* in order of arrival */
    struct list flying;                 /* returned by dispatch_next, not ended */
    struct list done;                   /* to be given back */
    int64_t in_flight[REQUEST_KINDS];
    enum request_kind turn; /* the kind whose turn it is if both wait */
    struct breaker breaker;
    struct limiter limiter;
    struct overdue_limits overdue;
    int64_t sweep_at_ms;         /* when all waiting requests are checked */
    const struct request *trial; /* the open breaker's trial call, while it is in flight */
    int64_t limit;               /* as last reported */
    int64_t try_ms_sum;          /* average duration of tries, times TRY_WEIGHT */
    bool stopped[REQUEST_KINDS]; /* all requests were recalled: nothing is sent any more */
    bool rate_waits; /* the last dispatch_next delayed a request because of the rate limit alone */
    bool rate_delay_counted; /* the next request's delay by the rate limit is in rate_delays */
    uint64_t rate_delays;    /* requests whose start the rate limit has delayed */
};

/* The limit of recordings in flight: recording.max.in.flight. If calls are served, too, it is at
 * most one less than the number of slots, so that many files never block calls. A single slot is
 * used by both kinds in turn. */
int64_t dispatch_recordings(const struct config *config);

/* config must outlive it. random gives 64 random bits. */
void dispatch_init(struct dispatch *dispatch, const struct config *config,
                   uint64_t (*random)(void *argument), void *argument);

/* Adds a request. */
void dispatch_add(struct dispatch *dispatch, struct request *request);

/* Recalls the requests of the partition (DISPATCH_ALL: all of the kind, for good). Waiting ones are
 * done; those in flight lose their lease, so that they are not sent if they have not been sent
 * yet. */
enum { DISPATCH_ALL = -1 };
void dispatch_recall(struct dispatch *dispatch, enum request_kind kind, int32_t partition);

/* Returns the next request to send now, with its try counted; NULL: none now. Also ends requests
 * that have waited too long. Called until NULL after each event, and at dispatch_wake_ms. */
struct request *dispatch_next(struct dispatch *dispatch, int64_t now_ms, int64_t wall_ms);

/* Reports that the platform has answered a try whose file has not been fetched yet, which is enough
 * for the breaker. */
void dispatch_answered(struct dispatch *dispatch, const struct request *request);

/* Reports the end of a try. classification gets what the try means, for the log. */
void dispatch_end(struct dispatch *dispatch, struct request *request, const struct attempt *attempt,
                  int64_t now_ms, int64_t wall_ms, struct classification *classification);

/* Reports new credentials or authorities: the pause of an open breaker ends, and its trial call may
 * run. */
void dispatch_credentials_changed(struct dispatch *dispatch, int64_t now_ms);

/* Returns a request that is done, in order; NULL: none. */
struct request *dispatch_take_done(struct dispatch *dispatch);

/* When dispatch_next has to be called without an event; INT64_MAX: never. */
int64_t dispatch_wake_ms(const struct dispatch *dispatch);

/* Whether the limit of calls has changed since the last question; *calls is then the new limit: 0
 * while the breaker is open, 1 for its trial call, otherwise platform.max.in.flight, or less if
 * platform.rate.per.second lets fewer calls begin soon. A call that could not begin soon must not
 * be started in the ledger, where a death would leave it in doubt. The caller passes the limit on
 * before the done requests. */
bool dispatch_take_limit_change(struct dispatch *dispatch, int64_t *calls);

/* Gives back all waiting requests in any state (the end of the thread). */
void dispatch_return_waiting(struct dispatch *dispatch);
