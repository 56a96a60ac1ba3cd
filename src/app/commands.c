/* The table of verbs, and the choice among them. */
#include "app/commands.h"

#include <stdio.h>
#include <sysexits.h>

#include "app/nearest.h"

static const command *const COMMANDS[] = {
    &command_serve,  &command_check, &command_explain, &command_upstream, &command_reload,
    &command_passwd, &command_demo,  &command_sink,    &command_proxy,    &command_trace,
};

/* Verbs of the design that are to come. */
static const char *const LATER[] = {"send", "sendmail", "queue", "top",
                                    "lua",  "dkim",     "proxy", "trace"};

static bool is_later(const char *word)
{
    for (size_t i = 0; i < sizeof(LATER) / sizeof(LATER[0]); i++) {
        if (strcmp(LATER[i], word) == 0)
            return true;
    }
    return false;
}

const command *command_at(size_t nth)
{
    return nth < sizeof(COMMANDS) / sizeof(COMMANDS[0]) ? COMMANDS[nth] : NULL;
}

static void print_verbs(FILE *to)
{
    const command *one;
    (void)fputs("usage: smtpmux VERB [OPTIONS]\n\nverbs:\n", to);
    for (size_t i = 0; (one = command_at(i)) != NULL; i++)
        (void)fprintf(to, "  %-10s %s\n", one->name, one->help);
    (void)fputs("\n`smtpmux VERB --help` tells a verb's options.\n", to);
}

static int unknown_verb(const char *word)
{
    const command *one;
    nearest near = nearest_begin(slice_of_text(word));
    for (size_t i = 0; (one = command_at(i)) != NULL; i++)
        nearest_try(&near, one->name);
    if (word[0] == '-')
        (void)fprintf(stderr, "smtpmux: unknown option `%s`\n\n", word);
    else if (is_later(word))
        (void)fprintf(stderr, "smtpmux: `%s` is not in this version\n\n", word);
    else if (near.best != NULL)
        (void)fprintf(stderr, "smtpmux: no verb is called `%s`; did you mean `%s`?\n\n", word,
                      near.best);
    else
        (void)fprintf(stderr, "smtpmux: no verb is called `%s`\n\n", word);
    print_verbs(stderr);
    return EX_USAGE;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int command_main(int argc, char **argv)
{
    if (argc < 2) {
        print_verbs(stderr);
        return EX_USAGE;
    }
    if (is_one_of(argv[1], "--help", "-h") || strcmp(argv[1], "help") == 0) {
        print_verbs(stdout);
        return EX_OK;
    }
    if (is_one_of(argv[1], "--version", "-V")) {
        (void)puts("smtpmux " SMX_VERSION_TEXT);
        return EX_OK;
    }
    const command *one;
    for (size_t i = 0; (one = command_at(i)) != NULL; i++) {
        if (strcmp(one->name, argv[1]) == 0)
            return one->run(argc - 1, argv + 1);
    }
    return unknown_verb(argv[1]);
}
