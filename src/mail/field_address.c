/* The addr-spec of a mailbox in plain form (RFC 5322 sections 3.4.1 and 4.4): words and dots, one @,
 * atoms and dots or a literal, with whatever comments and blanks between them left out. Owns
 * nothing. */
#include "mail/field_token.h"
#include "smx/message.h"

/* What may come next. */
typedef struct address_writing {
    char *out;
    size_t capacity;
    size_t len;
    bool in_domain;
    bool after_word; /* a dot, the @ or the end may follow; else a word must */
} address_writing;

static int address_write(address_writing *w, char c)
{
    if (w->len == w->capacity)
        return SMX_E_RANGE;
    w->out[w->len++] = c;
    return 0;
}

/* A word as it came, without the line breaks of folding, and for a literal without blanks. */
static int address_write_word(address_writing *w, field_token token)
{
    for (size_t i = 0; i < token.text.len; i++) {
        char c = token.text.data[i];
        bool left_out =
            c == '\r' || c == '\n' || (token.kind == FIELD_LITERAL && ascii_is_space(c));
        int error = left_out ? 0 : address_write(w, c);
        if (error != 0)
            return error;
    }
    return 0;
}

/* atext (section 3.2.3, RFC 6532 section 3.2). */
static bool address_is_atom(smx_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == 0x7f || c == '\\')
            return false;
    }
    return true;
}

static bool address_takes_word(const address_writing *w, field_token token)
{
    switch (token.kind) {
    case FIELD_ATOM:
        return address_is_atom(token.text);
    case FIELD_QUOTED:
        return !w->in_domain;
    case FIELD_LITERAL:
        return w->in_domain && w->out[w->len - 1] == '@';
    default:
        return false;
    }
}

static int address_take(address_writing *w, field_token token)
{
    if (!w->after_word) {
        if (!address_takes_word(w, token))
            return SMX_E_SYNTAX;
        w->after_word = true;
        return address_write_word(w, token);
    }
    bool literal = w->in_domain && w->out[w->len - 1] == ']';
    bool at = field_token_is(token, '@') && !w->in_domain;
    if (!at && (!field_token_is(token, '.') || literal))
        return SMX_E_SYNTAX;
    w->in_domain = w->in_domain || at;
    w->after_word = false;
    return address_write(w, token.text.data[0]);
}

int smx_field_plain_address(const smx_field_mailbox *mailbox, char *out, size_t capacity,
                            size_t *len)
{
    address_writing w = {.out = out, .capacity = capacity};
    size_t at = 0;
    for (;;) {
        field_token token = field_token_next_word(mailbox->address, &at);
        if (token.kind == FIELD_END)
            break;
        int error = address_take(&w, token);
        if (error != 0)
            return error;
    }
    if (!w.in_domain || !w.after_word || !smx_utf8_is_valid(slice_of(out, w.len)))
        return SMX_E_SYNTAX;
    *len = w.len;
    return 0;
}
