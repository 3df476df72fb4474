/* The last line of a process that must not go on: no memory is left, or what cannot be has happened
 * (a failed assert, an abort here or in a library). It is written once, without allocating; then
 * the process ends by SIGABRT. What it had begun, the committed ledger tells its successor. Any
 * thread. */
#pragma once

/* Whoever aborts the process from now on, the line is written first. Main thread, at start. */
void fatal_prepare(void);

void fatal(const char *what) __attribute__((noreturn));
