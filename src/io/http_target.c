#include "io/http_target.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

bool http_target_is_clean(const char *target)
{
    for (const char *at = target; *at; at++)
        if (*at <= ' ' || *at >= 0x7f || *at == '#')
            return false;
    return *target;
}

static int hex(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* The decoded path, or NULL. */
static char *decode(const char *path, size_t n)
{
    char *decoded = memory_copy(path, n);
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)path[i];
        if (c == '%') {
            int high = i + 2 < n ? hex(path[i + 1]) : -1, low = high < 0 ? -1 : hex(path[i + 2]);
            c = low < 0 ? -1 : high * 16 + low;
            i += 2;
        }
        if (c < ' ' || c == 0x7f) {
            free(decoded);
            return NULL;
        }
        decoded[size++] = (char)c;
    }
    decoded[size] = '\0';
    return decoded;
}

int http_target_read(struct http_target *target, const char *text)
{
    *target = (struct http_target){0};
    const char *path = text;
    if (!http_target_is_clean(text))
        return -1;
    if (*text != '/') {
        bool secure = !strncasecmp(text, "https://", 8);
        if (!secure && strncasecmp(text, "http://", 7) != 0)
            return -1;
        target->authority = text + (secure ? 8 : 7);
        target->authority_size = strcspn(target->authority, "/?");
        target->other_scheme = secure;
        path = target->authority + target->authority_size;
        if (!target->authority_size)
            return -1;
    }
    size_t n = strcspn(path, "?");
    target->path = n ? decode(path, n) : memory_string("/");
    return target->path ? 0 : -1;
}
