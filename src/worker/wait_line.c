#include "worker/wait_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char erase[] = "\r\033[K";

void wait_line_show(const char *format, ...)
{
    va_list arguments;
    if (!isatty(STDERR_FILENO))
        return;
    fputs(erase, stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fflush(stderr);
}

void wait_line_clear(void)
{
    if (isatty(STDERR_FILENO))
        fputs(erase, stderr);
}
