/* Vectors computed from the platform's rule, and the zone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/signature.h"
#include "page.h"

static int64_t wall_ms_at(const char *time)
{
    int64_t wall_ms;
    assert_int_equal(clock_from_text(time, &wall_ms), 0);
    return wall_ms;
}

static void first_vector(void **state)
{
    (void)state;
    struct signature signature;
    signature_make(&signature, "akwiKeKEKG01kfas63910IRJL6ask38fKF6",
                   "774e5e14a0874r725bfb90351f1e84f677", wall_ms_at("2024-01-12T18:00:43+08:00"),
                   480);
    assert_string_equal(signature.timestamp, "20240112180043");
    assert_string_equal(signature.sig, "86A2363A1B59FC378D19C947B7FB976B");
    assert_string_equal(
        signature.authorization,
        "YWt3aUtlS0VLRzAxa2ZhczYzOTEwSVJKTDZhc2szOGZLRjY6Nzc0ZTVlMTRhMDg3NHI3MjViZmI5M"
        "DM1MWYxZTg0ZjY3NzoyMDI0MDExMjE4MDA0Mw==");
}

static void second_vector(void **state)
{
    (void)state;
    struct signature signature;
    signature_make(&signature, "t", "a", wall_ms_at("1999-12-31T23:59:59Z"), 0);
    assert_string_equal(signature.timestamp, "19991231235959");
    assert_string_equal(signature.sig, "2D2DA432F2FA4C828A7C840810FF561D");
    assert_string_equal(signature.authorization, "dDphOjE5OTkxMjMxMjM1OTU5");
    signature_make(&signature, "t", "a", wall_ms_at("1999-12-31T23:59:59-03:30"), -210);
    assert_string_equal(signature.sig, "2D2DA432F2FA4C828A7C840810FF561D");
}

static void zone_moves_the_day(void **state)
{
    (void)state;
    struct signature signature;
    signature_make(&signature, "t", "a", wall_ms_at("2024-02-29T16:00:00.999Z"), 480);
    assert_string_equal(signature.timestamp, "20240301000000");
    signature_make(&signature, "t", "a", wall_ms_at("2024-01-01T00:00:00Z"), -1);
    assert_string_equal(signature.timestamp, "20231231235900");
}

static void longest_credentials_fit(void **state)
{
    (void)state;
    struct signature signature;
    char token[401], app_id[301];
    memset(token, 't', 400);
    memset(app_id, 'a', 300);
    token[400] = app_id[300] = '\0';
    signature_make(&signature, token, app_id, 0, 0);
    assert_int_equal(strlen(signature.authorization), (716 + 2) / 3 * 4);
    assert_null(strchr(signature.authorization, '\n'));
}

/* The cell that begins at *at, which is moved behind it; NULL: there is none on this line. */
static char *next_cell(char **at)
{
    char *cell = *at ? strchr(*at, '`') : NULL;
    char *end = cell ? strchr(cell + 1, '`') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return cell + 1;
}

/* The vectors of docs/platform-api.md. */
static void the_document_has_true_vectors(void **state)
{
    (void)state;
    char line[1024];
    int vectors = 0;
    FILE *file = open_page("docs/platform-api.md");
    while (fgets(line, sizeof line, file)) {
        char *at = line, time[32], *cells[5] = {0};
        for (size_t i = 0; i < 5; i++)
            cells[i] = next_cell(&at);
        if (!cells[4] || strlen(cells[3]) != 32)
            continue;
        const char *t = cells[2];
        snprintf(time, sizeof time, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", t, t + 4, t + 6, t + 8,
                 t + 10, t + 12);
        struct signature signature;
        signature_make(&signature, cells[0], cells[1], wall_ms_at(time), 0);
        assert_string_equal(signature.timestamp, cells[2]);
        assert_string_equal(signature.sig, cells[3]);
        assert_string_equal(signature.authorization, cells[4]);
        vectors++;
    }
    fclose(file);
    assert_int_equal(vectors, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_vector),
        cmocka_unit_test(second_vector),
        cmocka_unit_test(zone_moves_the_day),
        cmocka_unit_test(longest_credentials_fit),
        cmocka_unit_test(the_document_has_true_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
