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
    refused(ARGUMENTS("-c", "file", "ledger"), "ledger: expected an option, or as the first word");
    refused(ARGUMENTS("--json"), "--json: unknown option");
    refused(ARGUMENTS("start"), "start: expected an option, or as the first word");
    refused(ARGUMENTS("--", "start"), "start: expected an option, or as the first word");
    refused(ARGUMENTS("-"), "-: expected an option, or as the first word");
    refused(ARGUMENTS(""), "expected an option, or as the first word");
    refused(ARGUMENTS("--checks"), "--checks: unknown option");
    refused(ARGUMENTS("-x"), "-x: unknown option, expected one of -c, -o, --check, "
                             "--print-config, --version, --help");
    refused(ARGUMENTS("ledger", "--topic"), "expected one of -c, -o, --json, --help");
    refused(ARGUMENTS("-c"), "-c: expected a value");
    refused(ARGUMENTS("-o"), "-o: expected a value");
    refused(ARGUMENTS("-o", "platform.token=s3cret", "-o"), "-o: expected a value");
    refused(ARGUMENTS("-c", ""), "-c: expected the path");
    refused(ARGUMENTS("-c", "a", "-c", "b"), "-c: given twice");
    refused(ARGUMENTS("--check", "--print-config"), "--print-config: expected only one of");
    refused(ARGUMENTS("-o", "platform.token=s3cret", "-v"), "-v: unknown option");
}

/* At most 80 columns, and every option that the command takes. */
static void help_text(enum options_action about, const char *parts)
{
    struct text text = {0}, part = {0};
    options_help(&text, about);
    for (const char *line = text.data; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 80)
            fail_msg("longer than 80 columns: %s", line);
    for (const char *at = parts; *at; at += strspn(at, "|")) {
        text_clear(&part);
        text_append(&part, at, strcspn(at, "|"));
        at += strcspn(at, "|");
        if (!strstr(text.data, part.data))
            fail_msg("\"%s\" does not stand in: %s", part.data, text.data);
    }
    text_fini(&text);
    text_fini(&part);
}

static void help(void **state)
{
    (void)state;
    help_text(ACTION_RUN,
              "-c FILE|-o KEY=VALUE|--check|--print-config|--version|-h, --help|ledger "
              "|ledger repair|redrive|help [COMMAND]|Exit status|privacy-call-worker(1)");
    help_text(ACTION_LEDGER, "-c FILE|-o KEY=VALUE|--json|--help|Exit status");
    help_text(ACTION_LEDGER_REPAIR, "-c FILE|--topic T|--partition N|--offset O|--yes|Exit status");
    help_text(ACTION_REDRIVE, "-c FILE|--reason R|--code C|--since T|--order ID|--limit N|"
                              "--dry-run|Exit status");
}

static void help_about(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[5];
        enum options_action about;
    } rows[] = {
        {{"help"}, ACTION_RUN},
        {{"help", "ledger"}, ACTION_LEDGER},
        {{"help", "ledger", "repair"}, ACTION_LEDGER_REPAIR},
        {{"help", "redrive"}, ACTION_REDRIVE},
        {{"ledger", "--help"}, ACTION_LEDGER},
        {{"ledger", "repair", "-h"}, ACTION_LEDGER_REPAIR},
        {{"redrive", "--limit", "5", "--help"}, ACTION_REDRIVE},
        {{"-c", "file", "--help"}, ACTION_RUN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct options options;
        struct error error;
        assert_int_equal(parse(&options, &error, rows[i].arguments), 0);
        assert_int_equal(options.action, ACTION_HELP);
        assert_int_equal(options.about, rows[i].about);
        options_fini(&options);
    }
    refused(ARGUMENTS("help", "start"), "start: expected an option, or as the first word");
    refused(ARGUMENTS("help", "--check"), "expected only one of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),    cmocka_unit_test(file_and_settings),
        cmocka_unit_test(actions),    cmocka_unit_test(commands),
        cmocka_unit_test(refusals),   cmocka_unit_test(help),
        cmocka_unit_test(help_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
