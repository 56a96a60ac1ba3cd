/* Command lines: where one ends, how long it may be, and which row of the table it runs. */
#include "session/server_states.h"

/* Limits are those of DESIGN 4.13; a response to a challenge may be as long as any line. */
static size_t line_limit(const smx_server_session *s, smx_slice start)
{
    return s->state == SERVER_AUTH ? (size_t)SMX_COMMAND_LINE_MAX : smx_line_limit(start);
}

/* Where the chunk behind a malformed BDAT ends is not known: what follows could be anything. */
static bool is_bdat(smx_slice line)
{
    smx_command command;
    smx_command_parse(line, &command);
    return command.verb == SMX_VERB_BDAT;
}

static void refuse_long_line(smx_server_session *s, smx_slice start)
{
    bool close = s->state == SERVER_COMMAND && is_bdat(slice_to(start, smx_line_limit(start)));
    s->scanned = 0;
    if (s->exchange) {
        s->cancel_due = true;
        session_server_end_exchange(s);
    }
    if (close) {
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(LINE_TOO_LONG));
        return;
    }
    session_server_enter(s, SERVER_LINE_REST);
    session_server_reply(s, SERVER_REPLY(LINE_TOO_LONG));
}

server_line session_server_cut_line(smx_server_session *s, smx_slice in, smx_slice *line,
                                    size_t *used)
{
    size_t from = s->scanned < in.len ? s->scanned : in.len;
    size_t end = from + slice_find(slice_from(in, from), '\n');
    bool whole = end < in.len;
    size_t least = whole ? end + 1 : in.len + 1; /* octets of the line, or more */
    if (least > SMX_COMMAND_LINE_MIN && least > line_limit(s, slice_to(in, end))) {
        refuse_long_line(s, slice_to(in, end));
        return SERVER_LINE_TOO_LONG;
    }
    if (!whole) {
        s->scanned = in.len;
        session_server_rate_line(s, in.len);
        return SERVER_LINE_PARTIAL;
    }
    if (end == 0 || in.data[end - 1] != '\r') {
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(BARE_LF));
        return SERVER_LINE_BARE_LF;
    }
    *line = slice_to(in, end - 1);
    *used = end + 1;
    return SERVER_LINE_WHOLE;
}

/* What is left of a line that is too long. Only CRLF ends it: a CR at the end of the input waits for
 * what stands behind it. */
size_t session_server_state_line_rest(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    (void)event;
    size_t end = slice_find(in, '\n');
    if (end == in.len) {
        size_t rest = in.len > 0 && in.data[in.len - 1] == '\r' ? in.len - 1 : in.len;
        session_rate_add(&s->line_rate, s->now, rest);
        return rest;
    }
    if (end == 0 || in.data[end - 1] != '\r') {
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(BARE_LF));
        return 0;
    }
    session_server_touch(s);
    session_server_enter(s, SERVER_COMMAND);
    return end + 1;
}

/* The rules that any command may have; the order decides which reply the client gets. */
static const smx_reply *check_rules(const smx_server_session *s, const server_command *row,
                                    const smx_command *command)
{
    unsigned rules = row->rules;
    if (s->options.tls_required && !s->tls && (rules & SERVER_BEFORE_TLS) == 0)
        return SERVER_REPLY(TLS_REQUIRED);
    if ((row->extension & ~session_server_offered(s)) != 0)
        return SERVER_REPLY(NOT_IMPLEMENTED);
    if ((rules & (SERVER_HELLO | SERVER_ESMTP)) != 0 && !s->greeted)
        return SERVER_REPLY(HELLO_FIRST);
    if ((rules & SERVER_ESMTP) != 0 && !s->esmtp)
        return SERVER_REPLY(ESMTP_FIRST);
    if ((rules & SERVER_TRANSACTION) != 0 && !s->transaction.open)
        return SERVER_REPLY(MAIL_FIRST);
    if ((rules & SERVER_NO_TRANSACTION) != 0 && s->transaction.open)
        return SERVER_REPLY(IN_TRANSACTION);
    if ((rules & SERVER_NO_ARGUMENT) != 0 && command->argument.len > 0)
        return SERVER_REPLY(NO_ARGUMENT);
    return NULL;
}

static void refuse(smx_server_session *s, const server_command *row, const smx_command *command,
                   const smx_reply *wrong)
{
    if (wrong == SERVER_REPLY(NOMEM))
        session_server_nomem(s);
    else if (row->refuse != NULL)
        row->refuse(s, command, wrong);
    else
        session_server_reply(s, wrong);
}

/* Check, event, and (on the answer) proceed. False: RESET comes first, run the line once more. */
static bool run(smx_server_session *s, const server_command *row, const smx_command *command,
                smx_slice behind, smx_server_event *event)
{
    s->plain = (row->rules & SERVER_PLAIN) != 0;
    const smx_reply *wrong = check_rules(s, row, command);
    if (wrong == NULL && row->check != NULL)
        wrong = row->check(s, command);
    if (wrong != NULL) {
        refuse(s, row, command, wrong);
        return true;
    }
    if ((row->rules & SERVER_ALONE) != 0 && behind.len > 0) {
        session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(EARLY));
        return true;
    }
    if ((row->rules & SERVER_ENDS_TRANSACTION) != 0 && s->transaction.given) {
        session_server_reset(s, SMX_RESET_COMMAND);
        return false;
    }
    s->plain = false;
    if ((row->rules & SERVER_IDLE_COMMAND) != 0 && session_server_count_idle(s))
        return true;
    s->plain = (row->rules & SERVER_PLAIN) != 0;
    s->alone = (row->rules & SERVER_ALONE) != 0;
    row->proceed(s, command, event);
    return true;
}

static bool has_bad_octet(smx_slice line)
{
    return slice_find(line, '\r') < line.len || slice_find(line, '\0') < line.len;
}

size_t session_server_state_command(smx_server_session *s, smx_slice in, smx_server_event *event)
{
    smx_slice line;
    size_t used;
    if (session_server_cut_line(s, in, &line, &used) != SERVER_LINE_WHOLE)
        return 0;
    smx_command command;
    smx_command_parse(line, &command);
    if (has_bad_octet(line)) {
        if (command.verb == SMX_VERB_BDAT)
            session_server_close(s, SMX_CLOSE_PROTOCOL, SERVER_REPLY(OCTET));
        else
            session_server_reply(s, SERVER_REPLY(OCTET));
    } else if (!run(s, session_server_command_of(command.verb), &command, slice_from(in, used),
                    event)) {
        return 0;
    }
    s->scanned = 0;
    session_server_touch(s);
    return used;
}
