/* The sandbox program: the embedded Kafka broker and the simulated platform in one process. The
 * main thread reads the command line, starts the two (each has a thread of its own) and waits for a
 * signal. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "sandbox/address.h"
#include "sandbox/broker/broker.h"
#include "sandbox/platform/faults.h"
#include "sandbox/platform/platform.h"

enum { EXIT_USAGE = 2, UTC_OFFSET_MINUTES = 480 };

static const char usage[] =
    "usage: privacy-call-sandbox [OPTION]...\n"
    "A local Kafka broker and a simulated privacy-call platform in one process.\n"
    "  --kafka ADDR:PORT        where the broker listens [127.0.0.1:0; port 0 picks a free one]\n"
    "  --platform ADDR:PORT     where the platform listens (HTTPS) [127.0.0.1:0]\n"
    "  --no-kafka --no-platform start only the other one\n"
    "  --topic NAME:PARTITIONS  a topic of the broker, repeatable [the worker's five topics]\n"
    "  --fault SPEC             a fault of the platform, repeatable; see below\n"
    "  --seed N                 makes the percentages reproducible [1]\n"
    "  --log FILE               one JSON line for each POST and file asked for, on arrival "
    "(numbers stand in it in full)\n"
    "  --ca FILE                where the CA's certificate is written [a new file in TMPDIR]; its "
    "key\n"
    "                           stands in FILE.key, and the next start uses both again\n"
    "  --name HOST              a further name in the platform's certificate, repeatable\n"
    "  --token TOKEN            the credentials that the platform expects\n"
    "  --app-id ID              [" PLATFORM_TOKEN ",\n"
    "                           " PLATFORM_APP_ID "]\n"
    "  --version-path VERSION   SoftVersion, the first part of the path [" PLATFORM_VERSION "]\n"
    "  --utc-offset +HH:MM      zone of the signed timestamp [+08:00]\n"
    "  --any-timestamp          do not ask that the timestamp is near now\n"
    "  --help --version\n"
    "\n"
    "When both are ready two lines are printed:\n"
    "    kafka 127.0.0.1:NNNN\n"
    "    platform https://127.0.0.1:NNNN /path/of/ca.pem\n"
    "SIGTERM and SIGINT end it with 0; SIGUSR1 lifts all faults.\n"
    "\n"
    "On the platform's own port, without credentials:\n"
    "    GET /sandbox/stats     what was counted, as JSON; DELETE sets it to zero\n"
    "    GET /sandbox/faults    the faults in force; POST replaces them by the SPEC in the body,\n"
    "                           PATCH adds to them, DELETE lifts them\n"
    "\n";

/* What the command line says. The arrays end in NULL. */
struct settings {
    struct sandbox_platform_options platform;
    struct broker_options broker;
    struct broker_topic_spec *topics;
    const char **faults, **names;
    size_t fault_count, name_count;
    bool no_kafka, no_platform;
};

static void settings_fini(struct settings *settings)
{
    for (size_t i = 0; i < settings->broker.topic_count; i++)
        free((char *)settings->topics[i].name);
    free(settings->topics);
    free(settings->faults);
    free(settings->names);
}

static void add_string(const char ***strings, size_t *count, const char *string)
{
    *strings = memory_resize(*strings, (*count + 2) * sizeof(char *));
    (*strings)[(*count)++] = string;
    (*strings)[*count] = NULL;
}

static void add_topic(struct settings *settings, const char *name, int32_t partitions)
{
    size_t *count = &settings->broker.topic_count;
    settings->topics = memory_resize(settings->topics, (*count + 1) * sizeof *settings->topics);
    settings->topics[(*count)++] = (struct broker_topic_spec){name, partitions};
    settings->broker.topics = settings->topics;
}

static int read_topic(struct settings *settings, const char *text)
{
    const char *colon = strrchr(text, ':');
    int64_t partitions;
    if (!colon || text_to_integer(colon + 1, 1, INT32_MAX, &partitions))
        return -1;
    char *name = memory_copy(text, (size_t)(colon - text));
    bool valid = broker_topic_valid(name, partitions);
    if (valid)
        add_topic(settings, name, (int32_t)partitions);
    else
        free(name);
    return valid ? 0 : -1;
}

static void add_default_topics(struct settings *settings)
{
    static const struct broker_topic_spec topics[] = {
        {"call-requests", 4},
        {"call-results", 4},
        {"recording-requests", 4},
        {"recording-results", 4},
        {"privacy-call-dead-letters", 1},
    };
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        add_topic(settings, memory_string(topics[i].name), topics[i].partitions);
}

/* "+08:00" as minutes. */
static int read_offset(const char *text, int *minutes)
{
    if (strlen(text) != 6 || !strchr("+-", text[0]) || text[3] != ':')
        return -1;
    char hour[] = {text[1], text[2], '\0'};
    int64_t hours, rest;
    if (text_to_integer(hour, 0, 14, &hours) || text_to_integer(text + 4, 0, 59, &rest))
        return -1;
    *minutes = (int)(hours * 60 + rest) * (text[0] == '-' ? -1 : 1);
    return 0;
}

enum option_code {
    OPTION_KAFKA = 256,
    OPTION_PLATFORM,
    OPTION_NO_KAFKA,
    OPTION_NO_PLATFORM,
    OPTION_TOPIC,
    OPTION_FAULT,
    OPTION_SEED,
    OPTION_LOG,
    OPTION_CA,
    OPTION_NAME,
    OPTION_TOKEN,
    OPTION_APP_ID,
    OPTION_VERSION_PATH,
    OPTION_UTC_OFFSET,
    OPTION_ANY_TIMESTAMP,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option options[] = {
    {"kafka", required_argument, NULL, OPTION_KAFKA},
    {"platform", required_argument, NULL, OPTION_PLATFORM},
    {"no-kafka", no_argument, NULL, OPTION_NO_KAFKA},
    {"no-platform", no_argument, NULL, OPTION_NO_PLATFORM},
    {"topic", required_argument, NULL, OPTION_TOPIC},
    {"fault", required_argument, NULL, OPTION_FAULT},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"log", required_argument, NULL, OPTION_LOG},
    {"ca", required_argument, NULL, OPTION_CA},
    {"name", required_argument, NULL, OPTION_NAME},
    {"token", required_argument, NULL, OPTION_TOKEN},
    {"app-id", required_argument, NULL, OPTION_APP_ID},
    {"version-path", required_argument, NULL, OPTION_VERSION_PATH},
    {"utc-offset", required_argument, NULL, OPTION_UTC_OFFSET},
    {"any-timestamp", no_argument, NULL, OPTION_ANY_TIMESTAMP},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

/* Sets an option that is a switch or a plain string. Returns whether it is one. */
static bool set_plain(struct settings *settings, int option)
{
    struct sandbox_platform_options *platform = &settings->platform;
    const char **string = option == OPTION_KAFKA          ? &settings->broker.address
                          : option == OPTION_PLATFORM     ? &platform->address
                          : option == OPTION_LOG          ? &platform->record_file
                          : option == OPTION_CA           ? &platform->ca_file
                          : option == OPTION_TOKEN        ? &platform->token
                          : option == OPTION_APP_ID       ? &platform->app_id
                          : option == OPTION_VERSION_PATH ? &platform->version
                                                          : NULL;
    bool *flag = option == OPTION_NO_KAFKA        ? &settings->no_kafka
                 : option == OPTION_NO_PLATFORM   ? &settings->no_platform
                 : option == OPTION_ANY_TIMESTAMP ? &platform->any_timestamp
                                                  : NULL;
    if (string)
        *string = optarg;
    if (flag)
        *flag = true;
    return string || flag;
}

static int set(struct settings *settings, int option)
{
    int64_t seed;
    if (set_plain(settings, option))
        return 0;
    switch (option) {
    case OPTION_TOPIC:
        return read_topic(settings, optarg);
    case OPTION_FAULT:
        add_string(&settings->faults, &settings->fault_count, optarg);
        return 0;
    case OPTION_NAME:
        add_string(&settings->names, &settings->name_count, optarg);
        return 0;
    case OPTION_SEED:
        if (text_to_integer(optarg, 0, INT64_MAX, &seed))
            return -1;
        settings->platform.seed = (uint64_t)seed;
        return 0;
    case OPTION_UTC_OFFSET:
        return read_offset(optarg, &settings->platform.utc_offset_minutes);
    default:
        return -1;
    }
}

static int check_addresses(const struct settings *settings, struct error *error)
{
    const char *kafka = settings->broker.address, *platform = settings->platform.address;
    struct sandbox_address address;
    if (kafka && sandbox_address_split(&address, kafka, error))
        return error_prefix(error, "--kafka: ");
    if (platform && sandbox_address_split(&address, platform, error))
        return error_prefix(error, "--platform: ");
    return 0;
}

static int check_topics(const struct settings *settings, struct error *error)
{
    const struct broker_topic_spec *topics = settings->topics;
    for (size_t i = 0; i < settings->broker.topic_count; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(topics[i].name, topics[j].name))
                return error_set(error, "--topic: %s is given twice", topics[i].name);
    return 0;
}

static int check_faults(const struct settings *settings, struct error *error)
{
    struct sandbox_faults faults;
    int result = 0;
    sandbox_faults_init(&faults, 0);
    for (size_t i = 0; i < settings->fault_count && !result; i++)
        result = sandbox_faults_add(&faults, settings->faults[i], error);
    sandbox_faults_fini(&faults);
    return result;
}

/* Bad usage is found before anything starts. */
static int check(const struct settings *settings)
{
    struct error error;
    if (!check_addresses(settings, &error) && !check_topics(settings, &error) &&
        !check_faults(settings, &error))
        return 0;
    fprintf(stderr, "privacy-call-sandbox: %s\n", error.text);
    return -1;
}

/* Returns -1: go on; otherwise the exit status. */
static int read_command_line(struct settings *settings, int argc, char **argv)
{
    int option, index = 0;
    /* No other thread has started yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (option == OPTION_HELP) {
            printf("%s%s", usage, sandbox_faults_help);
            return EXIT_SUCCESS;
        }
        if (option == OPTION_VERSION) {
            puts("privacy-call-sandbox " PCW_VERSION);
            return EXIT_SUCCESS;
        }
        if (option == '?')
            return EXIT_USAGE;
        if (set(settings, option)) {
            fprintf(stderr, "privacy-call-sandbox: --%s: \"%s\" is malformed\n",
                    options[index].name, optarg);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "privacy-call-sandbox: \"%s\" is not expected\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (settings->no_kafka && settings->no_platform) {
        fputs("privacy-call-sandbox: with --no-kafka and --no-platform nothing is left\n", stderr);
        return EXIT_USAGE;
    }
    return check(settings) ? EXIT_USAGE : -1;
}

static int start(const struct settings *settings, struct broker **broker,
                 struct sandbox_platform **platform, struct error *error)
{
    if (!settings->no_kafka) {
        *broker = broker_new(&settings->broker, error);
        if (!*broker)
            return error_prefix(error, "the broker did not start: ");
        log_warn("the embedded broker is no Kafka: it keeps everything in memory, on one node and "
                 "without replicas, forgets it all at its end, and drops the oldest records of a "
                 "partition that has grown too large");
    }
    if (!settings->no_platform) {
        *platform = sandbox_platform_new(&settings->platform, error);
        if (!*platform)
            return error_prefix(error, "the platform did not start: ");
    }
    if (*broker)
        printf("kafka %s\n", broker_address(*broker));
    if (*platform)
        printf("platform %s %s\n", sandbox_platform_address(*platform),
               sandbox_platform_ca_file(*platform));
    fflush(stdout);
    return 0;
}

static void wait_for_end(const sigset_t *signals, struct sandbox_platform *platform)
{
    int signal = 0;
    while (sigwait(signals, &signal) || signal == SIGUSR1)
        if (signal == SIGUSR1 && platform)
            sandbox_platform_lift_faults(platform);
}

/* SIGTERM and SIGINT end the sandbox, and SIGUSR1 lifts the faults. Other signals, which may be
 * meant for a worker in the same process group, are ignored. Called before any other thread starts.
 */
static void prepare_signals(sigset_t *signals)
{
    static const int ignored[] = {SIGHUP, SIGQUIT, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

/* Each connection needs a file descriptor. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int serve(struct settings *settings, const sigset_t *signals)
{
    struct error error;
    struct broker *broker = NULL;
    struct sandbox_platform *platform = NULL;
    allow_descriptors();
    int result = start(settings, &broker, &platform, &error);
    if (result)
        log_error("%s", error.text);
    else
        wait_for_end(signals, platform);
    sandbox_platform_free(platform);
    broker_free(broker);
    return result ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .platform = {.seed = 1, .utc_offset_minutes = UTC_OFFSET_MINUTES},
    };
    sigset_t signals;
    prepare_signals(&signals);
    log_setup(LOG_INFO, LOG_TEXT, NULL);
    int status = read_command_line(&settings, argc, argv);
    if (!settings.broker.topic_count)
        add_default_topics(&settings);
    settings.platform.fault_specs = settings.faults;
    settings.platform.names = settings.names;
    if (status < 0)
        status = serve(&settings, &signals);
    settings_fini(&settings);
    return status;
}
