#include "core/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/hash_functions.h"

struct digest {
    EVP_MD_CTX *context;
};

/* OpenSSL fails only without memory. */
static void must(int ok)
{
    if (ok != 1)
        memory_must(NULL);
}

struct digest *digest_new(void)
{
    struct digest *digest = memory_zeroed(1, sizeof *digest);
    digest->context = memory_must(EVP_MD_CTX_new());
    must(EVP_DigestInit_ex(digest->context, hash_functions()->sha256, NULL));
    return digest;
}

void digest_add(struct digest *digest, const void *bytes, size_t n)
{
    must(EVP_DigestUpdate(digest->context, bytes, n));
}

void digest_text(struct digest *digest, char out[65])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    must(EVP_DigestFinal_ex(digest->context, bytes, &size));
    for (unsigned i = 0; i < size && i < 32; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[64] = '\0';
    must(EVP_DigestInit_ex(digest->context, hash_functions()->sha256, NULL));
}

void digest_free(struct digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}
