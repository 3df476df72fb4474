/* What Kafka's clients take from files, as it is now: values given as `kafka.KEY.file` that are
 * secrets, certificates (`ssl.ca.pem`, `ssl.certificate.pem`) or `sasl.username`, and the files of
 * certificates and keys that librdkafka reads itself. One for the process: it is looked at on
 * libuv's pool, by one thread at a time, and used by all jobs' threads.
 *
 * Another sasl.username or sasl.password is told to the clients that run, and counts for each
 * connection made from then on. For anything else the clients have to be made anew, which each job
 * does in its own time (kafka.c, kafka_producer.c). Nothing comes into force with which no client
 * can be made. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/config.h"

struct kafka_files;

/* Remembers how the files are now; to be called before any client is made. config must outlive it.
 */
struct kafka_files *kafka_files_new(const struct config *config);
/* After the last client of its own has ended. NULL is fine. */
void kafka_files_free(struct kafka_files *files);

/* Looks whether a file has changed (`all`: reads all of them anyway), checks what is new and puts
 * it into force. Returns what that was, in words for the log (a constant), or NULL: nothing. What
 * cannot be used is told in `error`, which else is left alone. */
const char *kafka_files_look(struct kafka_files *files, bool all, struct error *error);
