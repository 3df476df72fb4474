/* Preloaded into a program: the answer to its first commit of a transaction comes too late for it.
 * COMMIT=landed: the broker has committed; COMMIT=lost: it has heard of nothing; COMMIT=late: the
 * commit is under way. */
#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

rd_kafka_error_t *rd_kafka_commit_transaction(rd_kafka_t *client, int timeout)
{
    static rd_kafka_error_t *(*next)(rd_kafka_t *, int);
    static int done;
    const char *how = getenv("COMMIT");
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "rd_kafka_commit_transaction");
    if (done || !how)
        return next(client, timeout);
    done = 1;
    rd_kafka_error_t *error = NULL;
    if (strcmp(how, "lost") != 0) {
        rd_kafka_flush(client, timeout);
        error = next(client, strcmp(how, "late") ? timeout : 1);
    }
    return error ? error : rd_kafka_error_new(RD_KAFKA_RESP_ERR__TIMED_OUT, "too late");
}
