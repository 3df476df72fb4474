/* The connections to the platform: POSTs over keep-alive HTTP/1.1 connections (libcurl's multi
 * interface) on the caller's libuv loop; and fetches, which are GETs of files that answers point
 * to. This module decides nothing: it sends what it is given, a POST at most once whatever happens,
 * and reports what happened as a struct attempt. Everything here runs on the loop's thread, the
 * callbacks too.
 *
 * Three mechanisms keep a POST from being sent twice, and an answer from being taken for the answer
 * to another request:
 *  - one sending (resend_blocked): libcurl sends a request again by itself when a reused connection
 *    dies without an answer. It asks before each sending, and the second time the transfer is
 *    stopped.
 *  - the guard: unread bytes, or the end, of a pooled connection would be taken for the answer. So
 *    nothing is sent on such a connection, and a new one is made, once and at once.
 *  - the lease: nothing is sent after *lease_until_ms, nor from send_until_ms on.
 *
 * A fetch needs none of these, because it may be repeated. It trusts the system's CAs and those of
 * platform.ca.file, and carries no credentials. It connects to no address that
 * recording.url.allow.private forbids, whatever its host name resolves to. Redirects are reported,
 * not followed. */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "core/attempt.h"
#include "core/config.h"

/* A POST or a fetch. It is the caller's memory, which the caller leaves unchanged until `ended`. */
struct platform_post {
    bool fetch; /* a GET, which uses only the URL and the times */
    const char *url;
    const char *authorization; /* the header's value */
    const char *body;
    size_t body_size;
    const int64_t *lease_until_ms; /* CLOCK_BOOTTIME; read again just before sending */
    int64_t send_until_ms; /* CLOCK_BOOTTIME: the request itself may be sent before this time only;
                              0: no limit */
    bool may_bring_file;   /* the answer may be long, so it is read in larger pieces */
    int64_t timeout_ms;    /* limit of the whole try, connecting included */
    int64_t answer_timeout_ms; /* limit until the body's first byte, if shorter; 0: none */
    struct transfer *transfer; /* used by this module while the post runs */
};

enum platform_taken {
    PLATFORM_TAKEN,
    PLATFORM_LATER, /* no byte was taken: the same bytes are delivered again after platform_resume
                     */
    PLATFORM_TOO_LARGE, /* the post ends with too_large */
    PLATFORM_ENOUGH,    /* the caller ends the post, for a reason of its own */
};

struct platform_events {
    /* Bytes of the answer's body. The first call, without bytes, comes when the head is complete;
     * attempt then holds what the head says. The callback must not start or stop a post.
     * PLATFORM_LATER is for bytes only. */
    enum platform_taken (*body)(void *argument, struct platform_post *post,
                                const struct attempt *attempt, const char *bytes, size_t n);
    /* The post has ended. The attempt (without body) is valid until the callback returns. The
     * callback may start other posts. */
    void (*ended)(void *argument, struct platform_post *post, struct attempt *attempt);
};

struct platform;

/* Called first on the loop's thread. OpenSSL makes random generators for each thread at their first
 * use, and a generator for which there was no memory stays broken. Without memory, this function
 * aborts the process instead. platform_check_tls has found that there are generators. */
void platform_enter_thread(void);

/* config and events must outlive it. NULL on failure. */
struct platform *platform_new(uv_loop_t *loop, const struct config *config,
                              const struct platform_events *events, void *argument,
                              struct error *error);

/* Whether OpenSSL's configuration leaves what TLS needs. Any thread. Returns 0 or -1. */
int platform_check_tls(struct error *error);

/* The certificates that the configuration names: the CAs and the client certificate. */
struct platform_trust;

/* The file with the CA certificates: platform.ca.file or the system's; NULL: it is not a file. */
const char *platform_authorities_file(const struct config *config);

/* Reads and checks all certificates. Any thread. NULL on failure. */
struct platform_trust *platform_trust_load(const struct config *config, struct error *error);

/* Releases the certificates. The loop's thread, unless they were never used. trust may be NULL. */
void platform_trust_release(struct platform_trust *trust);

/* Uses these certificates from now on, and owns them: no post is sent on a connection that was made
 * with others. */
void platform_use_trust(struct platform *platform, struct platform_trust *trust);

/* Starts a post. The caller starts at most platform.max.in.flight at once. `ended` is always called
 * later. */
void platform_start(struct platform *platform, struct platform_post *post);

/* Goes on with a post after PLATFORM_LATER. */
void platform_resume(struct platform_post *post);

/* Cuts off all running posts. Each of them ends (FAILURE_STOPPED) before this function returns. */
void platform_stop(struct platform *platform);

/* Releases everything. No post may be running. The loop has to run until its handles are closed. */
void platform_free(struct platform *platform);
