/* What the admin tells of a service and does to it. */
#ifndef APP_ADMIN_OPS_H
#define APP_ADMIN_OPS_H

#include "admin/admin.h"
#include "app/service.h"

/* The argument of the operations. */
typedef struct admin_target {
    service *service;
    log_sink *log;
    const char *file; /* the configuration's */
    uint64_t started; /* wall clock */
    uint64_t started_monotonic;
    _Atomic uint64_t reloads;
    _Atomic uint64_t reload_failures;
    /* Told after a reload, on whatever thread. */
    void (*reloaded)(void *arg);
    void *arg;
} admin_target;

extern const admin_ops admin_service_ops;

/* Reads the file again, and counts. As reload_file. */
struct reload_result;
int admin_target_reload(admin_target *t, struct reload_result *result);

/* admin_status.c */
SMX_MUST_USE int admin_fill_status(void *arg, admin_status *status);

#endif
