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

/* Uses libcurl's status, and not the look of a line, because any header may begin with HTTP/. */
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

/* One member of the list. `identity`, which some servers call `none`, packs nothing. */
static void add_encoding(struct attempt *attempt, const struct framing_member *member)
{
    char *all = attempt->content_encoding;
    size_t used = strlen(all), room = sizeof attempt->content_encoding - used;
    if (!framing_is_named(member, "identity") && !framing_is_named(member, "none"))
        snprintf(all + used, room, "%s%.*s", used ? "," : "",
                 (int)(member->size < room ? member->size : room), member->name);
}

/* Several such headers count as one header with a list. */
static void read_content_encoding(struct attempt *attempt, const char *value, size_t size)
{
    struct framing_member member;
    const char *at = value;
    while (framing_next_member(&at, value + size, &member))
        add_encoding(attempt, &member);
}

/* A coding that was applied before the chunks is undone together with the content encodings. */
static void take_coding(void *attempt, const char *name, size_t size)
{
    read_content_encoding(attempt, name, size);
}

static void read_date(struct attempt *attempt, const char *value, size_t size)
{
    int64_t date;
    attempt->dated = http_date_ms(value, size, &date);
    if (attempt->dated)
        attempt->clock_offset_ms = clock_wall_ms() - date;
}

/* Whether the line is a framing header with blanks around its name, which some readers accept and
 * others do not. */
static bool is_disguised(const char *line, size_t size)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding"};
    const char *colon = memchr(line, ':', size);
    size_t n = colon ? (size_t)(colon - line) : 0, name = n;
    while (name && (line[name - 1] == ' ' || line[name - 1] == '\t'))
        name--;
    for (size_t i = 0; name < n && i < sizeof names / sizeof *names; i++)
        if (name == strlen(names[i]) && !strncasecmp(line, names[i], name))
            return true;
    return false;
}

static void read_header(struct transfer *transfer, const char *line, size_t size)
{
    struct attempt *attempt = &transfer->attempt;
    struct framing *framing = &transfer->head.framing;
    int before = framing->lengths + framing->codings;
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
        framing_length(framing, value, n);
    else if ((value = header_value(line, size, "Transfer-Encoding", &n)))
        framing_coding(framing, value, n, take_coding, attempt);
    if (framing->lengths + framing->codings > before && transfer->head.line_cut)
        framing->contradictory = true;
    if (is_disguised(line, size))
        framing->contradictory = true;
}

/* The previous line is complete: no other line continues it. */
static void end_line(struct transfer *transfer)
{
    struct answer_head *head = &transfer->head;
    if (head->line_size)
        read_header(transfer, head->line, head->line_size);
    head->line_size = 0;
    head->line_cut = false;
}

/* A line that begins with a blank continues the previous one (obs-fold). libcurl delivers each
 * separately. */
static void keep_line(struct transfer *transfer, const char *line, size_t size)
{
    struct answer_head *head = &transfer->head;
    if (*line != ' ' && *line != '\t') {
        end_line(transfer);
    } else {
        head->own_end = true;
        while (head->line_size && strchr("\r\n", head->line[head->line_size - 1]))
            head->line_size--;
        if (!head->line_size) /* there is none before it */
            head->framing.contradictory = true;
    }
    size_t room = sizeof head->line - head->line_size, n = size < room ? size : room;
    memcpy(head->line + head->line_size, line, n);
    head->line_size += n;
    head->line_cut |= n < size;
}

static enum platform_taken give(struct transfer *transfer, const char *bytes, size_t n)
{
    struct platform *platform = transfer->platform;
    enum platform_taken taken =
        platform->events->body(platform->argument, transfer->post, &transfer->attempt, bytes, n);
    if (taken == PLATFORM_TOO_LARGE)
        transfer->attempt.too_large = true;
    return taken;
}

/* The empty line. If the end of the body is not certain, or libcurl would silently drop bytes after
 * it, the connection is not used again. */
static void end_head(struct transfer *transfer)
{
    struct answer_head *head = &transfer->head;
    struct framing *framing = &head->framing;
    int status = answer_status(transfer);
    end_line(transfer);
    transfer->attempt.http_status = status;
    head->begun = false;
    head->done = status != 0; /* an interim answer (1xx) is not final */
    head->bodiless = status == 204 || status == 304;
    framing_settle(framing);
    head->left = framing->length_known ? framing->length : -1;
    transfer->attempt.content_length = head->left;
    head->own_end |= !framing_is_plain(framing);
    if (head->done &&
        (head->own_end || head->old || head->bodiless || !head->left || framing->contradictory))
        transfer_spoil(transfer);
    head->ended =
        head->done && !head->bodiless && (framing->contradictory || (head->own_end && !head->left));
}

bool answer_head_line(struct transfer *transfer, const char *line, size_t size)
{
    const struct answer_head *head = &transfer->head;
    if (head->done)
        return true; /* a trailer, after the answer's head */
    if (!head->begun)
        begin_head(transfer, line, size);
    else if (line[0] == '\n' || (size > 1 && line[0] == '\r' && line[1] == '\n'))
        end_head(transfer);
    else
        keep_line(transfer, line, size);
    if (head->done && !head->ended)
        return give(transfer, "", 0) == PLATFORM_TAKEN;
    return !head->ended;
}

bool answer_is_whole(const struct transfer *transfer, bool *proven)
{
    const struct answer_head *head = &transfer->head;
    const struct framing *framing = &head->framing;
    *proven = head->bodiless || framing->length_known || framing->chunked || transfer->tls.closed;
    if (head->own_end && framing->length_known && head->left)
        return head->bodiless;
    return !framing->chunked || head->bodiless || head->chunks.state == CHUNKS_DONE;
}

/* ---- the body */

/* After a pause libcurl delivers from the same byte on, so the bytes that were taken are
 * skipped. */
static enum platform_taken give_chunks(struct transfer *transfer, const char *bytes, size_t size)
{
    struct answer_head *head = &transfer->head;
    size_t at = head->taken, content;
    head->taken = 0;
    while (at < size && head->chunks.state < CHUNKS_DONE) {
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
        transfer_spoil(transfer); /* there are bytes after the answer */
    return PLATFORM_TAKEN;
}

/* Takes the body up to its length, at which libcurl may wait for more. */
static enum platform_taken give_counted(struct transfer *transfer, const char *bytes, size_t size)
{
    struct answer_head *head = &transfer->head;
    size_t n = (int64_t)size < head->left ? size : (size_t)head->left;
    enum platform_taken taken = give(transfer, bytes, n);
    if (taken == PLATFORM_TAKEN)
        head->left -= (int64_t)n;
    return taken;
}

static enum platform_taken give_body(struct transfer *transfer, const char *bytes, size_t size)
{
    struct answer_head *head = &transfer->head;
    enum platform_taken taken;
    if (head->framing.chunked) {
        taken = give_chunks(transfer, bytes, size);
        head->ended = head->chunks.state == CHUNKS_BROKEN ||
                      (head->own_end && head->chunks.state == CHUNKS_DONE);
    } else if (head->own_end && head->left >= 0) {
        taken = give_counted(transfer, bytes, size);
        head->ended = head->left == 0;
    } else {
        taken = give(transfer, bytes, size);
    }
    head->ended &= taken == PLATFORM_TAKEN;
    return taken;
}

size_t answer_bytes(struct transfer *transfer, const char *bytes, size_t size)
{
    list_remove(&transfer->awaiting_node);
    switch (give_body(transfer, bytes, size)) {
    case PLATFORM_TAKEN:
        return transfer->head.ended ? 0 : size;
    case PLATFORM_LATER:
        return CURL_WRITEFUNC_PAUSE;
    case PLATFORM_TOO_LARGE:
    case PLATFORM_ENOUGH:
        break;
    }
    return 0;
}
