#include "core/answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "core/answer_text.h"
#include "core/exact_json.h"

enum {
    DEPTH_MAX = 64,  /* levels of nesting of an answer; its object is the first */
    DIGITS_MAX = 64, /* digits of an integer that is written with an exponent */
};

/* A parsed body. */
struct reading {
    struct text text;
    struct exact_json json;
};

/* The content of an answer, before it becomes part of an outcome. */
struct answer {
    char *flag_json, *msg_json, *virtual_number, *platform_json, *url;
};

/* ---- Flag */

static struct json_number trim(struct json_number t)
{
    while (t.size && isspace((unsigned char)*t.text))
        t.text++, t.size--;
    while (t.size && isspace((unsigned char)t.text[t.size - 1]))
        t.size--;
    return t;
}

static size_t take_digits(struct json_number *t, struct text *digits)
{
    size_t n = 0;
    while (n < t->size && text_is_digit(t->text[n]))
        n++;
    text_append(digits, t->text, n);
    t->text += n, t->size -= n;
    return n;
}

static bool take(struct json_number *t, const char *any)
{
    if (!t->size || !*t->text || !strchr(any, *t->text))
        return false;
    t->text++, t->size--;
    return true;
}

/* Reads [e[+-]digits] up to the end. */
static bool read_exponent(struct json_number t, int64_t *exponent)
{
    struct text digits = {0};
    *exponent = 0;
    if (!t.size)
        return true;
    bool ok = take(&t, "eE"), negative = ok && t.size && *t.text == '-';
    ok = ok && (take(&t, "+-") || true) && take_digits(&t, &digits) && !t.size &&
         text_to_integer(digits.data, 0, INT32_MAX, exponent) == 0;
    text_fini(&digits);
    if (negative)
        *exponent = -*exponent;
    return ok;
}

/* Multiplies the digits by ten to the power. Returns false if the result is not an integer or is
 * too long. */
static bool shift(struct text *digits, int64_t power)
{
    size_t zeros = strspn(digits->data, "0");
    memmove(digits->data, digits->data + zeros, digits->length - zeros + 1);
    digits->length -= zeros;
    if (!digits->length)
        return true;
    for (; power < 0; power++) {
        if (!digits->length || digits->data[digits->length - 1] != '0')
            return false;
        digits->data[--digits->length] = '\0';
    }
    if (power > 0 && (int64_t)digits->length + power > DIGITS_MAX)
        return false;
    for (; power > 0; power--)
        text_add(digits, "0");
    return true;
}

/* The integer value of a number in any notation, as text; NULL: it is not an integer. */
static char *to_integer(struct json_number t)
{
    struct text digits = {0}, integer = {0};
    int64_t exponent = 0;
    bool negative = t.size && *t.text == '-';
    take(&t, "+-");
    text_append(&digits, "", 0);
    bool ok = take_digits(&t, &digits) > 0;
    size_t fraction = ok && take(&t, ".") ? take_digits(&t, &digits) : 0;
    ok = ok && t.text[-1] != '.' && read_exponent(t, &exponent) &&
         shift(&digits, exponent - (int64_t)fraction);
    if (ok) {
        text_add(&integer, negative && digits.length ? "-" : "");
        text_add(&integer, digits.length ? digits.data : "0");
    }
    text_fini(&digits);
    return ok ? text_take(&integer) : NULL;
}

static char *value_to_text(const struct exact_json *json, const json_t *value)
{
    struct text text = {0};
    exact_json_write(&text, json, value);
    return text_take(&text);
}

/* Flag as JSON text: as an integer if its value is one, otherwise unchanged. */
static char *read_flag(const struct exact_json *json, const json_t *value)
{
    char *own = value_to_text(json, value), *integer = NULL;
    struct json_number text = {own, strlen(own)};
    if (json_is_string(value))
        text = trim((struct json_number){json_string_value(value), json_string_length(value)});
    if (text.size && (json_is_string(value) || json_is_number(value)))
        integer = to_integer(text);
    if (!integer)
        return own;
    free(own);
    return integer;
}

/* ---- the other members */

/* Msg without the country code; NULL: the rest is not only digits. */
static char *virtual_number_of(const struct exact_json *json, const json_t *msg)
{
    static const char *const prefixes[] = {"86", "+86", "0086"};
    char *text = json_is_string(msg) ? memory_copy(json_string_value(msg), json_string_length(msg))
                                     : value_to_text(json, msg);
    size_t size = json_is_string(msg) ? json_string_length(msg) : strlen(text), prefix = 0;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0)
            prefix = strlen(prefixes[i]);
    bool digits = size > prefix && strspn(text + prefix, "0123456789") == size - prefix;
    char *result = digits ? memory_string(text + prefix) : NULL;
    free(text);
    return result;
}

/* Every member except Flag and Msg; NULL: there is none. */
static char *further_members(const struct exact_json *json)
{
    struct text text = {0};
    const char *name;
    size_t length;
    json_t *value;
    json_object_keylen_foreach(json->root, name, length, value)
    {
        if (strcmp(name, "Flag") == 0 || strcmp(name, "Msg") == 0)
            continue;
        text_add(&text, text.length ? "," : "{");
        text_json(&text, name, length);
        text_add(&text, ":");
        exact_json_write(&text, json, value);
    }
    if (!text.length)
        return NULL;
    text_add(&text, "}");
    return text_take(&text);
}

/* Removes credentials from URLs in a recording's answer. Nobody uses them, and no record may
 * contain them. */
static void drop_credentials(json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_is_string(value)) {
        size_t size = json_string_length(value);
        char *text = memory_copy(json_string_value(value), size);
        json_string_setn_nocheck(value, text, recording_url_drop_users(text, size));
        free(text);
    }
    json_object_foreach(value, name, member)
    {
        drop_credentials(member);
    }
    json_array_foreach(value, i, member)
    {
        drop_credentials(member);
    }
}

static void read_members(struct answer *answer, const struct exact_json *json,
                         enum request_kind kind, const struct config *config)
{
    const json_t *flag = json_object_get(json->root, "Flag");
    const json_t *msg = json_object_get(json->root, "Msg");
    struct text url = {0};
    if (kind == REQUEST_RECORDING)
        drop_credentials(json->root);
    if (flag && !json_is_null(flag))
        answer->flag_json = read_flag(json, flag);
    if (msg) {
        answer->msg_json = value_to_text(json, msg);
        answer->virtual_number = virtual_number_of(json, msg);
    }
    answer->platform_json = further_members(json);
    if (recording_url_find(&url, json->root, config) == RECORDING_URL_FOUND)
        answer->url = text_take(&url);
}

/* ---- the whole */

static void reading_fini(struct reading *reading)
{
    exact_json_fini(&reading->json);
    text_fini(&reading->text);
}

static struct answer_form form_of(const struct attempt *attempt, const struct config *config)
{
    return (struct answer_form){.content_type = attempt->content_type,
                                .content_encoding = attempt->content_encoding,
                                .max_bytes = (size_t)config->platform_answer_max_bytes};
}

/* Parses the body as JSON. Returns 0, or -1 with the reason why it is unreadable. Of members that
 * occur twice only Flag makes the meaning unclear. */
static int parse(struct reading *reading, const struct attempt *attempt,
                 const struct config *config, const char **reason)
{
    struct answer_form form = form_of(attempt, config);
    *reading = (struct reading){0};
    *reason = NULL;
    if (answer_text(&reading->text, attempt->body, attempt->body_size, &form, reason) == 0) {
        enum json_fault fault = exact_json_read(&reading->json, reading->text.data,
                                                reading->text.length, DEPTH_MAX, true);
        const json_t *root = reading->json.root;
        if (fault == JSON_TOO_DEEP)
            *reason = "the answer is nested deeper than 64 levels";
        else if (!root || (fault && fault != JSON_DUPLICATE))
            *reason = "the answer is no JSON";
        else if (!json_is_object(root))
            *reason = "the answer is no JSON object";
        else if (exact_json_is_doubled(&reading->json, root, "Flag"))
            *reason = "the answer gives Flag twice";
    }
    if (!*reason)
        return 0;
    reading_fini(reading);
    return -1;
}

static bool is_success(int http_status)
{
    return http_status >= 200 && http_status < 300;
}

/* The message contains Flag only if it is a number: another value may be any text of the
 * platform. */
static char *refusal(const struct outcome *outcome)
{
    struct text text = {0};
    bool is_integer;
    int64_t flag = answer_flag(outcome, &is_integer);
    text_add(&text, "the platform answered");
    if (outcome->http_status)
        text_printf(&text, " HTTP %d", outcome->http_status);
    if (outcome->http_status && outcome->flag_json)
        text_add(&text, " with");
    if (is_integer)
        text_printf(&text, " Flag %lld", (long long)flag);
    else if (outcome->flag_json)
        text_add(&text, " a Flag that is no integer");
    return text_take(&text);
}

/* Replaces the outcome, except finished_at_ms. */
static void set_outcome(struct outcome *outcome, enum request_kind kind, struct answer *answer,
                        int http_status)
{
    int64_t finished_at_ms = outcome->finished_at_ms;
    bool is_integer, sound = is_success(http_status);
    outcome_fini(outcome);
    outcome->finished_at_ms = finished_at_ms;
    outcome->http_status = sound ? 0 : http_status;
    outcome->answered = true;
    outcome->flag_json = answer->flag_json;
    outcome->msg_json = answer->msg_json;
    outcome->platform_json = answer->platform_json;
    bool succeeded = answer_flag(outcome, &is_integer) == 1 && sound;
    outcome->status = succeeded ? STATUS_SUCCEEDED : STATUS_REFUSED;
    if (!succeeded) {
        outcome->error_code = "refused";
        outcome->error_message = refusal(outcome);
    }
    if (succeeded && kind == REQUEST_CALL)
        outcome->virtual_number = answer->virtual_number;
    else
        free(answer->virtual_number);
    if (succeeded && kind == REQUEST_RECORDING)
        outcome->recording.url = answer->url;
    else
        free(answer->url);
}

int answer_read(struct outcome *outcome, enum request_kind kind, const struct attempt *attempt,
                const struct config *config, const char **reason)
{
    struct reading reading;
    struct answer answer = {0};
    if (parse(&reading, attempt, config, reason))
        return -1;
    const json_t *flag = json_object_get(reading.json.root, "Flag");
    if (!flag || json_is_null(flag)) {
        *reason = flag ? "the answer's Flag is null" : "the answer has no Flag";
        reading_fini(&reading);
        return 1;
    }
    read_members(&answer, &reading.json, kind, config);
    reading_fini(&reading);
    set_outcome(outcome, kind, &answer, attempt->http_status);
    return 0;
}

void answer_refused(struct outcome *outcome, enum request_kind kind, const struct attempt *attempt,
                    const struct config *config)
{
    struct reading reading;
    struct answer answer = {0};
    const char *unused;
    if (parse(&reading, attempt, config, &unused) == 0) {
        read_members(&answer, &reading.json, kind, config);
        reading_fini(&reading);
    }
    set_outcome(outcome, kind, &answer, attempt->http_status);
}

/* Whether this, behind the name of a member, begins its value 1. */
static bool value_is_one(struct json_number rest)
{
    static const char space[] = " \t\r\n";
    while (take(&rest, space))
        ;
    bool ok = take(&rest, ":");
    while (take(&rest, space))
        ;
    /* A quotation mark ends each value, so that no value goes on over the next name. */
    const char *ends = take(&rest, "\"") ? "\"" : "\",}] \t\r\n";
    struct json_number value = {rest.text, 0};
    while (value.size < rest.size && !strchr(ends, rest.text[value.size]))
        value.size++;
    value = trim(value);
    char *integer = ok && value.size ? to_integer(value) : NULL;
    bool one = integer && strcmp(integer, "1") == 0;
    free(integer);
    return one;
}

bool answer_shows_success(const struct attempt *attempt, const struct config *config)
{
    static const char name[] = "\"Flag\"";
    struct answer_form form = form_of(attempt, config);
    struct text text = {0};
    const char *unused;
    bool found = false;
    form.damaged = true;
    if (attempt->body_size &&
        answer_text(&text, attempt->body, attempt->body_size, &form, &unused) == 0) {
        const char *at = text.data, *end = text.data + text.length;
        while (!found && at && (at = memmem(at, (size_t)(end - at), name, strlen(name)))) {
            at += strlen(name);
            found = value_is_one((struct json_number){at, (size_t)(end - at)});
        }
    }
    text_fini(&text);
    return found;
}

enum recording_url answer_file_url(struct text *url, const struct attempt *attempt,
                                   const struct config *config)
{
    struct reading reading;
    const char *unused;
    if (parse(&reading, attempt, config, &unused))
        return RECORDING_URL_NONE;
    enum recording_url found = recording_url_find(url, reading.json.root, config);
    reading_fini(&reading);
    return found;
}

static void body_member(struct text *body, const char *name, const char *value)
{
    if (!value)
        return;
    text_add(body, body->length ? ",\"" : "{\"");
    text_add(body, name);
    text_add(body, "\":");
    text_json(body, value, strlen(value));
}

void answer_request_body(struct text *body, const struct request *request, const char *token,
                         const char *app_id)
{
    const struct event *event = &request->event;
    text_clear(body);
    body_member(body, "ACCOUNTSID", token);
    body_member(body, "APPID", app_id);
    if (request->position.kind == REQUEST_CALL) {
        body_member(body, "Caller", event->caller);
        body_member(body, "Callee", event->callee);
        body_member(body, "VirtualNum", event->virtual_num);
        body_member(body, "Direct", event->direct);
        body_member(body, "EndMinute", event->end_minute);
        body_member(body, "Code", event->code);
    } else {
        body_member(body, "CallIdentifier", event->call_identifier);
    }
    text_add(body, "}");
}

int64_t answer_flag(const struct outcome *outcome, bool *is_integer)
{
    int64_t flag = -1;
    *is_integer =
        outcome->flag_json && text_to_integer(outcome->flag_json, INT64_MIN, INT64_MAX, &flag) == 0;
    return flag;
}
