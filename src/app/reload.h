/* Reads the configuration's file again and puts it to use: SIGHUP, and `smtpmux reload`. */
#ifndef APP_RELOAD_H
#define APP_RELOAD_H

#include "app/config_file.h"
#include "app/service.h"

typedef struct reload_result {
    uint64_t generation; /* that takes sessions now */
    config_file file;    /* its problems: errors and warnings, without its configuration */
    problem problem;     /* what failed beside them; empty: nothing */
} reload_result;

/* A file with errors changes nothing; all that is wrong is in the log and in the result, which
 * reload_result_free frees, on failure too. SMX_E_SYNTAX: the file has errors; else as service_reload,
 * or what keeps the file from being read. Any thread but the workers'. */
SMX_MUST_USE int reload_file(service *s, log_sink *log, const char *path, reload_result *result);
void reload_result_free(reload_result *result);

#endif
