/* malloc, calloc and realloc of the whole program, libraries included, that return NULL when they
 * are told to. Any thread. */
#pragma once

#include <stdbool.h>

/* The at-th allocation from now on fails (1: the next one), or that and all later ones; 0: none
 * does. Counts from 0 again. */
void allocations_fail(long at, bool all_later);

/* Allocations since the last call of allocations_fail. */
long allocations_counted(void);
