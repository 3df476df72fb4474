/* The connections to the platform: which address is used, how long one lives, what one may bring
 * besides an answer, and that an answer is its own request's or nobody's. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "bench.h"
#include "sandbox/platform/certificate.h"

/* In the place of libc's, also for libcurl: NAME has the addresses that a test gives it. */
static const char *addresses[4]; /* NULL: no more */
static atomic_int failing_lookups;

/* In the place of the project's: the clock, and by how much a test has set it ahead. */
static atomic_int ahead_ms;
int64_t __real_clock_boot_ms(void);
int64_t __wrap_clock_boot_ms(void);

int64_t __wrap_clock_boot_ms(void)
{
    return __real_clock_boot_ms() + atomic_load(&ahead_ms);
}

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static resolver *real;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || strcmp(node, NAME) != 0)
        return real(node, service, hints, found);
    if (atomic_load(&failing_lookups) > 0 && atomic_fetch_sub(&failing_lookups, 1) > 0)
        return EAI_AGAIN;
    struct addrinfo **end = found;
    *found = NULL;
    for (int i = 0; i < 4 && addresses[i]; i++) {
        if (real(addresses[i], service, hints, end) == 0)
            while (*end)
                end = &(*end)->ai_next;
    }
    return *found ? 0 : EAI_NONAME;
}

/* The same: the next sockets of the loop cannot be made, because of that errno. */
static atomic_int failing_sockets, socket_errno;

int socket(int domain, int type, int protocol)
{
    static int (*real)(int, int, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "socket");
    if (atomic_load(&failing_sockets) > 0 && domain == AF_INET &&
        atomic_fetch_sub(&failing_sockets, 1) > 0) {
        errno = atomic_load(&socket_errno);
        return -1;
    }
    return real(domain, type, protocol);
}

/* ---- addresses */

struct dropping {
    int listener, queued[4];
};

/* A listener, and in `at` its address. */
static int listen_at(const char *address, int port, int backlog, struct sockaddr_in6 *at,
                     socklen_t *size)
{
    struct sockaddr_in *four = (struct sockaddr_in *)at;
    *at = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    *size = sizeof *at;
    if (inet_pton(AF_INET6, address, &at->sin6_addr) != 1) {
        *four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        *size = sizeof *four;
        assert_int_equal(inet_pton(AF_INET, address, &four->sin_addr), 1);
    }
    int listener = socket(at->sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)at, *size), 0);
    assert_int_equal(listen(listener, backlog), 0);
    return listener;
}

/* A listener whose queue is full drops what comes, as a firewall does. */
static void drop_at(struct dropping *dropping, const char *address, int port)
{
    struct sockaddr_in6 at;
    socklen_t size;
    dropping->listener = listen_at(address, port, 0, &at, &size);
    for (int i = 0; i < 4; i++) {
        dropping->queued[i] = socket(at.sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(dropping->queued[i], (struct sockaddr *)&at, size);
    }
}

static void drop_no_more(struct dropping *dropping)
{
    for (int i = 0; i < 4; i++)
        close(dropping->queued[i]);
    close(dropping->listener);
}

/* Of NAME: one or two, and the server's as the last one. */
static void set_addresses(const char *first, const char *second)
{
    addresses[0] = first;
    addresses[1] = second ? second : "127.0.0.1";
    addresses[2] = second ? "127.0.0.1" : NULL;
}

/* Over TLS after use_tls. */
static void open_name(struct bench *bench)
{
    static const struct reply script[] = {{OK_ANSWER, THEN_KEEP}};
    char url[64];
    server_start(&bench->server, "127.0.0.1", bench->tls, script, 1);
    snprintf(url, sizeof url, "%s://" NAME ":%d", bench->tls ? "https" : "http",
             bench->server.port);
    open_thread(bench, url);
}

/* The last of the addresses answers, the others drop what comes. */
static void try_addresses(struct bench *bench, const char *first, const char *second)
{
    struct dropping dropping[2];
    bench->config.platform_connect_timeout_ms = 1600;
    bench->config.platform_timeout_ms = 3000;
    set_addresses(first, second);
    open_name(bench);
    drop_at(&dropping[0], first, bench->server.port);
    if (second)
        drop_at(&dropping[1], second, bench->server.port);
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_in_range(clock_boot_ms() - before, 0, 1500);
    drop_no_more(&dropping[0]);
    if (second)
        drop_no_more(&dropping[1]);
}

static void the_second_address_is_used(void **state)
{
    try_addresses(*state, "127.0.0.2", NULL);
}

static void the_third_address_is_used(void **state)
{
    try_addresses(*state, "127.0.0.2", "127.0.0.3");
}

static void the_other_family_is_used(void **state)
{
    try_addresses(*state, "::1", NULL);
}

/* The number of a socket of IPv6 that is closed gets into other hands before libcurl says that it
 * is closed. */
static struct {
    atomic_bool wanted; /* the next one */
    int last;           /* for which the loop waits, until it is connected */
    int pair[2];
    int spare[2];     /* lower numbers, for both sides of the connection to the other address */
    atomic_int taken; /* -1: none */
} other_hands = {.last = -1, .taken = -1};

int __real_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback);
int __wrap_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback);
void __real_SSL_CTX_set_info_callback(SSL_CTX *context, void (*callback)(const SSL *, int, int));
void __wrap_SSL_CTX_set_info_callback(SSL_CTX *context, void (*callback)(const SSL *, int, int));

int __wrap_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback)
{
    int fd = -1, domain = 0;
    socklen_t size = sizeof domain;
    int rc = __real_uv_poll_start(poll, events, callback);
    if (uv_fileno((uv_handle_t *)poll, &fd))
        return rc;
    if (fd == atomic_load(&other_hands.taken))
        close(fd); /* as soon as the worker waits for it */
    else if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_INET6) {
        other_hands.last = fd;
        for (int i = 0; i < 2 && atomic_load(&other_hands.wanted); i++)
            close(other_hands.spare[i]);
    }
    return rc;
}

void __wrap_SSL_CTX_set_info_callback(SSL_CTX *context, void (*callback)(const SSL *, int, int))
{
    __real_SSL_CTX_set_info_callback(context, callback);
    if (!atomic_load(&other_hands.wanted) || fcntl(other_hands.last, F_GETFD) >= 0)
        return;
    atomic_store(&other_hands.wanted, false);
    atomic_store(&other_hands.taken, dup2(other_hands.pair[0], other_hands.last));
}

/* The kernel accepts for a process that is frozen. */
static int silent_at(const char *address, int port)
{
    struct sockaddr_in6 at;
    socklen_t size;
    return listen_at(address, port, 16, &at, &size);
}

/* Closes the listener; how many connections came. */
static int silent_no_more(int listener)
{
    int count = 0;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; count++)
        close(fd);
    close(listener);
    return count;
}

/* The last address speaks TLS. */
static void open_tls_name(struct bench *bench, const char *first, const char *second)
{
    bench->config.platform_connect_timeout_ms = 1000;
    bench->config.platform_timeout_ms = 5000;
    bench->config.platform_connection_reuse = false;
    set_addresses(first, second);
    use_tls(bench);
    open_name(bench);
}

/* The worker does not wait for a descriptor that only has the number of its own: libuv aborts when
 * its owner closes it. */
static void a_number_in_other_hands_is_left_alone(void **state)
{
    struct bench *bench = *state;
    struct dropping dropping;
    open_tls_name(bench, "::1", NULL);
    drop_at(&dropping, "::1", bench->server.port);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other_hands.pair), 0);
    for (int i = 0; i < 2; i++)
        other_hands.spare[i] = dup(other_hands.pair[0]);
    atomic_store(&other_hands.wanted, true);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    int taken = atomic_exchange(&other_hands.taken, -1);
    assert_true(taken >= 0);
    assert_true(fcntl(taken, F_GETFD) >= 0); /* nobody has waited for it */
    close(taken);
    close(other_hands.pair[0]);
    close(other_hands.pair[1]);
    drop_no_more(&dropping);
}

/* The first addresses accept connections, and say nothing in TLS. */
static void try_silent(struct bench *bench, const char *first, const char *second)
{
    open_tls_name(bench, first, second);
    int silent[] = {silent_at(first, bench->server.port),
                    second ? silent_at(second, bench->server.port) : -1};
    int calls = 0;
    for (int i = 0; i < (second ? 2 : 1); i++) {
        start(bench, REQUEST_CALL, calls++);
        comes_back(bench, CALL_NOT_SENT);
    }
    for (int i = 0; i < 3; i++) {
        start(bench, REQUEST_CALL, calls++);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(silent_no_more(silent[0]), 1);
    if (second)
        assert_int_equal(silent_no_more(silent[1]), 1);
    assert_int_equal(server_requests(&bench->server), 3);
    char port[64];
    snprintf(port, sizeof port, " port %d accepts TCP and fails in TLS", bench->server.port);
    assert_true(is_logged(port));
}

static void an_address_silent_in_tls_is_passed_over(void **state)
{
    try_silent(*state, "127.0.0.2", NULL);
}

static void two_silent_addresses_are_passed_over(void **state)
{
    try_silent(*state, "127.0.0.2", "127.0.0.3");
}

static void a_silent_address_of_the_other_family_is_passed_over(void **state)
{
    try_silent(*state, "::1", NULL);
}

static void the_only_address_is_never_passed_over(void **state)
{
    struct bench *bench = *state;
    open_tls_name(bench, "127.0.0.1", "127.0.0.1");
    atomic_store(&bench->server.hang_connect, true);
    for (int i = 0; i < 2; i++) {
        start(bench, REQUEST_CALL, i);
        comes_back(bench, CALL_NOT_SENT);
    }
    atomic_store(&bench->server.hang_connect, false);
    for (int i = 2; i < 4; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->server), 4);
    assert_int_equal(server_requests(&bench->server), 2);
}

/* The second address refuses, once the first one speaks again. */
static void an_address_passed_over_is_used_rather_than_none(void **state)
{
    struct bench *bench = *state;
    static const struct reply script[] = {{OK_ANSWER, THEN_KEEP}};
    open_tls_name(bench, "127.0.0.2", NULL);
    server_start_at(&bench->files, "127.0.0.2", bench->server.port, bench->tls, script, 1);
    atomic_store(&bench->files.hang_connect, true);
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    server_stop(&bench->server);
    atomic_store(&bench->files.hang_connect, false);
    for (int i = 2; i < 4; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_requests(&bench->files), 2);
}

static void a_minute_later_one_call_tries_the_address_again(void **state)
{
    struct bench *bench = *state;
    static const struct reply script[] = {{OK_ANSWER, THEN_KEEP}};
    open_tls_name(bench, "127.0.0.2", NULL);
    server_start_at(&bench->files, "127.0.0.2", bench->server.port, bench->tls, script, 1);
    atomic_store(&bench->files.hang_connect, true);
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    atomic_fetch_add(&ahead_ms, 60000);
    for (int i = 1; i < 4; i++)
        start(bench, REQUEST_CALL, i);
    ends(bench, STATUS_SUCCEEDED, NULL);
    ends(bench, STATUS_SUCCEEDED, NULL);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(server_connections(&bench->files), 2);
    atomic_store(&bench->files.hang_connect, false);
    atomic_fetch_add(&ahead_ms, 60000);
    for (int i = 4; i < 6; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_requests(&bench->files), 2);
    assert_int_equal(server_requests(&bench->server), 2);
}

static void an_address_with_a_wrong_certificate_is_passed_over(void **state)
{
    struct bench *bench = *state;
    static const struct reply script[] = {{OK_ANSWER, THEN_KEEP}};
    struct error error;
    char ca_file[80];
    open_tls_name(bench, "127.0.0.2", NULL);
    snprintf(ca_file, sizeof ca_file, "%s.other", bench->ca_file);
    SSL_CTX *other = sandbox_certificate_context("127.0.0.1", NULL, ca_file, false, &error);
    assert_non_null(other);
    unlink(ca_file);
    bench->files.connect_delay_ms = 200;
    server_start_at(&bench->files, "127.0.0.2", bench->server.port, other, script, 1);
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    for (int i = 1; i < 3; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->files), 1);
    server_stop(&bench->files);
    SSL_CTX_free(other);
}

/* The platform answers with a URL at NAME. */
static void open_file_url(struct bench *bench, int port)
{
    static char answer[512], body[200];
    static const struct reply script[] = {{answer, THEN_KEEP}};
    snprintf(body, sizeof body, "{\"Flag\":1,\"Msg\":\"https://" NAME ":%d/f\"}", port);
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    server_start(&bench->server, "127.0.0.1", bench->tls, script, 1);
    open_thread(bench, bench->server.url);
}

/* It points to a file of audio, over TLS, at the last of NAME's addresses. */
static void open_file(struct bench *bench, const char *first)
{
    static const struct reply file[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 3\r\n\r\nID3",
         THEN_CLOSE}};
    open_store(bench);
    use_tls(bench);
    set_addresses(first, NULL);
    server_start(&bench->files, "127.0.0.1", bench->tls, file, 1);
    open_file_url(bench, bench->files.port);
}

/* A file is fetched from the second address, too. */
static void the_second_address_of_files_is_used(void **state)
{
    struct bench *bench = *state;
    struct dropping dropping;
    bench->config.platform_connect_timeout_ms = 1600;
    bench->config.platform_timeout_ms = 3000;
    open_file(bench, "127.0.0.2");
    drop_at(&dropping, "127.0.0.2", bench->files.port);
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_in_range(clock_boot_ms() - before, 0, 1500);
    drop_no_more(&dropping);
}

/* A name that is gone and comes back costs the recordings of that time alone. */
static void a_host_of_files_that_is_not_found_for_a_while(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_connection_reuse = false;
    bench->config.platform_connection_max_age_ms = 100; /* libcurl remembers no name so long */
    open_file(bench, "127.0.0.1");
    for (int i = 0; i < 4; i++) {
        bool found = i % 2 == 0;
        atomic_store(&failing_lookups, found ? 0 : 1);
        start(bench, REQUEST_RECORDING, i);
        ends(bench, found ? STATUS_SUCCEEDED : STATUS_UNAVAILABLE,
             found ? NULL : "download-failed");
    }
    assert_int_equal(server_requests(&bench->server), 4);
    assert_int_equal(server_requests(&bench->files), 2);
}

static void a_silent_address_of_files_is_passed_over(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_connect_timeout_ms = 1000;
    open_file(bench, "127.0.0.2");
    int silent = silent_at("127.0.0.2", bench->files.port);
    for (int i = 0; i < 3; i++) {
        start(bench, REQUEST_RECORDING, i);
        ends(bench, i ? STATUS_SUCCEEDED : STATUS_UNAVAILABLE, i ? NULL : "download-failed");
    }
    assert_int_equal(silent_no_more(silent), 1);
}

/* Who reads that an address is refused may allow private ones, which would not help here. */
static void a_public_address_that_fails_is_not_refused(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    use_tls(bench);
    bench->config.platform_connect_timeout_ms = 1000;
    bench->config.recording_url_allow_private = false;
    set_addresses("3ffe::1", NULL); /* given back, so nobody is there */
    open_file_url(bench, 1);
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "download-failed");
}

static void a_lookup_that_fails_costs_nothing_else(void **state)
{
    struct bench *bench = *state;
    addresses[0] = "127.0.0.1";
    addresses[1] = NULL;
    atomic_store(&failing_lookups, 2);
    open_name(bench);
    for (int i = 0; i < 2; i++) { /* the second is made with the same handle */
        start(bench, REQUEST_CALL, i);
        comes_back(bench, CALL_NOT_SENT);
    }
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    start(bench, REQUEST_RECORDING, 3);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* ---- a connection's life */

static void without_reuse_each_call_has_its_own(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_connection_reuse = false;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 4; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->server), 4);
}

/* Under load as well: libcurl's own limit is in seconds. */
static void an_old_connection_takes_no_call(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_connection_max_age_ms = 100;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    int calls = 0;
    for (int64_t until = clock_boot_ms() + 350; clock_boot_ms() < until && calls < 200; calls++) {
        start(bench, REQUEST_CALL, calls);
        ends(bench, STATUS_SUCCEEDED, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    assert_in_range(server_connections(&bench->server), 3, 5);
    assert_int_equal(server_requests(&bench->server), calls);
}

static void old_connections_follow_the_name(void **state)
{
    struct bench *bench = *state;
    static const struct reply script[] = {{OK_ANSWER, THEN_KEEP}};
    bench->config.platform_connection_max_age_ms = 100;
    addresses[0] = "127.0.0.1";
    addresses[1] = NULL;
    open_name(bench);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    server_start_at(&bench->files, "127.0.0.4", bench->server.port, NULL, script, 1);
    addresses[0] = "127.0.0.4";
    for (int i = 1; i < 200 && !server_requests(&bench->files); i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    assert_true(server_requests(&bench->files) > 0);
}

static void no_file_left_is_said(void **state)
{
    struct bench *bench = *state;
    struct rlimit limit, none;
    bench->config.recording_attempts = 1;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    close(next);
    none = (struct rlimit){(rlim_t)next, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(request->outcome.status, STATUS_UNAVAILABLE);
    assert_non_null(strstr(request->outcome.error_message, "too many open files"));
    request_free(request);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* The same for the limit of the machine, which the worker cannot see. */
static void no_file_left_on_the_machine_is_said(void **state)
{
    struct bench *bench = *state;
    bench->config.recording_attempts = 1;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    atomic_store(&socket_errno, ENFILE);
    atomic_store(&failing_sockets, 1);
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->outcome.status, STATUS_UNAVAILABLE);
    assert_non_null(strstr(request->outcome.error_message, "too many open files on this machine"));
    request_free(request);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* ---- an answer is its request's, or nobody's */

#define FOREIGN_BODY "{\"Flag\": 1, \"Msg\": \"8619999999999\"}"
#define FOREIGN      "HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n" FOREIGN_BODY
#define CHUNKED                                                                                    \
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" OK_BODY "\r\n0\r\n\r\n"

struct intruder {
    const char *bytes, *more; /* the first answer, and what comes a little later */
    enum call_end end;
    bool exactly; /* the answer fills libcurl's buffer: what is behind it is still in OpenSSL's */
};

static const struct intruder intruders[] = {
    {OK_ANSWER FOREIGN, NULL, CALL_FINISHED, false},
    {OK_ANSWER FOREIGN, NULL, CALL_FINISHED, true},
    {CHUNKED FOREIGN, NULL, CALL_FINISHED, false},
    {CHUNKED FOREIGN, NULL, CALL_FINISHED, true},
    {CHUNKED "\r\n", NULL, CALL_FINISHED, false},
    {OK_ANSWER, FOREIGN, CALL_FINISHED, false},
    {CHUNKED, FOREIGN, CALL_FINISHED, false},
    {OK_ANSWER, "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", CALL_FINISHED, false},
    {OK_ANSWER "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", NULL, CALL_FINISHED, false},
    {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" FOREIGN, NULL, CALL_FINISHED, false},
    {"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n" FOREIGN, NULL, CALL_NOT_SENT, false},
    {"HTTP/1.1 204 None\r\n\r\n" FOREIGN, NULL, CALL_FINISHED, false},
    {"HTTP/1.1 204 None\r\nContent-Length: 35\r\n\r\n" FOREIGN_BODY FOREIGN, NULL, CALL_FINISHED,
     false},
    {"HTTP/1.1 304 Same\r\n\r\n" FOREIGN, NULL, CALL_FINISHED, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" OK_BODY
     "\r\n0\r\n\r\n",
     NULL, CALL_FINISHED, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 70\r\n\r\n23\r\n" OK_BODY
     "\r\n0\r\n\r\n" FOREIGN,
     NULL, CALL_FINISHED, false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 35\r\n\r\n" OK_BODY FOREIGN,
     NULL, CALL_FINISHED, false},
};

/* The answer with a header that makes it as long as libcurl's buffer, and what is behind it. */
static void fill_up(char *out, size_t size, const char *bytes)
{
    const char *behind = strstr(bytes, FOREIGN);
    size_t answer = (size_t)(behind - bytes), line = strcspn(bytes, "\n") + 1;
    int pad = 1024 - (int)answer - (int)strlen("X: \r\n");
    snprintf(out, size, "%.*sX: %0*d\r\n%s", (int)line, bytes, pad, 0, bytes + line);
    assert_ptr_equal(strstr(out, FOREIGN), out + 1024);
}

static void try_intruder(struct bench *bench, const struct intruder *intruder)
{
    char filled[4096];
    const char *first = intruder->bytes;
    if (intruder->exactly) {
        fill_up(filled, sizeof filled, intruder->bytes);
        first = filled;
    }
    struct reply script[] = {{first, THEN_KEEP}, {OK_ANSWER, THEN_KEEP}};
    bench->server.more = intruder->more;
    server_start(&bench->server, "127.0.0.1", bench->tls, script, 2);
    open_thread(bench, bench->server.url);
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, intruder->end);
    request_free(request);
    if (intruder->more)
        server_await_more(&bench->server);
    start(bench, REQUEST_CALL, 1);
    request = next_request(bench);
    assert_int_equal(request->outcome.status, STATUS_SUCCEEDED);
    assert_string_equal(request->outcome.virtual_number, "17115230000");
    request_free(request);
    assert_int_equal(server_requests(&bench->server), 2);
    assert_int_equal(server_connections(&bench->server), 2);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    server_stop(&bench->server);
}

static void try_intruders(bool tls)
{
    for (size_t i = 0; i < sizeof intruders / sizeof *intruders; i++) {
        void *own;
        set_up(&own);
        if (tls)
            use_tls(own);
        print_message("intruder %zu\n", i); /* which one, when it fails */
        try_intruder(own, &intruders[i]);
        tear_down(&own);
    }
}

static void what_is_behind_an_answer_is_nobodys(void **state)
{
    (void)state;
    try_intruders(false);
}

static void what_is_behind_an_answer_is_nobodys_with_tls(void **state)
{
    (void)state;
    try_intruders(true);
}

static void chunked_answers_keep_their_connection(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    OPEN(bench, {CHUNKED, THEN_KEEP},
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n{\"Fla\r\n1E\r\ng\": 1, "
          "\"Msg\": \"8617115230000\"}\r\n0\r\nX-A: b\r\nX-B: c\r\n\r\n",
          THEN_KEEP},
         {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 3; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->server), 1);
}

static void who_speaks_first_is_not_asked(void **state)
{
    struct bench *bench = *state;
    bench->server.greeting = FOREIGN;
    OPEN(bench, {OK_ANSWER, THEN_HANG});
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    /* Whether the greeting is there in time is the network's affair: then nothing is sent. */
    if (request->call.end == CALL_NOT_SENT)
        assert_int_equal(server_requests(&bench->server), 0);
    request_free(request);
}

static void a_status_line_stands_first(void **state)
{
    struct bench *bench = *state;
    OPEN(bench,
         {"HTTP/1.1 200 OK\r\nHTTP/1.1 429 Too: many\r\nContent-Length: 35\r\n\r\n" OK_BODY,
          THEN_KEEP},
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" OK_BODY
          "\r\n0\r\nHTTP/1.1 429 Too: many\r\nRetry-After: 9\r\n\r\n",
          THEN_KEEP},
         {"HTTP/1.1 103 Early\r\nHTTP/1.1 429 Too: many\r\n\r\n" OK_ANSWER, THEN_KEEP},
         {"HTTP/1.1 429 Slow\r\nHTTP/1.1 200 OK: yes\r\nContent-Length: 2\r\n\r\n{}", THEN_KEEP});
    for (int i = 0; i < 3; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    start(bench, REQUEST_CALL, 3);
    comes_back(bench, CALL_NOT_SENT);
}

static void interim_answers_are_none(void **state)
{
    struct bench *bench = *state;
    OPEN(bench,
         {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nRetry-After: 5\r\n\r\n" OK_ANSWER,
          THEN_KEEP},
         {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" OK_ANSWER, THEN_CLOSE});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    start(bench, REQUEST_CALL, 1);
    struct request *request = next_request(bench);
    assert_int_equal(request->outcome.status, STATUS_UNKNOWN);
    request_free(request);
}

static void use_store(struct bench *bench)
{
    strcpy(bench->store, "/tmp/privacy-call-store-XXXXXX");
    assert_non_null(mkdtemp(bench->store));
    bench->config.recording_store = memory_string(bench->store);
    bench->config.instance_id = memory_string("w-1");
    bench->config.recording_attempts = 1;
}

/* A file without a length, over TLS that ends in order or just ends. */
static void try_open_end(struct bench *bench, bool in_order)
{
    use_store(bench);
    use_tls(bench);
    bench->server.says_goodbye = in_order;
    OPEN(bench, {"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\nID3", THEN_CLOSE});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, in_order ? STATUS_SUCCEEDED : STATUS_UNAVAILABLE, in_order ? NULL : "answer-cut");
}

static void an_end_in_order_is_one(void **state)
{
    try_open_end(*state, true);
}

static void an_end_without_a_word_is_none(void **state)
{
    try_open_end(*state, false);
}

/* The same for the file behind a URL, which is fetched later. */
static void try_open_end_of_file(struct bench *bench, bool in_order)
{
    static const struct reply file[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\nID3", THEN_CLOSE}};
    open_store(bench);
    use_tls(bench);
    addresses[0] = "127.0.0.1";
    addresses[1] = NULL;
    bench->files.says_goodbye = in_order;
    server_start(&bench->files, "127.0.0.1", bench->tls, file, 1);
    open_file_url(bench, bench->files.port);
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, in_order ? STATUS_SUCCEEDED : STATUS_UNAVAILABLE,
         in_order ? NULL : "download-failed");
}

static void a_file_that_ends_in_order_is_whole(void **state)
{
    try_open_end_of_file(*state, true);
}

static void a_file_that_ends_without_a_word_is_none(void **state)
{
    try_open_end_of_file(*state, false);
}

/* A platform with TLS names a file without it: nobody asks for that, unless it is allowed. */
static void plain_files_of_a_platform_with_tls_are_refused(void **state)
{
    struct bench *bench = *state;
    static char answer[512], body[200];
    static const struct reply script[] = {{answer, THEN_KEEP}};
    static const struct reply file[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 3\r\n\r\nID3",
         THEN_CLOSE}};
    open_store(bench);
    use_tls(bench);
    server_start(&bench->files, "127.0.0.1", NULL, file, 1);
    snprintf(body, sizeof body, "{\"Flag\":1,\"Msg\":\"%s/f\"}", bench->files.url);
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    server_start(&bench->server, "127.0.0.1", bench->tls, script, 1);
    open_thread(bench, bench->server.url);
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "recording-url-refused");
    assert_int_equal(server_connections(&bench->files), 0);
    call_thread_free(bench->thread);
    free(bench->config.platform_url);
    bench->config.recording_url_allow_http = true;
    open_thread(bench, bench->server.url);
    start(bench, REQUEST_RECORDING, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* An object that can be read was not cut. */
static void an_answer_ends_where_its_object_does(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    OPEN(bench, {"HTTP/1.1 200 OK\r\n\r\n" OK_BODY, THEN_CLOSE});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

/* Each URL of a recording's file costs its own recording alone, each time. */
static void a_url_that_cannot_be_fetched_costs_its_recording(void **state)
{
    static const char *const urls[] = {"http://no-such-host.invalid/f",
                                       "http://127.0.0.1:99999/f",
                                       "http://127.0.0.1:1/f",
                                       "http://[::1/f",
                                       "http://a b/f",
                                       "http://127.0.0.1:0/f",
                                       "https://256.1.1.1:65536/f"};
    enum { URLS = sizeof urls / sizeof *urls };
    struct bench *bench = *state;
    static char answers[URLS][300];
    static struct reply script[2 * URLS + 1];
    for (int i = 0; i < 2 * URLS; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"Flag\": 1, \"Msg\": \"%s\"}", urls[i / 2]);
        snprintf(answers[i / 2], sizeof answers[0],
                 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
        script[i] = (struct reply){answers[i / 2], THEN_KEEP};
    }
    script[2 * URLS] = (struct reply){OK_ANSWER, THEN_KEEP};
    use_store(bench);
    server_start(&bench->server, "127.0.0.1", NULL, script, 2 * URLS + 1);
    open_thread(bench, bench->server.url);
    for (int i = 0; i < 2 * URLS; i++) {
        start(bench, REQUEST_RECORDING, i);
        struct request *request = next_request(bench);
        assert_int_equal(request->call.end, CALL_FINISHED);
        assert_int_equal(request->outcome.status, STATUS_UNAVAILABLE);
        request_free(request);
    }
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        TEST(the_second_address_is_used),
        TEST(the_third_address_is_used),
        TEST(the_other_family_is_used),
        TEST(a_number_in_other_hands_is_left_alone),
        TEST(an_address_silent_in_tls_is_passed_over),
        TEST(two_silent_addresses_are_passed_over),
        TEST(a_silent_address_of_the_other_family_is_passed_over),
        TEST(the_only_address_is_never_passed_over),
        TEST(an_address_passed_over_is_used_rather_than_none),
        TEST(a_minute_later_one_call_tries_the_address_again),
        TEST(an_address_with_a_wrong_certificate_is_passed_over),
        TEST(the_second_address_of_files_is_used),
        TEST(a_host_of_files_that_is_not_found_for_a_while),
        TEST(a_silent_address_of_files_is_passed_over),
        TEST(a_public_address_that_fails_is_not_refused),
        TEST(a_lookup_that_fails_costs_nothing_else),
        TEST(without_reuse_each_call_has_its_own),
        TEST(an_old_connection_takes_no_call),
        TEST(old_connections_follow_the_name),
        TEST(no_file_left_is_said),
        TEST(no_file_left_on_the_machine_is_said),
        cmocka_unit_test(what_is_behind_an_answer_is_nobodys),
        cmocka_unit_test(what_is_behind_an_answer_is_nobodys_with_tls),
        TEST(chunked_answers_keep_their_connection),
        TEST(who_speaks_first_is_not_asked),
        TEST(a_status_line_stands_first),
        TEST(interim_answers_are_none),
        TEST(a_url_that_cannot_be_fetched_costs_its_recording),
        TEST(an_end_in_order_is_one),
        TEST(an_end_without_a_word_is_none),
        TEST(a_file_that_ends_in_order_is_whole),
        TEST(a_file_that_ends_without_a_word_is_none),
        TEST(plain_files_of_a_platform_with_tls_are_refused),
        TEST(an_answer_ends_where_its_object_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
