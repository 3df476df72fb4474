/* The log: whatever text reaches it, a line is one line, steers no terminal, and is valid JSON
 * where it says so. */
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/fatal.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "last_words.h"

static char line[16384];

/* What log_write writes of a message and an order id. */
static const char *logged(enum log_format format, const char *message, const char *order_id)
{
    int ends[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_setup(LOG_INFO, format, "worker-1");
    log_write(LOG_WARN, &(struct log_about){.topic = "t", .offset = 7, .order_id = order_id}, "%s",
              message);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    close(ends[1]);
    size_t size = 0;
    for (ssize_t n; (n = read(ends[0], line + size, sizeof line - 1 - size)) > 0;)
        size += (size_t)n;
    close(ends[0]);
    line[size] = '\0';
    assert_int_equal(strlen(line), size);
    assert_true(size && line[size - 1] == '\n');
    assert_true(strchr(line, '\n') == line + size - 1);
    assert_true(text_is_utf8(line, size));
    return line;
}

static const struct {
    const char *raw, *shown;
} hostile[] = {
    {"\x01", "\\u0001"},
    {"\t", "\\t"},
    {"\n", "\\n"},
    {"\r", "\\r"},
    {"\x1b[2J", "\\u001b[2J"},
    {"\x7f", "\\u007f"},
    {"\xc2\x80", "\\u0080"},
    {"\xc2\x85", "\\u0085"},
    {"\xc2\x9b", "\\u009b"},
    {"\xc2\xad", "\\u00ad"},
    {"\xd8\x9c", "\\u061c"},
    {"\xe2\x80\x8b", "\\u200b"},
    {"\xe2\x80\x8f", "\\u200f"},
    {"\xe2\x80\xa8", "\\u2028"},
    {"\xe2\x80\xa9", "\\u2029"},
    {"\xe2\x80\xaa", "\\u202a"},
    {"\xe2\x80\xae", "\\u202e"},
    {"\xe2\x81\xa6", "\\u2066"},
    {"\xe2\x81\xa9", "\\u2069"},
    {"\xef\xbb\xbf", "\\ufeff"},
    {"\xf3\xa0\x81\x81", "\\udb40\\udc41"},
    {"\xff", "\xef\xbf\xbd"},
    {"\xc2", "\xef\xbf\xbd"},
    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
};

static void nothing_steers_a_terminal(void **state)
{
    (void)state;
    for (int format = 0; format < 2; format++)
        for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
            char word[32], expected[64];
            snprintf(word, sizeof word, "a%sb", hostile[i].raw);
            snprintf(expected, sizeof expected, "a%sb", hostile[i].shown);
            const char *written = logged(format ? LOG_JSON : LOG_TEXT, word, word);
            const char *first = strstr(written, expected);
            if (!first || !strstr(first + 1, expected))
                fail_msg("expected %s twice in: %s", expected, written);
            if (strstr(written, word))
                fail_msg("%zu stands raw in: %s", i, written);
        }
}

static void ordinary_text_stays(void **state)
{
    (void)state;
    static const char words[] = "\"C:\\x\" \xe5\x91\xbc\xe5\x8f\xab \xc3\xa9 \xf0\x9f\x93\x9e";
    assert_non_null(strstr(logged(LOG_TEXT, words, "o"), words));
    json_t *json = json_loads(logged(LOG_JSON, words, words), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "message")), words);
    assert_string_equal(json_string_value(json_object_get(json, "order.id")), words);
    assert_string_equal(json_string_value(json_object_get(json, "log.level")), "warn");
    json_decref(json);
}

static void json_is_valid_whatever_comes(void **state)
{
    (void)state;
    char bytes[512];
    size_t n = 0;
    for (int c = 1; c < 256; c++)
        bytes[n++] = (char)c;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        n += (size_t)snprintf(bytes + n, sizeof bytes - n, "%s", hostile[i].raw);
    bytes[n] = '\0';
    json_t *json = json_loads(logged(LOG_JSON, bytes, bytes), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    json_decref(json);
}

/* A message that is too long ends with a whole character. */
static void long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        struct text words = {0};
        text_append(&words, "xx", shift);
        while (words.length < 6000)
            text_add(&words, "\xe5\x91\xbc");
        assert_null(strstr(logged(LOG_JSON, words.data, NULL), "\xef\xbf\xbd"));
        assert_null(strstr(logged(LOG_TEXT, words.data, NULL), "\xef\xbf\xbd"));
        text_fini(&words);
    }
}

/* Nobody reads: lines are lost, and said to be later; nobody waits for long. */
static void a_reader_that_hangs(void **state)
{
    (void)state;
    int ends[2], kept = dup(STDERR_FILENO);
    static char words[1500];
    memset(words, 'x', sizeof words - 1);
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_setup(LOG_INFO, LOG_JSON, "worker-1");
    alarm(20);
    for (int i = 0; i < 1000; i++)
        log_info("%s", words);
    alarm(0);
    static char taken[1 << 17];
    assert_true(read(ends[0], taken, sizeof taken) > 0);
    log_info("it goes on");
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    close(ends[1]);
    FILE *rest = fdopen(ends[0], "r");
    size_t lines = 0;
    bool lost = false, goes_on = false;
    while (fgets(line, sizeof line, rest)) {
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        if (!json) /* what was cut */
            continue;
        const char *message = json_string_value(json_object_get(json, "message"));
        lost |= strstr(message, "lines that were lost: ") != NULL;
        goes_on |= !strcmp(message, "it goes on");
        lines++;
        json_decref(json);
    }
    fclose(rest);
    assert_true(lost && goes_on);
    assert_true(lines >= 2);
}

static void numbers_are_masked(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"18326000123", "183****0123"},
        {"+8618326000123", "+861******0123"},
        {"12345678", "123*5678"},
        {"1234567", "*******"},
        {"+1234567", "+*******"},
        {"+12345678", "+123*5678"},
        {"110", "***"},
        {"", ""},
        {"+", "+"},
        {"12345678901234567890", "123*************7890"},
    };
    char masked[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_mask_number(masked, sizeof masked, cases[i][0]);
        assert_string_equal(masked, cases[i][1]);
    }
    text_mask_number(masked, 6, "18326000123");
    assert_string_equal(masked, "183**");
}

static void assert_wrong(void)
{
    const char *volatile none = NULL;
    assert(none && "a \\ in it");
}

static void find_no_memory(void)
{
    memory_must(NULL);
}

static void be_told_to(void)
{
    kill(getpid(), SIGABRT);
    pause();
}

static void one_fatal_line(void **state)
{
    (void)state;
    static const struct {
        void (*act)(void);
        const char *part;
    } cases[] = {{assert_wrong, "test_log.c"},
                 {find_no_memory, "out of memory"},
                 {abort, "internal contradiction"},
                 {be_told_to, "internal contradiction"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *words = last_words(cases[i].act);
        assert_true(strchr(words, '\n') == words + strlen(words) - 1);
        json_t *json = json_loads(words, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "log.level")), "fatal");
        assert_non_null(json_object_get(json, "@timestamp"));
        assert_non_null(strstr(json_string_value(json_object_get(json, "message")), cases[i].part));
        json_decref(json);
    }
}

static void a_long_list_is_cut(void **state)
{
    (void)state;
    struct text list = {0};
    for (size_t nth = 1; nth <= 5; nth++) {
        static const char *const lists[] = {"t/1", "t/1, t/2", "t/1, t/2, ..."};
        text_item(&list, nth, 2, "t/%zu", nth);
        assert_string_equal(list.data, lists[nth < 3 ? nth - 1 : 2]);
    }
    text_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_steers_a_terminal),
        cmocka_unit_test(ordinary_text_stays),
        cmocka_unit_test(json_is_valid_whatever_comes),
        cmocka_unit_test(a_reader_that_hangs),
        cmocka_unit_test(numbers_are_masked),
        cmocka_unit_test(a_long_list_is_cut),
        cmocka_unit_test(one_fatal_line),
        cmocka_unit_test(long_messages_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
