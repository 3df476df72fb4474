/* What went wrong, as a text for the log. The caller owns the struct. A function that fails fills
 * it and returns -1. Any thread. */
#pragma once

struct error {
    char text[512];
};

/* Writes the message (cut at the end of the buffer). Always returns -1, so that `return
 * error_set(...)` reads well. */
int error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds to the end of the message. Returns -1. */
int error_suffix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts a prefix ("what was attempted: ") before the message. Returns -1. */
int error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
