/* Replays cases over the parsers and codecs of smx/proto.h: those that read a stream at every size
 * of pieces, which must make no difference, the others once. Usage: replay_proto FILE... */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Words of the case files ---- */

static bool replay_has_word(smx_slice words, const char *wanted)
{
    smx_slice word;
    while (slice_cut(&words, ' ', &word))
        if (slice_equal(word, slice_of_text(wanted)))
            return true;
    return false;
}

static smx_extensions replay_extensions(smx_slice words)
{
    smx_extensions extensions = 0;
    if (replay_has_word(words, "all"))
        return ~0U;
#define REPLAY_EXTENSION(bit, name, text)                                                          \
    if (replay_has_word(words, text))                                                              \
        extensions |= SMX_EXT_##name;
    SMX_EXTENSION_MAP(REPLAY_EXTENSION)
#undef REPLAY_EXTENSION
    return extensions;
}

static unsigned replay_path_flags(smx_slice words)
{
    return (replay_has_word(words, "utf8") ? SMX_PATH_UTF8 : 0U) |
           (replay_has_word(words, "null") ? SMX_PATH_NULL : 0U) |
           (replay_has_word(words, "postmaster") ? SMX_PATH_POSTMASTER : 0U);
}

static uint64_t replay_number(wire_case *c, const char *key)
{
    uint64_t number = 0;
    if (slice_to_number(case_input(c, key, "0"), UINT64_MAX, &number) != 0)
        case_problem(c, "%s is no number", key);
    return number;
}

static const char *replay_domain_kind(smx_domain_kind kind)
{
    static const char *const names[] = {"none", "name", "ipv4", "ipv6", "literal"};
    return names[kind];
}

static void replay_give_path(wire_case *c, const smx_path *path)
{
    case_give(c, "mailbox", path->mailbox);
    case_give(c, "local", path->local);
    case_give(c, "domain", path->domain);
    case_give_text(c, "kind", replay_domain_kind(path->domain_kind));
    case_give_bool(c, "utf8", path->utf8);
}

/* What a parser of MAIL or RCPT said: "ok", or "501 5.5.4". */
static void replay_give_verdict(wire_case *c, const smx_reply *wrong)
{
    char text[32] = "ok";
    if (wrong != NULL)
        (void)snprintf(text, sizeof(text), "%u %u.%u.%u", wrong->code, wrong->enhanced.class_digit,
                       wrong->enhanced.subject, wrong->enhanced.detail);
    case_give_text(c, "result", text);
}

static void replay_give_line(wire_case *c, int error, const char *line, size_t len)
{
    case_give_error(c, "write", error);
    case_give(c, "written", slice_of(line, error == 0 ? len : 0));
}

/* ---- Codecs that read a whole line ---- */

static void replay_command(wire_case *c, smx_slice in, size_t chunk)
{
    smx_command command;
    (void)chunk;
    smx_command_parse(in, &command);
    const char *verb = smx_verb_text(command.verb);
    case_give_text(c, "verb", verb == NULL ? "unknown" : verb);
    case_give(c, "name", command.name);
    case_give(c, "argument", command.argument);
    case_give_number(c, "line-max", smx_verb_line_max(command.verb));
}

static void replay_line_limit(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    case_give_number(c, "limit", smx_line_limit(in));
}

static void replay_mail(wire_case *c, smx_slice in, size_t chunk)
{
    static const char *const bodies[] = {"none", "7BIT", "8BITMIME", "BINARYMIME"};
    static const char *const rets[] = {"none", "FULL", "HDRS"};
    (void)chunk;
    smx_mail mail;
    const smx_reply *wrong =
        smx_mail_parse(in, replay_extensions(case_input(c, "offered", "all")), &mail);
    smx_extensions peer = replay_extensions(case_input(c, "peer", "all"));
    replay_give_verdict(c, wrong);
    if (wrong != NULL)
        return;
    replay_give_path(c, &mail.path);
    case_give_bool(c, "has-size", mail.has_size);
    case_give_number(c, "size", mail.size);
    case_give_text(c, "body", bodies[mail.body]);
    case_give_text(c, "ret", rets[mail.ret]);
    case_give(c, "envid", mail.envid);
    case_give_bool(c, "has-auth", mail.has_auth);
    case_give(c, "auth", mail.auth);
    case_give_bool(c, "smtputf8", mail.smtputf8);
    case_give_bool(c, "requiretls", mail.requiretls);
    char line[SMX_MAIL_LINE_MAX];
    size_t len = 0;
    int error = smx_mail_write(&mail, peer, line, sizeof(line), &len);
    replay_give_line(c, error, line, len);
}

static void replay_rcpt(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_rcpt rcpt;
    bool utf8 = replay_has_word(case_input(c, "transaction", ""), "smtputf8");
    const smx_reply *wrong =
        smx_rcpt_parse(in, replay_extensions(case_input(c, "offered", "all")), utf8, &rcpt);
    smx_extensions peer = replay_extensions(case_input(c, "peer", "all"));
    replay_give_verdict(c, wrong);
    if (wrong != NULL)
        return;
    replay_give_path(c, &rcpt.path);
    case_give_number(c, "notify", rcpt.notify);
    case_give(c, "orcpt", rcpt.orcpt);
    char line[SMX_MAIL_LINE_MAX];
    size_t len = 0;
    int error = smx_rcpt_write(&rcpt, peer, line, sizeof(line), &len);
    replay_give_line(c, error, line, len);
}

/* `in` is the mailbox, whoever made it up. */
static void replay_mail_write(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    char line[SMX_MAIL_LINE_MAX];
    size_t len = 0;
    smx_mail mail = {.path = {.mailbox = in}};
    mail.envid = case_input(c, "envid", "");
    mail.auth = case_input(c, "auth", "");
    mail.has_auth = mail.auth.len > 0;
    uint64_t capacity = replay_number(c, "capacity");
    capacity = capacity == 0 ? sizeof(line) : capacity;
    smx_extensions peer = replay_extensions(case_input(c, "peer", "all"));
    int error = smx_mail_write(&mail, peer, line, (size_t)capacity, &len);
    replay_give_line(c, error, line, len);
}

static void replay_rcpt_write(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    char line[SMX_MAIL_LINE_MAX];
    size_t len = 0;
    smx_rcpt rcpt = {.path = {.mailbox = in}};
    rcpt.orcpt = case_input(c, "orcpt", "");
    rcpt.notify = (unsigned)replay_number(c, "notify");
    smx_extensions peer = replay_extensions(case_input(c, "peer", "all"));
    int error = smx_rcpt_write(&rcpt, peer, line, sizeof(line), &len);
    replay_give_line(c, error, line, len);
}

static void replay_path(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_path path;
    size_t consumed;
    int error = smx_path_parse(in, replay_path_flags(case_input(c, "flags", "")), &path, &consumed);
    case_give_error(c, "result", error);
    if (error != 0)
        return;
    replay_give_path(c, &path);
    case_give_number(c, "consumed", consumed);
}

static void replay_mailbox(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_path path;
    int error = smx_mailbox_parse(in, replay_path_flags(case_input(c, "flags", "")), &path);
    case_give_error(c, "result", error);
    if (error == 0)
        replay_give_path(c, &path);
}

static void replay_domain(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_domain_kind kind = SMX_DOMAIN_NONE;
    bool utf8 = replay_has_word(case_input(c, "flags", ""), "utf8");
    case_give_bool(c, "valid", smx_domain_is_valid(in, utf8, &kind));
    case_give_text(c, "kind", replay_domain_kind(kind));
}

static void replay_utf8(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    case_give_bool(c, "valid", smx_utf8_is_valid(in));
}

static void replay_bdat(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    uint64_t size = 0;
    bool last = false;
    int error = smx_bdat_parse(in, &size, &last);
    case_give_error(c, "result", error);
    case_give_number(c, "size", size);
    case_give_bool(c, "last", last);
}

typedef int replay_text_fn(smx_slice in, char *out, size_t capacity, size_t *len);

/* An encoding from text to text, into memory of exactly the capacity that the case gives. */
static void replay_text(wire_case *c, smx_slice in, replay_text_fn *fn)
{
    size_t capacity = (size_t)replay_number(c, "capacity");
    if (capacity == 0)
        capacity = in.len * 3 + 4;
    char *out = calloc(1, capacity);
    size_t len = 0;
    case_give_error(c, "result", fn(in, out, capacity, &len));
    case_give(c, "out", slice_of(out, len));
    free(out);
}

#define REPLAY_TEXT(name)                                                                          \
    static void replay_##name(wire_case *c, smx_slice in, size_t chunk)                            \
    {                                                                                              \
        (void)chunk;                                                                               \
        replay_text(c, in, smx_##name);                                                            \
    }
REPLAY_TEXT(xtext_decode)
REPLAY_TEXT(xtext_encode)
REPLAY_TEXT(base64_decode)
REPLAY_TEXT(base64_encode)

static void replay_xclient(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    size_t capacity = (size_t)replay_number(c, "capacity");
    char memory[SMX_COMMAND_LINE_MAX];
    smx_xclient xclient = {0};
    int error = smx_xclient_parse(in, memory, capacity == 0 ? sizeof(memory) : capacity, &xclient);
    case_give_error(c, "result", error);
#define REPLAY_XCLIENT(name)                                                                       \
    if (xclient.given[SMX_XCLIENT_##name])                                                         \
        case_give(c, #name, xclient.value[SMX_XCLIENT_##name]);
    SMX_XCLIENT_MAP(REPLAY_XCLIENT)
#undef REPLAY_XCLIENT
}

static void replay_capabilities(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_reply_parser parser = {0};
    smx_reply_lines reply;
    smx_capabilities found;
    size_t consumed;
    buffer words = {0};
    if (smx_reply_parse(&parser, in, &reply, &consumed) != 0) {
        case_problem(c, "the input is no reply");
        return;
    }
    smx_capabilities_parse(&reply, &found);
#define REPLAY_CAPABILITY(bit, name, text)                                                         \
    if ((found.extensions & SMX_EXT_##name) != 0 && buffer_append_text(&words, text " ") != 0)     \
        abort();
    SMX_EXTENSION_MAP(REPLAY_CAPABILITY)
#undef REPLAY_CAPABILITY
    case_give(c, "extensions", slice_trim(buffer_slice(&words)));
    case_give_number(c, "max-size", found.max_size);
    case_give_number(c, "max-recipients", found.max_recipients);
    case_give_number(c, "max-transactions", found.max_transactions);
    case_give(c, "auth", found.auth_mechanisms);
    case_give(c, "domain", found.domain);
    buffer_free(&words);
}

static void replay_address(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_address address;
    char text[SMX_ADDRESS_TEXT];
    int error = smx_address_parse(in, &address);
    case_give_error(c, "result", error);
    if (error == 0)
        case_give(c, "out", smx_address_write(&address, text));
}

static void replay_network(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_network network;
    smx_address address;
    smx_slice member = case_input(c, "address", "127.0.0.1");
    int error = smx_network_parse(in, &network);
    case_give_error(c, "result", error);
    if (error != 0)
        return;
    case_give_number(c, "prefix", network.prefix);
    if (smx_address_parse(member, &address) != 0)
        case_problem(c, "the address is none");
    else
        case_give_bool(c, "contains", smx_network_contains(&network, &address));
}

/* "4.3.1", or nothing. */
static smx_enhanced replay_enhanced_input(wire_case *c)
{
    smx_enhanced enhanced = {0};
    size_t len;
    smx_slice text = case_input(c, "enhanced-code", "");
    if (text.len > 0 && smx_enhanced_parse(text, &enhanced, &len) != 0)
        case_problem(c, "enhanced-code is none");
    return enhanced;
}

static void replay_reply_write(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_reply reply = {(uint16_t)replay_number(c, "code"), replay_enhanced_input(c), in};
    size_t size = smx_reply_size(&reply);
    uint64_t capacity = replay_number(c, "capacity");
    bool with_enhanced = replay_has_word(case_input(c, "options", ""), "enhanced");
    char *out = calloc(1, size);
    size_t len = 0;
    int error =
        smx_reply_write(&reply, with_enhanced, out, capacity == 0 ? size : (size_t)capacity, &len);
    case_give_error(c, "result", error);
    case_give(c, "out", slice_of(out, len));
    free(out);
}

static void replay_enhanced(wire_case *c, smx_slice in, size_t chunk)
{
    (void)chunk;
    smx_enhanced enhanced = {0};
    size_t len = 0;
    char text[32];
    case_give_error(c, "result", smx_enhanced_parse(in, &enhanced, &len));
    (void)snprintf(text, sizeof(text), "%u.%u.%u", enhanced.class_digit, enhanced.subject,
                   enhanced.detail);
    case_give_text(c, "code", text);
    case_give_number(c, "length", len);
}

typedef struct replay_codec {
    const char *name;
    replay_fn *fn;
    bool in_pieces;
} replay_codec;

static const replay_codec replay_codecs[] = {
    {"dot-decode", replay_dot_decode, true},
    {"dot-encode", replay_dot_encode, true},
    {"newline-check", replay_newline_check, true},
    {"reply", replay_reply, true},
    {"proxy", replay_proxy, true},
    {"command", replay_command, false},
    {"line-limit", replay_line_limit, false},
    {"mail", replay_mail, false},
    {"rcpt", replay_rcpt, false},
    {"mail-write", replay_mail_write, false},
    {"rcpt-write", replay_rcpt_write, false},
    {"path", replay_path, false},
    {"mailbox", replay_mailbox, false},
    {"domain", replay_domain, false},
    {"utf8", replay_utf8, false},
    {"bdat", replay_bdat, false},
    {"xtext-decode", replay_xtext_decode, false},
    {"xtext-encode", replay_xtext_encode, false},
    {"base64-decode", replay_base64_decode, false},
    {"base64-encode", replay_base64_encode, false},
    {"xclient", replay_xclient, false},
    {"capabilities", replay_capabilities, false},
    {"address", replay_address, false},
    {"network", replay_network, false},
    {"reply-write", replay_reply_write, false},
    {"enhanced", replay_enhanced, false},
};

static const replay_codec *replay_find(smx_slice name)
{
    for (size_t i = 0; i < sizeof(replay_codecs) / sizeof(replay_codecs[0]); i++)
        if (slice_equal(name, slice_of_text(replay_codecs[i].name)))
            return &replay_codecs[i];
    return NULL;
}

/* All sizes up to 600, then fewer and fewer, and the whole; of large inputs few. */
static size_t replay_next_chunk(size_t chunk, size_t len)
{
    if (chunk >= len)
        return 0;
    size_t next = chunk < 600 && len <= 8192 ? chunk + 1 : chunk + chunk / 3;
    return next < len ? next : len;
}

/* Large inputs are not cut smaller than to some thousand pieces. */
static size_t replay_first_chunk(size_t len)
{
    return len <= 8192 ? 1 : len / 4096;
}

static void replay_case(wire_case *c)
{
    const replay_codec *codec = replay_find(case_input(c, "codec", ""));
    smx_slice in = case_input(c, "in", "");
    buffer first = {0};
    if (codec == NULL) {
        case_problem(c, "no such codec");
        return;
    }
    char *copy = case_copy(in);
    size_t chunk = codec->in_pieces ? replay_first_chunk(in.len) : in.len;
    do {
        buffer_clear(&c->results);
        codec->fn(c, slice_of(copy, in.len), chunk);
        if (buffer_length(&first) == 0 && buffer_append(&first, buffer_slice(&c->results)) != 0)
            abort();
        if (!slice_equal(buffer_slice(&first), buffer_slice(&c->results)))
            case_problem(c, "pieces of %zu octets give another result", chunk);
        chunk = replay_next_chunk(chunk, in.len);
    } while (chunk != 0 && buffer_length(&c->problems) == 0);
    free(copy);
    buffer_free(&first);
}

int main(int argc, char **argv)
{
    return case_run_files(argc - 1, argv + 1, replay_case);
}
