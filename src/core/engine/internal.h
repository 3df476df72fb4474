/* What the engine's files share. Not for others. */
#pragma once

#include <assert.h>

#include "base/map.h"
#include "core/engine/engine.h"
#include "core/engine/marks.h"

/* Fenced twice within it, for certain (that it was, a process learns only when it next has
 * something to commit): another process has the same instance.id. A process that stood still, or
 * lost its assignment, is fenced by those who took over; this long that counts for nothing. */
enum { ENGINE_TWIN_MS = 60000 };

/* A process that starts anew under the name of a dead one is fenced by those who take over what the
 * dead one had, once by each, as soon as a rebalance has given it to them: for so long after its
 * own assignment, and so many times besides, it counts for nothing. A twin does it for ever. */
enum { ENGINE_YOUNG_MS = 5000, ENGINE_YOUNG_FENCED = 2 };

/* So many transactions aborted in a row may mean that the membership is gone. */
enum { DRAIN_ABORTS = 5 };

/* So many may mean that only a new producer helps (its transactional id has expired, say); if it
 * does not, another one is made after each so many more: fewer where they are far apart, as what
 * went wrong first may have passed, and now it is the producer. */
enum { RENEW_ABORTS = 3, RENEW_ABORTS_MORE = 16, RENEW_ABORTS_FAR_APART = 2 };

/* What of a partition the broker refuses for good is offered again, as a person may have changed a
 * setting: after the first of these times, which doubles up to the second; what is too large even
 * in its small form after the third. */
enum { ENGINE_BLOCK_FIRST_MS = 1000, ENGINE_BLOCK_MOST_MS = 30000, ENGINE_STUCK_MS = 60000 };

/* Ledgers of one transaction or commit, by their metadata and what stands around it: below the
 * broker's message.max.bytes of 1 MB, in which a group's commit has to fit. What is refused all the
 * same is halved. */
enum { ENGINE_COMMIT_BYTES = 512 * 1024, ENGINE_LEDGER_AROUND = 400 };

/* A limit of ledgers that was learned is forgotten after this time, to find out anew. */
enum { ENGINE_LIMIT_LASTS_MS = 600000 };

/* A log that ends below what is marked in it is another log's, when nothing has come for so long:
 * the end that a new leader tells first may lag. */
enum { ENGINE_SHORT_LOG_MS = 10000 };

/* A claim raises the ledger's sequence number by more than a transaction does, so that whoever had
 * the partition before, and may have one transaction of unknown outcome, sees that it was claimed
 * since, be it under the same name. */
enum { ENGINE_CLAIM_STEP = 2 };

enum partition_phase {
    PARTITION_ARRIVING,  /* assigned; its ledger is being read and claimed */
    PARTITION_ACTIVE,    /* ours: "claim" is done */
    PARTITION_HALTED,    /* its state is not to be trusted: nothing is read or written */
    PARTITION_DRAINING,  /* no new starts; what is outstanding ends */
    PARTITION_RELEASING, /* "release" is on its way */
    PARTITION_LOST,      /* as draining, if the broker still takes what it is told */
    PARTITION_AWAY,      /* lost, and remembered: it may come back before another has had it */
    PARTITION_GONE, /* handed over, or never claimed, or taken by another; waits for the revocation
                     */
};

/* The requests of one order id in one partition. Only its first request that has not ended may be
 * outstanding. */
struct lane {
    struct map_node node; /* partition->lanes */
    struct partition *partition;
    struct list requests;   /* not ended, by offset (request->lane_node) */
    struct list ready_node; /* partition->ready: its first request may start */
    int64_t doubt_until;    /* a call in doubt may be running until then */
    bool resting;           /* its first request may start at a time that is not yet */
    int64_t wake;           /* when it is worth looking at again: then, or when that is overdue */
    size_t heap_at;         /* place in engine->alarms; SIZE_MAX: not there */
    char order_id[];
};

/* Calls of a partition that may still be running though their `unknown` is published, or about to
 * be: by the names of their order ids, as the ledger has them. */
struct doubts {
    struct doubt {
        uint32_t name;
        int64_t until;
    } named[LEDGER_DOUBTS];
    size_t count, most;
    int64_t others_until; /* of those for which there was no room */
};

struct partition {
    struct list node;       /* engine->partitions */
    struct list turn_node;  /* engine->newcomers or turns: see turn.c */
    struct list watch_node; /* engine->watched: see partition_watch */
    struct list tick_node;  /* engine->tick.partitions: that transaction carries its ledger */
    struct list left_node;  /* engine->left_out */
    size_t at;              /* place in engine->all */
    struct engine *engine;
    int32_t number;
    enum partition_phase phase;
    uint64_t arrived_with; /* the rebalance that assigned it */
    bool revoked;          /* a revocation waits for it */
    bool log_changed;      /* what is remembered is of another log */
    bool kept;             /* arriving: it was away, and what was in hand is remembered */
    bool dropped;          /* gone, and no revocation waits for it: to be freed */
    bool recall;           /* unsent requests are to be asked for */
    bool in_job;           /* the commit on its way does */
    bool needs_repair;     /* halted: a person has to mend what is committed */
    bool owes_halt;        /* ... and LEDGER_HALT is not committed yet, which tells others so where
                              what is committed does not: until then, or until it is lost */
    bool claimed;          /* arriving: its claim has landed */
    int claim_refusals;    /* ... or has been refused so often, alone */
    bool unclaimed;        /* halted, or arriving again, as its claim was refused */
    bool suspect;          /* the last one that did was refused for its offsets */
    bool changed;          /* the ledger would differ from the committed one, if only by its base */
    bool without_commit;   /* nothing was committed, and its end has not been seen since */
    bool older_than_group; /* ... and a record came before the end */
    char *halt_reason;
    uint64_t sequence;    /* of the committed ledger */
    int64_t base;         /* of the committed ledger */
    int64_t top;          /* behind the last offset ever marked in the committed ledger */
    int64_t next;         /* behind the last record or gap seen */
    struct marks told;    /* what the committed ledger says of offsets below `top` ... */
    struct marks ahead;   /* ... and what is known of those from there on up to `next` */
    struct marks telling; /* told, as the transaction on its way leaves it */
    struct ledger loaded; /* as it was read: the marks of offsets from `next` on */
    int64_t loaded_end;
    size_t loaded_run;      /* the run that `next` stands in, */
    int64_t loaded_run_end; /* ... where that ends, */
    int64_t loaded_undone;  /* ... and how many offsets from `next` on are not done */
    int64_t tick_base;      /* base and top of the ledger on its way */
    int64_t tick_top;
    int64_t limit;                          /* of this tick: partition_start_limit */
    struct list requests;                   /* unfinished, by offset (request->partition_node) */
    size_t unfinished, bytes, busy, handed; /* busy: not waiting; handed: of these, lent */
    size_t ended;                           /* ... and those that wait for a transaction */
    struct list changes;    /* those whose marks the transaction on its way changes (change_node) */
    struct request *within; /* the last one that the ledger has room for ...*/
    size_t within_count;    /* ... and how many that are; NULL, 0: not known */
    int64_t within_most;    /* ... in a ledger of so many characters */
    struct map lanes;
    struct list ready; /* lanes */
    size_t ready_count;
    size_t resting; /* lanes */
    size_t ledger_size;
    int64_t drain_until;
    int64_t lost_at;     /* lost: since when; */
    bool asks;           /* ... its next transaction is to tell whether the broker takes it */
    int64_t short_since; /* 0, or when its log was first seen to end below what is marked in it */
    int64_t stuck_until; /* something of it was refused for good: no transaction before it */
    int64_t stuck_pause; /* ... and how long that was */
    uint64_t stuck_by;   /* the refusal that it was for */
    int64_t offer_at;    /* 0, or its ledger is too long, and is offered again then all the same */
    int64_t doubt_until; /* calls of the predecessor may be running until then */
    struct doubts doubts;
    int64_t all_doubt_until; /* ... of an order id that is not known: no lane goes on before it */
};

enum producer_phase {
    PRODUCER_STARTING,
    PRODUCER_IDLE,
    PRODUCER_TICK,
    PRODUCER_TO_RENEW,
    PRODUCER_RENEWING,
    PRODUCER_TO_READ_BACK
};
enum job {
    JOB_NONE,
    JOB_READ,
    JOB_READ_STABLE,
    JOB_END_OWNER,
    JOB_CLAIM,
    JOB_RELEASE,
    JOB_READ_BACK
};
enum load_phase {
    LOAD_NONE,
    LOAD_READ,
    LOAD_END_OWNERS,
    LOAD_READ_STABLE,
    LOAD_CLAIM,
    LOAD_ASSIGN
};

/* The transaction on its way. */
struct tick {
    struct list partitions;             /* by tick_node */
    struct list chosen, undone, ending; /* requests by list_node */
    struct engine_item *items;
    struct request **item_requests;
    size_t item_count, item_capacity;
    struct stored_ledger *ledgers;
    size_t ledger_count, ledger_capacity;
    int64_t began; /* before its offsets were sent: the leases count from here */
};

struct owner_list {
    char (*names)[LEDGER_OWNER_SIZE];
    size_t count, capacity;
};

struct engine {
    struct engine_options options;
    char owner[LEDGER_OWNER_SIZE];
    int64_t now, wall_ahead; /* the wall clock is so much ahead of now */
    struct list partitions;  /* all */
    struct list watched;     /* those of which more is to be done than to choose and to publish */
    struct list left_out;    /* those for whose ledgers the last transaction had no room */
    struct list newcomers;   /* those that could start something, and have had no turn since; */
    struct list turns;       /* ... the others, by when that was: see turn.c */
    struct partition **all;  /* the same in no order */
    size_t all_count, all_capacity;
    struct partition **numbered; /* the same by number; NULL: not here */
    size_t numbered_count;

    enum producer_phase producer;
    struct tick tick;
    char broker_says[400]; /* of the job that ends */
    bool says_size;
    size_t batch_most;   /* ledgers in one transaction or commit */
    size_t search_most;  /* ... in one transaction with a suspect */
    int64_t ledger_max;  /* characters of one that the broker takes, as far as is known */
    int64_t ledger_good; /* characters of the longest that it has taken */
    int64_t limit_until; /* 0, or when what was learned of the limit is forgotten */
    int64_t late_until;  /* dead letters of what is no partition's any more are refused */
    int64_t late_pause;
    uint64_t refusals;    /* transactions of which records were refused */
    uint64_t late_by;     /* the one that late_until is for */
    int64_t retry_at;     /* no transaction before it */
    bool blocked;         /* the tick that was being built has blocked a partition */
    int aborts;           /* in a row */
    bool forgotten;       /* the last one was aborted, as the broker had forgotten the producer */
    bool aborted_records; /* ... the last one carried records */
    int64_t last_tick, amnesty_until, young_until;
    int64_t unfenced_at;  /* when the producer was last known to be the newest of its name */
    int64_t fenced_after; /* the same, before it was last fenced */
    int young_fenced;
    bool suspicion, fail; /* of a twin, unless reading back finds another reason */

    enum job job;
    int64_t job_retry_at;
    int job_failures;               /* in a row */
    struct record_position *places; /* of the job or assignment */
    size_t place_count, place_capacity;
    struct stored_ledger *job_ledgers;
    size_t job_ledger_count, job_ledger_capacity;

    enum load_phase load;
    uint64_t load_rebalance;
    struct owner_list foreign, ended_owners;

    bool revoking;
    int64_t release_until; /* 0, or when releases that fail are given up */
    uint64_t revoke_rebalance;

    struct list start, unstart, ended; /* requests by list_node */
    struct list orphans;               /* the same; those that nobody has been told of */
    size_t late;                       /* of ended, those for the dead letters */
    struct lane **alarms;              /* heap by wake */
    size_t alarm_count, alarm_capacity;
    size_t resting;      /* lanes */
    size_t ready;        /* lanes of all partitions whose first request may start */
    size_t bytes;        /* of the unfinished requests of all partitions */
    int64_t latency_sum; /* mean latency of a try in ms, times its weight */
    size_t chosen, handed, marked;
    bool short_of_slots;         /* the last tick chose all that it was allowed to */
    size_t ended_calls, surplus; /* since the last tick; more starts than slots */
    int64_t allowed;
    bool stopping, recall_all, left;
    int64_t stop_until; /* stopping: when drains are over */
    uint64_t transactions, aborted, unknown, fenced, recovered, resumed;
    struct ledger scratch;
    struct mark_change *changes; /* scratch */
    size_t change_capacity;
};

static inline int64_t engine_wall(const struct engine *engine)
{
    return engine->now + engine->wall_ahead;
}

/* Whether more is to be done of it than to choose and to publish, or may be. */
static inline bool partition_is_watched(const struct partition *partition)
{
    return partition->phase != PARTITION_ACTIVE || partition->recall || partition->changed ||
           partition->short_since || partition->stuck_until;
}

static inline bool partition_in_tick(const struct partition *partition)
{
    return list_linked(&partition->tick_node);
}

/* check.c: in debug builds and those with a sanitizer, after each transaction. */
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
/* Puts it into engine->watched, or takes it out: to be called after anything has changed that keeps
 * it there. What is looked after in each turn is only looked for there. O(1). */
void partition_watch(struct partition *partition);
void partition_enter(struct partition *partition, enum partition_phase phase);
/* Whether what is in hand of it and unsent is to be asked for. */
void partition_recall(struct partition *partition, bool recall);
/* Drops its state and what is in it (model: forget); what is lent becomes an orphan. The partition
 * itself stays. */
void partition_forget(struct partition *partition);
/* Forgets it, and halts it; the text says why and becomes the partition's. */
void partition_halt(struct partition *partition, char *reason);
/* Keeps it out of transactions for that long (0: the next pause): the broker refuses something of
 * it, in these words. */
void partition_block(struct partition *partition, int64_t pause, const char *reason);
/* All of it was taken. */
void partition_unblock(struct partition *partition);
/* The next pause of what is refused: twice the last one, within bounds. */
int64_t block_pause(int64_t last);
void partition_free(struct partition *partition);
/* Takes over a ledger as read ("load"). */
void partition_load(struct partition *partition, const struct ledger *ledger, bool committed);
/* Writes the ledger, as the transaction on its way leaves it, into engine->scratch, and what is to
 * be remembered of it into partition->telling: offsets from `top` on are told only where all below
 * them is done. O(runs of the ledger, changes), whatever the partition holds. */
void partition_ledger(struct partition *partition, const char *owner, uint64_t sequence,
                      int64_t top);
/* The highest offset that may be marked (started, or done above the base) so that every later
 * ledger of this partition fits. O(1), and O(requests) all in all while the base moves over them.
 */
int64_t partition_start_limit(struct partition *partition);
/* Adds a record that is not done, or takes it out. O(1). */
void partition_add(struct partition *partition, struct request *request);
void partition_remove(struct partition *partition, struct request *request);
/* The mark of offset `next` as it was read, and behind which offset that ends (INT64_MAX: never).
 * O(1). */
enum ledger_mark partition_next_mark(const struct partition *partition, int64_t *end);
/* `next` moves up to `until`, within that mark; what it passes is a record, or is none. O(1);
 * O(runs) where none was expected. */
void partition_pass(struct partition *partition, int64_t until, bool is_record);
/* The smallest limit of ledgers with which anything can be started. */
int64_t partition_ledger_least(const struct engine *engine);
/* Whether nothing of it is outstanding any more, for a drain. */
bool partition_drained(struct partition *partition);
/* Whether transactions carry it now. */
bool partition_takes_part(const struct partition *partition);
/* The first request of it that the broker refuses; NULL: none. */
const struct request *partition_refused(const struct partition *partition);

/* doubt.c */
/* Notes one; what is over makes room. */
void doubts_add(struct doubts *doubts, const char *order_id, int64_t until, int64_t now);
/* Until when one with that order id's name may run; 0: none. */
int64_t doubts_until(const struct doubts *doubts, const char *order_id);
/* Takes over those of a ledger as read: they last until `claimed` says how long. */
void doubts_load(struct doubts *doubts, const struct ledger *ledger);
void doubts_claimed(struct doubts *doubts, int64_t until);
/* Adds those that still last to a ledger. */
void doubts_tell(const struct doubts *doubts, int64_t now, struct ledger *ledger);

/* lane.c */
void lane_add(struct partition *partition, struct request *request);
/* Puts a lane where it belongs (ready, resting, gone) after anything about it changed. It may be
 * freed. */
void lane_settle(struct lane *lane);
/* The same of every lane that has requests, after the partition's phase changed. */
void lane_settle_all(struct partition *partition);
/* Takes a request that has ended, or is forgotten, out of its lane. */
void lane_leave(struct request *request);
/* A call of it may be running until then. NULL is fine. */
void lane_doubt(struct lane *lane, int64_t until);
void lane_wake_due(struct engine *engine);
void lane_free_all(struct partition *partition);
int64_t lane_next_wake(const struct engine *engine);

/* turn.c; each O(1), but for those that turn_take drops from the line, each once */
/* How many requests of one partition start in a row, while others wait for slots. */
int64_t turn_length(const struct engine *engine);
/* Has something to start now: gets in line, unless it stands there. */
void turn_join(struct partition *partition);
/* Takes the next one that can start something out of the line; NULL: none. newcomer: whether it had
 * nothing to start before. */
struct partition *turn_take(struct engine *engine, bool *newcomer);
/* Puts it back, at the end, after its turn. */
void turn_over(struct partition *partition, bool newcomer);
/* If it stands in line, it comes first now. */
void turn_first(struct partition *partition);

/* tick.c */
bool tick_build(struct engine *engine, struct engine_action *action);
void tick_landed(struct engine *engine, bool lease);
void tick_failed(struct engine *engine);
void tick_fini(struct tick *tick);
/* The broker does not take the ledgers of the transaction that has failed: the next one carries
 * fewer, or, where it was one alone, that one smaller, or its partition not for a while. */
void tick_offsets_refused(struct engine *engine);

/* batch.c: how much goes into one transaction or commit */

/* Whether another ledger of that size still fits beside `count` ledgers of `bytes` in all. */
bool batch_fits(const struct engine *engine, size_t count, size_t bytes, size_t size);
/* A batch was taken, or refused. */
void batch_taken(struct engine *engine, const struct stored_ledger *ledgers, size_t count);
/* Returns whether fewer together may be taken, or (a single one) a smaller one. */
bool batch_refused(struct engine *engine, const struct stored_ledger *ledgers, size_t count);

/* group.c */
/* Ends what is over by now: that may leave calls to be recalled, before anything is let go. */
void group_check(struct engine *engine);
bool group_next(struct engine *engine, struct engine_action *action);
/* The broker has answered a transaction: lost partitions may be another's, or have their time to be
 * handed over. */
void group_answered(struct engine *engine, enum txn_outcome outcome);
/* When a revoked partition's drain is given up: transaction after transaction has been aborted for
 * a whole session after the drain's end, so the membership is gone, told or not, and the partition
 * is another's. INT64_MAX: not as it is. */
int64_t group_gives_up_at(const struct partition *partition);
void group_read_back(struct engine *engine, struct engine_action *action);

/* engine.c: transitions of a request; each keeps the counters and lists */
void request_move(struct engine *engine, struct request *request, enum request_state state);
void request_end(struct engine *engine, struct request *request);
/* A request whose partition is gone: freed, or kept for a dead letter when its answer is worth one.
 */
void request_late_or_free(struct engine *engine, struct request *request);
