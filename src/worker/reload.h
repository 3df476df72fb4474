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

/* The parts that are read and used together. */
enum reload_part { RELOADS_TOKEN, RELOADS_TRUST, RELOADS_KAFKA, RELOAD_PARTS };

struct reload_events {
    void (*token)(void *argument, char *token);                  /* takes it over */
    void (*trust)(void *argument, struct platform_trust *trust); /* takes it over */
    void (*kafka)(void *argument, const char *words); /* a text that names what changed */
    /* asked: this reading answers a call of reload_now. */
    void (*failed)(void *argument, enum reload_part part, const char *words, bool asked);
    /* All files were read. times: the number of calls of reload_now that this reading answers.
     * Called last. */
    void (*reread)(void *argument, unsigned times);
    /* A reading has not ended for so long, because a file system does not answer: told each second
     * after half a minute. */
    void (*hangs)(void *argument, int64_t ms);
};

struct reload {
    uv_loop_t *loop;
    const struct config *config;
    struct kafka_files *kafka; /* NULL: none */
    const struct reload_events *events;
    void *argument;
    uv_timer_t timer;
    uv_work_t work;
    atomic_uint turns; /* orders the accesses of loop and pool, as in struct store_file */
    bool working, ended;
    unsigned asked;   /* calls of reload_now since the last reading began */
    int64_t began_ms; /* of the newest reading */

    /* Used by the pool while working, otherwise by the loop. */
    const char *paths[RELOAD_FILES]; /* NULL: none */
    struct file_state seen[RELOAD_FILES];
    unsigned all;  /* `asked` when a reading of all files began; 0: only changed files are read */
    bool again[2]; /* token, certificates: the last content could not be used */
    char *token;   /* the token that was read; NULL: none */
    struct platform_trust *trust;
    const char *news; /* what changed of Kafka's files; NULL: nothing */
    struct error token_error, trust_error, kafka_error; /* empty: none */
};

/* Called before the certificates are read for the first time. loop, config and kafka (NULL: none)
 * must outlive the reload. */
void reload_init(struct reload *reload, uv_loop_t *loop, const struct config *config,
                 struct kafka_files *kafka, const struct reload_events *events, void *argument);

/* Reads all files again. */
void reload_now(struct reload *reload);

/* Ends the reload: no event follows. The loop has to run until its handle is closed and its work is
 * done. */
void reload_fini(struct reload *reload);
