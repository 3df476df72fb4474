#include "sandbox/platform/certificate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

enum { VALID_FROM_S = -86400, VALID_UNTIL_S = 90 * 86400 };

/* A certificate together with its key. */
struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void identity_fini(struct identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
}

static int openssl_error(struct error *error, const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    return error_set(error, "%s: %s", what, text);
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (!extension)
        return -1;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added ? 0 : -1;
}

static int set_serial(X509 *certificate)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return -1;
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive and of full length */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return set ? 0 : -1;
}

static int set_name(X509 *certificate, const char *name)
{
    return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                      (const unsigned char *)name, -1, -1, 0)
               ? 0
               : -1;
}

/* A key and an unsigned certificate for it. */
static int identity_begin(struct identity *identity, const char *name)
{
    identity->key = EVP_EC_gen("P-256");
    identity->certificate = X509_new();
    X509 *certificate = identity->certificate;
    if (!identity->key || !certificate || !X509_set_version(certificate, X509_VERSION_3))
        return -1;
    if (!X509_gmtime_adj(X509_getm_notBefore(certificate), VALID_FROM_S) ||
        !X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_UNTIL_S))
        return -1;
    if (!X509_set_pubkey(certificate, identity->key) || set_serial(certificate))
        return -1;
    return set_name(certificate, name);
}

static int make_ca(struct identity *ca)
{
    if (identity_begin(ca, "privacy-call sandbox CA"))
        return -1;
    X509 *certificate = ca->certificate;
    if (!X509_set_issuer_name(certificate, X509_get_subject_name(certificate)))
        return -1;
    if (add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE") ||
        add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        add_extension(certificate, certificate, NID_subject_key_identifier, "hash"))
        return -1;
    return X509_sign(certificate, ca->key, EVP_sha256()) ? 0 : -1;
}

static int make_server(struct identity *server, const struct identity *ca, const char *names)
{
    if (identity_begin(server, "privacy-call sandbox platform"))
        return -1;
    X509 *certificate = server->certificate, *issuer = ca->certificate;
    if (!X509_set_issuer_name(certificate, X509_get_subject_name(issuer)))
        return -1;
    if (add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
        add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature") ||
        add_extension(certificate, issuer, NID_ext_key_usage, "serverAuth") ||
        add_extension(certificate, issuer, NID_subject_key_identifier, "hash") ||
        add_extension(certificate, issuer, NID_authority_key_identifier, "keyid") ||
        add_extension(certificate, issuer, NID_subject_alt_name, names))
        return -1;
    return X509_sign(certificate, ca->key, EVP_sha256()) ? 0 : -1;
}

/* The names go into an OpenSSL configuration string, in which commas and similar characters have a
 * meaning. */
static bool is_dns_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.' && *c != '_')
            return false;
    return *name && strlen(name) <= 253;
}

static int add_host(struct text *names, const char *host, struct error *error)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        text_printf(names, ",IP:%s", host);
    else if (is_dns_name(host))
        text_printf(names, ",DNS:%s", host);
    else
        return error_set(error, "\"%s\" is no host name", host);
    return 0;
}

static int collect_names(struct text *names, const char *host, const char *const *more,
                         struct error *error)
{
    text_add(names, "DNS:localhost,IP:127.0.0.1,IP:::1");
    char own[256] = "";
    if (!gethostname(own, sizeof own - 1) && is_dns_name(own))
        text_printf(names, ",DNS:%s", own);
    if (add_host(names, host, error))
        return -1;
    for (; more && *more; more++)
        if (add_host(names, *more, error))
            return -1;
    return 0;
}

/* Writes the key if there is one, readable by the owner only; otherwise the certificate. */
static int write_pem(const char *path, X509 *certificate, EVP_PKEY *key, struct error *error)
{
    struct text aside = {0};
    text_printf(&aside, "%s.%ld", path, (long)getpid());
    int fd = open(aside.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, key ? 0600 : 0644);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool written = file && (key ? PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)
                                : PEM_write_X509(file, certificate));
    if (file && fclose(file))
        written = false;
    if (written)
        written = !rename(aside.data, path);
    if (!written) {
        error_set(error, "cannot write %s: %m", path);
        unlink(aside.data);
    }
    text_fini(&aside);
    return written ? 0 : -1;
}

static bool still_valid(const struct identity *identity)
{
    time_t tomorrow = time(NULL) - VALID_FROM_S;
    return identity->certificate && identity->key &&
           X509_cmp_time(X509_get0_notAfter(identity->certificate), &tomorrow) > 0 &&
           X509_check_private_key(identity->certificate, identity->key) == 1;
}

/* Reads a CA that an earlier run has left. Returns false, with *ca empty, if there is none that is
 * still valid. */
static bool read_ca(struct identity *ca, const char *ca_file, const char *key_file)
{
    FILE *certificate = fopen(ca_file, "re"), *key = fopen(key_file, "re");
    if (certificate && key) {
        ca->certificate = PEM_read_X509(certificate, NULL, NULL, NULL);
        ca->key = PEM_read_PrivateKey(key, NULL, NULL, NULL);
    }
    if (certificate)
        fclose(certificate);
    if (key)
        fclose(key);
    bool good = still_valid(ca);
    if (!good) {
        identity_fini(ca);
        *ca = (struct identity){0};
    }
    ERR_clear_error();
    return good;
}

/* The CA of an earlier run, or a new one. keep: keep it for later runs. */
static int get_ca(struct identity *ca, const char *ca_file, bool keep, struct error *error)
{
    struct text key_file = {0};
    text_printf(&key_file, "%s.key", ca_file);
    int result = 0;
    if (!keep || !read_ca(ca, ca_file, key_file.data)) {
        result = make_ca(ca) ? openssl_error(error, "cannot make a certificate") : 0;
        if (!result && keep)
            result = write_pem(key_file.data, NULL, ca->key, error);
        if (!result)
            result = write_pem(ca_file, ca->certificate, NULL, error);
    }
    text_fini(&key_file);
    return result;
}

/* The platform speaks HTTP/1.1 only, so it chooses that from the protocols that a client offers. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned int offered_size, void *unused)
{
    (void)ssl;
    (void)unused;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_size, ours, sizeof ours - 1, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_context(const struct identity *server)
{
    static const unsigned char session_id[] = "privacy-call-sandbox";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_session_id_context(context, session_id, sizeof session_id - 1);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); /* head and body of a record in one read(2) */
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (SSL_CTX_use_certificate(context, server->certificate) == 1 &&
        SSL_CTX_use_PrivateKey(context, server->key) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *sandbox_certificate_context(const char *host, const char *const *names,
                                     const char *ca_file, bool keep, struct error *error)
{
    struct identity ca = {0}, server = {0};
    struct text all = {0};
    SSL_CTX *context = NULL;
    if (collect_names(&all, host, names, error) || get_ca(&ca, ca_file, keep, error))
        goto done;
    if (make_server(&server, &ca, all.data)) {
        openssl_error(error, "cannot make a certificate");
        goto done;
    }
    context = make_context(&server);
    if (!context)
        openssl_error(error, "cannot set up TLS");
done:
    identity_fini(&server);
    identity_fini(&ca);
    text_fini(&all);
    return context;
}
