/* One line on standard error that says what a command waits for, if standard error is a terminal;
 * otherwise nothing. Main thread of commands. */
#pragma once

void wait_line_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Erases the line. Called before anything else is printed. */
void wait_line_clear(void);
