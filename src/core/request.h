/* A request: one Kafka record on its way from the requests topic to its one result. The engine owns
 * it from the record's arrival until the transaction with its result has committed; in between it
 * is lent to the call thread (handed over and back by the two queues), which touches only the parts
 * marked so. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"

enum request_kind { REQUEST_CALL, REQUEST_RECORDING, REQUEST_KINDS };

/* Places of a record: which requests topic, partition, offset. */
struct place {
    enum request_kind kind;
    int32_t partition;
    int64_t offset;
};

struct record_header {
    const char *name;
    const void *value; /* NULL: a null value */
    size_t size;
};

/* The record as it came, byte for byte. */
struct raw_record {
    const char *key; /* NULL: none */
    size_t key_size;
    const char *value; /* NULL: null value */
    size_t value_size;
    const struct record_header *headers;
    size_t header_count;
    int64_t timestamp_ms; /* since 1970; -1 unknown */
};

/* What the record asks for, once read and validated (core/event.h). Strings are NUL-terminated and
 * free of NUL; NULL: absent. */
struct event {
    const char *order_id; /* NULL: it has none, so no result can be written */
    const char *request_id;
    const char *caller, *callee, *virtual_num, *direct, *end_minute, *code; /* calls */
    const char *call_identifier;                                            /* recordings */
    const char *trace_id;     /* of a sound traceparent */
    int64_t expires_at_ms;    /* wall clock; INT64_MAX: none */
    int64_t ends_at_ms;       /* wall clock: the instant that EndMinute is; 0: it is none */
    const char *invalid_code; /* static; NULL: the event is valid */
    char *invalid_message;    /* names the member and the rule, never the value */
    char *strings;            /* the block that the strings above stand in */
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

/* How a request ended: the material of its result (docs/records.md, 'Results'). Strings are owned;
 * NULL: left out. Of a call that waits for another try: what the platform has answered so far. */
struct outcome {
    enum status status;
    const char *error_code; /* static, kebab-case; NULL with STATUS_SUCCEEDED */
    char *error_message;
    char *flag_json; /* the answer's Flag as JSON text: an integer, or the platform's own value */
    char *msg_json;  /* the answer's Msg as JSON text */
    char *virtual_number;
    char *platform_json; /* further members of the answer, as a JSON object's text */
    int http_status;     /* 0: left out */
    bool answered;       /* the platform answered: a late one of these is worth a dead letter */
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
    CALL_NOT_SENT, /* a try that provably was not performed: to be tried again not before retry_at
                    */
    CALL_RETURNED, /* never tried this time: lease over, recalled, or calls are paused; to be
                      started anew when allowed */
};

/* The part of a request that its call keeps: the call thread's while it is lent. */
struct call_state {
    int attempts;                /* tries that began */
    int64_t first_started_at_ms; /* wall clock; 0: never */
    int64_t first_started_boot_ms;
    int64_t started_boot_ms; /* of the last try; 0: none yet */
    int64_t lease_until_ms;  /* CLOCK_BOOTTIME: no byte is sent after it. INT64_MAX: none needed
                                (recordings) */
    int64_t retry_at_ms;     /* CLOCK_BOOTTIME, with CALL_NOT_SENT */
    enum call_end end;
};

/* What crosses a queue: the first member of whatever is sent. */
enum message_type {
    MESSAGE_REQUEST,
    MESSAGE_RECALL,
    MESSAGE_REREAD,
    MESSAGE_ALLOWANCE,
    MESSAGE_STOP
};
struct message {
    struct list node;
    enum message_type type;
};

/* Where a request stands; only the engine reads or writes it. Each state but waiting and handed is
 * a list of the engine's. */
enum request_state {
    REQUEST_WAITING,    /* in its lane, for its turn or its time */
    REQUEST_CHOSEN,     /* the transaction on its way marks it 'started' */
    REQUEST_STARTING,   /* about to be handed to the call thread */
    REQUEST_HANDED,     /* with the call thread (calls: marked 'started' in the ledger) */
    REQUEST_UNSTART,    /* came back unsent: the next transaction takes its mark back */
    REQUEST_UNSTARTING, /* the transaction on its way takes its mark back */
    REQUEST_ENDED,      /* its outcome waits for a transaction */
    REQUEST_ENDING,     /* its outcome is in the transaction on its way */
    REQUEST_ORPHAN,     /* with the call thread, but its partition is gone */
};

/* Why a record was not taken. */
enum record_refusal {
    REFUSED_FOR_SIZE, /* a smaller form may be */
    REFUSED_FOR_KEY,  /* it had none, and the topic demands one */
    REFUSED_AS_IS, /* another form would not be either: a right, a policy, a topic that is gone */
};

struct lane;
struct partition;

struct request {
    struct message message; /* for the two queues */
    struct place place;
    struct raw_record raw;
    struct event event;
    struct outcome outcome;
    struct call_state call;
    struct list dispatch_node; /* the call thread's */
    void *dispatch_data;       /* the call thread's */

    /* the engine's */
    enum request_state state;
    bool marked;                 /* 'started' in the ledger as last committed */
    bool late;                   /* its end goes to the dead letters */
    bool gone;                   /* stands for a started record that the broker has deleted */
    bool small;                  /* the broker refused what is published of it for its size */
    bool keyed;                  /* the topic that it goes to demands a key */
    bool refused;                /* it is refused in every form that there is */
    enum record_refusal refusal; /* what the broker said of it in the transaction that has ended */
    struct partition *partition;
    struct lane *lane;
    struct list lane_node, partition_node, list_node, change_node;
    int64_t not_before_ms; /* CLOCK_BOOTTIME */
    size_t bytes;          /* what it counts towards the partition's window */
};

/* A copy of the record in one block; events are parsed later (event_parse). */
struct request *request_new(struct place place, const struct raw_record *raw);

/* For the log: whose entry it is, under the name of the topic that it came from. */
struct log_about request_about(const struct request *request, const char *topic);

/* Releases it with event and outcome. NULL is fine. */
void request_free(struct request *request);

/* Releases what the outcome owns and zeroes it. */
void outcome_fini(struct outcome *outcome);

/* Sets an outcome of the worker's own making (invalid, expired, unknown, unavailable). code is
 * static, message is copied. */
void outcome_set(struct outcome *outcome, enum status status, const char *code, const char *message,
                 int64_t now_wall_ms);

const char *status_name(enum status status);
