/* Which addresses the files of recordings may be fetched from. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/* Whether the address is one of the public internet: not loopback, link-local, private, shared by a
 * carrier, multicast, reserved or unspecified; an IPv6 address that carries an IPv4 one (mapped,
 * NAT64, 6to4, Teredo) is judged by that one. What is neither IPv4 nor IPv6 is not public. */
bool address_is_public(const struct sockaddr *address);
