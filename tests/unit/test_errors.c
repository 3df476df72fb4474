/* docs/errors.md lists every code that there is, and no other. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/event.h"
#include "core/verdict.h"

static struct text doc, sources;

static void read_file(struct text *into, const char *path)
{
    char buffer[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        text_append(into, buffer, n);
    fclose(file);
}

static void read_files(struct text *into, const char *root, const char *pattern)
{
    struct text path = {0};
    glob_t found;
    text_printf(&path, "%s/%s", root, pattern);
    if (glob(path.data, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            read_file(into, found.gl_pathv[i]);
        globfree(&found);
    }
    text_fini(&path);
}

static int read_all(void **state)
{
    (void)state;
    char root[] = __FILE__;
    char *end = strstr(root, "/tests/unit/");
    assert_non_null(end);
    *end = '\0';
    read_files(&doc, root, "docs/errors.md");
    read_files(&sources, root, "src/core/*.c");
    read_files(&sources, root, "src/core/*/*.c");
    read_files(&sources, root, "src/worker/*.c");
    return doc.length && sources.length ? 0 : -1;
}

static int forget_all(void **state)
{
    (void)state;
    text_fini(&doc);
    text_fini(&sources);
    return 0;
}

static void assert_documented(const char *code, size_t size)
{
    struct text row = {0};
    text_printf(&row, "\n| `%.*s` |", (int)size, code);
    if (!strstr(doc.data, row.data))
        fail_msg("docs/errors.md has no row for %.*s", (int)size, code);
    text_fini(&row);
}

static void tables_are_documented(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct event_code *row = event_codes; row->code; row++, count++)
        assert_documented(row->code, strlen(row->code));
    assert_true(count > 10);
    for (count = 0; verdict_code(count); count++)
        assert_documented(verdict_code(count), strlen(verdict_code(count)));
    assert_true(count > 10);
}

/* The first string behind each `what` in its statement is a code. */
static size_t check_strings_after(const char *what)
{
    size_t count = 0;
    for (const char *at = sources.data; (at = strstr(at, what)); at++) {
        const char *end = strchr(at, ';'), *open = strchr(at, '"');
        if (!end || !open || open > end)
            continue;
        const char *close = strchr(open + 1, '"');
        assert_documented(open + 1, (size_t)(close - open - 1));
        count++;
    }
    return count;
}

static void codes_in_the_source_are_documented(void **state)
{
    (void)state;
    assert_true(check_strings_after("outcome_set(") > 0);
    assert_true(check_strings_after("error_code = \"") > 0);
    check_strings_after("dead_letter_reason(record, \"");
}

static void documented_codes_exist(void **state)
{
    (void)state;
    size_t count = 0;
    for (const char *at = doc.data; (at = strstr(at, "\n| `")); at++, count++) {
        const char *code = at + 4, *end = strchr(code, '`');
        struct text quoted = {0};
        assert_non_null(end);
        text_printf(&quoted, "%.*s\"", (int)(end - code), code);
        if (!strstr(sources.data, quoted.data))
            fail_msg("no source gives %.*s", (int)(end - code), code);
        text_fini(&quoted);
    }
    assert_true(count > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_documented),
        cmocka_unit_test(codes_in_the_source_are_documented),
        cmocka_unit_test(documented_codes_exist),
    };
    return cmocka_run_group_tests(tests, read_all, forget_all);
}
