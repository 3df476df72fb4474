#include "core/hash_functions.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>

static struct hash_functions functions;
static char reason[200] = "unknown error";

/* "-fips": some distributions demand FIPS of each library context. */
static void load(void)
{
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    if (context && OSSL_PROVIDER_load(context, "default")) {
        functions.md5 = EVP_MD_fetch(context, "MD5", "-fips");
        functions.sha256 = EVP_MD_fetch(context, "SHA256", "-fips");
    }
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
}

static void load_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
}

int hash_functions_check(struct error *error)
{
    load_once();
    if (functions.md5 && functions.sha256)
        return 0;
    return error_set(error,
                     "OpenSSL: expected a library with MD5 (the platform demands it in signatures) "
                     "and SHA-256, but its default provider has no %s: %s; use an OpenSSL that is "
                     "built with both",
                     functions.md5 ? "SHA-256" : "MD5", reason);
}

const struct hash_functions *hash_functions(void)
{
    load_once();
    assert(functions.md5 && functions.sha256); /* hash_functions_check */
    return &functions;
}
