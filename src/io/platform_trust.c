/* The certificates. Any thread reads and checks them; the loop's thread uses them. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/memory.h"
#include "core/config_source.h"
#include "io/platform_internal.h"

enum { PEM_LIMIT = 1024 * 1024 };

/* Stores OpenSSL's first error, and clears its queue. */
static int openssl_error(struct error *error, const char *what)
{
    char words[200] = "unknown error";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, words, sizeof words);
    ERR_clear_error();
    return error_set(error, "%s: %s", what, words);
}

int platform_check_tls(struct error *error)
{
    static const char advice[] =
        "OpenSSL cannot be used for TLS; expected a configuration of OpenSSL (openssl.cnf, "
        "OPENSSL_CONF, kafka.ssl.providers) with providers and properties that allow it";
    unsigned char byte;
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool usable = context && RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1;
    SSL_CTX_free(context);
    return usable ? 0 : openssl_error(error, advice);
}

/* ---- authorities */

static X509_STORE *store_new(void)
{
    X509_STORE *store = memory_must(X509_STORE_new());
    X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    return store;
}

static int add_file(X509_STORE *store, const char *key, const char *file, struct error *error)
{
    if (X509_STORE_load_file(store, file) == 1)
        return 0;
    openssl_error(error, file);
    return error_prefix(error, "%s: ", key);
}

static int add_system(X509_STORE *store, struct error *error)
{
    const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);
    if (built->cainfo)
        return add_file(store, "the system's certificates", built->cainfo, error);
    if (built->capath && X509_STORE_load_path(store, built->capath) == 1)
        return 0;
    if (!built->capath && X509_STORE_set_default_paths(store) == 1)
        return 0;
    return openssl_error(error, "the system's certificates");
}

/* Loads the CAs: for posts those of platform.ca.file or of the system, for fetches both. */
static int load_authorities(struct platform_trust *trust, const struct config *config,
                            struct error *error)
{
    const char *file = config->platform_ca_file;
    trust->posts = store_new();
    if (!file) {
        X509_STORE_up_ref(trust->posts);
        trust->fetches = trust->posts;
        return add_system(trust->posts, error);
    }
    trust->fetches = store_new();
    return add_file(trust->posts, "platform.ca.file", file, error) ||
                   add_file(trust->fetches, "platform.ca.file", file, error) ||
                   add_system(trust->fetches, error)
               ? -1
               : 0;
}

/* ---- the client's certificate */

/* A key with a passphrase cannot be read, because nobody can enter the passphrase. */
static int no_passphrase(char *out, int size, int writing, void *unused)
{
    (void)out, (void)size, (void)writing, (void)unused;
    return -1;
}

static BIO *open_file(const char *key, const char *file, struct text *content, struct error *error)
{
    if (config_read_file(file, PEM_LIMIT, content, error) < 0) {
        error_prefix(error, "%s: ", key);
        return NULL;
    }
    return memory_must(BIO_new_mem_buf(content->data ? content->data : "", (int)content->length));
}

static int load_chain(struct platform_trust *trust, BIO *bio, struct error *error)
{
    X509 *next;
    trust->certificate = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
    if (!trust->certificate)
        return openssl_error(error, "platform.cert.file: no certificate (PEM)");
    trust->chain = memory_must(sk_X509_new_null());
    while ((next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
        sk_X509_push(trust->chain, next);
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return openssl_error(error, "platform.cert.file");
    ERR_clear_error();
    return 0;
}

static int load_key(struct platform_trust *trust, const char *name, BIO *bio, struct error *error)
{
    trust->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (!trust->key) {
        openssl_error(error, "no private key (PEM, without a passphrase)");
        return error_prefix(error, "%s: ", name);
    }
    if (X509_check_private_key(trust->certificate, trust->key) != 1) {
        openssl_error(error, "it is not the key of the certificate in platform.cert.file");
        return error_prefix(error, "%s: ", name);
    }
    return 0;
}

static int load_certificate(struct platform_trust *trust, const struct config *config,
                            struct error *error)
{
    const char *certificate = config->platform_cert_file;
    const char *key = config->platform_key_file ? config->platform_key_file : certificate;
    const char *key_name = config->platform_key_file ? "platform.key.file" : "platform.cert.file";
    struct text content = {0}, key_content = {0};
    int rc = -1;
    BIO *bio = open_file("platform.cert.file", certificate, &content, error);
    BIO *key_bio = bio ? open_file(key_name, key, &key_content, error) : NULL;
    if (key_bio && !load_chain(trust, bio, error))
        rc = load_key(trust, key_name, key_bio, error);
    BIO_free(bio);
    BIO_free(key_bio);
    if (key_content.data)
        memset(key_content.data, 0, key_content.length);
    text_fini(&content);
    text_fini(&key_content);
    return rc;
}

/* ---- all together */

const char *platform_authorities_file(const struct config *config)
{
    const char *own = config->platform_ca_file;
    return own ? own : curl_version_info(CURLVERSION_NOW)->cainfo;
}

static int check_groups(const struct config *config, struct error *error)
{
    if (!config->platform_tls_groups)
        return 0;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int rc = 0;
    if (!context)
        return openssl_error(error, "platform.tls.groups");
    if (SSL_CTX_set1_groups_list(context, config->platform_tls_groups) != 1)
        rc = error_set(error, "platform.tls.groups: expected names of TLS groups that this OpenSSL "
                              "knows, with colons between them");
    ERR_clear_error();
    SSL_CTX_free(context);
    return rc;
}

static int share_new(struct platform_trust *trust, struct error *error)
{
    trust->share = curl_share_init();
    if (!trust->share)
        return error_set(error, "curl_share_init: no handle");
    CURLSHcode code = curl_share_setopt(trust->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return code ? error_set(error, "curl_share_setopt: %s", curl_share_strerror(code)) : 0;
}

struct platform_trust *platform_trust_load(const struct config *config, struct error *error)
{
    struct platform_trust *trust = memory_zeroed(1, sizeof *trust);
    trust->references = 1;
    if (!check_groups(config, error) && !load_authorities(trust, config, error) &&
        (!config->platform_cert_file || !load_certificate(trust, config, error)) &&
        !share_new(trust, error))
        return trust;
    platform_trust_release(trust);
    return NULL;
}

void platform_trust_release(struct platform_trust *trust)
{
    if (!trust || --trust->references > 0)
        return;
    X509_STORE_free(trust->posts);
    X509_STORE_free(trust->fetches);
    X509_free(trust->certificate);
    sk_X509_pop_free(trust->chain, X509_free);
    EVP_PKEY_free(trust->key);
    curl_share_cleanup(trust->share);
    free(trust);
}
