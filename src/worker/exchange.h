/* One whole try of a request: the signed POST, and for a recording also its file, which is fetched
 * from the URL in the answer, hashed as it arrives, and copied to the store. This module decides
 * nothing about requests; it reports what happened to core/dispatch as a struct attempt. The call
 * thread. */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "core/attempt.h"
#include "core/config.h"
#include "core/request.h"
#include "core/signature.h"
#include "io/platform.h"
#include "io/store.h"

struct exchange_events {
    /* The platform's answer is complete and readable; the file has not been fetched yet. The
     * callback must not start a try. */
    void (*answered)(void *argument, const struct request *request);
    /* The try has ended. The attempt is valid until the callback returns. The callback may start
     * other tries. started_us: CLOCK_BOOTTIME. */
    void (*ended)(void *argument, struct request *request, struct attempt *attempt,
                  int64_t started_us);
};

/* All tries of the call thread, and what they share. */
struct exchanges {
    const struct config *config;
    const struct exchange_events *events;
    void *argument;
    struct platform *platform;
    struct store *store; /* NULL: none */
    struct list free;
    struct list keeping;       /* tries whose file is being stored, the oldest first */
    uv_timer_t deadline_timer; /* deadline of the file system */
    char *token;
    uint64_t tokens;            /* number of tokens so far */
    struct signature signature; /* of signed_second, with the token */
    int64_t signed_second;
};

/* config and loop must outlive it. Returns 0 or -1. */
int exchanges_init(struct exchanges *exchanges, uv_loop_t *loop, const struct config *config,
                   const struct exchange_events *events, void *argument, struct error *error);

/* Signs tries with that token from now on, and owns it. Returns whether the token is a new one. */
bool exchanges_use_token(struct exchanges *exchanges, char *token);

/* Uses these certificates from now on, and owns them. */
void exchanges_use_trust(struct exchanges *exchanges, struct platform_trust *trust);

/* Starts a try. `ended` is always called later. The request is borrowed until then. */
void exchange_start(struct exchanges *exchanges, struct request *request, int64_t wall_ms);

/* Cuts off all running tries. Each of them ends (FAILURE_STOPPED) before this function returns. */
void exchanges_stop(struct exchanges *exchanges);

/* Releases everything. No try may be running. The loop has to run until its handles are closed and
 * the store's file work is done. */
void exchanges_fini(struct exchanges *exchanges);
