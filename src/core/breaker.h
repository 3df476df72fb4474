/* The circuit breaker: pauses all calls while the platform is ill or refuses the credentials, so
 * that an outage costs few requests, and lets one trial call find out whether it is over. Pure:
 * times are CLOCK_BOOTTIME in ms; the call thread's, through core/dispatch. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum breaker_state {
    BREAKER_CLOSED, /* calls run */
    BREAKER_OPEN,   /* none is sent before until_ms */
    BREAKER_TRIAL,  /* one may be sent; its end decides */
};

enum { BREAKER_LONGEST_MS = 60000 };

struct breaker {
    enum breaker_state state;
    int64_t limit;          /* consecutive failures that open it */
    int64_t first_pause_ms; /* the first pause; doubles up to BREAKER_LONGEST_MS */
    int64_t failures;       /* consecutive ones while closed */
    int64_t pause_ms;       /* of the pause that runs or comes next */
    int64_t until_ms;       /* while open */
};

void breaker_init(struct breaker *breaker, int64_t failures, int64_t open_ms);

/* A call went well, or badly, while the breaker was closed; or the trial call did. Calls that began
 * before it opened and end afterwards prove nothing and are not to be told. */
void breaker_success(struct breaker *breaker);
void breaker_failure(struct breaker *breaker, int64_t now_ms);

/* Opens it at once, whatever the count (bad credentials). */
void breaker_trip(struct breaker *breaker, int64_t now_ms);

/* The state now: an open breaker whose pause is over becomes ready for its trial. */
enum breaker_state breaker_update(struct breaker *breaker, int64_t now_ms);
