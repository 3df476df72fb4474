/* Where an answer ends: what is known of it stays known however its head puts it, and at once;
 * where two readers may find two ends, nothing is known. Only the plainest answers keep their
 * connection. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench.h"

#define HEAD(lines) "HTTP/1.1 200 OK\r\n" lines "\r\n"
#define OLD(lines)  "HTTP/1.0 200 OK\r\n" lines "\r\n"
#define CL          "Content-Length: 35\r\n"
#define TE(value)   "Transfer-Encoding:" value "\r\n"
#define CHUNKS      "23\r\n" OK_BODY "\r\n0\r\n\r\n"
#define OK_REST     "\"Flag\": 1, \"Msg\": \"8617115230000\"}"
#define LAST        "\r\n0\r\n\r\n"
#define DEFLATED                                                                                   \
    "28\r\n\x78\xda\xab\x56\x72\xcb\x49\x4c\x57\xb2\x52\x30\xd4\x51\x50\xf2\x2d\x06\xb1\x94"       \
    "\x2c\xcc\x0c\xcd\x0d\x0d\x4d\x0d\x0c\x0c\x0c\x0d\x0c\x94\x6a\x01\x9b\xcd\x08\x25\r\n0\r\n\r"  \
    "\n"

enum told { KNOWN, KNOWN_AND_KEPT, UNKNOWN, UNKNOWN_IN_TIME };

struct answer {
    const char *bytes;
    enum told told;
    enum then then;
};

static const struct answer answers[] = {
    /* the plain ones */
    {HEAD(CL) OK_BODY, KNOWN_AND_KEPT, THEN_KEEP},
    {HEAD(TE(" chunked")) CHUNKS, KNOWN_AND_KEPT, THEN_KEEP},
    {HEAD(TE("\t CHUNKED \t")) CHUNKS, KNOWN_AND_KEPT, THEN_KEEP},
    {HEAD("content-length:35\r\n") OK_BODY, KNOWN_AND_KEPT, THEN_KEEP},
    {HEAD("") OK_BODY, KNOWN, THEN_CLOSE},
    {"HTTP/1.1 200\r\n" CL "\r\n" OK_BODY, KNOWN_AND_KEPT, THEN_KEEP},
    {"HTTP/1.1 200 \r\n" CL "\r\n" OK_BODY, KNOWN_AND_KEPT, THEN_KEEP},
    {"HTTP/1.1 200 OK\nContent-Length: 35\n\n" OK_BODY, KNOWN_AND_KEPT, THEN_KEEP},
    {HEAD(TE(" chunked")) "23;a=b;c=\"d\"\r\n" OK_BODY "\r\n000;e\r\nX-A: b\r\nContent-Length: "
                          "3\r\n\r\n",
     KNOWN_AND_KEPT, THEN_KEEP},

    /* identity says nothing */
    {HEAD(TE(" identity") CL) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD(CL TE(" IDENTITY\t")) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD(CL TE("\tidentity , ,Identity,")) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" identity") CL) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD(TE("") CL) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD(TE(" identity")) OK_BODY, KNOWN, THEN_CLOSE},
    {HEAD(TE(" identity")) OK_BODY, UNKNOWN_IN_TIME, THEN_KEEP}, /* no end, as without the header */
    {HEAD(TE(" identity") "Content-Length: 36\r\n") OK_BODY, UNKNOWN, THEN_CLOSE},
    {HEAD(TE(" identity") "Content-Length: 0\r\n"), UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity, chunked")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" chunked, identity")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) CHUNKS, KNOWN, THEN_KEEP},

    /* lists, and lists in several lines */
    {HEAD(TE(" deflate, chunked")) DEFLATED, KNOWN, THEN_KEEP},
    {HEAD(TE(" deflate") TE(" chunked")) DEFLATED, KNOWN, THEN_KEEP},
    {HEAD(TE(" deflate,") TE(" , chunked ,")) DEFLATED, KNOWN, THEN_KEEP},
    {HEAD(TE(" , chunked")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" chunked,")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" chunked") TE(" chunked")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" chunked, chunked")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(CL CL) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD("Content-Length: 35, 35\r\n") OK_BODY, KNOWN, THEN_KEEP},
    {HEAD("Content-Length: 35,035\r\n" CL) OK_BODY, KNOWN, THEN_KEEP},

    /* chunks count, and not the length beside them */
    {HEAD(CL TE(" chunked")) CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" chunked") "Content-Length: 3\r\n") CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(TE(" chunked") "Content-Length: 0\r\n") CHUNKS, KNOWN, THEN_KEEP},

    /* HTTP/1.0 */
    {OLD(CL) OK_BODY, KNOWN, THEN_CLOSE},
    {OLD(CL) OK_BODY, KNOWN, THEN_KEEP},
    {OLD(CL "Connection: keep-alive\r\n") OK_BODY, KNOWN, THEN_KEEP},
    {OLD("") OK_BODY, KNOWN, THEN_CLOSE},
    {OLD(TE(" chunked")) CHUNKS, KNOWN, THEN_KEEP},

    /* interim answers */
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nContent-Length: 5\r\n\r\n" HEAD(CL) OK_BODY,
     KNOWN_AND_KEPT, THEN_KEEP},
    {"HTTP/1.1 103 Early\r\n" TE(" identity") "\r\n" HEAD(TE(" chunked")) CHUNKS, KNOWN_AND_KEPT,
     THEN_KEEP},

    /* a line goes on in the next one */
    {HEAD("X-A: b\r\n c\r\n" CL) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD("X-A: b\r\n\tContent-Length: 3\r\n" CL) OK_BODY, KNOWN, THEN_KEEP},
    {HEAD("Transfer-Encoding:\r\n chunked\r\n") CHUNKS, KNOWN, THEN_KEEP},
    {HEAD(CL TE(" identity,\r\n\tidentity")) OK_BODY, KNOWN, THEN_KEEP},

    /* two readers, two ends */
    {HEAD(CL "Content-Length: 36\r\n") OK_BODY " ", UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: 3\r\n" CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: 35, 36\r\n") OK_BODY " ", UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: 35 35\r\n") OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: 35a\r\n") OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: +35\r\n") OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: -35\r\n") OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: \r\n") OK_BODY, UNKNOWN, THEN_CLOSE},
    {HEAD("Content-Length: 99999999999999999999\r\n") OK_BODY, UNKNOWN, THEN_CLOSE},
    {HEAD("Content-Length : 3\r\n" CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Transfer-Encoding : chunked\r\n" CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD(" Transfer-Encoding: chunked\r\n" CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD("Content-Length: 3\r\n 5\r\n") OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" xchunked") CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" \"chunked\"") CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" \vchunked") CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" chunked;q=1") CL) OK_BODY, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" chunked, gzip")) CHUNKS, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" gzip") CL) OK_BODY, UNKNOWN, THEN_KEEP},

    /* chunks that are none: what is left of the body without them is not the answer */
    {HEAD(TE(" chunked")) "1\r\n{?\r\n22\r\n" OK_REST LAST, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) "1\r\n{?\r\n22\r\n" OK_REST LAST, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) "23\r\n" OK_BODY "\r\n\r\n\r\n", UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) "23\r\n" OK_BODY "\r\n?\r\n\r\n", UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) "23\r\n" OK_BODY "\r\n 0\r\n\r\n", UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) "\r\n" CHUNKS, UNKNOWN, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) "10000000000000023\r\n" OK_BODY LAST, UNKNOWN, THEN_KEEP},
};

static void set_script(struct reply *script, const struct answer *answer)
{
    script[0] = (struct reply){answer->bytes, answer->then};
    script[1] = (struct reply){OK_ANSWER, THEN_KEEP};
}

/* The request whose answer it is, and another one after it. */
static void try_answer(struct bench *bench, const struct answer *answer)
{
    struct reply script[2];
    set_script(script, answer);
    server_start(&bench->server, "127.0.0.1", bench->tls, script, 2);
    open_thread(bench, bench->server.url);
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status,
                     answer->told < UNKNOWN ? STATUS_SUCCEEDED : STATUS_UNKNOWN);
    request_free(request);
    if (answer->told != UNKNOWN_IN_TIME)
        assert_in_range(clock_boot_ms() - before, 0, bench->config.platform_timeout_ms - 1);
    start(bench, REQUEST_CALL, 1);
    ends(bench, STATUS_SUCCEEDED, NULL);
    assert_int_equal(server_requests(&bench->server), 2);
    assert_int_equal(server_connections(&bench->server), answer->told == KNOWN_AND_KEPT ? 1 : 2);
}

static void try_answers(bool tls)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        void *own;
        set_up(&own);
        if (tls)
            use_tls(own);
        print_message("answer %zu: %s\n", i, answers[i].bytes); /* which one, when it fails */
        try_answer(own, &answers[i]);
        tear_down(&own);
    }
}

static void what_is_known_stays_known(void **state)
{
    (void)state;
    try_answers(false);
}

static void what_is_known_stays_known_with_tls(void **state)
{
    (void)state;
    try_answers(true);
}

/* A status is known without its body; and it is known at once. */
static void a_refusal_is_known_at_once(void **state)
{
    struct bench *bench = *state;
    OPEN(bench, {"HTTP/1.1 403 No\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
                 THEN_KEEP});
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_REFUSED, "refused");
    assert_in_range(clock_boot_ms() - before, 0, bench->config.platform_timeout_ms - 1);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_stays_known),
        cmocka_unit_test(what_is_known_stays_known_with_tls),
        TEST(a_refusal_is_known_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
