#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "core/http_date.h"
#include "core/retry_after.h"
#include "io/platform_internal.h"

/* The header's value when the line is that header: spaces around it are cut. NULL otherwise. */
static const char *header_value(const char *line, size_t size, const char *name, size_t *value_size)
{
    size_t n = strlen(name);
    if (size <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return NULL;
    const char *from = line + n + 1, *to = line + size;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == '\r' || to[-1] == '\n' || to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *value_size = (size_t)(to - from);
    return from;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* By libcurl, and not by what a line looks like: any header may begin with HTTP/. */
int answer_status(const struct transfer *transfer)
{
    long status;
    if (curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
        return 0;
    return status >= 200 && status < 1000 ? (int)status : 0;
}

static void begin_head(struct transfer *transfer, const char *line, size_t size)
{
    struct attempt *attempt = &transfer->attempt;
    transfer->head = (struct answer_head){.begun = true};
    transfer->head.old = size >= 8 && memcmp(line, "HTTP/1.0", 8) == 0;
    attempt->http_status = answer_status(transfer);
    attempt->content_type[0] = attempt->content_encoding[0] = '\0';
    attempt->retry_after_ms = attempt->content_length = -1;
}

/* The empty line. Where it is not beyond doubt where the body ends, or libcurl would drop unseen
 * what stands behind it, the connection is not used again. */
static void end_head(struct transfer *transfer)
{
    struct answer_head *head = &transfer->head;
    int status = answer_status(transfer);
    transfer->attempt.http_status = status;
    head->begun = false;
    head->done = status != 0; /* an interim answer (1xx) is none */
    head->bodiless = status == 204 || status == 304;
    bool doubtful = head->lengths + head->codings > 1 || head->old ||
                    (head->codings && !head->chunked) || head->bodiless || head->empty;
    if (head->done && doubtful)
        transfer_spoil(transfer);
}

static void read_length(struct transfer *transfer, const char *value, size_t size)
{
    int64_t length = 0;
    transfer->head.lengths++;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(value[i]) || i > 17)
            return;
        length = length * 10 + (value[i] - '0');
    }
    if (!size)
        return;
    transfer->attempt.content_length = length;
    transfer->head.empty = length == 0;
}

/* Several such headers count as one with a list. */
static void read_content_encoding(struct attempt *attempt, const char *value, size_t size)
{
    char *all = attempt->content_encoding;
    size_t used = strlen(all), room = sizeof attempt->content_encoding - used;
    snprintf(all + used, room, "%s%.*s", used ? "," : "", (int)(size < room ? size : room), value);
}

/* Chunked has to be the last one, and where it is, chunks are taken apart here; what lies beneath
 * them is undone with the encodings of the content. */
static void read_coding(struct transfer *transfer, const char *value, size_t size)
{
    static const char chunked[] = "chunked";
    size_t n = sizeof chunked - 1;
    struct answer_head *head = &transfer->head;
    head->codings++;
    head->chunked = size >= n && strncasecmp(value + size - n, chunked, n) == 0;
    if (!head->chunked || size == n)
        return;
    size -= n;
    while (size && (value[size - 1] == ' ' || value[size - 1] == '\t'))
        size--;
    head->chunked = size && value[size - 1] == ',';
    if (head->chunked)
        read_content_encoding(&transfer->attempt, value, size - 1);
}

static void read_date(struct attempt *attempt, const char *value, size_t size)
{
    int64_t date;
    attempt->dated = http_date_ms(value, size, &date);
    if (attempt->dated)
        attempt->clock_offset_ms = clock_wall_ms() - date;
}

static void read_header(struct transfer *transfer, const char *line, size_t size)
{
    struct attempt *attempt = &transfer->attempt;
    const char *value;
    size_t n;
    if ((value = header_value(line, size, "Content-Type", &n)))
        snprintf(attempt->content_type, sizeof attempt->content_type, "%.*s",
                 (int)(n < 127 ? n : 127), value);
    else if ((value = header_value(line, size, "Content-Encoding", &n)))
        read_content_encoding(attempt, value, n);
    else if ((value = header_value(line, size, "Retry-After", &n)))
        attempt->retry_after_ms = retry_after_ms(value, n, clock_wall_ms());
    else if ((value = header_value(line, size, "Date", &n)))
        read_date(attempt, value, n);
    else if ((value = header_value(line, size, "Content-Length", &n)))
        read_length(transfer, value, n);
    else if ((value = header_value(line, size, "Transfer-Encoding", &n)))
        read_coding(transfer, value, n);
}

void answer_head_line(struct transfer *transfer, const char *line, size_t size)
{
    const struct answer_head *head = &transfer->head;
    if (head->done)
        return; /* a trailer: the answer's head is over */
    if (!head->begun)
        begin_head(transfer, line, size);
    else if (line[0] == '\n' || (size > 1 && line[0] == '\r' && line[1] == '\n'))
        end_head(transfer);
    else
        read_header(transfer, line, size);
}

bool answer_is_whole(const struct transfer *transfer, bool *proven)
{
    const struct answer_head *head = &transfer->head;
    bool chunks = head->chunked && transfer->use != TRANSFER_FETCH;
    *proven = head->bodiless || head->lengths || head->chunked || transfer->tls.closed;
    return !chunks || head->bodiless || head->chunks.state == CHUNKS_DONE;
}

/* ---- the body */

static enum platform_taken give(struct transfer *transfer, const char *bytes, size_t n)
{
    struct platform *platform = transfer->platform;
    enum platform_taken taken =
        platform->events->body(platform->argument, transfer->post, &transfer->attempt, bytes, n);
    if (taken == PLATFORM_TOO_LARGE)
        transfer->attempt.too_large = true;
    return taken;
}

/* After a pause libcurl delivers from the same byte on: what was taken is skipped then. */
static enum platform_taken give_chunks(struct transfer *transfer, const char *bytes, size_t size)
{
    struct answer_head *head = &transfer->head;
    size_t at = head->taken, content;
    head->taken = 0;
    while (at < size && head->chunks.state != CHUNKS_DONE) {
        struct chunks before = head->chunks;
        size_t n = chunks_take(&head->chunks, bytes + at, size - at, &content);
        enum platform_taken taken =
            content ? give(transfer, bytes + at + n - content, content) : PLATFORM_TAKEN;
        if (taken == PLATFORM_LATER) {
            head->chunks = before;
            head->taken = at;
        }
        if (taken != PLATFORM_TAKEN)
            return taken;
        at += n;
    }
    if (at < size)
        transfer_spoil(transfer); /* there is something behind the answer */
    return PLATFORM_TAKEN;
}

size_t answer_bytes(struct transfer *transfer, const char *bytes, size_t size)
{
    bool chunks = transfer->head.chunked && transfer->use != TRANSFER_FETCH;
    list_remove(&transfer->awaiting_node);
    switch (chunks ? give_chunks(transfer, bytes, size) : give(transfer, bytes, size)) {
    case PLATFORM_TAKEN:
        return size;
    case PLATFORM_LATER:
        return CURL_WRITEFUNC_PAUSE;
    case PLATFORM_TOO_LARGE:
    case PLATFORM_ENOUGH:
        break;
    }
    return 0;
}
