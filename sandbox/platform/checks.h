/* Checks everything that the platform demands of a POST: path, headers, signature, and a body with
 * exactly the documented members. Each violation has a Flag of 9001 to 9099 and a text that names
 * it. The platform's thread. */
#pragma once

#include <jansson.h>

#include "sandbox/platform/signature.h"

enum sandbox_endpoint { ENDPOINT_CALL, ENDPOINT_RECORDING };

/* The body's members. Strings belong to root; one that is absent or not a string is NULL. */
struct sandbox_platform_body {
    json_t *root;
    const char *caller, *callee, *virtual_number, *call_identifier;
};

/* Whether the path is that of an endpoint: 0, or -1. */
int sandbox_checks_endpoint(const struct sandbox_credentials *expected,
                            struct sandbox_http_span path, enum sandbox_endpoint *endpoint);

/* Checks a whole POST to an endpoint. *body is filled as far as it could be read, whatever the
 * verdict; the caller releases it with sandbox_platform_body_fini. */
struct sandbox_verdict sandbox_checks_request(const struct sandbox_credentials *expected,
                                              enum sandbox_endpoint endpoint,
                                              const struct sandbox_http_request *request,
                                              int64_t wall_ms, struct sandbox_platform_body *body);

void sandbox_platform_body_fini(struct sandbox_platform_body *body);
