/* docs/configuration.md and config/privacy-call-worker.conf tell what the tables in the code say:
 * every key with its default, and every refusal with its reason. */
#include <ctype.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "core/config.h"
#include "core/config_kafka.h"
#include "core/config_keys.h"
#include "core/config_source.h"

enum { CELLS = 4 };

/* A file of the source tree, which this file's own path leads to. */
static char *read_source(const char *path)
{
    struct text name = {0}, content = {0};
    struct error why;
    const char *tail = strstr(__FILE__, "tests/unit/");
    assert_non_null(tail);
    text_append(&name, __FILE__, (size_t)(tail - __FILE__));
    text_add(&name, path);
    if (config_read_file(name.data, 1 << 20, &content, &why) < 0)
        fail_msg("%s: %s", name.data, why.text);
    text_fini(&name);
    return text_take(&content);
}

/* The part of the page under a heading, up to the next heading. */
static char *section(const char *page, const char *heading)
{
    const char *start = strstr(page, heading);
    if (!start)
        fail_msg("no heading %s", heading);
    start += strlen(heading);
    const char *end = strstr(start, "\n#");
    return memory_copy(start, end ? (size_t)(end - start) : strlen(start));
}

/* Splits a row of a table in place; cells have neither the white space around them nor the rest
 * of the row. Returns false when the line is no row of a key. */
static bool split_row(char *line, char *cells[CELLS])
{
    if (strncmp(line, "| `", 3) != 0)
        return false;
    char *at = line + 1;
    for (size_t i = 0; i < CELLS; i++) {
        char *end = at ? strstr(at, " |") : NULL;
        cells[i] = "";
        if (!end)
            continue;
        *end = '\0';
        cells[i] = at + strspn(at, " ");
        at = end + 2;
    }
    return true;
}

/* The row of a key in a section, as a copy to be released (its cells point into it). */
static char *find_row(const char *text, const char *key, char *cells[CELLS])
{
    struct text start = {0};
    text_printf(&start, "\n| `%s` |", key);
    const char *row = strstr(text, start.data);
    if (!row)
        fail_msg("%s is not described", key);
    if (strstr(row + 1, start.data))
        fail_msg("%s is described twice", key);
    text_fini(&start);
    char *copy = memory_copy(row + 1, strcspn(row + 1, "\n"));
    assert_true(split_row(copy, cells));
    return copy;
}

static void assert_cell(const char *key, const char *cell, const char *expected)
{
    if (strcmp(cell, expected) != 0)
        fail_msg("%s: the page says \"%s\", the code \"%s\"", key, cell, expected);
}

/* Every row of the section must be a key for which known() is true. */
static void assert_rows_known(const char *text, bool (*known)(const char *key))
{
    char *copy = memory_string(text), *rest = copy, *line, *cells[CELLS];
    while ((line = strsep(&rest, "\n"))) {
        if (!split_row(line, cells))
            continue;
        cells[0][strlen(cells[0]) - 1] = '\0';
        if (!known(cells[0] + 1))
            fail_msg("%s is described, but not in the code", cells[0] + 1);
    }
    free(copy);
}

static void described_default(char out[128], const char *fallback, bool plain)
{
    if (!fallback)
        strcpy(out, "required");
    else if (!*fallback)
        strcpy(out, "empty");
    else
        snprintf(out, 128, plain ? "%s" : "`%s`", fallback);
}

static bool is_own_key(const char *key)
{
    return config_key_find(key);
}

static void own_keys(void **state)
{
    (void)state;
    char *page = read_source("docs/configuration.md"), *text = section(page, "\n## Keys\n");
    char *cells[CELLS], expected[128];
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char *row = find_row(text, key->name, cells);
        described_default(expected, key->fallback, !strcmp(key->name, "instance.id"));
        assert_cell(key->name, cells[1], expected);
        snprintf(expected, sizeof expected, "%" PRId64 " to %" PRId64, key->min, key->max);
        if (key->max && strncmp(cells[2], "1 to 64 of", 10) != 0)
            assert_cell(key->name, cells[2], expected);
        free(row);
    }
    assert_rows_known(text, is_own_key);
    free(text);
    free(page);
}

static bool is_kafka_default(const char *key)
{
    struct text name = {0};
    bool found = false;
    for (size_t i = 0; i < kafka_default_count && !found; i++) {
        text_clear(&name);
        config_kafka_write_key(&name, kafka_defaults[i].sides, kafka_defaults[i].name);
        found = !strcmp(name.data, key);
    }
    text_fini(&name);
    return found;
}

static void kafka_keys(void **state)
{
    (void)state;
    char *page = read_source("docs/configuration.md");
    char *text = section(page, "\n### What the worker sets where you do not\n");
    char *cells[CELLS], expected[128];
    for (size_t i = 0; i < kafka_default_count; i++) {
        struct text key = {0};
        config_kafka_write_key(&key, kafka_defaults[i].sides, kafka_defaults[i].name);
        char *row = find_row(text, key.data, cells);
        described_default(expected, kafka_defaults[i].value, false);
        assert_cell(key.data, cells[1], expected);
        free(row);
        text_fini(&key);
    }
    assert_rows_known(text, is_kafka_default);
    free(text);
    free(page);
}

static const struct kafka_rule *find_rule(const char *key)
{
    for (size_t i = 0; i < kafka_rule_count; i++)
        if (!strcmp(kafka_rules[i].name, key + strlen("kafka.")))
            return &kafka_rules[i];
    return NULL;
}

static bool has_reason(const char *key)
{
    const struct kafka_rule *rule = find_rule(key);
    return rule && rule->reason;
}

static void refusals(void **state)
{
    (void)state;
    char *page = read_source("docs/configuration.md");
    char *text = section(page, "\n### What is refused, and why\n");
    char *cells[CELLS], key[128], expected[128];
    for (size_t i = 0; i < kafka_rule_count; i++) {
        const struct kafka_rule *rule = &kafka_rules[i];
        if (!rule->reason)
            continue;
        snprintf(key, sizeof key, "kafka.%s", rule->name);
        char *row = find_row(text, key, cells);
        assert_cell(key, cells[2], rule->reason);
        if (rule->max)
            snprintf(expected, sizeof expected, "%" PRId64 " to %" PRId64, rule->min, rule->max);
        else if (rule->values)
            snprintf(expected, sizeof expected, "`%.*s`", (int)strcspn(rule->values, "|"),
                     rule->values);
        if (rule->max || rule->values)
            assert_cell(key, cells[1], expected);
        free(row);
    }
    assert_rows_known(text, has_reason);
    free(text);
    free(page);
}

/* Loads a configuration file's text, with what is required given by options. */
static void load_text(struct config *config, const char *text)
{
    static const char *const options[] = {"kafka.bootstrap.servers=k:1", "platform.url=https://p",
                                          "platform.token=t", "platform.app.id=a"};
    char path[] = "/tmp/test-config-docs-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    struct config_input input = {
        .file = path, .options = options, .option_count = 4, .host_name = "worker-1"};
    struct text errors = {0};
    int rc = config_load(config, &input, &errors);
    unlink(path);
    if (rc)
        fail_msg("%s", errors.data);
    text_fini(&errors);
}

static void shipped_file_changes_nothing(void **state)
{
    (void)state;
    char *text = read_source("config/privacy-call-worker.conf");
    struct config shipped, bare;
    struct text with = {0}, without = {0};
    load_text(&shipped, text);
    load_text(&bare, "");
    config_print(&shipped, &with);
    config_print(&bare, &without);
    assert_string_equal(with.data, without.data);
    text_fini(&with);
    text_fini(&without);
    config_fini(&shipped);
    config_fini(&bare);
    free(text);
}

/* Lines like "#key = value", with the # away. */
static char *uncomment(const char *text)
{
    struct text out = {0};
    char *copy = memory_string(text), *rest = copy, *line;
    while ((line = strsep(&rest, "\n"))) {
        if (line[0] == '#' && islower((unsigned char)line[1]) && !strstr(line, "/run/secrets/"))
            text_printf(&out, "%s\n", line + 1);
    }
    free(copy);
    return text_take(&out);
}

static void shipped_file_shows_the_defaults(void **state)
{
    (void)state;
    char *shipped = read_source("config/privacy-call-worker.conf"), *text = uncomment(shipped);
    struct config config, bare;
    struct text printed = {0}, without = {0}, line = {0};
    load_text(&config, text);
    load_text(&bare, "");
    config_print(&config, &printed);
    config_print(&bare, &without);
    for (size_t i = 0; i < config_key_count; i++) {
        const char *name = config_keys[i].name;
        text_clear(&line);
        text_printf(&line, "\n#%s", name);
        if (!strstr(shipped, line.data))
            fail_msg("%s does not stand in the file", name);
        if (!config_keys[i].fallback)
            continue;
        /* The value that the file shows is the one without a file. */
        text_clear(&line);
        text_printf(&line, "%s =", name);
        const char *mine = strstr(printed.data, line.data);
        const char *theirs = strstr(without.data, line.data);
        assert_non_null(mine);
        assert_non_null(theirs);
        assert_memory_equal(mine, theirs, (size_t)(strstr(theirs, "  # ") + 4 - theirs));
    }
    assert_string_equal(config.group_ids[REQUEST_CALL], bare.group_ids[REQUEST_CALL]);
    assert_int_equal(config.session_timeout_ms, bare.session_timeout_ms);
    assert_int_equal(config.heartbeat_interval_ms, bare.heartbeat_interval_ms);
    assert_int_equal(config.transaction_timeout_ms, bare.transaction_timeout_ms);
    text_fini(&printed);
    text_fini(&without);
    text_fini(&line);
    config_fini(&config);
    config_fini(&bare);
    free(text);
    free(shipped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_keys),
        cmocka_unit_test(kafka_keys),
        cmocka_unit_test(refusals),
        cmocka_unit_test(shipped_file_changes_nothing),
        cmocka_unit_test(shipped_file_shows_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
