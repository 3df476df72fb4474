/* A thread that runs one blocking task at a time for the Kafka thread: a function that may wait for
 * the network. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/condition.h"
#include "io/kafka_internal.h"

static void *run(void *arg)
{
    struct kafka_runner *runner = arg;
    pthread_mutex_lock(&runner->lock);
    while (!runner->stop) {
        if (!runner->task) {
            pthread_cond_wait(&runner->changed, &runner->lock);
            continue;
        }
        void (*task)(struct kafka *) = runner->task;
        pthread_mutex_unlock(&runner->lock);
        task(runner->kafka);
        pthread_mutex_lock(&runner->lock);
        runner->task = NULL;
        atomic_store_explicit(&runner->done, true, memory_order_release);
        kafka_wake(runner->kafka);
    }
    pthread_mutex_unlock(&runner->lock);
    return NULL;
}

int kafka_runner_init(struct kafka_runner *runner, struct kafka *kafka, const char *name,
                      struct error *error)
{
    condition_init(&runner->changed);
    pthread_mutex_init(&runner->lock, NULL);
    runner->kafka = kafka;
    int failed = pthread_create(&runner->thread, NULL, run, runner);
    if (failed) {
        pthread_cond_destroy(&runner->changed);
        pthread_mutex_destroy(&runner->lock);
        return error_set(error, "cannot start thread %s: %s", name, strerror(failed));
    }
    pthread_setname_np(runner->thread, name);
    runner->running = true;
    return 0;
}

void kafka_runner_fini(struct kafka_runner *runner)
{
    if (!runner->running)
        return;
    pthread_mutex_lock(&runner->lock);
    runner->stop = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    pthread_join(runner->thread, NULL);
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    runner->running = false;
}

void kafka_runner_give(struct kafka_runner *runner, void (*task)(struct kafka *kafka))
{
    pthread_mutex_lock(&runner->lock);
    assert(!runner->task && !runner->done);
    runner->task = task;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

bool kafka_runner_take(struct kafka_runner *runner)
{
    if (!atomic_load_explicit(&runner->done, memory_order_acquire))
        return false;
    /* Taking the lock makes sure that the thread has finished with the task. */
    pthread_mutex_lock(&runner->lock);
    atomic_store_explicit(&runner->done, false, memory_order_relaxed);
    pthread_mutex_unlock(&runner->lock);
    return true;
}

bool kafka_runner_idle(struct kafka_runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    bool idle = !runner->task && !atomic_load_explicit(&runner->done, memory_order_relaxed);
    pthread_mutex_unlock(&runner->lock);
    return idle;
}

void kafka_runner_sleep(struct kafka_runner *runner, int ms)
{
    struct timespec until = condition_deadline(ms);
    pthread_mutex_lock(&runner->lock);
    while (!runner->stop && !atomic_load(&runner->kafka->stopping))
        if (pthread_cond_timedwait(&runner->changed, &runner->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&runner->lock);
}
