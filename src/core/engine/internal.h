/* The state of one engine, and what its files share; private to them. The engine owns everything
 * here, also the lanes and the requests that are not lent. Only the engine's caller uses it: the
 * job's Kafka thread, or a simulation. Times are CLOCK_BOOTTIME milliseconds. docs/architecture.md
 * has the transitions of partitions, requests and the producer. */
#pragma once

#include <assert.h>

#include "base/map.h"
#include "core/engine/engine.h"
#include "core/engine/marks.h"

/* A process that is fenced twice within this window shares its instance.id with another process. (A
 * process notices a fence only at its next commit.) A process that stood still, or lost its
 * assignment, is fenced by its successors: for the same time after that, fences do not count. */
enum { ENGINE_DUPLICATE_MS = 60000 };

/* Startup grace. A process that restarts under the name of a dead one is fenced once by each worker
 * that takes over partitions of the dead one, as soon as a rebalance has assigned them. Fences
 * within this time after its own assignment do not count, nor do this many others. Another process
 * with the same instance.id keeps fencing. */
enum { ENGINE_STARTUP_MS = 5000, ENGINE_STARTUP_FENCES = 2 };

/* So many consecutive aborts may mean that the membership is gone. */
enum { DRAIN_ABORTS = 5 };

/* So many consecutive aborts may mean that only a new producer helps (if its transactional id has
 * expired, for example). If the new producer does not help, another one is made after so many more
 * aborts: fewer if they are far apart, because the first cause may have passed, and now the
 * producer is the cause. */
enum { RENEW_ABORTS = 3, RENEW_ABORTS_MORE = 16, RENEW_ABORTS_FAR_APART = 2 };

/* A record or ledger that the broker refuses for good is sent again, because somebody may have
 * changed a setting: after the first of these times, which doubles up to the second. A record that
 * is too large even in its reduced form is sent again after the third. */
enum { ENGINE_BLOCK_FIRST_MS = 1000, ENGINE_BLOCK_MAX_MS = 30000, ENGINE_REFUSED_MS = 60000 };

/* Limit of the ledgers of one transaction or commit, by their metadata and the size around it:
 * below the broker's message.max.bytes of 1 MB, into which a group's commit has to fit. A batch
 * that is refused all the same is halved. */
enum { ENGINE_COMMIT_BYTES = 512 * 1024, ENGINE_LEDGER_AROUND = 400 };

/* A learned limit of ledgers is forgotten after this time, and learned again. */
enum { ENGINE_LIMIT_LASTS_MS = 600000 };

/* A log that ends below a marked offset is another log, if no record has arrived for this time.
 * (The end that a new leader reports at first may lag.) */
enum { ENGINE_SHORT_LOG_MS = 10000 };

/* A claim raises the ledger's sequence number by more than a transaction does. So a former owner
 * with a transaction of unknown outcome sees that the partition was claimed since, even under the
 * same name. */
enum { ENGINE_CLAIM_STEP = 2 };

enum partition_phase {
    PARTITION_ARRIVING,  /* assigned; its ledger is being read and claimed */
    PARTITION_ACTIVE,    /* claimed: its records are read, and its requests start */
    PARTITION_HALTED,    /* its ledger cannot be trusted or claimed: nothing is read or written */
    PARTITION_DRAINING,  /* no new starts; outstanding requests end */
    PARTITION_RELEASING, /* "release" is running */
    PARTITION_LOST,      /* like draining, if the broker still accepts its transactions */
    PARTITION_SUSPENDED, /* lost, and its state is kept: it may come back before another worker had
                            it */
    PARTITION_GONE, /* handed over, never claimed, or taken over by another worker; waits for the
                       revocation */
};

/* The requests of one order id in one partition. Only the first request that has not ended may be
 * outstanding. */
struct lane {
    struct map_node node; /* partition->lanes */
    struct partition *partition;
    struct list requests;   /* not ended, by offset (request->lane_node) */
    struct list ready_node; /* partition->ready: its first request may start */
    int64_t doubt_until;    /* a call in doubt may be running until then */
    bool delayed;   /* waits for a time: a back-off of its first request, or the end of a doubt */
    int64_t wake;   /* when the lane has to be checked again: at that time, or when the request is
                       overdue */
    size_t heap_at; /* index in engine->alarms; SIZE_MAX: not there */
    char order_id[];
};

/* Calls of a partition that may still be running although their `unknown` is published, or about to
 * be: by the ledger's names of their order ids. */
struct doubts {
    struct doubt {
        uint32_t name;
        int64_t until;
    } named[LEDGER_DOUBTS];
    size_t count, most;
    int64_t overflow_until; /* end of the doubts for which there was no room */
};

struct partition {
    struct list node;       /* engine->partitions */
    struct list turn_node;  /* engine->newcomers or turns: see turn.c */
    struct list watch_node; /* engine->watched: see partition_watch */
    struct list txn_node;   /* engine->txn.partitions: the transaction contains its ledger */
    struct list left_node;  /* engine->left_out */
    size_t at;              /* index in engine->all */
    struct engine *engine;
    int32_t number;
    enum partition_phase phase;
    uint64_t arrived_with;         /* the rebalance that assigned it */
    bool revoked;                  /* a revocation waits for it */
    struct engine_range inherited; /* what its last takeover found started; told once */
    bool log_changed;              /* the kept state is of another log */
    bool may_resume;       /* arriving: it was suspended or lost, and its requests are kept */
    bool dropped;          /* gone, and no revocation waits for it: can be freed */
    bool recall;           /* its unsent requests have to be recalled */
    bool in_group_op;      /* it is in the running commit */
    bool needs_repair;     /* halted: a person has to repair the committed state */
    bool halt_uncommitted; /* halted or releasing: LEDGER_HALT, which halts it for other workers,
                       too, has still to be committed */
    bool claimed;          /* arriving: its claim is committed */
    int claim_refusals;    /* how often its claim was refused alone */
    bool unclaimed;        /* halted, or arriving again, because its claim was refused */
    bool offsets_refused;  /* the last transaction with its ledger was refused for the offsets */
    bool base_moved;       /* its base has moved over gaps or done records, and it has no requests:
                           nothing else would bring it into a transaction */
    bool without_commit;   /* it had no committed offset when it was read, and its end has not been
                              reached since */
    bool older_than_group; /* a record arrived in that time: older than the group's first commit */
    char *halt_reason;
    uint64_t sequence;       /* of the committed ledger */
    int64_t base;            /* of the committed ledger */
    int64_t top;             /* after the last offset ever marked in the committed ledger */
    int64_t next;            /* after the last record or gap seen */
    struct marks committed;  /* the marks of offsets below `top` in the committed ledger */
    struct marks ahead;      /* the marks of offsets from `top` up to `next` */
    struct marks committing; /* the marks of the ledger in the running transaction */
    struct ledger loaded;    /* the ledger as read: the marks of offsets from `next` on */
    int64_t loaded_end;
    size_t loaded_run;      /* the run that contains `next` */
    int64_t loaded_run_end; /* the end of that run */
    int64_t loaded_undone;  /* how many offsets from `next` on are not done */
    int64_t txn_base;       /* base and top of the ledger in the running transaction */
    int64_t txn_top;
    int64_t limit;        /* partition_start_limit of this transaction */
    struct list requests; /* unfinished, by offset (request->partition_node) */
    size_t unfinished, bytes, busy,
        handed;                /* busy: not waiting; handed: those of them that are lent */
    size_t ended;              /* those that wait for a transaction */
    struct list changes;       /* those whose marks the running transaction changes (change_node) */
    struct request *fits_last; /* the last request for which the ledger has room */
    size_t fits_count;         /* how many requests that are; NULL and 0: not known */
    int64_t fits_max;          /* the room in characters for which these two hold */
    struct map lanes;
    struct list ready; /* lanes */
    size_t ready_count;
    size_t delayed; /* lanes */
    size_t ledger_size;
    int64_t drain_until;
    int64_t lost_at;        /* lost: since when */
    bool probes_membership; /* lost: its next transaction shows whether the broker still accepts any
                             */
    int64_t log_short_since; /* when its log first ended below a marked offset; 0: never */
    int64_t
        blocked_until; /* something of it was refused for good: no transaction before this time */
    int64_t blocked_pause; /* length of that pause */
    uint64_t blocked_by;   /* number of the refusal that caused it */
    int64_t
        oversize_retry_at; /* its ledger is longer than the known limit, and is sent at this time
                     all the same, because the limit may be outdated; 0: it is not too long */
    int64_t doubt_until;   /* the predecessor's calls may be running until then */
    struct doubts doubts;
    int64_t all_doubt_until; /* the same for calls whose order ids are not known: no lane starts
                                anything before. INT64_MAX: the claim sets the end */
};

enum producer_phase {
    PRODUCER_STARTING,
    PRODUCER_IDLE,
    PRODUCER_IN_TXN,
    PRODUCER_TO_RENEW,
    PRODUCER_RENEWING,
    PRODUCER_TO_READ_BACK
};
enum group_op {
    OP_NONE,
    OP_READ,
    OP_READ_STABLE,
    OP_END_OWNER,
    OP_CLAIM,
    OP_RELEASE,
    OP_READ_BACK
};
enum load_phase {
    LOAD_NONE,
    LOAD_READ,
    LOAD_END_OWNERS,
    LOAD_READ_STABLE,
    LOAD_CLAIM,
    LOAD_ASSIGN
};

/* The running transaction. */
struct txn {
    struct list partitions;               /* by txn_node */
    struct list chosen, unmarked, ending; /* requests by list_node */
    struct engine_item *items;
    struct request **item_requests;
    size_t item_count, item_capacity;
    struct stored_ledger *ledgers;
    size_t ledger_count, ledger_capacity;
    int64_t began; /* time before its offsets were sent, from which the leases count */
};

struct owner_list {
    char (*names)[LEDGER_OWNER_SIZE];
    size_t count, capacity;
};

struct engine {
    struct engine_options options;
    char owner[LEDGER_OWNER_SIZE];
    int64_t now, wall_ahead; /* the wall clock minus now */
    struct list partitions;  /* all */
    struct list watched;     /* those that need more than choosing and publishing */
    struct list left_out;    /* those whose ledgers did not fit into the last transaction */
    struct list newcomers;   /* those with requests to start that have had no turn since */
    struct list turns;       /* the others, by the time of their last turn: see turn.c */
    struct partition **all;  /* all partitions, unordered */
    size_t all_count, all_capacity;
    struct partition **numbered; /* all partitions by number; NULL: not here */
    size_t numbered_count;

    enum producer_phase producer;
    struct txn txn;
    char broker_says[400]; /* about the operation that ends */
    bool says_size;
    size_t batch_max;    /* limit of ledgers in one transaction or commit */
    size_t search_max;   /* most ledgers of a transaction, if one of them was refused */
    int64_t ledger_max;  /* known limit of a ledger's characters at the broker */
    int64_t ledger_good; /* characters of the longest ledger that the broker has accepted */
    int64_t limit_until; /* when the learned limit is forgotten; 0: none was learned */
    int64_t late_until;  /* late outcomes wait until then, because the broker refused one */
    int64_t late_pause;
    uint64_t refusals;    /* transactions of which records were refused */
    uint64_t late_by;     /* number of the refusal behind late_until */
    int64_t retry_at;     /* no transaction before this time */
    bool blocked;         /* building the transaction has blocked a partition */
    int aborts;           /* in a row */
    bool forgotten;       /* the last transaction was aborted, because the broker had forgotten the
                             producer */
    bool aborted_records; /* the last aborted transaction had records */
    int64_t last_txn, fence_grace_until, startup_until;
    int64_t unfenced_at;  /* when the producer was last known to be the newest with its id */
    int64_t fenced_after; /* unfenced_at when it was fenced last */
    int startup_fences;
    bool duplicate_suspected, fail; /* that another process has the same instance.id, unless reading
                             back finds another reason */

    enum group_op group_op;
    int64_t group_op_retry_at;
    int group_op_failures;             /* in a row */
    struct record_position *positions; /* of the running read, or of the assignment */
    size_t position_count, position_capacity;
    struct stored_ledger *group_op_ledgers;
    size_t group_op_ledger_count, group_op_ledger_capacity;

    enum load_phase load;
    uint64_t load_rebalance;
    struct owner_list foreign, ended_owners;

    bool revoking;
    int64_t release_until; /* when failing releases are given up; 0: none fails */
    uint64_t revoke_rebalance;

    struct list start, to_unmark, ended; /* requests by list_node */
    struct list orphans;  /* by list_node; untold: those that engine_take_orphan has not returned */
    size_t late_outcomes; /* how many of `ended` go to the dead letters */
    struct lane **alarms; /* heap of lanes by wake */
    size_t alarm_count, alarm_capacity;
    size_t delayed;                /* lanes */
    size_t ready;                  /* lanes of all partitions whose first request may start */
    size_t bytes;                  /* of the unfinished requests of all partitions */
    int64_t latency_sum;           /* mean latency of a try in ms, times its weight */
    size_t chosen, handed, marked; /* requests in these states; marked: as started, in a committed
                                      ledger */
    bool slots_exhausted; /* the last transaction chose as many requests as it was allowed */
    size_t ended_calls, overcommit; /* ended_calls: since the last transaction; overcommit: starts
                                       beyond the slots */
    int64_t allowed;
    bool stopping, recall_all, left;
    int64_t stop_until; /* stopping: when drains are over */
    uint64_t transactions, aborted, unknown, fenced, recovered, resumed;
    struct ledger scratch;
    struct mark_change *changes; /* scratch */
    size_t change_capacity;
};

/* wall 0: not known anew. */
static inline void engine_set_time(struct engine *engine, int64_t now, int64_t wall)
{
    engine->now = now;
    if (wall)
        engine->wall_ahead = wall - now;
}

static inline int64_t engine_wall(const struct engine *engine)
{
    return engine->now + engine->wall_ahead;
}

/* Whether the partition needs, or may need, more than choosing and publishing. */
static inline bool partition_is_watched(const struct partition *partition)
{
    return partition->phase != PARTITION_ACTIVE || partition->recall || partition->base_moved ||
           partition->log_short_since || partition->blocked_until;
}

/* Whether the partition is halted for its next owners, too, and that is not committed yet. */
static inline bool partition_has_uncommitted_halt(const struct partition *partition)
{
    return partition->phase == PARTITION_HALTED && partition->halt_uncommitted;
}

static inline bool partition_in_txn(const struct partition *partition)
{
    return list_linked(&partition->txn_node);
}

/* states.c: the state machines, and the one place that says which state may follow which */
enum machine {
    MACHINE_PARTITION,
    MACHINE_REQUEST,
    MACHINE_PRODUCER,
    MACHINE_LOAD,
    MACHINE_GROUP_OP,
    MACHINES
};
/* Ends the process if the transition is not legal. The partition, and the offset of a request, are
 * for the message; below 0: there is none. O(1). */
void state_check(enum machine machine, unsigned from, unsigned to, int32_t partition,
                 int64_t offset);
bool state_may_follow(enum machine machine, unsigned from, unsigned to);
const char *machine_name(enum machine machine);
/* NULL: there is no such state. */
const char *state_name(enum machine machine, unsigned state);
/* Each transition of these three. (partition.c and requests.c have those of partitions and
 * requests.) */
void producer_enter(struct engine *engine, enum producer_phase phase);
void load_enter(struct engine *engine, enum load_phase load);
void group_op_enter(struct engine *engine, enum group_op op);

/* check.c: called after each transaction in debug builds and builds with a sanitizer. */
static inline void engine_assert_sound(const struct engine *engine)
{
#ifdef ENGINE_CHECKED
    assert(!engine_contradiction(engine));
#endif
    (void)engine;
}

/* partition.c */
struct partition *partition_new(struct engine *engine, int32_t number);
struct partition *partition_find(const struct engine *engine, int32_t number);
/* Adds the partition to engine->watched, or removes it. Called after each change that may matter,
 * because engine_next checks only the partitions in that list. O(1). */
void partition_watch(struct partition *partition);
/* Each transition of a partition. Its end is partition_free. */
void partition_enter(struct partition *partition, enum partition_phase phase);
/* Sets whether the partition's unsent requests have to be recalled. */
void partition_recall(struct partition *partition, bool recall);
/* Drops the partition's state and requests. Lent requests become orphans. */
void partition_clear(struct partition *partition);
/* The same, and the partition is gone; it stays until the revocation (model: forget). */
void partition_forget(struct partition *partition);
/* Forgets the partition's state, and halts the partition. The text says why, and belongs to the
 * partition. */
void partition_halt(struct partition *partition, char *reason);
/* The same, until a person has repaired its committed state. */
void partition_halt_for_repair(struct partition *partition, char *reason);
/* Keeps the partition out of transactions for that long (0: the next pause), because the broker
 * refuses something of it; `reason` is the text for people. */
void partition_block(struct partition *partition, int64_t pause, const char *reason);
/* Ends the pause: the broker has accepted everything of the partition. */
void partition_unblock(struct partition *partition);
/* The next pause after a refusal: twice the last one, within limits. */
int64_t block_pause(int64_t last);
void partition_free(struct partition *partition);
/* Takes over a ledger that was read ("load"). committed: there was a committed offset. */
void partition_load(struct partition *partition, const struct ledger *ledger, bool committed);
/* Writes the ledger, as it is after the running transaction, into engine->scratch, and its marks
 * into partition->committing. Offsets from `top` on are written only if everything below them is
 * done. O(runs of the ledger, changes), whatever the partition holds. */
void partition_ledger(struct partition *partition, const char *owner, uint64_t sequence,
                      int64_t top);
/* Encodes that ledger into an empty text, within the largest size of ledgers. */
void partition_encode(struct engine *engine, struct text *out);
/* The highest offset that may be marked (started, or done above the base) so that every later
 * ledger of this partition fits. Amortised O(1). */
int64_t partition_start_limit(struct partition *partition);
/* Adds a record that is not done, or removes it. O(1). */
void partition_add(struct partition *partition, struct request *request);
void partition_remove(struct partition *partition, struct request *request);
/* The mark of offset `next` in the ledger as read, and after which offset it ends (INT64_MAX:
 * never). O(1). */
enum ledger_mark partition_next_mark(const struct partition *partition, int64_t *end);
/* Moves `next` up to `until`, within that mark. is_record: the passed offset is a record. O(1);
 * O(runs) if a record was expected and there is none. */
void partition_pass(struct partition *partition, int64_t until, bool is_record);
/* The smallest limit of ledgers with which a request can be started. */
int64_t partition_ledger_min(const struct engine *engine);
/* Whether a draining or lost partition can be given back: no transaction contains it, and nothing
 * of it is outstanding any more, or the time is over. */
bool partition_drained(struct partition *partition);
/* Whether transactions may contain the partition now. */
bool partition_takes_part(const struct partition *partition);
/* The partition's first request that the broker refuses; NULL: none. */
const struct request *partition_refused(const struct partition *partition);

/* doubt.c: calls in doubt, by the ledger's names of their order ids */
/* Notes a doubt. Doubts that are over make room. */
void doubts_add(struct doubts *doubts, const char *order_id, int64_t until, int64_t now);
/* Until when a call with that order id's name may run; 0: none. */
int64_t doubts_until(const struct doubts *doubts, const char *order_id);
/* Takes over the doubts of a ledger that was read. They last until `claimed` sets their end. */
void doubts_load(struct doubts *doubts, const struct ledger *ledger);
void doubts_claimed(struct doubts *doubts, int64_t until);
/* Adds the doubts that are not over to a ledger. */
void doubts_write(const struct doubts *doubts, int64_t now, struct ledger *ledger);

/* lane.c */
/* Puts the request at the end of its order id's lane, which is made if there is none. */
void lane_add(struct partition *partition, struct request *request);
/* Updates the state of a lane (ready, delayed, gone) after any change. The lane may be
 * freed. */
void lane_settle(struct lane *lane);
/* Updates every lane that has requests, after a change of the partition's phase. */
void lane_settle_all(struct partition *partition);
/* Removes an ended or forgotten request from its lane. */
void lane_leave(struct request *request);
/* Notes that a call of the lane may be running until then. lane may be NULL. */
void lane_doubt(struct lane *lane, int64_t until);
/* Settles the lanes whose time has come. */
void lane_wake_due(struct engine *engine);
void lane_free_all(struct partition *partition);
/* When the next lane has to be settled; INT64_MAX: never. */
int64_t lane_next_wake(const struct engine *engine);

/* turn.c; each O(1), except for partitions that turn_take drops from the line, each once */
/* How many requests of one partition start one after another while other partitions wait for
 * slots. */
int64_t turn_length(const struct engine *engine);
/* Adds a partition with a request to start to the line, unless it is there. */
void turn_join(struct partition *partition);
/* Takes the next partition with a request to start out of the line; NULL: none. newcomer: whether
 * it had nothing to start before. */
struct partition *turn_take(struct engine *engine, bool *newcomer);
/* Puts the partition back at the end of the line, after its turn. */
void turn_over(struct partition *partition, bool newcomer);
/* Moves a partition that is in line to the front. */
void turn_first(struct partition *partition);

/* transaction.c */
/* Builds the next transaction. Returns false if there is nothing to commit. */
bool txn_build(struct engine *engine, struct engine_action *action);
/* The transaction has committed. lease: that proves the membership, so the chosen requests may
 * start; otherwise (it was learned later, by reading back) they are unmarked again. */
void txn_committed(struct engine *engine, bool lease);
/* Nothing of the transaction is committed: its requests go back to where they were. */
void txn_failed(struct engine *engine);
void txn_fini(struct txn *txn);
/* The broker has refused the ledgers of the failed transaction. The next transaction has fewer
 * ledgers; if it was a single one, it is made smaller, or its partition is left out for a while. */
void txn_offsets_refused(struct engine *engine);

/* batch.c: how much goes into one transaction or commit */

/* Whether another ledger of that size fits in addition to `count` ledgers with `bytes` in total. */
bool batch_fits(const struct engine *engine, size_t count, size_t bytes, size_t size);
/* Notes that the broker has accepted a batch. */
void batch_taken(struct engine *engine, const struct stored_ledger *ledgers, size_t count);
/* Notes a refused batch. Returns whether the broker may accept a smaller batch, or (for a single
 * ledger) a smaller ledger. */
bool batch_refused(struct engine *engine, const struct stored_ledger *ledgers, size_t count);

/* group.c: operations at the group's coordinator, one at a time, and what its answers change */
/* Ends drains and losses whose time is over. After that there may be calls to recall, before a
 * partition is given back. */
void group_check(struct engine *engine);
/* The next step of a revocation, a release or a takeover. Returns false if there is none now. */
bool group_next(struct engine *engine, struct engine_action *action);
/* When the drain of a revoked partition is given up. If all transactions have been aborted for a
 * whole session after the end of the drain, the membership is gone, reported or not, and the
 * partition belongs to another worker. INT64_MAX: not at present. */
int64_t group_gives_up_at(const struct partition *partition);
/* Stores the positions of those partitions for the next read. Returns how many they are. */
size_t group_collect(struct engine *engine, bool (*which)(const struct partition *));
/* Adds a partition to the positions of the next read or assignment. */
void group_add_position(struct engine *engine, const struct partition *partition, int64_t offset);
/* Begins a read of the ledgers at these positions. */
void group_emit_read(struct engine *engine, enum group_op op, struct engine_action *action);
/* Forgets the ledgers of the last commit. */
void group_clear_ledgers(struct engine *engine);
/* Adds the partition's ledger to the next commit, unless it has to wait for the one after it.
 * `bytes` is the size of the commit. */
void group_add_ledger(struct engine *engine, struct partition *partition, const char *owner,
                      size_t *bytes);
/* Begins the commit of these ledgers. */
void group_emit_commit(struct engine *engine, enum group_op op, struct engine_action *action);
/* Sets the pause before an operation is repeated. Most failures pass at once; for others the pause
 * grows. */
void group_op_again(struct engine *engine);
/* Ends the running operation, if it is no commit. Returns whether it is done; if it is not, it is
 * repeated after that pause. */
bool group_op_ended(struct engine *engine, enum group_answer answer, int64_t now);
/* The partition of a ledger that was read. NULL: it is not here any more. */
struct partition *group_partition(const struct engine *engine, const struct stored_ledger *read);
/* Decodes a ledger that was read. Returns 0 or -1. */
int group_decode(struct ledger *ledger, const struct stored_ledger *read, struct error *error);

/* takeover.c */
/* The next step of the takeover of assigned partitions. Returns false if there is none now. */
bool takeover_next(struct engine *engine, struct engine_action *action);
/* A newer rebalance came before the assignment was answered. */
void takeover_cancel(struct engine *engine);
/* Whether each ledger that was read has no owner, this process as owner, or an owner whose
 * transactions have been ended. */
bool takeover_owners_ended(struct engine *engine, const struct stored_ledger *ledgers,
                           size_t count);
/* Takes the ledgers that were read into their partitions. */
void takeover_load(struct engine *engine, const struct stored_ledger *ledgers, size_t count);
/* The broker has answered a claim. */
void takeover_claim_answered(struct engine *engine, enum group_answer answer);

/* release.c */
/* Begins the hand-over of a partition: what has not begun does not begin any more. */
void release_drain(struct engine *engine, struct partition *partition);
/* Takes back requests that were about to be handed to the call thread, of a draining or lost
 * partition. */
void release_stop_starts(struct engine *engine, struct partition *partition);
/* The next release. Returns false if there is none now. */
bool release_next(struct engine *engine, struct engine_action *action);
/* Gives revoked partitions back to the group. Returns false if something of them is left to do. */
bool release_unassign(struct engine *engine, struct engine_action *action);
/* The broker has answered a release. */
void release_answered(struct engine *engine, enum group_answer answer);

/* loss.c */
/* While Kafka is away, partitions are lost by this process's own clock. When the group is back, it
 * gives its members another session, and until that ends the partitions can be handed over. */
void loss_begin(struct engine *engine, struct partition *partition);
/* Ends the hand-over of a lost partition. */
void loss_end(struct engine *engine, struct partition *partition);
bool loss_is_over(struct partition *partition);
/* When a lost partition is given up because the broker neither accepts its transactions nor refuses
 * them for good. */
int64_t loss_gives_up_at(const struct partition *partition);
/* Keeps the partition's state, in case it comes back before another worker has had it. */
void loss_suspend(struct engine *engine, struct partition *partition);
/* Whether the state of the partition is kept. O(requests) while the process stops. */
bool loss_keeps_state(const struct partition *partition);
bool loss_may_suspend(const struct partition *partition);
bool loss_may_hand_over(const struct partition *partition);
/* Drops a lost partition: it will not come back, or another worker has had it. */
void loss_drop(struct partition *partition);
/* Another worker has taken the partition over. */
void loss_taken_over(struct partition *partition);
/* The broker has answered a transaction: lost partitions may belong to another worker, or their
 * time for a hand-over begins. */
void loss_answered(struct engine *engine, enum txn_outcome outcome);

/* read_back.c */
/* Begins to read back the ledgers of a transaction of unknown outcome. ENGINE_NOTHING: all its
 * partitions are gone, and it counts as failed. */
void read_back_begin(struct engine *engine, struct engine_action *action);
/* The ledgers have been read: they show whether the transaction has committed. */
void read_back_take(struct engine *engine, const struct stored_ledger *ledgers, size_t count);

/* requests.c */
/* Each transition of a request. O(1). */
void request_move(struct engine *engine, struct request *request, enum request_state state);
/* The request is over, and is freed. */
void request_drop(struct engine *engine, struct request *request);
/* Ends a request whose outcome is set: it leaves its lane, and the next request of the order id may
 * start. */
void request_end(struct engine *engine, struct request *request);
/* Frees a request whose partition is gone, or keeps it for a dead letter if its answer is worth
 * one. */
void request_late_or_free(struct engine *engine, struct request *request);

/* calls.c */
/* Starts recordings. They are reads: nothing is committed before they are requested. O(started). */
void calls_start_recordings(struct engine *engine);
/* The next request for the call thread. Returns false if there is none now. */
bool calls_next_start(struct engine *engine, struct engine_action *action);
/* The next recall of unsent requests. Returns false if there is none now. O(watched). */
bool calls_next_recall(struct engine *engine, struct engine_action *action);

/* pace.c */
/* When the next transaction is due. */
int64_t pace_txn_due(const struct engine *engine);
/* Counts the duration of a call that has ended. */
void pace_note_latency(struct engine *engine, const struct request *request);

/* producer.c */
/* What the producer does next. Returns false if it does nothing now. */
bool producer_next(struct engine *engine, struct engine_action *action);

/* refusal.c */
/* Gives refused records the form that the broker requires, or blocks their partitions. refused: for
 * each item of the transaction; NULL: not known. */
void refusal_note(struct engine *engine, const enum record_refusal *refused);
/* Whether the request's record of that type is to have its reduced form. */
bool *request_size_form(struct request *request, enum engine_item_type type);
