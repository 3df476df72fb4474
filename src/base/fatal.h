/* Writes the last log line of a process that must not go on, because no memory is left or an
 * internal contradiction was found (a failed assert, an abort here or in a library). The line is
 * written once and without allocating; then the process ends by SIGABRT. The committed ledger says
 * what the process had started, so its successor can go on safely. Any thread. */
#pragma once

/* From now on each SIGABRT writes the line first, whoever raises it. Main thread, at start. */
void fatal_prepare(void);

void fatal(const char *what) __attribute__((noreturn));
