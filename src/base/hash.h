/* FNV-1a with 64 bits: equal texts have the same hash in every process. Use it to fingerprint
 * texts, not for keys that an attacker may choose (base/map.h has a seed for those). Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static const uint64_t HASH_EMPTY = 0xcbf29ce484222325u;

/* Adds n bytes to the text whose hash is `hash`, and returns the new hash. Begin with
 * HASH_EMPTY. */
static inline uint64_t hash_add(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}
