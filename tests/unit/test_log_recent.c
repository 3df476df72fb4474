/* The last warnings and errors: newest first, what repeats once, and nothing beside what fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log_recent.h"
#include "base/text.h"

static struct log_recent all[LOG_RECENT];

static void add(const char *message, int64_t at)
{
    log_recent_add(LOG_WARN, NULL, message, at);
}

static void figures_do_not_make_another(void **state)
{
    (void)state;
    struct log_about about = {.topic = "t", .partition = 3, .offset = 7};
    log_recent_add(LOG_ERROR, &about, "paused for 5 s", 1000);
    log_recent_add(LOG_ERROR, &about, "paused for 10 s", 2000);
    about.partition = 4;
    log_recent_add(LOG_ERROR, &about, "paused for 15 s", 2500);
    log_recent_add(LOG_WARN, &about, "paused for 15 s", 1300);
    log_recent_add(LOG_ERROR, &about, "paused for 15 s, twice", 1200);
    assert_int_equal(log_recent_copy(all), 3);
    assert_string_equal(all[0].message, "paused for 15 s");
    assert_int_equal(all[0].times, 3);
    assert_int_equal(all[0].first_ms, 1000);
    assert_int_equal(all[0].last_ms, 2500);
    assert_int_equal(all[0].level, LOG_ERROR);
    assert_string_equal(all[0].topic, "t");
    assert_int_equal(all[0].partition, 4);
    assert_int_equal(all[0].offset, 7);
    assert_int_equal(all[1].level, LOG_WARN);
    assert_string_equal(all[2].message, "paused for 15 s, twice");
}

static void the_oldest_makes_room(void **state)
{
    (void)state;
    char message[] = "kind a";
    for (int i = 0; i < LOG_RECENT + 2; i++) {
        message[5] = (char)('a' + i);
        add(message, 10000 + i);
    }
    add("kind d", 20000);
    assert_int_equal(log_recent_copy(all), LOG_RECENT);
    assert_string_equal(all[0].message, "kind d");
    assert_int_equal(all[0].times, 2);
    assert_string_equal(all[1].message, "kind v");
    assert_string_equal(all[LOG_RECENT - 1].message, "kind c");
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char message[LOG_RECENT_MESSAGE * 2], topic[LOG_RECENT_TOPIC * 2];
    for (size_t i = 0; i + 3 < sizeof message; i += 3)
        memcpy(message + i, "\xe5\x91\xbc", 4);
    memset(topic, 'x', sizeof topic);
    topic[sizeof topic - 1] = '\0';
    struct log_about about = {.topic = topic, .offset = -1};
    log_recent_add(LOG_WARN, &about, message, 30000);
    log_recent_add(LOG_WARN, &about, message, 30001);
    log_recent_copy(all);
    assert_int_equal(all[0].times, 1); /* a topic that is cut is not known again */
    assert_true(strlen(all[0].message) > LOG_RECENT_MESSAGE - 5);
    assert_true(text_is_utf8(all[0].message, strlen(all[0].message)));
    assert_int_equal(strlen(all[0].topic), LOG_RECENT_TOPIC - 1);
    about.topic = "short";
    log_recent_add(LOG_WARN, &about, message, 30002);
    log_recent_add(LOG_WARN, &about, message, 30003);
    log_recent_copy(all);
    assert_int_equal(all[0].times, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_do_not_make_another),
        cmocka_unit_test(the_oldest_makes_room),
        cmocka_unit_test(long_texts_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
