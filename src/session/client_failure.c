/* How a client session ends: one record that says where, why, and what is known of the transaction
 * (DESIGN 4.3 and 4.4). The first failure stands. */
#include "session/client_machine.h"

void session_client_fail_in(smx_client_session *s, smx_client_phase phase, int error,
                            const smx_reply_lines *reply)
{
    const client_transaction *t = &s->transaction;
    if (s->state == CLIENT_STATE_OVER)
        return;
    /* A QUIT that fails is nothing (DESIGN 4.6). */
    if (s->state == CLIENT_STATE_QUIT) {
        session_client_enter_and_tell(s, CLIENT_STATE_OVER, SMX_CLIENT_CLOSED);
        return;
    }
    s->failure = (smx_client_failure){
        .phase = phase,
        .error = error,
        .has_reply = reply != NULL,
        .in_transaction = t->open,
        .first_reply = t->open && !t->answered,
        .outcome_unknown = t->open && t->end_sent,
    };
    if (reply != NULL)
        s->failure.reply = *reply;
    session_client_enter_and_tell(s, CLIENT_STATE_OVER, SMX_CLIENT_FAILED);
}

void session_client_fail(smx_client_session *s, int error)
{
    session_client_fail_in(s, session_client_phase(s), error, NULL);
}

void session_client_fail_by_reply(smx_client_session *s, const smx_reply_lines *reply)
{
    int error = client_reply_refuses(reply) ? SMX_E_REFUSED : SMX_E_PROTOCOL;
    session_client_fail_in(s, s->reply_phase, error, reply);
}
