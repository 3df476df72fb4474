/* Parses and validates an event (docs/records.md, 'Requests'). No I/O; the Kafka thread calls
 * it. */
#pragma once

#include "core/request.h"

struct event_rules {
    const char *topics[REQUEST_KINDS]; /* names of the requests topics, for the default requestId */
    size_t max_bytes;                  /* event.max.bytes */
};

/* Every code that event_parse sets, with its meaning; the last code is NULL. docs/errors.md lists
 * them. */
struct event_code {
    const char *code, *meaning;
};
extern const struct event_code event_codes[];

/* Fills request->event from request->raw. An event that breaks a rule gets invalid_code and
 * invalid_message, and an order_id if the key, or without a key the value or a CloudEvent's
 * subject, has a valid one. There is no other failure. now is the wall clock in ms. */
void event_parse(struct request *request, const struct event_rules *rules, int64_t now_wall_ms);
