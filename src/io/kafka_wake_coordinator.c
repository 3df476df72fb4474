/* Wakes a coordinator that has stopped working on the end of a transaction.
 *
 * While brokers come back, the record that ends a transaction in __transaction_state may be refused
 * (too few replicas in sync). The coordinator (Kafka up to 4.1, TransactionMarkerChannelManager)
 * then tries again only when its sender of markers has something else to do, or after
 * request.timeout.ms (30 s), which is as long as a session. Until then it answers each request of
 * that transactional id with CONCURRENT_TRANSACTIONS. Any other transaction that ends at the same
 * broker wakes the sender. If other workers make none, because they wait for the group, this module
 * makes a transaction that does nothing: it adds offsets of a member that does not exist, which are
 * refused, and is aborted. Its id has the same hash as the other one, and so the same
 * coordinator. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/config_kafka.h"
#include "io/kafka_internal.h"

enum { FIRST_MS = 2000, MOST_MS = 30000, GIVES_UP_MS = 4000 };

/* librdkafka asks for the group's coordinator a few times, within milliseconds, and then again only
 * when a connection opens or ends; its call has no other limit. So idle connections end soon. */
static const char IDLE_MS[] = "2000";

/* Whether the same call has to be repeated. */
static bool must_repeat(struct kafka *kafka, struct kafka_runner *runner, rd_kafka_error_t *error,
                        int64_t until_ms)
{
    bool retriable = error && rd_kafka_error_is_retriable(error);
    bool waited = error && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (error)
        rd_kafka_error_destroy(error);
    bool again = retriable && clock_boot_ms() < until_ms && !atomic_load(&kafka->stopping);
    if (again && !waited)
        kafka_runner_sleep(runner, 20);
    return again;
}

static void make_and_abort(struct kafka *kafka, struct kafka_runner *runner, rd_kafka_t *producer)
{
    enum { SLICE = KAFKA_BLOCK_MAX_MS };
    const char *topic = kafka->config->request_topics[kafka->job];
    const char *group = kafka->config->group_ids[kafka->job];
    int64_t until = clock_boot_ms() + GIVES_UP_MS;
    while (must_repeat(kafka, runner, rd_kafka_init_transactions(producer, SLICE), until))
        ;
    rd_kafka_error_t *error = rd_kafka_begin_transaction(producer);
    if (error) { /* the producer did not become ready */
        rd_kafka_error_destroy(error);
        return;
    }
    rd_kafka_consumer_group_metadata_t *nobody =
        memory_must(rd_kafka_consumer_group_metadata_new_with_genid(group, 0, "nobody", NULL));
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = 0;
    do
        error = rd_kafka_send_offsets_to_transaction(producer, list, nobody, SLICE);
    while (must_repeat(kafka, runner, error, until));
    int64_t left = until - clock_boot_ms();
    /* Once, see the top of kafka_producer.c. */
    error = rd_kafka_abort_transaction(producer, left > SLICE ? (int)left : SLICE);
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(nobody);
}

/* Wakes the coordinator of that transactional id; NULL: of this process's id. */
static void wake_coordinator(struct kafka *kafka, struct kafka_runner *runner, const char *id)
{
    struct error error;
    unsigned version;
    rd_kafka_conf_t *conf = kafka_settings_now(kafka, SIDE_PRODUCER, &version, &error);
    if (!conf)
        return;
    struct text own = {0}, neighbour = {0};
    config_kafka_transactional_id(&own, kafka->config->group_ids[kafka->job],
                                  kafka->config->instance_id);
    config_kafka_neighbour_id(&neighbour, id ? id : own.data);
    kafka_setting_must(conf, "transactional.id", neighbour.data);
    kafka_setting_must(conf, "connections.max.idle.ms", IDLE_MS);
    text_fini(&own);
    text_fini(&neighbour);
    rd_kafka_conf_set_log_cb(conf, kafka_log_nothing);
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_t *producer = kafka_client_now(kafka, RD_KAFKA_PRODUCER, conf, &error);
    if (!producer)
        return;
    make_and_abort(kafka, runner, producer);
    rd_kafka_destroy(producer);
}

void kafka_wake_coordinator(struct kafka *kafka, struct kafka_wake_up *wake_up,
                            rd_kafka_resp_err_t code)
{
    int64_t now = clock_boot_ms();
    if (code != RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS)
        return;
    if (wake_up->pause_ms == 0) {
        wake_up->pause_ms = FIRST_MS;
        wake_up->due_ms = now + FIRST_MS;
    }
    if (now < wake_up->due_ms)
        return;
    if (kafka_log_due(&kafka->log_throttle, "wake coordinator", KAFKA_LOG_INTERVAL_MS))
        log_info("kafka: the coordinator has not ended %s last transaction; an empty "
                 "transaction wakes it",
                 wake_up->id ? "a predecessor's" : "the");
    wake_coordinator(kafka, wake_up->runner, wake_up->id);
    wake_up->pause_ms = wake_up->pause_ms < MOST_MS / 2 ? 2 * wake_up->pause_ms : MOST_MS;
    wake_up->due_ms = clock_boot_ms() + wake_up->pause_ms;
}
