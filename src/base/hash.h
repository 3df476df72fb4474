/* FNV-1a, 64 bits: what is the same has the same hash in every process. For telling texts apart in
 * short, not for keys that somebody chooses (base/map.h has a seed for those). Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static const uint64_t HASH_EMPTY = 0xcbf29ce484222325u;

/* The hash of what `hash` stands for with n bytes behind it; begin with HASH_EMPTY. */
static inline uint64_t hash_add(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}
