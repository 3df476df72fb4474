#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return -1;
}

int error_suffix(struct error *error, const char *format, ...)
{
    size_t length = strlen(error->text);
    va_list args;
    va_start(args, format);
    vsnprintf(error->text + length, sizeof error->text - length, format, args);
    va_end(args);
    return -1;
}

int error_prefix(struct error *error, const char *format, ...)
{
    struct error old = *error;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof error->text - 1) {
        size_t room = sizeof error->text - 1 - (size_t)n;
        size_t length = strnlen(old.text, room);
        memcpy(error->text + n, old.text, length);
        error->text[(size_t)n + length] = '\0';
    }
    return -1;
}
