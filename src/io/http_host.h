/* Which values of Host the HTTP server accepts. A foreign page may point its own host name to this
 * server's address (DNS rebinding), so that a visitor's browser reads this server for the page; but
 * the browser then sends the foreign name. IP addresses cannot be abused in this way, and probes
 * and scrapers use them. Owned by the server; read by its thread alone. */
#pragma once

#include <stddef.h>

struct http_hosts;

enum http_host { HTTP_HOST_TAKEN, HTTP_HOST_FOREIGN, HTTP_HOST_MALFORMED };

/* Accepts localhost with any port; the machine's name and the name in `listen`, with that port or
 * none; and each of `more` (host[:port], with commas between them) with its port, or with any port
 * if it names none. */
struct http_hosts *http_hosts_new(const char *listen, unsigned port, const char *more);

void http_hosts_free(struct http_hosts *hosts);

/* Of host[:port], n bytes. */
enum http_host http_hosts_check(const struct http_hosts *hosts, const char *host, size_t n);
