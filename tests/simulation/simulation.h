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
    IDS = 6, /* names of processes: each job of one has a transactional id */
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
    STEPS_MAX = 16384,      /* with faults */
    CALM_STEPS_MAX = 90000, /* until all has ended, once there are no faults any more */
};

/* What can go wrong or come in between: its name, how often at most (in 10,000 occasions), and in
 * one of how many runs it does at all (0: only where it is asked for, as in every third). */
#define FAULTS(X)                                                                                  \
    X(crash, 80, 2)             /* a process dies */                                               \
    X(crash_between, 30, 2)     /* ... between two actions of its engine */                        \
    X(freeze, 80, 2)            /* a process stands still */                                       \
    X(stand, 5000, 4)           /* ... and its clock with it */                                    \
    X(second_instance, 9000, 3) /* a process is started while its frozen namesake lives */         \
    X(cut_off, 80, 2)           /* a process cannot reach Kafka */                                 \
    X(deaf, 80, 3)              /* its heartbeats get lost, though all else arrives */             \
    X(stop, 80, 2)              /* a planned stop */                                               \
    X(start, 600, 1)            /* a dead process comes back, or another in its place */           \
    X(grow, 20, 3)              /* a topic gets a partition */                                     \
    X(expire, 8, 6)             /* the group stands empty until its offsets are deleted */         \
    X(failover, 30, 3)          /* coordinators move: they answer nothing for a while */           \
    X(one_by_one, 12, 4)        /* each coordinator is away after another, some for long */        \
    X(leader, 60, 3)            /* a log's leader moves: nothing is fetched for a while */         \
    X(retain, 60, 6)            /* retention deletes the oldest records */                         \
    X(compact, 80, 6)         /* compaction deletes records that newer ones of their key follow */ \
    X(gap, 3000, 2)           /* offsets that hold no record (markers of transactions) */          \
    X(wall, 20, 2)            /* the wall clock is set */                                          \
    X(sleep, 10, 3)           /* all clocks jump: the machines were suspended */                   \
    X(unclear, 2000, 2)       /* a commit's answer is lost; it landed, or will, or never */        \
    X(abort, 1000, 2)         /* a transaction is aborted */                                       \
    X(refuse, 10, 2)          /* large results are refused */                                      \
    X(refuse_small, 3000, 6)  /* ... even in their small form, as long as there are faults */      \
    X(forget_id, 20, 4)       /* a transactional id expires: only a new producer helps */          \
    X(refusal, 20, 3)         /* the brokers refuse one kind of request */                         \
    X(refusal_lasts, 9000, 2) /* ... until the end of the faults, and a good while longer */       \
    X(short_commits, 1, 4)    /* the brokers take no commit as large as many ledgers together */   \
    X(short_ledgers, 60, 4)   /* the brokers change how long a ledger may be */                    \
    X(keys_only, 1, 4)        /* the dead letters' topic takes no record without a key */          \
    X(again, 2000, 2)         /* a ledger job's answer is lost; it was done, or will be, or not */ \
    X(slow_work, 9500, 3)     /* ledger jobs take long */                                          \
    X(slow_transact, 9500, 4) /* transactions take long */                                         \
    X(lost_sync, 3000, 2)     /* a rebalance overtakes another's assignment */                     \
    X(again_revoked, 1000, 2) /* a second revocation while the first one drains */                 \
    X(lost_anyhow, 6000, 2)   /* ... or while an assignment is answered: all is lost */            \
    X(duplicate, 1000, 2)     /* records are delivered twice */                                    \
    X(keyless, 600, 2)        /* records without a key */                                          \
    X(outage, 40, 3)          /* the platform takes no connection */                               \
    X(ill, 40, 3)             /* the platform answers nothing that is certain */                   \
    X(unsent, 2000, 2)        /* a connection fails before a byte is sent */                       \
    X(doubt, 2500, 2)         /* an answer is lost, cut or unreadable */                           \
    X(declined, 2500, 2)      /* the platform says that it did not perform it: try later */        \
    X(late_post, 3000, 2)     /* a request arrives after the client has given up */

enum fault {
#define X(name, most, every) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

/* How a try that was sent is going to end. */
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

/* What one request's fate is, as the world outside of the workers knows it. */
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
    int starter;           /* incarnation that committed its 'started' last */
    uint64_t started_at;   /* step at which that commit began */
    bool inherited;        /* its starter has lost it, or handed it over, since */
    bool resumed;          /* ... and has it back from memory */
    bool dropped;          /* ... and cannot have it back so: it remembers nothing of it */
    bool given_up;         /* ... and had not got it back when it lost the partition again */
    int64_t running_until; /* the platform may be at it until then */
    enum ending told;      /* how its call ended, as its process heard */
    int doubted_by;        /* incarnation whose call ended in doubt; 0: none */
    int outlived;          /* incarnation that let its partition go with it; 0: none */
    int owed_by;           /* incarnation that owes a late outcome; 0: none */
    int answered_by; /* ... that was told its answer, and owes it if another's unknown stands */
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
    int64_t too_long_at;           /* its ledger, alone, was last too long for the brokers then */
    int64_t last_result[KEYS_MAX]; /* offset of the last one published */
    int holder;                    /* incarnation to which it was given last */
    int writer;                    /* incarnation that wrote its ledger last, */
    uint64_t writer_since;         /* ... and the step since which nobody else has */
    int left_max;                  /* the most that processes have left started for others */
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
    int log;       /* -1: all; else what concerns that one */
    bool for_good; /* the client knows that asking again is in vain */
    int64_t until;
};

/* What a process has been told of it: the first time in an unbroken row, and when it asked last. */
enum { ASKED_MAX = 16 };
struct refused {
    uint64_t number;
    int64_t since;
    int64_t asked[ASKED_MAX]; /* by count, as a ring */
    uint64_t count;
    bool holds;               /* what is refused now is a partition's, not a late outcome */
    unsigned logs;            /* bit set: what is refused now is about these, ... */
    int64_t log_at[LOGS_MAX]; /* ... and was last about each then; 0: not since it has it */
};

/* A transactional id and what it has open. */
struct transaction {
    int epoch;
    bool forgotten;    /* it has expired: who had it before is refused until init_transactions */
    bool told;         /* ... and is told why */
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

/* Who answers: each group has its coordinator, and so have the transactional ids of each job. */
enum coordination { COORDINATOR_GROUP, COORDINATOR_TRANSACTIONS, COORDINATIONS };
enum { COORDINATORS = REQUEST_KINDS * COORDINATIONS };
struct coordinator {
    int64_t away_from, away_until;
};

/* A plain commit on its way to the coordinator. */
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
    int64_t asked_since; /* for that, as a member of this generation */
    unsigned asked_logs, then_assign;
    uint64_t rebalance;
    bool lost, rejoin, leaving;
    int64_t answered_at; /* lost: when a transaction was first answered since; 0: not yet */
};

/* What passes between a process's two threads. */
struct mail {
    enum { MAIL_REQUEST, MAIL_RECALL, MAIL_ALLOWANCE } type;
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
    bool happened; /* something, since its last turn */
    int64_t due;
};

enum transact_phase { PHASE_IDLE, PHASE_PRODUCE, PHASE_OFFSETS, PHASE_COMMIT, PHASE_TELL };

/* One job of a process: an engine, a consumer and a producer of its own, as its Kafka thread has
 * them. */
struct job {
    struct process *process;
    enum request_kind kind;
    struct engine *engine;         /* NULL: it is not served, or the process is dead */
    int64_t ended, ended_before;   /* when others last ended its transactions; 0: never */
    int64_t drain_until[LOGS_MAX]; /* by its clock; INT64_MAX / 2: it does not drain */
    int64_t idle_since;
    unsigned recalls; /* logs recalled since their drains began */
    bool asleep;      /* nothing to do until wake_at, unless something happens */
    int64_t wake_at;
    uint64_t resumed; /* partitions gone on with from memory, as its engine counts them */
    struct client client;
    struct {
        int64_t at;
        size_t size;
    } too_long[LOGS_MAX];         /* ledgers that were refused last, each alone */
    int claims_refused[LOGS_MAX]; /* in the assignment, alone */
    struct claim {
        int64_t at, pause;
    } claims[LOGS_MAX]; /* when one that was refused is made again; 0: not yet known */
    unsigned lost;      /* logs, since it has had them last */
    bool fenced;        /* another static member has its place */
    bool joins, initialising, renewing;
    int epoch;
    enum transact_phase transact; /* the producer's job */
    struct engine_action transaction;
    uint64_t asked_at;      /* step */
    int64_t waits_since;    /* ... for a coordinator; 0: it does not */
    int member, generation; /* as the transaction took them along */
    bool landed;            /* the commit, and the client does not know it */
    enum txn_outcome outcome;
    enum record_refusal refused[2 * EVENTS_MAX];
    bool about_size; /* what it is told next is about the size of ledgers */
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
    int64_t boot_shift, wall_shift; /* what its clocks say beyond the world's */
    bool clock_stood;               /* while the process stood still */
    bool has_duplicate;
    bool stopping;
    int64_t stops_since; /* ... or since it is calm */
    int64_t stop_until;  /* by its clock: when its drains are over */
    struct caller caller;
    struct job jobs[REQUEST_KINDS];
};

/* The jobs of a process that are served. */
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
    uint64_t with;        /* bit set of faults that happen only where asked for */
    uint64_t without;     /* ... that do not happen */
    const uint64_t *only; /* bit set of steps at which faults may happen; NULL: all */
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
    X(came_back)   /* partitions that were lost and came back, and nobody else had had them */     \
    X(resumed)     /* ... and went on from memory */                                               \
    X(handed_over) /* times that all of an assignment that a client took for lost was handed over  \
                    */                                                                             \
    X(unheard)     /* times that a coordinator answered nothing for a whole session */             \
    X(kicks)                                                                                       \
    X(fenced)                                                                                      \
    X(unanswered) /* transactions whose end was not answered */                                    \
    X(accused)    /* took two successors who came too late for a duplicate instance, and ended */  \
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
    const char *violation; /* the kind of it: its text's format */
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
    int64_t commit_max, ledger_max; /* characters that the brokers take; 0: as many as there are */
    int64_t outage_until, ill_until;
    struct process processes[PROCESSES_MAX];
    int process_count, incarnations;
    char owners[IDS][LEDGER_OWNER_SIZE];
    /* By incarnation, when it last froze or lost its assignment: what it had begun to start until
     * then may be unknown. UINT64_MAX: it has died. */
    uint64_t excused_at[INCARNATIONS_MAX];
    struct counts counts;
};

/* world.c */
uint64_t draw(struct world *world, uint64_t below);
/* Whether the fault happens on this occasion; never when calm. */
bool strikes(struct world *world, enum fault fault);
void say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A guarantee is broken: the run ends. */
void broken(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs the plan from its beginning to its end; the world says how it went, and what struck when (a
 * bit set of steps, may be NULL). world_end is due. */
void world_run(struct world *world, const struct plan *plan, uint64_t *struck);
void world_end(struct world *world);
extern const char *const fault_names[FAULT_COUNT];
/* Whether it happens in some of such runs. */
bool fault_may(const struct plan *plan, enum fault fault);

/* broker.c: logs, offsets, transactions */
void broker_init(struct world *world);
void broker_fini(struct world *world);
void broker_append(struct world *world);
/* Strikes that concern the brokers alone. */
void broker_strike(struct world *world);
void broker_step(struct world *world);
/* init_transactions: ends what is open, fences who had the id before. Returns the new epoch. */
int broker_init_id(struct world *world, enum request_kind kind, int id);
void broker_drop(struct world *world, struct transaction *transaction);
void broker_apply(struct world *world, struct transaction *transaction);
bool broker_is_unstable(const struct world *world, int log);
/* Committed, and the markers of its offsets cannot be written yet. */
bool broker_marks_wait(const struct world *world, const struct transaction *transaction);
/* A plain commit arrives; false: not from a member of this generation. */
bool broker_land(struct world *world, struct flight *flight);
void broker_drop_flight(struct flight *flight);
/* Nobody is there for so long that the group's offsets are deleted. */
void broker_expire(struct world *world);
struct task *broker_task(struct world *world, int log, int64_t offset);

/* coordinator.c: who answers for groups and transactional ids, and when nobody does */
void coordinator_strike(struct world *world);
void coordinator_calm(struct world *world);
bool coordinator_is_away(const struct world *world, enum coordination what, enum request_kind kind);
/* Whether the producer, or the ledger job, waits for a coordinator; in the end it gives up. */
bool coordinator_delays(struct world *world, struct job *job);
bool coordinator_delays_work(struct world *world, struct job *job);

/* group.c: what a group's coordinator knows and does */
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
/* Its coordinator does not answer it. */
void client_alone(struct world *world, struct job *job);
void client_fetch(struct world *world, struct job *job);
void client_assign(struct world *world, struct job *job, const struct engine_action *action);
void client_unassign(struct world *world, struct job *job, const struct engine_action *action);

/* refusal.c */
void refusal_strike(struct world *world);
void refusal_lift(struct world *world);
/* Whether that is refused now; then it counts. */
bool refusal_meets(struct world *world, struct job *job, enum asking what);
/* The same of one log's record among others, which are taken. */
bool refusal_meets_record(struct world *world, struct job *job, int log);
/* Whether these ledgers are too long, one of them or all together. */
bool refusal_of_size(struct world *world, const struct stored_ledger *ledgers, size_t count);
void refusal_init(struct world *world);
/* What was in a row is not any more: the process could not ask, or has nothing to ask for. */
void refusal_excuse(struct job *job);

/* commit.c: its producer, and its ledger jobs */
void commit_transact_step(struct world *world, struct job *job);
/* How it ends otherwise than the brokers would say. */
void commit_abort(struct world *world, struct job *job, enum txn_outcome outcome);
void commit_lose_answer(struct world *world, struct job *job, bool on_its_way);
void commit_work_step(struct world *world, struct job *job);
/* Its process ends: what it was at is told nobody. */
void commit_drop(struct job *job);

/* caller.c: its calling side, and the platform */
void caller_start(struct world *world, struct process *process);
void caller_lend(struct world *world, struct job *job, struct request *request);
void caller_recall(struct world *world, struct job *job, const struct engine_action *action);
void caller_step(struct world *world, struct process *process);
/* The Kafka thread takes what is given back. */
void caller_take(struct world *world, struct job *job);
void caller_drop_all(struct process *process);
void platform_step(struct world *world);

/* process.c */
int64_t process_now(const struct world *world, const struct process *process);
int64_t process_wall(const struct world *world, const struct process *process);
void process_start(struct world *world, struct process *process, int id);
void process_end(struct world *world, struct process *process, const char *why);
void process_crash(struct world *world, struct process *process);
/* Those of these logs that do not drain yet do from now on. */
void job_drain(const struct world *world, struct job *job, unsigned logs);
void process_step(struct world *world, struct process *process);
void process_heartbeat(struct world *world, struct process *process);
/* Short, for people. */
const char *process_name(int id);
const char *job_name_of(enum request_kind kind, int id);
const char *job_name(const struct job *job);
int64_t job_now(const struct world *world, const struct job *job);
int64_t job_wall(const struct world *world, const struct job *job);
struct transaction *transaction_of(struct world *world, const struct job *job);
struct group *group_of(struct world *world, const struct job *job);
/* What it had begun to start until now may be unknown. */
void excuse(struct world *world, const struct job *job);
/* Its instance.id: the longest that there is, where ledgers are short. */
void process_draw_owners(struct world *world);
int process_id(const char *owner);

/* checks.c */
/* Whether it has all that it is to have in the end. */
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
/* Whether it says that a partition is halted. */
bool check_is_stuck(const struct job *job);
bool check_all_done(struct world *world, bool say_why);
int task_of(const struct world *world, const struct request *request);

/* shrink.c: finds a shorter run that breaks the same guarantee, and says how to replay it. */
int shrink(const struct plan *plan);
