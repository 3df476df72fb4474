/* Preloaded into a program: librdkafka's main threads often get no CPU for 0.56 s when they have
 * something to do, as on an overloaded machine. */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <threads.h>
#include <time.h>

enum { ONE_OF = 8, LATE_NS = 560000000 };

static int is_main_of_client(void)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return !strcmp(name, "rdk:main");
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    static unsigned random = 1; /* of a few threads, whose races do no harm */
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "cnd_timedwait");
    int rc = next(condition, mutex, until);
    random = random * 1103515245U + 12345U;
    if (rc == thrd_success && (random >> 16) % ONE_OF == 0 && is_main_of_client())
        nanosleep(&(struct timespec){.tv_nsec = LATE_NS}, NULL);
    return rc;
}
