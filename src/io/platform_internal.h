/* Declarations that the files of io/platform share. platform.c starts and ends posts,
 * platform_transfer.c sets up libcurl's transfers and reads their outcomes, platform_answer.c reads
 * an answer's head and body, platform_framing.c finds its end, platform_chunks.c parses its chunks,
 * platform_sockets.c connects libcurl's sockets and timers to the loop, platform_peers.c passes
 * over addresses that fail, platform_ports.c finds connections by their local port,
 * platform_guard.c keeps a frozen process from sending late, platform_tls.c reads the state of TLS.
 * Everything runs on the loop's thread. */
#pragma once

#include <curl/curl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

#include "base/list.h"
#include "io/platform.h"
#include "io/platform_chunks.h"
#include "io/platform_framing.h"

enum { PLATFORM_HEADERS = 4, PORT_BUCKETS = 1024, PASSED_OVER = 8 };

/* What an easy handle is for. Its options never change, except those of one request. */
enum transfer_use { TRANSFER_CALL, TRANSFER_RECORDING, TRANSFER_FETCH, TRANSFER_USES };

/* An address and port, of IPv6 or IPv4. Compared by its bytes. */
struct peer {
    struct sockaddr_in6 address;
};

struct passed_peer {
    struct peer peer;
    int64_t tried_ms; /* when it was last tried; 0: it is not passed over */
};

/* The addresses that are passed over. The newest ones replace the oldest. */
struct passed_over {
    struct passed_peer peers[PASSED_OVER];
    unsigned added;
    int64_t logged_ms; /* 0: never */
};

/* A socket that libcurl waits for. It stays in the loop while its connection is idle in the pool,
 * which saves two system calls per request. */
struct watch {
    uv_poll_t poll;
    struct platform *platform;
    curl_socket_t socket;
    int armed; /* libuv's events; 0: none */
    bool pooled, of_connection;
    bool connected;        /* as last seen */
    bool not_reusable;     /* it has received more than its answer: no further request may use it */
    struct list port_node; /* of a connection, in platform.ports */
    int local_port;        /* of the connection; 0: not known yet */
    struct peer peer;      /* of the connection */
    ino_t inode;           /* of the connection's socket; 0: not known */
    int64_t made_ms;       /* CLOCK_BOOTTIME */
    unsigned generation;   /* generation of the certificates with which it was made */
};

/* The connections by local port. Two connections to different addresses may share a port. */
struct ports {
    struct list unknown, known[PORT_BUCKETS]; /* of watch.port_node */
};

/* The certificates, and the TLS sessions made with them. */
struct platform_trust {
    int references; /* counted by the loop's thread */
    unsigned generation;
    X509_STORE *posts, *fetches; /* the CAs for each */
    X509 *certificate;           /* the client certificate; NULL: none */
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    CURLSH *share;
};

/* The state of TLS of a transfer's connection. */
struct tls_seen {
    bool closed;                /* closed in order, by close_notify */
    bool certificate_asked_for; /* in a handshake of this transfer */
    bool certificate_wanted;    /* asked for, and there is none */
    bool certificate_asked;     /* with TLS 1.3, whether there is a client certificate or not */
    bool certificate_refused; /* the server refused the client certificate, or that there is none */
};

/* The parsed head of the answer, and how the body ends. */
struct answer_head {
    bool begun, done; /* begun: within a head; done: the final head is complete */
    bool old;         /* HTTP/1.0 */
    bool bodiless;    /* the status has no body */
    bool own_end;     /* libcurl may miss the end of the body, so it is found here */
    bool ended;       /* the end was found: the transfer is over */
    char line[512];   /* the last line of the head, which the next line may continue */
    size_t line_size; /* without bytes that did not fit */
    bool line_cut;
    struct framing framing;
    int64_t left;         /* with own_end: bytes left of the body, if its length is known */
    struct chunks chunks; /* of a chunked body that libcurl passes on unchanged */
    size_t taken;         /* already parsed, of the bytes that are delivered again after a pause */
};

/* One slot: an easy handle with all constant options set. */
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
    char fault[160]; /* the first failed option or call of libcurl; empty: none */
    int64_t started_ms;
    bool stood_still; /* the process has, since then */
    bool added;       /* to the multi handle */
    bool opened;      /* this transfer made its connection itself */
    bool
        reopened; /* libcurl opened a new connection after it had sent the request on another one */
    bool has_connection;                   /* connected, TLS included, when last checked */
    struct peer peer;                      /* of the connection in whose TLS it is, or was last */
    bool in_tls;                           /* its own new connection has got as far as TLS */
    const struct passed_peer *passed_over; /* an address that was; NULL: none */
    bool stale;                            /* stopped by the check of a reused connection */
    bool certificate_refused; /* stopped, because the platform has just refused the client
                                 certificate */
    bool reconnected;         /* was started again on a new connection, which is never stale */
    bool lookup_failed;       /* the handle is not used again: libcurl 8.14 leaks the name that it
                                 keeps of a failed lookup when it looks up the next one */
    int open_error;           /* errno of a socket that could not be opened */
};

/* A timer that ends with the lease of the request that was sent last. */
struct send_guard {
    enum { GUARD_NEW, GUARD_WORKS, GUARD_NONE } state;
    timer_t timer;
    int64_t until_ms; /* for when it was set last */
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
    uv_timer_t sweep;    /* runs while transfers are active */
    uv_timer_t failing;  /* ends the transfers in `failed` */
    int open_timers;
    struct list idle[TRANSFER_USES];
    struct list active, awaiting;
    struct list failed; /* active transfers that cannot go on */
    int64_t active_count;
    struct watch **watches; /* by descriptor */
    size_t watch_count;
    struct ports ports;
    int64_t turned_ms;  /* when the loop last came by, while transfers are active */
    int multi_failures; /* consecutive failures of libcurl's multi interface */
    int64_t complained_ms;
    bool certificate_settled; /* the platform has answered after it had asked for a client
                                 certificate */
    int64_t
        refused_ms; /* when the platform refused the client certificate; 0: never with this one */
    int64_t awaited_ms; /* total time for which new connections waited for such a refusal */
    struct passed_over passed_over, passed_over_of_files;
    struct send_guard guard;
};

/* ---- platform.c */

/* Ends the transfers that libcurl has reported as done. */
void platform_take_ended(struct platform *platform);

/* Notes the result of a call of the multi interface. If the calls keep failing, or one has no
 * memory left, all running transfers are ended and a new multi handle is made. */
void platform_multi_result(struct platform *platform, const char *what, CURLMcode code);
/* Whether there is a multi handle, and it is not to be replaced. */
bool platform_multi_works(const struct platform *platform);

/* Notes that the platform has just refused the client certificate. */
void platform_refuses_certificate(struct platform *platform);

/* If this process has stood still (SIGSTOP, a paused machine), the limits of the running transfers
 * begin where they stood: their answers may wait in the sockets. Called whenever the loop comes by
 * transfers. */
void platform_goes_on(struct platform *platform);

/* The transfer cannot go on; `fault` says why. It ends soon, but not during this call. */
void platform_fail_soon(struct transfer *transfer);

/* ---- platform_transfer.c */

/* Makes a slot with its easy handle; on failure `fault` says why. Released with transfer_free. */
struct transfer *transfer_new(struct platform *platform, enum transfer_use use);
void transfer_free(struct transfer *transfer);

/* Sets the post's own options, for one try. Returns 0; -1: `fault` says why. */
int transfer_prepare(struct transfer *transfer);

/* Stores the first failure. */
void transfer_fault(struct transfer *transfer, const char *what, const char *words);

/* No further request may use this transfer's connection. */
void transfer_spoil(struct transfer *transfer);

/* ---- platform_answer.c */

/* Reads a line of the answer's head or trailer. Returns whether the transfer goes on. */
bool answer_head_line(struct transfer *transfer, const char *line, size_t size);

/* The status of the final answer, as libcurl has read it; 0: none yet. */
int answer_status(const struct transfer *transfer);

/* Whether the body that libcurl reports as complete is complete by its framing, and whether that is
 * proven. */
bool answer_is_whole(const struct transfer *transfer, bool *proven);

/* Reads bytes of the body, including its framing. Returns what libcurl's write callback has to
 * return. */
size_t answer_bytes(struct transfer *transfer, const char *bytes, size_t size);

/* ---- platform_tls.c */

/* Prepares the settings for which libcurl has no option. Returns 0 or -1. */
int platform_tls_init(struct error *error);
CURLcode platform_tls_context(CURL *easy, void *context, void *transfer);

/* Whether OpenSSL holds unread bytes of the transfer's connection. */
bool platform_tls_pending(const struct transfer *transfer);

/* Fills transfer->tls, if the transfer has a connection with TLS. */
void platform_tls_look(struct transfer *transfer);

/* ---- platform_ports.c */

void ports_init(struct ports *ports);

/* Adds a connection whose port is not known yet. To remove it, take port_node out of its list. */
void ports_add(struct ports *ports, struct watch *watch);

/* Returns the connections with that local port, one by one; NULL: no more. `after`: the last one
 * found; NULL: begin. */
struct watch *ports_next(struct ports *ports, int local_port, const struct watch *after);

#define ports_each(watch, ports, local_port)                                                       \
    for (struct watch *watch = ports_next(ports, local_port, NULL); watch;                         \
         watch = ports_next(ports, local_port, watch))

/* ---- platform_guard.c */

/* From now until platform_guard_end, and from the end of until_ms on (CLOCK_BOOTTIME; INT64_MAX:
 * never), the connection with that local port is shut down before this thread does anything else.
 * Called before the look at the clock, by the thread that sends. */
void platform_guard_begin(struct platform *platform, int local_port, int64_t until_ms);

/* libcurl has run the transfer, or has returned: nothing is about to be sent. */
void platform_guard_end(void);

/* The same, if it is this socket, whose number may be another one's soon. */
void platform_guard_closed(int socket);

void platform_guard_fini(struct platform *platform);

/* ---- platform_peers.c */

struct peer platform_peer(const struct curl_sockaddr *address);

/* Whether the transfer must not connect to the address. */
bool platform_passes_over(struct transfer *transfer, const struct peer *peer);

/* The transfer has its connection, and is about to send. */
void platform_peer_works(struct transfer *transfer, int local_port);

/* The transfer has ended so. If its connection failed in TLS, the address is passed over from now
 * on. Returns whether the transfer has to start again, because only addresses that were passed over
 * are left. Then no address is any more, and nothing was sent. */
bool platform_peer_fails(struct transfer *transfer, CURLcode code);

/* ---- platform_sockets.c */

/* Connects the multi handle to the loop. Returns libcurl's result. */
CURLMcode platform_sockets_tie(struct platform *platform, CURLM *multi);

void platform_sockets_init(struct platform *platform);

/* Removes all sockets, when libcurl has none any more. */
void platform_sockets_forget(struct platform *platform);
void platform_sockets_fini(struct platform *platform);

/* Lets libcurl handle its expired timers. */
void platform_sockets_turn(struct platform *platform);

/* Runs all transfers. After an address of a host that did not answer, libcurl before 8.4 connects
 * to the next address only when something runs the transfer; it waits for neither a socket nor a
 * timer. */
void platform_sockets_run_all(struct platform *platform);

/* libcurl's callbacks for sockets; the argument is the transfer or the platform. */
curl_socket_t platform_socket_open(void *transfer, curlsocktype purpose,
                                   struct curl_sockaddr *address);
int platform_socket_close(void *platform, curl_socket_t socket);

/* Whether the transfer's connection must not be used again: unread input waits on it (an
 * unrequested answer, or the end), it received too much before, or it is too old. libcurl does not
 * report the socket of a connection that it is about to reuse (CURLINFO_ACTIVESOCKET: none yet), so
 * the connection is found by its local port. One that is not found counts as stale, because a new
 * connection is always safe. */
bool platform_has_gone_stale(struct transfer *transfer, int local_port);

/* Whether the peer of a new connection, which has asked for a certificate, refuses the answer. With
 * TLS 1.3 the refusal comes just after the handshake, so this function waits for it, for a few
 * round trips at most. */
bool platform_socket_refuses(struct platform *platform, int local_port);

/* Marks the connection: no further request may use it. */
void platform_socket_not_reusable(struct platform *platform, int local_port);
