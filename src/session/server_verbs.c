/* The commands but for AUTH, DATA and BDAT: what is wrong with each (check), its event (proceed),
 * and what the owner's answer changes (answered). The table is in server_states.c. */
#include <stdlib.h>

#include "session/hello_name.h"
#include "session/http_line.h"
#include "session/server_states.h"

static bool is_positive(const smx_reply *reply)
{
    return reply->code / 100 == 2;
}

/* ---- The greeting ---- */

SERVER_ANSWERED(connect)
{
    if (!is_positive(reply)) {
        session_server_close(s, SMX_CLOSE_REFUSED, reply);
        return;
    }
    session_server_enter(s, SERVER_COMMAND);
    session_server_write_banner(s, reply->text);
}

/* ---- What is no command here ---- */

SERVER_CHECK(unknown)
{
    (void)s;
    (void)command;
    return SERVER_REPLY(UNKNOWN);
}

SERVER_CHECK(unimplemented)
{
    (void)s;
    (void)command;
    return SERVER_REPLY(NOT_IMPLEMENTED);
}

SERVER_REFUSE(unknown)
{
    if (!s->greeted && session_line_is_http(command))
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(HTTP));
    /* A peer that may send a PROXY header has sent it before the session began. */
    else if (!s->greeted && slice_equal_nocase(command->name, SMX_SLICE("PROXY")))
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(PROXY_HEADER));
    else
        session_server_reply(s, reply);
}

/* ---- EHLO, HELO, LHLO ---- */

SERVER_CHECK(hello)
{
    bool lhlo = command->verb == SMX_VERB_LHLO;
    if (s->options.lmtp != lhlo) /* RFC 2033 section 4.1 */
        return s->options.lmtp ? SERVER_REPLY(LHLO_ONLY) : SERVER_REPLY(NO_LHLO);
    return session_hello_name_is_valid(command->argument) ? NULL : SERVER_REPLY(HELLO_ARGUMENT);
}

SERVER_PROCEED(hello)
{
    char *name = slice_to_text(command->argument);
    if (name == NULL) {
        session_server_nomem(s);
        return;
    }
    free(s->asked);
    s->asked = name;
    s->hello_verb = command->verb;
    event->verb = command->verb;
    event->text = command->argument;
    session_server_ask(s, event, SMX_SERVER_HELO, session_server_answered_hello);
}

SERVER_ANSWERED(hello)
{
    session_server_enter(s, SERVER_COMMAND);
    if (!is_positive(reply)) {
        session_server_reply(s, reply);
        return;
    }
    free(s->helo_memory);
    s->helo_memory = s->asked;
    s->helo = slice_of_text(s->asked);
    s->asked = NULL;
    s->greeted = true;
    s->esmtp = s->hello_verb != SMX_VERB_HELO;
    session_server_write_hello(s, reply);
}

/* ---- STARTTLS (RFC 3207) ---- */

SERVER_CHECK(starttls)
{
    (void)command;
    if (s->tls)
        return SERVER_REPLY(TLS_ACTIVE);
    if ((session_server_offered(s) & SMX_EXT_STARTTLS) == 0)
        return SERVER_REPLY(NOT_IMPLEMENTED);
    /* What was said on clear text must not reach into TLS. */
    if (s->authenticated)
        return SERVER_REPLY(TLS_AFTER_AUTH);
    return s->transaction.open ? SERVER_REPLY(IN_TRANSACTION) : NULL;
}

SERVER_PROCEED(starttls)
{
    (void)command;
    session_server_ask(s, event, SMX_SERVER_STARTTLS, session_server_answered_starttls);
}

SERVER_ANSWERED(starttls)
{
    if (is_positive(reply)) {
        session_server_enter(s, SERVER_TLS_READY);
        return;
    }
    session_server_enter(s, SERVER_COMMAND);
    session_server_reply(s, reply);
}

/* Only now, when it is sure that no octet came behind STARTTLS, 220 is said. */
size_t session_server_state_tls_ready(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)in;
    session_server_enter(s, SERVER_TLS);
    s->alone = false;
    session_server_reply(s, SERVER_REPLY(TLS));
    if (s->state == SERVER_TLS)
        event->type = SMX_SERVER_TLS;
    return 0;
}

/* ---- XCLIENT ---- */

SERVER_CHECK(xclient)
{
    if (!s->options.xclient)
        return SERVER_REPLY(XCLIENT_PEER);
    buffer_clear(&s->scratch);
    if (buffer_reserve(&s->scratch, command->argument.len + 1) != 0)
        return SERVER_REPLY(NOMEM);
    int error = smx_xclient_parse(command->argument, s->scratch.data, s->scratch.capacity,
                                  &s->parsed.xclient);
    return error == 0 ? NULL : SERVER_REPLY(XCLIENT_SYNTAX);
}

SERVER_PROCEED(xclient)
{
    (void)command;
    event->xclient = &s->parsed.xclient;
    session_server_ask(s, event, SMX_SERVER_XCLIENT, session_server_answered_xclient);
}

/* Taken: the session is as new, and the next reply is the banner. */
SERVER_ANSWERED(xclient)
{
    if (is_positive(reply)) {
        session_server_forget(s);
        session_server_enter(s, SERVER_GREET);
        return;
    }
    session_server_enter(s, SERVER_COMMAND);
    session_server_reply(s, reply);
}

/* ---- VRFY and EXPN: the owner's, if it offers VRFY ---- */

SERVER_CHECK(vrfy)
{
    (void)s;
    return command->argument.len > 0 ? NULL : SERVER_REPLY(VRFY_ARGUMENT);
}

SERVER_CHECK(expn)
{
    if ((s->options.offered & SMX_EXT_VRFY) == 0)
        return SERVER_REPLY(NOT_IMPLEMENTED);
    return session_server_check_vrfy(s, command);
}

SERVER_PROCEED(vrfy)
{
    if ((s->options.offered & SMX_EXT_VRFY) == 0) {
        session_server_reply(s, SERVER_REPLY(VRFY)); /* RFC 5321 section 3.5.3 */
        return;
    }
    event->verb = command->verb;
    event->text = command->argument;
    session_server_ask(s, event, SMX_SERVER_VRFY, session_server_answered_vrfy);
}

SERVER_ANSWERED(vrfy)
{
    session_server_enter(s, SERVER_COMMAND);
    session_server_reply(s, reply);
}

/* ---- MAIL and RCPT ---- */

/* Extensions, and so parameters, are there after EHLO only. */
static smx_extensions usable(const smx_server_session *s)
{
    return s->esmtp ? session_server_offered(s) : 0;
}

SERVER_CHECK(mail)
{
    if (s->options.auth_required && !s->authenticated)
        return SERVER_REPLY(AUTH_REQUIRED);
    const smx_reply *wrong = smx_mail_parse(command->argument, usable(s), &s->parsed.mail);
    if (wrong != NULL)
        return wrong;
    const smx_mail *mail = &s->parsed.mail;
    if (s->options.max_size > 0 && mail->has_size && mail->size > s->options.max_size)
        return SERVER_REPLY(TOO_BIG); /* RFC 1870 section 6.1 */
    if (s->options.max_transactions > 0 && s->transactions >= s->options.max_transactions)
        return SERVER_REPLY(TOO_MANY_MESSAGES);
    return NULL;
}

SERVER_REFUSE(mail)
{
    (void)command;
    if (reply == SERVER_REPLY(TOO_MANY_MESSAGES))
        session_server_close(s, SMX_CLOSE_ERRORS, reply);
    else
        session_server_reply(s, reply);
}

SERVER_PROCEED(mail)
{
    (void)command;
    s->transaction.given = true;
    s->transaction.smtputf8 = s->parsed.mail.smtputf8;
    s->transaction.binary = s->parsed.mail.body == SMX_BODY_BINARYMIME;
    event->mail = &s->parsed.mail;
    session_server_ask(s, event, SMX_SERVER_MAIL, session_server_answered_mail);
}

SERVER_ANSWERED(mail)
{
    session_server_enter(s, SERVER_COMMAND);
    if (is_positive(reply)) {
        s->transaction.open = true;
        s->transactions++;
    } else {
        session_server_reset(s, SMX_RESET_REFUSED);
    }
    session_server_reply(s, reply);
}

SERVER_CHECK(rcpt)
{
    if (s->transaction.chunking)
        return SERVER_REPLY(BDAT_BEGUN);
    const smx_reply *wrong =
        smx_rcpt_parse(command->argument, usable(s), s->transaction.smtputf8, &s->parsed.rcpt);
    if (wrong != NULL)
        s->transaction.refused = true;
    else if (s->transaction.recipients >= s->options.max_recipients)
        wrong = SERVER_REPLY(TOO_MANY_RECIPIENTS);
    return wrong;
}

SERVER_PROCEED(rcpt)
{
    (void)command;
    event->rcpt = &s->parsed.rcpt;
    session_server_ask(s, event, SMX_SERVER_RCPT, session_server_answered_rcpt);
}

SERVER_ANSWERED(rcpt)
{
    session_server_enter(s, SERVER_COMMAND);
    if (is_positive(reply))
        s->transaction.recipients++;
    else
        s->transaction.refused = true;
    session_server_reply(s, reply);
}

/* ---- Commands without an event ---- */

SERVER_PROCEED(noop)
{
    (void)command;
    (void)event;
    session_server_reply(s, SERVER_REPLY(NOOP));
}

SERVER_PROCEED(rset)
{
    (void)command;
    (void)event;
    session_server_reply(s, SERVER_REPLY(RESET));
}

SERVER_PROCEED(help)
{
    (void)command;
    (void)event;
    session_server_reply(s, SERVER_REPLY(HELP));
}

SERVER_PROCEED(quit)
{
    (void)command;
    (void)event;
    session_server_close(s, SMX_CLOSE_QUIT, SERVER_REPLY(QUIT));
}
