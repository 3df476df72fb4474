#include "worker/service.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/breaker.h"
#include "io/notify.h"
#include "worker/health.h"

enum {
    TURN_MS = 1000,
    REREAD_TURN_MS = 50,
    REREAD_MAX_MS = 10000,  /* limit of a reload on a hanging disk; the old files stay in use */
    STATUS_MS = 5000,       /* least time between two different STATUS= sentences */
    AFTER_DRAIN_MS = 10000, /* what a stop may take beyond the drain, with a reserve */
};

struct service {
    struct notify notify;
    struct metrics *metrics;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    /* under the lock */
    bool stopping, over;
    uint64_t asked; /* readings again, all that were asked for so far */
    /* the thread's */
    bool ready_reported, stopping_reported, rereading;
    uint64_t told_asked; /* of those, what RELOADING=1 has told */
    int64_t reread_at, watchdog_at, status_at;
    struct text status, message;
};

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Describes the worker's state: a problem first. */
static void describe(struct service *service, struct text *out)
{
    struct metrics *metrics = service->metrics;
    const struct call_counters *calls = call_thread_counters(metrics->calls);
    uint64_t partitions = metrics_sum(metrics->partitions), halted = metrics_sum(metrics->halted);
    const char *frozen = health_dead(metrics);
    char failing[METRICS_TEXT];
    if (frozen)
        text_add(out, frozen);
    else if (service->stopping_reported)
        text_printf(out, "stopping: %" PRIu64 " calls under way", get(&calls->in_flight));
    else if (metrics_copy_failing(metrics, failing, sizeof failing))
        text_visible(out, failing, strcspn(failing, "\n"));
    else if (get(&calls->breaker) != BREAKER_CLOSED)
        text_add(out, "calls are paused: the platform fails (circuit breaker)");
    else if (halted)
        text_printf(out,
                    "%" PRIu64 " of %" PRIu64 " partitions are halted: the log and /status say why",
                    halted, partitions);
    else if (health_is_ready(metrics))
        text_printf(out, "serving %" PRIu64 " partitions", partitions);
    else
        text_add(out, "waiting for Kafka");
}

/* Sends the message and empties it, whether the manager accepts it or not. */
static int send_message(struct service *service)
{
    int rc = service->message.length ? notify_send(&service->notify, service->message.data) : 0;
    text_clear(&service->message);
    return rc;
}

/* READY=1 reports the end of a start or of a reload. */
static void tell_ready(struct service *service)
{
    text_add(&service->message, "READY=1");
    service->ready_reported = send_message(service) == 0;
}

static void tell_stopping(struct service *service)
{
    text_printf(&service->message, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "000",
                service->metrics->config->drain_timeout_ms + AFTER_DRAIN_MS);
    service->stopping_reported = send_message(service) == 0;
    service->status_at = 0;
}

/* One that the manager's socket does not take is sent again: it waits for it. */
static void begin_reread(struct service *service, uint64_t asked, int64_t now)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    text_printf(&service->message, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000);
    if (send_message(service) < 0)
        return;
    service->told_asked = asked;
    service->rereading = true;
    service->reread_at = now;
}

static void look_at_reread(struct service *service, int64_t now)
{
    const struct call_counters *calls = call_thread_counters(service->metrics->calls);
    if (get(&calls->rereads) < service->told_asked && now - service->reread_at < REREAD_MAX_MS)
        return;
    service->rereading = false;
    service->ready_reported = false;
}

static void tell_status(struct service *service, int64_t now)
{
    struct text status = {0};
    if (now < service->status_at)
        return;
    describe(service, &status);
    if (!service->status.data || strcmp(status.data, service->status.data) != 0) {
        text_printf(&service->message, "STATUS=%s", status.data);
        text_clear(&service->status);
        if (send_message(service) == 0)
            text_add(&service->status, status.data);
        service->status_at = now + STATUS_MS;
    }
    text_fini(&status);
}

/* Sent every third of the period, so that one that is late or lost does no harm. */
static void feed_watchdog(struct service *service, int64_t now)
{
    if (!service->notify.watchdog_ms || now < service->watchdog_at || health_dead(service->metrics))
        return;
    text_add(&service->message, "WATCHDOG=1");
    if (send_message(service) == 0)
        service->watchdog_at = now + service->notify.watchdog_ms / 3;
}

static void turn(struct service *service, bool stopping, uint64_t asked)
{
    int64_t now = clock_boot_ms();
    if (stopping && !service->stopping_reported)
        tell_stopping(service);
    if (service->rereading)
        look_at_reread(service, now);
    if (!service->ready_reported && !service->rereading && !stopping)
        tell_ready(service);
    if (asked != service->told_asked && !stopping)
        begin_reread(service, asked, now);
    feed_watchdog(service, now);
    tell_status(service, now);
}

static int64_t pause_ms(const struct service *service)
{
    int64_t third = service->notify.watchdog_ms / 3;
    if (service->rereading)
        return REREAD_TURN_MS;
    return third && third < TURN_MS ? third : TURN_MS;
}

/* The caller holds the lock. */
static void wait_for_turn(struct service *service)
{
    struct timespec until = condition_deadline(pause_ms(service));
    pthread_cond_timedwait(&service->woken, &service->lock, &until);
}

static void *run(void *argument)
{
    struct service *service = argument;
    pthread_setname_np(pthread_self(), "service");
    pthread_mutex_lock(&service->lock);
    while (!service->over) {
        bool stopping = service->stopping;
        uint64_t asked = service->asked;
        pthread_mutex_unlock(&service->lock);
        turn(service, stopping, asked);
        pthread_mutex_lock(&service->lock);
        if (!service->over && service->stopping == stopping && service->asked == asked)
            wait_for_turn(service);
    }
    if (service->stopping && !service->stopping_reported)
        tell_stopping(service);
    pthread_mutex_unlock(&service->lock);
    return NULL;
}

static void release(struct service *service)
{
    notify_close(&service->notify);
    pthread_cond_destroy(&service->woken);
    pthread_mutex_destroy(&service->lock);
    text_fini(&service->status);
    text_fini(&service->message);
    free(service);
}

static void init_locks(struct service *service)
{
    condition_init(&service->woken);
    pthread_mutex_init(&service->lock, NULL);
}

struct service *service_new(struct metrics *metrics, struct error *error)
{
    struct notify notify;
    error->text[0] = '\0';
    if (notify_open(&notify, error) < 0 || notify.fd < 0)
        return NULL;
    struct service *service = memory_zeroed(1, sizeof *service);
    service->notify = notify;
    service->metrics = metrics;
    init_locks(service);
    int rc = pthread_create(&service->thread, NULL, run, service);
    if (!rc)
        return service;
    error_set(error, "cannot start a thread: %s", strerror(rc));
    release(service);
    return NULL;
}

void service_stopping(struct service *service)
{
    if (!service)
        return;
    pthread_mutex_lock(&service->lock);
    service->stopping = true;
    pthread_cond_signal(&service->woken);
    pthread_mutex_unlock(&service->lock);
}

void service_rereads(struct service *service)
{
    if (!service)
        return;
    pthread_mutex_lock(&service->lock);
    service->asked++;
    pthread_cond_signal(&service->woken);
    pthread_mutex_unlock(&service->lock);
}

void service_free(struct service *service)
{
    if (!service)
        return;
    pthread_mutex_lock(&service->lock);
    service->over = true;
    pthread_cond_signal(&service->woken);
    pthread_mutex_unlock(&service->lock);
    pthread_join(service->thread, NULL);
    release(service);
}
