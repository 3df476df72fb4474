#include "io/kafka_redrive.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/ledger.h"
#include "io/kafka_internal.h"

enum {
    ANSWER_MS = 30000,  /* limit of one request to a broker, and of one transactional call */
    SILENCE_MS = 60000, /* after that time without a dead letter or an end, something is wrong */
    COUNT_MS = 10000,   /* limit of the question how many partitions the topic has */
    REPORT_MS = 1000,   /* limit of the wait for the report which request is refused */
    POLL_MS = 100,
    /* Dead letters in one transaction. Each is a request of its own, with five under way: where a
     * write takes 300 ms they take 6 s of ANSWER_MS. */
    BATCH = 100,
    BATCH_BYTES = 4 * 1048576, /* ... or so many bytes */
    ALL_DENIED = 1 << REQUEST_CALL | 1 << REQUEST_RECORDING,
};

struct redrive {
    const struct config *config;
    const struct kafka_redrive_handler *handler;
    void *arg;
    bool dry_run;
    char *group;
    rd_kafka_t *consumer, *producer;
    rd_kafka_consumer_group_metadata_t
        *membership; /* without a member, because the group has none */
    bool open;       /* a transaction is open */
    bool undecided;  /* the commit has timed out: it may have happened, or happen still */
    size_t batch_count, batch_bytes; /* in it */
    int64_t batch_last;              /* the offset of its last dead letter */
    rd_kafka_resp_err_t refused;     /* as the delivery reports say */
    bool is_placeless;               /* a report says that a request is delivered, but not where */
    int64_t refused_offset;          /* of the dead letter whose request that is */
    atomic_uint denied;              /* bit: kind of the request topic that may not be written */
    int32_t targets[REQUEST_KINDS]; /* partitions of the request topic; 0: not asked; -1: unknown */
    bool stop;
    /* Of the current partition. */
    int32_t partition;
    struct ledger read,
        built;              /* read: the committed ledger; built: what this run has gone through */
    int64_t position, told; /* position: after the last offset that was gone through; told: position
                               at the last progress report */
};

/* The callback for sockets in kafka_settings.c takes the producer's opaque for a struct kafka, of
 * which it reads the configuration. */
_Static_assert(offsetof(struct redrive, config) == offsetof(struct kafka, config),
               "the configuration comes first in both");

static void set_denied(struct redrive *redrive, const char *topic)
{
    enum request_kind kind = kafka_topic_kind(redrive->config, topic);
    if (kind < REQUEST_KINDS)
        atomic_fetch_or(&redrive->denied, 1u << kind);
}

static void delivered(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    struct redrive *redrive = opaque;
    (void)handle;
    redrive->is_placeless |= !message->err && message->offset < 0; /* see kafka_producer.c */
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        set_denied(redrive, rd_kafka_topic_name(message->rkt));
    /* After a refusal, librdkafka gives up the requests that it has not sent yet, and may tell of
     * those first. Neither they nor what is too late is refused. */
    bool given_up = message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                    message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
                    message->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
    if (message->err && !given_up && !kafka_is_fenced(message->err) && !redrive->refused) {
        redrive->refused = message->err;
        redrive->refused_offset = (int64_t)(intptr_t)message->_private;
    }
}

/* A thread of librdkafka. */
static void read_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    struct redrive *redrive = rd_kafka_opaque(handle);
    for (enum request_kind kind = 0; kind < REQUEST_KINDS; kind++)
        if (kafka_line_forbids(facility, text, redrive->config->request_topics[kind]))
            set_denied(redrive, redrive->config->request_topics[kind]);
    kafka_log_keep(handle, level, facility, text);
}

/* The error in words of this command. A right that is missing is named with what it is on. */
static void describe(struct redrive *redrive, const rd_kafka_error_t *problem, const char *what,
                     struct error *error)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(problem);
    unsigned denied = atomic_load(&redrive->denied);
    char *const *topics = redrive->config->request_topics;
    if (denied)
        error_set(error,
                  "%s: Topic authorization failed: give this user the right WRITE on topic "
                  "%s%s%s (docs/kafka.md)",
                  what, denied & 1u << REQUEST_CALL ? topics[REQUEST_CALL] : "",
                  denied == ALL_DENIED ? " and on topic " : "",
                  denied & 1u << REQUEST_RECORDING ? topics[REQUEST_RECORDING] : "");
    else if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        error_set(error, "%s: topic %s: %s%s", what, redrive->config->dead_letters,
                  rd_kafka_err2str(code), kafka_why_refused(code));
    else if (*kafka_why_refused(code))
        error_set(error, "%s: %s%s", what, rd_kafka_err2str(code), kafka_why_refused(code));
    else if (kafka_is_fenced(code))
        error_set(error, "%s: %s: another redrive has begun", what, rd_kafka_error_string(problem));
    else {
        struct error words;
        error_set(&words, "%s: %s", what, rd_kafka_error_string(problem));
        kafka_explain(error, code, words.text);
    }
}

static int take_error(struct redrive *redrive, rd_kafka_error_t *problem, const char *what,
                      struct error *error)
{
    if (!problem)
        return 0;
    describe(redrive, problem, what, error);
    rd_kafka_error_destroy(problem);
    return -1;
}

static int make_consumer(struct redrive *redrive, struct error *error)
{
    rd_kafka_conf_t *conf = kafka_settings(redrive->config, REQUEST_CALL, SIDE_CONSUMER, error);
    if (!conf)
        return -1;
    rd_kafka_conf_set_log_cb(conf, kafka_log_keep);
    kafka_setting_must(conf, "group.id", redrive->group);
    kafka_setting_must(conf, "enable.partition.eof", "true");
    kafka_setting_must(conf, "auto.offset.reset", "earliest");
    redrive->consumer = kafka_client(RD_KAFKA_CONSUMER, conf, NULL, error);
    if (!redrive->consumer)
        return -1;
    rd_kafka_poll_set_consumer(redrive->consumer);
    redrive->membership = rd_kafka_consumer_group_metadata_new(redrive->group);
    return redrive->membership ? 0 : error_set(error, "librdkafka: no metadata of a group");
}

static int make_producer(struct redrive *redrive, struct error *error)
{
    rd_kafka_conf_t *conf = kafka_settings(redrive->config, REQUEST_CALL, SIDE_PRODUCER, error);
    if (!conf)
        return -1;
    char what[320];
    struct text id = {0};
    text_printf(&id, "%s:redrive", redrive->group);
    /* The broker refuses whole batches, and requests that fit may be too large together. */
    kafka_setting_must(conf, "batch.num.messages", "1");
    rd_kafka_conf_set_log_cb(conf, read_log);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_opaque(conf, redrive);
    kafka_setting_must(conf, "transactional.id", id.data);
    snprintf(what, sizeof what, "preparing the transactions of %s", id.data);
    text_fini(&id);
    redrive->producer = kafka_client(RD_KAFKA_PRODUCER, conf, NULL, error);
    if (!redrive->producer)
        return -1;
    return take_error(redrive, rd_kafka_init_transactions(redrive->producer, ANSWER_MS), what,
                      error);
}

/* The header's text; "" if it is missing or holds a NUL. */
static const char *header_text(const rd_kafka_headers_t *headers, const char *name, char *out,
                               size_t size)
{
    const void *value;
    size_t length;
    *out = 0;
    if (!headers || rd_kafka_header_get_last(headers, name, &value, &length) || !value ||
        memchr(value, 0, length))
        return out;
    length = length < size - 1 ? length : size - 1;
    memcpy(out, value, length);
    out[length] = 0;
    return out;
}

/* The index of the worker's own headers, which follow the request's and begin with the reason. */
static size_t own_headers_at(const struct record_header *headers, size_t count)
{
    size_t at = count;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(headers[i].name, "dlq.reason"))
            at = i;
    return at;
}

static bool has_header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t size;
    return headers && !rd_kafka_header_get_last(headers, name, &value, &size);
}

/* Whether there is the partition that the letter came from: else librdkafka waits for it, and then
 * names neither. Where a right is missing, the write tells which. */
static int check_target(struct redrive *redrive, const struct kafka_dead_letter *letter,
                        struct error *error)
{
    enum request_kind kind = kafka_topic_kind(redrive->config, letter->topic);
    if (kind == REQUEST_KINDS)
        return 0;
    int32_t *count = &redrive->targets[kind];
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!*count)
        *count = kafka_partition_count_or(redrive->consumer, letter->topic, COUNT_MS, &code);
    if (!*count)
        *count = -1;
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return error_set(error,
                         "topic %s, to which the letter at partition %d, offset %" PRId64
                         " goes, does not exist: create it",
                         letter->topic, letter->partition, letter->offset);
    if (*count > 0 && letter->topic_partition >= *count)
        return error_set(error,
                         "the letter at partition %d, offset %" PRId64
                         " goes to partition %d of topic %s, which has %d partitions now: add "
                         "partitions (kafka-topics.sh --alter)",
                         letter->partition, letter->offset, letter->topic_partition, letter->topic,
                         *count);
    return 0;
}

static int commit(struct redrive *redrive, struct error *error);

static int send_letter(struct redrive *redrive, const struct kafka_dead_letter *letter,
                       struct error *error)
{
    const struct raw_record *raw = &letter->request;
    if (check_target(redrive, letter, error) < 0)
        return -1;
    if (!redrive->open && take_error(redrive, rd_kafka_begin_transaction(redrive->producer),
                                     "beginning a transaction", error))
        return -1;
    redrive->open = true;
    rd_kafka_headers_t *headers = memory_must(rd_kafka_headers_new(raw->header_count + 1));
    for (size_t i = 0; i < raw->header_count; i++)
        rd_kafka_header_add(headers, raw->headers[i].name, -1, raw->headers[i].value,
                            raw->headers[i].value ? (ssize_t)raw->headers[i].size : 0);
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_producev(
                redrive->producer, RD_KAFKA_V_TOPIC(letter->topic),
                RD_KAFKA_V_PARTITION(letter->topic_partition),
                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(raw->key, raw->key_size),
                RD_KAFKA_V_VALUE((void *)raw->value, raw->value_size), RD_KAFKA_V_HEADERS(headers),
                RD_KAFKA_V_OPAQUE((void *)(intptr_t)letter->offset), RD_KAFKA_V_END)) ==
           RD_KAFKA_RESP_ERR__QUEUE_FULL)
        rd_kafka_poll(redrive->producer, POLL_MS);
    if (code) {
        rd_kafka_headers_destroy(headers);
        /* The transaction has failed already, for the sake of another letter: its next step says
         * why. */
        bool failed = code == RD_KAFKA_RESP_ERR__STATE || code == RD_KAFKA_RESP_ERR__FATAL;
        if (failed && commit(redrive, error) < 0)
            return -1;
        return error_set(error, "writing to topic %s, partition %d: %s", letter->topic,
                         letter->topic_partition, rd_kafka_err2str(code));
    }
    redrive->batch_count++;
    redrive->batch_last = letter->offset;
    redrive->batch_bytes += raw->key_size + raw->value_size;
    return 0;
}

/* Writes the ledger to commit: what this run has gone through, and after that what earlier runs
 * have noted. */
static int write_ledger(struct redrive *redrive, struct text *metadata, int64_t *base,
                        struct error *error)
{
    struct ledger ledger = {0};
    ledger_reset(&ledger, redrive->built.base);
    for (size_t i = 0; i < redrive->built.run_count; i++)
        ledger_add(&ledger, redrive->built.runs[i].mark, redrive->built.runs[i].length);
    int64_t end = redrive->read.base;
    for (size_t i = 0; i < redrive->read.run_count; i++) {
        const struct ledger_run *run = &redrive->read.runs[i];
        int64_t from = end > redrive->position ? end : redrive->position;
        end += run->length;
        if (end > from)
            ledger_add(&ledger, run->mark, end - from);
    }
    ledger.sequence = ++redrive->read.sequence;
    ledger_trim(&ledger);
    ledger_encode(&ledger, metadata);
    *base = ledger.base;
    ledger_fini(&ledger);
    if (metadata->length <= LEDGER_MAX)
        return 0;
    return error_set(error,
                     "partition %d of the dead letters: redriven and left letters alternate too "
                     "often to be noted: redrive the oldest ones first, without a choice",
                     redrive->partition);
}

/* The steps of a commit. list: the noted offsets. */
static rd_kafka_error_t *send_offsets(struct redrive *redrive,
                                      const rd_kafka_topic_partition_list_t *list)
{
    return rd_kafka_send_offsets_to_transaction(redrive->producer, list, redrive->membership,
                                                ANSWER_MS);
}

static rd_kafka_error_t *commit_transaction(struct redrive *redrive,
                                            const rd_kafka_topic_partition_list_t *list)
{
    (void)list;
    rd_kafka_error_t *problem = rd_kafka_commit_transaction(redrive->producer, ANSWER_MS);
    /* No call of this producer may follow, see the top of kafka_producer.c. */
    if (problem && rd_kafka_error_code(problem) == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        redrive->open = false;
        redrive->undecided = true;
    }
    return problem;
}

/* Waits for the report of a request that is refused: the transaction fails a little before it is
 * there, or long before it is read. */
static void read_reports(struct redrive *redrive)
{
    int64_t until = clock_boot_ms() + REPORT_MS;
    while (!redrive->refused && rd_kafka_outq_len(redrive->producer) > 0 && clock_boot_ms() < until)
        rd_kafka_poll(redrive->producer, POLL_MS);
}

/* Makes the step, and repeats it until that time while librdkafka reports a retriable error. */
static int make_step(struct redrive *redrive, const rd_kafka_topic_partition_list_t *list,
                     rd_kafka_error_t *(*step)(struct redrive *redrive,
                                               const rd_kafka_topic_partition_list_t *list),
                     int64_t until, const char *what, struct error *error)
{
    rd_kafka_error_t *problem = step(redrive, list);
    while (problem && redrive->open && rd_kafka_error_is_retriable(problem) &&
           clock_boot_ms() < until) {
        rd_kafka_error_destroy(problem);
        problem = step(redrive, list);
    }
    if (problem)
        read_reports(redrive);
    return take_error(redrive, problem, what, error);
}

/* A list with the partition's base and metadata. It owns the metadata. */
static rd_kafka_topic_partition_list_t *list_of_note(const struct redrive *redrive, int64_t base,
                                                     struct text *metadata)
{
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_add(list, redrive->config->dead_letters, redrive->partition);
    at->offset = base;
    at->metadata_size = metadata->length;
    at->metadata = text_take(metadata); /* released with the list */
    return list;
}

/* If the broker refuses one of the requests, its letter is told. The remedy comes before
 * librdkafka's words, which may be long. */
static void tell_refusal(const struct redrive *redrive, struct error *error)
{
    if (!redrive->refused || atomic_load(&redrive->denied))
        return;
    const char *remedy = kafka_remedy(redrive->refused);
    error_prefix(error,
                 "the request of the letter at partition %d, offset %" PRId64
                 " is refused (%s%s%s): ",
                 redrive->partition, redrive->refused_offset, rd_kafka_err2str(redrive->refused),
                 remedy ? ": " : "", remedy ? remedy : "");
}

static int read_committed(struct redrive *redrive, struct error *error);

static void tell_committed(struct redrive *redrive)
{
    redrive->handler->committed(redrive->arg, redrive->batch_count,
                                redrive->position - redrive->told);
    redrive->told = redrive->position;
    redrive->batch_count = redrive->batch_bytes = 0;
}

/* After a commit that has timed out: a new producer with the same transactional id ends the
 * transaction, and after that the note tells whether it was committed. */
static void find_out(struct redrive *redrive, struct error *error)
{
    struct error why;
    rd_kafka_destroy(redrive->producer);
    redrive->producer = NULL;
    if (make_producer(redrive, &why) < 0 || read_committed(redrive, &why) < 0) {
        error_prefix(error,
                     "whether the last %zu are redriven is not known yet; the next run finds out, "
                     "and until then their transaction may hold back the topics of requests: ",
                     redrive->batch_count);
        error_suffix(error, "; finding out: %s", why.text);
    } else if (ledger_at(&redrive->read, redrive->batch_last) == LEDGER_DONE)
        tell_committed(redrive);
}

/* Waits for all reports. What is not reported in time fails the commit. */
static int check_places(struct redrive *redrive, struct error *error)
{
    rd_kafka_flush(redrive->producer, ANSWER_MS);
    if (!redrive->is_placeless)
        return 0;
    return error_set(error, "the brokers took a request without telling its offset, so it may not "
                            "be in the log: the last letters are not redriven");
}

static int commit(struct redrive *redrive, struct error *error)
{
    struct text metadata = {0};
    int64_t base;
    if (write_ledger(redrive, &metadata, &base, error) < 0) {
        text_fini(&metadata);
        return -1;
    }
    rd_kafka_topic_partition_list_t *list = list_of_note(redrive, base, &metadata);
    int64_t until = clock_boot_ms() + ANSWER_MS;
    char noting[320];
    snprintf(noting, sizeof noting, "noting what was redriven in group %s", redrive->group);
    int rc = make_step(redrive, list, send_offsets, until, noting, error);
    if (!rc)
        rc = check_places(redrive, error);
    if (!rc)
        rc = make_step(redrive, list, commit_transaction, until, "committing", error);
    rd_kafka_topic_partition_list_destroy(list);
    if (rc) {
        tell_refusal(redrive, error);
        if (redrive->undecided)
            find_out(redrive, error);
        return -1;
    }
    redrive->open = false;
    tell_committed(redrive);
    return 0;
}

static void fill_letter(struct kafka_dead_letter *letter, const rd_kafka_message_t *message,
                        const struct record_header *headers, size_t count)
{
    size_t own = own_headers_at(headers, count);
    letter->partition = message->partition;
    letter->offset = message->offset;
    letter->timestamp_ms = rd_kafka_message_timestamp(message, NULL);
    letter->request = (struct raw_record){
        .key = message->key,
        .key_size = message->key_len,
        .value = message->payload,
        .value_size = message->len,
        .headers = headers,
        .header_count = own,
        .timestamp_ms = letter->timestamp_ms,
    };
}

/* Handles a dead letter that no run has redriven: asks whether to send it, and sends it. Returns
 * whether it is done; -1 on failure. */
static int take_letter(struct redrive *redrive, const rd_kafka_message_t *message,
                       struct error *error)
{
    char reason[64], code[64], topic[256], number[24];
    rd_kafka_headers_t *headers = NULL;
    struct record_header *list = NULL;
    size_t room = 0, count = kafka_read_headers(message, &list, &room);
    rd_kafka_message_headers(message, &headers);
    struct kafka_dead_letter letter = {
        .reason = header_text(headers, "dlq.reason", reason, sizeof reason),
        .code = header_text(headers, "dlq.code", code, sizeof code),
        .topic = header_text(headers, "dlq.topic", topic, sizeof topic),
        .cut = has_header(headers, "dlq.value.size") || has_header(headers, "dlq.key.size") ||
               has_header(headers, "dlq.headers.size"),
    };
    int64_t partition = -1;
    text_to_integer(header_text(headers, "dlq.partition", number, sizeof number), 0, INT32_MAX,
                    &partition);
    letter.topic_partition = (int32_t)partition;
    fill_letter(&letter, message, list, count);
    if (has_header(headers, "dlq.key.missing")) {
        letter.request.key = NULL;
        letter.request.key_size = 0;
    }
    enum kafka_dead_letter_choice choice = redrive->handler->choose(redrive->arg, &letter);
    int done = choice == LETTER_SEND || choice == LETTER_NEVER;
    redrive->stop = choice == LETTER_STOP;
    if (choice == LETTER_SEND && !redrive->dry_run && send_letter(redrive, &letter, error) < 0)
        done = -1;
    free(list);
    return done;
}

/* Offsets below `offset` without a dead letter are gaps, and count as done. */
static void pass(struct redrive *redrive, int64_t offset)
{
    if (offset > redrive->position) {
        ledger_add(&redrive->built, LEDGER_DONE, offset - redrive->position);
        redrive->position = offset;
    }
}

static int take_message(struct redrive *redrive, const rd_kafka_message_t *message,
                        struct error *error)
{
    if (message->offset < redrive->position)
        return 0;
    bool noted = ledger_at(&redrive->read, message->offset) == LEDGER_DONE;
    int done = noted ? 1 : take_letter(redrive, message, error);
    if (done < 0 || redrive->stop)
        return done < 0 ? -1 : 0;
    pass(redrive, message->offset);
    ledger_add(&redrive->built, done ? LEDGER_DONE : LEDGER_FRESH, 1);
    redrive->position++;
    if (redrive->batch_count >= BATCH || redrive->batch_bytes >= BATCH_BYTES)
        return commit(redrive, error);
    return 0;
}

static int read_committed(struct redrive *redrive, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(1));
    const rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_add(list, redrive->config->dead_letters, redrive->partition);
    rd_kafka_resp_err_t code = kafka_read_offsets(redrive->consumer, list, ANSWER_MS);
    if (!code)
        code = at->err;
    int rc = 0;
    if (code)
        rc = error_set(error, "group %s: what was redriven before cannot be read: %s%s",
                       redrive->group, rd_kafka_err2str(code), kafka_why_refused(code));
    else if (ledger_decode(&redrive->read, at->offset < 0 ? 0 : at->offset,
                           at->metadata_size ? at->metadata : "", at->metadata_size, error) < 0)
        rc = error_prefix(error,
                          "group %s, partition %d: what was redriven before: ", redrive->group,
                          redrive->partition);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

/* An error that came instead of a letter. Returns 0 if waiting may help. */
static int take_trouble(const struct redrive *redrive, const rd_kafka_message_t *message,
                        struct error *error)
{
    const char *topic = redrive->config->dead_letters, *remedy = kafka_read_remedy(message->err);
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return error_set(error, "topic %s: the letters cannot be read: %s%s", topic,
                         rd_kafka_err2str(message->err), kafka_why_refused(message->err));
    if (!*remedy)
        return 0;
    return error_set(error,
                     "topic %s, partition %d (group %s): what stands at offset %" PRId64
                     " cannot be read (%s); %s",
                     topic, redrive->partition, redrive->group, redrive->position,
                     rd_kafka_message_errstr(message), remedy);
}

static int read_letters(struct redrive *redrive, int64_t end, struct error *error)
{
    int64_t until = clock_boot_ms() + SILENCE_MS;
    while (redrive->position < end && !redrive->stop) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(redrive->consumer, POLL_MS);
        if (!message && clock_boot_ms() < until)
            continue;
        if (!message)
            return error_set(error, "topic %s, partition %d: no letter came for %d s",
                             redrive->config->dead_letters, redrive->partition, SILENCE_MS / 1000);
        int rc = 0;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            pass(redrive, message->offset < end ? message->offset : end), end = redrive->position;
        else if (!message->err && message->offset < end)
            rc = take_message(redrive, message, error), until = clock_boot_ms() + SILENCE_MS;
        else if (!message->err)
            pass(redrive, end);
        else
            rc = take_trouble(redrive, message, error);
        rd_kafka_message_destroy(message);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int go_through(struct redrive *redrive, int32_t partition, struct error *error)
{
    const char *topic = redrive->config->dead_letters;
    int64_t begin, end;
    redrive->partition = partition;
    if (kafka_read_ends(redrive->consumer, topic, partition, &begin, &end, error))
        return -1;
    if (read_committed(redrive, error) < 0)
        return -1;
    redrive->position = redrive->read.base > begin ? redrive->read.base : begin;
    redrive->told = redrive->position;
    ledger_reset(&redrive->built, redrive->position);
    if (redrive->position >= end)
        return 0;
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = redrive->position;
    rd_kafka_resp_err_t code = rd_kafka_assign(redrive->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return error_set(error, "topic %s, partition %d: %s", topic, partition,
                         rd_kafka_err2str(code));
    int rc = read_letters(redrive, end, error);
    rd_kafka_assign(redrive->consumer, NULL);
    if (!rc && redrive->open)
        rc = commit(redrive, error);
    return rc;
}

static void redrive_fini(struct redrive *redrive)
{
    if (redrive->producer && redrive->open) {
        rd_kafka_error_t *problem = rd_kafka_abort_transaction(redrive->producer, ANSWER_MS);
        if (problem)
            rd_kafka_error_destroy(
                problem); /* the first step of the next run ends the transaction */
    }
    if (redrive->membership)
        rd_kafka_consumer_group_metadata_destroy(redrive->membership);
    if (redrive->producer)
        rd_kafka_destroy(redrive->producer);
    if (redrive->consumer)
        rd_kafka_destroy_flags(redrive->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    ledger_fini(&redrive->read);
    ledger_fini(&redrive->built);
    free(redrive->group);
}

int kafka_redrive(const struct config *config, bool dry_run,
                  const struct kafka_redrive_handler *handler, void *arg, struct error *error)
{
    struct redrive redrive = {.config = config, .handler = handler, .arg = arg, .dry_run = dry_run};
    struct text group = {0};
    text_printf(&group, "%s-redrive", config->group_ids[REQUEST_CALL]);
    redrive.group = text_take(&group);
    int rc = -1, count = 0;
    /* The producer first: it ends an earlier run's open transaction before that run's note is
     * read. */
    if ((dry_run || !make_producer(&redrive, error)) && !make_consumer(&redrive, error) &&
        (count = kafka_partition_count(redrive.consumer, config->dead_letters, COUNT_MS, error)) >
            0)
        rc = 0;
    for (int32_t i = 0; i < count && !rc && !redrive.stop; i++)
        rc = go_through(&redrive, i, error);
    if (rc)
        kafka_add_kept(error);
    redrive_fini(&redrive);
    return rc;
}
