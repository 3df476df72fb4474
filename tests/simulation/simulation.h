/* The simulated world: several workers, each with a real engine for each job and one real dispatch,
 * and in-memory models of what they meet: Kafka's logs, offsets and transactions (broker.c), a
 * group for each job (group.c) and their coordinators (coordinator.c), each job's Kafka client
 * (client.c, commit.c) and each process's calling side, which its jobs share, with the platform
 * behind it (caller.c). Everything that happens is drawn from one seed, so that a run replays
 * exactly; each step draws from a stream of its own, so that a fault that is taken out changes
 * little else. checks.c holds what must be true after every step. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dispatch.h"
#include "core/engine/engine.h"

enum {
    RECORD_MAX = 2000, /* bytes of a request */
    LOGS_MAX = 6,
    PROCESSES_MAX = 4,
    IDS = 6, /* names of processes; each job of a process has a transactional id */
    TRANSACTIONS = REQUEST_KINDS * IDS,
    EVENTS = 200,
    EVENTS_MAX = 400,
    LOG_MAX = 4096,
    KEYS_MAX = 12,
    MEMBERS_MAX = 128,
    CALLS_MAX = 32,
    MAIL_MAX = 64,
    POSTS_MAX = 64,
    INCARNATIONS_MAX = 256,
    STEPS_MAX = 16384,      /* steps with faults */
    CALM_STEPS_MAX = 90000, /* steps without faults, in which everything must end */
};

/* The kinds of faults: name, maximum frequency (in 10,000 occasions), and in one of how many runs
 * the fault occurs (0: only on request, then as in every third run). */
#define FAULTS(X)                                                                                  \
    X(crash, 80, 2)             /* a process dies */                                               \
    X(crash_between, 30, 2)     /* ... between two actions of its engine */                        \
    X(freeze, 80, 2)            /* a process stands still */                                       \
    X(stand, 5000, 4)           /* and its clock stands still, too */                              \
    X(second_instance, 9000, 3) /* a process is started while a frozen one with its name lives */  \
    X(cut_off, 80, 2)           /* a process cannot reach Kafka */                                 \
    X(deaf, 80, 3)              /* its heartbeats get lost, and everything else arrives */         \
    X(stop, 80, 2)              /* a planned stop */                                               \
    X(start, 600, 1)            /* a dead process comes back, or another one replaces it */        \
    X(grow, 20, 3)              /* a topic gets a partition */                                     \
    X(expire, 8, 6)             /* the group is empty until its offsets are deleted */             \
    X(failover, 30, 3)          /* coordinators move, and do not answer for a while */             \
    X(one_by_one, 12, 4)        /* coordinators are away one after another, some for long */       \
    X(leader, 60, 3)            /* a log's leader moves: nothing is fetched for a while */         \
    X(retain, 60, 6)            /* retention deletes the oldest records */                         \
    X(compact, 80, 6)           /* compaction deletes records with newer ones of the same key */   \
    X(gap, 3000, 2)             /* offsets without a record (markers of transactions) */           \
    X(wall, 20, 2)              /* the wall clock is set */                                        \
    X(sleep, 10, 3)             /* all clocks jump: the machines were suspended */                 \
    X(unclear, 2000, 2)       /* a commit's answer is lost: it has arrived, will, or never will */ \
    X(abort, 1000, 2)         /* a transaction is aborted */                                       \
    X(refuse, 10, 2)          /* large results are refused */                                      \
    X(refuse_small, 3000, 6)  /* even their reduced form is refused, while there are faults */     \
    X(forget_id, 20, 4)       /* a transactional id expires, and only a new producer helps */      \
    X(refusal, 20, 3)         /* the brokers refuse one kind of request */                         \
    X(refusal_lasts, 9000, 2) /* the refusal lasts until the end of the faults, and longer */      \
    X(short_commits, 1, 4)    /* the brokers refuse a commit with many ledgers for its size */     \
    X(short_ledgers, 60, 4)   /* the brokers change how long a ledger may be */                    \
    X(keys_only, 1, 4)        /* the topic of dead letters refuses records without a key */        \
    X(again, 2000, 2)     /* a ledger job's answer is lost: it was done, will be, or never will */ \
    X(slow_work, 9500, 3) /* ledger jobs take long */                                              \
    X(slow_transact, 9500, 4) /* transactions take long */                                         \
    X(lost_sync, 3000, 2)     /* a rebalance overtakes another's assignment */                     \
    X(again_revoked, 1000, 2) /* a second revocation while the first one drains */                 \
    X(lost_anyhow, 6000, 2) /* a revocation while an assignment is answered: everything is lost */ \
    X(duplicate, 1000, 2)   /* records are delivered twice */                                      \
    X(keyless, 600, 2)      /* records without a key */                                            \
    X(outage, 40, 3)        /* the platform accepts no connection */                               \
    X(ill, 40, 3)           /* the platform sends no answer that decides a call */                 \
    X(unsent, 2000, 2)      /* a connection fails before a byte is sent */                         \
    X(doubt, 2500, 2)       /* an answer is lost, cut or unreadable */                             \
    X(declined, 2500, 2)  /* the platform answers that it has not performed the call: try later */ \
    X(late_post, 3000, 2) /* a request arrives after the worker has given it up */

enum fault {
#define X(name, most, every) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

/* How a try that was sent will end. */
enum ending {
    END_NONE,
    END_SUCCEEDED,
    END_REFUSED,
    END_NOT_FOUND,
    END_FILE, /* recordings */
    END_UNAUTHORIZED,
    END_AUTH_FLAG,
    END_THROTTLED,
    END_RETRY_FLAG,
    END_FAILED,
    END_REQUEST_TIMEOUT,
    END_RESET,
    END_NO_ANSWER,
    END_LATCHED,
    END_CUT,
    END_TOO_LARGE,
    END_UNREADABLE,
    END_LOST
};

/* The fate of one request, as known outside of the workers. */
struct task {
    enum request_kind kind;
    int log;
    int64_t offset;
    int key; /* -1: none */
    bool invalid, big, deleted;
    int64_t created_at, expires_at; /* wall clock */
    int posts;                      /* sent, and perhaps performed */
    int rings;                      /* arrived and performed */
    int results, gone, dead, late;  /* dead: its own dead letters */
    bool forgotten;                 /* its mark has expired together with the group's offsets */
    enum status result;
    int starter;         /* incarnation that committed its 'started' last */
    uint64_t started_at; /* step at which that commit began */
    bool inherited;      /* its starter has lost or handed over its partition since */
    bool resumed;        /* and has it back, going on from memory */
    bool dropped;        /* and cannot go on from memory, because it has forgotten the partition */
    bool given_up;       /* and did not have it back when it lost the partition again */
    int64_t running_until; /* the platform may be performing it until then */
    enum ending told;      /* how its call ended, as reported to its process */
    int doubted_by;        /* incarnation whose call ended in doubt; 0: none */
    int outlived; /* incarnation that gave up its partition while the call was running; 0: none */
    int owed_by;  /* incarnation that owes a late outcome; 0: none */
    int answered_by; /* incarnation that got its answer, and owes it if another one has published
                        `unknown` */
};

struct log {
    enum request_kind kind;
    int64_t start, end;
    int16_t task_at[LOG_MAX];  /* task + 1; 0: a gap */
    int16_t tasks[EVENTS_MAX]; /* by offset */
    int task_count, settled;   /* settled: the first tasks that are below the committed offset */
    int64_t committed;         /* -1: none */
    char *metadata;
    uint64_t written_at;           /* step */
    int64_t moved_at;              /* the same as a time */
    int64_t away_until;            /* it has no leader until then */
    int64_t too_long_at;           /* when its ledger alone was last too long for the brokers */
    int64_t last_result[KEYS_MAX]; /* offset of the last published result */
    int holder;                    /* incarnation to which it was assigned last */
    int writer;                    /* incarnation that wrote its ledger last */
    uint64_t writer_since;         /* the step since which no other incarnation has written it */
    int left_max; /* the largest number of started requests that a process has left to others */
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

/* committed: the transaction is committed, but its markers are not written yet: stable reads and
 * the id's next transaction wait. */
enum transaction_state { TRANSACTION_NONE, TRANSACTION_OPEN, TRANSACTION_COMMITTED };

/* What may be refused. */
enum asking {
    ASK_INIT,
    ASK_PRODUCE,
    ASK_OFFSETS,
    ASK_END, /* of a transaction: it is aborted */
    ASK_COMMIT,
    ASK_READ,
    ASK_END_OWNER,
    ASKINGS
};

/* One kind of request that is refused, of one process or of all. */
struct refusal {
    uint64_t number; /* 0: there has been none */
    bool on;
    enum asking what;
    int process;   /* index; -1: all */
    int log;       /* -1: all; otherwise requests about that log */
    bool for_good; /* the client knows that a repetition is useless */
    int64_t until;
};

/* What a process knows of a refusal: since when without a break, and when it was last refused. */
enum { ASKED_MAX = 16 };
struct refused {
    uint64_t number;
    int64_t since;
    int64_t asked[ASKED_MAX]; /* by count, as a ring */
    uint64_t count;
    bool holds;    /* the refused record belongs to a partition, and is not a late outcome */
    unsigned logs; /* bit set: logs of the refused requests */
    int64_t log_at[LOGS_MAX]; /* when each log was last refused; 0: not since its assignment */
};

/* A transactional id and its open transaction. */
struct transaction {
    int epoch;
    bool forgotten; /* the id has expired: its former producer is refused until init_transactions */
    bool told;      /* and the reason is reported */
    uint64_t ended_at; /* step of the last init_transactions */
    enum transaction_state state;
    bool on_its_way; /* its commit may still arrive */
    int incarnation;
    int64_t opened_at;
    uint64_t opened_step;
    struct published items[2 * EVENTS_MAX];
    size_t item_count;
    struct offset_commit offsets[LOGS_MAX];
    size_t offset_count;
};

/* Coordinators: each group has one, and so have the transactional ids of each job. */
enum coordination { COORDINATOR_GROUP, COORDINATOR_TRANSACTIONS, COORDINATIONS };
enum { COORDINATORS = REQUEST_KINDS * COORDINATIONS };
struct coordinator {
    int64_t away_from, away_until;
};

/* A plain commit that is being sent to the coordinator. */
struct flight {
    enum request_kind kind;
    int id, incarnation, member, generation;
    struct offset_commit commits[LOGS_MAX];
    size_t count; /* 0: none */
};

struct member {
    int id, instance; /* instance: id of its process, if members are static; else -1 */
    bool live, joined, synced;
    int64_t heard_at;
    unsigned owned, given; /* bit sets of logs */
};

struct group {
    enum request_kind kind;
    int generation, next_member;
    bool rebalancing, eager, statics, away;
    int64_t rebalancing_since;
    struct member members[MEMBERS_MAX];
    size_t member_count;
};

enum client_state { CLIENT_OUT, CLIENT_JOINING, CLIENT_STABLE, CLIENT_GONE };
enum client_asked { ASKED_NOTHING, ASKED_ASSIGN, ASKED_UNASSIGN };

struct client {
    enum client_state state;
    int member, generation; /* 0, -1: none */
    int64_t heard_at;       /* when the coordinator last answered */
    unsigned owned, fetching;
    int64_t position[LOGS_MAX];
    int64_t end_told[LOGS_MAX];
    enum client_asked asked;
    int64_t asked_since; /* since when it has asked for that, as a member of this generation */
    unsigned asked_logs, then_assign;
    uint64_t rebalance;
    bool lost, rejoin, leaving;
    int64_t answered_at; /* lost: when a transaction was first answered after that; 0: not yet */
};

/* A message between a process's two threads. */
struct mail {
    enum { MAIL_REQUEST, MAIL_RECALL, MAIL_CALL_LIMIT } type;
    struct request *request;
    enum request_kind kind;
    int32_t partition;
    int64_t calls;
};

struct mailbox {
    struct mail mail[MAIL_MAX];
    size_t first, count;
};

struct call {
    struct request *request;
    bool sent, recalled;
    enum ending ending;
};

struct caller {
    struct dispatch dispatch;
    struct mailbox in, out[REQUEST_KINDS];
    struct call calls[CALLS_MAX];
    size_t call_count;
    bool happened; /* an event since its last iteration */
    int64_t due;
    int64_t breaker_open_at; /* when the breaker was last seen open or on trial; 0: never */
};

enum transact_phase { PHASE_IDLE, PHASE_PRODUCE, PHASE_OFFSETS, PHASE_COMMIT, PHASE_TELL };

/* One job of a process: its engine, consumer and producer, as its Kafka thread has them. */
struct job {
    struct process *process;
    enum request_kind kind;
    struct engine *engine;         /* NULL: the job is off, or the process is dead */
    int64_t ended, ended_before;   /* when others last ended its transactions; 0: never */
    int64_t drain_until[LOGS_MAX]; /* by the process's clock; INT64_MAX / 2: it does not drain */
    int64_t idle_since;
    unsigned recalls; /* logs recalled since their drains began */
    bool asleep;      /* nothing to do until wake_at, unless something happens */
    int64_t wake_at;
    uint64_t resumed; /* partitions that went on from memory, as its engine counts them */
    struct client client;
    struct {
        int64_t at;
        size_t size;
    } too_long[LOGS_MAX]; /* ledgers that were refused last, each in a transaction of its own */
    int claims_refused[LOGS_MAX]; /* refused claims of a single log in this assignment */
    struct claim {
        int64_t at, pause;
    } claims[LOGS_MAX]; /* when a refused claim is repeated; 0: not known yet */
    unsigned lost;      /* logs that are lost since it had them last */
    bool fenced;        /* another static member has replaced it */
    bool joins, initialising, renewing;
    int epoch;
    enum transact_phase transact; /* the producer's job */
    struct engine_action transaction;
    uint64_t asked_at;      /* step */
    int64_t waits_since;    /* since when it waits for a coordinator; 0: it does not wait */
    int member, generation; /* membership of the transaction */
    bool committed;         /* the transaction is committed, and the client does not know it */
    enum txn_outcome outcome;
    enum record_refusal refused[2 * EVENTS_MAX];
    bool about_size; /* the next report is about the size of ledgers */
    struct refused refusal;
    enum { WORK_NONE, WORK_TO_DO, WORK_DONE } working; /* the ledger job */
    struct engine_action work;
    enum group_answer answer;
    struct stored_ledger found[LOGS_MAX];
    size_t found_count;
};

struct process {
    int index, id, incarnation;
    enum { PROCESS_DEAD, PROCESS_RUNNING, PROCESS_FROZEN } state;
    int64_t frozen_since, cut_off_until, deaf_until;
    int64_t boot_shift, wall_shift; /* its clocks minus the world's */
    bool clock_stood;               /* the clock stood still together with the process */
    bool has_duplicate;
    bool stopping;
    int64_t stops_since; /* or since the calm time began */
    int64_t stop_until;  /* by the process's clock: when its drains are over */
    struct caller caller;
    struct job jobs[REQUEST_KINDS];
};

/* Loops over the jobs of a process that are on. */
#define each_job(job, process)                                                                     \
    for (struct job *job = (process)->jobs; job < (process)->jobs + REQUEST_KINDS; job++)          \
        if (job->engine)

/* A request that arrives late at the platform. */
struct post {
    int task;
    int64_t arrives_at;
};

/* What to run. */
struct plan {
    uint64_t seed;
    int events;
    uint64_t with;        /* bit set of faults that occur only on request */
    uint64_t without;     /* bit set of faults that do not occur */
    const uint64_t *only; /* bit set of steps at which faults may occur; NULL: all */
    bool trace;
};

#define COUNTS(X)                                                                                  \
    X(events)                                                                                      \
    X(steps)                                                                                       \
    X(eager)   /* runs with that protocol of rebalances; the others are cooperative */             \
    X(statics) /* runs with static members */                                                      \
    X(posts)                                                                                       \
    X(rings)                                                                                       \
    X(results)                                                                                     \
    X(unknown)                                                                                     \
    X(expired)                                                                                     \
    X(unavailable)                                                                                 \
    X(late)                                                                                        \
    X(gone)                                                                                        \
    X(transactions)                                                                                \
    X(rebalances)                                                                                  \
    X(came_back)   /* lost partitions that came back before another process had them */            \
    X(resumed)     /* ... and went on from memory */                                               \
    X(handed_over) /* times that a client handed over all that a loss took from it */              \
    X(unheard)     /* times that a coordinator answered nothing for a whole session */             \
    X(kicks)                                                                                       \
    X(fenced)                                                                                      \
    X(unanswered) /* transactions whose end was not answered */                                    \
    X(accused)    /* took two late successors for a duplicate instance, and ended */               \
    X(claims)

struct counts {
#define X(name) uint64_t name;
    COUNTS(X)
#undef X
    uint64_t faults[FAULT_COUNT];
    uint64_t calm_ms_max, calm_steps_max, ledger_max; /* maxima, from here on */
};

struct world {
    struct plan plan;
    uint64_t random;
    bool failed, calm;     /* calm: no faults any more */
    const char *violation; /* the kind of the violation: the format of its text */
    char failure[512];
    uint64_t step;
    int64_t now, wall;
    struct engine_options options; /* of calls */
    bool serves[REQUEST_KINDS];
    struct config config;
    int64_t session_ms, transaction_ms;
    unsigned rates[FAULT_COUNT];
    unsigned append_every;
    int keys;
    struct log logs[LOGS_MAX];
    int log_count;
    unsigned logs_of[REQUEST_KINDS]; /* bit sets */
    struct task tasks[EVENTS_MAX];
    int task_count, open_tasks;
    struct post posts[POSTS_MAX];
    size_t post_count;
    struct transaction transactions[TRANSACTIONS]; /* by kind and id */
    struct flight flights[REQUEST_KINDS * PROCESSES_MAX];
    struct group groups[REQUEST_KINDS];
    struct coordinator coordinators[COORDINATORS];
    struct refusal refusal;
    int64_t commit_max, ledger_max; /* limits of the brokers in characters; 0: no limit */
    int64_t outage_until, ill_until;
    struct process processes[PROCESSES_MAX];
    int process_count, incarnations;
    char owners[IDS][LEDGER_OWNER_SIZE];
    /* By incarnation: the step at which it last froze or lost its assignment. Calls that it had
     * begun to start until then may be unknown. UINT64_MAX: it has died. */
    uint64_t unknown_allowed_at[INCARNATIONS_MAX];
    struct counts counts;
};

/* world.c */
uint64_t draw(struct world *world, uint64_t below);
/* Whether the fault occurs now; never in the calm time. */
bool fault_occurs(struct world *world, enum fault fault);
void say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reports a broken guarantee, and ends the run. */
void broken(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs the plan. The world has the result, and `fault_steps` (may be NULL) the bit set of steps at
 * which faults occurred. The caller calls world_end. */
void world_run(struct world *world, const struct plan *plan, uint64_t *fault_steps);
void world_end(struct world *world);
extern const char *const fault_names[FAULT_COUNT];
/* Whether the fault occurs in some of such runs. */
bool fault_is_possible(const struct plan *plan, enum fault fault);

/* broker.c: logs, offsets, transactions */
void broker_init(struct world *world);
void broker_fini(struct world *world);
void broker_append(struct world *world);
/* Faults of the brokers alone. */
void broker_inject_faults(struct world *world);
void broker_step(struct world *world);
/* init_transactions: ends the open transaction, and fences the former producer. Returns the new
 * epoch. */
int broker_init_id(struct world *world, enum request_kind kind, int id);
void broker_drop(struct world *world, struct transaction *transaction);
void broker_apply(struct world *world, struct transaction *transaction);
bool broker_is_unstable(const struct world *world, int log);
/* Whether the transaction is committed, and the markers of its offsets cannot be written yet. */
bool broker_marks_wait(const struct world *world, const struct transaction *transaction);
/* A plain commit arrives; false: not from a member of this generation. */
bool broker_land(struct world *world, struct flight *flight);
void broker_drop_flight(struct flight *flight);
/* The group is empty for so long that its offsets are deleted. */
void broker_expire(struct world *world);
struct task *broker_task(struct world *world, int log, int64_t offset);

/* coordinator.c: who answers for groups and transactional ids, and when nobody does */
void coordinator_inject_faults(struct world *world);
void coordinator_calm(struct world *world);
bool coordinator_is_away(const struct world *world, enum coordination what, enum request_kind kind);
/* Whether the producer, or the ledger job, waits for a coordinator. In the end the wait is given
 * up. */
bool coordinator_delays(struct world *world, struct job *job);
bool coordinator_delays_work(struct world *world, struct job *job);

/* group.c: the coordinator of a group */
bool group_is_member(const struct group *group, int member, int generation);
struct member *group_find(struct group *group, int id);
int group_join(struct world *world, enum request_kind kind, int id, int instance, unsigned owned);
void group_leave(struct world *world, enum request_kind kind, int id);
/* Whether a live static member has that place. */
bool group_is_taken(const struct group *group, int instance);
void group_rebalance(struct world *world, struct group *group);
void group_step(struct world *world, struct group *group);

/* client.c: the consumer of one process */
void client_step(struct world *world, struct job *job);
/* A step of a client whose coordinator does not answer. */
void client_alone(struct world *world, struct job *job);
void client_fetch(struct world *world, struct job *job);
void client_assign(struct world *world, struct job *job, const struct engine_action *action);
void client_unassign(struct world *world, struct job *job, const struct engine_action *action);

/* refusal.c */
void refusal_inject(struct world *world);
void refusal_lift(struct world *world);
/* Whether the request is refused now. If so, it is counted. */
bool refusal_meets(struct world *world, struct job *job, enum asking what);
/* The same for the record of one log, among others that are accepted. */
bool refusal_meets_record(struct world *world, struct job *job, int log);
/* Whether one of these ledgers, or all together, are too long. */
bool refusal_of_size(struct world *world, const struct stored_ledger *ledgers, size_t count);
void refusal_init(struct world *world);
/* Ends a series of refusals: the process could not send requests, or has none to send. */
void refusal_end_series(struct job *job);

/* commit.c: its producer, and its ledger jobs */
void commit_transact_step(struct world *world, struct job *job);
/* Ends the transaction with another outcome than the brokers'. */
void commit_abort(struct world *world, struct job *job, enum txn_outcome outcome);
void commit_lose_answer(struct world *world, struct job *job, bool on_its_way);
void commit_work_step(struct world *world, struct job *job);
/* The process ends: the outcome of the running operation is not reported. */
void commit_drop(struct job *job);

/* caller.c: its calling side, and the platform */
void caller_start(struct world *world, struct process *process);
void caller_lend(struct world *world, struct job *job, struct request *request);
void caller_recall(struct world *world, struct job *job, const struct engine_action *action);
void caller_step(struct world *world, struct process *process);
/* The Kafka thread receives requests that come back. */
void caller_take(struct world *world, struct job *job);
void caller_drop_all(struct process *process);
void platform_step(struct world *world);

/* process.c */
int64_t process_now(const struct world *world, const struct process *process);
int64_t process_wall(const struct world *world, const struct process *process);
void process_start(struct world *world, struct process *process, int id);
void process_end(struct world *world, struct process *process, const char *why);
void process_crash(struct world *world, struct process *process);
/* Starts the drain of those of these logs that do not drain yet. */
void job_drain(const struct world *world, struct job *job, unsigned logs);
void process_step(struct world *world, struct process *process);
void process_heartbeat(struct world *world, struct process *process);
/* A short name for people. */
const char *process_name(int id);
const char *job_name_of(enum request_kind kind, int id);
const char *job_name(const struct job *job);
int64_t job_now(const struct world *world, const struct job *job);
int64_t job_wall(const struct world *world, const struct job *job);
struct transaction *transaction_of(struct world *world, const struct job *job);
struct group *group_of(struct world *world, const struct job *job);
/* From now on, calls that the job had begun to start may be unknown. */
void allow_unknown(struct world *world, const struct job *job);
/* Draws the instance.ids: the longest possible ones if ledgers are short. */
void process_draw_owners(struct world *world);
int process_id(const char *owner);

/* checks.c */
/* Whether the task has everything that it must have in the end. */
bool check_is_over(const struct task *task);
void check_published(struct world *world, const struct published *item);
void check_ledger(struct world *world, int log, const struct transaction *transaction);
void check_started(struct world *world);
void check_named(struct world *world, const struct job *job, int index);
void check_replaced(struct world *world, int id, int index);
void check_plain_commit(struct world *world, const struct job *job,
                        const struct stored_ledger *ledger);
void check_given_back(struct world *world, const struct job *job, unsigned logs);
void check_handed_over(struct world *world, const struct job *job, unsigned logs);
void check_stopped(struct world *world, const struct job *job);
void check_start(struct world *world, const struct job *job, const struct request *request);
void check_post(struct world *world, struct process *process, struct task *task);
void check_recalled(struct world *world, const struct process *process, const struct call *call);
void check_job(struct world *world, struct job *job);
void check_offered(struct world *world, struct job *job);
void check_claim_refused(struct world *world, struct job *job);
void check_refused(struct world *world, const struct job *job);
void check_others_went_on(struct world *world);
/* Whether the job shows a halted partition. */
bool check_is_stuck(const struct job *job);
bool check_all_done(struct world *world, bool say_why);
int task_of(const struct world *world, const struct request *request);

/* shrink.c: finds a shorter run that breaks the same guarantee, and prints how to replay it. */
int shrink(const struct plan *plan);
