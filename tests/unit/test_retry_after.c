/* Retry-After in all its forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/retry_after.h"

#define NOW 784111777000LL /* Sun, 06 Nov 1994 08:49:37 GMT */

static void is(const char *value, int64_t expected)
{
    int64_t wait = retry_after_ms(value, strlen(value), NOW);
    if (wait != expected)
        fail_msg("%s: %lld, not %lld", value, (long long)wait, (long long)expected);
}

static void seconds(void **state)
{
    (void)state;
    is("0", 0);
    is("7", 7000);
    is("0120", 120000);
    assert_true(retry_after_ms("99999999999999999999", 20, NOW) >= 1000000000000LL);
}

static void dates(void **state)
{
    (void)state;
    is("Sun, 06 Nov 1994 08:49:47 GMT", 10000);
    is("Sun, 06 Nov 1994 08:49:37 GMT", 0);
    is("Sun, 06 Nov 1994 08:49:36 GMT", 0);
    is("Sun, 06 Nov 1994 08:50:37 UTC", 60000);
    is("sun, 06 nov 1994 08:50:37 gmt", 60000);
    is("Sunday, 06-Nov-94 09:49:37 GMT", 3600000);
    is("Thursday, 06-Nov-25 08:49:37 GMT", 978307200000LL);
    is("Saturday, 06-Nov-71 08:49:37 GMT", 0); /* of 1971 */
    is("Sun Nov  6 08:49:38 1994", 1000);
    is("Wed Nov 16 08:49:37 1994", 864000000);
    assert_int_equal(retry_after_ms("Sun, 06 Nov 1994 08:49:47 GMT", 29, NOW + 500), 9500);
}

static void nonsense(void **state)
{
    (void)state;
    static const char *const values[] = {"",
                                         "-1",
                                         "1.5",
                                         "5s",
                                         "soon",
                                         "7 ",
                                         " 7",
                                         "1e3",
                                         "Sun, 06 Nov 1994",
                                         "Sun, 06 Nov 1994 08:49:37",
                                         "Sun, 06 Nov 1994 08:49:37 PST",
                                         "Sun, 06 Foo 1994 08:49:37 GMT",
                                         "Sun, 32 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 Nov 1994 24:49:37 GMT",
                                         "Sun, -6 Nov 1994 08:49:37 GMT",
                                         "1994-11-06T08:49:37Z",
                                         "Sun Nov  6 08:49:37 1994 GMT",
                                         NULL};
    for (const char *const *value = values; *value; value++)
        is(*value, -1);
    assert_int_equal(retry_after_ms("7\0", 2, NOW), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds),
        cmocka_unit_test(dates),
        cmocka_unit_test(nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
