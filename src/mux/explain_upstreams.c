/* The upstreams of a plan in the order of the next message, each with whether it could be used now. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "mux/admission.h"
#include "mux/explain_internal.h"

enum { PACE_DEFAULT_MS = 5000 };

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
    if (status.usable != UPSTREAM_USABLE)
        return;
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

static json_t *explain_upstream(upstream *u, const upstream_options *o, explain_clock clock,
                                const upstream_admission *seen)
{
    char until[CLOCK_TEXT];
    bool is_usable = seen->usable == UPSTREAM_USABLE || is_paced(seen, o, clock.now);
    json_t *one = json_pack("{s:s, s:b}", "name", upstream_name(u), "usable", is_usable);
    if (one == NULL || seen->usable == UPSTREAM_USABLE)
        return one;
    int error = add_reason(one, seen, is_usable);
    if (seen->until > clock.now) {
        uint64_t left = seen->until - clock.now;
        smx_slice text = clock_rfc3339(clock.wall_ms + left, until);
        error |= json_object_set_new(one, "until", json_stringn(text.data, text.len));
        error |=
            json_object_set_new(one, "seconds", json_integer((json_int_t)((left + 999) / 1000)));
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

int explain_order(const mux *m, const explain_query *query, const mux_resolved *with,
                  explain_clock clock, size_t recipients, json_t *upstreams)
{
    size_t count = with->plan.choice_count;
    size_t best = SIZE_MAX;
    uint64_t earliest = UINT64_MAX;
    size_t *order = calloc(count + 1, sizeof(*order));
    int error = order == NULL ? SMX_E_NOMEM : 0;
    if (error == 0)
        order_of(m, query, with, order);
    for (size_t i = 0; i < count && error == 0; i++) {
        upstream_admission seen;
        size_t index = with->plan.choices[order[i]].upstream;
        look_at_upstream(m->upstreams[index], clock, recipients, &seen);
        json_t *one =
            explain_upstream(m->upstreams[index], &m->options->upstreams[index], clock, &seen);
        error = json_array_append_new(upstreams, one) == 0 ? 0 : SMX_E_NOMEM;
        if (seen.usable == UPSTREAM_BREAKER_OPEN && seen.until < earliest) {
            best = i;
            earliest = seen.until;
        }
    }
    free(order);
    if (error == 0 && !explain_is_any_usable(upstreams) && best != SIZE_MAX)
        mark_last_resort(upstreams, best);
    return error;
}
