/* Creation, waiting for and serving of events, and the end. Kafka thread, except kafka_wake. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum {
    POLL_IDLE_EVERY_MS = 1000,
    RENEW_INTERVAL_MS = 60000, /* least time between two consumers, however often files change */
    RENEW_AGAIN_MS = 1000,     /* pause before a failed creation of a consumer is repeated */
};

void kafka_fail(struct kafka *kafka, const char *text)
{
    if (kafka->failed)
        return;
    kafka->failed = true;
    kafka->handler->failed(kafka->arg, text);
}

static void add_output(struct kafka *kafka, const char *name)
{
    for (size_t i = 0; i < kafka->output_count; i++)
        if (!strcmp(kafka->outputs[i].name, name))
            return;
    kafka->outputs[kafka->output_count++].name = name;
}

static void add_outputs(struct kafka *kafka)
{
    add_output(kafka, kafka->config->result_topics[kafka->job]);
    add_output(kafka, kafka->config->dead_letters);
}

/* librdkafka (before 2.3) aborts the process when it destroys a consumer that has joined a
 * cooperative group and never had an assignment: its assignor has no state yet. A process that
 * leaves loses nothing by keeping one that may have got the answer to its JoinGroup since. */
static bool can_end_consumer(struct kafka *kafka)
{
    if (kafka->had_assignment || rd_kafka_version() >= 0x020300ff)
        return true;
    kafka_first_assignment_look(kafka);
    return !kafka->awaits_first &&
           !(kafka->assignment.leaving && atomic_load(&kafka->all_joins) > 0);
}

/* It is closed, and so no member any more: what stays is its memory and its threads. */
static void keep_consumer(struct kafka *kafka)
{
    kafka->keeps_consumers = true;
    if (!kafka->assignment.leaving)
        log_info("kafka: a consumer without a first assignment in group %s stays until the process "
                 "ends, because librdkafka %s cannot destroy it; it is no member any more",
                 kafka->config->group_ids[kafka->job], rd_kafka_version_str());
}

static void drop_consumer(struct kafka *kafka, void (*end)(rd_kafka_t *consumer))
{
    kafka_assignment_stop(kafka); /* a consumer that reads anything never ends */
    if (kafka->close_queue)
        rd_kafka_queue_destroy(kafka->close_queue);
    if (kafka->consumer_queue)
        rd_kafka_queue_destroy(kafka->consumer_queue);
    if (kafka->input)
        rd_kafka_topic_destroy(kafka->input);
    kafka_client_ends(kafka, kafka->consumer);
    if (kafka->consumer && can_end_consumer(kafka))
        end(kafka->consumer);
    else if (kafka->consumer)
        keep_consumer(kafka);
    kafka->input = NULL;
    kafka->close_queue = kafka->consumer_queue = NULL;
    kafka->consumer = NULL;
    kafka->had_assignment = kafka->awaits_first = false;
}

/* Makes a consumer. On failure the old one stays. */
static int make_consumer(struct kafka *kafka, struct error *error)
{
    const uint64_t one = 1;
    unsigned version;
    rd_kafka_conf_t *conf = kafka_settings_now(kafka, SIDE_CONSUMER, &version, error);
    if (!conf)
        return -1;
    rd_kafka_conf_set_rebalance_cb(conf, kafka_rebalance_callback);
    rd_kafka_conf_set_log_cb(conf, kafka_log_callback);
    rd_kafka_conf_set_error_cb(conf, kafka_error_callback);
    kafka_quota_follow(conf);
    rd_kafka_conf_set_opaque(conf, kafka);
    if (kafka_membership_follow(kafka, conf)) {
        rd_kafka_conf_destroy(conf);
        return error_set(error, "librdkafka lets nobody see its requests");
    }
    rd_kafka_t *consumer = kafka_client_now(kafka, RD_KAFKA_CONSUMER, conf, error);
    if (!consumer)
        return -1;
    drop_consumer(kafka, kafka_consumer_end);
    kafka->consumer = consumer;
    kafka->consumer_version = version;
    kafka_client_runs(kafka, SIDE_CONSUMER, consumer);
    rd_kafka_poll_set_consumer(kafka->consumer);
    kafka->consumer_queue = memory_must(rd_kafka_queue_get_consumer(kafka->consumer));
    rd_kafka_queue_io_event_enable(kafka->consumer_queue, kafka->event_fd, &one, sizeof one);
    return 0;
}

struct kafka *kafka_new(const struct config *config, enum request_kind job,
                        struct kafka_files *files, const struct kafka_handler *handler, void *arg,
                        struct error *error)
{
    struct kafka *kafka = memory_zeroed(1, sizeof *kafka);
    kafka->config = config;
    kafka->job = job;
    kafka->files = files;
    kafka->handler = handler;
    kafka->arg = arg;
    list_init(&kafka->full);
    pthread_mutex_init(&kafka->log_throttle.lock, NULL);
    pthread_mutex_init(&kafka->uncommitted_reader_lock, NULL);
    add_outputs(kafka);
    kafka->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kafka->event_fd < 0) {
        error_set(error, "eventfd: %s", strerror(errno));
        goto fail;
    }
    if (make_consumer(kafka, error) ||
        kafka_runner_init(&kafka->writer, kafka, "kafka-writer", error) ||
        kafka_runner_init(&kafka->reader, kafka, "kafka-reader", error) ||
        kafka_runner_init(&kafka->prober, kafka, "kafka-prober", error) ||
        kafka_runner_init(&kafka->looker, kafka, "kafka-looker", error))
        goto fail;
    return kafka;
fail:
    kafka_free(kafka);
    return NULL;
}

void kafka_join(struct kafka *kafka)
{
    struct error error;
    if (!kafka->joined && kafka_is_outdated(kafka, kafka->consumer_version))
        (void)make_consumer(kafka, &error); /* else as soon as it is due, see follow_files */
    kafka->joined = true;
    if (!kafka_unowned_look(kafka))
        kafka_subscribe(kafka);
}

bool kafka_has_joined(const struct kafka *kafka)
{
    return kafka->joined;
}

void kafka_subscribe(struct kafka *kafka)
{
    rd_kafka_topic_partition_list_t *topics = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(topics, kafka->config->request_topics[kafka->job],
                                      RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(kafka->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code && code != RD_KAFKA_RESP_ERR__FATAL) /* of which an event tells, see check_fatal */
        kafka_fail(kafka, rd_kafka_err2str(code));
}

const char *kafka_lacks_topic(const struct kafka *kafka)
{
    const char *output = atomic_load(&kafka->lacks_output);
    return output ? output : atomic_load(&kafka->lacks_input);
}

const char *kafka_lacks_requests(const struct kafka *kafka)
{
    return atomic_load(&kafka->lacks_input);
}

/* Nothing may use it. A new one is made when it is needed. */
static void drop_reader(struct kafka *kafka, struct kafka_reader *reader,
                        void (*end)(rd_kafka_t *consumer))
{
    kafka_client_ends(kafka, reader->client);
    if (reader->client)
        end(reader->client);
    reader->client = NULL;
}

bool kafka_consumer_renew(struct kafka *kafka)
{
    struct error error;
    int64_t now = clock_boot_ms();
    if (now < kafka->renew_at_ms)
        return false;
    if (make_consumer(kafka, &error)) {
        kafka->renew_at_ms = now + RENEW_AGAIN_MS;
        if (kafka_log_due(&kafka_log_process, "new consumer", KAFKA_LOG_INTERVAL_MS))
            log_error("kafka: a new consumer cannot be made: %s; trying again", error.text);
        return false;
    }
    drop_reader(kafka, &kafka->stable_reader, kafka_consumer_end); /* the new consumer reads */
    kafka_join(kafka);
    return true;
}

static bool is_renewal_due(int64_t renewed_at_ms, int64_t now_ms)
{
    return !renewed_at_ms || now_ms - renewed_at_ms >= RENEW_INTERVAL_MS;
}

/* Replaces the clients after a change of files that librdkafka reads: the consumer in order, as for
 * a stop. The writer replaces the producer. */
static void follow_files(struct kafka *kafka, int64_t now_ms)
{
    if (!kafka->joined || !is_renewal_due(kafka->renewed_at_ms, now_ms) ||
        !kafka_is_outdated(kafka, kafka->consumer_version) || !kafka_assignment_renew(kafka))
        return;
    kafka->renewed_at_ms = now_ms;
    log_info("kafka: certificate or secret files have changed: this worker leaves group %s in good "
             "order and joins it again with new clients",
             kafka->config->group_ids[kafka->job]);
}

static void follow_files_by(struct kafka *kafka, struct kafka_reader *reader, int64_t now_ms)
{
    if (!reader->client || !is_renewal_due(reader->renewed_at_ms, now_ms) ||
        !kafka_is_outdated(kafka, reader->version))
        return;
    reader->renewed_at_ms = now_ms;
    drop_reader(kafka, reader, kafka_consumer_end);
}

/* Gives up the readers whose files have changed. The consumer says nothing of them: the prober may
 * have made its client before this worker joined, and the consumer is not replaced before a
 * rebalance ends that waits for what the reader reads. */
static void follow_files_by_readers(struct kafka *kafka, int64_t now_ms)
{
    if (!kafka_runner_idle(&kafka->reader))
        return;
    follow_files_by(kafka, &kafka->stable_reader, now_ms);
    if (kafka_runner_idle(&kafka->prober))
        follow_files_by(kafka, &kafka->uncommitted_reader, now_ms);
}

void kafka_wait(struct kafka *kafka, int timeout_ms)
{
    struct pollfd at = {.fd = kafka->event_fd, .events = POLLIN};
    uint64_t count;
    if (poll(&at, 1, timeout_ms) > 0 && read(kafka->event_fd, &count, sizeof count) < 0)
        return; /* somebody else's read cannot be: there is one reader */
}

void kafka_wake(struct kafka *kafka)
{
    const uint64_t one = 1;
    ssize_t written = write(kafka->event_fd, &one, sizeof one);
    (void)written; /* only a full counter fails, and that one wakes as well */
}

/* The error in words, with what to do about it. */
static void explain(const struct kafka *kafka, rd_kafka_resp_err_t code, const char *text,
                    struct error *words)
{
    if (code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT)
        error_set(words,
                  "%s: kafka.session.timeout.ms (%lld) is not between the brokers' "
                  "group.min.session.timeout.ms and group.max.session.timeout.ms; nothing is "
                  "read before one of them is changed",
                  text, (long long)kafka->config->session_timeout_ms);
    else
        kafka_explain(words, code, text);
}

/* Handles an error that is not of one partition: of a topic, the group, or the client. */
static void consumer_error(struct kafka *kafka, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : NULL;
    const char *text = rd_kafka_message_errstr(message);
    struct log_about about = {.topic = topic, .partition = message->partition, .offset = -1};
    struct text name = {0};
    text_printf(&name, "consumer %d %s", (int)message->err, topic ? topic : "");
    bool due = kafka_log_due(&kafka_log_process, name.data, KAFKA_LOG_INTERVAL_MS);
    text_fini(&name);
    if (message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        atomic_store(&kafka->lacks_input, kafka->config->request_topics[kafka->job]);
    if (kafka_is_denied(kafka, message->err, text))
        return;
    struct error words;
    explain(kafka, message->err, text, &words);
    if (strstr(text, "JoinGroup failed")) {
        snprintf(kafka->refusal, sizeof kafka->refusal, "%s", words.text);
        kafka->refusal_ms = clock_boot_ms();
    }
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        kafka_right_missing(kafka, RIGHT_FIND_INPUT, kafka->config->request_topics[kafka->job],
                            rd_kafka_err2str(message->err));
        /* The partitions are requested again, which shows when the error is over. */
        kafka_partitions_failed(kafka, message->err, rd_kafka_err2str(message->err));
    } else if (!due) {
        return;
    } else if (message->err == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT) {
        log_error("kafka: %s", words.text);
    } else if (kafka_is_too_old(message->err) ||
               message->err == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL) {
        log_error("kafka: %s; waiting", words.text);
    } else if (message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        log_warn("kafka: topic %s does not exist yet: create it; waiting",
                 kafka->config->request_topics[kafka->job]);
    } else {
        log_write(LOG_WARN, topic ? &about : NULL, "kafka: %s", text);
    }
}

/* A record has come with the client's events, not in its partition's queue (which librdkafka makes
 * anew when the partition comes back to the topic, say). Whoever read on would take its place for a
 * gap, so the partition is read again from there. */
static void read_again(struct kafka *kafka, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    struct kafka_slot *slot = strcmp(topic, kafka->config->request_topics[kafka->job]) == 0
                                  ? kafka_slot_find(kafka, kafka->job, message->partition)
                                  : NULL;
    if (!slot || slot->state != SLOT_OWNED || !slot->fetched)
        return; /* it is not read any more, or from its beginning */
    struct log_about about = {
        .topic = topic, .partition = message->partition, .offset = message->offset};
    bool is_past = slot->next >= 0 && message->offset < slot->next;
    if (kafka_log_due(&kafka->log_throttle, "record with events", KAFKA_LOG_INTERVAL_MS))
        log_write(is_past ? LOG_ERROR : LOG_WARN, &about,
                  is_past ? "kafka: the record at offset %" PRId64
                            " came in the client's queue of events when more had been read of its "
                            "partition: if it has no result, send it again"
                          : "kafka: the record at offset %" PRId64
                            " came in the client's queue of events: its partition is read again "
                            "from there",
                  message->offset);
    if (is_past)
        return;
    slot->reopen = kafka->assignment.needs_reread = true;
    slot->reopen_at_ms = 0;
}

void kafka_fail_as_duplicate(struct kafka *kafka, const char *reason)
{
    struct error error;
    error_set(&error,
              "another process has the same kafka.group.instance.id and took this one's place in "
              "group %s; give each its own (%s)",
              kafka->config->group_ids[kafka->job], reason);
    kafka_fail(kafka, error.text);
}

static void check_fatal(struct kafka *kafka)
{
    char reason[400];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(kafka->consumer, reason, sizeof reason);
    if (!code)
        return;
    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        if (!kafka_assignment_fenced(kafka))
            kafka_fail_as_duplicate(kafka, reason);
        return;
    }
    struct error error;
    error_set(&error, "the consumer cannot go on: %s", reason);
    kafka_fail(kafka, error.text);
}

static void poll_reader(const struct kafka_reader *reader)
{
    rd_kafka_message_t *message;
    while (reader->client && (message = rd_kafka_consumer_poll(reader->client, 0)))
        rd_kafka_message_destroy(message);
}

/* Polls idle clients, whose events would pile up otherwise. While a runner is busy it owns and
 * polls its clients. */
static void poll_idle(struct kafka *kafka, int64_t now_ms)
{
    if (now_ms - kafka->polled_at_ms < POLL_IDLE_EVERY_MS)
        return;
    kafka->polled_at_ms = now_ms;
    if (kafka_runner_idle(&kafka->writer) && kafka->producer)
        rd_kafka_poll(kafka->producer, 0);
    if (!kafka_runner_idle(&kafka->reader))
        return;
    poll_reader(&kafka->stable_reader);
    if (kafka_runner_idle(&kafka->prober))
        poll_reader(&kafka->uncommitted_reader);
}

void kafka_serve(struct kafka *kafka)
{
    rd_kafka_message_t *message;
    while ((message = rd_kafka_consumer_poll(kafka->consumer, 0))) {
        if (message->err == RD_KAFKA_RESP_ERR__FATAL)
            check_fatal(kafka);
        else if (message->err)
            consumer_error(kafka, message);
        else
            read_again(kafka, message);
        rd_kafka_message_destroy(message);
    }
    int64_t now = clock_boot_ms();
    kafka_unowned_serve(kafka);
    kafka_probe_serve(kafka, now);
    kafka_assignment_serve(kafka, now);
    follow_files(kafka, now);
    follow_files_by_readers(kafka, now);
    kafka_unserved_serve(kafka, now);
    kafka_untold_serve(kafka, now);
    if (kafka_runner_take(&kafka->writer))
        kafka_writing_complete(kafka);
    if (kafka_runner_take(&kafka->reader))
        kafka_reading_complete(kafka);
    poll_idle(kafka, now);
}

void kafka_stop(struct kafka *kafka)
{
    atomic_store(&kafka->stopping, true);
}

bool kafka_free(struct kafka *kafka)
{
    if (!kafka)
        return true;
    kafka_stop(kafka);
    kafka_runner_fini(&kafka->writer);
    kafka_runner_fini(&kafka->reader);
    kafka_runner_fini(&kafka->prober);
    kafka_runner_fini(&kafka->looker);
    kafka_probe_fini(kafka);
    kafka_unserved_fini(kafka);
    kafka_producer_fini(kafka);
    kafka_reading_fini(&kafka->reading);
    drop_consumer(kafka, kafka_consumer_end_now);
    kafka_assignment_fini(kafka);
    drop_reader(kafka, &kafka->uncommitted_reader, kafka_consumer_end_now);
    drop_reader(kafka, &kafka->stable_reader, kafka_consumer_end_now);
    if (kafka->keeps_consumers || !kafka_consumers_ended()) /* they may still call back */
        return false;
    if (kafka->event_fd >= 0)
        close(kafka->event_fd);
    pthread_mutex_destroy(&kafka->log_throttle.lock);
    pthread_mutex_destroy(&kafka->uncommitted_reader_lock);
    free(kafka->headers);
    free(kafka);
    return true;
}
