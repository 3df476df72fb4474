#include "worker/redrive_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/event.h"
#include "io/kafka_redrive.h"
#include "worker/wait_line.h"

/* Why dead letters were not redriven. */
enum left { LEFT_NOT_CHOSEN, LEFT_NEVER, LEFT_CUT, LEFT_FOREIGN, LEFT_UNKNOWN, LEFT_REASONS };

static const char *const left_names[LEFT_REASONS] = {
    "not chosen",
    "late-outcome or record-gone, which are no requests",
    "without the whole request, which was too large to be kept",
    "of another topic than topic.call.requests and topic.recording.requests",
    "of another reason than invalid: another program or a newer version wrote them",
};

struct redrive_run {
    const struct config *config;
    const struct options *options;
    int64_t since_ms, limit;
    struct event_rules rules;
    size_t chosen, sent, left[LEFT_REASONS];
    size_t seen;          /* dead letters that were checked */
    bool terminal, shown; /* shown: a line stands there that the next one overwrites */
    int64_t shown_at_ms;  /* when the progress line was written; 0: never */
};

enum { PROGRESS_INTERVAL_MS = 250 };

static bool is_never(const char *reason)
{
    return !strcmp(reason, "late-outcome") || !strcmp(reason, "record-gone");
}

static enum request_kind kind_of(const struct config *config, const char *topic)
{
    enum request_kind kind = 0;
    while (kind < REQUEST_KINDS && (!*topic || strcmp(topic, config->request_topics[kind]) != 0))
        kind++;
    return kind;
}

/* Whether the request in the dead letter has that order id, parsed as the worker does. */
static bool is_of_order(const struct redrive_run *run, const struct kafka_dead_letter *letter,
                        const char *order)
{
    struct record_position position = {kind_of(run->config, letter->topic), letter->topic_partition,
                                       0};
    struct request *request = request_new(position, &letter->request);
    event_parse(request, &run->rules, clock_wall_ms());
    bool same = request->event.order_id && !strcmp(request->event.order_id, order);
    request_free(request);
    return same;
}

static bool is_chosen(const struct redrive_run *run, const struct kafka_dead_letter *letter)
{
    const struct options *options = run->options;
    return (!options->reason || !strcmp(letter->reason, options->reason)) &&
           (!options->code || !strcmp(letter->code, options->code)) &&
           (!options->since || letter->timestamp_ms >= run->since_ms) &&
           (!options->order || is_of_order(run, letter, options->order));
}

/* Prints a line for --dry-run. */
static void print_letter(const struct kafka_dead_letter *letter)
{
    char time[CLOCK_TEXT_SIZE];
    struct text line = {0};
    clock_to_text(time, letter->timestamp_ms);
    text_printf(&line, "partition %d, offset %" PRId64 ", %s: to ", letter->partition,
                letter->offset, time);
    text_visible(&line, letter->topic, strlen(letter->topic));
    text_printf(&line, ", partition %d, ", letter->topic_partition);
    text_json_visible(&line, letter->reason, strlen(letter->reason));
    text_add(&line, " ");
    text_json_visible(&line, letter->code, strlen(letter->code));
    if (letter->request.key) {
        text_add(&line, ", key ");
        text_json_visible(&line, letter->request.key, letter->request.key_size);
    }
    puts(line.data);
    text_fini(&line);
}

/* Writes the progress line on a terminal; the next one overwrites it. */
static void show_progress(struct redrive_run *run)
{
    int64_t now = clock_boot_ms();
    if (!run->terminal || (run->shown_at_ms && now < run->shown_at_ms + PROGRESS_INTERVAL_MS))
        return;
    run->shown_at_ms = now;
    run->shown = true;
    fprintf(stderr, "\r\033[K%zu letters seen, %zu chosen, %zu redriven", run->seen, run->chosen,
            run->sent);
}

/* What it waits for until the first dead letter comes. */
static void show_wait(struct redrive_run *run)
{
    wait_line_show("asking Kafka at %.60s about topic %.60s; an answer may take 30 s",
                   config_kafka_servers(run->config), run->config->dead_letters);
    run->shown = true;
}

/* Erases the line of progress or of the wait. */
static void clear_progress(struct redrive_run *run)
{
    if (run->shown)
        wait_line_clear();
    run->shown = false;
    run->shown_at_ms = 0;
}

static enum kafka_dead_letter_choice leave(struct redrive_run *run, enum left why)
{
    run->left[why]++;
    return why == LEFT_NEVER || why == LEFT_CUT ? LETTER_NEVER : LETTER_LEAVE;
}

static enum kafka_dead_letter_choice choose(void *arg, const struct kafka_dead_letter *letter)
{
    struct redrive_run *run = arg;
    run->seen++;
    show_progress(run);
    if (is_never(letter->reason))
        return leave(run, LEFT_NEVER);
    if (kind_of(run->config, letter->topic) == REQUEST_KINDS || letter->topic_partition < 0)
        return leave(run, LEFT_FOREIGN);
    if (strcmp(letter->reason, "invalid") != 0)
        return leave(run, LEFT_UNKNOWN);
    if (!is_chosen(run, letter))
        return leave(run, LEFT_NOT_CHOSEN);
    if (letter->cut)
        return leave(run, LEFT_CUT);
    if (run->limit && run->chosen == (size_t)run->limit)
        return LETTER_STOP;
    run->chosen++;
    if (run->options->dry_run) {
        clear_progress(run);
        print_letter(letter);
    }
    return LETTER_SEND;
}

static void committed(void *arg, size_t sent, int64_t looked_at)
{
    (void)looked_at;
    struct redrive_run *run = arg;
    run->sent += sent;
    show_progress(run);
}

static const struct kafka_redrive_handler handler = {.choose = choose, .committed = committed};

static int read_choice(struct redrive_run *run, struct error *error)
{
    const struct options *options = run->options;
    if (options->reason && is_never(options->reason))
        return error_set(error,
                         "--reason %s: refused: a late outcome is no request any more, and a "
                         "record that is gone has none",
                         options->reason);
    if (options->reason && strcmp(options->reason, "invalid") != 0)
        return error_set(error, "--reason: expected invalid");
    if (options->since && clock_from_text(options->since, &run->since_ms) < 0)
        return error_set(error, "--since: expected a time such as 2026-01-12T10:00:43Z");
    if (options->limit && text_to_integer(options->limit, 1, INT64_MAX, &run->limit) < 0)
        return error_set(error, "--limit: expected a number from 1 up");
    return 0;
}

static void print_summary(const struct redrive_run *run)
{
    printf("%s %zu\n", run->options->dry_run ? "would redrive" : "redriven",
           run->options->dry_run ? run->chosen : run->sent);
    for (enum left why = 0; why < LEFT_REASONS; why++)
        if (run->left[why])
            printf("left %zu: %s\n", run->left[why], left_names[why]);
}

int redrive_command(const struct config *config, const struct options *options)
{
    struct error error;
    struct redrive_run run = {
        .config = config,
        .options = options,
        .rules = {.topics = {config->request_topics[0], config->request_topics[1]},
                  .max_bytes = (size_t)config->event_max_bytes},
        .terminal = isatty(STDERR_FILENO),
    };
    if (read_choice(&run, &error) < 0) {
        fprintf(stderr, "privacy-call-worker: %s\n", error.text);
        return 2;
    }
    show_wait(&run);
    int rc = kafka_redrive(config, options->dry_run, &handler, &run, &error);
    clear_progress(&run);
    if (rc < 0)
        fprintf(stderr,
                "privacy-call-worker: %s; what is told as redriven is: run it again for the "
                "rest\n",
                error.text);
    print_summary(&run);
    return fflush(stdout) || rc < 0;
}
