#include "sandbox/platform/faults.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"

enum { SHARE_ALL = 1000000, PATTERN_MAX = 128 };

/* A rule: what happens to which share of which requests. */
struct sandbox_fault {
    enum sandbox_fault_kind kind;
    int64_t low, high;  /* the value, or its range */
    uint32_t share;     /* millionths */
    int64_t times_left; /* -1: no limit */
    char endpoint[16], caller[PATTERN_MAX + 1], callee[PATTERN_MAX + 1], id[PATTERN_MAX + 1];
    char *text; /* as it was written */
};

enum value_form { VALUE_NONE, VALUE_TIME, VALUE_TIME_RANGE, VALUE_NUMBER };

static const struct fault_form {
    const char *name;
    enum sandbox_fault_kind kind;
    enum value_form form;
    int64_t min, max;
    int64_t preset; /* default; -1: a value is required */
} forms[] = {
    {"latency", FAULT_LATENCY, VALUE_TIME_RANGE, 0, 3600000, -1},
    {"slow-body", FAULT_SLOW_BODY, VALUE_TIME, 0, 3600000, 1000},
    {"last", FAULT_LAST, VALUE_NONE, 0, 0, 0},
    {"status", FAULT_STATUS, VALUE_NUMBER, 200, 599, -1},
    {"flag", FAULT_FLAG, VALUE_NUMBER, INT32_MIN, INT32_MAX, -1},
    {"flag-text", FAULT_FLAG_TEXT, VALUE_NUMBER, INT32_MIN, INT32_MAX, -1},
    {"no-flag", FAULT_NO_FLAG, VALUE_NONE, 0, 0, 0},
    {"broken-json", FAULT_BROKEN_JSON, VALUE_NONE, 0, 0, 0},
    {"big-answer", FAULT_BIG_ANSWER, VALUE_NUMBER, 1, 16777216, 1048576},
    {"cut-body", FAULT_CUT_BODY, VALUE_NONE, 0, 0, 0},
    {"close", FAULT_CLOSE, VALUE_NONE, 0, 0, 0},
    {"reset", FAULT_RESET, VALUE_NONE, 0, 0, 0},
    {"hang", FAULT_HANG, VALUE_NONE, 0, 0, 0},
    {"reset-before", FAULT_RESET_BEFORE, VALUE_NONE, 0, 0, 0},
    {"reset-accept", FAULT_RESET_ACCEPT, VALUE_NONE, 0, 0, 0},
    {"hang-accept", FAULT_HANG_ACCEPT, VALUE_NONE, 0, 0, 0},
    {"refuse", FAULT_REFUSE, VALUE_TIME, 0, 3600000, 0},
    {"idle-close", FAULT_IDLE_CLOSE, VALUE_TIME, 0, 3600000, 200},
    {"idle-408", FAULT_IDLE_408, VALUE_TIME, 0, 3600000, 200},
};

const char sandbox_faults_help[] =
    "A SPEC is one or several faults with commas between them; each is\n"
    "    NAME[=VALUE][@PERCENT%][?MATCH[&MATCH]...]\n"
    "and hits PERCENT of the requests (all without it) that fit every MATCH:\n"
    "    caller=NUMBER callee=NUMBER id=CALLIDENTIFIER ('*' at the end: any that begins so)\n"
    "    endpoint=call|recording|file, times=N (only the first N that it hits)\n"
    "Of several for the same thing the first that hits counts. Times are written 50ms or 2s.\n"
    "Changing the answer:\n"
    "    latency=50ms latency=10-200ms latency=500ms-3s  it comes so much later\n"
    "    slow-body[=1s]     its body comes in pieces, for so long\n"
    "    last               the connection ends with it\n"
    "Instead of the answer:\n"
    "    status=503         that HTTP status (3xx: with a Location)\n"
    "    flag=1003          HTTP 200 with that Flag; flag-text=1 writes it as a string\n"
    "    no-flag            JSON without Flag;     broken-json  JSON that ends too soon\n"
    "    big-answer[=BYTES] JSON of that size      cut-body     half the body, then the end\n"
    "    close              an empty reply         reset        TCP reset, the request was read\n"
    "    hang               never any answer\n"
    "Of connections (percent and times, but no other match):\n"
    "    reset-before       TCP reset when a request arrives, unread\n"
    "    reset-accept       TCP reset instead of a TLS handshake\n"
    "    hang-accept        accepted, but no TLS handshake\n"
    "    refuse[=2s]        connections are refused, open ones end (for so long, or until lifted)\n"
    "    idle-close[=200ms] idle connections are closed; idle-408[=200ms] after a 408 answer\n"
    "Example: latency=10-50ms,hang?caller=18326000009,status=503@1%,flag=1002@5%?endpoint=call\n";

void sandbox_faults_init(struct sandbox_faults *faults, uint64_t seed)
{
    *faults = (struct sandbox_faults){.seed = seed};
}

void sandbox_faults_clear(struct sandbox_faults *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        free(faults->items[i].text);
    free(faults->items);
    faults->items = NULL;
    faults->count = 0;
}

void sandbox_faults_fini(struct sandbox_faults *faults)
{
    sandbox_faults_clear(faults);
}

static const struct fault_form *find_form(const char *name)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].name, name))
            return &forms[i];
    return NULL;
}

const char *sandbox_faults_name(enum sandbox_fault_kind kind)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].kind == kind)
            return forms[i].name;
    return "none";
}

/* Cuts the unit off a time. Returns the unit in milliseconds; 0: there is no unit. */
static int64_t cut_unit(char *text)
{
    size_t length = strlen(text);
    if (length > 2 && !strcmp(text + length - 2, "ms")) {
        text[length - 2] = '\0';
        return 1;
    }
    if (length > 1 && text[length - 1] == 's') {
        text[length - 1] = '\0';
        return 1000;
    }
    return 0;
}

/* The first time of a range may have a unit of its own. */
static int read_value(struct sandbox_fault *fault, const struct fault_form *form, char *value)
{
    int64_t unit = 1, low_unit = 0;
    char *high = NULL;
    if (form->form == VALUE_NONE)
        return -1;
    if (form->form != VALUE_NUMBER && (unit = cut_unit(value)) == 0)
        return -1;
    if (form->form == VALUE_TIME_RANGE && (high = strchr(value, '-')) != NULL) {
        *high++ = '\0';
        low_unit = cut_unit(value);
    }
    if (text_to_integer(value, form->min, form->max, &fault->low))
        return -1;
    fault->low *= low_unit ? low_unit : unit;
    fault->high = fault->low;
    if (high && text_to_integer(high, form->min, form->max, &fault->high))
        return -1;
    if (high)
        fault->high *= unit;
    return fault->high < fault->low ? -1 : 0;
}

static const char *expected_value(const struct fault_form *form)
{
    static const char *const forms_of_values[] = {
        [VALUE_NONE] = "no value",
        [VALUE_TIME] = "a time such as 50ms or 2s",
        [VALUE_TIME_RANGE] = "a time such as 50ms, or a range such as 10-200ms or 500ms-3s",
        [VALUE_NUMBER] = "a whole number"};
    return forms_of_values[form->form];
}

/* "12.5%" as millionths. */
static int read_share(struct sandbox_fault *fault, char *text)
{
    size_t length = strlen(text);
    if (!length || text[length - 1] != '%')
        return -1;
    text[length - 1] = '\0';
    char *end;
    double percent = strtod(text, &end);
    if (end == text || *end || !(percent >= 0 && percent <= 100) || strspn(text, "-+ "))
        return -1;
    fault->share = (uint32_t)(percent * SHARE_ALL / 100 + 0.5);
    return 0;
}

static int read_match(struct sandbox_fault *fault, const char *match)
{
    static const char *const names[] = {"caller=", "callee=", "id=", "endpoint="};
    char *fields[] = {fault->caller, fault->callee, fault->id, fault->endpoint};
    size_t sizes[] = {sizeof fault->caller, sizeof fault->callee, sizeof fault->id,
                      sizeof fault->endpoint};
    for (size_t i = 0; i < 4; i++) {
        size_t name = strlen(names[i]), length = strlen(match) - name;
        if (strncmp(match, names[i], name) != 0)
            continue;
        if (!match[name] || length >= sizes[i])
            return -1;
        memcpy(fields[i], match + name, length + 1);
        return 0;
    }
    if (!strncmp(match, "times=", 6))
        return text_to_integer(match + 6, 1, INT32_MAX, &fault->times_left);
    return -1;
}

static int read_matches(struct sandbox_fault *fault, char *matches)
{
    char *rest;
    if (!*matches)
        return -1;
    for (char *match = strtok_r(matches, "&", &rest); match; match = strtok_r(NULL, "&", &rest))
        if (read_match(fault, match))
            return -1;
    bool numbers = *fault->caller || *fault->callee || *fault->id || *fault->endpoint;
    if (numbers && fault->kind >= FAULT_RESET_BEFORE)
        return -1;
    const char *endpoint = fault->endpoint;
    return !*endpoint || !strcmp(endpoint, "call") || !strcmp(endpoint, "recording") ||
                   !strcmp(endpoint, "file")
               ? 0
               : -1;
}

/* Cuts the text at a separator. Returns the part after the separator, or NULL. */
static char *cut(char *text, char separator)
{
    char *at = strchr(text, separator);
    if (at)
        *at++ = '\0';
    return at;
}

/* Reads one fault; text is changed. */
static int read_fault(struct sandbox_fault *fault, char *text, struct error *error)
{
    *fault = (struct sandbox_fault){.share = SHARE_ALL, .times_left = -1};
    struct text written = {0};
    text_add(&written, text);
    char *matches = cut(text, '?'), *share = cut(text, '@'), *value = cut(text, '=');
    const struct fault_form *form = find_form(text);
    int rc = 0;
    if (!form) {
        rc = error_set(error, "fault \"%s\": no such fault", written.data);
        goto done;
    }
    fault->kind = form->kind;
    fault->low = fault->high = form->preset;
    if (value ? read_value(fault, form, value) : form->preset < 0)
        rc = error_set(error, "fault \"%s\": expected %s", written.data, expected_value(form));
    else if ((share && read_share(fault, share)) || (matches && read_matches(fault, matches)))
        rc = error_set(error, "fault \"%s\": its percentage or match is malformed", written.data);
done:
    if (rc) {
        text_fini(&written);
        return -1;
    }
    fault->text = text_take(&written);
    return 0;
}

int sandbox_faults_add(struct sandbox_faults *faults, const char *spec, struct error *error)
{
    char *copy = memory_string(spec), *rest;
    size_t before = faults->count;
    for (char *item = strtok_r(copy, ", \r\n", &rest); item;
         item = strtok_r(NULL, ", \r\n", &rest)) {
        faults->items =
            memory_resize(faults->items, (faults->count + 1) * sizeof(struct sandbox_fault));
        if (!read_fault(&faults->items[faults->count], item, error)) {
            faults->count++;
            continue;
        }
        while (faults->count > before)
            free(faults->items[--faults->count].text);
        free(copy);
        return -1;
    }
    free(copy);
    return 0;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t mix_text(uint64_t x, const char *text)
{
    return mix(text ? hash_add(x, text, strlen(text)) : x);
}

static uint64_t subject_draw(const struct sandbox_faults *faults,
                             const struct sandbox_fault_subject *subject)
{
    uint64_t x = mix(faults->seed);
    x = mix_text(x, subject->caller);
    x = mix_text(x, subject->callee);
    x = mix_text(x, subject->call_identifier);
    return mix(x ^ subject->occurrence);
}

static bool fits(const char *pattern, const char *value)
{
    size_t length = strlen(pattern);
    if (!length)
        return true;
    if (!value)
        return false;
    if (pattern[length - 1] == '*')
        return !strncmp(pattern, value, length - 1);
    return !strcmp(pattern, value);
}

static bool matches(const struct sandbox_fault *fault, const struct sandbox_fault_subject *subject)
{
    return fits(fault->endpoint, subject->endpoint) && fits(fault->caller, subject->caller) &&
           fits(fault->callee, subject->callee) && fits(fault->id, subject->call_identifier);
}

/* Whether a rule that matches hits with this random number; counts down its times. */
static bool hit(struct sandbox_fault *fault, uint64_t draw)
{
    if (fault->times_left == 0 || draw % SHARE_ALL >= fault->share)
        return false;
    if (fault->times_left > 0)
        fault->times_left--;
    return true;
}

static int64_t pick(const struct sandbox_fault *fault, uint64_t draw)
{
    uint64_t width = (uint64_t)(fault->high - fault->low) + 1;
    return fault->low + (int64_t)(mix(draw) % width);
}

static void apply(struct sandbox_fault_choice *choice, const struct sandbox_fault *fault,
                  uint64_t draw)
{
    switch (fault->kind) {
    case FAULT_LATENCY:
        choice->latency_ms = pick(fault, draw);
        break;
    case FAULT_SLOW_BODY:
        choice->slow_body_ms = fault->low;
        break;
    case FAULT_LAST:
        choice->last = true;
        break;
    default:
        choice->outcome = fault->kind;
        choice->value = fault->low;
    }
}

struct sandbox_fault_choice sandbox_faults_choose(struct sandbox_faults *faults,
                                                  const struct sandbox_fault_subject *subject)
{
    struct sandbox_fault_choice choice = {0};
    if (!faults->count)
        return choice;
    uint32_t seen = 0; /* the first hit of each kind counts, and the first of all outcomes */
    uint64_t seed = subject_draw(faults, subject);
    for (size_t i = 0; i < faults->count; i++) {
        struct sandbox_fault *fault = &faults->items[i];
        uint64_t draw = mix(seed ^ (i + 1));
        uint32_t bit = 1u << (fault->kind < FAULT_STATUS ? fault->kind : FAULT_STATUS);
        if (fault->kind >= FAULT_RESET_BEFORE || (seen & bit) || !matches(fault, subject) ||
            !hit(fault, draw))
            continue;
        seen |= bit;
        apply(&choice, fault, draw);
    }
    return choice;
}

bool sandbox_faults_hit_connection(struct sandbox_faults *faults, enum sandbox_fault_kind kind)
{
    for (size_t i = 0; i < faults->count; i++)
        if (faults->items[i].kind == kind &&
            hit(&faults->items[i], mix(faults->seed ^ mix(++faults->draws))))
            return true;
    return false;
}

int64_t sandbox_faults_value(const struct sandbox_faults *faults, enum sandbox_fault_kind kind)
{
    for (size_t i = 0; i < faults->count; i++)
        if (faults->items[i].kind == kind)
            return faults->items[i].low;
    return -1;
}

void sandbox_faults_drop(struct sandbox_faults *faults, enum sandbox_fault_kind kind)
{
    size_t kept = 0;
    for (size_t i = 0; i < faults->count; i++) {
        if (faults->items[i].kind == kind)
            free(faults->items[i].text);
        else
            faults->items[kept++] = faults->items[i];
    }
    faults->count = kept;
}

void sandbox_faults_print(const struct sandbox_faults *faults, struct text *out)
{
    for (size_t i = 0; i < faults->count; i++) {
        text_add(out, i ? "," : "");
        text_add(out, faults->items[i].text);
    }
}
