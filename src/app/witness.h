/* What is told of the sessions of one transparent proxy, on its thread: audit lines, transcripts that
 * are kept, and those that are followed. It fills the proxy's callbacks. */
#ifndef APP_WITNESS_H
#define APP_WITNESS_H

#include "app/config.h"
#include "app/followers.h"
#include "app/outlet.h"

typedef struct witness witness;

/* All outlive it. */
typedef struct witness_options {
    outlets *outlets;
    followers *followers;
    log_sink *log;
    size_t listeners; /* at most so many come */
} witness_options;

SMX_MUST_USE int witness_new(const witness_options *options, witness **out);
/* NULL is nothing. */
void witness_free(witness *w);
/* A listener, whose `listen` text `name` is: the sessions' views show this very text. Both outlive the
 * witness. The problem says which file cannot be written. */
SMX_MUST_USE int witness_add(witness *w, const char *name, const config_listener *l, problem *p);

/* Of smx_proxy_options; `arg` is the witness. */
smx_proxy_record_fn witness_record;
smx_proxy_wants_fn witness_wants;
smx_proxy_trace_fn witness_trace;

#endif
