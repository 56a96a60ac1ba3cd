/* The lexical tokens of structured field values (RFC 5322 section 3.2). Each octet is looked at
 * once; comments nest by a counter, so that their depth costs nothing. Owns nothing. */
#include "mail/field_token.h"

/* Octets of the fold at `at`, or 0: CRLF and a blank (section 3.2.2). */
static size_t field_fold_len(smx_slice value, size_t at)
{
    bool fold = value.len - at >= 3 && value.data[at] == '\r' && value.data[at + 1] == '\n' &&
                ascii_is_space(value.data[at + 2]);
    return fold ? 3 : 0;
}

/* Octets that stand nowhere: NUL, and CR or LF outside a fold. */
static bool field_octet_is_bad(char c)
{
    return c == '\0' || c == '\r' || c == '\n';
}

static bool field_is_special(char c)
{
    return c != '\0' && strchr(",;:<>@.()[]\"", c) != NULL;
}

static size_t field_blank_end(smx_slice value, size_t at)
{
    while (at < value.len) {
        size_t fold = field_fold_len(value, at);
        if (fold == 0 && !ascii_is_space(value.data[at]))
            break;
        at += fold > 0 ? fold : 1;
    }
    return at;
}

/* Behind the octet that closes what opens at `at`; value.len + 1 if nothing closes it. */
static size_t field_closed_end(smx_slice value, size_t at, char close)
{
    size_t depth = 1;
    char open = close == ')' ? '(' : '\0';
    for (at++; at < value.len; at++) {
        char c = value.data[at];
        size_t fold = field_fold_len(value, at);
        if (fold > 0) {
            at += fold - 1;
            continue;
        }
        if (field_octet_is_bad(c))
            break;
        if (c == '\\') {
            if (++at == value.len || field_octet_is_bad(value.data[at]))
                break;
        } else if (c == close && --depth == 0) {
            return at + 1;
        } else if (c == open) {
            depth++;
        }
    }
    return value.len + 1;
}

static size_t field_atom_end(smx_slice value, size_t at)
{
    while (at < value.len && !field_is_special(value.data[at]) && !ascii_is_space(value.data[at]) &&
           !field_octet_is_bad(value.data[at]))
        at++;
    return at;
}

field_token field_token_next(smx_slice value, size_t *at)
{
    static const struct {
        char open, close;
        field_token_kind kind;
    } pairs[] = {{'(', ')', FIELD_COMMENT}, {'"', '"', FIELD_QUOTED}, {'[', ']', FIELD_LITERAL}};
    size_t start = *at;
    if (start >= value.len)
        return (field_token){FIELD_END, slice_of("", 0)};
    field_token_kind kind = FIELD_BLANK;
    size_t end = field_blank_end(value, start);
    for (size_t i = 0; end == start && i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (value.data[start] == pairs[i].open) {
            kind = pairs[i].kind;
            end = field_closed_end(value, start, pairs[i].close);
        }
    }
    if (end == start && field_is_special(value.data[start])) {
        kind = FIELD_SPECIAL;
        end = start + 1;
    }
    if (end == start) {
        kind = FIELD_ATOM;
        end = field_atom_end(value, start);
    }
    if (end == start || end > value.len)
        return (field_token){FIELD_INVALID, slice_of(value.data + start, 0)};
    *at = end;
    return (field_token){kind, slice_of(value.data + start, end - start)};
}

field_token field_token_next_word(smx_slice value, size_t *at)
{
    field_token token;
    do
        token = field_token_next(value, at);
    while (token.kind == FIELD_BLANK || token.kind == FIELD_COMMENT);
    return token;
}

bool field_token_is(field_token token, char special)
{
    return token.kind == FIELD_SPECIAL && token.text.data[0] == special;
}
