/* librdkafka's main threads get no CPU for a while, from the moment on at which a transaction is
 * committed or aborted. The functions of libc by which they wait and hand over results are led
 * through here, because this program's come first. Against librdkafka's mock cluster. */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cases.h"
#include "support.h"

#include <librdkafka/rdkafka_mock.h> /* wants rdkafka.h first */

enum { SLOW_STEPS = 40, STEP_MS = 3 };

/* The thread sleeps for late_ms when it wakes up for the first time after the number has changed;
 * then it is slow, so that others run between its steps. */
static atomic_int number, late_ms;
static _Thread_local int seen, slow;

static bool is_main_of_client(void)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return !strcmp(name, "rdk:main");
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "cnd_timedwait");
    int rc = next(condition, mutex, until);
    int now = atomic_load(&number);
    if (seen != now && is_main_of_client()) {
        seen = now;
        slow = SLOW_STEPS;
        sleep_ms(atomic_load(&late_ms));
    }
    return rc;
}

int mtx_unlock(mtx_t *mutex)
{
    static int (*next)(mtx_t *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "mtx_unlock");
    int rc = next(mutex);
    if (slow > 0) {
        slow--;
        sleep_ms(STEP_MS);
    }
    return rc;
}

/* What the next commit or abort meets. */
static atomic_int next_late_ms; /* 0: nothing */
static atomic_int limit_ms;     /* the call's limit; 0: the worker's own */
/* The client whose commit or abort has timed out, and whether a transactional call followed. */
static _Atomic(rd_kafka_t *) useless;
static atomic_bool used_again;
static atomic_int timed_out;

static void note_use(const rd_kafka_t *client)
{
    if (client == atomic_load(&useless))
        atomic_store(&used_again, true);
}

static rd_kafka_error_t *end(rd_kafka_error_t *(*call)(rd_kafka_t *, int), rd_kafka_t *client,
                             int timeout)
{
    note_use(client);
    int late = atomic_exchange(&next_late_ms, 0), limit = atomic_load(&limit_ms);
    if (late) {
        atomic_store(&late_ms, late);
        atomic_fetch_add(&number, 1);
    }
    rd_kafka_error_t *error = call(client, limit ? limit : timeout);
    if (error && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        atomic_store(&useless, client);
        atomic_fetch_add(&timed_out, 1);
    }
    return error;
}

#define WRAP_END(name)                                                                             \
    rd_kafka_error_t *__real_##name(rd_kafka_t *client, int timeout);                              \
    rd_kafka_error_t *__wrap_##name(rd_kafka_t *client, int timeout);                              \
    rd_kafka_error_t *__wrap_##name(rd_kafka_t *client, int timeout)                               \
    {                                                                                              \
        return end(__real_##name, client, timeout);                                                \
    }
#define WRAP_USE(name, parameters, arguments)                                                      \
    rd_kafka_error_t *__real_##name parameters;                                                    \
    rd_kafka_error_t *__wrap_##name parameters;                                                    \
    rd_kafka_error_t *__wrap_##name parameters                                                     \
    {                                                                                              \
        note_use(client);                                                                          \
        return __real_##name arguments;                                                            \
    }

WRAP_END(rd_kafka_commit_transaction)
WRAP_END(rd_kafka_abort_transaction)
WRAP_USE(rd_kafka_begin_transaction, (rd_kafka_t * client), (client))
WRAP_USE(rd_kafka_init_transactions, (rd_kafka_t * client, int timeout), (client, timeout))
WRAP_USE(rd_kafka_send_offsets_to_transaction,
         (rd_kafka_t * client, const rd_kafka_topic_partition_list_t *list,
          const rd_kafka_consumer_group_metadata_t *membership, int timeout),
         (client, list, membership, timeout))

void __real_rd_kafka_destroy(rd_kafka_t *client);
void __wrap_rd_kafka_destroy(rd_kafka_t *client);
void __wrap_rd_kafka_destroy(rd_kafka_t *client)
{
    if (client == atomic_load(&useless))
        atomic_store(&useless, NULL); /* the next client may have its address */
    __real_rd_kafka_destroy(client);
}

struct scene {
    rd_kafka_t *owner;
    rd_kafka_mock_cluster_t *mock;
    struct side side;
};

static int scene_up(void **state)
{
    static const char *const quick[] = {"kafka.consumer.fetch.wait.max.ms=10",
                                        "kafka.session.timeout.ms=30000",
                                        "kafka.producer.message.max.bytes=1000", NULL};
    struct scene *scene = memory_zeroed(1, sizeof *scene);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    scene->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    scene->mock = rd_kafka_mock_cluster_new(scene->owner, 1);
    rd_kafka_mock_topic_create(scene->mock, "call-requests", 2, 1);
    rd_kafka_mock_topic_create(scene->mock, "call-results", 1, 1);
    rd_kafka_mock_topic_create(scene->mock, "privacy-call-dead-letters", 1, 1);
    side_init(&scene->side, rd_kafka_mock_cluster_bootstraps(scene->mock), "late", "a", quick);
    side_join(&scene->side, 2);
    *state = scene;
    return 0;
}

static int scene_down(void **state)
{
    struct scene *scene = *state;
    side_fini(&scene->side);
    rd_kafka_mock_cluster_destroy(scene->mock);
    rd_kafka_destroy(scene->owner);
    free(scene);
    return 0;
}

/* One transaction whose end meets that. value: of its record; NULL: it has none, so that nothing
 * has to be flushed. */
static enum txn_outcome transact(struct scene *scene, const char *value, int late)
{
    struct record record = {0};
    struct stored_ledger ledger = {
        .partition = 0, .offset = 1, .metadata = "1:2:a", .metadata_size = 5};
    record_set(&record, "call-results", "k", value ? value : "");
    atomic_store(&next_late_ms, late);
    enum txn_outcome outcome = side_transact(&scene->side, &record, value != NULL, &ledger, 1);
    text_fini(&record.key);
    text_fini(&record.value);
    return outcome;
}

/* Longer and shorter than any limit of a single call, and between two of them. */
static const int lates[] = {300, 600, 900, 900, 1000, 800, 1100, 1700};
enum { LATES = sizeof lates / sizeof *lates };

static void commits_though_it_is_late(void **state)
{
    struct scene *scene = *state;
    for (size_t i = 0; i < LATES; i++) {
        assert_int_equal(transact(scene, i % 2 ? "v" : NULL, lates[i]), TXN_COMMITTED);
        assert_int_equal(transact(scene, "v", 0), TXN_COMMITTED);
    }
    assert_int_equal(atomic_load(&timed_out), 0);
}

static void aborts_though_it_is_late(void **state)
{
    struct scene *scene = *state;
    char large[3000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    for (size_t i = 0; i < LATES; i++) {
        assert_int_equal(transact(scene, large, lates[i]), TXN_REFUSED);
        assert_int_equal(transact(scene, "v", 0), TXN_COMMITTED);
    }
    assert_int_equal(atomic_load(&timed_out), 0);
}

/* Later than the limit itself, which is shortened for that. */
static void gives_a_producer_up_whose_transaction_does_not_end(void **state)
{
    struct scene *scene = *state;
    atomic_store(&limit_ms, 100);
    for (int late = 90; late <= 400; late += 10) {
        int ready = scene->side.ready, before = atomic_load(&timed_out);
        enum txn_outcome outcome = transact(scene, NULL, late);
        bool gave_up = atomic_load(&timed_out) > before;
        assert_int_equal(outcome, gave_up ? TXN_UNKNOWN : TXN_COMMITTED);
        if (!gave_up)
            continue;
        kafka_renew_producer(scene->side.kafka);
        side_until(&scene->side, scene->side.ready > ready);
        atomic_store(&limit_ms, 0);
        assert_int_equal(transact(scene, "v", 0), TXN_COMMITTED);
        atomic_store(&limit_ms, 100);
    }
    assert_true(atomic_load(&timed_out) > 10);
    assert_false(atomic_load(&used_again));
    atomic_store(&limit_ms, 0);
    assert_int_equal(transact(scene, "v", 0), TXN_COMMITTED);
}

/* Transactions may never be answered. Then new producers are not made at full speed. */
static void makes_producers_ever_later_that_do_not_help(void **state)
{
    enum { FIRST_MS = 100, TRIES = 6 };
    struct scene *scene = *state;
    atomic_store(&limit_ms, 100);
    for (int i = 0; i < TRIES; i++) {
        int ready = scene->side.ready;
        assert_int_equal(transact(scene, NULL, 400), TXN_UNKNOWN);
        int64_t began = clock_boot_ms();
        kafka_renew_producer(scene->side.kafka);
        side_until(&scene->side, scene->side.ready > ready);
        assert_true(clock_boot_ms() - began >= (i ? FIRST_MS << (i - 1) : 0));
    }
    atomic_store(&limit_ms, 0);
    assert_int_equal(transact(scene, "v", 0), TXN_COMMITTED);
}

int main(int argc, char **argv)
{
    log_setup(getenv("TEST_LOG_DEBUG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commits_though_it_is_late, scene_up, scene_down),
        cmocka_unit_test_setup_teardown(aborts_though_it_is_late, scene_up, scene_down),
        cmocka_unit_test_setup_teardown(makes_producers_ever_later_that_do_not_help, scene_up,
                                        scene_down),
        cmocka_unit_test_setup_teardown(gives_a_producer_up_whose_transaction_does_not_end,
                                        scene_up, scene_down),
    };
    return run_cases(tests, argc, argv);
}
