/* The engine's state machines: docs/architecture.md lists the legal transitions and no others, and
 * an illegal one ends the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/engine/internal.h"
#include "last_words.h"
#include "page.h"

static const char HEADING[] = "### Legal transitions";

/* That section of the page. */
static void read_section(struct text *section)
{
    char line[1024];
    FILE *page = open_page("docs/architecture.md");
    while (fgets(line, sizeof line, page) && strncmp(line, HEADING, strlen(HEADING)) != 0)
        continue;
    while (fgets(line, sizeof line, page) && line[0] != '#')
        text_add(section, line);
    assert_int_equal(fclose(page), 0);
    assert_true(section->length > 0);
}

/* A row of the page without what it explains. */
static void write_row(struct text *row, enum machine machine, unsigned state)
{
    bool first = true;
    text_printf(row, "\n| %s | %s | ", machine_name(machine), state_name(machine, state));
    for (unsigned next = 0; state_name(machine, next); next++) {
        if (!state_may_follow(machine, state, next))
            continue;
        text_printf(row, "%s%s", first ? "" : ", ", state_name(machine, next));
        first = false;
    }
    text_add(row, first ? "- |" : " |");
}

static void the_page_has_each_transition(void **state)
{
    (void)state;
    struct text section = {0};
    size_t rows = 0, listed = 0;
    read_section(&section);
    for (const char *at = section.data; (at = strstr(at, "\n| ")); at++)
        listed++;
    for (unsigned machine = 0; machine < MACHINES; machine++)
        for (unsigned of = 0; state_name(machine, of); of++, rows++) {
            struct text row = {0};
            write_row(&row, machine, of);
            if (!strstr(section.data, row.data))
                fail_msg("docs/architecture.md lacks this row:%s", row.data);
            text_fini(&row);
        }
    assert_int_equal(listed, rows + 2); /* the head of the table, and the line below it */
    text_fini(&section);
}

static struct engine *an_engine(void)
{
    return engine_new(&(struct engine_options){.owner = "me", .slots = 4});
}

/* A partition that was handed over would be read again without a claim. */
static void misuse_a_partition(void)
{
    struct partition *partition = partition_new(an_engine(), 3);
    partition_enter(partition, PARTITION_GONE);
    partition_enter(partition, PARTITION_ACTIVE);
}

/* What is being published would be called again. */
static void misuse_a_request(void)
{
    struct record_position position = {REQUEST_CALL, 3, 17};
    struct engine *engine = an_engine();
    struct request *request = request_new(position, &(struct raw_record){0});
    request_move(engine, request, REQUEST_ENDED);
    request_move(engine, request, REQUEST_ENDING);
    request_move(engine, request, REQUEST_WAITING);
}

/* A transaction of unknown outcome would be taken for an aborted one. */
static void misuse_a_producer(void)
{
    struct engine *engine = an_engine();
    engine_producer_ready(engine, 1);
    producer_enter(engine, PRODUCER_IN_TXN);
    producer_enter(engine, PRODUCER_TO_RENEW);
    producer_enter(engine, PRODUCER_IDLE);
}

/* A partition would be claimed before the transactions of its former owner are ended. */
static void misuse_a_takeover(void)
{
    struct engine *engine = an_engine();
    load_enter(engine, LOAD_READ);
    load_enter(engine, LOAD_CLAIM);
}

static void misuse_an_operation(void)
{
    struct engine *engine = an_engine();
    group_op_enter(engine, OP_CLAIM);
    group_op_enter(engine, OP_RELEASE);
}

static void use_no_state(void)
{
    partition_enter(partition_new(an_engine(), 3), (enum partition_phase)77);
}

static void an_illegal_transition_ends_the_process(void **state)
{
    (void)state;
    static const struct {
        void (*act)(void);
        const char *part;
    } cases[] = {
        {misuse_a_partition, "partition 3 would go from gone to active, which is never"},
        {misuse_a_request, "request at offset 17 of partition 3 would go from ending to waiting"},
        {misuse_a_producer, "producer would go from to renew to idle"},
        {misuse_a_takeover, "takeover would go from read to claim"},
        {misuse_an_operation, "group operation would go from claim to release"},
        {use_no_state, "partition 3 would go from arriving to 77, which is never"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_non_null(strstr(last_words(cases[i].act), cases[i].part));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_has_each_transition),
        cmocka_unit_test(an_illegal_transition_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
