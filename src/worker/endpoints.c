#include "worker/endpoints.h"

#include <string.h>

#include "worker/health.h"
#include "worker/page.h"
#include "worker/status.h"

static void put_word(struct http_answer *answer, bool good, const char *yes, const char *no)
{
    answer->status = good ? 200 : 503;
    text_add(&answer->body, good ? yes : no);
}

static void render_livez(struct metrics *metrics, struct http_answer *answer)
{
    const char *dead = health_dead(metrics);
    put_word(answer, !dead, "alive", dead);
    text_add(&answer->body, "\n");
}

static void render_readyz(struct metrics *metrics, struct http_answer *answer)
{
    char why[METRICS_TEXT + 100];
    put_word(answer, !health_why_unready(metrics, why, sizeof why), "ready", why);
    text_add(&answer->body, "\n");
}

static void render_metrics(struct metrics *metrics, struct http_answer *answer)
{
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(metrics, &answer->body);
}

static void render_status(struct metrics *metrics, struct http_answer *answer)
{
    answer->content_type = "application/json";
    status_render(metrics, health_is_ready(metrics), &answer->body);
}

/* Renders a file of the page. Returns false if the path is none. */
static bool render_file(const char *path, struct http_answer *answer)
{
    for (size_t i = 0; i < page_file_count; i++) {
        const struct page_file *file = &page_files[i];
        if (strcmp(path, file->path) != 0)
            continue;
        answer->content_type = file->content_type;
        answer->etag = file->etag;
        text_append(&answer->body, file->data, file->size);
        return true;
    }
    return false;
}

/* ---- all of them */

static bool render(void *argument, const char *path, struct http_answer *answer)
{
    static const struct {
        const char *path;
        void (*render)(struct metrics *metrics, struct http_answer *answer);
    } table[] = {{"/livez", render_livez},
                 {"/metrics", render_metrics},
                 {"/readyz", render_readyz},
                 {"/status", render_status}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(path, table[i].path) != 0)
            continue;
        table[i].render(argument, answer);
        return true;
    }
    return render_file(path, answer);
}

const struct http_handler endpoints = {.render = render};
