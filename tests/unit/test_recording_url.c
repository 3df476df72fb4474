/* Where the URL of a recording's file stands, and which URLs may be fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/recording_url.h"

static struct config config = {.platform_url = "https://p.example:8443/prefix",
                               .platform_version = "v1"};

static void finds(const char *expected, const char *member, const char *answer)
{
    struct text url = {0};
    json_error_t error;
    json_t *root = json_loads(answer, JSON_ALLOW_NUL, &error);
    assert_non_null(root);
    config.recording_url_member = (char *)member;
    enum recording_url found = recording_url_find(&url, root, &config);
    if (found == RECORDING_URL_FOUND ? !expected || strcmp(url.data, expected) != 0 : !!expected)
        fail_msg("%s: %s, not %s", answer, url.data ? url.data : "none",
                 expected ? expected : "none");
    json_decref(root);
    text_fini(&url);
}

static void is_unusable(const char *member, const char *answer)
{
    struct text url = {0};
    json_error_t error;
    json_t *root = json_loads(answer, JSON_ALLOW_NUL, &error);
    config.recording_url_member = (char *)member;
    assert_int_equal(recording_url_find(&url, root, &config), RECORDING_URL_UNUSABLE);
    assert_null(url.data);
    json_decref(root);
}

static void the_first_url(void **state)
{
    (void)state;
    finds("https://h/f.wav", "", "{\"Flag\":1,\"Msg\":\"https://h/f.wav\"}");
    finds("https://h/f", "", "{\"u\":\"http://other\",\"Msg\":\"https://h/f\"}");
    finds("http://h/1", "", "{\"Msg\":\"ok\",\"a\":\"http://h/1\",\"b\":\"http://h/2\"}");
    finds("http://h/1", "", "{\"Msg\":{\"x\":[{\"y\":\"http://h/1\"}]}}");
    finds("http://h/1", "",
          "{\"d\":{\"n\":1,\"list\":[null,\"x\",\"http://h/1\"]},\"b\":\"http://h/2\"}");
    finds("HTTPS://h/f", NULL, "{\"Msg\":\"HTTPS://h/f\"}");
    finds(NULL, "",
          "{\"Msg\":\"see https://h/f\",\"x\":\"/relative.wav\",\"y\":7,\"z\":\"https://\"}");
    finds(NULL, "", "{}");
    is_unusable("", "{\"Msg\":\"ftp://h/f\"}");
    is_unusable("", "{\"a\":[\"file:///etc/passwd\"]}");
    is_unusable("", "{\"Msg\":\"https://h/a\\tb\"}");
}

static void padded_and_unescaped(void **state)
{
    (void)state;
    finds("https://h/a%20b.wav", "", "{\"Msg\":\" \\r\\n\\thttps://h/a b.wav \\n\"}");
    finds("https://h/%E5%BD%95.wav?x=%7B1%7D%5C", "", "{\"Msg\":\"https://h/录.wav?x={1}\\\\\"}");
    finds("https://h/a%2520b", "", "{\"Msg\":\"https://h/a%2520b\"}");
}

static void a_named_member(void **state)
{
    (void)state;
    static const char answer[] = "{\"help\":\"https://h/help\",\"data\":{\"url\":\"https://h/f\"},"
                                 "\"files\":[\"https://h/0\",{\"u\":[[\"https://h/n\"]]}],\"n\":7,"
                                 "\"up\":\"/a b\",\"rel\":\"c/d\",\"net\":\"//cdn/x\",\"nul\":null,"
                                 "\"ftp\":\"ftp://h/f\",\"empty\":\" \"}";
    finds("https://h/f", "data.url", answer);
    finds("https://h/0", "files[0]", answer);
    finds("https://h/n", "files[1].u[0][0]", answer);
    finds("https://p.example:8443/a%20b", "up", answer);
    finds("https://p.example:8443/prefix/v1/bind/callEvent/voice/c/d", "rel", answer);
    finds("https://cdn/x", "net", answer);
    finds(NULL, "data.missing", answer);
    finds(NULL, "files[7]", answer);
    finds(NULL, "files.x", answer);
    finds(NULL, "data[0]", answer);
    finds(NULL, "nul", answer);
    finds(NULL, "empty", answer);
    is_unusable("n", answer);
    is_unusable("data", answer);
    is_unusable("ftp", answer);
}

static void paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a.b", "a[0]", "a[0][1].b", "\xe5\x9c\xb0.x y", NULL};
    static const char *const bad[] = {"",      ".",          "a.",    ".a",  "a..b", "[0]",
                                      "a[]",   "a[x]",       "a[-1]", "a[0", "a]",   "a[0]b",
                                      "a.[0]", "a[1234567]", "a[0].", NULL};
    for (const char *const *path = good; *path; path++)
        if (!recording_url_is_path(*path))
            fail_msg("%s", *path);
    for (const char *const *path = bad; *path; path++)
        if (recording_url_is_path(*path))
            fail_msg("%s", *path);
}

static void hosts(void **state)
{
    (void)state;
    assert_true(recording_url_are_hosts("a"));
    assert_true(recording_url_are_hosts("a.example, *.b.example ,10.0.0.1"));
    static const char *const bad[] = {",",         "a,",  "a,,b", "*",    "*.",       "a*", "a b",
                                      "https://a", "a:1", ".a",   "a..b", "\xc3\xa4", NULL};
    for (const char *const *list = bad; *list; list++)
        if (recording_url_are_hosts(*list))
            fail_msg("%s", *list);
}

static void is_let(const char *allowed, const char *url)
{
    config.recording_url_hosts = (char *)allowed;
    const char *refusal = recording_url_refusal(url, &config);
    if (refusal)
        fail_msg("%s: %s", url, refusal);
}

static void is_refused(const char *allowed, const char *url)
{
    config.recording_url_hosts = (char *)allowed;
    if (!recording_url_refusal(url, &config))
        fail_msg("%s may be fetched", url);
}

static void only_listed_hosts(void **state)
{
    (void)state;
    is_let("", "https://any.example/f");
    is_let(NULL, "https://[2001:db8::1]:8443/f");
    is_let("a.example", "https://A.Example./f");
    is_let("b, a.example", "https://a.example:9/f");
    is_let("*.example.com", "https://x.y.EXAMPLE.com?q");
    is_let("a", "https://evil@a/f");
    is_refused("*.example.com", "https://example.com/f");
    is_refused("*.example.com", "https://badexample.com/f");
    is_refused("*.example.com", "https://x.example.com.evil/f");
    is_refused("a.example", "https://a.example@evil/f");
    is_refused("a.example", "https://evil/f@a.example");
    is_refused("a.example", "https://evil?@a.example");
    is_refused("a.example", "https://evil#@a.example");
    is_refused("a.example", "https://a.example\\@evil/");
    is_refused("a.example", "https://a.example%2eevil/");
    is_refused("", "https://%6cocalhost/");
    is_refused("", "https:///f");
    is_refused("", "https://:80/f");
    is_refused("", "ftp://a.example/f");
}

static void plain_http(void **state)
{
    (void)state;
    is_refused("", "http://a/f");
    config.recording_url_allow_http = true;
    is_let("", "http://a/f");
    config.recording_url_allow_http = false;
    char *secure = config.platform_url;
    config.platform_url = "http://p";
    is_let("", "http://a/f");
    config.platform_url = secure;
}

static void user_information_is_dropped(void **state)
{
    (void)state;
    struct text plain = {0};
    recording_url_add_plain(&plain, "https://user:p@ss@h:1/a@b?c=@#d");
    assert_string_equal(plain.data, "https://h:1/a@b?c=@");
    text_clear(&plain);
    recording_url_add_plain(&plain, "http://h");
    assert_string_equal(plain.data, "http://h");
    text_fini(&plain);
}

static void is_dropped(const char *from, const char *to)
{
    char text[256];
    assert_true(strlen(from) < sizeof text);
    strcpy(text, from);
    text[recording_url_drop_users(text, strlen(from))] = '\0';
    assert_string_equal(text, to);
}

static void user_information_is_dropped_in_each_form(void **state)
{
    (void)state;
    is_dropped("http:/u:p@h/a@b", "http:/h/a@b");
    is_dropped("HTTPS:u:p@h", "HTTPS:h");
    is_dropped("http:///u:p@h", "http:///h");
    is_dropped("http:\\\\u:p@h\\a@b", "http:\\\\h\\a@b");
    is_dropped("{\"u\":\"http:\\/\\/u:p@h\\/a@b\"}", "{\"u\":\"http:\\/\\/h\\/a@b\"}");
    is_dropped("http:\\u002f\\u002Fu:p\\u0040h", "http:\\u002f\\u002Fh");
    is_dropped("x?to=http%3A%2F%2Fu%3Ap%40h%2Fa%40b&m=a%40b",
               "x?to=http%3A%2F%2Fh%2Fa%40b&m=a%40b");
    is_dropped("x?to=s3%3a%2f%2fu:p@h&m=a@b", "x?to=s3%3a%2f%2fh&m=a@b");
    is_dropped("http%253A%252F%252Fu%253Ap%2540h", "http%253A%252F%252Fh");
    is_dropped("http://u:p%40h/a", "http://h/a");
    is_dropped("%2F%2Fu:p@h", "%2F%2Fh");
    is_dropped("http:&#47;&#47;u:p@h", "http:&#47;&#47;h");
    is_dropped("<a href='http&#58;&#x2F;&#x2f;u&#58;p&#64;h&#47;a@b'>",
               "<a href='http&#58;&#x2F;&#x2f;h&#47;a@b'>");
    is_dropped("http:&#047;&#x002F;u:p&#x40;h", "http:&#047;&#x002F;h");
    is_dropped("http:&#47&#47u:p&#64h", "http:&#47&#47h");
    is_dropped("s3&colon;&sol;&sol;u&colon;p&commat;h&sol;a@b", "s3&colon;&sol;&sol;h&sol;a@b");
    is_dropped("http:&amp;#47;&amp;amp;#47;u&amp;#58;p@h&quot;a@b",
               "http:&amp;#47;&amp;amp;#47;h&quot;a@b");
    is_dropped("http://u&#58;p&#64;h/a@b", "http://h/a@b");
    is_dropped("http://u&#120;&amp;v:p@h", "http://h");
    is_dropped("sftp://a:b@h http:/c@d e", "sftp://h http:/d e");
}

static void harmless_text_stays(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "@",
        "http:",
        "http://",
        "a:b@c",
        "me@example.org",
        "mailto:me@example.org",
        "news:me@example.org",
        "sip:a:b@c",
        "s3:/bucket/a@b",
        "see http: me@example.org",
        "http://h?mail=a@b",
        "http://h/a%40b",
        "http%3A%2F%2Fh%3Fmail%3Da%40b",
        "http%3A%2F%2Fh&mail=a@b",
        "a//b@c",
        "://d@e",
        "%",
        "%2",
        "%25",
        "\\",
        "\\u00",
        "file:///a@b",
        "http://h&#47;a@b",
        "http:&#47;&#47;h&quest;mail=a@b",
        "http:&#47;&#47;h&#34; a@b",
        "s3:&#470;&#47;a@b", /* another character */
        "&",
        "&#",
        "&#x",
        "&amp;",
        "a&#47;&#47;b@c",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        is_dropped(texts[i], texts[i]);
}

/* Many times the same text, of each of which so many bytes are dropped. Leaves what is left in
 * *text, and returns the CPU time. */
static double time_to_drop(const char *each, size_t many, size_t dropped, char **text)
{
    size_t size = strlen(each);
    *text = malloc(many * size);
    for (size_t i = 0; i < many; i++)
        memcpy(*text + i * size, each, size);
    clock_t began = clock();
    assert_int_equal(recording_url_drop_users(*text, many * size), many * (size - dropped));
    return (double)(clock() - began) / CLOCKS_PER_SEC;
}

/* Returns what is left. The time grows with the length, not with its square: eight times the text
 * would take 64 times the time. It may take 10 ms more, which is the noise of a short measurement.
 */
static char *dropped_in_time(const char *each, size_t many, size_t dropped)
{
    char *part, *text;
    double of_part = time_to_drop(each, many / 8, dropped, &part);
    double of_all = time_to_drop(each, many, dropped, &text);
    free(part);
    assert_true(of_all < 32 * of_part + 0.01);
    return text;
}

/* As much as an answer may hold. */
static void many_urls_take_no_long_time(void **state)
{
    (void)state;
    char *text = dropped_in_time("http://u@h ", 100000, 2);
    assert_memory_equal(text, "http://h http://h ", 18);
    free(text);
}

/* Each of them begins an authority, which none ends. */
static void many_beginnings_take_no_long_time(void **state)
{
    (void)state;
    free(dropped_in_time("http:", 13107, 0));
    free(dropped_in_time("http:&#47;", 6553, 0));
    free(dropped_in_time("http:&amp;amp;amp;amp;#00000047;", 2047, 0));
    free(dropped_in_time("x:&amp;", 9362, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_url),
        cmocka_unit_test(padded_and_unescaped),
        cmocka_unit_test(a_named_member),
        cmocka_unit_test(paths),
        cmocka_unit_test(hosts),
        cmocka_unit_test(only_listed_hosts),
        cmocka_unit_test(plain_http),
        cmocka_unit_test(user_information_is_dropped),
        cmocka_unit_test(user_information_is_dropped_in_each_form),
        cmocka_unit_test(harmless_text_stays),
        cmocka_unit_test(many_urls_take_no_long_time),
        cmocka_unit_test(many_beginnings_take_no_long_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
