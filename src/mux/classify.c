/* What an attempt's failure means for the message: DESIGN 4.3, as one decision for each phase. */
#include "mux/mux_internal.h"

static bool enhanced_is(const smx_reply *reply, unsigned subject, unsigned detail)
{
    return reply->enhanced.class_digit == 5 && reply->enhanced.subject == subject &&
           reply->enhanced.detail == detail;
}

/* A recipient that does not exist here exists nowhere: 5.1.x, 5.2.1, or a bare 5xx. */
static bool recipient_is_final(const smx_reply *reply)
{
    return reply->enhanced.class_digit == 0 ||
           (reply->enhanced.class_digit == 5 && reply->enhanced.subject == 1) ||
           enhanced_is(reply, 2, 1);
}

/* Too big for this one may fit the next. */
static bool content_is_final(const smx_reply *reply)
{
    return !enhanced_is(reply, 3, 4);
}

/* The upstream does not want our credentials, or wants some: an operator has to look. */
static bool refuses_credentials(const smx_client_result *r)
{
    bool greeting = r->phase == SMX_CLIENT_PHASE_AUTH || r->phase == SMX_CLIENT_PHASE_TLS;
    bool about_auth = r->reply.code == 530 || r->reply.code == 534 || r->reply.code == 535;
    return r->reply.code / 100 == 5 &&
           (greeting || (about_auth && r->phase < SMX_CLIENT_PHASE_FINAL));
}

static mux_classified classify_refusal(const smx_client_result *r)
{
    mux_classified c = {.action = MUX_ACTION_NEXT};
    if (r->reply.code / 100 != 5)
        return c;
    c.permanent = true;
    if ((r->phase == SMX_CLIENT_PHASE_RCPT && recipient_is_final(&r->reply)) ||
        (r->phase == SMX_CLIENT_PHASE_FINAL && content_is_final(&r->reply)))
        c.action = MUX_ACTION_FINAL;
    return c;
}

mux_classified mux_classify(const upstream_result *result)
{
    const smx_client_result *r = result->client;
    mux_classified c = {.action = MUX_ACTION_NEXT};
    switch (r->outcome) {
    case SMX_OUTCOME_ACCEPTED:
        c.action = MUX_ACTION_TAKEN;
        return c;
    case SMX_OUTCOME_UNKNOWN:
        c.action = MUX_ACTION_UNKNOWN;
        return c;
    case SMX_OUTCOME_GIVEN_UP:
        c.action = MUX_ACTION_GIVEN_UP;
        return c;
    case SMX_OUTCOME_REFUSED:
    case SMX_OUTCOME_FAILED:
        break;
    }
    if (refuses_credentials(r)) {
        c.suspend = true;
        return c;
    }
    if (result->unsuitable != NULL) {
        c.permanent = true;
        return c;
    }
    return r->outcome == SMX_OUTCOME_REFUSED ? classify_refusal(r) : c;
}
