/* What the files of recordings are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/recording_file.h"

static void is_called(const char *expected, const char *type, const char *url)
{
    struct text name = {0};
    recording_file_name(&name, "id-1", type, url);
    assert_string_equal(name.data, expected);
    text_fini(&name);
}

static void by_the_content_type(void **state)
{
    (void)state;
    is_called("id-1.wav", "audio/wav", NULL);
    is_called("id-1.wav", "Audio/X-WAV; charset=binary", "https://host/file.mp3");
    is_called("id-1.mp3", "audio/mpeg;q=1", NULL);
    is_called("id-1", "audio/wavelet", NULL);
    is_called("id-1", "", NULL);
}

static void else_by_the_url(void **state)
{
    (void)state;
    is_called("id-1.amr", "application/octet-stream", "https://host/a/b.AMR?x=y.z#w");
    is_called("id-1.wav", "text/plain", "http://host/a.php.wav");
    is_called("id-1", "", "http://host/a.tar.gz");
    is_called("id-1", "", "http://host/a.php");
    is_called("id-1", "text/html", "http://host/a.html");
    is_called("id-1", "", "http://host/a.wavx");
    is_called("id-1", "", "http://host/a.wa");
    is_called("id-1", "", "http://host.example");
    is_called("id-1", "", "http://host.example/");
    is_called("id-1", "", "http://host/file.");
    is_called("id-1", "", "http://host/a.b/file");
    is_called("id-1", "", "http://host/file.longer");
    is_called("id-1", "", "http://host/file.%2e");
    is_called("id-1", "", "nonsense.wav");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_the_content_type),
        cmocka_unit_test(else_by_the_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
