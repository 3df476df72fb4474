#include "sandbox/address.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int sandbox_address_split(struct sandbox_address *address, const char *text, struct error *error)
{
    const char *colon = strrchr(text, ':'), *host = text;
    int64_t port;
    size_t length = colon ? (size_t)(colon - text) : 0;
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']')
        host++, length -= 2;
    if (!length || length >= sizeof address->host || text_to_integer(colon + 1, 0, 65535, &port))
        return error_set(error, "\"%s\" is no ADDRESS:PORT", text);
    memcpy(address->host, host, length);
    address->host[length] = '\0';
    snprintf(address->port, sizeof address->port, "%d", (int)port);
    return 0;
}

void sandbox_address_join(const struct sandbox_address *address, char *text, size_t size)
{
    bool v6 = strchr(address->host, ':');
    snprintf(text, size, "%s%s%s:%s", v6 ? "[" : "", address->host, v6 ? "]" : "", address->port);
}

void sandbox_address_of_name(struct sandbox_address *address, const struct sockaddr_storage *name)
{
    *address = (struct sandbox_address){0};
    getnameinfo((const struct sockaddr *)name, sizeof *name, address->host, sizeof address->host,
                address->port, sizeof address->port, NI_NUMERICHOST | NI_NUMERICSERV);
}
