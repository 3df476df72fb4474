/* Token and certificates: read again while the worker runs, without a lost or doubtful call; and
 * platforms that want a certificate of the client. */
#include <fcntl.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "bench.h"
#include "core/signature.h"
#include "io/platform.h"
#include "sandbox/platform/certificate.h"

static char directory[] = "/tmp/test-credentials-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *bytes, size_t n)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* As Kubernetes does: the link `data` is swapped for one to another directory. */
static void swap_token(const char *version, const char *token)
{
    char name[64];
    mkdir(path_of(version), 0700);
    snprintf(name, sizeof name, "%s/token", version);
    write_file(name, token, strlen(token));
    unlink(path_of("new"));
    assert_int_equal(symlink(version, path_of("new")), 0);
    assert_int_equal(rename(path_of("new"), path_of("data")), 0);
}

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* Waits until so many files were read, or could not be. */
static void await(const _Atomic uint64_t *counter, uint64_t n)
{
    for (int i = 0; i < 1000 && *counter < n; i++)
        pause_ms(10);
    assert_true(*counter >= n);
}

static bool is_signed_with(const char *request, const char *token)
{
    char body[200];
    snprintf(body, sizeof body, "\"ACCOUNTSID\":\"%s\"", token);
    char *spaced = strstr(request, token);
    for (int64_t ago = 0; ago < 5000; ago += 1000) {
        struct signature signature;
        signature_make(&signature, token, "app", clock_wall_ms() - ago, 480);
        if (strstr(request, signature.sig) && strstr(request, signature.authorization))
            return spaced != NULL;
    }
    return false;
}

static void try_new_token(struct bench *bench, bool asked)
{
    bench->config.platform_token_path = memory_string(path_of("data/token"));
    bench->config.platform_breaker_open_ms = 60000;
    OPEN(bench, {STATUS_ANSWER("401 No"), THEN_KEEP}, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    await_allowance(bench, 0);
    swap_token("two", "second-token\n");
    if (asked)
        call_thread_reread(bench->thread);
    await_allowance(bench, 1); /* the trial, a minute early */
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_true(is_signed_with(bench->server.requests[0], TOKEN));
    assert_true(is_signed_with(bench->server.requests[1], "second-token"));
    assert_false(is_signed_with(bench->server.requests[1], TOKEN));
}

static void a_401_waits_for_the_new_token(void **state)
{
    swap_token("one", TOKEN "\n");
    try_new_token(*state, false);
}

static void a_signal_reads_all_again(void **state)
{
    struct bench *bench = *state;
    swap_token("one", TOKEN "\n");
    try_new_token(bench, true);
    const struct call_counters *counters = call_thread_counters(bench->thread);
    uint64_t before = counters->reloads;
    call_thread_reread(bench->thread);
    await(&counters->reloads, before + 1); /* nothing has changed: no look by the clock does that */
}

static void a_bad_token_leaves_the_old_one(void **state)
{
    struct bench *bench = *state;
    swap_token("one", TOKEN);
    bench->config.platform_token_path = memory_string(path_of("data/token"));
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    const struct call_counters *counters = call_thread_counters(bench->thread);
    swap_token("empty", "");
    await(&counters->reload_failures, 1);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    unlink(path_of("data"));
    await(&counters->reload_failures, 2);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_true(is_signed_with(bench->server.requests[1], TOKEN));
    assert_int_equal(counters->reloads, 0);
    swap_token("three", "third-token");
    await(&counters->reloads, 1);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_true(is_signed_with(bench->server.requests[2], "third-token"));
}

/* ---- authorities */

/* Another authority than the server's, in its file. */
static void put_other_authority(struct bench *bench)
{
    struct error error;
    char aside[128];
    snprintf(aside, sizeof aside, "%s", path_of("other.pem"));
    SSL_CTX *other = sandbox_certificate_context("127.0.0.1", NULL, aside, false, &error);
    assert_non_null(other);
    SSL_CTX_free(other);
    assert_int_equal(rename(aside, bench->ca_file), 0);
}

static char *read_whole(const char *path, size_t *n)
{
    static char bytes[65536];
    FILE *file = fopen(path, "r");
    *n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return bytes;
}

static void write_to(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "w");
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void authorities_are_read_again(void **state)
{
    struct bench *bench = *state;
    size_t n;
    use_tls(bench);
    const char *right = read_whole(bench->ca_file, &n);
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    const struct call_counters *counters = call_thread_counters(bench->thread);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    put_other_authority(bench);
    await(&counters->reloads, 1);
    start(bench, REQUEST_CALL, 1); /* neither the open connection nor its session serves */
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(server_requests(&bench->server), 1);
    await(&counters->failures, 1);
    write_to(bench->ca_file, right, n);
    await(&counters->reloads, 2);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    for (int i = 0; i < 1000 && counters->failures; i++)
        pause_ms(10);
    assert_int_equal(counters->failures, 0);
    assert_true(is_logged("; see platform.ca.file"));
}

static void another_authority_ends_the_pause(void **state)
{
    struct bench *bench = *state;
    size_t n;
    bench->config.platform_breaker_failures = 1;
    bench->config.platform_breaker_open_ms = 60000;
    use_tls(bench);
    const char *right = read_whole(bench->ca_file, &n);
    put_other_authority(bench);
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(call_thread_counters(bench->thread)->failures, 0); /* paused: none counts */
    await_allowance(bench, 0);
    write_to(bench->ca_file, right, n);
    await_allowance(bench, 1); /* the trial, a minute early */
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* What has begun with the old authorities ends with them, and where it points to is not lost. */
static void a_redirect_outlives_its_authorities(void **state)
{
    static const char url[] = "https://files.example.com/a/recording/with/a/long/name.mp3";
    struct bench *bench = *state;
    bench->server.delay_ms = 1000;
    OPEN(bench, {"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
                 "https://files.example.com/a/recording/with/a/long/name.mp3\r\n\r\n",
                 THEN_KEEP});
    const struct call_counters *counters = call_thread_counters(bench->thread);
    start(bench, REQUEST_RECORDING, 0);
    server_await(&bench->server, 1);
    call_thread_reread(bench->thread);
    await(&counters->reloads, 1);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status, STATUS_SUCCEEDED);
    assert_string_equal(request->outcome.recording.url, url);
    request_free(request);
}

static void half_a_file_leaves_the_old_one(void **state)
{
    struct bench *bench = *state;
    size_t n;
    use_tls(bench);
    const char *right = read_whole(bench->ca_file, &n);
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    const struct call_counters *counters = call_thread_counters(bench->thread);
    write_to(bench->ca_file, right, n / 2);
    await(&counters->reload_failures, 1);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    write_to(bench->ca_file, right, n);
    await(&counters->reloads, 1);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* ---- the client's certificate */

static int any_certificate(int preverified, X509_STORE_CTX *context)
{
    (void)preverified;
    (void)context;
    return 1;
}

static void want_certificate(struct bench *bench, int version)
{
    use_tls(bench);
    SSL_CTX_set_verify(bench->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       any_certificate);
    SSL_CTX_set_min_proto_version(bench->tls, version);
    SSL_CTX_set_max_proto_version(bench->tls, version);
}

/* The server's own will do. */
static void write_certificate(const SSL_CTX *context)
{
    FILE *file = fopen(path_of("cert.pem"), "w");
    assert_int_equal(PEM_write_X509(file, SSL_CTX_get0_certificate(context)), 1);
    fclose(file);
    file = fopen(path_of("key.pem"), "w");
    assert_int_equal(
        PEM_write_PrivateKey(file, SSL_CTX_get0_privatekey(context), NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static void try_without(struct bench *bench, int version)
{
    want_certificate(bench, version);
    bench->config.recording_attempts = 1;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 5; i++) {
        start(bench, REQUEST_CALL, i);
        comes_back(bench, CALL_NOT_SENT);
    }
    start(bench, REQUEST_RECORDING, 5);
    struct request *request = next_request(bench);
    assert_int_equal(request->outcome.status, STATUS_UNAVAILABLE);
    if (version == TLS1_3_VERSION)
        assert_string_equal(request->outcome.error_code, "client-certificate-refused");
    assert_non_null(strstr(request->outcome.error_message, "client certificate"));
    assert_non_null(strstr(request->outcome.error_message, "platform.cert.file"));
    request_free(request);
    assert_int_equal(server_requests(&bench->server), 0);
}

static void a_certificate_that_is_wanted_is_said(void **state)
{
    try_without(*state, TLS1_3_VERSION);
}

static void with_older_tls_too(void **state)
{
    try_without(*state, TLS1_2_VERSION);
}

static void a_certificate_is_given(void **state)
{
    struct bench *bench = *state;
    want_certificate(bench, TLS1_3_VERSION);
    write_certificate(bench->tls);
    bench->config.platform_cert_file = memory_string(path_of("cert.pem"));
    bench->config.platform_key_file = memory_string(path_of("key.pem"));
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 2; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->server), 1);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    free(bench->config.platform_cert_file);
    free(bench->config.platform_key_file);
}

/* The serial number of the last client's certificate. */
static _Atomic long shown_serial;

static int note_certificate(int preverified, X509_STORE_CTX *context)
{
    (void)preverified;
    shown_serial = ASN1_INTEGER_get(X509_get0_serialNumber(X509_STORE_CTX_get0_cert(context)));
    return 1;
}

/* A file that is there whole or not at all. */
static void put_key(const char *name, EVP_PKEY *key)
{
    FILE *file = fopen(path_of("new.pem"), "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    assert_int_equal(rename(path_of("new.pem"), path_of(name)), 0);
}

/* The server's own with another serial number, for that key. */
static void put_certificate(const SSL_CTX *context, EVP_PKEY *key, long serial)
{
    X509 *certificate = X509_dup(SSL_CTX_get0_certificate(context));
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial), 1);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = fopen(path_of("new.pem"), "w");
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    X509_free(certificate);
    assert_int_equal(rename(path_of("new.pem"), path_of("cert.pem")), 0);
}

static void shows(struct bench *bench, int64_t offset, long serial)
{
    start(bench, REQUEST_CALL, offset);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(shown_serial, serial);
}

/* Each of the two files is looked at: a certificate is renewed for its key, then both are changed,
 * the key first. */
static void certificate_and_key_are_read_again(void **state)
{
    struct bench *bench = *state;
    EVP_PKEY *keys[] = {EVP_EC_gen("P-256"), EVP_EC_gen("P-256")};
    use_tls(bench);
    SSL_CTX_set_verify(bench->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       note_certificate);
    put_key("key.pem", keys[0]);
    put_certificate(bench->tls, keys[0], 11);
    bench->config.platform_cert_file = memory_string(path_of("cert.pem"));
    bench->config.platform_key_file = memory_string(path_of("key.pem"));
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    const struct call_counters *counters = call_thread_counters(bench->thread);
    shows(bench, 0, 11);
    put_certificate(bench->tls, keys[0], 22);
    await(&counters->reloads, 1);
    shows(bench, 1, 22); /* on a new connection */
    put_key("key.pem", keys[1]);
    await(&counters->reload_failures, 1); /* the certificate is not its own yet */
    shows(bench, 2, 22);
    put_certificate(bench->tls, keys[1], 33);
    await(&counters->reloads, 2);
    shows(bench, 3, 33);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    free(bench->config.platform_cert_file);
    free(bench->config.platform_key_file);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
}

enum { CONNECTIONS = 60, WAITED_MS = 50 /* at least for each, where nothing comes */ };

/* How many ms it takes until many requests have arrived, each on a new connection. */
static int64_t connect_many(bool certificate_asked_for)
{
    void *own;
    set_up(&own);
    struct bench *bench = own;
    bench->config.platform_max_in_flight = CONNECTIONS;
    bench->config.platform_timeout_ms = bench->config.platform_connect_timeout_ms = 30000;
    use_tls(bench);
    if (certificate_asked_for)
        SSL_CTX_set_verify(bench->tls, SSL_VERIFY_PEER, any_certificate); /* one, or none */
    SSL_CTX_set_min_proto_version(bench->tls, TLS1_3_VERSION);
    SSL_CTX_set_num_tickets(bench->tls, 0);
    bench->server.delay_ms = 1000; /* none has answered before all are connected */
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    int64_t began = clock_boot_ms();
    for (int i = 0; i < CONNECTIONS; i++)
        start(bench, REQUEST_CALL, i);
    server_await(&bench->server, CONNECTIONS);
    int64_t took = clock_boot_ms() - began;
    for (int i = 0; i < CONNECTIONS; i++)
        ends(bench, STATUS_SUCCEEDED, NULL);
    tear_down(&own);
    return took;
}

/* Whether a new connection's certificate is refused is waited for, but not with each of many: the
 * loop stands still meanwhile. The handshakes themselves take long on a busy machine. */
static void many_connections_do_not_hold_the_loop_up(void **state)
{
    (void)state;
    int64_t handshakes = connect_many(false);
    int64_t took = connect_many(true);
    assert_in_range(took, 0, handshakes + CONNECTIONS * WAITED_MS * 2 / 3);
}

/* The first client's certificate is good; from then on it counts as revoked. */
static int once(X509_STORE_CTX *context, void *seen)
{
    if ((*(_Atomic int *)seen)++ == 0)
        return 1;
    X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REVOKED);
    return 0;
}

/* libcurl opens another connection by itself when a pooled one ends unanswered. That the platform
 * turns that one away says nothing of what was sent on the first. */
static void a_refusal_of_the_second_connection_takes_nothing_back(void **state)
{
    struct bench *bench = *state;
    want_certificate(bench, TLS1_2_VERSION);
    static _Atomic int seen;
    SSL_CTX_set_cert_verify_callback(bench->tls, once, &seen);
    SSL_CTX_set_options(bench->tls, SSL_OP_NO_TICKET); /* each handshake is a whole one */
    SSL_CTX_set_session_cache_mode(bench->tls, SSL_SESS_CACHE_OFF);
    write_certificate(bench->tls);
    bench->config.platform_cert_file = memory_string(path_of("cert.pem"));
    bench->config.platform_key_file = memory_string(path_of("key.pem"));
    OPEN(bench, {OK_ANSWER, THEN_KEEP}, {NULL, THEN_CLOSE});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_UNKNOWN, "connection-reset");
    assert_int_equal(server_requests(&bench->server), 2);
    assert_int_equal(server_connections(&bench->server), 2);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    free(bench->config.platform_cert_file);
    free(bench->config.platform_key_file);
}

/* A platform may ask for a certificate once more on a connection whose first user is gone: it was
 * idle when the authorities were read again. */
static void a_second_handshake_outlives_the_first_user(void **state)
{
    enum { MANY = 8, FEW = 4 };
    struct bench *bench = *state;
    bench->config.platform_timeout_ms = 10000;
    use_tls(bench);
    SSL_CTX_set_verify(bench->tls, SSL_VERIFY_PEER, any_certificate);
    SSL_CTX_set_max_proto_version(bench->tls, TLS1_2_VERSION);
    bench->server.delay_ms = 1000;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < MANY; i++)
        start(bench, REQUEST_CALL, i);
    for (int i = 0; i < MANY; i++)
        ends(bench, STATUS_SUCCEEDED, NULL);
    bench->server.shakes_hands_again = true;
    for (int i = 0; i < FEW; i++)
        start(bench, REQUEST_CALL, MANY + i);
    server_await(&bench->server, MANY + FEW);
    call_thread_reread(bench->thread);
    await(&call_thread_counters(bench->thread)->reloads, 1);
    for (int i = 0; i < FEW; i++)
        ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_connections(&bench->server), MANY);
}

static void the_start_needs_what_can_be_used(void **state)
{
    struct bench *bench = *state;
    struct error error;
    use_tls(bench);
    write_certificate(bench->tls);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    FILE *file = fopen(path_of("other.key"), "w");
    assert_int_equal(PEM_write_PrivateKey(file, other, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    EVP_PKEY_free(other);
    struct config config = bench->config;
    config.platform_cert_file = (char *)(uintptr_t)path_of("cert.pem");
    assert_null(platform_trust_load(&config, &error)); /* no key in it */
    assert_non_null(strstr(error.text, "platform.cert.file"));
    config.platform_key_file = (char *)(uintptr_t)path_of("other.key");
    assert_null(platform_trust_load(&config, &error));
    assert_non_null(strstr(error.text, "platform.key.file: it is not the key"));
    config.platform_key_file = (char *)(uintptr_t)path_of("key.pem");
    char groups[] = "X25519:P-256", misspelt[] = "X25519:P-25";
    config.platform_tls_groups = groups;
    struct platform_trust *trust = platform_trust_load(&config, &error);
    assert_non_null(trust);
    platform_trust_release(trust);
    config.platform_tls_groups = misspelt;
    assert_null(platform_trust_load(&config, &error));
    assert_non_null(strstr(error.text, "platform.tls.groups"));
}

static void groups_are_offered(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    assert_int_equal(SSL_CTX_set1_groups_list(bench->tls, "P-384"), 1);
    bench->config.platform_tls_groups = memory_string("P-256");
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    call_thread_free(bench->thread);
    free(bench->config.platform_tls_groups);
    free(bench->config.platform_url);
    bench->config.platform_tls_groups = memory_string("P-256:P-384");
    open_thread(bench, bench->server.url);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    free(bench->config.platform_tls_groups);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

/* No test is about time-outs here, and the thread looks at the token's file until it ends. */
static int open_bench(void **state)
{
    int failed = set_up(state);
    struct bench *bench = *state;
    bench->config.platform_connect_timeout_ms = 5000;
    bench->config.platform_timeout_ms = 10000;
    return failed;
}

static int close_bench(void **state)
{
    char *path = ((struct bench *)*state)->config.platform_token_path;
    int failed = tear_down(state);
    free(path);
    return failed;
}

#define PATIENT(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        PATIENT(a_401_waits_for_the_new_token),
        PATIENT(a_signal_reads_all_again),
        PATIENT(a_bad_token_leaves_the_old_one),
        PATIENT(authorities_are_read_again),
        PATIENT(another_authority_ends_the_pause),
        PATIENT(a_redirect_outlives_its_authorities),
        PATIENT(half_a_file_leaves_the_old_one),
        PATIENT(a_certificate_that_is_wanted_is_said),
        PATIENT(with_older_tls_too),
        PATIENT(a_certificate_is_given),
        PATIENT(certificate_and_key_are_read_again),
        PATIENT(many_connections_do_not_hold_the_loop_up),
        PATIENT(a_refusal_of_the_second_connection_takes_nothing_back),
        PATIENT(a_second_handshake_outlives_the_first_user),
        PATIENT(the_start_needs_what_can_be_used),
        PATIENT(groups_are_offered),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
