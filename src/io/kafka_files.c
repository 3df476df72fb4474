#include "io/kafka_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/file_state.h"
#include "base/memory.h"
#include "io/kafka_internal.h"

enum {
    TRY_AGAIN_LOOKS = 10
}; /* a file that could not be used is tried again, even if no file has changed */

struct watched {
    const char *path;
    struct file_state seen;
    bool is_value; /* false: librdkafka reads the file itself */
};

struct running {
    rd_kafka_t *client;
    bool producer;
};

struct kafka_files {
    /* The pool's. */
    struct watched *watched;
    size_t watched_count;
    bool owed, failed; /* owed: a file that librdkafka reads has changed; failed: the content could
                          not be used */
    int looks;         /* since then */

    /* The pool writes it under the lock; others read it under the lock. */
    pthread_mutex_t lock;
    struct config now; /* the configuration with the values in force; the array and these values
                          belong to it */
    struct kafka_copies *copies; /* of the files in force that librdkafka reads itself */
    bool told;                   /* the credentials differ from the configuration's */
    struct running *running;
    size_t running_count;

    atomic_uint version; /* counts changes that need new clients */
};

static bool is_credential(const struct kafka_setting *setting)
{
    return !strcmp(setting->name, "sasl.username") || !strcmp(setting->name, "sasl.password");
}

static bool is_certificate(const struct kafka_setting *setting)
{
    return !strcmp(setting->name, "ssl.ca.pem") || !strcmp(setting->name, "ssl.certificate.pem");
}

static bool is_read_again(const struct kafka_setting *setting)
{
    return setting->path && (is_credential(setting) || is_certificate(setting) ||
                             kafka_setting_is_secret(setting->name));
}

/* A copy that owns the values that are read again. */
static struct config copy_config(const struct config *config)
{
    struct config copy = *config;
    copy.kafka = memory_zeroed(config->kafka_count + 1, sizeof *copy.kafka);
    for (size_t i = 0; i < config->kafka_count; i++) {
        copy.kafka[i] = config->kafka[i];
        if (is_read_again(&copy.kafka[i]))
            copy.kafka[i].value = memory_string(copy.kafka[i].value);
    }
    return copy;
}

static void release_config(struct config *copy)
{
    for (size_t i = 0; i < copy->kafka_count; i++)
        if (is_read_again(&copy->kafka[i]))
            free(copy->kafka[i].value);
    free(copy->kafka);
}

static void watch(struct kafka_files *files, const char *path, bool is_value)
{
    struct watched *watched = &files->watched[files->watched_count++];
    *watched = (struct watched){.path = path, .is_value = is_value};
    file_state_changed(&watched->seen, path);
}

struct kafka_files *kafka_files_new(const struct config *config)
{
    struct kafka_files *files = memory_zeroed(1, sizeof *files);
    pthread_mutex_init(&files->lock, NULL);
    files->now = copy_config(config);
    files->watched = memory_zeroed(config->kafka_count + 1, sizeof *files->watched);
    for (size_t i = 0; i < config->kafka_count; i++) {
        const struct kafka_setting *setting = &config->kafka[i];
        if (is_read_again(setting))
            watch(files, setting->path, true);
        else if (kafka_is_location(setting))
            watch(files, setting->value, false);
    }
    files->copies = kafka_copies_take(config);
    return files;
}

void kafka_files_free(struct kafka_files *files)
{
    if (!files)
        return;
    release_config(&files->now);
    kafka_copies_free(files->copies);
    pthread_mutex_destroy(&files->lock);
    free(files->watched);
    free(files->running);
    free(files);
}

/* Reads the credentials, or what else is read again. */
static int read_values(struct config *next, bool credentials, struct error *error)
{
    for (size_t i = 0; i < next->kafka_count; i++) {
        char *value;
        if (!is_read_again(&next->kafka[i]) || is_credential(&next->kafka[i]) != credentials)
            continue;
        if (config_read_setting(&next->kafka[i], &value, error) < 0)
            return -1;
        free(next->kafka[i].value);
        next->kafka[i].value = value;
    }
    return 0;
}

static bool differ(const struct config *one, const struct config *other, bool credentials)
{
    for (size_t i = 0; i < one->kafka_count; i++)
        if (is_credential(&one->kafka[i]) == credentials &&
            strcmp(one->kafka[i].value, other->kafka[i].value) != 0)
            return true;
    return false;
}

/* The caller holds the lock. A mechanism without a password answers with an error. */
static void tell(const struct kafka_files *files, const struct running *running)
{
    const struct kafka_setting *username =
        config_kafka_setting(&files->now, running->producer, "sasl.username");
    const struct kafka_setting *password =
        config_kafka_setting(&files->now, running->producer, "sasl.password");
    if (!username || !password)
        return;
    rd_kafka_error_t *error =
        rd_kafka_sasl_set_credentials(running->client, username->value, password->value);
    if (error)
        rd_kafka_error_destroy(error);
}

/* copies NULL: only the credentials are others. */
static void put_in_force(struct kafka_files *files, const struct config *next,
                         struct kafka_copies *copies)
{
    pthread_mutex_lock(&files->lock);
    struct config before = files->now;
    struct kafka_copies *copies_before = copies ? files->copies : NULL;
    files->now = *next;
    if (copies) {
        files->copies = copies;
        atomic_fetch_add(&files->version, 1);
    } else {
        files->told = true;
        for (size_t i = 0; i < files->running_count; i++)
            tell(files, &files->running[i]);
    }
    pthread_mutex_unlock(&files->lock);
    release_config(&before);
    kafka_copies_free(copies_before);
}

/* Whether it is time to read the files. */
static bool is_due(struct kafka_files *files)
{
    bool changed = false;
    for (size_t i = 0; i < files->watched_count; i++)
        if (file_state_changed(&files->watched[i].seen, files->watched[i].path)) {
            changed = true;
            files->owed |= !files->watched[i].is_value;
        }
    return changed || (files->failed && ++files->looks >= TRY_AGAIN_LOOKS);
}

/* Reads the credentials, which need no new clients. Returns whether others are in force now. */
static bool look_at_credentials(struct kafka_files *files, struct error *error)
{
    struct config next = copy_config(&files->now);
    bool failed = read_values(&next, true, error);
    bool changed = !failed && differ(&next, &files->now, true);
    files->failed |= failed;
    if (changed)
        put_in_force(files, &next, NULL);
    else
        release_config(&next);
    return changed;
}

/* Reads everything else. Returns whether clients have to be made anew. */
static bool look_at_others(struct kafka_files *files, struct error *error)
{
    struct config next = copy_config(&files->now);
    struct kafka_copies *copies = kafka_copies_take(&next);
    bool failed = read_values(&next, false, error) ||
                  kafka_try_settings(&next, copies, SIDE_CONSUMER, error) ||
                  kafka_try_settings(&next, copies, SIDE_PRODUCER, error);
    bool changed = !failed && (files->owed || differ(&next, &files->now, false));
    files->failed |= failed;
    if (changed) {
        put_in_force(files, &next, copies);
    } else {
        release_config(&next);
        kafka_copies_free(copies);
    }
    files->owed &= !changed;
    return changed;
}

const char *kafka_files_look(struct kafka_files *files, bool all, struct error *error)
{
    if (!files->watched_count || (!is_due(files) && !all))
        return NULL;
    files->looks = 0;
    files->failed = false;
    /* A certificate that is no use, or half written, must not hold up a new password. */
    struct error first = {""}, second = {""};
    bool credentials = look_at_credentials(files, &first);
    bool others = look_at_others(files, &second);
    if (*first.text || *second.text)
        error_set(error, "%s%s%s", first.text, *first.text && *second.text ? "; " : "",
                  second.text);
    return others        ? "Kafka's clients are made anew with them"
           : credentials ? "further connections to Kafka are made with the new user and password"
                         : NULL;
}

/* Called by the jobs' threads. */

rd_kafka_conf_t *kafka_settings_now(struct kafka *kafka, enum kafka_side side, unsigned *version,
                                    struct error *error)
{
    struct kafka_files *files = kafka->files;
    *version = 0;
    if (!files)
        return kafka_settings(kafka->config, kafka->job, side, error);
    pthread_mutex_lock(&files->lock);
    *version = atomic_load(&files->version);
    rd_kafka_conf_t *conf = kafka_settings(&files->now, kafka->job, side, error);
    pthread_mutex_unlock(&files->lock);
    return conf;
}

rd_kafka_t *kafka_client_now(struct kafka *kafka, rd_kafka_type_t type, rd_kafka_conf_t *conf,
                             struct error *error)
{
    struct kafka_files *files = kafka->files;
    if (!files)
        return kafka_client(type, conf, NULL, error);
    pthread_mutex_lock(&files->lock); /* the copies stay until the client has read them */
    rd_kafka_t *client = kafka_client(type, conf, files->copies, error);
    pthread_mutex_unlock(&files->lock);
    return client;
}

bool kafka_is_outdated(const struct kafka *kafka, unsigned version)
{
    return kafka->files && atomic_load(&kafka->files->version) != version;
}

void kafka_client_runs(struct kafka *kafka, enum kafka_side side, rd_kafka_t *client)
{
    struct kafka_files *files = kafka->files;
    if (!files || !client)
        return;
    pthread_mutex_lock(&files->lock);
    files->running =
        memory_resize(files->running, (files->running_count + 1) * sizeof *files->running);
    struct running *running = &files->running[files->running_count++];
    *running = (struct running){client, side == SIDE_PRODUCER};
    if (files->told) /* the credentials may have changed since the client's settings were read */
        tell(files, running);
    pthread_mutex_unlock(&files->lock);
}

void kafka_client_ends(struct kafka *kafka, const rd_kafka_t *client)
{
    struct kafka_files *files = kafka->files;
    if (!files)
        return;
    pthread_mutex_lock(&files->lock);
    for (size_t i = 0; i < files->running_count; i++)
        if (files->running[i].client == client)
            files->running[i--] = files->running[--files->running_count];
    pthread_mutex_unlock(&files->lock);
}
