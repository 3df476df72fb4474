#include "worker/jobs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/kafka_files.h"
#include "worker/call_thread.h"
#include "worker/health.h"
#include "worker/kafka_thread.h"

enum { LOOK_MS = 1000, TELL_DEAD_MS = 60000 };

struct job {
    struct jobs *jobs;
    struct kafka_thread *kafka; /* NULL: switched off */
    pthread_t thread;
    bool running;
    bool ended; /* under the lock */
    int status;
};

struct jobs {
    struct job all[REQUEST_KINDS];
    struct kafka_files *files;
    struct call_thread *calls;
    struct metrics *metrics;
    struct stop *stop;
    pthread_mutex_t lock;
    pthread_cond_t one_ended;
    /* The main thread's, while the others run. */
    bool seen_dead;       /* at the last look */
    int64_t told_dead_ms; /* when the log last told of it; 0: never */
};

static int make_calls(struct jobs *jobs, const struct config *config, struct error *error)
{
    struct queue *finished[REQUEST_KINDS] = {NULL};
    for (int i = 0; i < REQUEST_KINDS; i++)
        if (jobs->all[i].kafka)
            finished[i] = kafka_thread_finished(jobs->all[i].kafka);
    jobs->calls = call_thread_new(config, jobs->files, finished, error);
    return jobs->calls ? 0 : -1;
}

struct jobs *jobs_new(const struct config *config, struct metrics *metrics, struct error *error)
{
    struct jobs *jobs = memory_zeroed(1, sizeof *jobs);
    pthread_mutex_init(&jobs->lock, NULL);
    condition_init(&jobs->one_ended);
    jobs->files = kafka_files_new(config);
    for (int i = 0; i < REQUEST_KINDS; i++) {
        struct job *job = &jobs->all[i];
        job->jobs = jobs;
        if (!*config->request_topics[i])
            continue;
        job->kafka = kafka_thread_new(config, (enum request_kind)i, jobs->files, metrics, error);
        if (!job->kafka)
            goto fail;
    }
    if (make_calls(jobs, config, error) < 0)
        goto fail;
    metrics->calls = jobs->calls;
    jobs->metrics = metrics;
    return jobs;
fail:
    jobs_free(jobs);
    return NULL;
}

void jobs_wake(void *argument)
{
    struct jobs *jobs = argument;
    for (int i = 0; i < REQUEST_KINDS; i++)
        if (jobs->all[i].kafka)
            kafka_thread_wake(jobs->all[i].kafka);
}

void jobs_reread(void *argument)
{
    call_thread_reread(((struct jobs *)argument)->calls);
}

static void *run(void *argument)
{
    static const char *const names[] = {
        [REQUEST_CALL] = "kafka-calls", [REQUEST_RECORDING] = "kafka-records"};
    struct job *job = argument;
    pthread_setname_np(pthread_self(), names[job - job->jobs->all]);
    job->status = kafka_thread_run(job->kafka, job->jobs->calls, job->jobs->stop);
    if (job->status)
        /* The process ends. The other job hands over in order, unless another process has the same
         * instance.id. */
        stop_request(job->jobs->stop, kafka_thread_has_duplicate(job->kafka));
    pthread_mutex_lock(&job->jobs->lock);
    job->ended = true;
    pthread_cond_signal(&job->jobs->one_ended);
    pthread_mutex_unlock(&job->jobs->lock);
    return NULL;
}

/* Logs that a loop stands still, once a minute: nobody else would, if nobody asks /livez. A process
 * that has stood still as a whole is over it by the next look. */
static void look_for_dead(struct jobs *jobs)
{
    const char *dead = health_dead(jobs->metrics);
    int64_t now = clock_boot_ms();
    bool was_dead = jobs->seen_dead;
    jobs->seen_dead = dead;
    if (!dead || !was_dead || (jobs->told_dead_ms && now - jobs->told_dead_ms < TELL_DEAD_MS))
        return;
    jobs->told_dead_ms = now;
    log_error(
        "%s: /livez answers 503, and nothing goes on here; restart this worker, as a liveness "
        "probe and systemd's watchdog do, and report it",
        dead);
}

/* Looks at the loops until the job's thread ends. */
static void join(struct jobs *jobs, struct job *job)
{
    pthread_mutex_lock(&jobs->lock);
    while (!job->ended) {
        pthread_mutex_unlock(&jobs->lock);
        look_for_dead(jobs);
        struct timespec until = condition_deadline(LOOK_MS);
        pthread_mutex_lock(&jobs->lock);
        if (!job->ended)
            pthread_cond_timedwait(&jobs->one_ended, &jobs->lock, &until);
    }
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(job->thread, NULL);
}

int jobs_run(struct jobs *jobs, struct stop *stop, struct error *error)
{
    int status = 0;
    jobs->stop = stop;
    for (int i = 0; i < REQUEST_KINDS && status == 0; i++) {
        struct job *job = &jobs->all[i];
        int rc = job->kafka ? pthread_create(&job->thread, NULL, run, job) : 0;
        job->running = job->kafka && !rc;
        if (rc)
            status = error_set(error, "cannot start a Kafka thread: %s", strerror(rc));
    }
    if (status < 0)
        stop_request(stop, true);
    for (int i = 0; i < REQUEST_KINDS; i++) {
        struct job *job = &jobs->all[i];
        if (!job->running)
            continue;
        join(jobs, job);
        if (job->status > status && status >= 0)
            status = job->status;
    }
    return status;
}

bool jobs_gave_up(const struct jobs *jobs)
{
    for (int i = 0; i < REQUEST_KINDS; i++)
        if (jobs->all[i].kafka && kafka_thread_gave_up(jobs->all[i].kafka))
            return true;
    return false;
}

bool jobs_free(struct jobs *jobs)
{
    if (!call_thread_free(jobs->calls))
        return false;
    for (int i = 0; i < REQUEST_KINDS; i++)
        kafka_thread_stop(jobs->all[i].kafka);
    bool is_free = true;
    for (int i = 0; i < REQUEST_KINDS; i++)
        is_free &= kafka_thread_free(jobs->all[i].kafka);
    if (!is_free)
        return false;
    kafka_files_free(jobs->files);
    pthread_mutex_destroy(&jobs->lock);
    pthread_cond_destroy(&jobs->one_ended);
    free(jobs);
    return true;
}
