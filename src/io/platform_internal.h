/* What the files of io/platform share: platform.c starts and ends posts, platform_transfer.c is
 * what libcurl is told and tells of one, platform_answer.c reads an answer's head and body,
 * platform_framing.c where it ends, platform_chunks.c its chunks, platform_sockets.c ties libcurl's
 * sockets and timers to the loop, platform_ports.c finds connections by their local port,
 * platform_tls.c looks into TLS. All of it runs on the loop's thread. */
#pragma once

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/list.h"
#include "io/platform.h"
#include "io/platform_chunks.h"
#include "io/platform_framing.h"

enum { PLATFORM_HEADERS = 4, PORT_BUCKETS = 1024 };

/* What an easy handle is for: its options never change but for those of one request. */
enum transfer_use { TRANSFER_CALL, TRANSFER_RECORDING, TRANSFER_FETCH, TRANSFER_USES };

/* A socket that libcurl waits for. It stays in the loop while its connection idles in the pool,
 * which saves two system calls a request. */
struct watch {
    uv_poll_t poll;
    struct platform *platform;
    curl_socket_t socket;
    int armed; /* libuv's events; 0: none */
    bool pooled, of_connection;
    bool connected;        /* as last seen */
    bool spoilt;           /* it brought more than its answer: nothing else may be asked on it */
    struct list port_node; /* in platform.ports, a connection's */
    int local_port;        /* of a connection; 0: not known yet */
    int64_t made_ms;       /* CLOCK_BOOTTIME */
    unsigned generation;   /* of the certificates that it was made with */
};

/* The connections by their local port, which two to different addresses may share. */
struct ports {
    struct list unknown, known[PORT_BUCKETS]; /* of watch.port_node */
};

/* The certificates, and the TLS sessions that were made with them. */
struct platform_trust {
    int references; /* counted by the loop's thread */
    unsigned generation;
    X509_STORE *posts, *fetches; /* the authorities for each */
    X509 *certificate;           /* the client's; NULL: none */
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    CURLSH *share;
};

/* What is seen of the TLS of a transfer's connection. */
struct tls_seen {
    bool closed;                /* in order, by close_notify */
    bool certificate_asked_for; /* in a handshake of this transfer's */
    bool certificate_wanted;    /* and there is none */
    bool certificate_asked;     /* with TLS 1.3, whether there is one or not */
    bool certificate_refused;   /* the client's, or that there is none */
};

/* What is known of the answer's head, and how its body ends. */
struct answer_head {
    bool begun, done; /* within a head; the final one is complete */
    bool old;         /* HTTP/1.0 */
    bool bodiless;    /* by its status */
    bool own_end;     /* libcurl may miss the body's end: it is found here */
    bool ended;       /* ... and was found: the transfer is over */
    char line[512];   /* the last line of the head, which the next one may go on with */
    size_t line_size; /* without what did not fit */
    bool line_cut;
    struct framing framing;
    int64_t left;         /* own_end: of the body, where its length is known */
    struct chunks chunks; /* of a chunked body that libcurl leaves as it is */
    size_t taken;         /* of the bytes that will be delivered again after a pause */
};

/* One slot: an easy handle with all that never changes already set. */
struct transfer {
    struct list node; /* in idle or active */
    struct list awaiting_node;
    struct list failed_node;
    struct platform *platform;
    CURL *easy; /* NULL: none could be made */
    struct platform_trust *trust;
    enum transfer_use use;
    struct platform_post *post;
    struct attempt attempt;
    struct answer_head head;
    struct tls_seen tls;
    struct curl_slist headers[PLATFORM_HEADERS];
    char authorization[1100];
    char words[CURL_ERROR_SIZE];
    char fault[160]; /* the first option or call of libcurl that failed; empty: none */
    int64_t started_ms;
    bool added;          /* to the multi handle */
    bool opened;         /* this transfer made its connection itself */
    bool reopened;       /* ... after it had sent its request on another: libcurl does that */
    bool has_connection; /* made, TLS included; as last seen */
    bool stale;          /* stopped by the guard */
    bool turned_away;    /* stopped, as the platform has just refused the client's certificate */
    bool redialled;      /* once is enough: a new connection is never stale */
    int open_error;      /* errno of a socket that could not be made */
};

struct platform {
    uv_loop_t *loop;
    const struct config *config;
    const struct platform_events *events;
    void *argument;
    CURLM *multi; /* NULL: none could be made */
    struct platform_trust *trust;
    unsigned generation; /* of trust */
    uv_timer_t timer;    /* libcurl's */
    uv_timer_t sweep;    /* while transfers run */
    uv_timer_t failing;  /* ends what is in `failed` */
    int open_timers;
    struct list idle[TRANSFER_USES];
    struct list active, awaiting;
    struct list failed; /* active ones that cannot go on */
    int64_t active_count;
    struct watch **watches; /* by descriptor */
    size_t watch_count;
    struct ports ports;
    int multi_failures; /* of libcurl's multi interface, one after another */
    int64_t complained_ms;
    bool certificate_settled; /* the platform has answered after it had asked for one */
    int64_t
        refused_ms; /* when the platform refused the client's certificate; 0: not with this one */
    int64_t awaited_ms; /* how long, in all, new connections were held up to see whether it does */
};

/* ---- platform.c */

/* Ends what libcurl has reported as done. */
void platform_take_ended(struct platform *platform);

/* What a call of the multi interface has returned: it has to work again before long, else all that
 * runs is ended and a new multi handle is made. */
void platform_multi_result(struct platform *platform, const char *what, CURLMcode code);

/* It has just done so. */
void platform_refuses_certificate(struct platform *platform);

/* The transfer cannot go on; `fault` says why. It ends soon, but not within this call. */
void platform_fail_soon(struct transfer *transfer);

/* ---- platform_transfer.c */

/* A slot with its easy handle; `fault` says if that failed. Released with transfer_free. */
struct transfer *transfer_new(struct platform *platform, enum transfer_use use);
void transfer_free(struct transfer *transfer);

/* Sets what the post has of its own, for one try. Returns 0; -1: `fault` says why. */
int transfer_prepare(struct transfer *transfer);

/* Writes down the first thing that failed. */
void transfer_fault(struct transfer *transfer, const char *what, const char *words);

/* No further request may use this transfer's connection. */
void transfer_spoil(struct transfer *transfer);

/* ---- platform_answer.c */

/* Takes a line of the answer's head, or of what stands behind its last chunk. Returns whether the
 * transfer goes on. */
bool answer_head_line(struct transfer *transfer, const char *line, size_t size);

/* The status of a final answer as libcurl has read it; 0: none yet. */
int answer_status(const struct transfer *transfer);

/* Whether the body that libcurl calls complete is, by its framing, and whether that is proven. */
bool answer_is_whole(const struct transfer *transfer, bool *proven);

/* Takes bytes of the body, framing included. Returns what libcurl's write callback returns. */
size_t answer_bytes(struct transfer *transfer, const char *bytes, size_t size);

/* ---- platform_tls.c */

/* Sets what libcurl has no option for. Returns 0 or -1. */
int platform_tls_init(struct error *error);
CURLcode platform_tls_context(CURL *easy, void *context, void *transfer);

/* Whether OpenSSL has bytes of the transfer's connection that nobody has read yet. */
bool platform_tls_pending(const struct transfer *transfer);

/* Fills transfer->tls, where it has a connection with TLS. */
void platform_tls_look(struct transfer *transfer);

/* ---- platform_ports.c */

void ports_init(struct ports *ports);

/* A connection whose port is not known yet. To forget it, take port_node out of its list. */
void ports_add(struct ports *ports, struct watch *watch);

/* The connections with that local port, one by one, however many there are with others; NULL: no
 * more. `after`: the last one found; NULL: begin. */
struct watch *ports_next(struct ports *ports, int local_port, const struct watch *after);

#define ports_each(watch, ports, local_port)                                                       \
    for (struct watch *watch = ports_next(ports, local_port, NULL); watch;                         \
         watch = ports_next(ports, local_port, watch))

/* ---- platform_sockets.c */

/* Ties the multi handle to the loop. Returns what libcurl said. */
CURLMcode platform_sockets_tie(struct platform *platform, CURLM *multi);

void platform_sockets_init(struct platform *platform);

/* Forgets all sockets; libcurl has none any more. */
void platform_sockets_forget(struct platform *platform);
void platform_sockets_fini(struct platform *platform);

/* Runs what libcurl has for its timers. */
void platform_sockets_turn(struct platform *platform);

/* Runs all transfers: libcurl before 8.4 makes the connection to the next address of a host, after
 * one that did not answer, only when something runs the transfer, and waits for neither a socket
 * nor a timer. */
void platform_sockets_kick(struct platform *platform);

/* libcurl's callbacks for the sockets of a transfer, with the transfer or the platform. */
curl_socket_t platform_socket_open(void *transfer, curlsocktype purpose,
                                   struct curl_sockaddr *address);
int platform_socket_close(void *platform, curl_socket_t socket);

/* Whether nothing may be asked on the transfer's connection: something waits there on which nothing
 * may (an answer that nobody asked for, or the end), it brought too much before, or it is too old.
 * libcurl does not tell the socket of a connection that it is about to use again
 * (CURLINFO_ACTIVESOCKET: none yet), so it is found by its local port. One that is not found counts
 * as stale: a new connection is always right. */
bool platform_has_gone_stale(struct transfer *transfer, int local_port);

/* Whether the peer of a new connection, which has asked for a certificate, refuses what it got:
 * with TLS 1.3 that comes a moment after the handshake, and is waited for, a few round trips at
 * most. */
bool platform_socket_refuses(struct platform *platform, int local_port);

/* Nothing else may be asked on that connection. */
void platform_socket_spoil(struct platform *platform, int local_port);
