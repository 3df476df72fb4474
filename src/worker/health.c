#include "worker/health.h"

#include <stdio.h>

#include "base/clock.h"
#include "io/kafka.h"

enum { TURN_MAX_MS = 10000 }; /* a loop without an iteration for longer is not alive */

bool health_is_on(const struct metrics *metrics, int job)
{
    return *metrics->config->request_topics[job];
}

/* What the log says of a topic is true here at once, not only after a Kafka thread's turn. */
const char *health_lacks_topic(const struct metrics *metrics, int job)
{
    const struct kafka *kafka = metrics->kafka[job];
    return kafka ? kafka_lacks_topic(kafka) : NULL;
}

/* Whether each job that is on has joined its group. A job that waits for a topic that does not
 * exist yet does not make the worker unready if the other job has joined. */
static bool is_in_groups(const struct metrics *metrics)
{
    int joined = 0;
    for (int job = 0; job < REQUEST_KINDS; job++) {
        bool in_group = atomic_load(&metrics->in_group[job]);
        if (health_is_on(metrics, job) && !in_group && !health_lacks_topic(metrics, job))
            return false;
        joined += in_group;
    }
    return joined > 0;
}

/* True at once, like health_lacks_topic. */
static bool lacks_right(const struct metrics *metrics)
{
    for (int job = 0; job < REQUEST_KINDS; job++)
        if (metrics->kafka[job] && kafka_lacks_right(metrics->kafka[job]))
            return true;
    return false;
}

/* What keeps the worker from being ready, and of several obstacles the one to mend first. */
enum obstacle { NONE, DRAINING, NO_RIGHT, OUTSIDE, FAILING };

static enum obstacle find_obstacle(const struct metrics *metrics)
{
    if (atomic_load(&metrics->draining))
        return DRAINING;
    if (lacks_right(metrics))
        return NO_RIGHT;
    if (!is_in_groups(metrics))
        return OUTSIDE;
    return metrics_sum(metrics->failing_jobs) > 0 ? FAILING : NONE;
}

bool health_is_ready(const struct metrics *metrics)
{
    return find_obstacle(metrics) == NONE;
}

/* Why the group of a job that is outside refuses it. */
static bool copy_refusal(struct metrics *metrics, char *out, size_t size)
{
    for (int job = 0; job < REQUEST_KINDS; job++)
        if (health_is_on(metrics, job) && !atomic_load(&metrics->in_group[job]) &&
            metrics_copy_refusal(metrics, job, out, size))
            return true;
    return false;
}

static void why_outside(struct metrics *metrics, const char *silence, bool outside, char *out,
                        size_t size)
{
    char refusal[METRICS_TEXT];
    if (!*silence && outside && copy_refusal(metrics, refusal, sizeof refusal))
        snprintf(out, size, "not in the group: %s", refusal);
    else if (*silence || !outside)
        snprintf(out, size, "%sno broker answers%s%s", outside ? "not in the group, as " : "",
                 *silence ? ": " : "", silence);
    else
        snprintf(out, size, "not in the group yet");
}

/* Of any job. */
static const char *lacks_topic(const struct metrics *metrics)
{
    const char *name = NULL;
    for (int job = 0; job < REQUEST_KINDS && !name; job++)
        name = health_lacks_topic(metrics, job);
    return name;
}

/* Why the worker is outside its groups, or why its operations fail. */
static void why_cut_off(struct metrics *metrics, bool outside, char *out, size_t size)
{
    char silence[300];
    const char *topic = lacks_topic(metrics);
    metrics_copy_silence(metrics, silence, sizeof silence);
    if (*silence) /* before what fails: that is its consequence */
        why_outside(metrics, silence, outside, out, size);
    else if (metrics_copy_failing(metrics, out, size))
        return;
    else if (topic)
        snprintf(out, size, "topic %s does not exist yet", topic);
    else
        why_outside(metrics, silence, outside, out, size);
}

bool health_why_unready(struct metrics *metrics, char *out, size_t size)
{
    enum obstacle obstacle = find_obstacle(metrics);
    *out = '\0';
    switch (obstacle) {
    case NONE:
        break;
    case DRAINING:
        snprintf(out, size, "draining");
        break;
    case NO_RIGHT:
        snprintf(out, size, "Kafka refuses a right that the worker needs; the log says which");
        break;
    case OUTSIDE:
    case FAILING:
        why_cut_off(metrics, obstacle == OUTSIDE, out, size);
        break;
    }
    return obstacle != NONE;
}

const char *health_dead(const struct metrics *metrics)
{
    int64_t now = clock_boot_ms();
    for (int job = 0; job < REQUEST_KINDS; job++)
        if (atomic_load_explicit(&metrics->kafka_turned_ms[job], memory_order_relaxed) <=
            now - TURN_MAX_MS)
            return "a Kafka thread does not turn";
    if (now - call_thread_last_turn_ms(metrics->calls) >= TURN_MAX_MS)
        return "the call thread does not turn";
    return NULL;
}
