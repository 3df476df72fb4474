#include "worker/worker.h"

#include <jansson.h>

#include "base/log.h"
#include "worker/kafka_thread.h"
#include "worker/stop.h"

int worker_run(const struct config *config)
{
    struct error error;
    int status = 1;
    stop_block_signals();
    json_object_seed(0); /* before several threads may do it at once */
    log_info("privacy-call-worker " PCW_VERSION ": group %s, instance %s, platform %s",
             config->group_id, config->instance_id, config->platform_url);
    struct kafka_thread *thread = kafka_thread_new(config, &error);
    if (!thread) {
        log_error("cannot start: %s", error.text);
        return status;
    }
    struct stop *stop = stop_new(kafka_thread_wake, thread, &error);
    if (!stop) {
        log_error("cannot start: %s", error.text);
        goto free_thread;
    }
    status = kafka_thread_run(thread, stop);
    log_info("stopped with status %d", status);
    stop_free(stop);
free_thread:
    kafka_thread_free(thread);
    return status;
}
