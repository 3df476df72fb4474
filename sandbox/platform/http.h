/* Parses one HTTP/1.1 request from a buffer, strictly, and writes the heads of answers. Nothing is
 * copied: a request points into its buffer and is valid as long as the buffer is unchanged. The
 * platform's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum { HTTP_HEADERS_MAX = 40, HTTP_HEAD_MAX = 16384, HTTP_BODY_MAX = 1048576 };

/* Some bytes of the buffer, without a NUL. */
struct sandbox_http_span {
    const char *data;
    size_t length;
};

struct sandbox_http_header {
    struct sandbox_http_span name, value;
};

struct sandbox_http_request {
    struct sandbox_http_span method, path, query; /* query: after '?'; data NULL: there is none */
    struct sandbox_http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct sandbox_http_span body;
    bool has_length;     /* whether a Content-Length was sent */
    bool last;           /* whether the connection ends with the answer */
    size_t size;         /* of the whole request in the buffer */
    const char *problem; /* what is wrong with it when HTTP_BROKEN */
};

enum sandbox_http_progress { HTTP_MORE, HTTP_READY, HTTP_BROKEN };

/* Parses the request that begins at data. HTTP_MORE: a part of it has not arrived yet. */
enum sandbox_http_progress sandbox_http_read(struct sandbox_http_request *request, const char *data,
                                             size_t length);

/* The value of the header with that name (in lower case); data NULL: there is none. *count: how
 * many there are. */
struct sandbox_http_span sandbox_http_header(const struct sandbox_http_request *request,
                                             const char *name, size_t *count);

bool sandbox_http_span_is(struct sandbox_http_span span, const char *string);

/* Adds a status line and headers. type may be NULL; extra is NULL or whole header lines with CR LF.
 */
void sandbox_http_head(struct text *out, int status, const char *type, size_t length, bool last,
                       const char *extra);

/* The usual reason phrase of a status. */
const char *sandbox_http_reason(int status);
