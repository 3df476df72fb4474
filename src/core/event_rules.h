/* The rules for the members of an event (docs/records.md, 'Requests'). No I/O; only event.c uses
 * them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"

/* One member of a request. */
struct event_member {
    const char *name;
    size_t field_offset; /* of its text, in struct event */
    bool required, integer_too;
    bool (*holds)(const char *text, size_t size, int64_t now_wall_ms);
    const char *rule; /* completes "must be ..." */
};

/* The members of a kind of request, in the order in which they are checked; the last one's name is
 * NULL. */
const struct event_member *event_members(enum request_kind kind);

/* 1 to 256 bytes of UTF-8 without NUL. */
bool event_is_order_id(const char *text, size_t size);

/* 1 to 128 bytes of UTF-8 without control characters. */
bool event_is_request_id(const char *text, size_t size, int64_t now_wall_ms);

enum { EVENT_TRACE_ID_SIZE = 32 };

/* The trace id within a traceparent (W3C Trace Context); NULL: the text is not a traceparent. */
const char *event_trace_id(const char *traceparent, size_t size);

/* Parses an RFC 3339 date-time into ms since 1970. */
bool event_is_time(const char *text, size_t size, int64_t *wall_ms);
