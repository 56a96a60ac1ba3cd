/* See hook_script.h. */
#include "hook_script.h"

#include <stdio.h>
#include <stdlib.h>

static smx_verdict run_script(void *arg, smx_hook_call *call)
{
    script *s = arg;
    const smx_hook_view *view = smx_hook_get_view(call);
    s->calls[view->phase]++;
    if (view->phase != s->phase)
        return (smx_verdict){.kind = SMX_CONTINUE};
    (void)snprintf(s->seen, sizeof(s->seen), "%.*s", (int)view->text.len, view->text.data);
    if (s->change != NULL)
        s->change(call);
    if (!s->later)
        return s->verdict;
    smx_ticket ticket = smx_hook_ticket(call);
    s->table = smx_hook_table(call);
    if (s->answer_at_once && smx_hooks_answer(s->table, ticket, &s->verdict) != 0)
        abort();
    s->ticket = ticket;
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

void script_init(script *s, const char *name, smx_hook_phase phase, smx_verdict_kind kind)
{
    *s = (script){.phase = phase, .verdict = {.kind = kind}};
    s->hook = (smx_hook){.version = SMX_HOOK_VERSION, .name = name, .arg = s};
    for (size_t i = 0; i < SMX_HOOK_PHASE_COUNT; i++)
        s->hook.phases[i] = run_script;
    if (kind == SMX_REPLY_WITH || kind == SMX_DISCONNECT)
        s->verdict.reply = SMX_REPLY(550, 5, 7, 9, "the hook says no");
}

void script_later(script *s, smx_hook_phase phase)
{
    script_init(s, "later", phase, SMX_CONTINUE);
    s->later = true;
}
