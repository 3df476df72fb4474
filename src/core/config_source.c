#include "core/config_source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/config_kafka.h"
#include "core/config_keys.h"

enum { FILE_LIMIT = 1024 * 1024, KEY_LIMIT = 128, READ_LIMIT_MS = 2000 };

static const char prefix[] = "PRIVACY_CALL_";

/* The place of the setting that is being read. */
struct setting_place {
    enum config_source source;
    const char *origin;
};

static void add_visible(struct text *errors, const char *words, const char *end)
{
    text_visible(errors, words, strlen(words));
    text_add(errors, end);
}

void config_error(struct text *errors, const char *origin, const char *key, const char *format, ...)
{
    if (origin)
        add_visible(errors, origin, ": ");
    if (key)
        add_visible(errors, key, ": ");
    va_list args;
    char message[1024];
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    add_visible(errors, message, "\n");
}

void config_required(struct text *errors, const char *key)
{
    struct text variable = {0};
    config_variable_name(&variable, key);
    config_error(errors, NULL, key,
                 "required: expected it in the file, as %s, with -o, or in a file of its own that "
                 "%s.file names",
                 variable.data, key);
    text_fini(&variable);
}

/* Like read(2), but waits at most until then. Returns -1 with the reason. */
static ssize_t read_until(int fd, char *block, size_t size, int64_t until_ms, struct error *why)
{
    for (;;) {
        int64_t left = until_ms - clock_boot_ms();
        int ready = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, left > 0 ? (int)left : 0);
        ssize_t n = ready > 0 ? read(fd, block, size) : ready;
        if (ready > 0 && n >= 0)
            return n;
        if (!ready)
            return error_set(why, "nothing wrote it to its end within %d s", READ_LIMIT_MS / 1000);
        if (errno != EINTR && errno != EAGAIN)
            return error_set(why, "%s", strerror(errno));
    }
}

bool config_is_regular(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISREG(status.st_mode);
}

/* A FIFO that nobody writes to, or a device, has no end, and must not block the start. */
int config_read_file(const char *path, size_t limit, struct text *content, struct error *why)
{
    int64_t until_ms = clock_boot_ms() + READ_LIMIT_MS;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return error_set(why, "%s", strerror(errno));
    char block[16384];
    ssize_t n;
    while ((n = read_until(fd, block, sizeof block, until_ms, why)) > 0) {
        text_append(content, block, (size_t)n);
        if (content->length > limit)
            break;
    }
    close(fd);
    if (content->length > limit)
        return error_set(why, "longer than %zu bytes", limit);
    return n < 0 ? -1 : 0;
}

/* Keys are in lower case. Other text may be a part of a secret that lost its key, so the error does
 * not show it. */
static bool is_key(const char *text, size_t n)
{
    if (!n || n > KEY_LIMIT)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) &&
            text[i] != '.' && text[i] != '_' && text[i] != '-')
            return false;
    return true;
}

/* Resolves a written key to the key that it names (NULL: none), and whether it names a file with
 * the value. */
static char *resolve_key(const char *written, bool *from_file)
{
    *from_file = false;
    if (config_key_find(written))
        return memory_string(written);
    static const char suffix[] = ".file";
    size_t n = strlen(written), tail = sizeof suffix - 1;
    char *base = memory_string(written);
    if (n > tail && !strcmp(written + n - tail, suffix)) {
        base[n - tail] = '\0';
        *from_file = true;
    }
    if (config_key_find(base))
        return base;
    char *key = config_kafka_key(base);
    free(base);
    return key;
}

static void add_entry(struct config_sources *sources, struct setting_place place,
                      const char *written, const char *value, struct text *errors)
{
    bool from_file;
    char *key = resolve_key(written, &from_file);
    if (!key) {
        config_error(errors, place.origin, written,
                     "unknown key: expected one of those that --print-config lists, or kafka.NAME");
        return;
    }
    struct map *map = &sources->by_key[place.source];
    struct map_node *node = map_find(map, key, strlen(key));
    if (node) {
        const struct config_entry *other = (const struct config_entry *)node;
        config_error(errors, place.origin, written,
                     "given twice: expected it once in one source, but %s stands at %s too",
                     other->written, other->origin);
        free(key);
        return;
    }
    struct config_entry *entry = memory_zeroed(1, sizeof *entry);
    entry->source = place.source;
    entry->key = key;
    entry->from_file = from_file;
    entry->written = memory_string(written);
    entry->value = memory_string(value);
    entry->origin = memory_string(place.origin);
    map_add(map, &entry->node, entry->key, strlen(entry->key));
    *(sources->last ? &sources->last->next : &sources->first) = entry;
    sources->last = entry;
}

/* The part of text[0..n) without white space at its ends. */
static const char *trim(const char *text, size_t *n)
{
    while (*n && isspace((unsigned char)*text))
        text++, (*n)--;
    while (*n && isspace((unsigned char)text[*n - 1]))
        (*n)--;
    return text;
}

/* The length without a comment: a `#` that begins the text or follows white space. */
static size_t without_comment(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] == '#' && (!i || isspace((unsigned char)text[i - 1])))
            return i;
    return n;
}

static void read_line(struct config_sources *sources, struct setting_place place, const char *line,
                      size_t n, struct text *errors)
{
    if (memchr(line, '\0', n) || !text_is_utf8(line, n)) {
        config_error(errors, place.origin, NULL, "expected UTF-8 text without NUL");
        return;
    }
    n = without_comment(line, n);
    line = trim(line, &n);
    if (!n)
        return;
    const char *equals = memchr(line, '=', n);
    size_t key_size = equals ? (size_t)(equals - line) : 0;
    const char *key = trim(line, &key_size);
    if (!equals || !is_key(key, key_size)) {
        config_error(errors, place.origin, NULL,
                     "expected `key = value` with a key in lower case, or a comment after #");
        return;
    }
    size_t value_size = n - (size_t)(equals + 1 - line);
    const char *value = trim(equals + 1, &value_size);
    char *written = memory_copy(key, key_size), *copy = memory_copy(value, value_size);
    add_entry(sources, place, written, copy, errors);
    free(written);
    free(copy);
}

static void read_settings_file(struct config_sources *sources, const char *path,
                               struct text *errors)
{
    struct text content = {0}, origin = {0};
    struct error why;
    if (config_read_file(path, FILE_LIMIT, &content, &why) < 0) {
        config_error(errors, path, NULL, "expected a readable configuration file: %s", why.text);
        sources->incomplete = true;
        text_fini(&content);
        return;
    }
    text_append(&content, "\n", 1);
    const char *at = content.data, *end = at + content.length;
    if (content.length >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
        at += 3; /* a byte order mark */
    for (size_t number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        text_clear(&origin);
        text_printf(&origin, "%s:%zu", path, number);
        read_line(sources, (struct setting_place){SOURCE_FILE, origin.data}, at,
                  (size_t)(stop - at), errors);
        at = stop + 1;
    }
    text_fini(&content);
    text_fini(&origin);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Whether the name contains `_PORT_<number>_<protocol>`. */
static bool is_port_variable(const char *name)
{
    for (const char *at = name; (at = strstr(at, "_PORT_")); at++) {
        const char *digits = at + strlen("_PORT_");
        const char *after = digits + strspn(digits, "0123456789");
        if (after > digits && (!strncmp(after, "_TCP", 4) || !strncmp(after, "_UDP", 4) ||
                               !strncmp(after, "_SCTP", 5)))
            return true;
    }
    return false;
}

/* Kubernetes puts variables for each Service into every container. If the name of a Service begins
 * with privacy-call, they have our prefix. */
static bool is_kubernetes_variable(const char *name)
{
    return ends_with(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") ||
           ends_with(name, "_PORT") || is_port_variable(name);
}

void config_variable_name(struct text *name, const char *key)
{
    text_add(name, prefix);
    for (; *key; key++) {
        char c = *key == '.' ? '_' : (char)toupper((unsigned char)*key);
        text_append(name, &c, 1);
        if (*key == '_')
            text_append(name, &c, 1);
    }
}

/* The key of a variable's name (without the prefix); NULL: there is none. */
static char *key_of_variable(const char *name)
{
    struct text key = {0};
    for (const char *at = name; *at; at++) {
        char c = (char)tolower((unsigned char)*at);
        if (islower((unsigned char)*at))
            c = '\0'; /* names are in upper case */
        if (*at == '_' && at[1] == '_')
            at++;
        else if (*at == '_')
            c = '.';
        text_append(&key, &c, 1);
    }
    if (is_key(key.data ? key.data : "", key.length))
        return text_take(&key);
    text_fini(&key);
    return NULL;
}

static void read_variable(struct config_sources *sources, const char *variable, struct text *errors)
{
    const char *equals = strchr(variable, '=');
    if (strncmp(variable, prefix, sizeof prefix - 1) != 0 || !equals)
        return;
    char *name = memory_copy(variable, (size_t)(equals - variable));
    char *key = NULL;
    struct text origin = {0};
    if (is_kubernetes_variable(name))
        goto done;
    text_printf(&origin, "environment variable %s", name);
    key = key_of_variable(name + sizeof prefix - 1);
    if (!key)
        config_error(errors, text_is_utf8(name, strlen(name)) ? origin.data : prefix, NULL,
                     "unknown variable: expected a key in upper case after %s", prefix);
    else if (!text_is_utf8(equals + 1, strlen(equals + 1)))
        config_error(errors, origin.data, key, "expected UTF-8");
    else
        add_entry(sources, (struct setting_place){SOURCE_ENVIRONMENT, origin.data}, key, equals + 1,
                  errors);
done:
    text_fini(&origin);
    free(key);
    free(name);
}

static void read_option(struct config_sources *sources, const char *option, size_t number,
                        struct text *errors)
{
    const char *equals = strchr(option, '=');
    if (!equals || !is_key(option, (size_t)(equals - option))) {
        config_error(errors, "option -o", NULL,
                     "number %zu: expected KEY=VALUE with a key in lower case", number);
        return;
    }
    char *key = memory_copy(option, (size_t)(equals - option));
    if (!text_is_utf8(equals + 1, strlen(equals + 1)))
        config_error(errors, "option -o", key, "expected UTF-8");
    else
        add_entry(sources, (struct setting_place){SOURCE_OPTION, "option -o"}, key, equals + 1,
                  errors);
    free(key);
}

void config_sources_read(struct config_sources *sources, const struct config_input *input,
                         struct text *errors)
{
    *sources = (struct config_sources){0};
    for (size_t i = 0; i < CONFIG_SOURCES; i++)
        map_init(&sources->by_key[i]);
    if (input->file)
        read_settings_file(sources, input->file, errors);
    for (char *const *at = input->environment; at && *at; at++)
        read_variable(sources, *at, errors);
    for (size_t i = 0; i < input->option_count; i++)
        read_option(sources, input->options[i], i + 1, errors);
}

void config_sources_fini(struct config_sources *sources)
{
    for (size_t i = 0; i < CONFIG_SOURCES; i++)
        map_fini(&sources->by_key[i]);
    while (sources->first) {
        struct config_entry *entry = sources->first;
        sources->first = entry->next;
        free(entry->key);
        free(entry->written);
        free(entry->value);
        free(entry->origin);
        free(entry);
    }
}

const struct config_entry *config_sources_find(const struct config_sources *sources,
                                               const char *key)
{
    for (size_t i = CONFIG_SOURCES; i-- > 0;) {
        struct map_node *node = map_find(&sources->by_key[i], key, strlen(key));
        if (node)
            return (const struct config_entry *)node;
    }
    return NULL;
}

int config_entry_value(const struct config_entry *entry, bool secret, char **value,
                       struct error *why)
{
    if (!entry->from_file) {
        *value = memory_string(entry->value);
        return 0;
    }
    struct text content = {0}, path = {0};
    int rc = config_read_file(entry->value, FILE_LIMIT, &content, why);
    if (rc < 0) {
        /* The path of a secret's file may be the secret itself, under the wrong key. */
        if (!secret)
            text_json_visible(&path, entry->value, strlen(entry->value));
        error_prefix(why, "expected a readable file%s%s: ", secret ? "" : " at ",
                     secret ? "" : path.data);
    } else if (content.length && (memchr(content.data, '\0', content.length) ||
                                  !text_is_utf8(content.data, content.length))) {
        rc = error_set(why, "expected a file with UTF-8 text without NUL");
    } else {
        if (content.length && content.data[content.length - 1] == '\n') {
            content.length--;
            content.length -= content.length && content.data[content.length - 1] == '\r';
            content.data[content.length] = '\0';
        }
        *value = text_take(&content);
    }
    text_fini(&content);
    text_fini(&path);
    return rc;
}

const char *config_entry_label(const struct config_entry *entry)
{
    return entry->source == SOURCE_FILE          ? entry->origin
           : entry->source == SOURCE_ENVIRONMENT ? "environment"
                                                 : "command line";
}
