#include "core/recording_url.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { INDEX_DIGITS = 6 };

/* ---- the settings */

/* The length of one step of a path: a name, or [index]; 0: none. */
static size_t step_length(const char *at)
{
    if (*at != '[')
        return strcspn(at, ".[]");
    size_t digits = strspn(at + 1, "0123456789");
    return digits >= 1 && digits <= INDEX_DIGITS && at[1 + digits] == ']' ? digits + 2 : 0;
}

bool recording_url_is_path(const char *path)
{
    bool name_due = true;
    for (size_t n; *path; path += n) {
        n = step_length(path);
        if (!n || (name_due && *path == '[') || (!name_due && *path != '['))
            return false;
        name_due = false;
        if (path[n] == '.') {
            name_due = true;
            path++;
        }
    }
    return !name_due;
}

static bool is_host_character(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

static bool is_host_pattern(const char *at, size_t n)
{
    if (n > 2 && at[0] == '*' && at[1] == '.')
        at += 2, n -= 2;
    if (!n || at[0] == '.' || (unsigned char)at[0] >= 0x80)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)at[i] >= 0x80 || !is_host_character(at[i]) ||
            (at[i] == '.' && i + 1 < n && at[i + 1] == '.'))
            return false;
    return true;
}

/* The next item of a list, without white space around it; NULL: no more. */
static const char *next_item(const char **list, size_t *size)
{
    if (!*list)
        return NULL;
    const char *at = *list;
    size_t n = strcspn(at, ",");
    *list = at[n] ? at + n + 1 : NULL;
    while (n && isspace((unsigned char)*at))
        at++, n--;
    while (n && isspace((unsigned char)at[n - 1]))
        n--;
    *size = n;
    return at;
}

bool recording_url_are_hosts(const char *hosts)
{
    size_t n;
    const char *item;
    while ((item = next_item(&hosts, &n)))
        if (!is_host_pattern(item, n))
            return false;
    return true;
}

/* ---- the parts of a URL */

/* The length of http:// or https://; 0: it begins with neither. */
static size_t scheme_length(const char *url)
{
    return strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
}

/* The host and port of the URL, after the user information. */
static const char *authority_of(const char *url, size_t *size)
{
    const char *from = url + scheme_length(url), *end = from + strcspn(from, "/?#\\");
    for (const char *at = from; at < end; at++)
        if (*at == '@')
            from = at + 1;
    *size = (size_t)(end - from);
    return from;
}

/* The host alone, which may be an IPv6 address in brackets; NULL: neither a name nor an address. */
static const char *host_of(const char *url, size_t *size)
{
    size_t n;
    const char *host = authority_of(url, &n);
    if (n && *host == '[') {
        const char *end = memchr(host, ']', n);
        *size = end ? (size_t)(end - host) + 1 : 0;
    } else {
        for (*size = 0; *size < n && is_host_character(host[*size]);)
            ++*size;
    }
    bool backslash = host[n] == '\\'; /* a backslash, which some readers take for a slash */
    return *size && !backslash && (*size == n || host[*size] == ':') ? host : NULL;
}

/* The text that a URL stands in, by how its characters are written. */
enum form { FORM_PLAIN, FORM_PERCENT, FORM_HTML, FORMS };

static bool begins_with(const char *text, size_t at, size_t size, const char *begin)
{
    size_t n = strlen(begin);
    return size - at >= n && strncasecmp(text + at, begin, n) == 0;
}

/* &#47; &#x2F; &sol;, also behind `amp;` where it was escaped once more, and without the
 * semicolon. */
static size_t entity_length(const char *text, size_t at, size_t size, char c)
{
    static const struct {
        char c;
        const char *name;
    } names[] = {{'/', "sol"}, {'\\', "bsol"}, {':', "colon"}, {'@', "commat"}, {'?', "quest"},
                 {'#', "num"}, {'"', "quot"},  {'\'', "apos"}, {'<', "lt"},     {'>', "gt"}};
    enum { AGAIN_MAX = 4, ZEROS_MAX = 8 };
    char digits[8];
    size_t n = at + 1;
    if (at >= size || text[at] != '&')
        return 0;
    for (int again = 0; again < AGAIN_MAX && begins_with(text, n, size, "amp;"); again++)
        n += 4;
    if (n < size && text[n] == '#') {
        bool hex = begins_with(text, ++n, size, "x");
        n += hex;
        for (int zeros = 0; zeros < ZEROS_MAX && n < size && text[n] == '0'; zeros++)
            n++;
        snprintf(digits, sizeof digits, hex ? "%x" : "%d", c);
        if (!begins_with(text, n, size, digits))
            return 0;
        n += strlen(digits);
        if (n < size && (hex ? isxdigit((unsigned char)text[n]) : isdigit((unsigned char)text[n])))
            return 0; /* another character */
        return n + (n < size && text[n] == ';') - at;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i].name);
        if (names[i].c == c && begins_with(text, n, size, names[i].name) && n + length < size &&
            text[n + length] == ';')
            return n + length + 1 - at;
    }
    return 0;
}

/* The length of that character where it stands, as it is or in a form in which other texts hold it:
 * %2F, %252F, \/, \u002F, &#47; or &sol;; 0: it is another one. */
static size_t form_length(const char *text, size_t at, size_t size, char c, enum form *form)
{
    char digits[3];
    size_t n = at;
    if (at < size && text[at] == c)
        return 1;
    if (at >= size || !strchr("\\%&", text[at]) || !text[at]) /* the usual case */
        return 0;
    if (text[at] == '&') {
        n = entity_length(text, at, size, c);
        *form = n ? FORM_HTML : *form;
        return n;
    }
    snprintf(digits, sizeof digits, "%02x", c);
    if (size - at >= 2 && text[at] == '\\' && text[at + 1] == c)
        return 2;
    if (size - at >= 6 && !strncasecmp(text + at, "\\u00", 4) &&
        !strncasecmp(text + at + 4, digits, 2))
        return 6;
    if (text[n++] != '%')
        return 0;
    while (size - n >= 2 && n - at < 9 && text[n] == '2' && text[n + 1] == '5')
        n += 2;
    if (size - n < 2 || strncasecmp(text + n, digits, 2) != 0)
        return 0;
    *form = FORM_PERCENT;
    return n + 2 - at;
}

/* The length of at most that many slashes. Some readers take a backslash for one. */
static size_t slashes_length(const char *text, size_t at, size_t size, int *most, enum form *form)
{
    size_t end = at, n;
    for (; *most > 0; --*most, end += n)
        if (!(n = form_length(text, end, size, '/', form)) &&
            !(n = form_length(text, end, size, '\\', form)))
            break;
    return end - at;
}

static bool ends_with(const char *text, size_t size, const char *end)
{
    size_t n = strlen(end);
    return size >= n && strncasecmp(text + size - n, end, n) == 0;
}

/* The length of the text that introduces an authority at this position; 0: there is none. It is a
 * colon and two slashes after the name of a scheme (of which `kept` bytes are known); in http and
 * https many readers accept fewer slashes. Or it is two slashes with nothing before them, as in a
 * URL without a scheme. */
static size_t lead_length(const char *text, size_t kept, size_t at, size_t size, bool blank,
                          enum form *form)
{
    int missing = 2;
    size_t colon = form_length(text, at, size, ':', form);
    if (blank || !kept || !isalnum((unsigned char)text[kept - 1]))
        colon = 0;
    bool http = colon && (ends_with(text, kept, "http") || ends_with(text, kept, "https"));
    if ((!colon && !blank) || (colon && at + colon >= size))
        return 0;
    if (http)
        missing = INT_MAX;
    size_t slashes = slashes_length(text, at + colon, size, &missing, form);
    return http || !missing ? colon + slashes : 0;
}

/* The length of &#58; or what else is numbered; 0: none is there. */
static size_t numbered_length(const char *text, size_t at, size_t size)
{
    size_t n = at;
    if (!begins_with(text, n, size, "&"))
        return 0;
    n++;
    while (begins_with(text, n, size, "amp;"))
        n += 4;
    if (!begins_with(text, n++, size, "#"))
        return 0;
    n += begins_with(text, n, size, "x");
    while (n < size && isxdigit((unsigned char)text[n]))
        n++;
    return n + begins_with(text, n, size, ";") - at;
}

/* Whether the authority is over there: at what ends one, in an escaped text also as that writes it.
 */
static bool is_end(const char *text, size_t at, size_t size, enum form form)
{
    enum form unused;
    if (text[at] == '&') {
        for (const char *end = "/?#\\\"'<>"; *end; end++)
            if (form_length(text, at, size, *end, &unused))
                return true;
        return form == FORM_PERCENT && !numbered_length(text, at, size);
    }
    for (const char *end = "/?#"; form == FORM_PERCENT && *end; end++)
        if (form_length(text, at, size, *end, &unused))
            return true;
    return !text[at] || strchr("/?#\\\"'<> \t\r\n", text[at]);
}

/* Where the authority that begins there goes on behind its user information. Up to *clear none is
 * left, as was seen from an earlier beginning: a text of nothing but beginnings is gone through
 * once. */
static size_t skip_users(const char *text, size_t at, size_t size, enum form form, size_t *clear)
{
    size_t behind = at, n;
    if (at < *clear)
        return at;
    while (at < size) {
        enum form unused;
        n = form_length(text, at, size, '@', &unused);
        if (n)
            behind = at + n;
        else if (is_end(text, at, size, form))
            break;
        else
            n = numbered_length(text, at, size);
        at += n ? n : 1;
    }
    *clear = at;
    return behind;
}

size_t recording_url_drop_users(char *text, size_t size)
{
    size_t kept = 0, at = 0, clear[FORMS] = {0};
    bool blank = true; /* nothing precedes */
    while (at < size) {
        enum form form = FORM_PLAIN;
        size_t lead = lead_length(text, kept, at, size, blank, &form), n = lead ? lead : 1;
        blank &= isspace((unsigned char)text[at]) != 0;
        memmove(text + kept, text + at, n);
        kept += n;
        at += n;
        if (lead)
            at = skip_users(text, at, size, form, &clear[form]);
    }
    return kept;
}

void recording_url_add_plain(struct text *out, const char *url)
{
    size_t n;
    const char *authority = authority_of(url, &n);
    text_append(out, url, scheme_length(url));
    text_append(out, authority, strcspn(authority, "#"));
}

/* ---- whether it may be fetched */

bool recording_url_is_http(const char *url)
{
    size_t unused;
    return scheme_length(url) && host_of(url, &unused);
}

static bool host_matches(const char *host, size_t n, const char *pattern, size_t pattern_size)
{
    if (n && host[n - 1] == '.')
        n--;
    if (*pattern != '*')
        return n == pattern_size && strncasecmp(host, pattern, n) == 0;
    size_t tail = pattern_size - 1; /* with its dot */
    return n > tail && strncasecmp(host + n - tail, pattern + 1, tail) == 0;
}

static bool host_is_listed(const char *host, size_t n, const char *hosts)
{
    size_t size;
    const char *item;
    while ((item = next_item(&hosts, &size)))
        if (host_matches(host, n, item, size))
            return true;
    return false;
}

const char *recording_url_refusal(const char *url, const struct config *config)
{
    size_t n, scheme = scheme_length(url);
    const char *host = host_of(url, &n);
    const char *hosts = config->recording_url_hosts;
    bool secure_platform = strncasecmp(config->platform_url, "https://", 8) == 0;
    if (!scheme || !host)
        return "it is no http or https URL";
    if (scheme == 7 && secure_platform && !config->recording_url_allow_http)
        return "it is plain http: see recording.url.allow.http";
    if (hosts && *hosts && !host_is_listed(host, n, hosts))
        return "its host is none of recording.url.hosts";
    return NULL;
}

/* ---- where it stands in an answer */

static const json_t *follow(const json_t *value, const char *path)
{
    while (value && *path) {
        path += *path == '.';
        size_t n = step_length(path);
        if (*path == '[')
            value = json_array_get(value, strtoul(path + 1, NULL, 10));
        else
            value = json_object_getn(value, path, n);
        path += n;
    }
    return value;
}

struct trimmed {
    const char *text;
    size_t size;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct trimmed trim(const json_t *string)
{
    struct trimmed t = {json_string_value(string), json_string_length(string)};
    while (t.size && is_space(*t.text))
        t.text++, t.size--;
    while (t.size && is_space(t.text[t.size - 1]))
        t.size--;
    return t;
}

/* Whether the text begins with a scheme and ://. */
static bool has_scheme(struct trimmed t)
{
    size_t n = 0;
    while (n < t.size && (isalnum((unsigned char)t.text[n]) || strchr("+-.", t.text[n])) &&
           t.text[n])
        n++;
    return n && t.size - n >= 3 && memcmp(t.text + n, "://", 3) == 0;
}

static bool has_control(struct trimmed t)
{
    for (size_t i = 0; i < t.size; i++)
        if ((unsigned char)t.text[i] < ' ' || t.text[i] == 0x7f)
            return true;
    return false;
}

static bool is_http(struct trimmed t)
{
    size_t scheme = scheme_length(t.text);
    return scheme && t.size > scheme && !has_control(t);
}

void recording_url_add_escaped(struct text *out, const char *url, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)url[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c))
            text_printf(out, "%%%02X", c);
        else
            text_append(out, &url[i], 1);
    }
}

/* Adds the part of the request's URL that a relative URL does not replace. */
static void add_base(struct text *url, const char *relative, const struct config *config)
{
    const char *base = config->platform_url;
    size_t scheme = scheme_length(base);
    if (strncmp(relative, "//", 2) == 0)
        text_append(url, base, scheme - 2);
    else if (*relative == '/')
        text_append(url, base, scheme + strcspn(base + scheme, "/"));
    else
        text_printf(url, "%s/%s/bind/callEvent/voice/", base, config->platform_version);
}

static enum recording_url take_named(struct text *url, const json_t *answer,
                                     const struct config *config)
{
    const json_t *value = follow(answer, config->recording_url_member);
    if (!json_is_string(value))
        return value && !json_is_null(value) ? RECORDING_URL_UNUSABLE : RECORDING_URL_NONE;
    struct trimmed t = trim(value);
    if (!t.size)
        return RECORDING_URL_NONE;
    if (has_scheme(t) ? !is_http(t) : has_control(t))
        return RECORDING_URL_UNUSABLE;
    if (!has_scheme(t))
        add_base(url, t.text, config);
    recording_url_add_escaped(url, t.text, t.size);
    return RECORDING_URL_FOUND;
}

/* Finds the first http(s) URL in a value, at any depth; *other: it found a URL with another
 * scheme. */
static enum recording_url search(struct text *url, const json_t *value, bool *other)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_is_string(value)) {
        struct trimmed t = trim(value);
        *other |= has_scheme(t) && !is_http(t);
        if (!is_http(t))
            return RECORDING_URL_NONE;
        recording_url_add_escaped(url, t.text, t.size);
        return RECORDING_URL_FOUND;
    }
    json_object_foreach((json_t *)value, name, member)
    {
        if (search(url, member, other) == RECORDING_URL_FOUND)
            return RECORDING_URL_FOUND;
    }
    json_array_foreach(value, i, member)
    {
        if (search(url, member, other) == RECORDING_URL_FOUND)
            return RECORDING_URL_FOUND;
    }
    return RECORDING_URL_NONE;
}

enum recording_url recording_url_find(struct text *url, const json_t *answer,
                                      const struct config *config)
{
    bool other = false;
    if (config->recording_url_member && *config->recording_url_member)
        return take_named(url, answer, config);
    if (search(url, json_object_get(answer, "Msg"), &other) == RECORDING_URL_FOUND ||
        search(url, answer, &other) == RECORDING_URL_FOUND)
        return RECORDING_URL_FOUND;
    return other ? RECORDING_URL_UNUSABLE : RECORDING_URL_NONE;
}
