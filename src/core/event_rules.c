#include "core/event_rules.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"

enum {
    ORDER_ID_MAX = 256,
    REQUEST_ID_MAX = 128,
    CALL_IDENTIFIER_MAX = 128,
    NUMBER_MIN = 3,
    NUMBER_MAX = 20,
    TIME_MAX = 63,
    INSTANT_SIZE = 20, /* 2016-05-20T23:59:59Z */
};

static bool all_digits(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!text_is_digit(text[i]))
            return false;
    return true;
}

bool event_is_order_id(const char *text, size_t size)
{
    return size >= 1 && size <= ORDER_ID_MAX && !memchr(text, '\0', size) &&
           text_is_utf8(text, size);
}

bool event_is_request_id(const char *text, size_t size, int64_t now_wall_ms)
{
    (void)now_wall_ms;
    if (size < 1 || size > REQUEST_ID_MAX || !text_is_utf8(text, size))
        return false;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f)
            return false;
        if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0) /* U+0080 to U+009F */
            return false;
    }
    return true;
}

bool event_is_time(const char *text, size_t size, int64_t *wall_ms)
{
    char copy[TIME_MAX + 1];
    if (size > TIME_MAX || memchr(text, '\0', size))
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    return clock_from_text(copy, wall_ms) == 0;
}

static bool is_lower_hex(char c)
{
    return text_is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool all_zeros(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != '0')
            return false;
    return true;
}

/* version-trace-parent-flags. A version after 00 may have more fields after another dash. */
const char *event_trace_id(const char *traceparent, size_t size)
{
    static const char form[] = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    enum { FORM_SIZE = sizeof form - 1, TRACE_AT = 3, PARENT_AT = 36, PARENT_SIZE = 16 };
    if (size < FORM_SIZE || memcmp(traceparent, "ff", 2) == 0)
        return NULL;
    for (size_t i = 0; i < FORM_SIZE; i++)
        if (form[i] == 'x' ? !is_lower_hex(traceparent[i]) : traceparent[i] != form[i])
            return NULL;
    if (size > FORM_SIZE && (all_zeros(traceparent, 2) || traceparent[FORM_SIZE] != '-'))
        return NULL;
    if (all_zeros(traceparent + TRACE_AT, EVENT_TRACE_ID_SIZE) ||
        all_zeros(traceparent + PARENT_AT, PARENT_SIZE))
        return NULL;
    return traceparent + TRACE_AT;
}

static bool is_phone_number(const char *text, size_t size, int64_t now_wall_ms)
{
    (void)now_wall_ms;
    size_t plus = size && text[0] == '+';
    return size - plus >= NUMBER_MIN && size - plus <= NUMBER_MAX &&
           all_digits(text + plus, size - plus);
}

static bool is_direct(const char *text, size_t size, int64_t now_wall_ms)
{
    (void)now_wall_ms;
    return size == 1 && text[0] >= '0' && text[0] <= '2';
}

static bool is_end_minute(const char *text, size_t size, int64_t now_wall_ms)
{
    if (size >= 1 && size <= 2 && all_digits(text, size)) {
        int minutes = size == 1 ? text[0] - '0' : (text[0] - '0') * 10 + (text[1] - '0');
        return minutes >= 1 && minutes <= 60;
    }
    int64_t instant;
    return size == INSTANT_SIZE && text[10] == 'T' && text[19] == 'Z' &&
           event_is_time(text, size, &instant) && instant > now_wall_ms;
}

static bool is_area_code(const char *text, size_t size, int64_t now_wall_ms)
{
    (void)now_wall_ms;
    return (size == 3 || size == 4) && text[0] == '0' && all_digits(text, size);
}

static bool is_call_identifier(const char *text, size_t size, int64_t now_wall_ms)
{
    (void)now_wall_ms;
    if (size < 1 || size > CALL_IDENTIFIER_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !text_is_digit(c) && c != '-' && c != '_')
            return false;
    }
    return true;
}

#define PLACE(member)   offsetof(struct event, member)
#define NUMBER_RULE     "a string of 3 to 20 digits, optionally with a leading +"
#define REQUEST_ID_RULE "a string or an integer of 1 to 128 bytes without control characters"

static const struct event_member call_members[] = {
    {"requestId", PLACE(request_id), false, true, event_is_request_id, REQUEST_ID_RULE},
    {"Caller", PLACE(caller), true, false, is_phone_number, NUMBER_RULE},
    {"Callee", PLACE(callee), true, false, is_phone_number, NUMBER_RULE},
    {"VirtualNum", PLACE(virtual_num), false, false, is_phone_number, NUMBER_RULE},
    {"Direct", PLACE(direct), false, true, is_direct, "0, 1 or 2, as a string or an integer"},
    {"EndMinute", PLACE(end_minute), false, true, is_end_minute,
     "minutes from 1 to 60, or a UTC instant later than now in the form YYYY-MM-DDThh:mm:ssZ"},
    {"Code", PLACE(code), false, false, is_area_code, "a string of 3 or 4 digits beginning with 0"},
    {0},
};

static const struct event_member recording_members[] = {
    {"requestId", PLACE(request_id), false, true, event_is_request_id, REQUEST_ID_RULE},
    {"CallIdentifier", PLACE(call_identifier), true, true, is_call_identifier,
     "a string of 1 to 128 letters, digits, - and _, or an integer"},
    {0},
};

const struct event_member *event_members(enum request_kind kind)
{
    return kind == REQUEST_CALL ? call_members : recording_members;
}
