/* Where a command line ends. Only CRLF ends one: a line that others might read as two is nobody's
 * (DESIGN 4.13), and no line is longer than the longest of any command. */
#include "proxy/relay_machine.h"

relay_line relay_cut_line(relay *r, smx_slice in, smx_slice *line, size_t *used)
{
    size_t from = r->scanned < in.len ? r->scanned : in.len;
    size_t end = from + slice_find(slice_from(in, from), '\n');
    bool whole = end < in.len;
    if ((whole ? end + 1 : in.len) > RELAY_LINE_MAX) {
        relay_cut(r);
        relay_close(r, RELAY_SAY(LONG_LINE));
        return RELAY_LINE_BAD;
    }
    r->scanned = whole ? 0 : in.len;
    if (!whole)
        return RELAY_LINE_PARTIAL;
    if (end == 0 || slice_find(slice_to(in, end), '\r') != end - 1) {
        relay_cut(r);
        relay_close(r, RELAY_SAY(BARE_NEWLINE));
        return RELAY_LINE_BAD;
    }
    r->client_since = r->now;
    *line = slice_to(in, end + 1);
    *used = end + 1;
    return RELAY_LINE_WHOLE;
}
