/* A multiplexer at work: a configuration, what its workers share, and the workers.
 *
 * A reload swaps the configuration: new sessions get the new one, those that are open end on the one
 * they began with. All of it changes but what stands in service_reload. */
#ifndef APP_SERVICE_H
#define APP_SERVICE_H

#include "app/followers.h"
#include "app/generation.h"

typedef struct service service;

/* Makes all workers and binds all listeners of each, so that nothing serves unless everything can.
 * Takes a share of `c`; `log` must outlive the service. The problem is a sentence for a person. */
SMX_MUST_USE int service_new(config *c, log_sink *log, service **s, problem *p);

/* Serves. `ended(arg)` is called on some worker's thread when the last one has ended. */
SMX_MUST_USE int service_start(service *s, void (*ended)(void *arg), void *arg, problem *p);

/* From now on new sessions get `c`, of which a share is taken. Waits for the workers. Nothing changes
 * on failure: the problem says why. SMX_E_CLOSED: it is shutting down. What only a restart
 * changes (workers, store) stays, and the log has a warning. Any thread but the workers'. */
SMX_MUST_USE int service_reload(service *s, config *c, problem *p);

/* A share of the generation that takes sessions now: give it back with generation_free. Any thread. */
generation *service_generation(service *s);
/* Port of the `nth` listener of the configuration; 0 for a Unix socket. Any thread. */
uint16_t service_port(service *s, size_t nth);
/* What the workers deliver with. Lives until the next reload. */
mux *service_mux(service *s);
/* What survives reloads: counts of outcomes, records of upstreams. Lives as the service. */
mux_state *service_mux_state(service *s);
/* Who is told of what an operator does. Lives as the service. */
alerts *service_alerts(service *s);
/* Sums over all workers and generations, those that are gone among them. Any thread. */
void service_get_counters(service *s, smx_server_counters *sum);
/* The same of one listener, by its address as configured. Any thread. */
void service_get_listener_counters(service *s, const char *listen, smx_server_counters *read);
size_t service_workers(const service *s);
/* Octets of messages in memory now. Any thread. */
uint64_t service_memory(const service *s);
/* Generations that exist: the one that takes sessions, and older ones that still have some. Any
 * thread. */
size_t service_generations(service *s);
/* Those who follow sessions of transparent proxies. Lives as the service. */
followers *service_followers(service *s);
/* Audit files are opened anew by their names. Any thread. */
void service_reopen_files(service *s);
/* Pieces of audit files and transcripts that could not be written. Any thread. */
uint64_t service_lost_records(const service *s);
/* True from service_start to service_drain. Any thread. */
bool service_is_listening(const service *s);

/* Begins the end: `ended` follows, a little later than `timeout_ms` at the latest. Once. */
void service_drain(service *s, uint32_t timeout_ms);
/* Waits for the threads (drain them before) and frees. NULL is nothing. */
void service_free(service *s);

#endif
