/* Routes at work. At RCPT: recipients of one transaction have one route (DESIGN 4.5), and behind an LMTP
 * server a recipient stands alone, as that answers each one after the dot (RFC 2033 section 4.2) when it
 * is too late to refuse them all. At the end: the route of the whole message, by its first recipient. */
#include "mux/mux_internal.h"
#include "mux/route.h"

/* What the plans that a message may take come to. */
typedef struct route_prospect {
    bool has_lmtp;
    bool all_mix; /* each says `mixed_routes: first` */
} route_prospect;

static void route_add_prospect(const mux_options *options, const mux_plan *plan,
                               route_prospect *prospect)
{
    prospect->all_mix = prospect->all_mix && plan->mixed_routes == MUX_MIXED_FIRST;
    for (size_t i = 0; i < plan->choice_count; i++) {
        if (options->upstreams[plan->choices[i].upstream].lmtp)
            prospect->has_lmtp = true;
    }
}

static route_prospect route_look_ahead(const mux_options *options, const mux_user_options *user,
                                       const mux_facts *facts)
{
    route_prospect prospect = {.all_mix = true};
    mux_fit fit = MUX_MAYBE;
    for (size_t from = 0; fit == MUX_MAYBE; from++) {
        mux_plan plan;
        fit = MUX_YES; /* at the end: the user's own plan */
        from = mux_route_possible(options, facts, from, &fit);
        mux_route_plan(user, from == MUX_ROUTE_NONE ? NULL : &options->routes[from], &plan);
        route_add_prospect(options, &plan, &prospect);
    }
    return prospect;
}

smx_reply mux_route_other_route(void)
{
    return SMX_REPLY(452, 4, 5, 3,
                     "this recipient takes another route than the first one: send it separately");
}

smx_reply mux_route_refuse_recipient(const mux_options *options, const mux_user_options *user,
                                     const mux_facts *first, const mux_facts *next)
{
    route_prospect prospect = route_look_ahead(options, user, first);
    if (prospect.has_lmtp)
        return SMX_REPLY(452, 4, 5, 3, "one recipient at a time through an LMTP server");
    if (prospect.all_mix || mux_route_is_shared(options, first, next))
        return (smx_reply){.code = 0};
    return mux_route_other_route();
}

/* ---- the hook ---- */

mux_facts mux_facts_of_envelope(const smx_session_view *session, const smx_envelope *envelope,
                                uint64_t started)
{
    return (mux_facts){
        .known = MUX_FACTS_ENVELOPE,
        .user = session->user,
        .client = session->client,
        .sender = envelope->mail.path.mailbox,
        .recipient = envelope->recipient_count == 0 ? (smx_slice){NULL, 0}
                                                    : envelope->recipients[0].path.mailbox,
        .wall_ms = started,
    };
}

static smx_verdict route_judge_recipient(void *arg, smx_hook_call *call)
{
    const mux_options *options = arg;
    const smx_hook_view *view = smx_hook_get_view(call);
    const smx_user *account = view->session->account;
    if (account == NULL || view->envelope->recipient_count == 0)
        return (smx_verdict){.kind = SMX_CONTINUE};
    const mux_user *user = account->data;
    mux_facts first = mux_facts_of_envelope(view->session, view->envelope, view->started);
    mux_facts next = first;
    next.recipient = view->rcpt->path.mailbox;
    smx_reply refusal = mux_route_refuse_recipient(options, user->options, &first, &next);
    if (refusal.code == 0)
        return (smx_verdict){.kind = SMX_CONTINUE};
    return (smx_verdict){SMX_REPLY_WITH, refusal};
}

void mux_route_hook_init(smx_hook *hook, const mux_options *options)
{
    *hook = (smx_hook){
        .version = SMX_HOOK_VERSION,
        .name = "route",
        .on_error = SMX_ON_ERROR_TEMPFAIL,
        .arg = (void *)(uintptr_t)options,
        .phases = {[SMX_HOOK_RCPT] = route_judge_recipient},
    };
}

/* ---- the whole message ---- */

int mux_route_of(const mux *m, smx_transaction *tx, const mux_route **route)
{
    *route = NULL;
    if (m->options->route_count == 0)
        return 0;
    mux_facts facts = mux_facts_of_envelope(
        smx_transaction_session(tx), smx_transaction_envelope(tx), smx_transaction_started(tx));
    facts.known = MUX_FACTS_ALL;
    facts.header = smx_transaction_header(tx);
    facts.scratch = smx_transaction_alloc(tx, facts.header.len + 1);
    facts.size = smx_message_size(smx_transaction_message(tx));
    if (facts.header.data == NULL || facts.scratch == NULL)
        return SMX_E_NOMEM;
    size_t index = mux_route_find(m->options, &facts);
    if (index != MUX_ROUTE_NONE)
        *route = &m->routes[index];
    return 0;
}
