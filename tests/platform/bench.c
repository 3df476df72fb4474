#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <dirent.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_recent.h"
#include "base/memory.h"
#include "bench.h"
#include "sandbox/platform/certificate.h"

/* How many parts of files are in the store; removes all files when asked. */
int count_store(const struct bench *bench, bool remove_them)
{
    DIR *directory = opendir(bench->store);
    const struct dirent *entry;
    int parts = 0;
    while (directory && (entry = readdir(directory))) {
        char path[512];
        size_t n = strlen(entry->d_name);
        parts += n > 5 && !strcmp(entry->d_name + n - 5, ".part");
        snprintf(path, sizeof path, "%s/%s", bench->store, entry->d_name);
        if (remove_them)
            unlink(path);
    }
    if (directory)
        closedir(directory);
    return parts;
}

static void on_pushed(void *argument)
{
    struct bench *bench = argument;
    pthread_mutex_lock(&bench->lock);
    pthread_cond_broadcast(&bench->pushed);
    pthread_mutex_unlock(&bench->lock);
}

int set_up(void **state)
{
    struct bench *bench = memory_zeroed(1, sizeof *bench);
    bench->config = (struct config){
        .platform_allow_http = true,
        .platform_version = memory_string("20171220"),
        .platform_token = memory_string(TOKEN),
        .platform_app_id = memory_string("app"),
        .platform_utc_offset_minutes = 480,
        .session_timeout_ms = 30000,
        .platform_connect_timeout_ms = 10000,
        .platform_timeout_ms = 800,
        .platform_connection_reuse = true,
        .platform_connection_max_age_ms = 60000,
        .platform_max_in_flight = 16,
        .recording_max_in_flight = 4,
        .platform_answer_max_bytes = 4096,
        .platform_breaker_failures = 100,
        .platform_breaker_open_ms = 300,
        .call_deadline_ms = 60000,
        .recording_attempts = 5,
        .recording_max_bytes = 100000,
        .recording_timeout_ms = 5000,
        .recording_url_allow_private = true,
        .request_topics = {"calls", "recordings"},
    };
    list_init(&bench->taken);
    pthread_mutex_init(&bench->lock, NULL);
    pthread_cond_init(&bench->pushed, NULL);
    queue_init(&bench->finished, on_pushed, bench);
    bench->allowance = -1;
    *state = bench;
    return 0;
}

int tear_down(void **state)
{
    struct bench *bench = *state;
    struct list *node;
    call_thread_free(bench->thread);
    queue_take(&bench->finished, &bench->taken);
    while ((node = list_take_first(&bench->taken))) {
        struct message *message = list_of(node, struct message, node);
        if (message->type == MESSAGE_REQUEST)
            request_free((struct request *)message);
        else
            free(message);
    }
    if (bench->server.listener)
        server_stop(&bench->server);
    if (bench->files.listener)
        server_stop(&bench->files);
    if (*bench->store) {
        assert_int_equal(count_store(bench, true), 0);
        rmdir(bench->store);
    }
    free(bench->config.recording_store);
    free(bench->config.instance_id);
    if (*bench->ca_file)
        unlink(bench->ca_file);
    SSL_CTX_free(bench->tls);
    queue_fini(&bench->finished);
    free(bench->config.platform_version);
    free(bench->config.platform_token);
    free(bench->config.platform_app_id);
    free(bench->config.platform_url);
    free(bench->config.platform_ca_file);
    free(bench);
    return 0;
}

void open_thread(struct bench *bench, const char *url)
{
    struct error error;
    bench->config.platform_url = memory_string(url);
    struct queue *finished[REQUEST_KINDS] = {&bench->finished, &bench->finished};
    bench->thread = call_thread_new(&bench->config, NULL, finished, &error);
    assert_non_null(bench->thread);
}

struct request *request_of(enum request_kind kind, int64_t offset)
{
    struct raw_record raw = {.key = "o", .key_size = 1, .timestamp_ms = clock_wall_ms()};
    struct request *request = request_new((struct record_position){kind, 0, offset}, &raw);
    request->event.order_id = "o";
    request->event.caller = "18326070000";
    request->event.callee = "18326070001";
    request->event.call_identifier = "id-1";
    request->call.lease_until_ms = kind == REQUEST_CALL ? clock_boot_ms() + 10000 : INT64_MAX;
    return request;
}

void start(struct bench *bench, enum request_kind kind, int64_t offset)
{
    call_thread_start(bench->thread, request_of(kind, offset));
}

/* The next thing that comes back, within 10 s. */
static struct message *next_message(struct bench *bench)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&bench->lock);
    queue_take(&bench->finished, &bench->taken);
    while (list_empty(&bench->taken)) {
        if (pthread_cond_timedwait(&bench->pushed, &bench->lock, &until))
            break;
        queue_take(&bench->finished, &bench->taken);
    }
    pthread_mutex_unlock(&bench->lock);
    struct list *node = list_take_first(&bench->taken);
    if (!node)
        fail_msg("nothing came back");
    return list_of(node, struct message, node);
}

static void note_allowance(struct bench *bench, struct message *message)
{
    bench->allowance = ((struct limit_message *)message)->calls;
    free(message);
}

struct request *next_request(struct bench *bench)
{
    struct message *message;
    while ((message = next_message(bench))->type == MESSAGE_LIMIT)
        note_allowance(bench, message);
    return (struct request *)message;
}

void await_allowance(struct bench *bench, int64_t calls)
{
    while (bench->allowance != calls) {
        struct message *message = next_message(bench);
        assert_int_equal(message->type, MESSAGE_LIMIT);
        note_allowance(bench, message);
    }
}

void ends(struct bench *bench, enum status status, const char *code)
{
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    const char *found = request->outcome.error_code;
    assert_string_equal(found ? found : "none", code ? code : "none");
    assert_int_equal(request->outcome.status, status);
    assert_true(request->outcome.finished_at_ms >= request->call.first_started_at_ms);
    assert_int_equal(request->call.attempts, 1);
    request_free(request);
}

void comes_back(struct bench *bench, enum call_end end)
{
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, end);
    assert_int_equal(request->call.attempts, end == CALL_RETURNED ? 0 : 1);
    assert_null(request->outcome.error_code);
    request_free(request);
}

void use_tls(struct bench *bench)
{
    static const char *const names[] = {NAME, NULL};
    struct error error;
    snprintf(bench->ca_file, sizeof bench->ca_file, "/tmp/test-call-thread-%d.pem", getpid());
    bench->tls = sandbox_certificate_context("127.0.0.1", names, bench->ca_file, false, &error);
    assert_non_null(bench->tls);
    bench->config.platform_ca_file = memory_string(bench->ca_file);
    bench->config.platform_allow_http = false;
}

void open_store(struct bench *bench)
{
    strcpy(bench->store, "/tmp/privacy-call-store-XXXXXX");
    assert_non_null(mkdtemp(bench->store));
    bench->config.recording_store = memory_string(bench->store);
    bench->config.instance_id = memory_string("w-1");
    bench->config.recording_attempts = 1;
}

void open_url(struct bench *bench, const char *path, const struct reply *script, int length)
{
    static char answer[512];
    static struct reply replies[1];
    char body[256];
    open_store(bench);
    server_start(&bench->files, "127.0.0.1", NULL, script, length);
    snprintf(body, sizeof body, "{\"Flag\":1,\"Msg\":\"%s%s\"}", bench->files.url, path);
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    replies[0] = (struct reply){answer, THEN_KEEP};
    server_start(&bench->server, "127.0.0.1", NULL, replies, 1);
    open_thread(bench, bench->server.url);
}

/* The system's authorities take a tenth of a second to load, several times that with sanitizers,
 * and vouch for no server of these tests. */
int __real_X509_STORE_load_file(X509_STORE *store, const char *file);
int __wrap_X509_STORE_load_file(X509_STORE *store, const char *file);
int __wrap_X509_STORE_load_file(X509_STORE *store, const char *file)
{
    const char *system = curl_version_info(CURLVERSION_NOW)->cainfo;
    return system && !strcmp(file, system) ? 1 : __real_X509_STORE_load_file(store, file);
}

bool is_logged(const char *words)
{
    struct log_recent recent[LOG_RECENT];
    size_t count = log_recent_copy(recent);
    for (size_t i = 0; i < count; i++)
        if (strstr(recent[i].message, words))
            return true;
    return false;
}
