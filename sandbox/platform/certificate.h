/* The platform's certificate authority and server certificate, made at the start. The owner's
 * thread. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/error.h"

/* A server context with a new certificate for localhost, the loopback addresses, the machine's host
 * name, `host` and the DNS names in `names` (NULL at the end; may be NULL). The CA's certificate is
 * written to `ca_file` as PEM, to a temporary file first that is then renamed. keep: the CA's key
 * is written to `ca_file`.key, and a CA that is there with its key is used again, so that clients
 * that trust it still do after a restart. NULL: failed. Released with SSL_CTX_free. */
SSL_CTX *sandbox_certificate_context(const char *host, const char *const *names,
                                     const char *ca_file, bool keep, struct error *error);
