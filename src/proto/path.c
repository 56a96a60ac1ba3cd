/* Paths and mailboxes (RFC 5321 section 4.1.2, RFC 6531 section 3.3). Pure: what is read points
 * into the input. UTF-8 is read first and judged last, so that the error can tell. */
#include "base/slice.h"
#include "proto/domain.h"
#include "proto/octet.h"
#include "proto/utf8.h"
#include "smx/proto.h"

static const smx_slice path_postmaster = {"Postmaster", 10};

/* Octets of the Dot-string at the start, or 0; with SMTPUTF8 its atoms bear UTF8-non-ascii. */
static size_t path_dot_string(smx_slice in)
{
    size_t at = 0;
    for (;; at++) {
        size_t atom = at;
        while (at < in.len && octet_is(in.data[at], OCTET_ATEXT | OCTET_NON_ASCII))
            at++;
        if (at == atom)
            return 0;
        if (at == in.len || in.data[at] != '.')
            return at;
    }
}

/* Octets of the Quoted-string at the start, quotes included, or 0. */
static size_t path_quoted_string(smx_slice in)
{
    for (size_t at = 1; at < in.len; at++) {
        char c = in.data[at];
        if (c == '"')
            return at + 1;
        if (c == '\\') {
            if (++at == in.len || (unsigned char)in.data[at] >= 0x80)
                return 0;
            c = in.data[at];
        }
        if ((unsigned char)c < ' ' || c == 0x7f)
            return 0;
    }
    return 0;
}

static size_t path_local_part(smx_slice in)
{
    if (in.len == 0)
        return 0;
    return in.data[0] == '"' ? path_quoted_string(in) : path_dot_string(in);
}

/* True if what stands at `at` cannot belong to a domain. */
static bool path_ends(smx_slice in, size_t at)
{
    return at == in.len || octet_is(in.data[at], OCTET_PATH_MARK);
}

/* Octets up to one that cannot belong to a domain; a literal ends behind its bracket. */
static size_t path_domain(smx_slice in)
{
    size_t at = 0;
    if (in.len > 0 && in.data[0] == '[') {
        at = slice_find(in, ']');
        return at < in.len ? at + 1 : at;
    }
    while (!path_ends(in, at))
        at++;
    return at;
}

/* Octets of the source route at the start with its colon; 0 if there is none, SMX_E_SYNTAX if it
 * is broken. A-d-l = "@" Domain *( "," "@" Domain ), obsolete but to be taken (appendix C); older
 * than SMTPUTF8, so in ASCII. */
static int path_source_route(smx_slice in, size_t *len)
{
    size_t at = 0;
    while (at < in.len && in.data[at] == '@') {
        smx_slice rest = slice_from(in, at + 1);
        size_t domain = path_domain(rest);
        if (domain == rest.len || !smx_domain_is_valid(slice_to(rest, domain), false, NULL))
            return SMX_E_SYNTAX;
        at += domain + 2;
        if (rest.data[domain] == ':') {
            *len = at;
            return 0;
        }
        if (rest.data[domain] != ',')
            return SMX_E_SYNTAX;
    }
    *len = 0;
    return at == 0 ? 0 : SMX_E_SYNTAX;
}

/* Reads local-part@domain at the start of `in`; the domain goes on to `>` or to the end. */
static int path_read_mailbox(smx_slice in, unsigned flags, smx_path *path)
{
    size_t local = path_local_part(in);
    if (local == 0)
        return SMX_E_SYNTAX;
    path->local = slice_to(in, local);
    smx_slice rest = slice_from(in, local);
    if ((flags & SMX_PATH_POSTMASTER) != 0 && slice_equal_nocase(path->local, path_postmaster) &&
        (rest.len == 0 || rest.data[0] == '>')) {
        path->mailbox = path->local;
        return 0;
    }
    if (rest.len == 0 || rest.data[0] != '@')
        return SMX_E_SYNTAX;
    smx_slice behind = slice_from(rest, 1);
    size_t domain = domain_ascii_name(behind);
    bool is_name = domain > 0 && path_ends(behind, domain);
    if (!is_name)
        domain = path_domain(behind);
    path->domain = slice_to(behind, domain);
    path->mailbox = slice_to(in, local + 1 + domain);
    if (local > SMX_LOCAL_PART_MAX || domain > SMX_DOMAIN_MAX)
        return SMX_E_RANGE;
    path->domain_kind = SMX_DOMAIN_NAME;
    if (!is_name && !smx_domain_is_valid(path->domain, true, &path->domain_kind))
        return SMX_E_SYNTAX;
    return 0;
}

/* The rules for a path as a whole. `whole` bears its brackets, or has two octets to spare. */
static int path_check(size_t whole, unsigned flags, smx_path *path)
{
    if (whole > SMX_PATH_MAX)
        return SMX_E_RANGE;
    path->utf8 = utf8_is_needed(path->mailbox);
    if (path->utf8 && !smx_utf8_is_valid(path->mailbox))
        return SMX_E_SYNTAX;
    return path->utf8 && (flags & SMX_PATH_UTF8) == 0 ? SMX_E_UNSUPPORTED : 0;
}

int smx_path_parse(smx_slice in, unsigned flags, smx_path *path, size_t *consumed)
{
    smx_path read = {0};
    size_t route;
    if (in.len < 2 || in.data[0] != '<')
        return SMX_E_SYNTAX;
    if (in.data[1] == '>') {
        if ((flags & SMX_PATH_NULL) == 0)
            return SMX_E_SYNTAX;
        *path = read;
        *consumed = 2;
        return 0;
    }
    int error = path_source_route(slice_from(in, 1), &route);
    if (error == 0)
        error = path_read_mailbox(slice_from(in, 1 + route), flags, &read);
    if (error != 0)
        return error;
    size_t end = 1 + route + read.mailbox.len;
    if (end == in.len || in.data[end] != '>')
        return SMX_E_SYNTAX;
    error = path_check(end + 1, flags, &read);
    if (error != 0)
        return error;
    *path = read;
    *consumed = end + 1;
    return 0;
}

int smx_mailbox_parse(smx_slice in, unsigned flags, smx_path *path)
{
    smx_path read = {0};
    if (in.len == 0) {
        if ((flags & SMX_PATH_NULL) == 0)
            return SMX_E_SYNTAX;
        *path = read;
        return 0;
    }
    int error = path_read_mailbox(in, flags, &read);
    if (error != 0)
        return error;
    if (read.mailbox.len != in.len)
        return SMX_E_SYNTAX;
    error = path_check(in.len + 2, flags, &read);
    if (error == 0)
        *path = read;
    return error;
}
