/* One try to put a request to the platform, as a whole: the signed POST, and for a recording also
 * what becomes of its file: hashed as it comes, fetched from where the answer says, copied to the
 * store. It decides nothing about requests; what it saw goes to core/dispatch as a struct attempt.
 * All of it is the call thread's. */
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
    /* The platform has answered soundly; the file that it gave is still to come. Nothing may be
     * started from here. */
    void (*answered)(void *argument, const struct request *request);
    /* The try has ended; the attempt lasts until this returns. May start others. started_us:
     * CLOCK_BOOTTIME. */
    void (*ended)(void *argument, struct request *request, struct attempt *attempt,
                  int64_t started_us);
};

/* All exchanges of a call thread, and what they share. */
struct exchanges {
    const struct config *config;
    const struct exchange_events *events;
    void *argument;
    struct platform *platform;
    struct store *store; /* NULL: none */
    struct list free;
    struct list keeping; /* the oldest first */
    uv_timer_t patience; /* with the file system */
    char *token;
    uint64_t tokens;            /* how many there have been */
    struct signature signature; /* of signed_second, with the token */
    int64_t signed_second;
};

/* config and loop must outlive it. Returns 0 or -1. */
int exchanges_init(struct exchanges *exchanges, uv_loop_t *loop, const struct config *config,
                   const struct exchange_events *events, void *argument, struct error *error);

/* From now on tries are signed with that token; it is taken over. Returns whether it is another. */
bool exchanges_use_token(struct exchanges *exchanges, char *token);

/* From now on these certificates count; they are taken over. */
void exchanges_use_trust(struct exchanges *exchanges, struct platform_trust *trust);

/* Starts a try; it always ends, later. The request is borrowed until then. */
void exchange_start(struct exchanges *exchanges, struct request *request, int64_t wall_ms);

/* Cuts off all tries that run; each ends (FAILURE_STOPPED) before this returns. */
void exchanges_stop(struct exchanges *exchanges);

/* Releases everything; no try may run. The loop has to turn until its handles are closed and the
 * store's file work is done. */
void exchanges_fini(struct exchanges *exchanges);
