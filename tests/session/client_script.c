/* The interpreter of client scripts; client_script.h says what they look like. */
#include "client_script.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCRIPT_RECIPIENTS = 400, SCRIPT_PIECES = 3 };

typedef struct script {
    smx_client_session *session;
    smx_client_session_options options;
    uint64_t now;
    size_t chunk;
    size_t longest;
    bool holding;    /* the output stays where it is */
    buffer texts[4]; /* memory of the options */
    buffer said;     /* by the server, not yet fed */
    buffer rest;     /* fed, not used */
    buffer sent;     /* by the client, not yet matched */
    buffer events;   /* lines, not yet matched */
    buffer memory;   /* of the transaction */
    smx_rcpt recipients[SCRIPT_RECIPIENTS];
    smx_client_transaction transaction;
    buffer *problem;
} script;

/* Scripts are trusted and memory is there: a test stops otherwise. */
static void must(int error)
{
    if (error != 0)
        abort();
}

static bool script_fails(script *s, const char *what, smx_slice expected, smx_slice found)
{
    must(buffer_printf(s->problem, "%s: expected \"%.*s\", found \"%.*s\"", what, (int)expected.len,
                       expected.data, (int)found.len, found.data));
    return false;
}

/* ---- Words and escapes ---- */

static size_t script_unescape_one(smx_slice in, buffer *out)
{
    static const char names[] = "rnt0\\s";
    static const char octets[] = {'\r', '\n', '\t', '\0', '\\', ' '};
    char name = in.len > 1 ? in.data[1] : '\\';
    const char *found = memchr(names, name, sizeof names - 1);
    if (found != NULL) {
        must(buffer_append_char(out, octets[found - names]));
        return 2;
    }
    char *end = NULL;
    if (name == 'x') {
        char digits[3] = {in.data[2], in.data[3], '\0'};
        must(buffer_append_char(out, (char)strtoul(digits, &end, 16)));
        return 4;
    }
    assert(name == '*');
    unsigned long count = strtoul(in.data + 2, &end, 10);
    for (unsigned long i = 0; i < count; i++)
        must(buffer_append_char(out, end[1]));
    return (size_t)(end + 2 - in.data);
}

static void script_unescape(smx_slice in, buffer *out)
{
    while (in.len > 0) {
        size_t taken = 1;
        if (in.data[0] == '\\')
            taken = script_unescape_one(in, out);
        else
            must(buffer_append_char(out, in.data[0]));
        in = slice_from(in, taken);
    }
}

/* "key=value": true and the value if `word` has that key. */
static bool script_value(smx_slice word, const char *key, smx_slice *value)
{
    smx_slice name = slice_of_text(key);
    if (!slice_starts_with(word, name) || word.len == name.len || word.data[name.len] != '=')
        return false;
    *value = slice_from(word, name.len + 1);
    return true;
}

static uint64_t script_number(smx_slice text)
{
    uint64_t number = 0;
    must(slice_to_number(text, UINT64_MAX, &number));
    return number;
}

/* "300s" or "20ms" */
static uint64_t script_time(smx_slice text)
{
    if (slice_equal(text, SMX_SLICE("never")))
        return SMX_DEADLINE_NEVER;
    bool milliseconds = text.len > 2 && text.data[text.len - 2] == 'm';
    uint64_t number = script_number(slice_to(text, text.len - (milliseconds ? 2 : 1)));
    return milliseconds ? number : number * 1000;
}

static const struct {
    int error;
    const char *name;
} script_errors[] = {{0, "OK"},
#define SCRIPT_ERROR(number, name, text) {(number), #name},
                     SMX_ERROR_MAP(SCRIPT_ERROR)
#undef SCRIPT_ERROR
};

static const char *script_error_name(int error)
{
    for (size_t i = 0; i < sizeof script_errors / sizeof script_errors[0]; i++)
        if (script_errors[i].error == error)
            return script_errors[i].name;
    abort();
}

static int script_error_number(smx_slice name)
{
    for (size_t i = 0; i < sizeof script_errors / sizeof script_errors[0]; i++)
        if (slice_equal(slice_of_text(script_errors[i].name), name))
            return script_errors[i].error;
    abort();
}

/* ---- What comes of it ---- */

static void script_take_output(script *s)
{
    if (s->holding)
        return;
    smx_slice output = smx_client_session_output(s->session);
    must(buffer_append(&s->sent, output));
    smx_client_session_sent(s->session, output.len);
}

static void script_note_failure(script *s, const smx_client_failure *f)
{
    must(buffer_printf(&s->events, "FAILED %s %s", smx_client_phase_text(f->phase),
                       script_error_name(f->error)));
    if (f->has_reply)
        must(buffer_printf(&s->events, " reply=%u", f->reply.code));
    if (f->in_transaction)
        must(buffer_append_text(&s->events, " in-transaction"));
    if (f->first_reply)
        must(buffer_append_text(&s->events, " first-reply"));
    if (f->outcome_unknown)
        must(buffer_append_text(&s->events, " unknown"));
}

static void script_note(script *s, const smx_client_event *event)
{
    static const char *const names[] = {
        [SMX_CLIENT_TLS] = "TLS",
        [SMX_CLIENT_AUTH] = "AUTH ",
        [SMX_CLIENT_CHALLENGE] = "CHALLENGE ",
        [SMX_CLIENT_READY] = "READY",
        [SMX_CLIENT_MAIL_REPLY] = "MAIL_REPLY",
        [SMX_CLIENT_RCPT_REPLY] = "RCPT_REPLY",
        [SMX_CLIENT_BODY] = "BODY",
        [SMX_CLIENT_DECIDE] = "DECIDE",
        [SMX_CLIENT_DATA_REPLY] = "DATA_REPLY",
        [SMX_CLIENT_REPLY] = "REPLY",
        [SMX_CLIENT_FAILED] = "",
        [SMX_CLIENT_CLOSED] = "CLOSED",
    };
    smx_slice text = event->text;
    if (event->type == SMX_CLIENT_AUTH)
        text = smx_client_session_capabilities(s->session)->auth_mechanisms;
    must(buffer_append_text(&s->events, names[event->type]));
    must(buffer_append(&s->events, text));
    if (event->type == SMX_CLIENT_RCPT_REPLY || event->type == SMX_CLIENT_REPLY)
        must(buffer_printf(&s->events, " %zu", event->index));
    if (event->reply.code != 0)
        must(buffer_printf(&s->events, " %u", event->reply.code));
    if (event->type == SMX_CLIENT_FAILED)
        script_note_failure(s, event->failure);
    must(buffer_append_char(&s->events, '\n'));
}

/* Feeds what the owner holds until nothing comes of it. */
static void script_pull(script *s)
{
    smx_client_event event;
    do {
        size_t used = smx_client_session_feed(s->session, s->now, buffer_slice(&s->rest), &event);
        buffer_consume(&s->rest, used);
        if (event.type == SMX_CLIENT_NONE)
            break;
        /* An owner that acts on TLS only when its input is used up sees just the failure. */
        smx_slice tls = SMX_SLICE("TLS\n");
        if (event.type == SMX_CLIENT_FAILED && event.failure->phase == SMX_CLIENT_PHASE_TLS &&
            slice_equal(buffer_slice(&s->events), tls))
            buffer_clear(&s->events);
        script_note(s, &event);
    } while (true);
    script_take_output(s);
}

/* The server's octets reach the session a chunk at a time. */
static void script_flush(script *s)
{
    smx_slice said = buffer_slice(&s->said);
    if (said.len > s->longest)
        s->longest = said.len;
    while (said.len > 0) {
        size_t len = said.len < s->chunk ? said.len : s->chunk;
        must(buffer_append(&s->rest, slice_to(said, len)));
        said = slice_from(said, len);
        script_pull(s);
    }
    buffer_clear(&s->said);
}

static bool script_settled(script *s)
{
    script_flush(s);
    script_pull(s);
    if (buffer_length(&s->events) > 0)
        return script_fails(s, "event", SMX_SLICE("nothing"), buffer_slice(&s->events));
    if (buffer_length(&s->sent) > 0)
        return script_fails(s, "sent", SMX_SLICE("nothing"), buffer_slice(&s->sent));
    return true;
}

/* ---- Options ---- */

static void script_text_option(script *s, size_t memory, smx_slice value, smx_slice *option)
{
    script_unescape(value, &s->texts[memory]);
    *option = buffer_slice(&s->texts[memory]);
}

static void script_option(script *s, smx_slice word)
{
    static const char *const policies[] = {"off", "if-offered", "required", "implicit"};
    smx_client_session_options *o = &s->options;
    smx_slice value;
    if (script_value(word, "tls", &value)) {
        for (size_t i = 0; i < 4; i++)
            if (slice_equal(value, slice_of_text(policies[i])))
                o->tls = (smx_tls_policy)i;
    } else if (script_value(word, "own", &value)) {
        script_text_option(s, 0, value, &o->own_hostname);
    } else if (script_value(word, "helo", &value)) {
        script_text_option(s, 1, value, &o->helo);
    } else if (slice_equal(word, SMX_SLICE("lmtp"))) {
        o->lmtp = true;
    } else if (slice_equal(word, SMX_SLICE("authenticate"))) {
        o->authenticate = true;
    }
#define SCRIPT_TIMEOUT(name)                                                                       \
    else if (script_value(word, #name, &value)) o->name##_timeout_ms =                             \
        (uint32_t)script_number(value);
    SCRIPT_TIMEOUT(banner)
    SCRIPT_TIMEOUT(command)
    SCRIPT_TIMEOUT(data)
    SCRIPT_TIMEOUT(block)
    SCRIPT_TIMEOUT(final)
#undef SCRIPT_TIMEOUT
    else abort();
}

static void script_start(script *s)
{
    if (s->session == NULL)
        must(smx_client_session_new(&s->options, s->now, &s->session));
}

/* ---- The owner's actions ---- */

/* A copy of the escaped text that lives as long as the script. */
static smx_slice script_keep(script *s, smx_slice text)
{
    size_t start = s->memory.end;
    script_unescape(text, &s->memory);
    return slice_of(s->memory.data + start, s->memory.end - start);
}

/* "to=a@b;notify=never;orcpt=rfc822;a@b": the notify is NEVER, or SUCCESS and FAILURE. */
static void script_recipient(script *s, smx_slice value)
{
    smx_rcpt *rcpt = &s->recipients[s->transaction.recipient_count++];
    smx_slice word;
    *rcpt = (smx_rcpt){0};
    (void)slice_cut(&value, ';', &word);
    rcpt->path.mailbox = script_keep(s, word);
    while (slice_cut(&value, ';', &word)) {
        smx_slice text;
        if (script_value(word, "notify", &text))
            rcpt->notify = slice_equal(text, SMX_SLICE("never"))
                               ? SMX_NOTIFY_NEVER
                               : SMX_NOTIFY_SUCCESS | SMX_NOTIFY_FAILURE;
        else if (script_value(word, "orcpt", &text))
            rcpt->orcpt = script_keep(s, text);
    }
}

static bool script_transaction_flag(smx_client_transaction *t, smx_slice word)
{
    if (slice_equal(word, SMX_SLICE("hold")))
        return t->hold_data = true;
    if (slice_equal(word, SMX_SLICE("no-chunking")))
        return t->no_chunking = true;
    if (slice_equal(word, SMX_SLICE("in-steps")))
        return t->in_steps = true;
    if (slice_equal(word, SMX_SLICE("smtputf8")))
        return t->mail.smtputf8 = true;
    if (slice_equal(word, SMX_SLICE("requiretls")))
        return t->mail.requiretls = true;
    if (slice_equal(word, SMX_SLICE("8bit")))
        return (t->mail.body = SMX_BODY_8BITMIME) != SMX_BODY_NONE;
    if (slice_equal(word, SMX_SLICE("binary")))
        return (t->mail.body = SMX_BODY_BINARYMIME) != SMX_BODY_NONE;
    if (slice_equal(word, SMX_SLICE("ret-hdrs")))
        return (t->mail.ret = SMX_RET_HDRS) != SMX_RET_NONE;
    return false;
}

static void script_transaction_word(script *s, smx_slice word)
{
    smx_client_transaction *t = &s->transaction;
    smx_slice value;
    if (script_value(word, "from", &value)) {
        t->mail.path.mailbox = script_keep(s, value);
    } else if (script_value(word, "to", &value)) {
        script_recipient(s, value);
    } else if (script_value(word, "many", &value)) {
        for (uint64_t i = script_number(value); i > 0; i--)
            script_recipient(s, SMX_SLICE("c@d.e"));
    } else if (script_value(word, "size", &value)) {
        t->has_size = true;
        t->size = script_number(value);
    } else if (script_value(word, "envid", &value)) {
        t->mail.envid = script_keep(s, value);
    } else if (script_value(word, "auth", &value)) {
        t->mail.has_auth = true;
        t->mail.auth = script_keep(s, value);
    } else if (!script_transaction_flag(t, word)) {
        abort();
    }
}

static int script_begin(script *s, smx_slice words)
{
    smx_slice word;
    /* Strings are slices of it: it may not move. */
    buffer_clear(&s->memory);
    must(buffer_reserve(&s->memory, 65536));
    s->transaction = (smx_client_transaction){.recipients = s->recipients};
    while (slice_cut(&words, ' ', &word))
        script_transaction_word(s, word);
    return smx_client_session_begin(s->session, s->now, &s->transaction);
}

/* The output goes first, then the pieces, as the header says. */
static int script_body(script *s, smx_slice text)
{
    buffer body = {0};
    script_unescape(text, &body);
    smx_slice rest = buffer_slice(&body);
    int error = 0;
    script_take_output(s);
    while (rest.len > 0 && error == 0) {
        smx_slice pieces[SCRIPT_PIECES];
        size_t used;
        size_t count;
        error =
            smx_client_session_body(s->session, s->now, rest, &used, pieces, SCRIPT_PIECES, &count);
        for (size_t i = 0; error == 0 && i < count; i++)
            must(buffer_append(&s->sent, pieces[i]));
        if (error == 0)
            rest = slice_from(rest, used);
    }
    buffer_free(&body);
    return error;
}

/* "MECHANISM" or "MECHANISM =initial" */
static int script_auth(script *s, smx_slice words)
{
    smx_slice mechanism;
    buffer name = {0};
    buffer initial = {0};
    (void)slice_cut(&words, ' ', &mechanism);
    script_unescape(mechanism, &name);
    bool has_initial = words.len > 0;
    if (has_initial)
        script_unescape(slice_from(words, 1), &initial);
    int error = smx_client_session_auth(s->session, s->now, buffer_slice(&name), has_initial,
                                        buffer_slice(&initial));
    buffer_free(&name);
    buffer_free(&initial);
    return error;
}

static int script_respond(script *s, smx_slice text)
{
    buffer response = {0};
    script_unescape(text, &response);
    int error = smx_client_session_auth_response(s->session, s->now, buffer_slice(&response));
    buffer_free(&response);
    return error;
}

static int script_tls(script *s, smx_slice words)
{
    int error = words.len == 0 ? 0 : script_error_number(words);
    smx_client_session_tls_done(s->session, s->now, error);
    return 0;
}

static int script_fail(script *s, smx_slice words)
{
    smx_client_session_fail(s->session, script_error_number(words));
    return 0;
}

/* "to=a@b to=c@d": they join those of before. */
static int script_recipients(script *s, smx_slice words)
{
    size_t before = s->transaction.recipient_count;
    smx_slice word;
    while (slice_cut(&words, ' ', &word))
        script_transaction_word(s, word);
    int error = smx_client_session_recipients(s->session, s->now, s->recipients,
                                              s->transaction.recipient_count);
    if (error != 0)
        s->transaction.recipient_count = before;
    return error;
}

static int script_wait(script *s, smx_slice words)
{
    (void)words;
    smx_client_session_body_wait(s->session);
    return 0;
}

static int script_proceed(script *s, smx_slice words)
{
    (void)words;
    return smx_client_session_proceed(s->session, s->now);
}

static int script_reset(script *s, smx_slice words)
{
    (void)words;
    return smx_client_session_reset(s->session, s->now);
}

static int script_quit(script *s, smx_slice words)
{
    (void)words;
    return smx_client_session_quit(s->session, s->now);
}

static int script_noop(script *s, smx_slice words)
{
    (void)words;
    return smx_client_session_noop(s->session, s->now);
}

static int script_end(script *s, smx_slice words)
{
    (void)words;
    return smx_client_session_body_end(s->session, s->now);
}

static int script_trim(script *s, smx_slice words)
{
    (void)words;
    smx_client_session_trim(s->session);
    return 0;
}

/* The socket takes nothing until `send`. */
static int script_hold(script *s, smx_slice words)
{
    (void)words;
    s->holding = true;
    return 0;
}

/* The socket takes so many octets, or all and what follows. */
static int script_send(script *s, smx_slice words)
{
    if (words.len == 0) {
        s->holding = false;
        return 0;
    }
    smx_slice output = smx_client_session_output(s->session);
    output = slice_to(output, (size_t)script_number(words));
    must(buffer_append(&s->sent, output));
    smx_client_session_sent(s->session, output.len);
    return 0;
}

static const struct {
    const char *name;
    int (*act)(script *s, smx_slice words);
} script_actions[] = {
    {"begin", script_begin}, {"proceed", script_proceed},
    {"reset", script_reset}, {"quit", script_quit},
    {"auth", script_auth},   {"respond", script_respond},
    {"tls", script_tls},     {"fail", script_fail},
    {"body", script_body},   {"recipients", script_recipients},
    {"wait", script_wait},   {"end", script_end},
    {"trim", script_trim},   {"hold", script_hold},
    {"send", script_send},   {"noop", script_noop},
};

static bool script_do(script *s, smx_slice words)
{
    smx_slice expected = SMX_SLICE("OK");
    smx_slice arrow = SMX_SLICE(" -> ");
    size_t at = slice_search(words, arrow);
    if (at < words.len) {
        expected = slice_from(words, at + arrow.len);
        words = slice_to(words, at);
    }
    smx_slice name;
    (void)slice_cut(&words, ' ', &name);
    for (size_t i = 0; i < sizeof script_actions / sizeof script_actions[0]; i++) {
        if (!slice_equal(slice_of_text(script_actions[i].name), name))
            continue;
        smx_slice found = slice_of_text(script_error_name(script_actions[i].act(s, words)));
        if (!slice_equal(found, expected))
            return script_fails(s, "result", expected, found);
        script_pull(s);
        return true;
    }
    abort();
}

/* ---- Lines ---- */

static bool script_says(script *s, smx_slice text, bool line, uint64_t times)
{
    bool first = buffer_length(&s->said) == 0;
    if (first && !script_settled(s))
        return false;
    for (uint64_t i = 0; i < times; i++) {
        script_unescape(text, &s->said);
        must(buffer_append_text(&s->said, line ? "\r\n" : ""));
    }
    return true;
}

static bool script_matches_sent(script *s, smx_slice text, bool line)
{
    buffer expected = {0};
    script_unescape(text, &expected);
    must(buffer_append_text(&expected, line ? "\r\n" : ""));
    script_flush(s);
    script_pull(s);
    bool matches = slice_starts_with(buffer_slice(&s->sent), buffer_slice(&expected));
    if (matches)
        buffer_consume(&s->sent, buffer_length(&expected));
    else
        (void)script_fails(s, "sent", buffer_slice(&expected), buffer_slice(&s->sent));
    buffer_free(&expected);
    return matches;
}

static bool script_matches_event(script *s, smx_slice text)
{
    script_flush(s);
    script_pull(s);
    smx_slice events = buffer_slice(&s->events);
    smx_slice found = slice_to(events, slice_find(events, '\n'));
    if (!slice_equal(found, text))
        return script_fails(s, "event", text, found);
    buffer_consume(&s->events, found.len + 1);
    return true;
}

static bool script_after(script *s, smx_slice time)
{
    if (!script_settled(s))
        return false;
    s->now += script_time(time);
    script_pull(s);
    return true;
}

static bool script_deadline(script *s, smx_slice time)
{
    script_flush(s);
    uint64_t expected = script_time(time);
    uint64_t found = smx_client_session_deadline(s->session);
    if (found != SMX_DEADLINE_NEVER)
        found -= s->now;
    if (expected == found)
        return true;
    must(buffer_printf(s->problem, "deadline: expected %llu, found %llu",
                       (unsigned long long)expected, (unsigned long long)found));
    return false;
}

static bool script_asks(script *s, const char *what, smx_slice expected, const char *found)
{
    return slice_equal(expected, slice_of_text(found)) ||
           script_fails(s, what, expected, slice_of_text(found));
}

static bool script_prefix(smx_slice *line, const char *prefix)
{
    if (!slice_starts_with(*line, slice_of_text(prefix)))
        return false;
    *line = slice_from(*line, strlen(prefix));
    if (line->len > 0 && line->data[0] == ' ')
        *line = slice_from(*line, 1);
    return true;
}

static bool script_options(script *s, smx_slice words)
{
    smx_slice word;
    while (slice_cut(&words, ' ', &word))
        script_option(s, word);
    return true;
}

/* "S*300: text" */
static bool script_repeat(script *s, smx_slice line)
{
    size_t colon = slice_find(line, ':');
    return script_says(s, slice_from(line, colon + 2), true, script_number(slice_to(line, colon)));
}

static bool script_line(script *s, smx_slice line)
{
    if (line.len == 0 || line.data[0] == '#')
        return true;
    if (script_prefix(&line, "options:"))
        return script_options(s, line);
    script_start(s);
    if (script_prefix(&line, "S:"))
        return script_says(s, line, true, 1);
    if (script_prefix(&line, "S>"))
        return script_says(s, line, false, 1);
    if (script_prefix(&line, "S*"))
        return script_repeat(s, line);
    if (script_prefix(&line, "C:"))
        return script_matches_sent(s, line, true);
    if (script_prefix(&line, "C>"))
        return script_matches_sent(s, line, false);
    if (script_prefix(&line, "event:"))
        return script_matches_event(s, line);
    if (script_prefix(&line, "after"))
        return script_after(s, line);
    if (script_prefix(&line, "deadline"))
        return script_deadline(s, line);
    script_flush(s);
    if (script_prefix(&line, "phase"))
        return script_asks(s, "phase", line,
                           smx_client_phase_text(smx_client_session_phase(s->session)));
    if (script_prefix(&line, "ready"))
        return script_asks(s, "ready", line,
                           smx_client_session_is_ready(s->session) ? "yes" : "no");
    if (script_prefix(&line, "do:"))
        return script_settled(s) && script_do(s, line);
    abort();
}

static void script_free(script *s)
{
    smx_client_session_free(s->session);
    for (size_t i = 0; i < sizeof s->texts / sizeof s->texts[0]; i++)
        buffer_free(&s->texts[i]);
    buffer_free(&s->said);
    buffer_free(&s->rest);
    buffer_free(&s->sent);
    buffer_free(&s->events);
    buffer_free(&s->memory);
    free(s);
}

bool script_run(const script_case *c, size_t chunk, size_t *longest, buffer *problem)
{
    script *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    s->options = (smx_client_session_options){.version = SMX_CLIENT_SESSION_VERSION,
                                              .helo = SMX_SLICE("client.example")};
    s->chunk = chunk;
    s->problem = problem;
    smx_slice rest = c->text;
    smx_slice line;
    size_t number = c->line;
    bool passed = true;
    for (; passed && slice_cut(&rest, '\n', &line); number++)
        passed = script_line(s, line);
    passed = passed && script_settled(s);
    if (!passed)
        must(buffer_printf(problem, " (line %zu, chunks of %zu)", number - 1, chunk));
    *longest = s->longest;
    script_free(s);
    return passed;
}

bool script_next_case(smx_slice *rest, size_t *line, script_case *c)
{
    smx_slice text;
    do {
        if (!slice_cut(rest, '\n', &text))
            return false;
        ++*line;
    } while (!slice_starts_with(text, SMX_SLICE("== ")));
    size_t end = slice_search(*rest, SMX_SLICE("\n== "));
    *c =
        (script_case){.name = slice_from(text, 3), .text = slice_to(*rest, end), .line = *line + 1};
    for (size_t i = 0; i < end; i++)
        *line += rest->data[i] == '\n';
    *rest = slice_from(*rest, end);
    return true;
}
