/* The command line: what is taken, and what is refused without repeating a value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/options.h"

enum { MOST = 16 };

static int parse(struct options *options, struct error *error, const char *const *arguments)
{
    char *argv[MOST + 2] = {(char *)"privacy-call-worker"};
    int argc = 1;
    while (arguments[argc - 1]) {
        argv[argc] = (char *)arguments[argc - 1];
        argc++;
    }
    return options_parse(options, argc, argv, error);
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void nothing(void **state)
{
    (void)state;
    struct options options;
    struct error error;
    assert_int_equal(parse(&options, &error, (const char *const[]){NULL}), 0);
    assert_int_equal(options.action, ACTION_RUN);
    assert_null(options.file);
    assert_int_equal(options.setting_count, 0);
    options_fini(&options);
}

static void file_and_settings(void **state)
{
    (void)state;
    struct options options;
    struct error error;
    assert_int_equal(
        parse(&options, &error, ARGUMENTS("-o", "a=1", "-c", "file", "-ob=-2", "--check", "--")),
        0);
    assert_int_equal(options.action, ACTION_CHECK);
    assert_string_equal(options.file, "file");
    assert_int_equal(options.setting_count, 2);
    assert_string_equal(options.settings[0], "a=1");
    assert_string_equal(options.settings[1], "b=-2");
    options_fini(&options);

    /* The word after -o is its value, whatever it looks like. */
    assert_int_equal(parse(&options, &error, ARGUMENTS("-cfile", "-o", "--check")), 0);
    assert_int_equal(options.action, ACTION_RUN);
    assert_string_equal(options.file, "file");
    assert_string_equal(options.settings[0], "--check");
    options_fini(&options);
}

static void actions(void **state)
{
    (void)state;
    static const struct {
        const char *argument;
        enum options_action action;
    } rows[] = {{"--check", ACTION_CHECK},
                {"--print-config", ACTION_PRINT_CONFIG},
                {"--version", ACTION_VERSION},
                {"--help", ACTION_HELP},
                {"-h", ACTION_HELP}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct options options;
        struct error error;
        assert_int_equal(parse(&options, &error, ARGUMENTS(rows[i].argument)), 0);
        assert_int_equal(options.action, rows[i].action);
        options_fini(&options);
    }
}

static void commands(void **state)
{
    (void)state;
    struct options options;
    struct error error;
    assert_int_equal(parse(&options, &error, ARGUMENTS("ledger", "-c", "file", "--json")), 0);
    assert_int_equal(options.action, ACTION_LEDGER);
    assert_string_equal(options.file, "file");
    assert_true(options.json);
    options_fini(&options);
    assert_int_equal(parse(&options, &error,
                           ARGUMENTS("ledger", "repair", "--topic", "t", "--partition=3",
                                     "--offset", "7", "--yes")),
                     0);
    assert_int_equal(options.action, ACTION_LEDGER_REPAIR);
    assert_string_equal(options.topic, "t");
    assert_string_equal(options.partition, "3");
    assert_string_equal(options.offset, "7");
    assert_true(options.yes);
    options_fini(&options);
    assert_int_equal(parse(&options, &error,
                           ARGUMENTS("redrive", "--reason", "invalid", "--code=c", "--since", "s",
                                     "--order", "o", "--limit", "5", "--dry-run")),
                     0);
    assert_int_equal(options.action, ACTION_REDRIVE);
    assert_string_equal(options.code, "c");
    assert_string_equal(options.limit, "5");
    assert_true(options.dry_run);
    options_fini(&options);
}

static void refused(const char *const *arguments, const char *part)
{
    struct options options;
    struct error error;
    assert_int_equal(parse(&options, &error, arguments), -1);
    if (!strstr(error.text, part))
        fail_msg("expected \"%s\" in: %s", part, error.text);
    assert_null(strstr(error.text, "s3cret"));
    options_fini(&options);
}

static void refusals(void **state)
{
    (void)state;
    refused(ARGUMENTS("ledger", "--yes"), "--yes: unknown option");
    refused(ARGUMENTS("ledger", "--check"), "--check: not an option of this command");
    refused(ARGUMENTS("ledger", "--json=1"), "--json: expected no value");
    refused(ARGUMENTS("ledger", "repair"), "expected --topic and --partition");
    refused(ARGUMENTS("ledger", "repair", "--topic", "t"), "expected --topic and --partition");
    refused(ARGUMENTS("ledger", "repair", "--topic"), "--topic: expected a value");
    refused(ARGUMENTS("ledger", "repair", "--topic="), "--topic: expected a value");
    refused(ARGUMENTS("ledger", "repair", "--topic", "t", "--topic=u"), "--topic: given twice");
    refused(ARGUMENTS("-c", "file", "ledger"), "ledger: expected no argument");
    refused(ARGUMENTS("--json"), "--json: unknown option");
    refused(ARGUMENTS("start"), "start: expected no argument");
    refused(ARGUMENTS("--", "start"), "start: expected no argument");
    refused(ARGUMENTS("-"), "-: expected no argument");
    refused(ARGUMENTS(""), "expected no argument");
    refused(ARGUMENTS("--checks"), "--checks: unknown option");
    refused(ARGUMENTS("-x"), "-x: unknown option");
    refused(ARGUMENTS("-c"), "-c: expected a value");
    refused(ARGUMENTS("-o"), "-o: expected a value");
    refused(ARGUMENTS("-o", "platform.token=s3cret", "-o"), "-o: expected a value");
    refused(ARGUMENTS("-c", ""), "-c: expected the path");
    refused(ARGUMENTS("-c", "a", "-c", "b"), "-c: given twice");
    refused(ARGUMENTS("--check", "--print-config"), "--print-config: expected only one of");
    refused(ARGUMENTS("-o", "platform.token=s3cret", "-v"), "-v: unknown option");
}

static void help(void **state)
{
    (void)state;
    struct text text = {0};
    options_help(&text);
    static const char *const parts[] = {"-c FILE",   "-o KEY=VALUE", "--check",    "--print-config",
                                        "--version", "--help",       "Exit status"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(text.data, parts[i]));
    text_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),  cmocka_unit_test(file_and_settings), cmocka_unit_test(actions),
        cmocka_unit_test(commands), cmocka_unit_test(refusals),          cmocka_unit_test(help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
