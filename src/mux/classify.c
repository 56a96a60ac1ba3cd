/* What an attempt's failure means for the message: DESIGN 4.3, as one decision for each phase. */
#include "mux/classify.h"

/* A provider's "too many" that needs no profile to be told (DESIGN 4.9): the account's or the
 * address's own rate, never a mailbox's. Greylisting looks alike but for its text, so a bare 4.7.x
 * is none; 4.5.3 to RCPT is the message's own number of recipients. */
#define WORDS(literal) .text = {(literal), sizeof(literal) - 1}
#define ENHANCED(class_, subject_, detail_)                                                        \
    .has_enhanced = true, .enhanced = {(class_), (subject_), (detail_)}
#define PAUSE .action = UPSTREAM_RULE_QUOTA, .ms = 60000
static const upstream_rule TOO_MANY[] = {
    {.phases = 1U << SMX_CLIENT_PHASE_MAIL, .code = {4, 5, 2}, ENHANCED(4, 5, 3), PAUSE},
    {.code = {4, 2, 1}, ENHANCED(4, 7, 28), PAUSE},
    {.code = {4, 2, 1}, ENHANCED(4, 7, 0), WORDS("*too many*"), PAUSE},
    {.code = {4, 2, 1}, ENHANCED(4, 7, 0), WORDS("*limit*"), PAUSE},
    {.code = {4, 2, 1}, ENHANCED(4, 7, 0), WORDS("*quota*"), PAUSE},
    {.code = {4, 2, 1}, ENHANCED(4, 7, 0), WORDS("* rate *"), PAUSE},
    {.phases = 1U << SMX_CLIENT_PHASE_AUTH,
     .code = {4, 5, 4},
     ENHANCED(4, 7, 0),
     WORDS("*too many*"),
     PAUSE},
};

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

/* What DESIGN 4.3 says of a failure without a rule. */
static mux_classified classify_failure(const smx_client_result *r)
{
    mux_classified c = {.action = MUX_ACTION_NEXT};
    const upstream_rule *rule =
        upstream_rules_match(TOO_MANY, sizeof(TOO_MANY) / sizeof(TOO_MANY[0]), r->phase, &r->reply);
    if (refuses_credentials(r))
        c.suspend = true;
    else if (rule != NULL)
        c.pause_ms = rule->ms;
    else if (r->outcome == SMX_OUTCOME_REFUSED)
        return classify_refusal(r);
    return c;
}

/* A 5xx that suspends or pauses says nothing about the message: later it may be taken. */
static mux_classified classify_by_rule(const smx_client_result *r, const upstream_rule *rule)
{
    mux_classified c = {.action = MUX_ACTION_NEXT};
    bool about_message = r->outcome == SMX_OUTCOME_REFUSED && r->reply.code / 100 == 5;
    switch (rule->action) {
    case UPSTREAM_RULE_NEXT:
        c.permanent = about_message;
        break;
    case UPSTREAM_RULE_SUSPEND:
        c.suspend = true;
        c.suspend_ms = rule->ms;
        break;
    case UPSTREAM_RULE_QUOTA:
        c.pause_ms = rule->ms != 0 ? rule->ms : UPSTREAM_RULE_QUOTA_MS;
        break;
    case UPSTREAM_RULE_FINAL:
        if (!about_message || r->phase < SMX_CLIENT_PHASE_MAIL)
            return classify_failure(r);
        c.action = MUX_ACTION_FINAL;
        c.permanent = true;
        break;
    }
    return c;
}

mux_classified mux_classify(const upstream_result *result, const upstream_rule *rules,
                            size_t rule_count)
{
    const smx_client_result *r = result->client;
    switch (r->outcome) {
    case SMX_OUTCOME_ACCEPTED:
        return (mux_classified){.action = MUX_ACTION_TAKEN};
    case SMX_OUTCOME_UNKNOWN:
        return (mux_classified){.action = MUX_ACTION_UNKNOWN};
    case SMX_OUTCOME_GIVEN_UP:
        return (mux_classified){.action = MUX_ACTION_GIVEN_UP};
    case SMX_OUTCOME_REFUSED:
    case SMX_OUTCOME_FAILED:
        break;
    }
    /* That reply is ours, made before anything was asked. */
    if (result->unsuitable != NULL)
        return (mux_classified){.action = MUX_ACTION_NEXT, .permanent = true};
    if (result->token_refused)
        return (mux_classified){.action = MUX_ACTION_NEXT, .suspend = true};
    const upstream_rule *rule = r->reply.code / 100 == 4 || r->reply.code / 100 == 5
                                    ? upstream_rules_match(rules, rule_count, r->phase, &r->reply)
                                    : NULL;
    return rule != NULL ? classify_by_rule(r, rule) : classify_failure(r);
}
