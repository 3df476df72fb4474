/* Parses where the sandbox's servers listen: "host:port" or "[v6]:port". */
#pragma once

#include <stddef.h>
#include <sys/socket.h>

#include "base/error.h"

struct sandbox_address {
    char host[256]; /* without brackets */
    char port[8];   /* 0 to 65535 */
};

/* Returns 0, or -1 for any other form. */
int sandbox_address_split(struct sandbox_address *address, const char *text, struct error *error);

/* Writes it so, the host in brackets when it is an IPv6 address. */
void sandbox_address_join(const struct sandbox_address *address, char *text, size_t size);

/* The address and port, in figures, of an IPv4 or IPv6 socket. */
void sandbox_address_of_name(struct sandbox_address *address, const struct sockaddr_storage *name);
