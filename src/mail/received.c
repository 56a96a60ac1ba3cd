/* The Received field (RFC 5321 section 4.4). Pure: writes into the caller's memory. */
#include "base/clock.h"
#include "proto/writer.h"
#include "smx/message.h"

/* Where an octet cannot stand. */
enum { ATOM = 1, PATH = 2, COMMENT = 4, NOT_ASCII = 8, ALL = ATOM | PATH | COMMENT };

static const unsigned char MISPLACED[256] = {
    [0 ... 0x1F] = ALL,     [' '] = ATOM,
    ['"'] = ATOM,           ['('] = ATOM | COMMENT,
    [')'] = ATOM | COMMENT, [','] = ATOM,
    [';'] = ATOM,           ['<'] = ATOM | PATH,
    ['>'] = ATOM | PATH,    ['\\'] = ATOM | COMMENT,
    [0x7F] = ALL,           [0x80 ... 0xFF] = NOT_ASCII,
};

static unsigned received_flaws(smx_slice text)
{
    const unsigned char *octets = (const unsigned char *)text.data;
    unsigned flaws = 0;
    size_t i = 0;
    for (; text.len - i >= 4; i += 4)
        flaws |= MISPLACED[octets[i]] | MISPLACED[octets[i + 1]] | MISPLACED[octets[i + 2]] |
                 MISPLACED[octets[i + 3]];
    for (; i < text.len; i++)
        flaws |= MISPLACED[octets[i]];
    return flaws;
}

/* What peers said, made harmless: it cannot end its clause, a comment or the field. A blank stands
 * only in comments and paths, broken UTF-8 nowhere. */
static void received_text(writer *w, smx_slice text, unsigned place)
{
    unsigned flaws = received_flaws(text);
    unsigned bad = place;
    if ((flaws & NOT_ASCII) != 0 && !smx_utf8_is_valid(text))
        bad |= NOT_ASCII;
    if ((flaws & bad) == 0) {
        writer_slice(w, text);
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        bool is_bad = (MISPLACED[(unsigned char)text.data[i]] & bad) != 0;
        writer_char(w, is_bad ? '?' : text.data[i]);
    }
}

/* "from name ([192.0.2.1])": the name is the client's own word, the address is what we saw. */
static void received_from(writer *w, const smx_received *received)
{
    char text[SMX_ADDRESS_TEXT];
    const smx_address *client = received->client;
    bool has_address = client != NULL && client->family != 0;
    if (received->helo.len == 0 && !has_address)
        return;
    writer_text(w, " from ");
    received_text(w, received->helo.len > 0 ? received->helo : SMX_SLICE("unknown"), ATOM);
    if (has_address) {
        bool unix_socket = client->family == 1;
        writer_text(w, unix_socket ? " (" : client->family == 6 ? " ([IPv6:" : " ([");
        writer_slice(w, smx_address_write(client, text));
        writer_text(w, unix_socket ? ")" : "])");
    }
    writer_text(w, "\r\n\t");
}

/* A clause with its blanks, or nothing. */
static void received_clause(writer *w, const char *before, smx_slice text, unsigned place,
                            const char *after)
{
    if (text.len == 0)
        return;
    writer_text(w, before);
    received_text(w, text, place);
    writer_text(w, after);
}

int smx_received_write(const smx_received *received, char *out, size_t capacity, size_t *len)
{
    char date[CLOCK_TEXT];
    writer w = writer_to(out, capacity < SMX_RECEIVED_MAX ? capacity : SMX_RECEIVED_MAX);
    writer_text(&w, "Received:");
    received_from(&w, received);
    received_clause(&w, w.len == strlen("Received:") ? " by " : "by ", received->by, ATOM, "");
    received_clause(&w, " with ", received->protocol, ATOM, "");
    received_clause(&w, "\r\n\t(", received->tls, COMMENT, ")");
    received_clause(&w, "\r\n\tid ", received->id, ATOM, "");
    received_clause(&w, "\r\n\tfor <", received->recipient, PATH, ">");
    writer_text(&w, ";\r\n\t");
    writer_slice(&w,
                 received->date.len > 0 ? received->date : clock_rfc5322(received->wall_ms, date));
    writer_text(&w, "\r\n");
    return writer_end(&w, len);
}

/* RFC 3848; RFC 6531 section 4.3. Only HELO without more is plain SMTP: TLS, AUTH and SMTPUTF8 come
 * with EHLO. */
smx_slice smx_received_protocol(bool esmtp, bool lmtp, bool utf8, bool tls, bool auth)
{
    /* [lmtp][utf8][tls][auth] */
    static const char *const names[2][2][2][2] = {
        {{{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
         {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}}},
        {{{"LMTP", "LMTPA"}, {"LMTPS", "LMTPSA"}},
         {{"UTF8LMTP", "UTF8LMTPA"}, {"UTF8LMTPS", "UTF8LMTPSA"}}},
    };
    if (!esmtp && !lmtp && !utf8 && !tls && !auth)
        return SMX_SLICE("SMTP");
    return slice_of_text(names[lmtp][utf8][tls][auth]);
}
