/* A small HTTP server for tests: a thread for each connection, answers by script, byte for byte. It
 * writes down every request that arrives whole. */
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum then {
    THEN_KEEP,  /* read the next request of that connection */
    THEN_CLOSE, /* orderly */
    THEN_RESET,
    THEN_HANG, /* until the server ends */
};

struct reply {
    const char *bytes; /* NULL: none */
    enum then then;
};

enum { SERVER_CONNECTIONS = 4096, SERVER_REQUESTS = 4096 };

struct server_connection {
    struct server *server;
    pthread_t thread;
    int fd;
    SSL *tls;
};

struct server {
    char url[64];
    int port;
    SSL_CTX *tls;              /* NULL: plain HTTP; borrowed */
    _Atomic bool hang_connect; /* accept, and say nothing */
    int connect_delay_ms;      /* before TLS */
    int delay_ms;              /* before each answer */
    const char *greeting;      /* what each connection begins with; NULL: nothing */
    const char *more; /* what comes behind the first answer, after more_ms; NULL: nothing */
    int more_ms;
    bool says_goodbye;               /* TLS ends with close_notify */
    _Atomic bool shakes_hands_again; /* before each answer (TLS 1.2) */
    int listener;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct server_connection connections[SERVER_CONNECTIONS];
    int connection_count;
    char *requests[SERVER_REQUESTS];
    bool more_sent;
    int request_count, open, most_open; /* requests unanswered: now, and at most */
    const struct reply *script;         /* by number of the request; the last one repeats */
    int script_length;
};

/* Listens on a free port of the address; script replies are borrowed. */
void server_start(struct server *server, const char *address, SSL_CTX *tls,
                  const struct reply *script, int script_length);

void server_start_at(struct server *server, const char *address, int port, SSL_CTX *tls,
                     const struct reply *script, int script_length);

/* Waits until that many requests have arrived. */
void server_await(struct server *server, int requests);

/* Waits until what comes behind the first answer has been sent. */
void server_await_more(struct server *server);

/* Writes bytes (plain HTTP), or closes, on the newest connection, unasked; returns when it has
 * arrived there. */
void server_poke(struct server *server, const char *bytes, bool close);

int server_requests(struct server *server);
int server_connections(struct server *server);
void server_stop(struct server *server);
