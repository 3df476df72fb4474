#include "worker/ledger_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/ledger.h"
#include "io/kafka_admin.h"
#include "worker/wait_line.h"

static const char *const job_names[REQUEST_KINDS] = {"calls", "recordings"};

static void show_wait(const struct config *config, const char *group, const char *topic)
{
    wait_line_show(
        "asking Kafka at %.60s about group %.60s and topic %.60s; an answer may take 10 s",
        config_kafka_servers(config), group, topic);
}

/* A partition's committed offset, decoded. */
struct view {
    const struct kafka_admin_partition *at;
    struct ledger ledger;
    int64_t started, done; /* offsets from the base on */
    struct error halted;   /* why it is halted; empty: it is not */
};

/* The end of the log was read after the commit, so every committed offset must be in the log. */
static void halt_unless_within(struct view *view)
{
    int64_t marked = view->at->committed;
    for (size_t i = 0; i < view->ledger.run_count; i++)
        marked += view->ledger.runs[i].length;
    if (view->at->committed > view->at->end)
        error_set(&view->halted,
                  "offset %" PRId64 " is committed, but the log ends at %" PRId64
                  ": the topic was deleted and created anew, or has lost records",
                  view->at->committed, view->at->end);
    else if (marked > view->at->end)
        error_set(&view->halted,
                  "its log ends at offset %" PRId64 ", and its committed metadata tells of "
                  "requests up to %" PRId64
                  ": the topic was deleted and created anew, or has lost records",
                  view->at->end, marked);
}

/* A worker halts a partition whose ledger has no room for its name. Workers write no such ledger,
 * other programs may. */
static void halt_without_room(struct view *view, const char *owner)
{
    size_t size = ledger_size_for(&view->ledger, owner);
    if (size > LEDGER_MAX)
        error_set(&view->halted,
                  "its committed metadata needs %zu characters with a worker's name of %zu "
                  "characters, more than the %d of a ledger",
                  size, strlen(owner), LEDGER_MAX);
}

/* owner: the name of the worker that would take the partition over. */
static void view_init(struct view *view, const struct kafka_admin_partition *at, const char *owner)
{
    *view = (struct view){.at = at};
    if (at->committed < 0)
        return;
    if (ledger_decode(&view->ledger, at->committed, at->metadata, at->metadata_size,
                      &view->halted) < 0) {
        error_prefix(&view->halted, "its committed metadata cannot be trusted: ");
        return;
    }
    for (size_t i = 0; i < view->ledger.run_count; i++) {
        const struct ledger_run *run = &view->ledger.runs[i];
        view->started += run->mark == LEDGER_STARTED ? run->length : 0;
        view->done += run->mark == LEDGER_DONE ? run->length : 0;
    }
    halt_without_room(view, owner);
    halt_unless_within(view);
}

static void view_fini(struct view *view)
{
    ledger_fini(&view->ledger);
}

static int64_t base_of(const struct view *view)
{
    return view->at->committed < 0 ? view->at->begin : view->at->committed;
}

static int64_t lag_of(const struct view *view)
{
    int64_t lag = view->at->end - base_of(view);
    return lag > 0 ? lag : 0;
}

static size_t doubts_of(const struct view *view)
{
    return view->ledger.doubt_count + view->ledger.doubt;
}

static void add_row(struct text *out, const struct view *view)
{
    const struct kafka_admin_partition *at = view->at;
    char age[24] = "-";
    if (at->oldest_ms >= 0)
        snprintf(age, sizeof age, "%" PRId64 "s", (clock_wall_ms() - at->oldest_ms) / 1000);
    text_printf(out,
                "%9d %12" PRId64 " %12" PRId64 " %9" PRId64 " %-24s %9" PRIu64 " %7" PRId64
                " %9" PRId64 " %6zu %5zu %8s\n",
                at->partition, at->committed, at->end, lag_of(view),
                *view->ledger.owner ? view->ledger.owner : "-", view->ledger.sequence,
                view->started, view->done, doubts_of(view), at->metadata_size, age);
    if (*view->halted.text)
        text_printf(out, "          HALTED: %s; see `privacy-call-worker ledger repair`\n",
                    view->halted.text);
}

static void add_head(struct text *out, const char *topic, const char *group,
                     const struct kafka_admin_group *state)
{
    text_printf(out,
                "topic %s, group %s (%s, %d member%s)\n%9s %12s %12s %9s %-24s %9s %7s %9s %6s %5s "
                "%8s\n",
                topic, group, state->state, state->members, state->members == 1 ? "" : "s",
                "partition", "base", "end", "lag", "owner", "sequence", "started", "done", "doubts",
                "space", "oldest");
}

static void add_string(struct text *out, const char *name, const char *value)
{
    text_printf(out, "\"%s\": ", name);
    text_json_visible(out, value, strlen(value));
    text_add(out, ", ");
}

static void add_json_row(struct text *out, const struct view *view)
{
    const struct kafka_admin_partition *at = view->at;
    char oldest[CLOCK_TEXT_SIZE];
    text_printf(out,
                "{\"partition\": %d, \"base\": %" PRId64 ", \"end\": %" PRId64 ", \"lag\": %" PRId64
                ", ",
                at->partition, at->committed, at->end, lag_of(view));
    add_string(out, "owner", view->ledger.owner);
    text_printf(out,
                "\"sequence\": %" PRIu64 ", \"started\": %" PRId64 ", \"done\": %" PRId64
                ", \"doubts\": %zu, \"space\": %zu, ",
                view->ledger.sequence, view->started, view->done, doubts_of(view),
                at->metadata_size);
    if (at->oldest_ms >= 0) {
        clock_to_text(oldest, at->oldest_ms);
        add_string(out, "oldest", oldest);
        text_printf(out, "\"oldestAgeMs\": %" PRId64 ", ", clock_wall_ms() - at->oldest_ms);
    } else {
        text_add(out, "\"oldest\": null, \"oldestAgeMs\": null, ");
    }
    if (*view->halted.text)
        add_string(out, "reason", view->halted.text);
    text_printf(out, "\"halted\": %s}", *view->halted.text ? "true" : "false");
}

static void add_json_head(struct text *out, enum request_kind job, const char *topic,
                          const char *group, const struct kafka_admin_group *state)
{
    text_add(out, "{");
    add_string(out, "job", job_names[job]);
    add_string(out, "topic", topic);
    add_string(out, "group", group);
    add_string(out, "state", state->state);
    text_printf(out, "\"members\": %d, \"partitions\": [", state->members);
}

static void add_partitions(struct text *out, const struct kafka_admin_partition *list, size_t count,
                           const char *owner, bool json, size_t *halted)
{
    for (size_t i = 0; i < count; i++) {
        struct view view;
        view_init(&view, &list[i], owner);
        *halted += *view.halted.text != 0;
        if (json && i)
            text_add(out, ",");
        if (json)
            text_add(out, "\n  ");
        if (json)
            add_json_row(out, &view);
        else
            add_row(out, &view);
        view_fini(&view);
    }
}

static int show_job(const struct config *config, enum request_kind job, bool json, struct text *out,
                    size_t *halted, struct error *error)
{
    const char *topic = config->request_topics[job];
    const char *group = config->group_ids[job];
    struct kafka_admin_group state;
    struct kafka_admin_partition *list = NULL;
    size_t count = 0;
    show_wait(config, group, topic);
    struct kafka_admin *admin = kafka_admin_new(config, group, error);
    int rc = -1;
    if (admin && !kafka_admin_describe(admin, &state, error) &&
        !kafka_admin_read(admin, topic, &list, &count, error)) {
        if (json)
            add_json_head(out, job, topic, group, &state);
        else
            add_head(out, topic, group, &state);
        add_partitions(out, list, count, config->instance_id, json, halted);
        text_add(out, json ? "]}" : "\n");
        kafka_admin_partitions_free(list, count);
        rc = 0;
    }
    kafka_admin_free(admin);
    wait_line_clear();
    return rc;
}

/* A job that cannot be read does not hide the other one. */
static void show_failure(const struct config *config, enum request_kind job, bool json,
                         struct text *out, const struct error *error)
{
    fprintf(stderr, "privacy-call-worker: %s\n", error->text);
    if (!json)
        return;
    text_add(out, "{");
    add_string(out, "job", job_names[job]);
    add_string(out, "topic", config->request_topics[job]);
    add_string(out, "group", config->group_ids[job]);
    add_string(out, "error", error->text);
    text_add(out, "\"partitions\": []}");
}

int ledger_command_show(const struct config *config, const struct options *options)
{
    struct text out = {0};
    struct error error;
    size_t halted = 0, jobs = 0;
    bool failed = false;
    text_add(&out, options->json ? "{\"jobs\": [" : "");
    for (enum request_kind job = 0; job < REQUEST_KINDS; job++) {
        if (!*config->request_topics[job])
            continue;
        if (options->json && jobs++)
            text_add(&out, ",\n ");
        if (show_job(config, job, options->json, &out, &halted, &error) < 0) {
            failed = true;
            show_failure(config, job, options->json, &out, &error);
        }
    }
    if (options->json)
        text_printf(&out, "], \"halted\": %zu}\n", halted);
    fwrite(out.data, 1, out.length, stdout);
    text_fini(&out);
    return fflush(stdout) || failed || halted ? 1 : 0;
}

/* Prints what would be committed, and what may happen then. */
static void tell_repair(const struct view *view, enum request_kind job, const char *topic,
                        int64_t offset)
{
    const struct kafka_admin_partition *at = view->at;
    struct text metadata = {0};
    size_t shown = at->metadata_size < 200 ? at->metadata_size : 200;
    text_json_visible(&metadata, at->metadata, shown);
    printf("topic %s, partition %d is halted: %s\n"
           "  committed offset  %" PRId64 "\n"
           "  metadata          %zu bytes, %s%s\n"
           "  log               from %" PRId64 " to %" PRId64 "\n"
           "The repair commits offset %" PRId64
           " with empty metadata: the group goes on from there "
           "and knows of no call.\n",
           topic, at->partition, view->halted.text, at->committed, at->metadata_size, metadata.data,
           shown < at->metadata_size ? "..." : "", at->begin, at->end, offset);
    if (job == REQUEST_RECORDING && offset < at->end)
        printf("Requests from offset %" PRId64 " to %" PRId64
               " are then performed, whatever their age; those of them that have a result are "
               "performed again, and have a second one. Look at the results topic for the last one "
               "that has a result.\n",
               offset, at->end - 1);
    else if (job == REQUEST_RECORDING)
        printf("No request waits from there on, so nothing is performed again.\n");
    else if (offset < at->end)
        printf("Requests from offset %" PRId64 " to %" PRId64
               " that are younger than call.max.age.ms are then called; those of them that were "
               "called before ring twice. Look at the results topic for the last one that has a "
               "result.\n",
               offset, at->end - 1);
    else
        printf("No request waits from there on, so nothing rings twice.\n");
    if (at->committed >= 0 && offset > at->committed)
        printf("Requests from offset %" PRId64 " to %" PRId64 " that have no result get none.\n",
               at->committed, offset - 1);
    text_fini(&metadata);
}

/* Where to go on: at the given offset, or else at the committed one if the log has it. */
static int choose_offset(const struct view *view, const struct options *options, int64_t *offset,
                         struct error *error)
{
    const struct kafka_admin_partition *at = view->at;
    *offset = at->committed;
    if (!options->offset && ledger_is_halt(at->metadata, at->metadata_size))
        return error_set(error,
                         "where to go on is not known: --offset N must say it, from %" PRId64
                         " to %" PRId64 "; look at the results topic for the last request that "
                         "has a result",
                         at->begin, at->end);
    if (!options->offset && at->committed > at->end)
        return error_set(error,
                         "the committed offset is not in the log: --offset N must say where to go "
                         "on, from %" PRId64 " to %" PRId64,
                         at->begin, at->end);
    if (!options->offset)
        return 0;
    if (text_to_integer(options->offset, 0, INT64_MAX, offset) < 0 || *offset < at->begin ||
        *offset > at->end)
        return error_set(error,
                         "--offset: expected an offset of the log, from %" PRId64 " to %" PRId64,
                         at->begin, at->end);
    return 0;
}

static int require_stopped(struct kafka_admin *admin, const char *name, struct error *error)
{
    struct kafka_admin_group group;
    if (kafka_admin_describe(admin, &group, error) < 0)
        return -1;
    if (!group.members)
        return 0;
    return error_set(error,
                     "group %s has %d member%s (%s): stop all its workers, and wait until it is "
                     "empty; nothing was written",
                     name, group.members, group.members == 1 ? "" : "s", group.state);
}

static int repair(struct kafka_admin *admin, const struct options *options, enum request_kind job,
                  const char *group, const struct view *view, struct error *error)
{
    int64_t offset;
    if (!*view->halted.text)
        return error_set(error, "topic %s, partition %d is not halted: nothing to repair",
                         options->topic, view->at->partition);
    if (choose_offset(view, options, &offset, error) < 0)
        return -1;
    tell_repair(view, job, options->topic, offset);
    if (require_stopped(admin, group, error) < 0)
        return -1;
    if (!options->yes) {
        printf("Nothing was written: add --yes to do it.\n");
        return 0;
    }
    if (kafka_admin_commit(admin, options->topic, view->at->partition, offset, error) < 0)
        return -1;
    printf("Done: start the workers again.\n");
    return 0;
}

/* The longest name of a worker: a partition that a worker of another name has halted can be
 * repaired from any machine. */
static void name_longest(char owner[LEDGER_OWNER_SIZE])
{
    memset(owner, 'x', LEDGER_OWNER_SIZE - 1);
    owner[LEDGER_OWNER_SIZE - 1] = '\0';
}

static int repair_partition(const struct config *config, const struct options *options,
                            enum request_kind job, int64_t partition, struct error *error)
{
    const char *group = config->group_ids[job];
    struct kafka_admin_partition *list = NULL;
    size_t count = 0;
    int rc = -1;
    show_wait(config, group, options->topic);
    struct kafka_admin *admin = kafka_admin_new(config, group, error);
    if (admin)
        rc = kafka_admin_read(admin, options->topic, &list, &count, error);
    wait_line_clear();
    if (rc < 0)
        goto done;
    rc = -1;
    if (partition >= (int64_t)count) {
        error_set(error, "topic %s has partitions 0 to %zu only", options->topic, count - 1);
    } else {
        struct view view;
        char owner[LEDGER_OWNER_SIZE];
        name_longest(owner);
        view_init(&view, &list[partition], owner);
        rc = repair(admin, options, job, group, &view, error);
        view_fini(&view);
    }
    kafka_admin_partitions_free(list, count);
done:
    kafka_admin_free(admin);
    return rc;
}

/* What is wrong with the options before anything is asked of Kafka. Returns 0 or -1. */
static int check_options(const struct config *config, const struct options *options,
                         enum request_kind *job, int64_t *partition, struct error *error)
{
    int64_t offset;
    *job = 0;
    while (*job < REQUEST_KINDS && strcmp(options->topic, config->request_topics[*job]) != 0)
        (*job)++;
    if (*job == REQUEST_KINDS)
        return error_set(error,
                         "--topic %.100s: expected topic.call.requests or topic.recording.requests",
                         options->topic);
    if (text_to_integer(options->partition, 0, INT32_MAX, partition) < 0)
        return error_set(error, "--partition: expected a number from 0 up");
    if (options->offset && text_to_integer(options->offset, 0, INT64_MAX, &offset) < 0)
        return error_set(error, "--offset: expected a number from 0 up");
    return 0;
}

int ledger_command_repair(const struct config *config, const struct options *options)
{
    struct error error;
    enum request_kind job = REQUEST_KINDS;
    int64_t partition = -1;
    int status = 2;
    if (!check_options(config, options, &job, &partition, &error))
        status = repair_partition(config, options, job, partition, &error) < 0 ? 1 : 0;
    if (status)
        fprintf(stderr, "privacy-call-worker: %s\n", error.text);
    return fflush(stdout) && !status ? 1 : status;
}
