/* What is known about one try to put a request to the platform: io/platform and the call thread
 * write it down, core/verdict judges it. Plain data; the call thread's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the transfer ended. A hint for words only: whether anything was sent is told by `sends`
 * alone, as libcurl's codes for 'could not connect' have been seen after a delivered POST. */
enum attempt_failure {
    FAILURE_NONE,
    FAILURE_RESOLVE,
    FAILURE_CONNECT,
    FAILURE_TLS,
    FAILURE_CERTIFICATE,
    FAILURE_TIMEOUT,
    FAILURE_RESET,     /* sending or receiving failed */
    FAILURE_NO_ANSWER, /* the connection was closed without a whole answer's head */
    FAILURE_CUT,       /* the connection was closed in the middle of the body */
    FAILURE_STOPPED,   /* cut off by ourselves: the thread ends */
    FAILURE_OTHER,
};

struct attempt {
    enum attempt_failure failure;
    int sends;    /* how often the request was let out onto a connection; 0: certainly not sent */
    bool latched; /* a second sending was about to happen, and was stopped */
    bool lease_over;        /* not sent because the lease had ended */
    int http_status;        /* of a complete final status line; 0: there was none */
    bool complete;          /* the whole body arrived */
    bool too_large;         /* the body exceeded its limit */
    int64_t retry_after_ms; /* -1: not said */
    char content_type[128]; /* empty: not said */
    char detail[160];       /* the library's words, for the log */

    /* The body: either the bytes, or the digest of a recording's file. */
    const char *body;
    size_t body_size;
    bool is_file;
    int64_t file_size;
    char file_sha256[65];
};
