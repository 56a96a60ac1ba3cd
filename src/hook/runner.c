/* One session's way through the table: the hooks of a phase are asked in order, each sees the
 * changes of those before it, and one that answers later stops the walk until its answer or the end
 * of its time.
 *
 * A session asks about one thing at a time, so it holds one call. The session is the host's; the
 * strings of changes and replies lie in the arena that the host hands in. */
#include <assert.h>
#include <stdlib.h>

#include "hook/table.h"

/* What a failing hook means: its on_error. */
static const smx_reply runner_error_replies[] = {
    [SMX_ON_ERROR_TEMPFAIL] = {451, {4, 3, 0}, {"try again later", sizeof("try again later") - 1}},
    [SMX_ON_ERROR_REJECT] = {550,
                             {5, 7, 1},
                             {"refused by policy", sizeof("refused by policy") - 1}},
    [SMX_ON_ERROR_CONTINUE] = {0},
};

int hook_session_new(smx_hooks *table, hook_done_fn *done, void *owner, hook_session **session)
{
    hook_session *s = calloc(1, sizeof(*s) + table->count * sizeof(hook_slot));
    if (s == NULL)
        return SMX_E_NOMEM;
    s->table = table;
    s->done = done;
    s->owner = owner;
    s->deadline = UINT64_MAX;
    *session = s;
    return 0;
}

/* The call can be answered no more. */
static void runner_end_call(hook_session *s)
{
    if (s->call.ticket != 0)
        (void)hooks_take(s->table, s->call.ticket);
    s->call.ticket = 0;
    s->deadline = UINT64_MAX;
}

void hook_session_free(hook_session *s)
{
    if (s == NULL)
        return;
    runner_end_call(s);
    for (size_t i = 0; i < s->table->count; i++)
        if (s->slots[i].value != NULL && s->slots[i].release != NULL)
            s->slots[i].release(s->slots[i].value);
    smx_message_free(s->message);
    free(s);
}

const char *hook_session_decider(const hook_session *s)
{
    return s->call.hook == NULL ? "" : s->call.hook->name;
}

/* ---- verdicts ---- */

/* The hook failed: what it changed is dropped, and on_error decides. True: that ends the phase. */
static bool runner_failed(hook_session *s, const char *what)
{
    const smx_hook *hook = s->call.hook;
    const hook_host *host = &s->table->host;
    if (host->log != NULL)
        host->log(host->arg, hook->name, s->view.phase, what);
    if (hook->on_error == SMX_ON_ERROR_CONTINUE)
        return false;
    s->verdict = (smx_verdict){SMX_REPLY_WITH, runner_error_replies[hook->on_error]};
    return true;
}

/* A reply of a hook refuses: 4xx or 5xx, and an enhanced code of the same class (RFC 2034). */
static const char *runner_check_reply(smx_verdict *verdict)
{
    smx_reply *reply = &verdict->reply;
    if (verdict->kind == SMX_DISCONNECT && reply->code == 0)
        *reply = SMX_REPLY(421, 4, 7, 0, "closing the connection");
    if (reply->code < 400 || reply->code > 599)
        return "a reply that is neither 4xx nor 5xx";
    if (reply->enhanced.class_digit != reply->code / 100)
        reply->enhanced = (smx_enhanced){0};
    return NULL;
}

/* What is wrong with the verdict, or NULL. */
static const char *runner_check(const hook_session *s, smx_verdict *verdict)
{
    if (s->call.fault != NULL)
        return s->call.fault;
    switch (verdict->kind) {
    case SMX_CONTINUE:
    case SMX_ACCEPT:
        return NULL;
    case SMX_REPLY_WITH:
    case SMX_DISCONNECT:
        return runner_check_reply(verdict);
    case SMX_DISCARD:
        return s->view.phase < SMX_HOOK_MAIL ? "discard outside of a transaction" : NULL;
    case SMX_VERDICT_LATER:
        return "later, but the call's ticket was not taken";
    }
    return "an unknown verdict";
}

/* The changes of this call join those of the phase. */
static int runner_keep_changes(hook_session *s)
{
    smx_hook_call *call = &s->call;
    if (call->first == NULL)
        return 0;
    int error = overlay_apply(s, call->first);
    if (error != 0)
        return error;
    if (s->last != NULL)
        s->last->next = call->first;
    else
        s->first = call->first;
    s->last = call->last;
    return 0;
}

/* Draws the consequence of one hook's verdict. True: the phase is decided. */
static bool runner_settle(hook_session *s, const smx_verdict *given)
{
    smx_verdict verdict = *given;
    const char *fault = runner_check(s, &verdict);
    if (fault != NULL)
        return runner_failed(s, fault);
    if (verdict.kind == SMX_CONTINUE || verdict.kind == SMX_ACCEPT) {
        s->slots[s->call.index].accepted =
            verdict.kind == SMX_ACCEPT && s->view.phase >= SMX_HOOK_MAIL;
        return runner_keep_changes(s) != 0 && runner_failed(s, smx_error_text(SMX_E_NOMEM));
    }
    if (arena_copy(s->arena, verdict.reply.text, &verdict.reply.text) != 0)
        verdict.reply.text = (smx_slice){NULL, 0};
    s->verdict = verdict;
    return true;
}

/* ---- asking ---- */

static void runner_begin_call(hook_session *s, size_t index, bool telling)
{
    s->call = (smx_hook_call){
        .table = s->table,
        .session = s,
        .hook = s->table->hooks[index],
        .index = index,
        .view = &s->view,
        .arena = s->arena,
        .telling = telling,
    };
}

static void runner_wait(hook_session *s)
{
    uint32_t timeout = s->call.hook->timeout_ms;
    s->deadline = s->table->host.now(s->table->host.arg) + (timeout == 0 ? 30000 : timeout);
}

/* True: the hook waits on the pool. False: it could not get there, and on_error was applied:
 * *decided says whether that ends the phase. */
static bool runner_ask_blocking(hook_session *s, bool *decided)
{
    int error = hooks_name_call(s);
    if (error == 0)
        error = blocking_start(s);
    if (error == 0) {
        runner_wait(s);
        return true;
    }
    runner_end_call(s);
    *decided = runner_failed(s, error == SMX_E_LIMIT ? "no thread is free" : smx_error_text(error));
    return false;
}

/* Asks one hook. True: it waits. */
static bool runner_ask(hook_session *s, size_t index, bool *decided)
{
    runner_begin_call(s, index, false);
    if ((s->call.hook->flags & SMX_HOOK_BLOCKING) != 0)
        return runner_ask_blocking(s, decided);
    smx_verdict verdict = s->call.hook->phases[s->view.phase](s->call.hook->arg, &s->call);
    if (verdict.kind == SMX_VERDICT_LATER && s->call.ticket != 0) {
        runner_wait(s);
        return true;
    }
    runner_end_call(s);
    *decided = runner_settle(s, &verdict);
    return false;
}

/* Walks on through the phase. True: it is decided. */
static bool runner_walk(hook_session *s)
{
    const hook_list *list = &s->table->phases[s->view.phase];
    while (s->next < list->count) {
        size_t index = list->index[s->next++];
        if (s->slots[index].accepted)
            continue;
        bool decided = false;
        if (runner_ask(s, index, &decided))
            return false;
        if (decided)
            return true;
    }
    s->verdict = (smx_verdict){.kind = SMX_CONTINUE};
    return true;
}

bool hook_session_wants(const hook_session *s, smx_hook_phase phase)
{
    const hook_list *list = &s->table->phases[phase];
    for (size_t i = 0; i < list->count; i++)
        if (!s->slots[list->index[i]].accepted)
            return true;
    return false;
}

static const hook_change *runner_changes(const hook_session *s)
{
    return s->verdict.kind == SMX_CONTINUE ? s->first : NULL;
}

int hook_session_ask(hook_session *s, const smx_hook_view *view, arena *a, smx_verdict *verdict,
                     const hook_change **changes)
{
    assert(s->deadline == UINT64_MAX);
    s->view = *view;
    s->arena = a;
    s->first = NULL;
    s->last = NULL;
    s->next = 0;
    smx_message_free(s->message);
    s->message = NULL;
    if (!runner_walk(s))
        return 0;
    *verdict = s->verdict;
    *changes = runner_changes(s);
    return 1;
}

/* The awaited verdict was settled: on with the walk. The session may be gone afterwards. */
static void runner_resume(hook_session *s, bool decided)
{
    if (!decided && !runner_walk(s))
        return;
    smx_verdict verdict = s->verdict;
    s->done(s->owner, s->view.phase, &verdict, runner_changes(s));
}

void runner_answered(hook_session *s, const smx_verdict *verdict)
{
    runner_end_call(s);
    runner_resume(s, runner_settle(s, verdict));
}

uint64_t hook_session_deadline(const hook_session *s)
{
    return s->deadline;
}

void hook_session_expire(hook_session *s)
{
    if (s->deadline == UINT64_MAX)
        return;
    if (hooks_is_answered(s)) {
        s->deadline = UINT64_MAX;
        return;
    }
    runner_end_call(s);
    runner_resume(s, runner_failed(s, "its time was over"));
}

void hook_session_tell(hook_session *s, const smx_hook_view *view)
{
    const hook_list *list = &s->table->phases[view->phase];
    runner_end_call(s);
    s->view = *view;
    for (size_t i = 0; i < list->count; i++) {
        runner_begin_call(s, list->index[i], true);
        if ((s->call.hook->flags & SMX_HOOK_BLOCKING) == 0)
            (void)s->call.hook->phases[view->phase](s->call.hook->arg, &s->call);
        else if (blocking_start(s) != 0)
            (void)runner_failed(s, "no thread is free");
    }
    for (size_t i = 0; i < s->table->count; i++)
        s->slots[i].accepted = false;
    smx_message_free(s->message);
    s->message = NULL;
}

/* ---- what a hook asks about its call ---- */

const smx_hook_view *smx_hook_get_view(const smx_hook_call *call)
{
    return call->view;
}

smx_ticket smx_hook_ticket(const smx_hook_call *call)
{
    if (call->ticket == 0 && call->session != NULL && !call->telling &&
        hooks_name_call(call->session) != 0)
        return 0;
    return call->ticket;
}

smx_hooks *smx_hook_table(const smx_hook_call *call)
{
    return call->table;
}

void smx_hook_set_value(smx_hook_call *call, void *value, void (*release)(void *value))
{
    assert(call->session != NULL);
    hook_slot *slot = &call->session->slots[call->index];
    if (slot->value != NULL && slot->value != value && slot->release != NULL)
        slot->release(slot->value);
    slot->value = value;
    slot->release = release;
}

void *smx_hook_value(const smx_hook_call *call)
{
    return call->session == NULL ? NULL : call->session->slots[call->index].value;
}
