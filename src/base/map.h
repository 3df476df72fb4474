/* Intrusive hash map from byte strings to objects: the node is a member of the object and points at
 * the key, which the object owns. The map grows by itself. No thread safety. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    const void *key;
    size_t key_size;
    uint64_t hash;
};

struct map {
    struct map_node **buckets;
    size_t bucket_count, count;
};

/* Replaces the random seed, on which the order of the buckets depends. For the simulation: a run
 * can be repeated only with the same order. No map may have nodes. */
void map_set_seed(uint64_t chosen);

void map_init(struct map *map);

/* Releases the map. The nodes belong to the caller. */
void map_fini(struct map *map);

/* The node with that key, or NULL. */
struct map_node *map_find(const struct map *map, const void *key, size_t key_size);

/* Adds a node. Its key must not be in the map yet, and must live as long as the node is in the map.
 */
void map_add(struct map *map, struct map_node *node, const void *key, size_t key_size);

/* Takes a node, which must be in the map, out of it. */
void map_remove(struct map *map, struct map_node *node);
