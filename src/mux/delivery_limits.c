/* Limits of the user and the route: 450 4.7.1 (DESIGN 4.9). They are reserved before the first
 * upstream is tried, and settled once, with the outcome. */
#include "base/clock.h"
#include "mux/delivery_internal.h"

void delivery_settle_limits(delivery *d, mux_outcome outcome)
{
    for (size_t i = 0; i < MUX_QUOTAS; i++) {
        if (d->with.quotas[i] == NULL)
            continue;
        if (outcome == MUX_OUTCOME_DELIVERED || outcome == MUX_OUTCOME_UNKNOWN)
            quota_commit(d->with.quotas[i], clock_wall_ms(), &d->reserved[i]);
        else
            quota_release(d->with.quotas[i], &d->reserved[i]);
    }
}

smx_reply delivery_limit_reply(const quota_verdict *verdict, buffer *text)
{
    bool never = verdict->state == QUOTA_TOO_BIG;
    if (verdict->state == QUOTA_LEASING)
        return SMX_REPLY(451, 4, 3, 0, "what is used of your limit cannot be told, try later");
    smx_reply reply = never ? SMX_REPLY(550, 5, 7, 1, "more recipients than your limit allows")
                            : SMX_REPLY(450, 4, 7, 1, "your limit is used up, try later");
    if (buffer_printf(text,
                      never ? "more recipients than your limit allows: %s"
                            : "your limit is used up: %s",
                      verdict->why) == 0)
        reply.text = buffer_slice(text);
    return reply;
}

static void delivery_refuse_limit(delivery *d, const quota_verdict *verdict)
{
    buffer text = {0};
    smx_reply reply = delivery_limit_reply(verdict, &text);
    delivery_finish(d, reply.code / 100 == 5 ? MUX_OUTCOME_REJECTED : MUX_OUTCOME_DEFERRED, &reply);
    buffer_free(&text);
}

/* Also when the store has answered. */
void delivery_reserve(void *arg)
{
    delivery *d = arg;
    uint64_t recipients = smx_transaction_envelope(d->tx)->recipient_count;
    for (; d->limits_asked < MUX_QUOTAS; d->limits_asked++) {
        quota_verdict verdict;
        if (d->worker->cut || d->client_gone || d->with.quotas[d->limits_asked] == NULL)
            continue;
        switch (admission_ask_quota(&d->door, d->with.quotas[d->limits_asked], recipients,
                                    &d->reserved[d->limits_asked], &verdict)) {
        case ADMISSION_WAITS:
            return;
        case ADMISSION_REFUSED:
            delivery_refuse_limit(d, &verdict);
            return;
        case ADMISSION_GRANTED:
            break;
        }
    }
    delivery_next(d);
}
