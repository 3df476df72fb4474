/* A small HTTP server for people and monitoring, by libmicrohttpd: GET and HEAD of what a handler
 * renders; 304 for what the client has, 400 for what is malformed, 404 for what the handler does
 * not know, 405 for other methods, 421 for other hosts (http_host.h). It runs on one thread of its
 * own, holds few connections, and drops idle ones, above all when others come. It knows nothing of
 * what it serves. http_new and http_free are the main thread's; the handler is called by the
 * server's thread alone.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

struct http_answer {
    int status;               /* 200 unless the handler sets it */
    const char *content_type; /* static; text/plain unless the handler sets it */
    const char *etag;         /* static, in quotes: may be kept, and is asked about each time; NULL:
                                 nobody keeps it */
    struct text body;         /* the server's to release */
};

struct http_handler {
    /* Renders what stands under the path (decoded, without a query). false: nothing does. Server's
     * thread; must not wait for anything. */
    bool (*render)(void *argument, const char *path, struct http_answer *answer);
};

struct http;

/* Listens on `host:port` (an IPv6 address in brackets; port 0: a free one) and serves from then on,
 * also under the names in `hosts` (host[:port], with commas between them). handler and argument
 * must outlive it. NULL on failure. */
struct http *http_new(const char *listen, const char *hosts, const struct http_handler *handler,
                      void *argument, struct error *error);

/* The address and port it listens on, as a URL has them; lasts as long as the server. */
const char *http_address(const struct http *http);

/* Ends the thread and all connections. NULL is fine. */
void http_free(struct http *http);
