#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/platform_internal.h"

enum {
    IDLE_SECONDS = 3, /* a pooled connection older than this is not used again */
    DNS_SECONDS = 60,
    UPLOAD_BUFFER = 16384, /* libcurl's least */
    RECEIVE_BUFFER = 1024, /* libcurl's least: allocated for each request, it fits the allocator's
                              thread cache */
    FILE_BUFFER = 65536,
};

/* libcurl is connected and about to send. */
static int before_sending(void *argument, char *remote_ip, char *local_ip, int remote_port,
                          int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    struct transfer *transfer = argument;
    struct attempt *attempt = &transfer->attempt;
    if (attempt->sends > 0)
        attempt->latched = true;
    else if (!transfer->opened && platform_has_gone_stale(transfer->platform, local_port))
        transfer->stale = true;
    else if (clock_boot_ms() > *transfer->post->lease_until_ms)
        attempt->lease_over = true;
    else {
        attempt->sends++;
        return CURL_PREREQFUNC_OK;
    }
    return CURL_PREREQFUNC_ABORT;
}

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

/* HTTP/x.y NNN: a final status is kept, an interim one (1xx) is not an answer. */
static void read_status(struct attempt *attempt, const char *line, size_t size)
{
    const char *space = memchr(line, ' ', size);
    if (!space || line + size - space < 4 || !is_digit(space[1]) || !is_digit(space[2]) ||
        !is_digit(space[3]))
        return;
    int status = (space[1] - '0') * 100 + (space[2] - '0') * 10 + (space[3] - '0');
    attempt->http_status = status >= 200 ? status : 0;
    attempt->content_type[0] = '\0';
    attempt->retry_after_ms = attempt->content_length = -1;
}

static void read_retry_after(struct attempt *attempt, const char *value, size_t size)
{
    int64_t seconds = 0;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(value[i]) || i > 8)
            return; /* a date, or nonsense */
        seconds = seconds * 10 + (value[i] - '0');
    }
    if (size)
        attempt->retry_after_ms = seconds * 1000;
}

static void read_content_length(struct attempt *attempt, const char *value, size_t size)
{
    int64_t length = 0;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(value[i]) || i > 17)
            return;
        length = length * 10 + (value[i] - '0');
    }
    if (size)
        attempt->content_length = length;
}

static size_t on_header(char *line, size_t one, size_t size, void *argument)
{
    struct transfer *transfer = argument;
    struct attempt *attempt = &transfer->attempt;
    const char *value;
    size_t value_size;
    if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        read_status(attempt, line, size);
        transfer->framed = attempt->http_status == 204 || attempt->http_status == 304;
    } else if (header_value(line, size, "Content-Length", &value_size) ||
               header_value(line, size, "Transfer-Encoding", &value_size))
        transfer->framed = true;
    else if ((value = header_value(line, size, "Content-Type", &value_size)))
        snprintf(attempt->content_type, sizeof attempt->content_type, "%.*s",
                 (int)(value_size < 127 ? value_size : 127), value);
    else if ((value = header_value(line, size, "Retry-After", &value_size)))
        read_retry_after(attempt, value, value_size);
    else if ((value = header_value(line, size, "Content-Length", &value_size)))
        read_content_length(attempt, value, value_size);
    return one * size;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *argument)
{
    struct transfer *transfer = argument;
    struct platform *platform = transfer->platform;
    list_remove(&transfer->awaiting_node);
    switch (platform->events->body(platform->argument, transfer->post, &transfer->attempt, bytes,
                                   size)) {
    case PLATFORM_TAKEN:
        return one * size;
    case PLATFORM_LATER:
        return CURL_WRITEFUNC_PAUSE;
    case PLATFORM_TOO_LARGE:
        transfer->attempt.too_large = true;
        break;
    case PLATFORM_ENOUGH:
        break;
    }
    return 0;
}

static void set_trust(CURL *easy, const struct config *config)
{
    platform_must(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L));
    platform_must(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L));
    platform_must(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    /* libcurl parses the authorities once, not for each connection, but only without a CAPATH. */
    const char *system = curl_version_info(CURLVERSION_NOW)->cainfo;
    const char *file = config->platform_ca_file ? config->platform_ca_file : system;
    if (!file)
        return;
    platform_must(curl_easy_setopt(easy, CURLOPT_CAINFO, file));
    platform_must(curl_easy_setopt(easy, CURLOPT_CAPATH, NULL));
}

static void set_http(CURL *easy, const struct config *config)
{
    platform_must(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    platform_must(curl_easy_setopt(easy, CURLOPT_USERAGENT, "privacy-call-worker/" PCW_VERSION));
    platform_must(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
    platform_must(curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"));
    platform_must(curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
    platform_must(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    /* Or libcurl waits for a name's resolution that it has given up, and the loop with it. */
    platform_must(curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L));
    platform_must(curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L));
    platform_must(curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS));
    platform_must(curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_SECONDS));
    platform_must(curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                                   (long)config->platform_connect_timeout_ms));
}

static void set_post(CURL *easy, const struct config *config)
{
    const char *protocols = config->platform_allow_http ? "http,https" : "https";
    platform_must(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols));
    platform_must(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    platform_must(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    platform_must(curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER));
}

static void set_fetch(CURL *easy, const struct config *config)
{
    const char *system = curl_version_info(CURLVERSION_NOW)->capath;
    platform_must(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"));
    platform_must(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    platform_must(curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L));
    platform_must(curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L));
    if (config->platform_ca_file && system)
        platform_must(curl_easy_setopt(easy, CURLOPT_CAPATH, system));
}

static void set_callbacks(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    platform_must(curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer));
    platform_must(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->words));
    if (!transfer->fetches) {
        platform_must(curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_sending));
        platform_must(curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer));
    }
    platform_must(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header));
    platform_must(curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer));
    platform_must(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    platform_must(curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer));
    platform_must(curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, platform_socket_open));
    platform_must(curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer));
    platform_must(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, platform_socket_close));
    platform_must(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->platform));
}

/* The list that libcurl reads stands in the transfer itself; only Authorization changes. */
static void set_headers(struct transfer *transfer)
{
    static char accept[] = "Accept: application/json",
                content_type[] = "Content-Type: application/json;charset=utf-8",
                expect[] = "Expect:"; /* none: it would cost a round trip */
    char *lines[PLATFORM_HEADERS] = {accept, content_type, transfer->authorization, expect};
    for (int i = 0; i < PLATFORM_HEADERS; i++) {
        transfer->headers[i].data = lines[i];
        transfer->headers[i].next = i + 1 < PLATFORM_HEADERS ? &transfer->headers[i + 1] : NULL;
    }
    platform_must(curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers));
}

struct transfer *transfer_new(struct platform *platform, bool fetches)
{
    struct transfer *transfer = memory_zeroed(1, sizeof *transfer);
    list_init(&transfer->node);
    list_init(&transfer->awaiting_node);
    transfer->platform = platform;
    transfer->fetches = fetches;
    transfer->easy = memory_must(curl_easy_init());
    set_http(transfer->easy, platform->config);
    set_trust(transfer->easy, platform->config);
    set_callbacks(transfer);
    if (fetches) {
        set_fetch(transfer->easy, platform->config);
    } else {
        set_post(transfer->easy, platform->config);
        set_headers(transfer);
        platform_must(curl_easy_setopt(transfer->easy, CURLOPT_SHARE, platform->share));
    }
    return transfer;
}

void transfer_prepare(struct transfer *transfer, const struct platform_post *post)
{
    CURL *easy = transfer->easy;
    long buffer = post->fetch || post->may_bring_file ? FILE_BUFFER : RECEIVE_BUFFER;
    platform_must(curl_easy_setopt(easy, CURLOPT_URL, post->url));
    platform_must(curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer));
    if (post->fetch)
        return;
    snprintf(transfer->authorization, sizeof transfer->authorization, "Authorization: %s",
             post->authorization);
    platform_must(curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post->body));
    platform_must(curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)post->body_size));
}

void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}
