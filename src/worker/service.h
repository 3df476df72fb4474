/* The worker as a service of systemd (Type=notify, or anything that speaks sd_notify(3)): says when
 * it has started, when it stops, when it has read its files again, in one sentence how it is, and,
 * while all loops turn (what /livez says), that it is alive. A thread of its own, so that a manager
 * that takes nothing holds up nobody; there is none where nobody wants to be told. */
#pragma once

#include "base/error.h"
#include "worker/metrics.h"

struct service;

/* Starts the thread, and says that the worker has started: its loops, and metrics->calls, run.
 * metrics must outlive it. NULL where nobody wants to be told, or on failure, with *error's text
 * not empty then. */
struct service *service_new(struct metrics *metrics, struct error *error);

/* A stop has begun. Any thread; service may be NULL, here and below. */
void service_stopping(struct service *service);

/* Before each call_thread_reread: files of secrets and certificates are about to be read again. Any
 * thread. */
void service_rereads(struct service *service);

/* To be called before metrics->calls is released. */
void service_free(struct service *service);
