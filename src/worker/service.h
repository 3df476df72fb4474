/* The worker as a service of systemd (Type=notify) or of another manager with sd_notify(3). It
 * reports when the worker has started, when it stops, when it has read its files again, its state
 * in one sentence, and, while /livez answers 200, that it is alive. It has its own thread, so that
 * a manager that does not read blocks nobody. Without a manager there is no thread. */
#pragma once

#include "base/error.h"
#include "worker/metrics.h"

struct service;

/* Starts the thread, and reports that the worker has started: its loops and metrics->calls must run
 * already. metrics must outlive it. NULL: there is no manager, or the start failed, in which case
 * *error's text is not empty. */
struct service *service_new(struct metrics *metrics, struct error *error);

/* Reports that a stop has begun. Any thread. service may be NULL, here and below. */
void service_stopping(struct service *service);

/* Called before each call_thread_reread, which reads files of secrets and certificates again. Any
 * thread. */
void service_rereads(struct service *service);

/* Ends the thread. Called before metrics->calls is released. */
void service_free(struct service *service);
