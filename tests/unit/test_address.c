/* Which addresses are public. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "core/address.h"

static bool is_public(const char *text)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
    storage.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    void *into = storage.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr;
    assert_int_equal(inet_pton(storage.ss_family, text, into), 1);
    return address_is_public((struct sockaddr *)&storage);
}

static void check(const char *const *addresses, bool expected)
{
    for (; *addresses; addresses++)
        if (is_public(*addresses) != expected)
            fail_msg("%s: %s", *addresses, expected ? "is public" : "is not public");
}

static void public_addresses(void **state)
{
    (void)state;
    static const char *const addresses[] = {"1.1.1.1",
                                            "8.8.8.8",
                                            "9.255.255.255",
                                            "11.0.0.0",
                                            "100.63.255.255",
                                            "100.128.0.0",
                                            "126.255.255.255",
                                            "128.0.0.0",
                                            "169.253.255.255",
                                            "169.255.0.0",
                                            "172.15.255.255",
                                            "172.32.0.0",
                                            "192.167.255.255",
                                            "192.169.0.0",
                                            "198.17.255.255",
                                            "198.20.0.0",
                                            "223.255.255.255",
                                            "2606:4700::1",
                                            "2a00::1",
                                            "::ffff:8.8.8.8",
                                            "64:ff9b::808:808",
                                            "2002:808:808::1",
                                            NULL};
    check(addresses, true);
}

static void other_addresses(void **state)
{
    (void)state;
    static const char *const addresses[] = {"0.0.0.0",
                                            "0.255.255.255",
                                            "10.0.0.1",
                                            "10.255.255.255",
                                            "100.64.0.0",
                                            "100.127.255.255",
                                            "127.0.0.1",
                                            "127.255.255.254",
                                            "169.254.169.254",
                                            "172.16.0.1",
                                            "172.31.255.255",
                                            "192.0.0.8",
                                            "192.0.2.1",
                                            "192.168.1.1",
                                            "198.18.0.1",
                                            "198.19.255.255",
                                            "198.51.100.1",
                                            "203.0.113.1",
                                            "224.0.0.1",
                                            "239.255.255.255",
                                            "240.0.0.1",
                                            "255.255.255.255",
                                            "::",
                                            "::1",
                                            "::127.0.0.1",
                                            "::ffff:127.0.0.1",
                                            "::ffff:10.0.0.1",
                                            "::ffff:169.254.169.254",
                                            "64:ff9b::a00:1",
                                            "64:ff9b:1::1",
                                            "100::1",
                                            "2001::1",
                                            "2001:db8::1",
                                            "2001:10::1",
                                            "2002:7f00:1::1",
                                            "2002:a00:1::",
                                            "2002:c0a8:101::1",
                                            "3fff::1",
                                            "fc00::1",
                                            "fd12:3456::1",
                                            "fe80::1",
                                            "febf::1",
                                            "fec0::1",
                                            "ff02::1",
                                            "ff0e::1",
                                            "4000::1",
                                            NULL};
    check(addresses, false);
}

static void another_family_is_not_public(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_false(address_is_public((struct sockaddr *)&address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_addresses),
        cmocka_unit_test(other_addresses),
        cmocka_unit_test(another_family_is_not_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
