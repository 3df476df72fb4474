#include "worker/options.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const struct {
    const char *name;
    enum options_action action;
} actions[] = {
    {"--check", ACTION_CHECK},     {"--print-config", ACTION_PRINT_CONFIG},
    {"--version", ACTION_VERSION}, {"--help", ACTION_HELP},
    {"-h", ACTION_HELP},
};

/* Takes an action; only one may be given. */
static int take_action(struct options *options, const char *argument, struct error *error)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(argument, actions[i].name) != 0)
            continue;
        if (options->action != ACTION_RUN && options->action != actions[i].action)
            return error_set(error,
                             "%s: expected only one of --check, --print-config, --version "
                             "and --help",
                             argument);
        options->action = actions[i].action;
        return 0;
    }
    return error_set(error, "%.40s: unknown option", argument);
}

static int take_value(struct options *options, char letter, const char *value, struct error *error)
{
    if (letter == 'o') {
        options->settings[options->setting_count++] = value;
        return 0;
    }
    if (options->file)
        return error_set(error, "-c: given twice, expected one file");
    if (!*value)
        return error_set(error, "-c: expected the path of a file");
    options->file = value;
    return 0;
}

static int refuse_word(const char *word, struct error *error)
{
    if (!strcmp(word, "ledger"))
        return error_set(error, "the command `ledger` is not part of this version");
    return error_set(error, "%.40s: expected no argument that is not an option", word);
}

int options_parse(struct options *options, int argc, char *const *argv, struct error *error)
{
    *options = (struct options){0};
    options->settings = memory_zeroed((size_t)argc + 1, sizeof *options->settings);
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (!strcmp(argument, "--")) {
            if (i + 1 < argc)
                return refuse_word(argv[i + 1], error);
            break;
        }
        if (argument[0] != '-' || !argument[1])
            return refuse_word(argument, error);
        bool takes_value = argument[1] == 'c' || argument[1] == 'o';
        if (takes_value && !argument[2] && i + 1 == argc)
            return error_set(error, "%s: expected a value after it", argument);
        const char *value = argument[2] || !takes_value ? argument + 2 : argv[++i];
        int rc = takes_value ? take_value(options, argument[1], value, error)
                             : take_action(options, argument, error);
        if (rc < 0)
            return -1;
    }
    return 0;
}

void options_fini(struct options *options)
{
    free(options->settings);
    *options = (struct options){0};
}

void options_help(struct text *out)
{
    text_add(out,
             "usage: privacy-call-worker [-c FILE] [-o KEY=VALUE]...\n"
             "                           [--check | --print-config | --version | --help]\n"
             "\n"
             "Takes call and recording requests from Kafka, carries them out at the privacy-call\n"
             "platform, and publishes one result for each.\n"
             "\n"
             "  -c FILE          reads settings, `key = value` lines, from FILE\n"
             "  -o KEY=VALUE     sets one key; beats the environment, which beats the file\n"
             "  --check          validates the configuration, connects to nothing, and ends\n"
             "  --print-config   prints every key in force and where it comes from, and ends\n"
             "  --version        prints the version, and ends\n"
             "  --help           prints this, and ends\n"
             "\n"
             "Each key is also an environment variable: platform.token is\n"
             "PRIVACY_CALL_PLATFORM_TOKEN. KEY.file reads a value from a file. Required:\n"
             "kafka.bootstrap.servers, platform.url, platform.token, platform.app.id.\n"
             "\n"
             "Exit status: 0 stopped as asked; 1 failed while running; 2 bad usage or\n"
             "configuration.\n");
}
