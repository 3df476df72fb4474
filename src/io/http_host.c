#include "io/http_host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

enum { NAME_LIMIT = 255, ANY_PORT = -1, NO_PORT = -2 };

struct name {
    char *name; /* without a final dot */
    int port;   /* or ANY_PORT */
    bool own;   /* accepted without a port, too */
};

struct http_hosts {
    struct name *names;
    size_t count;
};

/* The parts of host[:port]: a name or an address (without brackets), and a port. */
struct parts {
    const char *name;
    size_t size;
    int port; /* or NO_PORT */
    bool bracketed;
};

/* Returns 0, or -1 if the text is not host[:port]. */
static int split(struct parts *parts, const char *host, size_t n)
{
    const char *end = host + n, *stop;
    parts->bracketed = n && *host == '[';
    if (parts->bracketed) {
        stop = memchr(host, ']', n);
        if (!stop)
            return -1;
        parts->name = host + 1;
        parts->size = (size_t)(stop++ - host) - 1;
    } else {
        stop = memchr(host, ':', n);
        stop = stop ? stop : end;
        parts->name = host;
        parts->size = (size_t)(stop - host);
    }
    parts->port = NO_PORT;
    if (!parts->size || parts->size > NAME_LIMIT || (stop < end && *stop != ':'))
        return -1;
    if (stop == end || stop + 1 == end)
        return 0;
    int port = 0;
    for (stop++; stop < end; stop++) {
        if (!isdigit((unsigned char)*stop) || port > 65535)
            return -1;
        port = port * 10 + *stop - '0';
    }
    parts->port = port;
    return port <= 65535 ? 0 : -1;
}

/* Whether a name has only characters that RFC 3986 allows in a host. */
static bool is_name(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c >= 0x80 || !c || (!isalnum(c) && !strchr("-._~!$&'()*+,;=%", c)))
            return false;
    }
    return true;
}

static bool is_address(const struct parts *parts)
{
    char text[NAME_LIMIT + 1];
    unsigned char address[sizeof(struct in6_addr)];
    size_t n = parts->size;
    if (parts->bracketed) { /* without a zone */
        const char *zone = memchr(parts->name, '%', n);
        n = zone ? (size_t)(zone - parts->name) : n;
    }
    snprintf(text, sizeof text, "%.*s", (int)n, parts->name);
    return inet_pton(parts->bracketed ? AF_INET6 : AF_INET, text, address) == 1;
}

enum http_host http_hosts_check(const struct http_hosts *hosts, const char *host, size_t n)
{
    struct parts parts;
    if (!n)
        return HTTP_HOST_FOREIGN;
    if (memchr(host, '\0', n) || split(&parts, host, n) < 0)
        return HTTP_HOST_MALFORMED;
    if (!parts.bracketed && parts.size > 1 && parts.name[parts.size - 1] == '.')
        parts.size--;
    if (is_address(&parts))
        return HTTP_HOST_TAKEN;
    if (parts.bracketed || !is_name(parts.name, parts.size))
        return HTTP_HOST_MALFORMED;
    for (size_t i = 0; i < hosts->count; i++) {
        const struct name *name = &hosts->names[i];
        bool port = name->port == ANY_PORT || name->port == parts.port ||
                    (name->own && parts.port == NO_PORT);
        if (port && strlen(name->name) == parts.size &&
            !strncasecmp(name->name, parts.name, parts.size))
            return HTTP_HOST_TAKEN;
    }
    return HTTP_HOST_FOREIGN;
}

static void add(struct http_hosts *hosts, const char *name, size_t n, int port, bool own)
{
    if (n > 1 && name[n - 1] == '.')
        n--;
    if (!n)
        return;
    hosts->names = memory_resize(hosts->names, (hosts->count + 1) * sizeof *hosts->names);
    hosts->names[hosts->count++] =
        (struct name){.name = memory_copy(name, n), .port = port, .own = own};
}

struct http_hosts *http_hosts_new(const char *listen, unsigned port, const char *more)
{
    struct http_hosts *hosts = memory_zeroed(1, sizeof *hosts);
    char machine[NAME_LIMIT + 1] = "";
    struct parts parts;
    gethostname(machine, sizeof machine - 1);
    /* With any port, because a forwarded port (kubectl port-forward, ssh -L) is another one. */
    add(hosts, "localhost", strlen("localhost"), ANY_PORT, true);
    add(hosts, machine, strlen(machine), (int)port, true);
    if (!split(&parts, listen, strlen(listen)))
        add(hosts, parts.name, parts.size, (int)port, true);
    while (*more) {
        more += strspn(more, ", \t");
        size_t n = strcspn(more, ", \t");
        if (n && !split(&parts, more, n))
            add(hosts, parts.name, parts.size, parts.port == NO_PORT ? ANY_PORT : parts.port,
                false);
        more += n;
    }
    return hosts;
}

void http_hosts_free(struct http_hosts *hosts)
{
    if (!hosts)
        return;
    for (size_t i = 0; i < hosts->count; i++)
        free(hosts->names[i].name);
    free(hosts->names);
    free(hosts);
}
