#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static int64_t clock_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_boot_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

int64_t clock_boot_ms(void)
{
    return clock_us(CLOCK_BOOTTIME) / 1000;
}

int64_t clock_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

void clock_to_text(char out[CLOCK_TEXT_SIZE], int64_t wall_ms)
{
    const int64_t last =
        253402300799999; /* 9999-12-31T23:59:59.999Z: four digits hold no later year */
    int64_t ms = wall_ms < 0 ? 0 : wall_ms > last ? last : wall_ms;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_TEXT_SIZE - n, ".%03uZ", (unsigned)(ms % 1000));
}

/* Exactly `count` digits at *p within [min, max]; moves *p behind them. */
static int read_digits(const char **p, int count, int min, int max, int *value)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (!text_is_digit((*p)[i]))
            return -1;
        number = number * 10 + ((*p)[i] - '0');
    }
    if (number < min || number > max)
        return -1;
    *p += count;
    *value = number;
    return 0;
}

static int read_literal(const char **p, const char *set)
{
    if (!**p || !strchr(set, **p))
        return -1;
    ++*p;
    return 0;
}

static int read_fraction(const char **p, int *ms)
{
    *ms = 0;
    if (**p != '.')
        return 0;
    ++*p;
    int scale = 100, count = 0;
    for (; text_is_digit(**p); ++*p, count++) {
        *ms += (**p - '0') * scale;
        scale /= 10;
    }
    return count ? 0 : -1;
}

static int read_utc_offset(const char **p, int *offset_minutes)
{
    *offset_minutes = 0;
    if (!read_literal(p, "Zz"))
        return 0;
    int sign = **p == '-' ? -1 : 1, hours, minutes;
    if (read_literal(p, "+-") || read_digits(p, 2, 0, 23, &hours) || read_literal(p, ":") ||
        read_digits(p, 2, 0, 59, &minutes))
        return -1;
    *offset_minutes = sign * (hours * 60 + minutes);
    return 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

int clock_from_text(const char *text, int64_t *wall_ms)
{
    const char *p = text;
    int year, month, day, hour, minute, second, ms, offset;
    if (read_digits(&p, 4, 0, 9999, &year) || read_literal(&p, "-") ||
        read_digits(&p, 2, 1, 12, &month) || read_literal(&p, "-") ||
        read_digits(&p, 2, 1, days_in_month(year, month), &day))
        return -1;
    if (read_literal(&p, "Tt ") || read_digits(&p, 2, 0, 23, &hour) || read_literal(&p, ":") ||
        read_digits(&p, 2, 0, 59, &minute) || read_literal(&p, ":") ||
        read_digits(&p, 2, 0, 60, &second))
        return -1;
    if (read_fraction(&p, &ms) || read_utc_offset(&p, &offset) || *p)
        return -1;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    *wall_ms = ((int64_t)timegm(&tm) - (int64_t)offset * 60) * 1000 + ms;
    return 0;
}
