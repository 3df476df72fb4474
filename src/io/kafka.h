/* Kafka through librdkafka, for one job: a consumer of the job's requests topic in its group, a
 * transactional producer, and four runner threads for the calls that block, so that the Kafka
 * thread never waits for the network: the writer (transactions), the reader (ledgers, ending a dead
 * owner's transactions, plain commits), the prober (whether committed offsets still exist) and the
 * looker (whether brokers serve a partition of which nothing comes). Only the Kafka thread calls
 * the functions below, except kafka_wake (any thread) and kafka_check_settings (before any thread).
 * Functions start operations; kafka_serve reports their ends through the handler. Partition lists
 * and texts that the handler gets are borrowed for the call.
 *
 * This module decides nothing of the protocol: it reports what happened, and the engine decides. By
 * itself it repeats only calls whose repetition is certainly harmless (retriable errors of the same
 * call). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/config.h"
#include "core/request.h"
#include "core/result.h"
#include "core/txn.h"
#include "io/kafka_files.h"

struct kafka;

struct kafka_handler {
    /* A rebalance has assigned partitions (if none, no answer is needed). No record of them is
     * delivered until kafka_assign. A newer rebalance may overtake the answer: then they are first
     * reported as overtaken, and again as assigned if they are still ours. */
    void (*assigned)(void *arg, uint64_t rebalance, const struct record_position *list,
                     size_t count);
    /* A rebalance revokes partitions. */
    void (*revoked)(void *arg, uint64_t rebalance, enum revocation how,
                    const struct record_position *list, size_t count);
    /* The log of partitions is not the one that was read, or is shorter. They are reported as
     * overtaken and as assigned next, and only their committed state counts. May be NULL. */
    void (*log_changed)(void *arg, const struct record_position *list, size_t count);
    /* The producer is ready (after kafka_start and kafka_renew_producer): transactions of an
     * earlier producer have ended. */
    void (*producer_ready)(void *arg);
    /* What the broker said about the operation whose end is reported next, as a text with a remedy.
     * about_size: it refused the size. lasting: the failure does not pass by itself. May be
     * NULL. */
    void (*said)(void *arg, const char *words, bool about_size, bool lasting);
    /* kafka_transact has ended. refused: for TXN_REFUSED one element per record, otherwise
     * NULL. */
    void (*transacted)(void *arg, enum txn_outcome outcome, const enum record_refusal *refused,
                       const char *error);
    void (*ledgers_read)(void *arg, enum group_answer answer, const struct stored_ledger *list,
                         size_t count, const char *error);
    void (*owner_ended)(void *arg, enum group_answer answer, const char *owner, const char *error);
    void (*committed)(void *arg, enum group_answer answer, const char *error);
    /* This process cannot go on (a fatal error of the consumer, authorization, ...). */
    void (*failed)(void *arg, const char *error);
};

struct kafka_record_sink {
    /* A record; raw is borrowed. */
    void (*record)(void *arg, struct record_position position, const struct raw_record *raw);
    /* The end of the partition was reached: `offset` is the next offset that a producer will
     * get. */
    void (*end)(void *arg, enum request_kind kind, int32_t partition, int64_t offset);
    /* How many records of the partition are wanted now; 0: none. Only kafka_take_all asks. */
    size_t (*wants)(void *arg, int32_t partition);
};

/* A transaction: records in order, then the ledgers as its offsets. The caller keeps it, with
 * everything that it points at, unchanged until `transacted`. */
struct kafka_transaction {
    const struct record *records;
    size_t record_count;
    const struct stored_ledger *ledgers;
    size_t ledger_count;
};

/* Removes the defaults that only newer versions of librdkafka know, so that --print-config shows
 * the values in force. Before kafka_check_settings. */
void kafka_fit_settings(struct config *config);

/* Checks every kafka.* setting against librdkafka without connecting, for --check. Appends a line
 * for each refused setting, with its origin (kafka_setting.origin), and never with the value of a
 * secret. Returns 0, or -1. */
int kafka_check_settings(const struct config *config, struct text *errors);

/* Creates the clients of a job. files NULL: files are not read again. config, files, handler and
 * arg must outlive it. NULL on failure. */
struct kafka *kafka_new(const struct config *config, enum request_kind job,
                        struct kafka_files *files, const struct kafka_handler *handler, void *arg,
                        struct error *error);

/* Makes the producer ready: waits for brokers and for the topics that are written to, and logs
 * that. Then it reports producer_ready. */
void kafka_start(struct kafka *kafka);

/* Joins the job's group: subscribes to its requests topic. */
void kafka_join(struct kafka *kafka);

/* Whether kafka_join was called. */
bool kafka_has_joined(const struct kafka *kafka);

/* Whether the job is in its group, as far as its requests to the coordinator show. */
enum kafka_standing {
    KAFKA_SETTLED, /* it has had an assignment or sends heartbeats, and has not joined since */
    KAFKA_JOINING, /* a join is not answered yet */
    KAFKA_JOINS_REFUSED,  /* joins are sent again and again */
    KAFKA_NO_COORDINATOR, /* nothing is sent */
};
enum kafka_standing kafka_standing(const struct kafka *kafka);

/* Why the coordinator refused the last join, with a remedy; NULL: it did not, or the job has been
 * in its group since. librdkafka reports an error that repeats once. Valid until kafka_serve. */
const char *kafka_join_refusal(const struct kafka *kafka);

/* The topic that the job waits for because, by the last report, it does not exist; NULL: none. Any
 * thread. It is set before the log says so. */
const char *kafka_lacks_topic(const struct kafka *kafka);

/* The same, of the topic of requests alone. */
const char *kafka_lacks_requests(const struct kafka *kafka);

/* Sleeps until an event, a kafka_wake, or the end of the time (ms, at most 1000). */
void kafka_wait(struct kafka *kafka, int timeout_ms);

/* Ends the current or next kafka_wait. Any thread. */
void kafka_wake(struct kafka *kafka);

/* Reports events through the handler, without waiting. The caller calls it at least once a second,
 * because it also keeps max.poll.interval.ms. */
void kafka_serve(struct kafka *kafka);

/* Delivers up to `most` records and ends of an assigned partition, without waiting. Returns how
 * many; fewer mean that there are no more now (a later arrival ends kafka_wait). librdkafka may
 * deliver a record twice; gaps in the offsets are gaps in the log. */
size_t kafka_take(struct kafka *kafka, enum request_kind kind, int32_t partition, size_t most,
                  const struct kafka_record_sink *sink, void *arg);

/* Takes what is wanted of each partition of which something has come. Returns whether there may be
 * more of it at once. O(partitions of which something waits). */
bool kafka_take_all(struct kafka *kafka, enum request_kind kind,
                    const struct kafka_record_sink *sink, void *arg);

/* Whether `revoked` and `assigned` are being called only because partitions that their topic did
 * not have are asked for again: the group has changed nothing. */
bool kafka_asks_again(const struct kafka *kafka);

/* The partition's end as the broker last reported it with fetched records, without a request; -1:
 * not known. */
int64_t kafka_end(const struct kafka *kafka, enum request_kind kind, int32_t partition);
/* The same, or as the leader has told since: while nothing is taken of a partition, librdkafka
 * fetches nothing more of it. At most stuck.after.ms old. */
int64_t kafka_told_end(const struct kafka *kafka, enum request_kind kind, int32_t partition);

/* Whether the log of the last minute says why a broker cannot be reached or used, so that what
 * follows from it needs no line. Any thread. */
bool kafka_log_tells_why(void);

/* Since when no broker has answered (wall clock, ms); 0: brokers answer. reason: the last error of
 * a connection; empty: none. Any thread. */
int64_t kafka_silent_since(struct kafka *kafka, char *reason, size_t size);

/* Whether an error of the last minute says that a handshake with a broker failed, of TLS or SASL.
 * Any thread. */
bool kafka_is_refused(void);

/* Whether the broker currently refuses an operation because a right is missing. Any thread. It is
 * set before the log says which. */
bool kafka_lacks_right(const struct kafka *kafka);

/* Why an assigned partition has been unreadable for so long that it counts as halted, with the
 * remedy; NULL: it can be read. Reading is retried automatically. */
const char *kafka_trouble(const struct kafka *kafka, enum request_kind kind, int32_t partition);

/* The i-th assigned partition that its topic has not had for so long that it counts as halted, and
 * since when (CLOCK_BOOTTIME); -1: no more. It is asked for again automatically. */
int32_t kafka_absent(const struct kafka *kafka, size_t i, int64_t *since_ms);

/* Answers `assigned`: delivery begins at the given offsets. The call is ignored unless `rebalance`
 * is the number of the newest rebalance. */
void kafka_assign(struct kafka *kafka, uint64_t rebalance, const struct record_position *list,
                  size_t count);

/* Reports an owned partition as overtaken and as assigned again, so that its committed state is
 * read and claimed again. The group is not involved. */
void kafka_restart(struct kafka *kafka, enum request_kind kind, int32_t partition);

/* Answers `revoked`: the partitions are given back, and lost ones are requested again. The call is
 * ignored unless `rebalance` is the number of the newest rebalance. */
void kafka_unassign(struct kafka *kafka, uint64_t rebalance);

/* Operations. At any time at most one of the next two runs, and one of the three after them. */
void kafka_transact(struct kafka *kafka, const struct kafka_transaction *transaction);
void kafka_renew_producer(struct kafka *kafka);
/* stable: read_committed, with GROUP_RETRY while a transaction on one of them is open; otherwise
 * the offsets as they are now. One try of at most about a second. */
void kafka_read_ledgers(struct kafka *kafka, const struct record_position *list, size_t count,
                        bool stable);
/* Ends the open transaction of the instance `owner` of the job's group, and fences its producer. */
void kafka_end_owner(struct kafka *kafka, const char *owner);
/* A commit outside of transactions, which the coordinator accepts only from a live member of the
 * group's current generation. */
void kafka_commit(struct kafka *kafka, const struct stored_ledger *list, size_t count);

/* How many answers of brokers a quota has delayed. */
unsigned kafka_throttles(const struct kafka *kafka);

/* Leaves the group. `revoked` is reported for partitions that are still assigned, and must be
 * answered. */
void kafka_leave(struct kafka *kafka);

/* Whether kafka_leave has ended (the consumer is closed). */
bool kafka_left(const struct kafka *kafka);

/* What runs for it begins nothing new, so that several can be released one after another. */
void kafka_stop(struct kafka *kafka);

/* Releases everything. This takes some ms while brokers answer. Without brokers librdkafka takes
 * about two seconds for each client, and a commit may take a minute to end, so a process that ends
 * anyway may skip it. false: clients stay that may still call back, so config and files must stay,
 * too, and the process can only _exit. kafka may be NULL. */
bool kafka_free(struct kafka *kafka);
