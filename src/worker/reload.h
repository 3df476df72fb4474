/* The files that are read again while the worker runs: platform.token.file, the CA certificates,
 * the client certificate with its key, and Kafka's files (io/kafka_files.h). Changes are looked for
 * every second and on request. Changed files are read and checked on libuv's pool, and used on the
 * loop. If a file cannot be used, the old content stays in use. The call thread. */
#pragma once

#include <stdatomic.h>
#include <uv.h>

#include "base/error.h"
#include "base/file_state.h"
#include "core/config.h"
#include "io/kafka_files.h"
#include "io/platform.h"

enum { RELOAD_TOKEN, RELOAD_AUTHORITIES, RELOAD_CERTIFICATE, RELOAD_KEY, RELOAD_FILES };

/* What is read and used as one. */
enum reload_part { RELOADS_TOKEN, RELOADS_TRUST, RELOADS_KAFKA, RELOAD_PARTS };

struct reload_events {
    void (*token)(void *argument, char *token);                  /* takes it over */
    void (*trust)(void *argument, struct platform_trust *trust); /* takes it over */
    void (*kafka)(void *argument, const char *words);            /* what is in force from now on */
    void (*failed)(void *argument, enum reload_part part, const char *words);
    /* All files were read, from their beginning after reload_now was called so often. The last one
     * told. */
    void (*reread)(void *argument, unsigned times);
};

struct reload {
    uv_loop_t *loop;
    const struct config *config;
    struct kafka_files *kafka; /* NULL: none */
    const struct reload_events *events;
    void *argument;
    uv_timer_t timer;
    uv_work_t work;
    atomic_uint turns; /* as a store_file's: orders loop and pool visibly */
    bool working, ended;
    unsigned asked; /* to read all, changed or not: so often since the last reading began */

    /* The pool's while working, else the loop's. */
    const char *paths[RELOAD_FILES]; /* NULL: none */
    struct file_state seen[RELOAD_FILES];
    unsigned all;  /* what asked was when it began; 0: what has changed */
    bool again[2]; /* token, certificates: what was read last could not be used */
    char *token;   /* what was read; NULL: nothing */
    struct platform_trust *trust;
    const char *news;                                   /* of Kafka's files; NULL: nothing */
    struct error token_error, trust_error, kafka_error; /* empty: none */
};

/* To be called before the certificates are read for the first time. loop, config and kafka
 * (NULL: none) must outlive it. */
void reload_init(struct reload *reload, uv_loop_t *loop, const struct config *config,
                 struct kafka_files *kafka, const struct reload_events *events, void *argument);

/* Reads all of them again. */
void reload_now(struct reload *reload);

/* Nothing is told any more. The loop has to turn until its handle is closed and its work is done.
 */
void reload_fini(struct reload *reload);
