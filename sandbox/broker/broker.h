/* A small Kafka broker inside the process, for the demo and the quick tests: one node, one replica,
 * everything in memory.
 *
 * It speaks to librdkafka from 2.0.2 on (the worker, kcat, Python), in one version of each request:
 * produce and fetch with the clients' own record batches kept as they came, consumer groups of the
 * classic protocol (eager and cooperative, dynamic and static members), offsets with metadata,
 * idempotent producers, and transactions as Kafka has them: fencing by epoch, pending offsets,
 * control markers, aborted records hidden from read_committed, transaction time-outs.
 *
 * It does not wrap librdkafka's mock cluster: that one throws transactional offsets away, fences
 * nobody, shows aborted records and waits 3 s in each rebalance, so that a proxy in front of it
 * would have had to answer most requests itself anyway, while the rest (append a batch, give it
 * back) is the easy part. What is missing against Kafka: durability, replicas, TLS and SASL, other
 * topics than those it starts with, offsets by time, the new consumer protocol (KIP-848),
 * compaction; each partition keeps its newest bytes only.
 *
 * The broker owns one thread and everything in it; the functions below are called from one other
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct broker;

struct broker_topic_spec {
    const char *name;
    int32_t partitions;
};

/* Whether Kafka would accept the name, and the broker serves that many partitions. */
bool broker_topic_valid(const char *name, int64_t partitions);

/* Everything is copied. */
struct broker_options {
    const char *address; /* "host:port" or "[v6]:port"; port 0: a free one; NULL: "127.0.0.1:0" */
    const struct broker_topic_spec *topics; /* all topics; each is valid and occurs once */
    size_t topic_count;
};

/* Listens and starts the thread. The broker advertises to each client the address at which the
 * client reached it. NULL and *error on failure. */
struct broker *broker_new(const struct broker_options *options, struct error *error);

/* "127.0.0.1:NNNN", the real address; valid as long as the broker. */
const char *broker_address(const struct broker *broker);

/* Stops the thread, closes all connections and releases everything. broker may be NULL. */
void broker_free(struct broker *broker);
