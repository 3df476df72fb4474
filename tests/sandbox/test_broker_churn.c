/* The embedded broker under everything at once: workers of one group that read, answer and commit
 * in transactions, and that stop, abort, or die in the middle of one. Whoever reads the answers
 * with read_committed finds each exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kafka_client.h"

enum { WORKERS = 3, RECORDS = 200, PATIENCE = 60000 };

static const struct broker_topic_spec topics[] = {{"in", 4}, {"out", 2}};

struct worker {
    const struct broker *broker;
    int number;
    rd_kafka_t *consumer, *producer;
};

static void worker_start(struct worker *worker)
{
    char settings[160];
    snprintf(settings, sizeof(settings), "transactional.id=worker-%d", worker->number);
    worker->producer = client_new(RD_KAFKA_PRODUCER, worker->broker, settings);
    learn_topic(worker->producer, "out");
    assert_int_equal(code_of(rd_kafka_init_transactions(worker->producer, DEADLINE_MS)), 0);
    /* Not cooperative-sticky: librdkafka 2.0.2 stops on an assertion when such a consumer is
     * destroyed without being closed. */
    worker->consumer =
        member_new(worker->broker,
                   "group.id=g session.timeout.ms=1000 partition.assignment.strategy=range", "in");
}

/* Says goodbye to the group, or does not; an open transaction is left behind. */
static void worker_stop(struct worker *worker, bool politely)
{
    if (politely)
        rd_kafka_consumer_close(worker->consumer);
    rd_kafka_destroy_flags(worker->consumer, politely ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    rd_kafka_destroy(worker->producer);
}

/* 0: in the transaction now; else the code of what failed. */
static int answer(struct worker *worker, const rd_kafka_message_t *message)
{
    char value[32];
    snprintf(value, sizeof(value), "%.*s", (int)message->len, (char *)message->payload);
    int code = code_of(rd_kafka_begin_transaction(worker->producer));
    if (code)
        return code;
    produce(worker->producer, "out", atoi(value) % 2, NULL, value);
    return code_of(send_offset(worker->producer, worker->consumer, "in", message->partition,
                               message->offset + 1, value));
}

/* One record, if there is one; now and then the worker dies in it. Whether it was committed. */
static bool worker_step(struct worker *worker, unsigned *seed)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(worker->consumer, 10);
    if (!message)
        return false;
    int fate = rand_r(seed) % 40;
    bool committed = false;
    if (!message->err) {
        int code = answer(worker, message);
        if (code == 0 && fate > 2)
            committed = code_of(rd_kafka_commit_transaction(worker->producer, DEADLINE_MS)) == 0;
        else if (fate > 1)
            code_of(rd_kafka_abort_transaction(worker->producer, DEADLINE_MS));
    }
    bool failed = !message->err && !committed;
    rd_kafka_message_destroy(message);
    if (failed) { /* its position is no longer the committed one: begin anew */
        worker_stop(worker, fate != 0);
        worker_start(worker);
    }
    return committed;
}

static void fill_input(const struct broker *broker)
{
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, broker, "");
    for (int i = 0; i < RECORDS; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        produce(producer, "in", i % 4, NULL, value);
    }
    flush(producer);
    rd_kafka_destroy(producer);
}

/* Counts how often each answer stands in one partition. */
static void count_answers(const struct broker *broker, int32_t partition, int *counts)
{
    rd_kafka_t *reader = reader_new(
        broker, "enable.partition.eof=true isolation.level=read_committed", "out", partition, 0);
    for (char *value; (value = next_value(reader)); free(value)) {
        assert_in_range(atoi(value), 0, RECORDS - 1);
        counts[atoi(value)]++;
    }
    rd_kafka_destroy(reader);
}

static void each_record_is_answered_exactly_once(void **state)
{
    (void)state;
    struct broker *broker =
        start_broker((struct broker_options){.topics = topics, .topic_count = 2});
    fill_input(broker);
    struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.broker = broker, .number = i};
        worker_start(&workers[i]);
    }
    unsigned seed = 7;
    int done = 0, counts[RECORDS] = {0};
    int64_t until = clock_boot_ms() + PATIENCE;
    while (done < RECORDS && clock_boot_ms() < until)
        for (int i = 0; i < WORKERS; i++)
            done += worker_step(&workers[i], &seed);
    for (int i = 0; i < WORKERS; i++)
        worker_stop(&workers[i], true);
    count_answers(broker, 0, counts);
    count_answers(broker, 1, counts);
    for (int i = 0; i < RECORDS; i++)
        if (counts[i] != 1)
            fail_msg("record %d was answered %d times", i, counts[i]);
    assert_int_equal(done, RECORDS);
    broker_free(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_is_answered_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
