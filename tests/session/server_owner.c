/* The scripted owner: pumps the session, logs events, answers. It owns the session and copies all
 * that it keeps of an event. */
#include "server_owner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODY_SHOWN = 96 };

void server_owner_must(int error)
{
    if (error != 0)
        abort();
}

void server_owner_fail(server_owner *o, const char *format, ...)
{
    if (o->problem[0] != '\0')
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(o->problem, sizeof o->problem, format, arguments);
    va_end(arguments);
}

/* ---- Text ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = ascii_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The octet that the escape at `text` (behind the backslash) stands for, and its length. */
static char unescape_one(smx_slice text, size_t *len)
{
    *len = 1;
    switch (text.data[0]) {
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case '0':
        return '\0';
    case 't':
        return '\t';
    case 'x':
        if (text.len >= 3 && hex_digit(text.data[1]) >= 0 && hex_digit(text.data[2]) >= 0) {
            *len = 3;
            return (char)(hex_digit(text.data[1]) * 16 + hex_digit(text.data[2]));
        }
        return 'x';
    default:
        return text.data[0];
    }
}

void server_owner_unescape(smx_slice text, buffer *b)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\\' && i + 1 < text.len) {
            size_t len;
            c = unescape_one(slice_from(text, i + 1), &len);
            i += len;
        }
        server_owner_must(buffer_append_char(b, c));
    }
}

void server_owner_escape(smx_slice octets, buffer *b)
{
    for (size_t i = 0; i < octets.len; i++) {
        unsigned char c = (unsigned char)octets.data[i];
        if (c == '\r' || c == '\n')
            server_owner_must(buffer_append_text(b, c == '\r' ? "\\r" : "\\n"));
        else if (c == '\0')
            server_owner_must(buffer_append_text(b, "\\0"));
        else if (c < ' ' || c > '~')
            server_owner_must(buffer_printf(b, "\\x%02x", c));
        else
            server_owner_must(buffer_append_char(b, (char)c));
    }
}

static smx_slice keep(server_owner *o, smx_slice text)
{
    smx_slice copy;
    server_owner_must(arena_copy(&o->memory, text, &copy));
    return copy;
}

/* ---- Options ---- */

enum option_kind { OPTION_BOOL, OPTION_U32, OPTION_U64, OPTION_TEXT };

static const struct option {
    const char *name;
    enum option_kind kind;
    size_t offset;
} options[] = {
#define OPTION(name, kind)                                                                         \
    {                                                                                              \
#name, OPTION_##kind, offsetof(smx_server_session_options, name)                           \
    }
    OPTION(hostname, TEXT),
    OPTION(banner, TEXT),
    OPTION(lmtp, BOOL),
    OPTION(tls, BOOL),
    OPTION(auth_clear, TEXT),
    OPTION(auth_tls, TEXT),
    OPTION(auth_required, BOOL),
    OPTION(tls_required, BOOL),
    OPTION(xclient, BOOL),
    OPTION(max_size, U64),
    OPTION(max_recipients, U32),
    OPTION(max_errors, U32),
    OPTION(max_idle_commands, U32),
    OPTION(max_transactions, U32),
    OPTION(idle_timeout_ms, U32),
    OPTION(data_timeout_ms, U32),
    OPTION(min_rate, U32),
#undef OPTION
};

static smx_extensions find_extension(smx_slice keyword)
{
    static const struct {
        const char *keyword;
        smx_extensions extension;
    } rows[] = {
#define ROW(bit, name, keyword) {keyword, SMX_EXT_##name},
        SMX_EXTENSION_MAP(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (slice_equal(keyword, slice_of_text(rows[i].keyword)))
            return rows[i].extension;
    return 0;
}

/* "CHUNKING SIZE" offers these alone, "-CHUNKING" all but it. */
static bool set_offered(server_owner *o, smx_slice text)
{
    smx_slice word;
    bool known = true;
    if (text.len > 0 && text.data[0] == '-') {
        smx_extensions without = find_extension(slice_from(text, 1));
        o->options.offered &= ~without;
        return without != 0;
    }
    o->options.offered = 0;
    while (slice_cut(&text, ' ', &word)) {
        known = known && find_extension(word) != 0;
        o->options.offered |= find_extension(word);
    }
    return known;
}

static void set_value(server_owner *o, const struct option *option, smx_slice text)
{
    char *field = (char *)&o->options + option->offset;
    uint64_t number = 0;
    if (option->kind == OPTION_U32 || option->kind == OPTION_U64)
        server_owner_must(slice_to_number(text, UINT32_MAX, &number));
    uint32_t small = (uint32_t)number;
    smx_slice copy = option->kind == OPTION_TEXT ? keep(o, text) : (smx_slice){0};
    bool yes = true;
    if (option->kind == OPTION_BOOL)
        memcpy(field, &yes, sizeof yes);
    else if (option->kind == OPTION_U32)
        memcpy(field, &small, sizeof small);
    else if (option->kind == OPTION_U64)
        memcpy(field, &number, sizeof number);
    else
        memcpy(field, &copy, sizeof copy);
}

bool server_owner_set(server_owner *o, smx_slice line)
{
    smx_slice name = slice_to(line, slice_find(line, ' '));
    smx_slice value = slice_trim(slice_from(line, name.len));
    if (slice_equal(name, SMX_SLICE("normalize"))) {
        o->options.bare_newline = SMX_BARE_NEWLINE_NORMALIZE;
        return true;
    }
    if (slice_equal(name, SMX_SLICE("offered")))
        return set_offered(o, value);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!slice_equal(name, slice_of_text(options[i].name)))
            continue;
        set_value(o, &options[i], value);
        return true;
    }
    return false;
}

bool server_owner_add_hook(server_owner *o, smx_slice line)
{
    size_t arrow = slice_search(line, SMX_SLICE("->"));
    if (arrow == line.len || o->hook_count == SERVER_OWNER_HOOKS)
        return false;
    smx_slice event = slice_trim(slice_to(line, arrow));
    bool always = event.len > 0 && event.data[event.len - 1] == '*';
    if (always)
        event.len--;
    o->hooks[o->hook_count++] = (server_owner_hook){
        .event = keep(o, event),
        .verdict = keep(o, slice_trim(slice_from(line, arrow + 2))),
        .always = always,
    };
    return true;
}

void server_owner_init(server_owner *o)
{
    *o = (server_owner){.now = 1000000};
    o->options = (smx_server_session_options){
        .version = SMX_SERVER_SESSION_VERSION,
        .hostname = SMX_SLICE("mx.example"),
        .offered = ~(smx_extensions)0,
    };
}

void server_owner_free(server_owner *o)
{
    smx_server_session_free(o->session);
    arena_free(&o->memory);
    buffer_free(&o->input);
    buffer_free(&o->output);
    buffer_free(&o->log);
    buffer_free(&o->body);
}

/* ---- The log ---- */

static const struct {
    const char *name;    /* in the log */
    const char *hook;    /* in a script */
    const char *verdict; /* the answer, unless a hook says another; NULL: no ticket */
} events[] = {
    [SMX_SERVER_NONE] = {"NONE", "none", NULL},
    [SMX_SERVER_CONNECT] = {"CONNECT", "connect", "220"},
    [SMX_SERVER_HELO] = {"HELO", "helo", "250"},
    [SMX_SERVER_STARTTLS] = {"STARTTLS", "starttls", "220"},
    [SMX_SERVER_TLS] = {"TLS", "tls", NULL},
    [SMX_SERVER_AUTH] = {"AUTH", "auth", "235 2.7.0 welcome"},
    [SMX_SERVER_AUTH_RESPONSE] = {"AUTH_RESPONSE", "auth_response", "235 2.7.0 welcome"},
    [SMX_SERVER_AUTH_CANCELLED] = {"AUTH_CANCELLED", "auth_cancelled", NULL},
    [SMX_SERVER_XCLIENT] = {"XCLIENT", "xclient", "220"},
    [SMX_SERVER_MAIL] = {"MAIL", "mail", "250 2.1.0 sender"},
    [SMX_SERVER_RCPT] = {"RCPT", "rcpt", "250 2.1.5 recipient"},
    [SMX_SERVER_DATA] = {"DATA", "data", "354 go"},
    [SMX_SERVER_BODY] = {"BODY", "body", NULL},
    [SMX_SERVER_EOM] = {"EOM", "eom", "250 taken"},
    [SMX_SERVER_RESET] = {"RESET", "reset", NULL},
    [SMX_SERVER_VRFY] = {"VRFY", "vrfy", "252"},
    [SMX_SERVER_CLOSE] = {"CLOSE", "close", NULL},
};

static const char *const reset_reasons[] = {
    [SMX_RESET_COMMAND] = "command",   [SMX_RESET_REFUSED] = "refused",
    [SMX_RESET_TOO_BIG] = "too_big",   [SMX_RESET_NEWLINE] = "newline",
    [SMX_RESET_PROTOCOL] = "protocol", [SMX_RESET_CLOSED] = "closed",
};

static const char *const close_reasons[] = {
    [SMX_CLOSE_QUIT] = "quit",         [SMX_CLOSE_REFUSED] = "refused",
    [SMX_CLOSE_TIMEOUT] = "timeout",   [SMX_CLOSE_ERRORS] = "errors",
    [SMX_CLOSE_PROTOCOL] = "protocol", [SMX_CLOSE_PEER] = "peer",
    [SMX_CLOSE_SHUTDOWN] = "shutdown", [SMX_CLOSE_NOMEM] = "nomem",
};

static void log_text(server_owner *o, const char *key, smx_slice text)
{
    server_owner_must(buffer_append_text(&o->log, key));
    server_owner_escape(text, &o->log);
}

void server_owner_end_body(server_owner *o)
{
    if (!o->in_body)
        return;
    o->in_body = false;
    smx_slice body = buffer_slice(&o->body);
    server_owner_must(buffer_printf(&o->log, "BODY %zu ", body.len));
    if (body.len <= BODY_SHOWN) {
        server_owner_escape(body, &o->log);
    } else {
        server_owner_escape(slice_to(body, BODY_SHOWN / 2), &o->log);
        log_text(o, "...", slice_from(body, body.len - BODY_SHOWN / 2));
    }
    server_owner_must(buffer_append_char(&o->log, '\n'));
    buffer_clear(&o->body);
}

static void log_mail(server_owner *o, const smx_mail *mail)
{
    static const char *const bodies[] = {"", " body=7bit", " body=8bitmime", " body=binarymime"};
    static const char *const returns[] = {"", " ret=full", " ret=hdrs"};
    log_text(o, " <", mail->path.mailbox);
    server_owner_must(buffer_append_char(&o->log, '>'));
    if (mail->has_size)
        server_owner_must(buffer_printf(&o->log, " size=%" PRIu64, mail->size));
    server_owner_must(buffer_append_text(&o->log, bodies[mail->body]));
    server_owner_must(buffer_append_text(&o->log, returns[mail->ret]));
    if (mail->smtputf8)
        server_owner_must(buffer_append_text(&o->log, " smtputf8"));
    if (mail->requiretls)
        server_owner_must(buffer_append_text(&o->log, " requiretls"));
    if (mail->envid.len > 0)
        log_text(o, " envid=", mail->envid);
    if (mail->has_auth)
        log_text(o, " auth=", mail->auth);
}

static void log_rcpt(server_owner *o, const smx_rcpt *rcpt)
{
    log_text(o, " <", rcpt->path.mailbox);
    server_owner_must(buffer_append_char(&o->log, '>'));
    if (rcpt->notify != 0)
        server_owner_must(buffer_printf(&o->log, " notify=%u", rcpt->notify));
    if (rcpt->orcpt.len > 0)
        log_text(o, " orcpt=", rcpt->orcpt);
}

static void log_xclient(server_owner *o, const smx_xclient *xclient)
{
    static const char *const names[] = {
#define NAME(name) " " #name "=",
        SMX_XCLIENT_MAP(NAME)
#undef NAME
    };
    for (size_t i = 0; i < SMX_XCLIENT_COUNT; i++)
        if (xclient->given[i])
            log_text(o, names[i], xclient->value[i]);
}

/* What the event bears besides its type. */
static void log_details(server_owner *o, const smx_server_event *event)
{
    bool has_verb = event->verb != SMX_VERB_UNKNOWN;
    if (has_verb)
        server_owner_must(buffer_printf(&o->log, " %s", smx_verb_text(event->verb)));
    if (event->mechanism.len > 0)
        log_text(o, " ", event->mechanism);
    if (event->has_text || event->text.len > 0)
        log_text(o, event->has_text ? " [" : " ", event->text);
    if (event->has_text)
        server_owner_must(buffer_append_char(&o->log, ']'));
    if (event->mail != NULL)
        log_mail(o, event->mail);
    if (event->rcpt != NULL)
        log_rcpt(o, event->rcpt);
    if (event->xclient != NULL)
        log_xclient(o, event->xclient);
    if (event->type == SMX_SERVER_EOM)
        server_owner_must(buffer_printf(&o->log, " %" PRIu64, event->size));
    if (event->type == SMX_SERVER_RESET)
        server_owner_must(buffer_printf(&o->log, " %s", reset_reasons[event->reset_reason]));
    if (event->type == SMX_SERVER_CLOSE)
        server_owner_must(buffer_printf(&o->log, " %s", close_reasons[event->close_reason]));
}

static void log_event(server_owner *o, const smx_server_event *event)
{
    if (event->type == SMX_SERVER_BODY) {
        o->in_body = true;
        server_owner_must(buffer_append(&o->body, event->text));
        return;
    }
    o->exchange = o->exchange && event->type != SMX_SERVER_AUTH_CANCELLED;
    server_owner_end_body(o);
    server_owner_must(buffer_append_text(&o->log, events[event->type].name));
    log_details(o, event);
    server_owner_must(buffer_append_char(&o->log, '\n'));
}

/* What must hold whatever the client sends. */
static void watch(server_owner *o, const smx_server_event *event)
{
    if (o->closed && event->type != SMX_SERVER_NONE)
        server_owner_fail(o, "an event after CLOSE");
    if (event->ticket != 0 && event->ticket <= o->last_ticket)
        server_owner_fail(o, "ticket %" PRIu64 " does not grow", event->ticket);
    if ((event->ticket != 0) != (events[event->type].verdict != NULL))
        server_owner_fail(o, "%s: ticket %" PRIu64, events[event->type].name, event->ticket);
    if (event->type == SMX_SERVER_BODY && event->text.len == 0)
        server_owner_fail(o, "an empty BODY");
    if (event->type == SMX_SERVER_MAIL && o->mails++ > 0)
        server_owner_fail(o, "MAIL within a transaction");
    if ((event->type == SMX_SERVER_EOM || event->type == SMX_SERVER_RESET) && o->mails-- == 0)
        server_owner_fail(o, "%s without MAIL", events[event->type].name);
    if (event->type == SMX_SERVER_CLOSE && o->mails != 0)
        server_owner_fail(o, "CLOSE without RESET");
}

/* ---- Answers ---- */

static smx_slice find_verdict(server_owner *o, smx_server_event_type type)
{
    for (size_t i = 0; i < o->hook_count; i++) {
        server_owner_hook *hook = &o->hooks[i];
        if (hook->used || !slice_equal(hook->event, slice_of_text(events[type].hook)))
            continue;
        hook->used = !hook->always;
        return hook->verdict;
    }
    return slice_of_text(events[type].verdict);
}

static smx_reply read_reply(server_owner *o, smx_slice text)
{
    smx_reply reply = {0};
    smx_slice code = slice_to(text, slice_find(text, ' '));
    uint64_t number = 0;
    size_t len = 0;
    if (slice_to_number(code, 599, &number) != 0)
        server_owner_fail(o, "no reply: %.*s", (int)text.len, text.data);
    reply.code = (uint16_t)number;
    text = slice_trim(slice_from(text, code.len));
    if (smx_enhanced_parse(text, &reply.enhanced, &len) == 0)
        text = slice_trim(slice_from(text, len));
    buffer unescaped = {0};
    server_owner_unescape(text, &unescaped);
    reply.text = keep(o, buffer_slice(&unescaped));
    buffer_free(&unescaped);
    return reply;
}

static int answer_each(server_owner *o, smx_ticket ticket, smx_slice verdict)
{
    smx_reply replies[8];
    size_t count = 0;
    smx_slice one;
    while (count < 8 && slice_cut(&verdict, '|', &one))
        replies[count++] = read_reply(o, slice_trim(one));
    return smx_server_session_answer_each(o->session, ticket, replies, count);
}

static void give(server_owner *o, smx_ticket ticket, smx_server_event_type type, smx_slice verdict)
{
    int error;
    bool auth = type == SMX_SERVER_AUTH || type == SMX_SERVER_AUTH_RESPONSE;
    smx_reply reply = {0};
    o->exchange = false;
    if (slice_find(verdict, '|') < verdict.len) {
        error = answer_each(o, ticket, verdict);
    } else {
        reply = read_reply(o, verdict);
        o->exchange = auth && reply.code == 334;
        if (o->exchange)
            error = smx_server_session_challenge(o->session, ticket, reply.text);
        else
            error = smx_server_session_answer(o->session, ticket, &reply);
    }
    if (error != 0 && error != SMX_E_NOMEM)
        server_owner_fail(o, "answer to %s: %s", events[type].name, smx_error_text(error));
}

void server_owner_answer(server_owner *o, smx_slice verdict)
{
    smx_server_event_type type = o->waiting;
    o->waiting = SMX_SERVER_NONE;
    give(o, o->last_ticket, type, verdict);
    server_owner_feed(o, (smx_slice){0});
}

void server_owner_tls_done(server_owner *o, int error)
{
    o->waiting = SMX_SERVER_NONE;
    smx_server_session_tls_done(o->session, o->now, error);
}

static void collect_output(server_owner *o)
{
    smx_slice out = smx_server_session_output(o->session);
    server_owner_must(buffer_append(&o->output, out));
    if (out.len > 0)
        smx_server_session_sent(o->session, out.len);
}

static void respond(server_owner *o, const smx_server_event *event)
{
    bool tls = event->type == SMX_SERVER_TLS;
    if (event->ticket == 0 && !tls)
        return;
    o->last_ticket = event->ticket != 0 ? event->ticket : o->last_ticket;
    smx_slice verdict = find_verdict(o, event->type);
    if (slice_equal(verdict, SMX_SLICE("later"))) {
        o->waiting = event->type;
    } else if (tls) {
        collect_output(o);
        server_owner_tls_done(o, verdict.len == 0 ? 0 : SMX_E_TLS);
    } else {
        give(o, event->ticket, event->type, verdict);
    }
}

/* ---- The pump ---- */

/* One call of feed; false when the session has nothing more to say. */
static bool step(server_owner *o)
{
    smx_server_event event;
    /* A copy of exact length, so that the sanitizer sees a read behind it. */
    smx_slice in = buffer_slice(&o->input);
    char *copy = malloc(in.len + 1);
    if (copy == NULL)
        abort();
    if (in.len > 0)
        memcpy(copy + 1, in.data, in.len);
    size_t used = smx_server_session_feed(o->session, o->now, slice_of(copy + 1, in.len), &event);
    if (used > in.len) {
        server_owner_fail(o, "used %zu of %zu octets", used, in.len);
        used = in.len;
    }
    watch(o, &event);
    if (event.type != SMX_SERVER_NONE)
        log_event(o, &event);
    free(copy);
    buffer_consume(&o->input, used);
    respond(o, &event);
    if (event.type == SMX_SERVER_CLOSE) {
        collect_output(o);
        o->closed = true;
    }
    return event.type != SMX_SERVER_NONE && !o->closed;
}

void server_owner_feed(server_owner *o, smx_slice octets)
{
    server_owner_must(buffer_append(&o->input, octets));
    while (step(o))
        continue;
    if (o->closed && smx_server_session_output(o->session).len > 0)
        server_owner_fail(o, "output after CLOSE");
    collect_output(o);
    if (o->waiting == SMX_SERVER_NONE && buffer_length(&o->input) > SMX_SESSION_REST)
        server_owner_fail(o, "%zu octets are left", buffer_length(&o->input));
}

void server_owner_start(server_owner *o)
{
    o->options.tickets = &o->tickets;
    server_owner_must(smx_server_session_new(&o->options, o->now, &o->session));
    server_owner_feed(o, (smx_slice){0});
}

void server_owner_wait(server_owner *o, uint64_t until)
{
    uint64_t due;
    while (!o->closed && (due = smx_server_session_deadline(o->session)) <= until) {
        if (due > o->now)
            o->now = due;
        uint64_t before = smx_server_session_deadline(o->session);
        server_owner_feed(o, (smx_slice){0});
        if (!o->closed && smx_server_session_deadline(o->session) <= before) {
            server_owner_fail(o, "a deadline that does nothing");
            return;
        }
    }
    o->now = until;
    server_owner_feed(o, (smx_slice){0});
}
