#include "sandbox/platform/platform.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "sandbox/platform/certificate.h"
#include "sandbox/platform/connection.h"
#include "sandbox/platform/listener.h"

struct sandbox_platform {
    uv_loop_t loop;
    uv_async_t wake;      /* the owner's thread sets one of the flags below and then sends this */
    uv_timer_t reopening; /* ends a `refuse` with a time */
    atomic_bool stopping, lifting;
    pthread_t thread;
    bool started;
    struct sandbox_listener listener;
    struct sandbox_connections connections;
    char *token, *app_id, *version, *address, *ca_file;
    bool own_ca_file; /* the platform made the file, and removes it at the end */
};

static void apply_faults(void *argument);

static void on_reopening(uv_timer_t *timer)
{
    struct sandbox_platform *platform = timer->data;
    sandbox_faults_drop(&platform->connections.service.faults, FAULT_REFUSE);
    apply_faults(platform);
}

/* Brings the listening socket and the connections in line with the faults in force. */
static void apply_faults(void *argument)
{
    struct sandbox_platform *platform = argument;
    struct error error;
    int64_t refuse_ms = sandbox_faults_value(&platform->connections.service.faults, FAULT_REFUSE);
    uv_timer_stop(&platform->reopening);
    if (refuse_ms >= 0)
        sandbox_listener_close(&platform->listener);
    else if (sandbox_listener_open(&platform->listener, &error))
        log_error("%s", error.text);
    if (refuse_ms > 0) {
        uv_update_time(&platform->loop);
        uv_timer_start(&platform->reopening, on_reopening, (uint64_t)refuse_ms, 0);
    }
    sandbox_connections_apply_faults(&platform->connections);
}

static void on_wake(uv_async_t *wake)
{
    struct sandbox_platform *platform = wake->data;
    if (atomic_exchange(&platform->lifting, false)) {
        sandbox_faults_clear(&platform->connections.service.faults);
        apply_faults(platform);
    }
    if (!atomic_load(&platform->stopping))
        return;
    sandbox_connections_close(&platform->connections);
    sandbox_listener_close(&platform->listener);
    uv_close((uv_handle_t *)&platform->reopening, NULL);
    uv_close((uv_handle_t *)&platform->wake, NULL);
}

static void *run(void *argument)
{
    struct sandbox_platform *platform = argument;
    uv_run(&platform->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void on_accepted(void *argument, int fd)
{
    sandbox_connections_add(argument, fd);
}

static int choose_ca_file(struct sandbox_platform *platform, const char *wanted,
                          struct error *error)
{
    if (wanted) {
        platform->ca_file = memory_string(wanted);
        return 0;
    }
    const char *folder = secure_getenv("TMPDIR");
    struct text path = {0};
    text_printf(&path, "%s/privacy-call-sandbox-XXXXXX.pem", folder && *folder ? folder : "/tmp");
    int fd = mkstemps(path.data, 4);
    if (fd < 0) {
        error_set(error, "cannot make %s: %m", path.data);
        text_fini(&path);
        return -1;
    }
    close(fd);
    platform->ca_file = text_take(&path);
    platform->own_ca_file = true;
    return 0;
}

static const char *or_else(const char *value, const char *preset)
{
    return value ? value : preset;
}

static int prepare_service(struct sandbox_platform *platform,
                           const struct sandbox_platform_options *options, struct error *error)
{
    struct sandbox_service *service = &platform->connections.service;
    platform->token = memory_string(or_else(options->token, PLATFORM_TOKEN));
    platform->app_id = memory_string(or_else(options->app_id, PLATFORM_APP_ID));
    platform->version = memory_string(or_else(options->version, PLATFORM_VERSION));
    service->credentials =
        (struct sandbox_credentials){.token = platform->token,
                                     .app_id = platform->app_id,
                                     .version = platform->version,
                                     .utc_offset_minutes = options->utc_offset_minutes,
                                     .any_timestamp = options->any_timestamp};
    for (const char *const *spec = options->fault_specs; spec && *spec; spec++)
        if (sandbox_faults_add(&service->faults, *spec, error))
            return -1;
    return sandbox_record_init(&service->record, options->record_file, error);
}

static int prepare(struct sandbox_platform *platform,
                   const struct sandbox_platform_options *options, struct error *error)
{
    struct sandbox_connections *connections = &platform->connections;
    if (sandbox_listener_init(&platform->listener, &platform->loop,
                              or_else(options->address, "127.0.0.1:0"), error))
        return -1;
    struct text address = {0};
    text_printf(&address, "https://%s", platform->listener.authority);
    platform->address = text_take(&address);
    platform->listener.accepted = on_accepted;
    platform->listener.argument = connections;
    if (prepare_service(platform, options, error) ||
        choose_ca_file(platform, options->ca_file, error))
        return -1;
    connections->tls =
        sandbox_certificate_context(platform->listener.given.host, options->names,
                                    platform->ca_file, !platform->own_ca_file, error);
    if (!connections->tls || sandbox_listener_open(&platform->listener, error))
        return -1;
    apply_faults(platform);
    return 0;
}

/* The owner's thread handles signals, and a write to a dead connection must not raise SIGPIPE. */
static int start_thread(struct sandbox_platform *platform, struct error *error)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&platform->thread, NULL, run, platform);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure)
        return error_set(error, "cannot start a thread: %s", uv_strerror(-failure));
    platform->started = true;
    return 0;
}

struct sandbox_platform *sandbox_platform_new(const struct sandbox_platform_options *options,
                                              struct error *error)
{
    struct sandbox_platform *platform = memory_zeroed(1, sizeof *platform);
    struct sandbox_connections *connections = &platform->connections;
    if (uv_loop_init(&platform->loop))
        abort();
    uv_async_init(&platform->loop, &platform->wake, on_wake);
    uv_timer_init(&platform->loop, &platform->reopening);
    platform->wake.data = platform->reopening.data = platform;
    platform->listener.fd = platform->listener.holder = -1;
    connections->loop = &platform->loop;
    connections->faults_changed = apply_faults;
    connections->argument = platform;
    list_init(&connections->open);
    sandbox_faults_init(&connections->service.faults, options->seed);
    sandbox_stats_init(&connections->service.stats);
    connections->service.record.file = -1;
    if (!prepare(platform, options, error) && !start_thread(platform, error))
        return platform;
    sandbox_platform_free(platform);
    return NULL;
}

const char *sandbox_platform_address(const struct sandbox_platform *platform)
{
    return platform->address;
}

const char *sandbox_platform_ca_file(const struct sandbox_platform *platform)
{
    return platform->ca_file;
}

void sandbox_platform_lift_faults(struct sandbox_platform *platform)
{
    atomic_store(&platform->lifting, true);
    uv_async_send(&platform->wake);
}

void sandbox_platform_free(struct sandbox_platform *platform)
{
    if (!platform)
        return;
    atomic_store(&platform->stopping, true);
    uv_async_send(&platform->wake);
    if (platform->started)
        pthread_join(platform->thread, NULL);
    else
        run(platform);
    sandbox_listener_fini(&platform->listener);
    uv_loop_close(&platform->loop);
    SSL_CTX_free(platform->connections.tls);
    sandbox_faults_fini(&platform->connections.service.faults);
    sandbox_stats_fini(&platform->connections.service.stats);
    sandbox_record_fini(&platform->connections.service.record);
    if (platform->own_ca_file)
        unlink(platform->ca_file);
    free(platform->ca_file);
    free(platform->token);
    free(platform->app_id);
    free(platform->version);
    free(platform->address);
    free(platform);
}
