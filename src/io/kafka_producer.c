/* The producer: making it ready, replacing it, and one transaction at a time. The tasks run on the
 * writer; the functions that the Kafka thread calls are at the end of this file.
 *
 * How errors are read (see the comments of librdkafka's rdkafka_txnmgr.c):
 *  - retriable: make the same call again, because it goes on in the background. (Aborting after a
 *    send_offsets that had timed out was fatal in a test.)
 *  - a commit or an abort that has timed out, which is retriable too: the producer is useless from
 *    then on, and it is unknown whether EndTxn was executed. Each of the two is several steps of
 *    librdkafka's main thread, which may be late: it had no CPU, or the process was stopped. If the
 *    call is made again, the result of a late step counts for the next step. So a step of which
 *    nobody knows may go on after the call has returned, and the transaction that it then ends is
 *    the wrong one: an assertion of librdkafka. The other calls have one step each that may be late
 *    (init_transactions, whose step gives no result of its own) or wait for it without a limit.
 *  - requires abort: abort; nothing is committed.
 *  - fatal: the producer is useless from then on.
 *  - an error of the commit itself that no failed record explains: it is unknown whether EndTxn was
 *    executed, whatever librdkafka reports. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/backoff.h"
#include "core/config_kafka.h"
#include "io/kafka_internal.h"

enum {
    END_OTHER_MS = 5000,
    START_AGAIN_MS = 100,
    START_AGAIN_MAX_MS = 5000,
    FIND_MAX_MS = 2000,     /* longest wait for an answer about a topic: kafka_free waits for it */
    SILENT_AFTER_MS = 5000, /* no answer for that time at the start is logged */
    RENEW_INTERVAL_MS = 60000, /* at least between two producers, whatever files do */
    OUTDATED_MAX_MS = 10000,   /* how long calls of a producer with outdated files are repeated */
    END_MAX_MS = 60000         /* longest commit or abort, see the top and end_limit */
};

static bool stopping(const struct kafka *kafka)
{
    return atomic_load(&kafka->stopping);
}

static bool is_outdated(const struct kafka *kafka)
{
    return kafka_is_outdated(kafka, kafka->producer_version);
}

/* Whether to give up a call that has failed since then. Brokers may refuse the certificate of this
 * producer, and the next producer has the new one. */
static bool gives_up(const struct kafka *kafka, int64_t since_ms)
{
    return stopping(kafka) || (is_outdated(kafka) && clock_boot_ms() - since_ms > OUTDATED_MAX_MS);
}

/* Keeps the reason for which a record is not written, unless one has failed before. */
static void keep_reason(struct kafka_writing *writing, const struct record *record,
                        rd_kafka_resp_err_t code)
{
    if (writing->any_failed)
        return;
    struct error what;
    error_set(&what, "writing to %s: %s", record->topic, rd_kafka_err2str(code));
    kafka_explain(&writing->error, code, what.text);
    writing->code = code;
}

/* Notes that a record cannot be written. The first reason is reported. */
static void note_failed(struct kafka_writing *writing, const struct record *record,
                        rd_kafka_resp_err_t code)
{
    keep_reason(writing, record, code);
    writing->any_failed = true;
}

/* Notes that a record is refused. A topic that requires keys refuses all that have none. */
static void note_refused(struct kafka_writing *writing, size_t index, enum record_refusal refusal)
{
    const struct kafka_transaction *transaction = writing->transaction;
    const struct record *record = &transaction->records[index];
    writing->refused[index] = refusal;
    writing->any_refused = true;
    for (size_t i = 0; refusal == REFUSED_FOR_KEY && i < transaction->record_count; i++)
        if (!transaction->records[i].has_key &&
            !strcmp(transaction->records[i].topic, record->topic))
            writing->refused[i] = refusal;
}

/* A record counts as delivered, but its report does not say where. librdkafka (2.0 to 2.8) takes a
 * batch for delivered that a broker has refused for a while, if the broker takes a later one; and
 * brokers take any first sequence number of a producer that is new to a partition. So the record
 * may be nowhere. A new producer begins with the first number. */
static void note_placeless(struct kafka *kafka, size_t index)
{
    struct kafka_writing *writing = &kafka->writing;
    const struct record *record = &writing->transaction->records[index];
    kafka->is_spent = true;
    if (writing->any_failed)
        return;
    error_set(&writing->error,
              "writing to %s: the brokers took a record without telling its offset, so it may not "
              "be in the log",
              record->topic);
    writing->code = RD_KAFKA_RESP_ERR_NO_ERROR;
    writing->any_failed = true;
}

/* Delivery report, called within the writer's own calls. The opaque is the record's index + 1. */
static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    struct kafka *kafka = opaque;
    struct kafka_writing *writing = &kafka->writing;
    size_t index = (size_t)(uintptr_t)message->_private;
    if (index == 0 || (!message->err && message->offset >= 0))
        return;
    if (!message->err) {
        note_placeless(kafka, index - 1);
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
        message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return; /* caused by an abort */
    const struct record *record = &writing->transaction->records[index - 1];
    enum record_refusal refusal = kafka_refusal_of(message->err, record->has_key);
    if (refusal != RECORD_TAKEN)
        note_refused(writing, index - 1, refusal);
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        kafka_right_missing(kafka, RIGHT_WRITE_TOPIC, record->topic,
                            rd_kafka_err2str(message->err));
    note_failed(writing, record, message->err);
    kafka->is_spent |= message->err > 0 || message->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
}

static void drop_producer(struct kafka *kafka)
{
    for (size_t i = 0; i < kafka->output_count; i++)
        if (kafka->outputs[i].topic) {
            rd_kafka_topic_destroy(kafka->outputs[i].topic);
            kafka->outputs[i].topic = NULL;
        }
    kafka_client_ends(kafka, kafka->producer);
    if (kafka->producer)
        rd_kafka_destroy(kafka->producer);
    kafka->producer = NULL;
}

/* On failure the one before stays. */
static int make_producer(struct kafka *kafka, struct error *error)
{
    unsigned version;
    rd_kafka_conf_t *conf = kafka_settings_now(kafka, SIDE_PRODUCER, &version, error);
    if (!conf)
        return -1;
    /* Without a delivery callback rd_kafka_flush would check only every 10 ms. */
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_log_cb(conf, kafka_log_callback);
    rd_kafka_conf_set_error_cb(conf, kafka_error_callback);
    kafka_quota_follow(conf);
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_t *producer = kafka_client_now(kafka, RD_KAFKA_PRODUCER, conf, error);
    if (!producer)
        return -1;
    drop_producer(kafka);
    kafka->producer = producer;
    kafka->producer_version = version;
    kafka->is_spent = false;
    kafka_client_runs(kafka, SIDE_PRODUCER, producer);
    for (size_t i = 0; i < kafka->output_count; i++)
        kafka->outputs[i].topic =
            memory_must(rd_kafka_topic_new(kafka->producer, kafka->outputs[i].name, NULL));
    return 0;
}

/* Asks for the metadata of one topic. Returns 0: it exists; -1: not yet (the log says why). right:
 * to find an input or an output. silent: it has been asked for long enough for a connection that
 * fails to be logged with its reason. limit_ms: the wait for the answer, which grows when it was
 * too short: each question is a request of its own. This request also saves the first transaction a
 * second. */
static int look_for_topic(struct kafka *kafka, enum kafka_right right, const char *name,
                          rd_kafka_topic_t *topic, bool silent, int *limit_ms)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->producer, 0, topic, &metadata, *limit_ms);
    char key[300];
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT)
        *limit_ms = backoff_doubled(*limit_ms, FIND_MAX_MS);
    if (code) {
        if (silent && !stopping(kafka) && !kafka_log_tells_why() &&
            kafka_log_due(&kafka_log_process, "no broker", KAFKA_LOG_INTERVAL_MS)) {
            log_warn("kafka: no answer from %s (%s); waiting for a broker",
                     config_kafka_servers(kafka->config), rd_kafka_err2str(code));
            kafka_silence_told();
        }
        return -1;
    }
    code = metadata->topic_cnt > 0 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    bool there = !code && metadata->topics[0].partition_cnt > 0;
    rd_kafka_metadata_destroy(metadata);
    if (there) {
        kafka_right_given(kafka, right, name);
        return 0;
    }
    bool unknown =
        code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    if (unknown && right == RIGHT_FIND_OUTPUT)
        atomic_store(&kafka->lacks_output, name);
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        kafka_right_missing(kafka, right, name, rd_kafka_err2str(code));
        return -1;
    }
    snprintf(key, sizeof key, "topic %s", name);
    if (!kafka_log_due(&kafka_log_process, key, KAFKA_LOG_INTERVAL_MS))
        return -1;
    if (unknown)
        log_warn("kafka: topic %s does not exist yet: create it; waiting", name);
    else
        log_warn("kafka: topic %s is not available yet (%s); waiting", name,
                 rd_kafka_err2str(code));
    return -1;
}

/* How many of the topics that the job writes to are missing. */
static size_t missing_outputs(struct kafka *kafka, bool silent, int *limit_ms)
{
    size_t missing = 0;
    for (size_t i = 0; i < kafka->output_count && !stopping(kafka); i++)
        missing += look_for_topic(kafka, RIGHT_FIND_OUTPUT, kafka->outputs[i].name,
                                  kafka->outputs[i].topic, silent, limit_ms) != 0;
    return missing;
}

/* The consumer, which finds out whether its topic is missing, does not run before the producer is
 * ready. */
static void look_for_input(struct kafka *kafka, bool silent, int *limit_ms)
{
    const char *name = kafka->config->request_topics[kafka->job];
    rd_kafka_topic_t *topic = memory_must(rd_kafka_topic_new(kafka->producer, name, NULL));
    look_for_topic(kafka, RIGHT_FIND_INPUT, name, topic, silent, limit_ms);
    rd_kafka_topic_destroy(topic);
}

static void wait_for_topics(struct kafka *kafka)
{
    int64_t since = clock_boot_ms();
    bool looked = false;
    int limit_ms = KAFKA_BLOCK_MAX_MS;
    while (!stopping(kafka) && !is_outdated(kafka)) {
        bool silent = clock_boot_ms() - since > SILENT_AFTER_MS;
        if (!missing_outputs(kafka, silent, &limit_ms))
            break;
        if (!stopping(kafka))
            look_for_input(kafka, silent, &limit_ms);
        looked = true;
        rd_kafka_poll(kafka->producer, 0);
        kafka_runner_sleep(&kafka->writer, 200);
    }
    atomic_store(&kafka->lacks_output, NULL);
    if (looked) /* the consumer finds out from here on */
        kafka_right_given(kafka, RIGHT_FIND_INPUT, NULL);
}

/* Logs why the producer is not ready yet: each reason once a minute. */
static void tell_not_ready(struct kafka *kafka, rd_kafka_resp_err_t code)
{
    char name[32];
    snprintf(name, sizeof name, "init %d", (int)code);
    if (kafka_log_due(&kafka_log_process, name, KAFKA_LOG_INTERVAL_MS))
        log_write(kafka_remedy(code) ? LOG_ERROR : LOG_WARN, NULL, "kafka: %s; it is tried again",
                  kafka->writing.error.text);
}

/* 0: ready; 1: needs a new producer; -1: cannot ever (writing->error says why), or stopping. */
static int init_transactions(struct kafka *kafka)
{
    struct kafka_writing *writing = &kafka->writing;
    struct kafka_wake_up wake_up = {.runner = &kafka->writer};
    while (!stopping(kafka) && !is_outdated(kafka)) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(kafka->producer, KAFKA_BLOCK_MAX_MS);
        if (!error) {
            kafka_right_given(kafka, RIGHT_WRITE_ID, NULL);
            return 0;
        }
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        bool retriable = rd_kafka_error_is_retriable(error);
        struct error words;
        /* librdkafka says of a time-out "retry call to resume", which is not about phone calls. */
        error_set(&words, "preparing the producer of %s: %s",
                  kafka->job == REQUEST_CALL ? "calls" : "recordings",
                  code == RD_KAFKA_RESP_ERR__TIMED_OUT ? "the brokers have not answered in time"
                                                       : rd_kafka_error_string(error));
        kafka_explain(&writing->error, code, words.text);
        rd_kafka_error_destroy(error);
        rd_kafka_poll(kafka->producer, 0);
        if (!kafka_is_denied(kafka, code, kafka->writing.error.text))
            tell_not_ready(kafka, code);
        if (!retriable)
            return 1;
        kafka_wake_coordinator(kafka, &wake_up, code);
        if (code != RD_KAFKA_RESP_ERR__TIMED_OUT)
            kafka_runner_sleep(&kafka->writer, 50);
    }
    return stopping(kafka) ? -1 : 1;
}

static rd_kafka_t *make_ending_producer(struct kafka *kafka, const char *id, struct error *error)
{
    unsigned version;
    rd_kafka_conf_t *conf = kafka_settings_now(kafka, SIDE_PRODUCER, &version, error);
    if (!conf)
        return NULL;
    kafka_setting_must(conf, "transactional.id", id);
    rd_kafka_conf_set_log_cb(conf, kafka_log_callback);
    rd_kafka_conf_set_opaque(conf, kafka);
    return kafka_client_now(kafka, RD_KAFKA_PRODUCER, conf, error);
}

/* Ends the open transaction of a transactional id, with a separate producer. Takes at most about 5
 * s, and the time of waking a coordinator. */
static enum group_answer end_id(struct kafka *kafka, const char *id, struct kafka_runner *runner,
                                struct error *error, bool *forbidden)
{
    int64_t until = clock_boot_ms() + END_OTHER_MS;
    rd_kafka_t *producer;
    /* A file that librdkafka reads may be half written just now. */
    while (!(producer = make_ending_producer(kafka, id, error)))
        if (clock_boot_ms() >= until || stopping(kafka))
            return GROUP_RETRY;
        else
            kafka_runner_sleep(runner, START_AGAIN_MS);
    enum group_answer answer = GROUP_RETRY;
    struct kafka_wake_up wake_up = {.runner = runner, .id = id};
    bool again = true;
    while (again && answer == GROUP_RETRY && clock_boot_ms() < until && !stopping(kafka)) {
        rd_kafka_error_t *failure = rd_kafka_init_transactions(producer, KAFKA_BLOCK_MAX_MS);
        if (!failure) {
            answer = GROUP_DONE;
            break;
        }
        again = rd_kafka_error_is_retriable(failure);
        *forbidden =
            rd_kafka_error_code(failure) == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        error_set(error, "ending the transactions of %s: %s", id, rd_kafka_error_string(failure));
        if (again && rd_kafka_error_code(failure) != RD_KAFKA_RESP_ERR__TIMED_OUT)
            kafka_runner_sleep(runner, 20);
        if (again)
            kafka_wake_coordinator(kafka, &wake_up, rd_kafka_error_code(failure));
        rd_kafka_error_destroy(failure);
    }
    rd_kafka_destroy(producer);
    return answer;
}

/* The same for the id that earlier versions used, in which both jobs were in the group of calls. A
 * worker without the right to that id cannot have run such a version. If another process may use
 * that id now, its open transaction ends by its timeout. */
static enum group_answer end_former_id(struct kafka *kafka, const char *owner,
                                       struct kafka_runner *runner, struct error *error)
{
    struct text id = {0};
    bool forbidden = false;
    if (!config_kafka_former_id(&id, kafka->config->group_ids[REQUEST_CALL], owner))
        return GROUP_DONE;
    enum group_answer answer = end_id(kafka, id.data, runner, error, &forbidden);
    text_fini(&id);
    return forbidden ? GROUP_DONE : answer;
}

enum group_answer kafka_producer_end_other(struct kafka *kafka, const char *owner,
                                           struct error *error, bool *forbidden)
{
    /* Our own id was fenced when the producer was made ready. A second producer with this id would
     * fence the first. */
    if (!strcmp(owner, kafka->config->instance_id))
        return GROUP_DONE;
    struct text id = {0};
    config_kafka_transactional_id(&id, kafka->config->group_ids[kafka->job], owner);
    enum group_answer answer = end_id(kafka, id.data, &kafka->reader, error, forbidden);
    text_fini(&id);
    return answer == GROUP_DONE ? end_former_id(kafka, owner, &kafka->reader, error) : answer;
}

/* 0: ready, or stopping; 1: needs a new producer. */
static int make_ready(struct kafka *kafka)
{
    wait_for_topics(kafka);
    return stopping(kafka) ? 0 : init_transactions(kafka);
}

/* is_new: the current producer has just been made. That a producer cannot be made is a final error
 * only at the start: later, files that were good before may become good again. */
static void prepare_producer(struct kafka *kafka, bool is_new)
{
    struct kafka_writing *writing = &kafka->writing;
    int result = 1, pause = START_AGAIN_MS;
    while (result > 0 && !stopping(kafka)) {
        if (is_new || !make_producer(kafka, &writing->error)) {
            result = make_ready(kafka);
        } else if (!kafka->producer) {
            writing->failed = true;
            return;
        } else {
            tell_not_ready(kafka, RD_KAFKA_RESP_ERR_NO_ERROR);
        }
        is_new = false;
        if (result > 0)
            kafka_runner_sleep(&kafka->writer, pause);
        pause = backoff_doubled(pause, START_AGAIN_MAX_MS);
    }
    /* Once: an earlier version with this name may have died here. */
    while (result == 0 && !kafka->former_ended && !stopping(kafka)) {
        kafka->former_ended = end_former_id(kafka, kafka->config->instance_id, &kafka->writer,
                                            &writing->error) == GROUP_DONE;
        if (kafka->former_ended)
            break;
        tell_not_ready(kafka, RD_KAFKA_RESP_ERR_NO_ERROR);
        kafka_runner_sleep(&kafka->writer, START_AGAIN_MS);
    }
}

/* A producer whose predecessors' transactions had no clear outcome may have no other, so it comes
 * ever later. The first one may help: most answers are lost once. */
static void start_producer(struct kafka *kafka)
{
    int pause = START_AGAIN_MS;
    for (int i = 2; i < kafka->unclear && pause < START_AGAIN_MAX_MS; i++)
        pause = backoff_doubled(pause, START_AGAIN_MAX_MS);
    if (kafka->unclear > 1)
        kafka_runner_sleep(&kafka->writer, pause);
    prepare_producer(kafka, false);
}

/* Replaces the producer between two transactions, so that none is open. */
static void replace_producer(struct kafka *kafka)
{
    struct kafka_writing *writing = &kafka->writing;
    struct error before = writing->error;
    if (!make_producer(kafka, &writing->error))
        prepare_producer(kafka, true);
    else if (kafka_log_due(&kafka->log_throttle, "no new producer", KAFKA_LOG_INTERVAL_MS))
        log_error("kafka: a new producer cannot be made: %s; the current one is kept",
                  writing->error.text);
    writing->error = before;
}

/* After a change of files that librdkafka reads. */
static void follow_files(struct kafka *kafka)
{
    int64_t now = clock_boot_ms();
    if (!is_outdated(kafka) ||
        (kafka->producer_renewed_ms && now - kafka->producer_renewed_ms < RENEW_INTERVAL_MS))
        return;
    kafka->producer_renewed_ms = now;
    replace_producer(kafka);
}

/* After a batch has failed. If it was refused: librdkafka 2.0.2 finds the gap in its partition's
 * sequence numbers only in a later transaction, which fails for it, and may first wait until its
 * longest time is over. If no broker took it in time: librdkafka from 2.1 on may ask a former
 * leader for ever, because the topic was made anew and its leaders' epochs have begun anew (see
 * kafka_untold.c). */
static void replace_spent(struct kafka *kafka)
{
    if (kafka->is_spent)
        replace_producer(kafka);
}

static rd_kafka_topic_t *topic_of(struct kafka *kafka, const char *name)
{
    for (size_t i = 0; i < kafka->output_count; i++)
        if (kafka->outputs[i].name == name)
            return kafka->outputs[i].topic;
    for (size_t i = 0; i < kafka->output_count; i++)
        if (!strcmp(kafka->outputs[i].name, name))
            return kafka->outputs[i].topic;
    return NULL;
}

static rd_kafka_headers_t *headers_of(const struct record *record)
{
    size_t count = record->more_header_count + record->header_count;
    if (count == 0)
        return NULL;
    rd_kafka_headers_t *headers = memory_must(rd_kafka_headers_new(count));
    for (size_t i = 0; i < count; i++) {
        const struct record_header *header = i < record->more_header_count
                                                 ? &record->more_headers[i]
                                                 : &record->headers[i - record->more_header_count];
        rd_kafka_header_add(headers, header->name, -1, header->value, (ssize_t)header->size);
    }
    return headers;
}

static rd_kafka_resp_err_t enqueue(struct kafka *kafka, const struct record *record, size_t index)
{
    /* An empty text may have no memory, but a null pointer would be a null key. */
    const char *key = record->has_key ? record->key.data ? record->key.data : "" : NULL;
    const char *value = record->has_value ? record->value.data ? record->value.data : "" : NULL;
    rd_kafka_topic_t *topic = topic_of(kafka, record->topic);
    rd_kafka_headers_t *headers = headers_of(record);
    assert(topic);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        kafka->producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(key, key ? record->key.length : 0),
        RD_KAFKA_V_VALUE((void *)value, value ? record->value.length : 0),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE((void *)(uintptr_t)(index + 1)),
        RD_KAFKA_V_END);
    if (code && headers)
        rd_kafka_headers_destroy(headers);
    return code;
}

/* Brokers may refuse the certificate of a producer with outdated files. Who gives transactions more
 * time has slow brokers, or a quota, and a commit writes what is not written yet. */
static int end_limit(const struct kafka *kafka)
{
    int64_t longest = kafka->config->transaction_timeout_ms;
    if (is_outdated(kafka))
        return OUTDATED_MAX_MS;
    return longest > END_MAX_MS ? (int)longest : END_MAX_MS;
}

/* Waits until every produced record has its delivery report, or one has failed. What is behind a
 * failed one in its partition may get no report before the abort: librdkafka 2.0.2 keeps it because
 * of the gap in the sequence numbers, and a commit would wait for it as long as it may. */
static void flush(struct kafka *kafka, int64_t since_ms)
{
    while (!kafka->writing.any_failed && !gives_up(kafka, since_ms) &&
           clock_boot_ms() - since_ms < end_limit(kafka) &&
           rd_kafka_flush(kafka->producer, KAFKA_BLOCK_MAX_MS))
        ;
}

/* Passes the records to librdkafka, in order. each_alone: one record per batch, so that a batch
 * that the broker refuses identifies its record. Errors are noted in kafka->writing. */
static void produce_all(struct kafka *kafka, bool each_alone)
{
    struct kafka_writing *writing = &kafka->writing;
    const struct kafka_transaction *transaction = writing->transaction;
    for (size_t i = 0; i < transaction->record_count && !stopping(kafka); i++) {
        rd_kafka_resp_err_t code = enqueue(kafka, &transaction->records[i], i);
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            rd_kafka_poll(kafka->producer, 10);
            i--;
            continue;
        }
        if (each_alone && !code)
            flush(kafka, clock_boot_ms());
        enum record_refusal refusal =
            code ? kafka_refusal_of(code, transaction->records[i].has_key) : RECORD_TAKEN;
        if (refusal != RECORD_TAKEN)
            note_refused(writing, i, refusal);
        if (refusal == REFUSED_FOR_SIZE) { /* by librdkafka itself */
            keep_reason(writing, &transaction->records[i], code);
            continue; /* to find all refused records at once */
        }
        if (code)
            note_failed(writing, &transaction->records[i], code);
        if (writing->any_failed)
            return;
    }
}

enum step { STEP_DONE, STEP_ABORT, STEP_ENDED };

/* Whether the error of a commit comes from producing, which precedes EndTxn, and never from EndTxn
 * itself. (2.0.2 sometimes fails the transaction after an aborted one in this way: a purged batch
 * has left a gap in the sequence numbers.) */
static bool is_of_producing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER ||
           code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* The broker refuses a whole transaction because of a topic that must not be written to. Marks the
 * records of that topic as refused, so that the others go on without them. */
static void refuse_forbidden(struct kafka *kafka)
{
    struct kafka_writing *writing = &kafka->writing;
    for (size_t i = 0; i < writing->transaction->record_count; i++) {
        if (!kafka_may_not_write(kafka, writing->transaction->records[i].topic))
            continue;
        writing->refused[i] = REFUSED_AS_IS;
        writing->any_refused = writing->forbidden = true;
    }
}

/* Reads an error of a transactional call. ends_it: a commit or an abort. STEP_ENDED: fatal, timed
 * out or not understood. */
static enum step read_error(struct kafka *kafka, const char *what, rd_kafka_error_t *error,
                            bool ends_it, bool *again)
{
    struct kafka_writing *writing = &kafka->writing;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool abort_it = rd_kafka_error_txn_requires_abort(error);
    bool fatal = rd_kafka_error_is_fatal(error);
    *again = !fatal && !abort_it && rd_kafka_error_is_retriable(error) &&
             !(ends_it && code == RD_KAFKA_RESP_ERR__TIMED_OUT);
    if ((!*again || is_outdated(kafka)) && !writing->any_failed) {
        struct error words;
        error_set(&words, "%s: %s", what, rd_kafka_error_string(error));
        kafka_explain(&writing->error, code, words.text);
        writing->code = code;
    }
    kafka_is_denied(kafka, code, rd_kafka_err2str(code));
    if (kafka_is_no_member(code) && !fatal)
        writing->no_member = true;
    if (is_of_producing(code) && abort_it)
        writing->any_failed = true;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && abort_it)
        refuse_forbidden(kafka);
    writing->outcome = TXN_UNKNOWN;
    if (kafka_is_fenced(code))
        writing->outcome = TXN_FENCED;
    writing->duplicate |= code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    rd_kafka_error_destroy(error);
    if (*again)
        kafka_runner_sleep(&kafka->writer, 5);
    return abort_it && !fatal ? STEP_ABORT : STEP_ENDED;
}

static enum step send_offsets(struct kafka *kafka)
{
    const struct kafka_transaction *transaction = kafka->writing.transaction;
    if (transaction->ledger_count == 0)
        return STEP_DONE;
    rd_kafka_topic_partition_list_t *list =
        kafka_ledger_list(kafka->config, transaction->ledgers, transaction->ledger_count);
    enum step step = STEP_DONE;
    int64_t since = clock_boot_ms();
    struct kafka_wake_up wake_up = {.runner = &kafka->writer};
    bool again = true;
    while (again && !gives_up(kafka, since)) {
        rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(
            kafka->producer, list, kafka->writing.membership, KAFKA_BLOCK_MAX_MS);
        rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        again = false;
        step = STEP_DONE;
        if (error) {
            kafka_offsets_denied(kafka, code, rd_kafka_err2str(code));
            step = read_error(kafka, "sending the offsets", error, false, &again);
        }
        if (again)
            kafka_wake_coordinator(kafka, &wake_up, code);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return step;
}

/* Commits, unless a record has failed, which is noted in kafka->writing. */
static enum step commit_transaction(struct kafka *kafka)
{
    enum step step = STEP_ENDED;
    int64_t since = clock_boot_ms();
    flush(kafka, since);
    if (kafka->writing.any_failed)
        return STEP_ABORT;
    for (bool again = !stopping(kafka); again; again = again && !gives_up(kafka, since)) {
        int64_t left = end_limit(kafka) - (clock_boot_ms() - since);
        rd_kafka_error_t *error =
            rd_kafka_commit_transaction(kafka->producer, left > 1 ? (int)left : 1);
        again = false;
        if (error)
            step = read_error(kafka, "committing", error, true, &again);
        else
            step = STEP_DONE;
    }
    return step;
}

/* Aborts the transaction. Returns whether the abort succeeded. */
static bool abort_transaction(struct kafka *kafka)
{
    int64_t since = clock_boot_ms();
    bool again = true;
    while (again && !gives_up(kafka, since)) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(kafka->producer, end_limit(kafka));
        if (!error)
            return true;
        struct error before = kafka->writing.error;
        bool late = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT;
        read_error(kafka, "aborting", error, true, &again);
        if (again || (late && *before.text)) /* why it is aborted says more */
            kafka->writing.error = before;
    }
    return false;
}

/* Tries the transaction once. kafka->writing gets the outcome. */
static void transact_once(struct kafka *kafka, bool each_alone)
{
    struct kafka_writing *writing = &kafka->writing;
    bool again;
    replace_spent(kafka);
    memset(writing->refused, 0, writing->transaction->record_count * sizeof *writing->refused);
    writing->any_refused = writing->any_failed = writing->forbidden = writing->no_member = false;
    writing->outcome = TXN_UNKNOWN;
    rd_kafka_error_t *error = rd_kafka_begin_transaction(kafka->producer);
    if (error) {
        read_error(kafka, "beginning a transaction", error, false, &again);
        return;
    }
    /* The offsets are sent first: while the broker still writes the markers of the previous
     * transaction, librdkafka repeats the adding of offsets every retry.backoff.ms, but the adding
     * of records' partitions only after 20 ms. */
    enum step step = send_offsets(kafka);
    writing->offsets_refused = step == STEP_ABORT && kafka_refuses_offsets(writing->code);
    if (step == STEP_DONE)
        produce_all(kafka, each_alone);
    if (writing->any_refused || writing->any_failed)
        step = step == STEP_DONE ? STEP_ABORT : step;
    bool commits = step == STEP_DONE;
    if (commits)
        step = commit_transaction(kafka);
    if (stopping(kafka))
        return;
    if (step == STEP_DONE) {
        writing->outcome = TXN_COMMITTED;
    } else if (step == STEP_ABORT && abort_transaction(kafka)) {
        /* See the top: only a failed record proves that EndTxn(commit) was never sent. */
        bool proven = !commits || writing->any_failed || writing->any_refused;
        writing->outcome = !proven                    ? TXN_UNKNOWN
                           : writing->offsets_refused ? TXN_OFFSETS_REFUSED
                           : writing->any_refused     ? TXN_REFUSED
                                                      : TXN_ABORTED;
        if (writing->outcome == TXN_ABORTED && writing->no_member)
            writing->outcome = TXN_NOT_MEMBER;
        if (writing->outcome == TXN_ABORTED &&
            writing->code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING)
            writing->outcome = TXN_EXPIRED;
    }
}

static void transact(struct kafka *kafka)
{
    struct kafka_writing *writing = &kafka->writing;
    if (!writing->membership) {
        writing->outcome = TXN_NOT_MEMBER;
        writing->no_member = true;
        error_set(&writing->error, "no membership at present");
        kafka_runner_sleep(&kafka->writer, NO_MEMBER_PAUSE_MS);
        return;
    }
    follow_files(kafka);
    transact_once(kafka, false);
    /* The broker refuses whole batches. To find the refused record, each record is sent in its own
     * batch. If no record is refused alone, that try counts. For a missing right they are known. */
    bool by_broker = writing->any_refused && writing->any_failed && !writing->forbidden;
    bool one_by_one =
        writing->outcome == TXN_REFUSED && by_broker && writing->transaction->record_count > 1;
    /* The first tries may still fail because of the refused batch's gap in the sequence numbers. */
    for (int tries = 0; one_by_one && tries < 3; tries++) {
        transact_once(kafka, true);
        one_by_one = writing->outcome == TXN_ABORTED && !writing->no_member;
    }
    if (writing->outcome == TXN_UNKNOWN)
        kafka->unclear++;
    else if (writing->outcome == TXN_COMMITTED)
        kafka->unclear = 0;
    if (writing->outcome == TXN_ABORTED && !writing->no_member)
        kafka_runner_sleep(&kafka->writer, 5);
}

/* ---- Kafka thread from here on */

static void start(struct kafka *kafka)
{
    kafka->writing.kind = WRITE_START;
    kafka->writing.failed = false;
    kafka_runner_give(&kafka->writer, start_producer);
}

void kafka_start(struct kafka *kafka)
{
    start(kafka);
}

void kafka_renew_producer(struct kafka *kafka)
{
    start(kafka);
}

void kafka_transact(struct kafka *kafka, const struct kafka_transaction *transaction)
{
    struct kafka_writing *writing = &kafka->writing;
    if (transaction->record_count >= writing->refused_capacity) {
        writing->refused_capacity = 2 * transaction->record_count + 16;
        free(writing->refused);
        writing->refused = memory_alloc(writing->refused_capacity * sizeof *writing->refused);
    }
    writing->kind = WRITE_TRANSACTION;
    writing->transaction = transaction;
    writing->membership = kafka_membership_to_write(kafka);
    writing->rebalance = kafka->assignment.number;
    writing->failed = writing->no_member = writing->duplicate = false;
    writing->error.text[0] = '\0';
    writing->code = RD_KAFKA_RESP_ERR_NO_ERROR;
    kafka_runner_give(&kafka->writer, transact);
}

void kafka_writing_complete(struct kafka *kafka)
{
    struct kafka_writing *writing = &kafka->writing;
    if (writing->failed)
        kafka_fail(kafka, writing->error.text);
    if (writing->kind == WRITE_START) {
        if (!writing->failed)
            kafka->handler->producer_ready(kafka->arg);
        return;
    }
    if (writing->membership)
        rd_kafka_consumer_group_metadata_destroy(writing->membership);
    writing->membership = NULL;
    if (writing->duplicate)
        kafka_assignment_duplicate(kafka);
    bool no_member = writing->no_member;
    uint64_t rebalance = writing->rebalance;
    if (writing->outcome == TXN_COMMITTED) {
        kafka_assignment_is_member(kafka);
        for (size_t i = 0; kafka_lacks_right(kafka) && i < writing->transaction->record_count; i++)
            kafka_right_given(kafka, RIGHT_WRITE_TOPIC, writing->transaction->records[i].topic);
        kafka_right_given(kafka, RIGHT_WRITE_ID, NULL);
        if (writing->transaction->ledger_count > 0) {
            kafka_right_given(kafka, RIGHT_READ_GROUP, NULL);
            kafka_right_given(kafka, RIGHT_READ_TOPIC, NULL);
        }
    }
    /* The handler may start the next task, which reuses the memory. So values that must
     * outlast that are copied. */
    struct error error = writing->error;
    enum record_refusal *refused = writing->outcome == TXN_REFUSED ? writing->refused : NULL;
    if (refused) {
        writing->refused = NULL;
        writing->refused_capacity = 0;
    }
    if (writing->outcome != TXN_COMMITTED && kafka->handler->said)
        kafka->handler->said(kafka->arg, error.text, kafka_is_about_size(writing->code),
                             kafka_is_lasting(writing->code));
    kafka->handler->transacted(kafka->arg, writing->outcome, refused,
                               writing->outcome == TXN_COMMITTED ? NULL : error.text);
    free(refused);
    if (no_member)
        kafka_assignment_no_member(kafka, rebalance, clock_boot_ms());
}

void kafka_producer_fini(struct kafka *kafka)
{
    if (kafka->writing.membership)
        rd_kafka_consumer_group_metadata_destroy(kafka->writing.membership);
    drop_producer(kafka);
    free(kafka->writing.refused);
}
