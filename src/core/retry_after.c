#include "core/retry_after.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    TEXT_MOST = 63,
    SECOND_MS = 1000,
    SECONDS_MOST = 1000000000, /* more is as good as for ever */
};

static int64_t read_seconds(const char *text)
{
    int64_t seconds = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        if (seconds < SECONDS_MOST)
            seconds = seconds * 10 + (*text - '0');
    }
    return seconds;
}

/* Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT; Sun Nov  6 08:49:37 1994 */
static bool read_date(const char *text, struct tm *tm)
{
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S ", "%a, %d-%b-%y %H:%M:%S "};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        *tm = (struct tm){0};
        const char *zone = strptime(text, formats[i], tm);
        if (zone && (!strcasecmp(zone, "GMT") || !strcasecmp(zone, "UTC")))
            return true;
    }
    *tm = (struct tm){0};
    const char *end = strptime(text, "%a %b %d %H:%M:%S %Y", tm);
    return end && !*end;
}

int64_t retry_after_ms(const char *value, size_t size, int64_t now_wall_ms)
{
    char text[TEXT_MOST + 1];
    struct tm tm;
    if (size == 0 || size > TEXT_MOST || memchr(value, '\0', size))
        return -1;
    memcpy(text, value, size);
    text[size] = '\0';
    if (*text >= '0' && *text <= '9') {
        int64_t wait = read_seconds(text);
        return wait < 0 ? -1 : wait * SECOND_MS;
    }
    if (!read_date(text, &tm))
        return -1;
    int64_t wait = (int64_t)timegm(&tm) * SECOND_MS - now_wall_ms;
    return wait > 0 ? wait : 0;
}
