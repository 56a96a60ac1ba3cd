/* One worker: a loop in a thread of its own, the pools on it, and the generations that it serves: one
 * that takes sessions, and older ones until their last session has ended.
 *
 * At most WORKER_OLD_GENERATIONS older ones are left in peace. Of those beyond, the oldest, sessions
 * are sent away between two messages with 421 4.3.2, on which a client connects again: somebody who
 * reloads often must not fill the memory. */
#ifndef APP_WORKER_H
#define APP_WORKER_H

#include "app/serving.h"

enum { WORKER_OLD_GENERATIONS = 8 };

typedef struct worker worker;

/* What all workers of a service share; outlives them. */
typedef struct worker_options {
    smx_shared *shared;
    log_sink *log;
    counter_book *book;
    outlets *outlets;
    followers *followers;
    bool is_first;
} worker_options;

/* Binds the listeners of the first generation, all but those of Unix sockets, which the first worker
 * alone accepts from. The problem says which listener. */
SMX_MUST_USE int worker_new(const worker_options *options, generation *g, worker **w, problem *p);

/* Listens: from now on clients may connect. Before worker_run. */
SMX_MUST_USE int worker_listen(worker *w, problem *p);
/* Starts the thread. `ended(arg)` is called on it, last of all. */
SMX_MUST_USE int worker_run(worker *w, void (*ended)(void *arg), void *arg);

/* A reload in two steps, each of which waits for the worker; one caller at a time, not on a worker's
 * thread. Makes what the next generation needs and binds its new listeners; nothing is accepted yet.
 * SMX_E_CLOSED: the worker drains. */
SMX_MUST_USE int worker_prepare(worker *w, generation *g, problem *p);
/* Behind worker_prepare: what was prepared takes the sessions from now on, or is forgotten. */
void worker_commit(worker *w);
void worker_abort(worker *w);

/* Takes no more sessions, finishes messages under way in at most `timeout_ms`, and ends. Once, any
 * thread. */
void worker_drain(worker *w, uint32_t timeout_ms);
/* Waits for the thread, if there is one (it must have been drained), and frees. */
void worker_free(worker *w);

#endif
