/* Waits by a timer, or in the queue of a quota; never both for one reason. */
#include "mux/admission.h"

#include "base/clock.h"

enum { PACE_DEFAULT_MS = 5000 };

static void admission_go_on(admission *a)
{
    timer_clear(&a->timer);
    a->awaited = NULL;
    a->go_on(a->arg);
}

/* The store has answered. */
static void admission_told(void *arg)
{
    admission_go_on(arg);
}

static void admission_time(timer_entry *self)
{
    admission *a = list_member(self, admission, timer);
    if (a->awaited == NULL)
        admission_go_on(a);
    else
        (void)admission_interrupt(a);
}

void admission_begin(admission *a, smx_loop *loop, uint64_t deadline, void (*go_on)(void *arg),
                     void *arg)
{
    *a = (admission){
        .loop = loop,
        .go_on = go_on,
        .arg = arg,
        .deadline = deadline,
        .timer = {.fn = admission_time},
        .waiter = {.loop = loop, .told = admission_told, .arg = a},
    };
}

static admission_answer admission_wait(admission *a, uint64_t until, quota *awaited)
{
    a->awaited = awaited;
    timer_set(loop_timers(a->loop), &a->timer, until);
    return ADMISSION_WAITS;
}

/* A window is full until `until`: is it waited for? */
static bool admission_is_paced(admission *a, const upstream_options *o, uint64_t until)
{
    uint64_t now = loop_now(a->loop);
    uint32_t pace = o->pace_ms == 0 ? PACE_DEFAULT_MS : o->pace_ms;
    if (a->since == 0)
        a->since = now;
    return until <= a->since + pace && until < a->deadline;
}

admission_answer admission_ask_upstream(admission *a, upstream *u, const upstream_options *o,
                                        uint64_t recipients, bool past_breaker,
                                        upstream_admission *granted)
{
    const upstream_ask ask = {
        .now = loop_now(a->loop),
        .recipients = recipients,
        .past_breaker = past_breaker,
        .waiter = &a->waiter,
    };
    upstream_admit(u, &ask, granted);
    if (granted->usable == UPSTREAM_LEASING)
        return admission_wait(a, a->deadline, upstream_quota(u));
    if (granted->usable == UPSTREAM_PACED && admission_is_paced(a, o, granted->until))
        return admission_wait(a, granted->until > ask.now ? granted->until : ask.now + 1, NULL);
    a->since = 0;
    return granted->usable == UPSTREAM_USABLE ? ADMISSION_GRANTED : ADMISSION_REFUSED;
}

admission_answer admission_ask_quota(admission *a, quota *q, uint64_t recipients,
                                     quota_reservation *granted, quota_verdict *verdict)
{
    bool late = loop_now(a->loop) >= a->deadline;
    *verdict = quota_reserve(q, clock_wall_ms(), recipients, late ? NULL : &a->waiter, granted);
    if (verdict->state == QUOTA_LEASING && !late)
        return admission_wait(a, a->deadline, q);
    return verdict->state == QUOTA_OK ? ADMISSION_GRANTED : ADMISSION_REFUSED;
}

bool admission_interrupt(admission *a)
{
    bool waits = a->awaited != NULL || a->timer.node.owner != NULL;
    timer_clear(&a->timer);
    if (a->awaited != NULL && quota_cancel(a->awaited, &a->waiter))
        return true; /* told is on its way */
    if (waits)
        admission_go_on(a);
    return waits;
}

const char *admission_reason(const upstream_admission *refused)
{
    switch (refused->usable) {
    case UPSTREAM_SUSPENDED:
        return "suspended";
    case UPSTREAM_BREAKER_OPEN:
        return "its breaker is open";
    case UPSTREAM_PACED:
    case UPSTREAM_QUOTA_FULL:
        return "its quota is used up";
    case UPSTREAM_TOO_MANY:
        return "more recipients than its quota ever allows";
    case UPSTREAM_LEASING:
    case UPSTREAM_USABLE:
        break;
    }
    return "";
}
