#include "core/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "core/exact_json.h"

/* What an answer says, before it becomes part of an outcome. */
struct answer {
    char *flag_json, *msg_json, *virtual_number, *platform_json, *url;
    int64_t flag;
    bool flag_is_integer;
};

/* Reads an integer as lenient as is still certain: spaces around it, a sign, zeros before it and a
 * fraction of nothing but zeros change no value. */
static bool to_integer(const char *text, size_t size, int64_t *value)
{
    char digits[32];
    while (size && strchr(" \t\r\n", text[0]) && text[0])
        text++, size--;
    while (size && text[size - 1] && strchr(" \t\r\n", text[size - 1]))
        size--;
    const char *point = memchr(text, '.', size);
    if (point) {
        size_t zeros = size - (size_t)(point - text) - 1;
        for (size_t i = 1; i <= zeros; i++)
            if (point[i] != '0')
                return false;
        if (!zeros)
            return false;
        size = (size_t)(point - text);
    }
    if (size && text[0] == '+')
        text++, size--;
    if (!size || size >= sizeof digits || text[0] == '+' || memchr(text, '\0', size))
        return false;
    memcpy(digits, text, size);
    digits[size] = '\0';
    return text_to_integer(digits, INT64_MIN, INT64_MAX, value) == 0;
}

static bool value_to_integer(const struct exact_json *json, const json_t *value, int64_t *integer)
{
    if (json_is_integer(value)) {
        *integer = json_integer_value(value);
        return true;
    }
    if (json_is_real(value)) {
        struct json_number number = exact_json_number(json, value);
        return to_integer(number.text, number.size, integer);
    }
    return json_is_string(value) &&
           to_integer(json_string_value(value), json_string_length(value), integer);
}

static char *value_to_text(const struct exact_json *json, const json_t *value)
{
    struct text text = {0};
    exact_json_write(&text, json, value);
    return text_take(&text);
}

static void read_flag(struct answer *answer, const struct exact_json *json, const json_t *value)
{
    answer->flag_is_integer = value_to_integer(json, value, &answer->flag);
    if (answer->flag_is_integer) {
        struct text text = {0};
        text_printf(&text, "%lld", (long long)answer->flag);
        answer->flag_json = text_take(&text);
    } else {
        answer->flag_json = value_to_text(json, value);
    }
}

/* Msg's digits without a leading 86, or NULL where it is anything but digits. */
static char *virtual_number_of(const struct exact_json *json, const json_t *msg)
{
    char *text = json_is_string(msg) ? memory_copy(json_string_value(msg), json_string_length(msg))
                                     : value_to_text(json, msg);
    size_t size = json_is_string(msg) ? json_string_length(msg) : strlen(text);
    const char *number = strncmp(text, "86", 2) == 0 ? text + 2 : text;
    bool digits = size && strspn(text, "0123456789") == size && *number;
    char *result = digits ? memory_string(number) : NULL;
    free(text);
    return result;
}

static bool is_url(const json_t *value)
{
    if (!json_is_string(value))
        return false;
    const char *text = json_string_value(value);
    size_t scheme = strncasecmp(text, "https://", 8) == 0  ? 8
                    : strncasecmp(text, "http://", 7) == 0 ? 7
                                                           : 0;
    if (!scheme || !text[scheme])
        return false;
    for (size_t i = 0; i < json_string_length(value); i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return false;
    return true;
}

/* The recording's URL: Msg's, else that of the first other member that is one. */
static char *find_url(const json_t *root)
{
    const json_t *msg = json_object_get(root, "Msg");
    const char *name;
    json_t *value;
    if (is_url(msg))
        return memory_string(json_string_value(msg));
    json_object_foreach((json_t *)root, name, value)
    {
        if (is_url(value))
            return memory_string(json_string_value(value));
    }
    return NULL;
}

/* Every member but Flag and Msg, or NULL when there is none. */
static char *further_members(const struct exact_json *json)
{
    struct text text = {0};
    const char *name;
    json_t *value;
    json_object_foreach(json->root, name, value)
    {
        if (strcmp(name, "Flag") == 0 || strcmp(name, "Msg") == 0)
            continue;
        text_add(&text, text.length ? "," : "{");
        text_json(&text, name, strlen(name));
        text_add(&text, ":");
        exact_json_write(&text, json, value);
    }
    if (!text.length)
        return NULL;
    text_add(&text, "}");
    return text_take(&text);
}

/* Parses the body; returns 0, or -1 and why it is unreadable. A byte order mark before the object
 * is skipped; a member given twice would leave open which one holds, so such an answer is
 * unreadable. */
static int parse(struct exact_json *json, const char *body, size_t size, const char **reason)
{
    json_error_t error;
    if (size >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0)
        body += 3, size -= 3;
    if (exact_json_read(json, body, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                        &error)) {
        *reason = json_error_code(&error) == json_error_duplicate_key
                      ? "the answer gives a member twice"
                      : "the answer is no JSON";
        return -1;
    }
    if (json_is_object(json->root))
        return 0;
    exact_json_fini(json);
    *reason = "the answer is no JSON object";
    return -1;
}

/* Takes out what the answer says, a member at a time; Flag may be missing. */
static void read_members(struct answer *answer, const struct exact_json *json)
{
    const json_t *flag = json_object_get(json->root, "Flag");
    const json_t *msg = json_object_get(json->root, "Msg");
    if (flag)
        read_flag(answer, json, flag);
    if (msg)
        answer->msg_json = value_to_text(json, msg);
    answer->platform_json = further_members(json);
    if (msg)
        answer->virtual_number = virtual_number_of(json, msg);
    answer->url = find_url(json->root);
}

/* Gives the Flag's number only: another value is of the platform's own making and may say anything.
 */
static char *refusal(const struct answer *answer, int http_status)
{
    struct text text = {0};
    text_add(&text, "the platform answered");
    if (http_status)
        text_printf(&text, " HTTP %d", http_status);
    if (http_status && answer->flag_json)
        text_add(&text, " with");
    if (answer->flag_is_integer)
        text_printf(&text, " Flag %lld", (long long)answer->flag);
    else if (answer->flag_json)
        text_add(&text, " a Flag that is no integer");
    return text_take(&text);
}

/* Replaces whatever the outcome held; its time of ending stays. */
static void set_outcome(struct outcome *outcome, enum request_kind kind, struct answer *answer,
                        int http_status)
{
    int64_t finished_at_ms = outcome->finished_at_ms;
    bool succeeded = !http_status && answer->flag_is_integer && answer->flag == 1;
    outcome_fini(outcome);
    outcome->finished_at_ms = finished_at_ms;
    outcome->status = succeeded ? STATUS_SUCCEEDED : STATUS_REFUSED;
    outcome->http_status = http_status;
    if (!succeeded) {
        outcome->error_code = "refused";
        outcome->error_message = refusal(answer, http_status);
    }
    outcome->answered = true;
    outcome->flag_json = answer->flag_json;
    outcome->msg_json = answer->msg_json;
    outcome->platform_json = answer->platform_json;
    if (succeeded && kind == REQUEST_CALL)
        outcome->virtual_number = answer->virtual_number;
    else
        free(answer->virtual_number);
    if (succeeded && kind == REQUEST_RECORDING)
        outcome->recording.url = answer->url;
    else
        free(answer->url);
}

int answer_read(struct outcome *outcome, enum request_kind kind, const char *body, size_t size,
                const char **reason)
{
    struct exact_json json;
    struct answer answer = {0};
    if (parse(&json, body, size, reason))
        return -1;
    if (!json_object_get(json.root, "Flag")) {
        exact_json_fini(&json);
        *reason = "the answer has no Flag";
        return -1;
    }
    read_members(&answer, &json);
    exact_json_fini(&json);
    set_outcome(outcome, kind, &answer, 0);
    return 0;
}

void answer_refused(struct outcome *outcome, enum request_kind kind, int http_status,
                    const char *body, size_t size)
{
    struct exact_json json;
    struct answer answer = {0};
    const char *unused;
    if (parse(&json, body, size, &unused) == 0) {
        read_members(&answer, &json);
        exact_json_fini(&json);
    }
    set_outcome(outcome, kind, &answer, http_status);
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
    if (request->place.kind == REQUEST_CALL) {
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
