/* A small HTTP server for people and monitoring, with libmicrohttpd. It answers GET and HEAD with
 * what a handler renders; 304 for content that the client has, 400 for malformed requests, 404 for
 * paths that the handler does not know, 405 for other methods, 421 for other hosts (http_host.h).
 * It runs on its own thread, holds few connections, and closes idle ones, above all when new ones
 * come. The main thread calls http_new and http_free; only the server's thread calls the
 * handler. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

struct http_answer {
    int status;               /* 200 unless the handler sets it */
    const char *content_type; /* static; text/plain unless the handler sets it */
    const char *etag; /* static, in quotes: clients may cache the answer, and ask each time; NULL:
                         no caching */
    struct text body; /* released by the server */
};

struct http_handler {
    /* Renders the content of a path (decoded, without a query). false: there is none. The server's
     * thread; it must not block. */
    bool (*render)(void *argument, const char *path, struct http_answer *answer);
};

struct http;

/* Listens on `host:port` (an IPv6 address in brackets; port 0: a free one) and serves from then on,
 * also under the names in `hosts` (host[:port], with commas between them). handler and argument
 * must outlive the server. NULL on failure. */
struct http *http_new(const char *listen, const char *hosts, const struct http_handler *handler,
                      void *argument, struct error *error);

/* The address and port on which the server listens, as in a URL; valid as long as the server. */
const char *http_address(const struct http *http);

/* Ends the thread and all connections. http may be NULL. */
void http_free(struct http *http);
