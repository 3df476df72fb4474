/* Writes results and dead letters (docs/records.md) as records to produce. Pure; the
 * Kafka thread calls it. */
#pragma once

#include "base/text.h"
#include "core/request.h"

/* A record to produce. Filled by the functions below, reusable, released with record_fini. */
struct record {
    const char *topic;       /* borrowed */
    bool has_key, has_value; /* false: null */
    struct text key, value;
    struct record_header headers[40]; /* names static or borrowed from the request; values inside
                                         header_bytes or borrowed */
    size_t header_count;
    const struct record_header *more_headers; /* a dead letter's: the request's own headers come
                                                 before the ones above; borrowed */
    size_t more_header_count;
    struct text header_bytes;
};

struct result_names {
    const char *group;
    const char *request_topics[REQUEST_KINDS], *result_topics[REQUEST_KINDS], *dead_letters;
};

/* The request's result; it must have an order id. small: without Msg and platform, with error.code
 * result-too-large, status unchanged; nor does it hold anything else that is long. */
void result_render(struct record *record, const struct result_names *names,
                   const struct request *request, bool small);

/* The value alone, as dlq.outcome carries it. */
void result_value(struct text *value, const struct result_names *names,
                  const struct request *request, bool small);

/* A dead letter of the request: reason `invalid` (code and message from its event) or
 * `late-outcome` (dlq.outcome from its outcome). small: without its value, with dlq.value.size; and
 * without a long key or long headers, with dlq.key.size and dlq.headers.size. */
void dead_letter_render(struct record *record, const struct result_names *names,
                        const struct request *request, const char *reason, bool small);

/* The dead letter `record-gone` of a started request whose record the broker has deleted, with the
 * timestamp -1: unknown. */
void record_gone_render(struct record *record, const struct result_names *names, struct place place,
                        const char *message);

/* Gives a dead letter without a key the place of its request as its key, and says so in a header,
 * for a topic that demands keys. */
void record_give_key(struct record *record, const struct result_names *names, struct place place);

void record_fini(struct record *record);
