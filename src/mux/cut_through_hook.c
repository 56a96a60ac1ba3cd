/* What a client does, told to the cut-through of its transaction: a hook behind all others, so that a
 * recipient comes to an upstream only when every policy lets it through. */
#include "mux/cut_through.h"
#include "mux/route.h"

static const smx_verdict GO_ON = {.kind = SMX_CONTINUE};
/* It has no part in this transaction. */
static const smx_verdict NOT_MINE = {.kind = SMX_ACCEPT};

static smx_verdict hook_no_memory(void)
{
    return (smx_verdict){SMX_REPLY_WITH, SMX_REPLY(451, 4, 3, 0, "out of memory, try again")};
}

static cut_through *hook_cut(const smx_hook_view *view)
{
    const mux_record *record =
        view->transaction == NULL ? NULL : smx_transaction_value(view->transaction);
    return record == NULL ? NULL : record->cut;
}

/* The route that the envelope alone decides (DESIGN 4.2). SMX_E_NOTFOUND: it does not. */
static int hook_route(const mux *m, const smx_hook_view *view, const mux_route **route)
{
    mux_facts facts = mux_facts_of_envelope(view->session, view->envelope, view->started);
    mux_fit fit = MUX_YES;
    facts.recipient = view->rcpt->path.mailbox;
    size_t index = mux_route_possible(m->options, &facts, 0, &fit);
    if (index != MUX_ROUTE_NONE && fit != MUX_YES)
        return SMX_E_NOTFOUND;
    *route = index == MUX_ROUTE_NONE ? NULL : &m->routes[index];
    return 0;
}

/* At the first recipient: whether its plan is this one. */
static int hook_begin(mux_worker *worker, const smx_hook_view *view, cut_through **cut)
{
    mux_resolved with;
    const smx_user *account = view->session->account;
    const mux_route *route;
    if (account == NULL || worker->cut || hook_route(worker->mux, view, &route) != 0)
        return SMX_E_NOTFOUND;
    mux_resolve(account->data, route, &with);
    if (with.plan.delivery != MUX_CUT_THROUGH)
        return SMX_E_NOTFOUND;
    return cut_through_new(worker, view->transaction, &with, account->name, view->envelope,
                           view->rcpt, cut);
}

/* When the upstream refused all recipients so far, the next one may have another route: the upstream is
 * the first one's, and there is nobody in the envelope for the hook of routes to compare it with. */
static bool hook_is_elsewhere(const mux_worker *worker, const smx_hook_view *view)
{
    const mux_route *route;
    const mux_record *record = smx_transaction_value(view->transaction);
    if (view->envelope->recipient_count > 0)
        return false;
    if (hook_route(worker->mux, view, &route) != 0)
        return true;
    return route != record->taken;
}

static smx_verdict hook_rcpt(void *arg, smx_hook_call *call)
{
    const smx_hook_view *view = smx_hook_get_view(call);
    cut_through *cut = hook_cut(view);
    if (cut != NULL && hook_is_elsewhere(arg, view))
        return (smx_verdict){SMX_REPLY_WITH, mux_route_other_route()};
    int error = cut == NULL ? hook_begin(arg, view, &cut) : 0;
    if (error == SMX_E_NOTFOUND)
        return NOT_MINE;
    smx_ticket ticket = error == 0 ? smx_hook_ticket(call) : 0;
    if (ticket == 0 || cut_through_recipient(cut, view->rcpt, smx_hook_table(call), ticket) != 0)
        return hook_no_memory();
    return (smx_verdict){.kind = SMX_VERDICT_LATER};
}

static smx_verdict hook_data(void *arg, smx_hook_call *call)
{
    (void)arg;
    const smx_hook_view *view = smx_hook_get_view(call);
    cut_through *cut = hook_cut(view);
    return cut != NULL && cut_through_data(cut, view->envelope) ? GO_ON : NOT_MINE;
}

static smx_verdict hook_header(void *arg, smx_hook_call *call)
{
    (void)arg;
    cut_through *cut = hook_cut(smx_hook_get_view(call));
    if (cut != NULL)
        cut_through_header(cut);
    return GO_ON;
}

static smx_verdict hook_body(void *arg, smx_hook_call *call)
{
    (void)arg;
    cut_through *cut = hook_cut(smx_hook_get_view(call));
    if (cut != NULL)
        cut_through_grows(cut);
    return GO_ON;
}

static smx_verdict hook_over(void *arg, smx_hook_call *call)
{
    (void)arg;
    cut_through *cut = hook_cut(smx_hook_get_view(call));
    if (cut != NULL)
        cut_through_abandon(cut);
    return GO_ON;
}

/* Upstreams have the delivery's deadline; the hook's own time is beyond any. */
enum { HOOK_PATIENCE_MS = 24 * 3600 * 1000 };

void cut_through_hook_init(smx_hook *hook, mux_worker *worker)
{
    *hook = (smx_hook){
        .version = SMX_HOOK_VERSION,
        .name = "cut-through",
        .timeout_ms = HOOK_PATIENCE_MS,
        .on_error = SMX_ON_ERROR_TEMPFAIL,
        .arg = worker,
        .phases = {[SMX_HOOK_RCPT] = hook_rcpt,
                   [SMX_HOOK_DATA] = hook_data,
                   [SMX_HOOK_HEADER] = hook_header,
                   [SMX_HOOK_BODY] = hook_body,
                   [SMX_HOOK_RESET] = hook_over,
                   [SMX_HOOK_CLOSE] = hook_over},
    };
}
