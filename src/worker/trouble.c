#include "worker/trouble.h"

#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"

enum { LINE_INTERVAL_MS = 60000, LINES = 8 };

struct line {
    uint64_t hash;
    int64_t at_ms; /* 0: none */
};

/* Logged lately, by either job: what both cannot do is one line. */
static struct line logged[TROUBLES][LINES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The length of the name or number that begins there: what a topic's name may consist of. */
static size_t word_length(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
}

/* Whether the word is a number, also with a unit ("30ms"). */
static bool is_number(const char *word, size_t length)
{
    enum { UNIT = 2 };
    size_t digits = strspn(word, "0123456789.");
    return digits > 0 && digits + UNIT >= length && !memchr(word, '-', length) &&
           !memchr(word, '_', length);
}

uint64_t trouble_hash(const char *text)
{
    uint64_t value = HASH_EMPTY;
    while (*text) {
        size_t length = word_length(text);
        if (!length)
            value = hash_add(value, text, length = 1);
        else if (!is_number(text, length))
            value = hash_add(value, text, length);
        text += length;
    }
    return value;
}

static bool is_due(enum trouble_kind kind, int64_t now_ms, const char *text)
{
    struct line *lines = logged[kind], *place = lines;
    uint64_t key = trouble_hash(text);
    bool due = true;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LINES; i++) {
        if (lines[i].at_ms && lines[i].hash == key) {
            place = &lines[i];
            due = now_ms >= place->at_ms + LINE_INTERVAL_MS;
            break;
        }
        if (lines[i].at_ms < place->at_ms)
            place = &lines[i];
    }
    if (due)
        *place = (struct line){key, now_ms};
    pthread_mutex_unlock(&lock);
    return due;
}

static void note(struct trouble *trouble, int64_t now_ms, const char *text)
{
    if (!trouble->since_ms || now_ms - trouble->last_ms >= TROUBLE_LASTING_MS)
        trouble->since_ms = now_ms;
    trouble->last_ms = now_ms;
    snprintf(trouble->text, sizeof trouble->text, "%s", text);
}

void trouble_failed(struct troubles *troubles, enum trouble_kind kind, int64_t now_ms,
                    const char *text, bool lasting)
{
    struct trouble *trouble = &troubles->all[kind];
    note(trouble, now_ms, text);
    if (!is_due(kind, now_ms, text))
        return;
    int64_t seconds = (now_ms - trouble->since_ms) / 1000;
    if (now_ms - trouble->since_ms >= TROUBLE_LASTING_MS && kind != TROUBLE_REFUSALS)
        log_error("%s; it has failed for %" PRId64 " s: /readyz answers 503; it is tried again",
                  text, seconds);
    else if (lasting)
        log_error("%s; it is tried again", text);
    else
        log_warn("%s; it is tried again", text);
}

void trouble_waits(struct troubles *troubles, enum trouble_kind kind, int64_t since_ms,
                   int64_t now_ms, const char *text, bool told)
{
    struct trouble *trouble = &troubles->all[kind];
    if (!trouble->since_ms || now_ms - trouble->last_ms >= TROUBLE_LASTING_MS) {
        trouble->since_ms = since_ms;
        trouble->last_ms = now_ms;
    }
    /* What the log says of one broker may be another matter: for that long only is it believed. */
    if (told && now_ms - trouble->since_ms < TROUBLE_LASTING_MS)
        note(trouble, now_ms, text);
    else
        trouble_failed(troubles, kind, now_ms, text, true);
}

void trouble_over(struct troubles *troubles, enum trouble_kind kind, int64_t now_ms)
{
    struct trouble *trouble = &troubles->all[kind];
    if (trouble->since_ms && now_ms - trouble->since_ms >= TROUBLE_LASTING_MS &&
        now_ms - trouble->last_ms < TROUBLE_LASTING_MS)
        log_info("recovered after %" PRId64 " s: %s", (now_ms - trouble->since_ms) / 1000,
                 trouble->text);
    trouble->since_ms = 0;
}

bool troubles_any(const struct troubles *troubles, int64_t now_ms)
{
    for (int kind = 0; kind < TROUBLES; kind++)
        if (kind != TROUBLE_REFUSALS && troubles->all[kind].since_ms &&
            now_ms - troubles->all[kind].last_ms < TROUBLE_LASTING_MS)
            return true;
    return false;
}

static bool is_lasting(const struct troubles *troubles, int kind, int64_t now_ms)
{
    int64_t since = troubles->all[kind].since_ms;
    return kind != TROUBLE_REFUSALS && since && now_ms - since >= TROUBLE_LASTING_MS;
}

const char *troubles_lasting(struct troubles *troubles, int64_t now_ms, int64_t *since_ms)
{
    const struct trouble *oldest = NULL;
    for (int kind = 0; kind < TROUBLES; kind++) {
        struct trouble *trouble = &troubles->all[kind];
        if (now_ms - trouble->last_ms >= TROUBLE_LASTING_MS)
            trouble->since_ms = 0;
        if (is_lasting(troubles, kind, now_ms) && (!oldest || trouble->since_ms < oldest->since_ms))
            oldest = trouble;
    }
    if (oldest && since_ms)
        *since_ms = oldest->since_ms;
    return oldest ? oldest->text : NULL;
}
