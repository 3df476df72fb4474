/* The worker's program: reads command line and configuration, prepares the process, and runs the
 * worker. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "core/config.h"
#include "io/kafka.h"
#include "worker/ledger_command.h"
#include "worker/options.h"
#include "worker/worker.h"

enum { STATUS_STOPPED = 0, STATUS_FAILED = 1, STATUS_BAD_USAGE = 2 };

/* Writes the text to standard output. Returns the exit status. */
static int put(struct text *text)
{
    fwrite(text->data, 1, text->length, stdout);
    if (fflush(stdout) == 0)
        return STATUS_STOPPED;
    perror("privacy-call-worker: standard output");
    return STATUS_FAILED;
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
    kafka_fit_settings(config);
    if (kafka_check_settings(config, &errors) < 0)
        rc = -1;
    if (errors.length)
        fwrite(errors.data, 1, errors.length, stderr);
    text_fini(&errors);
    return rc;
}

static void prepare_process(const struct config *config)
{
    /* Writes to closed connections fail with EPIPE where they are made. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* so do writes to a file beyond a limit of its size */

    /* An arena for each of librdkafka's threads would keep tens of MiB that two share well. */
    mallopt(M_ARENA_MAX, 2);

    /* A core dump would carry the token and phone numbers to disk. */
    struct rlimit limit;
    if (!config->core_dumps && !getrlimit(RLIMIT_CORE, &limit)) {
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
    log_setup(config->log_level, config->log_format, config->instance_id);
}

static int act(const struct config *config, const struct options *options)
{
    struct text out = {0};
    int status;
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
    default:
        prepare_process(config);
        status = worker_run(config);
        break;
    }
    text_fini(&out);
    return status;
}

/* --version and --help, which need no configuration. */
static int tell(enum options_action action)
{
    struct text out = {0};
    if (action == ACTION_VERSION)
        text_add(&out, "privacy-call-worker " PCW_VERSION "\n");
    else
        options_help(&out);
    int status = put(&out);
    text_fini(&out);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct config config = {0};
    struct error error;
    int status = STATUS_BAD_USAGE;
    if (options_parse(&options, argc, argv, &error) < 0)
        fprintf(stderr, "privacy-call-worker: %s\nprivacy-call-worker --help says more\n",
                error.text);
    else if (options.action == ACTION_VERSION || options.action == ACTION_HELP)
        status = tell(options.action);
    else if (!load(&config, &options))
        status = act(&config, &options);
    config_fini(&config);
    options_fini(&options);
    return status;
}
