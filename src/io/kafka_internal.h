/* The state of one job's Kafka clients, and what the files of io/kafka share; private to them. Each
 * struct says which thread may use it. Five of our threads run here: the Kafka thread (the caller
 * of kafka.h) and four runners: the writer (producer, transactions), the reader (committed state),
 * the prober (whether committed offsets still exist) and the looker (whether a partition is
 * served, or owned). librdkafka's own threads call only the log callback. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/text.h"
#include "io/kafka.h"
#include "io/kafka_settings.h"

enum {
    KAFKA_BLOCK_MAX_MS = 500, /* longest blocking call of a runner, for which kafka_free may have to
                                 wait; but see END_MAX_MS and FIND_MAX_MS of kafka_producer.c
                                 and TRY_MAX_MS of kafka_unowned.c */
    KAFKA_LOG_INTERVAL_MS = 60000, /* how often a log line about the same failure is repeated */
    KAFKA_LOG_LINES = 64,          /* failures whose last log line is remembered */
    NO_MEMBER_PAUSE_MS = 100,      /* pause without membership, so that repetitions do not spin */
};

/* A thread for one blocking call at a time. */
struct kafka_runner {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*task)(struct kafka *kafka); /* NULL: idle */
    struct kafka *kafka;
    atomic_bool done; /* a task has ended, and its result has not been fetched */
    bool stop, running;
};

/* Rate limit of log lines: the failures that were logged recently. Each is logged once, and then
 * every KAFKA_LOG_INTERVAL_MS. Any thread. */
struct kafka_log_throttle {
    pthread_mutex_t lock;
    struct {
        uint64_t key;
        int64_t at_ms;
    } seen[KAFKA_LOG_LINES];
};

/* State of a partition between the group, the handler and librdkafka. */
enum kafka_slot_state {
    SLOT_NONE,      /* not ours */
    SLOT_PENDING,   /* the group has assigned it, and the handler was not told */
    SLOT_ASSIGNING, /* the handler was told `assigned` and has not answered */
    SLOT_OWNED,     /* owned: the handler has acknowledged it */
    SLOT_REVOKING,  /* the handler was told `revoked` and has not answered */
};

/* Why a partition cannot be read. */
struct kafka_trouble {
    int64_t since_ms;  /* 0: nothing */
    int64_t reread_ms; /* when it was last asked for again */
    char reason[sizeof(struct error)];
};

/* A fingerprint of a record. */
struct kafka_fingerprint {
    int64_t offset; /* -1: none */
    uint64_t hash;
};

/* A partition of the job. Kafka thread. */
struct kafka_slot {
    enum request_kind kind;
    int32_t partition;
    enum kafka_slot_state state;
    bool fetched;            /* librdkafka reads it */
    bool was_fetched;        /* it has, and may remember where the log began */
    rd_kafka_queue_t *queue; /* its own queue; NULL: not fetched, or not available */
    int64_t next;            /* offset after the last delivered record; -1: the oldest */
    bool reopen;             /* it has to be started again */
    int64_t reopen_at_ms;    /* not before this time */
    bool restart;            /* to be reported as overtaken and as assigned again */
    bool log_changed;        /* the reason: its log is another one, or has lost records */
    bool restarted;          /* that was done, and nothing at or above `next` has arrived since */
    bool had_ledger;         /* this process has seen or committed a ledger of it */
    bool lost;               /* its committed offset is gone, and there is no new one yet */
    bool log_is_other;       /* not the one of these records; nothing of it was delivered yet */
    struct kafka_fingerprint first, last;   /* first and last delivered record */
    struct kafka_fingerprint asked, before; /* last delivered record when the newest probe began,
                                         and when the last one that found its offset began */
    int64_t verified_ms; /* when the last probe began that was about it, and found nothing gone */
    int64_t absent_until, absent_pause; /* its topic does not have it: when that is asked again (0:
                                           the topic has it), and the pause before */
    int64_t absent_since_ms;            /* 0: the topic has it */
    bool bare_reported; /* an offset without a ledger was reported; until there is a ledger */
    struct kafka_trouble trouble;
    int64_t untold_since_ms; /* since when no broker has told where it ends; 0: one has */
    bool is_unserved; /* its leader did not answer the last question, when these were known: */
    int64_t unserved_next, unserved_end;
    int64_t told_end; /* where it ends, as its leader last answered that question; 0: not known */
    struct list full_node; /* kafka->full */
    struct kafka *kafka;
    /* Any thread: librdkafka has reported new messages, and the Kafka thread has not handled the
     * report yet. The slot is then in kafka->news. */
    atomic_bool has_news;
    struct kafka_slot *next_news;
};

struct kafka_slots {
    struct kafka_slot **at;
    size_t count;
};

/* A rebalance as librdkafka's callback saw it. */
struct kafka_event {
    rd_kafka_resp_err_t what;
    rd_kafka_topic_partition_list_t *list;
    bool lost;
};

enum kafka_question { ASKED_NOTHING, ASKED_ASSIGN, ASKED_UNASSIGN };

/* The Kafka thread's: the assignment (kafka_assignment.c and the files that its internal header
 * names). */
struct kafka_assignment {
    struct kafka_slots slots[REQUEST_KINDS];
    uint64_t number;           /* of the newest rebalance reported to the handler */
    enum kafka_question asked; /* the call that answers it */
    int32_t generation;        /* the group's, when the newest rebalance was reported */
    rd_kafka_consumer_group_metadata_t *granted; /* our last membership; NULL: none */
    bool eager;                                  /* the group's protocol */
    enum kafka_question owed; /* its answer failed, and is repeated at retry_at_ms */
    int64_t retry_at_ms, retry_pause_ms;
    bool restarts;     /* there may be slots with `restart` */
    bool absences;     /* there may be slots with `absent_until` */
    bool asks_again;   /* only such slots are being reported */
    bool needs_reread; /* there may be unreadable slots, or slots to be started again */
    bool partial; /* the newest assignment is not from the group: partitions that are not in it stay
                   */
    unsigned joins_at_loss; /* kafka->all_joins when partitions were lost */
    bool unsubscribing;     /* the close begins when LeaveGroup has been sent */
    unsigned leaves_before; /* kafka->all_leaves before that */
    bool joining; /* librdkafka joins anew since a revocation, and has had no assignment since that
                     ends this */
    bool follows; /* an assignment of the same generation comes first (cooperative) */
    bool leaving; /* kafka_leave was called */
    bool answers; /* and the coordinator has answered the consumer since */
    int64_t leave_ms; /* and when the group is left all the same */
    int64_t renew_ms; /* when it is renewed though the group has not settled; 0: nothing waits */
    int64_t offer_ends_ms; /* when it is renewed though the handler has not answered the newest
                              assignment; 0: nothing waits */
    bool renewing;         /* the consumer has to be closed and replaced */
    bool lost;             /* the assignment was lost, and the group has given no other since */
    bool fenced;           /* the consumer has fenced itself (rule 10), or cannot be closed */
    bool closing, left;    /* begun; ended for good */
    int64_t closing_since_ms;
    int64_t pending_since_ms;   /* since when pending partitions wait without an event; 0: none */
    int64_t no_member_since_ms; /* 0: probably a member */
    struct kafka_event *events;
    size_t event_count, event_capacity;
    struct record_position *reported; /* scratch */
    size_t reported_count, reported_capacity;
};

enum kafka_write_kind { WRITE_START, WRITE_TRANSACTION };

/* Used by the writer while its runner is busy, otherwise by the Kafka thread. */
struct kafka_writing {
    enum kafka_write_kind kind;
    const struct kafka_transaction *transaction;
    rd_kafka_consumer_group_metadata_t
        *membership;    /* NULL: there is none, and nothing may be sent */
    uint64_t rebalance; /* the newest reported rebalance when the transaction was requested */
    enum record_refusal *refused;
    rd_kafka_resp_err_t code; /* of what `error` says */
    bool offsets_refused;
    size_t refused_capacity;
    bool any_refused, any_failed; /* from the delivery reports */
    bool forbidden;               /* refused are all records of topics that may not be written */
    enum txn_outcome outcome;
    bool no_member; /* aborted, because the coordinator does not know this member */
    bool duplicate; /* ... because it knows another one under this group.instance.id */
    bool failed;    /* the process cannot go on */
    struct error error;
};

/* Whether the log of a partition is still the one that was read. */
enum kafka_log_identity {
    KAFKA_LOG_NOT_ASKED,   /* not known yet */
    KAFKA_LOG_SAME,        /* the same log, or not checked */
    KAFKA_LOG_OTHER,       /* the topic was deleted and made again */
    KAFKA_LOG_UNKNOWN,     /* it cannot be found out */
    KAFKA_LOG_OVERWRITTEN, /* it has lost its newest records, and others stand in their place */
};

/* What is remembered of a partition's log: copied from its slot for the reader. */
struct kafka_log_memo {
    bool had_ledger, lost, doubtful, other_log;
    bool outdated; /* another worker has committed since */
    struct kafka_fingerprint first, last, before;
    int64_t next;
};

enum kafka_read_kind { READ_LEDGERS, READ_OWNER, READ_COMMIT, READ_NOTHING };

/* Used by the reader while its runner is busy, otherwise by the Kafka thread. */
struct kafka_reading {
    enum kafka_read_kind kind;
    rd_kafka_topic_partition_list_t *list;
    enum request_kind *kinds;
    struct kafka_log_memo *memories; /* one per partition, with the result in logs */
    enum kafka_log_identity *logs;
    int partitions; /* how many the topic has; -1: not known */
    bool stable;
    char *owner;
    bool no_membership;
    int32_t generation; /* READ_NOTHING: the group's, behind the answer */
    uint64_t rebalance; /* as above */
    enum group_answer answer;
    rd_kafka_resp_err_t code; /* of what `error` says */
    struct stored_ledger *ledgers;
    size_t ledger_count;
    struct error error;
};

/* Whether committed offsets still exist (kafka_probe.c). Kafka thread. */
struct kafka_probe {
    rd_kafka_topic_partition_list_t *list; /* the prober's while it is busy, like `gone` */
    bool gone, there;
    bool answered;               /* like `gone`: a broker has given any answer */
    rd_kafka_resp_err_t refusal; /* like `gone`: the error instead of offsets; 0: none */
    int64_t asked_ms;            /* wall clock: of the first unanswered request */
    int unanswered;              /* in a row */
    bool about_slots;            /* the partitions are read, and have ledgers of ours */
    int32_t turn;                /* the next question begins with this partition, or a later one */
    int rounds;                  /* so many questions are about all partitions */
    uint64_t rebalance;          /* the newest reported rebalance at that time */
    int64_t at_ms;               /* when the last answer came */
    int64_t began_ms;            /* when the last question began */
    int64_t
        verified_ms; /* when the last question began whose answer allows the delivery of records */
    int64_t busy_until; /* records are delivered, so the question is asked often */
    bool wanted;        /* records wait for an answer */
};

/* A partition of which nothing is told (kafka_untold.c). Kafka thread. */
struct kafka_untold {
    int32_t partition; /* the looker's while it is busy, like `is_served` */
    bool is_served;    /* brokers serve it */
    int32_t turn;      /* the next look is at this one, or at the next that is untold */
    int64_t served_at_ms;
    int64_t pause_until_ms, pause_ms; /* before the next look */
};

/* The question to the leaders of partitions (kafka_unserved.c). Kafka thread. */
struct kafka_unserved {
    rd_kafka_topic_partition_list_t *list; /* the looker's; NULL: nothing is asked. In the end what
                                              cannot be read has an error, and words as metadata */
    int64_t due_ms;
    uint64_t rebalance; /* the newest reported rebalance when it was asked */
};

/* A client that reads for as long as its files are in force. */
struct kafka_reader {
    rd_kafka_t *client;    /* NULL: made when it is needed */
    unsigned version;      /* of the files with which it was made */
    int64_t renewed_at_ms; /* when one was last given up because of changed files; 0: never */
};

/* The look at the group before a static member joins (kafka_unowned.c). Kafka thread. */
struct kafka_unowned {
    bool looks;               /* the looker has it: the next two are the looker's */
    bool joins_again;         /* partitions may have no owner */
    rd_kafka_resp_err_t code; /* why the group could not be read; 0: it was */
};

enum { KAFKA_OUTPUTS = 2 }; /* results and dead letters */

struct kafka {
    const struct config *config;
    enum request_kind job;
    struct kafka_files *files; /* NULL: none */
    const struct kafka_handler *handler;
    void *arg;
    int event_fd;
    atomic_bool stopping;
    struct kafka_log_throttle log_throttle;

    rd_kafka_t *consumer;
    rd_kafka_topic_t *input; /* the consumer's requests topic; NULL: nothing was read yet */
    rd_kafka_queue_t *consumer_queue, *close_queue;
    unsigned consumer_version; /* version of the files with which it was made */
    bool joined;
    bool awaits_first; /* when the close began, the consumer had joined a cooperative group and had
                          had no assignment */
    bool had_assignment;   /* the consumer has had one */
    bool keeps_consumers;  /* there are some that cannot be destroyed; they may call back */
    int64_t renewed_at_ms; /* when it was last replaced because of changed files; 0: never */
    int64_t renew_at_ms;   /* when a failed replacement is tried again */
    struct kafka_assignment assignment;
    struct kafka_probe probe;
    struct kafka_untold untold;
    struct kafka_unserved unserved;
    struct kafka_unowned unowned;
    struct list full; /* slots in whose queue there may be something */
    _Atomic(struct kafka_slot *) news;
    struct record_header *headers; /* scratch of kafka_take */
    size_t header_capacity;
    int64_t polled_at_ms;
    bool failed;                       /* reported once */
    atomic_uint joins;                 /* JoinGroup requests since the last heartbeat. Any thread */
    atomic_uint all_joins;             /* all JoinGroup requests. Any thread */
    atomic_uint throttles;             /* answers that a quota has delayed. Any thread */
    atomic_uint all_leaves;            /* all LeaveGroup requests. Any thread */
    _Atomic int64_t heartbeat_ms;      /* when the last heartbeat was sent; 0: never. Any thread */
    char refusal[512];                 /* why the last join was refused; empty: never */
    int64_t refusal_ms;                /* when */
    atomic_uint rights_missing;        /* a bit for each kafka_right; any thread */
    _Atomic int64_t silent_since_ms;   /* wall clock; 0: brokers answer. Any thread */
    char silence[256];                 /* why the last connection failed; under log_throttle.lock */
    _Atomic(const char *) lacks_input; /* the requests topic, if it does not exist yet */
    _Atomic(const char *) lacks_output; /* the writer's: a topic that it writes to, likewise */

    struct kafka_runner writer, reader, prober, looker;
    struct kafka_writing writing;
    struct kafka_reading reading;
    rd_kafka_t *producer; /* the writer's, like the next two */
    unsigned producer_version;
    int64_t producer_renewed_ms; /* as above */
    int unclear;   /* the writer's: transactions of unknown outcome since the last that committed */
    bool is_spent; /* the writer's: a batch has failed, and the producer is not to be used again */
    bool
        former_ended; /* the writer's: the open transaction of this process's former id was ended */
    struct {
        const char *name;
        rd_kafka_topic_t *topic;
    } outputs[KAFKA_OUTPUTS];
    size_t output_count;
    pthread_mutex_t uncommitted_reader_lock;
    struct kafka_reader uncommitted_reader; /* made under the lock, by the reader or the prober */
    struct kafka_reader stable_reader; /* the reader's: of the offsets that are committed, while
                                          the consumer has outdated files */
};

/* kafka_runner.c */

/* Starts the thread. Returns 0, or -1. */
int kafka_runner_init(struct kafka_runner *runner, struct kafka *kafka, const char *name,
                      struct error *error);
/* Ends the thread when its task returns (tasks check kafka->stopping). */
void kafka_runner_fini(struct kafka_runner *runner);
/* Starts a task. The runner must be idle. Kafka thread. */
void kafka_runner_give(struct kafka_runner *runner, void (*task)(struct kafka *kafka));
/* Whether a task has ended. Each end is reported once. Kafka thread. */
bool kafka_runner_take(struct kafka_runner *runner);
/* Whether the runner has no task and no unfetched result. Kafka thread. */
bool kafka_runner_idle(struct kafka_runner *runner);
/* Sleeps in a task for that time, or until the runner is stopped. */
void kafka_runner_sleep(struct kafka_runner *runner, int ms);

/* kafka_wake_coordinator.c; the runner */

/* One call that is repeated. */
struct kafka_wake_up {
    struct kafka_runner *runner;
    const char *id; /* whose transaction; NULL: this process's */
    int64_t due_ms; /* boot clock */
    int pause_ms;
};

/* Called when the call has failed with that code and is repeated. If the coordinator has been
 * ending the previous transaction for too long, this wakes the coordinator, at growing intervals;
 * each wake-up takes at most 4 s. */
void kafka_wake_coordinator(struct kafka *kafka, struct kafka_wake_up *wake_up,
                            rd_kafka_resp_err_t code);

/* kafka_silence.c; any thread */

/* Notes since when no broker answers. */
void kafka_silence_began(struct kafka *kafka, int64_t wall_ms);
void kafka_silence_ended(struct kafka *kafka);
/* The log has said that a broker is away: it will say that brokers answer again. */
void kafka_silence_told(void);
/* Notes librdkafka's error of a failed connection. */
void kafka_silence_reason(struct kafka *kafka, const char *text);
/* The same, unless the error of a failed connection is known already. */
void kafka_silence_guess(struct kafka *kafka, const char *text);

/* kafka_log.c */

/* For failures that both jobs and all their clients see in the same way. */
extern struct kafka_log_throttle kafka_log_process;
/* Whether a failure of that name may be logged now. Any thread. */
bool kafka_log_due(struct kafka_log_throttle *throttle, const char *name, int every_ms);
/* librdkafka's log callback for clients of commands: it drops the lines, because errors are
 * returned, and log lines would disturb the command's output. */
void kafka_log_nothing(const rd_kafka_t *handle, int level, const char *facility, const char *text);
/* The same, and it stores the last failed connection, because a request to an unreachable broker
 * ends as a mere time-out. One store for the whole process. */
void kafka_log_keep(const rd_kafka_t *handle, int level, const char *facility, const char *text);
/* Adds the last failed connection to an error, if there is one. Returns -1. */
int kafka_add_kept(struct error *error);
/* librdkafka's callbacks; their opaque is the struct kafka. */
void kafka_log_callback(const rd_kafka_t *handle, int level, const char *facility,
                        const char *text);
void kafka_error_callback(rd_kafka_t *handle, int code, const char *reason, void *opaque);
/* kafka_quota.c: counts and tells answers that a quota delays; the conf's opaque is the struct
 * kafka. */
void kafka_quota_follow(rd_kafka_conf_t *conf);
/* Whether the broker is too old for the worker. */
bool kafka_is_too_old(rd_kafka_resp_err_t code);
/* Whether the coordinator says that this process is not a member of the current generation. */
bool kafka_is_no_member(rd_kafka_resp_err_t code);
/* Whether another process has taken over the transactional id. */
bool kafka_is_fenced(rd_kafka_resp_err_t code);

/* kafka_refusal.c */

/* What the broker's error means for a record; RECORD_TAKEN: the error is not about the record. */
enum record_refusal kafka_refusal_of(rd_kafka_resp_err_t code, bool has_key);
/* Whether the broker refuses these offsets for good; and whether because of their size. */
bool kafka_refuses_offsets(rd_kafka_resp_err_t code);
bool kafka_is_about_size(rd_kafka_resp_err_t code);
/* The remedy for an error; NULL: it passes by itself, or no remedy is known. */
const char *kafka_remedy(rd_kafka_resp_err_t code);
/* The remedy for an error that came instead of a record; "": only waiting helps. */
const char *kafka_read_remedy(rd_kafka_resp_err_t code);
/* The broker's error, with the remedy. */
void kafka_explain(struct error *error, rd_kafka_resp_err_t code, const char *what);

/* kafka_end.c; any thread */

/* Whether the consumer has joined a group, and its protocol is cooperative. false: also when it is
 * closed. It waits for librdkafka's main thread. */
bool kafka_consumer_is_cooperative(rd_kafka_t *consumer);
/* Destroys the consumer without leaving its group. */
void kafka_consumer_end_now(rd_kafka_t *consumer);
/* The same on a thread of its own. The callbacks' opaque must live until kafka_consumers_ended. */
void kafka_consumer_end(rd_kafka_t *consumer);
/* Waits for all of them, for 5 s at most. Whether they have ended. */
bool kafka_consumers_ended(void);

/* kafka_rights.c; any thread */

/* Rights. Finding a topic in the metadata needs less than reading or writing it: a client that may
 * write may find the topic, but not the other way round. To ask for a group's committed offsets
 * likewise needs less than to be its member. */
enum kafka_right {
    RIGHT_FIND_INPUT,
    RIGHT_READ_TOPIC,
    RIGHT_FIND_OUTPUT,
    RIGHT_WRITE_TOPIC,
    RIGHT_FIND_GROUP,
    RIGHT_READ_GROUP,
    RIGHT_WRITE_ID
};
/* Logs a missing right, at most once a minute; `on` is the name of the topic, group or id. */
void kafka_right_missing(struct kafka *kafka, enum kafka_right right, const char *on,
                         const char *words);
/* Whether librdkafka's line says that the topic cannot be added to a transaction for want of a
 * right. Only this line says which topic it is. */
bool kafka_line_forbids(const char *facility, const char *line, const char *topic);
/* Notes what such a line says of the output topics. */
void kafka_right_read(struct kafka *kafka, const char *facility, const char *line);
/* Whether the right to write to that topic is missing, as far as is known. */
bool kafka_may_not_write(const struct kafka *kafka, const char *topic);
/* An operation that needs the right has succeeded; `on` as above. */
void kafka_right_given(struct kafka *kafka, enum kafka_right right, const char *on);
/* Whether the broker refuses an operation on the group or the transactional id because a right is
 * missing. If so, it is logged. */
bool kafka_is_denied(struct kafka *kafka, rd_kafka_resp_err_t code, const char *words);
/* Logs the right whose lack such an error of reading or committing offsets tells of. */
void kafka_offsets_denied(struct kafka *kafka, rd_kafka_resp_err_t code, const char *words);
/* Whether an error does not pass by itself. A missing right on the group is told by
 * kafka_is_denied, and not once more. */
bool kafka_is_lasting(rd_kafka_resp_err_t code);
/* What to add to a command's error about a group, a transactional id, or a topic that it reads: the
 * right that is missing; or "". */
const char *kafka_why_refused(rd_kafka_resp_err_t code);

/* kafka_admin.c */

/* The number of partitions of a topic, as a broker reports; -1 on failure. Any thread. */
int kafka_partition_count(rd_kafka_t *client, const char *topic, int timeout_ms,
                          struct error *error);
/* The same, with the error's code; 0: there is one, or no partition. */
int32_t kafka_partition_count_or(rd_kafka_t *client, const char *topic, int timeout_ms,
                                 rd_kafka_resp_err_t *code);
/* The offsets of a partition's first and next record. Returns 0, or -1. Waits some seconds for an
 * answer, and for a leader. */
int kafka_read_ends(rd_kafka_t *client, const char *topic, int32_t partition, int64_t *begin,
                    int64_t *end, struct error *error);

/* Reads committed offsets like rd_kafka_committed, of a consumer without partitions. If the right
 * on the group is missing, librdkafka only retries until the time is over; this says so at once. */
rd_kafka_resp_err_t kafka_read_offsets(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                                       int timeout_ms);

/* kafka_files.c; any thread */

/* kafka_settings with what files say now. */
rd_kafka_conf_t *kafka_settings_now(struct kafka *kafka, enum kafka_side side, unsigned *version,
                                    struct error *error);
/* kafka_client with the last files that could be used. */
rd_kafka_t *kafka_client_now(struct kafka *kafka, rd_kafka_type_t type, rd_kafka_conf_t *conf,
                             struct error *error);
/* Whether a client that was made with that version has to be replaced. */
bool kafka_is_outdated(const struct kafka *kafka, unsigned version);
/* Registers a client for changed credentials, until the caller unregisters it before it is
 * destroyed. */
void kafka_client_runs(struct kafka *kafka, enum kafka_side side, rd_kafka_t *client);
void kafka_client_ends(struct kafka *kafka, const rd_kafka_t *client);

/* kafka_assignment.c; Kafka thread */

void kafka_rebalance_callback(rd_kafka_t *handle, rd_kafka_resp_err_t what,
                              rd_kafka_topic_partition_list_t *list, void *opaque);
/* Tells the handler of what the callback has gathered, and of what is due. */
void kafka_assignment_serve(struct kafka *kafka, int64_t now_ms);
/* Called when the coordinator has answered a commit, which was started when `rebalance` was the
 * newest reported one, with 'not a member': an unanswered `assigned` is cancelled. */
void kafka_assignment_no_member(struct kafka *kafka, uint64_t rebalance, int64_t now_ms);
/* A commit was refused, because the group knows another member under this group.instance.id. While
 * lost partitions are handed over under the membership that granted them, that is another process:
 * this one fails, and does not join anew, because it would take that one's place. */
void kafka_assignment_duplicate(struct kafka *kafka);
void kafka_assignment_fini(struct kafka *kafka);

/* kafka_slots.c; Kafka thread */

/* Stops all reading of a consumer that is going to end, and releases its queues. */
void kafka_assignment_stop(struct kafka *kafka);
/* The partition's slot, or NULL. */
struct kafka_slot *kafka_slot_find(const struct kafka *kafka, enum request_kind kind,
                                   int32_t partition);
/* Kind of a requests topic, or REQUEST_KINDS. */
enum request_kind kafka_topic_kind(const struct config *config, const char *topic);

/* kafka_membership.c; Kafka thread */

/* Called when the coordinator has accepted a commit. */
void kafka_assignment_is_member(struct kafka *kafka);
/* The generation of our membership; -1: none. It waits for librdkafka's main thread. The Kafka
 * thread, or the reader. */
int32_t kafka_generation_now(struct kafka *kafka);
/* Lets kafka_standing follow the requests of the consumer that is made of it. Returns 0, or -1. */
int kafka_membership_follow(struct kafka *kafka, rd_kafka_conf_t *conf);
/* The group has assigned something, or nothing: the join has ended. Any thread. */
void kafka_membership_granted(struct kafka *kafka);
/* Present membership; NULL: none, or not the one under which what is still being given back was
 * ours. */
rd_kafka_consumer_group_metadata_t *kafka_membership(struct kafka *kafka);
/* The same for a transaction; while partitions are given back, the one that granted them, though
 * librdkafka has given it up. */
rd_kafka_consumer_group_metadata_t *kafka_membership_to_write(struct kafka *kafka);

/* kafka_leave.c; Kafka thread */

/* Replaces the consumer: its partitions are drained and given back in order as for a stop, it is
 * closed, and a new consumer joins. Returns false, and does nothing, while a rebalance is
 * running. */
bool kafka_assignment_renew(struct kafka *kafka);
/* The consumer was fenced as a static member. Returns whether it has done that itself, after a
 * loss: then it is replaced when the lost partitions are handed over. */
bool kafka_assignment_fenced(struct kafka *kafka);
/* Sets awaits_first, which a closed consumer does not tell. */
void kafka_first_assignment_look(struct kafka *kafka);

/* kafka_partition.c; Kafka thread */

/* Marks the partition to be reported as overtaken and as assigned again. */
void kafka_partition_restart(struct kafka *kafka, struct kafka_slot *slot);
/* Moves the slots with newly reported messages from kafka->news to kafka->full. */
void kafka_partitions_news(struct kafka *kafka);
/* Begins to read the partition at slot->next, through a queue of its own, so that a full window
 * stops only this partition. If that fails, it is tried again later. It must not be read yet:
 * librdkafka would abort. */
void kafka_partition_start(struct kafka *kafka, struct kafka_slot *slot);
/* Stops that, if it is read, and releases the queue. It waits for librdkafka's main thread. */
void kafka_partition_stop(struct kafka *kafka, struct kafka_slot *slot);
/* Begins at slot->next, also if it is read already. If it fails, it is tried again later. */
void kafka_partition_reopen(struct kafka *kafka, struct kafka_slot *slot);
/* Reads the partition from that offset on. */
void kafka_partition_begin(struct kafka_slot *slot, int64_t offset);
/* Forgets the records of the log that was read. */
void kafka_partition_forget_log(struct kafka_slot *slot);
/* Whether the handler may see a record or an end. Notes how far the partition is read. */
bool kafka_partition_passes(struct kafka *kafka, struct kafka_slot *slot,
                            const rd_kafka_message_t *message);
/* Whether it is read, no trouble is known, and nothing waits to be taken. */
bool kafka_partition_is_quiet(const struct kafka_slot *slot);
/* Handles an error that came instead of a record. */
void kafka_partition_failed(struct kafka *kafka, struct kafka_slot *slot, rd_kafka_resp_err_t code,
                            const char *words);
/* Handles an error about the whole topic, for each partition that is read. */
void kafka_partitions_failed(struct kafka *kafka, rd_kafka_resp_err_t code, const char *words);
/* Begins again where that is due. */
void kafka_partition_serve(struct kafka *kafka, struct kafka_slot *slot, int64_t now_ms);

/* kafka_probe.c; Kafka thread */

/* Asks for committed offsets when it is time, and handles the answer. */
void kafka_probe_serve(struct kafka *kafka, int64_t now_ms);
/* Whether records of a partition may be delivered: a recent answer says that its committed offset
 * exists. If not, the question is asked. */
bool kafka_probe_lets_take(struct kafka *kafka, struct kafka_slot *slot);
void kafka_probe_fini(struct kafka *kafka);

/* kafka_unowned.c; Kafka thread */

/* Begins the look at the group before this member joins, if it needs one; then the subscription
 * follows. Returns whether it does. */
bool kafka_unowned_look(struct kafka *kafka);
void kafka_unowned_serve(struct kafka *kafka);
/* Called before librdkafka is answered to an assignment. */
void kafka_unowned_answering(struct kafka *kafka);

/* kafka_untold.c; Kafka thread */

/* Replaces the consumer if brokers serve a partition of which they tell it nothing. */
void kafka_untold_serve(struct kafka *kafka, int64_t now_ms);

/* kafka_unserved.c; Kafka thread */

/* Asks the leaders of the partitions when that is due. */
void kafka_unserved_serve(struct kafka *kafka, int64_t now_ms);
void kafka_unserved_fini(struct kafka *kafka);

/* kafka_log_identity.c */

/* The fingerprint of a message's record. Any thread. */
struct kafka_fingerprint kafka_fingerprint_of(const rd_kafka_message_t *message);
/* Checks the logs of the partitions whose committed offset is gone or doubtful. Returns 0; -1: not
 * possible now. Reader. */
int kafka_identify_logs(struct kafka *kafka, const rd_kafka_topic_partition_list_t *list,
                        const struct kafka_log_memo *memories, enum kafka_log_identity *logs,
                        struct error *error);

/* kafka_ledger.c, on whichever runner */

/* A client of the group that reads offsets and records, if uncommitted including those of open
 * transactions, and never subscribes. *version: the version of its settings (kafka_is_outdated).
 * NULL on failure. Any thread. */
rd_kafka_t *kafka_reading_client(struct kafka *kafka, bool uncommitted, unsigned *version,
                                 struct error *error);
/* A client of the group that reads the current committed offsets, even while a transaction on them
 * is open. It never subscribes, so it is not a member. NULL on failure. Any thread. */
rd_kafka_t *kafka_uncommitted_reader(struct kafka *kafka, struct error *error);
/* A list for librdkafka with offsets and metadata. */
rd_kafka_topic_partition_list_t *
kafka_ledger_list(const struct config *config, const struct stored_ledger *ledgers, size_t count);
/* Reports the end of the reader's task to the handler. Kafka thread. */
void kafka_reading_complete(struct kafka *kafka);
/* Asks the coordinator for something by the consumer, until it answers or a second is over; the
 * reader has to be idle. */
void kafka_wait_for_answer(struct kafka *kafka);
void kafka_reading_fini(struct kafka_reading *reading);

/* kafka_consume.c; any thread */

/* Copies a message's headers, borrowed from it, into a list that grows; the caller releases the
 * list with free. Returns how many. */
size_t kafka_read_headers(const rd_kafka_message_t *message, struct record_header **list,
                          size_t *room);

/* kafka_producer.c */

/* Reports the end of the writer's task to the handler. Kafka thread. */
void kafka_writing_complete(struct kafka *kafka);
/* Releases the producer, after the writer has ended. */
void kafka_producer_fini(struct kafka *kafka);
/* Ends the open transaction of a transactional id, with a separate producer. */
enum group_answer kafka_producer_end_other(struct kafka *kafka, const char *owner,
                                           struct error *error, bool *forbidden);

/* kafka.c */

/* Replaces the closed consumer by a new one and joins the group again. No runner may have a task.
 * Returns false if no consumer can be made (the log says why); this is tried again a second later.
 * Kafka thread. */
bool kafka_consumer_renew(struct kafka *kafka);
/* Subscribes the consumer to the job's topic: librdkafka joins the group. */
void kafka_subscribe(struct kafka *kafka);

/* Reports `failed`, once. Kafka thread. */
void kafka_fail(struct kafka *kafka, const char *text);
/* Reports that another process has this one's group.instance.id. Kafka thread. */
void kafka_fail_as_duplicate(struct kafka *kafka, const char *reason);
