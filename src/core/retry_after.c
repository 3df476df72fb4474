#include "core/retry_after.h"

#include <string.h>

#include "base/text.h"
#include "core/http_date.h"

enum {
    TEXT_MAX = 63,
    SECOND_MS = 1000,
    SECONDS_MAX = 1000000000, /* more counts as for ever */
};

static int64_t read_seconds(const char *text)
{
    int64_t seconds = 0;
    for (; *text; text++) {
        if (!text_is_digit(*text))
            return -1;
        if (seconds < SECONDS_MAX)
            seconds = seconds * 10 + (*text - '0');
    }
    return seconds;
}

int64_t retry_after_ms(const char *value, size_t size, int64_t now_wall_ms)
{
    char text[TEXT_MAX + 1];
    int64_t date;
    if (http_date_ms(value, size, &date))
        return date > now_wall_ms ? date - now_wall_ms : 0;
    if (size == 0 || size > TEXT_MAX || memchr(value, '\0', size))
        return -1;
    memcpy(text, value, size);
    text[size] = '\0';
    int64_t wait = read_seconds(text);
    return wait < 0 ? -1 : wait * SECOND_MS;
}
