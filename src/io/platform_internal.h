/* What the files of io/platform share: platform.c starts and ends posts, platform_transfer.c is
 * what libcurl is told and tells of one, platform_sockets.c ties libcurl's sockets and timers to
 * the loop. All of it runs on the loop's thread. */
#pragma once

#include <curl/curl.h>
#include <stdlib.h>

#include "base/list.h"
#include "io/platform.h"

enum { PLATFORM_HEADERS = 4 };

/* A socket that libcurl waits for. It stays in the loop while its connection idles in the pool,
 * which saves two system calls a request. */
struct watch {
    uv_poll_t poll;
    struct platform *platform;
    curl_socket_t socket;
    int armed; /* libuv's events; 0: none */
    bool pooled, of_connection;
    bool was_read;  /* libcurl has waited for bytes: it is connected */
    int local_port; /* of a connection; 0: not known yet */
};

/* One slot: an easy handle with all that never changes already set, for posts or for fetches. */
struct transfer {
    struct list node; /* in idle or active */
    struct list awaiting_node;
    struct platform *platform;
    CURL *easy;
    bool fetches;
    struct platform_post *post;
    struct attempt attempt;
    struct curl_slist headers[PLATFORM_HEADERS];
    char authorization[1100];
    char words[CURL_ERROR_SIZE];
    int64_t started_ms;
    bool framed;    /* the answer's head says how long the body is, or that it is chunked */
    bool opened;    /* this transfer made its connection itself */
    bool stale;     /* stopped by the guard */
    bool redialled; /* once is enough: a new connection is never stale */
};

struct platform {
    uv_loop_t *loop;
    const struct config *config;
    const struct platform_events *events;
    void *argument;
    CURLM *multi;
    CURLSH *share;       /* TLS sessions */
    uv_timer_t timer;    /* libcurl's */
    uv_timer_t patience; /* looks after answer_timeout_ms */
    int open_timers;
    struct list idle[2]; /* for posts, for fetches */
    struct list active, awaiting;
    int64_t active_count;
    struct watch **watches; /* by descriptor */
    size_t watch_count;
};

static inline void platform_must(CURLcode code)
{
    if (code != CURLE_OK)
        abort(); /* an option that this libcurl does not know: no version that may be used */
}

/* A slot with its easy handle; released with transfer_free. */
struct transfer *transfer_new(struct platform *platform, bool fetches);
void transfer_free(struct transfer *transfer);

/* Sets what the post has of its own. */
void transfer_prepare(struct transfer *transfer, const struct platform_post *post);

/* Ties the multi handle to the loop. */
void platform_sockets_init(struct platform *platform);

/* Forgets all sockets; libcurl has none any more. */
void platform_sockets_fini(struct platform *platform);

/* libcurl's callbacks for the sockets of a transfer, with the transfer or the platform. */
curl_socket_t platform_socket_open(void *transfer, curlsocktype purpose,
                                   struct curl_sockaddr *address);
int platform_socket_close(void *platform, curl_socket_t socket);

/* Whether something waits on a connection on which nothing may: an answer nobody asked for, or its
 * end. libcurl does not tell the socket of a connection that it is about to use again
 * (CURLINFO_ACTIVESOCKET: none yet), so it is found by its local port. One that is not found counts
 * as stale: a new connection is always right. */
bool platform_has_gone_stale(struct platform *platform, int local_port);

/* Ends what libcurl has reported as done. */
void platform_take_ended(struct platform *platform);
