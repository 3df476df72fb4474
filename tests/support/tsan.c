/* For programs built with ThreadSanitizer and linked with librdkafka, which starts its threads and
 * takes its locks by C11's functions: the sanitizer knows only the POSIX ones, and breaks in a
 * thread whose start it has not seen. These take the places of glibc's, whose types are the same
 * underneath. Beside them, what the sanitizer shall leave out of account. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

const char *__tsan_default_suppressions(void);

/* librdkafka is not built with the sanitizer, which therefore does not see its atomics: what it
 * does itself to memory, and when it destroys its locks, goes unwatched. What our callbacks do
 * under it is watched. libuv closes its files unseen, so that a number which comes again looks like
 * a race. */
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so\n"
           "race:^mtx_destroy$\n"
           "race:^cnd_destroy$\n"
           "called_from_lib:libuv.so\n"
           "race:libsasl2.so\n";
}

struct beginning {
    thrd_start_t run;
    void *argument;
};

static void *begin(void *opaque)
{
    struct beginning beginning = *(struct beginning *)opaque;
    free(opaque);
    return (void *)(intptr_t)beginning.run(beginning.argument);
}

static int result(int error)
{
    return error == 0           ? thrd_success
           : error == ETIMEDOUT ? thrd_timedout
           : error == EBUSY     ? thrd_busy
                                : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *argument)
{
    struct beginning *beginning = malloc(sizeof *beginning);
    if (!beginning)
        return thrd_nomem;
    *beginning = (struct beginning){run, argument};
    return result(pthread_create(thread, NULL, begin, beginning));
}

int thrd_join(thrd_t thread, int *returned)
{
    void *value = NULL;
    int error = pthread_join(thread, &value);
    if (returned)
        *returned = (int)(intptr_t)value;
    return result(error);
}

int thrd_detach(thrd_t thread)
{
    return result(pthread_detach(thread));
}

int mtx_lock(mtx_t *mutex)
{
    return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex)
{
    return result(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    return result(
        pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}

int cnd_signal(cnd_t *condition)
{
    return result(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
    return result(pthread_cond_broadcast((pthread_cond_t *)condition));
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}
