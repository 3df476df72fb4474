/* One line on standard error that says what a command waits for, where that is a terminal;
 * elsewhere nothing. For commands' one thread. */
#pragma once

void wait_line_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Takes it away; to be called before anything else is printed. */
void wait_line_clear(void);
