/* Where an answer ends: what is known of it stays known however its head puts it, and at once;
 * where two readers may find two ends, nothing is known. Only the plainest answers keep their
 * connection. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* A busy machine must not turn what is known at once into a timeout; and only what ends with a
 * timeout is waited for, so that this one is short. */
enum { LONG_MS = 30000, SHORT_MS = 2000, FILE_MS = 700 };

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
    bench->config.platform_connect_timeout_ms = LONG_MS;
    bench->config.platform_timeout_ms = answer->told == UNKNOWN_IN_TIME ? SHORT_MS : LONG_MS;
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
    bench->config.platform_timeout_ms = bench->config.platform_connect_timeout_ms = LONG_MS;
    OPEN(bench, {"HTTP/1.1 403 No\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
                 THEN_KEEP});
    int64_t before = clock_boot_ms();
    start(bench, REQUEST_CALL, 0);
    ends(bench, STATUS_REFUSED, "refused");
    assert_in_range(clock_boot_ms() - before, 0, bench->config.platform_timeout_ms - 1);
}

/* ---- files of recordings: what is kept is whole */

#define FILE_BODY    "ID3aba\xf1\xf8\xf1\xf8\xf1\xf8"
#define FL           "Content-Length: 12\r\n"
#define PIECES       "5\r\nID3ab\r\n7\r\na\xf1\xf8\xf1\xf8\xf1\xf8\r\n0\r\n\r\n"
#define SMALL        "\x78\xda\xf3\x74\x31\x4e\x4c\x4a\xfc\xf8\x03\x04\x01\x25\x86\x07\xa0"
#define SMALL_CUT    "\x78\xda\xf3\x74\x31\x4e\x4c\x4a\xfc\xf8\x03\x04\x01" /* all but the end */
#define SMALL_PIECES "11\r\n" SMALL LAST

static const struct {
    const char *bytes;
    bool kept; /* all of FILE_BODY; else nothing */
    enum then then;
} files[] = {
    /* the plain ones */
    {HEAD(FL) FILE_BODY, true, THEN_KEEP},
    {HEAD(TE(" chunked")) PIECES, true, THEN_KEEP},
    {HEAD(TE(" chunked") "Trailer: X\r\n") "C;a=b\r\n" FILE_BODY "\r\n0;c\r\nX: y\r\n\r\n", true,
     THEN_KEEP},
    {OLD(FL) FILE_BODY, true, THEN_CLOSE},

    /* its end is known however the head puts it */
    {HEAD(TE(" identity") FL) FILE_BODY, true, THEN_KEEP},
    {HEAD(TE(" identity, chunked")) PIECES, true, THEN_KEEP},
    {HEAD(TE(" chunked, identity")) PIECES, true, THEN_KEEP},
    {HEAD(TE(" identity") TE(" chunked")) PIECES, true, THEN_KEEP},
    {HEAD(TE(" deflate, chunked")) SMALL_PIECES, true, THEN_KEEP},
    {HEAD(TE(" deflate") TE(" chunked")) SMALL_PIECES, true, THEN_KEEP},
    {HEAD("Content-Encoding: deflate\r\nContent-Length: 17\r\n") SMALL, true, THEN_KEEP},
    {HEAD("Content-Encoding: identity\r\n" FL) FILE_BODY, true, THEN_KEEP},
    {HEAD("Content-Encoding: None\r\n" FL) FILE_BODY, true, THEN_KEEP},
    {HEAD("Content-Encoding: identity\r\nContent-Encoding: none\r\n" FL) FILE_BODY, true,
     THEN_KEEP},
    {HEAD("Content-Encoding: ,\tIdentity ,\r\n identity\r\n" FL) FILE_BODY, true, THEN_KEEP},
    {HEAD("Content-Encoding: identity, deflate\r\nContent-Length: 17\r\n") SMALL, true, THEN_KEEP},
    {HEAD("Content-Encoding: deflate ,none\r\nContent-Length: 17\r\n") SMALL, true, THEN_KEEP},
    {HEAD("Content-Encoding: deflate\r\n" TE(
         " chunked")) "3\r\n\x78\xda\xf3\r\n8\r\n\x74\x31\x4e\x4c\x4a\xfc\xf8\x03\r\n6\r\n\x04\x01"
                      "\x25\x86\x07\xa0" LAST,
     true, THEN_KEEP},
    {HEAD("Content-Encoding: deflate\r\n" TE(" chunked")) SMALL_PIECES, true, THEN_KEEP},
    {HEAD(FL FL) FILE_BODY, true, THEN_KEEP},
    {HEAD("Content-Length: 12, 12\r\n") FILE_BODY, true, THEN_KEEP},
    {HEAD(FL TE(" chunked")) PIECES, true, THEN_KEEP},
    {HEAD(TE(" chunked") "Content-Length: 3\r\n") PIECES, true, THEN_KEEP},
    {HEAD("X-A: b\r\n c\r\n" FL) FILE_BODY, true, THEN_KEEP},

    /* what stands behind it is not its own */
    {HEAD(FL) FILE_BODY "more", true, THEN_KEEP},
    {HEAD(TE(" chunked")) PIECES "more", true, THEN_KEEP},
    {HEAD(TE(" identity, chunked")) PIECES "more", true, THEN_KEEP},
    {HEAD(TE(" identity") FL) FILE_BODY "more", true, THEN_KEEP},

    /* cut off */
    {HEAD(FL) "ID3ab", false, THEN_CLOSE},
    {HEAD(FL) "ID3ab", false, THEN_RESET},
    {HEAD(FL), false, THEN_CLOSE},
    {HEAD(TE(" identity") FL) "ID3ab", false, THEN_CLOSE},
    {HEAD(TE(" chunked")) "5\r\nID3ab\r\n", false, THEN_CLOSE},
    {HEAD(TE(" chunked")) "C\r\nID3ab", false, THEN_CLOSE},
    {HEAD(TE(" chunked")) "C\r\n" FILE_BODY "\r\n", false, THEN_CLOSE},
    {HEAD(TE(" chunked")) "C\r\n" FILE_BODY "\r\n0", false, THEN_CLOSE},
    {HEAD(TE(" chunked")) "C\r\n" FILE_BODY "\r\n0\r\n", false, THEN_CLOSE},
    {HEAD(TE(" identity, chunked")) "5\r\nID3ab\r\n", false, THEN_CLOSE},
    {HEAD(TE(" chunked, identity")) "5\r\nID3ab\r\n", false, THEN_CLOSE},
    {HEAD(TE(" chunked") FL) "5\r\nID3ab\r\n", false, THEN_CLOSE},
    {HEAD(TE(" chunked") "Content-Length: 5\r\n") "5\r\nID3ab\r\n", false, THEN_CLOSE},
    {HEAD("Content-Encoding: deflate\r\nContent-Length: 5\r\n") "\x78\xda\xf3\x74\x31", false,
     THEN_KEEP},
    {HEAD("Content-Encoding: deflate\r\n" TE(" chunked")) "5\r\n\x78\xda\xf3\x74\x31" LAST, false,
     THEN_KEEP},
    {HEAD(TE(" deflate, chunked")) "5\r\n\x78\xda\xf3\x74\x31" LAST, false, THEN_KEEP},
    {HEAD("Content-Encoding: deflate\r\nContent-Length: 13\r\n") SMALL_CUT, false, THEN_KEEP},
    {HEAD("Content-Encoding: deflate\r\n" TE(" chunked")) "D\r\n" SMALL_CUT LAST, false, THEN_KEEP},
    {HEAD(TE(" deflate, chunked")) "D\r\n" SMALL_CUT LAST, false, THEN_KEEP},
    {HEAD("Content-Encoding: br\r\n" FL) FILE_BODY, false, THEN_KEEP},
    {HEAD("Content-Encoding: identity, br\r\n" FL) FILE_BODY, false, THEN_KEEP},
    {HEAD("Content-Encoding: identity br\r\n" FL) FILE_BODY, false, THEN_KEEP},
    {HEAD(TE(" deflate, chunked")) "11\r\n" SMALL "\r\n", false, THEN_CLOSE},
    {HEAD("") FILE_BODY, false, THEN_CLOSE},
    {HEAD(TE(" identity")) FILE_BODY, false, THEN_CLOSE},
    {HEAD(TE(" deflate")) SMALL, false, THEN_CLOSE},
    {OLD("") FILE_BODY, false, THEN_CLOSE},

    /* two readers, two ends */
    {HEAD(FL "Content-Length: 5\r\n") FILE_BODY, false, THEN_KEEP},
    {HEAD("Content-Length: 5\r\n" FL) FILE_BODY, false, THEN_KEEP},
    {HEAD("Content-Length: 5, 12\r\n") FILE_BODY, false, THEN_KEEP},
    {HEAD("Content-Length: 12a\r\n") FILE_BODY, false, THEN_KEEP},
    {HEAD("Content-Length: -12\r\n") FILE_BODY, false, THEN_CLOSE},
    {HEAD("Content-Length: 99999999999999999999\r\n") FILE_BODY, false, THEN_CLOSE},
    {HEAD("Content-Length : 5\r\n" FL) FILE_BODY, false, THEN_KEEP},
    {HEAD("Transfer-Encoding : chunked\r\n" FL) FILE_BODY, false, THEN_KEEP},
    {HEAD(TE(" xchunked") FL) FILE_BODY, false, THEN_KEEP},
    {HEAD(TE(" chunked, gzip")) PIECES, false, THEN_KEEP},
    {HEAD(TE(" gzip") FL) FILE_BODY, false, THEN_KEEP},

    /* chunks that are none */
    {HEAD(TE(" chunked")) "5\r\nID3ab?\r\n7\r\na\xf1\xf8\xf1\xf8\xf1\xf8" LAST, false, THEN_KEEP},
    {HEAD(TE(" chunked")) "5\r\nID3ab"
                          "7\r\na\xf1\xf8\xf1\xf8\xf1\xf8" LAST,
     false, THEN_KEEP},
    {HEAD(TE(" identity, chunked")) "5\r\nID3ab?\r\n7\r\na\xf1\xf8\xf1\xf8\xf1\xf8" LAST, false,
     THEN_KEEP},
    {HEAD(TE(" chunked, identity")) "5\r\nID3ab?\r\n7\r\na\xf1\xf8\xf1\xf8\xf1\xf8" LAST, false,
     THEN_KEEP},
    {HEAD(TE(" chunked")) "C\r\n" FILE_BODY "\r\n\r\n\r\n", false, THEN_KEEP},
    {HEAD(TE(" identity, chunked")) "C\r\n" FILE_BODY "\r\n?\r\n\r\n", false, THEN_KEEP},
    {HEAD(TE(" chunked")) "C\r\n" FILE_BODY "\r\n 0\r\n\r\n", false, THEN_KEEP},
    {HEAD(TE(" chunked")) "\r\n" PIECES, false, THEN_KEEP},
    {HEAD(TE(" chunked")) "1000000000000000C\r\n" FILE_BODY LAST, false, THEN_KEEP},
    {HEAD(TE(" chunked")) "-C\r\n" FILE_BODY LAST, false, THEN_KEEP},
    {HEAD(TE(" chunked")) FILE_BODY, false, THEN_CLOSE},
};

/* How many files were kept, and the size of one of them. */
static int count_kept(const struct bench *bench, off_t *size)
{
    DIR *directory = opendir(bench->store);
    const struct dirent *entry;
    int kept = 0;
    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        char path[512];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", bench->store, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &status))
            continue;
        kept++;
        *size = status.st_size;
    }
    closedir(directory);
    return kept;
}

static void try_file(struct bench *bench, const struct reply *reply, bool kept)
{
    off_t size = -1;
    bench->config.platform_timeout_ms = bench->config.platform_connect_timeout_ms = LONG_MS;
    bench->config.recording_timeout_ms = kept ? LONG_MS : FILE_MS;
    open_url(bench, "/f.mp3", reply, 1);
    start(bench, REQUEST_RECORDING, 0);
    struct request *request = next_request(bench);
    assert_int_equal(request->call.end, CALL_FINISHED);
    assert_int_equal(request->outcome.status, kept ? STATUS_SUCCEEDED : STATUS_UNAVAILABLE);
    assert_int_equal(request->outcome.recording.present, kept);
    if (kept)
        assert_string_equal(request->outcome.recording.sha256,
                            "5c693a7c3f566ab3d27e9bf5d80a1b9ef68621d789a8cd7b79a300d33c909de2");
    request_free(request);
    assert_int_equal(count_kept(bench, &size), kept);
    assert_int_equal(size, kept ? (int)strlen(FILE_BODY) : -1);
}

static void what_is_kept_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        void *own;
        struct reply reply = {files[i].bytes, files[i].then};
        set_up(&own);
        print_message("file %zu: %s\n", i, files[i].bytes); /* which one, when it fails */
        try_file(own, &reply, files[i].kept);
        tear_down(&own);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_stays_known),
        cmocka_unit_test(what_is_known_stays_known_with_tls),
        TEST(a_refusal_is_known_at_once),
        cmocka_unit_test(what_is_kept_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
