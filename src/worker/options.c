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

/* The long options of the commands. */
static const struct command_option {
    const char *name;
    enum options_action command;
    size_t at; /* offset in struct options: of a string if the option takes a value, otherwise of a
                  bool */
    bool takes_value;
} command_options[] = {
    {"--json", ACTION_LEDGER, offsetof(struct options, json), false},
    {"--topic", ACTION_LEDGER_REPAIR, offsetof(struct options, topic), true},
    {"--partition", ACTION_LEDGER_REPAIR, offsetof(struct options, partition), true},
    {"--offset", ACTION_LEDGER_REPAIR, offsetof(struct options, offset), true},
    {"--yes", ACTION_LEDGER_REPAIR, offsetof(struct options, yes), false},
    {"--reason", ACTION_REDRIVE, offsetof(struct options, reason), true},
    {"--code", ACTION_REDRIVE, offsetof(struct options, code), true},
    {"--since", ACTION_REDRIVE, offsetof(struct options, since), true},
    {"--order", ACTION_REDRIVE, offsetof(struct options, order), true},
    {"--limit", ACTION_REDRIVE, offsetof(struct options, limit), true},
    {"--dry-run", ACTION_REDRIVE, offsetof(struct options, dry_run), false},
};

/* The command's option for an argument (`--name` or `--name=value`); NULL: there is none. */
static const struct command_option *find_option(enum options_action command, const char *argument)
{
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < sizeof command_options / sizeof *command_options; i++) {
        const struct command_option *option = &command_options[i];
        if (option->command == command && strlen(option->name) == length &&
            !strncmp(option->name, argument, length))
            return option;
    }
    return NULL;
}

/* Reads a command's option with its value, which may be the next argument. Returns the number of
 * arguments that were read, or -1. */
static int take_command_option(struct options *options, const struct command_option *option,
                               char *const *argv, struct error *error)
{
    char *field = (char *)options + option->at;
    const char *equals = strchr(argv[0], '=');
    if (!option->takes_value) {
        if (equals)
            return error_set(error, "%s: expected no value", option->name);
        *(bool *)field = true;
        return 1;
    }
    const char *value = equals ? equals + 1 : argv[1];
    if (!value || !*value)
        return error_set(error, "%s: expected a value after it", option->name);
    const char **string = (const char **)field;
    if (*string)
        return error_set(error, "%s: given twice", option->name);
    *string = value;
    return equals ? 1 : 2;
}

/* Finds the command at the beginning of the arguments. Returns how many arguments name it. */
static int name_command(enum options_action *action, int argc, char *const *argv)
{
    if (argc > 0 && !strcmp(argv[0], "redrive")) {
        *action = ACTION_REDRIVE;
        return 1;
    }
    if (argc < 1 || strcmp(argv[0], "ledger") != 0)
        return 0;
    bool repair = argc > 1 && !strcmp(argv[1], "repair");
    *action = repair ? ACTION_LEDGER_REPAIR : ACTION_LEDGER;
    return repair ? 2 : 1;
}

/* Reads the command, or `help` with a command, at the beginning of the arguments. Returns the
 * number of arguments that were read. */
static int take_command(struct options *options, int argc, char *const *argv)
{
    if (argc < 2 || strcmp(argv[1], "help") != 0)
        return name_command(&options->action, argc - 1, argv + 1);
    options->action = ACTION_HELP;
    return 1 + name_command(&options->about, argc - 2, argv + 2);
}

static int take_short_option(struct options *options, char *const *argv, struct error *error)
{
    const char *argument = argv[0];
    if (!argument[2] && !argv[1])
        return error_set(error, "%s: expected a value after it", argument);
    const char *value = argument[2] ? argument + 2 : argv[1];
    return take_value(options, argument[1], value, error) < 0 ? -1 : argument[2] ? 1 : 2;
}

static int refuse_word(const char *word, struct error *error)
{
    return error_set(error,
                     "%.40s: expected an option, or as the first word a command: ledger, ledger "
                     "repair, redrive or help",
                     word);
}

/* Sets the action. Only one action may be given; for a command the only one is its help. */
static int take_action(struct options *options, enum options_action action, const char *argument,
                       struct error *error)
{
    if (options->action >= ACTION_LEDGER && action != ACTION_HELP)
        return error_set(error, "%s: not an option of this command", argument);
    if (options->action != ACTION_RUN && options->action != action &&
        options->action < ACTION_LEDGER)
        return error_set(error,
                         "%s: expected only one of --check, --print-config, --version "
                         "and --help",
                         argument);
    if (options->action >= ACTION_LEDGER)
        options->about = options->action;
    options->action = action;
    return 0;
}

/* Refuses an unknown option, with a hint at a similar one. */
static int refuse_option(const struct options *options, const char *argument, struct error *error)
{
    struct text names = {0};
    text_add(&names, "-c, -o");
    for (size_t i = 0; i < sizeof actions / sizeof *actions && options->action < ACTION_LEDGER; i++)
        if (actions[i].name[1] == '-')
            text_printf(&names, ", %s", actions[i].name);
    for (size_t i = 0; i < sizeof command_options / sizeof *command_options; i++)
        if (command_options[i].command == options->action)
            text_printf(&names, ", %s", command_options[i].name);
    error_set(error, "%.40s: unknown option, expected one of %s%s", argument, names.data,
              options->action < ACTION_LEDGER ? "" : ", --help");
    text_fini(&names);
    return -1;
}

/* Returns the number of arguments that were read, or -1. */
static int take_argument(struct options *options, char *const *argv, struct error *error)
{
    const char *argument = argv[0];
    if (argument[0] != '-' || !argument[1])
        return refuse_word(argument, error);
    if (argument[1] == 'c' || argument[1] == 'o')
        return take_short_option(options, argv, error);
    const struct command_option *option = find_option(options->action, argument);
    if (option)
        return take_command_option(options, option, argv, error);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (!strcmp(argument, actions[i].name))
            return take_action(options, actions[i].action, argument, error) < 0 ? -1 : 1;
    return refuse_option(options, argument, error);
}

static int check_command(const struct options *options, struct error *error)
{
    if (options->action == ACTION_LEDGER_REPAIR && (!options->topic || !options->partition))
        return error_set(error, "ledger repair: expected --topic and --partition");
    return 0;
}

int options_parse(struct options *options, int argc, char *const *argv, struct error *error)
{
    *options = (struct options){0};
    options->settings = memory_zeroed((size_t)argc + 1, sizeof *options->settings);
    for (int i = 1 + take_command(options, argc, argv); i < argc;) {
        if (!strcmp(argv[i], "--"))
            return i + 1 < argc ? refuse_word(argv[i + 1], error) : check_command(options, error);
        int taken = take_argument(options, &argv[i], error);
        if (taken < 0)
            return -1;
        i += taken;
    }
    return check_command(options, error);
}

void options_fini(struct options *options)
{
    free(options->settings);
    *options = (struct options){0};
}
