/* Kafka, by librdkafka, for one job: a consumer of its requests topic in its group, a transactional
 * producer, and two runner threads of its own that make the calls that block (transactions on one;
 * reading ledgers, ending a dead owner's transactions and plain commits on the other), so that the
 * Kafka thread never waits for the network. Everything below is called by the Kafka thread alone,
 * but kafka_wake (any thread) and kafka_check_settings. Jobs are asked for, and their ends are told
 * through the handler from kafka_serve. Partition lists and texts that a handler gets are borrowed
 * for the call.
 *
 * It decides nothing of the protocol: it says what happened, the engine says what to do. It retries
 * by itself only what is sure to be harmless (retriable errors of one and the same call). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/config.h"
#include "core/request.h"
#include "core/result.h"
#include "io/kafka_files.h"

struct kafka;

/* Whether committed state that this process has written is gone, though the log is the one that was
 * read. */
enum kafka_loss {
    KAFKA_NOT_LOST,
    KAFKA_OFFSET_LOST,
    KAFKA_LOSS_UNCLEAR, /* it is gone, and the log may be another one */
};

/* A partition's committed state. */
struct kafka_ledger {
    enum request_kind kind;
    int32_t partition;
    int64_t offset;       /* -1: nothing committed */
    const char *metadata; /* NUL-terminated here; may be "" */
    size_t metadata_size;
    enum kafka_loss loss; /* as it was read */
};

struct kafka_partition {
    enum request_kind kind;
    int32_t partition;
    int64_t offset; /* where to read from; below 0: the oldest */
};

/* How a transaction ended. */
enum kafka_outcome {
    KAFKA_COMMITTED,
    KAFKA_ABORTED, /* nothing of it landed; to be made again, with fresh membership (a rebalance, a
                      time-out, ...) */
    KAFKA_REFUSED, /* aborted, as the broker or client refused some of its records for good;
                      refused[] says which, and why */
    KAFKA_UNKNOWN, /* it may have landed: renew the producer, then read the ledgers back */
    KAFKA_FENCED,  /* another producer has the transactional id; it may or may not have landed: as
                      KAFKA_UNKNOWN */
    KAFKA_NOT_MEMBER,      /* aborted: there is no membership at present */
    KAFKA_OFFSETS_REFUSED, /* aborted: the broker takes these ledgers neither now nor later */
    KAFKA_EXPIRED, /* aborted: the broker has forgotten the transactional id; renew the producer */
};

/* What became of a record of a transaction. */
enum kafka_refusal {
    KAFKA_TAKEN,
    KAFKA_TOO_LARGE,
    KAFKA_WITHOUT_KEY, /* where the topic demands one */
    KAFKA_NOT_TAKEN, /* nor would it be in another form: a right, a policy, a topic that is gone */
};

/* How a job of the ledger runner ended. */
enum kafka_answer {
    KAFKA_DONE,
    KAFKA_AGAIN, /* not now (a time-out, an unstable offset, a broker that is away): ask again */
    KAFKA_NO_MEMBER,      /* the coordinator says that this process is no member (any more) of this
                             generation */
    KAFKA_COMMIT_REFUSED, /* the broker takes these ledgers neither now nor later */
};

/* How a rebalance takes partitions. */
enum kafka_parting {
    KAFKA_REVOKED,   /* they stay ours until kafka_unassign, unless told otherwise before that */
    KAFKA_LOST,      /* the membership may be over. Until kafka_unassign transactions go under the
                        one that granted them, which the coordinator takes as long as nobody else
                        can have them */
    KAFKA_OVERTAKEN, /* they may be another's already: no transaction may carry them any more */
};

struct kafka_handler {
    /* A rebalance gave partitions (maybe none, which needs no answer). Nothing is delivered of them
     * until kafka_assign. A newer rebalance may overtake the answer: then they are told as
     * overtaken before anything else, and again as assigned if they are still ours. */
    void (*assigned)(void *arg, uint64_t rebalance, const struct kafka_partition *list,
                     size_t count);
    /* A rebalance takes partitions. */
    void (*revoked)(void *arg, uint64_t rebalance, enum kafka_parting parting,
                    const struct kafka_partition *list, size_t count);
    /* The log of partitions is not the one that was read, or is shorter: they are told as
     * overtaken and as assigned next, and their committed state alone decides. May be NULL. */
    void (*log_changed)(void *arg, const struct kafka_partition *list, size_t count);
    /* The producer is ready (after kafka_start and kafka_renew_producer): transactions of an
     * earlier one have ended. */
    void (*producer_ready)(void *arg);
    /* What the broker said, in words with a remedy, of the job whose end is told next. about_size:
     * of the size of what was sent. lasting: it does not pass by itself. May be NULL. */
    void (*said)(void *arg, const char *words, bool about_size, bool lasting);
    /* The job of kafka_transact has ended. refused: for KAFKA_REFUSED one a record, else NULL. */
    void (*transacted)(void *arg, enum kafka_outcome outcome, const enum kafka_refusal *refused,
                       const char *error);
    void (*ledgers_read)(void *arg, enum kafka_answer answer, const struct kafka_ledger *list,
                         size_t count, const char *error);
    void (*owner_ended)(void *arg, enum kafka_answer answer, const char *owner, const char *error);
    void (*committed)(void *arg, enum kafka_answer answer, const char *error);
    /* Nothing can go on in this process (a fatal error of the consumer, authorization, ...). */
    void (*failed)(void *arg, const char *error);
};

struct kafka_record_sink {
    /* A record; raw is borrowed. */
    void (*record)(void *arg, struct place place, const struct raw_record *raw);
    /* The end of the partition was reached: `offset` is the next one that a producer will get. */
    void (*end)(void *arg, enum request_kind kind, int32_t partition, int64_t offset);
};

/* A transaction: records in order, then the ledgers as its offsets. It and what it points at stay
 * untouched until `transacted`. */
struct kafka_transaction {
    const struct record *records;
    size_t record_count;
    const struct kafka_ledger *ledgers;
    size_t ledger_count;
};

/* Takes the defaults out that only newer versions of librdkafka know, so that what --print-config
 * shows is what is in force. Before kafka_check_settings. */
void kafka_fit_settings(struct config *config);

/* Checks every kafka.* setting against librdkafka without connecting, as --check does. Appends a
 * line for each one refused, with its origin (kafka_setting.origin), never a secret's value.
 * Returns 0, or -1. */
int kafka_check_settings(const struct config *config, struct text *errors);

/* Creates the clients of a job; config, files (NULL: what they say stays as it was), handler and
 * arg must outlive it. NULL on failure. */
struct kafka *kafka_new(const struct config *config, enum request_kind job,
                        struct kafka_files *files, const struct kafka_handler *handler, void *arg,
                        struct error *error);

/* Begins: makes the producer ready (waiting for brokers and for the topics written to, and saying
 * so in the log), tells producer_ready. */
void kafka_start(struct kafka *kafka);

/* Joins the job's group: subscribes to its requests topic. */
void kafka_join(struct kafka *kafka);

/* Whether a topic of the job does not exist yet, as far as was told: it is waited for. */
bool kafka_lacks_topic(const struct kafka *kafka);

/* Sleeps until something has happened, kafka_wake was called, or the time (ms, at most 1000) is
 * over. */
void kafka_wait(struct kafka *kafka, int timeout_ms);

/* Ends a kafka_wait, now or the next. Any thread. */
void kafka_wake(struct kafka *kafka);

/* Delivers what has happened through the handler, without waiting. To be called at least each
 * second: it also keeps max.poll.interval.ms. */
void kafka_serve(struct kafka *kafka);

/* Delivers up to `most` waiting records and ends of an assigned partition, without waiting; fewer
 * mean that it has no more now (a later arrival ends kafka_wait). Returns how many. Duplicates of
 * librdkafka are possible; gaps are gaps of the log. */
size_t kafka_take(struct kafka *kafka, enum request_kind kind, int32_t partition, size_t most,
                  const struct kafka_record_sink *sink, void *arg);

/* The partition's end as the broker last told it while records were fetched, without asking; -1:
 * not known. */
int64_t kafka_end(const struct kafka *kafka, enum request_kind kind, int32_t partition);

/* Since when no broker has answered, as far as is known (wall clock, ms); 0: they do. reason: what
 * was last said of a connection that failed; empty: nothing. Any thread. */
int64_t kafka_silent_since(struct kafka *kafka, char *reason, size_t size);

/* Whether the broker refuses something for want of a right, for now. The log says which. */
bool kafka_lacks_right(const struct kafka *kafka);

/* Why nothing of an assigned partition can be read, for so long that it counts as halted, with what
 * to do about it; NULL: it can. It is tried again by itself. */
const char *kafka_trouble(const struct kafka *kafka, enum request_kind kind, int32_t partition);

/* Answers `assigned`: delivery begins at the offsets given. A number that is not the newest
 * rebalance's is ignored. */
void kafka_assign(struct kafka *kafka, uint64_t rebalance, const struct kafka_partition *list,
                  size_t count);

/* Tells a partition that is held as overtaken and as assigned again, so that its committed state is
 * read and claimed anew. The group does not hear of it. */
void kafka_restart(struct kafka *kafka, enum request_kind kind, int32_t partition);

/* Answers `revoked`: the partitions are given back, and what was lost is asked for anew. A number
 * that is not the newest rebalance's is ignored. */
void kafka_unassign(struct kafka *kafka, uint64_t rebalance);

/* Jobs: at most one transaction or renewal, and one of the ledger runner's (the next three), at a
 * time. */
void kafka_transact(struct kafka *kafka, const struct kafka_transaction *transaction);
void kafka_renew_producer(struct kafka *kafka);
/* stable: read_committed, answers KAFKA_AGAIN while a transaction on one of them is open; else what
 * stands there now. One try of about a second at most. */
void kafka_read_ledgers(struct kafka *kafka, const struct kafka_partition *list, size_t count,
                        bool stable);
/* Ends what the instance `owner` of the job's group has open, and fences it. */
void kafka_end_owner(struct kafka *kafka, const char *owner);
/* A commit outside of any transaction, taken only from a live member of the group's present
 * generation. */
void kafka_commit(struct kafka *kafka, const struct kafka_ledger *list, size_t count);

/* Leaves the group: revoked is told for what is still assigned, and must be answered. */
void kafka_leave(struct kafka *kafka);

/* Whether kafka_leave has ended (the consumer is closed). */
bool kafka_left(const struct kafka *kafka);

/* Tears all down: in some ms while brokers answer. Without them librdkafka takes about two seconds
 * for each client, so a process that ends anyway may leave it out. */
void kafka_free(struct kafka *kafka);
