/* Condition variables with time-outs on CLOCK_MONOTONIC, which nobody can set. Any thread. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Initialises a condition variable whose time-outs are on CLOCK_MONOTONIC. The caller releases it
 * with pthread_cond_destroy. */
void condition_init(pthread_cond_t *condition);

/* The time `ms` milliseconds from now, for pthread_cond_timedwait on such a condition variable. */
struct timespec condition_deadline(int64_t ms);
