/* What OpenSSL's configuration forbids to the process does not take the worker's hashes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "core/digest.h"
#include "core/signature.h"

static void assert_forbidden(const char *name)
{
    EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
    EVP_MD_free(md);
    assert_null(md);
}

static void calls_are_signed(void **state)
{
    (void)state;
    struct signature signature;
    assert_forbidden("MD5");
    signature_make(&signature, "t", "a", 946684799000, 0);
    assert_string_equal(signature.sig, "2D2DA432F2FA4C828A7C840810FF561D");
}

static void files_are_digested(void **state)
{
    (void)state;
    char sum[65];
    assert_forbidden("SHA256");
    struct digest *digest = digest_new();
    for (int i = 0; i < 2; i++) {
        digest_add(digest, "abc", 3);
        digest_text(digest, sum);
        assert_string_equal(sum,
                            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    digest_free(digest);
}

/* As where only a FIPS module's algorithms may be used, of a module that lacks both. */
int main(void)
{
    static const char configuration[] = "openssl_conf = init\n"
                                        "[init]\n"
                                        "alg_section = properties\n"
                                        "[properties]\n"
                                        "default_properties = fips=yes\n";
    char name[] = "/tmp/test_openssl.XXXXXX";
    int fd = mkstemp(name);
    if (fd < 0 || write(fd, configuration, sizeof configuration - 1) < 0)
        return 1;
    close(fd);
    setenv("OPENSSL_CONF", name, 1); /* read at the first use of OpenSSL */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_signed),
        cmocka_unit_test(files_are_digested),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(name);
    return failed;
}
