/* The hook table from the inside: what its files share. */
#ifndef HOOK_TABLE_H
#define HOOK_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "hook/runner.h"

/* The hooks that want one phase: indices into the table, in its order. */
typedef struct hook_list {
    size_t *index;
    size_t count;
} hook_list;

struct smx_hooks {
    hook_host host;
    const smx_hook **hooks;
    size_t count;
    hook_list phases[SMX_HOOK_PHASE_COUNT];
    unsigned flags; /* of all hooks together */
    /* One for the owner, one for each answer and each work on its way: they may come when the owner
     * is gone. */
    _Atomic size_t references;
    pthread_mutex_t mutex; /* guards what stands below, and each call's `answered` */
    map waiting;           /* ticket to hook_session */
    bool closed;           /* hooks_free was called: the host may no longer be asked for anything */
};

/* One hook asked about one thing. */
struct smx_hook_call {
    smx_hooks *table;
    hook_session *session; /* NULL: a BLOCKING hook's own copy, on a thread of the pool */
    const smx_hook *hook;
    size_t index; /* of the hook in the table */
    const smx_hook_view *view;
    arena *arena;       /* where its changes are kept */
    hook_change *first; /* its changes, in order */
    hook_change *last;
    smx_ticket ticket; /* 0: nobody has asked for it */
    bool answered;     /* smx_hooks_answer was called, and what it said is on its way */
    bool telling;      /* RESET and CLOSE: nothing can be answered or changed */
    const char *fault; /* a change that could not be taken, or NULL */
};

/* What the table keeps of one hook in one session. */
typedef struct hook_slot {
    void *value;
    void (*release)(void *value);
    bool accepted; /* not asked again in this transaction */
} hook_slot;

struct hook_session {
    smx_hooks *table;
    hook_done_fn *done;
    void *owner;
    smx_hook_call call; /* the one at work, or the last one */
    smx_hook_view view; /* as the hooks before have left it */
    arena *arena;
    hook_change *first; /* changes of this phase */
    hook_change *last;
    size_t next;       /* place in the phase's list */
    uint64_t deadline; /* UINT64_MAX: nothing is awaited */
    smx_verdict verdict;
    smx_message *message; /* with the body that a hook put in its place, or NULL */
    hook_slot slots[];
};

void hooks_reference(smx_hooks *table);
void hooks_release(smx_hooks *table);
/* Runs fn on the host's thread; SMX_E_GONE when the table is closed. Any thread. */
SMX_MUST_USE int hooks_post(smx_hooks *table, void (*fn)(void *arg), void *arg);

/* The session that waits under this ticket, or NULL; it waits no more. The host's thread. */
hook_session *hooks_take(smx_hooks *table, smx_ticket ticket);
/* Names the session's call. SMX_E_NOMEM. */
SMX_MUST_USE int hooks_name_call(hook_session *session);
/* The session's call has its answer, which is on its way. */
bool hooks_is_answered(hook_session *session);

/* ---- runner.c ---- */

/* A later verdict has come, with the changes of a BLOCKING call if there are any. */
void runner_answered(hook_session *session, const smx_verdict *verdict);

/* ---- overlay.c ---- */

/* Makes the view what the hooks behind this call are to see. SMX_E_NOMEM. */
SMX_MUST_USE int overlay_apply(hook_session *session, const hook_change *changes);

/* ---- changes.c ---- */

/* Copies `changes` to the end of the call's own. */
SMX_MUST_USE int changes_copy(smx_hook_call *call, const hook_change *changes);

/* ---- blocking.c ---- */

/* Asks a BLOCKING hook on the pool; with `telling`, nobody waits for what it says. SMX_E_LIMIT when
 * no thread can take it, SMX_E_NOMEM. */
SMX_MUST_USE int blocking_start(hook_session *session);

/* ---- view_copy.c ---- */

/* A copy of everything that the view points to. The message is shared: the caller drops it. */
SMX_MUST_USE int view_copy(arena *a, const smx_hook_view *view, smx_hook_view *copy);

#endif
