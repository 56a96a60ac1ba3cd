/* Rules: what certain replies of a provider mean for a delivery (DESIGN 4.3). A profile is a list of
 * them; the first one that matches wins.
 */
#ifndef UPSTREAM_RULES_H
#define UPSTREAM_RULES_H

#include "base/problem.h"
#include "smx/session.h"

#define UPSTREAM_RULE_ACTION_MAP(X)                                                                \
    X(NEXT, "next")       /* another upstream may try */                                           \
    X(SUSPEND, "suspend") /* that too, and this one is suspended with an alert */                  \
    X(QUOTA, "quota")     /* that too, and this one pauses: the provider's "too many" */           \
    X(FINAL, "final")     /* the message is refused for good */
typedef enum upstream_rule_action {
#define UPSTREAM_RULE_ENTRY(name, word) UPSTREAM_RULE_##name,
    UPSTREAM_RULE_ACTION_MAP(UPSTREAM_RULE_ENTRY)
#undef UPSTREAM_RULE_ENTRY
} upstream_rule_action;

enum {
    UPSTREAM_RULE_CODE = 3, /* digits of a code, parts of an enhanced one */
    UPSTREAM_RULE_ANY = -1, /* an `x` */
    UPSTREAM_RULE_QUOTA_MS = 300000,
};

typedef struct upstream_rule {
    uint32_t phases; /* bits of smx_client_phase; 0: any */
    int8_t code[UPSTREAM_RULE_CODE];
    bool has_enhanced; /* without: replies with any enhanced code, and with none */
    int16_t enhanced[UPSTREAM_RULE_CODE];
    smx_slice text; /* a glob, without regard to case; empty: any */
    upstream_rule_action action;
    uint32_t ms; /* of SUSPEND (0: 15 minutes, doubling) and QUOTA */
} upstream_rule;

/* Reads "454 4.7.0 *throttl*" into code, enhanced code and text of the rule: a code of 4 or 5 and
 * two more digits, then an enhanced code if there is to be one, then a glob for the reply's whole
 * text; `x` stands for any digit of the code or any part of the enhanced one. The text is borrowed.
 * SMX_E_SYNTAX: the problem says what is wrong. */
SMX_MUST_USE int upstream_rule_parse(smx_slice pattern, upstream_rule *rule, problem *p);

/* "next", "suspend", "quota", "final". */
SMX_MUST_USE int upstream_rule_action_parse(smx_slice word, upstream_rule_action *action);
const char *upstream_rule_action_text(upstream_rule_action action);

/* Whether the rule makes sense: only what refuses the message itself (a 5xx to MAIL, RCPT, DATA or
 * after the dot) can be final. */
SMX_MUST_USE int upstream_rule_check(const upstream_rule *rule, problem *p);

/* The first rule that matches, or NULL. */
const upstream_rule *upstream_rules_match(const upstream_rule *rules, size_t count,
                                          smx_client_phase phase, const smx_reply *reply);

#endif
