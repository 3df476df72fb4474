#include "core/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "core/config_source.h"
#include "core/recording_url.h"

enum {
    TOPIC_LIMIT = 249,
    GROUP_LIMIT = 249,
    CREDENTIAL_LIMIT = 700,
    URL_LIMIT = 2048,
    HOST_LIMIT = 255,
    CA_LIMIT = 16 * 1024 * 1024
};

struct config_shown config_show(const char *value)
{
    struct config_shown shown;
    struct text quoted = {0};
    size_t n = strlen(value), cut = n > 60 ? 60 : n;
    while (cut < n && cut && ((unsigned char)value[cut] & 0xc0) == 0x80)
        cut--; /* not within a character */
    text_json_visible(&quoted, value, cut);
    snprintf(shown.text, sizeof shown.text, "%s%s", quoted.data, cut < n ? "..." : "");
    text_fini(&quoted);
    return shown;
}

static int set_string(void *field, const char *value, size_t n)
{
    char **string = field;
    free(*string);
    *string = memory_copy(value, n);
    return 0;
}

CONFIG_SETTER(config_set_integer)
{
    if (text_to_integer(value, key->min, key->max, field) < 0)
        return error_set(why, "expected an integer from %lld to %lld, not %s", (long long)key->min,
                         (long long)key->max, config_show(value).text);
    return 0;
}

CONFIG_SETTER(config_set_boolean)
{
    (void)key;
    bool yes = !strcmp(value, "true");
    if (!yes && strcmp(value, "false") != 0)
        return error_set(why, "expected true or false, not %s", config_show(value).text);
    *(bool *)field = yes;
    return 0;
}

static bool is_name(const char *value, size_t min, size_t max)
{
    size_t n = strlen(value);
    if (n < min || n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c >= 0x80 || (!isalnum(c) && !strchr("._-", c)))
            return false;
    }
    return true;
}

/* A part of a path that is one of these would lead to another folder. */
static bool is_dots(const char *value)
{
    return !strcmp(value, ".") || !strcmp(value, "..");
}

bool config_is_topic(const char *name)
{
    return is_name(name, 1, TOPIC_LIMIT) && !is_dots(name);
}

CONFIG_SETTER(config_set_name)
{
    if (!is_name(value, (size_t)key->min, (size_t)key->max))
        return error_set(why, "expected %lld to %lld of A-Z a-z 0-9 . _ -, not %s",
                         (long long)key->min, (long long)key->max, config_show(value).text);
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_path_part)
{
    if (is_dots(value))
        return error_set(why, "expected %lld to %lld of A-Z a-z 0-9 . _ - (not . or ..), not %s",
                         (long long)key->min, (long long)key->max, config_show(value).text);
    return config_set_name(key, value, field, why);
}

bool config_is_group(const char *id)
{
    bool good = *id && strlen(id) <= GROUP_LIMIT;
    for (const char *at = id; *at; at++)
        good = good && !iscntrl((unsigned char)*at);
    return good;
}

CONFIG_SETTER(config_set_group)
{
    (void)key;
    if (!config_is_group(value))
        return error_set(why,
                         "expected the id of a consumer group, 1 to %d bytes without control "
                         "characters, not %s",
                         GROUP_LIMIT, config_show(value).text);
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_topic)
{
    (void)key;
    if (!config_is_topic(value))
        return error_set(why,
                         "expected the name of a topic, 1 to %d of A-Z a-z 0-9 . _ - "
                         "(not . or ..), not %s",
                         TOPIC_LIMIT, config_show(value).text);
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_job_topic)
{
    return *value ? config_set_topic(key, value, field, why) : set_string(field, "", 0);
}

CONFIG_SETTER(config_set_credential)
{
    (void)key;
    size_t n = strlen(value);
    bool good = n >= 1 && n <= CREDENTIAL_LIMIT;
    for (size_t i = 0; i < n && good; i++)
        good = value[i] > ' ' && value[i] < 0x7f && value[i] != ':';
    if (!good)
        return error_set(why,
                         "expected 1 to %d printable ASCII characters without white space and "
                         "without ':' (which joins token, app id and timestamp in the signature)",
                         CREDENTIAL_LIMIT);
    return set_string(field, value, n);
}

/* Whether the port at text[0..n) is a number from `least` to 65535. */
static bool is_port(const char *text, size_t n, int64_t least)
{
    int64_t port;
    char digits[8];
    if (n < 1 || n > 5)
        return false;
    snprintf(digits, sizeof digits, "%.*s", (int)n, text);
    return digits[0] != '-' && !text_to_integer(digits, least, 65535, &port);
}

/* The length of the host at the start of text[0..n): a name, an IPv4 address, or an IPv6 address in
 * brackets; 0: there is none. */
static size_t host_length(const char *text, size_t n)
{
    size_t host = 0;
    if (n && text[0] == '[') {
        while (host < n && text[host] != ']')
            host++;
        if (host == n || host < 3 || strspn(text + 1, "0123456789abcdefABCDEF:.") < host - 1)
            return 0;
        host++;
    } else {
        while (host < n && text[host] != ':') {
            unsigned char c = (unsigned char)text[host++];
            if (c >= 0x80 || (!isalnum(c) && !strchr("._-", c)))
                return 0;
        }
    }
    return host;
}

/* host[:port] */
static bool is_authority(const char *text, size_t n)
{
    size_t host = host_length(text, n);
    if (!host || (host < n && text[host] != ':'))
        return false;
    return host == n || is_port(text + host + 1, n - host - 1, 1);
}

/* A path of segments that clients send unchanged: no dot segments, no empty ones. */
static bool is_prefix(const char *path, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)path[i];
        if (c == '%') {
            if (i + 2 >= n || !isxdigit((unsigned char)path[i + 1]) ||
                !isxdigit((unsigned char)path[i + 2]))
                return false;
        } else if (c >= 0x80 || (!isalnum(c) && !strchr("/-._~!$&'()*+,;=:@", c))) {
            return false;
        }
        if (c != '/')
            continue;
        size_t segment = 0;
        while (i + 1 + segment < n && path[i + 1 + segment] != '/')
            segment++;
        const char *start = path + i + 1;
        if (!segment || (segment == 1 && start[0] == '.') ||
            (segment == 2 && start[0] == '.' && start[1] == '.'))
            return false;
    }
    return true;
}

/* What is wrong with a platform URL. The text does not repeat the URL, which may contain a
 * password. */
static const char *url_fault(const char *url)
{
    bool secure = !strncasecmp(url, "https://", 8), plain = !strncasecmp(url, "http://", 7);
    if (!secure && !plain)
        return "it does not begin with https://";
    const char *authority = url + (secure ? 8 : 7);
    size_t n = strcspn(authority, "/?#"), end = strlen(authority);
    if (end > URL_LIMIT)
        return "it is too long";
    if (memchr(authority, '@', n))
        return "user information (before an @) has no place in it";
    if (strchr(authority, '?'))
        return "a query (after a ?) has no place in it";
    if (strchr(authority, '#'))
        return "a fragment (after a #) has no place in it";
    if (!is_authority(authority, n))
        return "its host or port is not one";
    while (end > n && authority[end - 1] == '/')
        end--;
    if (!is_prefix(authority + n, end - n))
        return "its path has a character or a segment that has no place in it";
    return NULL;
}

CONFIG_SETTER(config_set_url)
{
    (void)key;
    const char *fault = url_fault(value);
    if (fault)
        return error_set(why, "expected https://host[:port][/prefix]: %s", fault);
    size_t n = strlen(value);
    while (value[n - 1] == '/')
        n--;
    set_string(field, value, n);
    for (char *scheme = *(char **)field; *scheme != ':'; scheme++)
        *scheme = (char)tolower((unsigned char)*scheme);
    return 0;
}

/* Whether the worker can listen on the address shows at its start. */
CONFIG_SETTER(config_set_listen)
{
    (void)key;
    size_t n = strlen(value), host = host_length(value, n);
    if (n && (!host || host > HOST_LIMIT || value[host] != ':' ||
              !is_port(value + host + 1, n - host - 1, 0)))
        return error_set(why,
                         "expected host:port with a port from 0 to 65535 (0: a free one) and an "
                         "IPv6 address in brackets, or no value, not %s",
                         config_show(value).text);
    return set_string(field, value, n);
}

CONFIG_SETTER(config_set_http_hosts)
{
    (void)key;
    for (const char *at = value; *value;) {
        at += strspn(at, " \t");
        size_t n = strcspn(at, ","), used = n;
        while (used && strchr(" \t", at[used - 1]))
            used--;
        if (!used || used > HOST_LIMIT || !is_authority(at, used))
            return error_set(why,
                             "expected host names, each with a port or without, and commas between "
                             "them, or no value, not %s",
                             config_show(value).text);
        at += n;
        if (!*at++)
            break;
    }
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_zone)
{
    (void)key;
    const char *v = value;
    int minutes = -1;
    if (strlen(v) == 6 && strchr("+-", v[0]) && isdigit((unsigned char)v[1]) &&
        isdigit((unsigned char)v[2]) && v[3] == ':' && v[4] >= '0' && v[4] <= '5' &&
        isdigit((unsigned char)v[5]))
        minutes = ((v[1] - '0') * 10 + v[2] - '0') * 60 + (v[4] - '0') * 10 + v[5] - '0';
    if (minutes < 0 || minutes > (v[0] == '+' ? 14 : 12) * 60)
        return error_set(why, "expected an offset like +08:00, from -12:00 to +14:00, not %s",
                         config_show(value).text);
    *(int *)field = v[0] == '-' ? -minutes : minutes;
    return 0;
}

/* Such files must be regular: they are read again, also by libraries that would wait for ever for a
 * writer of a FIFO. */
static int read_pem(const char *path, struct text *content, struct error *why)
{
    struct stat status;
    if (!stat(path, &status) && !S_ISDIR(status.st_mode) && !config_is_regular(path))
        return error_set(why, "it is no regular file");
    return config_read_file(path, CA_LIMIT, content, why);
}

/* Finds a wrong or empty file. The certificates are loaded when TLS is set up. */
CONFIG_SETTER(config_set_ca_file)
{
    (void)key;
    char **path = field;
    if (!*value) {
        free(*path);
        *path = NULL;
        return 0;
    }
    struct text content = {0};
    int rc = read_pem(value, &content, why);
    if (rc < 0)
        error_prefix(why, "expected a readable PEM file, not %s: ", config_show(value).text);
    else if (!content.length || (!strstr(content.data, "-----BEGIN CERTIFICATE-----") &&
                                 !strstr(content.data, "-----BEGIN TRUSTED CERTIFICATE-----") &&
                                 !strstr(content.data, "-----BEGIN X509 CERTIFICATE-----")))
        rc = error_set(why, "expected a PEM file with a certificate, but %s holds none",
                       config_show(value).text);
    else
        set_string(field, value, strlen(value));
    text_fini(&content);
    return rc;
}

CONFIG_SETTER(config_set_key_file)
{
    (void)key;
    char **path = field;
    if (!*value) {
        free(*path);
        *path = NULL;
        return 0;
    }
    struct text content = {0};
    int rc = read_pem(value, &content, why);
    if (rc < 0)
        error_prefix(why, "expected a readable PEM file, not %s: ", config_show(value).text);
    else if (!content.length || !strstr(content.data, " PRIVATE KEY-----"))
        rc = error_set(why, "expected a PEM file with a private key, but %s holds none",
                       config_show(value).text);
    else
        set_string(field, value, strlen(value));
    if (content.data)
        memset(content.data, 0, content.length);
    text_fini(&content);
    return rc;
}

/* Whether OpenSSL knows the names shows when TLS is set up. */
CONFIG_SETTER(config_set_tls_groups)
{
    (void)key;
    char **groups = field;
    for (const char *c = value; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_-:?*/", *c))
            return error_set(why, "expected names of TLS groups with colons between them, not %s",
                             config_show(value).text);
    if (*value)
        return set_string(field, value, strlen(value));
    free(*groups);
    *groups = NULL;
    return 0;
}

CONFIG_SETTER(config_set_store)
{
    (void)key;
    char **path = field;
    struct stat status;
    if (!strcmp(value, "none")) {
        free(*path);
        *path = NULL;
        return 0;
    }
    if (!strncmp(value, "s3://", 5))
        return error_set(why, "expected none or a directory: a store in S3 is not part of this "
                              "version");
    if (!*value || stat(value, &status) < 0)
        return error_set(why, "expected none or a directory, not %s: %s", config_show(value).text,
                         strerror(*value ? errno : ENOENT));
    if (!S_ISDIR(status.st_mode))
        return error_set(why, "expected none or a directory, but %s is none",
                         config_show(value).text);
    if (access(value, W_OK | X_OK) < 0)
        return error_set(why, "expected a directory that can be written to, not %s: %s",
                         config_show(value).text, strerror(errno));
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_path)
{
    (void)key;
    if (*value && !recording_url_is_path(value))
        return error_set(why,
                         "expected names with dots between them and indexes in brackets, such as "
                         "data.url or files[0], not %s",
                         config_show(value).text);
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_hosts)
{
    (void)key;
    if (*value && !recording_url_are_hosts(value))
        return error_set(why,
                         "expected host names with commas between them, such as files.example.com "
                         "or *.example.com, not %s",
                         config_show(value).text);
    return set_string(field, value, strlen(value));
}

CONFIG_SETTER(config_set_flags)
{
    (void)key;
    struct integers list = {0};
    char *copy = memory_string(value), *rest = copy, *item;
    int rc = 0;
    size_t items = 1;
    for (const char *at = value; *at; at++)
        items += *at == ',';
    list.values = memory_zeroed(items, sizeof *list.values);
    while (*value && !rc && (item = strsep(&rest, ","))) {
        item += strspn(item, " \t");
        item[strcspn(item, " \t")] = '\0';
        int64_t *flag = &list.values[list.count++];
        rc = text_to_integer(item, INT64_MIN, INT64_MAX, flag);
        if (!rc && *flag == 1)
            rc = -1;
    }
    free(copy);
    if (rc < 0) {
        free(list.values);
        return error_set(why,
                         "expected integers with commas between them, and not 1, which is "
                         "success; not %s",
                         config_show(value).text);
    }
    free(((struct integers *)field)->values);
    *(struct integers *)field = list;
    return 0;
}

CONFIG_SETTER(config_set_log_level)
{
    (void)key;
    static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i]) != 0)
            continue;
        *(enum log_level *)field = LOG_TRACE + (enum log_level)i;
        return 0;
    }
    return error_set(why, "expected trace, debug, info, warn or error, not %s",
                     config_show(value).text);
}

CONFIG_SETTER(config_set_log_format)
{
    (void)key;
    bool text = !strcmp(value, "text");
    if (!text && strcmp(value, "json") != 0)
        return error_set(why, "expected json or text, not %s", config_show(value).text);
    *(enum log_format *)field = text ? LOG_TEXT : LOG_JSON;
    return 0;
}

CONFIG_SETTER(config_set_text)
{
    (void)key;
    (void)why;
    return set_string(field, value, strlen(value));
}
