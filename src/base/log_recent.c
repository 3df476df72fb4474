#include "base/log_recent.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static struct {
    pthread_mutex_t lock;
    struct log_recent all[LOG_RECENT];
} recent = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Copies what fits, without half a character at the end. */
static void copy_text(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size);
    if (n == size) {
        n--;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(out, text, n);
    out[n] = '\0';
}

static const char *skip_figures(const char *text)
{
    while (text_is_digit(*text))
        text++;
    return text;
}

/* Whether `kept`, which may have been cut, and `text` differ at most in digits. */
static bool is_same(const char *kept, const char *text)
{
    for (;;) {
        kept = skip_figures(kept);
        text = skip_figures(text);
        if (!*kept || *kept != *text)
            return *kept == *text;
        kept++;
        text++;
    }
}

static bool is_about_same(const struct log_recent *entry, enum log_level level,
                          const struct log_about *about, const char *message)
{
    const char *topic = about && about->topic ? about->topic : "";
    return entry->times && entry->level == level && !strcmp(entry->topic, topic) &&
           is_same(entry->message, message);
}

/* The entry that the line goes into. */
static struct log_recent *find_or_evict(enum log_level level, const struct log_about *about,
                                        const char *message)
{
    struct log_recent *oldest = &recent.all[0];
    for (size_t i = 0; i < LOG_RECENT; i++) {
        struct log_recent *entry = &recent.all[i];
        if (is_about_same(entry, level, about, message))
            return entry;
        if (entry->last_ms < oldest->last_ms)
            oldest = entry;
    }
    *oldest = (struct log_recent){.level = level};
    return oldest;
}

void log_recent_add(enum log_level level, const struct log_about *about, const char *message,
                    int64_t wall_ms)
{
    char cut[LOG_RECENT_MESSAGE];
    copy_text(cut, sizeof cut, message);
    pthread_mutex_lock(&recent.lock);
    struct log_recent *entry = find_or_evict(level, about, cut);
    if (!entry->times++)
        entry->first_ms = wall_ms;
    entry->last_ms = wall_ms;
    entry->partition = about ? about->partition : -1;
    entry->offset = about && about->topic ? about->offset : -1;
    memcpy(entry->message, cut, sizeof cut);
    copy_text(entry->topic, sizeof entry->topic, about && about->topic ? about->topic : "");
    pthread_mutex_unlock(&recent.lock);
}

static int newest_first(const void *left, const void *right)
{
    const struct log_recent *a = left, *b = right;
    return (a->last_ms < b->last_ms) - (a->last_ms > b->last_ms);
}

size_t log_recent_copy(struct log_recent *out)
{
    size_t count = 0;
    pthread_mutex_lock(&recent.lock);
    for (size_t i = 0; i < LOG_RECENT; i++)
        if (recent.all[i].times)
            out[count++] = recent.all[i];
    pthread_mutex_unlock(&recent.lock);
    qsort(out, count, sizeof *out, newest_first);
    return count;
}
