/* One worker: a loop, the server on it and its part of the multiplexer, in a thread of its own. */
#ifndef APP_WORKER_H
#define APP_WORKER_H

#include "app/config.h"

typedef struct worker worker;

/* What all workers of a service share; outlives them. */
typedef struct worker_options {
    const config *config;
    mux *mux;
    smx_shared *shared;
    log_sink *log;
    const worker *first; /* whose ports this one has too; NULL: it is the first */
} worker_options;

/* Binds the listeners, all but those of Unix sockets, which the first worker alone accepts from. The
 * problem says which listener. */
SMX_MUST_USE int worker_new(const worker_options *options, worker **w, problem *p);
/* Port of the `nth` listener; 0 for a Unix socket. */
uint16_t worker_port(const worker *w, size_t nth);

/* Listens: from now on clients may connect. Before worker_run. */
SMX_MUST_USE int worker_listen(worker *w, problem *p);
/* Starts the thread. `ended(arg)` is called on it, last of all. */
SMX_MUST_USE int worker_run(worker *w, void (*ended)(void *arg), void *arg);
/* Takes no more sessions, finishes messages under way in at most `timeout_ms`, and ends. Once, any
 * thread. */
void worker_drain(worker *w, uint32_t timeout_ms);
/* Waits for the thread, if there is one (it must have been drained), and frees. */
void worker_free(worker *w);

#endif
