#include "worker/reload.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"

enum { LOOK_MS = 1000, HANGS_MS = 30000 };

static bool has_changed(struct reload *reload, int file)
{
    return reload->paths[file] && file_state_changed(&reload->seen[file], reload->paths[file]);
}

static void read_token(struct reload *reload)
{
    reload->again[0] = config_read_token(reload->config, &reload->token, &reload->token_error) < 0;
    if (reload->again[0])
        error_prefix(&reload->token_error, "platform.token.file: ");
}

static void read_trust(struct reload *reload)
{
    reload->trust = platform_trust_load(reload->config, &reload->trust_error);
    reload->again[1] = !reload->trust;
}

/* On libuv's pool. */
static void work(uv_work_t *work_)
{
    struct reload *reload = list_of(work_, struct reload, work);
    bool changed = false;
    atomic_load(&reload->turns);
    for (int file = RELOAD_AUTHORITIES; file < RELOAD_FILES; file++)
        changed |= has_changed(reload, file);
    reload->token_error.text[0] = reload->trust_error.text[0] = reload->kafka_error.text[0] = '\0';
    if ((has_changed(reload, RELOAD_TOKEN) || reload->all || reload->again[0]) &&
        reload->paths[RELOAD_TOKEN])
        read_token(reload);
    if (changed || reload->all || reload->again[1])
        read_trust(reload);
    if (reload->kafka)
        reload->news = kafka_files_look(reload->kafka, reload->all, &reload->kafka_error);
    atomic_fetch_add(&reload->turns, 1);
}

static void tell_failed(struct reload *reload, enum reload_part part, const struct error *error)
{
    if (*error->text)
        reload->events->failed(reload->argument, part, error->text, reload->all > 0);
}

static void begin(struct reload *reload);

static void on_done(uv_work_t *work_, int status)
{
    struct reload *reload = list_of(work_, struct reload, work);
    atomic_load(&reload->turns);
    char *token = reload->token;
    struct platform_trust *trust = reload->trust;
    reload->token = NULL;
    reload->trust = NULL;
    reload->working = false;
    if (reload->ended || status) {
        free(token);
        platform_trust_release(trust);
        return;
    }
    if (token)
        reload->events->token(reload->argument, token);
    if (trust)
        reload->events->trust(reload->argument, trust);
    if (reload->news)
        reload->events->kafka(reload->argument, reload->news);
    reload->news = NULL;
    tell_failed(reload, RELOADS_TOKEN, &reload->token_error);
    tell_failed(reload, RELOADS_TRUST, &reload->trust_error);
    tell_failed(reload, RELOADS_KAFKA, &reload->kafka_error);
    if (reload->all)
        reload->events->reread(reload->argument, reload->all);
    if (reload->asked)
        begin(reload);
}

static void begin(struct reload *reload)
{
    if (reload->working || reload->ended)
        return;
    reload->all = reload->asked;
    reload->asked = 0;
    atomic_fetch_add(&reload->turns, 1);
    reload->began_ms = clock_boot_ms();
    reload->working = uv_queue_work(reload->loop, &reload->work, work, on_done) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct reload *reload = timer->data;
    begin(reload);
    int64_t ms = clock_boot_ms() - reload->began_ms;
    if (reload->working && ms >= HANGS_MS)
        reload->events->hangs(reload->argument, ms);
}

void reload_init(struct reload *reload, uv_loop_t *loop, const struct config *config,
                 struct kafka_files *kafka, const struct reload_events *events, void *argument)
{
    *reload = (struct reload){
        .loop = loop, .config = config, .kafka = kafka, .events = events, .argument = argument};
    reload->paths[RELOAD_TOKEN] = config->platform_token_path;
    reload->paths[RELOAD_AUTHORITIES] = platform_authorities_file(config);
    reload->paths[RELOAD_CERTIFICATE] = config->platform_cert_file;
    reload->paths[RELOAD_KEY] = config->platform_key_file;
    /* The token was read before, so it counts as changed. Reading the same token again changes
     * nothing. */
    for (int file = RELOAD_AUTHORITIES; file < RELOAD_FILES; file++)
        has_changed(reload, file);
    uv_timer_init(loop, &reload->timer);
    reload->timer.data = reload;
    uv_timer_start(&reload->timer, on_timer, LOOK_MS, LOOK_MS);
}

void reload_now(struct reload *reload)
{
    reload->asked++;
    begin(reload);
}

void reload_fini(struct reload *reload)
{
    reload->ended = true;
    if (reload->working)
        uv_cancel((uv_req_t *)&reload->work);
    uv_close((uv_handle_t *)&reload->timer, NULL);
}
