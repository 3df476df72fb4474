/* Each call of libcurl that sets or asks something fails once, with each error that it may
 * plausibly give: the process goes on, no request is lost, none is sent twice, and the next one is
 * served. The linker puts the functions below in the place of libcurl's (--wrap). */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
#undef curl_share_setopt
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/memory.h"
#include "bench.h"
#include "io/store.h"

enum fault {
    SETOPT,
    GETINFO,
    PAUSE,
    ADD,
    REMOVE,
    ACTION,
    MULTI_SETOPT,
    SHARE_SETOPT,
    EASY_INIT,
    MULTI_INIT,
    SHARE_INIT,
    FAULTS
};

static const char *const names[] = {
    "curl_easy_setopt",      "curl_easy_getinfo",        "curl_easy_pause",
    "curl_multi_add_handle", "curl_multi_remove_handle", "curl_multi_socket_action",
    "curl_multi_setopt",     "curl_share_setopt",        "curl_easy_init",
    "curl_multi_init",       "curl_share_init"};

/* Which call fails: the `countdown`th of its kind from now on, and so many after it. */
static atomic_int failing = FAULTS, countdown, in_a_row, code, seen;

/* The multi handle in use, the one that had no memory left, and whether anything was asked of that
 * one afterwards. */
static _Atomic(CURLM *) in_use, spent;
static atomic_bool spent_used;

static bool fails(enum fault fault)
{
    if (atomic_load(&failing) != (int)fault)
        return false;
    atomic_fetch_add(&seen, 1);
    int left = atomic_fetch_sub(&countdown, 1);
    return left <= 1 && left > 1 - atomic_load(&in_a_row);
}

static void arm(enum fault fault, int which, int row, int with)
{
    atomic_store(&failing, FAULTS);
    atomic_store(&countdown, which);
    atomic_store(&in_a_row, row);
    atomic_store(&code, with);
    atomic_store(&seen, 0);
    atomic_store(&failing, fault);
}

/* Whether the call that was to fail did. */
static bool disarm(void)
{
    atomic_store(&failing, FAULTS);
    return atomic_load(&countdown) <= 0;
}

#define ONE_ARGUMENT(last)                                                                         \
    va_list arguments;                                                                             \
    va_start(arguments, last);                                                                     \
    void *argument = va_arg(arguments, void *);                                                    \
    va_end(arguments)

CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    ONE_ARGUMENT(option);
    return fails(SETOPT) ? (CURLcode)code : __real_curl_easy_setopt(easy, option, argument);
}

CURLcode __real_curl_easy_getinfo(CURL *easy, CURLINFO info, ...);
CURLcode __wrap_curl_easy_getinfo(CURL *easy, CURLINFO info, ...);
CURLcode __wrap_curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
    ONE_ARGUMENT(info);
    return fails(GETINFO) ? (CURLcode)code : __real_curl_easy_getinfo(easy, info, argument);
}

CURLMcode __real_curl_multi_setopt(CURLM *multi, CURLMoption option, ...);
CURLMcode __wrap_curl_multi_setopt(CURLM *multi, CURLMoption option, ...);
CURLMcode __wrap_curl_multi_setopt(CURLM *multi, CURLMoption option, ...)
{
    ONE_ARGUMENT(option);
    return fails(MULTI_SETOPT) ? (CURLMcode)code
                               : __real_curl_multi_setopt(multi, option, argument);
}

CURLSHcode __real_curl_share_setopt(CURLSH *share, CURLSHoption option, ...);
CURLSHcode __wrap_curl_share_setopt(CURLSH *share, CURLSHoption option, ...);
CURLSHcode __wrap_curl_share_setopt(CURLSH *share, CURLSHoption option, ...)
{
    ONE_ARGUMENT(option);
    return fails(SHARE_SETOPT) ? (CURLSHcode)code
                               : __real_curl_share_setopt(share, option, (size_t)argument);
}

CURLcode __real_curl_easy_pause(CURL *easy, int what);
CURLcode __wrap_curl_easy_pause(CURL *easy, int what);
CURLcode __wrap_curl_easy_pause(CURL *easy, int what)
{
    if (!fails(PAUSE))
        return __real_curl_easy_pause(easy, what);
    /* The second is how libcurl reports that it has no memory for a socket. */
    if (code == CURLE_OUT_OF_MEMORY || code == CURLE_ABORTED_BY_CALLBACK)
        atomic_store(&spent, atomic_load(&in_use));
    return (CURLcode)code;
}

CURLMcode __real_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy)
{
    atomic_store(&in_use, multi);
    return fails(ADD) ? (CURLMcode)code : __real_curl_multi_add_handle(multi, easy);
}

CURLMcode __real_curl_multi_remove_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_remove_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_remove_handle(CURLM *multi, CURL *easy)
{
    return fails(REMOVE) ? (CURLMcode)code : __real_curl_multi_remove_handle(multi, easy);
}

static bool action_fails(CURLM *multi)
{
    if (atomic_load(&spent) == multi)
        atomic_store(&spent_used, true);
    if (!fails(ACTION))
        return false;
    if (code == CURLM_OUT_OF_MEMORY)
        atomic_store(&spent, multi);
    return true;
}

CURLMcode __real_curl_multi_socket_action(CURLM *multi, curl_socket_t socket, int what, int *n);
CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t socket, int what, int *n);
CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t socket, int what, int *n)
{
    return action_fails(multi) ? (CURLMcode)code
                               : __real_curl_multi_socket_action(multi, socket, what, n);
}

CURLMcode __real_curl_multi_socket_all(CURLM *multi, int *n);
CURLMcode __wrap_curl_multi_socket_all(CURLM *multi, int *n);
CURLMcode __wrap_curl_multi_socket_all(CURLM *multi, int *n)
{
    return action_fails(multi) ? (CURLMcode)code : __real_curl_multi_socket_all(multi, n);
}

CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void)
{
    return fails(EASY_INIT) ? NULL : __real_curl_easy_init();
}

CURLM *__real_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void)
{
    atomic_store(&spent, NULL); /* the new one may have its address */
    return fails(MULTI_INIT) ? NULL : __real_curl_multi_init();
}

CURLSH *__real_curl_share_init(void);
CURLSH *__wrap_curl_share_init(void);
CURLSH *__wrap_curl_share_init(void)
{
    return fails(SHARE_INIT) ? NULL : __real_curl_share_init();
}

/* ---- a disk that stands still until a file has to wait for it, so that its transfer is paused */

static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t disk_moves = PTHREAD_COND_INITIALIZER;
static bool disk_stands;

static void set_disk(bool stands)
{
    pthread_mutex_lock(&disk);
    disk_stands = stands;
    pthread_cond_broadcast(&disk_moves);
    pthread_mutex_unlock(&disk);
}

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    struct stat status;
    bool is_file = !fstat(fd, &status) && S_ISREG(status.st_mode);
    pthread_mutex_lock(&disk);
    while (is_file && disk_stands)
        pthread_cond_wait(&disk_moves, &disk);
    pthread_mutex_unlock(&disk);
    return __real_write(fd, bytes, n);
}

enum store_taken __real_store_write(struct store_file *file, const char *bytes, size_t n);
enum store_taken __wrap_store_write(struct store_file *file, const char *bytes, size_t n);
enum store_taken __wrap_store_write(struct store_file *file, const char *bytes, size_t n)
{
    enum store_taken taken = __real_store_write(file, bytes, n);
    if (taken == STORE_FULL)
        set_disk(false);
    return taken;
}

/* ---- a call and a recording, with one fault in each */

static const int easy_codes[] = {CURLE_BAD_FUNCTION_ARGUMENT, CURLE_UNKNOWN_OPTION,
                                 CURLE_OUT_OF_MEMORY};
static const int multi_codes[] = {CURLM_INTERNAL_ERROR, CURLM_BAD_SOCKET, CURLM_OUT_OF_MEMORY};

static const int *codes_of(enum fault fault)
{
    return fault <= PAUSE ? easy_codes : multi_codes;
}

/* It ends so that nobody is told what is not so: answered, in doubt, or not sent at all. */
static void take(struct bench *bench, enum fault fault, int before)
{
    struct request *request = next_request(bench);
    bool is_call = request->position.kind == REQUEST_CALL; /* a recording may be asked for again */
    int sent = is_call ? server_requests(&bench->server) - before : 0;
    bool finished = request->call.end == CALL_FINISHED;
    if (sent > 1 || (request->call.end == CALL_NOT_SENT && sent > 0) ||
        (finished && request->outcome.status != STATUS_SUCCEEDED &&
         request->outcome.status != STATUS_UNKNOWN))
        fail_msg("%s: sent %d times, end %d, status %s", names[fault], sent, request->call.end,
                 status_name(request->outcome.status));
    request_free(request);
}

static void works_again(struct bench *bench, enum request_kind kind, int64_t offset)
{
    start(bench, kind, offset);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status, STATUS_SUCCEEDED);
    request_free(request);
}

static void each_call_of_a_request(struct bench *bench, enum request_kind kind, enum fault fault,
                                   int row)
{
    const int *codes = codes_of(fault);
    for (int i = 0; i < 3; i++) {
        bool did = true;
        for (int which = 1; did && which < 100; which++) {
            int before = server_requests(&bench->server);
            arm(fault, which, row, codes[i]);
            start(bench, kind, 0);
            take(bench, fault, before);
            did = disarm();
            works_again(bench, kind, 1);
        }
        assert_false(did);
    }
}

/* With TLS and chunks, so that as much as can be is asked of libcurl. */
static const struct reply replies[] = {
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" OK_BODY "\r\n0\r\n\r\n",
     THEN_KEEP},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" OK_BODY "\r\n0\r\n\r\n\r\n",
     THEN_KEEP},
};

static void open_bench(struct bench *bench, int reply)
{
    use_tls(bench);
    server_start(&bench->server, "127.0.0.1", bench->tls, &replies[reply], 1);
    open_thread(bench, bench->server.url);
    works_again(bench, REQUEST_CALL, 0);
}

static void calls_survive(void **state)
{
    open_bench(*state, 0);
    for (int fault = 0; fault <= ACTION; fault++)
        each_call_of_a_request(*state, REQUEST_CALL, (enum fault)fault, 1);
}

/* Each makes a connection of its own, and is followed by a byte too many. */
static void calls_survive_on_new_connections(void **state)
{
    open_bench(*state, 1);
    for (int fault = 0; fault <= ACTION; fault++)
        each_call_of_a_request(*state, REQUEST_CALL, (enum fault)fault, 1);
}

static void recordings_survive(void **state)
{
    open_bench(*state, 0);
    for (int fault = 0; fault <= ACTION; fault++)
        each_call_of_a_request(*state, REQUEST_RECORDING, (enum fault)fault, 1);
}

/* libcurl 7.88 crashes if it is used on after that. */
static void a_multi_handle_without_memory_is_not_used_again(void **state)
{
    struct bench *bench = *state;
    open_bench(bench, 0);
    atomic_store(&spent_used, false);
    arm(ACTION, 1, 1, CURLM_OUT_OF_MEMORY);
    start(bench, REQUEST_CALL, 0);
    request_free(next_request(bench));
    assert_true(disarm());
    works_again(bench, REQUEST_CALL, 1);
    assert_false(atomic_load(&spent_used));
}

/* A request that is begun before the handle is replaced comes back unsent. */
static void works_soon(struct bench *bench)
{
    struct request *request = NULL;
    do {
        request_free(request);
        start(bench, REQUEST_CALL, 1);
        request = next_request(bench);
    } while (request->call.end == CALL_NOT_SENT);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status, STATUS_SUCCEEDED);
    request_free(request);
}

/* A paused transfer that cannot go on. */
static void goes_not_on(struct bench *bench, int failure)
{
    enum { SIZE = 1000000 };
    char *file = memory_zeroed(1, SIZE + 200);
    int head =
        snprintf(file, 200,
                 "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: %d\r\n\r\n", SIZE);
    memset(file + head, 0x80, SIZE);
    const struct reply script[] = {{file, THEN_KEEP}, {OK_ANSWER, THEN_KEEP}};
    bench->config.recording_max_bytes = SIZE;
    open_store(bench);
    server_start(&bench->server, "127.0.0.1", NULL, script, 2);
    open_thread(bench, bench->server.url);
    atomic_store(&spent_used, false);
    set_disk(true);
    arm(PAUSE, 1, 1, failure);
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status, STATUS_UNAVAILABLE);
    request_free(request);
    assert_true(disarm());
    works_soon(bench);
    assert_false(atomic_load(&spent_used));
    call_thread_free(bench->thread);
    bench->thread = NULL;
    server_stop(&bench->server); /* it may be sending still */
    free(file);
}

static void a_transfer_that_goes_not_on(void **state)
{
    goes_not_on(*state, CURLE_BAD_FUNCTION_ARGUMENT);
}

static void a_transfer_without_memory_to_go_on(void **state)
{
    goes_not_on(*state, CURLE_OUT_OF_MEMORY);
}

/* So does libcurl report that it has no memory for the socket. */
static void a_transfer_without_memory_for_its_socket(void **state)
{
    goes_not_on(*state, CURLE_ABORTED_BY_CALLBACK);
}

/* libcurl that fails for good: all that runs ends, and all is made anew. */
static void a_multi_handle_that_is_dead_is_replaced(void **state)
{
    struct bench *bench = *state;
    open_bench(bench, 0);
    int before = server_requests(&bench->server);
    arm(ACTION, 1, 1000000, CURLM_ABORTED_BY_CALLBACK);
    start(bench, REQUEST_CALL, 0);
    start(bench, REQUEST_CALL, 1);
    for (int i = 0; i < 2; i++) {
        struct request *request = next_request(bench);
        if (request->call.end == CALL_FINISHED)
            assert_int_equal(request->outcome.status, STATUS_UNKNOWN);
        request_free(request);
    }
    disarm();
    works_again(bench, REQUEST_CALL, 2);
    assert_in_range(server_requests(&bench->server) - before, 1, 3);
}

static void starts_fail_in_words(void **state)
{
    struct bench *bench = *state;
    struct error error;
    static const enum fault at_start[] = {SETOPT,    MULTI_SETOPT, SHARE_SETOPT,
                                          EASY_INIT, MULTI_INIT,   SHARE_INIT};
    use_tls(bench);
    bench->config.platform_url = memory_string("https://127.0.0.1:1");
    struct queue *finished[REQUEST_KINDS] = {&bench->finished, &bench->finished};
    for (size_t i = 0; i < sizeof at_start / sizeof *at_start; i++) {
        bool did = true;
        for (int which = 1; did && which < 300; which++) {
            error.text[0] = '\0';
            arm(at_start[i], which, 1, at_start[i] == SETOPT ? 43 : 1);
            bench->thread = call_thread_new(&bench->config, NULL, finished, &error);
            did = disarm();
            if (did != !bench->thread || (did && !strstr(error.text, "curl")))
                fail_msg("%s number %d: %s", names[at_start[i]], which, error.text);
            if (did && at_start[i] == SETOPT)
                assert_non_null(strstr(error.text, "CURLOPT_"));
            call_thread_free(bench->thread);
            bench->thread = NULL;
        }
        assert_false(did);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        TEST(calls_survive),
        TEST(calls_survive_on_new_connections),
        TEST(recordings_survive),
        TEST(a_multi_handle_that_is_dead_is_replaced),
        TEST(a_multi_handle_without_memory_is_not_used_again),
        TEST(a_transfer_that_goes_not_on),
        TEST(a_transfer_without_memory_to_go_on),
        TEST(a_transfer_without_memory_for_its_socket),
        TEST(starts_fail_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
