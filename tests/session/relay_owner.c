/* The scripted owner of a relay. An allocation that fails is the end of the test program. */
#include "relay_owner.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server_cases.h"
#include "server_owner.h"

void relay_owner_fail(relay_owner *o, const char *format, ...)
{
    va_list arguments;
    if (o->problem[0] != '\0')
        return;
    va_start(arguments, format);
    (void)vsnprintf(o->problem, sizeof(o->problem), format, arguments);
    va_end(arguments);
}

static smx_slice keep(relay_owner *o, smx_slice text)
{
    smx_slice copy;
    server_owner_must(arena_copy(&o->memory, text, &copy));
    return copy;
}

/* ---- options ---- */

void relay_owner_init(relay_owner *o)
{
    *o = (relay_owner){0};
    o->options = (relay_options){.hostname = SMX_SLICE("proxy.example"), .hello = &o->hello};
}

void relay_owner_free(relay_owner *o)
{
    relay_free(o->relay);
    for (int side = 0; side < 2; side++) {
        buffer_free(&o->in[side]);
        buffer_free(&o->out[side]);
    }
    buffer_free(&o->log);
    buffer_free(&o->body);
    buffer_free(&o->kept);
    arena_free(&o->memory);
}

static bool set_tls(relay_tls *tls, smx_slice value)
{
    static const char *const names[] = {"off", "offered", "required", "implicit", "passed"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!slice_equal(value, slice_of_text(names[i])))
            continue;
        *tls = (relay_tls)i;
        return true;
    }
    return false;
}

static bool set_asks(relay_owner *o, smx_slice value)
{
    smx_slice word;
    while (slice_cut(&value, ' ', &word)) {
        smx_hook_phase phase;
        if (smx_hook_phase_parse(word, &phase) != 0)
            return false;
        o->options.asks |= 1U << phase;
    }
    return true;
}

static bool set_extensions(relay_owner *o, smx_slice value)
{
    smx_slice word;
    while (slice_cut(&value, ' ', &word) && o->options.extension_count < RELAY_OWNER_EXTENSIONS)
        o->extensions[o->options.extension_count++] = keep(o, word);
    o->options.extensions = o->extensions;
    return true;
}

static bool set_newline(relay_owner *o, smx_slice value)
{
    static const char *const names[] = {"reject", "normalize", "pass"};
    for (size_t i = 0; i < 3; i++)
        if (slice_equal(value, slice_of_text(names[i])))
            o->options.bare_newline = (smx_bare_newline)i;
    return true;
}

static bool set_number(uint32_t *number, smx_slice value)
{
    uint64_t n = 0;
    if (slice_to_number(value, UINT32_MAX, &n) != 0)
        return false;
    *number = (uint32_t)n;
    return true;
}

bool relay_owner_set(relay_owner *o, smx_slice line)
{
    relay_options *p = &o->options;
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"lmtp", &p->lmtp},
        {"near", &p->upstream_is_near},
        {"hide_auth", &p->hide_auth},
        {"reads_envelope", &p->reads_envelope},
        {"parts_transactions", &p->parts_transactions},
        {"allow_insecure_auth", &p->allow_insecure_auth},
        {"hold", &p->hold},
        {"gather", &o->gather},
        {"may_xclient", &o->xclient_allowed},
        {"verified", &o->verified},
    };
    smx_slice rest = line;
    smx_slice name = {0};
    (void)slice_cut(&rest, ' ', &name);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (slice_equal(name, slice_of_text(flags[i].name)))
            return *flags[i].flag = true;
    if (slice_equal(name, SMX_SLICE("client_tls")))
        return set_tls(&p->client_tls, rest);
    if (slice_equal(name, SMX_SLICE("upstream_tls")))
        return set_tls(&p->upstream_tls, rest);
    if (slice_equal(name, SMX_SLICE("asks")))
        return set_asks(o, rest);
    if (slice_equal(name, SMX_SLICE("extensions")))
        return set_extensions(o, rest);
    if (slice_equal(name, SMX_SLICE("bare_newline")))
        return set_newline(o, rest);
    if (slice_equal(name, SMX_SLICE("min_rate")))
        return set_number(&p->min_rate, rest);
    if (!slice_equal(name, SMX_SLICE("xclient")))
        return false;
    o->xclient = keep(o, rest);
    return true;
}

bool relay_owner_add_ask(relay_owner *o, smx_slice line)
{
    size_t arrow = slice_search(line, SMX_SLICE(" -> "));
    if (arrow == line.len || o->ask_count == RELAY_OWNER_ASKS)
        return false;
    o->asks[o->ask_count++] = (relay_owner_ask){.phase = keep(o, slice_to(line, arrow)),
                                                .verdict = keep(o, slice_from(line, arrow + 4))};
    return true;
}

void relay_owner_start(relay_owner *o)
{
    server_owner_must(relay_new(&o->options, o->now, &o->relay));
    if (o->xclient.len > 0)
        relay_set_xclient(o->relay, o->xclient);
    if (o->xclient_allowed)
        relay_allow_xclient(o->relay);
    relay_set_verified(o->relay, o->verified);
}

/* ---- verdicts ---- */

/* "550 5.1.1 no", or without an enhanced code. */
static bool read_reply(smx_slice text, smx_reply *reply)
{
    uint64_t code = 0;
    size_t len = 0;
    *reply = (smx_reply){0};
    if (text.len < 3 || slice_to_number(slice_to(text, 3), 599, &code) != 0)
        return false;
    reply->code = (uint16_t)code;
    text = slice_trim(slice_from(text, 3));
    if (smx_enhanced_parse(text, &reply->enhanced, &len) == 0)
        text = slice_trim(slice_from(text, len));
    reply->text = text;
    return true;
}

static bool take_ask(relay_owner *o, smx_slice phase, smx_slice *verdict)
{
    for (size_t i = 0; i < o->ask_count; i++) {
        relay_owner_ask *ask = &o->asks[i];
        if (ask->used || !slice_equal(ask->phase, phase))
            continue;
        ask->used = true;
        *verdict = ask->verdict;
        return true;
    }
    return false;
}

static bool read_decision(smx_slice text, buffer *line, relay_decision *d)
{
    smx_slice rest = text;
    smx_slice word = {0};
    *d = (relay_decision){.kind = RELAY_PASS};
    (void)slice_cut(&rest, ' ', &word);
    if (slice_equal(word, SMX_SLICE("pass")))
        return true;
    if (slice_equal(word, SMX_SLICE("line"))) {
        d->is_changed = true;
        server_owner_unescape(rest, line);
        d->line = buffer_slice(line);
        return true;
    }
    if (slice_equal(word, SMX_SLICE("discard"))) {
        d->kind = RELAY_DISCARD;
        return true;
    }
    d->kind = slice_equal(word, SMX_SLICE("disconnect")) ? RELAY_DISCONNECT : RELAY_REFUSE;
    return read_reply(rest, &d->reply);
}

static void decide(relay_owner *o, smx_slice verdict)
{
    relay_decision d;
    buffer line = {0};
    smx_slice rest;
    if (server_cases_word(verdict, "add", &rest)) {
        if (relay_add_recipient(o->relay, rest) != 0)
            server_owner_must(buffer_append_text(&o->log, "NOT_ADDED\n"));
        verdict = SMX_SLICE("pass");
    }
    if (!read_decision(verdict, &line, &d))
        relay_owner_fail(o, "not understood: %.*s", (int)verdict.len, verdict.data);
    else if (relay_decide(o->relay, &d) == SMX_E_INVALID) {
        server_owner_must(buffer_append_text(&o->log, "INVALID\n"));
        d = (relay_decision){.kind = RELAY_REFUSE, .reply = SMX_REPLY(451, 4, 3, 0, "hook")};
        server_owner_must(relay_decide(o->relay, &d));
    }
    buffer_free(&line);
}

/* ---- events ---- */

void relay_owner_end_body(relay_owner *o)
{
    if (!o->in_body)
        return;
    server_owner_must(buffer_append_text(&o->log, "BODY ["));
    server_owner_escape(buffer_slice(&o->body), &o->log);
    server_owner_must(buffer_append_text(&o->log, "]\n"));
    buffer_clear(&o->body);
    o->in_body = false;
}

static void note(relay_owner *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(relay_owner *o, const char *format, ...)
{
    char text[256];
    va_list arguments;
    relay_owner_end_body(o);
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    server_owner_must(buffer_append_text(&o->log, text));
    server_owner_must(buffer_append_text(&o->log, "\n"));
}

static void send(relay_owner *o, relay_side to, smx_slice text)
{
    if (to == RELAY_UPSTREAM && o->cut)
        relay_owner_fail(o, "octets for an upstream that was cut");
    server_owner_must(buffer_append(&o->out[to], text));
}

static void refuse_message(relay_owner *o, smx_slice text)
{
    smx_reply reply;
    buffer_clear(&o->kept);
    o->ends = o->ready = false;
    if (!read_reply(text, &reply) || relay_message_refuse(o->relay, &reply) != 0)
        note(o, "NOT_REFUSED");
}

/* Sends of the kept octets what may go. */
static void send_kept(relay_owner *o)
{
    while (buffer_length(&o->kept) > 0) {
        smx_slice pieces[3];
        size_t used = 0;
        size_t count = 0;
        int error =
            relay_message_encode(o->relay, buffer_slice(&o->kept), &used, pieces, 3, &count);
        if (error == SMX_E_AGAIN)
            return;
        if (error == SMX_E_PROTOCOL)
            refuse_message(o, SMX_SLICE("550 5.6.0 bare newline"));
        else if (error != 0)
            relay_owner_fail(o, "encode: %s", smx_error_text(error));
        if (error != 0)
            return;
        for (size_t i = 0; i < count; i++)
            send(o, RELAY_UPSTREAM, pieces[i]);
        buffer_consume(&o->kept, used);
    }
    if (!o->ends)
        return;
    o->ends = o->ready = false;
    int error = relay_message_end(o->relay);
    if (error == SMX_E_PROTOCOL)
        refuse_message(o, SMX_SLICE("550 5.6.0 bare newline"));
    else if (error != 0)
        relay_owner_fail(o, "end: %s", smx_error_text(error));
}

static void on_body(relay_owner *o, smx_slice text)
{
    smx_slice verdict;
    server_owner_must(buffer_append(&o->body, text));
    o->in_body = true;
    server_owner_must(buffer_append(&o->kept, text));
    o->ready = o->ready || (!o->options.hold && !o->gather);
    if (take_ask(o, SMX_SLICE("body"), &verdict))
        refuse_message(o, verdict);
}

static void on_body_end(relay_owner *o)
{
    smx_slice verdict = {0};
    smx_slice rest;
    note(o, "BODY_END");
    bool told = take_ask(o, SMX_SLICE("end"), &verdict);
    if (told && server_cases_word(verdict, "add", &rest)) {
        server_owner_must(relay_add_recipient(o->relay, rest));
    } else if (told && server_cases_word(verdict, "replace", &rest)) {
        buffer_clear(&o->kept);
        server_owner_unescape(rest, &o->kept);
    } else if (told && slice_equal(verdict, SMX_SLICE("later"))) {
        return;
    } else if (told) {
        refuse_message(o, verdict);
        return;
    }
    o->ends = true;
    o->ready = !o->options.hold;
    if (o->options.hold)
        server_owner_must(relay_message_begin(o->relay, buffer_length(&o->kept)));
}

static void on_ask(relay_owner *o, const relay_event *e)
{
    smx_slice verdict = SMX_SLICE("pass");
    const char *phase = smx_hook_phase_text(e->phase);
    smx_slice text = e->phase == SMX_HOOK_AUTH ? slice_to(e->text, e->text.len - 2) : e->text;
    buffer shown = {0};
    server_owner_escape(text, &shown);
    note(o, "ASK %s [%.*s]", phase, (int)buffer_length(&shown), buffer_slice(&shown).data);
    buffer_free(&shown);
    (void)take_ask(o, slice_of_text(phase), &verdict);
    if (!slice_equal(verdict, SMX_SLICE("later")))
        decide(o, verdict);
}

static const char *side_text(relay_side side)
{
    return side == RELAY_CLIENT ? "client" : "upstream";
}

static void act(relay_owner *o, const relay_event *e)
{
    if (o->closed && e->type != RELAY_NONE)
        relay_owner_fail(o, "an event behind CLOSE");
    switch (e->type) {
    case RELAY_NONE:
        break;
    case RELAY_COMMAND:
        if (e->own || e->secret)
            note(o, e->own ? "OWN %s" : "SECRET %s", relay_kind_text(e->kind));
        send(o, RELAY_UPSTREAM, e->text);
        break;
    case RELAY_REPLY:
        send(o, RELAY_CLIENT, e->text);
        break;
    case RELAY_OCTETS:
        send(o, e->side, e->text);
        break;
    case RELAY_OWN_REPLY:
        note(o, "OWN_REPLY %s %u", relay_kind_text(e->kind), (unsigned)e->code);
        break;
    case RELAY_ASK:
        on_ask(o, e);
        break;
    case RELAY_BODY:
        on_body(o, e->text);
        break;
    case RELAY_BODY_END:
        on_body_end(o);
        break;
    case RELAY_BODY_READY:
        note(o, "BODY_READY");
        o->ready = true;
        break;
    case RELAY_DROPPED:
        note(o, "DROPPED");
        buffer_clear(&o->kept);
        o->ends = o->ready = false;
        break;
    case RELAY_SECURE:
        note(o, "SECURE %s", side_text(e->side));
        break;
    case RELAY_PASSTHROUGH:
        note(o, "PASSTHROUGH");
        break;
    case RELAY_CUT_UPSTREAM:
        note(o, "CUT");
        o->cut = true;
        break;
    case RELAY_CLOSE:
        note(o, "CLOSE");
        o->closed = true;
        break;
    }
}

/* ---- feeding ---- */

/* True: something was done. A copy of exact size: a sanitizer sees each look beyond it. */
static bool feed_once(relay_owner *o, relay_side side)
{
    relay_event e;
    smx_slice in = buffer_slice(&o->in[side]);
    char *copy = malloc(in.len == 0 ? 1 : in.len);
    if (copy == NULL)
        abort();
    if (in.len > 0)
        memcpy(copy, in.data, in.len);
    size_t used = relay_feed(o->relay, side, o->now, slice_of(copy, in.len), &e);
    act(o, &e);
    free(copy);
    buffer_consume(&o->in[side], used);
    if (o->ready)
        send_kept(o);
    return used > 0 || e.type != RELAY_NONE;
}

/* What is left needs more octets, or waits and says so. */
static void check_rest(relay_owner *o)
{
    smx_slice left = buffer_slice(&o->in[RELAY_CLIENT]);
    relay_info info;
    relay_get_info(o->relay, &info);
    if (!o->closed && slice_find(left, '\n') < left.len &&
        !relay_is_waiting(o->relay, RELAY_CLIENT))
        relay_owner_fail(o, "stuck, and does not wait");
}

static void pump(relay_owner *o)
{
    bool more = true;
    for (int turns = 0; more; turns++) {
        more = feed_once(o, RELAY_CLIENT);
        more = feed_once(o, RELAY_UPSTREAM) || more;
        if (turns > 100000) {
            relay_owner_fail(o, "does not come to rest");
            return;
        }
    }
    check_rest(o);
}

void relay_owner_feed(relay_owner *o, relay_side side, smx_slice octets)
{
    server_owner_must(buffer_append(&o->in[side], octets));
    pump(o);
}

/* ---- what happens to it ---- */

static bool read_side(smx_slice *rest, relay_side *side)
{
    smx_slice word = {0};
    (void)slice_cut(rest, ' ', &word);
    *side = slice_equal(word, SMX_SLICE("client")) ? RELAY_CLIENT : RELAY_UPSTREAM;
    return *side == RELAY_CLIENT || slice_equal(word, SMX_SLICE("upstream"));
}

static bool do_secured(relay_owner *o, smx_slice rest)
{
    relay_side side;
    if (!read_side(&rest, &side))
        return false;
    int error = slice_equal(rest, SMX_SLICE("error")) ? SMX_E_TLS : 0;
    relay_secured(o->relay, side, o->now, error, !slice_equal(rest, SMX_SLICE("unverified")));
    return true;
}

static bool do_after(relay_owner *o, smx_slice rest)
{
    uint64_t ms = 0;
    if (slice_to_number(rest, UINT32_MAX, &ms) != 0)
        return false;
    o->now += ms;
    relay_expire(o->relay, o->now);
    return true;
}

static bool do_shutdown(relay_owner *o, smx_slice rest)
{
    smx_reply reply;
    if (!read_reply(rest, &reply))
        return false;
    server_owner_must(relay_shutdown(o->relay, &reply));
    return true;
}

static bool run_action(relay_owner *o, smx_slice action)
{
    relay_side side;
    smx_slice rest;
    if (server_cases_word(action, "secured", &rest))
        return do_secured(o, rest);
    if (server_cases_word(action, "after", &rest))
        return do_after(o, rest);
    if (server_cases_word(action, "shutdown", &rest))
        return do_shutdown(o, rest);
    if (server_cases_word(action, "refuse", &rest)) {
        refuse_message(o, rest);
        return true;
    }
    if (server_cases_word(action, "decide", &rest)) {
        decide(o, rest);
        return true;
    }
    if (server_cases_word(action, "add", &rest)) {
        int error = relay_add_recipient(o->relay, rest);
        if (error != 0)
            note(o, "NOT_ADDED %s", error == SMX_E_INVALID ? "invalid" : "state");
        return true;
    }
    if (server_cases_word(action, "stalled", &rest)) {
        relay_stalled(o->relay, o->now, slice_equal(rest, SMX_SLICE("yes")));
        return true;
    }
    if (!server_cases_word(action, "end", &rest) || !read_side(&rest, &side))
        return false;
    relay_ended(o->relay, side);
    return true;
}

bool relay_owner_do(relay_owner *o, smx_slice action)
{
    if (!run_action(o, action))
        return false;
    pump(o);
    return true;
}
