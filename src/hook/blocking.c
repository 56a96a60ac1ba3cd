/* BLOCKING hooks: asked on a thread of the pool, about a copy of everything, since the session may go
 * meanwhile. What they say comes back by ticket; without the session it is dropped.
 *
 * The work owns the copy and a reference to the table. It belongs to the pool's thread until it is
 * posted back, and to the host's thread then. */
#include <stdlib.h>

#include "hook/table.h"

typedef struct blocking_work {
    smx_hook_call call;
    smx_hook_view view;
    arena memory;
    smx_verdict verdict;
} blocking_work;

static void work_free(blocking_work *work)
{
    smx_message_free((smx_message *)(uintptr_t)work->view.message);
    arena_free(&work->memory);
    hooks_release(work->call.table);
    free(work);
}

/* Back on the host's thread. */
static void work_arrived(void *arg)
{
    blocking_work *work = arg;
    hook_session *s = hooks_take(work->call.table, work->call.ticket);
    if (s != NULL) {
        s->call.fault = work->call.fault;
        if (changes_copy(&s->call, work->call.first) != 0)
            s->call.fault = smx_error_text(SMX_E_NOMEM);
        runner_answered(s, &work->verdict);
    }
    work_free(work);
}

/* On the pool's thread. The reply's text is copied when the hook returns, as for any hook. */
static void work_run(void *arg)
{
    blocking_work *work = arg;
    const smx_hook_call *call = &work->call;
    work->verdict = call->hook->phases[work->view.phase](call->hook->arg, &work->call);
    if (arena_copy(&work->memory, work->verdict.reply.text, &work->verdict.reply.text) != 0)
        work->verdict.reply.text = (smx_slice){NULL, 0};
    if (call->telling || hooks_post(call->table, work_arrived, work) != 0)
        work_free(work);
}

int blocking_start(hook_session *s)
{
    smx_hooks *table = s->table;
    pool *threads = table->host.threads == NULL ? NULL : table->host.threads(table->host.arg);
    if (threads == NULL)
        return SMX_E_LIMIT;
    blocking_work *work = calloc(1, sizeof(*work));
    if (work == NULL)
        return SMX_E_NOMEM;
    work->call = s->call;
    work->call.session = NULL;
    work->call.view = &work->view;
    work->call.arena = &work->memory;
    hooks_reference(table);
    int error = view_copy(&work->memory, &s->view, &work->view);
    if (error == 0)
        error = pool_submit(threads, work_run, work);
    if (error != 0)
        work_free(work);
    return error;
}
