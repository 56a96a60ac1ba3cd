/* Runs the hook table for one session at a time: asks the hooks of a phase in order, waits for later
 * answers within their budget, gathers the changes. Its host (server, proxy) supplies time, tickets
 * and a way back onto its thread, so that nothing here knows a loop. */
#ifndef HOOK_RUNNER_H
#define HOOK_RUNNER_H

#include "base/arena.h"
#include "base/pool.h"
#include "smx/hook.h"

/* What the runner needs of its host. `post` may be called on any thread, the rest on the host's. */
typedef struct hook_host {
    void *arg;
    smx_ticket (*next_ticket)(void *arg);
    int (*post)(void *arg, void (*fn)(void *arg), void *fn_arg);
    uint64_t (*now)(void *arg);
    pool *(*threads)(void *arg); /* for BLOCKING hooks; NULL result: none can run */
    void (*log)(void *arg, const char *hook, smx_hook_phase phase, const char *what);
    bool passes_on; /* what was let through has gone on: changes of it come too late */
} hook_host;

/* The hooks must outlive the table. SMX_E_INVALID: an unknown version. */
SMX_MUST_USE int hooks_new(const smx_hook *const *hooks, size_t count, const hook_host *host,
                           smx_hooks **table);
/* After the last session's hook_session is freed. */
void hooks_free(smx_hooks *table);
/* False: no hook wants this phase, and nothing need be done. */
bool hooks_want(const smx_hooks *table, smx_hook_phase phase);
/* Some hook of the table bears this flag. */
bool hooks_have_flag(const smx_hooks *table, unsigned flag);

/* The changes that hooks asked for in a transaction, in order. Strings live in the transaction's
 * arena. */
typedef enum hook_change_kind {
    HOOK_ADD_HEADER,
    HOOK_CHANGE_HEADER,
    HOOK_DELETE_HEADER,
    HOOK_SET_SENDER,
    HOOK_ADD_RECIPIENT,
    HOOK_DELETE_RECIPIENT,
    HOOK_REPLACE_BODY,
} hook_change_kind;
typedef struct hook_change {
    struct hook_change *next;
    hook_change_kind kind;
    smx_slice name; /* header name, or mailbox */
    size_t nth;
    smx_slice value;
} hook_change;

/* One session's place in the table. */
typedef struct hook_session hook_session;

/* Told when the hooks of a phase are through: verdict.kind is never SMX_VERDICT_LATER, and ACCEPT
 * comes as CONTINUE. Never from within hook_session_ask. `changes` are those of this phase. */
typedef void hook_done_fn(void *owner, smx_hook_phase phase, const smx_verdict *verdict,
                          const hook_change *changes);

SMX_MUST_USE int hook_session_new(smx_hooks *table, hook_done_fn *done, void *owner,
                                  hook_session **session);
/* Calls the values' release functions; pending answers become SMX_E_GONE. NULL is nothing. */
void hook_session_free(hook_session *session);

/* Some hook of this phase has not said ACCEPT in this transaction. */
bool hook_session_wants(const hook_session *session, smx_hook_phase phase);

/* Asks the hooks of view->phase. 1: all have said CONTINUE or made a verdict at once: *verdict and
 * *changes are set. 0: some hook will answer later; `done` follows; the view's contents must stay
 * until then. Negative: SMX_E_NOMEM. `arena` is the transaction's (or the session's) and holds the
 * changes' strings and the reply's text. */
SMX_MUST_USE int hook_session_ask(hook_session *session, const smx_hook_view *view, arena *arena,
                                  smx_verdict *verdict, const hook_change **changes);
/* The hook that gave the last verdict. */
const char *hook_session_decider(const hook_session *session);
/* Tells the hooks of RESET or CLOSE; forgets ACCEPTs of the transaction at RESET. */
void hook_session_tell(hook_session *session, const smx_hook_view *view);

/* When the next answer is overdue; UINT64_MAX: none is awaited. The host calls hook_session_expire
 * then, and the hook's on_error decides. */
uint64_t hook_session_deadline(const hook_session *session);
void hook_session_expire(hook_session *session);

#endif
