/* A configuration at work until a signal ends it: SIGTERM and SIGINT drain, SIGHUP reloads. */
#ifndef APP_DAEMON_H
#define APP_DAEMON_H

#include "app/config_file.h"

typedef struct daemon_options {
    config *config;
    config_file
        *file; /* that it came from, which a reload reads again; closed at the start. NULL: it
                          came from the command line */
    const char *verb; /* a person gave the command and is told, in words, why it cannot start; NULL:
                          the log tells */
} daemon_options;

/* Returns an exit code of sysexits.h. */
int daemon_run(const daemon_options *options);

#endif
