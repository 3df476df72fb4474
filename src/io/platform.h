/* The connections to the platform: POSTs over keep-alive HTTP/1.1 connections (libcurl's multi
 * interface) on the caller's libuv loop; and fetches, the GETs of files that answers point to. It
 * decides nothing: it sends what it is given, a POST at most once whatever happens, and reports
 * what it saw as a struct attempt. Everything here runs on the loop's thread, the callbacks too.
 *
 * What keeps a POST from going out twice, and an answer from being the answer to another request:
 *  - the latch: libcurl sends again by itself when a reused connection dies unanswered; it asks
 *    before each sending, and the second time the transfer is stopped;
 *  - the guard: bytes or an end that wait on a pooled connection would be taken for the answer;
 * then nothing is sent and a new connection is made, once and at once;
 *  - the lease: nothing is sent after *lease_until_ms, nor from send_until_ms on.
 * A fetch has no such care: it may be repeated, trusts the system's authorities beside
 * platform.ca.file's, and carries no credentials. It connects to no address that
 * recording.url.allow.private forbids, whatever its host's name resolves to. Redirects are
 * reported, not followed. */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "core/attempt.h"
#include "core/config.h"

/* A POST to make, or a fetch. The caller's memory, all of it untouched until it has ended. */
struct platform_post {
    bool fetch; /* a GET, which has nothing but url and times */
    const char *url;
    const char *authorization; /* the header's value */
    const char *body;
    size_t body_size;
    const int64_t *lease_until_ms; /* CLOCK_BOOTTIME; read again when it is about to be sent */
    int64_t send_until_ms;         /* the same, of the request's own, not included; 0: none */
    bool may_bring_file;           /* the answer may be long: it is read in larger pieces */
    int64_t timeout_ms;            /* of the whole try, connecting included */
    int64_t answer_timeout_ms;     /* until the body's first byte, where shorter; 0: none */
    struct transfer *transfer;     /* the module's own while the post runs */
};

enum platform_taken {
    PLATFORM_TAKEN,
    PLATFORM_LATER,     /* nothing was taken: the same bytes come again after platform_resume */
    PLATFORM_TOO_LARGE, /* the post ends with too_large */
    PLATFORM_ENOUGH,    /* the post ends here; the caller knows why */
};

struct platform_events {
    /* Bytes of the answer's body, after a call without bytes when its head is complete; attempt
     * holds what the head says. No post may be started or aborted from here. PLATFORM_LATER is for
     * bytes only. */
    enum platform_taken (*body)(void *argument, struct platform_post *post,
                                const struct attempt *attempt, const char *bytes, size_t n);
    /* The post has ended; the attempt (without body) lasts until this returns. May start others. */
    void (*ended)(void *argument, struct platform_post *post, struct attempt *attempt);
};

struct platform;

/* The loop's thread, before anything else: OpenSSL has random generators for each thread, made at
 * their first use, and one for which there was no memory then stays broken. Here it aborts. */
void platform_enter_thread(void);

/* config and events must outlive it. NULL on failure. */
struct platform *platform_new(uv_loop_t *loop, const struct config *config,
                              const struct platform_events *events, void *argument,
                              struct error *error);

/* The certificates that the configuration names: authorities and the client's own. */
struct platform_trust;

/* The file with the authorities: platform.ca.file or the system's; NULL: it is no file. */
const char *platform_authorities_file(const struct config *config);

/* Reads and checks them all. Any thread. NULL on failure. */
struct platform_trust *platform_trust_load(const struct config *config, struct error *error);

/* The loop's thread, unless it was never used. NULL is fine. */
void platform_trust_release(struct platform_trust *trust);

/* From now on these count: no post goes out on a connection that was made with others. Takes them
 * over. */
void platform_use_trust(struct platform *platform, struct platform_trust *trust);

/* Starts a post; never more at once than platform.max.in.flight. It always ends, later. */
void platform_start(struct platform *platform, struct platform_post *post);

/* Goes on with a post whose body was put off. */
void platform_resume(struct platform_post *post);

/* Cuts off all posts that run; each ends (FAILURE_STOPPED) before this returns. */
void platform_stop(struct platform *platform);

/* Releases everything; no post may run. The loop has to turn until its handles are closed. */
void platform_free(struct platform *platform);
