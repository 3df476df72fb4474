/* The simulated world: several real engines, and in-memory models of what they meet: Kafka's log,
 * offsets, transactions and group (broker.c), each process's Kafka client (client.c) and calling
 * side with the platform behind it (caller.c). Everything that happens is drawn from one seed, so
 * that a run replays exactly. checks.c holds what must be true after every step. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine/engine.h"

enum {
    LOGS_MOST = 4,
    PROCESSES_MOST = 4,
    IDS = 6, /* transactional ids */
    TASKS_MOST = 80,
    LOG_MOST = 400,
    KEYS = 5,
    MEMBERS_MOST = 32,
    LENT_MOST = 256,
    INCARNATIONS_MOST = 256,
};

/* What one request's fate is, as the world outside of the engines knows it. */
struct task {
    enum request_kind kind;
    int log;
    int64_t offset;
    int key; /* -1: none */
    bool invalid, big, deleted;
    int64_t expires_at;
    int dials, results, gone, dead, late;
    enum status result;
    int starter;           /* incarnation that committed its 'started' last */
    bool inherited;        /* its starter has lost it, or handed it over, since */
    int64_t running_until; /* the platform may be at it until then */
    int doubted_by;        /* incarnation whose call ended in doubt; 0: none */
};

struct log {
    enum request_kind kind;
    int64_t start, end;
    int task_at[LOG_MOST]; /* -1: a gap */
    int64_t committed;     /* -1: none */
    char *metadata;
    uint64_t written_at;       /* step */
    int64_t last_result[KEYS]; /* offset of the last one published */
};

struct published {
    enum engine_item_type type;
    int task;
    enum status status;
    bool from_successor;
};

struct offset_commit {
    int log;
    int64_t offset;
    char *metadata;
};

/* committed: it has landed, but its markers are not written yet: stable reads and the id's next
 * transaction wait. */
enum transaction_state { TRANSACTION_NONE, TRANSACTION_OPEN, TRANSACTION_COMMITTED };

/* A transactional id and what it has open. */
struct transaction {
    int epoch;
    uint64_t ended_at; /* step of the last init_transactions */
    enum transaction_state state;
    bool on_its_way; /* its commit may still arrive */
    int incarnation;
    int64_t opened_at;
    struct published items[3 * TASKS_MOST];
    size_t item_count;
    struct offset_commit offsets[LOGS_MOST];
    size_t offset_count;
};

struct member {
    int id;
    bool live, joined, synced;
    int64_t heard_at;
    unsigned owned, given; /* bit sets of logs */
};

struct group {
    int generation;
    bool rebalancing, eager;
    int64_t rebalancing_since;
    struct member members[MEMBERS_MOST];
    size_t member_count;
};

enum client_state { CLIENT_OUT, CLIENT_JOINING, CLIENT_STABLE, CLIENT_GONE };
enum client_asked { ASKED_NOTHING, ASKED_ASSIGN, ASKED_UNASSIGN };

struct client {
    enum client_state state;
    int member, generation; /* 0, -1: none */
    unsigned owned, fetching;
    int64_t position[LOGS_MOST];
    int64_t end_told[LOGS_MOST];
    enum client_asked asked;
    unsigned asked_logs, then_assign;
    uint64_t rebalance;
    bool lost, rejoin, leaving;
};

enum plan { PLAN_ANSWER, PLAN_NOT_PERFORMED, PLAN_DOUBT };

struct lent {
    struct request *request;
    bool sent, recalled;
    enum plan plan;
};

enum job_phase { JOB_IDLE, JOB_PRODUCE, JOB_OFFSETS, JOB_COMMIT_TRANSACTION, JOB_TELL };

struct process {
    int index, id, incarnation;
    enum { PROCESS_DEAD, PROCESS_RUNNING, PROCESS_FROZEN } state;
    int64_t frozen_since, cut_off_until;
    struct engine *engine;
    bool asleep; /* nothing to do until wake_at, unless something happens */
    int64_t wake_at;
    struct client client;
    bool joins, initialising, renewing, stopping, stop_all_sends;
    int epoch;
    enum job_phase transact; /* the producer's job */
    struct engine_action transaction;
    int member, generation; /* as the transaction took them along */
    enum engine_outcome outcome;
    bool refused[3 * TASKS_MOST];
    enum { WORK_NONE, WORK_TO_DO, WORK_DONE } working; /* the ledger job */
    struct engine_action work;
    enum engine_answer answer;
    struct engine_ledger found[LOGS_MOST];
    size_t found_count;
    struct lent lent[LENT_MOST];
    size_t lent_count;
};

struct faults {
    unsigned crash, freeze, cut_off, unclear, abort, refuse, again, stop, start, retention, doubt,
        unsent, allowance, duplicate, keyless, gap, slow_work, slow_transact;
};

struct world {
    uint64_t seed, random;
    bool trace, failed, calm; /* calm: no faults any more */
    char failure[512];
    uint64_t step;
    int64_t now, wall;
    struct engine_options options;
    int64_t session_ms, transaction_ms;
    struct faults faults;
    struct log logs[LOGS_MOST];
    int log_count;
    struct task tasks[TASKS_MOST];
    int task_count, task_goal;
    struct transaction transactions[IDS];
    struct group group;
    struct process processes[PROCESSES_MOST];
    int process_count, incarnations;
    bool excused[INCARNATIONS_MOST]; /* died, froze, lost its assignment, or outlived a drain */
    struct counts {
        uint64_t dials, results, unknown, crashes, freezes, kicks, unclear, fenced, late, gone,
            rebalances, releases;
    } counts;
};

/* simulate.c */
uint64_t draw(struct world *world, uint64_t below);
/* Whether something happens that has `in_thousand` chances; never when calm. */
bool strikes(struct world *world, unsigned in_thousand);
void say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A guarantee is broken: the run ends. */
void broken(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* broker.c: logs, offsets, transactions, the group */
void broker_init(struct world *world);
void broker_fini(struct world *world);
void broker_append(struct world *world);
void broker_retain(struct world *world);
void broker_step(struct world *world);
/* init_transactions: ends what is open, fences who had the id before. Returns the new epoch. */
int broker_init_id(struct world *world, int id);
void broker_drop(struct world *world, struct transaction *transaction);
void broker_apply(struct world *world, struct transaction *transaction);
bool broker_is_unstable(const struct world *world, int log);
void broker_set_offset(struct world *world, struct offset_commit commit);
bool broker_is_member(const struct world *world, int member, int generation);

struct member *member_find(struct world *world, int id);
int group_join(struct world *world, int id, unsigned owned);
void group_leave(struct world *world, int id);
void group_step(struct world *world);

/* client.c: the Kafka client of one process */
void client_step(struct world *world, struct process *process);
void client_fetch(struct world *world, struct process *process);
void client_assign(struct world *world, struct process *process,
                   const struct engine_action *action);
void client_unassign(struct world *world, struct process *process,
                     const struct engine_action *action);
void client_transact_step(struct world *world, struct process *process);
void client_work_step(struct world *world, struct process *process);
/* Its process ends: what it was at is told nobody. */
void client_drop(struct process *process);

/* caller.c: its calling side */
void caller_lend(struct world *world, struct process *process, struct request *request);
void caller_recall(struct world *world, struct process *process,
                   const struct engine_action *action);
void caller_step(struct world *world, struct process *process);
void caller_drop_all(struct world *world, struct process *process);

/* process.c */
void process_start(struct world *world, struct process *process, int id);
void process_end(struct world *world, struct process *process, const char *why);
void process_step(struct world *world, struct process *process);
const char *process_name(int id);
int process_id(const char *name);

/* checks.c */
void check_published(struct world *world, const struct published *item);
void check_ledger(struct world *world, int log, int incarnation);
void check_started(struct world *world);
void check_named(struct world *world, const struct process *process, int index);
void check_replaced(struct world *world, const struct process *process, int index);
void check_start(struct world *world, const struct process *process, const struct request *request);
void check_dial(struct world *world, struct process *process, struct task *task);
void check_process(struct world *world, struct process *process);
bool check_all_done(struct world *world, bool say_why);
int task_of(const struct world *world, const struct request *request);
