/* Copies of the files that librdkafka reads itself, in memory. librdkafka reads such a file
 * whenever a client is made, so a file that is half written just then would hold back a takeover.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "core/config_source.h"
#include "io/kafka_files.h"
#include "io/kafka_settings.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3 */
#endif

enum {
    NAME_SIZE = 32,
    COPY_MAX = 16 * 1024 * 1024, /* copies take memory, and certificates are far smaller */
};

struct copy {
    char *path;
    int fd;
    char name[NAME_SIZE]; /* the path of the copy */
};

struct kafka_copies {
    struct copy *copy;
    size_t count;
};

const char *const kafka_locations[] = {"ssl.ca.location",  "ssl.certificate.location",
                                       "ssl.key.location", "ssl.keystore.location",
                                       "ssl.crl.location", NULL};

bool kafka_is_location(const struct kafka_setting *setting)
{
    for (const char *const *name = kafka_locations; *name; name++)
        if (!strcmp(setting->name, *name))
            return *setting->value;
    return false;
}

size_t kafka_files_copied(const struct config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->kafka_count; i++)
        count += kafka_is_location(&config->kafka[i]);
    return 2 * count;
}

static int new_memory_file(void)
{
    int fd = memfd_create("kafka-file", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    return fd < 0 && errno == EINVAL ? memfd_create("kafka-file", MFD_CLOEXEC) : fd;
}

/* The kernel copies: no buffer of this process keeps a private key. */
static bool copy_content(int from, int to)
{
    size_t left = COPY_MAX;
    ssize_t n = 1;
    while (left && (n = sendfile(to, from, NULL, left)) > 0)
        left -= (size_t)n;
    return left && !n;
}

/* Returns the copy, or -1: a folder, for example, is not copied. */
static int copy_file(const char *path)
{
    int from =
        config_is_regular(path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    if (from < 0)
        return -1;
    int to = new_memory_file();
    if (to >= 0 && !copy_content(from, to)) {
        close(to);
        to = -1;
    }
    close(from);
    return to;
}

struct kafka_copies *kafka_copies_take(const struct config *config)
{
    struct kafka_copies *copies = memory_zeroed(1, sizeof *copies);
    copies->copy = memory_zeroed(config->kafka_count + 1, sizeof *copies->copy);
    for (size_t i = 0; i < config->kafka_count; i++) {
        const struct kafka_setting *setting = &config->kafka[i];
        int fd = kafka_is_location(setting) ? copy_file(setting->value) : -1;
        if (fd < 0)
            continue;
        struct copy *copy = &copies->copy[copies->count++];
        copy->path = memory_string(setting->value);
        copy->fd = fd;
        snprintf(copy->name, sizeof copy->name, "/proc/self/fd/%d", fd);
        int again = open(copy->name, O_RDONLY | O_CLOEXEC);
        if (again >= 0) {
            close(again);
        } else { /* no /proc, or a security module forbids it */
            close(fd);
            free(copy->path);
            copies->count--;
        }
    }
    return copies;
}

void kafka_copies_free(struct kafka_copies *copies)
{
    if (!copies)
        return;
    for (size_t i = 0; i < copies->count; i++) {
        close(copies->copy[i].fd);
        free(copies->copy[i].path);
    }
    free(copies->copy);
    free(copies);
}

void kafka_copies_use(const struct kafka_copies *copies, rd_kafka_conf_t *conf)
{
    for (const char *const *location = kafka_locations; copies && *location; location++) {
        char path[4096];
        size_t size = sizeof path;
        if (rd_kafka_conf_get(conf, *location, path, &size) != RD_KAFKA_CONF_OK)
            continue;
        for (size_t i = 0; i < copies->count; i++)
            if (!strcmp(path, copies->copy[i].path))
                kafka_setting_must(conf, *location, copies->copy[i].name);
    }
}

/* The copy whose path the words begin with; NULL: none. */
static const struct copy *copy_at(const struct kafka_copies *copies, const char *words)
{
    for (size_t i = 0; copies && i < copies->count; i++) {
        size_t n = strlen(copies->copy[i].name);
        if (!strncmp(words, copies->copy[i].name, n) && !text_is_digit(words[n]))
            return &copies->copy[i];
    }
    return NULL;
}

void kafka_copies_say(const struct kafka_copies *copies, const char *words, struct text *out)
{
    for (const struct copy *copy; *words; words += copy ? strlen(copy->name) : 1) {
        copy = copy_at(copies, words);
        text_append(out, copy ? copy->path : words, copy ? strlen(copy->path) : 1);
    }
}
