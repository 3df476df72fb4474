/* Which values of Host the HTTP server takes. A page elsewhere may give its own name this server's
 * address (DNS rebinding) and have a visitor's browser read it; but the browser then sends that
 * name. Addresses cannot be so abused, and probes and scrapers use them. Owned by the server; read
 * by its thread alone. */
#pragma once

#include <stddef.h>

struct http_hosts;

enum http_host { HTTP_HOST_TAKEN, HTTP_HOST_FOREIGN, HTTP_HOST_MALFORMED };

/* Takes localhost with any port; the machine's name and the name listened on with that port or
 * none; and of `more` (host[:port], with commas between them) each with its port, or with any where
 * it has none. */
struct http_hosts *http_hosts_new(const char *listen, unsigned port, const char *more);

void http_hosts_free(struct http_hosts *hosts);

/* Of host[:port], n bytes. */
enum http_host http_hosts_check(const struct http_hosts *hosts, const char *host, size_t n);
