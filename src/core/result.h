/* Renders results and dead letters (docs/records.md) as records to produce. No I/O; the Kafka
 * thread calls it. */
#pragma once

#include "base/text.h"
#include "core/request.h"

/* A record to produce. The functions below fill it. It can be reused, and is released with
 * record_fini. */
struct record {
    const char *topic;       /* borrowed */
    bool has_key, has_value; /* false: null */
    struct text key, value;
    struct record_header headers[40]; /* names static or borrowed from the request; values inside
                                         header_bytes or borrowed */
    size_t header_count;
    const struct record_header *more_headers; /* of a dead letter: the request's headers, which
                                                 precede those above; borrowed */
    size_t more_header_count;
    struct text header_bytes;
};

struct result_names {
    const char *group;
    const char *request_topics[REQUEST_KINDS], *result_topics[REQUEST_KINDS], *dead_letters;
};

/* Renders the result of a request, which must have an order id. reduced: without Msg, platform and
 * other long texts, with error.code result-too-large, and the status unchanged. */
void result_render(struct record *record, const struct result_names *names,
                   const struct request *request, bool reduced);

/* Renders the value alone, for dlq.outcome. */
void result_value(struct text *value, const struct result_names *names,
                  const struct request *request, bool reduced);

/* Renders a dead letter of the request, with reason `invalid` (code and message from its event) or
 * `late-outcome` (dlq.outcome from its outcome). reduced: without the value, with dlq.value.size;
 * and without a long key or long headers, with dlq.key.size and dlq.headers.size. */
void dead_letter_render(struct record *record, const struct result_names *names,
                        const struct request *request, const char *reason, bool reduced);

/* Renders the dead letter `record-gone` of a started request whose record the broker has deleted,
 * with timestamp -1: unknown. */
void record_gone_render(struct record *record, const struct result_names *names,
                        struct record_position position, const char *message);

/* Gives a dead letter without a key the position of its request as key, and marks that in a header,
 * for a topic that requires keys. */
void record_give_key(struct record *record, const struct result_names *names,
                     struct record_position position);

void record_fini(struct record *record);
