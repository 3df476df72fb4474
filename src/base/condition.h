/* Condition variables whose waits end by a clock that nobody sets. Any thread. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Waits on it end by CLOCK_MONOTONIC. To be destroyed with pthread_cond_destroy. */
void condition_init(pthread_cond_t *condition);

/* That many milliseconds from now, for pthread_cond_timedwait on such a condition. */
struct timespec condition_deadline(int64_t ms);
