/* Every function that decides what becomes of a request, with each of its allocations failing in
 * turn, in a process of its own: it ends as it would have ended, or the process aborts, or
 * (configuration) says what is wrong. What it must never do is to end otherwise. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocations.h"
#include "base/text.h"
#include "core/answer.h"
#include "core/config.h"
#include "core/digest.h"
#include "core/event.h"
#include "core/exact_json.h"
#include "core/ledger.h"
#include "core/result.h"
#include "core/signature.h"

enum { ENDED = 0, ERROR = 3, WORDS_MAX = 16384 };

static const struct result_names names = {
    .group = "g",
    .request_topics = {"c", "r"},
    .result_topics = {"cr", "rr"},
    .dead_letters = "d",
};
static const struct event_rules rules = {{"c", "r"}, 65536};

/* ---- what is tried: each appends to a text what has come of it */

static struct request *arrived(enum request_kind kind, const char *key, const char *value,
                               bool structured)
{
    const struct record_header headers[] = {
        {"content-type", structured ? "application/cloudevents+json" : "application/json",
         structured ? 28 : 16},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 55}};
    struct raw_record raw = {.key = key,
                             .key_size = key ? strlen(key) : 0,
                             .value = value,
                             .value_size = strlen(value),
                             .headers = headers,
                             .header_count = 2,
                             .timestamp_ms = 1768212043120};
    return request_new((struct record_position){kind, 3, 42}, &raw);
}

static void add_record(struct text *out, const struct record *record)
{
    text_printf(out, "%s %zu %zu %zu\n", record->topic, record->header_count,
                record->more_header_count, record->key.length);
    text_append(out, record->value.data, record->value.length);
    text_append(out, record->header_bytes.data, record->header_bytes.length);
}

static void add_event(struct text *out, const char *key, const char *value, bool structured)
{
    struct record record = {0};
    for (int kind = 0; kind < REQUEST_KINDS; kind++) {
        struct request *request = arrived((enum request_kind)kind, key, value, structured);
        event_parse(request, &rules, 1768212043120);
        const struct event *event = &request->event;
        const char *const texts[] = {
            event->order_id,        event->request_id,   event->caller,          event->callee,
            event->call_identifier, event->invalid_code, event->invalid_message, event->trace_id};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            text_printf(out, "%s\n", texts[i] ? texts[i] : "-");
        dead_letter_render(&record, &names, request, "invalid", false);
        add_record(out, &record);
        if (!event->invalid_code)
            answer_request_body(out, request, "t", "a");
        request_free(request);
    }
    record_fini(&record);
}

static void add_answer(struct text *out, enum request_kind kind, const char *body)
{
    struct request *request =
        arrived(kind, "k", "{\"Caller\":\"18000000001\",\"Callee\":\"13900000000\"}", false);
    struct record record = {0};
    const char *reason = "";
    event_parse(request, &rules, 1768212043120);
    static const struct config config = {
        .platform_url = "https://h", .platform_version = "1", .platform_answer_max_bytes = 1 << 20};
    struct attempt attempt = {.http_status = 200, .body = body, .body_size = strlen(body)};
    if (answer_read(&request->outcome, kind, &attempt, &config, &reason)) {
        text_add(out, reason);
        attempt.http_status = 404;
        answer_refused(&request->outcome, kind, &attempt, &config);
    }
    for (int small = 0; small < 2; small++) {
        result_render(&record, &names, request, small);
        add_record(out, &record);
        dead_letter_render(&record, &names, request, "late-outcome", small);
        add_record(out, &record);
    }
    record_fini(&record);
    request_free(request);
}

static int events(struct text *out)
{
    static const char *const values[] = {
        "{\"Caller\":\"18000000001\",\"Callee\":\"13900000000\",\"Direct\":1,\"Code\":\"021\","
        "\"EndMinute\":\"5\",\"requestId\":\"r\",\"orderId\":\"k\",\"more\":{\"a\":[1,2.50,null,"
        "true,\"\\u4e2d\"]},\"expiresAt\":\"2999-01-01T00:00:00Z\"}",
        "{\"CallIdentifier\":\"c-1\",\"n\":123456789012345678901234567890}",
        "{\"Caller\":\"18000000001\",\"Caller\":\"18000000002\",\"orderId\":\"k\"}",
        "{\"Caller\":\"12\"",
        "[1,2,3]",
        "ring",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        add_event(out, "k", values[i], false);
        add_event(out, NULL, values[i], false);
    }
    add_event(out, NULL,
              "{\"specversion\":\"1.0\",\"id\":\"e\",\"subject\":\"s\",\"data\":{\"Caller\":"
              "\"18000000001\",\"Callee\":\"13900000000\"}}",
              true);
    return ENDED;
}

static int answers(struct text *out)
{
    static const char *const bodies[] = {
        "{\"Flag\":1,\"Msg\":\"8617118230000\",\"CallIdentifier\":\"7\"}",
        "{\"Flag\":\"1003\",\"Msg\":\"no\",\"x\":{\"y\":[1.0,{}]}}",
        "{\"Flag\":1.0,\"Msg\":\"https://h/f.wav\"}",
        "{\"Flag\":{\"odd\":true}}",
        "{\"Msg\":\"no Flag\"}",
        "{\"Flag\":1,\"Flag\":1}",
        "{\"Flag\":1",
        "oops",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (int kind = 0; kind < REQUEST_KINDS; kind++)
            add_answer(out, (enum request_kind)kind, bodies[i]);
    return ENDED;
}

static int ledgers(struct text *out)
{
    struct ledger written = {0}, read = {0};
    struct error error;
    snprintf(written.owner, sizeof written.owner, "worker-1");
    for (int dense = 0; dense < 2; dense++) {
        struct text metadata = {0};
        ledger_reset(&written, 1000);
        for (int i = 0; i < 300; i++)
            ledger_add(&written, (enum ledger_mark)(i % 3), dense ? 1 : i + 1);
        ledger_trim(&written);
        ledger_encode(&written, &metadata);
        text_append(out, metadata.data, metadata.length);
        int rc = ledger_decode(&read, written.base, metadata.data, metadata.length, &error);
        text_printf(out, "\n%d %zu %s\n", rc, read.run_count, read.owner);
        for (size_t i = 0; i < read.run_count; i++)
            text_printf(out, "%d:%lld ", (int)read.runs[i].mark, (long long)read.runs[i].length);
        metadata.data[metadata.length - 1] ^= 1;
        rc = ledger_decode(&read, written.base, metadata.data, metadata.length, &error);
        text_printf(out, "\n%d %zu %s\n", rc, read.run_count, error.text);
        text_fini(&metadata);
    }
    ledger_fini(&written);
    ledger_fini(&read);
    return ENDED;
}

static int digests(struct text *out)
{
    struct signature signature;
    char sum[65];
    signature_make(&signature, "a-token", "an-app", 1768212043120, 480);
    struct digest *digest = digest_new();
    digest_add(digest, "audio", 5);
    digest_text(digest, sum);
    text_printf(out, "%s %s %s %s", signature.timestamp, signature.sig, signature.authorization,
                sum);
    digest_free(digest);
    return ENDED;
}

/* An error is a clean end: the process is not started then. */
static int configuration(struct text *out)
{
    static const char *const given[] = {"kafka.bootstrap.servers=h:1",
                                        "platform.url=https://h",
                                        "platform.token=t",
                                        "platform.app.id=a",
                                        "kafka.linger.ms=3",
                                        "platform.auth.flags=1001,1002",
                                        "kafka.consumer.fetch.wait.max.ms=50"};
    char *environment[] = {"PRIVACY_CALL_INSTANCE_ID=i-1", NULL};
    struct config_input input = {.file = CONFIG_FILE,
                                 .options = given,
                                 .option_count = sizeof given / sizeof *given,
                                 .environment = environment,
                                 .host_name = "h"};
    struct config config = {0};
    struct text errors = {0};
    int rc = config_load(&config, &input, &errors);
    if (rc == 0)
        config_print(&config, out);
    else
        text_append(out, errors.data, errors.length);
    text_fini(&errors);
    config_fini(&config);
    return rc ? ERROR : ENDED;
}

/* ---- trying */

/* What a try has said, and its wait status. */
struct ending {
    char words[WORDS_MAX * 8], complaint[512];
    int status;
    long allocations;
};

static void child(int (*try)(struct text *out), long at, bool all_later, int words, int complaint)
{
    struct text out = {0};
    const struct rlimit no_core = {0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(complaint, STDERR_FILENO);
    signal(SIGSEGV, SIG_DFL); /* of which cmocka makes an exit */
    allocations_fail(at, all_later);
    int status = try(&out);
    long count = allocations_counted();
    allocations_fail(0, false);
    if (write(words, &count, sizeof count) < 0 || write(words, out.data, out.length) < 0)
        _exit(99);
    _exit(status);
}

static size_t read_all(int fd, char *into, size_t size)
{
    size_t length = 0;
    ssize_t n;
    while ((n = read(fd, into + length, size - length)) > 0)
        length += (size_t)n;
    close(fd);
    return length;
}

static void attempt(struct ending *ending, int (*try)(struct text *out), long at, bool all_later)
{
    int words[2], complaint[2];
    memset(ending, 0, sizeof *ending);
    assert_int_equal(pipe(words) | pipe(complaint), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(try, at, all_later, words[1], complaint[1]);
    close(words[1]);
    close(complaint[1]);
    if (read(words[0], &ending->allocations, sizeof ending->allocations) < 0)
        ending->allocations = 0;
    read_all(words[0], ending->words, sizeof ending->words - 1);
    read_all(complaint[0], ending->complaint, sizeof ending->complaint - 1);
    assert_int_equal(waitpid(pid, &ending->status, 0), pid);
}

static bool is_good(const struct ending *ending, const struct ending *whole, bool by_openssl)
{
    if (WIFSIGNALED(ending->status))
        return by_openssl ||
               (WTERMSIG(ending->status) == SIGABRT && strstr(ending->complaint, "out of memory"));
    if (WEXITSTATUS(ending->status) == ERROR)
        return *ending->words;
    return ending->status == whole->status && strcmp(ending->words, whole->words) == 0;
}

/* by_openssl: that library breaks down in a way of its own when memory runs out. */
static void exhaust(int (*try)(struct text *out), const char *name, bool by_openssl)
{
    static struct ending whole, ending;
    long aborted = 0, unchanged = 0;
    attempt(&whole, try, 0, false);
    assert_int_equal(whole.status, 0);
    assert_true(*whole.words && whole.allocations > 0);
    for (long at = 1; at <= whole.allocations; at++)
        for (int all_later = 0; all_later < 2; all_later++) {
            attempt(&ending, try, at, all_later);
            if (!is_good(&ending, &whole, by_openssl))
                fail_msg("%s, allocation %ld%s failed: status %d, and it said\n%s\n%s", name, at,
                         all_later ? " and all later ones" : "", ending.status, ending.complaint,
                         ending.words);
            aborted += WIFSIGNALED(ending.status);
            unchanged += ending.status == whole.status;
        }
    print_message("%s: %ld allocations, each failing alone and with all later ones: %ld aborts, "
                  "%ld times the same end, %ld errors\n",
                  name, whole.allocations, aborted, unchanged,
                  2 * whole.allocations - aborted - unchanged);
}

static void test_events(void **state)
{
    (void)state;
    exhaust(events, "events", false);
}

static void test_answers(void **state)
{
    (void)state;
    exhaust(answers, "answers and results", false);
}

static void test_ledgers(void **state)
{
    (void)state;
    exhaust(ledgers, "ledgers", false);
}

static void test_digests(void **state)
{
    (void)state;
    exhaust(digests, "signature and digest", true);
}

static void test_configuration(void **state)
{
    (void)state;
    exhaust(configuration, "configuration", false);
}

int main(void)
{
    struct text unused = {0};
    exact_json_prepare();
    digests(&unused); /* so that OpenSSL is set up: failures then are exhaust.py's */
    text_fini(&unused);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_ledgers),       cmocka_unit_test(test_digests),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
