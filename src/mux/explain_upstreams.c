/* The upstreams of a plan in the order of the next message, each with whether it could be used now. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "mux/admission.h"
#include "mux/explain_internal.h"

enum { PACE_DEFAULT_MS = 5000 };

/* What a delivery would come upon. */
typedef struct explain_look {
    upstream_admission seen;
    const char *unsuitable; /* connecting, it would find this; or NULL */
    smx_reply refusal;      /* and say this */
} explain_look;

/* As an attempt judges it (DESIGN 4.2), by what is known without connecting. Extensions that are only
 * configured are not all that a server offers. */
static void look_at_offer(const upstream *u, const upstream_options *o, const upstream_needs *needs,
                          explain_look *look)
{
    bool is_whole;
    upstream_offer offer = upstream_known(u, o, &is_whole);
    if (!is_whole)
        offer.extensions = ~(smx_extensions)0;
    look->unsuitable = upstream_unsuitable(needs, offer, &look->refusal);
}

/* What admission would say, without asking it: nothing is reserved, and no probe is used up. */
static void look_at_upstream(upstream *u, explain_clock clock, size_t recipients,
                             upstream_admission *seen)
{
    static const upstream_usable USABLE[] = {
        [QUOTA_OK] = UPSTREAM_USABLE,        [QUOTA_LEASING] = UPSTREAM_USABLE,
        [QUOTA_WAIT] = UPSTREAM_PACED,       [QUOTA_FULL] = UPSTREAM_QUOTA_FULL,
        [QUOTA_TOO_BIG] = UPSTREAM_TOO_MANY,
    };
    upstream_status status;
    upstream_get_status(u, clock.now, &status);
    *seen = (upstream_admission){.usable = status.usable, .until = status.until};
    if (status.usable == UPSTREAM_SUSPENDED || status.usable == UPSTREAM_BREAKER_OPEN)
        return;
    *seen = (upstream_admission){.usable = UPSTREAM_USABLE};
    quota_verdict verdict = quota_look(upstream_quota(u), clock.wall_ms, recipients);
    seen->usable = USABLE[verdict.state];
    if (verdict.until_ms > clock.wall_ms)
        seen->until = clock.now + (verdict.until_ms - clock.wall_ms);
    memcpy(seen->why, verdict.why, sizeof(seen->why));
}

/* A limit of up to a minute delays a message, if not too long (DESIGN 4.9). */
static bool is_paced(const upstream_admission *seen, const upstream_options *o, uint64_t now)
{
    uint32_t pace = o->pace_ms == 0 ? PACE_DEFAULT_MS : o->pace_ms;
    return seen->usable == UPSTREAM_PACED && seen->until <= now + pace;
}

static int add_reason(json_t *one, const upstream_admission *seen, bool is_usable)
{
    char text[QUOTA_TEXT + 64];
    (void)snprintf(text, sizeof(text), "%s%s%s%s",
                   is_usable ? "the message would wait a little: " : "", admission_reason(seen),
                   seen->why[0] == '\0' ? "" : ": ", seen->why);
    return json_object_set_new(one, "reason", json_string(text));
}

static bool would_be_tried(const explain_look *look, const upstream_options *o, uint64_t now)
{
    return look->seen.usable == UPSTREAM_USABLE || is_paced(&look->seen, o, now);
}

static int add_until(json_t *one, uint64_t until, explain_clock clock)
{
    char text[CLOCK_TEXT];
    if (until <= clock.now)
        return 0;
    uint64_t left = until - clock.now;
    smx_slice moment = clock_rfc3339(clock.wall_ms + left, text);
    int error = json_object_set_new(one, "until", json_stringn(moment.data, moment.len));
    return error |
           json_object_set_new(one, "seconds", json_integer((json_int_t)((left + 999) / 1000)));
}

static json_t *explain_upstream(upstream *u, const upstream_options *o, explain_clock clock,
                                const explain_look *look)
{
    bool is_tried = would_be_tried(look, o, clock.now);
    bool is_usable = is_tried && look->unsuitable == NULL;
    json_t *one = json_pack("{s:s, s:b}", "name", upstream_name(u), "usable", is_usable);
    int error = one == NULL ? SMX_E_NOMEM : 0;
    if (error == 0 && is_tried && !is_usable) {
        error = json_object_set_new(one, "reason", json_string(look->unsuitable));
    } else if (error == 0 && look->seen.usable != UPSTREAM_USABLE) {
        error = add_reason(one, &look->seen, is_usable);
        error |= add_until(one, look->seen.until, clock);
    }
    if (error == 0)
        return one;
    json_decref(one);
    return NULL;
}

/* The order of the next message; a copy of the turn is used up. */
static void order_of(const mux *m, const explain_query *query, const mux_resolved *with,
                     size_t *order)
{
    mux_turn turn = {.index = atomic_load(&with->turn->index),
                     .sequence = with->turn->sequence,
                     .sequence_length = with->turn->sequence_length};
    mux_resolved copy = *with;
    const smx_rcpt first = {.path.mailbox = query->facts.recipient};
    const smx_envelope envelope = {
        .mail.path.mailbox = query->sender, .recipients = &first, .recipient_count = 1};
    copy.turn = &turn;
    mux_select(m, &copy, turn.index * 0x9e3779b97f4a7c15ULL + 1, query->facts.user, &envelope,
               order);
}

bool explain_is_any_usable(const json_t *upstreams)
{
    for (size_t i = 0; i < json_array_size(upstreams); i++) {
        if (json_is_true(json_object_get(json_array_get(upstreams, i), "usable")))
            return true;
    }
    return false;
}

/* All are skipped, some for their breaker alone: the one whose pause ends first is tried all the same
 * (DESIGN 4.8). */
static void mark_last_resort(json_t *upstreams, size_t best)
{
    json_t *one = json_array_get(upstreams, best);
    (void)json_object_set_new(one, "usable", json_true());
    (void)json_object_set_new(one, "reason",
                              json_string("its breaker is open, but no other can be used"));
}

/* What the looks at all of them come to. */
typedef struct explain_sum {
    size_t best; /* the one whose breaker lets it be tried first; SIZE_MAX: none */
    uint64_t earliest;
    size_t unsuitable;
    smx_reply refusal; /* the first one's */
} explain_sum;

static void sum_up(explain_sum *sum, size_t nth, const explain_look *look, bool is_tried)
{
    if (look->seen.usable == UPSTREAM_BREAKER_OPEN && look->seen.until < sum->earliest) {
        sum->best = nth;
        sum->earliest = look->seen.until;
    }
    if (is_tried && look->unsuitable != NULL && sum->unsuitable++ == 0)
        sum->refusal = look->refusal;
}

static int explain_each(const mux *m, const explain_query *query, const mux_resolved *with,
                        explain_clock clock, size_t recipients, const size_t *order,
                        json_t *upstreams, explain_sum *sum)
{
    int error = 0;
    for (size_t i = 0; i < with->plan.choice_count && error == 0; i++) {
        explain_look look;
        size_t index = with->plan.choices[order[i]].upstream;
        const upstream_options *o = &m->options->upstreams[index];
        look_at_upstream(m->upstreams[index], clock, recipients, &look.seen);
        look_at_offer(m->upstreams[index], o, &query->needs, &look);
        sum_up(sum, i, &look, would_be_tried(&look, o, clock.now));
        json_t *one = explain_upstream(m->upstreams[index], o, clock, &look);
        error = json_array_append_new(upstreams, one) == 0 ? 0 : SMX_E_NOMEM;
    }
    return error;
}

int explain_order(const mux *m, const explain_query *query, const mux_resolved *with,
                  explain_clock clock, size_t recipients, json_t *upstreams, smx_reply *refusal)
{
    size_t count = with->plan.choice_count;
    explain_sum sum = {.best = SIZE_MAX, .earliest = UINT64_MAX};
    size_t *order = calloc(count + 1, sizeof(*order));
    if (order == NULL)
        return SMX_E_NOMEM;
    order_of(m, query, with, order);
    int error = explain_each(m, query, with, clock, recipients, order, upstreams, &sum);
    free(order);
    *refusal = (smx_reply){0};
    if (sum.unsuitable > 0 && sum.unsuitable == count)
        *refusal = sum.refusal;
    /* One that proves unable was tried: then there is no last resort. */
    if (error == 0 && !explain_is_any_usable(upstreams) && sum.best != SIZE_MAX &&
        sum.unsuitable == 0)
        mark_last_resort(upstreams, sum.best);
    return error;
}
