/* Where a command line ends, and what it is. Only CRLF ends one: a line that others might read as two
 * is nobody's (DESIGN 4.13), and no line is longer than the longest of any command. */
#include "proxy/relay_machine.h"

relay_line relay_cut_line(relay *r, smx_slice in, smx_slice *line, size_t *used)
{
    size_t from = r->scanned < in.len ? r->scanned : in.len;
    size_t end = from + slice_find(slice_from(in, from), '\n');
    bool whole = end < in.len;
    if ((whole ? end + 1 : in.len) > RELAY_LINE_MAX) {
        relay_close(r, RELAY_SAY(LONG_LINE));
        *used = in.len;
        return RELAY_LINE_BAD;
    }
    r->scanned = whole ? 0 : in.len;
    if (!whole)
        return RELAY_LINE_PARTIAL;
    if (end == 0 || slice_find(slice_to(in, end), '\r') != end - 1) {
        relay_close(r, RELAY_SAY(BARE_NEWLINE));
        *used = in.len;
        return RELAY_LINE_BAD;
    }
    r->client_since = r->now;
    *line = slice_to(in, end + 1);
    *used = end + 1;
    return RELAY_LINE_WHOLE;
}

/* Servers that pass over what stands before a verb, or end it at other octets than a blank, would act
 * on a command that the hooks were not asked about. */
static smx_slice bare_verb(smx_slice line)
{
    size_t start = 0;
    while (start < line.len && (unsigned char)line.data[start] <= ' ')
        start++;
    size_t end = start;
    while (end < line.len && ascii_is_alpha(line.data[end]))
        end++;
    return slice_of(line.data + start, end - start);
}

/* Old ways to begin a transaction (RFC 821 section 3.4). */
static bool is_old_mail(smx_slice verb)
{
    return slice_equal_nocase(verb, SMX_SLICE("SEND")) ||
           slice_equal_nocase(verb, SMX_SLICE("SOML")) ||
           slice_equal_nocase(verb, SMX_SLICE("SAML"));
}

/* Words that are no verbs of ours, but that the relay has rules for. */
static bool is_ruled(smx_slice word)
{
    return slice_equal_nocase(word, SMX_SLICE("XFORWARD")) ||
           slice_equal_nocase(word, SMX_SLICE("BURL"));
}

void relay_read_command(smx_slice line, smx_command *command)
{
    smx_command_parse(line, command);
    if (command->verb != SMX_VERB_UNKNOWN)
        return;
    smx_slice verb = bare_verb(line);
    smx_command bare;
    smx_command_parse(verb, &bare);
    if (is_old_mail(verb))
        bare.verb = SMX_VERB_MAIL;
    if (is_ruled(verb))
        command->name = verb;
    if (bare.verb == SMX_VERB_UNKNOWN)
        return;
    size_t end = (size_t)(verb.data - line.data) + verb.len;
    if (end < line.len && ascii_is_digit(line.data[end]))
        return;
    command->verb = bare.verb;
    command->argument = slice_trim(slice_from(line, end));
}
