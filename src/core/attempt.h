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
    FAILURE_CLIENT_CERTIFICATE, /* the platform refused ours, or that there is none */
    FAILURE_TIMEOUT,
    FAILURE_RESET,     /* sending or receiving failed */
    FAILURE_NO_ANSWER, /* the connection was closed without a whole answer's head */
    FAILURE_CUT,       /* the connection was closed in the middle of the body */
    FAILURE_STOPPED,   /* cut off by ourselves: the thread ends */
    FAILURE_OTHER,
};

/* What became of a recording's file where there is a recording.store. */
enum attempt_copy {
    COPY_NONE, /* there was nothing to copy, or nothing is to be copied */
    COPY_KEPT,
    COPY_TOO_LARGE,
    COPY_DOWNLOAD_FAILED, /* the file behind the answer's URL could not be had */
    COPY_NOT_AUDIO,       /* what came is no recording */
    COPY_URL_REFUSED,     /* the settings do not let the file be fetched from there */
    COPY_STORE_FAILED,
};

struct attempt {
    enum attempt_failure failure;
    int sends;    /* how often the request was let out onto a connection; 0: certainly not sent */
    bool latched; /* a second sending was about to happen, and was stopped */
    bool token_replaced;     /* it was signed with a token that has been replaced since */
    bool lease_over;         /* not sent because the lease had ended */
    int http_status;         /* of a complete final status line; 0: there was none */
    bool complete;           /* the whole body arrived */
    bool end_proven;         /* complete, and its length, its last chunk or TLS's close_notify says
                                that nothing is missing; not when a connection just ended */
    bool too_large;          /* the body exceeded its limit */
    int64_t retry_after_ms;  /* -1: not said */
    int64_t content_length;  /* -1: not said */
    bool dated;              /* the answer said what time it is at the other end */
    int64_t clock_offset_ms; /* dated: how far this machine's clock is ahead of that one; to within
                                a second, as HTTP's dates are */
    bool address_refused;   /* an address that files may not be fetched from was not connected to */
    const char *location;   /* of a 3xx: the URL that it points to, absolute; NULL: none. Only until
                               the try's end has been told */
    char content_type[128]; /* empty: not said */
    char content_encoding[64];
    char detail[160]; /* the library's words, for the log */

    /* The body: the bytes, unless it is a recording's file itself. */
    const char *body;
    size_t body_size;
    bool is_file;

    /* The recording's file: the body, or what was behind the URL in it. */
    enum attempt_copy copy;
    const char *file_uri; /* COPY_KEPT: where it is */
    int64_t file_size;
    char file_sha256[65];
    char file_type[128];   /* its Content-Type; empty: not said */
    char copy_detail[160]; /* why it was not copied */
};
