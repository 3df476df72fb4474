/* What is sent when: the decisions of the call thread without its I/O. Requests wait here in the
 * order in which they came, start when there is a slot, and leave through a list of done ones with
 * request->call.end set. It reads no clock: now_ms is CLOCK_BOOTTIME, wall_ms the wall clock. It
 * borrows each request from dispatch_add until dispatch_take_done gives it back, and uses its
 * `call`, `outcome` and `dispatch_node`. The call thread's. */
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
    struct list flying;                 /* handed out by dispatch_next, not ended */
    struct list done;                   /* to be given back */
    int64_t in_flight[REQUEST_KINDS];
    enum request_kind turn; /* which kind goes first next, when both wait */
    struct breaker breaker;
    struct limiter limiter;
    struct overdue_limits overdue;
    int64_t sweep_at_ms;         /* when all that waits is to be looked at */
    const struct request *trial; /* the open breaker's trial call, while it is in flight */
    int64_t allowance;           /* as last told */
    int64_t try_ms_sum;          /* how long tries take on average, times its weight */
    bool stopped[REQUEST_KINDS]; /* all were recalled: nothing is sent any more */
    bool rate_waits;             /* the last dispatch_next held something back for the rate alone */
};

/* How many recordings may be in flight at once: recording.max.in.flight, but where calls are served
 * too, one slot less than there are, so that a flood of files never holds calls back. A single slot
 * is for both in turn. */
int64_t dispatch_recordings(const struct config *config);

/* config must outlive it. random gives 64 random bits. */
void dispatch_init(struct dispatch *dispatch, const struct config *config,
                   uint64_t (*random)(void *argument), void *argument);

/* A request arrives. */
void dispatch_add(struct dispatch *dispatch, struct request *request);

/* Requests of the partition (DISPATCH_ALL: all of the kind, for good) are wanted back: waiting ones
 * are done, those in flight lose their lease, so that what is not yet sent will not be. */
enum { DISPATCH_ALL = -1 };
void dispatch_recall(struct dispatch *dispatch, enum request_kind kind, int32_t partition);

/* The next request to be sent now, with its try counted; NULL: none now. Also ends what has waited
 * too long. To be called until NULL after anything happened, and at dispatch_wake_ms. */
struct request *dispatch_next(struct dispatch *dispatch, int64_t now_ms, int64_t wall_ms);

/* The platform has answered a try that has not ended: the file that it gave is still to come. For
 * the breaker that is enough. */
void dispatch_answered(struct dispatch *dispatch, const struct request *request);

/* The try of a request in flight has ended; finding says how it was judged (for the log). */
void dispatch_end(struct dispatch *dispatch, struct request *request, const struct attempt *attempt,
                  int64_t now_ms, int64_t wall_ms, struct finding *finding);

/* The credentials have changed: an open breaker's pause ends, and its trial may run. */
void dispatch_credentials_changed(struct dispatch *dispatch, int64_t now_ms);

/* A request that goes back, in the order in which they were done; NULL: none. */
struct request *dispatch_take_done(struct dispatch *dispatch);

/* When dispatch_next is to be called if nothing happens before; INT64_MAX: then never. */
int64_t dispatch_wake_ms(const struct dispatch *dispatch);

/* Whether the allowance has changed since last asked; *calls is then what it is: 0 while the
 * breaker is open, 1 for its trial, else platform.max.in.flight, or fewer where
 * platform.rate.per.second lets fewer begin: what could not begin soon is not started in the
 * ledger, where a death would leave it in doubt. It goes back before the done requests. */
bool dispatch_allowance(struct dispatch *dispatch, int64_t *calls);

/* Gives back everything that waits, whatever the state (the end of the thread). */
void dispatch_return_waiting(struct dispatch *dispatch);
