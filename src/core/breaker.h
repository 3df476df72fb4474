/* The circuit breaker: while the platform fails or refuses the credentials, it pauses everything
 * that is sent, recordings too, so that an outage costs few requests, and makes one trial call (a
 * request of either kind) to find out whether the outage is over. 'Call' stands for both below. No
 * I/O; times are CLOCK_BOOTTIME in ms. The call thread, through core/dispatch. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum breaker_state {
    BREAKER_CLOSED, /* calls run */
    BREAKER_OPEN,   /* no call is sent before until_ms */
    BREAKER_TRIAL,  /* one trial call may be sent, and its end decides */
};

enum { BREAKER_LONGEST_MS = 60000 };

struct breaker {
    enum breaker_state state;
    int64_t limit;          /* consecutive failures that open it */
    int64_t first_pause_ms; /* the first pause; doubles up to BREAKER_LONGEST_MS */
    int64_t failures;       /* consecutive ones while closed */
    int64_t pause_ms;       /* length of the current or next pause */
    int64_t until_ms;       /* while open */
};

void breaker_init(struct breaker *breaker, int64_t failures, int64_t open_ms);

/* Reports the success or failure of a call while the breaker is closed, or of the trial call. Calls
 * that began before the breaker opened and end afterwards prove nothing, and must not be
 * reported. */
void breaker_success(struct breaker *breaker);
void breaker_failure(struct breaker *breaker, int64_t now_ms);

/* Opens the breaker at once, whatever the count (bad credentials). */
void breaker_trip(struct breaker *breaker, int64_t now_ms);

/* The current state. When the pause of an open breaker is over, the state becomes BREAKER_TRIAL. */
enum breaker_state breaker_update(struct breaker *breaker, int64_t now_ms);
