/* What the tests of the call thread share: the thread itself, a server of scripts (server.h), and
 * what comes back. */
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>

#include "base/list.h"
#include "base/queue.h"
#include "core/config.h"
#include "core/request.h"
#include "server.h"
#include "worker/call_thread.h"

#define TOKEN   "test-token"
#define NAME    "several.example" /* in the server's certificate; test_connections.c resolves it */
#define OK_BODY "{\"Flag\": 1, \"Msg\": \"8617115230000\"}"
#define OK_ANSWER                                                                                  \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 35\r\n\r\n" OK_BODY
#define STATUS_ANSWER(line) "HTTP/1.1 " line "\r\nContent-Length: 0\r\n\r\n"

struct bench {
    struct config config;
    struct server files; /* where URLs of recordings point to */
    char store[64];
    struct server server;
    struct queue finished;
    struct list taken;
    pthread_mutex_t lock;
    pthread_cond_t pushed;
    struct call_thread *thread;
    int64_t allowance; /* as last told; -1: never */
    char ca_file[64];
    SSL_CTX *tls;
};

/* How many parts of files are in the store; removes all files when asked. */
int count_store(const struct bench *bench, bool remove_them);
/* cmocka: a bench in *state, and its end. */
int set_up(void **state);
int tear_down(void **state);
/* The call thread, with that platform.url. */
void open_thread(struct bench *bench, const char *url);
/* A request; the next ones hand it over, and take what comes back within 10 s. */
struct request *request_of(enum request_kind kind, int64_t offset);
void start(struct bench *bench, enum request_kind kind, int64_t offset);
struct request *next_request(struct bench *bench);
/* Waits until that many calls are allowed. */
void await_allowance(struct bench *bench, int64_t calls);
/* The next request that comes back is finished so, after one try. */
void ends(struct bench *bench, enum status status, const char *code);
/* The next one comes back so, and is to be tried again. */
void comes_back(struct bench *bench, enum call_end end);
/* Before the thread is opened: recordings are kept in a new directory, and tried once. */
void open_store(struct bench *bench);
/* The same and the thread: the platform answers with a URL at bench->files, which has this script.
 */
void open_url(struct bench *bench, const char *path, const struct reply *script, int length);
/* Before the server starts: it speaks TLS, and the worker trusts it. */
void use_tls(struct bench *bench);
/* Whether a warning or an error with these words was logged. */
bool is_logged(const char *words);

#define OPEN(bench, ...)                                                                           \
    do {                                                                                           \
        static const struct reply script[] = {__VA_ARGS__};                                        \
        server_start(&(bench)->server, "127.0.0.1", (bench)->tls, script,                          \
                     (int)(sizeof script / sizeof *script));                                       \
        open_thread(bench, (bench)->server.url);                                                   \
    } while (0)

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
