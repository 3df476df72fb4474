/* The types of transactions and of the group that the engine and io/kafka share: ledgers to commit
 * or as read, and the ends of transactions, of requests to the coordinator and of assignments.
 * Types only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"

/* Whether committed state that this process has written is gone, although the log is the one that
 * was read. */
enum offset_loss {
    OFFSET_NOT_LOST,
    OFFSET_LOST,
    OFFSET_LOSS_UNCLEAR, /* the state is gone, and the log may be another one */
};

/* A partition's committed offset with its metadata, the ledger: to commit, or as read. */
struct stored_ledger {
    enum request_kind kind;
    int32_t partition;
    int64_t offset;       /* the base; -1: nothing is committed */
    const char *metadata; /* NUL-terminated; may be "" */
    size_t metadata_size;
    enum offset_loss loss; /* as it was read */
    bool made_again; /* when read: the partition's log is not the one that this process has read */
    bool absent;     /* when read: a broker says that the topic does not have this partition */
};

/* How a transaction ended. */
enum txn_outcome {
    TXN_COMMITTED,
    TXN_ABORTED,         /* nothing of it is committed; to be repeated with the new membership (a
                            rebalance, a time-out, ...) */
    TXN_REFUSED,         /* aborted, because the broker or client refused some records for good */
    TXN_UNKNOWN,         /* it may be committed: renew the producer, then read the ledgers back */
    TXN_FENCED,          /* another producer has the transactional id; it may be committed: like
                            TXN_UNKNOWN */
    TXN_NOT_MEMBER,      /* aborted: there is no membership at present */
    TXN_OFFSETS_REFUSED, /* aborted: the broker refuses these ledgers for good */
    TXN_EXPIRED, /* aborted: the broker has forgotten the transactional id; renew the producer */
};

/* How a read of ledgers, a commit outside of transactions, or the fencing of a former owner ended.
 */
enum group_answer {
    GROUP_DONE,
    GROUP_RETRY, /* not now (a time-out, an unstable offset, a broker that is away): try again */
    GROUP_NOT_MEMBER, /* the coordinator says that this process is not a member of this generation
                       */
    GROUP_REFUSED,    /* a commit: the broker refuses these ledgers for good */
};

/* How a rebalance revokes partitions. */
enum revocation {
    PARTITIONS_REVOKED, /* they stay ours until they are unassigned, unless another event comes
                           first */
    PARTITIONS_LOST, /* the membership may be over: Kafka was away for longer than the session, or
                        the group has removed this member. Until they are unassigned, transactions
                        use the membership that granted the partitions; the coordinator accepts it
                        as long as no other member can have them */
    PARTITIONS_OVERTAKEN, /* another member may have them already: no transaction may contain them
                             any more */
};
