/* What is known about one try of a request at the platform. io/platform and the call thread fill it
 * in, and core/verdict judges it. Plain data; the call thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the transfer ended. It only chooses the words: `sends` alone says whether anything was sent,
 * because libcurl has returned its codes for 'could not connect' after a delivered POST. */
enum attempt_failure {
    FAILURE_NONE,
    FAILURE_RESOLVE,
    FAILURE_CONNECT,
    FAILURE_TLS,
    FAILURE_CERTIFICATE,
    FAILURE_CLIENT_CERTIFICATE, /* the platform refused our client certificate, or that there is
                                   none */
    FAILURE_TIMEOUT,
    FAILURE_RESET,     /* sending or receiving failed */
    FAILURE_NO_ANSWER, /* the connection was closed before the head of an answer was complete */
    FAILURE_CUT,       /* the connection was closed within the body */
    FAILURE_STOPPED,   /* we cut it off, because the thread ends */
    FAILURE_OTHER,
};

/* What happened to a recording's file, with a recording.store. */
enum attempt_copy {
    COPY_NONE, /* there was nothing to copy */
    COPY_KEPT,
    COPY_TOO_LARGE,
    COPY_DOWNLOAD_FAILED, /* the file behind the answer's URL could not be fetched */
    COPY_NOT_AUDIO,       /* the file is not a recording */
    COPY_URL_REFUSED,     /* the settings do not allow the file's URL */
    COPY_STORE_FAILED,
};

struct attempt {
    enum attempt_failure failure;
    int sends;           /* how often the request was sent on a connection; 0: certainly not sent */
    bool resend_blocked; /* a second sending was prevented */
    bool token_replaced; /* the token that signed it has been replaced since */
    bool lease_over;     /* not sent because the lease had ended */
    int http_status;     /* of a complete final status line; 0: there is none */
    bool complete;       /* the body is complete */
    bool end_proven;     /* the body is complete, and its length, last chunk or TLS's close_notify
                            proves it; the mere end of a connection does not */
    bool too_large;      /* the body is longer than its limit */
    int64_t retry_after_ms;  /* -1: not given */
    int64_t content_length;  /* -1: not given */
    bool dated;              /* the answer has a Date */
    int64_t clock_offset_ms; /* dated: how far this machine's clock is ahead of the platform's, to
                                within a second */
    bool address_refused;    /* the file's address is not allowed, so no connection was made */
    const char *location;   /* of a 3xx: the absolute target URL; NULL: none. Valid until the end of
                               the try has been reported */
    char content_type[128]; /* empty: not given */
    char content_encoding[64]; /* the codings, a list; empty: not packed */
    char detail[160];          /* the library's error, for the log */

    /* The body, unless it is a recording's file. */
    const char *body;
    size_t body_size;
    bool is_file;

    /* The recording's file: the body, or the file behind the URL in it. */
    enum attempt_copy copy;
    const char *file_uri; /* COPY_KEPT: the URI of the copy */
    int64_t file_size;
    char file_sha256[65];
    char file_type[128];   /* its Content-Type; empty: not given */
    char copy_detail[160]; /* why it was not copied */
};
