/* The command line of one verb: a table of options that is read by and printed from. */
#ifndef APP_OPTIONS_H
#define APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { OPTIONS_MAX = 32 };

typedef struct cli_option {
    char letter;          /* `-c`, or 0 */
    const char *name;     /* `--config` */
    const char *argument; /* "FILE"; NULL: a flag */
    const char *help;
    const char **text;                            /* where an argument goes, or */
    bool *flag;                                   /* what a flag sets, or */
    int (*take)(void *arg, const char *argument); /* called for each; not 0: it told why */
    void *arg;
} cli_option;

typedef struct cli_command {
    const char *name;  /* "check" */
    const char *usage; /* behind "smtpmux check", such as "[--print]" */
    const char *help;  /* one line */
    const cli_option *options;
    size_t option_count;
    const char *more; /* what --help tells behind the options, or NULL */
} cli_command;

typedef enum cli_result {
    CLI_RUN,   /* go on; *first is the first argument that is no option */
    CLI_DONE,  /* --help or --version was printed: exit 0 */
    CLI_USAGE, /* something is wrong, and was told on standard error: exit 64 */
} cli_result;

/* --help and --version are every verb's. `argv[0]` is the verb. */
cli_result cli_parse(const cli_command *command, int argc, char **argv, int *first);

/* A sentence and the usage on standard error; EX_USAGE. */
int cli_wrong(const cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
