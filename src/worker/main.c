/* The worker's program: reads command line and configuration, prepares the process, and runs the
 * worker. */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fatal.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/config.h"
#include "core/config_source.h"
#include "core/hash_functions.h"
#include "io/kafka.h"
#include "io/kafka_files.h"
#include "io/platform.h"
#include "worker/ledger_command.h"
#include "worker/options.h"
#include "worker/redrive_command.h"
#include "worker/stop.h"
#include "worker/worker.h"

enum { STATUS_STOPPED = 0, STATUS_FAILED = 1, STATUS_BAD_USAGE = 2 };

/* If a standard stream is closed, the next file or connection would get its number, and the log
 * would be written into that. */
static void open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            _exit(STATUS_FAILED);
}

/* Writes the text to standard output. Returns the exit status. */
static int put(struct text *text)
{
    fwrite(text->data, 1, text->length, stdout);
    if (fflush(stdout) == 0)
        return STATUS_STOPPED;
    perror("privacy-call-worker: standard output");
    return STATUS_FAILED;
}

/* Whether the certificates and the client's private key can be used. The error begins with the
 * configuration key. */
static int check_certificates(const struct config *config, struct text *errors)
{
    struct error error;
    struct platform_trust *trust = platform_trust_load(config, &error);
    if (!trust) {
        char *key = memory_copy(error.text, strcspn(error.text, ":"));
        config_error(errors, config_origin(config, key), NULL, "%s", error.text);
        free(key);
    }
    platform_trust_release(trust);
    return trust ? 0 : -1;
}

/* Whether OpenSSL has what the worker cannot do without. Called after Kafka's settings, which may
 * load providers. */
static int check_openssl(struct text *errors)
{
    struct error error;
    if (!hash_functions_check(&error) && !platform_check_tls(&error))
        return 0;
    config_error(errors, NULL, NULL, "%s", error.text);
    return -1;
}

/* Reads and checks the configuration; prints every error. Returns 0 or -1. */
static int load(struct config *config, const struct options *options)
{
    struct config_input input = {
        .file = options->file,
        .options = options->settings,
        .option_count = options->setting_count,
        .environment = environ,
        .log_is_terminal = isatty(STDERR_FILENO),
    };
    struct text errors = {0};
    int rc = config_load(config, &input, &errors);
    if (!rc) /* the following steps may log */
        log_setup(config->log_level, config->log_format, config->instance_id);
    kafka_fit_settings(config);
    if (kafka_check_settings(config, &errors) < 0)
        rc = -1;
    if (check_openssl(&errors) < 0 || check_certificates(config, &errors) < 0)
        rc = -1;
    if (errors.length)
        fwrite(errors.data, 1, errors.length, stderr);
    text_fini(&errors);
    return rc;
}

/* What a library or a profiler has set stays. */
static void ignore(int number)
{
    struct sigaction before;
    if (!sigaction(number, NULL, &before) && before.sa_handler == SIG_DFL)
        signal(number, SIG_IGN);
}

/* From the start on, signals that end a process by default are ignored or handled, because a death
 * leaves calls in doubt. --check and similar options keep the default signals. */
static void prepare_signals(void)
{
    /* A write to a closed connection, or to a file beyond its size limit, fails with an error
     * instead. */
    static const int ignored[] = {SIGQUIT, SIGUSR1,   SIGUSR2, SIGPIPE, SIGXFSZ,   SIGXCPU,
                                  SIGALRM, SIGVTALRM, SIGPROF, SIGIO,   SIGSTKFLT, SIGPWR};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        ignore(ignored[i]);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
        ignore(number);
    stop_block_signals();
    fatal_prepare();
}

/* A core dump would write the token and phone numbers to disk, or to a program that collects dumps,
 * which ignores the size limit. Other processes of the same user must not read this one's memory
 * and environment either. */
static void keep_secrets(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_CORE, &limit)) {
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
    prctl(PR_SET_DUMPABLE, 0);
}

/* Each call in flight takes a connection. The soft limit is often 1,024 where much more is allowed:
 * so it is raised to the hard limit. If that is too low, fewer calls are made at once: else they
 * would leave no file for Kafka's connections, and none for a probe, which would wait in vain.
 * Returns -1 if no worker can work with so few. */
static int allow_open_files(struct config *config)
{
    enum {
        OWN_FILES = 16,   /* pipes, files, sockets; measured */
        JOB_FILES = 24,   /* of each job: its connections to one broker, and pipes; measured */
        SPARE_FILES = 64, /* connections to more brokers, of HTTP, and recordings' files */
        LEAST_CALLS = 8
    };
    struct rlimit limit;
    rlim_t calls = (rlim_t)config->platform_max_in_flight, own = OWN_FILES;
    for (int job = 0; job < REQUEST_KINDS; job++)
        own += *config->request_topics[job] ? JOB_FILES : 0;
    own += kafka_files_copied(config);
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        getrlimit(RLIMIT_NOFILE, &limit);
    unsigned long long files = limit.rlim_cur;
    rlim_t wanted = calls + own + SPARE_FILES;
    if (limit.rlim_cur < own + 2 * LEAST_CALLS) {
        log_error("cannot start: this process may have %llu open files, and needs at least %llu: "
                  "allow more open files (ulimit -n, LimitNOFILE)",
                  files, (unsigned long long)own + 2 * LEAST_CALLS);
        return -1;
    }
    if (limit.rlim_cur >= wanted)
        return 0;
    rlim_t room = limit.rlim_cur < own + SPARE_FILES + LEAST_CALLS
                      ? LEAST_CALLS
                      : limit.rlim_cur - own - SPARE_FILES;
    if (room < calls)
        config->platform_max_in_flight = (int64_t)room;
    log_warn("this process may have %llu open files, and platform.max.in.flight = %llu needs about "
             "%llu: at most %lld calls are in flight at once; allow more open files (ulimit -n, "
             "LimitNOFILE), or fewer calls",
             files, (unsigned long long)calls, (unsigned long long)wanted,
             (long long)config->platform_max_in_flight);
    return 0;
}

static int act(struct config *config, const struct options *options)
{
    struct text out = {0};
    int status;
    if (!config->core_dumps)
        keep_secrets();
    switch (options->action) {
    case ACTION_CHECK:
        text_add(&out, "configuration is valid\n");
        status = put(&out);
        break;
    case ACTION_PRINT_CONFIG:
        config_print(config, &out);
        status = put(&out);
        break;
    case ACTION_LEDGER:
        status = ledger_command_show(config, options);
        break;
    case ACTION_LEDGER_REPAIR:
        status = ledger_command_repair(config, options);
        break;
    case ACTION_REDRIVE:
        status = redrive_command(config, options);
        break;
    default:
        /* One malloc arena for each of librdkafka's threads would keep tens of MiB; two arenas are
         * enough. */
        mallopt(M_ARENA_MAX, 2);
        status = allow_open_files(config) ? STATUS_FAILED : worker_run(config);
        break;
    }
    text_fini(&out);
    return status;
}

/* --version and --help, which need no configuration. */
static int tell(const struct options *options)
{
    struct text out = {0};
    if (options->action == ACTION_VERSION)
        text_add(&out, "privacy-call-worker " PCW_VERSION "\n");
    else
        options_help(&out, options->about);
    int status = put(&out);
    text_fini(&out);
    return status;
}

static void tell_usage(const struct error *error)
{
    struct text words = {0};
    text_visible(&words, error->text, strlen(error->text));
    fprintf(stderr, "privacy-call-worker: %s\nprivacy-call-worker --help says more\n", words.data);
    text_fini(&words);
}

int main(int argc, char **argv)
{
    struct options options;
    struct config config = {0};
    struct error error;
    int status = STATUS_BAD_USAGE;
    unsetenv("SSLKEYLOGFILE"); /* libcurl would write the keys of all connections to it */
    open_standard_streams();
    int usage = options_parse(&options, argc, argv, &error);
    if (!usage && options.action == ACTION_RUN)
        prepare_signals();
    if (usage < 0)
        tell_usage(&error);
    else if (options.action == ACTION_VERSION || options.action == ACTION_HELP)
        status = tell(&options);
    else if (!load(&config, &options))
        status = act(&config, &options);
    config_fini(&config);
    options_fini(&options);
    return status;
}
