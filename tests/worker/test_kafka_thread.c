/* What a Kafka thread tells of operations that do not end, and shows of halted and stuck
 * partitions. Kafka, the call thread and the clocks are replaced by functions of this file, so that
 * minutes pass at once. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log_recent.h"
#include "core/ledger.h"
#include "io/kafka.h"
#include "worker/kafka_thread.h"

enum { START_MS = 1000000, HANGS_MS = 90000, END_MS = 120000, STEP_MS = 1000 };
enum { READ_OFFSET = 5, READ_END = 9, PARTITIONS = 2 };

enum operation { NONE, START, READ, END_OWNER, COMMIT, TRANSACT };

struct kafka {
    const struct kafka_handler *handler;
    void *arg;
    bool starts, joins, may_answer;
    enum operation running;
    size_t partitions; /* how many are assigned; 0: 1 */
    bool grows;        /* the end of partition 0 */
    bool refuses;      /* the broker refuses each record that is written */
    int64_t records[PARTITIONS], read[PARTITIONS]; /* how many come, and how many have come */
    const char *value;                             /* of each record */
    size_t items;                                  /* of the running transaction */
    struct record_position asked[PARTITIONS];      /* of a read */
    size_t asked_count;
    int64_t done;          /* how many offsets above the base are done in the ledger */
    int64_t ends_first;    /* the end that is reported before any record; 0: none */
    int64_t age_ms;        /* of the records */
    bool answers_late;     /* a call, when its partition has been overtaken */
    bool lacks_partition;  /* the topic: one that the group assigns */
    bool has_owner;        /* the ledger's owner has not handed over */
    int64_t made_anew_ms;  /* when the topic is made anew; 0: never */
    enum offset_loss loss; /* what a read tells of its committed offset since */
    const char *foreign;   /* the metadata that a read finds; NULL: a ledger */
    enum operation hangs;  /* the operation whose first answer takes HANGS_MS */
    int64_t hangs_until;   /* 0: not yet */
    bool is_standby;       /* the group has no partition for it */
    int64_t joins_from_ms; /* when it joins the group again; 0: never */
    int64_t outside_at_ms; /* when it was first shown as outside after that; 0: never */
    bool fences;           /* the first transaction is fenced */
    int64_t started;       /* so many requests from READ_OFFSET on has the ledger as started */
    bool uncommitted;      /* a read finds no committed offset */
    int64_t dumb_from_ms;  /* from when on no operation ends; 0: never */
    int64_t stops_at_ms;   /* when it is asked to stop; 0: never */
    int64_t lost_at_ms;    /* when the partitions are lost; 0: never */
    struct metrics *metrics;
    int64_t told_from, told_until; /* since the operation began; 0: never */
    char told[400];
};

static struct kafka kafka;
static struct kafka_thread *running;
static struct request *lent[4]; /* to the call thread */
static size_t lent_count;
static int64_t now_ms;
static enum request_kind tested = REQUEST_CALL;

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int64_t __wrap_clock_boot_ms(void);
int64_t __wrap_clock_boot_us(void);
int64_t __wrap_clock_wall_ms(void);
int64_t __wrap_clock_boot_ms(void)
{
    return now_ms;
}
int64_t __wrap_clock_boot_us(void)
{
    return now_ms * 1000;
}
int64_t __wrap_clock_wall_ms(void)
{
    return now_ms;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static void begin(struct kafka *at, enum operation operation)
{
    at->running = operation;
    if (operation == at->hangs && !at->hangs_until)
        at->hangs_until = now_ms + HANGS_MS;
}

struct kafka *kafka_new(const struct config *config, enum request_kind job,
                        struct kafka_files *files, const struct kafka_handler *handler, void *arg,
                        struct error *error)
{
    (void)config, (void)job, (void)files, (void)error;
    kafka.handler = handler;
    kafka.arg = arg;
    return &kafka;
}

void kafka_stop(struct kafka *at)
{
    (void)at;
}

bool kafka_free(struct kafka *at)
{
    (void)at;
    return true;
}

void kafka_start(struct kafka *at)
{
    if (at->hangs == START)
        at->hangs_until = now_ms + HANGS_MS;
    at->starts = true;
}

void kafka_renew_producer(struct kafka *at)
{
    at->starts = true;
}

void kafka_join(struct kafka *at)
{
    at->joins = true;
}

bool kafka_has_joined(const struct kafka *at)
{
    return at->joins;
}

void kafka_transact(struct kafka *at, const struct kafka_transaction *transaction)
{
    at->items = transaction->record_count;
    begin(at, TRANSACT);
}

void kafka_read_ledgers(struct kafka *at, const struct record_position *list, size_t count,
                        bool stable)
{
    (void)stable;
    assert_in_range(count, 1, PARTITIONS);
    memcpy(at->asked, list, count * sizeof *list);
    at->asked_count = count;
    begin(at, READ);
}

void kafka_end_owner(struct kafka *at, const char *owner)
{
    assert_string_equal(owner, "b");
    begin(at, END_OWNER);
}

void kafka_commit(struct kafka *at, const struct stored_ledger *list, size_t count)
{
    (void)list, (void)count;
    begin(at, COMMIT);
}

static void answer_read(const struct kafka *at)
{
    struct text metadata = {0};
    struct ledger ledger = {0};
    ledger_reset(&ledger, READ_OFFSET);
    ledger.sequence = 3;
    if (at->done) {
        ledger_add(&ledger, LEDGER_FRESH, 1);
        ledger_add(&ledger, LEDGER_DONE, at->done);
    }
    snprintf(ledger.owner, sizeof ledger.owner, "%s", at->has_owner ? "b" : "");
    if (at->started)
        ledger_add(&ledger, LEDGER_STARTED, at->started);
    bool none = at->loss || at->uncommitted;
    if (at->foreign)
        text_add(&metadata, at->foreign);
    else
        ledger_encode(&ledger, &metadata);
    struct stored_ledger stored[PARTITIONS];
    for (size_t i = 0; i < at->asked_count; i++)
        stored[i] = (struct stored_ledger){.kind = tested,
                                           .partition = at->asked[i].partition,
                                           .offset = none ? -1 : READ_OFFSET,
                                           .metadata = metadata.data,
                                           .metadata_size = none ? 0 : metadata.length,
                                           .loss = at->loss};
    at->handler->ledgers_read(at->arg, GROUP_DONE, stored, at->asked_count, NULL);
    ledger_fini(&ledger);
    text_fini(&metadata);
}

static void answer_transaction(struct kafka *at)
{
    if (at->fences) {
        at->fences = false;
        at->handler->transacted(at->arg, TXN_FENCED, NULL,
                                "Local: This instance has been fenced by a newer instance: no "
                                "newer instance need exist: Kafka does the same after "
                                "kafka.transaction.timeout.ms");
        return;
    }
    enum record_refusal refused[8] = {RECORD_TAKEN};
    assert_in_range(at->items, 0, sizeof refused / sizeof *refused);
    for (size_t i = 0; i < at->items; i++)
        refused[i] = REFUSED_AS_IS;
    bool refuses = at->refuses && at->items;
    at->handler->transacted(at->arg, refuses ? TXN_REFUSED : TXN_COMMITTED,
                            refuses ? refused : NULL, refuses ? "no right" : NULL);
}

static void answer(struct kafka *at)
{
    enum operation ended = at->running;
    at->running = NONE;
    switch (ended) {
    case READ:
        answer_read(at);
        break;
    case END_OWNER:
        at->has_owner = false;
        at->handler->owner_ended(at->arg, GROUP_DONE, "b", NULL);
        break;
    case COMMIT:
        at->handler->committed(at->arg, GROUP_DONE, NULL);
        break;
    case TRANSACT:
        answer_transaction(at);
        break;
    case START:
    case NONE:
        break;
    }
}

/* Of the call that is under way. */
static void answer_call(void)
{
    assert_true(lent_count > 0);
    struct request *request = lent[--lent_count];
    outcome_set(&request->outcome, STATUS_REFUSED, "refused", "no", now_ms);
    request->outcome.answered = true;
    request->call.end = CALL_FINISHED;
    queue_push(kafka_thread_finished(running), &request->message.node);
}

void kafka_serve(struct kafka *at)
{
    const struct record_position positions[PARTITIONS] = {{tested, 0, 0}, {tested, 1, 0}};
    size_t count = at->partitions ? at->partitions : 1;
    if (at->starts && (at->hangs != START || now_ms >= at->hangs_until)) {
        at->starts = false;
        at->handler->producer_ready(at->arg);
    } else if (at->joins) {
        at->joins = false;
        at->handler->assigned(at->arg, 1, positions, at->is_standby ? 0 : count);
    } else if (at->made_anew_ms && now_ms >= at->made_anew_ms && at->running == NONE) {
        at->made_anew_ms = 0;
        at->loss = OFFSET_LOSS_UNCLEAR;
        at->handler->revoked(at->arg, 2, PARTITIONS_OVERTAKEN, positions, count);
        at->handler->assigned(at->arg, 3, positions, count);
        if (at->answers_late)
            answer_call();
    } else if (at->lost_at_ms && now_ms >= at->lost_at_ms) {
        at->lost_at_ms = 0;
        at->handler->revoked(at->arg, 2, PARTITIONS_LOST, positions, count);
    } else if (at->dumb_from_ms && now_ms >= at->dumb_from_ms) {
        return;
    } else if (at->running != at->hangs || now_ms >= at->hangs_until) {
        answer(at);
    }
}

void kafka_wait(struct kafka *at, int timeout_ms)
{
    char words[400];
    (void)timeout_ms;
    if (metrics_copy_failing(at->metrics, words, sizeof words)) {
        at->told_until = now_ms - (at->hangs_until - HANGS_MS);
        if (!at->told_from) {
            at->told_from = at->told_until;
            memcpy(at->told, words, sizeof words);
        }
    }
    if (at->joins_from_ms && now_ms >= at->joins_from_ms && !at->outside_at_ms &&
        atomic_load(&at->metrics->since[REQUEST_CALL][CONDITION_OUTSIDE]))
        at->outside_at_ms = now_ms;
    now_ms += STEP_MS;
}

bool kafka_take_all(struct kafka *at, enum request_kind kind, const struct kafka_record_sink *sink,
                    void *arg)
{
    char key[16];
    if (at->ends_first && sink->wants(arg, 0)) {
        sink->end(arg, kind, 0, at->ends_first);
        at->ends_first = 0;
        return false;
    }
    for (int32_t i = 0; i < PARTITIONS; i++)
        while (at->read[i] < at->records[i] && sink->wants(arg, i)) {
            int64_t offset = READ_OFFSET + at->read[i]++;
            snprintf(key, sizeof key, "k%d", (int)offset);
            struct raw_record raw = {.key = key,
                                     .key_size = strlen(key),
                                     .value = at->value,
                                     .value_size = strlen(at->value),
                                     .timestamp_ms = now_ms - at->age_ms};
            sink->record(arg, (struct record_position){kind, i, offset}, &raw);
        }
    return false;
}

enum kafka_standing kafka_standing(const struct kafka *at)
{
    return at->joins_from_ms && now_ms >= at->joins_from_ms ? KAFKA_JOINING : KAFKA_SETTLED;
}

unsigned kafka_throttles(const struct kafka *at)
{
    (void)at;
    return 0;
}

const char *kafka_join_refusal(const struct kafka *at)
{
    (void)at;
    return NULL;
}

bool kafka_asks_again(const struct kafka *at)
{
    (void)at;
    return false;
}

const char *kafka_lacks_topic(const struct kafka *at)
{
    (void)at;
    return NULL;
}

const char *kafka_lacks_requests(const struct kafka *at)
{
    (void)at;
    return NULL;
}

bool kafka_lacks_right(const struct kafka *at)
{
    (void)at;
    return false;
}

int64_t kafka_silent_since(struct kafka *at, char *reason, size_t size)
{
    (void)at, (void)reason, (void)size;
    return 0;
}

const char *kafka_trouble(const struct kafka *at, enum request_kind kind, int32_t partition)
{
    (void)at, (void)kind, (void)partition;
    return NULL;
}

int32_t kafka_absent(const struct kafka *at, size_t i, int64_t *since_ms)
{
    *since_ms = START_MS;
    return at->lacks_partition && !i ? PARTITIONS : -1;
}

int64_t kafka_end(const struct kafka *at, enum request_kind kind, int32_t partition)
{
    (void)kind;
    return at->grows && !partition ? READ_END + (now_ms - START_MS) / STEP_MS : READ_END;
}

int64_t kafka_told_end(const struct kafka *at, enum request_kind kind, int32_t partition)
{
    return kafka_end(at, kind, partition);
}

bool kafka_is_refused(void)
{
    return false;
}

bool kafka_log_tells_why(void)
{
    return false;
}

void kafka_wake(struct kafka *at)
{
    (void)at;
}

void kafka_assign(struct kafka *at, uint64_t rebalance, const struct record_position *list,
                  size_t count)
{
    (void)at, (void)rebalance, (void)list, (void)count;
}

void kafka_unassign(struct kafka *at, uint64_t rebalance)
{
    (void)at, (void)rebalance;
}

void kafka_restart(struct kafka *at, enum request_kind kind, int32_t partition)
{
    (void)at, (void)kind, (void)partition;
}

void kafka_leave(struct kafka *at)
{
    (void)at;
}

bool kafka_left(const struct kafka *at)
{
    (void)at;
    return true;
}

static struct call_counters counters;

const struct call_counters *call_thread_counters(const struct call_thread *thread)
{
    (void)thread;
    return &counters;
}

void call_thread_start(struct call_thread *thread, struct request *request)
{
    (void)thread;
    assert_true(lent_count < sizeof lent / sizeof *lent);
    lent[lent_count++] = request;
}

void call_thread_recall(struct call_thread *thread, enum request_kind kind, int32_t partition)
{
    (void)thread, (void)kind, (void)partition;
}

bool stop_requested(const struct stop *stop)
{
    (void)stop;
    return kafka.stops_at_ms && now_ms >= kafka.stops_at_ms;
}

bool stop_is_at_once(const struct stop *stop)
{
    (void)stop;
    return now_ms >= START_MS + END_MS;
}

static const char *const options[] = {"platform.url=https://127.0.0.1:1",
                                      "platform.token=t",
                                      "platform.app.id=a",
                                      "topic.recording.requests=",
                                      "kafka.bootstrap.servers=127.0.0.1:1",
                                      "kafka.group.id=g",
                                      "instance.id=a"};
static struct config config;

static int load(void **state)
{
    (void)state;
    char *environment[] = {NULL};
    struct config_input input = {.options = options,
                                 .option_count = sizeof options / sizeof *options,
                                 .environment = environment};
    struct text errors = {0};
    int failed = config_load(&config, &input, &errors);
    text_fini(&errors);
    return failed;
}

static int unload(void **state)
{
    (void)state;
    config_fini(&config);
    return 0;
}

/* A thread that runs for END_MS with such a Kafka. Returns its exit status. */
static int run_to_the_end(struct kafka with)
{
    struct error error;
    now_ms = START_MS;
    kafka = with;
    kafka.metrics = metrics_new(&config);
    struct kafka_thread *thread = kafka_thread_new(&config, tested, NULL, kafka.metrics, &error);
    assert_non_null(thread);
    running = thread;
    lent_count = 0;
    int status = kafka_thread_run(thread, NULL, NULL);
    while (lent_count) /* as the end of the call thread returns them */
        queue_push(kafka_thread_finished(thread), &lent[--lent_count]->message.node);
    kafka_thread_free(thread);
    return status;
}

static void run(struct kafka with)
{
    assert_int_equal(run_to_the_end(with), 0);
}

static void an_operation_that_does_not_end_is_told(void **state)
{
    (void)state;
    static const struct {
        enum operation hangs;
        const char *words;
    } cases[] = {{START, "producer cannot be made ready"},
                 {READ, "ledgers does not end"},
                 {END_OWNER, "takeover does not end"},
                 {COMMIT, "partitions does not end"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run((struct kafka){.hangs = cases[i].hangs, .has_owner = true});
        assert_in_range(kafka.told_from, 60000, 60000 + 2 * STEP_MS);
        assert_in_range(kafka.told_until, HANGS_MS - STEP_MS, HANGS_MS + STEP_MS);
        assert_non_null(strstr(kafka.told, cases[i].words));
        metrics_free(kafka.metrics);
    }
}

static struct partition_row table[METRICS_TABLE];

/* Its lag counts from what is committed for whoever has it next: not from where the log was read
 * that is gone, and not from 0. */
static void the_lag_of_a_halted_partition_is_that_of_its_committed_offset(void **state)
{
    (void)state;
    static const struct {
        struct kafka with;
        const char *state;
        int64_t base;
    } cases[] = {{{0}, "active", READ_OFFSET},
                 {{.made_anew_ms = START_MS + END_MS / 2}, "halted", 0},
                 {{.foreign = "another program's"}, "halted", READ_OFFSET}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(cases[i].with);
        assert_int_equal(metrics_copy_table(kafka.metrics, table), 1);
        const struct partition_row row = table[0];
        assert_string_equal(row.state, cases[i].state);
        assert_int_equal(row.base, cases[i].base);
        assert_true(row.next >= row.base);
        assert_int_equal(metrics_lag(&row), READ_END - cases[i].base);
        assert_int_equal(metrics_sum(kafka.metrics->lag), READ_END - cases[i].base);
        metrics_free(kafka.metrics);
    }
}

/* A member that joins its group again works on the partitions that it has. Without one it does
 * nothing, and may get one only when the join ends: it stands by for nobody. */
static void a_standby_that_joins_again_is_shown_outside(void **state)
{
    enum { JOINS_MS = START_MS + END_MS / 2 };
    (void)state;
    run((struct kafka){.joins_from_ms = JOINS_MS, .is_standby = true});
    assert_in_range(kafka.outside_at_ms, JOINS_MS, JOINS_MS + 2 * STEP_MS);
    metrics_free(kafka.metrics);
    run((struct kafka){.joins_from_ms = JOINS_MS});
    assert_true(kafka.outside_at_ms == 0 || kafka.outside_at_ms > JOINS_MS + 60000);
    metrics_free(kafka.metrics);
}

/* What keeps one partition, or all slots, is no reason why another one is not read: only what the
 * partition itself waits for excuses it. */
static void a_stuck_partition_is_told_whatever_others_wait_for(void **state)
{
    (void)state;
    static const char call[] = "{\"Caller\":\"18000000001\",\"Callee\":\"13900000000\"}";
    static const struct {
        struct kafka with;
        int64_t window;
        uint64_t stuck, halted;
    } cases[] = {{{.records = {0, 0}}, 10, 1, 0},
                 /* the result of the other one's request is refused */
                 {{.records = {0, 1}, .value = "no call", .refuses = true}, 10, 1, 1},
                 /* a call takes the only slot */
                 {{.records = {0, 1}, .value = call}, 10, 1, 0},
                 /* a call of its own is running, but nothing keeps it from being read */
                 {{.records = {1, 0}, .value = call}, 10, 1, 0},
                 /* its window is full: with a call that runs, with requests that wait for the slot,
                  * with a result that is refused */
                 {{.records = {1, 0}, .value = call}, 1, 0, 0},
                 {{.records = {2, 1}, .value = call}, 1, 0, 0},
                 {{.records = {1, 0}, .value = "no call", .refuses = true}, 1, 0, 1}};
    int64_t window = config.partition_window, slots = config.platform_max_in_flight;
    config.platform_max_in_flight = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kafka with = cases[i].with;
        with.grows = true;
        with.partitions = PARTITIONS;
        config.partition_window = cases[i].window;
        run(with);
        if (metrics_sum(kafka.metrics->halted) != cases[i].halted ||
            metrics_sum(kafka.metrics->stuck) != cases[i].stuck)
            fail_msg("case %zu: %" PRIu64 " halted, %" PRIu64 " stuck", i,
                     metrics_sum(kafka.metrics->halted), metrics_sum(kafka.metrics->stuck));
        metrics_free(kafka.metrics);
    }
    config.partition_window = window;
    config.platform_max_in_flight = slots;
}

/* The ledger tells of requests that the log does not have any more. What comes in their places is
 * another log's, if it is newer than that; else nobody can know, but it is told. */
static void what_comes_in_the_places_of_what_is_done_is_told(void **state)
{
    (void)state;
    static const struct {
        struct kafka with;
        const char *state;
        struct passed passed;
    } cases[] = {{{.ends_first = READ_OFFSET}, "halted", {0, 0, 0}},
                 {{.ends_first = READ_OFFSET, .age_ms = END_MS},
                  "active",
                  {2, READ_OFFSET + 1, READ_OFFSET + 2}},
                 {{.ends_first = 0}, "active", {0, 0, 0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kafka with = cases[i].with;
        with.done = 2;
        with.records[0] = 4;
        with.value = "no call";
        run(with);
        assert_int_equal(metrics_copy_table(kafka.metrics, table), 1);
        assert_string_equal(table[0].state, cases[i].state);
        assert_memory_equal(&table[0].passed, &cases[i].passed, sizeof cases[i].passed);
        assert_int_equal(metrics_sum(kafka.metrics->passed), cases[i].passed.count);
        assert_int_equal(metrics_sum(kafka.metrics->requests), i ? 4 : 0);
        metrics_free(kafka.metrics);
    }
}

static struct log_recent lines[LOG_RECENT];

/* The warning or error with that text since the thread began; NULL: none. There may be one. */
static const struct log_recent *find_line(const char *text)
{
    const struct log_recent *found = NULL;
    size_t count = log_recent_copy(lines);
    for (size_t i = 0; i < count; i++) {
        if (!strstr(lines[i].message, text))
            continue;
        assert_null(found);
        found = &lines[i];
    }
    return found;
}

static const char recording[] = "{\"CallIdentifier\":\"x\"}";
static const char call_value[] = "{\"Caller\":\"18000000001\",\"Callee\":\"13900000001\"}";

static void partitions_without_an_offset_are_one_line(void **state)
{
    (void)state;
    static const struct {
        enum request_kind job;
        const char *value, *topic, *then;
    } cases[] = {{REQUEST_CALL, call_value, "call-requests",
                  "those younger than call.max.age.ms are called"},
                 {REQUEST_RECORDING, recording, "recording-requests",
                  "all of them are performed, whatever their age"}};
    char *topic = config.request_topics[REQUEST_RECORDING];
    config.request_topics[REQUEST_RECORDING] = "recording-requests";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[80];
        tested = cases[i].job;
        run_to_the_end((struct kafka){
            .partitions = 2, .uncommitted = true, .records = {1, 1}, .value = cases[i].value});
        snprintf(words, sizeof words, "found for 2 partitions of %s (0, 1)", cases[i].topic);
        const struct log_recent *line = find_line(words);
        assert_non_null(line);
        assert_int_equal(line->times, 1);
        assert_non_null(strstr(line->message, cases[i].then));
        metrics_free(kafka.metrics);
    }
    config.request_topics[REQUEST_RECORDING] = topic;
    tested = REQUEST_CALL;
}

static void a_takeover_tells_what_becomes_unknown(void **state)
{
    (void)state;
    run((struct kafka){.partitions = 2, .has_owner = true, .started = 3});
    const struct log_recent *line = find_line("taken over with 3 started requests of");
    assert_non_null(line);
    assert_int_equal(line->times, 2); /* one for each partition */
    assert_non_null(strstr(line->message, "(offsets 5 to 7): they become unknown"));
    assert_int_equal(line->offset, READ_OFFSET);
    metrics_free(kafka.metrics);
}

static void lost_calls_of_a_topic_that_may_be_deleted(void **state)
{
    (void)state;
    run((struct kafka){.records = {1, 0}, .value = call_value, .lost_at_ms = START_MS + 20000});
    const struct log_recent *line = find_line("1 started request(s) go on if their partitions");
    assert_non_null(line);
    assert_non_null(strstr(line->message, "(if the topic was deleted, they have no result)"));
    metrics_free(kafka.metrics);
}

static void what_fenced_a_producer_is_told_to_the_end(void **state)
{
    (void)state;
    run((struct kafka){.fences = true, .records = {1, 0}, .value = call_value});
    const struct log_recent *line = find_line("was fenced: a takeover ended");
    assert_non_null(line);
    assert_non_null(
        strstr(line->message, "after kafka.transaction.timeout.ms); it is tried again"));
    metrics_free(kafka.metrics);
}

static void a_stop_that_the_group_holds_up_does_not_blame_kafka(void **state)
{
    (void)state;
    run((struct kafka){.hangs = COMMIT, .joins_from_ms = START_MS, .stops_at_ms = START_MS + 5000});
    const struct log_recent *line = find_line("the stop took longer");
    assert_non_null(line);
    assert_non_null(strstr(line->message, "another member (a frozen one, too)"));
    assert_non_null(strstr(line->message, "; no result is left unpublished"));
    metrics_free(kafka.metrics);
}

/* They are reads: the next owner repeats them. */
static void no_recording_is_told_to_become_unknown(void **state)
{
    (void)state;
    const struct kafka with = {.records = {1, 0}, .value = recording};
    struct kafka stops = with, loses = with;
    stops.dumb_from_ms = stops.stops_at_ms = loses.lost_at_ms = START_MS + 20000;
    tested = REQUEST_RECORDING;
    char *topic = config.request_topics[REQUEST_RECORDING];
    config.request_topics[REQUEST_RECORDING] = "recording-requests";
    assert_int_equal(run_to_the_end(stops), 1);
    assert_non_null(find_line("results left unpublished: 1, whose recordings the next owner asks "
                              "for again"));
    metrics_free(kafka.metrics);
    assert_int_equal(run_to_the_end(loses), 0);
    assert_non_null(find_line("1 recording(s) under way go on if their partitions come back"));
    metrics_free(kafka.metrics);
    config.request_topics[REQUEST_RECORDING] = topic;
    tested = REQUEST_CALL;
}

/* A late outcome that the broker refuses is kept, and that is shown. */
static void late_outcomes_that_wait_are_counted(void **state)
{
    (void)state;
    for (int refuses = 0; refuses < 2; refuses++) {
        run((struct kafka){.records = {1, 0},
                           .value = "{\"Caller\":\"18000000001\",\"Callee\":\"13900000000\"}",
                           .made_anew_ms = START_MS + END_MS / 2,
                           .answers_late = true,
                           .refuses = refuses});
        assert_int_equal(metrics_sum(kafka.metrics->late_waiting), refuses);
        assert_int_equal(kafka.metrics->dead_letters[DEAD_LETTER_LATE], !refuses);
        metrics_free(kafka.metrics);
    }
}

static void a_partition_that_its_topic_does_not_have_is_shown_as_halted(void **state)
{
    (void)state;
    run((struct kafka){.lacks_partition = true});
    assert_int_equal(metrics_copy_table(kafka.metrics, table), 2);
    assert_int_equal(table[1].partition, PARTITIONS);
    assert_string_equal(table[1].state, "halted");
    assert_non_null(strstr(table[1].halt_reason, "its topic does not have it"));
    assert_int_equal(table[1].since_ms, START_MS);
    assert_int_equal(metrics_lag(&table[1]), -1);
    assert_int_equal(metrics_sum(kafka.metrics->halted), 1);
    metrics_free(kafka.metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_that_does_not_end_is_told),
        cmocka_unit_test(a_standby_that_joins_again_is_shown_outside),
        cmocka_unit_test(the_lag_of_a_halted_partition_is_that_of_its_committed_offset),
        cmocka_unit_test(a_stuck_partition_is_told_whatever_others_wait_for),
        cmocka_unit_test(what_comes_in_the_places_of_what_is_done_is_told),
        cmocka_unit_test(partitions_without_an_offset_are_one_line),
        cmocka_unit_test(a_takeover_tells_what_becomes_unknown),
        cmocka_unit_test(lost_calls_of_a_topic_that_may_be_deleted),
        cmocka_unit_test(what_fenced_a_producer_is_told_to_the_end),
        cmocka_unit_test(a_stop_that_the_group_holds_up_does_not_blame_kafka),
        cmocka_unit_test(no_recording_is_told_to_become_unknown),
        cmocka_unit_test(a_partition_that_its_topic_does_not_have_is_shown_as_halted),
        cmocka_unit_test(late_outcomes_that_wait_are_counted)};
    return cmocka_run_group_tests(tests, load, unload);
}
