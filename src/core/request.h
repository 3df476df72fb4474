/* A request: one Kafka record on its way from the requests topic to its one result. The engine owns
 * it from the record's arrival until the transaction with its result has committed. In between it
 * is lent to the call thread (through the two queues), which uses only the members that are marked
 * as the call thread's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"

/* What a request asks for: a phone call, or the recording of one. Each kind has a job of its own,
 * so the kind also says which job: a variable `job` of this type names a job by the kind of its
 * requests. */
enum request_kind { REQUEST_CALL, REQUEST_RECORDING, REQUEST_KINDS };

/* The position of a record: requests topic, partition, offset (as where to read from: below 0 is
 * the oldest record). */
struct record_position {
    enum request_kind kind;
    int32_t partition;
    int64_t offset;
};

struct record_header {
    const char *name;
    const void *value; /* NULL: a null value */
    size_t size;
};

/* The record as received, byte for byte. */
struct raw_record {
    const char *key; /* NULL: none */
    size_t key_size;
    const char *value; /* NULL: null value */
    size_t value_size;
    const struct record_header *headers;
    size_t header_count;
    int64_t timestamp_ms; /* since 1970; -1 unknown */
};

/* The parsed and validated request (core/event.h). Strings are NUL-terminated and contain no other
 * NUL; NULL: absent. */
struct event {
    const char *order_id; /* NULL: there is none, so no result can be written */
    const char *request_id;
    const char *caller, *callee, *virtual_num, *direct, *end_minute, *code; /* calls */
    const char *call_identifier;                                            /* recordings */
    const char *trace_id;     /* of a valid traceparent */
    int64_t expires_at_ms;    /* wall clock; INT64_MAX: none */
    int64_t ends_at_ms;       /* wall clock: EndMinute, if it is an instant; otherwise 0 */
    const char *invalid_code; /* static; NULL: the event is valid */
    char *invalid_message;    /* names the member and the rule, never the value */
    char *strings;            /* the block that holds the strings above */
};

enum status {
    STATUS_SUCCEEDED,
    STATUS_REFUSED,
    STATUS_INVALID,
    STATUS_EXPIRED,
    STATUS_UNAVAILABLE,
    STATUS_UNKNOWN,
    STATUSES
};

/* How a request ended: the content of its result (docs/records.md, 'Results'). Strings are owned;
 * NULL: left out. While a call waits for another try, this is the platform's last answer. */
struct outcome {
    enum status status;
    const char *error_code; /* static, kebab-case; NULL with STATUS_SUCCEEDED */
    char *error_message;
    char *flag_json; /* the answer's Flag as JSON text: an integer, or the platform's own value */
    char *msg_json;  /* the answer's Msg as JSON text */
    char *virtual_number;
    char *platform_json; /* further members of the answer, as a JSON object's text */
    int http_status;     /* 0: left out */
    bool answered; /* the platform answered: if this outcome is late, it becomes a dead letter */
    bool from_successor; /* ended by a successor: attempts and startedAt are not known */
    struct recording {
        char *url, *uri, *content_type;
        char sha256[65];
        int64_t size;
        bool present;
    } recording;
    int64_t finished_at_ms; /* wall clock */
};

/* How the call thread gives a request back. */
enum call_end {
    CALL_FINISHED, /* outcome is set */
    CALL_NOT_SENT, /* the try provably was not performed: to be repeated, not before retry_at_ms */
    CALL_RETURNED, /* not tried: lease over, recalled, or calls are paused; to be started again when
                      allowed */
};

/* The state of a request's call of the platform, for a phone call or for a recording. In names,
 * call has this meaning wherever both kinds of requests are served: call_thread, call_end,
 * engine_call_ended. The call thread's while the request is lent. */
struct call_state {
    int attempts;                /* tries that began */
    int64_t first_started_at_ms; /* wall clock; 0: never */
    int64_t first_started_boot_ms;
    int64_t started_boot_ms; /* of the last try; 0: none yet */
    int64_t lease_until_ms;  /* CLOCK_BOOTTIME: nothing is sent after it. INT64_MAX: no lease is
                                needed (recordings) */
    int64_t retry_at_ms;     /* CLOCK_BOOTTIME, with CALL_NOT_SENT */
    const char *last_code;   /* static: why the last try was not performed; NULL: none, or not known
                                after a crash */
    enum call_end end;
};

/* A message of a queue: the first member of each struct that is sent. */
enum message_type { MESSAGE_REQUEST, MESSAGE_RECALL, MESSAGE_REREAD, MESSAGE_LIMIT, MESSAGE_STOP };
struct message {
    struct list node;
    enum message_type type;
};

/* The state of a request, which only the engine uses. For each state except waiting, handed and
 * over the engine has a list. */
enum request_state {
    REQUEST_WAITING,   /* waits in its lane, for its turn or its time */
    REQUEST_CHOSEN,    /* the running transaction marks it 'started' */
    REQUEST_STARTING,  /* to be handed to the call thread */
    REQUEST_HANDED,    /* with the call thread (calls: marked 'started' in the ledger) */
    REQUEST_TO_UNMARK, /* came back unsent: the next transaction unmarks it */
    REQUEST_UNMARKING, /* the running transaction unmarks it */
    REQUEST_ENDED,     /* its outcome waits for a transaction */
    REQUEST_ENDING,    /* its outcome is in the running transaction */
    REQUEST_ORPHAN,    /* with the call thread, and its partition is gone */
    REQUEST_OVER,      /* is freed: its outcome is published, or is no longer this process's */
};

/* What became of a record of a transaction. */
enum record_refusal {
    RECORD_TAKEN,
    REFUSED_FOR_SIZE, /* a smaller form may be accepted */
    REFUSED_FOR_KEY,  /* it has no key, and the topic requires one */
    REFUSED_AS_IS,    /* no form would be accepted: a right, a policy, a topic that is gone */
};

struct lane;
struct partition;

struct request {
    struct message message; /* for the two queues */
    struct record_position position;
    struct raw_record raw;
    struct event event;
    struct outcome outcome;
    struct call_state call;
    struct list dispatch_node; /* the call thread's */
    void *dispatch_data;       /* the call thread's */

    /* the engine's */
    enum request_state state;
    bool marked;              /* 'started' in the last committed ledger */
    bool late_outcome;        /* its outcome goes to the dead letters */
    bool record_deleted;      /* stands for a started record that the broker has deleted */
    bool reduced;             /* the broker refused its result, or its late outcome, for the size */
    bool dead_letter_reduced; /* the broker refused its dead letter `invalid` for the size */
    bool keyed;               /* the topic of its record requires a key */
    bool refused;             /* its record was refused in every form */
    struct partition *partition;
    struct lane *lane;
    struct list lane_node, partition_node, list_node, change_node;
    int64_t not_before_ms; /* CLOCK_BOOTTIME */
    size_t bytes;          /* its share of the partition's window */
};

/* Makes a request with a copy of the record, in one block. event_parse parses it later. */
struct request *request_new(struct record_position position, const struct raw_record *raw);

/* For the log: what an entry about the request is about, with the name of its topic. */
struct log_about request_about(const struct request *request, const char *topic);

/* Releases the request with its event and outcome. request may be NULL. */
void request_free(struct request *request);

/* Releases the outcome's strings and zeroes it. */
void outcome_fini(struct outcome *outcome);

/* Sets an outcome that the worker decides (invalid, expired, unknown, unavailable). code is static,
 * message is copied. */
void outcome_set(struct outcome *outcome, enum status status, const char *code, const char *message,
                 int64_t now_wall_ms);

const char *status_name(enum status status);
