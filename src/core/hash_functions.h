/* OpenSSL's hash functions that the worker needs. They come from a library context of the worker's
 * own with OpenSSL's default provider: what openssl.cnf, FIPS or kafka.ssl.providers forbid to the
 * rest of the process does not count for them. They protect no secret: MD5 is a part of the
 * platform's interface, and SHA-256 tells files apart. Any thread. */
#pragma once

#include <openssl/types.h>

#include "base/error.h"

struct hash_functions {
    const EVP_MD *md5, *sha256;
};

/* Whether this OpenSSL has them. Called before the first use. Returns 0 or -1. */
int hash_functions_check(struct error *error);

const struct hash_functions *hash_functions(void);
