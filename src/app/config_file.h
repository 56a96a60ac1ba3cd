/* How verbs come to their configuration: the file of `-c`, or the usual places. */
#ifndef APP_CONFIG_FILE_H
#define APP_CONFIG_FILE_H

#include "app/config.h"

/* A file, its text, what is wrong with it. */
typedef struct config_file {
    const char *path;
    buffer text;
    problems problems;
    config *config; /* NULL: the problems say why; one share is the taker's */
} config_file;

/* `path` NULL: ./config.yaml, then /etc/smtpmux/config.yaml. An exit code of sysexits.h: EX_OK, with
 * or without warnings; EX_CONFIG with problems to show; EX_NOINPUT and EX_OSERR were told on
 * standard error. */
SMX_MUST_USE int config_file_load(const char *path, config_file *file);
/* The same for who only asks the daemon (config_load_door). */
SMX_MUST_USE int config_file_load_door(const char *path, config_file *file);
/* The first of a known path, without a word on standard error. SMX_E_SYNTAX: the file's problems say
 * what is wrong; for other errors `p` does. */
SMX_MUST_USE int config_file_read(const char *path, config_file *file, problem *p);
/* A line of the log for each problem and warning. */
void config_file_log(const config_file *file, log_sink *log, const char *event);
/* Problems and warnings on standard error, as a person reads them. */
void config_file_tell(const config_file *file);
/* Wipes and frees all but the configuration. */
void config_file_close(config_file *file);

#endif
