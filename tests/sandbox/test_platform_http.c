/* The simulated platform's reader of requests: at any cut, pipelined, and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sandbox/platform/http.h"

static const char sample[] = "POST /a/b?sig=1 HTTP/1.1\r\nHost: h\r\nContent-length: 5\r\n"
                             "X-Empty:\r\nX-Two: \t two words \r\n\r\nhello";

static void reads_at_any_cut(void **state)
{
    (void)state;
    struct sandbox_http_request request;
    size_t length = sizeof sample - 1, count;
    for (size_t i = 0; i < length; i++)
        assert_int_equal(sandbox_http_read(&request, sample, i), HTTP_MORE);
    assert_int_equal(sandbox_http_read(&request, sample, length), HTTP_READY);
    assert_int_equal(request.size, length);
    assert_true(sandbox_http_span_is(request.method, "POST"));
    assert_true(sandbox_http_span_is(request.path, "/a/b"));
    assert_true(sandbox_http_span_is(request.query, "sig=1"));
    assert_true(sandbox_http_span_is(request.body, "hello"));
    assert_true(sandbox_http_span_is(sandbox_http_header(&request, "x-two", &count), "two words"));
    assert_true(sandbox_http_span_is(sandbox_http_header(&request, "x-empty", &count), ""));
    assert_int_equal(count, 1);
    assert_null(sandbox_http_header(&request, "x-none", &count).data);
    assert_false(request.last);
}

static void reads_one_of_two(void **state)
{
    (void)state;
    static const char two[] = "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"
                              "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n";
    struct sandbox_http_request request;
    assert_int_equal(sandbox_http_read(&request, two, sizeof two - 1), HTTP_READY);
    assert_true(sandbox_http_span_is(request.path, "/1"));
    assert_null(request.query.data);
    assert_true(request.last);
    size_t first = request.size;
    assert_int_equal(sandbox_http_read(&request, two + first, sizeof two - 1 - first), HTTP_READY);
    assert_true(sandbox_http_span_is(request.path, "/2"));
    assert_false(request.last);
    assert_false(request.has_length);
}

static void refuses_what_is_malformed(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nName : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: \x01\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1",
    };
    struct sandbox_http_request request;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        if (sandbox_http_read(&request, broken[i], strlen(broken[i])) != HTTP_BROKEN)
            fail_msg("taken: %s", broken[i]);
        assert_non_null(request.problem);
    }
    static char endless[HTTP_HEAD_MAX + 1];
    memset(endless, 'a', sizeof endless);
    assert_int_equal(sandbox_http_read(&request, endless, HTTP_HEAD_MAX), HTTP_MORE);
    assert_int_equal(sandbox_http_read(&request, endless, sizeof endless), HTTP_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_at_any_cut),
        cmocka_unit_test(reads_one_of_two),
        cmocka_unit_test(refuses_what_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
