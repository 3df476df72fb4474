/* The current content of the files that Kafka's clients use: values given as `kafka.KEY.file` that
 * are secrets, certificates (`ssl.ca.pem`, `ssl.certificate.pem`) or `sasl.username`, and the files
 * of certificates and keys that librdkafka reads itself. One per process: libuv's pool checks the
 * files, one thread at a time, and the threads of all jobs use them.
 *
 * A new sasl.username or sasl.password is given to the running clients, and counts for each new
 * connection. Any other change needs new clients, which each job makes when it can (kafka.c,
 * kafka_producer.c). A change with which no client can be made is not used: clients that are made
 * meanwhile get copies of the last files with which one could (kafka_copies.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "core/config.h"

struct kafka_files;

/* How many open files the copies take at most: one for each file, and one more while a new copy is
 * tried. */
size_t kafka_files_copied(const struct config *config);

/* Stores the current state of the files. Called before any client is made. config must outlive
 * it. */
struct kafka_files *kafka_files_new(const struct config *config);
/* Called after the last client has been closed. files may be NULL. */
void kafka_files_free(struct kafka_files *files);

/* Checks whether a file has changed (`all`: reads all files in any case), checks the new content
 * and uses it. Returns a text for the log that names what changed (a constant); NULL: nothing.
 * `error` is set if a file cannot be used (to both errors, if a password and a
 * certificate are no use), and otherwise not changed. */
const char *kafka_files_look(struct kafka_files *files, bool all, struct error *error);
