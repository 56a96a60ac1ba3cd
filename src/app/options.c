/* getopt_long over a table. Nothing is owned; texts point into argv. */
#include "app/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { HELP = 1, VERSION, FIRST_LONG = 256 };

static void print_usage(const cli_command *command, FILE *to)
{
    (void)fprintf(to, "usage: smtpmux %s%s%s\n", command->name,
                  command->usage[0] == '\0' ? "" : " ", command->usage);
}

static void print_option(char letter, const char *name, const char *argument, const char *help)
{
    char left[64];
    char letters[8] = "    ";
    if (letter != 0)
        (void)snprintf(letters, sizeof(letters), "-%c, ", letter);
    (void)snprintf(left, sizeof(left), "%s--%s%s%s", letters, name, argument == NULL ? "" : " ",
                   argument == NULL ? "" : argument);
    (void)printf("  %-26s %s\n", left, help);
}

static void print_help(const cli_command *command)
{
    print_usage(command, stdout);
    (void)printf("\n%s.\n\noptions:\n", command->help);
    for (size_t i = 0; i < command->option_count; i++) {
        const cli_option *option = &command->options[i];
        print_option(option->letter, option->name, option->argument, option->help);
    }
    print_option('h', "help", NULL, "this text");
    print_option('V', "version", NULL, "the version");
    if (command->more != NULL)
        (void)printf("\n%s", command->more);
}

int cli_wrong(const cli_command *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "smtpmux %s: ", command->name);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    print_usage(command, stderr);
    (void)fprintf(stderr, "`smtpmux %s --help` says more.\n", command->name);
    return EX_USAGE;
}

/* The option that getopt found, by its letter or its place in the table. */
static const cli_option *option_of(const cli_command *command, int found)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (found == FIRST_LONG + (int)i ||
            (command->options[i].letter != 0 && found == command->options[i].letter))
            return &command->options[i];
    }
    return NULL;
}

static bool apply(const cli_option *option)
{
    if (option->take != NULL)
        return option->take(option->arg, optarg) == 0;
    if (option->flag != NULL)
        *option->flag = true;
    else
        *option->text = optarg;
    return true;
}

/* The tables of getopt_long. */
static void fill_tables(const cli_command *command, struct option *names, char *letters)
{
    size_t at = 0;
    letters[at++] = ':';
    letters[at++] = 'h';
    letters[at++] = 'V';
    for (size_t i = 0; i < command->option_count; i++) {
        const cli_option *option = &command->options[i];
        names[i] = (struct option){option->name,
                                   option->argument == NULL ? no_argument : required_argument, NULL,
                                   FIRST_LONG + (int)i};
        if (option->letter == 0)
            continue;
        letters[at++] = option->letter;
        if (option->argument != NULL)
            letters[at++] = ':';
    }
    letters[at] = '\0';
    names[command->option_count] = (struct option){"help", no_argument, NULL, HELP};
    names[command->option_count + 1] = (struct option){"version", no_argument, NULL, VERSION};
    names[command->option_count + 2] = (struct option){0};
}

cli_result cli_parse(const cli_command *command, int argc, char **argv, int *first)
{
    struct option names[OPTIONS_MAX + 3];
    char letters[2 * OPTIONS_MAX + 4];
    assert(command->option_count <= OPTIONS_MAX);
    fill_tables(command, names, letters);
    opterr = 0;
    optind = 1;
    for (int found; (found = getopt_long(argc, argv, letters, names, NULL)) != -1;) {
        const cli_option *option = option_of(command, found);
        if (option != NULL) {
            if (!apply(option))
                return CLI_USAGE;
        } else if (found == HELP || found == 'h') {
            print_help(command);
            return CLI_DONE;
        } else if (found == VERSION || found == 'V') {
            (void)puts("smtpmux " SMX_VERSION_TEXT);
            return CLI_DONE;
        } else {
            (void)cli_wrong(command,
                            found == ':' ? "`%s` needs an argument" : "unknown option `%s`",
                            argv[optind - 1]);
            return CLI_USAGE;
        }
    }
    *first = optind;
    return CLI_RUN;
}
