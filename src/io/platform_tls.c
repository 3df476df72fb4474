#include <openssl/ssl.h>

#include "io/platform_internal.h"

/* What is seen of one TLS connection, as the bits of its ex_data. */
enum { TLS_CLOSED = 1 };

static int tls_index = -1; /* of ex_data: OpenSSL gives them out for the process */

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

static void on_state(const SSL *ssl, int where, int value)
{
    bool is_close =
        (where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) == SSL3_AD_CLOSE_NOTIFY;
    if (is_close)
        SSL_set_ex_data((SSL *)(uintptr_t)ssl, tls_index, (void *)(seen(ssl) | TLS_CLOSED));
}

/* An end without close_notify is no error of TLS's here, with any version of libcurl: it is told
 * apart by on_state, and does no harm to an answer that says itself where it ends. */
CURLcode platform_tls_context(CURL *easy, void *context, void *transfer)
{
    (void)easy;
    (void)transfer;
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_info_callback(context, on_state);
    return CURLE_OK;
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

bool platform_tls_closed(const struct transfer *transfer)
{
    const SSL *ssl = connection_of(transfer);
    return ssl && seen(ssl) & TLS_CLOSED;
}
