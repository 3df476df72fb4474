/* The table of the worker's own keys (all except `kafka.*`), one row per key. It is constant; tests
 * compare docs/configuration.md and config/privacy-call-worker.conf with it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/config.h"

struct config_key {
    const char *name;
    const char *fallback; /* the default's text; NULL: the key is required */
    /* Reads a value into its field of struct config. Returns 0, or -1 with the expected value as
     * error. */
    int (*set)(const struct config_key *key, const char *value, void *field, struct error *why);
    size_t field;     /* offset in struct config */
    int64_t min, max; /* limits of an integer, or of a name's length */
    bool secret;
    bool derived; /* the default follows from kafka.* keys and is set after them; fallback then
                     describes it */
    /* Computes a default that depends on the machine; fallback then describes it. */
    void (*compute)(const struct config_input *input, char value[256]);
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* The row of a key, or NULL. */
const struct config_key *config_key_find(const char *name);
