#include "core/address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The blocks of IANA's registries of special-purpose addresses that are not the public internet. */
static const struct {
    uint32_t network;
    int bits;
} blocks4[] = {
    {0x00000000, 8},  /* 0.0.0.0/8: this network */
    {0x0a000000, 8},  /* 10.0.0.0/8: private */
    {0x64400000, 10}, /* 100.64.0.0/10: shared by a carrier's customers */
    {0x7f000000, 8},  /* 127.0.0.0/8: loopback */
    {0xa9fe0000, 16}, /* 169.254.0.0/16: link-local */
    {0xac100000, 12}, /* 172.16.0.0/12: private */
    {0xc0000000, 24}, /* 192.0.0.0/24: protocol assignments */
    {0xc0000200, 24}, /* 192.0.2.0/24: documentation */
    {0xc0586300, 24}, /* 192.88.99.0/24: relays of 6to4 */
    {0xc0a80000, 16}, /* 192.168.0.0/16: private */
    {0xc6120000, 15}, /* 198.18.0.0/15: benchmarks */
    {0xc6336400, 24}, /* 198.51.100.0/24: documentation */
    {0xcb007100, 24}, /* 203.0.113.0/24: documentation */
    {0xe0000000, 4},  /* 224.0.0.0/4: multicast */
    {0xf0000000, 4},  /* 240.0.0.0/4: reserved, broadcast */
};

static bool is_public4(const uint8_t bytes[4])
{
    uint32_t address =
        (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    for (size_t i = 0; i < sizeof blocks4 / sizeof *blocks4; i++)
        if ((address ^ blocks4[i].network) >> (32 - blocks4[i].bits) == 0)
            return false;
    return true;
}

static bool starts(const uint8_t bytes[16], const char *prefix, size_t size)
{
    return memcmp(bytes, prefix, size) == 0;
}

static bool is_public6(const uint8_t bytes[16])
{
    uint8_t obscured[4];
    if (starts(bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)) /* ::ffff:0:0/96: mapped IPv4 */
        return is_public4(bytes + 12);
    if (starts(bytes, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12)) /* 64:ff9b::/96: NAT64 */
        return is_public4(bytes + 12);
    if (starts(bytes, "\x20\x02", 2)) /* 2002::/16: 6to4 */
        return is_public4(bytes + 2);
    if (starts(bytes, "\x20\x01\0\0", 4)) { /* 2001::/32: Teredo, the client's address inverted */
        for (int i = 0; i < 4; i++)
            obscured[i] = (uint8_t)~bytes[12 + i];
        return is_public4(bytes + 4) && is_public4(obscured);
    }
    if (starts(bytes, "\x20\x01", 2) && bytes[2] < 2) /* 2001::/23: protocol assignments */
        return false;
    if (starts(bytes, "\x20\x01\x0d\xb8", 4) || /* 2001:db8::/32 and 3fff::/20: documentation */
        (starts(bytes, "\x3f\xff", 2) && bytes[2] < 0x10))
        return false;
    return bytes[0] >> 5 == 1; /* 2000::/3 is all that is global unicast */
}

bool address_is_public(const struct sockaddr *address)
{
    uint8_t bytes[16];
    if (address->sa_family == AF_INET) {
        memcpy(bytes, (const char *)address + offsetof(struct sockaddr_in, sin_addr), 4);
        return is_public4(bytes);
    }
    if (address->sa_family == AF_INET6) {
        memcpy(bytes, (const char *)address + offsetof(struct sockaddr_in6, sin6_addr), 16);
        return is_public6(bytes);
    }
    return false;
}
