#include <openssl/err.h>
#include <openssl/ssl.h>

#include "io/platform_internal.h"

/* The observed state of one TLS connection, as bits of its ex_data. */
enum {
    TLS_CLOSED = 1,      /* close_notify has come */
    TLS_CERT_WANTED = 2, /* a client certificate was requested, and there is none */
    TLS_ALERTED = 4,     /* a fatal alert has come: */
    TLS_CERT_ASKED = 8,  /* a client certificate was requested */
    TLS_ALERT_SHIFT = 8,
};

static int tls_index = -1; /* index of ex_data, which OpenSSL assigns per process */

int platform_tls_init(struct error *error)
{
    if (tls_index < 0)
        tls_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return tls_index < 0 ? error_set(error, "OpenSSL: no index for the data of a connection") : 0;
}

static uintptr_t seen(const SSL *ssl)
{
    return (uintptr_t)SSL_get_ex_data(ssl, tls_index);
}

static void see(const SSL *ssl, uintptr_t bits)
{
    SSL_set_ex_data((SSL *)(uintptr_t)ssl, tls_index, (void *)(seen(ssl) | bits));
}

/* Also noted in the transfer that makes the handshake, because after a failed handshake libcurl
 * does not show the connection any more. In a later handshake (NULL) it is not known who uses the
 * connection. */
static int on_certificate_asked(SSL *ssl, void *argument)
{
    struct transfer *transfer = argument;
    if (transfer)
        transfer->tls.certificate_asked_for = true;
    see(ssl, SSL_get_certificate(ssl) ? TLS_CERT_ASKED : TLS_CERT_ASKED | TLS_CERT_WANTED);
    return 1;
}

static void on_state(const SSL *ssl, int where, int value)
{
    /* The connection may outlive the transfer that has made it. */
    if (where & SSL_CB_HANDSHAKE_DONE)
        SSL_set_cert_cb((SSL *)(uintptr_t)ssl, on_certificate_asked, NULL);
    if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT)
        return;
    if ((value & 0xff) == SSL3_AD_CLOSE_NOTIFY)
        see(ssl, TLS_CLOSED);
    else if (value >> 8 == SSL3_AL_FATAL)
        see(ssl, TLS_ALERTED | (uintptr_t)(value & 0xff) << TLS_ALERT_SHIFT);
}

static bool use_trust(SSL_CTX *context, const struct transfer *transfer)
{
    const struct platform_trust *trust = transfer->trust;
    bool fetches = transfer->use == TRANSFER_FETCH;
    X509_STORE *store = fetches ? trust->fetches : trust->posts;
    X509_STORE_up_ref(store);
    SSL_CTX_set_cert_store(context, store);
    return fetches || !trust->certificate ||
           SSL_CTX_use_cert_and_key(context, trust->certificate, trust->key, trust->chain, 1) == 1;
}

/* An end without close_notify is not a TLS error here, with any version of libcurl: on_state
 * recognises it, and it does not harm an answer with a known end. A certificate is sent in the
 * handshake or never, so a server that refuses it has not read a request. */
CURLcode platform_tls_context(CURL *easy, void *context, void *argument)
{
    struct transfer *transfer = argument;
    const char *groups = transfer->platform->config->platform_tls_groups;
    (void)easy;
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_info_callback(context, on_state);
    SSL_CTX_set_cert_cb(context, on_certificate_asked, transfer);
    SSL_CTX_set_post_handshake_auth(context, 0);
    if (use_trust(context, transfer) && (!groups || SSL_CTX_set1_groups_list(context, groups) == 1))
        return CURLE_OK;
    ERR_clear_error();
    transfer_fault(transfer, "OpenSSL", "the certificate or the groups cannot be used");
    return CURLE_SSL_CERTPROBLEM;
}

/* NULL: the transfer has no connection with TLS now. */
static const SSL *connection_of(const struct transfer *transfer)
{
    const struct curl_tlssessioninfo *info = NULL;
    if (curl_easy_getinfo(transfer->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
        info->backend != CURLSSLBACKEND_OPENSSL)
        return NULL;
    return info->internals;
}

bool platform_tls_pending(const struct transfer *transfer)
{
    const SSL *ssl = connection_of(transfer);
    return ssl && SSL_has_pending(ssl);
}

static bool is_about_certificates(int alert)
{
    switch (alert) {
    case SSL3_AD_BAD_CERTIFICATE:
    case SSL3_AD_UNSUPPORTED_CERTIFICATE:
    case SSL3_AD_CERTIFICATE_REVOKED:
    case SSL3_AD_CERTIFICATE_EXPIRED:
    case SSL3_AD_CERTIFICATE_UNKNOWN:
    case TLS1_AD_UNKNOWN_CA:
    case TLS13_AD_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

void platform_tls_look(struct transfer *transfer)
{
    const SSL *ssl = connection_of(transfer);
    if (!ssl)
        return;
    uintptr_t bits = seen(ssl);
    transfer->tls.closed = bits & TLS_CLOSED;
    transfer->tls.certificate_wanted = bits & TLS_CERT_WANTED;
    transfer->tls.certificate_asked = bits & TLS_CERT_ASKED && SSL_version(ssl) >= TLS1_3_VERSION;
    transfer->tls.certificate_refused =
        bits & TLS_ALERTED && is_about_certificates((int)(bits >> TLS_ALERT_SHIFT & 0xff));
}
