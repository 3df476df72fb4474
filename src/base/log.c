#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_recent.h"
#include "base/text.h"

static struct {
    enum log_level level;
    enum log_format format;
    char instance[72];
} logger = {.level = LOG_INFO, .format = LOG_JSON};

static const char *const level_names[] = {"trace", "debug", "info", "warn", "error"};

void log_setup(enum log_level level, enum log_format format, const char *instance)
{
    logger.level = level;
    logger.format = format;
    snprintf(logger.instance, sizeof logger.instance, "%s", instance ? instance : "");
}

bool log_enabled(enum log_level level)
{
    return level >= logger.level;
}

static void add_member(struct text *line, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    text_printf(line, ",\"%s\":", name);
    text_json_visible(line, value, strlen(value));
}

static void write_json(struct text *line, enum log_level level, const struct log_about *about,
                       const char *message)
{
    char now[CLOCK_TEXT_SIZE];
    clock_to_text(now, clock_wall_ms());
    text_printf(line, "{\"@timestamp\":\"%s\",\"log.level\":\"%s\",\"message\":", now,
                level_names[level]);
    text_json_visible(line, message, strlen(message));
    add_member(line, "service.instance.id", logger.instance);
    if (about && about->topic) {
        add_member(line, "kafka.topic", about->topic);
        text_printf(line, ",\"kafka.partition\":%d", about->partition);
        if (about->offset >= 0)
            text_printf(line, ",\"kafka.offset\":%lld", (long long)about->offset);
    }
    if (about) {
        add_member(line, "order.id", about->order_id);
        add_member(line, "trace.id", about->trace_id);
    }
    text_add(line, ",\"ecs.version\":\"8.11.0\"}\n");
}

static void write_text(struct text *line, enum log_level level, const struct log_about *about,
                       const char *message)
{
    char now[CLOCK_TEXT_SIZE];
    clock_to_text(now, clock_wall_ms());
    text_printf(line, "%s %-5s ", now, level_names[level]);
    text_visible(line, message, strlen(message));
    if (about && about->topic) {
        text_add(line, " [");
        text_visible(line, about->topic, strlen(about->topic));
        text_printf(line, "/%d", about->partition);
        if (about->offset >= 0)
            text_printf(line, "/%lld", (long long)about->offset);
        text_add(line, "]");
    }
    if (about && about->order_id && *about->order_id) {
        text_add(line, " order ");
        text_json_visible(line, about->order_id, strlen(about->order_id));
    }
    text_add(line, "\n");
}

/* Formats the message into the buffer. A message that is too long is cut between two characters. */
__attribute__((format(printf, 3, 0))) static void format_message(char *buffer, size_t size,
                                                                 const char *format, va_list args)
{
    int n = vsnprintf(buffer, size, format, args);
    if (n < 0 || (size_t)n < size)
        return;
    size_t end = size - 1;
    while (end && (buffer[end - 1] & 0xc0) == 0x80)
        end--;
    if (end && (buffer[end - 1] & 0xc0) == 0xc0)
        end--;
    buffer[end] = '\0';
}

/* ---- standard error. When it accepts nothing for a while (the reader of a pipe hangs, a terminal
 * is stopped), log lines are lost, but calls go on. */

enum {
    WRITE_TIMEOUT_MS = 1000,
    PIECE = 4096 /* a pipe that is ready accepts that many bytes at once */
};

static struct {
    pthread_mutex_t lock;
    uint64_t lost; /* lines since one was last written; above 0, writes do not wait */
    bool cut;      /* only a part of the last line was written */
} output = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Returns how many bytes were written. Bytes that can never be written (standard error is closed)
 * count as written. */
static size_t write_bytes(const char *bytes, size_t n, int timeout_ms)
{
    size_t done = 0;
    while (done < n) {
        struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
        int rc = poll(&ready, 1, timeout_ms);
        if (rc == 0 || (rc < 0 && errno != EINTR))
            return done;
        size_t piece = n - done < PIECE ? n - done : PIECE;
        ssize_t written = rc < 0 ? 0 : write(STDERR_FILENO, bytes + done, piece);
        if (written < 0 && errno == EAGAIN)
            return done;
        if (written < 0 && errno != EINTR)
            return n;
        done += written > 0 ? (size_t)written : 0;
    }
    return n;
}

static void report_lost_lines(void)
{
    char message[128];
    struct text line = {0};
    snprintf(message, sizeof message,
             "standard error took nothing for a while; lines that were lost: %" PRIu64,
             output.lost);
    if (logger.format == LOG_JSON)
        write_json(&line, LOG_WARN, NULL, message);
    else
        write_text(&line, LOG_WARN, NULL, message);
    if (write_bytes(line.data, line.length, 0) == line.length)
        output.lost = 0;
    text_fini(&line);
}

static void write_line(const char *line, size_t n)
{
    int timeout_ms = output.lost ? 0 : WRITE_TIMEOUT_MS;
    if (output.cut && write_bytes("\n", 1, timeout_ms))
        output.cut = false;
    if (output.lost && !output.cut)
        report_lost_lines();
    size_t done = output.cut || output.lost ? 0 : write_bytes(line, n, timeout_ms);
    if (done < n) {
        output.cut = output.cut || done;
        output.lost++;
    }
}

void log_write(enum log_level level, const struct log_about *about, const char *format, ...)
{
    if (!log_enabled(level) && level < LOG_WARN)
        return;
    struct text line = {0};
    char buffer[2048];
    va_list args;
    va_start(args, format);
    format_message(buffer, sizeof buffer, format, args);
    va_end(args);
    if (level >= LOG_WARN)
        log_recent_add(level, about, buffer, clock_wall_ms());
    if (!log_enabled(level))
        return;
    if (logger.format == LOG_JSON)
        write_json(&line, level, about, buffer);
    else
        write_text(&line, level, about, buffer);
    pthread_mutex_lock(&output.lock);
    write_line(line.data, line.length);
    pthread_mutex_unlock(&output.lock);
    text_fini(&line);
}

void log_fatal(const char *message)
{
    char now[CLOCK_TEXT_SIZE], plain[600], line[1024];
    size_t n = 0;
    for (; n < sizeof plain - 1 && message[n]; n++) {
        bool unprintable = message[n] < ' ' || message[n] > '~' || strchr("\"\\", message[n]);
        plain[n] = unprintable ? '\'' : message[n];
    }
    plain[n] = '\0';
    clock_to_text(now, clock_wall_ms());
    int length = logger.format == LOG_TEXT
                     ? snprintf(line, sizeof line, "%s fatal %s\n", now, plain)
                     : snprintf(line, sizeof line,
                                "{\"@timestamp\":\"%s\",\"log.level\":\"fatal\",\"message\":\"%s\","
                                "\"service.instance.id\":\"%s\",\"ecs.version\":\"8.11.0\"}\n",
                                now, plain, logger.instance);
    write_bytes(line, (size_t)length, WRITE_TIMEOUT_MS);
}
