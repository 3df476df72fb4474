/* Parses one HTTP/1.1 request from a buffer, strictly, and writes the heads of answers. Nothing is
 * copied: a request points into its buffer and is valid as long as the buffer is unchanged. The
 * platform's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum { HTTP_HEADERS_MAX = 40, HTTP_HEAD_MAX = 16384, HTTP_BODY_MAX = 1048576 };

/* Some bytes of the buffer, without a NUL. */
struct http_span {
    const char *data;
    size_t length;
};

struct http_header {
    struct http_span name, value;
};

struct http_request {
    struct http_span method, path, query; /* query: after '?'; data NULL: there is none */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct http_span body;
    bool has_length;     /* whether a Content-Length was sent */
    bool last;           /* whether the connection ends with the answer */
    size_t size;         /* of the whole request in the buffer */
    const char *problem; /* what is wrong with it when HTTP_BROKEN */
};

enum http_progress { HTTP_MORE, HTTP_READY, HTTP_BROKEN };

/* Parses the request that begins at data. HTTP_MORE: a part of it has not arrived yet. */
enum http_progress http_read(struct http_request *request, const char *data, size_t length);

/* The value of the header with that name (in lower case); data NULL: there is none. *count: how
 * many there are. */
struct http_span http_header(const struct http_request *request, const char *name, size_t *count);

bool http_span_is(struct http_span span, const char *string);

/* Adds a status line and headers. type may be NULL; extra is NULL or whole header lines with CR LF.
 */
void http_head(struct text *out, int status, const char *type, size_t length, bool last,
               const char *extra);

/* The usual reason phrase of a status. */
const char *http_reason(int status);
