#include "sandbox/platform/checks.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

static struct sandbox_verdict refuse(int flag, const char *problem)
{
    return (struct sandbox_verdict){400, flag, problem};
}

static bool path_is(const struct sandbox_credentials *expected, struct sandbox_http_span path,
                    const char *rest)
{
    size_t version = strlen(expected->version);
    if (path.length != 1 + version + strlen(rest) || path.data[0] != '/')
        return false;
    return !memcmp(path.data + 1, expected->version, version) &&
           !memcmp(path.data + 1 + version, rest, strlen(rest));
}

int sandbox_checks_endpoint(const struct sandbox_credentials *expected,
                            struct sandbox_http_span path, enum sandbox_endpoint *endpoint)
{
    *endpoint = ENDPOINT_CALL;
    if (path_is(expected, path, "/bind/callEvent/v1"))
        return 0;
    *endpoint = ENDPOINT_RECORDING;
    return path_is(expected, path, "/bind/callEvent/voice/v1") ? 0 : -1;
}

static struct sandbox_verdict check_headers(const struct sandbox_http_request *request)
{
    size_t count;
    struct sandbox_http_span accept = sandbox_http_header(request, "accept", &count);
    if (count != 1 || !sandbox_http_span_is(accept, "application/json"))
        return refuse(9003, "Accept is not application/json");
    struct sandbox_http_span type = sandbox_http_header(request, "content-type", &count);
    if (count != 1 || !sandbox_http_span_is(type, "application/json;charset=utf-8"))
        return refuse(9004, "Content-Type is not application/json;charset=utf-8");
    if (!request->has_length)
        return refuse(9005, "Content-Length is missing");
    return (struct sandbox_verdict){0};
}

static struct sandbox_verdict check_credentials(const struct sandbox_credentials *expected,
                                                const struct sandbox_http_request *request,
                                                int64_t wall_ms)
{
    size_t count;
    struct sandbox_http_span authorization = sandbox_http_header(request, "authorization", &count);
    if (count != 1)
        return (struct sandbox_verdict){401, 9010, "there is not exactly one Authorization header"};
    struct sandbox_http_span sig = request->query;
    if (!sig.data || sig.length < 4 || memcmp(sig.data, "sig=", 4) != 0)
        return (struct sandbox_verdict){401, 9016, "the URL has no parameter sig"};
    sig.data += 4;
    sig.length -= 4;
    return sandbox_signature_check(expected, authorization, sig, wall_ms);
}

/* A number is 3 to 20 digits, with an optional '+' before them. */
static bool is_number(const char *text)
{
    text += *text == '+';
    size_t length = strlen(text);
    return length >= 3 && length <= 20 && strspn(text, "0123456789") == length;
}

static bool is_number_or_empty(const char *text)
{
    return !*text || is_number(text);
}

static bool is_direct(const char *text)
{
    return *text >= '0' && *text <= '2' && !text[1];
}

/* Minutes, or an instant like 2016-05-20T23:59:59Z that has not passed. */
static bool is_end_minute(const char *text)
{
    int64_t value;
    if (*text != '0' && !text_to_integer(text, 1, 60, &value))
        return true;
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    if (strlen(text) != sizeof shape - 1)
        return false;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != shape[i])
            return false;
    return !clock_from_text(text, &value) && value > clock_wall_ms();
}

/* An area code, or empty for none, as the platform's document says of Code and VirtualNum. */
static bool is_code_or_empty(const char *text)
{
    size_t length = strlen(text);
    if (!length)
        return true;
    return *text == '0' && (length == 3 || length == 4) && strspn(text, "0123456789") == length;
}

static bool is_call_identifier(const char *text)
{
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
            return false;
    return length >= 1 && length <= 128;
}

/* What a member of the body has to be; valid NULL: checked elsewhere. */
struct member {
    const char *name;
    bool (*valid)(const char *text);
    const char *missing, *malformed;
    int flag;
    bool required;
};

static const struct member call_members[] = {
    {"ACCOUNTSID", NULL, "ACCOUNTSID is missing", "", 9024, true},
    {"APPID", NULL, "APPID is missing", "", 9025, true},
    {"Caller", is_number, "Caller is missing", "Caller is no number", 9030, true},
    {"Callee", is_number, "Callee is missing", "Callee is no number", 9031, true},
    {"VirtualNum", is_number_or_empty, "", "VirtualNum is no number", 9032, false},
    {"Direct", is_direct, "", "Direct is not 0, 1 or 2", 9033, false},
    {"EndMinute", is_end_minute, "",
     "EndMinute is neither 1 to 60 nor an instant to come like 2016-05-20T23:59:59Z", 9034, false},
    {"Code", is_code_or_empty, "", "Code is not 3 or 4 digits beginning with 0", 9035, false},
    {0},
};

static const struct member recording_members[] = {
    {"ACCOUNTSID", NULL, "ACCOUNTSID is missing", "", 9024, true},
    {"APPID", NULL, "APPID is missing", "", 9025, true},
    {"CallIdentifier", is_call_identifier, "CallIdentifier is missing",
     "CallIdentifier is not 1 to 128 letters, digits, '-' or '_'", 9036, true},
    {0},
};

static bool is_documented(const struct member *members, const char *name)
{
    for (; members->name; members++)
        if (!strcmp(members->name, name))
            return true;
    return false;
}

static struct sandbox_verdict check_members(const struct member *members, json_t *root)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        if (!is_documented(members, name))
            return refuse(9021, "the body holds a member that is not documented");
        if (!json_is_string(value))
            return refuse(9022, "a member of the body is not a string");
    }
    for (; members->name; members++) {
        const char *text = json_string_value(json_object_get(root, members->name));
        if (!text && members->required)
            return refuse(members->flag, members->missing);
        if (text && members->valid && !members->valid(text))
            return refuse(members->flag, members->malformed);
    }
    return (struct sandbox_verdict){0};
}

static struct sandbox_verdict check_account(const struct sandbox_credentials *expected,
                                            json_t *root)
{
    if (strcmp(json_string_value(json_object_get(root, "ACCOUNTSID")), expected->token) != 0)
        return (struct sandbox_verdict){401, 9024, "ACCOUNTSID is not the token that is signed"};
    if (strcmp(json_string_value(json_object_get(root, "APPID")), expected->app_id) != 0)
        return (struct sandbox_verdict){401, 9025, "APPID is not the app id that is signed"};
    return (struct sandbox_verdict){0};
}

static void read_body(struct sandbox_platform_body *body, struct sandbox_http_span bytes)
{
    *body = (struct sandbox_platform_body){0};
    body->root = json_loadb(bytes.data, bytes.length, JSON_REJECT_DUPLICATES, NULL);
    body->caller = json_string_value(json_object_get(body->root, "Caller"));
    body->callee = json_string_value(json_object_get(body->root, "Callee"));
    body->virtual_number = json_string_value(json_object_get(body->root, "VirtualNum"));
    body->call_identifier = json_string_value(json_object_get(body->root, "CallIdentifier"));
}

void sandbox_platform_body_fini(struct sandbox_platform_body *body)
{
    json_decref(body->root);
    *body = (struct sandbox_platform_body){0};
}

struct sandbox_verdict sandbox_checks_request(const struct sandbox_credentials *expected,
                                              enum sandbox_endpoint endpoint,
                                              const struct sandbox_http_request *request,
                                              int64_t wall_ms, struct sandbox_platform_body *body)
{
    read_body(body, request->body);
    struct sandbox_verdict verdict = check_headers(request);
    if (!verdict.problem)
        verdict = check_credentials(expected, request, wall_ms);
    if (verdict.problem)
        return verdict;
    if (!json_is_object(body->root))
        return refuse(9020, "the body is no JSON object, or a member stands in it twice");
    verdict =
        check_members(endpoint == ENDPOINT_CALL ? call_members : recording_members, body->root);
    return verdict.problem ? verdict : check_account(expected, body->root);
}
