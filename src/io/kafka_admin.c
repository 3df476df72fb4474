#include "io/kafka_admin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum {
    ANSWER_MS = 10000,      /* limit of one request to a broker */
    OLDEST_MS = 10000,      /* limit of reading the oldest records of all partitions */
    POLL_MS = 100,          /* also between two tries of a request that a broker has refused */
    OFFSETS_STEP_MS = 1000, /* limit of one try to read committed offsets */
};

struct kafka_admin {
    rd_kafka_t *client;
    char *group;
};

struct kafka_admin *kafka_admin_new(const struct config *config, const char *group,
                                    struct error *error)
{
    rd_kafka_conf_t *conf = kafka_settings(config, REQUEST_CALL, SIDE_CONSUMER, error);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_log_cb(conf, kafka_log_keep);
    kafka_setting_must(conf, "group.id", group);
    /* A dead worker's open transaction must not hide the offsets that it committed before. */
    kafka_setting_must(conf, "isolation.level", "read_uncommitted");
    kafka_setting_must(conf, "enable.partition.eof", "true");
    /* Only one record of each partition is needed. */
    kafka_setting_must(conf, "queued.min.messages", "1");
    kafka_setting_must(conf, "fetch.message.max.bytes", "4096");
    rd_kafka_t *client = kafka_client(RD_KAFKA_CONSUMER, conf, NULL, error);
    if (!client)
        return NULL;
    struct kafka_admin *admin = memory_zeroed(1, sizeof *admin);
    admin->client = client;
    admin->group = memory_string(group);
    rd_kafka_poll_set_consumer(client);
    return admin;
}

void kafka_admin_free(struct kafka_admin *admin)
{
    if (!admin)
        return;
    rd_kafka_destroy_flags(admin->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(admin->group);
    free(admin);
}

/* Whether the error passes by itself: a broker that has just become or ceased to be a partition's
 * leader, or a group's coordinator, refuses for a moment. */
static bool passes(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH ||
           code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

/* Whether to make a request again that ended with the code, after the pause that this takes. */
static bool again(rd_kafka_resp_err_t code, int64_t until)
{
    if (!passes(code) || clock_boot_ms() >= until)
        return false;
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    return true;
}

static rd_kafka_resp_err_t describe_once(struct kafka_admin *admin, struct kafka_admin_group *group)
{
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code = rd_kafka_list_groups(admin->client, admin->group, &list, ANSWER_MS);
    if (code)
        return code;
    *group = (struct kafka_admin_group){.state = "Dead"};
    for (int i = 0; i < list->group_cnt; i++) {
        const struct rd_kafka_group_info *info = &list->groups[i];
        if (strcmp(info->group, admin->group) != 0)
            continue;
        snprintf(group->state, sizeof group->state, "%s", info->state ? info->state : "?");
        group->members = info->member_cnt;
        code = info->err;
    }
    rd_kafka_group_list_destroy(list);
    return code;
}

static int describe(struct kafka_admin *admin, struct kafka_admin_group *group, struct error *error)
{
    int64_t until = clock_boot_ms() + ANSWER_MS;
    rd_kafka_resp_err_t code;
    do
        code = describe_once(admin, group);
    while (again(code, until));
    return code ? error_set(error, "group %s: its state cannot be read: %s%s", admin->group,
                            rd_kafka_err2str(code), kafka_why_refused(code))
                : 0;
}

int kafka_admin_describe(struct kafka_admin *admin, struct kafka_admin_group *group,
                         struct error *error)
{
    return describe(admin, group, error) ? kafka_add_kept(error) : 0;
}

int32_t kafka_partition_count_or(rd_kafka_t *client, const char *topic, int timeout_ms,
                                 rd_kafka_resp_err_t *code)
{
    const struct rd_kafka_metadata *metadata = NULL;
    int32_t count = 0;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    *code = handle ? rd_kafka_metadata(client, 0, handle, &metadata, timeout_ms)
                   : rd_kafka_last_error();
    if (!*code && metadata->topic_cnt == 1) {
        *code = metadata->topics[0].err;
        count = metadata->topics[0].partition_cnt;
    }
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    if (handle)
        rd_kafka_topic_destroy(handle);
    return *code || count < 0 ? 0 : count;
}

int kafka_partition_count(rd_kafka_t *client, const char *topic, int timeout_ms,
                          struct error *error)
{
    rd_kafka_resp_err_t code;
    int32_t count = kafka_partition_count_or(client, topic, timeout_ms, &code);
    if (!count)
        return error_set(error, "topic %s: its partitions cannot be read: %s%s", topic,
                         code ? rd_kafka_err2str(code) : "it has none",
                         code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? ": create it"
                                                                         : kafka_why_refused(code));
    return count;
}

int kafka_read_ends(rd_kafka_t *client, const char *topic, int32_t partition, int64_t *begin,
                    int64_t *end, struct error *error)
{
    int64_t until = clock_boot_ms() + ANSWER_MS;
    rd_kafka_resp_err_t code;
    do
        code = rd_kafka_query_watermark_offsets(client, topic, partition, begin, end, ANSWER_MS);
    while (again(code, until));
    return code ? error_set(error, "topic %s, partition %d: its end cannot be read: %s%s", topic,
                            partition, rd_kafka_err2str(code), kafka_why_refused(code))
                : 0;
}

static int read_ends(struct kafka_admin *admin, const char *topic,
                     struct kafka_admin_partition *list, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (kafka_read_ends(admin->client, topic, (int32_t)i, &list[i].begin, &list[i].end, error))
            return -1;
    return 0;
}

/* Whether the group's coordinator refuses a right. Events that say something else are dropped. */
static bool is_group_denied(rd_kafka_t *client)
{
    bool denied = false;
    rd_kafka_message_t *message;
    while ((message = rd_kafka_consumer_poll(client, 0))) {
        denied = denied || message->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        rd_kafka_message_destroy(message);
    }
    return denied;
}

rd_kafka_resp_err_t kafka_read_offsets(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                                       int timeout_ms)
{
    int64_t until = clock_boot_ms() + timeout_ms;
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_committed(client, list, OFFSETS_STEP_MS);
        if (code == RD_KAFKA_RESP_ERR__TIMED_OUT && is_group_denied(client))
            code = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    } while (code == RD_KAFKA_RESP_ERR__TIMED_OUT ? clock_boot_ms() < until : again(code, until));
    return code;
}

static int read_committed(struct kafka_admin *admin, const char *topic,
                          struct kafka_admin_partition *list, size_t count, struct error *error)
{
    rd_kafka_topic_partition_list_t *wanted =
        memory_must(rd_kafka_topic_partition_list_new((int)count));
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(wanted, topic, (int32_t)i);
    rd_kafka_resp_err_t code = kafka_read_offsets(admin->client, wanted, ANSWER_MS);
    for (int i = 0; i < wanted->cnt && !code; i++) {
        const rd_kafka_topic_partition_t *at = &wanted->elems[i];
        struct kafka_admin_partition *into = &list[at->partition];
        code = at->err;
        into->committed = at->offset < 0 ? -1 : at->offset;
        free(into->metadata);
        into->metadata = memory_copy(at->metadata_size ? at->metadata : "", at->metadata_size);
        into->metadata_size = at->metadata_size;
    }
    rd_kafka_topic_partition_list_destroy(wanted);
    if (code)
        return error_set(error, "group %s: its committed offsets of topic %s cannot be read: %s%s",
                         admin->group, topic, rd_kafka_err2str(code), kafka_why_refused(code));
    return 0;
}

/* The offset of the first record that may be unfinished; -1: there is none. */
static int64_t oldest_offset(const struct kafka_admin_partition *at)
{
    int64_t from = at->committed > at->begin ? at->committed : at->begin;
    return from < at->end ? from : -1;
}

/* Reads one record of each partition that has unfinished ones. Records that are not read in time
 * stay unknown; it is an error if they may not be read. */
static int read_oldest(struct kafka_admin *admin, const char *topic,
                       struct kafka_admin_partition *list, size_t count, struct error *error)
{
    rd_kafka_resp_err_t refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_t *waiting =
        memory_must(rd_kafka_topic_partition_list_new((int)count));
    for (size_t i = 0; i < count; i++) {
        if (oldest_offset(&list[i]) >= 0)
            rd_kafka_topic_partition_list_add(waiting, topic, (int32_t)i)->offset =
                oldest_offset(&list[i]);
    }
    int64_t until = clock_boot_ms() + OLDEST_MS;
    int left = waiting->cnt;
    if (left && rd_kafka_assign(admin->client, waiting))
        left = 0;
    while (left && !refused && clock_boot_ms() < until) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(admin->client, POLL_MS);
        if (!message)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            refused = message->err;
        bool ours = message->rkt && (size_t)message->partition < count;
        bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        rd_kafka_topic_partition_t *at =
            ours ? rd_kafka_topic_partition_list_find(waiting, topic, message->partition) : NULL;
        if (at && (!message->err || end)) {
            if (!end)
                list[message->partition].oldest_ms = rd_kafka_message_timestamp(message, NULL);
            rd_kafka_topic_partition_list_del(waiting, topic, message->partition);
            left--;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(admin->client, NULL);
    rd_kafka_topic_partition_list_destroy(waiting);
    if (refused)
        return error_set(error, "topic %s: its records cannot be read: %s%s", topic,
                         rd_kafka_err2str(refused), kafka_why_refused(refused));
    return 0;
}

int kafka_admin_read(struct kafka_admin *admin, const char *topic,
                     struct kafka_admin_partition **list, size_t *count, struct error *error)
{
    int partitions = kafka_partition_count(admin->client, topic, ANSWER_MS, error);
    if (partitions < 0)
        return kafka_add_kept(error);
    *count = (size_t)partitions;
    *list = memory_zeroed(*count, sizeof **list);
    for (size_t i = 0; i < *count; i++)
        (*list)[i] = (struct kafka_admin_partition){
            .partition = (int32_t)i, .committed = -1, .oldest_ms = -1};
    if (read_committed(admin, topic, *list, *count, error) ||
        read_ends(admin, topic, *list, *count, error) ||
        read_oldest(admin, topic, *list, *count, error)) {
        kafka_admin_partitions_free(*list, *count);
        return kafka_add_kept(error);
    }
    return 0;
}

void kafka_admin_partitions_free(struct kafka_admin_partition *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].metadata);
    free(list);
}

int kafka_admin_commit(struct kafka_admin *admin, const char *topic, int32_t partition,
                       int64_t offset, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = memory_must(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    int64_t until = clock_boot_ms() + ANSWER_MS;
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_commit(admin->client, list, 0);
        if (!code)
            code = list->elems[0].err;
    } while (again(code, until));
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return error_set(error, "group %s, topic %s, partition %d: the commit is refused: %s%s",
                         admin->group, topic, partition, rd_kafka_err2str(code),
                         kafka_why_refused(code));
    return 0;
}
