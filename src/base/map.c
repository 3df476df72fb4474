#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/memory.h"

/* Keys come from outside. A random seed keeps an attacker from choosing keys that share a
 * bucket. */
static uint64_t seed;

static void __attribute__((constructor)) draw_seed(void)
{
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint64_t)(uintptr_t)&seed;
}

void map_set_seed(uint64_t chosen)
{
    seed = chosen;
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static uint64_t hash_of(const void *key, size_t size)
{
    const unsigned char *p = key;
    uint64_t h = seed ^ (size * 0x9e3779b97f4a7c15u);
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = mix(h ^ word);
    }
    uint64_t tail = 0;
    memcpy(&tail, p, size);
    return mix(h ^ tail);
}

void map_init(struct map *map)
{
    *map = (struct map){.bucket_count = 64};
    map->buckets = memory_zeroed(map->bucket_count, sizeof *map->buckets);
}

void map_fini(struct map *map)
{
    free(map->buckets);
    *map = (struct map){0};
}

static struct map_node **bucket_of(const struct map *map, uint64_t hash)
{
    return &map->buckets[hash & (map->bucket_count - 1)];
}

struct map_node *map_find(const struct map *map, const void *key, size_t key_size)
{
    uint64_t hash = hash_of(key, key_size);
    struct map_node *node = *bucket_of(map, hash);
    while (node && (node->hash != hash || node->key_size != key_size ||
                    memcmp(node->key, key, key_size) != 0))
        node = node->next;
    return node;
}

static void map_grow(struct map *map)
{
    struct map bigger = {.bucket_count = map->bucket_count * 2, .count = map->count};
    bigger.buckets = memory_zeroed(bigger.bucket_count, sizeof *bigger.buckets);
    for (size_t i = 0; i < map->bucket_count; i++) {
        for (struct map_node *node = map->buckets[i], *next; node; node = next) {
            next = node->next;
            struct map_node **bucket = bucket_of(&bigger, node->hash);
            node->next = *bucket;
            *bucket = node;
        }
    }
    free(map->buckets);
    *map = bigger;
}

void map_add(struct map *map, struct map_node *node, const void *key, size_t key_size)
{
    if (map->count >= map->bucket_count)
        map_grow(map);
    *node = (struct map_node){.key = key, .key_size = key_size, .hash = hash_of(key, key_size)};
    struct map_node **bucket = bucket_of(map, node->hash);
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

void map_remove(struct map *map, struct map_node *node)
{
    struct map_node **at = bucket_of(map, node->hash);
    while (*at != node) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    map->count--;
}
