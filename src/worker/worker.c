#include "worker/worker.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "core/exact_json.h"
#include "io/http.h"
#include "worker/endpoints.h"
#include "worker/jobs.h"
#include "worker/metrics.h"
#include "worker/service.h"
#include "worker/stop.h"

/* Starts the HTTP server, if http.listen is set. Returns 0 or -1. */
static int serve(const struct config *config, struct metrics *metrics, struct http **http,
                 struct error *error)
{
    *http = NULL;
    if (!*config->http_listen)
        return 0;
    *http = http_new(config->http_listen, config->http_hosts, &endpoints, metrics, error);
    if (!*http)
        return -1;
    log_info("HTTP: metrics, health and status at http://%s/", http_address(*http));
    return 0;
}

/* Receivers of a stop and of SIGHUP. */
struct told {
    struct jobs *jobs;
    struct service *service;
};

static void on_stop(void *argument)
{
    struct told *told = argument;
    service_stopping(told->service);
    jobs_wake(told->jobs);
}

static void on_reread(void *argument)
{
    struct told *told = argument;
    service_rereads(told->service);
    jobs_reread(told->jobs);
}

/* Without a connection to the service manager the worker works all the same. */
static struct service *tell_service_manager(struct metrics *metrics)
{
    struct error error;
    struct service *service = service_new(metrics, &error);
    if (*error.text)
        log_warn("the service manager cannot be notified: %s; the worker runs without it",
                 error.text);
    return service;
}

enum { CLIENTS_END_S = 3 };

static void *end_anyway(void *status)
{
    const struct timespec limit = {.tv_sec = CLIENTS_END_S};
    nanosleep(&limit, NULL);
    log_warn("the clients of Kafka have not ended within %d s: the process ends without them",
             CLIENTS_END_S);
    _exit((int)(intptr_t)status);
}

/* Nothing is left to publish, and the group has been left. A client that does not end must not keep
 * the process: librdkafka's waits for ever once a topic was made again with fewer partitions
 * (2.0). Where no thread can be started, there is no limit. */
static void limit_end(int status)
{
    pthread_t thread;
    if (!pthread_create(&thread, NULL, end_anyway, (void *)(intptr_t)status))
        pthread_detach(thread);
}

static int run(const struct config *config, struct metrics *metrics, struct error *error)
{
    int status = -1;
    struct http *http;
    struct jobs *jobs = jobs_new(config, metrics, error);
    if (!jobs)
        return -1;
    if (serve(config, metrics, &http, error) < 0)
        goto free_jobs;
    struct told told = {jobs, tell_service_manager(metrics)};
    struct stop *stop = stop_new(on_stop, on_reread, &told, error);
    if (!stop)
        goto free_service;
    status = jobs_run(jobs, stop, error);
    log_info("stopped with status %d", status < 0 ? 1 : status);
    if (jobs_gave_up(jobs))
        _exit(status); /* a stop cannot wait: closing clients that reach no broker takes seconds,
                          and one that failed for good may spin for ever (librdkafka 2.0) */
    limit_end(status < 0 ? 1 : status);
    stop_free(stop);
free_service:
    service_free(told.service);
    http_free(http); /* before the metrics that it reads */
free_jobs:
    if (!jobs_free(jobs))
        _exit(status < 0 ? 1 : status);
    return status;
}

int worker_run(const struct config *config)
{
    struct error error;
    exact_json_prepare();
    log_info("privacy-call-worker " PCW_VERSION
             ": group %s, group of recordings %s, instance %s, platform %s",
             config->group_ids[REQUEST_CALL], config->group_ids[REQUEST_RECORDING],
             config->instance_id, config->platform_url);
    struct metrics *metrics = metrics_new(config);
    int status = run(config, metrics, &error);
    if (status < 0)
        log_error("cannot start: %s", error.text);
    metrics_free(metrics);
    return status < 0 ? 1 : status;
}
