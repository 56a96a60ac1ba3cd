/* The verbs of the program: one descriptor in each cmd_*.c, one line in the table of commands.c. */
#ifndef APP_COMMANDS_H
#define APP_COMMANDS_H

#include "base/slice.h"

typedef struct command {
    const char *name;
    const char *help; /* one line, without a full stop */
    /* argv[0] is the verb; the result is the exit code (sysexits.h). */
    int (*run)(int argc, char **argv);
} command;

extern const command command_serve;
extern const command command_check;
extern const command command_explain;
extern const command command_passwd;
extern const command command_demo;
extern const command command_sink;
extern const command command_proxy;
extern const command command_trace;
extern const command command_upstream;
extern const command command_reload;

/* The `nth` one, or NULL at the end. */
const command *command_at(size_t nth);
/* The program: argv[1] is the verb. The exit code. */
int command_main(int argc, char **argv);

#endif
