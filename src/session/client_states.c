/* THE table of states of the client's machine, and the way of a reply to the function of the state.
 * Everything else moves between states through session_client_enter. */
#include "session/client_states.h"

#include <assert.h>

#include "base/checked.h"
#include "session/client_machine.h"

typedef struct client_state_row {
    smx_client_phase phase;
    client_wait wait;
    unsigned takes;
    client_state_fn *reply;
} client_state_row;

static void client_on_nothing(smx_client_session *s, client_expect what,
                              const smx_reply_lines *reply, smx_client_event *event);

static const client_state_row client_states[] = {
#define CLIENT_STATE_ROW(name, phase, wait, takes, function)                                       \
    [CLIENT_STATE_##name] = {SMX_CLIENT_PHASE_##phase, CLIENT_WAIT_##wait, (takes), (function)},
    CLIENT_STATE_MAP(CLIENT_STATE_ROW)
#undef CLIENT_STATE_ROW
};

static const smx_client_phase client_expect_phases[] = {
#define CLIENT_EXPECT_PHASE(name, phase) [EXPECT_##name] = SMX_CLIENT_PHASE_##phase,
    CLIENT_EXPECT_MAP(CLIENT_EXPECT_PHASE)
#undef CLIENT_EXPECT_PHASE
};

static const char *const client_phase_texts[] = {
#define CLIENT_PHASE_TEXT(name, text) [SMX_CLIENT_PHASE_##name] = (text),
    SMX_PHASE_MAP(CLIENT_PHASE_TEXT)
#undef CLIENT_PHASE_TEXT
};

const char *smx_client_phase_text(smx_client_phase phase)
{
    assert(phase < SMX_CLIENT_PHASE_COUNT);
    return client_phase_texts[phase];
}

smx_client_phase session_client_phase(const smx_client_session *s)
{
    client_expect what = session_client_next_expected(s);
    /* Until its last octet is handed over the final dot belongs to the body (DESIGN 4.4), and behind
     * it nothing does, even if chunks of the body wait for their replies. */
    if (s->state == CLIENT_STATE_FINAL && (what == EXPECT_FINAL || what == EXPECT_BDAT))
        return s->transaction.end_sent ? SMX_CLIENT_PHASE_FINAL : SMX_CLIENT_PHASE_BODY;
    return what != EXPECT_NOTHING ? client_expect_phases[what] : client_states[s->state].phase;
}

void session_client_enter(smx_client_session *s, client_state state)
{
    client_wait wait = client_states[state].wait;
    s->state = state;
    if (wait == CLIENT_WAIT_NEVER || !checked_add_u64(s->now, s->timeouts[wait], &s->deadline))
        s->deadline = SMX_DEADLINE_NEVER;
}

void session_client_enter_and_tell(smx_client_session *s, client_state state,
                                   smx_client_event_type event)
{
    session_client_enter(s, state);
    s->owed = event;
}

/* A reply that no command asked for: a server that says good-bye, one that will not have the rest
 * of the body, or one that has lost its place. */
static void client_on_nothing(smx_client_session *s, client_expect what,
                              const smx_reply_lines *reply, smx_client_event *event)
{
    (void)what;
    (void)event;
    bool body = s->state == CLIENT_STATE_BODY || s->state == CLIENT_STATE_FINAL;
    if (reply->code == 421 || (body && client_reply_refuses(reply)))
        session_client_fail_in(s, s->reply_phase, SMX_E_REFUSED, reply);
    else
        session_client_fail_in(s, s->reply_phase, SMX_E_PROTOCOL, reply);
}

/* The final reply cannot come before the final dot has left. */
static bool client_reply_is_early(const smx_client_session *s, client_expect what)
{
    return what == EXPECT_FINAL && s->state == CLIENT_STATE_FINAL && !s->transaction.end_sent;
}

void session_client_dispatch(smx_client_session *s, const smx_reply_lines *reply,
                             smx_client_event *event)
{
    client_expect what = session_client_next_expected(s);
    s->reply_phase = what == EXPECT_BDAT ? SMX_CLIENT_PHASE_BODY : session_client_phase(s);
    if (what != EXPECT_RSET)
        s->transaction.answered = true;
    if (what == EXPECT_NOTHING || s->unasked || client_reply_is_early(s, what)) {
        client_on_nothing(s, what, reply, event);
        return;
    }
    /* 421: the server closes (RFC 5321 section 3.8). Behind the dot it is an outcome first. */
    if (reply->code == 421 && what != EXPECT_FINAL && what != EXPECT_QUIT) {
        /* Without this chunk the last one counts for nothing (RFC 3030 section 2). */
        if (what == EXPECT_BDAT)
            s->transaction.end_sent = false;
        session_client_fail_by_reply(s, reply);
        return;
    }
    assert((client_states[s->state].takes & (1u << what)) != 0);
    session_client_reply_came(s);
    session_client_enter(s, s->state);
    client_states[s->state].reply(s, what, reply, event);
}
