/* Reads and validates an event (docs/records.md, 'Requests'). Pure;
 * the Kafka thread calls it. */
#pragma once

#include "core/request.h"

struct event_rules {
    const char *topics[REQUEST_KINDS]; /* names of the requests topics, for the default requestId */
    size_t max_bytes;                  /* event.max.bytes */
};

/* Every code that event_parse gives, with its meaning; the last one's code is NULL. docs/errors.md
 * lists them. */
struct event_code {
    const char *code, *meaning;
};
extern const struct event_code event_codes[];

/* Fills request->event from request->raw. An event that breaks a rule gets invalid_code and
 * invalid_message, and order_id where the key, or without a key the value or a CloudEvent's
 * subject, gives a valid one. Never fails otherwise. now is the wall clock in ms. */
void event_parse(struct request *request, const struct event_rules *rules, int64_t now_wall_ms);
