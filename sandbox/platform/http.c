#include "sandbox/platform/http.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static enum sandbox_http_progress broken(struct sandbox_http_request *request, const char *problem)
{
    request->problem = problem;
    return HTTP_BROKEN;
}

bool sandbox_http_span_is(struct sandbox_http_span span, const char *string)
{
    return span.data && span.length == strlen(string) && !memcmp(span.data, string, span.length);
}

/* Takes the bytes before a separator off the front of *rest. data NULL: there is no separator. */
static struct sandbox_http_span take_until(struct sandbox_http_span *rest, char separator)
{
    const char *end = memchr(rest->data, separator, rest->length);
    if (!end)
        return (struct sandbox_http_span){0};
    struct sandbox_http_span taken = {rest->data, (size_t)(end - rest->data)};
    rest->data = end + 1;
    rest->length -= taken.length + 1;
    return taken;
}

static enum sandbox_http_progress read_request_line(struct sandbox_http_request *request,
                                                    struct sandbox_http_span line)
{
    request->method = take_until(&line, ' ');
    if (!request->method.data || !request->method.length)
        return broken(request, "the request line is malformed");
    struct sandbox_http_span target = take_until(&line, ' ');
    if (!target.data || !target.length || target.data[0] != '/')
        return broken(request, "the request line is malformed");
    if (!sandbox_http_span_is(line, "HTTP/1.1"))
        return broken(request, "the version is not HTTP/1.1");
    request->path = take_until(&target, '?');
    if (request->path.data)
        request->query = target;
    else
        request->path = target;
    return HTTP_READY;
}

static bool is_token(struct sandbox_http_span name)
{
    for (size_t i = 0; i < name.length; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return name.length > 0;
}

static bool is_clean(struct sandbox_http_span value)
{
    for (size_t i = 0; i < value.length; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct sandbox_http_span trim(struct sandbox_http_span value)
{
    while (value.length && is_blank(*value.data))
        value.data++, value.length--;
    while (value.length && is_blank(value.data[value.length - 1]))
        value.length--;
    return value;
}

static enum sandbox_http_progress read_header(struct sandbox_http_request *request,
                                              struct sandbox_http_span line)
{
    if (request->header_count == HTTP_HEADERS_MAX)
        return broken(request, "there are too many headers");
    struct sandbox_http_header *header = &request->headers[request->header_count++];
    header->name = take_until(&line, ':');
    if (!header->name.data || !is_token(header->name))
        return broken(request, "a header's name is malformed");
    header->value = trim(line);
    if (!is_clean(header->value))
        return broken(request, "a header's value holds control characters");
    return HTTP_READY;
}

/* Reads the lines of the head, which all end in CR LF. */
static enum sandbox_http_progress read_lines(struct sandbox_http_request *request,
                                             struct sandbox_http_span head)
{
    for (bool first = true; head.length; first = false) {
        struct sandbox_http_span line = take_until(&head, '\n');
        if (!line.data || !line.length || line.data[line.length - 1] != '\r')
            return broken(request, "a line does not end in CR LF");
        line.length--;
        enum sandbox_http_progress progress =
            first ? read_request_line(request, line) : read_header(request, line);
        if (progress != HTTP_READY)
            return progress;
    }
    return HTTP_READY;
}

struct sandbox_http_span sandbox_http_header(const struct sandbox_http_request *request,
                                             const char *name, size_t *count)
{
    struct sandbox_http_span found = {0};
    size_t length = strlen(name);
    *count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct sandbox_http_header *header = &request->headers[i];
        if (header->name.length != length || strncasecmp(header->name.data, name, length) != 0)
            continue;
        found = header->value;
        ++*count;
    }
    return found;
}

static enum sandbox_http_progress read_body_length(struct sandbox_http_request *request,
                                                   size_t *length)
{
    size_t count;
    *length = 0;
    sandbox_http_header(request, "transfer-encoding", &count);
    if (count)
        return broken(request, "Transfer-Encoding is sent; the body's size belongs in "
                               "Content-Length");
    struct sandbox_http_span value = sandbox_http_header(request, "content-length", &count);
    if (!count)
        return HTTP_READY;
    if (count > 1 || !value.length || value.length > 7)
        return broken(request, "Content-Length is malformed, repeated or too large");
    for (size_t i = 0; i < value.length; i++) {
        if (!text_is_digit(value.data[i]))
            return broken(request, "Content-Length is malformed, repeated or too large");
        *length = *length * 10 + (size_t)(value.data[i] - '0');
    }
    if (*length > HTTP_BODY_MAX)
        return broken(request, "Content-Length is malformed, repeated or too large");
    request->has_length = true;
    return HTTP_READY;
}

static enum sandbox_http_progress read_head(struct sandbox_http_request *request,
                                            size_t *body_length)
{
    size_t count;
    struct sandbox_http_span host = sandbox_http_header(request, "host", &count);
    if (count != 1 || !host.length)
        return broken(request, "there is not exactly one Host header");
    struct sandbox_http_span connection = sandbox_http_header(request, "connection", &count);
    request->last = connection.length == 5 && !strncasecmp(connection.data, "close", 5);
    return read_body_length(request, body_length);
}

enum sandbox_http_progress sandbox_http_read(struct sandbox_http_request *request, const char *data,
                                             size_t length)
{
    *request = (struct sandbox_http_request){0};
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    size_t head_length = end ? (size_t)(end - data) + 4 : length;
    if (head_length > HTTP_HEAD_MAX)
        return broken(request, "the head is too large");
    if (!end)
        return HTTP_MORE;
    enum sandbox_http_progress progress =
        read_lines(request, (struct sandbox_http_span){data, head_length - 2});
    if (progress != HTTP_READY)
        return progress;
    size_t body_length;
    progress = read_head(request, &body_length);
    if (progress != HTTP_READY)
        return progress;
    if (length - head_length < body_length)
        return HTTP_MORE;
    request->body = (struct sandbox_http_span){data + head_length, body_length};
    request->size = head_length + body_length;
    return HTTP_READY;
}

const char *sandbox_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {429, "Too Many Requests"},
        {500, "Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

/* RFC 9110, 6.6.1: a server with a clock sends Date. */
static void add_date(struct text *out)
{
    char date[40];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    if (strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        text_printf(out, "Date: %s\r\n", date);
}

void sandbox_http_head(struct text *out, int status, const char *type, size_t length, bool last,
                       const char *extra)
{
    text_printf(out, "HTTP/1.1 %d %s\r\n", status, sandbox_http_reason(status));
    add_date(out);
    if (type)
        text_printf(out, "Content-Type: %s\r\n", type);
    if (status != 204 && status != 304)
        text_printf(out, "Content-Length: %zu\r\n", length);
    if (last)
        text_add(out, "Connection: close\r\n");
    if (extra)
        text_add(out, extra);
    text_add(out, "\r\n");
}
