#include "core/http_date.h"

#include <string.h>
#include <strings.h>
#include <time.h>

enum { TEXT_MAX = 63 };

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

bool http_date_ms(const char *value, size_t size, int64_t *wall_ms)
{
    char text[TEXT_MAX + 1];
    struct tm tm;
    if (size == 0 || size > TEXT_MAX || memchr(value, '\0', size))
        return false;
    memcpy(text, value, size);
    text[size] = '\0';
    if (!read_date(text, &tm))
        return false;
    *wall_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}
