/* A multiplexer at work: a configuration, what its workers share, and the workers. */
#ifndef APP_SERVICE_H
#define APP_SERVICE_H

#include "app/config.h"

typedef struct service service;

/* Makes all workers and binds all listeners of each, so that nothing serves unless everything can.
 * Takes a share of `c`; `log` must outlive the service. The problem is a sentence for a person. */
SMX_MUST_USE int service_new(config *c, log_sink *log, service **s, problem *p);
/* Port of the `nth` listener of the configuration; 0 for a Unix socket. Before service_drain. */
uint16_t service_port(const service *s, size_t nth);
/* What the workers deliver with, for its counts. Lives as the service. */
mux *service_mux(service *s);

/* Serves. `ended(arg)` is called on some worker's thread when the last one has ended. */
SMX_MUST_USE int service_start(service *s, void (*ended)(void *arg), void *arg, problem *p);
/* Begins the end: `ended` follows, a little later than `timeout_ms` at the latest. Once. */
void service_drain(service *s, uint32_t timeout_ms);
/* Waits for the threads (drain them before) and frees. NULL is nothing. */
void service_free(service *s);

#endif
