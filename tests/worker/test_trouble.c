/* What a Kafka thread repeats: how often it is told, and when it makes the worker unready. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/trouble.h"

/* Lines written to standard error since the last call, which are swallowed. */
static FILE *caught;

static int lines(void)
{
    int count = 0;
    fseek(caught, 0, SEEK_SET);
    for (int c; (c = fgetc(caught)) != EOF;)
        count += c == '\n';
    fseek(caught, 0, SEEK_SET);
    assert_int_equal(ftruncate(fileno(caught), 0), 0);
    lseek(STDERR_FILENO, 0, SEEK_SET);
    return count;
}

static int catch_lines(void **state)
{
    (void)state;
    caught = tmpfile();
    return caught && dup2(fileno(caught), STDERR_FILENO) >= 0 ? 0 : -1;
}

static void one_line_a_minute(void **state)
{
    (void)state;
    struct troubles troubles = {0};
    int64_t now = 1000;
    for (; now < 1000 + 60000; now += 500) {
        char words[64];
        snprintf(words, sizeof words, "refused (after %d ms)", (int)(now % 97));
        trouble_failed(&troubles, TROUBLE_TRANSACTIONS, now, words, true);
    }
    assert_int_equal(lines(), 1);
    trouble_failed(&troubles, TROUBLE_TRANSACTIONS, now, "refused (after 1 ms)", true);
    assert_int_equal(lines(), 1);
    trouble_failed(&troubles, TROUBLE_TRANSACTIONS, now, "another reason", true);
    trouble_failed(&troubles, TROUBLE_TRANSACTIONS, now + 1, "refused (after 2 ms)", true);
    assert_int_equal(lines(), 1);
}

/* Each job has its own troubles; what both cannot do, in the same words, is one line. */
static void one_line_for_both_jobs(void **state)
{
    (void)state;
    struct troubles calls = {0}, recordings = {0};
    for (int64_t now = 1000; now <= 61000; now += 10000) {
        trouble_failed(&calls, TROUBLE_PRODUCER, now, "no producer", true);
        trouble_failed(&recordings, TROUBLE_PRODUCER, now + 1, "no producer", true);
        assert_int_equal(lines(), now == 1000 || now == 61000);
    }
    assert_string_equal(troubles_lasting(&calls, 61000, NULL), "no producer");
    assert_string_equal(troubles_lasting(&recordings, 61001, NULL), "no producer");
    trouble_failed(&recordings, TROUBLE_PRODUCER, 61002, "another reason", true);
    trouble_waits(&calls, TROUBLE_TRANSACTIONS, 1000, 60000, "no end of it", true);
    assert_int_equal(lines(), 1);
    assert_string_equal(troubles_lasting(&calls, 61000, NULL), "no producer");
    trouble_over(&calls, TROUBLE_PRODUCER, 61000);
    assert_string_equal(troubles_lasting(&calls, 61000, NULL), "no end of it");
}

/* Names may differ only in digits: what is said of the one is not said of the other. */
static void a_line_for_each_name(void **state)
{
    (void)state;
    struct troubles calls = {0}, recordings = {0};
    static const char *const names[] = {"calls-1",    "calls-2", "calls.1", "2026-calls",
                                        "2027-calls", "1calls",  "2calls"};
    char words[80];
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            struct troubles *troubles = i % 2 ? &recordings : &calls;
            snprintf(words, sizeof words, "topic %s/%d (after %d ms, 1%dms): refused", names[i],
                     round, round, round);
            trouble_failed(troubles, TROUBLE_READS, 1000 + round, words, true);
            assert_int_equal(lines(), !round);
        }
}

/* One broker's wrong certificate is in the log again and again; a transaction that does not end may
 * have another cause. */
static void what_waits_is_told_after_a_minute(void **state)
{
    (void)state;
    struct troubles troubles = {0};
    for (int64_t now = 32000; now < 200000; now += 500) {
        trouble_waits(&troubles, TROUBLE_TRANSACTIONS, 1000, now, "no end", true);
        assert_int_equal(lines(), now == 61000 || now == 121000 || now == 181000);
    }
}

static void unready_after_a_minute(void **state)
{
    (void)state;
    struct troubles troubles = {0};
    for (int64_t now = 1000; now < 1000 + 60000; now += 10000) {
        trouble_failed(&troubles, TROUBLE_COMMITS, now, "no right", true);
        trouble_failed(&troubles, TROUBLE_REFUSALS, now, "one partition's record", true);
        assert_null(troubles_lasting(&troubles, now, NULL));
        assert_true(troubles_any(&troubles, now));
    }
    trouble_failed(&troubles, TROUBLE_REFUSALS, 61000, "one partition's record", true);
    assert_string_equal(troubles_lasting(&troubles, 61000, NULL), "no right");
    trouble_over(&troubles, TROUBLE_COMMITS, 61000);
    assert_false(troubles_any(&troubles, 61000));
    assert_null(
        troubles_lasting(&troubles, 61000, NULL)); /* a halted partition alone is no reason */
}

static void the_oldest_is_named(void **state)
{
    (void)state;
    struct troubles troubles = {0};
    int64_t since;
    for (int64_t now = 1000; now <= 91000; now += 10000) {
        trouble_failed(&troubles, TROUBLE_COMMITS, now, "first", false);
        if (now >= 11000)
            trouble_failed(&troubles, TROUBLE_TRANSACTIONS, now, "second", false);
        if (now >= 41000)
            trouble_failed(&troubles, TROUBLE_PRODUCER, now, "third", false);
    }
    assert_string_equal(troubles_lasting(&troubles, 91000, &since), "first");
    assert_int_equal(since, 1000);
    trouble_over(&troubles, TROUBLE_COMMITS, 91000);
    assert_string_equal(troubles_lasting(&troubles, 91000, &since), "second");
    assert_int_equal(since, 11000);
    trouble_over(&troubles, TROUBLE_TRANSACTIONS, 91000);
    assert_null(troubles_lasting(&troubles, 91000, &since)); /* the third is not old enough */
}

static void what_is_not_asked_any_more_is_over(void **state)
{
    (void)state;
    struct troubles troubles = {0};
    for (int64_t now = 1000; now <= 61000; now += 10000)
        trouble_failed(&troubles, TROUBLE_READS, now, "no answer", false);
    assert_non_null(troubles_lasting(&troubles, 61000, NULL));
    assert_non_null(troubles_lasting(&troubles, 120999, NULL));
    assert_null(troubles_lasting(&troubles, 121000, NULL));
    trouble_failed(&troubles, TROUBLE_READS, 200000, "no answer", false);
    assert_null(troubles_lasting(&troubles, 200000, NULL));
}

static void what_waits_counts_from_its_beginning(void **state)
{
    (void)state;
    struct troubles troubles = {0};
    trouble_waits(&troubles, TROUBLE_TRANSACTIONS, 1000, 31000, "no end", false);
    assert_null(troubles_lasting(&troubles, 60999, NULL));
    assert_string_equal(troubles_lasting(&troubles, 61000, NULL), "no end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_line_a_minute, catch_lines),
        cmocka_unit_test_setup(one_line_for_both_jobs, catch_lines),
        cmocka_unit_test_setup(a_line_for_each_name, catch_lines),
        cmocka_unit_test_setup(what_waits_is_told_after_a_minute, catch_lines),
        cmocka_unit_test_setup(unready_after_a_minute, catch_lines),
        cmocka_unit_test_setup(the_oldest_is_named, catch_lines),
        cmocka_unit_test_setup(what_is_not_asked_any_more_is_over, catch_lines),
        cmocka_unit_test_setup(what_waits_counts_from_its_beginning, catch_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
