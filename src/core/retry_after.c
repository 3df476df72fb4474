#include "core/retry_after.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    TEXT_MOST = 63,
    SECOND_MS = 1000,
    SECONDS_MOST = 1000000000, /* more is as good as for ever */
    CENTURY = 100,
    AHEAD_YEARS = 50, /* a year of two digits is no further ahead than this */
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

static int month_of(const char *name)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int month = 0; month < 12; month++)
        if (strcasecmp(name, names[month]) == 0)
            return month;
    return -1;
}

/* Sun, 06 Nov 1994 08:49:37 GMT (also with UTC, as some write) */
static bool read_imf_date(const char *text, struct tm *tm, char month[4])
{
    int n = 0;
    return sscanf(text, "%*3[A-Za-z], %2d %3s %4d %2d:%2d:%2d %n", &tm->tm_mday, month,
                  &tm->tm_year, &tm->tm_hour, &tm->tm_min, &tm->tm_sec, &n) == 6 &&
           n && (!strcasecmp(text + n, "GMT") || !strcasecmp(text + n, "UTC"));
}

/* Sunday, 06-Nov-94 08:49:37 GMT */
static bool read_rfc850_date(const char *text, struct tm *tm, char month[4], int this_year)
{
    int n = 0;
    if (sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%d %2d:%2d:%2d %n", &tm->tm_mday, month,
               &tm->tm_year, &tm->tm_hour, &tm->tm_min, &tm->tm_sec, &n) != 6 ||
        !n || strcasecmp(text + n, "GMT") != 0)
        return false;
    if (tm->tm_year < CENTURY) {
        tm->tm_year += this_year - this_year % CENTURY;
        if (tm->tm_year > this_year + AHEAD_YEARS)
            tm->tm_year -= CENTURY;
        else if (tm->tm_year <= this_year - AHEAD_YEARS)
            tm->tm_year += CENTURY;
    }
    return true;
}

/* Sun Nov  6 08:49:37 1994 */
static bool read_asctime_date(const char *text, struct tm *tm, char month[4])
{
    int n = 0;
    return sscanf(text, "%*3[A-Za-z] %3s %2d %2d:%2d:%2d %4d%n", month, &tm->tm_mday, &tm->tm_hour,
                  &tm->tm_min, &tm->tm_sec, &tm->tm_year, &n) == 6 &&
           n && !text[n];
}

static bool is_sound(const struct tm *tm)
{
    return tm->tm_mon >= 0 && tm->tm_year >= 1970 && tm->tm_mday >= 1 && tm->tm_mday <= 31 &&
           tm->tm_hour >= 0 && tm->tm_hour <= 23 && tm->tm_min >= 0 && tm->tm_min <= 59 &&
           tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

int64_t retry_after_ms(const char *value, size_t size, int64_t now_wall_ms)
{
    char text[TEXT_MOST + 1], month[4] = "";
    struct tm tm = {0}, now;
    time_t seconds = now_wall_ms / SECOND_MS;
    if (size == 0 || size > TEXT_MOST || memchr(value, '\0', size) || !gmtime_r(&seconds, &now))
        return -1;
    memcpy(text, value, size);
    text[size] = '\0';
    if (*text >= '0' && *text <= '9') {
        int64_t wait = read_seconds(text);
        return wait < 0 ? -1 : wait * SECOND_MS;
    }
    if (!read_imf_date(text, &tm, month) &&
        !read_rfc850_date(text, &tm, month, now.tm_year + 1900) &&
        !read_asctime_date(text, &tm, month))
        return -1;
    tm.tm_mon = month_of(month);
    if (!is_sound(&tm))
        return -1;
    tm.tm_year -= 1900;
    int64_t wait = (int64_t)timegm(&tm) * SECOND_MS - now_wall_ms;
    return wait > 0 ? wait : 0;
}
