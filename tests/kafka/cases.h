/* Runs the cases of a test program. They wait for sessions and time-outs most of their time, so
 * several run at once, each in a process of its own. */
#pragma once

#include <stddef.h>

struct CMUnitTest;

/* To be returned by main, whose arguments are passed on: a case's name, or a pattern of names, may
 * be given, and its cases run one by one in this process. */
int cases_run(const struct CMUnitTest *tests, size_t count, int argc, char **argv);

#define run_cases(tests, argc, argv) cases_run(tests, sizeof(tests) / sizeof *(tests), argc, argv)
