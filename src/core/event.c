#include "core/event.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "core/event_rules.h"
#include "core/exact_json.h"

enum { DEPTH_OF_MEMBER = 64 }; /* limit of nesting within a member of a request */

const struct event_code event_codes[] = {
    {"event-too-large", "the value is larger than `event.max.bytes`"},
    {"key-invalid", "the key is no UTF-8 without NUL of at most 256 bytes"},
    {"value-missing", "the record has a null value"},
    {"utf8-invalid", "the value is no UTF-8"},
    {"json-invalid",
     "the value is no JSON text, something but white space follows it, or it is too deep"},
    {"object-expected", "the value is JSON, but no object"},
    {"member-duplicate", "a member is given twice in one object, at any depth"},
    {"order-id-missing", "neither the key nor the value gives an order id"},
    {"order-id-invalid", "`orderId` is no string or integer of 1 to 256 bytes"},
    {"order-id-mismatch", "the key and `orderId` differ"},
    {"member-missing", "a required member is absent, null or empty"},
    {"member-invalid", "a member breaks its rule, which the message names"},
    {0},
};

/* A part of a text that is stored elsewhere; bytes NULL: absent. */
struct span {
    const char *bytes;
    size_t size;
};

/* An event while it is parsed: spans point into the record and the JSON tree, and are copied into
 * one block at the end. */
struct reading {
    struct request *request;
    const struct event_rules *rules;
    int64_t now_wall_ms;
    struct exact_json json;
    const json_t *members;               /* the object with the request's members */
    struct span default_id, default_key; /* a CloudEvent's id and subject */
    char own_id[300];                    /* the id of a request that gives none */
    struct kept {
        size_t field_offset; /* of the pointer in struct event */
        struct span text;
        char number[24];
    } kept[16];
    size_t kept_count;
};

enum found { FOUND_ABSENT, FOUND_TEXT, FOUND_WRONG };

/* Notes that the event breaks a rule. The first broken rule is reported. */
__attribute__((format(printf, 3, 4))) static void fail(struct reading *reading, const char *code,
                                                       const char *format, ...)
{
    struct event *event = &reading->request->event;
    char message[256];
    if (event->invalid_code)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    event->invalid_code = code;
    event->invalid_message = memory_string(message);
}

static struct kept *next_kept(struct reading *reading)
{
    assert(reading->kept_count < sizeof reading->kept / sizeof reading->kept[0]);
    return &reading->kept[reading->kept_count];
}

static void keep(struct reading *reading, size_t field_offset, struct span text)
{
    struct kept *kept = next_kept(reading);
    kept->field_offset = field_offset;
    kept->text = text;
    reading->kept_count++;
}

/* Whether the number is digits with an optional sign. -0 is not, because as an identifier it is
 * ambiguous. */
static bool is_plain_integer(struct json_number number)
{
    if (number.size == 2 && memcmp(number.text, "-0", 2) == 0)
        return false;
    for (size_t i = 0; i < number.size; i++)
        if (strchr(".eE", number.text[i]))
            return false;
    return true;
}

/* Reads the text of a member; the digits of an integer are written into `number`. null and the
 * empty string count as absent. */
static enum found read_text(const struct reading *reading, const char *name, bool integer_too,
                            char number[24], struct span *text)
{
    const json_t *value = json_object_get(reading->members, name);
    if (!value || json_is_null(value))
        return FOUND_ABSENT;
    if (json_is_string(value)) {
        *text = (struct span){json_string_value(value), json_string_length(value)};
        return text->size ? FOUND_TEXT : FOUND_ABSENT;
    }
    if (!integer_too)
        return FOUND_WRONG;
    if (json_is_integer(value)) {
        int n = snprintf(number, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        *text = (struct span){number, (size_t)n};
        return FOUND_TEXT;
    }
    if (json_is_real(value)) {
        struct json_number real = exact_json_number(&reading->json, value);
        *text = (struct span){real.text, real.size};
        return is_plain_integer(real) ? FOUND_TEXT : FOUND_WRONG;
    }
    return FOUND_WRONG;
}

static void read_member(struct reading *reading, const struct event_member *member)
{
    struct kept *kept = next_kept(reading);
    switch (read_text(reading, member->name, member->integer_too, kept->number, &kept->text)) {
    case FOUND_ABSENT:
        if (member->required)
            fail(reading, "member-missing", "%s: is required", member->name);
        return;
    case FOUND_TEXT:
        if (member->holds(kept->text.bytes, kept->text.size, reading->now_wall_ms)) {
            kept->field_offset = member->field_offset;
            reading->kept_count++;
            return;
        }
        break;
    case FOUND_WRONG:
        break;
    }
    fail(reading, "member-invalid", "%s: must be %s", member->name, member->rule);
}

/* An EndMinute that is an instant is stored, because it is checked again before the call is
 * sent. */
static void read_end(struct reading *reading)
{
    char unused[24];
    struct span text;
    struct event *event = &reading->request->event;
    if (read_text(reading, "EndMinute", false, unused, &text) == FOUND_TEXT &&
        !event_is_time(text.bytes, text.size, &event->ends_at_ms))
        event->ends_at_ms = 0;
}

static void read_expiry(struct reading *reading)
{
    struct event *event = &reading->request->event;
    char unused[24];
    struct span text;
    enum found found = read_text(reading, "expiresAt", false, unused, &text);
    if (found == FOUND_TEXT && event_is_time(text.bytes, text.size, &event->expires_at_ms))
        return;
    if (found != FOUND_ABSENT)
        fail(reading, "member-invalid", "expiresAt: must be a string of RFC 3339's date-time");
}

/* Reads the key as the order id. Returns whether the record has a key, valid or not. */
static bool read_key(struct reading *reading)
{
    const struct raw_record *raw = &reading->request->raw;
    if (!raw->key || raw->key_size == 0)
        return false;
    if (event_is_order_id(raw->key, raw->key_size))
        keep(reading, offsetof(struct event, order_id), (struct span){raw->key, raw->key_size});
    else
        fail(reading, "key-invalid", "key: must be UTF-8 without NUL, 1 to 256 bytes");
    return true;
}

static void check_against_key(struct reading *reading, struct span text)
{
    const struct raw_record *raw = &reading->request->raw;
    if (text.size != raw->key_size || memcmp(text.bytes, raw->key, text.size) != 0)
        fail(reading, "order-id-mismatch", "orderId: must be the same as the record's key");
}

/* Reads orderId, which must be equal to the key, or replaces an absent key. */
static void read_order_id(struct reading *reading, bool has_key)
{
    struct kept *kept = next_kept(reading);
    struct span text;
    enum found found = read_text(reading, "orderId", true, kept->number, &text);
    if (found == FOUND_ABSENT && !has_key) {
        text = reading->default_key;
        found = text.bytes ? FOUND_TEXT : FOUND_ABSENT;
    }
    if (found == FOUND_ABSENT) {
        if (!has_key)
            fail(reading, "order-id-missing", "orderId: is required in a record without a key");
    } else if (found == FOUND_WRONG || !event_is_order_id(text.bytes, text.size)) {
        fail(reading, "order-id-invalid",
             "orderId: must be a string or an integer of 1 to 256 bytes");
    } else if (has_key) {
        check_against_key(reading, text);
    } else {
        keep(reading, offsetof(struct event, order_id), text);
    }
}

static const struct record_header *find_header(const struct raw_record *raw, const char *name)
{
    for (size_t i = 0; i < raw->header_count; i++)
        if (strcmp(raw->headers[i].name, name) == 0)
            return &raw->headers[i];
    return NULL;
}

/* A header's value if it is text; otherwise absent. */
static struct span header_text(const struct raw_record *raw, const char *name)
{
    const struct record_header *header = find_header(raw, name);
    if (!header || !header->value || !header->size || memchr(header->value, '\0', header->size) ||
        !text_is_utf8(header->value, header->size))
        return (struct span){0};
    return (struct span){header->value, header->size};
}

static void keep_trace_id(struct reading *reading)
{
    struct span text = header_text(&reading->request->raw, "traceparent");
    const char *trace_id = text.bytes ? event_trace_id(text.bytes, text.size) : NULL;
    if (trace_id)
        keep(reading, offsetof(struct event, trace_id),
             (struct span){trace_id, EVENT_TRACE_ID_SIZE});
}

static bool is_structured_event(const struct raw_record *raw)
{
    static const char type[] = "application/cloudevents+json";
    struct span text = header_text(raw, "content-type");
    size_t size = sizeof type - 1;
    return text.size >= size && strncasecmp(text.bytes, type, size) == 0 &&
           (text.size == size || strchr("; \t", text.bytes[size]));
}

static struct span string_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value))
        return (struct span){0};
    return (struct span){json_string_value(value), json_string_length(value)};
}

static void set_defaults(struct reading *reading, struct span id, struct span subject)
{
    if (id.bytes && event_is_request_id(id.bytes, id.size, 0))
        reading->default_id = id;
    if (subject.bytes && subject.size)
        reading->default_key = subject;
}

/* Reads the id and subject of a CloudEvent in binary mode from the headers, whatever the value
 * is. */
static void read_envelope_headers(struct reading *reading)
{
    const struct raw_record *raw = &reading->request->raw;
    if (!is_structured_event(raw))
        set_defaults(reading, header_text(raw, "ce_id"), header_text(raw, "ce_subject"));
}

/* Finds the object of the request, and in a structured CloudEvent its id and subject. */
static void open_envelope(struct reading *reading)
{
    const json_t *root = reading->members = reading->json.root;
    if (!is_structured_event(&reading->request->raw))
        return;
    set_defaults(reading, string_of(root, "id"), string_of(root, "subject"));
    reading->members = json_object_get(root, "data");
    if (!json_is_object(reading->members))
        fail(reading, "object-expected", "data: must be a JSON object");
}

static void fail_duplicate(struct reading *reading)
{
    const char *name = reading->json.duplicates[0].name;
    const struct event_member *member = event_members(reading->request->position.kind);
    for (; member->name; member++) {
        if (strcmp(member->name, name) == 0) {
            fail(reading, "member-duplicate", "%s: is given twice", member->name);
            return;
        }
    }
    fail(reading, "member-duplicate", "value: a member is given twice in one object");
}

/* Reports what is wrong with the text, without quoting it. */
static void fail_json(struct reading *reading, enum json_fault fault)
{
    switch (fault) {
    case JSON_SOUND:
        break;
    case JSON_DUPLICATE:
        fail_duplicate(reading);
        break;
    case JSON_NOT_UTF8:
        fail(reading, "utf8-invalid", "value: must be UTF-8");
        break;
    case JSON_TRAILING:
        fail(reading, "json-invalid", "value: only white space may follow the object");
        break;
    case JSON_CUT:
        fail(reading, "json-invalid", "value: ends before its object does");
        break;
    case JSON_TOO_DEEP:
        fail(reading, "json-invalid", "value: a member is nested deeper than %d levels",
             DEPTH_OF_MEMBER);
        break;
    case JSON_SYNTAX:
        fail(reading, "json-invalid", "value: is no JSON text");
        break;
    }
}

/* Drops attributes of a structured CloudEvent that occur more than once. */
static void drop_doubtful_attributes(struct reading *reading)
{
    const struct exact_json *json = &reading->json;
    if (exact_json_is_doubled(json, json->root, "id"))
        reading->default_id = (struct span){0};
    if (exact_json_is_doubled(json, json->root, "subject"))
        reading->default_key = (struct span){0};
    if (exact_json_is_doubled(json, json->root, "data"))
        reading->members = NULL;
}

/* Reads orderId (if there is no key) and requestId of a value that breaks the rules of JSON
 * objects, each only if it occurs once. The first fault is still the reported one. */
static void read_ids_in_spite(struct reading *reading, bool has_key)
{
    const struct exact_json *json = &reading->json;
    if (!json_is_object(json->root))
        return;
    open_envelope(reading);
    if (is_structured_event(&reading->request->raw))
        drop_doubtful_attributes(reading);
    if (!has_key && !exact_json_is_doubled(json, reading->members, "orderId"))
        read_order_id(reading, has_key);
    if (!exact_json_is_doubled(json, reading->members, "requestId"))
        read_member(reading, event_members(reading->request->position.kind));
}

static void read_value(struct reading *reading, bool has_key)
{
    const struct raw_record *raw = &reading->request->raw;
    if (!raw->value) {
        fail(reading, "value-missing", "value: must not be null");
        return;
    }
    int depth = DEPTH_OF_MEMBER + 1 + is_structured_event(raw);
    enum json_fault fault =
        exact_json_read(&reading->json, raw->value, raw->value_size, depth, false);
    if (fault) {
        fail_json(reading, fault);
        read_ids_in_spite(reading, has_key);
        return;
    }
    if (!json_is_object(reading->json.root)) {
        fail(reading, "object-expected", "value: must be a JSON object");
        return;
    }
    open_envelope(reading);
    read_order_id(reading, has_key);
    const struct event_member *member = event_members(reading->request->position.kind);
    for (; member->name; member++)
        read_member(reading, member);
    if (reading->request->position.kind == REQUEST_CALL) {
        read_end(reading);
        read_expiry(reading);
    }
}

static bool is_kept(const struct reading *reading, size_t field_offset)
{
    for (size_t i = 0; i < reading->kept_count; i++)
        if (reading->kept[i].field_offset == field_offset)
            return true;
    return false;
}

/* Sets the defaults of members that are missing or unreadable. */
static void keep_defaults(struct reading *reading, bool has_key)
{
    const struct record_position *position = &reading->request->position;
    struct span subject = reading->default_key;
    if (!has_key && !is_kept(reading, offsetof(struct event, order_id)) && subject.bytes &&
        event_is_order_id(subject.bytes, subject.size))
        keep(reading, offsetof(struct event, order_id), subject);
    if (is_kept(reading, offsetof(struct event, request_id)))
        return;
    if (!reading->default_id.bytes) {
        int n =
            snprintf(reading->own_id, sizeof reading->own_id, "%.249s/%" PRId32 "/%" PRId64,
                     reading->rules->topics[position->kind], position->partition, position->offset);
        reading->default_id = (struct span){reading->own_id, (size_t)n};
    }
    keep(reading, offsetof(struct event, request_id), reading->default_id);
}

/* Copies the found texts into one block, and points the event at them. */
static void settle(struct reading *reading)
{
    struct event *event = &reading->request->event;
    size_t size = 0;
    for (size_t i = 0; i < reading->kept_count; i++)
        size += reading->kept[i].text.size + 1;
    char *at = event->strings = memory_alloc(size);
    for (size_t i = 0; i < reading->kept_count; i++) {
        const struct kept *kept = &reading->kept[i];
        memcpy(at, kept->text.bytes, kept->text.size);
        at[kept->text.size] = '\0';
        *(const char **)((char *)event + kept->field_offset) = at;
        at += kept->text.size + 1;
    }
}

void event_parse(struct request *request, const struct event_rules *rules, int64_t now_wall_ms)
{
    struct reading reading = {.request = request, .rules = rules, .now_wall_ms = now_wall_ms};
    request->event = (struct event){.expires_at_ms = INT64_MAX};
    if (request->raw.value_size > rules->max_bytes)
        fail(&reading, "event-too-large", "value: is larger than event.max.bytes, %zu",
             rules->max_bytes);
    bool has_key = read_key(&reading);
    read_envelope_headers(&reading);
    if (request->raw.value_size <= rules->max_bytes)
        read_value(&reading, has_key);
    keep_defaults(&reading, has_key);
    keep_trace_id(&reading);
    settle(&reading);
    exact_json_fini(&reading.json);
}
