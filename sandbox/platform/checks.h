/* Checks everything that the platform demands of a POST: path, headers, signature, and a body with
 * exactly the documented members. Each violation has a Flag of 9001 to 9099 and a text that names
 * it. The platform's thread. */
#pragma once

#include <jansson.h>

#include "sandbox/platform/signature.h"

enum endpoint { ENDPOINT_CALL, ENDPOINT_RECORDING };

/* The body's members. Strings belong to root; one that is absent or not a string is NULL. */
struct platform_body {
    json_t *root;
    const char *caller, *callee, *virtual_number, *call_identifier;
};

/* Whether the path is that of an endpoint: 0, or -1. */
int checks_endpoint(const struct credentials *expected, struct http_span path,
                    enum endpoint *endpoint);

/* Checks a whole POST to an endpoint. *body is filled as far as it could be read, whatever the
 * verdict; the caller releases it with platform_body_fini. */
struct verdict checks_request(const struct credentials *expected, enum endpoint endpoint,
                              const struct http_request *request, int64_t wall_ms,
                              struct platform_body *body);

void platform_body_fini(struct platform_body *body);
