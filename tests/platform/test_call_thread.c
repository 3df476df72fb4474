/* The call thread with real connections: what each way of a platform to fail becomes, and that no
 * POST ever goes out twice. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "bench.h"
#include "core/answer.h"
#include "core/dispatch.h"
#include "core/signature.h"
#include "sandbox/platform/certificate.h"
#include "worker/call_thread.h"

/* What the linker puts in the place of fsync and write (--wrap): those of the store alone. */
int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER; /* held: the disk stands still */

static void wait_for_disk(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return;
    pthread_mutex_lock(&disk);
    pthread_mutex_unlock(&disk);
}

int __wrap_fsync(int fd)
{
    wait_for_disk(fd);
    return __real_fsync(fd);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    wait_for_disk(fd);
    return __real_write(fd, bytes, n);
}

/* In the place of libc's, also for libcurl: one name is resolved by nobody while `names` is held.
 */
#define SLOW_NAME "slow.example"
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (node && !strcmp(node, SLOW_NAME)) {
        pthread_mutex_lock(&names);
        pthread_mutex_unlock(&names);
        return EAI_NONAME;
    }
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}

/* In the place of libc's, also for libcurl: with `frozen_until`, a request stands still before it
 * is sent, as in a process that is frozen there. The test's own server writes, and never sends. */
static _Atomic int64_t frozen_until;
static _Atomic int64_t frozen_behind_until; /* the same, just after it was sent */
static atomic_int sends_held;
static atomic_bool signalled; /* before it sends, its thread gets the signal from elsewhere */

ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);
    const unsigned char *first = bytes;
    enum { TLS_APPLICATION_DATA = 23 };
    if (n && (*first == 'P' || *first == TLS_APPLICATION_DATA)) {
        if (atomic_load(&signalled))
            raise(SIGURG);
        atomic_fetch_add(&sends_held, 1);
        while (clock_boot_ms() < atomic_load(&frozen_until))
            sched_yield();
    }
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "send");
    ssize_t sent = real(fd, bytes, n, flags);
    while (clock_boot_ms() < atomic_load(&frozen_behind_until))
        sched_yield();
    return sent;
}

/* In the place of libc's, for libuv: the loop stands still when it has slept. */
static _Atomic int64_t sleeps_until;

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    static int (*real)(int, struct epoll_event *, int, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
    int ready = real(fd, events, count, timeout);
    while (clock_boot_ms() < atomic_load(&sleeps_until))
        sched_yield();
    return ready;
}

static _Atomic int64_t connect_until;

/* In the place of libc's: a connect stands still until a time. */
int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    while (clock_boot_ms() < atomic_load(&connect_until))
        sched_yield();
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "connect");
    return real(fd, address, size);
}

int __real_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer);
int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer);
static bool no_timers;

int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
    errno = EAGAIN;
    return no_timers ? -1 : __real_timer_create(clock, event, timer);
}

/* ---- what is sent */

static int count_lines(const char *text)
{
    int lines = 0;
    const char *end = strstr(text, "\r\n\r\n");
    for (const char *at = text; at && at < end; at = strstr(at + 2, "\r\n"))
        lines++;
    return lines;
}

static bool has_line(const char *text, const char *name, const char *value)
{
    char line[1400];
    snprintf(line, sizeof line, "\r\n%s: %s\r\n", name, value);
    return strstr(text, line) != NULL;
}

/* The signature's timestamp is now, or a second ago. */
static bool signed_at(const char *text, const char *path, int64_t wall_ms)
{
    struct signature signature;
    char first[300];
    signature_make(&signature, TOKEN, "app", wall_ms, 480);
    snprintf(first, sizeof first, "POST /20171220/bind/callEvent/%s?sig=%s HTTP/1.1\r\n", path,
             signature.sig);
    return strncmp(text, first, strlen(first)) == 0 &&
           has_line(text, "Authorization", signature.authorization);
}

static void check_request(struct bench *bench, enum request_kind kind, const char *path)
{
    char host[64], length[32];
    struct text body = {0};
    const char *text = bench->server.requests[0];
    int64_t now = clock_wall_ms();
    struct request *request = request_of(kind, 0);
    answer_request_body(&body, request, TOKEN, "app");
    request_free(request);
    snprintf(host, sizeof host, "127.0.0.1:%d", bench->server.port);
    snprintf(length, sizeof length, "%zu", body.length);
    assert_true(signed_at(text, path, now) || signed_at(text, path, now - 1000));
    assert_true(has_line(text, "Host", host));
    assert_true(has_line(text, "User-Agent", "privacy-call-worker/" PCW_VERSION));
    assert_true(has_line(text, "Accept", "application/json"));
    assert_true(has_line(text, "Content-Type", "application/json;charset=utf-8"));
    assert_true(has_line(text, "Content-Length", length));
    assert_int_equal(count_lines(text), 7); /* the request line, and no header but these */
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, body.data);
    text_fini(&body);
}

static void sends_a_call_byte_for_byte(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->outcome.status, STATUS_SUCCEEDED);
    assert_string_equal(request->outcome.virtual_number, "17115230000");
    request_free(request);
    check_request(bench, REQUEST_CALL, "v1");
}

static void sends_a_recording_byte_for_byte(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    check_request(bench, REQUEST_RECORDING, "voice/v1");
}

static void ignores_the_environments_proxy(void **state)
{
    struct bench *bench = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

static void keeps_connections(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 5; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->server), 1);
}

static void never_more_than_the_slots(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_max_in_flight = 3;
    bench->server.delay_ms = 20;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 24; i++)
        start(bench, REQUEST_CALL, i);
    for (int i = 0; i < 24; i++)
        ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(bench->server.most_open, 3);
    assert_true(server_connections(&bench->server) <= 3);
}

/* The loop's timers alone drive this: a turn that waited for the next event would take seconds. */
static void the_rate_is_driven_by_time(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_rate_per_second = 50;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    int64_t before = clock_boot_ms();
    for (int i = 0; i < 15; i++)
        start(bench, REQUEST_CALL, i);
    for (int i = 0; i < 15; i++)
        ends(bench, STATUS_SUCCEEDED, NULL);
    assert_in_range(clock_boot_ms() - before, 14 * 20 - 25, 2500);
}

/* ---- never sent: the table's first rows */

static void refused_connection_is_not_sent(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    call_thread_free(bench->thread);
    free(bench->config.platform_url);
    open_thread(bench, "http://127.0.0.1:1");
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_NOT_SENT);
    assert_int_equal(request->call.attempts, 1);
    assert_true(request->call.retry_at_ms >= before);
    assert_true(request->call.retry_at_ms <= clock_boot_ms() + 500);
    request_free(request);
}

/* A listener whose queue is full drops what comes, as a firewall does. */
static void connecting_that_hangs_is_not_sent(void **state)
{
    struct bench *bench = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int queued[4], listener = socket(AF_INET, SOCK_STREAM, 0);
    char url[64];
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    for (int i = 0; i < 4; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(queued[i], (struct sockaddr *)&address, sizeof address);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    open_thread(bench, url);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++)
            start(bench, REQUEST_CALL, i);
        for (int i = 0; i < 5; i++)
            comes_back(bench, CALL_NOT_SENT);
    }
    for (int i = 0; i < 4; i++)
        close(queued[i]);
    close(listener);
}

/* A connection that is there only when the call's lease is over serves no call, and there would be
 * another one for ever. */
static void connecting_ends_before_the_lease(void **state)
{
    struct bench *bench = *state;
    bench->config.session_timeout_ms = 2000;
    bench->config.platform_connect_timeout_ms = 9000;
    use_tls(bench);
    bench->server.hang_connect = true;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    int64_t began = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_in_range(clock_boot_ms() - began, 700, 5000);
}

static void unknown_host_is_not_sent(void **state)
{
    struct bench *bench = *state;
    open_thread(bench, "http://no-such-host.invalid");
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
}

static void tls_that_hangs_is_not_sent(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    bench->server.hang_connect = true;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(server_connections(&bench->server), 1);
}

static void tls_works_and_is_reused(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 3; i++) {
        start(bench, REQUEST_CALL, i);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    assert_int_equal(server_connections(&bench->server), 1);
}

static void wrong_authority_is_not_sent(void **state)
{
    struct bench *bench = *state;
    struct error error;
    use_tls(bench);
    SSL_CTX *other = sandbox_certificate_context("127.0.0.1", NULL, bench->ca_file, false, &error);
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(server_requests(&bench->server), 0);
    SSL_CTX_free(other);
}

static void wrong_host_name_is_not_sent(void **state)
{
    struct bench *bench = *state;
    static const struct reply script[] = {{OK_ANSWER, THEN_KEEP}};
    use_tls(bench);
    server_start(&bench->server, "127.0.0.2", bench->tls, script, 1);
    open_thread(bench, bench->server.url);
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(server_requests(&bench->server), 0);
}

static void plain_http_must_be_allowed(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_allow_http = false;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(server_requests(&bench->server), 0);
}

/* ---- sent once, answer unknown or known */

struct row {
    struct reply reply;
    enum status status;
    const char *code;
    int http_status;
};

static const struct row rows[] = {
    {{NULL, THEN_HANG}, STATUS_UNKNOWN, "timeout", 0},
    {{NULL, THEN_CLOSE}, STATUS_UNKNOWN, "connection-closed", 0},
    {{NULL, THEN_RESET}, STATUS_UNKNOWN, "connection-reset", 0},
    {{"HTTP/1.1 200 OK\r\nContent-Le", THEN_HANG}, STATUS_UNKNOWN, "timeout", 200},
    {{"HTTP/1.1 2", THEN_CLOSE}, STATUS_UNKNOWN, NULL, 0},
    {{"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{\"Flag\"", THEN_CLOSE},
     STATUS_UNKNOWN,
     "answer-cut",
     200},
    {{"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{\"Flag\"", THEN_HANG},
     STATUS_UNKNOWN,
     "timeout",
     200},
    {{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", THEN_KEEP},
     STATUS_UNKNOWN,
     "unreadable-answer",
     200},
    {{"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", THEN_KEEP},
     STATUS_UNKNOWN,
     "unreadable-answer",
     200},
    {{"not http at all\r\n\r\n", THEN_CLOSE}, STATUS_UNKNOWN, "unreadable-answer", 0},
    {{"HTTP/1.1 100 Continue\r\n\r\n", THEN_CLOSE}, STATUS_UNKNOWN, NULL, 0},
    {{STATUS_ANSWER("204 No Content"), THEN_KEEP}, STATUS_UNKNOWN, "unreadable-answer", 204},
    {{STATUS_ANSWER("500 Oops"), THEN_KEEP}, STATUS_UNKNOWN, "http-5xx", 500},
    {{STATUS_ANSWER("503 Oops"), THEN_KEEP}, STATUS_UNKNOWN, "http-5xx", 503},
    {{STATUS_ANSWER("408 Timeout"), THEN_CLOSE}, STATUS_UNKNOWN, "http-408", 408},
    {{STATUS_ANSWER("302 Found"), THEN_KEEP}, STATUS_REFUSED, "refused", 302},
    {{"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", THEN_KEEP},
     STATUS_REFUSED,
     "refused",
     301},
    {{STATUS_ANSWER("403 No"), THEN_KEEP}, STATUS_REFUSED, "refused", 403},
    {{STATUS_ANSWER("417 No"), THEN_KEEP}, STATUS_REFUSED, "refused", 417},
    {{"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nabc", THEN_CLOSE},
     STATUS_REFUSED,
     "refused",
     404},
    {{"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"Flag\":7,\"Msg\":\"no way\"}", THEN_KEEP},
     STATUS_REFUSED,
     "refused",
     0},
    {{"HTTP/1.1 100 Continue\r\n\r\n" OK_ANSWER, THEN_KEEP}, STATUS_SUCCEEDED, NULL, 0},
    {{"HTTP/1.1 200 OK\r\n\r\n" OK_BODY, THEN_CLOSE}, STATUS_SUCCEEDED, NULL, 0},
    {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"Flag\": "
      "1\r\n1\r\n}\r\n0\r\n\r\n",
      THEN_KEEP},
     STATUS_SUCCEEDED,
     NULL,
     0},
};

static void every_row_of_the_table(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        void *own;
        set_up(&own);
        struct bench *bench = own;
        server_start(&bench->server, "127.0.0.1", NULL, &row->reply, 1);
        open_thread(bench, bench->server.url);
        start(bench, REQUEST_CALL, 0);
        struct request *request = next_request(bench);
        const char *code = request->outcome.error_code;
        if (request->call.end != CALL_FINISHED || request->outcome.status != row->status ||
            (row->code && (!code || strcmp(code, row->code) != 0)) ||
            request->outcome.http_status != row->http_status)
            fail_msg("row %zu: end %d, status %s, code %s, HTTP %d", i, request->call.end,
                     status_name(request->outcome.status), code ? code : "none",
                     request->outcome.http_status);
        assert_int_equal(server_requests(&bench->server), 1);
        request_free(request);
        tear_down(&own);
    }
    (void)state;
}

static void longer_answer_is_unreadable(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_answer_max_bytes = 34;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_UNKNOWN, "answer-too-large");
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_UNKNOWN, "answer-too-large");
    assert_int_equal(server_requests(&bench->server), 2);
}

static void throttled_waits_as_asked(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {"HTTP/1.1 429 Slow\r\nretry-after: 7 \r\nContent-Length: 0\r\n\r\n", THEN_KEEP});
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_NOT_SENT);
    assert_true(request->call.retry_at_ms >= before + 7000);
    request_free(request);
}

/* For tests that are not about time: a busy machine is slow, which is nobody's trouble here. */
static void be_patient(struct bench *bench)
{
    bench->config.platform_connect_timeout_ms = 10000;
    bench->config.platform_timeout_ms = 10000;
}

static void throttled_waits_until_a_date(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    static char answer[200];
    static const struct reply script[] = {{answer, THEN_KEEP}};
    time_t at = time(NULL) + 40;
    struct tm tm;
    strftime(answer, sizeof answer,
             "HTTP/1.1 429 Slow\r\nRetry-After: %a, %d %b %Y %H:%M:%S GMT\r\n"
             "Content-Length: 0\r\n\r\n",
             gmtime_r(&at, &tm));
    server_start(&bench->server, "127.0.0.1", NULL, script, 1);
    open_thread(bench, bench->server.url);
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_NOT_SENT);
    assert_in_range(request->call.retry_at_ms - before, 35000, 45000);
    request_free(request);
}

/* ---- never twice */

/* A connection from the pool that dies with no byte of an answer: libcurl would send again. */
static void dies_after_reuse(struct bench *bench)
{
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    start(bench, REQUEST_CALL, 1);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status, STATUS_UNKNOWN);
    request_free(request);
    assert_int_equal(server_requests(&bench->server), 2);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_requests(&bench->server), 3);
}

static void a_reused_connection_that_closes_sends_once(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP}, {NULL, THEN_CLOSE}, {OK_ANSWER, THEN_KEEP});
    dies_after_reuse(bench);
}

static void a_reused_connection_that_resets_sends_once(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP}, {NULL, THEN_RESET}, {OK_ANSWER, THEN_KEEP});
    dies_after_reuse(bench);
}

static void a_reused_tls_connection_that_closes_sends_once(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    OPEN(bench, {OK_ANSWER, THEN_KEEP}, {NULL, THEN_CLOSE}, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    start(bench, REQUEST_CALL, 1);
    struct request *request = next_request(bench);
    assert_int_equal(request->outcome.status, STATUS_UNKNOWN);
    request_free(request);
    assert_int_equal(server_requests(&bench->server), 2);
}

static void after_an_idle_event(struct bench *bench)
{
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_requests(&bench->server), 2);
    assert_int_equal(server_connections(&bench->server), 2);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_requests(&bench->server), 3);
    assert_int_equal(server_connections(&bench->server), 2);
}

static void an_unasked_answer_is_nobodys(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    server_poke(&bench->server, STATUS_ANSWER("408 Request Timeout"), false);
    after_an_idle_event(bench);
}

static void an_idle_connections_end_is_seen(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    server_poke(&bench->server, NULL, true);
    after_an_idle_event(bench);
}

static void an_answer_and_an_end_are_seen(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    server_poke(&bench->server, STATUS_ANSWER("408 Request Timeout"), true);
    after_an_idle_event(bench);
}

/* ---- lease, recall, the end of the thread */

static void no_lease_no_call(void **state)
{
    struct bench *bench = *state;
    bench->server.delay_ms = 300;
    bench->config.platform_max_in_flight = 1;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    struct request *request = request_of(REQUEST_CALL, 1);
    request->call.lease_until_ms = clock_boot_ms() + 50;
    call_thread_start(bench->thread, request);
    comes_back(bench, CALL_RETURNED);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_requests(&bench->server), 1);
}

/* The lease ends while the connection is being made. */
static void lease_is_read_again_before_sending(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    bench->server.hang_connect = true;
    bench->config.platform_connect_timeout_ms = 5000;
    bench->config.platform_timeout_ms = 5000;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    while (server_connections(&bench->server) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    call_thread_recall(bench->thread, REQUEST_CALL, DISPATCH_ALL);
    start(bench, REQUEST_CALL, 1); /* comes back: the recall has been seen */
    comes_back(bench, CALL_RETURNED);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    comes_back(bench, CALL_RETURNED);
    assert_int_equal(server_requests(&bench->server), 0);
}

/* The lease ends between the last look at it and the send. */
static void send_late(struct bench *bench)
{
    bench->config.platform_timeout_ms = 10000;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    struct request *request = request_of(REQUEST_CALL, 1);
    int64_t lease_until = clock_boot_ms() + 300;
    request->call.lease_until_ms = lease_until;
    atomic_store(&frozen_until, lease_until + 50);
    call_thread_start(bench->thread, request);
    ends(bench, STATUS_UNKNOWN, "connection-closed");
    assert_true(clock_boot_ms() > lease_until);
    atomic_store(&frozen_until, 0);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_requests(&bench->server), 2);
}

static void what_is_frozen_before_it_sends_does_not_send_late(void **state)
{
    send_late(*state);
}

#define OLD_ANSWER                                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 35\r\n"                  \
    "Date: Tue, 01 Dec 2020 00:00:00 GMT\r\n\r\n" OK_BODY

/* The answer came in time, while the process stood still for longer than the call's limit. When it
 * is read, its Date tells nothing of the clocks. What has no answer ends at its own limit. */
static void an_answer_waits_for_a_frozen_process(void **state)
{
    enum { FROZEN_MS = 1500, ANSWERS_MS = 200, LIMIT_MS = 2000 };
    struct bench *bench = *state;
    bench->config.platform_timeout_ms = LIMIT_MS;
    bench->server.delay_ms = ANSWERS_MS;
    OPEN(bench, {OLD_ANSWER, THEN_KEEP}, {NULL, THEN_HANG}, {OLD_ANSWER, THEN_KEEP});
    for (int64_t offset = 0; offset < 2; offset++) {
        start(bench, REQUEST_CALL, offset);
        server_await(&bench->server, (int)offset + 1);
        atomic_store(&sleeps_until, clock_boot_ms() + LIMIT_MS + FROZEN_MS);
        int64_t thaws = atomic_load(&sleeps_until);
        if (offset == 0) {
            ends(bench, STATUS_SUCCEEDED, NULL);
            continue;
        }
        struct request *request = next_request(bench);
        assert_int_equal(request->outcome.status, STATUS_UNKNOWN);
        assert_string_equal(request->outcome.error_code, "timeout");
        assert_null(strstr(request->outcome.error_message, "libcurl: the transfer"));
        assert_true(clock_boot_ms() < thaws + LIMIT_MS + ANSWERS_MS);
        request_free(request);
    }
    assert_false(is_logged("this machine's clock"));
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_true(is_logged("this machine's clock"));
}

/* The same, frozen within libcurl, which may look at a clock next. */
static void an_answer_waits_for_what_is_frozen_as_it_has_sent(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_timeout_ms = 300;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    atomic_store(&frozen_behind_until, clock_boot_ms() + 1500);
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_SUCCEEDED, NULL);
    atomic_store(&frozen_behind_until, 0);
}

/* A call is sent in time over a connection of the pool. Its lease ends while libcurl, in the same
 * turn of the loop, connects for the next call. A send of an earlier call holds the loop until both
 * are there. */
static void a_lease_that_ends_just_after_the_send_breaks_no_call(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_timeout_ms = 20000;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    bench->server.delay_ms = 3000; /* no answer comes before the end of the lease */
    while (server_connections(&bench->server) < 2) {
        start(bench, REQUEST_CALL, 0);
        start(bench, REQUEST_CALL, 1);
        ends(bench, STATUS_SUCCEEDED, NULL);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    struct request *request = request_of(REQUEST_CALL, 3);
    atomic_store(&frozen_until, INT64_MAX);
    atomic_store(&sends_held, 0);
    start(bench, REQUEST_CALL, 2);
    while (!atomic_load(&sends_held))
        sched_yield();
    request->call.lease_until_ms = clock_boot_ms() + 2000;
    atomic_store(&connect_until, request->call.lease_until_ms + 50);
    call_thread_start(bench->thread, request);
    start(bench, REQUEST_CALL, 4);
    atomic_store(&frozen_until, 0);
    for (int i = 0; i < 3; i++)
        ends(bench, STATUS_SUCCEEDED, NULL);
    atomic_store(&connect_until, 0);
}

static void a_signal_that_is_not_the_timers_breaks_no_call(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    atomic_store(&signalled, true);
    for (int i = 0; i < 2; i++) {
        struct request *request = request_of(REQUEST_CALL, i);
        request->call.lease_until_ms = clock_boot_ms() + 20000;
        call_thread_start(bench->thread, request);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    atomic_store(&signalled, false);
}

static void calls_go_on_without_a_timer(void **state)
{
    struct bench *bench = *state;
    no_timers = true;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 2; i++) {
        struct request *request = request_of(REQUEST_CALL, i);
        request->call.lease_until_ms = clock_boot_ms() + 20000;
        call_thread_start(bench->thread, request);
        ends(bench, STATUS_SUCCEEDED, NULL);
    }
    no_timers = false;
    assert_true(is_logged("no timer can be made"));
}

static void what_is_frozen_before_it_sends_does_not_send_late_with_tls(void **state)
{
    use_tls(*state);
    send_late(*state);
}

/* What may not be made any more when the connection stands is not made. */
static void rules_about_now_hold_when_it_is_sent(void **state)
{
    struct bench *bench = *state;
    use_tls(bench);
    bench->server.connect_delay_ms = 1200;
    bench->config.platform_connect_timeout_ms = 5000;
    bench->config.platform_timeout_ms = 5000;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 2; i++) {
        struct request *request = request_of(REQUEST_CALL, i);
        if (i)
            request->event.expires_at_ms = clock_wall_ms() + 800;
        else
            request->event.ends_at_ms = clock_wall_ms() + 800;
        call_thread_start(bench->thread, request);
        comes_back(bench, CALL_RETURNED);
    }
    assert_int_equal(server_requests(&bench->server), 0);
}

static void recall_takes_what_waits(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_max_in_flight = 1;
    bench->server.delay_ms = 300;
    OPEN(bench, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    start(bench, REQUEST_CALL, 1);
    server_await(&bench->server, 1);
    call_thread_recall(bench->thread, REQUEST_CALL, 0);
    comes_back(bench, CALL_RETURNED);
    ends(bench, STATUS_SUCCEEDED, NULL);
    start(bench, REQUEST_CALL, 2); /* a recall of a partition is for what was there */
    ends(bench, STATUS_SUCCEEDED, NULL);
    call_thread_recall(bench->thread, REQUEST_CALL, DISPATCH_ALL);
    start(bench, REQUEST_CALL, 3);
    comes_back(bench, CALL_RETURNED);
    assert_int_equal(server_requests(&bench->server), 2);
}

static void the_end_gives_all_back(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_max_in_flight = 1;
    bench->config.platform_timeout_ms = 20000;
    OPEN(bench, {NULL, THEN_HANG});
    start(bench, REQUEST_CALL, 0);
    start(bench, REQUEST_CALL, 1);
    server_await(&bench->server, 1);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    ends(bench, STATUS_UNKNOWN, "worker-stopped");
    comes_back(bench, CALL_RETURNED);
}

/* ---- breaker, recordings */

static void bad_credentials_pause_all(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {STATUS_ANSWER("401 Who"), THEN_KEEP}, {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_int_equal(bench->allowance, 0);
    start(bench, REQUEST_CALL, 1);
    comes_back(bench, CALL_RETURNED);
    await_allowance(bench, 1);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(bench->allowance, 16);
    assert_int_equal(server_requests(&bench->server), 2);
}

/* Every other call goes well: that is told once, not each time. */
static void a_trouble_on_and_off_is_told_seldom(void **state)
{
    struct bench *bench = *state;
    char line[1000];
    int failures = 0, ends_of_it = 0, saved = dup(STDERR_FILENO);
    FILE *log = tmpfile();
    assert_non_null(log);
    fflush(stderr);
    dup2(fileno(log), STDERR_FILENO);
    log_setup(LOG_INFO, LOG_TEXT, "test");
    OPEN(bench, {STATUS_ANSWER("500 Oops"), THEN_KEEP}, {OK_ANSWER, THEN_KEEP},
         {STATUS_ANSWER("500 Oops"), THEN_KEEP}, {OK_ANSWER, THEN_KEEP},
         {STATUS_ANSWER("500 Oops"), THEN_KEEP}, {OK_ANSWER, THEN_KEEP});
    for (int i = 0; i < 6; i++) {
        start(bench, REQUEST_CALL, i);
        request_free(next_request(bench));
    }
    call_thread_free(bench->thread);
    bench->thread = NULL;
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    log_setup(LOG_ERROR, LOG_TEXT, "test");
    rewind(log);
    while (fgets(line, sizeof line, log)) {
        failures += strstr(line, "http-5xx") != NULL;
        ends_of_it += strstr(line, "answers again") != NULL;
    }
    fclose(log);
    assert_int_equal(failures, 1);
    assert_int_equal(ends_of_it, 1);
}

static void a_file_is_hashed_not_kept(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 3\r\n\r\nID3",
                 THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    const struct recording *recording = &request->outcome.recording;
    assert_int_equal(request->outcome.status, STATUS_SUCCEEDED);
    assert_true(recording->present);
    assert_int_equal(recording->size, 3);
    assert_string_equal(recording->content_type, "audio/mpeg");
    assert_string_equal(recording->sha256,
                        "041149186b23a9502aea5a4e81bbc9620d2b4b76b4bad94e36c744abcf9d3771");
    request_free(request);
}

static void a_slow_platform_gives_no_file(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {NULL, THEN_HANG});
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_RECORDING, 0);
    comes_back(bench, CALL_NOT_SENT);
    assert_true(clock_boot_ms() - before < 4000); /* recording.timeout.ms is for the file alone */
}

/* recording.timeout.ms is the limit of the whole try, where it is the shorter one too. */
static void a_slow_file_has_its_own_limit(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_timeout_ms = 3600000;
    bench->config.recording_timeout_ms = 300;
    bench->config.recording_attempts = 1;
    OPEN(bench, {"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 5\r\n\r\nID3",
                 THEN_HANG});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "timeout");
}

static void failed_recordings_are_tried_again(void **state)
{
    struct bench *bench = *state;
    bench->config.recording_attempts = 2;
    OPEN(bench, {STATUS_ANSWER("500 Oops"), THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_NOT_SENT);
    call_thread_start(bench->thread, request);
    request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->call.attempts, 2);
    assert_int_equal(request->outcome.status, STATUS_UNAVAILABLE);
    assert_string_equal(request->outcome.error_code, "http-5xx");
    request_free(request);
}

/* ---- recordings that are kept */

#define FILE_ANSWER(length, bytes)                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: " length "\r\n\r\n" bytes
#define SHA_ID3 "041149186b23a9502aea5a4e81bbc9620d2b4b76b4bad94e36c744abcf9d3771"

#define OPEN_URL(bench, path, ...)                                                                 \
    do {                                                                                           \
        static const struct reply script_[] = {__VA_ARGS__};                                       \
        open_url(bench, path, script_, (int)(sizeof script_ / sizeof *script_));                   \
    } while (0)

static void was_kept(struct bench *bench, const char *name, int64_t size, const char *sha256)
{
    char path[512], uri[600];
    struct stat status;
    struct request *request = next_request(bench);
    const struct recording *recording = &request->outcome.recording;
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_null(request->outcome.error_code);
    snprintf(path, sizeof path, "%s/%s", bench->store, name);
    snprintf(uri, sizeof uri, "file://%s", path);
    assert_string_equal(recording->uri, uri);
    assert_true(recording->present);
    assert_int_equal(recording->size, size);
    if (sha256)
        assert_string_equal(recording->sha256, sha256);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, size);
    request_free(request);
}

static void a_file_is_kept(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("3", "ID3"), THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    was_kept(bench, "id-1.mp3", 3, SHA_ID3);
    start(bench, REQUEST_RECORDING, 1); /* once more: the same name */
    was_kept(bench, "id-1.mp3", 3, SHA_ID3);
    assert_int_equal(call_thread_counters(bench->thread)->files, 2);
    assert_int_equal(call_thread_counters(bench->thread)->file_bytes, 6);
}

static void a_url_is_fetched(void **state)
{
    struct bench *bench = *state;
    OPEN_URL(bench, "/a/b.AMR?signature=x",
             {"HTTP/1.1 302 Found\r\nLocation: /c d\r\nContent-Length: 2\r\n\r\nno", THEN_KEEP},
             {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nID3", THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    was_kept(bench, "id-1.amr", 3, SHA_ID3);
    assert_int_equal(server_requests(&bench->server), 1);
    assert_int_equal(server_requests(&bench->files), 2);
    assert_int_equal(server_connections(&bench->files),
                     2); /* nothing that waits on one is a file */
    const char *fetch = bench->files.requests[0];
    assert_int_equal(strncmp(fetch, "GET /a/b.AMR?signature=x HTTP/1.1\r\n", 35), 0);
    assert_null(strcasestr(fetch, "authorization"));
    assert_null(strcasestr(fetch, "content-type"));
    assert_null(strstr(fetch, TOKEN));
    assert_int_equal(strncmp(bench->files.requests[1], "GET /c%20d HTTP/1.1\r\n", 21), 0);
}

static void fetches_that_fail(void **state)
{
    struct bench *bench = *state;
    static const char *const codes[] = {"download-failed", "download-failed", "download-failed",
                                        "download-failed", "not-a-recording", "answer-too-large"};
    enum { FETCHES = sizeof codes / sizeof *codes };
    bench->config.recording_max_bytes = 5;
    bench->config.platform_breaker_failures = 1;
    OPEN_URL(
        bench, "/f", {"HTTP/1.1 404 Gone\r\nContent-Length: 3\r\n\r\nID3", THEN_KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nID3", THEN_CLOSE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nID3", THEN_RESET},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", THEN_KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 3\r\n\r\n<b>", THEN_KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nID3def", THEN_KEEP});
    for (int i = 0; i < FETCHES; i++) {
        start(bench, REQUEST_RECORDING, i);
        ends(bench, STATUS_UNAVAILABLE, codes[i]);
    }
    assert_int_equal(bench->allowance, -1); /* the breaker never opened */
    assert_int_equal(call_thread_counters(bench->thread)->copy_failures, FETCHES);
}

/* A file is fetched from where the settings let it, after a redirect too. */
static void fetches_that_are_refused(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    bench->config.recording_url_hosts = memory_string("127.0.0.1");
    OPEN_URL(bench, "/f",
             {"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\n\r\n", THEN_CLOSE},
             {"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", THEN_CLOSE},
             {"HTTP/1.1 302 Found\r\nLocation: //127.0.0.1@other.example/\r\n\r\n", THEN_CLOSE});
    for (int i = 0; i < 3; i++) {
        start(bench, REQUEST_RECORDING, i);
        ends(bench, STATUS_UNAVAILABLE, "recording-url-refused");
    }
    assert_int_equal(server_requests(&bench->files), 3);
    free(bench->config.recording_url_hosts);
}

/* Decided by what it is, whatever it is called. */
static void what_is_no_recording(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    bench->config.platform_breaker_failures = 1;
    OPEN_URL(bench, "/f.wav", {FILE_ANSWER("14", " \xef\xbb\xbf{\"Flag\":0}"), THEN_KEEP},
             {FILE_ANSWER("14", "\xef\xbb\xbf {\"Flag\":2}"), THEN_KEEP},
             {"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: "
              "17\r\n\r\nno such recording",
              THEN_KEEP},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<?xml\r\n0\r\n\r\n",
              THEN_KEEP});
    for (int i = 0; i < 4; i++) {
        start(bench, REQUEST_RECORDING, i);
        ends(bench, STATUS_UNAVAILABLE, "not-a-recording");
    }
    assert_int_equal(bench->allowance, -1);
}

/* An answer that is audio by its name only is read as what it is. */
static void a_refusal_in_place_of_a_file(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("13", "\xef\xbb\xbf{\"Flag\":7}"), THEN_KEEP},
         {FILE_ANSWER("2", "no"), THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_REFUSED, "refused");
    start(bench, REQUEST_RECORDING, 1);
    ends(bench, STATUS_UNAVAILABLE, "unreadable-answer");
}

/* It is not fetched again and again up to the limit. */
static void a_length_that_is_too_large(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    OPEN_URL(bench, "/f", {FILE_ANSWER("2000000000", "ID3"), THEN_HANG});
    bench->config.recording_attempts = 5;
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "answer-too-large");
}

/* Before there is anything to judge, too. */
static void a_length_is_known_before_the_file(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    OPEN_URL(bench, "/f", {FILE_ANSWER("2000000000", ""), THEN_HANG},
             {FILE_ANSWER("2000000000", "RIFF"), THEN_HANG});
    for (int i = 0; i < 2; i++) {
        start(bench, REQUEST_RECORDING, i);
        ends(bench, STATUS_UNAVAILABLE, "answer-too-large");
    }
}

static void an_answers_length_is_known_before_its_file(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    OPEN(bench, {"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 2000000000\r\n\r\n",
                 THEN_HANG});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "answer-too-large");
}

static void a_file_without_an_end(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    OPEN_URL(bench, "/f", {"HTTP/1.1 200 OK\r\n\r\nID3", THEN_CLOSE});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "download-failed");
}

/* Nobody asked for a part of a file. */
static void a_part_of_a_file(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    open_store(bench);
    OPEN(bench, {"HTTP/1.1 206 Partial Content\r\nContent-Type: audio/mpeg\r\nContent-Range: bytes "
                 "0-2/9\r\nContent-Length: 3\r\n\r\nID3",
                 THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "unreadable-answer");
}

/* A recording's redirect is its URL; with a store, a success without one is none. */
static void an_answer_that_redirects(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    static char redirect[200];
    static struct reply script[] = {{redirect, THEN_CLOSE},
                                    {"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", THEN_KEEP},
                                    {OK_ANSWER, THEN_KEEP}};
    static const struct reply file[] = {{FILE_ANSWER("3", "ID3"), THEN_KEEP}};
    open_store(bench);
    server_start(&bench->files, "127.0.0.1", NULL, file, 1);
    snprintf(redirect, sizeof redirect,
             "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:%d/\xc3\xa9 x.mp3\r\n\r\n",
             bench->files.port);
    server_start(&bench->server, "127.0.0.1", NULL, script, 3);
    open_thread(bench, bench->server.url);
    start(bench, REQUEST_RECORDING, 0);
    was_kept(bench, "id-1.mp3", 3, SHA_ID3);
    assert_int_equal(strncmp(bench->files.requests[0], "GET /%C3%A9%20x.mp3 HTTP/1.1\r\n", 30), 0);
    start(bench, REQUEST_RECORDING, 1);
    ends(bench, STATUS_UNAVAILABLE, "recording-url-missing");
    start(bench, REQUEST_RECORDING, 2);
    ends(bench, STATUS_UNAVAILABLE, "recording-url-missing");
}

/* What says nothing about who listens there: the same words for an open and for a closed port. */
static void addresses_that_are_refused(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    char open_port[256], closed_port[256];
    bench->config.recording_url_allow_private = false;
    OPEN_URL(bench, "/f", {FILE_ANSWER("3", "ID3"), THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    assert_string_equal(request->outcome.error_code, "recording-url-refused");
    snprintf(open_port, sizeof open_port, "%s", request->outcome.error_message);
    request_free(request);
    assert_int_equal(server_connections(&bench->files), 0);
    server_stop(&bench->files);
    start(bench, REQUEST_RECORDING, 1);
    request = next_request(bench);
    snprintf(closed_port, sizeof closed_port, "%s", request->outcome.error_message);
    request_free(request);
    assert_string_equal(open_port, closed_port);
}

static void user_information_is_not_sent(void **state)
{
    struct bench *bench = *state;
    be_patient(bench);
    static char redirect[200];
    static struct reply script[] = {{redirect, THEN_CLOSE}, {FILE_ANSWER("3", "ID3"), THEN_KEEP}};
    open_url(bench, "/f", script, 2);
    snprintf(redirect, sizeof redirect,
             "HTTP/1.1 307 Moved\r\nLocation: http://user:secret@127.0.0.1:%d/x.mp3#y\r\n\r\n",
             bench->files.port);
    start(bench, REQUEST_RECORDING, 0);
    was_kept(bench, "id-1.mp3", 3, SHA_ID3);
    const char *fetch = bench->files.requests[1];
    assert_int_equal(strncmp(fetch, "GET /x.mp3 HTTP/1.1\r\n", 21), 0);
    assert_null(strcasestr(fetch, "authorization"));
    assert_null(strstr(fetch, "secret"));
}

static void a_fetch_that_hangs(void **state)
{
    struct bench *bench = *state;
    OPEN_URL(bench, "/f", {NULL, THEN_HANG});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "download-failed");
}

static void a_file_that_takes_too_long(void **state)
{
    struct bench *bench = *state;
    bench->config.recording_timeout_ms = 300;
    OPEN_URL(bench, "/f", {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nID3", THEN_HANG});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "download-failed");
}

static void a_file_that_is_too_large(void **state)
{
    struct bench *bench = *state;
    bench->config.recording_max_bytes = 2;
    bench->config.platform_breaker_failures = 1;
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("3", "ID3"), THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "answer-too-large");
    assert_int_equal(bench->allowance, -1);
}

static void a_file_that_is_cut(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("5", "ID3"), THEN_CLOSE});
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "answer-cut");
}

static void a_store_that_is_gone(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_breaker_failures = 1;
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("3", "ID3"), THEN_KEEP});
    assert_int_equal(rmdir(bench->store), 0);
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "store-failed");
    assert_int_equal(mkdir(bench->store, 0700), 0);
    start(bench, REQUEST_RECORDING, 1);
    was_kept(bench, "id-1.mp3", 3, SHA_ID3);
    assert_int_equal(bench->allowance, -1);
}

/* More than fits between platform and disk: the platform is held back, the loop is not. */
static void a_slow_disk_holds_back_its_file_only(void **state)
{
    enum { SIZE = 4000000 };
    struct bench *bench = *state;
    char *answer = memory_zeroed(1, SIZE + 200);
    int head = snprintf(answer, 200, FILE_ANSWER("4000000", ""));
    memset(answer + head, 0x80, SIZE);
    bench->config.recording_max_bytes = SIZE;
    open_store(bench);
    struct reply script[] = {{answer, THEN_KEEP}, {OK_ANSWER, THEN_KEEP}};
    server_start(&bench->server, "127.0.0.1", NULL, script, 2);
    open_thread(bench, bench->server.url);
    pthread_mutex_lock(&disk);
    start(bench, REQUEST_RECORDING, 0);
    server_await(&bench->server, 1);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    pthread_mutex_unlock(&disk);
    was_kept(bench, "id-1.mp3", SIZE, NULL);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    server_stop(&bench->server); /* it may be sending still */
    free(answer);
}

static void a_disk_that_hangs_costs_the_try(void **state)
{
    struct bench *bench = *state;
    bench->config.recording_timeout_ms = 1500; /* also enough for what does not hang */
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("3", "ID3"), THEN_KEEP}, {OK_ANSWER, THEN_KEEP},
         {FILE_ANSWER("3", "ID3"), THEN_KEEP});
    pthread_mutex_lock(&disk);
    start(bench, REQUEST_RECORDING, 0);
    ends(bench, STATUS_UNAVAILABLE, "store-failed");
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    pthread_mutex_unlock(&disk);
    start(bench, REQUEST_RECORDING, 2);
    was_kept(bench, "id-1.mp3", 3, SHA_ID3);
}

/* The trial call of an open breaker is over for it when the platform has answered. */
static void a_trial_does_not_wait_for_its_file(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_breaker_failures = 1;
    bench->config.platform_breaker_open_ms = 1;
    bench->config.recording_attempts = 2;
    open_store(bench);
    bench->config.recording_attempts = 2;
    OPEN(bench, {STATUS_ANSWER("500 Oops"), THEN_KEEP}, {FILE_ANSWER("5", "ID3"), THEN_HANG},
         {OK_ANSWER, THEN_KEEP});
    start(bench, REQUEST_RECORDING, 0);
    comes_back(bench, CALL_NOT_SENT);
    await_allowance(bench, 1);
    start(bench, REQUEST_RECORDING, 1); /* the trial */
    await_allowance(bench, 16);
    start(bench, REQUEST_CALL, 2);
    ends(bench, STATUS_SUCCEEDED, NULL);
    comes_back(bench, CALL_NOT_SENT); /* the file never came */
}

/* libcurl 7.88 joins the thread of a resolution that it has given up, unless told not to. */
static void names_that_are_not_resolved_hold_nobody_up(void **state)
{
    struct bench *bench = *state;
    bench->config.platform_max_in_flight = 2;
    open_thread(bench, "http://" SLOW_NAME ":1");
    pthread_mutex_lock(&names);
    start(bench, REQUEST_CALL, 0);
    comes_back(bench, CALL_NOT_SENT);
    start(bench, REQUEST_CALL, 1);
    call_thread_free(bench->thread);
    bench->thread = NULL;
    comes_back(bench, CALL_RETURNED);
    pthread_mutex_unlock(&names);
}

static void a_disk_that_hangs_does_not_hold_up_the_end(void **state)
{
    static struct call_thread *left; /* its memory cannot be released */
    struct bench *bench = *state;
    open_store(bench);
    OPEN(bench, {FILE_ANSWER("3", "ID3"), THEN_KEEP});
    pthread_mutex_lock(&disk);
    start(bench, REQUEST_RECORDING, 0);
    while (!count_store(bench, false))
        sched_yield();
    left = bench->thread;
    bench->thread = NULL;
    bool released = call_thread_free(left);
    pthread_mutex_unlock(&disk);
    assert_false(released);
    comes_back(bench, CALL_RETURNED);
    assert_int_equal(count_store(bench, true), 1); /* a later start removes it */
}

/* A name or pattern of tests may be given. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        TEST(sends_a_call_byte_for_byte),
        TEST(sends_a_recording_byte_for_byte),
        TEST(ignores_the_environments_proxy),
        TEST(keeps_connections),
        TEST(never_more_than_the_slots),
        TEST(the_rate_is_driven_by_time),
        TEST(refused_connection_is_not_sent),
        TEST(connecting_that_hangs_is_not_sent),
        TEST(connecting_ends_before_the_lease),
        TEST(unknown_host_is_not_sent),
        TEST(tls_that_hangs_is_not_sent),
        TEST(tls_works_and_is_reused),
        TEST(wrong_authority_is_not_sent),
        TEST(wrong_host_name_is_not_sent),
        TEST(plain_http_must_be_allowed),
        cmocka_unit_test(every_row_of_the_table),
        TEST(longer_answer_is_unreadable),
        TEST(throttled_waits_as_asked),
        TEST(throttled_waits_until_a_date),
        TEST(rules_about_now_hold_when_it_is_sent),
        TEST(a_reused_connection_that_closes_sends_once),
        TEST(a_reused_connection_that_resets_sends_once),
        TEST(a_reused_tls_connection_that_closes_sends_once),
        TEST(an_unasked_answer_is_nobodys),
        TEST(an_idle_connections_end_is_seen),
        TEST(an_answer_and_an_end_are_seen),
        TEST(no_lease_no_call),
        TEST(lease_is_read_again_before_sending),
        TEST(what_is_frozen_before_it_sends_does_not_send_late),
        TEST(what_is_frozen_before_it_sends_does_not_send_late_with_tls),
        TEST(an_answer_waits_for_a_frozen_process),
        TEST(an_answer_waits_for_what_is_frozen_as_it_has_sent),
        TEST(a_lease_that_ends_just_after_the_send_breaks_no_call),
        TEST(a_signal_that_is_not_the_timers_breaks_no_call),
        TEST(calls_go_on_without_a_timer),
        TEST(recall_takes_what_waits),
        TEST(the_end_gives_all_back),
        TEST(bad_credentials_pause_all),
        TEST(a_trouble_on_and_off_is_told_seldom),
        TEST(a_file_is_hashed_not_kept),
        TEST(a_slow_platform_gives_no_file),
        TEST(a_slow_file_has_its_own_limit),
        TEST(failed_recordings_are_tried_again),
        TEST(a_file_is_kept),
        TEST(a_url_is_fetched),
        TEST(fetches_that_fail),
        TEST(fetches_that_are_refused),
        TEST(what_is_no_recording),
        TEST(a_refusal_in_place_of_a_file),
        TEST(a_length_that_is_too_large),
        TEST(a_length_is_known_before_the_file),
        TEST(an_answers_length_is_known_before_its_file),
        TEST(a_file_without_an_end),
        TEST(a_part_of_a_file),
        TEST(an_answer_that_redirects),
        TEST(addresses_that_are_refused),
        TEST(user_information_is_not_sent),
        TEST(a_fetch_that_hangs),
        TEST(a_file_that_takes_too_long),
        TEST(a_file_that_is_too_large),
        TEST(a_file_that_is_cut),
        TEST(a_store_that_is_gone),
        TEST(a_slow_disk_holds_back_its_file_only),
        TEST(a_disk_that_hangs_costs_the_try),
        TEST(a_trial_does_not_wait_for_its_file),
        TEST(names_that_are_not_resolved_hold_nobody_up),
        TEST(a_disk_that_hangs_does_not_hold_up_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
