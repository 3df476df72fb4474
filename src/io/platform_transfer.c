#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/platform_internal.h"

enum {
    REFUSED_MS = 5000,
    REFUSALS_AWAITED_MS = 500, /* total, until the platform has answered */
    IDLE_SECONDS = 3,          /* a pooled connection that was idle for longer is not used again */
    DNS_SECONDS = 10,          /* at most platform.connection.max.age.ms */
    UPLOAD_BUFFER = 16384,     /* libcurl's least */
    RECEIVE_BUFFER = 1024,     /* libcurl's minimum. It is allocated for each request, and fits the
                                  allocator's thread cache */
    FILE_BUFFER = 65536,
};

/* Sets an option, unless one has failed before. */
#define SET(transfer, option, value)                                                               \
    do {                                                                                           \
        if (!*(transfer)->fault)                                                                   \
            note(transfer, #option, curl_easy_setopt((transfer)->easy, option, value));            \
    } while (0)

void transfer_fault(struct transfer *transfer, const char *what, const char *words)
{
    if (!*transfer->fault)
        snprintf(transfer->fault, sizeof transfer->fault, "%s: %s", what, words);
}

static void note(struct transfer *transfer, const char *option, CURLcode code)
{
    if (code != CURLE_OK)
        transfer_fault(transfer, option, curl_easy_strerror(code));
}

void transfer_spoil(struct transfer *transfer)
{
    long port;
    curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
    /* If this option has failed, the check of the connection finds out. */
    if (curl_easy_getinfo(transfer->easy, CURLINFO_LOCAL_PORT, &port) == CURLE_OK)
        platform_socket_not_reusable(transfer->platform, (int)port);
}

/* Whether the request may not be sent any more. If it may, and this process is frozen before it
 * sends, the guard keeps it from sending late. */
static bool is_too_late(struct transfer *transfer, int local_port)
{
    const struct platform_post *post = transfer->post;
    int64_t until = *post->lease_until_ms;
    if (post->send_until_ms && post->send_until_ms <= until)
        until = post->send_until_ms - 1;
    platform_guard_begin(transfer->platform, local_port, until);
    return clock_boot_ms() > until;
}

static bool awaits_refusal(struct platform *platform, int local_port)
{
    int64_t began = clock_boot_ms();
    bool refuses = platform_socket_refuses(platform, local_port);
    platform->awaited_ms += clock_boot_ms() - began;
    return refuses;
}

/* Whether the platform refuses the client certificate, or has just refused it. After the request is
 * sent, it would be in doubt whether it was read if the alert does not arrive. So this function
 * waits for the alert first. That blocks the loop, but only until the platform has answered for the
 * first time, and for a limited time in total. */
static bool is_certificate_refused(struct transfer *transfer, int local_port)
{
    struct platform *platform = transfer->platform;
    if (!transfer->opened || transfer->trust != platform->trust)
        return false;
    if (platform->refused_ms && clock_boot_ms() - platform->refused_ms < REFUSED_MS)
        return true;
    platform_tls_look(transfer);
    if (!transfer->tls.certificate_asked || platform->certificate_settled ||
        platform->awaited_ms >= REFUSALS_AWAITED_MS || !awaits_refusal(platform, local_port))
        return false;
    platform_refuses_certificate(platform);
    return true;
}

/* libcurl is connected and about to send. */
static int before_sending(void *argument, char *remote_ip, char *local_ip, int remote_port,
                          int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    struct transfer *transfer = argument;
    struct attempt *attempt = &transfer->attempt;
    transfer->has_connection = true;
    platform_peer_works(transfer, local_port);
    if (transfer->use == TRANSFER_FETCH)
        return CURL_PREREQFUNC_OK;
    if (attempt->sends > 0)
        attempt->resend_blocked = true;
    else if (is_certificate_refused(transfer, local_port))
        transfer->certificate_refused = true;
    else if (platform_has_gone_stale(transfer, local_port))
        transfer->stale = true;
    else if (is_too_late(transfer, local_port))
        attempt->lease_over = true;
    else {
        attempt->sends++;
        return CURL_PREREQFUNC_OK;
    }
    return CURL_PREREQFUNC_ABORT;
}

static size_t on_header(char *line, size_t one, size_t size, void *argument)
{
    return answer_head_line(argument, line, size) ? one * size : 0;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *argument)
{
    (void)one;
    return answer_bytes(argument, bytes, size);
}

/* libcurl calls this each time it has run the transfer, and once more when the transfer has ended
 * but still has its connection. Only here can the end of TLS be seen. And what was about to be sent
 * is sent: libcurl may run many other transfers before it returns, and meanwhile the lease may end.
 */
static int on_progress(void *argument, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    struct transfer *transfer = argument;
    const struct answer_head *head = &transfer->head;
    platform_guard_end();
    bool open_ended =
        head->done && !head->bodiless && !head->framing.lengths && !head->framing.chunked;
    if (open_ended || (transfer->opened && transfer->attempt.sends && !head->begun && !head->done))
        platform_tls_look(transfer);
    return 0;
}

static void set_trust(struct transfer *transfer)
{
    SET(transfer, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(transfer, CURLOPT_SSL_VERIFYHOST, 2L);
    SET(transfer, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(transfer, CURLOPT_SSL_CTX_FUNCTION, platform_tls_context);
    SET(transfer, CURLOPT_SSL_CTX_DATA, transfer);
    /* The CAs belong to platform_trust, and no session outlives them. */
    SET(transfer, CURLOPT_CAINFO, NULL);
    SET(transfer, CURLOPT_CAPATH, NULL);
    SET(transfer, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    SET(transfer, CURLOPT_SSL_SESSIONID_CACHE, transfer->use == TRANSFER_FETCH ? 0L : 1L);
}

static int64_t dns_seconds(const struct config *config)
{
    int64_t age = config->platform_connection_max_age_ms / 1000;
    return age < DNS_SECONDS ? age : DNS_SECONDS;
}

static void set_http(struct transfer *transfer, const struct config *config)
{
    SET(transfer, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(transfer, CURLOPT_HTTP_TRANSFER_DECODING, 0L); /* platform_chunks.h says why */
    SET(transfer, CURLOPT_USERAGENT, "privacy-call-worker/" PCW_VERSION);
    SET(transfer, CURLOPT_PROXY, "");
    SET(transfer, CURLOPT_NOPROXY, "*");
    SET(transfer, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(transfer, CURLOPT_NOSIGNAL, 1L);
    /* Without this option libcurl, and the loop with it, waits for a name resolution that it has
     * given up. */
    SET(transfer, CURLOPT_QUICK_EXIT, 1L);
    SET(transfer, CURLOPT_TCP_NODELAY, 1L);
    SET(transfer, CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS);
    SET(transfer, CURLOPT_DNS_CACHE_TIMEOUT, (long)dns_seconds(config));
    SET(transfer, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(transfer->use == TRANSFER_CALL ? config_connect_timeout_ms(config)
                                              : config->platform_connect_timeout_ms));
}

static void set_post(struct transfer *transfer, const struct config *config)
{
    const char *protocols = config->platform_allow_http ? "http,https" : "https";
    SET(transfer, CURLOPT_PROTOCOLS_STR, protocols);
    SET(transfer, CURLOPT_FOLLOWLOCATION, 0L);
    SET(transfer, CURLOPT_POST, 1L);
    SET(transfer, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
}

static void set_fetch(struct transfer *transfer)
{
    SET(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(transfer, CURLOPT_FOLLOWLOCATION, 0L);
    SET(transfer, CURLOPT_HTTPGET, 1L);
    /* Content that is packed all the same is passed on as it comes: libcurl would not notice where
     * it is cut. */
    static char accept_encoding[] = "Accept-Encoding: identity";
    transfer->headers[0] = (struct curl_slist){accept_encoding, NULL};
    SET(transfer, CURLOPT_HTTPHEADER, transfer->headers);
}

static void set_callbacks(struct transfer *transfer)
{
    SET(transfer, CURLOPT_PRIVATE, transfer);
    SET(transfer, CURLOPT_ERRORBUFFER, transfer->words);
    SET(transfer, CURLOPT_PREREQFUNCTION, before_sending);
    SET(transfer, CURLOPT_PREREQDATA, transfer);
    SET(transfer, CURLOPT_HEADERFUNCTION, on_header);
    SET(transfer, CURLOPT_HEADERDATA, transfer);
    SET(transfer, CURLOPT_WRITEFUNCTION, on_body);
    SET(transfer, CURLOPT_WRITEDATA, transfer);
    SET(transfer, CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(transfer, CURLOPT_XFERINFODATA, transfer);
    SET(transfer, CURLOPT_NOPROGRESS, 0L);
    SET(transfer, CURLOPT_OPENSOCKETFUNCTION, platform_socket_open);
    SET(transfer, CURLOPT_OPENSOCKETDATA, transfer);
    SET(transfer, CURLOPT_CLOSESOCKETFUNCTION, platform_socket_close);
    SET(transfer, CURLOPT_CLOSESOCKETDATA, transfer->platform);
}

/* The list of headers that libcurl reads is in the transfer. Only Authorization changes. */
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
    SET(transfer, CURLOPT_HTTPHEADER, transfer->headers);
}

struct transfer *transfer_new(struct platform *platform, enum transfer_use use)
{
    struct transfer *transfer = memory_zeroed(1, sizeof *transfer);
    const struct config *config = platform->config;
    list_init(&transfer->node);
    list_init(&transfer->awaiting_node);
    list_init(&transfer->failed_node);
    transfer->platform = platform;
    transfer->use = use;
    transfer->trust = platform->trust;
    transfer->trust->references++;
    transfer->easy = curl_easy_init();
    if (!transfer->easy)
        transfer_fault(transfer, "curl_easy_init", "no handle");
    set_callbacks(transfer);
    set_http(transfer, config);
    set_trust(transfer);
    /* Set once, not for each request: libcurl 7.88 refuses it after a transfer without a
     * connection. */
    SET(transfer, CURLOPT_BUFFERSIZE, use == TRANSFER_CALL ? (long)RECEIVE_BUFFER : FILE_BUFFER);
    if (use == TRANSFER_FETCH) {
        set_fetch(transfer);
    } else {
        set_post(transfer, config);
        set_headers(transfer);
        SET(transfer, CURLOPT_SHARE, transfer->trust->share);
    }
    return transfer;
}

int transfer_prepare(struct transfer *transfer)
{
    const struct platform_post *post = transfer->post;
    bool fetch = transfer->use == TRANSFER_FETCH;
    bool reuse = transfer->platform->config->platform_connection_reuse && !fetch;
    SET(transfer, CURLOPT_URL, post->url);
    SET(transfer, CURLOPT_FRESH_CONNECT, reuse && !transfer->reconnected ? 0L : 1L);
    SET(transfer, CURLOPT_FORBID_REUSE, reuse ? 0L : 1L);
    if (!fetch) {
        snprintf(transfer->authorization, sizeof transfer->authorization, "Authorization: %s",
                 post->authorization);
        SET(transfer, CURLOPT_POSTFIELDS, post->body);
        SET(transfer, CURLOPT_POSTFIELDSIZE, (long)post->body_size);
    }
    return *transfer->fault ? -1 : 0;
}

void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy); /* also removes it from the multi handle */
    platform_trust_release(transfer->trust);
    free(transfer);
}
